"""A state machine over every change, legal or not: on a table and on the embedded one at once, compared after each step.

In the lab the table is the kernel's: what differs is a fault of memory.py. On the host both are embedded ones. There and here,
the answer must follow from what the table shows: a table made anew from that answers the same.
IPVSADM_STEPS and IPVSADM_SEED set how many steps, and which.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pyipvsadm.errors import Refused
from pyipvsadm.model import (
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    SET_CONFIG,
    SET_DEST,
    SET_SERVICE,
    ZERO,
    Change,
    Service,
    Timeouts,
)
from tests.contract.backends import LAB, content, embedded, plug_in, recipe
from tests.contract.strategies import (
    changes,
    daemons,
    destinations,
    odd_changes,
    seconds,
    services,
    wide_daemons,
    wide_destinations,
    wide_services,
)
from tests.contract.words import CLEAR, DEFAULT_TIMEOUTS, backup, config, master, stop

if TYPE_CHECKING:
    from pyipvsadm.model import Backend, Daemon, Destination

STEPS = int(os.environ.get("IPVSADM_STEPS", "1000" if LAB else "200"))
SEED = int(os.environ.get("IPVSADM_SEED", "1"))
A_RUN = 50  # steps on one table

some_services = services | wide_services
some_servers = destinations | wide_destinations
some_daemons = daemons | wide_daemons


def named(service: Service, like: Service) -> Service:
    """The values of one service with the name of another."""
    return Service(
        like.af, like.protocol, like.addr, like.port, like.fwmark,
        service.scheduler, service.flags, service.timeout, service.netmask, service.pe,
    )  # fmt: skip


def looked_up(backend: Backend, service: Service) -> object:
    try:
        return backend.service(service), backend.destinations(service)
    except Refused as no:
        return no.errno


class Tables(RuleBasedStateMachine):
    table: Backend
    steps = 0

    names = Bundle("names")  # of services that were asked for once; most of them are there
    servers = Bundle("servers")

    @initialize()
    def empty(self) -> None:
        self.table.apply([CLEAR, stop(master()), stop(backup()), config(*DEFAULT_TIMEOUTS)])
        self.beside = embedded()
        assert content(self.table) == content(self.beside)

    def step(self, *sequence: Change) -> None:
        type(self).steps += len(sequence)
        before = content(self.beside)
        again = embedded()
        assert again.apply(recipe(before)) == []
        right = self.table.apply(sequence), content(self.table)
        for name, other in (("embedded", self.beside), ("made anew", again)):
            found = other.apply(sequence), content(other)
            assert found == right, f"{name}: {found}\nnot {right}\nafter {sequence}\non {before}"

    @rule(target=names, service=some_services)
    def new_service(self, service: Service) -> Service:
        self.step(Change(NEW_SERVICE, service))
        return service

    @rule(name=names, service=some_services, op=st.sampled_from([NEW_SERVICE, SET_SERVICE, SET_SERVICE]))
    def put_service(self, name: Service, service: Service, op: int) -> None:
        self.step(Change(op, named(service, name)))

    @rule(name=names | some_services, op=st.sampled_from([DEL_SERVICE, ZERO]))
    def name_service(self, name: Service, op: int) -> None:
        self.step(Change(op, name))

    @rule(target=servers, name=names, server=some_servers)
    def new_server(self, name: Service, server: Destination) -> Destination:
        self.step(Change(NEW_DEST, name, server))
        return server

    @rule(name=names | some_services, server=servers | some_servers, op=st.sampled_from([NEW_DEST, SET_DEST, DEL_DEST]))
    def put_server(self, name: Service, server: Destination, op: int) -> None:
        self.step(Change(op, name, server))

    @rule(daemon=some_daemons, op=st.sampled_from([NEW_DAEMON, DEL_DAEMON]))
    def put_daemon(self, daemon: Daemon, op: int) -> None:
        self.step(Change(op, daemon=daemon))

    @rule(timeouts=st.builds(Timeouts, seconds, seconds, seconds))
    def set_config(self, timeouts: Timeouts) -> None:
        self.step(Change(SET_CONFIG, timeouts=timeouts))

    @rule(change=st.sampled_from([CLEAR, Change(ZERO)]) | odd_changes)
    def others(self, change: Change) -> None:
        self.step(change)

    @rule(sequence=changes())
    def several(self, sequence: list[Change]) -> None:
        self.step(*sequence[:8])

    @rule(name=names | some_services)
    def look(self, name: Service) -> None:
        assert looked_up(self.beside, name) == looked_up(self.table, name)


def test_the_same_answers_and_the_same_table(backend: Backend) -> None:
    plug_in()
    Tables.table = backend
    Tables.steps = 0
    chosen = settings(
        max_examples=10,
        stateful_step_count=A_RUN,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # to make a run smaller would take the guest minutes; `step` tells all there is to know
        report_multiple_bugs=False,
    )
    run = SEED
    while Tables.steps < STEPS:
        print(f"IPVSADM_SEED={run}")  # stands beside what pytest shows of a failure
        run_state_machine_as_test(seed(run)(Tables), settings=chosen)
        run += 1
    print(f"{Tables.steps} steps, seeds {SEED} to {run - 1}, on {'the kernel' if LAB else 'the embedded table'}")
