"""Draw each view of the sample, for the pictures and for the snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyipvsadm.addresses import format_numeric
from pyipvsadm.model import Info
from pyipvsadm.views import grid, pretty
from pyipvsadm.views.figures import BLOCKS, PLAIN
from pyipvsadm.views.live import Live
from tools.pictures import sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyipvsadm.views.grid import Line, TerminalStyle

WIDTHS = (60, 80, 140)
FOLDER = Path(__file__).parents[2] / "tests" / "unit" / "views" / "snapshots"
LIVE_LINES = 20


def listing(*shown: str) -> Callable[[TerminalStyle], list[Line]]:
    """Return a function that draws a listing of services."""

    def draw(look: TerminalStyle) -> list[Line]:
        groups = [pretty.ServiceGroup(*row) for row in sample.rows()]
        return [
            *pretty.render_title(Info(0x010201, 4096), groups, look),
            *pretty.render_listing(groups, set(shown), format_numeric, look),
        ]

    return draw


def watched(seconds: int, *shown: str) -> Live:
    """Return a --watch after so many seconds."""
    live = Live(set(shown), "", 2, grid.TerminalStyle)
    for at in range(0, seconds + 1, 2):
        live.add_snapshot(sample.rows(3600 + at), float(at))
    return live


def watch(*shown: str) -> Callable[[TerminalStyle], list[Line]]:
    """Return a function that draws a frame of --watch after its first minute."""

    def draw(look: TerminalStyle) -> list[Line]:
        live = watched(60, *shown)
        live.look = lambda _: look
        return live.render_frame(look.width, LIVE_LINES, lambda _: format_numeric)

    return draw


VIEWS: dict[str, Callable[[TerminalStyle], list[Line]]] = {
    "plain": listing(),
    "stats": listing("stats"),
    "stats-exact": listing("stats", "exact"),
    "rate": listing("rate"),
    "thresholds": listing("thresholds"),
    "persistent-conn": listing("persistent-conn"),
    "tun-info": listing("tun-info"),
    "timeout": lambda look: pretty.render_timeouts(sample.timeouts(), look),
    "daemon": lambda look: pretty.render_daemons(sample.daemons(), look),
    "connections": lambda look: pretty.render_connections(
        sample.connections(), format_numeric, look, engine=False
    ),
    "connections-engine": lambda look: pretty.render_connections(
        sample.connections(), format_numeric, look, engine=True
    ),
    "watch": watch(),
    "watch-stats": watch("stats"),
}

# file -> (view, width, True for plain characters)
SNAPSHOTS = {
    FOLDER / f"{view}-{width}.txt": (view, width, False) for view in VIEWS for width in WIDTHS
}
SNAPSHOTS |= {FOLDER / f"{view}-80-plain.txt": (view, 80, True) for view in ("plain", "watch")}

PICTURES = {"pretty": VIEWS["plain"], "watch": VIEWS["watch"]}


def snapshot(view: str, width: int, plain: bool) -> str:
    """Return a view as text without colours."""
    look = grid.TerminalStyle(width, PLAIN if plain else BLOCKS)
    return grid.render_text(VIEWS[view](look), look)
