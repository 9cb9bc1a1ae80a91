"""What can go wrong, and the sentence for it.

Owns: the kinds of error and the table (operation, errno) -> sentence of the reference (libipvs.c:
ipvs_strerror). Must never know: who asked, where the sentence goes.

Three kinds: the table refused (Refused), the table could not be asked (Failed), the request itself
was wrong (Usage).
"""

from __future__ import annotations

import errno
import os

from pyipvsadm.model import (
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    GET_DEST,
    GET_SERVICE,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    SET_DEST,
    SET_SERVICE,
    ZERO,
)

# the kernel refused, or popt did not know the option (ipvsadm.c: main returns -1)
EXIT_REFUSED = 255

_NO_SERVICE = "No such service"
_NO_SCHEDULER = "Scheduler or persistence engine not found"

_SENTENCES = {
    (NEW_SERVICE, errno.EEXIST): "Service already exists",
    (NEW_SERVICE, errno.ENOENT): _NO_SCHEDULER,
    (SET_SERVICE, errno.ESRCH): _NO_SERVICE,
    (SET_SERVICE, errno.ENOENT): _NO_SCHEDULER,
    (DEL_SERVICE, errno.ESRCH): _NO_SERVICE,
    (ZERO, errno.ESRCH): _NO_SERVICE,
    (NEW_DEST, errno.ESRCH): "Service not defined",
    (NEW_DEST, errno.EEXIST): "Destination already exists",
    (SET_DEST, errno.ESRCH): "Service not defined",
    (SET_DEST, errno.ENOENT): "No such destination",
    (DEL_DEST, errno.ESRCH): "Service not defined",
    (DEL_DEST, errno.ENOENT): "No such destination",
    (NEW_DAEMON, errno.EEXIST): "Daemon has already run",
    (DEL_DAEMON, errno.ESRCH): "No daemon is running",
    (GET_SERVICE, errno.ESRCH): _NO_SERVICE,
    (GET_DEST, errno.ESRCH): _NO_SERVICE,
}

_SENTENCES_OF_ANY = {
    errno.EPERM: "Permission denied (you must be root)",
    errno.EINVAL: "Invalid operation.  Possibly wrong module version, address not unicast, ...",
    errno.ENOPROTOOPT: "Protocol not available",
    errno.ENOMEM: "Memory allocation problem",
    errno.EOPNOTSUPP: "Operation not supported with IPv6",
    errno.EAFNOSUPPORT: "Operation not supported with specified address family",
    errno.EMSGSIZE: "Module is wrong version",
}


# those that a run may put things in order for (asm-generic/signal.h)
SIGNALS = {1: "HUP", 2: "INT", 15: "TERM"}


def format_error(op: int, number: int) -> str:
    """Say what errno `number` means after operation `op`; `op` 0 stands for the opening of the
    table.
    """
    found = _SENTENCES.get((op, number)) or _SENTENCES_OF_ANY.get(number)
    return found or os.strerror(number)


class IpvsadmError(Exception):
    """The base of every error that this package raises on purpose."""


class RefusedError(IpvsadmError):
    """The table answered no: `errno` to operation `op`."""

    def __init__(self, op: int, number: int) -> None:
        super().__init__(format_error(op, number))
        self.op = op
        self.errno = number


class OperationError(IpvsadmError):
    """The table, a file or a stream could not be used: the sentence, and the exit status it
    deserves.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class UsageError(IpvsadmError):
    """A request that ends the run: the reference's message and status (2, or 255 for "try
    help").
    """

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


class LineSkippedError(IpvsadmError):
    """A line that the reference reports and survives when it restores (popt's errors after the
    first option); status 255.
    """
