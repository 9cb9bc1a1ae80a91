"""Format figures for people: numbers with units, durations, bars, sparklines.

Owns: how each of them is written, and the variables that describe a terminal. Must never know:
records, columns, colours. Pure.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MINUTE = 60.0  # seconds that a sparkline covers
PEAK = 6  # columns of the maximum behind a curve

_UNITS = "kMGTPE"
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class BarCharacters:
    """Hold the characters of bars and sparklines: parts of a full cell, smallest first, and
    heights, lowest first.
    """

    __slots__ = ("heights", "parts")

    def __init__(self, parts: str, heights: str) -> None:
        self.parts = parts
        self.heights = heights


def has_styles(environ: Mapping[str, str]) -> bool:
    """Return True if TERM names a terminal with escape sequences."""
    return environ.get("TERM", "") not in ("", "dumb", "unknown")


def has_colours(environ: Mapping[str, str]) -> bool:
    """Return True if the terminal has colours and its user wants them (https://no-color.org)."""
    return has_styles(environ) and not environ.get("NO_COLOR")


BLOCKS = BarCharacters("▏▎▍▌▋▊▉█", "▁▂▃▄▅▆▇█")
PLAIN = BarCharacters("#", "_.:-=+*#")


def format_count(value: float, exact: bool = False) -> str:
    """Return a number in at most six characters: 0.4, 12, 9999, 12.3 k. exact: with all of its
    digits.
    """
    if exact:
        return str(round(value))
    if value < 9.95 and value != int(value):
        return f"{value:.1f}"
    return f"{value:.0f}" if value < 9999.5 else _scale_value(value)


def format_size(value: float, exact: bool = False) -> str:
    """Return a number of bytes with its unit: 999 B, 1.50 kB (1,500 bytes), 12.3 MB."""
    return f"{round(value)} B" if exact or value < 999.5 else f"{_scale_value(value)}B"


def _scale_value(value: float) -> str:
    scaled = value / 1000
    steps = 0
    while scaled >= 999.5 and steps < len(_UNITS) - 1:
        scaled /= 1000
        steps += 1
    digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{scaled:.{digits}f} {_UNITS[steps]}"


def format_duration(seconds: int) -> str:
    """Return a duration in its units: 15 min, 1 min 30 s, 31 d."""
    parts = []
    for length, unit in _SPANS:
        whole, seconds = divmod(seconds, length)
        if whole:
            parts.append(f"{whole} {unit}")
    return " ".join(parts) or "0 s"


def draw_bar(share: float, width: int, marks: BarCharacters = BLOCKS) -> str:
    """Draw a bar of up to `width` cells for a share from 0 to 1. Any share above 0 is visible."""
    steps = len(marks.parts)
    filled = min(round(share * width * steps), width * steps)
    if share > 0:
        filled = max(filled, 1)
    whole, part = divmod(filled, steps)
    return marks.parts[-1] * whole + (marks.parts[part - 1] if part else "")


def draw_curve(
    samples: Sequence[tuple[float, float, float]],
    now: float,
    width: int,
    marks: BarCharacters = BLOCKS,
) -> str:
    """Draw a sparkline and behind it its maximum, which has the full height."""
    if not samples:
        return ""
    peak = format_count(max(value for _, _, value in samples))
    return f"{draw_sparkline(samples, now, width - PEAK - 1, marks)} {peak:>{PEAK}}"


def draw_sparkline(
    samples: Iterable[tuple[float, float, float]],
    now: float,
    width: int,
    marks: BarCharacters = BLOCKS,
) -> str:
    """Draw the last minute in `width` cells, the newest at the right; cells without a sample are
    blank.

    samples: (from, until, value), in seconds on the clock of `now`; the highest value has the full
    height.
    """
    step = MINUTE / width
    cells: list[float | None] = [None] * width
    for start, end, value in samples:
        first = max(0, int((start - now + MINUTE) / step + 1e-9))
        last = min(width, -int((now - end) / step + 1e-9) + width)
        for at in range(first, last):
            cells[at] = max(value, cells[at] or 0.0)
    top = max((value for value in cells if value is not None), default=0.0)
    heights = len(marks.heights) - 1
    return "".join(
        " " if value is None else marks.heights[round(value / top * heights) if top else 0]
        for value in cells
    )
