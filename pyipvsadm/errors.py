"""Define every error that is raised on purpose, and the messages of errno.

Owns: the kinds of error, the exit status of a refusal, and 1.31's table (operation, errno) ->
message (libipvs.c: ipvs_strerror). Must never know: callers, where the message goes.

Three kinds: the table refused (RefusedError), the table could not be asked (OperationError), the
request itself was wrong (UsageError).
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

# The exit status if the kernel refuses or popt does not know the option (ipvsadm.c: main returns
# -1).
EXIT_REFUSED = 255

_NO_SERVICE = "No such service"
_NO_SCHEDULER = "Scheduler or persistence engine not found"

_MESSAGES = {
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

_COMMON_MESSAGES = {
    errno.EPERM: "Permission denied (you must be root)",
    errno.EINVAL: "Invalid operation.  Possibly wrong module version, address not unicast, ...",
    errno.ENOPROTOOPT: "Protocol not available",
    errno.ENOMEM: "Memory allocation problem",
    errno.EOPNOTSUPP: "Operation not supported with IPv6",
    errno.EAFNOSUPPORT: "Operation not supported with specified address family",
    errno.EMSGSIZE: "Module is wrong version",
}

# The signals that a run may answer by finishing or undoing a change (asm-generic/signal.h).
SIGNALS = {1: "HUP", 2: "INT", 15: "TERM"}


def format_error(op: int, errnum: int) -> str:
    """Return the message of an errno after operation `op`; `op` 0 stands for opening the table."""
    message = _MESSAGES.get((op, errnum)) or _COMMON_MESSAGES.get(errnum)
    return message or os.strerror(errnum)


class IpvsadmError(Exception):
    """Serve as the base of every error that this package raises on purpose."""


class RefusedError(IpvsadmError):
    """Report that the table refused: `errno` after operation `op`."""

    def __init__(self, op: int, errnum: int) -> None:
        super().__init__(format_error(op, errnum))
        self.op = op
        self.errno = errnum


class OperationError(IpvsadmError):
    """Report that the table, a file or a stream could not be used, with the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class UsageError(IpvsadmError):
    """Report a request that ends the run: 1.31's message and status (2, or 255 for "try help")."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


class RulesError(UsageError):
    """Report the bad lines of a rules text: (line number, message, text of the line) of each.

    file: the name of the file, "" for standard input. The message names each line, at most
    MAX_LINES of them, then says how many more there are.
    """

    MAX_LINES = 20

    def __init__(self, lines: list[tuple[int, str, str]], file: str = "") -> None:
        self.lines = lines
        self.file = file  # also the name that the JSON error has
        shown = [
            f"{f'{file}:{lineno}' if file else f'line {lineno}'}: {message}: '{text}'"
            for lineno, message, text in lines[: self.MAX_LINES]
        ]
        more = len(lines) - len(shown)
        if more:
            shown.append(f"{more} more bad line{'s' * (more > 1)}")
        super().__init__("\n".join(shown))


class LineSkippedError(IpvsadmError):
    """Report a popt error after the command: `-R` prints it and continues (status 255).

    command: the long name of the command, "" if unknown.
    """

    command = ""
