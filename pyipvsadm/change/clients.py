"""Count the clients in the connection table by what a change does to their next connection. Pure.

Owns: whose connection is whose client, and the counts. Must never know: how the connection table is
read, how a client's server is predicted (scheduling/packet.py).

A client is an address with a connection to the service, or with a persistence template; a
network that has a template and no connections counts as one client. Connections do not
tell the mark of their packets: clients of a service by mark are those with templates.
"""

from __future__ import annotations

from pyipvsadm.model import Record
from pyipvsadm.scheduling.impact import find_former_weights
from pyipvsadm.scheduling.packet import (
    FTP_PORT,
    Entry,
    Packet,
    Predictor,
    find_service,
    mask_client,
)
from pyipvsadm.text import pluralize
from pyipvsadm.views.connections import parse_connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyipvsadm.model import Server, Service
    from pyipvsadm.scheduling.build import Build
    from pyipvsadm.scheduling.packet import ConnectionKey, End, Prediction, Settings

    ServiceKey = tuple[int, int, bytes, int, int]
    State = tuple[Service, Sequence[Server]]
    Find = Callable[[ServiceKey], State | None]

_COUNTS = ("clients", "refused", "elsewhere", "bound", "unknown")


class ClientCounts(Record):
    """Hold how many clients a service has (clients), and of these how many a change refuses, sends
    to another server than those that they are connected to (elsewhere), leaves with their server by
    a persistence template (bound), or concerns in a way that cannot be known (unknown).
    """

    __slots__ = _COUNTS

    def __init__(
        self,
        clients: int = 0,
        refused: int = 0,
        elsewhere: int = 0,
        bound: int = 0,
        unknown: int = 0,
    ) -> None:
        self.clients = clients
        self.refused = refused
        self.elsewhere = elsewhere
        self.bound = bound
        self.unknown = unknown

    def describe(self) -> str:
        """Return the counts in words, for their next connections."""
        parts = [
            f"{count} {words}"
            for count, words in (
                (self.refused, "would be refused"),
                (self.elsewhere, "would go to another server"),
                (self.bound, "stay bound by persistence"),
                (self.unknown, "cannot be told"),
            )
            if count
        ]
        known = pluralize(self.clients, "client")
        return f"of {known} now connected, {', '.join(parts) or 'none would be refused or go to another server'}"

    def make_record(self) -> dict[str, int]:
        """Return the counts as they stand in JSON."""
        return {name: getattr(self, name) for name in _COUNTS}


class _Clients:
    """Collect the clients of one service: the ends of their servers by client, and the templates."""

    __slots__ = ("servers", "templates")

    def __init__(self) -> None:
        self.servers: dict[bytes, set[End]] = {}
        self.templates: dict[ConnectionKey, Entry] = {}


def count_clients(
    keys: Iterable[ServiceKey],
    lines: Iterable[bytes],
    find_before: Find,
    find_after: Find,
    build: Build,
    settings: Settings,
) -> dict[ServiceKey, ClientCounts]:
    """Return the counts of each service. lines: of the connection table, without its heading.
    find_before, find_after: return the state of a service before and after the change, by its key
    (Service.key()), None if it does not exist.
    """
    gathered = {key: _Clients() for key in keys}
    _gather_clients(gathered, lines, find_before, settings.first_port)
    return {
        key: _count(key, clients, find_before, find_after, build, settings)
        for key, clients in gathered.items()
    }


def _gather_clients(
    gathered: dict[ServiceKey, _Clients],
    lines: Iterable[bytes],
    find: Find,
    first_port: int,
) -> None:
    """Add each connection and template to the clients of the service that takes its packets."""
    found: dict[tuple[int, End, bool], _Clients | None] = {}
    for line in lines:
        entry = parse_connection(line)
        is_template = entry.client[2] == 0
        target = (entry.number, entry.virtual, is_template)
        if target not in found:
            key = _find_key(entry.number, entry.virtual, is_template, find, first_port)
            found[target] = None if key is None else gathered.get(key)
        clients = found[target]
        if clients is None:
            continue
        if is_template:
            name = (entry.number, *entry.client[1:], *entry.virtual[1:])
            clients.templates[name] = Entry(entry.server, entry.state, entry.expires, entry.engine)
        else:
            clients.servers.setdefault(entry.client[1], set()).add(entry.server)


def _find_key(
    protocol: int, virtual: End, is_template: bool, find: Find, first_port: int
) -> ServiceKey | None:
    """Return the key of the service that has a connection, by its protocol and virtual end
    (ip_vs_core.c: ip_vs_sched_persist for templates).
    """
    af, addr, port = virtual
    if is_template and not protocol:
        return (af, 0, b"", 0, int.from_bytes(addr[:4], "big"))
    if is_template and not port:
        for number in (0, FTP_PORT):
            if find((af, protocol, addr, number, 0)) is not None:
                return (af, protocol, addr, number, 0)
        return None
    service = find_service(
        lambda key: (find(key) or (None,))[0], Packet(af, protocol, addr, port), first_port
    )
    return None if service is None else service.key()


def _count(
    key: ServiceKey,
    clients: _Clients,
    find_before: Find,
    find_after: Find,
    build: Build,
    settings: Settings,
) -> ClientCounts:
    before = find_before(key)
    assert before is not None
    packet = Packet(*key)
    first = Predictor(*before, packet, build, settings, clients.templates)
    after = _find_taking(packet, find_after, settings.first_port)
    second = None
    if after is not None:
        former = find_former_weights(before[1], after[1])
        second = Predictor(*after, packet, build, settings, clients.templates, former)
    _add_template_clients(before[0], clients)
    name = _make_namer(before[1])
    counts = ClientCounts(len(clients.servers))
    for client, ends in clients.servers.items():
        verdict = _judge(
            first.predict(client, None),
            None if second is None else second.predict(client, None),
            {name(end) for end in ends},
            name,
        )
        if verdict:
            setattr(counts, verdict, getattr(counts, verdict) + 1)
    return counts


def _find_taking(packet: Packet, find: Find, first_port: int) -> State | None:
    """Return the service that takes the packet, with its servers."""
    service = find_service(lambda key: (find(key) or (None,))[0], packet, first_port)
    return None if service is None else find(service.key())


def _add_template_clients(service: Service, clients: _Clients) -> None:
    """Add the clients that have a template and no connection."""
    known = {mask_client(service, client) for client in clients.servers}
    for name, entry in clients.templates.items():
        if name[1] not in known and not entry.engine:
            clients.servers[name[1]] = {entry.server}


def _make_namer(servers: Sequence[Server]) -> Callable[[End], End]:
    """Return a function from an end of a connection to the key of its server. The two differ if the
    server stands for every port of its address: persistence keeps the port of the packet.
    """
    keys = {server.key() for server in servers}
    by_address = {(server.af, server.addr): server.key() for server in servers}
    return lambda end: end if end in keys else by_address.get(end[:2], end)


def _judge(
    before: Prediction, after: Prediction | None, present: set[End], name: Callable[[End], End]
) -> str:
    """Return the count that a client belongs to, "" if the change does not concern it. present:
    the servers that the client is connected to. after: None if no service takes its packets.
    """
    if after is None:
        return "refused"
    if after.bound:
        return "bound"
    if (before.candidates, before.may_refuse) == (after.candidates, after.may_refuse):
        return ""
    if not after.candidates:
        return "refused"
    candidates = {name(end) for end in after.candidates}
    if after.may_refuse:
        return "unknown"
    if not candidates & present:
        return "elsewhere"
    return "" if len(candidates) == 1 else "unknown"
