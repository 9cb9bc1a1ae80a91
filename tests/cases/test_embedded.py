"""Every case on the embedded table gets the answers that the reference gave in the guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyipvsadm.backends.memory import MemoryBackend
from tests.cases import differences, recording
from tests.cases.compare import check_recording, expected
from tests.cases.ours import FileNames, answer, look
from tests.cases.table import CASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cases.case import Case

RECORDED = recording.load()
NAMES = FileNames()


class Given(MemoryBackend):
    """Stand in for the table of a machine that has lo, with the connections of the case."""

    def __init__(self, case: Case) -> None:
        super().__init__({"lo"}.__contains__)
        self._given = case.connections

    def iter_connections(self) -> Iterator[bytes]:
        return (
            super().iter_connections()
            if self._given is None
            else iter(self._given.splitlines(keepends=True))
        )


@pytest.mark.parametrize("name", CASES)
def test_as_recorded(name: str) -> None:
    case = CASES[name]
    check_recording(case, RECORDED.get(name))
    steps, left = expected(name, RECORDED[name], differences.EMBEDDED)
    table = Given(case)
    seen = [(str(step), answer(step, NAMES, lambda: table)) for step in case.steps]
    assert seen == steps
    assert look(NAMES, lambda: table) == left


def test_nothing_else_is_recorded() -> None:
    assert set(RECORDED) == set(CASES)


def test_differences_are_of_cases_that_exist() -> None:
    for name, at in differences.STEPS:
        assert 1 <= at <= len(CASES[name].steps), (name, at)
    assert differences.TABLES.keys() <= CASES.keys()
