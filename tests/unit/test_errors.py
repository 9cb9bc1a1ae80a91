"""Test sentences: the reference's for (operation, errno) (libipvs.c: ipvs_strerror), the C
library's for the rest.
"""

from __future__ import annotations

import errno
import os
from itertools import product

import pytest

from pyipvsadm import model
from pyipvsadm.errors import (
    MAX_FINDINGS,
    Finding,
    IpvsadmError,
    LineSkippedError,
    OperationError,
    RefusedError,
    RulesError,
    UsageError,
    format_error,
    format_findings,
)

OF_OPERATIONS = [
    (model.NEW_SERVICE, errno.EEXIST, "Service already exists"),
    (model.NEW_SERVICE, errno.ENOENT, "Scheduler or persistence engine not found"),
    (model.SET_SERVICE, errno.ESRCH, "No such service"),
    (model.SET_SERVICE, errno.ENOENT, "Scheduler or persistence engine not found"),
    (model.DEL_SERVICE, errno.ESRCH, "No such service"),
    (model.ZERO, errno.ESRCH, "No such service"),
    (model.NEW_DEST, errno.ESRCH, "Service not defined"),
    (model.NEW_DEST, errno.EEXIST, "Destination already exists"),
    (model.SET_DEST, errno.ESRCH, "Service not defined"),
    (model.SET_DEST, errno.ENOENT, "No such destination"),
    (model.DEL_DEST, errno.ESRCH, "Service not defined"),
    (model.DEL_DEST, errno.ENOENT, "No such destination"),
    (model.NEW_DAEMON, errno.EEXIST, "Daemon has already run"),
    (model.DEL_DAEMON, errno.ESRCH, "No daemon is running"),
    (model.GET_SERVICE, errno.ESRCH, "No such service"),
    (model.GET_DEST, errno.ESRCH, "No such service"),
]

OF_ANY = [
    (errno.EPERM, "Permission denied (you must be root)"),
    (errno.EINVAL, "Invalid operation.  Possibly wrong module version, address not unicast, ..."),
    (errno.ENOPROTOOPT, "Protocol not available"),
    (errno.ENOMEM, "Memory allocation problem"),
    (errno.EOPNOTSUPP, "Operation not supported with IPv6"),
    (errno.EAFNOSUPPORT, "Operation not supported with specified address family"),
    (errno.EMSGSIZE, "Module is wrong version"),
]

OPERATIONS = range(18)  # 0: the table is opened; the kernel's commands have the numbers 1 to 17


@pytest.mark.parametrize(("op", "number", "text"), OF_OPERATIONS)
def test_of_an_operation(op: int, number: int, text: str) -> None:
    assert format_error(op, number) == text


@pytest.mark.parametrize(("number", "text"), OF_ANY)
def test_of_any_operation(number: int, text: str) -> None:
    assert {format_error(op, number) for op in OPERATIONS} == {text}


def test_all_else_is_the_c_library_s() -> None:
    ours = {(op, number) for op, number, _ in OF_OPERATIONS} | set(
        product(OPERATIONS, (number for number, _ in OF_ANY))
    )
    rest = set(product(OPERATIONS, errno.errorcode)) - ours
    assert {(op, number): format_error(op, number) for op, number in rest} == {
        (op, number): os.strerror(number) for op, number in rest
    }
    assert format_error(model.NEW_SERVICE, errno.ESRCH) == "No such process"
    assert format_error(0, errno.EEXIST) == "File exists"


def test_refused_says_its_sentence() -> None:
    no = RefusedError(model.NEW_DEST, errno.EEXIST)
    assert (str(no), no.op, no.errno) == (
        "Destination already exists",
        model.NEW_DEST,
        errno.EEXIST,
    )


FINDINGS = {
    "of a file": (Finding("rules", "-A -q", "-q: unknown option", file="lvs.rules", line=3),
                  "lvs.rules:3: -q: unknown option: '-A -q'"),
    "of standard input": (Finding("rules", "-A -q", "-q: unknown option", line=3), "line 3: -q: unknown option: '-A -q'"),
    "of no line": (Finding("refused", "-d -f 1 -r 10.0.0.1:0", "No such destination"),
                   "-d -f 1 -r 10.0.0.1:0: No such destination"),
    "a sentence": (Finding("failed", "", "cannot read x"), "cannot read x"),
}  # fmt: skip


@pytest.mark.parametrize(("finding", "text"), FINDINGS.values(), ids=FINDINGS)
def test_a_finding_as_text(finding: Finding, text: str) -> None:
    assert finding.format() == text
    assert format_findings([finding]) == text


@pytest.mark.parametrize(
    ("count", "end"), [(1, []), (20, []), (21, ["and 1 more line"]), (50, ["and 30 more lines"])]
)
def test_of_many_findings_the_number_is_said(count: int, end: list[str]) -> None:
    findings = [Finding("rules", "-A", "no", line=line) for line in range(1, count + 1)]
    shown = [f"line {line}: no: '-A'" for line in range(1, min(count, MAX_FINDINGS) + 1)]
    assert format_findings(findings).split("\n") == shown + end
    assert RulesError(findings).list_findings() == findings


@pytest.mark.parametrize(
    ("error", "finding"),
    [
        (OperationError("no"), Finding("failed", "", "no")),
        (UsageError("no"), Finding("usage", "", "no")),
        (LineSkippedError("no"), Finding("usage", "", "no")),
        (RefusedError(model.NEW_DEST, errno.EEXIST),
         Finding("refused", "", "Destination already exists", errnum=errno.EEXIST)),
    ],
)  # fmt: skip
def test_an_error_as_a_finding(error: IpvsadmError, finding: Finding) -> None:
    assert error.list_findings() == [finding]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OperationError("no"), 1),
        (OperationError("no", 2), 2),
        (UsageError("no"), 2),
        (UsageError("no", 255), 255),
        (LineSkippedError("no"), 255),
    ],
)
def test_statuses(error: IpvsadmError, status: int) -> None:
    assert (str(error), error.status) == ("no", status)


def test_no_kind_of_error_is_another() -> None:
    kinds = (RefusedError, OperationError, UsageError, LineSkippedError)
    assert all(not issubclass(one, other) for one in kinds for other in kinds if one is not other)
