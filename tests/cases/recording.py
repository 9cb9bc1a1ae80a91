"""Read and write recorded.json: the reference's answers to each case.

Owns: the form of the file. Must never know: how an answer came about.

Bytes are kept as Latin-1, texts as lists of lines with their ends: nothing is trimmed, and a change
shows as a line.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("recorded.json")


@dataclass(frozen=True)
class Answer:
    """Hold the output of one run and its exit status."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Recorded:
    """Hold a case as it was run: (step, answer) in order, and the listing at the end
    (case.LOOK).
    """

    steps: list[tuple[str, Answer]]
    table: str


def text(data: bytes) -> str:
    return data.decode("latin-1")


def dump(cases: dict[str, Recorded], made_by: dict[str, str]) -> str:
    parts = [f'{{"made by": {json.dumps(made_by, sort_keys=True)},\n"cases": {{\n']
    for at, (name, case) in enumerate(sorted(cases.items())):
        parts.append(f'{"," if at else ""}{json.dumps(name)}: {{"steps": [\n')
        parts.append(",\n".join(_step(step, answer) for step, answer in case.steps))
        parts.append(f'\n], "table": {_block(case.table)}}}\n')
    parts.append("}}\n")
    return "".join(parts)


def _step(step: str, answer: Answer) -> str:
    """Return one line for a step, and one for each line that it printed. Empty outputs are left
    out: most answers are only a status.
    """
    parts = [f'"run": {json.dumps(step)}', f'"status": {answer.status}']
    parts += [f'"stderr": {json.dumps(_lines(answer.stderr))}'] if answer.stderr else []
    parts += [f'"stdout": {_block(answer.stdout)}'] if answer.stdout else []
    return f"{{{', '.join(parts)}}}"


def _block(printed: str) -> str:
    return "[" + ",".join(f"\n {json.dumps(line)}" for line in _lines(printed)) + "]"


@dataclass(frozen=True)
class Recording:
    """Hold all cases of a file, and the kernel and the reference that made them."""

    cases: dict[str, Recorded]
    made_by: dict[str, str]


def parse(document: str) -> Recording:
    found = json.loads(document)
    cases = {name: _recorded(case) for name, case in found["cases"].items()}
    return Recording(cases, found["made by"])


def load(file: Path = FILE) -> dict[str, Recorded]:
    return parse(file.read_text()).cases


def _recorded(case: dict[str, Any]) -> Recorded:
    steps = [
        (
            step["run"],
            Answer(
                step["status"], "".join(step.get("stdout", [])), "".join(step.get("stderr", []))
            ),
        )
        for step in case["steps"]
    ]
    return Recorded(steps, "".join(case["table"]))


def _lines(printed: str) -> list[str]:
    """Split at line feeds only: splitlines would also split at other characters that end lines in
    Latin-1.
    """
    lines = [f"{line}\n" for line in printed.split("\n")]
    return [*lines[:-1], lines[-1][:-1]] if lines[-1] != "\n" else lines[:-1]
