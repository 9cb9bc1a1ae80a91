"""Define every error that is raised on purpose, the findings that it carries, and the messages of
errno.

Owns: the record of a finding and its text, the kinds of error with their exit statuses, and 1.31's
table (operation, errno) -> message (libipvs.c: ipvs_strerror). Must never know: callers, where the
message goes.

Three kinds of error: the table refused (RefusedError), the table could not be asked
(OperationError), the request itself was wrong (UsageError).
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
    Record,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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


class Finding(Record):
    """Hold one thing that is wrong: a command line, a line of a rules file, a refusal, or a fault
    of the host that the doctor found.

    code: usage, rules, repeated, refused, failed, or a code of the doctor. text: its subject: the
    line of a file, or the rule, interface, service or server. message: the sentence. fixes: the
    commands that mend it. file: "" for standard input. line, errno: 0 for none.
    """

    __slots__ = ("code", "errno", "file", "fixes", "line", "message", "text")

    def __init__(
        self,
        code: str,
        text: str,
        message: str,
        fixes: tuple[str, ...] = (),
        file: str = "",
        line: int = 0,
        errnum: int = 0,
    ) -> None:
        self.code = code
        self.text = text
        self.message = message
        self.fixes = fixes
        self.file = file
        self.line = line
        self.errno = errnum

    def format(self) -> str:
        """Return the finding as text: FILE:LINE: message: 'text', for those parts that it has."""
        if not self.line:
            return f"{self.text}: {self.message}" if self.text else self.message
        place = f"{self.file}:{self.line}" if self.file else f"line {self.line}"
        return f"{place}: {self.message}: '{self.text}'"


# Findings in a text; of the others it gives only the number.
MAX_FINDINGS = 20


def format_findings(findings: Sequence[Finding]) -> str:
    """Return the first findings as text, a line each, then how many more there are."""
    shown = [finding.format() for finding in findings[:MAX_FINDINGS]]
    more = len(findings) - len(shown)
    if more:
        shown.append(f"and {more} more line{'s' * (more > 1)}")
    return "\n".join(shown)


class IpvsadmError(Exception):
    """Serve as the base of every error that this package raises on purpose.

    code: that of its findings. status: the exit status.
    """

    code = "failed"
    status = 1
    errno = 0

    def list_findings(self) -> list[Finding]:
        """Return the error as findings: one, but for RulesError."""
        return [Finding(self.code, "", str(self), errnum=self.errno)]


class RefusedError(IpvsadmError):
    """Report that the table refused: `errno` after operation `op`."""

    code = "refused"

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
    """Report a request that ends the run: 1.31's message and status (2, or 255 for "try help").

    hint: advice for a person. In braces, the name of a slot, command or option stands for the words
    that were typed for it, or that could be (grammar/hints.py).
    """

    code = "usage"

    def __init__(self, message: str, status: int = 2, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.hint = hint


class RulesError(UsageError):
    """Report the bad lines of a rules text."""

    code = "rules"

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(format_findings(findings))
        self._findings = findings

    def list_findings(self) -> list[Finding]:
        """Return a finding for each bad line."""
        return self._findings


class LineSkippedError(IpvsadmError):
    """Report a popt error after the command: `-R` prints it and continues.

    command: the long name of the command, "" if unknown.
    """

    code = "usage"
    status = EXIT_REFUSED
    command = ""
