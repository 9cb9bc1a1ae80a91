"""Stop a process at each of its system calls (ptrace): to count them, or to kill it at a certain
call.

Owns: the tracing. Must never know: what the process does.
"""

from __future__ import annotations

import ctypes
import os
import posix
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PTRACE_TRACEME = 0  # uapi/linux/ptrace.h
PTRACE_SYSCALL = 24
PTRACE_SETOPTIONS = 0x4200
PTRACE_O_TRACESYSGOOD = 1
SYSCALL_STOP = signal.SIGTRAP | 0x80

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def traced(body: Callable[[], int], kill_at: int = 0) -> tuple[int, int]:
    """Run body in a fork. Return how often it stopped (before each system call and after it), and
    its status as waitpid gives it.

    kill_at: kill it at that stop, before it makes the next call.
    """
    pid = os.fork()
    if pid == 0:
        _libc.ptrace(PTRACE_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        # Where coverage.py measures, its calls are not ours: it traces, and hangs its saving on
        # os._exit.
        sys.settrace(None)
        posix._exit(body())
    os.waitpid(pid, 0)
    _libc.ptrace(PTRACE_SETOPTIONS, pid, None, PTRACE_O_TRACESYSGOOD)
    stops, passed = 0, 0
    while True:
        _libc.ptrace(PTRACE_SYSCALL, pid, None, passed)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            return stops, status
        stopped = os.WSTOPSIG(status)
        stops += stopped == SYSCALL_STOP
        if stops == kill_at:
            os.kill(pid, signal.SIGKILL)
            return stops, os.waitpid(pid, 0)[1]
        passed = 0 if stopped == SYSCALL_STOP else stopped
