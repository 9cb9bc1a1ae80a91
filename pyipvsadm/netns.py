"""Resolve network namespaces, enter them, and come back.

Owns: the meaning of a name, a process number and a path, the system call, name lookups meanwhile.
Must never know: what is done inside. Imported only if another namespace is asked for.

setns(2) moves one thread. The main thread enters the namespace before anything is opened: netlink
sockets belong to the namespace of the thread that makes them, /proc/net is that of the main thread
(a link to self/net; fs/proc/proc_net.c), /proc/sys/net that of the thread that reads it
(net/sysctl_net.c), and threads and children that start later are born inside. Only name lookups go
back: the name servers are in the network where the command was started, and a namespace with
virtual addresses seldom reaches any.
"""

from __future__ import annotations

import errno
import os
import sys

from pyipvsadm.errors import OperationError
from pyipvsadm.resolver import Resolver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeVar

    Answer = TypeVar("Answer")

    class Owner(Protocol):
        """Describe the environment, whose resolver is replaced while the namespace is entered."""

        names: Resolver


# `ip netns` keeps a file for each of its namespaces here.
NETNS_DIR = "/run/netns"
SELF_NETNS = "/proc/self/ns/net"
CLONE_NEWNET = 0x40000000  # uapi/linux/sched.h
# S_IFREG: opening a regular file has no side effect, opening a device or a FIFO may have one.
REGULAR = 0o100000


def list_netns() -> list[str]:
    """Return the names of `ip netns`; none if they cannot be read."""
    try:
        return sorted(os.listdir(NETNS_DIR))
    except OSError:
        return []


def get_netns_path(spec: str) -> str:
    """Return the file of a namespace: a word with a slash is its path, digits alone are a process
    number, any other word is a name in /run/netns.

    Raise OperationError for a word that would lead out of /run/netns.
    """
    if "/" in spec and "\0" not in spec:
        return spec
    if spec in ("", ".", "..") or "\0" in spec:
        raise OperationError(
            f"`{spec}' is not a network namespace: use NAME (in {NETNS_DIR}), PID, or PATH (with a slash)",
            2,
        )
    return f"/proc/{spec}/ns/net" if spec.isascii() and spec.isdigit() else f"{NETNS_DIR}/{spec}"


def format_nsenter(spec: str) -> str:
    """Return the `nsenter` prefix for commands in this namespace."""
    from shlex import quote  # noqa: PLC0415  # costs 8 ms, and is seldom needed

    return f"nsenter --net={quote(get_netns_path(spec))} "


class EnteredNetns:
    """Enter a network namespace for the time of a `with`. Raise OperationError (status 2) if that
    fails.
    """

    def __init__(self, spec: str, env: Owner) -> None:
        self._path = get_netns_path(spec)
        self._env = env
        self._names = env.names
        self._home: _NetnsFile | None = None

    def __enter__(self) -> None:
        target = _NetnsFile(self._path)
        self._home = _NetnsFile(SELF_NETNS)
        _enter_file(target)
        self._env.names = HomeResolver(self._names, self._home, target)

    def __exit__(self, *_: object) -> None:
        assert self._home is not None
        self._env.names = self._names
        try:  # noqa: SIM105  # contextlib costs more than all of this
            _enter_file(self._home)
        except OperationError:
            # In a container, a process may lack the permission to enter its own network again. The
            # work in the namespace is done, so this is no error.
            pass


class HomeResolver(Resolver):
    """Resolve names in the network where the command was started."""

    def __init__(self, resolver: Resolver, home: _NetnsFile, visited: _NetnsFile) -> None:
        self.seconds = resolver.seconds
        self._resolver = resolver
        self._home = home
        self._visited = visited

    def find_host(self, name: str) -> bytes | None:
        """Ask as Resolver.find_host does."""
        return self._ask_from_home(lambda: self._resolver.find_host(name))

    def find_port(self, name: str, protocol: int) -> int | None:
        """Ask as Resolver.find_port does, in any namespace: ports are looked up in a file."""
        return self._resolver.find_port(name, protocol)

    def find_port_name(self, port: int, protocol: int) -> str | None:
        """Ask as Resolver.find_port_name does."""
        return self._resolver.find_port_name(port, protocol)

    def find_host_name(self, family: int, addr: bytes) -> str | None:
        """Ask as Resolver.find_host_name does."""
        return self._ask_from_home(lambda: self._resolver.find_host_name(family, addr))

    def _ask_from_home(self, look_up: Callable[[], Answer | None]) -> Answer | None:
        """Look up with only the present thread back in the home namespace. Return None if it cannot
        enter it.
        """
        try:
            _enter_file(self._home)
        except OperationError:
            return None
        try:
            return look_up()
        finally:
            _enter_file(self._visited)


class _NetnsFile:
    """Hold the file of a namespace open as long as it is referenced: a lookup that hangs may still
    need it after the end of the `with`.
    """

    def __init__(self, path: str) -> None:
        self.fd = -1
        self.path = path
        try:
            # O_PATH finds the file without opening it. The file that was examined is then opened
            # through its descriptor: no device or FIFO can replace it meanwhile.
            path_fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                if os.fstat(path_fd).st_mode & 0o170000 != REGULAR:
                    raise OperationError(f"{path} is not a network namespace", 2)
                self.fd = os.open(
                    f"/proc/self/fd/{path_fd}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY
                )
            finally:
                os.close(path_fd)
        except OSError as exc:
            raise OperationError(
                f"cannot open the network namespace {path}: {exc.strerror}", 2
            ) from None

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def _enter_file(file: _NetnsFile) -> None:
    """Move this thread into the namespace. Raise OperationError (status 2) if that fails."""
    try:
        _call_setns(file.fd)
    except OSError as exc:
        # EINVAL: the file is no namespace, or it is a file of /run/netns that was left when its
        # namespace ended without `ip netns delete`.
        if exc.errno == errno.EINVAL:
            raise OperationError(f"{file.path} is not a network namespace", 2) from None
        reason = f"{os.strerror(exc.errno or 0)}{' (you must be root)' if exc.errno == errno.EPERM else ''}"
        raise OperationError(
            f"cannot enter the network namespace {file.path}: {reason}", 2
        ) from None


if sys.version_info >= (3, 12):

    def _call_setns(fd: int) -> None:
        os.setns(fd, CLONE_NEWNET)

else:

    def _call_setns(fd: int) -> None:
        import ctypes  # noqa: PLC0415  # 2 ms, where pyroute2.netns costs 150 and starts programs to find the C library

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(fd, CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
