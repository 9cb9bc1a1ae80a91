"""Check that the fast parser of rule lines returns what the scanner returns, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm import model
from pyipvsadm.errors import LineSkippedError, UsageError
from pyipvsadm.grammar.parser import CommandParser
from pyipvsadm.rules import reader
from pyipvsadm.rules.fast_parser import FastRuleParser
from tests.unit.fake_environment import FakeNames

if TYPE_CHECKING:
    from pyipvsadm.model import Change

NAMES = FakeNames({"web": (model.AF_INET, bytes([10, 0, 0, 9]))}, {("http", model.TCP): 80})


def scanned(words: list[str]) -> Change | None:
    try:
        return CommandParser(words, NAMES).parse_request().change
    except (UsageError, LineSkippedError):
        return None


PLAIN = [
    "-A -t 10.0.0.1:80 -s rr",
    "-A -u [2001:db8::1]:53 -s wlc",
    "-A -t 10.0.0.1:65535 -s a-name-of-15-ch",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 0",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -g -w 65535",  # takes the service's port
    "-a -t 10.0.0.1:80 -r [2001:db8::2]:80 -i -w 1",
    "-a -u [2001:db8::1]:53 -r [::1]:53 -m -w 7",
]
LEFT = [
    "-A -t 10.0.0.1:80",
    "-A -t 10.0.0.1:80 -s rr -p 300",
    "-A -t 10.0.0.1:0 -s rr",
    "-A -t 10.0.0.1 -s rr",
    "-A -t web:80 -s rr",
    "-A -t 10.1:80 -s rr",
    "-A -t 010.0.0.1:80 -s rr",
    "-A -t [10.0.0.1]:80 -s rr",
    "-A -t [::1] -s rr",
    "-A -t ::1 -s rr",
    "-A -t 10.0.0.1:http -s rr",
    "-A -t 10.0.0.1:70000 -s rr",
    "-A -t 10.0.0.1:\u0661 -s rr",
    "-A -f 1 -s rr",
    "-A -t 10.0.0.1:80 -s a-name-of-16-chr",
    "-A -t 10.0.0.1:80 -s \u00e9",
    "-A -t 10.0.0.1:80 -M 255.0.0.0",
    "-a -t 10.0.0.1:80 -r web:80 -g -w 1",
    "-a -t 10.0.0.1:80 -r 10.0.0.2 -g -w 1",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -g -w +1",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -x -w 1",
    "-a -t 10.0.0.1:80 -r [::1]:80 -m -w 1",
    "-a -f 1 -r 10.0.0.2:80 -g -w 1",
    "-d -t 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1",
    "-L -n",
    "",
]


@pytest.mark.parametrize("line", PLAIN)
def test_plain_lines_are_read_at_once(line: str) -> None:
    words = line.split()
    change = FastRuleParser().parse_change(words)
    assert change is not None
    assert change == scanned(words)


@pytest.mark.parametrize("line", LEFT)
def test_other_lines_are_left_to_the_scanner(line: str) -> None:
    assert FastRuleParser().parse_change(line.split()) is None


def test_what_is_remembered_is_not_mixed_up() -> None:
    reader = FastRuleParser()
    for line in (*PLAIN, *LEFT, *PLAIN):
        change = reader.parse_change(line.split())
        assert change is None or change == scanned(line.split())


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyipvsadm.rules.fast_parser.CACHE_LIMIT", 2)
    reader = FastRuleParser()
    for at in range(10):
        for line in (
            f"-A -t 10.0.0.{at}:80 -s rr",
            f"-a -t 10.0.0.{at}:80 -r 10.0.1.{at}:80 -m -w {at}",
        ):
            assert reader.parse_change(line.split()) == scanned(line.split())
    assert max(len(reader._services), len(reader._servers)) <= 3


addresses = st.sampled_from(
    (
        "10.0.0.1:80",
        "10.0.0.2:8080",
        "[2001:db8::1]:80",
        "[::1]:0",
        "10.1:80",
        "web:80",
        "10.0.0.1",
        "[::1]",
        "1.2.3.4:http",
        "",
    )
)
words = st.one_of(
    st.sampled_from(
        (
            "-A",
            "-a",
            "-t",
            "-u",
            "-f",
            "-r",
            "-s",
            "-m",
            "-g",
            "-i",
            "-w",
            "-x",
            "rr",
            "1",
            "0",
            "70000",
            "--",
            "-n",
        )
    ),
    addresses,
    st.text(max_size=6).filter(lambda text: "\0" not in text),
)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    line = draw(st.sampled_from(PLAIN)).split()
    for _ in range(draw(st.integers(0, 3))):
        line[draw(st.integers(0, len(line) - 1))] = draw(words)
    return line


@given(st.lists(lines(), max_size=8))
def test_it_says_what_the_scanner_says_or_nothing(batch: list[list[str]]) -> None:
    reader = FastRuleParser()
    for line in batch:
        change = reader.parse_change(line)
        assert change is None or change == scanned(line)


def test_blocks_of_a_large_text_keep_lines_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"".join(b"-A -f %d -s rr\n" % at for at in range(1, 200)) + b"\n# end\n-A -f 999  "
    whole = list(reader.tokenize(text))
    assert [at for at, _ in whole] == [*range(1, 200), 202]
    for block in (1, 7, 100, 1000):
        monkeypatch.setattr(reader, "BLOCK", block)
        assert list(reader.tokenize(text)) == whole
        assert list(reader.tokenize(text + b"x")) == [*whole[:-1], (202, ["-A", "-f", "999", "x"])]
