"""Fit columns into a width: a cell that is too long for its column gets a line of its own, and no
text is cut.

Owns: widths, wrapping, colours, how lines become a terminal's text (rich). Must never know:
records, the meaning of a column.

A line is a list of (text, style); a style is one of rich's, in the names of ANSI colours, so that
they are the reader's own and work on light and dark. Why no rich.table: it takes 0.25 ms a row (3 s
for a listing of 10,000 servers), cuts numbers in a narrow window, and makes new columns for every
service.
"""

from __future__ import annotations

import io
from itertools import groupby, islice
from operator import itemgetter

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.style import Style

from pyipvsadm.views.figures import BLOCKS, PLAIN, BarCharacters, has_colours, has_styles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Line = list[tuple[str, str]]

NARROWEST = 20  # columns; in a window that has fewer, lines are longer than it
BAR_MOST = 20
LINES_AT_ONCE = 500
HEADING = "dim"


class TerminalStyle:
    """Hold what the reader's terminal can show: its width, the bar characters, its colours (rich's
    color_system, None for none).
    """

    __slots__ = ("color", "marks", "styled", "width")

    def __init__(
        self, width: int, marks: BarCharacters = BLOCKS, styled: bool = False, color: bool = False
    ) -> None:
        self.width = max(width, NARROWEST)
        self.marks = marks
        self.styled = styled
        self.color = color


def choose_style(
    environ: Mapping[str, str], terminal: bool, width: int, always: bool = False
) -> TerminalStyle:
    """Return the style for a terminal. NO_COLOR keeps bold and dim; a pipe gets no style at all,
    unless colours go there `always`; a locale without UTF-8 gets plain characters.
    """
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    # The Linux console's font has few of the blocks.
    blocks = locale.lower().replace("-", "").endswith("utf8") and environ.get("TERM") != "linux"
    return TerminalStyle(
        width,
        BLOCKS if blocks else PLAIN,
        terminal and has_styles(environ),
        always or (terminal and has_colours(environ)),
    )


class Cell:
    """Hold a text, or a function that draws one for the width of its column."""

    __slots__ = ("draw", "style", "text")

    def __init__(
        self,
        text: str = "",
        style: str = "",
        draw: Callable[[int, BarCharacters], str] | None = None,
    ) -> None:
        self.text = text
        self.style = style
        self.draw = draw


class Column:
    """Hold a heading (two lines), the least width, whether the column is for bars, and its place in
    the order in which columns are dropped in a narrow window (0: never).

    The heading of a column extends over a following column of bars that has no heading.
    """

    __slots__ = ("bars", "bottom", "drop", "least", "left", "most", "top")

    def __init__(
        self,
        top: str,
        bottom: str = "",
        least: int = 0,
        bars: bool = False,
        left: bool = False,
        drop: int = 0,
        most: int = BAR_MOST,
    ) -> None:
        self.top = top
        self.bottom = bottom
        self.least = max(least, 4) if bars else least
        self.bars = bars
        self.left = left or bars
        self.drop = drop
        self.most = most


class Row:
    """Hold a name and its cells; with `words` instead of cells, these fill the rest of the line.
    indent: columns before the name.
    """

    __slots__ = ("cells", "indent", "name", "style", "words")

    def __init__(
        self,
        name: str,
        cells: Sequence[Cell] = (),
        indent: int = 0,
        style: str = "",
        words: Line | None = None,
    ) -> None:
        self.name = name
        self.cells = cells
        self.indent = indent
        self.style = style
        self.words = words


class Grid:
    """Place the columns of these rows in this style: `render_heading()`, and `render_row(row)`
    for each.
    """

    def __init__(
        self, columns: Sequence[Column], rows: Iterable[Row], look: TerminalStyle, title: str
    ) -> None:
        self._look = look
        self._title = title
        self._all = columns
        self._columns = list(enumerate(columns))
        widest = len(title)
        needs = [0] * len(columns)
        for row in rows:
            if row.words is None:
                widest = max(widest, row.indent + cell_len(row.name))
                needs = list(map(max, needs, [cell_len(cell.text) for cell in row.cells]))
        self._widths = self._measure_columns(needs)
        droppable = sorted((column.drop, at) for at, column in enumerate(columns) if column.drop)
        while droppable and self._measure_width() + min(widest, 24) > look.width:
            _, gone = droppable.pop(0)
            self._columns = [(at, column) for at, column in self._columns if at != gone]
        self._narrow = self._measure_width() > look.width
        left = look.width - self._measure_width() - widest
        bars = [at for at, column in self._columns if column.bars]
        for place, at in enumerate(bars):
            more = max(0, min(left // (len(bars) - place), columns[at].most - self._widths[at]))
            self._widths[at] += more
            left -= more
        self._name = max(0, min(widest, look.width - self._measure_width()))

    def _measure_columns(self, needs: list[int]) -> list[int]:
        """Return the width of each column, whose cells need as much as `needs` says."""
        widths: list[int] = []
        for at, column in enumerate(self._all):
            head = max(len(column.top), len(column.bottom))
            if self._can_extend_heading(at):
                head = 0
            elif at and self._can_extend_heading(at - 1):
                head = len(self._all[at - 1].top) - widths[at - 1] - 1
            widths.append(max(column.least, head, needs[at], 0))
        return widths

    def _can_extend_heading(self, at: int) -> bool:
        """Return True if the column's heading may extend over the bars after it."""
        follows = self._all[at + 1] if at + 1 < len(self._all) else None
        return follows is not None and follows.bars and not follows.top and not follows.drop

    def _measure_width(self) -> int:
        return sum(self._widths[at] + 1 for at, _ in self._columns)

    def render_heading(self) -> list[Line]:
        """Return the headings, on as many lines as they need; none if each cell carries its own."""
        if self._narrow:
            return []
        rows = []
        for top in (True, False):
            text = (
                ""
                if not top
                else self._title
                if len(self._title) <= self._name
                else self._title.split()[0][: self._name]
            )
            start = self._name + 1
            for at, column in self._columns:
                width = self._widths[at]
                head = column.top if top else column.bottom
                text = f"{text:<{start}}" + (
                    head if column.left or self._can_extend_heading(at) else f"{head:>{width}}"
                )
                start += width + 1
            rows.append(text.rstrip())
        return [[(text, HEADING)] for text in rows if text]

    def render_row(self, row: Row) -> list[Line]:
        """Return the row on one line, or on as many as it needs."""
        if row.words is not None:
            return wrap_words(
                [(" " * row.indent, ""), (row.name, row.style), *row.words],
                self._look.width,
                row.indent + 4,
            )
        if self._narrow:
            words = [
                word
                for at, column in self._columns
                for word in self._label_cell(column, row.cells[at])
            ]
            return wrap_words(
                [(" " * row.indent, ""), (row.name, row.style), *words],
                self._look.width,
                row.indent + 2,
            )
        start: Line = [(" " * row.indent + row.name, row.style)]
        gap = self._name - row.indent - cell_len(row.name)
        above: list[Line] = []
        if gap < 0:
            above = wrap_words(
                [(" " * row.indent, ""), *split_sentence(row.name, row.style)],
                self._look.width,
                row.indent,
            )
            start, gap = [], self._name
        line = [*start, (" " * gap, "")] if gap else start
        for at, column in self._columns:
            width = self._widths[at]
            cell = row.cells[at]
            text = self._render_cell(cell, width)
            blank = " " * (width - cell_len(text))
            if column.left:
                line += [(" ", ""), (text, cell.style), (blank, "")]
            else:
                line += [(" " + blank, ""), (text, cell.style)]
        return [*above, line]

    def _label_cell(self, column: Column, cell: Cell) -> Line:
        """Return a cell with its heading before it, for windows in which the columns do not fit."""
        text = self._render_cell(cell, column.least)
        label = " ".join(part for part in (column.top, column.bottom) if part)
        return [(f"  {label}" if label else "", HEADING), (f" {text}", cell.style)] if text else []

    def _render_cell(self, cell: Cell, width: int) -> str:
        return cell.text if cell.draw is None else cell.draw(width, self._look.marks)


def wrap_words(words: Line, width: int, indent: int) -> list[Line]:
    """Return words (each with the blanks before it) on lines of this width, later lines indented.
    No word is cut.
    """
    lines: list[Line] = [[]]
    used = 0
    for word, style in words:
        text = word
        if used + cell_len(text) > width and used > indent:
            lines.append([(" " * indent, "")])
            used = indent
            text = text.lstrip()
        while used + cell_len(text) > width:
            fits = max(
                1,
                next((at for at in range(len(text)) if used + cell_len(text[: at + 1]) > width), 1),
            )
            lines[-1].append((text[:fits], style))
            text = text[fits:]
            lines.append([(" " * indent, "")])
            used = indent
        lines[-1].append((text, style))
        used += cell_len(text)
    return lines


def split_sentence(said: str, style: str = "") -> Line:
    """Split a text into words for `wrap_words`."""
    first, *rest = said.split(" ")
    return [(first, style), *((f" {word}", style) for word in rest)]


def merge_styles(line: Line) -> Line:
    """Merge neighbours of the same style in a line."""
    return [
        ("".join([text for text, _ in parts]), style)
        for style, parts in groupby(line, itemgetter(1))
    ]


class Lines:
    """Wrap lines as an object that rich prints."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = lines

    def __rich_console__(self, _: Console, __: ConsoleOptions) -> Iterator[Segment]:
        styles: dict[str, Style | None] = {"": None}
        for line in self._lines:
            for text, style in merge_styles(line):
                if style not in styles:
                    styles[style] = Style.parse(style)
                yield Segment(text, styles[style])
            yield Segment.line()


def render_text(lines: Iterable[Line], look: TerminalStyle) -> str:
    """Return lines as text for a terminal, without trailing blanks."""
    return "".join(iter_text(lines, look))


def iter_text(lines: Iterable[Line], look: TerminalStyle) -> Iterator[str]:
    """Yield lines as render_text does, some at a time: rich takes kilobytes for each line that it
    prints at once.
    """
    file = io.StringIO()
    console = Console(
        file=file,
        width=look.width,
        color_system="standard" if look.styled or look.color else None,
        force_terminal=look.styled or look.color,
        no_color=not look.color,
        legacy_windows=False,
        _environ={},
    )
    remaining = iter(lines)
    while block := list(islice(remaining, LINES_AT_ONCE)):
        console.print(Lines(map(strip_trailing, block)), end="", soft_wrap=True)
        yield file.getvalue()
        file.seek(0)
        file.truncate()


def strip_trailing(line: Line) -> Line:
    """Return a line without the blanks at its end."""
    line = list(line)
    while line and not line[-1][0].rstrip():
        line.pop()
    if line:
        line[-1] = (line[-1][0].rstrip(), line[-1][1])
    return line
