"""Time whole processes, as a shell would see them.

Owns: starting a program with files as its streams, its wall-clock time and its peak memory. Must
never know: what is run.
"""

from __future__ import annotations

import ctypes
import os
import time
from dataclasses import dataclass

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
PR_SET_CHILD_SUBREAPER = 36  # uapi/linux/prctl.h
TICKS = os.sysconf("SC_CLK_TCK")

_libc = ctypes.CDLL(None, use_errno=True)


class StatusError(RuntimeError):
    """Report a measured program that has failed."""


@dataclass(frozen=True)
class Ran:
    """Hold a run's seconds (wall clock, from before the start to after the wait) and its peak
    memory (KiB).
    """

    seconds: float
    peak: int


def run(
    argv: list[str] | tuple[str, ...],
    stdin: str = "/dev/null",
    stdout: str = "/dev/null",
    environment: dict[str, str] | None = None,
) -> Ran:
    """Run a program to its end. The peak that it returns is not below this process's own: see
    `peak`.
    """
    actions = _streams(stdin, stdout)
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, environment or ENVIRONMENT, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - start
    _succeeded(argv, status, stdout)
    return Ran(seconds, usage.ru_maxrss)


def peak(
    argv: list[str] | tuple[str, ...],
    stdin: str = "/dev/null",
    stdout: str = "/dev/null",
    environment: dict[str, str] | None = None,
) -> Ran:
    """Run a program to its end, and measure its peak memory.

    A process keeps the peak that it had before exec(), and a child of posix_spawn was this
    interpreter. So a small shell starts the program and ends, and the program becomes a child of
    this process.
    """
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    actions = [*_streams(stdin, stdout), (os.POSIX_SPAWN_DUP2, 0, 3)]
    # a shell's background job reads /dev/null unless its input is redirected
    command = ["/bin/sh", "-c", '"$@" <&3 3<&- &', "sh", *argv]
    start = time.perf_counter()
    shell = os.posix_spawn(command[0], command, environment or ENVIRONMENT, file_actions=actions)
    os.waitpid(shell, 0)
    _, status, usage = os.wait4(-1, 0)
    seconds = time.perf_counter() - start
    _succeeded(argv, status, stdout)
    return Ran(seconds, usage.ru_maxrss)


def _streams(stdin: str, stdout: str) -> list[tuple[int, int, str, int, int]]:
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    return [
        (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, stdout, write, 0o644),
    ]


def _succeeded(argv: list[str] | tuple[str, ...], status: int, stdout: str) -> None:
    if status:
        raise StatusError(
            f"{' '.join(argv)} >{stdout} ended with {os.waitstatus_to_exitcode(status)}"
        )


def settle(busy: float = 0.1, period: float = 0.25, limit: float = 60) -> float:
    """Wait until the kernel has done its deferred work (the end of a network namespace). Return the
    seconds that this took.

    Other work on the same processors would make this wait to its limit: it is meant for a guest
    that runs nothing else.
    """
    start = time.monotonic()
    while time.monotonic() - start < limit:
        before = _busy_ticks()
        time.sleep(period)
        if (_busy_ticks() - before) / TICKS < busy * period:
            break
    return time.monotonic() - start


def _busy_ticks() -> int:
    """Return the ticks of the processors that were not idle (proc(5): user, nice, system, idle,
    iowait, irq, softirq, steal).
    """
    with open("/proc/stat", "rb") as file:
        words = [int(word) for word in file.readline().split()[1:9]]
    return sum(words) - words[3] - words[4]
