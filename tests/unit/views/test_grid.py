"""Test columns that fit a width, wrapping, and which characters each terminal gets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pyipvsadm.views.figures import BLOCKS, PLAIN, draw_bar
from pyipvsadm.views.grid import (
    Cell,
    Column,
    Grid,
    Row,
    TerminalStyle,
    choose_style,
    render_text,
    split_sentence,
    wrap_words,
)

if TYPE_CHECKING:
    from pyipvsadm.views.grid import Line

COLUMNS = (
    Column("Weight"),
    Column("", bars=True),
    Column("Load", "in", drop=1),
    Column("State", left=True),
)


def cells(weight: str, load: str, state: str) -> list[Cell]:
    return [Cell(weight), Cell(draw=partial(draw_bar, 0.5)), Cell(load), Cell(state)]


ROWS = [
    Row("service", words=[(" and", ""), (" its", ""), (" attributes", "")]),
    Row("10.0.0.1:80", cells("1", "17", "up"), indent=2),
    Row("a-long-name.example.com:8080", cells("100", "1", "down"), indent=2),
]


def drawn(width: int) -> list[str]:
    grid = Grid(COLUMNS, ROWS, TerminalStyle(width), "What it is")
    lines = grid.render_heading()
    for row in ROWS:
        lines += grid.render_row(row)
    return render_text(lines, TerminalStyle(width)).split("\n")[:-1]


DRAWN = {
    100: [
        "What it is                     Weight                   Load State",
        "                                                          in",
        "service and its attributes",
        "  10.0.0.1:80                    1 ██████████             17 up",
        "  a-long-name.example.com:8080 100 ██████████              1 down",
    ],
    40: [
        "What it is              Weight   State",  # Load is given up
        "service and its attributes",
        "  10.0.0.1:80             1 ██   up",
        "  a-long-name.example.com:8080",
        "                        100 ██   down",
    ],
    25: [
        "What it  Weight   State",
        "service and its",
        "    attributes",
        "  10.0.0.1:80",
        "           1 ██   up",
        "  a-long-name.example.com:8080",
        "         100 ██   down",
    ],
}


def test_wide_and_narrow() -> None:
    assert drawn(100) == DRAWN[100]
    assert drawn(46)[0].endswith("State")
    assert "Load" not in drawn(40)[0]


@given(st.integers(20, 150))
def test_nothing_is_cut_and_nothing_is_wider_than_the_window(width: int) -> None:
    lines = drawn(width)
    assert all(cell_len(line) <= width for line in lines)
    joined = "".join(line.strip() for line in lines)
    for part in ("a-long-name.example.com:8080", "10.0.0.1:80", "100", "down", "up"):
        assert part in joined


def test_cells_that_do_not_fit_carry_their_headings() -> None:
    columns = (Column("Engine", left=True), Column("Its", "data", left=True), Column("None"))
    row = Row("10.0.0.1:80", [Cell("sip"), Cell("a-call-id-of-some-length"), Cell()])
    grid = Grid(columns, [row], TerminalStyle(30), "What")
    assert grid.render_heading() == []
    assert (
        render_text(grid.render_row(row), TerminalStyle(30))
        == "10.0.0.1:80  Engine sip\n  Its data\n  a-call-id-of-some-length\n"
    )


FOLDED: list[tuple[str, int, int, list[str]]] = [
    ("one two three", 20, 2, ["one two three"]),
    ("one two three", 9, 2, ["one two", "  three"]),
    ("incomprehensible", 6, 2, ["incomp", "  rehe", "  nsib", "  le"]),
    ("an incomprehensible", 8, 2, ["an incom", "  prehen", "  sible"]),
    ("日本語日本語", 5, 0, ["日本", "語日", "本語"]),
]


@pytest.mark.parametrize(("said", "width", "indent", "lines"), FOLDED)
def test_folded(said: str, width: int, indent: int, lines: list[str]) -> None:
    assert [
        "".join(part for part, _ in line)
        for line in wrap_words(split_sentence(said), width, indent)
    ] == lines


LINES: list[Line] = [
    [("bold", "bold"), (" ", ""), ("red", "red"), ("  ", "dim")],
    [("   ", "")],
    [],
]


@pytest.mark.parametrize(
    ("environ", "terminal", "written"),
    [
        ({"TERM": "xterm-256color"}, True, "\x1b[1mbold\x1b[0m \x1b[31mred\x1b[0m\n\n\n"),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, "\x1b[1mbold\x1b[0m \x1b[31mred\x1b[0m\n\n\n"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, "\x1b[1mbold\x1b[0m red\n\n\n"),
        ({"TERM": "dumb"}, True, "bold red\n\n\n"),
        ({}, True, "bold red\n\n\n"),
        ({"TERM": "xterm", "FORCE_COLOR": "1"}, False, "bold red\n\n\n"),
    ],
)
def test_what_is_written(
    environ: dict[str, str], terminal: bool, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # of our own process: only the fake environment's variables count
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert render_text(LINES, choose_style(environ, terminal, 80)) == written


@pytest.mark.parametrize(
    ("environ", "blocks"),
    [
        ({"LANG": "C.UTF-8"}, True),
        ({"LANG": "de_DE.utf8"}, True),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, False),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, True),
        ({"LANG": "de_DE@euro"}, False),
        ({}, False),
        ({"LANG": "C.UTF-8", "TERM": "linux"}, False),
    ],
)
def test_which_characters_are_used(environ: dict[str, str], blocks: bool) -> None:
    assert choose_style(environ, True, 80).marks is (BLOCKS if blocks else PLAIN)
