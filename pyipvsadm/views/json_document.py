r"""Render JSON documents (format 1). They hold all fields, whichever view was asked for.

Owns: names and shapes of fields. pyipvsadm/schema/ipvsadm-1.json describes them, and a test holds
the two together. Must never know: backends, where names come from, streams.

A value that does not exist is absent: no null, no zero that means "none". Texts are ASCII with
escapes. A byte from the kernel or the resolver that is not UTF-8 becomes the four characters \xHH,
because strict readers refuse the half of a surrogate pair that Python would write. Counters have 64
bits.
"""

from __future__ import annotations

import json
from _socket import inet_ntop  # the C module beneath `socket`; this is formatting, not I/O

from pyipvsadm.addresses import format_netmask
from pyipvsadm.grammar.options import TUNNEL_TYPES
from pyipvsadm.grammar.values import format_scheduler_flags
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    GUE,
    HASHED,
    IPIP,
    ONE_PACKET,
    PERSISTENT,
    ROLES,
    SCHED1,
    SCHED2,
    SCHED3,
    TUN_CSUM,
    TUN_REMCSUM,
    TUNNEL,
)
from pyipvsadm.resolver import PROTOCOL_NAMES
from pyipvsadm.text import escape_undecodable
from pyipvsadm.views import classic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from pyipvsadm.errors import Finding
    from pyipvsadm.model import Daemon, Info, Server, Service, Timeouts
    from pyipvsadm.views.connections import Connection
    from pyipvsadm.views.shares import Shares

    # services with their servers, and for --shares their shares
    Entry = tuple[Service, list[Server], Shares | None]
    # (family, address, port, protocol) -> the names of host and port, None where there is none
    Names = Callable[[int, bytes, int, int], tuple[str | None, str | None]]

FORMAT = 1

_FAMILIES = {AF_INET: "ipv4", AF_INET6: "ipv6"}
_STATS = ("connections", "packets_in", "packets_out", "bytes_in", "bytes_out")
_FLAGS = PERSISTENT | HASHED | ONE_PACKET | SCHED1 | SCHED2 | SCHED3

# No value holds itself, so nobody has to look for that.
_encode = json.JSONEncoder(separators=(", ", ": "), check_circular=False).encode


def format_document(**fields: Any) -> str:
    """Return a document on one line."""
    return _encode({"format": FORMAT, **fields}) + "\n"


def iter_table(info: Info, entries: Iterable[Entry], names: Names | None) -> Iterator[str]:
    """Yield the document of services with their servers in pieces, one line for each service.
    names: None for numbers only.
    """
    ipvs = {"version": classic.format_version_number(info), "connection_table_size": info.size}
    yield f'{{"format": {FORMAT}, "ipvs": {_encode(ipvs)}, "services": ['
    between = "\n"
    for service, servers, shares in entries:
        yield between
        made = _make_service(service, servers, names)
        if shares:
            _add_shares(made, servers, shares)
        yield _encode(made)
        between = ",\n"
    yield "\n]}\n"


def _make_service(found: Service, servers: list[Server], names: Names | None) -> dict[str, Any]:
    made: dict[str, Any] = {"family": _FAMILIES[found.af]}
    if found.fwmark:
        made["firewall_mark"] = found.fwmark
    else:
        made["protocol"] = PROTOCOL_NAMES.get(found.protocol) or str(found.protocol)
        made |= _make_endpoint(found.af, found.addr, found.port, found.protocol, names)
    made["scheduler"] = escape_undecodable(found.scheduler)
    flags = _name_flags(found)
    if flags:
        made["scheduler_flags"] = flags
    if found.flags & PERSISTENT:
        made["persistence_timeout"] = found.timeout
    mask = format_netmask(found.af, found.netmask)
    if mask and found.af == AF_INET6:
        made["persistence_prefix_length"] = found.netmask
    elif mask:
        made["persistence_netmask"] = mask
    if found.pe:
        made["persistence_engine"] = escape_undecodable(found.pe)
    made["one_packet"] = bool(found.flags & ONE_PACKET)
    if found.flags & ~_FLAGS:
        made["unknown_flags"] = found.flags & ~_FLAGS
    made["stats"] = dict(zip(_STATS, found.stats[:5]))
    made["rate"] = dict(zip(_STATS, found.stats[5:]))
    made["servers"] = [_make_server(each, found.protocol, names) for each in servers]
    return made


def _add_shares(made: dict[str, Any], servers: list[Server], shares: Shares) -> None:
    """Add the shares of new clients to a service and its servers."""
    made["shares"] = shares.make_record()
    for server, record in zip(servers, made["servers"]):
        count = shares.get_count(server)
        if count is not None:
            record["share"] = count


def _name_flags(found: Service) -> list[str]:
    """Return scheduler flags by the names that the scheduler gives them; sh and mh have no name for
    the third.
    """
    flags = [name for name in (format_scheduler_flags(found) or "").split(",") if name]
    return [*flags, "flag-3"] if found.flags & SCHED3 and "flag-3" not in flags else flags


def _make_server(found: Server, protocol: int, names: Names | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "family": _FAMILIES[found.af],
        **_make_endpoint(found.af, found.addr, found.port, protocol, names),
        "forwarding": classic.format_method(found.forward).lower(),
        "weight": found.weight,
        "active_connections": found.active,
        "inactive_connections": found.inactive,
        "persistent_connections": found.persistent,
    }
    if found.upper:
        made["upper_threshold"] = found.upper
    if found.lower:
        made["lower_threshold"] = found.lower
    if found.forward == TUNNEL:
        made["tunnel"] = _make_tunnel(found)
    made["stats"] = dict(zip(_STATS, found.stats[:5]))
    made["rate"] = dict(zip(_STATS, found.stats[5:]))
    return made


def _make_tunnel(found: Server) -> dict[str, Any]:
    kind = found.tun_type
    made: dict[str, Any] = {"type": TUNNEL_TYPES[kind] if kind < len(TUNNEL_TYPES) else str(kind)}
    if kind == GUE:
        made["port"] = found.tun_port
    if kind != IPIP:
        made["checksum"] = bool(found.tun_flags & TUN_CSUM)
        made["remote_checksum"] = bool(found.tun_flags & TUN_REMCSUM)
    unknown = found.tun_flags & ~(TUN_CSUM | TUN_REMCSUM)
    if unknown:
        made["unknown_flags"] = unknown
    return made


def _make_endpoint(
    family: int, addr: bytes, port: int, protocol: int, names: Names | None
) -> dict[str, Any]:
    made: dict[str, Any] = {"address": inet_ntop(family, addr), "port": port}
    if names:
        host, service = names(family, addr, port, protocol)
        if host:
            made["host_name"] = escape_undecodable(host)
        if service:
            made["port_name"] = escape_undecodable(service)
    return made


def make_timeouts(found: Timeouts) -> str:
    """Return the document of the timeouts of connections, in seconds."""
    return format_document(timeouts={"tcp": found.tcp, "tcp_fin": found.tcp_fin, "udp": found.udp})


def make_daemons(found: Iterable[Daemon]) -> str:
    """Return the document of the running sync daemons."""
    return format_document(daemons=[_make_daemon(each) for each in found])


def _make_daemon(found: Daemon) -> dict[str, Any]:
    made: dict[str, Any] = {
        "role": ROLES.get(found.state) or str(found.state),
        "interface": escape_undecodable(found.interface),
        "sync_id": found.syncid,
    }
    if found.maxlen:
        made["maximum_length"] = found.maxlen
    if found.group:
        made["multicast_group"] = inet_ntop(
            AF_INET if len(found.group) == 4 else AF_INET6, found.group
        )
    if found.port:
        made["multicast_port"] = found.port
    if found.ttl:
        made["multicast_ttl"] = found.ttl
    return made


def make_connection(found: Connection, names: Names | None) -> str:
    """Return the document of one connection or persistence template."""
    ends = {
        name: {
            "family": _FAMILIES[family],
            **_make_endpoint(family, addr, port, found.number, names),
        }
        for name, (family, addr, port) in (
            ("client", found.client),
            ("virtual", found.virtual),
            ("server", found.server),
        )
    }
    made = {
        "protocol": escape_undecodable(found.protocol).lower(),
        "state": escape_undecodable(found.state),
        "expires": found.expires,
        **ends,
    }
    if found.engine:
        made |= {
            "persistence_engine": escape_undecodable(found.engine),
            "persistence_data": escape_undecodable(found.data),
        }
    return format_document(**made)


def format_error_document(findings: Iterable[Finding]) -> str:
    """Return the document of a command that failed: its error, and all of them if there are more
    than one (the bad lines of a rules file).
    """
    errors = make_errors(findings)
    fields = {"error": errors[0], "errors": errors} if len(errors) > 1 else {"error": errors[0]}
    return format_document(**fields)


def make_errors(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return findings as JSON objects, each with the fields that it has."""
    return [
        {
            name: escape_undecodable(value) if isinstance(value, str) else value
            for name in ("code", "file", "line", "text", "message", "errno")
            if (value := getattr(each, name))
        }
        for each in findings
    ]
