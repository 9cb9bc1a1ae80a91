"""Run the reference on cases, inside the guest.

Owns: how the reference's programs are started. Must never know: what is done with the answers.

In the guest a fork of a Python process costs twice as much as the reference itself: its programs
are spawned.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cases.case import LOOK
from tests.cases.recording import Answer, Recorded, text
from tests.kernel import netns

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cases.case import Case, Step

FOLDER = "/usr/sbin"
TIMEOUT = 30.0
# A race in ipvsadm-restore: its shell prints this if the ipvsadm that it writes to has ended at a
# fault before all lines are written.
LATE = f"{FOLDER}/ipvsadm-restore: line 25: echo: write error: Broken pipe\n"

CLONE_NEWNS = 0x00020000  # uapi/linux/sched.h
MS_REC = 0x4000  # uapi/linux/mount.h
MS_PRIVATE = 0x40000

_libc = ctypes.CDLL(None, use_errno=True)


def answer(step: Step, connections: bytes | None = None) -> Answer:
    """Run one step in the present network namespace; connections, if given, replace
    /proc/net/ip_vs_conn. Raise netns.HungError.
    """
    program = f"{FOLDER}/{step.program}"
    argv = [step.program, *step.argv]
    if connections is not None:
        return covered(lambda: os.execv(program, argv), step, connections)
    streams = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
    try:
        os.pwrite(streams[0], step.stdin, 0)
        pid = os.posix_spawn(
            program,
            argv,
            {**os.environ, **step.environ},
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(streams)],
        )
        status = _wait(pid, str(step))
        stdout, stderr = (text(os.pread(fd, os.fstat(fd).st_size, 0)) for fd in streams[1:])
        return Answer(status, stdout, stderr.replace(LATE, ""))
    finally:
        for fd in streams:
            os.close(fd)


def _wait(pid: int, what: str) -> int:
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        ended = poll.poll(TIMEOUT * 1000)
        if not ended:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not ended:
        raise netns.HungError(f"the reference has not ended after {TIMEOUT} s: {what}")
    return status


def look() -> str:
    """Return the listing of the kernel's table, made by the reference even if ours has filled the
    table.
    """
    seen = answer(LOOK)
    assert (seen.status, seen.stderr) == (0, ""), f"{LOOK}: {seen}"
    return seen.stdout


def record(case: Case) -> Recorded:
    """Run a case from an empty table, and return its recording. Leaves the process in a network
    namespace of its own.
    """
    netns.fresh()
    steps = [(str(step), answer(step, case.connections)) for step in case.steps]
    return Recorded(steps, look())


def covered(body: Callable[[], int], step: Step, connections: bytes | None) -> Answer:
    """Run body in a fork with the step's streams and environment; connections, if given, replace
    /proc/net/ip_vs_conn.
    """

    def child() -> int:
        if connections is not None:
            _cover(connections)
        return body()

    result = netns.run_child(child, step.stdin, step.environ)
    return Answer(result.status, text(result.stdout), text(result.stderr))


def _cover(connections: bytes) -> None:
    """Replace /proc/net/ip_vs_conn for this process and its children. /proc/net leads into each
    reader's own folder, so all of /proc is covered.
    """
    _check("unshare", _libc.unshare(CLONE_NEWNS))
    _check("mount", _libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    _check("mount", _libc.mount(b"tmpfs", b"/proc", b"tmpfs", 0, None))
    Path("/proc/net").mkdir()
    Path("/proc/net/ip_vs_conn").write_bytes(connections)


def _check(name: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
