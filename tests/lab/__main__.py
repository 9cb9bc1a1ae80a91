"""Run one guest by hand: `python -m tests.lab [OPTIONS] [-- PYTEST ARGUMENTS]` exits with the
status of what ran.
"""

from __future__ import annotations

import argparse
import sys

from tests.lab.boot import LAB, Task, boot, missing
from tests.lab.verdict import judge


def show(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab", description="Run pytest in a guest with IPVS."
    )
    parser.add_argument("--memory", default=Task.memory, help="of the guest (default %(default)s)")
    parser.add_argument(
        "--timeout", type=float, default=Task.timeout, help="seconds until it is killed"
    )
    parser.add_argument("--keep", action="store_true", help="leave the guest's folder under .lab")
    parser.add_argument(
        "--shell-command", default="", metavar="CMD", help="run this instead of pytest"
    )
    parser.add_argument("pytest", nargs="*", metavar="PYTEST ARGUMENTS", help="after --")
    given = parser.parse_args()
    if lack := missing():
        print(lack, file=sys.stderr)
        return 69  # EX_UNAVAILABLE
    task = Task(
        pytest=given.pytest,
        command=given.shell_command,
        memory=given.memory,
        timeout=given.timeout,
        keep=given.keep,
    )
    verdict = judge(boot(task, show))
    print(f"lab: {verdict}" + (f"\nlab: kept in {LAB}" if given.keep else ""), file=sys.stderr)
    return verdict.exit_status()


if __name__ == "__main__":
    sys.exit(main())
