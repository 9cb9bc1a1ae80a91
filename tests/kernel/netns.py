"""Run the two tools in network namespaces.

Owns: the system calls that Python 3.11 lacks (unshare, setns), one way to run a child with a
timeout, the child that is our ipvsadm and the child that is the reference. Must never know: what
the tools are asked or how they answer.

A new network namespace is an empty IPVS table. In the guest a fresh interpreter costs half a
second: our ipvsadm runs in a fork of the warm test process. Streams are files in memory, so that no
amount of output can block either side.
"""

from __future__ import annotations

import ctypes
import fcntl
import io
import os
import select
import signal
import socket
import struct
import sys
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

REFERENCE = "/usr/sbin/ipvsadm"
TIMEOUT = 30.0
NAMED = Path("/run/netns")  # where `ip netns` keeps its own

CLONE_NEWNET = 0x40000000  # uapi/linux/sched.h
SIOCGIFFLAGS = 0x8913  # uapi/linux/sockios.h
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1  # uapi/linux/if.h

_libc = ctypes.CDLL(None, use_errno=True)


class HungError(AssertionError):
    """Report that a child did not end in time and was killed."""


@dataclass(frozen=True)
class Result:
    """Hold the result of a process. status: its exit status; if negative, the signal that ended
    it.
    """

    status: int
    stdout: bytes
    stderr: bytes


def _check(name: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def fresh() -> None:
    """Move this process into a new network namespace with lo up."""
    _check("unshare", _libc.unshare(CLONE_NEWNET))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # struct ifreq: 16 bytes of name, then a union of 24 that here holds a short
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(sock, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


def enter(namespace: str) -> None:
    """Move this process into a namespace of `ip netns`."""
    with (NAMED / namespace).open("rb") as file:
        _check("setns", _libc.setns(file.fileno(), CLONE_NEWNET))


@contextmanager
def kept() -> Iterator[None]:
    """Return to the present network namespace at the end, whichever one the body enters."""
    with Path("/proc/self/ns/net").open("rb") as home:
        try:
            yield
        finally:
            _check("setns", _libc.setns(home.fileno(), CLONE_NEWNET))


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Stay in a namespace of `ip netns` for the length of the body."""
    with kept():
        enter(namespace)
        yield


def run_ours(
    argv: Sequence[str],
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    namespace: str | None = None,
    timeout: float = TIMEOUT,
) -> Result:
    """Run our ipvsadm in a fork of this process. argv is without the program's name; env is added
    to the environment.

    LAB_TOOL=reference runs the reference instead: a test that the reference passes too shows
    something about IPVS, not about us.
    """
    if os.environ.get("LAB_TOOL") == "reference":
        return run_reference(argv, stdin, env, namespace, timeout)
    # lazy import: the reference can be tried without our package
    from pyipvsadm.cli import main  # noqa: PLC0415

    def ours() -> int:
        # pytest may have replaced the streams: the tool gets plain ones
        sys.stdin = io.TextIOWrapper(open(0, "rb", closefd=False))  # noqa: SIM115
        sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False))  # noqa: SIM115
        sys.stderr = io.TextIOWrapper(open(2, "wb", closefd=False), write_through=True)  # noqa: SIM115
        status = main(list(argv))
        sys.stdout.flush()
        return status

    return run_child(ours, stdin, env, namespace, timeout)


def run_reference(
    argv: Sequence[str],
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    namespace: str | None = None,
    timeout: float = TIMEOUT,
) -> Result:
    """Run the reference under the name `ipvsadm`."""
    return run_child(
        lambda: os.execv(REFERENCE, ["ipvsadm", *argv]), stdin, env, namespace, timeout
    )


def run_child(
    body: Callable[[], int],
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    namespace: str | None = None,
    timeout: float = TIMEOUT,
) -> Result:
    """Run body in a forked child whose fds 0, 1 and 2 are files; its return value is the exit
    status.

    Raise HungError, with all that the child had written, if it had to be killed.
    """
    streams = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
    try:
        os.pwrite(streams[0], stdin, 0)
        pid = os.fork()
        if pid == 0:
            _child(body, streams, env or {}, namespace)
        ended = _wait(pid, timeout)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        stdout, stderr = (os.pread(fd, os.fstat(fd).st_size, 0) for fd in streams[1:])
    finally:
        for fd in streams:
            os.close(fd)
    if not ended:
        raise HungError(
            f"no end after {timeout} s; stdout {stdout[-2000:]!r}, stderr {stderr[-2000:]!r}"
        )
    return Result(status, stdout, stderr)


def _wait(pid: int, timeout: float) -> bool:
    """Wait for a child to end. Return False if it had to be killed after the timeout."""
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if poll.poll(timeout * 1000):
            return True
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return False
    finally:
        os.close(pidfd)


def _child(
    body: Callable[[], int], streams: list[int], env: Mapping[str, str], namespace: str | None
) -> None:
    """Run body in the child. Never return: the child is a copy of the test runner, which must not
    go on in it.
    """
    status = 1
    try:
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        os.environ.update(env)
        if namespace is not None:
            enter(namespace)
        status = body()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  # the parent sees it in the child's stderr
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status & 0xFF)
