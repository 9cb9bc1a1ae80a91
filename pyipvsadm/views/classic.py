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
    # Makes lines from their first 33 columns and their values.
    LineFormatter = Callable[[list[str], list[Values]], list[str]]

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
_COLUMN_DIGITS = 8  # of a column of counters, which has a blank before it
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


def add_lines(headings: list[str], lines: list[str], counts: list[int]) -> list[str]:
    """Return each heading with its lines after it. counts: how many lines each has."""
    texts = []
    start = 0
    for heading, count in zip(headings, counts):
        texts.append(heading + "".join(lines[start : start + count]))
        start += count
    return texts


class Listing:
    """Format services and their servers, in the order in which they come. The view is chosen once,
    not for each service.
    """

    def __init__(self, shown: Shown, endpoint: Endpoint) -> None:
        view = view_of(shown)
        self._endpoint = endpoint
        self._hosts = EndpointTexts(endpoint, "  -> ", 33, _LIMITS)
        self._half = _STATS_SLICES.get(view)
        self._format_lines = _ROWS[view][1]
        self._format_sums = _format_stats
        if self._half and "exact" in shown:
            self._format_lines = self._format_sums = _format_exact

    def format_tables(self, tables: list[tuple[Service, list[Row]]]) -> str:
        """Return the lines of services, each with its servers."""
        rows = [row[2:] for _, servers in tables for row in servers]
        headings = self._format_headings([service for service, _ in tables])
        lines = self._format_lines(self._hosts.format_tables(tables), rows)
        return "".join(add_lines(headings, lines, [len(servers) for _, servers in tables]))

    def _format_headings(self, services: list[Service]) -> list[str]:
        endpoint, half = self._endpoint, self._half
        if not half:
            return [format_heading(service, endpoint) for service in services]
        return self._format_sums(
            [_format_name(service, endpoint).ljust(33) for service in services],
            [service.stats[half] for service in services],
        )


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
    return f"{' ' * max(1, 1 + _COLUMN_DIGITS - digits)}%s"


def _make_counter_template(digits: int) -> str:
    """Return the template of a counter of so many digits. Its precision leaves off the digits that
    the unit stands for.
    """
    if digits <= _COLUMN_DIGITS:
        return _make_exact_template(digits)
    dropped, unit = _UNITS.get(digits, _LARGEST_UNIT)
    return f"%{_COLUMN_DIGITS}.{digits - dropped}s{unit}"


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


def _format_each(format_line: Callable[[Values], str]) -> LineFormatter:
    """Return the formatter of lines that are made one by one."""

    def format_lines(starts: list[str], rows: list[Values]) -> list[str]:
        return [start + format_line(row) for start, row in zip(starts, rows)]

    return format_lines


def _format_plain(values: Values) -> str:
    forward, weight, active, inactive = values
    return _PLAIN % (format_method(forward), weight, active, inactive)


def _format_persistent(values: Values) -> str:
    weight, active, inactive, persistent = values
    return f" {weight:<9} {persistent:<11} {active:<10} {inactive:<10}\n"


def _format_tunnels(values: Values) -> str:
    forward, weight, tun_type, tun_port, tun_flags, active, inactive = values
    info = format_tunnel(forward, tun_type, tun_port, tun_flags)
    return f" {format_method(forward):7} {info:13} {weight:<6} {active:<10} {inactive:<10}\n"


# Numbers of connections and thresholds repeat; looking up a text is four times as fast as formatting it.
_NUMBERS: TextCache[int] = TextCache(lambda number: f" {number:<10}", CACHE_LIMIT)


def _format_thresholds(starts: list[str], rows: list[Values]) -> list[str]:
    texts = _NUMBERS
    return [
        f"{start}{texts[upper]}{texts[lower]}{texts[active]}{texts[inactive]}\n"
        for start, (upper, lower, active, inactive) in zip(starts, rows)
    ]


def _format_counters(*columns: Callable[[int], str]) -> LineFormatter:
    """Return the formatter of lines of five counters. columns: make the template of a value from
    its number of digits.

    One template for many lines costs less than one for each. Without units, it is the same for all
    lines; with units, the numbers are written first, also by one template.
    """

    def make_template(digits: bytes) -> str:
        parts = [make_column(count) for make_column, count in zip(columns, digits)]
        return f"{''.join(parts)}\n"

    # By the numbers of digits of a line's values, which are few: the counters of a server grow
    # together.
    templates = TextCache(make_template, CACHE_LIMIT)
    count = len(columns)
    zeros = (0,) * count
    short = f" %{_COLUMN_DIGITS}d" * count + "\n"
    idle = short % zeros

    def format_long(busy: list[int]) -> str:
        texts = ("%d " * len(busy) % tuple(busy)).split()
        digits = bytes(map(len, texts))
        template = "".join(
            [templates[digits[start : start + count]] for start in range(0, len(digits), count)]
        )
        return template % tuple(texts)

    def format_lines(starts: list[str], rows: list[Values]) -> list[str]:
        busy = [value for row in rows if row != zeros for value in row]
        if not busy:
            return [start + idle for start in starts]
        is_short = max(busy) < 10**_COLUMN_DIGITS
        text = short * (len(busy) // count) % tuple(busy) if is_short else format_long(busy)
        lines = iter(text.splitlines(keepends=True))
        return [start + (idle if row == zeros else next(lines)) for start, row in zip(starts, rows)]

    return format_lines


# Counters of a service or a server, totals or rates. 1.31 shows connections and packets a second in
# full.
_format_stats = _format_counters(*[_make_counter_template] * 5)
_format_rate = _format_counters(*[_make_exact_template] * 3, *[_make_counter_template] * 2)
_format_exact = _format_counters(*[_make_exact_template] * 5)

_STATS_SLICES = {"stats": slice(0, 5), "rate": slice(5, 10)}  # of a service's stats

# A view's columns, and the formatter of lines.
_ROWS: dict[str, tuple[tuple[str, ...], LineFormatter]] = {
    "": (("forward", "weight", "active", "inactive"), _format_each(_format_plain)),
    "stats": (("totals",), _format_stats),
    "rate": (("rates",), _format_rate),
    "thresholds": (("upper", "lower", "active", "inactive"), _format_thresholds),
    "persistent-conn": (
        ("weight", "active", "inactive", "persistent"),
        _format_each(_format_persistent),
    ),
    "tun-info": (
        ("forward", "weight", "tun_type", "tun_port", "tun_flags", "active", "inactive"),
        _format_each(_format_tunnels),
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
