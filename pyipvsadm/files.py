"""Replace files atomically: write the new text beside the old one, sync it, rename it over the old
one, so that a reader sees either.

Owns: that sequence, and the attributes of the old file that the new one keeps. Must never know: the
content of a file.

Only a regular file is replaced. Symbolic links are resolved once, so that they lead to the new
file; other hard links keep the old text. A FIFO, a device, /dev/stdout and a terminal are written
to. A mount point cannot be renamed over: it is written in place, after a copy was made beside it.
"""

from __future__ import annotations

import errno
import os

from pyipvsadm.errors import OperationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Random names that are tried for a new file.
MAX_RANDOM_NAMES = 100

_ACL = "system.posix_acl_access"
# Attributes that are valid for the old content only: signatures and capabilities.
_CONTENT_ATTRIBUTES = ("security.ima", "security.evm", "security.capability")
# S_IFDIR, S_IFBLK, S_IFSOCK
_KINDS = {0o040000: "a directory", 0o060000: "a block device", 0o140000: "a socket"}
_REGULAR = 0o100000  # S_IFREG


def replace_file(path: str, text: str | bytes, mode: int = 0o600) -> None:
    """Replace the content of a file by text. Raise OperationError if that fails: then the file is
    unchanged, or the message names a copy of its content.

    mode: of a new file. An existing one keeps its owner, mode, ACLs and extended attributes.
    If one of them cannot be set, fewer users may read the file than before, never more.
    """
    data = os.fsencode(text)
    shown_path = path
    try:
        descriptor = _find_own_descriptor(path)
        old = _find_target(path) if descriptor is None else None
        if descriptor is not None:
            _write_and_close(os.dup(descriptor), data)
        elif old is not None and _name_kind(old) != _REGULAR:
            _write_through(path, data, old)
        else:
            target = os.path.realpath(path) if os.path.islink(path) else path
            shown_path = path if target == path else f"{path} -> {target}"
            _replace_file(target, data, old, mode)
    except OSError as exc:
        raise OperationError(f"cannot write {shown_path}: {exc.strerror}") from None


def read_file(path: str) -> bytes:
    """Read a file of any kind to its end. Raise OperationError if it does not exist or cannot be
    read.
    """
    try:
        return _read_all(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY))
    except OSError as exc:
        raise OperationError(f"cannot read {path}: {exc.strerror}") from None


def read_if_exists(path: str) -> bytes:
    """Read a regular file; return b"" if it does not exist. Raise OperationError if it is of
    another kind (without waiting for a FIFO) or cannot be read.
    """
    try:
        return _read_all(open_regular(path, os.O_RDONLY))
    except FileNotFoundError:
        return b""
    except OSError as exc:
        raise OperationError(f"cannot read {path}: {exc.strerror}") from None


def _name_kind(status: os.stat_result) -> int:
    return status.st_mode & 0o170000  # S_IFMT


def _find_target(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        if not os.path.basename(path):
            # "" and "directory/" cannot be the name of a new file.
            raise
        return None


def _find_own_descriptor(path: str) -> int | None:
    """Return the number of the open descriptor that path leads to (/dev/stdout, /dev/fd/N), or
    None. It is written to, and its file is not replaced.
    """
    own = os.path.realpath("/proc/self/fd")
    # The kernel follows 40 links.
    for _ in range(40):
        directory, name = os.path.split(path)
        if os.path.realpath(directory) == own and name.isdecimal():
            return int(name)
        if not os.path.islink(path):
            break
        path = os.path.join(directory, os.readlink(path))
    return None


def open_regular(path: str, flags: int) -> int:
    """Open a regular file. Raise OperationError for any other kind, without opening a device or
    waiting for a FIFO, even if one replaces the file meanwhile.
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
        raise OperationError(f"{path} is not a regular file")
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
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[os.write(fd, remaining) :]


def _write_and_close(fd: int, data: bytes) -> None:
    """Write all the data and close the descriptor."""
    try:
        _write_all(fd, data)
    finally:
        os.close(fd)


def _write_through(path: str, data: bytes, old: os.stat_result) -> None:
    """Write to a character device, or to a FIFO that a process reads."""
    kind = _KINDS.get(_name_kind(old))
    if kind:
        raise OperationError(f"cannot write {path}: it is {kind}")
    try:
        # O_NONBLOCK: do not wait for a reader of a FIFO.
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.ENXIO:
            raise OperationError(f"cannot write {path}: no process reads from it") from None
        raise
    os.set_blocking(fd, True)
    _write_and_close(fd, data)


def _replace_file(path: str, data: bytes, old: os.stat_result | None, mode: int) -> None:
    try:
        fd, temporary = _create_beside(path, "new")
    except OSError as exc:
        if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OperationError(
                f"cannot write {path}: cannot create a file in its directory: {exc.strerror}"
            ) from None
        raise
    try:
        try:
            if old is not None:
                _keep_attributes(fd, path, old)
            elif mode != 0o600:
                os.fchmod(fd, mode)
            _write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            os.rename(temporary, path)
        except OSError as exc:
            if exc.errno not in (errno.EBUSY, errno.EXDEV) or old is None:
                raise
            # The file is a mount point.
            _write_in_place(path, data)
            _remove_file(temporary)
    except (OSError, OperationError) as exc:
        leftover = _remove_file(temporary)
        if not leftover:
            raise
        raise OperationError(
            f"{exc if isinstance(exc, OperationError) else f'cannot write {path}: {exc.strerror}'}{leftover}"
        ) from None
    _sync_folder(path)


def _create_beside(path: str, suffix: str) -> tuple[int, str]:
    """Create a file in the directory of `path` under a random name; return its descriptor and its
    name.
    """
    tries_left = MAX_RANDOM_NAMES
    while True:
        tries_left -= 1
        path_beside = f"{path}.{os.urandom(4).hex()}.{suffix}"
        try:
            return os.open(
                path_beside,
                os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
            ), path_beside
        except FileExistsError:
            if not tries_left:
                raise


def _keep_attributes(fd: int, path: str, old: os.stat_result) -> None:
    """Give a new file the owner, mode and attributes of the old one. If one of them cannot be set,
    the mode is restricted, so that no user gains access.
    """
    mode = old.st_mode & 0o777
    # The mode for a file of another group: none for that group, and for others no more than the old
    # group had, because its members are others now.
    restricted = mode & 0o700 | mode & mode >> 3 & 0o007
    if not (
        _try_call(os.fchown, fd, old.st_uid, old.st_gid) or _try_call(os.fchown, fd, -1, old.st_gid)
    ):
        mode = restricted
    try:
        names = os.listxattr(path)
    except OSError:
        names = []
    for name in names:
        if (
            name not in _CONTENT_ATTRIBUTES
            and not _try_call(_copy_attribute, fd, path, name)
            and name == _ACL
        ):
            # With an ACL, the bits of the group are the most that any user in it may do.
            mode &= restricted
    if _ACL not in names and not _try_call(_drop_acl, fd):
        mode &= restricted
    _try_call(os.fchmod, fd, mode)


def _copy_attribute(fd: int, path: str, name: str) -> None:
    os.setxattr(fd, name, os.getxattr(path, name))


def _drop_acl(fd: int) -> None:
    """Remove the ACL that a new file inherits from its directory. It has no effect while the mode
    is 0600.
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
    """Write over the content of a file; meanwhile a copy of the old content is beside it."""
    old_data = _read_all(open_regular(path, os.O_RDONLY))
    fd, backup = _create_beside(path, "old")
    try:
        try:
            _write_all(fd, old_data)
            os.fsync(fd)
        finally:
            os.close(fd)
        fd = open_regular(path, os.O_WRONLY)
    except BaseException:
        _remove_file(backup)
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
            f"cannot write {path}: {exc.strerror}; its old content is in {backup}"
        ) from None
    _remove_file(backup)


def _remove_file(path: str) -> str:
    """Remove a temporary file; return "", or the end of a message if that fails."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return ""
    except OSError as exc:
        return f" (cannot remove {path}: {exc.strerror})"
    return ""


def _sync_folder(path: str) -> None:
    """Sync the directory of a file, so that a rename is on disk. Some file systems cannot do that,
    and some directories cannot be opened: a failure is ignored, because the file is complete.
    """
    try:
        directory = os.open(
            os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        )
    except OSError:
        return
    try:
        os.fsync(directory)
    except OSError:
        pass
    finally:
        os.close(directory)
