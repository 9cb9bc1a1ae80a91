"""Files replaced whole: the new text beside the old, synced, then renamed over it, so that a reader sees one or the other.

Owns: that sequence, the lock on such a file, and where locks stand that belong to no file. Must never know: what is in it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from pyipvsadm.errors import Failed

LOCK_SECONDS = 10.0
LOCKS = "/run/ipvsadm"


def replace(path: str, text: str) -> None:
    """Put text in the place of path's content, mode 0600. Failed when it cannot be done; path is then as it was."""
    beside = f"{path}.{os.getpid()}.new"
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as no:
        raise Failed(f"cannot write {beside}: {no.strerror}") from None
    try:
        try:
            data = memoryview(os.fsencode(text))
            while data:
                data = data[os.write(fd, data) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(beside, path)
    except OSError as no:
        os.unlink(beside)
        raise Failed(f"cannot write {path}: {no.strerror}") from None
    # The rename itself is on disk only when the folder is.
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    except OSError:
        pass  # some file systems do not sync folders; the file itself is whole either way
    finally:
        os.close(folder)


def read(path: str) -> bytes:
    """A file's bytes, none when it is not there. Failed when it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    except OSError as no:
        raise Failed(f"cannot read {path}: {no.strerror}") from None
    blocks = []
    try:
        while block := os.read(fd, 1 << 20):
            blocks.append(block)
    except OSError as no:
        raise Failed(f"cannot read {path}: {no.strerror}") from None
    finally:
        os.close(fd)
    return b"".join(blocks)


def shared_lock(name: str, busy: str) -> Lock:
    """The lock of that name, among all processes of this machine. Failed when nobody but root could be kept from holding it."""
    try:
        os.mkdir(LOCKS, 0o700)
    except FileExistsError:
        pass
    except OSError as no:
        raise Failed(f"cannot make {LOCKS} for a lock: {no.strerror}") from None
    found = os.lstat(LOCKS)
    if not _is_folder(found.st_mode) or found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise Failed(f"{LOCKS} is not a folder that root alone writes to: remove it")
    return Lock(f"{LOCKS}/{name}", busy, os.O_NOFOLLOW)


def _is_folder(mode: int) -> bool:
    return mode & 0o170000 == 0o040000  # S_ISDIR


class Lock:
    """The one writer of a file, for the time of a `with`. Failed after LOCK_SECONDS of waiting: `busy` says for whom."""

    def __init__(self, path: str, busy: str = "", flags: int = 0) -> None:
        self._path = path
        self._busy = busy or f"{path} is being changed by another command"
        self._flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags
        self._fd = -1

    def __enter__(self) -> None:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                self._fd = os.open(self._path, self._flags, 0o600)
            except OSError as no:
                raise Failed(f"cannot write {self._path}: {no.strerror}") from None
            if self._taken() and self._is_current():
                return
            os.close(self._fd)
            if time.monotonic() > deadline:
                raise Failed(f"{self._busy}; it did not end in {LOCK_SECONDS:.0f} s")
            time.sleep(0.01)

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as no:
            if no.errno in (errno.EAGAIN, errno.EACCES):
                return False
            os.close(self._fd)
            raise Failed(f"cannot lock {self._path}: {no.strerror}") from None
        return True

    def _is_current(self) -> bool:
        """Whether what we locked is still the file of that name: the writer before us has put another in its place."""
        ours = os.fstat(self._fd)
        try:
            there = os.stat(self._path)
        except OSError:
            return False
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
