"""Draw docs/*.svg, and the text snapshots that tests/unit/views/test_pretty.py compares the views
with: `python -m tools.pictures`.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from pyipvsadm.views import grid
from tools.pictures.draw import PICTURES, SNAPSHOTS, snapshot

if TYPE_CHECKING:
    from pyipvsadm.views.grid import Line

COLUMNS = 100


def picture(name: str) -> str:
    """Return a view as SVG, the same bytes each time (with the same rich)."""
    console = Console(
        record=True,
        width=COLUMNS,
        file=io.StringIO(),
        color_system="standard",
        force_terminal=True,
        _environ={},
    )
    lines = PICTURES[name](grid.TerminalStyle(COLUMNS, styled=True, color=True))
    console.print(grid.Lines(map(apart, lines)), end="", soft_wrap=True)
    return console.export_svg(title=f"ipvsadm -L -n --{name}", unique_id=name)


def apart(line: Line) -> Line:
    """Return the line with its longer blanks as separate pieces: some viewers drop blanks at the
    ends of a text, and misplace the rest.
    """
    return [
        (piece, "not bold" if piece.isspace() else style)
        for text, style in grid.merge_styles(line)
        for piece in re.split(r"( {2,}|^ | $)", text)
        if piece
    ]


if __name__ == "__main__":
    for name in PICTURES:
        Path(f"docs/{name}.svg").write_text(picture(name), encoding="utf-8")
    for path, text in SNAPSHOTS.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(snapshot(*text), encoding="utf-8")
