"""Test figures for people: numbers, durations, bars, sparklines, text made safe for a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm.text import sanitize
from pyipvsadm.views.figures import (
    BLOCKS,
    PLAIN,
    BarCharacters,
    draw_bar,
    draw_curve,
    draw_sparkline,
    format_count,
    format_duration,
    format_size,
)

COUNTS: list[tuple[float, bool, str]] = [
    (0, False, "0"),
    (0.04, False, "0.0"),
    (0.4, False, "0.4"),
    (3.0, False, "3"),
    (9.96, False, "10"),
    (9999, False, "9999"),
    (9999.6, False, "10.0 k"),
    (10_000, False, "10.0 k"),
    (12_345, False, "12.3 k"),
    (99_949, False, "99.9 k"),
    (99_950, False, "100 k"),
    (999_499, False, "999 k"),
    (999_500, False, "1.00 M"),
    (2**32, False, "4.29 G"),
    (2**64 - 1, False, "18.4 E"),
    (2**64 - 1, True, "18446744073709551616"),
    (12_345, True, "12345"),
]


@pytest.mark.parametrize(("value", "exact", "text"), COUNTS[:-2] + COUNTS[-1:])
def test_count(value: float, exact: bool, text: str) -> None:
    assert format_count(value, exact) == text


@pytest.mark.parametrize("value", [2**53 + 1, 2**64 - 1])
def test_exact_is_exact_with_all_64_bits(value: int) -> None:
    assert (format_count(value, True), format_size(value, True)) == (str(value), f"{value} B")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.5, "1.00 kB"),
        (1500, "1.50 kB"),
        (2**40, "1.10 TB"),
        (2**64 - 1, "18.4 EB"),
    ],
)
def test_size(value: float, text: str) -> None:
    assert format_size(value) == text


@given(st.integers(0, 2**64 - 1) | st.floats(0, 2.0**64))
def test_no_number_is_long(value: float) -> None:
    assert len(format_count(value)) <= 6
    assert len(format_size(value)) <= 7


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (90, "1 min 30 s"), (900, "15 min"), (3600, "1 h"), (7500, "2 h 5 min"),
     (86400 * 31, "31 d"), (90061, "1 d 1 h 1 min 1 s")],
)  # fmt: skip
def test_span(seconds: int, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("share", "width", "marks", "text"),
    [
        (0, 8, BLOCKS, ""),
        (1, 4, BLOCKS, "████"),
        (1.5, 4, BLOCKS, "████"),
        (0.5, 4, BLOCKS, "██"),
        (0.4, 4, BLOCKS, "█▋"),
        (0.0001, 4, BLOCKS, "▏"),
        (0.5, 4, PLAIN, "##"),
        (0.0001, 4, PLAIN, "#"),
    ],
)
def test_bar(share: float, width: int, marks: BarCharacters, text: str) -> None:
    assert draw_bar(share, width, marks) == text


# Twelve cells of five seconds; now is 60.
SPARKS: list[tuple[str, list[tuple[float, float, float]], BarCharacters, str]] = [
    ("nothing known", [], BLOCKS, " " * 12),
    ("nothing happened", [(0, 60, 0)], BLOCKS, "▁" * 12),
    ("the whole minute", [(0, 60, 5)], BLOCKS, "█" * 12),
    ("the last five seconds", [(55, 60, 5)], BLOCKS, " " * 11 + "█"),
    ("the first five seconds", [(0, 5, 5)], BLOCKS, "█" + " " * 11),
    ("a minute ago and more", [(-90, 0, 5)], BLOCKS, " " * 12),
    ("part of it is over a minute old", [(-30, 5, 5)], BLOCKS, "█" + " " * 11),
    ("heights", [(5 * at, 5 * at + 5, at) for at in range(12)], BLOCKS, "▁▂▂▃▄▄▅▅▆▇▇█"),
    ("plain", [(5 * at, 5 * at + 5, at) for at in range(12)], PLAIN, "_..:--==+**#"),
    (
        "two in one cell: the higher",
        [(50, 52, 1), (52, 55, 4), (55, 60, 2)],
        BLOCKS,
        " " * 10 + "█▅",
    ),
]


@pytest.mark.parametrize(
    ("samples", "marks", "text"), [pytest.param(*row[1:], id=row[0]) for row in SPARKS]
)
def test_sparkline(
    samples: list[tuple[float, float, float]], marks: BarCharacters, text: str
) -> None:
    assert draw_sparkline(samples, 60.0, 12, marks) == text


@given(
    st.lists(st.tuples(st.floats(-100, 60), st.floats(0, 60), st.floats(0, 2.0**64)), max_size=40),
    st.integers(4, 30),
)
def test_a_sparkline_fills_its_width(spans: list[tuple[float, float, float]], width: int) -> None:
    text = draw_sparkline(
        [(start, start + length, value) for start, length, value in spans], 120.0, width
    )
    assert len(text) == width
    assert set(text) <= set(BLOCKS.heights) | {" "}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("web-1.example", "web-1.example"),
        ("bücher.example", "bücher.example"),
        ("a\x1b[31mb", "a?[31mb"),
        ("a\nb\tc\x7f\x9b", "a?b?c??"),
        ("a\u202eb\u2066c\u200f", "a?b?c?"),
        ("\u05d0\u0627", "??"),
        ("\udcff", "?"),
    ],
)
def test_safe(text: str, shown: str) -> None:
    assert sanitize(text) == shown


@given(st.text())
def test_what_is_safe_steers_nothing(text: str) -> None:
    shown = sanitize(text)
    assert len(shown) == len(text)
    assert all(
        unicodedata.category(c)[0] != "C" and unicodedata.bidirectional(c) not in ("R", "AL")
        for c in shown
    )


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        ([], ""),
        ([(30.0, 60.0, 12345.0)], "     █████ 12.3 k"),
        ([(0.0, 30.0, 4.0), (30.0, 60.0, 0.0)], "█████▁▁▁▁▁      4"),
    ],
)
def test_curve(samples: list[tuple[float, float, float]], text: str) -> None:
    assert draw_curve(samples, 60.0, 17) == text
