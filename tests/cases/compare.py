"""Compare our answers with a recording, except for the differences that are allowed.

Owns: what "the same" means. Must never know: which program ran where.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.cases import differences
from tests.cases.dialects import translate
from tests.cases.differences import EVERYWHERE, Difference
from tests.cases.recording import Answer

if TYPE_CHECKING:
    from tests.cases.case import Case
    from tests.cases.recording import Recorded


def check_recording(case: Case, recorded: Recorded | None) -> None:
    """Check that the recording is of this case as it is written now."""
    assert recorded is not None, "not recorded: make record"
    assert [step for step, _ in recorded.steps] == [str(step) for step in case.steps], (
        "recorded otherwise: make record"
    )


def expected(name: str, recorded: Recorded, place: str) -> tuple[list[tuple[str, Answer]], str]:
    """Return the answers that ours has to give in that place (differences.EMBEDDED or KERNEL): one
    for each step, and the listing at the end.
    """
    steps = [
        (step, _answer(translate(answer), _entry(differences.STEPS.get((name, at)), place), step))
        for at, (step, answer) in enumerate(recorded.steps, 1)
    ]
    table = _answer(
        Answer(0, recorded.table, ""), _entry(differences.TABLES.get(name), place), "the table"
    ).stdout
    return steps, table


def _entry(entry: Difference | None, place: str) -> Difference | None:
    return entry if entry and entry.only in (EVERYWHERE, place) else None


def _answer(recorded: Answer, entry: Difference | None, what: str) -> Answer:
    if entry is None:
        return recorded
    given = {
        part: value
        for part in ("status", "stdout", "stderr")
        if (value := getattr(entry, part)) is not None
    }
    if entry.lines:
        assert "stdout" not in given, f"{what}: either whole or by lines"
        lines = recorded.stdout.splitlines(keepends=True)
        unknown = set(entry.lines) - set(lines)
        assert not unknown, f"{what}: listed as a difference, yet the reference writes no {unknown}"
        given["stdout"] = "".join(entry.lines.get(line, line) for line in lines)
    assert given, f"{what}: the entry says nothing"
    same = [part for part, value in given.items() if getattr(recorded, part) == value]
    assert not same, (
        f"{what}: listed as a difference, yet the reference answers the same {' and '.join(same)}"
    )
    return replace(recorded, **given)
