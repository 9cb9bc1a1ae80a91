"""Tell what a plan does to the clients of the services that it changes: shares before and after, the
part of a hash table that moves or is refused, connections of removed servers. Pure.

Owns: which services are looked at, the words and the JSON. Must never know: how a state is read, how
schedulers choose (scheduling/).
"""

from __future__ import annotations

from pyipvsadm.addresses import format_address, format_numeric
from pyipvsadm.change.describe import count_connections
from pyipvsadm.model import (
    DEL_DEST,
    DEL_SERVICE,
    NEW_SERVICE,
    SCHED1,
    SCHED2,
    SET_SERVICE,
    Record,
)
from pyipvsadm.rules import writer
from pyipvsadm.scheduling.choice import FORMER_WEIGHT, MH_FULL, TABLE, WEIGHT
from pyipvsadm.scheduling.impact import HASHING, assess_change, find_former_weights
from pyipvsadm.sorting import sort_servers
from pyipvsadm.text import pluralize
from pyipvsadm.views.shares import Shares, format_percentage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from pyipvsadm.change.clients import ClientCounts
    from pyipvsadm.change.plan import Step
    from pyipvsadm.model import Server, Service
    from pyipvsadm.scheduling.build import Build
    from pyipvsadm.scheduling.impact import Impact

    ServiceKey = tuple[int, int, bytes, int, int]
    State = tuple[Service, Sequence[Server]]

# Services that are examined; of the others only the number is reported.
MAX_SERVICES = 20
# Servers whose shares stand in the text of one service.
MAX_SHARES = 8
_KNOWN = (TABLE, WEIGHT)
# Schedulers whose shares or buckets are known.
_TELLING = frozenset({*HASHING, "rr", "wrr"})
_PARTS = {TABLE: "of the hash table", WEIGHT: "of the turns"}


class ServiceImpact(Record):
    """Hold what a plan does to one service. after: None if the service is deleted. table: what
    happens to the hash table, None if that is not known or there is none. connections: active ones
    of servers that are removed (describe.count_connections). clients: of the connection table,
    None if that was not read.
    """

    __slots__ = ("after", "before", "clients", "connections", "shares", "table")

    def __init__(
        self,
        before: State,
        after: State | None,
        shares: tuple[Shares, Shares] | None,
        table: Impact | None,
        connections: int,
    ) -> None:
        self.before = before
        self.after = after
        self.shares = shares
        self.table = table
        self.connections = connections
        self.clients: ClientCounts | None = None

    @property
    def changes_scheduler(self) -> bool:
        """Return True if the service gets another scheduler."""
        return self.after is not None and self.before[0].scheduler != self.after[0].scheduler


class PlanImpact(Record):
    """Hold the services that were looked at, and how many more the plan changes. expires: whether
    connections of removed servers end (the sysctl expire_nodest_conn).
    """

    __slots__ = ("expires", "more", "services")

    def __init__(self, services: list[ServiceImpact], more: int, expires: bool) -> None:
        self.services = services
        self.more = more
        self.expires = expires


def list_concerned(steps: Iterable[Step]) -> list[ServiceKey]:
    """Return the keys of the services whose clients a plan may concern, in its order: those that
    exist, and whose scheduler tells shares or buckets, gets another one, or loses connections.
    """
    found: dict[ServiceKey, None] = {}
    added: set[ServiceKey] = set()
    for step in steps:
        change = step.change
        service = change.service
        if service is None:
            continue
        if change.op == NEW_SERVICE:
            added.add(service.key())
        elif _concerns_clients(step, service) and service.key() not in added:
            found[service.key()] = None
    return [*found]


def _concerns_clients(step: Step, service: Service) -> bool:
    op = step.change.op
    if op in (DEL_SERVICE, DEL_DEST) and any(
        change.server is not None and count_connections(service, change.server)
        for change in step.undo
    ):
        return True
    if op == DEL_SERVICE:
        return False
    if op == SET_SERVICE:
        old = step.undo[0].service
        assert old is not None
        if old.scheduler != service.scheduler:
            return True
    return service.scheduler in _TELLING


def assess_service(before: State, after: State | None, build: Build) -> ServiceImpact:
    """Return what a change of a service does to its clients. The servers of `after` get the numbers
    of connections that they have in `before`.
    """
    present = {server.key(): server for server in before[1]}
    if after is None:
        left: set[object] = set()
        shares, table = None, None
    else:
        left = {server.key() for server in after[1]}
        for server in after[1]:
            earlier = present.get(server.key())
            if earlier is not None:
                server.active, server.inactive = earlier.active, earlier.inactive
        former = find_former_weights(before[1], after[1])
        shares = Shares(*before, build), Shares(*after, build, former)
        table = assess_change(before, after, build)
    connections = sum(
        count_connections(before[0], server) for key, server in present.items() if key not in left
    )
    return ServiceImpact(before, after, shares, table, connections)


def describe_impact(found: PlanImpact) -> list[str]:
    """Return what a plan does to clients, in lines."""
    lines = []
    for service in found.services:
        selector = writer.format_selector(service.before[0])
        lines += [f"{selector}: {line}" for line in _describe_service(service, found.expires)]
    if found.more:
        lines.append(
            f"what it does to the clients of {pluralize(found.more, 'more service')} is not shown"
        )
    return lines


def _describe_service(found: ServiceImpact, expires: bool) -> Iterator[str]:
    if found.changes_scheduler:
        yield (
            "the change of scheduler refuses new connections for a moment, and any client may get"
            " another server"
        )
    elif found.after is not None:
        text = _describe_table(found, found.after)
        if text:
            yield text
    if found.shares is not None:
        yield from _describe_shares(found)
    if found.connections:
        counted = pluralize(found.connections, "active connection")
        fate = (
            "ended by the next packet at the latest (expire_nodest_conn is 1)"
            if expires
            else "packets are dropped until the timeout, or until the server is added again (expire_nodest_conn is 0)"
        )
        yield f"{counted} of removed servers: {fate}"
    if found.clients is not None:
        yield found.clients.describe()


def _describe_table(found: ServiceImpact, after: State) -> str:
    """Return what happens to the hash table, "" if the scheduler has none."""
    (old, before), (service, servers) = found.before, after
    scheduler = service.scheduler
    if scheduler not in HASHING:
        return ""
    flags = old.flags ^ service.flags
    if found.table is None:
        if flags & SCHED2:
            now = "address and port" if service.flags & SCHED2 else "address alone"
            return f"{scheduler} looks clients up by {now} from now on: any client may get another server"
        reason = FORMER_WEIGHT if any(not server.weight for server in before) else MH_FULL
        return f"not known which clients move: {reason}"
    table = found.table
    kept = ""
    if flags & SCHED1 and _list_weights(before) == _list_weights(servers):
        kept = "the hash table itself stays: "
    return kept + (_describe_address(table) if table.total == 1 else _describe_buckets(table))


def _describe_buckets(table: Impact) -> str:
    """Return which parts of a hash table are refused, move, and are no longer refused."""
    healthy = (
        f" ({format_percentage(table.between, table.total)} from servers that still take clients)"
        if table.between
        else ""
    )
    parts = [
        f"{format_percentage(count, table.total)}{{}} {verb}"
        for count, verb in (
            (table.refused, "is refused"),
            (table.moved, f"moves{healthy}"),
            (table.regained, "is no longer refused"),
        )
        if count
    ]
    if not parts:
        return "no part of the hash table moves or is refused"
    return ", ".join(parts).replace("{}", " of the hash table", 1).replace("{}", "")


def _list_weights(servers: Sequence[Server]) -> list[tuple[object, int]]:
    """Return the servers' keys and weights, from which the kernel fills hash tables."""
    return [(server.key(), server.weight) for server in servers]


def _describe_address(table: Impact) -> str:
    """Return what happens to all clients of one address (dh)."""
    if table.refused:
        return "all clients of this address are refused"
    if table.moved:
        return "all clients of this address move to another server"
    return (
        "the clients of this address are no longer refused"
        if table.regained
        else "no client of this address moves or is refused"
    )


def _list_servers(found: ServiceImpact) -> list[Server]:
    """Return the servers before and after the change, each once, sorted."""
    after = found.after[1] if found.after is not None else ()
    servers = {server.key(): server for server in (*found.before[1], *after)}
    return sort_servers([*servers.values()])


def _describe_shares(found: ServiceImpact) -> Iterator[str]:
    """Yield the shares that change, in one line; nothing if none does, or the new ones are not known."""
    assert found.shares is not None
    if not found.before[1]:
        return
    kinds = [shares.found.kind for shares in found.shares]
    if kinds[1] not in _KNOWN:
        return
    parts = []
    for server in _list_servers(found):
        old, new = (
            shares.format_part(server) if kind in _KNOWN else "?"
            for shares, kind in zip(found.shares, kinds)
        )
        if old != new:
            parts.append(f"{format_numeric(*server.key())} {old} -> {new}")
    if not parts:
        return
    of = [_PARTS[kind] for kind in dict.fromkeys(kinds) if kind in _KNOWN]
    more = f" and {len(parts) - MAX_SHARES} more" if len(parts) > MAX_SHARES else ""
    yield f"shares {', then '.join(of)}: {', '.join(parts[:MAX_SHARES])}{more}"


def make_record(found: PlanImpact) -> dict[str, Any]:
    """Return the impact as it stands in JSON."""
    return {
        "expire_nodest_conn": found.expires,
        "services": [_make_service_record(service) for service in found.services],
        "more_services": found.more,
    }


def _make_service_record(found: ServiceImpact) -> dict[str, Any]:
    record: dict[str, Any] = {
        "service": writer.format_selector(found.before[0]),
        "changes_scheduler": found.changes_scheduler,
        "connections_of_removed_servers": found.connections,
    }
    if found.table is not None:
        record["table"] = {
            name: getattr(found.table, name)
            for name in ("total", "refused", "moved", "between", "regained")
        }
    if found.shares is not None and any(each.found.kind in _KNOWN for each in found.shares):
        record["shares"] = [
            {
                "address": format_address(server.af, server.addr),
                "port": server.port,
                **{
                    name: shares.get_part(server) if shares.found.kind in _KNOWN else None
                    for name, shares in zip(("before", "after"), found.shares)
                },
            }
            for server in _list_servers(found)
        ]
    if found.clients is not None:
        record["clients"] = found.clients.make_record()
    return record
