"""The two references differ exactly as the table says, and ours answers as the newer does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyipvsadm.backends.memory import MemoryBackend
from tests.cases import recording
from tests.cases.dialects import (
    LEFT,
    Row,
    digest_steps,
    list_differences,
    load_table,
    translate,
)
from tests.cases.ours import FileNames, answer
from tests.cases.recording import Answer, Recorded
from tests.cases.table import CASES

OLDER = recording.load()
ROWS, STEPS = load_table()
DIFFERENT = {name: [row for row in ROWS if row.case == name] for name, *_ in ROWS}


def test_both_were_asked_the_same() -> None:
    assert digest_steps(OLDER) == STEPS, "recorded from other cases: make record"


@pytest.mark.parametrize("name", OLDER)
def test_translated_answers_are_the_newers(name: str) -> None:
    answers = [answer for _, answer in OLDER[name].steps]
    newer = list(answers)
    for _, step, _, part, older, now in DIFFERENT.get(name, []):
        assert step != LEFT, "translate() leaves listings alone"
        assert getattr(newer[step - 1], part) == older
        newer[step - 1] = replace(newer[step - 1], **{part: now})
    assert [translate(answer) for answer in answers] == newer


@pytest.mark.parametrize("name", DIFFERENT)
def test_ours_speaks_the_newer(name: str) -> None:
    table = MemoryBackend({"lo"}.__contains__)
    names = FileNames()
    answers = [answer(step, names, lambda: table) for step in CASES[name].steps]
    for _, step, run, part, _, newer in DIFFERENT[name]:
        assert (run, getattr(answers[step - 1], part)) == (run, newer)


def test_every_part_of_an_answer_is_compared() -> None:
    older = {"one": Recorded([("L", Answer(0, "a", "b")), ("S", Answer(0, "", ""))], "left")}
    newer = {"one": Recorded([("L", Answer(1, "c", "d")), ("S", Answer(0, "", ""))], "other")}
    assert list_differences(older, newer) == [
        Row("one", 1, "L", "status", 0, 1),
        Row("one", 1, "L", "stdout", "a", "c"),
        Row("one", 1, "L", "stderr", "b", "d"),
        Row("one", LEFT, "", "stdout", "left", "other"),
    ]
    assert list_differences(older, older) == []
