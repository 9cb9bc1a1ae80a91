"""Write rule text: records into the lines of -S.

Owns: the reference's rules (ipvsadm.c: print_service_entry, print_tunnel_rule), and the `full` form
that loses nothing, which is also the embedded table's file. Must never know: files, backends, what
a word means.
"""

from __future__ import annotations

from pyipvsadm.addresses import (
    CACHE_LIMIT,
    EndpointTexts,
    TextCache,
    format_netmask,
    format_numeric,
)
from pyipvsadm.grammar.options import TUNNEL_TYPES
from pyipvsadm.grammar.values import format_scheduler_flags, get_daemon_values
from pyipvsadm.model import (
    AF_INET6,
    BLOCK_LINES,
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    FLUSH,
    GRE,
    IPIP,
    MASQ,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    ONE_PACKET,
    PERSISTENT,
    ROLES,
    ROUTE,
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
    from collections.abc import Callable, Iterable, Iterator

    from pyipvsadm.model import Backend, Daemon, Row, Server, Service, Timeouts

    Rows = Iterable[tuple[Service, list[Server]]]

    # (family, address, port, protocol) -> HOST:PORT
    Endpoint = Callable[[int, bytes, int, int], str]

_SELECTORS = {TCP: "-t", UDP: "-u", SCTP: "--sctp-service"}
_FORWARDING = {MASQ: "-m", TUNNEL: "-i", 1: "-g", ROUTE: "-g"}
_OF_SERVICES = {NEW_SERVICE: "-A", SET_SERVICE: "-E", DEL_SERVICE: "-D"}
_OF_SERVERS = {NEW_DEST: "-a", SET_DEST: "-e", DEL_DEST: "-d"}
# of a daemon's values (grammar.values.get_daemon_values)
_DAEMON_OPTIONS = {
    "role": "start-daemon", "interface": "mcast-interface", "syncid": "syncid", "maxlen": "sync-maxlen",
    "group": "mcast-group", "port": "mcast-port", "ttl": "mcast-ttl",
}  # fmt: skip
FORMAT_VERSION = 1  # of rule text; a line that ever comes to mean something else makes it 2
FORMAT_HEADER = "# ipvsadm rules, format "


def format_selector(service: Service, endpoint: Endpoint = format_numeric) -> str:
    """Format `-t HOST:PORT` or `-f MARK [-6]`, which names a service in every rule about it."""
    if service.fwmark:
        return f"-f {service.fwmark} -6" if service.af == AF_INET6 else f"-f {service.fwmark}"
    option = _SELECTORS.get(service.protocol, "--xxx-service")
    return f"{option} {endpoint(service.af, service.addr, service.port, service.protocol)}"


def format_entry(service: Service, server: Server | None = None) -> str:
    """Format `-t HOST:PORT`, and `-r HOST:PORT` for a server of that service, in numbers."""
    named = format_selector(service)
    if server is None:
        return named
    return f"{named} -r {format_numeric(server.af, server.addr, server.port)}"


def format_service(service: Service, named: str, full: bool = False, command: str = "-A") -> str:
    """Format the -A line of a service. full: also a netmask without persistence, and flags for which
    the scheduler has no name.
    """
    rule = f"{command} {named} -s {service.scheduler}"
    mask = format_netmask(service.af, service.netmask)
    if service.flags & PERSISTENT:
        rule += f" -p {service.timeout}"
    if mask and (full or service.flags & PERSISTENT):
        rule += f" -M {mask}"
    if service.pe:
        rule += f" --pe {service.pe}"
    if service.flags & ONE_PACKET:
        rule += " -o"
    flags = format_scheduler_flags(service, full)
    if flags is not None:
        rule += f" -b {flags}"
    return rule + "\n"


class TableRules:
    """Format the -A and -a lines of a table. A method or tunnel type that this release does not know
    is written as its number.
    """

    # The columns of the rows (model.to_row).
    COLUMNS = ("forward", "weight", "tun_type", "tun_port", "tun_flags", "upper", "lower")

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._hosts = EndpointTexts(endpoint)
        # Most servers of a table have the same few options.
        self._options: TextCache[Row] = TextCache(
            lambda values: format_server_options(*values), CACHE_LIMIT
        )

    def format_tables(self, tables: list[tuple[Service, list[Row]]]) -> str:
        """Return a line for each service, and after it one for each of its servers."""
        options = self._options
        hosts = iter(self._hosts.format_tables(tables))
        parts = []
        for service, rows in tables:
            selector = format_selector(service, self._endpoint)
            parts.append(format_service(service, selector))
            start = f"-a {selector} -r "
            parts += [f"{start}{host}{options[row[2:]]}" for row, host in zip(rows, hosts)]
        return "".join(parts)


def format_server(d: Server, named: str, endpoint: str, command: str = "-a") -> str:
    """Format the line of one real server."""
    return f"{command} {named} -r {endpoint}{format_server_options(*to_row(d, TableRules.COLUMNS)[2:])}"


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
    options = [
        f"--{_DAEMON_OPTIONS[name]} {value}" for name, value in get_daemon_values(daemon).items()
    ]
    return " ".join(options) + "\n"


def change_rule(change: Change) -> str:
    """Format the line that -R accepts for a change, numeric, as far as the grammar can express it."""
    service, server, daemon = change.service, change.server, change.daemon
    if change.op in _OF_SERVERS and service is not None and server is not None:
        named, endpoint = (
            format_selector(service),
            format_numeric(server.af, server.addr, server.port),
        )
        if change.op == DEL_DEST:
            return f"-d {named} -r {endpoint}\n"
        return format_server(server, named, endpoint, _OF_SERVERS[change.op])
    if change.op in _OF_SERVICES and service is not None:
        named = format_selector(service)
        if change.op == DEL_SERVICE:
            return f"-D {named}\n"
        return format_service(service, named, True, _OF_SERVICES[change.op])
    if change.op == DEL_DAEMON and daemon is not None:
        return f"--stop-daemon {ROLES.get(daemon.state, daemon.state)}\n"
    if change.op == NEW_DAEMON and daemon is not None:
        return format_daemon(daemon)
    if change.op == FLUSH:
        return "-C\n"
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


def dump_table(table: Backend) -> Iterator[str]:
    """Yield the table as complete text, in its own order, in blocks of at most BLOCK_LINES lines."""
    rows = (
        (service, table.read_servers(service)) for service in table.read_services(counters=False)
    )
    rules = iter_full_rules(rows, table.read_timeouts(), table.read_daemons(), format_numeric)
    lines = [f"{FORMAT_HEADER}{FORMAT_VERSION}\n"]
    for _, text in rules:
        lines.append(text)
        if len(lines) == BLOCK_LINES:
            yield "".join(lines)
            lines.clear()
    yield "".join(lines)
