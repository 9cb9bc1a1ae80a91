"""Replace files atomically: write the new text beside the old one, sync it, rename it over the old
one, so that a reader sees either.

Owns: that sequence, which attributes of the old file the new one keeps, and locks: on a file that
is replaced, and on a network namespace. Must never know: the content of a file.

Only a regular file, or no file, is replaced. Links are resolved once, so that all names of a file
stay names of one file (hard links part: the others keep the old text). A FIFO, a device,
/dev/stdout and a terminal are written to. A file that cannot be renamed over, because it is a mount
point, is written in place, after a copy was made beside it.
"""

from __future__ import annotations

import errno
import os

from pyipvsadm.errors import OperationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_RANDOM_NAMES = 100  # random ones, tried one after the other

_ACL = "system.posix_acl_access"
# what was said of the old bytes
_OF_CONTENT = ("security.ima", "security.evm", "security.capability")
# S_IFDIR, S_IFBLK, S_IFSOCK
_KINDS = {0o040000: "a folder", 0o060000: "a block device", 0o140000: "a socket"}
_REGULAR = 0o100000  # S_IFREG


def replace_file(path: str, text: str) -> None:
    """Put text in the place of path's content. Failed when that cannot be; path is as it was, or
    the message says where that is.

    A new file has mode 0600. An old one keeps its owner, mode, ACLs and extended attributes; where
    we may not give it one of them, fewer can read it than before, never more.
    """
    data = os.fsencode(text)
    named = path
    try:
        descriptor = _find_own_descriptor(path)
        old = _find_target(path) if descriptor is None else None
        if descriptor is not None:
            _write_and_close(os.dup(descriptor), data)
        elif old is not None and _name_kind(old) != _REGULAR:
            _write_through(path, data, old)
        else:
            target = os.path.realpath(path) if os.path.islink(path) else path
            named = path if target == path else f"{path} -> {target}"
            _replace_file(target, data, old)
    except OSError as exc:
        raise OperationError(f"cannot write {named}: {exc.strerror}") from None


def read_file(path: str) -> bytes:
    """Read a file of any kind to its end. Failed when it is not there or cannot be read."""
    try:
        return _read_all(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY))
    except OSError as exc:
        raise OperationError(f"cannot read {path}: {exc.strerror}") from None


def read_if_exists(path: str) -> bytes:
    """Read a regular file, nothing when it is not there. Failed when it is of another kind (no FIFO
    is waited for) or refused.
    """
    try:
        return _read_all(open_regular(path, os.O_RDONLY))
    except FileNotFoundError:
        return b""
    except OSError as exc:
        raise OperationError(f"cannot read {path}: {exc.strerror}") from None


def _name_kind(found: os.stat_result) -> int:
    return found.st_mode & 0o170000  # S_IFMT


def _find_target(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        if not os.path.basename(path):  # "" and "folder/" name no file that could be made
            raise
        return None


def _find_own_descriptor(path: str) -> int | None:
    """Find the open file of ours that path leads to (/dev/stdout, /dev/fd/N): it is gone on with:
    it is no name to replace.
    """
    own = os.path.realpath("/proc/self/fd")
    for _ in range(40):  # as many links as the kernel follows
        folder, name = os.path.split(path)
        if os.path.realpath(folder) == own and name.isdecimal():
            return int(name)
        if not os.path.islink(path):
            break
        path = os.path.join(folder, os.readlink(path))
    return None


def open_regular(path: str, flags: int) -> int:
    """Open a regular file, and nothing else: no device, and no FIFO to wait for, even where one
    takes its place meanwhile.
    """
    flags |= os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        kind = _name_kind(os.stat(path))
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
        kind = _REGULAR
    if kind == _REGULAR:
        fd = os.open(path, flags, 0o600)
        kind = _name_kind(os.fstat(fd))
        if kind != _REGULAR:
            os.close(fd)
    if kind != _REGULAR:
        raise OperationError(f"{path} is no regular file")
    return fd


def _read_all(fd: int) -> bytes:
    blocks = []
    try:
        while block := os.read(fd, 1 << 20):
            blocks.append(block)
    finally:
        os.close(fd)
    return b"".join(blocks)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _write_and_close(fd: int, data: bytes) -> None:
    """Write all of it, and close."""
    try:
        _write_all(fd, data)
    finally:
        os.close(fd)


def _write_through(path: str, data: bytes, old: os.stat_result) -> None:
    """Write to a character device or a FIFO that somebody reads."""
    kind = _KINDS.get(_name_kind(old))
    if kind:
        raise OperationError(f"cannot write {path}: it is {kind}")
    try:
        # waits for no reader
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.ENXIO:
            raise OperationError(f"cannot write {path}: nobody reads from it") from None
        raise
    os.set_blocking(fd, True)
    _write_and_close(fd, data)


def _replace_file(path: str, data: bytes, old: os.stat_result | None) -> None:
    try:
        fd, beside = _create_beside(path, "new")
    except OSError as exc:
        if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OperationError(
                f"cannot write {path}: its folder takes no new file: {exc.strerror}"
            ) from None
        raise
    try:
        try:
            if old is not None:
                _keep_attributes(fd, path, old)
            _write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            os.rename(beside, path)
        except OSError as exc:
            if exc.errno not in (errno.EBUSY, errno.EXDEV) or old is None:
                raise
            _write_in_place(path, data)  # something is mounted on this very name
            _remove_file(beside)
    except (OSError, OperationError) as exc:
        left = _remove_file(beside)
        if not left:
            raise
        raise OperationError(
            f"{exc if isinstance(exc, OperationError) else f'cannot write {path}: {exc.strerror}'}{left}"
        ) from None
    _sync_folder(path)


def _create_beside(path: str, what: str) -> tuple[int, str]:
    """Create a file in the folder of `path` under a random name; return the name and the
    descriptor.
    """
    tries = MAX_RANDOM_NAMES
    while True:
        tries -= 1
        beside = f"{path}.{os.urandom(4).hex()}.{what}"
        try:
            return os.open(
                beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            ), beside
        except FileExistsError:
            if not tries:
                raise


def _keep_attributes(fd: int, path: str, old: os.stat_result) -> None:
    """Give a new file what the old one has. What we may not give is left out; where that could let
    others in, fewer get in.
    """
    mode = old.st_mode & 0o777
    # another group's: no more to it, nor to the old one's, which is anybody now
    closed = mode & 0o700 | mode & mode >> 3 & 0o007
    if not (
        _try_call(os.fchown, fd, old.st_uid, old.st_gid) or _try_call(os.fchown, fd, -1, old.st_gid)
    ):
        mode = closed
    try:
        names = os.listxattr(path)
    except OSError:
        names = []
    for name in names:
        if (
            name not in _OF_CONTENT
            and not _try_call(_copy_attribute, fd, path, name)
            and name == _ACL
        ):
            mode &= closed  # the bits of the group were the most that anybody in the list has
    if _ACL not in names and not _try_call(_drop_acl, fd):
        mode &= closed
    _try_call(os.fchmod, fd, mode)


def _copy_attribute(fd: int, path: str, name: str) -> None:
    os.setxattr(fd, name, os.getxattr(path, name))


def _drop_acl(fd: int) -> None:
    """Take the list that the folder gives to new files, which sleeps as long as the mode is
    0600.
    """
    try:
        os.removexattr(fd, _ACL)
    except OSError as exc:
        if exc.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise


def _try_call(call: Callable[..., object], *arguments: object) -> bool:
    try:
        call(*arguments)
    except OSError:
        return False
    return True


def _write_in_place(path: str, data: bytes) -> None:
    """Write over a file's content, with a copy of it beside for as long as it takes."""
    before = _read_all(open_regular(path, os.O_RDONLY))
    fd, copy = _create_beside(path, "old")
    try:
        try:
            _write_all(fd, before)
            os.fsync(fd)
        finally:
            os.close(fd)
        fd = open_regular(path, os.O_WRONLY)
    except BaseException:
        _remove_file(copy)
        raise
    try:
        try:
            _write_all(fd, data)
            os.ftruncate(fd, len(data))
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        raise OperationError(
            f"cannot write {path}: {exc.strerror}; what it held is in {copy}"
        ) from None
    _remove_file(copy)


def _remove_file(beside: str) -> str:
    """Remove a file of ours that is not needed: "", or what is to be said when it stays."""
    try:
        os.unlink(beside)
    except FileNotFoundError:
        return ""
    except OSError as exc:
        return f" ({beside} stays: {exc.strerror})"
    return ""


def _sync_folder(path: str) -> None:
    """Sync a folder, so that a rename is on disk. Some file systems cannot, and some folders may
    not be read: the file is complete either way.
    """
    try:
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.fsync(folder)
    except OSError:
        pass
    finally:
        os.close(folder)
