"""List the fields of services, real servers, counters, timeouts, sync daemons and connections: one
row for each.

Owns: each field's JSON key, type, value, metric, unit, heading and help text. JSON, metrics and
the headings of --pretty and --watch are rendered from these tables; the JSON Schema and the man
page are held against them. Must never know: backends, how a document or a metric is written.
"""

from __future__ import annotations

from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from pyipvsadm.addresses import format_address, format_netmask
from pyipvsadm.grammar.values import format_scheduler_flags
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    GUE,
    HASHED,
    IPIP,
    ONE_PACKET,
    PERSISTENT,
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
    from collections.abc import Callable, Iterable

    from pyipvsadm.model import Service

_FAMILIES = {AF_INET: "ipv4", AF_INET6: "ipv6"}
_FLAGS = PERSISTENT | HASHED | ONE_PACKET | SCHED1 | SCHED2 | SCHED3


class Field(NamedTuple):
    """Describe a field. key: in JSON; read: from the record to the value in JSON, None if the field
    is absent; type: as JSON Schema names it; metric: its name after ipvs_service_ or ipvs_server_,
    "" for none; unit: "" for a number or text; heading: of a column or row for people, in one or two
    lines.
    """

    key: str
    type: str
    read: Callable[[Any], Any]
    help: str
    optional: bool = False
    metric: str = ""
    unit: str = ""
    heading: str = ""

    @property
    def kind(self) -> str:
        """Return the type of the metric."""
        return "counter" if self.metric.endswith("_total") else "gauge"


def read_fields(fields: Iterable[Field], record: Any) -> dict[str, Any]:
    """Return the fields that a record has, by their keys."""
    return {field.key: value for field in fields if (value := field.read(record)) is not None}


def _name_flags(service: Service) -> list[str] | None:
    """Return scheduler flags by the names that the scheduler gives them; sh and mh have no name for
    the third.
    """
    flags = [name for name in (format_scheduler_flags(service) or "").split(",") if name]
    if service.flags & SCHED3 and "flag-3" not in flags:
        flags.append("flag-3")
    return flags or None


# of servers, of the ends of connections, and of services without a firewall mark
END_FIELDS = (
    Field("family", "string", lambda end: _FAMILIES[end.af], "Of the address."),
    Field("address", "string", lambda end: format_address(end.af, end.addr) if end.addr else None,
          "The whole address in numbers, as inet_ntop writes it."),
    Field("port", "integer", lambda end: end.port if end.addr else None,
          "0: every port (a service), or none (a template)."),
)  # fmt: skip
# of (host's name, port's name)
NAME_FIELDS = (
    Field("host_name", "string", lambda names: escape_undecodable(names[0]) if names[0] else None,
          "The address's name; absent with -n, and when none was found in time.", True),
    Field("port_name", "string", lambda names: escape_undecodable(names[1]) if names[1] else None,
          "The port's name; absent with -n, and when it has none.", True),
)  # fmt: skip

# The first five values of stats, in their order; the next five are the same per second.
COUNTERS = (
    Field("connections", "integer", itemgetter(0), "Scheduled.", metric="connections_total", heading="Conns"),
    Field("packets_in", "integer", itemgetter(1), "From clients.", metric="packets_in_total", heading="Packets\nin"),
    Field("packets_out", "integer", itemgetter(2), "To clients; only of masq does the director see them.",
          metric="packets_out_total", heading="Packets\nout"),
    Field("bytes_in", "integer", itemgetter(3), "From clients.", metric="bytes_in_total", unit="bytes",
          heading="Bytes\nin"),
    Field("bytes_out", "integer", itemgetter(4), "To clients.", metric="bytes_out_total", unit="bytes",
          heading="Bytes\nout"),
)  # fmt: skip
_COUNTER_KEYS = [field.key for field in COUNTERS]
STATS_FIELDS = (
    Field("stats", "object", lambda record: dict(zip(_COUNTER_KEYS, record.stats[:5])), "Counters since the last -Z."),
    Field("rate", "object", lambda record: dict(zip(_COUNTER_KEYS, record.stats[5:])),
          "The kernel's estimate of the same, per second."),
)  # fmt: skip

# what names a service; a firewall mark has no address and port
SERVICE_KEY_FIELDS = (
    END_FIELDS[0],
    Field("firewall_mark", "integer", lambda service: service.fwmark or None,
          "Instead of protocol, address and port.", True),
    Field("protocol", "string",
          lambda service: None if service.fwmark else PROTOCOL_NAMES.get(service.protocol, str(service.protocol)),
          "tcp, udp or sctp; another by its number.", True),
    *END_FIELDS[1:],
)  # fmt: skip
SERVICE_FIELDS = (
    Field("scheduler", "string", lambda service: escape_undecodable(service.scheduler),
          "Its name; none where there is none."),
    Field("scheduler_flags", "array", _name_flags, "By the names that the scheduler gives them.", True),
    Field("persistence_timeout", "integer", lambda service: service.timeout if service.flags & PERSISTENT else None,
          "Seconds. Absent: the service is not persistent.", True, unit="seconds"),
    Field("persistence_netmask", "string",
          lambda service: format_netmask(AF_INET, service.netmask) or None if service.af == AF_INET else None,
          "IPv4: which clients persistence takes as one. Absent: each by itself.", True),
    Field("persistence_prefix_length", "integer",
          lambda service: service.netmask if service.af == AF_INET6 and format_netmask(AF_INET6, service.netmask) else None,
          "IPv6: the same as a length in bits. Absent: 128.", True, unit="bits"),
    Field("persistence_engine", "string", lambda service: escape_undecodable(service.pe) or None, "Absent: none.",
          True),
    Field("one_packet", "boolean", lambda service: bool(service.flags & ONE_PACKET), "One-packet scheduling."),
    Field("unknown_flags", "integer", lambda service: service.flags & ~_FLAGS or None,
          "Flags of a newer kernel, as a number.", True),
    *STATS_FIELDS,
)  # fmt: skip

# of a server with forwarding by a tunnel
TUNNEL_FIELDS = (
    Field("type", "string", lambda server: classic.format_tunnel_type(server.tun_type),
          "ipip, gue or gre; another by its number."),
    Field("port", "integer", lambda server: server.tun_port if server.tun_type == GUE else None,
          "gue: the destination port.", True),
    Field("checksum", "boolean", lambda server: bool(server.tun_flags & TUN_CSUM) if server.tun_type != IPIP else None,
          "gue and gre.", True),
    Field("remote_checksum", "boolean",
          lambda server: bool(server.tun_flags & TUN_REMCSUM) if server.tun_type != IPIP else None,
          "gue and gre (which knows none: false).", True),
    Field("unknown_flags", "integer", lambda server: server.tun_flags & ~(TUN_CSUM | TUN_REMCSUM) or None,
          "Flags of a newer kernel, as a number.", True),
)  # fmt: skip
SERVER_FIELDS = (
    Field("forwarding", "string", lambda server: classic.format_method(server.forward).lower(),
          "masq, route, tunnel or local; another by its number.", heading="Method"),
    Field("weight", "integer", attrgetter("weight"), "0: it gets no new connections.", metric="weight",
          heading="Weight"),
    Field("active_connections", "integer", attrgetter("active"), "Those that are established.",
          metric="active_connections", heading="Active"),
    Field("inactive_connections", "integer", attrgetter("inactive"), "Those in other states.",
          metric="inactive_connections", heading="InAct"),
    Field("persistent_connections", "integer", attrgetter("persistent"), "Templates of persistence that lead here.",
          metric="persistent_connections", heading="Persistent"),
    Field("upper_threshold", "integer", lambda server: server.upper or None,
          "Connections above which it gets no new ones. Absent: none.", True, metric="upper_threshold",
          heading="Upper"),
    Field("lower_threshold", "integer", lambda server: server.lower or None,
          "Connections below which it gets new ones again. Absent: none.", True, metric="lower_threshold",
          heading="Lower"),
    Field("tunnel", "object", lambda server: read_fields(TUNNEL_FIELDS, server) if server.forward == TUNNEL else None,
          "Only of forwarding tunnel.", True, heading="Tunnel"),
    *STATS_FIELDS,
)  # fmt: skip

TIMEOUTS = (
    Field("tcp", "integer", attrgetter("tcp"), "Established.", metric="timeout_seconds", unit="seconds",
          heading="TCP, established"),
    Field("tcp_fin", "integer", attrgetter("tcp_fin"), "After a FIN.", metric="timeout_seconds", unit="seconds",
          heading="TCP, after a FIN"),
    Field("udp", "integer", attrgetter("udp"), "After the last packet.", metric="timeout_seconds", unit="seconds",
          heading="UDP"),
)  # fmt: skip
# of the values of a daemon (grammar.values.get_daemon_values); the first three name it
DAEMON_FIELDS = (
    Field("role", "string", itemgetter("role"), "master or backup.", heading="Daemon"),
    Field("interface", "string", lambda values: escape_undecodable(values["interface"]),
          "Through which it sends or listens.", heading="Interface"),
    Field("sync_id", "integer", itemgetter("syncid"), "0 to 255.", heading="Sync ID"),
    Field("maximum_length", "integer", lambda values: values.get("maxlen"),
          "Bytes of a message, without IP and UDP headers.", True, unit="bytes", heading="Message\nat most"),
    Field("multicast_group", "string", lambda values: values.get("group"), "IPv4 or IPv6.", True, heading="Group"),
    Field("multicast_port", "integer", lambda values: values.get("port"), "UDP.", True, heading="Port"),
    Field("multicast_ttl", "integer", lambda values: values.get("ttl"), "1 to 255.", True, heading="TTL"),
)  # fmt: skip
# The values of client, virtual and server are (family, address, port): see END_FIELDS.
CONNECTION_FIELDS = (
    Field("protocol", "string", lambda found: escape_undecodable(found.protocol).lower(),
          "tcp, udp, sctp ...; ip is a template of a firewall mark, which stands in the virtual address."),
    Field("state", "string", lambda found: escape_undecodable(found.state), "The kernel's name for it, as ESTABLISHED.",
          heading="State"),
    Field("expires", "integer", attrgetter("expires"), "Seconds until the kernel forgets it, if no packet comes.",
          unit="seconds", heading="Expires in"),
    Field("template", "boolean", lambda found: found.is_template or None,
          "true: a persistence template, which leads the client's next connections to the server. Absent: a connection.",
          True),
    Field("firewall_mark", "integer", lambda found: found.mark or None,
          "The mark of a template; it stands in the virtual address as well.", True),
    *(Field(name, "object", attrgetter(name), "An end of a connection.") for name in ("client", "virtual", "server")),
    Field("persistence_engine", "string", lambda found: escape_undecodable(found.engine) or None, "Absent: none.", True,
          heading="Engine"),
    Field("persistence_data", "string", lambda found: escape_undecodable(found.data) if found.engine else None,
          "What the engine remembers the client by.", True, heading="Its data"),
)  # fmt: skip

HEADINGS = {
    field.key: field.heading
    for field in (*COUNTERS, *SERVER_FIELDS, *DAEMON_FIELDS, *CONNECTION_FIELDS)
    if field.heading
}
