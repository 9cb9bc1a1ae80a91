"""Record the reference's answers: `python -m tools.record_cases` boots a guest, runs every case
through the reference and writes recorded.json.

With the word `newer` it uses the reference of Debian 13, whose program replaces this machine's in
the guest, and writes dialects.json: the answers that differ.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from tests.cases import dialects, recording
from tests.cases.case import Step
from tests.cases.table import CASES

MADE = "recorded.json"


def inside() -> None:
    """Record all cases in the guest, whose only writable place on the host is LAB_DIR."""
    from tests.cases import reference  # noqa: PLC0415  # system calls for the guest only
    from tests.kernel import netns  # noqa: PLC0415

    began = time.monotonic()
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


def record_newer() -> None:
    """Write the table of the answers that differ from recorded.json."""
    from tests.deb.machine import tree  # noqa: PLC0415  # not in the guest
    from tests.lab.make_file import made  # noqa: PLC0415

    root = tree("trixie")
    os.environ["LAB_REFERENCE"] = str(root / "usr/sbin/ipvsadm")
    newer = recording.parse(made("tools.record_cases", MADE))
    query = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "--show", "ipvsadm"]
    package = subprocess.run(query, check=True, capture_output=True, text=True).stdout.split()
    rows = dialects.list_differences(recording.load(), newer.cases)
    made_by = {**newer.made_by, "package": " ".join(package)}
    dialects.FILE.write_text(dialects.dump_table(rows, dialects.digest_steps(newer.cases), made_by))


if __name__ == "__main__":
    if sys.argv[1:] == ["inside"]:
        inside()
    elif sys.argv[1:] == ["newer"]:
        record_newer()
    else:
        from tests.lab.make_file import made  # not in the guest

        recording.FILE.write_text(made("tools.record_cases", MADE))
