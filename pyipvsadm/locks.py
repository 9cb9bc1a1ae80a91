"""Lock a file that is replaced, or the IPVS table of a network namespace, between two runs.

Owns: waiting for the lock, and the message about who holds it. Must never know: what the lock
guards.
"""

from __future__ import annotations

import _thread
import fcntl
import os

from pyipvsadm.errors import OperationError
from pyipvsadm.files import open_regular, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


# Every network namespace has this file, and only its administrators can open it: it has mode 0600
# and opens to euid 0 and to CAP_NET_ADMIN in the namespace (sysctl_net.c: net_ctl_permissions). It
# is locked, never read. /proc/self/ns/net would identify the namespace as well, but every user may
# open it, and flock needs no write permission: any user could make all commands wait.
NAMESPACE_LOCK = "/proc/sys/net/ipv4/tcp_fastopen_key"

# Seconds of waiting before a message.
NOTICE_DELAY = 1.0


def lock_namespace(tell: Callable[[str], None], busy: str) -> Lock:
    """Return the lock of this network namespace, between all processes that see the same /proc.
    Only administrators of the namespace can take it.

    If the file does not exist or cannot be opened, the lock calls `tell` and locks nothing: it only
    guards against two runs at once, and a single run must not fail without it.
    """
    return Lock(NAMESPACE_LOCK, tell, busy, os.O_RDONLY, required=False)


class Lock:
    """Hold the lock of a file for the time of a `with`. Another process that wants it waits without
    limit; a signal ends its waiting.

    tell: called with a message after NOTICE_DELAY seconds of waiting, which names the process that
    holds the lock. busy: the start of that message. required: raise OperationError if the file
    cannot be locked; else call `tell` and go on. Every user who may read the file can take its
    lock, and make others wait.
    """

    def __init__(
        self,
        path: str,
        tell: Callable[[str], None] = lambda _: None,
        busy: str = "",
        flags: int = os.O_RDWR | os.O_CREAT,
        required: bool = True,
    ) -> None:
        self._path = path
        self._tell = tell
        self._busy = busy or f"{path} is being changed by another command"
        self._flags = flags
        self._required = required
        self._fd = -1

    def __enter__(self) -> None:
        notice: _Notice | None = None
        try:
            while True:
                self._fd = open_regular(self._path, self._flags)
                if not self._is_free():
                    notice = notice or _Notice(
                        lambda: self._tell(
                            f"{self._busy}{self._find_holder()}: waiting until it ends"
                        )
                    )
                    fcntl.flock(self._fd, fcntl.LOCK_EX)
                if self._is_current():
                    return
                self.__exit__()
        except OSError as exc:
            verb = "write" if self._fd < 0 else "lock"
            self.__exit__()
            if self._required:
                raise OperationError(f"cannot {verb} {self._path}: {exc.strerror}") from None
            self._tell(
                f"cannot lock {self._path}: {exc.strerror}; "
                "do not run another ipvsadm at the same time"
            )
        except BaseException:
            self.__exit__()
            raise
        finally:
            if notice is not None:
                notice.stop()

    def _is_free(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _is_current(self) -> bool:
        """Return True if the locked file still has this name: the previous holder of the lock may
        have replaced it.
        """
        locked = os.fstat(self._fd)
        try:
            named = os.stat(self._path)
        except FileNotFoundError:
            return False
        return (locked.st_dev, locked.st_ino) == (named.st_dev, named.st_ino)

    def _find_holder(self) -> str:
        """Return " (process N)" for the process that holds the lock in /proc/locks, or "" if none
        is listed.
        """
        try:
            status = os.fstat(self._fd)
            lock_id = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
            rows = [
                row.split()
                for row in read_file("/proc/locks").decode("ascii", "replace").splitlines()
            ]
        except (OSError, OperationError):
            return ""
        return next(
            (
                f" (process {row[4]})"
                for row in rows
                if len(row) > 5 and row[1] == "FLOCK" and row[5] == lock_id
            ),
            "",
        )

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _Notice:
    """Call `notify` after NOTICE_DELAY seconds, unless stopped before. This needs a thread, because
    the main thread waits in the kernel.
    """

    def __init__(self, notify: Callable[[], None]) -> None:
        self._stopped = _thread.allocate_lock()
        self._ended = _thread.allocate_lock()
        self._stopped.acquire()
        self._notify = notify
        try:
            _thread.start_new_thread(self._run_thread, ())
        except RuntimeError:
            # This user may start no more threads: wait without a message.
            return
        self._ended.acquire()

    def _run_thread(self) -> None:
        try:
            if not self._stopped.acquire(timeout=NOTICE_DELAY):
                self._notify()
        finally:
            self._ended.release()

    def stop(self) -> None:
        """Stop the thread: `notify` is not called from now on."""
        self._stopped.release()
        self._ended.acquire()
