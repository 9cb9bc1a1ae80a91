"""Render 1.31's listing byte for byte, trailing blanks included (ipvsadm.c: print_title,
print_service_entry, list_*).

Owns: columns, widths, scaling, truncation. Must never know: backends, where names come from,
streams.

`shown` is the set of slots of the request ("stats", "rate", ...); `endpoint` formats HOST:PORT, by
name or in numbers.
"""

from __future__ import annotations

from pyipvsadm.addresses import CACHE_LIMIT, EndpointTexts, TextCache, format_netmask
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
    Templates = TextCache[tuple[int, ...]]  # by the numbers of digits

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
_FOUR = " %-10d %-10d %-10d %-10d\n"
_FIVE = " %8d %8d %8d %8d %8d\n"
_COLUMN_DIGITS = 8  # of a column of _FIVE; a number with more makes the line longer
# Of counters with more digits: how many of them the unit stands for, and the unit; from 15 on, T.
_UNITS = {
    9: (3, "K"),
    **dict.fromkeys((10, 11), (6, "M")),
    **dict.fromkeys((12, 13, 14), (9, "G")),
}
_LARGEST_UNIT = (12, "T")

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
        self._endpoint = endpoint
        self._hosts = EndpointTexts(endpoint, "  -> ", 33, _LIMITS)
        self._half = _STATS_SLICES.get(view)
        self._line = _ROWS[view][1]
        self._sums = _format_stats
        if self._half and "exact" in shown:
            self._line = self._sums = _format_exact

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
    text = str(value)
    return (_make_exact_template if exact else _make_counter_template)(len(text)) % text


def _make_exact_template(digits: int) -> str:
    """Return the template of a number of so many digits, which is shown in full."""
    return "%9s" if digits <= _COLUMN_DIGITS else " %s"


def _make_counter_template(digits: int) -> str:
    """Return the template of a counter of so many digits. Its precision leaves off the digits that
    the unit stands for.
    """
    if digits <= _COLUMN_DIGITS:
        return "%9s"
    dropped, unit = _UNITS.get(digits, _LARGEST_UNIT)
    return f"%8.{digits - dropped}s{unit}"


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


def _format_plain(values: Values) -> str:
    forward, weight, active, inactive = values
    return _PLAIN % (format_method(forward), weight, active, inactive)


def _format_exact(values: Values) -> str:
    return _FIVE % values


def _format_persistent(values: Values) -> str:
    weight, active, inactive, persistent = values
    return f" {weight:<9} {persistent:<11} {active:<10} {inactive:<10}\n"


def _format_tunnels(values: Values) -> str:
    forward, weight, tun_type, tun_port, tun_flags, active, inactive = values
    info = format_tunnel(forward, tun_type, tun_port, tun_flags)
    return f" {format_method(forward):7} {info:13} {weight:<6} {active:<10} {inactive:<10}\n"


def _make_formatter(template: str, templates: Templates | None = None) -> Line:
    """Return the formatter of lines whose values fit into the columns of a template, or mostly do:
    then `templates` has those of longer lines.

    A template costs half as much as an f-string or as one call a value.
    """
    zeros = (0,) * template.count("%")
    idle = template % zeros
    limit = 10**_COLUMN_DIGITS

    def format_line(values: Values) -> str:
        if values == zeros:
            return idle
        # Outgoing bytes come last, and are mostly the largest.
        if templates is None or (values[-1] < limit and max(values) < limit):
            return template % values
        texts = tuple(map(str, values))
        return templates[tuple(map(len, texts))] % texts

    return format_line


def _make_templates(*columns: Callable[[int], str]) -> Templates:
    """Return the templates of lines by the numbers of their values' digits, which are few: counters
    of one line grow together. columns: make the template of a value from its number of digits.
    """

    def make_template(digits: tuple[int, ...]) -> str:
        parts = [make_column(count) for make_column, count in zip(columns, digits)]
        return f"{''.join(parts)}\n"

    return TextCache(make_template, CACHE_LIMIT)


# Counters of a service or a server, totals or rates. 1.31 shows connections and packets a second in
# full.
_format_stats = _make_formatter(_FIVE, _make_templates(*[_make_counter_template] * 5))
_format_rate = _make_formatter(
    _FIVE, _make_templates(*[_make_exact_template] * 3, *[_make_counter_template] * 2)
)

_STATS_SLICES = {"stats": slice(0, 5), "rate": slice(5, 10)}  # of a service's stats

# A view's columns, and the formatter of a line.
_ROWS: dict[str, tuple[tuple[str, ...], Line]] = {
    "": (("forward", "weight", "active", "inactive"), _format_plain),
    "stats": (("totals",), _format_stats),
    "rate": (("rates",), _format_rate),
    "thresholds": (("upper", "lower", "active", "inactive"), _make_formatter(_FOUR)),
    "persistent-conn": (("weight", "active", "inactive", "persistent"), _format_persistent),
    "tun-info": (
        ("forward", "weight", "tun_type", "tun_port", "tun_flags", "active", "inactive"),
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
