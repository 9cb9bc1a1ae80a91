"""Sentences: the reference's for (operation, errno) (libipvs.c: ipvs_strerror), the C library's for
the rest.
"""

from __future__ import annotations

import errno
import os
from itertools import product

import pytest

from pyipvsadm import model
from pyipvsadm.errors import (
    LineSkippedError,
    OperationError,
    RefusedError,
    UsageError,
    format_error,
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


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OperationError("no"), 1),
        (OperationError("no", 2), 2),
        (UsageError("no"), 2),
        (UsageError("no", 255), 255),
    ],
)
def test_statuses(error: OperationError | UsageError, status: int) -> None:
    assert (str(error), error.status) == ("no", status)


def test_no_kind_of_error_is_another() -> None:
    kinds = (RefusedError, OperationError, UsageError, LineSkippedError)
    assert all(not issubclass(one, other) for one in kinds for other in kinds if one is not other)
