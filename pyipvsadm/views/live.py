"""Compute the frames of --watch: snapshots in, lines out.

Owns: rates between two snapshots, the last minute of each service, --sort-by, scrolling. Must never
know: terminals, clocks, backends: times come with the snapshots. Pure.
"""

from __future__ import annotations

from functools import partial

from pyipvsadm.grammar.options import SORT_KEYS
from pyipvsadm.text import sanitize
from pyipvsadm.views import classic, pretty
from pyipvsadm.views.figures import MINUTE, draw_curve
from pyipvsadm.views.grid import Cell, Column, Grid, split_sentence, wrap_words
from pyipvsadm.views.pretty import (
    ServiceGroup,
    View,
    draw_load,
    format_counters,
    make_server_row,
    make_service_row,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from pyipvsadm.model import Server, Service
    from pyipvsadm.rules.writer import Endpoint
    from pyipvsadm.views.classic import Shown
    from pyipvsadm.views.grid import Line, TerminalStyle

    Rows = list[tuple[Service, list[Server]]]
    Rates = Sequence[float]
    Counted = dict[Hashable, tuple[int, ...]]
    Naming = Callable[[Rows], Endpoint]

SORTS = {key[0]: key for key in SORT_KEYS}
MIN_FULL_HEIGHT = 8  # lines; in a window that has fewer, rows come before what stands around them
FOOTER = "q quit  h keys  c r w sort  arrows scroll"
KEYS = (
    ("c", "sort by connections, largest first"),
    ("r", "sort by rate: new connections a second"),
    ("w", "sort by weight"),
    ("up, down", "scroll by a row"),
    ("page up, down", "scroll by a screen"),
    ("home, end", "go to the first or the last row"),
    ("h, ?", "show or leave this help"),
    ("q", "quit"),
)
LEGEND = (
    ("full", "at the upper threshold: no new connections"),
    ("quiesced", "weight 0: no new connections"),
    ("curve", "new connections a second, and their maximum"),
)


def compute_rates(before: Sequence[int], after: Sequence[int], elapsed: float) -> list[float]:
    """Return the growth of each counter a second, over `elapsed` seconds (more than 0).

    The kernel's counters have 64 bits and do not wrap. If one has decreased, all were set to zero
    meanwhile (-Z, or a new service with the same key), and the count since then is the best known.
    """
    if any(new < old for old, new in zip(before, after)):
        before = [0] * len(after)
    return [(new - old) / elapsed for old, new in zip(before, after)]


def _count_fitting(blocks: Iterable[list[Line]], room: int) -> int:
    """Return how many of these rows, each on some lines, fit; at least one."""
    used = found = 0
    for block in blocks:
        used += len(block)
        if used > room:
            break
        found += 1
    return max(1, found)


_COLUMNS = (
    pretty.make_column("weight", drop=4),
    pretty.make_column("active_connections", drop=8),
    pretty.make_column("inactive_connections", drop=3),
    Column("Share", bars=True, drop=5),
    pretty.make_column("connections", "/s"),
    *pretty.make_traffic_columns("/s", 2, 1, 6, 7),
    Column("Last minute, max", bars=True, least=17, most=37),
)


class Live:
    """Hold the state of a --watch. shown: the slots of the request, which choose the view; sort: ""
    for the table's own order.
    """

    def __init__(
        self, shown: Shown, sort: str, seconds: int, look: Callable[[int], TerminalStyle]
    ) -> None:
        self.sort = sort
        self._shown = shown
        self._seconds = seconds
        self.look = look
        self._groups: list[ServiceGroup] = []
        self._message = ""
        self._helping = False
        self._top = 0
        self._page = 1
        # The kernel brings counters up to date every two seconds (ip_vs_est.c). Over an odd number
        # of seconds that happens once more at one time than at another: then rates are taken over
        # two reads.
        self._back = 1 + seconds % 2
        self._reads: list[tuple[float, Counted]] = []
        self._history: dict[Hashable, list[tuple[float, float, float]]] = {}

    def add_snapshot(self, rows: Rows, now: float) -> None:
        """Add a reading of the table, made at `now` (seconds of a clock that never goes back)."""
        self._message = ""
        last = self._reads[-1][0] if self._reads else now
        counted: Counted = {}
        self._reads = [*self._reads[-self._back :], (now, counted)]
        history: dict[Hashable, list[tuple[float, float, float]]] = {}
        self._groups = []
        for service, servers in rows:
            key = service.key()
            counted[key] = service.stats[:5]
            for d in servers:
                counted[key, d.key()] = d.stats[:5]
            known = [sample for sample in self._history.get(key, ()) if sample[1] > now - MINUTE]
            if now > last:
                known.append((last, now, self._get_rates(key, service.stats)[0]))
            history[key] = known
            self._groups.append(ServiceGroup(service, servers))
        self._history = history

    def set_error(self, message: str) -> None:
        """Note that the table could not be read; the last reading stays on the screen."""
        self._message = message.partition("\n")[0]

    def handle_key(self, name: str) -> None:
        """Handle a key; ignore one without a meaning."""
        self._helping = name in ("h", "?") and not self._helping
        if name in SORTS:
            self.sort = SORTS[name]
            self._top = 0
        moves = {
            "up": -1,
            "down": 1,
            "page up": -self._page,
            "page down": self._page,
            "home": -self._top,
            "end": 1 << 62,
        }
        self._top = max(0, self._top + moves.get(name, 0))

    def _get_rates(self, key: Hashable, stats: tuple[int, ...]) -> Rates:
        """Return the rates between the last two snapshots; the kernel's own estimate for entries
        that are not in both.
        """
        then, counted = self._reads[0]
        now, counts = self._reads[-1]
        if key not in counted or len(self._reads) <= self._back or now <= then:
            return stats[5:]
        return compute_rates(counted[key], counts[key], now - then)

    def _get_sort_key(
        self, key: Hashable, stats: tuple[int, ...], connections: int, weight: int
    ) -> tuple[float, ...]:
        """Return the value to sort by, the greatest first."""
        if self.sort == "rate":
            found = self._get_rates(key, stats)
            return -found[0], -found[3] - found[4]
        return (-connections,) if self.sort == "connections" else (-weight,)

    def _sort_rows(self) -> list[ServiceGroup]:
        if not self.sort:
            return self._groups
        return sorted(
            self._groups,
            key=lambda g: self._get_sort_key(
                g.service.key(), g.service.stats, g.connections, g.weight
            ),
        )

    def _sort_servers(self, group: ServiceGroup) -> list[Server]:
        if not self.sort:
            return group.servers
        key = group.service.key()
        return sorted(
            group.servers,
            key=lambda d: self._get_sort_key(
                (key, d.key()), d.stats, d.active + d.inactive, d.weight
            ),
        )

    def render_frame(self, width: int, height: int, naming: Naming) -> list[Line]:
        """Return at most `height` lines; only visible rows are rendered. naming: from services and
        servers to the formatter of their names.
        """
        look = self.look(width)
        if self._helping:
            return _render_help(look, height)
        above = self._render_summary(look)
        # A row a service and a row a server, from which the window is cut.
        ends: list[int] = []
        total = 0
        groups = self._sort_rows()
        for group in groups:
            total += 1 + len(group.servers)
            ends.append(total)
        if height < MIN_FULL_HEIGHT:
            above = above[-1:] if self._message else above[:1]
        room = max(1, height - len(above) - 1)
        start = max(0, min(self._top, total - room))
        items = self._select_window(groups, ends, start, room)
        view = self._choose_view()
        endpoint = naming([(group.service, [] if d is None else [d]) for group, d in items])
        exact = "exact" in self._shown
        rows = [
            make_service_row(group, view, exact, endpoint)
            if d is None
            else make_server_row(group, d, view.server(group, d, exact), endpoint)
            for group, d in items
        ]
        grid = Grid(view.columns, rows, look, pretty.SERVICES)
        heading = grid.render_heading() if rows else []
        if room < len(heading) + 2:
            heading = []
        room -= len(heading)
        blocks = [grid.render_row(row) for row in rows] or [[[("No virtual services.", "")]]]
        first = min(self._top - start, len(blocks) - _count_fitting(reversed(blocks), room))
        seen = _count_fitting(blocks[first:], room)
        self._top = start + first
        self._page = max(1, seen - 1)
        body = [line for block in blocks[first : first + seen] for line in block][:room]
        body += [[] for _ in range(room - len(body))]
        where = f"{self._top + 1}-{self._top + seen} of {total} rows  " if seen < total else ""
        below = wrap_words([(where, ""), *split_sentence(FOOTER, pretty.FAINT)], look.width, 0)
        return [*above, *heading, *body, below[0]][:height]

    def _select_window(
        self, groups: list[ServiceGroup], ends: list[int], start: int, room: int
    ) -> list[tuple[ServiceGroup, Server | None]]:
        """Return the rows from `start` on that fit; None stands for the row of the service itself."""
        items: list[tuple[ServiceGroup, Server | None]] = []
        for group, end in zip(groups, ends):
            if end > start:
                rows = [(group, None), *((group, d) for d in self._sort_servers(group))]
                items += rows[max(0, start - end + len(rows)) :]
            if len(items) >= room:
                break
        return items[:room]

    def _render_summary(self, look: TerminalStyle) -> list[Line]:
        words = [
            ("ipvsadm", pretty.SERVICE),
            (f"  every {self._seconds} s,", ""),
            (f" by {self.sort or ('nothing' if 'nosort' in self._shown else 'address')}", ""),
            ("  ", ""),
            *pretty.format_totals(self._groups),
        ]
        lines = wrap_words(words, look.width, 2)
        if self._message:
            lines += wrap_words(
                split_sentence(f"{sanitize(self._message)}; trying again", pretty.ALARM),
                look.width,
                2,
            )
        return lines

    def _choose_view(self) -> View:
        view = classic.view_of(self._shown)
        return (
            View(_COLUMNS, self._render_server, self._render_service)
            if view in ("", "rate")
            else pretty.VIEWS[view]
        )

    def _render_service(self, group: ServiceGroup, exact: bool) -> list[Cell]:
        if not group.servers:
            return []
        service = group.service
        key = service.key()
        return [
            Cell(str(group.weight)),
            Cell(str(sum(d.active for d in group.servers))),
            Cell(str(sum(d.inactive for d in group.servers))),
            Cell(),
            *format_counters(self._get_rates(key, service.stats), exact),
            Cell("", pretty.WEIGHTS, partial(draw_curve, self._history[key], self._reads[-1][0])),
        ]

    def _render_server(self, group: ServiceGroup, d: Server, exact: bool) -> list[Cell]:
        counted = self._get_rates((group.service.key(), d.key()), d.stats)
        style, word = ("", "") if d.weight else (pretty.QUIESCED, "quiesced")
        return [
            Cell(str(d.weight), style),
            *draw_load(group, d),
            *format_counters(counted, exact),
            Cell(word, style),
        ]


def _render_help(look: TerminalStyle, height: int) -> list[Line]:
    """Return the screen of the keys."""
    lines: list[Line] = [[("Keys of ipvsadm --watch", pretty.SERVICE)]]
    for rows in (KEYS, LEGEND):
        lines.append([])
        for name, meaning in rows:
            words = [(f"  {name:14}", pretty.SERVICE), *split_sentence(meaning)]
            lines += wrap_words(words, look.width, 16)
    lines = lines[: height - 1]
    lines += [[] for _ in range(height - 1 - len(lines))]
    return [*lines, [("any key: back to the table", pretty.FAINT)]]
