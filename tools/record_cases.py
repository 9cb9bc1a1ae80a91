"""`python -m tools.record_cases` boots a guest, runs every case through the reference and writes
recorded.json.

With the word `newer` it does so with the reference of Debian's next release, whose program is put in
the place of this machine's in the guest, and writes recorded_newer.json: the cases whose answers
differ.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from tests.cases import recording
from tests.cases.case import Step
from tests.cases.table import CASES

MADE = "recorded.json"


def inside() -> None:
    """In the guest, whose only writable place on the host is LAB_DIR."""
    from tests.cases import reference  # noqa: PLC0415  # system calls for the guest only
    from tests.kernel import netns  # noqa: PLC0415

    began = time.monotonic()
    if program := os.environ.get("LAB_REFERENCE"):
        subprocess.run(["mount", "--bind", program, f"{reference.FOLDER}/ipvsadm"], check=True)
    with netns.kept():
        cases = {name: reference.record(case) for name, case in CASES.items()}
        made_by = {
            "kernel": platform.release(),
            "reference": reference.answer(Step(("-v",))).stdout.strip(),
        }
    (Path(os.environ["LAB_DIR"]) / MADE).write_text(recording.dump(cases, made_by))
    print(
        f"{len(cases)} cases, {sum(len(case.steps) for case in cases.values())} steps, {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["inside"]:
        inside()
    else:
        from tests.lab.make_file import made  # not in the guest

        if sys.argv[1:] == ["newer"]:
            from tests.deb.machine import tree

            os.environ["LAB_REFERENCE"] = str(tree("trixie") / "usr/sbin/ipvsadm")
            newer = recording.parse(made("tools.record_cases", MADE))
            older = recording.load()
            cases = {name: case for name, case in newer.cases.items() if case != older.get(name)}
            recording.NEWER.write_text(recording.dump(cases, newer.made_by))
        else:
            recording.FILE.write_text(made("tools.record_cases", MADE))
