"""Define the records that the Python interface returns. They are frozen, and their fields have the
names and values of the JSON documents (views/json_document.py), from which they are made.

Owns: the types of those fields, which of them count when two records are compared. Must never know:
how a table is read or changed.

Addresses are numbers as text (ipaddress.ip_address takes them), ports and marks are ints, times are
in seconds. A value that a record does not have is None. Two records are equal, and have the same
hash, if their settings are equal: counters and numbers of connections are not compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeVar

    Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Counters:
    """Hold counters of a service or server: totals, or the kernel's estimates per second."""

    connections: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(frozen=True)
class Service:
    """Hold a virtual service: it has either protocol, address and port, or a firewall mark.

    family: "ipv4" or "ipv6". protocol: "tcp", "udp" or "sctp". scheduler_flags: by the names that
    the scheduler has for them. persistence_timeout: None without persistence. one_packet: each UDP
    packet is scheduled by itself.
    """

    family: str
    protocol: str | None = None
    address: str | None = None
    port: int | None = None
    firewall_mark: int | None = None
    scheduler: str = "wlc"
    scheduler_flags: tuple[str, ...] = ()
    persistence_timeout: int | None = None
    persistence_netmask: str | None = None
    persistence_prefix_length: int | None = None
    persistence_engine: str | None = None
    one_packet: bool = False
    unknown_flags: int = 0
    stats: Counters = field(default=Counters(), compare=False)
    rate: Counters = field(default=Counters(), compare=False)


@dataclass(frozen=True)
class Tunnel:
    """Hold how packets are wrapped: type is "ipip", "gue" (to a port) or "gre"."""

    type: str = "ipip"
    port: int | None = None
    checksum: bool = False
    remote_checksum: bool = False
    unknown_flags: int = 0


@dataclass(frozen=True)
class Server:
    """Hold a real server of a service.

    forwarding: "masq" (NAT), "route" (direct routing), "tunnel", or "local", as the kernel reports
    a server on the director itself. weight 0: it gets no new connections. persistent_connections:
    templates that lead to it. Without a threshold, it is None.
    """

    family: str
    address: str
    port: int
    forwarding: str = "route"
    weight: int = 1
    upper_threshold: int | None = None
    lower_threshold: int | None = None
    tunnel: Tunnel | None = None
    active_connections: int = field(default=0, compare=False)
    inactive_connections: int = field(default=0, compare=False)
    persistent_connections: int = field(default=0, compare=False)
    stats: Counters = field(default=Counters(), compare=False)
    rate: Counters = field(default=Counters(), compare=False)


@dataclass(frozen=True)
class Timeouts:
    """Hold how many seconds the kernel keeps a connection: established TCP, TCP after a FIN, UDP."""

    tcp: int
    tcp_fin: int
    udp: int


@dataclass(frozen=True)
class Daemon:
    """Hold a sync daemon that runs. role: "master" or "backup"."""

    role: str
    interface: str
    sync_id: int
    maximum_length: int | None = None
    multicast_group: str | None = None
    multicast_port: int | None = None
    multicast_ttl: int | None = None


@dataclass(frozen=True)
class End:
    """Hold an end of a connection."""

    family: str
    address: str
    port: int


@dataclass(frozen=True)
class Connection:
    """Hold a connection, or a persistence template. expires: the seconds that it is kept.
    firewall_mark: of a template.
    """

    protocol: str
    state: str
    expires: int
    client: End
    virtual: End
    server: End
    persistence_engine: str | None = None
    persistence_data: str | None = None
    template: bool = False
    firewall_mark: int | None = None


@dataclass(frozen=True)
class Step:
    """Hold a change of a plan. rule: as a line that `ipvsadm -R` takes. line: the number of the
    line of the rules that asks for it, None if none does. message: why it was refused or could not
    be undone, None elsewhere.
    """

    rule: str
    line: int | None = None
    message: str | None = None


@dataclass(frozen=True)
class Result:
    """Hold what applying rules did, or with dry_run would do: numbers of services, servers, sync
    daemons and timeouts.

    services_not_in_file: services of the table that the rules do not name and that stay.
    meanwhile: steps that another program was faster than. not_undone: steps that could not be
    undone after a refusal. unchecked: of a dry run, what only the kernel can check. messages: what
    the command would say beside it.
    """

    dry_run: bool
    added: int
    changed: int
    removed: int
    unchanged: int
    services_not_in_file: int
    steps: tuple[Step, ...] = ()
    refused: tuple[Step, ...] = ()
    meanwhile: tuple[Step, ...] = ()
    undone: int = 0
    not_undone: tuple[Step, ...] = ()
    reordered: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """Hold a change of the history.

    id: the number that undo() takes. state: "open" while the change is under way, then "kept" or
    "undone". time: when it began, in ISO 8601 and UTC. uid: the user who had logged in. arguments:
    of the command line, or of the call. undoes: the id of the change that it took back.
    """

    id: int
    state: str
    time: str | None = None
    uid: int | None = None
    terminal: str | None = None
    program: str | None = None
    arguments: tuple[str, ...] = ()
    deadline: int | None = None
    undoes: int | None = None


@dataclass(frozen=True)
class UndoResult:
    """Hold what an undo did. complete: nothing was left. messages: what was undone, and what was left
    because another program has changed it since.
    """

    complete: bool
    messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """Hold which server a client would get.

    outcome: "server" (then `server` is it), "refused", or "one_of" (then `candidates` are those
    that it may be; with may_refuse, none of them is possible too). reason: why, in words.
    """

    client: str
    outcome: str
    reason: str
    server: Address | None = None
    candidates: tuple[Address, ...] = ()
    may_refuse: bool = False


@dataclass(frozen=True)
class Address:
    """Hold the address and port of a predicted server."""

    address: str
    port: int


# The records within records, by their field.
_NESTED: Mapping[tuple[type[Any], str], type[Any]] = {
    **{(kind, name): Counters for kind in (Service, Server) for name in ("stats", "rate")},
    **{(Connection, name): End for name in ("client", "virtual", "server")},
    **{(Result, name): Step for name in ("steps", "refused", "meanwhile", "not_undone")},
    **{(Prediction, name): Address for name in ("server", "candidates")},
    (Server, "tunnel"): Tunnel,
}


def build_record(kind: type[Kind], document: Mapping[str, Any]) -> Kind:
    """Return the record of a JSON object. Fields that the record lacks are ignored: a document may
    gain fields within its format.
    """
    names = {each.name for each in fields(kind)}  # type: ignore[arg-type]  # every kind is a dataclass
    return kind(
        **{
            name: _build_value(_NESTED.get((kind, name)), value)
            for name, value in document.items()
            if name in names
        }
    )


def _build_value(kind: type[Any] | None, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_build_value(kind, each) for each in value)
    return build_record(kind, value) if kind is not None and isinstance(value, dict) else value
