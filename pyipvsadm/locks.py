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


# Every network namespace has this file, and its administrators alone can open it: mode 0600, open
# to euid 0 and to who has CAP_NET_ADMIN in the namespace (sysctl_net.c: net_ctl_permissions). It is
# locked, never read. /proc/self/ns/net would do as well, but anybody may open that, and flock asks
# for no right to write: any user could keep all of us waiting.
NAMESPACE_LOCK = "/proc/sys/net/ipv4/tcp_fastopen_key"

# Seconds of waiting before a message.
NOTICE_DELAY = 1.0


def lock_namespace(tell: Callable[[str], None], busy: str) -> Lock:
    """Make the lock of this network namespace, among all processes that see the same /proc; for
    nobody but its administrators.

    Where there is no such file, or it may not be opened, `tell` is called and there is no lock: it
    guards against two runs at once, and one run is not to fail for want of it.
    """
    return Lock(NAMESPACE_LOCK, tell, busy, os.O_RDONLY, needed=False)


class Lock:
    """Hold the lock of a file for the time of a `with`. Another process that wants it waits without
    limit; a signal ends its waiting.

    tell gets a message after NOTICE_DELAY seconds of waiting, with the process that holds the lock.
    busy: what is waited for. Anybody who may read the file can take its lock and keep us waiting.
    """

    def __init__(
        self,
        path: str,
        tell: Callable[[str], None] = lambda _: None,
        busy: str = "",
        flags: int = os.O_RDWR | os.O_CREAT,
        needed: bool = True,
    ) -> None:
        self._path = path
        self._tell = tell
        self._busy = busy or f"{path} is being changed by another command"
        self._flags = flags
        self._needed = needed
        self._fd = -1

    def __enter__(self) -> None:
        notice: _Notice | None = None
        try:
            while True:
                self._fd = open_regular(self._path, self._flags)
                if not self._is_free():
                    notice = notice or _Notice(
                        lambda: self._tell(
                            f"{self._busy}{self._find_holder()}: waiting for its end"
                        )
                    )
                    fcntl.flock(self._fd, fcntl.LOCK_EX)
                if self._is_current():
                    return
                self.__exit__()
        except OSError as exc:
            verb = "write" if self._fd < 0 else "lock"
            self.__exit__()
            if self._needed:
                raise OperationError(f"cannot {verb} {self._path}: {exc.strerror}") from None
            self._tell(f"no lock keeps a second run out: {self._path}: {exc.strerror}")
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
        """Return True if the locked file still has this name: the writer before us may have
        replaced it.
        """
        ours = os.fstat(self._fd)
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)

    def _find_holder(self) -> str:
        """Return the process that holds the lock, as /proc/locks shows it; "" if it does not show
        one.
        """
        try:
            found = os.fstat(self._fd)
            file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
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
                if len(row) > 5 and row[1] == "FLOCK" and row[5] == file
            ),
            "",
        )

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class _Notice:
    """Print a message after NOTICE_DELAY seconds, unless stopped before. It is a thread, because
    the waiting one is in the kernel.
    """

    def __init__(self, say: Callable[[], None]) -> None:
        self._stopped = _thread.allocate_lock()
        self._ended = _thread.allocate_lock()
        self._stopped.acquire()
        self._say = say
        try:
            _thread.start_new_thread(self._run_thread, ())
        except RuntimeError:  # no more threads for this user: nothing is said
            return
        self._ended.acquire()

    def _run_thread(self) -> None:
        try:
            if not self._stopped.acquire(timeout=NOTICE_DELAY):
                self._say()
        finally:
            self._ended.release()

    def stop(self) -> None:
        """Stop: print nothing from now on."""
        self._stopped.release()
        self._ended.acquire()
