"""Run the task inside the guest: `python -m tests.lab.guest RUN` does RUN/task.json and writes
RUN/report.json.

The report is a channel of its own: nothing that a test prints can be mistaken for it. It is written
last, in one piece.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections import Counter
from pathlib import Path

import pytest

# No cache: pytest would write it beside the tests. A test that hangs prints its stack before the
# host kills the guest.
OPTIONS = ["-p", "no:cacheprovider", "--color=no", "-o", "faulthandler_timeout=120"]


class Counts:
    """Count, as a pytest plugin, how many tests had which outcome (an error is one outside the test
    itself).
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome: str = report.outcome
        if hasattr(report, "wasxfail"):
            outcome = "xfailed" if report.skipped else "xpassed"
        if report.when == "call" or report.skipped:
            self.counts[outcome] += 1
        elif report.failed:
            self.counts["error"] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.counts["error"] += 1


def run_pytest(arguments: list[str]) -> tuple[int, dict[str, int]]:
    """Run pytest in this process. Return its status and its counts."""
    plugin = Counts()
    try:
        status = int(pytest.main([*OPTIONS, *arguments], plugins=[plugin]))
    except Exception:  # noqa: BLE001  # a warning after the last test, made an error
        traceback.print_exc()
        status = int(pytest.ExitCode.INTERNAL_ERROR)
    return status, dict(plugin.counts)


def run_command(command: str) -> tuple[int, dict[str, int]]:
    return subprocess.run(["/bin/sh", "-c", command], check=False).returncode & 0xFF, {}


def main(folder: str) -> None:
    run = Path(folder)
    task = json.loads((run / "task.json").read_text())
    runner = os.getpid()
    os.environ.update(task["environment"])
    if program := os.environ.get("LAB_REFERENCE"):
        subprocess.run(["mount", "--bind", program, "/usr/sbin/ipvsadm"], check=True)
    status, counts = run_command(task["command"]) if task["command"] else run_pytest(task["pytest"])
    sys.stdout.flush()
    sys.stderr.flush()
    if os.getpid() != runner:
        os._exit(70)  # a child that has escaped from its test must not write the report
    with (run / "report.new").open("w") as out:
        json.dump({"token": task["token"], "status": status, "counts": counts}, out)
        out.flush()
        os.fsync(out.fileno())
    (run / "report.new").rename(run / "report.json")


if __name__ == "__main__":
    main(sys.argv[1])
