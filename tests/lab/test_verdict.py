"""The verdict on recorded guests: logs/NAME.log is a console, logs/NAME.report the report, if there
was one.

To record one: `python -m tests.lab --keep -- ...`, then take console.log and report.json from the
folder that it leaves, and replace the path of the repository and the token.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.verdict import BROKEN, FAILED, PASSED, TAIL_CHARACTERS, Left, judge, tail

LOGS = Path(__file__).with_name("logs")


def left(name: str, *, timed_out: bool = False, token: str = "right") -> Left:
    report = LOGS / f"{name}.report"
    text = report.read_text() if report.exists() else None
    return Left(token, text, (LOGS / f"{name}.log").read_text(), timed_out)


@pytest.mark.parametrize(
    ("name", "kind", "status", "reason"),
    [
        ("good", PASSED, 0, "pytest ended with status 0 (3 passed, 1 skipped)"),
        ("failing", FAILED, 1, "pytest ended with status 1 (1 passed, 1 failed, 1 error)"),
        ("no-tests", BROKEN, 70, "no test was executed (pytest's status 5)"),
        ("usage-error", BROKEN, 70, "no test was executed (pytest's status 4)"),
        ("no-report", BROKEN, 70, "the guest ended without a report"),
        (
            "panic",
            BROKEN,
            70,
            "the guest ended without a report; its kernel said: Kernel panic - not syncing: sysrq triggered crash",
        ),
    ],
)
def test_a_recorded_guest(name: str, kind: str, status: int, reason: str) -> None:
    verdict = judge(left(name))
    assert (verdict.kind, verdict.exit_status(), str(verdict)) == (
        kind,
        status,
        f"{kind}: {reason}",
    )


def test_a_hang() -> None:
    verdict = judge(left("hang", timed_out=True))
    assert (verdict.kind, verdict.exit_status()) == (BROKEN, 70)
    assert "did not end in time" in verdict.reason


def test_a_report_does_not_help_a_guest_that_had_to_be_killed() -> None:
    assert judge(left("good", timed_out=True)).kind == BROKEN


def test_the_report_of_another_guest() -> None:
    assert judge(left("good", token="wrong")).kind == BROKEN


def test_what_pytest_prints_is_no_report() -> None:
    good = left("good")
    assert good.report
    assert judge(Left("right", None, good.log + good.report)).kind == BROKEN


def test_every_cut_of_a_report_is_no_report() -> None:
    good = left("good")
    assert good.report
    whole = good.report.rstrip()
    for length in range(len(whole)):
        assert judge(Left("right", whole[:length], good.log)).kind == BROKEN


@pytest.mark.parametrize(
    "report",
    [
        "[]",
        "7",
        '{"token": "right", "status": 0}',
        '{"token": "right", "status": null, "counts": {"passed": 1}}',
        '{"token": "right", "status": 0, "counts": [1]}',
        '{"token": "right", "status": 0, "counts": {"passed": "all"}}',
    ],
)
def test_other_shapes_are_no_report(report: str) -> None:
    assert judge(Left("right", report, "")).kind == BROKEN


@pytest.mark.parametrize(
    ("counts", "status", "kind"),
    [
        ('{"passed": 1}', 0, PASSED),
        ('{"xfailed": 1}', 0, PASSED),
        ('{"skipped": 9}', 0, BROKEN),
        ('{"passed": 9, "failed": 1}', 0, FAILED),
        ('{"passed": 9, "error": 1}', 0, FAILED),
        ('{"error": 1}', 2, FAILED),
        ('{"passed": 9}', 3, FAILED),
    ],
)
def test_counts_and_status_must_agree_on_success(counts: str, status: int, kind: str) -> None:
    verdict = judge(
        Left("right", f'{{"token": "right", "status": {status}, "counts": {counts}}}', "")
    )
    assert verdict.kind == kind
    assert (verdict.exit_status() == 0) is (kind == PASSED)


@pytest.mark.parametrize(("status", "kind"), [(0, PASSED), (3, FAILED)])
def test_a_command_needs_no_tests(status: int, kind: str) -> None:
    report = f'{{"token": "right", "status": {status}, "counts": {{}}}}'
    verdict = judge(Left("right", report, "", tests_expected=False))
    assert (verdict.kind, verdict.exit_status()) == (kind, status)


def test_the_tail_of_a_short_log_is_the_log() -> None:
    log = left("failing").log
    assert tail(log) == log.rstrip("\n")


def test_the_tail_of_a_long_log_is_bounded_and_says_so() -> None:
    log = "a line\n" * 100_000 + "x" * 50_000 + "\nthe end\n"
    assert tail(log).endswith("\nthe end")
    assert len(tail(log)) < TAIL_CHARACTERS + 100
    assert "characters before" in tail(log).splitlines()[0]
