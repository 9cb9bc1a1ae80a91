"""How far a draining is: lines, or a bar where somebody watches.

Owns: the words of both. Must never know: services, backends, what is waited for. The bar itself is in bar.py, which costs 100 ms.
"""

from __future__ import annotations

from pyipvsadm.views.figures import has_colours, has_styles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from pyipvsadm.environment import World

    class Progress(Protocol):
        """What is shown while connections end."""

        def show(self, count: int, seconds: float) -> None:
            """count: connections left; seconds: since the start."""

        def close(self) -> None:
            """Leave the terminal as it was."""


EVERY = 10  # seconds between two lines, and over which a rate is taken


def progress_on(world: World) -> Progress:
    """The kind that suits standard error."""
    if world.error_is_terminal() and has_styles(world.environ):
        try:
            from pyipvsadm.views.bar import Bar  # noqa: PLC0415  # rich
        except ImportError:
            pass  # lines do: nobody's draining stops for want of a bar
        else:
            return Bar(world.draw, has_colours(world.environ))
    return Lines(world.err)


def connections(count: int) -> str:
    """`1 connection`, `2 connections`."""
    return f"{count} connection{'' if count == 1 else 's'}"


class Told:
    """The words: of how many how many are left, and how fast they go."""

    def __init__(self) -> None:
        self.first: int | None = None
        self._seen: list[tuple[float, int]] = []

    def text(self, count: int, seconds: float) -> str:
        """At the start only the number; then what has become of it, with the rate of the last EVERY seconds."""
        if self.first is None:
            self.first = count
        self._seen.append((seconds, count))
        while self._seen[0][0] < seconds - EVERY:
            del self._seen[0]
        since, before = self._seen[0]
        if seconds == since:
            return f"{connections(count)} left"
        return f"{count} of {connections(self.first)} left, {(count - before) / (seconds - since):+.1f} a second, {seconds:.0f} s"


class Lines:
    """A line at the start and then one every EVERY seconds."""

    def __init__(self, err: Callable[[str], None]) -> None:
        self._err = err
        self._next = 0.0
        self._told = Told()

    def show(self, count: int, seconds: float) -> None:
        """A line if it is time."""
        text = self._told.text(count, seconds)
        if seconds >= self._next:
            self._next += EVERY
            self._err(text)

    def close(self) -> None:
        """Nothing is held."""
