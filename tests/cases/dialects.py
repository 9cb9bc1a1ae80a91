"""Compare the two references, both called 1.31: Debian 12's, whose answers are recorded.json, and
Debian 13's (1:1.31-5, upstream's of January 2025). Ours answers as the newer does.

Owns: dialects.json, the table of the answers that differ, which a recording makes. Must never know:
where ours differs from both (differences.py).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.cases.recording import Answer
from tests.older_python import zip_equal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.cases.recording import Recorded

FILE = Path(__file__).with_name("dialects.json")
LEFT = 0


class Row(NamedTuple):
    """Hold one answer that differs. step counts from 1, LEFT is the listing at the end; part is an
    attribute of Answer.
    """

    case: str
    step: int
    run: str
    part: str
    older: Any  # str, or a status
    newer: Any


def list_differences(older: Mapping[str, Recorded], newer: Mapping[str, Recorded]) -> list[Row]:
    """Return a row for each part of each answer that differs. Both have the same cases."""
    assert older.keys() == newer.keys()
    rows = []
    for name, case in sorted(older.items()):
        steps = [*enumerate(case.steps, 1), (LEFT, ("", Answer(0, case.table, "")))]
        other = newer[name]
        answers = [*other.steps, ("", Answer(0, other.table, ""))]
        for (step, (run, was)), (run_again, now) in zip_equal(steps, answers):
            assert run == run_again, f"{name}: recorded otherwise"
            rows += [
                Row(name, step, run, part, getattr(was, part), getattr(now, part))
                for part in ("status", "stdout", "stderr")
                if getattr(was, part) != getattr(now, part)
            ]
    return rows


def digest_steps(cases: Mapping[str, Recorded]) -> str:
    """Return a digest of all steps: a table with another one was made from other cases."""
    steps = [(name, [run for run, _ in case.steps]) for name, case in sorted(cases.items())]
    return hashlib.sha256(json.dumps(steps).encode()).hexdigest()


def dump_table(rows: list[Row], digest: str, made_by: dict[str, str]) -> str:
    lines = ",\n".join(json.dumps(row._asdict()) for row in rows)
    head = f'"made by": {json.dumps(made_by, sort_keys=True)}, "steps": {json.dumps(digest)}'
    return f'{{{head}, "differences": [\n{lines}\n]}}\n'


def load_table() -> tuple[list[Row], str]:
    """Return the rows, and the digest of the steps that they were made from."""
    document = json.loads(FILE.read_text())
    return [Row(**row) for row in document["differences"]], document["steps"]


def collect_messages(rows: list[Row]) -> dict[str, str]:
    """Return the lines of standard error that differ: {the older's line: the newer's line}."""
    return {
        was: now
        for row in rows
        if row.part == "stderr"
        for was, now in zip_equal(
            str(row.older).splitlines(keepends=True), str(row.newer).splitlines(keepends=True)
        )
        if was != now
    }


MESSAGES = collect_messages(load_table()[0])


def translate(answer: Answer) -> Answer:
    """Return the newer's answer to a step, given the older's answer to it."""
    lines = answer.stderr.splitlines(keepends=True)
    return replace(answer, stderr="".join(MESSAGES.get(line, line) for line in lines))
