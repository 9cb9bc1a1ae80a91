"""Render 1.31's listing byte for byte, trailing blanks included (ipvsadm.c: print_title,
print_service_entry, list_*).

Owns: columns, widths, scaling, truncation. Must never know: backends, where names come from,
streams.

`shown` is the set of slots of the request ("stats", "rate", ...); `endpoint` formats HOST:PORT, by
name or in numbers.
"""

from __future__ import annotations

from pyipvsadm.addresses import EndpointTexts, format_netmask
from pyipvsadm.grammar.options import TUNNEL_TYPES
from pyipvsadm.grammar.values import format_scheduler_flags, get_daemon_values
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    GRE,
    GUE,
    HASHED,
    LOCAL,
    MASQ,
    ONE_PACKET,
    PERSISTENT,
    PROTOCOLS,
    ROUTE,
    TUNNEL,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from pyipvsadm.model import Daemon, Info, Row, Service, Timeouts
    from pyipvsadm.rules.writer import Endpoint

    Values = tuple[Any, ...]  # of a row, without its address and port
    Line = Callable[[Values], str]

    Shown = frozenset[str] | set[str]

METHODS = {MASQ: "Masq", LOCAL: "Local", TUNNEL: "Tunnel", ROUTE: "Route"}
_PROTOCOLS = {number: f"{name:4} " for number, name in PROTOCOLS.items()}
_CHECKSUMS = {0: "-c", 1: "+c", 2: "r+c"}

_TITLES = {
    "stats": "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n",
    "rate": "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n",
    "thresholds": "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n",
    "persistent-conn": "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n",
}
_TITLE_FLAGS = "Prot LocalAddress:Port Scheduler Flags\n"
_SERVER = "  -> RemoteAddress:Port\n"
_SERVER_PLAIN = "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
_SERVER_TUNNEL = (
    "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"
)

_PLAIN = " %-7s %-6d %-10d %-10d\n"
_PACKETS = " %8d %8d %8d"
_FOUR = " %-10d %-10d %-10d %-10d\n"
# A value from SCALED on has more than 8 digits, and makes the line longer.
_FIVE = " %8d %8d %8d %8d %8d\n"
SCALED = 100_000_000  # the least number that is shown with a unit

# How much of a server's name is shown: 1.31 has a buffer of 60 for an IPv6 name, and cuts others at
# the column's end.
_LIMITS = {AF_INET: 28, AF_INET6: 59}

# Which of several views is shown (print_title's order).
_VIEWS = ("stats", "rate", "thresholds", "persistent-conn", "tun-info")


def format_version(info: Info) -> str:
    """Return the first line of a complete listing."""
    return f"IP Virtual Server version {format_version_number(info)} (size={info.size})\n"


def format_version_number(info: Info) -> str:
    """Return the version as text: 0x010201 is 1.2.1."""
    number = info.version
    return f"{number >> 16}.{number >> 8 & 255}.{number & 255}"


def view_of(shown: Shown) -> str:
    """Return the view that the slots ask for, "" for the plain one."""
    for view in _VIEWS:
        if view in shown:
            return view
    return ""


def format_title(shown: Shown) -> str:
    """Return the two lines of headings."""
    view = view_of(shown)
    if view in _TITLES:
        return _TITLES[view] + _SERVER
    return _TITLE_FLAGS + (_SERVER_TUNNEL if view else _SERVER_PLAIN)


def list_columns(shown: Shown) -> tuple[str, ...]:
    """Return the columns that each row of a listing must have (model.to_row)."""
    return _ROWS[view_of(shown)][0]


class Listing:
    """Format services and their servers, in the order in which they come. The view is chosen once,
    not for each service.
    """

    def __init__(self, shown: Shown, endpoint: Endpoint) -> None:
        view = view_of(shown)
        exact = "exact" in shown
        self._endpoint = endpoint
        self._hosts = EndpointTexts(endpoint, "  -> ", 33, _LIMITS)
        self._half = _STATS_SLICES.get(view)
        _, template, rest = _ROWS[view]
        self._sums: Line = _make_exact_formatter if exact else _sums
        self._line: Line = (
            _make_small_formatter(template, rest)
            if template and not exact
            else lambda values: rest(values, exact)
        )

    def format_service(self, found: Service, rows: list[Row]) -> str:
        """Return the lines of a service and its servers."""
        if self._half:
            text = f"{_format_name(found, self._endpoint):33}{self._sums(found.stats[self._half])}"
        else:
            text = format_heading(found, self._endpoint)
        line = self._line
        if len(rows) == 1:  # Fast path: in large tables most services have one server.
            return f"{text}{self._hosts.format_rows(found.protocol, rows)[0]}{line(rows[0][2:])}"
        hosts = self._hosts.format_rows(found.protocol, rows)
        return text + "".join([host + line(row[2:]) for host, row in zip(hosts, rows)])


def format_heading(found: Service, endpoint: Endpoint) -> str:
    """Return the line of a service in the views without counters."""
    return f"{_format_name(found, endpoint)} {found.scheduler}{format_attributes(found)}\n"


def _format_name(found: Service, endpoint: Endpoint) -> str:
    if found.fwmark:
        return f"FWM  {found.fwmark} IPv6" if found.af == AF_INET6 else f"FWM  {found.fwmark}"
    name = _PROTOCOLS.get(found.protocol, "?    ") + endpoint(
        found.af, found.addr, found.port, found.protocol
    )
    return name[: 33 if found.af == AF_INET else 64]


def format_attributes(found: Service) -> str:
    """Return the text after the scheduler's name."""
    if found.flags == HASHED:  # as nearly all have it
        return ""
    text = ""
    flags = format_scheduler_flags(found)
    if flags is not None:
        text += f" ({flags})"
    if found.flags & PERSISTENT:
        text += f" persistent {found.timeout}"
        mask = format_netmask(found.af, found.netmask)
        if mask:
            text += f" mask {mask}"
        if found.pe:
            text += f" pe {found.pe}"
    if found.flags & ONE_PACKET:
        text += " ops"
    return text


def format_counter(value: int, exact: bool) -> str:
    """Return a counter in 9 columns with its unit, or in full with a blank before it
    (print_largenum).
    """
    if exact:
        text = str(value)
        return f"{text:>9}" if len(text) <= 8 else f" {text}"
    return _format_scaled((value,))


def _format_scaled(values: Values) -> str:
    """Format counters, each in 9 columns with its unit. One template for all of them costs two
    thirds of a text for each.
    """
    template = ""
    scaled = []
    for value in values:
        if value < SCALED:
            template += "%9d"
            scaled.append(value)
        elif value < 1_000_000_000:
            template += "%8dK"
            scaled.append(value // 1000)
        elif value < 100_000_000_000:
            template += "%8dM"
            scaled.append(value // 1_000_000)
        elif value < 100_000_000_000_000:
            template += "%8dG"
            scaled.append(value // 1_000_000_000)
        else:
            template += "%8dT"
            scaled.append(value // 1_000_000_000_000)
    return template % tuple(scaled)


def format_method(forward: int) -> str:
    """Return the name of the forwarding method, or its number if it is unknown."""
    return METHODS.get(forward) or str(forward)


def format_tunnel_type(kind: int) -> str:
    """Return the name of a type of tunnel, or its number if it is unknown."""
    return TUNNEL_TYPES[kind] if kind < len(TUNNEL_TYPES) else str(kind)


def format_tunnel(forward: int, tun_type: int, tun_port: bytes, tun_flags: int) -> str:
    """Return the tunnel of a server (fwd_tun_info), with numbers for unknown values."""
    if forward != TUNNEL:
        return "n/a"
    name = format_tunnel_type(tun_type)
    sums = _CHECKSUMS.get(tun_flags, str(tun_flags))
    # The reference has 15 columns for it (snprintf into 16 bytes).
    return {
        GUE: f"{name}:{int.from_bytes(tun_port, 'big')}:{sums}",
        GRE: f"{name}:{sums}",
    }.get(tun_type, name)[:15]


def _format_plain(values: Values, _: bool) -> str:
    forward, weight, active, inactive = values
    return _PLAIN % (format_method(forward), weight, active, inactive)


def _format_stats(values: Values, exact: bool) -> str:
    return f"{_format_counters(values, exact)}\n"


def _format_rate(values: Values, exact: bool) -> str:
    return f"{_PACKETS % values[:3]}{_format_counters(values[3:], exact)}\n"


def _format_counters(values: Values, exact: bool) -> str:
    if exact:
        return "".join([format_counter(value, True) for value in values])
    return _format_scaled(values)


def _format_thresholds(values: Values, _: bool) -> str:
    return _FOUR % values


def _format_persistent(values: Values, _: bool) -> str:
    weight, active, inactive, persistent = values
    return f" {weight:<9} {persistent:<11} {active:<10} {inactive:<10}\n"


def _format_tunnels(values: Values, _: bool) -> str:
    forward, weight, tun_type, tun_port, tun_flags, active, inactive = values
    info = format_tunnel(forward, tun_type, tun_port, tun_flags)
    return f" {format_method(forward):7} {info:13} {weight:<6} {active:<10} {inactive:<10}\n"


def _make_small_formatter(template: str, rest: Callable[[Values, bool], str]) -> Line:
    """Return a formatter of rows whose values mostly fit into the columns of a template, which
    costs half as much as an f-string or as one call a value. A line that gets longer goes to `rest`.
    """
    zeros = (0,) * template.count("%")
    idle = template % zeros
    width = len(idle)

    def format_line(values: Values) -> str:
        if values == zeros:
            return idle
        # Outgoing bytes come last, and are mostly the largest.
        if values[-1] < SCALED:
            line = template % values
            if len(line) == width:
                return line
        return rest(values, False)

    return format_line


# What a service's counters look like: those of --stats, also where its rates are shown.
_sums = _make_small_formatter(_FIVE, _format_stats)


def _make_exact_formatter(values: Values) -> str:
    return _format_stats(values, True)


_STATS_SLICES = {"stats": slice(0, 5), "rate": slice(5, 10)}  # of a service's stats

# A view's columns, the template of a line whose values fit into their columns or "", and the
# formatter of any line.
_ROWS: dict[str, tuple[tuple[str, ...], str, Callable[[Values, bool], str]]] = {
    "": (("forward", "weight", "active", "inactive"), "", _format_plain),
    "stats": (("totals",), _FIVE, _format_stats),
    "rate": (("rates",), _FIVE, _format_rate),
    "thresholds": (("upper", "lower", "active", "inactive"), _FOUR, _format_thresholds),
    "persistent-conn": (("weight", "active", "inactive", "persistent"), "", _format_persistent),
    "tun-info": (
        ("forward", "weight", "tun_type", "tun_port", "tun_flags", "active", "inactive"),
        "",
        _format_tunnels,
    ),
}


def format_timeouts(found: Timeouts) -> str:
    """Return the line of --timeout."""
    return f"Timeout (tcp tcpfin udp): {found.tcp} {found.tcp_fin} {found.udp}\n"


def format_daemons(found: Iterable[Daemon]) -> Iterator[str]:
    """Return a line for each running sync daemon (list_daemon)."""
    for values in map(get_daemon_values, found):
        role, interface = values.pop("role"), values.pop("interface")
        rest = "".join([f", {name}={value}" for name, value in values.items()])
        yield f"{role} sync daemon (mcast={interface}{rest})\n"
