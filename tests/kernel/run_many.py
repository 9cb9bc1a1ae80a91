"""Run many commands, each in a process of its own, and print those that failed: `python -m
tests.kernel.run_many HOW ROWS <COMMANDS`.

HOW: ours, reference, or restore (each row is then the input of one `ipvsadm -R`). ROWS: how many
are at work at once. This is a small process of its own because a fork of the tests' runner copies
all of its memory each time.
"""

from __future__ import annotations

import os
import sys

from pyipvsadm import cli, errors, model  # noqa: F401  # once, for all that fork from here
from pyipvsadm.backends import kernel  # noqa: F401  # once, for all that fork from here
from pyipvsadm.netlink import attributes, framing  # noqa: F401  # once, for all that fork from here
from pyipvsadm.rules import writer  # noqa: F401  # once, for all that fork from here

REFERENCE = "/usr/sbin/ipvsadm"  # not from netns.py, whose imports are large


def ours(argv: list[str], stdin: bytes = b"") -> int:
    pid = os.fork()
    if not pid:
        status = 99
        try:
            fd = os.memfd_create("stdin")
            os.pwrite(fd, stdin, 0)
            os.dup2(fd, 0)
            sys.stdin = open(0)  # noqa: SIM115
            status = cli.main(argv)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def reference(argv: list[str]) -> int:
    pid = os.posix_spawn(REFERENCE, ["ipvsadm", *argv], dict(os.environ))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def row(how: str, lines: list[str]) -> None:
    if how == "restore":
        if status := ours(["-R"], "".join(f"{line}\n" for line in lines).encode()):
            print(f"{status}: a restore", flush=True)
        return
    for line in lines:
        if status := (ours if how == "ours" else reference)(line.split()):
            print(f"{status}: {line}", flush=True)


def main() -> None:
    how, rows = sys.argv[1], int(sys.argv[2])
    lines = sys.stdin.read().splitlines()
    pids = []
    for at in range(rows):
        pid = os.fork()
        if not pid:
            try:
                row(how, lines[at::rows])
            finally:
                os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
