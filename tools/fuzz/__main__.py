"""Fuzz: `python -m tools.fuzz [SECONDS [TARGET...]]` tries each target for its share of the time
and prints the number of inputs and the findings.
"""

from __future__ import annotations

import resource
import sys
import time
import traceback
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, seed, settings

from tools.fuzz.targets import TARGETS, EndlessError, lines_of

if TYPE_CHECKING:
    from tools.fuzz.targets import Target

ROUND = 200  # inputs from one seed
# MiB that the process may grow by from the end of a target's first round: in one input, or by
# memory that many inputs leave behind
MOST_MEMORY = 64


def most_memory() -> int:
    """Return the most memory that this process has ever held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10  # KiB


def tried(target: Target, seconds: float, first: int) -> tuple[int, int, int, int]:
    """Return the number of inputs, the most lines that one took, by how many MiB the process has
    grown, and the next seed.

    Raise any exception that an input raises, and EndlessError if the process has grown too much.
    """
    count = most = 0
    grown = before = 0
    until = time.monotonic() + seconds

    def one(drawn: object) -> None:
        nonlocal count, most
        count += 1
        most = max(most, lines_of(lambda: target.run(drawn)))

    chosen = settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    while time.monotonic() < until:
        seed(first)(chosen(given(target.inputs)(one)))()
        first += 1
        before = before or most_memory()
        grown = most_memory() - before
        if grown > MOST_MEMORY:
            raise EndlessError(f"the process has grown by {grown} MiB")
    return count, most, grown, first


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    names = sys.argv[2:] or list(TARGETS)
    start = int(time.time())
    status = 0
    for name in names:
        try:
            count, most, grown, after = tried(TARGETS[name], seconds / len(names), start)
        except Exception:  # noqa: BLE001  # the next target has its turn
            traceback.print_exc()
            print(f"{name}: FAILED, seeds from {start}", flush=True)
            status = 1
            continue
        print(
            f"{name}: {count} inputs, seeds {start} to {after - 1}, at most {most} lines of ours for one, grown by {grown} MiB",
            flush=True,
        )
    return status


if __name__ == "__main__":
    sys.exit(main())
