"""Run every case on the kernel: the reference's answers are those recorded, ours are the same, and
so is the table at the end.

Each tool has a network namespace of its own; what is in the kernel at the end is listed by the
reference for both.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pyipvsadm import sorting  # noqa: F401
from pyipvsadm.backends.kernel import KernelBackend
from pyipvsadm.resolver import Resolver
from pyipvsadm.views import classic  # noqa: F401
from pyipvsadm.views import connections as _  # noqa: F401  # otherwise each fork would import what it uses first
from tests.cases import differences, ours, recording, reference
from tests.cases.compare import check_recording, expected
from tests.cases.recording import Recorded
from tests.cases.table import CASES
from tests.cases.table_recipes import CASES as RECIPES
from tests.kernel import netns
from tests.older_python import zip_equal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cases.case import Step
    from tests.cases.recording import Answer

RECORDED = recording.load()
NAMES = Resolver()
# From 7.1 on a connection table grows from nothing: its size differs from the size that was
# recorded on 6.1.
KERNEL = tuple(map(int, os.uname().release.split(".")[:2]))
GROWS = os.path.exists("/proc/net/ip_vs_status")


@pytest.fixture(autouse=True)
def _home() -> Iterator[None]:
    with netns.kept():
        yield


@pytest.mark.parametrize("name", CASES)
def test_both(name: str) -> None:
    case = CASES[name]
    check_recording(case, RECORDED.get(name))
    live = reference.record(case)
    assert fitted(live, RECORDED[name]) == RECORDED[name] or is_older(name, live), (
        "the reference answers otherwise than recorded"
    )
    steps, left = expected(name, live, differences.KERNEL)
    netns.fresh()
    run = answer if case.connections is None else as_process
    right = Recorded(steps, left)
    ours = [(str(step), run(step, case.connections)) for step in case.steps]
    assert fitted(Recorded(ours, reference.look()), right) == right


@pytest.mark.parametrize("name", RECIPES)
def test_as_processes(name: str) -> None:
    """The same holds from outside: real streams and exit statuses."""
    steps, left = expected(name, RECORDED[name], differences.KERNEL)
    netns.fresh()
    right = Recorded(steps, left)
    ours = [(str(step), as_process(step)) for step in CASES[name].steps]
    assert fitted(Recorded(ours, reference.look()), right) == right


def is_older(name: str, live: Recorded) -> bool:
    """Return True if the difference comes from the kernel's age: until 5.14, a network's lowest
    address was a broadcast address (fib_frontend.c: fib_add_ifaddr), and could be no real server's.
    """
    lowest = [seen.status for step, seen in live.steps if step.endswith(" -r 127.0.0.0")]
    return KERNEL < (5, 14) and name == "servers: addresses, IPv4" and lowest == [255]


def fitted(found: Recorded, right: Recorded) -> Recorded:
    """Return the recorded answers with the size that 6.1's tables have in each place where the
    expected answer has it, on a kernel whose tables grow.
    """

    def fit(text: str, like: str) -> str:
        return (
            re.sub(r"\(size=\d+\)", differences.SIZE, text)
            if GROWS and differences.SIZE in like
            else text
        )

    steps = [
        (step, replace(seen, stdout=fit(seen.stdout, like[1].stdout)))
        for (step, seen), like in zip_equal(found.steps, right.steps)
    ]
    return Recorded(steps, fit(found.table, right.table))


def answer(step: Step, _connections: bytes | None) -> Answer:
    return ours.answer(step, NAMES, KernelBackend)


def as_process(step: Step, connections: bytes | None = None) -> Answer:
    return reference.covered(
        lambda: ours.PROGRAMS[step.program](list(step.argv)), step, connections
    )
