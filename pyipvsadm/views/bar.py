"""The progress of a draining as a bar on a terminal, by rich.

Owns: how it looks. Must never know: what is waited for. It has no thread of its own: it moves when `show` is called.
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from pyipvsadm.views.progress import Told

if TYPE_CHECKING:
    from collections.abc import Callable


class Bar:
    """Full when nothing is left; gone from the terminal when it is closed."""

    def __init__(self, draw: Callable[[str], None], coloured: bool) -> None:
        self._told = Told()
        self._progress = Progress(
            BarColumn(20),
            TextColumn("{task.description}", markup=False),
            # The environment is the world's to read.
            console=Console(file=_File(draw), force_terminal=True, no_color=not coloured, _environ={}),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("")

    def show(self, count: int, seconds: float) -> None:
        """Draw it anew."""
        text = self._told.text(count, seconds)
        total = self._told.first or count
        self._progress.update(self._task, total=total, completed=max(0, total - count), description=text)
        self._progress.start()
        self._progress.refresh()

    def close(self) -> None:
        """Take it away."""
        self._progress.stop()


class _File(StringIO):
    """What rich writes to."""

    def __init__(self, draw: Callable[[str], None]) -> None:
        super().__init__()
        self._draw = draw

    def write(self, text: str) -> int:
        self._draw(text)
        return len(text)
