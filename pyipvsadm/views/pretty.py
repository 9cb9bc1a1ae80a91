"""Render listings for people at a terminal: records to lines of a grid, one set of columns for each
view.

Owns: which values each view shows, and which stand out. Must never know: backends, where names come
from, streams.

Text that others choose (names, data of persistence engines) passes text.sanitize before it is
shown.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from pyipvsadm.addresses import format_netmask
from pyipvsadm.grammar.values import format_scheduler_flags, get_daemon_values
from pyipvsadm.model import (
    GRE,
    GUE,
    HASHED,
    ONE_PACKET,
    PERSISTENT,
    PROTOCOLS,
    TUN_CSUM,
    TUNNEL,
)
from pyipvsadm.scheduling.overload import YES, get_overload
from pyipvsadm.text import pluralize, sanitize
from pyipvsadm.views import classic
from pyipvsadm.views.connections import format_mark
from pyipvsadm.views.fields import COUNTERS, HEADINGS, TIMEOUTS
from pyipvsadm.views.figures import draw_bar, format_count, format_duration, format_size
from pyipvsadm.views.grid import Cell, Column, Grid, Row, split_sentence, wrap_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

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
        self.weight = sum(server.weight for server in servers)
        self.connections = sum(server.active + server.inactive for server in servers)
        self.counted = sum(server.stats[0] for server in servers)
        self.rate = sum(server.stats[5] for server in servers)


class View(NamedTuple):
    """Hold the columns of a view and the functions that make cells.

    `service` makes the cells of a service; it is None if the service's attributes take the line.
    """

    columns: Sequence[Column]
    server: Callable[[ServiceGroup, Server, bool], list[Cell]]
    service: Callable[[ServiceGroup, bool], list[Cell]] | None = None


def draw_share(part: float, whole: float, style: str) -> Cell:
    """Draw a bar."""
    return Cell("", style, partial(draw_bar, part / whole if whole else 0.0))


def draw_weight(group: ServiceGroup, server: Server) -> list[Cell]:
    """Return the weight, and the server's share of the service's weights; weight 0 is shown as a
    word: such a server gets no new connections.
    """
    if not server.weight:
        return [Cell("0", QUIESCED), Cell("quiesced", QUIESCED)]
    return [Cell(str(server.weight)), draw_share(server.weight, group.weight, WEIGHTS)]


def draw_load(group: ServiceGroup, server: Server) -> list[Cell]:
    """Return the connections, and the server's share of the service's. Active and inactive ones
    count together, because all of UDP's are inactive.
    """
    return [
        Cell(str(server.active)),
        Cell(str(server.inactive)),
        draw_share(server.active + server.inactive, group.connections, LOADS),
    ]


def _make_share_cells(group: ServiceGroup, server: Server, _: bool) -> list[Cell]:
    assert group.shares is not None
    part = group.shares.get_part(server)
    bar = draw_share(part, 1, LOADS) if part else Cell()
    return [*draw_weight(group, server), Cell(group.shares.format_part(server)), bar]


def _make_method(server: Server) -> Cell:
    return Cell(classic.format_method(server.forward))


def _format_tunnel(server: Server) -> str:
    if server.forward != TUNNEL:
        return "-"
    name = classic.format_tunnel_type(server.tun_type)
    if server.tun_type not in (GUE, GRE):
        return name
    sums = {0: "no checksum", TUN_CSUM: "checksum", 2: "remote checksum"}.get(
        server.tun_flags, f"flags {server.tun_flags}"
    )
    return f"{name} {server.tun_port}, {sums}" if server.tun_type == GUE else f"{name}, {sums}"


def _make_threshold_cells(_: ServiceGroup, server: Server, __: bool) -> list[Cell]:
    held = (
        server.active + server.inactive
    )  # what the kernel compares (ip_vs_conn.c: ip_vs_dest_totalconns)
    limits = [
        Cell(str(value)) if value else Cell("none", FAINT) for value in (server.upper, server.lower)
    ]
    style = ALARM if get_overload(server) == YES else LOADS
    gauge = draw_share(min(held, server.upper), server.upper, style) if server.upper else Cell()
    return [*limits, Cell(str(server.active)), Cell(str(server.inactive)), gauge]


def format_counters(values: Sequence[float], exact: bool) -> list[Cell]:
    """Return the cells of connections, packets in and out, bytes in and out."""
    return [Cell(format_count(value, exact)) for value in values[:3]] + [
        Cell(format_size(value, exact)) for value in values[3:]
    ]


def make_column(key: str, unit: str = "", **style: Any) -> Column:
    """Return the column of a field; unit: "/s" or nothing."""
    top, _, bottom = f"{HEADINGS[key]}{unit}".partition("\n")
    return Column(top, bottom, **style)


def make_traffic_columns(unit: str, *drops: int) -> list[Column]:
    """Return the columns of packets and bytes, in and out; unit: "/s" or nothing."""
    return [
        make_column(field.key, unit, least=7, drop=drop)
        for field, drop in zip(COUNTERS[1:], drops or (0,) * 4)
    ]


def _make_counter_view(unit: str, half: slice, whole: str) -> View:
    """Return the view of one half of stats. whole: the sum of a group that bars are parts of."""

    def make_cells(values: Sequence[int], exact: bool, bar: Cell) -> list[Cell]:
        first, *rest = format_counters(values, exact)
        return [first, bar, *rest]

    return View(
        (
            make_column("connections", unit),
            Column("", bars=True, drop=1),
            *make_traffic_columns(unit),
        ),
        lambda group, server, exact: make_cells(
            server.stats[half],
            exact,
            draw_share(server.stats[half][0], getattr(group, whole), LOADS),
        ),
        lambda group, exact: make_cells(group.service.stats[half], exact, Cell()),
    )


_METHOD = make_column("forwarding", left=True)
_WEIGHT = (make_column("weight"), Column("", bars=True))
_COUNTS = (make_column("active_connections"), make_column("inactive_connections"))
_LOAD = (*_COUNTS, Column("Share", bars=True))

VIEWS = {
    "": View(
        (_METHOD, *_WEIGHT, *_LOAD),
        lambda group, server, _: [
            _make_method(server),
            *draw_weight(group, server),
            *draw_load(group, server),
        ],
    ),
    "stats": _make_counter_view("", slice(0, 5), "counted"),
    "rate": _make_counter_view("/s", slice(5, 10), "rate"),
    "thresholds": View(
        (
            *map(make_column, ("upper_threshold", "lower_threshold")),
            *_COUNTS,
            Column("Used", bars=True),
        ),
        _make_threshold_cells,
    ),
    "shares": View((*_WEIGHT, Column("New clients"), Column("", bars=True)), _make_share_cells),
    "persistent-conn": View(
        (*_WEIGHT, make_column("persistent_connections"), *_LOAD),
        lambda group, server, _: [
            *draw_weight(group, server),
            Cell(str(server.persistent)),
            *draw_load(group, server),
        ],
    ),
    "tun-info": View(
        (_METHOD, make_column("tunnel", left=True), *_WEIGHT, *_LOAD),
        lambda group, server, _: [
            _make_method(server),
            Cell(_format_tunnel(server)),
            *draw_weight(group, server),
            *draw_load(group, server),
        ],
    ),
}


def format_service_name(service: Service, endpoint: Endpoint) -> str:
    """Return the name of a service."""
    if service.fwmark:
        return format_mark(service.af, service.fwmark)
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
    group: ServiceGroup, server: Server, cells: Sequence[Cell], endpoint: Endpoint
) -> Row:
    """Return the row of a server; those that get no new connections stand out: at the upper
    threshold, or with weight 0.
    """
    called = sanitize(endpoint(server.af, server.addr, server.port, group.service.protocol))
    if get_overload(server) == YES:
        return Row(f"{called} full", cells, indent=2, style=ALARM)
    return Row(called, cells, indent=2, style="" if server.weight else QUIESCED)


def render_listing(
    groups: Sequence[ServiceGroup], shown: Shown, endpoint: Endpoint, look: TerminalStyle
) -> Iterator[Line]:
    """Yield the lines of services and their servers in the requested view."""
    if not groups:
        return iter([[("No virtual services.", "")]])
    view = VIEWS["shares" if "shares" in shown else classic.view_of(shown)]
    exact = "exact" in shown

    def iter_rows() -> Iterator[Row | None]:
        for group in groups:
            yield None
            yield make_service_row(group, view, exact, endpoint)
            for server in group.servers:
                yield make_server_row(group, server, view.server(group, server, exact), endpoint)

    return _draw_rows(view.columns, iter_rows, look, SERVICES)


def _draw_rows(
    columns: Sequence[Column],
    iter_rows: Callable[[], Iterable[Row | None]],
    look: TerminalStyle,
    title: str,
) -> Iterator[Line]:
    """Yield rows under their headings; None is an empty line, but for the first. Rows are made
    twice, to measure them and to draw them, so that a large table's are never held.
    """
    grid = Grid(columns, (row for row in iter_rows() if row), look, title)
    yield from grid.render_heading()
    for index, row in enumerate(iter_rows()):
        if row:
            yield from grid.render_row(row)
        elif index:
            yield []


def draw_rows(
    columns: Sequence[Column], rows: Sequence[Row | None], look: TerminalStyle, title: str
) -> list[Line]:
    """Return rows under their headings; None is an empty line, but for the first."""
    return list(_draw_rows(columns, lambda: rows, look, title))


def format_totals(groups: Sequence[ServiceGroup]) -> Line:
    """Return the words on how much a table has, without a blank before the first."""
    servers = sum(len(group.servers) for group in groups)
    connections = sum(group.connections for group in groups)
    return split_sentence(
        f"{pluralize(len(groups), 'service', ',')}, {pluralize(servers, 'real server', ',')},"
        f" {pluralize(connections, 'connection', ',')}"
    )


def render_title(info: Info, groups: Sequence[ServiceGroup], look: TerminalStyle) -> list[Line]:
    """Return the first line of a complete listing."""
    number = info.version
    words = [
        (f"IPVS {number >> 16}.{number >> 8 & 255}.{number & 255}", ""),
        ("  ", ""),
        *format_totals(groups),
    ]
    return wrap_words(words, look.width, 2)


def render_timeouts(found: Timeouts, look: TerminalStyle) -> list[Line]:
    """Return the lines of the timeouts of connections."""
    rows = [
        Row(field.heading, [Cell(format_duration(field.read(found)))], indent=2)
        for field in TIMEOUTS
    ]
    return draw_rows([Column("")], rows, look, "Connections are kept for")


def render_daemons(found: Sequence[Daemon], look: TerminalStyle) -> list[Line]:
    """Return the lines of the running sync daemons. A value that the kernel does not report is `-`."""
    if not found:
        return [[("No sync daemon runs.", "")]]
    columns = (
        make_column("interface", left=True),
        make_column("sync_id"),
        make_column("multicast_group", left=True),
        *map(make_column, ("multicast_port", "multicast_ttl", "maximum_length")),
    )
    rows = [
        Row(
            str(values["role"]),
            [
                Cell(sanitize(str(values["interface"]))),
                *(Cell(str(values.get(name, "-"))) for name in ("syncid", "group", "port", "ttl")),
                Cell(f"{values['maxlen']} B" if "maxlen" in values else "-"),
            ],
            style=SERVICE,
        )
        for values in map(get_daemon_values, found)
    ]
    return draw_rows(columns, rows, look, HEADINGS["role"])


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
    columns = [make_column("state", left=True), make_column("expires")]
    if engine:
        columns += [make_column(f"persistence_{key}", left=True) for key in ("engine", "data")]
    rows: list[Row | None] = []
    for (protocol, virtual), members in groups.items():
        number, mark = members[0].number, members[0].mark
        called = f"{sanitize(protocol)} {sanitize(endpoint(*virtual, number))}"
        templates = sum(each.is_template for each in members)
        words = [(f"  {pluralize(len(members) - templates, 'connection', ',')}", "")]
        if templates:
            words.append((f"  {pluralize(templates, 'persistence template', ',')}", ""))
        name = format_mark(virtual[0], mark) if mark else called
        rows += [None, Row(name, style=SERVICE, words=words)]
        clients = [sanitize(endpoint(*each.client, number)) for each in members]
        wide = max((len(client) for client in clients if len(client) <= IPV4), default=0)
        for client, each in zip(clients, members):
            cells = [_format_state(each), Cell(format_duration(each.expires))]
            if engine:
                cells += [Cell(sanitize(each.engine)), Cell(sanitize(each.data))]
            rows.append(
                Row(
                    f"{client:<{wide}} -> {sanitize(endpoint(*each.server, number))}",
                    cells,
                    indent=2,
                )
            )
    return draw_rows(columns, rows, look, "Service / client -> real server")


def _format_state(found: Connection) -> Cell:
    if found.is_template:
        return Cell("template" if found.state == "NONE" else "template, assured", FAINT)
    return Cell(sanitize(found.state))
