"""`python -m tests.cases.record` boots a guest, runs every case through the reference and writes recorded.json."""

from __future__ import annotations

import os
import platform
import shlex
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
    with netns.kept():
        cases = {name: reference.record(case) for name, case in CASES.items()}
        made_by = {"kernel": platform.release(), "reference": reference.answer(Step(("-v",))).stdout.strip()}
    (Path(os.environ["LAB_DIR"]) / MADE).write_text(recording.dump(cases, made_by))
    print(f"{len(cases)} cases, {sum(len(case.steps) for case in cases.values())} steps, {time.monotonic() - began:.0f} s")


def outside() -> int:
    from tests.lab.boot import LAB, REPO, Task, boot, missing  # noqa: PLC0415  # not in the guest
    from tests.lab.verdict import judge  # noqa: PLC0415

    if lack := missing():
        print(lack, file=sys.stderr)
        return 69  # EX_UNAVAILABLE
    made = LAB / MADE
    made.unlink(missing_ok=True)
    command = shlex.join(["env", f"PYTHONPATH={REPO}", sys.executable, "-m", "tests.cases.record", "inside"])
    verdict = judge(boot(Task(name="record", command=command), lambda piece: sys.stdout.write(piece.decode(errors="replace"))))
    if made.exists() and not verdict.exit_status():
        recording.FILE.write_text(made.read_text())
        made.unlink()
    print(f"record: {verdict}", file=sys.stderr)
    return verdict.exit_status()


if __name__ == "__main__":
    if sys.argv[1:] == ["inside"]:
        inside()
    else:
        sys.exit(outside())
