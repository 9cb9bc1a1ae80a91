"""Judge a guest: a pure function from what it left behind to a verdict.

Owns: the shape of the report that the guest's runner writes, and the rule that silence is failure.
Must never know: how a guest is booted. A test that failed (FAILED) is not a lab that broke
(BROKEN): the first says something about the program, the second does not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

PASSED = "passed"
FAILED = "failed"
BROKEN = "the lab broke"

# How much of a log is shown.
TAIL_LINES = 150
TAIL_CHARACTERS = 15000

NO_TESTS = 5  # pytest's own status for it


@dataclass(frozen=True)
class Left:
    """Hold what a guest left behind: its report (None: it wrote none), its console, and True if the
    host had to kill it.
    """

    token: str
    report: str | None
    log: str
    timed_out: bool = False
    tests_expected: bool = True


@dataclass(frozen=True)
class Verdict:
    """Hold the verdict. kind: PASSED, FAILED or BROKEN. status: of pytest or of the command, None
    if it is not known.
    """

    kind: str
    reason: str
    status: int | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def exit_status(self) -> int:
        """Return a status for the shell: that of what ran; 70 (EX_SOFTWARE) if the lab broke."""
        if self.kind == BROKEN or self.status is None:
            return 70
        return self.status

    def __str__(self) -> str:
        counts = ", ".join(f"{number} {name}" for name, number in self.counts.items() if number)
        return f"{self.kind}: {self.reason}" + (f" ({counts})" if counts else "")


def judge(left: Left) -> Verdict:
    """Return the verdict on a guest. Only a whole report with the right token and at least one
    executed test is a success.
    """
    if left.timed_out:
        return Verdict(
            BROKEN, "the guest did not end in time and was killed" + _last_words(left.log)
        )
    if left.report is None:
        return Verdict(BROKEN, "the guest ended without a report" + _last_words(left.log))
    try:
        report = json.loads(left.report)
        token, status = str(report["token"]), int(report["status"])
        counts = {str(name): int(number) for name, number in report["counts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return Verdict(BROKEN, "the guest's report is not a whole one" + _last_words(left.log))
    if token != left.token:
        return Verdict(BROKEN, "the report is not this guest's: its token differs")
    if not left.tests_expected:
        return Verdict(
            FAILED if status else PASSED, f"the command ended with status {status}", status
        )
    executed = sum(counts.get(name, 0) for name in ("passed", "failed", "xfailed", "xpassed"))
    if not executed and not counts.get("error"):
        return Verdict(
            BROKEN, f"no test was executed (pytest's status {status})", status or NO_TESTS, counts
        )
    if status or counts.get("failed") or counts.get("error"):
        return Verdict(FAILED, f"pytest ended with status {status}", status or 1, counts)
    return Verdict(PASSED, "pytest ended with status 0", status, counts)


def _last_words(log: str) -> str:
    """Return the kernel's complaint if the console holds one, otherwise ""."""
    for line in log.splitlines():
        if "Kernel panic" in line or "BUG:" in line or "Oops" in line:
            return f"; its kernel said: {line.strip()}"
    return ""


def tail(log: str) -> str:
    """Return the end of a console, where pytest writes its failures and their summary; its first
    line says how much is left out.
    """
    text = "\n".join(log.splitlines()[-TAIL_LINES:])[-TAIL_CHARACTERS:]
    hidden = len(log.rstrip("\n")) - len(text)
    return (f"[{hidden} characters before]\n" if hidden > 0 else "") + text
