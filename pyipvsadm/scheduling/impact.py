"""Compare two states of a service: which part of its new clients a change refuses or moves.

Owns: the comparison of hash tables (sh, mh, dh). Must never know: why a state is compared with
another one, how the result is worded.
"""

from __future__ import annotations

import copy

from pyipvsadm.model import SCHED2, Record
from pyipvsadm.scheduling.choice import fill_table, resolve_table
from pyipvsadm.scheduling.overload import NO, get_usable
from pyipvsadm.scheduling.tables import DH_BITS, get_dh_bucket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from pyipvsadm.model import Server, Service
    from pyipvsadm.scheduling.build import Build

    State = tuple[Service, Sequence[Server]]  # all servers of the service, newest first
    ServerKey = tuple[int, bytes, int]

HASHING = ("sh", "mh", "dh")


class Impact(Record):
    """Hold what a change does to the new clients of a service, as counts of `total` buckets of its
    hash table (under dh, for a service by address: 1, since all its clients share one bucket).

    refused: buckets whose clients had a server and get none; moved: those whose clients get another
    server; between: those of `moved` whose former server still takes new clients (the kernel has
    filled the table anew); regained: those whose clients had no server and get one.
    """

    __slots__ = ("between", "moved", "refused", "regained", "total")

    def __init__(
        self, total: int, moved: int, refused: int, between: int, regained: int = 0
    ) -> None:
        self.total = total
        self.moved = moved
        self.refused = refused
        self.between = between
        self.regained = regained


def assess_change(
    before: State, after: State, build: Build, former: Sequence[Server] = ()
) -> Impact | None:
    """Return what a change from one state of a service to another does to its new clients.

    None if the hash tables do not tell: the scheduler has none (HASHING), or becomes another one;
    the flag for the port is set or cleared, so that clients have other buckets; mh's table depends
    on a weight before weight 0, which the kernel does not list. former: an earlier state of the
    servers, if it is known, in which those of `before` with weight 0 had another one.
    """
    scheduler = after[0].scheduler
    if before[0].scheduler != scheduler or scheduler not in HASHING:
        return None
    if scheduler != "dh" and (before[0].flags ^ after[0].flags) & SCHED2:
        return None
    first, second = (
        _list_owners(state, build, find_former_weights(before[1], state[1], former))
        for state in (before, after)
    )
    if first is None or second is None:
        return None
    still = {server.key() for server in after[1] if get_usable(server) != NO}
    moved = refused = between = regained = 0
    for old, new in zip(first, second):
        if old == new:
            continue
        if new is None:
            refused += 1
        elif old is None:
            regained += 1
        else:
            moved += 1
            between += old[1] in still
    return Impact(len(first), moved, refused, between, regained)


def find_former_weights(
    before: Sequence[Server], after: Sequence[Server], former: Sequence[Server] = ()
) -> list[int] | None:
    """Return the latest weight that was not 0 of each server after a change, by which mh goes; None
    if that is not known. former: see assess_change.

    A server that is edited to weight 0 keeps its own, one that is added with weight 0 has none
    (ip_vs_ctl.c: __ip_vs_update_dest).
    """
    known = {server.key(): server.weight for server in (*former, *before) if server.weight}
    present = {server.key() for server in before}
    weights = []
    for server in after:
        weight = server.weight or known.get(server.key())
        if weight is None and server.key() in present:
            return None
        weights.append(weight or 0)
    return weights


def assess_drain(
    service: Service, servers: Sequence[Server], drained: Container[ServerKey], build: Build
) -> Impact | None:
    """Return what weight 0 does to the new clients of a service. servers: all of it, newest first;
    drained: the keys (Server.key()) of those that get weight 0.

    The result is that of assess_change: None if the scheduler is none of HASHING, or if it is mh
    and one of the servers has weight 0 already. `refused / total` is the part of the hash table
    whose clients will be refused, `between / total` the part that moves from one healthy server to
    another, `moved - between` the part that a fallback flag sends to other servers. To see
    what a fallback flag would change, pass a copy of the service that has it. Under dh, `refused`
    is `total` (1) if all clients of the service's address will be refused; for a service by mark,
    `total` is the size of dh's table, by the address that clients connect to.
    """
    after = []
    for server in servers:
        if server.key() in drained:
            server = copy.copy(server)  # noqa: PLW2901
            server.weight = 0
        after.append(server)
    return assess_change((service, servers), (service, after), build)


def _list_owners(
    state: State, build: Build, former: list[int] | None
) -> list[tuple[bool, ServerKey] | None] | None:
    """Return for each bucket the key of the server that takes its clients, or with False of the
    server whose clients are spread over the others; None for a bucket whose clients are refused.

    None in place of the list if the table is not known. former: see Chooser.
    """
    service, servers = state
    sizes = {"sh": build.sh_size, "mh": build.mh_size, "dh": 1 << DH_BITS}
    size = 1 if service.scheduler == "dh" and service.addr else sizes[service.scheduler]
    if not any(servers if former is None or service.scheduler != "mh" else former):
        return [None] * size  # no server is in the table
    table = fill_table(service, servers, build, former)
    if table is None:
        return None
    if size == 1:
        table = [table[get_dh_bucket(service.addr)]]
    usable = [get_usable(server) != NO for server in servers]
    keys = [server.key() for server in servers]
    return [
        None if owner is None else (owner >= 0, keys[owner if owner >= 0 else -1 - owner])
        for owner in resolve_table(service, table, usable)
    ]
