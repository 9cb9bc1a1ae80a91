"""Render listings for people at a terminal: records to lines of a grid, one set of columns for each
view.

Owns: which values each view shows, and which stand out. Must never know: backends, where names come
from, streams.

Text that others choose (names, data of persistence engines) passes text.sanitize before it is
shown.
"""

from __future__ import annotations

from functools import partial

from pyipvsadm.addresses import format_address, format_netmask
from pyipvsadm.grammar.options import TUNNEL_TYPES
from pyipvsadm.grammar.values import format_scheduler_flags
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    GRE,
    GUE,
    HASHED,
    ONE_PACKET,
    PERSISTENT,
    PROTOCOLS,
    ROLES,
    TUN_CSUM,
    TUNNEL,
)
from pyipvsadm.text import pluralize, sanitize
from pyipvsadm.views import classic
from pyipvsadm.views.figures import draw_bar, format_count, format_duration, format_size
from pyipvsadm.views.grid import Cell, Column, Grid, Row, wrap_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyipvsadm.model import Daemon, Info, Server, Service, Timeouts
    from pyipvsadm.rules.writer import Endpoint
    from pyipvsadm.views.classic import Shown
    from pyipvsadm.views.connections import Connection
    from pyipvsadm.views.grid import Line, TerminalStyle
    from pyipvsadm.views.shares import Shares

SERVICE = "bold"
QUIESCED = "magenta"  # ANSI's yellow cannot be read on white
ALARM = "bold red"
WEIGHTS = "cyan"
LOADS = "green"
FAINT = "dim"
IPV4 = 21  # the longest 255.255.255.255:65535
SERVICES = "Service / server"


class ServiceGroup:
    """Hold a service and its servers, with the sums that shares refer to."""

    __slots__ = ("connections", "counted", "rate", "servers", "service", "shares", "weight")

    def __init__(
        self, service: Service, servers: list[Server], shares: Shares | None = None
    ) -> None:
        self.service = service
        self.servers = servers
        self.shares = shares  # for the view of that name
        self.weight = sum(d.weight for d in servers)
        self.connections = sum(d.active + d.inactive for d in servers)
        self.counted = sum(d.stats[0] for d in servers)
        self.rate = sum(d.stats[5] for d in servers)


class View:
    """Hold the columns of a view and the functions that make cells.

    `service` makes the cells of a service; it is None if the service's attributes take the line.
    """

    __slots__ = ("columns", "server", "service")

    def __init__(
        self,
        columns: Sequence[Column],
        server: Callable[[ServiceGroup, Server, bool], list[Cell]],
        service: Callable[[ServiceGroup, bool], list[Cell]] | None = None,
    ) -> None:
        self.columns = columns
        self.server = server
        self.service = service


def draw_share(part: float, whole: float, style: str) -> Cell:
    """Draw a bar."""
    return Cell("", style, partial(draw_bar, part / whole if whole else 0.0))


def draw_weight(group: ServiceGroup, d: Server) -> list[Cell]:
    """Return the weight, and the server's share of the service's weights; weight 0 is shown as a
    word: such a server gets no new connections.
    """
    if not d.weight:
        return [Cell("0", QUIESCED), Cell("quiesced", QUIESCED)]
    return [Cell(str(d.weight)), draw_share(d.weight, group.weight, WEIGHTS)]


def draw_load(group: ServiceGroup, d: Server) -> list[Cell]:
    """Return the connections, and the server's share of the service's. Active and inactive ones
    count together, because all of UDP's are inactive.
    """
    return [
        Cell(str(d.active)),
        Cell(str(d.inactive)),
        draw_share(d.active + d.inactive, group.connections, LOADS),
    ]


def _make_plain_cells(group: ServiceGroup, d: Server, _: bool) -> list[Cell]:
    return [Cell(classic.format_method(d.forward)), *draw_weight(group, d), *draw_load(group, d)]


def _make_share_cells(group: ServiceGroup, d: Server, _: bool) -> list[Cell]:
    assert group.shares is not None
    part = group.shares.get_part(d)
    bar = draw_share(part, 1, LOADS) if part else Cell()
    return [*draw_weight(group, d), Cell(group.shares.format_part(d)), bar]


def _make_persistent_cells(group: ServiceGroup, d: Server, _: bool) -> list[Cell]:
    return [*draw_weight(group, d), Cell(str(d.persistent)), *draw_load(group, d)]


def _make_tunnel_cells(group: ServiceGroup, d: Server, _: bool) -> list[Cell]:
    return [
        Cell(classic.format_method(d.forward)),
        Cell(_format_tunnel(d)),
        *draw_weight(group, d),
        *draw_load(group, d),
    ]


def _format_tunnel(d: Server) -> str:
    if d.forward != TUNNEL:
        return "-"
    if d.tun_type not in (GUE, GRE):
        return TUNNEL_TYPES[d.tun_type] if d.tun_type < len(TUNNEL_TYPES) else str(d.tun_type)
    sums = {0: "no checksum", TUN_CSUM: "checksum", 2: "remote checksum"}.get(
        d.tun_flags, f"flags {d.tun_flags}"
    )
    return (
        f"{TUNNEL_TYPES[d.tun_type]} {d.tun_port}, {sums}"
        if d.tun_type == GUE
        else f"{TUNNEL_TYPES[d.tun_type]}, {sums}"
    )


def _make_threshold_cells(_: ServiceGroup, d: Server, __: bool) -> list[Cell]:
    held = d.active + d.inactive  # what the kernel compares (ip_vs_conn.c: ip_vs_dest_totalconns)
    limits = [Cell(str(value)) if value else Cell("none", FAINT) for value in (d.upper, d.lower)]
    full = d.upper and held >= d.upper
    gauge = (
        Cell() if not d.upper else Cell("full", ALARM) if full else draw_share(held, d.upper, LOADS)
    )
    return [*limits, Cell(str(d.active)), Cell(str(d.inactive)), gauge]


def format_counters(values: Sequence[float], exact: bool) -> list[Cell]:
    """Return the cells of connections, packets in and out, bytes in and out."""
    return [Cell(format_count(value, exact)) for value in values[:3]] + [
        Cell(format_size(value, exact)) for value in values[3:]
    ]


def _append_cells(cells: list[Cell], more: Cell) -> list[Cell]:
    return [cells[0], more, *cells[1:]]


def _make_stats_cells(group: ServiceGroup, d: Server, exact: bool) -> list[Cell]:
    return _append_cells(
        format_counters(d.stats[:5], exact), draw_share(d.stats[0], group.counted, LOADS)
    )


def _make_rate_cells(group: ServiceGroup, d: Server, exact: bool) -> list[Cell]:
    return _append_cells(
        format_counters(d.stats[5:], exact), draw_share(d.stats[5], group.rate, LOADS)
    )


def make_traffic_columns(unit: str, *drops: int) -> list[Column]:
    """Return the columns of packets and bytes, in and out; unit: "/s" or nothing."""
    heads = (("Packets", "in"), ("Packets", "out"), ("Bytes", "in"), ("Bytes", "out"))
    return [
        Column(top, bottom + unit, 7, drop=drop)
        for (top, bottom), drop in zip(heads, drops or (0,) * 4)
    ]


_METHOD = Column("Method", left=True)
_WEIGHT = (Column("Weight"), Column("", bars=True))
_LOAD = (Column("Active"), Column("InAct"), Column("Share", bars=True))

VIEWS = {
    "": View((_METHOD, *_WEIGHT, *_LOAD), _make_plain_cells),
    "stats": View(
        (Column("Conns"), Column("", bars=True, drop=1), *make_traffic_columns("")),
        _make_stats_cells,
        lambda group, exact: _append_cells(format_counters(group.service.stats[:5], exact), Cell()),
    ),
    "rate": View(
        (Column("Conns/s"), Column("", bars=True, drop=1), *make_traffic_columns("/s")),
        _make_rate_cells,
        lambda group, exact: _append_cells(format_counters(group.service.stats[5:], exact), Cell()),
    ),
    "thresholds": View(
        (
            Column("Upper"),
            Column("Lower"),
            Column("Active"),
            Column("InAct"),
            Column("Used", bars=True),
        ),
        _make_threshold_cells,
    ),
    "shares": View((*_WEIGHT, Column("New clients"), Column("", bars=True)), _make_share_cells),
    "persistent-conn": View((*_WEIGHT, Column("Persistent"), *_LOAD), _make_persistent_cells),
    "tun-info": View((_METHOD, Column("Tunnel", left=True), *_WEIGHT, *_LOAD), _make_tunnel_cells),
}


def format_service_name(service: Service, endpoint: Endpoint) -> str:
    """Return the name of a service."""
    if service.fwmark:
        return f"FWM {service.fwmark} IPv6" if service.af == AF_INET6 else f"FWM {service.fwmark}"
    protocol = PROTOCOLS.get(service.protocol) or str(service.protocol)
    return (
        f"{protocol} {sanitize(endpoint(service.af, service.addr, service.port, service.protocol))}"
    )


def _format_attributes(group: ServiceGroup) -> Line:
    """Return the text after the name, if it fits: scheduler, flags, and problems."""
    service = group.service
    words = [(f"  {sanitize(service.scheduler)}", "")]
    if service.flags & ~HASHED:
        flags = format_scheduler_flags(service)
        if flags is not None:
            words.append((f" ({flags})", ""))
        if service.flags & PERSISTENT:
            words += [("  persistent", ""), (f" {format_duration(service.timeout)}", "")]
            mask = format_netmask(service.af, service.netmask)
            words += [(f"  mask {mask}", "")] if mask else []
            words += [(f"  engine {sanitize(service.pe)}", "")] if service.pe else []
        if service.flags & ONE_PACKET:
            words.append(("  one packet", ""))
    if group.shares is not None:
        words.append((f"  {group.shares.format_remark()}", FAINT))
    return words + find_problem(group)


def find_problem(group: ServiceGroup) -> Line:
    """Return why the service takes no new clients, "" if it does."""
    if not group.servers:
        return [("  no real servers", ALARM)]
    return [] if group.weight else [("  all quiesced", ALARM)]


def make_service_row(group: ServiceGroup, view: View, exact: bool, endpoint: Endpoint) -> Row:
    """Return the row of a service."""
    called = format_service_name(group.service, endpoint)
    if view.service is None:
        return Row(called, style=SERVICE, words=_format_attributes(group))
    wrong = find_problem(group)
    cells = view.service(group, exact)
    if not cells:
        return Row(called, style=SERVICE, words=wrong)
    return Row(called + (wrong[0][0] if wrong else ""), cells, style=ALARM if wrong else SERVICE)


def make_server_row(
    group: ServiceGroup, d: Server, cells: Sequence[Cell], endpoint: Endpoint
) -> Row:
    """Return the row of a server; one with weight 0 stands out."""
    called = sanitize(endpoint(d.af, d.addr, d.port, group.service.protocol))
    return Row(called, cells, indent=2, style="" if d.weight else QUIESCED)


def render_listing(
    groups: Sequence[ServiceGroup], shown: Shown, endpoint: Endpoint, look: TerminalStyle
) -> list[Line]:
    """Return the lines of services and their servers in the requested view."""
    if not groups:
        return [[("No virtual services.", "")]]
    view = VIEWS["shares" if "shares" in shown else classic.view_of(shown)]
    exact = "exact" in shown
    rows: list[Row | None] = []
    for group in groups:
        rows += [None, make_service_row(group, view, exact, endpoint)]
        rows += [
            make_server_row(group, d, view.server(group, d, exact), endpoint) for d in group.servers
        ]
    return _draw_rows(view.columns, rows, look, SERVICES)


def _draw_rows(
    columns: Sequence[Column], rows: Sequence[Row | None], look: TerminalStyle, title: str
) -> list[Line]:
    """Return rows under their headings; None is an empty line."""
    grid = Grid(columns, [row for row in rows if row], look, title)
    lines: list[Line] = []
    for row in rows:
        lines += grid.render_row(row) if row else [[]]
    return [*grid.render_heading(), *(lines if lines[0] else lines[1:])]


def render_title(info: Info, groups: Sequence[ServiceGroup], look: TerminalStyle) -> list[Line]:
    """Return the first line of a complete listing."""
    number = info.version
    servers = sum(len(group.servers) for group in groups)
    words = [
        (f"IPVS {number >> 16}.{number >> 8 & 255}.{number & 255}", ""),
        (f"  {pluralize(len(groups), 'service')},", ""),
        (f" {pluralize(servers, 'real server')}", ""),
        (f"  connection table of {info.size}", FAINT),
    ]
    return wrap_words(words, look.width, 2)


def render_timeouts(found: Timeouts, look: TerminalStyle) -> list[Line]:
    """Return the lines of the timeouts of connections."""
    rows = [
        Row(what, [Cell(format_duration(seconds))], indent=2)
        for what, seconds in (
            ("TCP, established", found.tcp),
            ("TCP, after a FIN", found.tcp_fin),
            ("UDP", found.udp),
        )
    ]
    return _draw_rows([Column("")], rows, look, "Connections are kept for")


def render_daemons(found: Sequence[Daemon], look: TerminalStyle) -> list[Line]:
    """Return the lines of the running sync daemons. A value that the kernel does not report is `-`."""
    if not found:
        return [[("No sync daemon runs.", "")]]
    columns = (
        Column("Interface", left=True), Column("Sync ID"), Column("Group", left=True), Column("Port"), Column("TTL"),
        Column("Message", "at most"),
    )  # fmt: skip
    rows = [
        Row(
            ROLES.get(d.state) or str(d.state),
            [
                Cell(sanitize(d.interface)),
                Cell(str(d.syncid)),
                Cell(
                    format_address(AF_INET if len(d.group) == 4 else AF_INET6, d.group)
                    if d.group
                    else "-"
                ),
                *(Cell(str(value or "-")) for value in (d.port, d.ttl)),
                Cell(f"{d.maxlen} B" if d.maxlen else "-"),
            ],
            style=SERVICE,
        )
        for d in found
    ]
    return _draw_rows(columns, rows, look, "Daemon")


def render_connections(
    found: Iterable[Connection], endpoint: Endpoint, look: TerminalStyle, engine: bool
) -> list[Line]:
    """Return connections, grouped by their services. engine: with the data that a persistence
    engine keeps.
    """
    groups: dict[tuple[str, tuple[int, bytes, int]], list[Connection]] = {}
    for each in found:
        groups.setdefault((each.protocol, each.virtual), []).append(each)
    if not groups:
        return [[("No connections.", "")]]
    columns = [Column("State", left=True), Column("Expires in")]
    if engine:
        columns += [Column("Engine", left=True), Column("Its data", left=True)]
    rows: list[Row | None] = []
    for (protocol, virtual), members in groups.items():
        number = members[0].number
        called = f"{sanitize(protocol)} {sanitize(endpoint(*virtual, number))}"
        rows += [
            None,
            Row(called, style=SERVICE, words=[(f"  {pluralize(len(members), 'connection')}", "")]),
        ]
        clients = [sanitize(endpoint(*each.client, number)) for each in members]
        wide = max((len(client) for client in clients if len(client) <= IPV4), default=0)
        for client, each in zip(clients, members):
            cells = [Cell(sanitize(each.state)), Cell(format_duration(each.expires))]
            if engine:
                cells += [Cell(sanitize(each.engine)), Cell(sanitize(each.data))]
            rows.append(
                Row(
                    f"{client:<{wide}} -> {sanitize(endpoint(*each.server, number))}",
                    cells,
                    indent=2,
                )
            )
    return _draw_rows(columns, rows, look, "Service / client -> real server")
