"""Write rule text: records into the lines of -S.

Owns: the reference's rules (ipvsadm.c: print_service_entry, print_tunnel_rule), and the `full` form
that loses nothing, which is also the embedded table's file. Must never know: files, backends, what
a word means.
"""

from __future__ import annotations

from _socket import inet_ntop  # the C module beneath `socket`; this is formatting, not I/O

from pyipvsadm.addresses import CACHE_LIMIT, format_address, format_numeric
from pyipvsadm.grammar.options import TUNNEL_TYPES
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    BACKUP,
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    GRE,
    HOST_MASK4,
    HOST_PREFIX6,
    IPIP,
    MASQ,
    MASTER,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    ONE_PACKET,
    PERSISTENT,
    ROUTE,
    SCHED1,
    SCHED2,
    SCHED3,
    SCTP,
    SET_CONFIG,
    SET_DEST,
    SET_SERVICE,
    TCP,
    TUNNEL,
    UDP,
    Change,
    to_row,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pyipvsadm.model import Backend, Daemon, Row, Server, Service, Timeouts

    Rows = Iterable[tuple[Service, list[Server]]]

    # (family, address, port, protocol) -> HOST:PORT
    Endpoint = Callable[[int, bytes, int, int], str]

_SELECTORS = {TCP: "-t", UDP: "-u", SCTP: "--sctp-service"}
_FORWARDING = {MASQ: "-m", TUNNEL: "-i", 1: "-g", ROUTE: "-g"}
ROLES = {MASTER: "master", BACKUP: "backup"}
_SCHEDULER_FLAGS = SCHED1 | SCHED2 | SCHED3
_OF_SERVICES = {NEW_SERVICE: "-A", SET_SERVICE: "-E", DEL_SERVICE: "-D"}
_OF_SERVERS = {NEW_DEST: "-a", SET_DEST: "-e", DEL_DEST: "-d"}
FORMAT_VERSION = 1  # of rule text; a line that ever comes to mean something else makes it 2
FORMAT_HEADER = "# ipvsadm rules, format "
UNCACHED_ABOVE = 1000  # servers of one service


def format_selector(service: Service, endpoint: Endpoint) -> str:
    """Format `-t HOST:PORT` or `-f MARK [-6]`, which names a service in every rule about it."""
    if service.fwmark:
        return f"-f {service.fwmark} -6" if service.af == AF_INET6 else f"-f {service.fwmark}"
    option = _SELECTORS.get(service.protocol, "--xxx-service")
    return f"{option} {endpoint(service.af, service.addr, service.port, service.protocol)}"


def format_netmask(service: Service) -> str:
    """Format the netmask of persistence, "" if it is the default. IPv4 dotted, IPv6 the prefix
    length.
    """
    if service.af == AF_INET6:
        return "" if service.netmask == HOST_PREFIX6 else str(service.netmask)
    return (
        ""
        if service.netmask == HOST_MASK4
        else format_address(AF_INET, service.netmask.to_bytes(4, "big"))
    )


def format_scheduler_flags(service: Service) -> str | None:
    """Return the names of a service's scheduler flags with commas, None if it has none; sh and mh
    have no name for the third.
    """
    if not service.flags & _SCHEDULER_FLAGS:
        return None
    from pyipvsadm.grammar.schedulers import SCHEDULER_FLAGS  # noqa: PLC0415  # few services have flags

    own = service.scheduler if service.scheduler in ("sh", "mh") else ""
    return ",".join(
        name for name, bit, only in SCHEDULER_FLAGS if only == own and service.flags & bit
    )


def format_service(service: Service, named: str, full: bool = False, command: str = "-A") -> str:
    """Format the -A line of a service. full: also a netmask without persistence, and flags by names
    that any scheduler accepts.
    """
    rule = f"{command} {named} -s {service.scheduler}"
    mask = format_netmask(service)
    if service.flags & PERSISTENT:
        rule += f" -p {service.timeout}"
    if mask and (full or service.flags & PERSISTENT):
        rule += f" -M {mask}"
    if service.pe:
        rule += f" --pe {service.pe}"
    if service.flags & ONE_PACKET:
        rule += " -o"
    flags = format_scheduler_flags(service)
    if flags is not None:
        if full:
            from pyipvsadm.grammar.schedulers import SCHEDULER_FLAGS  # noqa: PLC0415

            flags = ",".join(
                name for name, bit, only in SCHEDULER_FLAGS if not only and service.flags & bit
            )
        rule += f" -b {flags}"
    return rule + "\n"


_NAMES = {AF_INET: "%s", AF_INET6: "%s"}


class EndpointTextCache:
    """Format the endpoints of real servers, each in its service's protocol, and cache them. shapes:
    a % format for each family.
    """

    def __init__(self, endpoint: Endpoint, shapes: Mapping[int, str] = _NAMES) -> None:
        self._endpoint = endpoint
        self._shapes = shapes
        self._known: dict[int, _EndpointTexts] = {}

    def get_one(self, protocol: int, row: Row) -> str:
        """Return the text of a service's only server."""
        known = self._known.get(protocol)
        return (known or self._choose_protocol(protocol))[row[0] + row[1]]

    def get_many(self, protocol: int, rows: list[Row]) -> list[str]:
        """Return a text for each row."""
        if (
            len(rows) > UNCACHED_ABOVE
            and self._endpoint is format_numeric
            and {len(row[0]) for row in rows} == {4}
        ):
            # So many are hardly found in another service again: writing them down at once is half
            # of remembering them.
            shape = self._shapes[AF_INET]
            ports = _PortTexts()
            return [shape % (inet_ntop(AF_INET, row[0]) + ports[row[1]]) for row in rows]
        known = self._known.get(protocol) or self._choose_protocol(protocol)
        return [known[row[0] + row[1]] for row in rows]

    def _choose_protocol(self, protocol: int) -> _EndpointTexts:
        return self._known.setdefault(
            protocol, _EndpointTexts(self._endpoint, protocol, self._shapes)
        )


class _PortTexts(dict[bytes, str]):
    def __missing__(self, port: bytes) -> str:
        text = self[port] = f":{int.from_bytes(port, 'big')}"
        return text


class _EndpointTexts(dict[bytes, str]):
    def __init__(self, endpoint: Endpoint, protocol: int, shapes: Mapping[int, str]) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._protocol = protocol
        self._shapes = shapes

    def __missing__(self, place: bytes) -> str:
        if len(self) > CACHE_LIMIT:
            self.clear()
        family = AF_INET if len(place) == 6 else AF_INET6
        name = self._endpoint(family, place[:-2], place[-2] << 8 | place[-1], self._protocol)
        text = self[place] = self._shapes[family] % name
        return text


class _OptionTexts(dict["Row", str]):
    """Cache server options by the values of a row: most servers of a table have the same few."""

    def __missing__(self, values: Row) -> str:
        if len(self) > CACHE_LIMIT:
            self.clear()
        text = self[values] = format_server_options(*values)
        return text


class ServerRules:
    """Format the -a lines of real servers. A method or tunnel type that this release does not know
    is written as its number.
    """

    # of the rows, see model.row
    COLUMNS = ("forward", "weight", "tun_type", "tun_port", "tun_flags", "upper", "lower")

    def __init__(self, endpoint: Endpoint) -> None:
        self._hosts = EndpointTextCache(endpoint)
        self._options = _OptionTexts()

    def format_rows(self, service: Service, named: str, rows: list[Row]) -> str:
        """Return a line for each server of the service, which is `named` in each."""
        options = self._options
        start = f"-a {named} -r "
        if len(rows) == 1:  # so it is thousands of times in tables with thousands of services
            return f"{start}{self._hosts.get_one(service.protocol, rows[0])}{options[rows[0][2:]]}"
        hosts = self._hosts.get_many(service.protocol, rows)
        return "".join(
            [f"{start}{host}{options[row[2:]]}" for host, row in zip(hosts, rows, strict=True)]
        )


def format_server(d: Server, named: str, endpoint: str, command: str = "-a") -> str:
    """Format the line of one real server."""
    return f"{command} {named} -r {endpoint}{format_server_options(*to_row(d, ServerRules.COLUMNS)[2:])}"


def format_server_options(
    forward: int,
    weight: int,
    tun_type: int,
    tun_port: bytes,
    tun_flags: int,
    upper: int,
    lower: int,
) -> str:
    """Format the text after a server's address in its -a line, line end included. tun_port: two
    bytes in network order.
    """
    rule = f" {_FORWARDING.get(forward, forward)} -w {weight}"
    if upper:
        rule += f" -x {upper}"
    if lower:
        rule += f" -y {lower}"
    if forward == TUNNEL:
        rule += (
            f" --tun-type {TUNNEL_TYPES[tun_type] if tun_type < len(TUNNEL_TYPES) else tun_type}"
        )
        if tun_type != IPIP:
            if tun_type != GRE:
                rule += f" --tun-port {int.from_bytes(tun_port, 'big')}"
            rule += {
                0: " --tun-nocsum",
                1: " --tun-csum",
                2: " --tun-remcsum",
                3: " --tun-csum --tun-remcsum",
            }.get(tun_flags, f" {tun_flags}")
    return rule + "\n"


def format_timeouts(timeouts: Timeouts) -> str:
    """Format the --set line."""
    return f"--set {timeouts.tcp} {timeouts.tcp_fin} {timeouts.udp}\n"


def format_daemon(daemon: Daemon) -> str:
    """Format the --start-daemon line, with every value that the kernel reported."""
    rule = f"--start-daemon {ROLES.get(daemon.state, daemon.state)} --mcast-interface {daemon.interface}"
    rule += f" --syncid {daemon.syncid}"
    if daemon.maxlen:
        rule += f" --sync-maxlen {daemon.maxlen}"
    if daemon.group:
        rule += f" --mcast-group {format_address(AF_INET if len(daemon.group) == 4 else AF_INET6, daemon.group)}"
    if daemon.port:
        rule += f" --mcast-port {daemon.port}"
    if daemon.ttl:
        rule += f" --mcast-ttl {daemon.ttl}"
    return rule + "\n"


def change_rule(change: Change) -> str:
    """Format the line that -R accepts for a change, numeric, as far as the grammar can express it."""
    service, server, daemon = change.service, change.server, change.daemon
    if change.op in _OF_SERVERS and service is not None and server is not None:
        named, endpoint = (
            format_selector(service, format_numeric),
            format_numeric(server.af, server.addr, server.port),
        )
        if change.op == DEL_DEST:
            return f"-d {named} -r {endpoint}\n"
        return format_server(server, named, endpoint, _OF_SERVERS[change.op])
    if change.op in _OF_SERVICES and service is not None:
        named = format_selector(service, format_numeric)
        if change.op == DEL_SERVICE:
            return f"-D {named}\n"
        return format_service(service, named, True, _OF_SERVICES[change.op])
    if change.op == DEL_DAEMON and daemon is not None:
        return f"--stop-daemon {ROLES.get(daemon.state, daemon.state)}\n"
    if change.op == NEW_DAEMON and daemon is not None:
        return format_daemon(daemon)
    assert change.timeouts is not None
    return format_timeouts(change.timeouts)


def iter_full_rules(
    rows: Rows, timeouts: Timeouts, daemons: Iterable[Daemon], endpoint: Endpoint
) -> Iterator[tuple[Change, str]]:
    """Yield complete lines, each with its change: timeouts, daemons, services, each one's servers
    with the oldest first.

    rows: services in the order of their lines, with their servers newest first. -g and -i lines
    take the service's port whatever they say (ipvsadm.c: process_options).
    """
    yield Change(SET_CONFIG, timeouts=timeouts), format_timeouts(timeouts)
    for daemon in daemons:
        yield Change(NEW_DAEMON, daemon=daemon), format_daemon(daemon)
    for service, servers in rows:
        named = format_selector(service, endpoint)
        yield Change(NEW_SERVICE, service), format_service(service, named, full=True)
        for d in reversed(servers):
            yield (
                Change(NEW_DEST, service, d),
                format_server(d, named, endpoint(d.af, d.addr, d.port, service.protocol)),
            )


def dump_table(table: Backend) -> str:
    """Return the table as complete text, in its own order."""
    rows = (
        (service, table.read_servers(service)) for service in table.read_services(counters=False)
    )
    return "".join(
        [
            f"{FORMAT_HEADER}{FORMAT_VERSION}\n",
            *(
                text
                for _, text in iter_full_rules(
                    rows, table.read_timeouts(), table.read_daemons(), format_numeric
                )
            ),
        ]
    )
