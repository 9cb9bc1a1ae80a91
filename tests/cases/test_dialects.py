"""What differs between the two references is what the table says, and nothing else."""

from __future__ import annotations

import pytest

from tests.cases import recording
from tests.cases.dialects import MESSAGES, translate
from tests.cases.recording import Recorded

OLDER = recording.load()
NEWER = recording.load(recording.NEWER)


@pytest.mark.parametrize("name", OLDER)
def test_the_newer_answers_as_the_table_says(name: str) -> None:
    case = OLDER[name]
    steps = [(step, translate(answer)) for step, answer in case.steps]
    assert Recorded(steps, case.table) == NEWER.get(name, case)


@pytest.mark.parametrize("older", MESSAGES)
def test_the_table_has_nothing_that_is_not_seen(older: str) -> None:
    said = [answer.stderr for case in OLDER.values() for _, answer in case.steps]
    assert any(older in text for text in said)
