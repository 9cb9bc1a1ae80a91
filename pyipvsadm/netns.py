"""Network namespaces: which one --netns names, going there, and coming back.

Owns: what a name, a process's number and a path stand for, the system call, the way names are asked
meanwhile. Must never know: what is done there. Only imported when another namespace is asked for.

How it works. setns(2) moves one thread. Whoever is asked to go to a namespace does so in the first
thread, before anything is opened: netlink sockets belong to the namespace of the thread that makes
them, /proc/net is that of the first thread (a link to self/net; fs/proc/proc_net.c), /proc/sys/net
that of the thread that looks (net/sysctl_net.c), and threads and children that are started later
are born there. Only the look-up of names goes back: their servers are in the network that the
command was started in, and a namespace with virtual addresses in it seldom reaches any.
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
        """The environment, whose resolver is replaced for the time of a visit."""

        names: Resolver


NETNS_DIR = "/run/netns"  # where `ip netns` keeps its own, a file each
SELF_NETNS = "/proc/self/ns/net"
CLONE_NEWNET = 0x40000000  # uapi/linux/sched.h
REGULAR = 0o100000  # S_IFREG: opening such a file has no effect; devices and pipes are not touched


def list_netns() -> list[str]:
    """Those of `ip netns`; none where nothing can be read."""
    try:
        return sorted(os.listdir(NETNS_DIR))
    except OSError:
        return []


def get_netns_path(place: str) -> str:
    """The file of a namespace: `place` with a slash is its path, all digits a process, anything
    else a name below /run/netns.

    Failed for a word that would lead elsewhere.
    """
    if "/" in place and "\0" not in place:
        return place
    if place in ("", ".", "..") or "\0" in place:
        raise OperationError(
            f"`{place}' is no network namespace: it is NAME (a file of {NETNS_DIR}), PID, or PATH (with a slash)",
            2,
        )
    return (
        f"/proc/{place}/ns/net" if place.isascii() and place.isdigit() else f"{NETNS_DIR}/{place}"
    )


def format_nsenter(place: str) -> str:
    """What stands before a command that a person is to run there."""
    from shlex import quote  # noqa: PLC0415  # costs 8 ms, and is seldom needed

    return f"nsenter --net={quote(get_netns_path(place))} "


class EnteredNetns:
    """The network of a namespace for the time of a `with`. Failed (status 2) when it cannot be
    entered.
    """

    def __init__(self, place: str, env: Owner) -> None:
        self._path = get_netns_path(place)
        self._world = env
        self._names = env.names
        self._home: _NetnsFile | None = None

    def __enter__(self) -> None:
        there = _NetnsFile(self._path)
        self._home = _NetnsFile(SELF_NETNS)
        _enter_file(there)
        self._world.names = HomeResolver(self._names, self._home, there)

    def __exit__(self, *_: object) -> None:
        assert self._home is not None
        self._world.names = self._names
        try:  # noqa: SIM105  # contextlib costs more than all of this
            _enter_file(self._home)
        except OperationError:
            # a container may have no right to its own network: what was to be done there is done
            pass


class HomeResolver(Resolver):
    """What resolves names, asked from the network that the command was started in."""

    def __init__(self, resolver: Resolver, home: _NetnsFile, there: _NetnsFile) -> None:
        self.seconds = resolver.seconds
        self._resolver = resolver
        self._home = home
        self._there = there

    def find_host(self, name: str) -> bytes | None:
        """As the resolver's own."""
        return self._ask_from_home(lambda: self._resolver.find_host(name))

    def find_port(self, name: str, protocol: int) -> int | None:
        """As the resolver's own: a file, for which nobody needs to go anywhere."""
        return self._resolver.find_port(name, protocol)

    def find_port_name(self, port: int, protocol: int) -> str | None:
        """As the resolver's own."""
        return self._resolver.find_port_name(port, protocol)

    def find_host_name(self, family: int, addr: bytes) -> str | None:
        """As the resolver's own."""
        return self._ask_from_home(lambda: self._resolver.find_host_name(family, addr))

    def _ask_from_home(self, look_up: Callable[[], Answer | None]) -> Answer | None:
        """In whichever thread this is: it alone goes home. None where it may not."""
        try:
            _enter_file(self._home)
        except OperationError:
            return None
        try:
            return look_up()
        finally:
            _enter_file(self._there)


class _NetnsFile:
    """A namespace's file, open until nobody needs it: a look-up that hangs outlives the visit."""

    def __init__(self, path: str) -> None:
        self.fd = -1
        self.path = path
        try:
            # Found first, then looked at, then opened: nobody can put a device or a FIFO in its
            # place meanwhile.
            found = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                if os.fstat(found).st_mode & 0o170000 != REGULAR:
                    raise OperationError(f"{path} is no network namespace", 2)
                self.fd = os.open(
                    f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY
                )
            finally:
                os.close(found)
        except OSError as exc:
            raise OperationError(
                f"cannot open the network namespace {path}: {exc.strerror}", 2
            ) from None

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def _enter_file(file: _NetnsFile) -> None:
    """Move this thread."""
    try:
        _call_setns(file.fd)
    except OSError as no:
        # a file of another kind; one of /run/netns whose namespace went without `ip netns delete'
        if no.errno == errno.EINVAL:
            raise OperationError(f"{file.path} is no network namespace", 2) from None
        why = f"{os.strerror(no.errno or 0)}{' (it takes root)' if no.errno == errno.EPERM else ''}"
        raise OperationError(f"cannot enter the network namespace {file.path}: {why}", 2) from None


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
