"""Every case on the kernel: the reference's answers are those recorded, ours are the same, and so is the table at the end.

Each tool has a network namespace of its own; what is in the kernel at the end is listed by the reference for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyipvsadm import connections as _  # noqa: F401  # otherwise each fork would import what it uses first
from pyipvsadm.endpoint import Names
from pyipvsadm.kernel import Kernel
from pyipvsadm.view import classic, order  # noqa: F401
from tests.cases import differences, ours, recording, reference
from tests.cases.compare import check_recording, expected
from tests.cases.table import CASES
from tests.cases.table_recipes import CASES as RECIPES
from tests.kernel import netns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cases.case import Step
    from tests.cases.recording import Answer

RECORDED = recording.load()
NAMES = Names()


@pytest.fixture(autouse=True)
def _home() -> Iterator[None]:
    with netns.kept():
        yield


@pytest.mark.parametrize("name", CASES)
def test_both(name: str) -> None:
    case = CASES[name]
    check_recording(case, RECORDED.get(name))
    live = reference.record(case)
    assert live == RECORDED[name], "the reference answers otherwise than recorded"
    steps, left = expected(name, live, differences.KERNEL)
    netns.fresh()
    run = answer if case.connections is None else as_process
    assert [(str(step), run(step, case.connections)) for step in case.steps] == steps
    assert reference.look() == left


@pytest.mark.parametrize("name", RECIPES)
def test_as_processes(name: str) -> None:
    """The same from outside: real streams and exit statuses."""
    steps, left = expected(name, RECORDED[name], differences.KERNEL)
    netns.fresh()
    assert [(str(step), as_process(step)) for step in CASES[name].steps] == steps
    assert reference.look() == left


def answer(step: Step, _connections: bytes | None) -> Answer:
    return ours.answer(step, NAMES, Kernel)


def as_process(step: Step, connections: bytes | None = None) -> Answer:
    return reference.covered(lambda: ours.PROGRAMS[step.program](list(step.argv)), step, connections)
