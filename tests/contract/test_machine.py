"""A state machine makes every change, legal or not, to a table and to an embedded one, and compares
them after each step.

In the lab the table is the kernel's: a difference is a fault of memory.py. On the host both are
embedded ones. In both, the answer must follow from what the table shows: a new table with the same
content answers the same. IPVSADM_STEPS and IPVSADM_SEED set how many steps, and which. The machine
counts what it tried: a machine whose changes are all refused shows little, so a run of REACHES
steps has to have reached all of PLACES.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pyipvsadm.errors import RefusedError
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    BACKUP,
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    FLUSH,
    MASTER,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    SET_CONFIG,
    SET_DEST,
    SET_SERVICE,
    TUNNEL,
    ZERO,
    Change,
    Server,
    Service,
    Timeouts,
)
from tests.contract.backends import LAB, content, embedded, plug_in, recipe
from tests.contract.shorthand import (
    CLEAR,
    DEFAULT_TIMEOUTS,
    SCHEDULERS,
    backup,
    config,
    master,
    stop,
)
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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyipvsadm.model import Backend, Daemon
    from tests.contract.backends import Content

T = TypeVar("T")

REACHES = 5000
STEPS = int(os.environ.get("IPVSADM_STEPS", "1000" if LAB else str(REACHES)))
SEED = int(os.environ.get("IPVSADM_SEED", "1"))
A_RUN = 50  # steps on one table
MANY = 6  # services; only a table with more of them is cleared


def seldom(usual: st.SearchStrategy[T], wide: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Return a strategy that draws one time in four from `wide`, most of which is refused."""
    return st.integers(0, 3).flatmap(lambda at: usual if at else wide)


some_services = seldom(services, wide_services)
some_servers = seldom(destinations, wide_destinations)
some_daemons = seldom(daemons, wide_daemons)
places = st.integers(0, 63)  # the index of a service or server in the table, modulo their number

OPERATIONS = {
    NEW_SERVICE: "new service",
    SET_SERVICE: "set service",
    DEL_SERVICE: "delete service",
    NEW_DEST: "new server",
    SET_DEST: "set server",
    DEL_DEST: "delete server",
    NEW_DAEMON: "new daemon",
    DEL_DAEMON: "delete daemon",
    SET_CONFIG: "set time-outs",
    ZERO: "zero",
    FLUSH: "flush",
}
REFUSED = {
    "new service": "EAFNOSUPPORT EEXIST EINVAL ENOENT",
    "set service": "EAFNOSUPPORT EINVAL ENOENT ESRCH",
    "delete service": "EAFNOSUPPORT EINVAL ESRCH",
    "new server": "EAFNOSUPPORT EEXIST EINVAL ERANGE ESRCH",
    "set server": "EAFNOSUPPORT EINVAL ENOENT ERANGE ESRCH",
    "delete server": "EAFNOSUPPORT EINVAL ENOENT ESRCH",
    "new daemon": "EEXIST EINVAL ENETUNREACH ENODEV",
    "delete daemon": "EINVAL ESRCH",
    "set time-outs": "EINVAL",
    "zero": "EAFNOSUPPORT ESRCH",
    "another operation": "ENOTSUP",
}
FAMILIES = {AF_INET: "IPv4", AF_INET6: "IPv6"}
ROLES = {MASTER: "master", BACKUP: "backup"}
PLACES = {
    *(f"{name} done" for name in OPERATIONS.values()),
    *(f"{name} {why}" for name, reasons in REFUSED.items() for why in reasons.split()),
    *(f"scheduler {name}" for name in SCHEDULERS),
    *(f"engine {name}" for name in ("", "sip")),
    *(f"{kind} {family}" for kind in ("address", "mark") for family in FAMILIES.values()),
    *(f"{of} server of {family}" for of in FAMILIES.values() for family in FAMILIES.values()),
    *(f"forwarding {method}" for method in range(4)),
    *(f"tunnel {kind}" for kind in range(3)),
    *(f"{role} {what}" for role in ROLES.values() for what in ("started", "stopped")),
    "new daemon beside a server of another family",
    "new server of another family beside a daemon",
}


def reached(change: Change, number: int, before: Content) -> Iterator[str]:
    """Yield those of PLACES that a change reaches: the table held `before`, and answered with that
    errno.
    """
    yield f"{OPERATIONS.get(change.op, 'another operation')} {errno.errorcode[number] if number else 'done'}"
    service, server, daemon = change.service, change.server, change.daemon
    if number:
        if change.op == NEW_DAEMON and any(
            each.af != of.af for of, servers in before.services for each in servers
        ):
            yield "new daemon beside a server of another family"
        if (
            change.op == NEW_DEST
            and service
            and server
            and server.af != service.af
            and before.daemons
        ):
            yield "new server of another family beside a daemon"
        return
    if change.op in (NEW_SERVICE, SET_SERVICE) and service is not None:
        yield f"scheduler {service.scheduler}"
        yield f"engine {service.pe}"
        yield f"{'mark' if service.fwmark else 'address'} {FAMILIES[service.af]}"
    if change.op in (NEW_DEST, SET_DEST) and service is not None and server is not None:
        yield f"{FAMILIES[server.af]} server of {FAMILIES[service.af]}"
        yield f"forwarding {server.forward & 7}"
        if server.forward & 7 == TUNNEL:
            yield f"tunnel {server.tun_type}"
    if daemon is not None:
        yield f"{ROLES[daemon.state]} {'started' if change.op == NEW_DAEMON else 'stopped'}"


def named(service: Service, like: Service) -> Service:
    """Return the values of one service with the name of another."""
    return Service(
        like.af, like.protocol, like.addr, like.port, like.fwmark,
        service.scheduler, service.flags, service.timeout, service.netmask, service.pe,
    )  # fmt: skip


def at_its_place(server: Server, like: Server) -> Server:
    """Return the values of one server with the name of another."""
    return Server(
        like.af, like.addr, like.port, server.forward, server.weight, server.upper, server.lower,
        server.tun_type, server.tun_port, server.tun_flags,
    )  # fmt: skip


def looked_up(backend: Backend, service: Service) -> object:
    try:
        return backend.find_service(service), backend.read_servers(service)
    except RefusedError as exc:
        return exc.errno


class Tables(RuleBasedStateMachine):
    table: Backend
    steps = 0
    seen: Counter[str]

    @initialize()
    def empty(self) -> None:
        self.table.apply([CLEAR, stop(master()), stop(backup()), config(*DEFAULT_TIMEOUTS)])
        self.beside = embedded()
        self.held = content(self.beside)
        assert content(self.table) == self.held

    def step(self, *sequence: Change) -> None:
        type(self).steps += len(sequence)
        before = self.held
        again = embedded()
        assert again.apply(recipe(before)) == []
        right = self.table.apply(sequence), content(self.table)
        for name, other in (("embedded", self.beside), ("made anew", again)):
            found = other.apply(sequence), content(other)
            assert found == right, f"{name}: {found}\nnot {right}\nafter {sequence}\non {before}"
        refused, self.held = dict(right[0]), right[1]
        for index, change in enumerate(sequence):
            self.seen.update(reached(change, refused.get(index, 0), before))

    def service(self, place: int) -> Service:
        return self.held.services[place % len(self.held.services)][0]

    def server(self, place: int) -> tuple[Service, Server]:
        """Return a service and a server of it; a server that does not exist, if the service has
        none.
        """
        service, servers = self.held.services[place % len(self.held.services)]
        return service, servers[place % len(servers)] if servers else Server(
            service.af, service.addr or bytes(4), 9
        )

    # Changes to services and servers that are in the table.

    @rule(service=some_services)
    def new_service(self, service: Service) -> None:
        self.step(Change(NEW_SERVICE, service))

    @precondition(lambda self: self.held.services)
    @rule(
        place=places,
        service=some_services,
        op=st.sampled_from([NEW_SERVICE, SET_SERVICE, SET_SERVICE, SET_SERVICE]),
    )
    def put_service(self, place: int, service: Service, op: int) -> None:
        self.step(Change(op, named(service, self.service(place))))

    @precondition(lambda self: self.held.services)
    @rule(place=places, servers=st.lists(some_servers, min_size=1, max_size=4))
    def new_servers(self, place: int, servers: list[Server]) -> None:
        service = self.service(place)
        self.step(*(Change(NEW_DEST, service, server) for server in servers))

    @precondition(lambda self: self.held.services)
    @rule(
        place=places,
        server=some_servers,
        op=st.sampled_from([NEW_DEST, SET_DEST, SET_DEST, SET_DEST]),
    )
    def put_server(self, place: int, server: Server, op: int) -> None:
        service, there = self.server(place)
        self.step(Change(op, service, at_its_place(server, there)))

    @precondition(lambda self: self.held.services)
    @rule(place=places, op=st.sampled_from([DEL_DEST, DEL_DEST, DEL_SERVICE, ZERO]))
    def name(self, place: int, op: int) -> None:
        service, there = self.server(place)
        self.step(Change(op, service, there if op == DEL_DEST else None))

    @rule(daemon=some_daemons, op=st.sampled_from([NEW_DAEMON, DEL_DAEMON]))
    def put_daemon(self, daemon: Daemon, op: int) -> None:
        self.step(Change(op, daemon=daemon))

    @rule(timeouts=st.builds(Timeouts, seconds, seconds, seconds))
    def set_config(self, timeouts: Timeouts) -> None:
        self.step(Change(SET_CONFIG, timeouts=timeouts))

    @precondition(lambda self: len(self.held.services) > MANY)
    @rule()
    def flush(self) -> None:
        self.step(CLEAR)

    # Changes to what may not be in the table, and changes that no command sends.

    @rule(
        service=some_services,
        server=some_servers,
        op=st.sampled_from([SET_SERVICE, DEL_SERVICE, ZERO, NEW_DEST, SET_DEST, DEL_DEST]),
    )
    def strange(self, service: Service, server: Server, op: int) -> None:
        self.step(Change(op, service, server if op in (NEW_DEST, SET_DEST, DEL_DEST) else None))

    @rule(change=odd_changes | st.just(Change(ZERO)))
    def others(self, change: Change) -> None:
        self.step(change)

    @rule(sequence=changes())
    def several(self, sequence: list[Change]) -> None:
        self.step(*sequence[:8])

    @rule(service=some_services, place=places)
    def look(self, service: Service, place: int) -> None:
        for each in (service, *([self.service(place)] if self.held.services else [])):
            assert looked_up(self.beside, each) == looked_up(self.table, each)


def test_the_same_answers_and_the_same_table(backend: Backend) -> None:
    plug_in()
    Tables.table = backend
    Tables.steps = 0
    Tables.seen = Counter()
    chosen = settings(
        max_examples=10,
        stateful_step_count=A_RUN,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        # no shrinking: it would take the guest minutes, and `step` prints all that is needed
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    run = SEED
    while Tables.steps < STEPS:
        print(f"IPVSADM_SEED={run}")  # pytest prints it with a failure
        run_state_machine_as_test(seed(run)(Tables), settings=chosen)
        run += 1
    print(
        f"{Tables.steps} steps, seeds {SEED} to {run - 1}, on {'the kernel' if LAB else 'the embedded table'}"
    )
    for place, count in sorted(Tables.seen.items()):
        print(f"{count:7} {place}")
    assert Tables.steps < REACHES or Tables.seen.keys() >= PLACES, PLACES - Tables.seen.keys()
