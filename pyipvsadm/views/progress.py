"""Show how far a drain is: a bar on a terminal, by rich, or a line now and then.

Owns: the words and the look of both. Must never know: services, backends, what is waited for. rich
costs 100 ms: only a bar imports it. Nothing here has a thread of its own: it moves when `show` is
called.
"""

from __future__ import annotations

from pyipvsadm.text import pluralize
from pyipvsadm.views.figures import has_colours, has_styles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Protocol, TypeVar

    Item = TypeVar("Item")

    class Progress(Protocol):
        """Show how many connections and templates are left."""

        def show(self, connections: int, templates: int, seconds: float) -> None:
            """Show the counts that are left, and the seconds since the start."""

        def close(self) -> None:
            """Leave the terminal as it was."""


READING_DELAY = 1  # seconds before the first word about reading, and between two
READING_BLOCK = 1024  # lines between two looks at the clock
REPORT_INTERVAL = 10  # seconds between two lines, and over which a rate is taken


def open_progress(
    draw: Callable[[str], None],
    err: Callable[[str], None],
    environ: Mapping[str, str],
    is_terminal: bool,
    limit: float | None = None,
) -> Progress:
    """Return a bar if standard error is a terminal with styles and rich is installed, otherwise
    lines.

    draw writes to standard error as it is, err a line. limit: after how many seconds the waiting
    ends, None if it does not.
    """
    if is_terminal and has_styles(environ):
        try:
            return BarProgress(draw, has_colours(environ), limit)
        except ImportError:
            pass  # lines do: no drain stops for want of a bar
    return LineProgress(err, limit)


def format_remaining(connections: int, templates: int) -> str:
    """Return "2 connections and 1 template"; templates are named only if one is left."""
    if templates and not connections:
        return pluralize(templates, "template")
    return pluralize(connections, "connection") + _format_templates(templates)


def show_reading(
    lines: Iterable[Item], draw: Callable[[str], None], clock: Callable[[], float]
) -> Iterator[Item]:
    """Yield the lines. If they take more than READING_DELAY seconds, say on one line of the
    terminal how many came, and remove it at the end.
    """
    due = clock() + READING_DELAY
    count = 0
    text = ""
    try:
        for line in lines:
            yield line
            count += 1
            if not count % READING_BLOCK and (now := clock()) >= due:
                due = now + READING_DELAY
                text = f"{count:,} connections read"
                draw(f"\r{text}")
    finally:
        if text:
            draw(f"\r{' ' * len(text)}\r")


class ProgressText:
    """Format progress: "12 of 40 connections left (1.3 closed per second, 9 s of 60 s)"."""

    def __init__(self, limit: float | None = None) -> None:
        self.total: int | None = None  # connections and templates at the start
        self._limit = "" if limit is None else f" of {limit:.0f} s"
        self._first = 0  # connections at the start
        self._seen: list[tuple[float, int]] = []

    def format_text(self, connections: int, templates: int, seconds: float) -> str:
        """Return the numbers at first; later also the connections at the start, and the rate of the
        last REPORT_INTERVAL seconds.
        """
        if self.total is None:
            self.total = connections + templates
            self._first = connections
        self._seen.append((seconds, connections))
        while self._seen[0][0] < seconds - REPORT_INTERVAL:
            del self._seen[0]
        since, before = self._seen[0]
        left = format_remaining(connections, templates)
        if seconds == since:
            return f"{left} left"
        times = f"{seconds:.0f} s{self._limit}"
        if not (connections or before):  # only templates are left, and they end by themselves
            return f"{left} left ({times})"
        rate = (connections - before) / (seconds - since)
        change = f"{rate:.1f} more" if rate > 0 else f"{abs(rate):.1f} closed"
        left = (
            f"{connections} of {pluralize(self._first, 'connection')}{_format_templates(templates)}"
        )
        return f"{left} left ({change} per second, {times})"


def _format_templates(templates: int) -> str:
    return f" and {pluralize(templates, 'template')}" if templates else ""


class LineProgress:
    """Print a line at the start and then one every REPORT_INTERVAL seconds."""

    def __init__(self, err: Callable[[str], None], limit: float | None = None) -> None:
        self._err = err
        self._next = 0.0
        self._told = ProgressText(limit)

    def show(self, connections: int, templates: int, seconds: float) -> None:
        """Print a line if it is time."""
        text = self._told.format_text(connections, templates, seconds)
        if seconds >= self._next:
            self._next += REPORT_INTERVAL
            self._err(text)

    def close(self) -> None:
        """Do nothing: lines hold no resource."""


class BarProgress:
    """Draw a bar that is full when nothing is left; closing it removes it from the terminal.

    Raise ImportError if rich is not installed.
    """

    def __init__(
        self, draw: Callable[[str], None], coloured: bool, limit: float | None = None
    ) -> None:
        from io import StringIO  # noqa: PLC0415

        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

        class Output(StringIO):
            """Write for rich, which wants a file."""

            def write(self, text: str) -> int:
                draw(text)
                return len(text)

        self._told = ProgressText(limit)
        self._progress = Progress(
            BarColumn(20),
            TextColumn("{task.description}", markup=False),
            # Only the environment module reads variables.
            console=Console(file=Output(), force_terminal=True, no_color=not coloured, _environ={}),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("")

    def show(self, connections: int, templates: int, seconds: float) -> None:
        """Draw the bar anew."""
        text = self._told.format_text(connections, templates, seconds)
        count = connections + templates
        total = self._told.total or count
        self._progress.update(
            self._task, total=total, completed=max(0, total - count), description=text
        )
        self._progress.start()
        self._progress.refresh()

    def close(self) -> None:
        """Remove the bar."""
        self._progress.stop()
