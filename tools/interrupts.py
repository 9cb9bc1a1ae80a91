"""Send Ctrl-C while a program starts: `python -m tools.interrupts PROGRAM [RUNS]`, in each run at a
random moment of the first 30 ms.

Counts how each run ends. Exits with 1 if a run ends with another status, or shows a traceback from
after the launcher sets SIGINT's action, or if more than 5 % of the runs show a traceback from
before: from the interpreter's own start ("line 0" of the launcher belongs to it, too).
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter

WITHIN = 0.030  # seconds
FROM_START = 0.05  # of the runs


def ending(program: str, delay: float) -> str:
    """Run the program, interrupt it after the delay, and return a name for its end."""
    child = subprocess.Popen(
        [program, "--backend", "memory", "-L", "-n"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    time.sleep(delay)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    with open(program) as launcher:
        head = next(number for number, line in enumerate(launcher, 1) if "SIG_DFL" in line)
    lines = [
        int(line)
        for line in re.findall(rf'File "{re.escape(program)}", line (\d+)', errors.decode())
    ]
    if b"/pyipvsadm/cli.py" in errors or any(line > head for line in lines):
        return "traceback of ours"
    if errors:
        return "traceback of the interpreter's start"
    return {0: "done before", -signal.SIGINT: "ended by the signal"}.get(
        child.returncode, f"status {child.returncode}"
    )


def main(program: str, runs: int) -> int:
    chance = random.Random(1)
    found = Counter(ending(program, chance.uniform(0, WITHIN)) for _ in range(runs))
    for name, count in sorted(found.items()):
        print(f"{count:5} {name}")
    odd = sum(
        count
        for name, count in found.items()
        if name == "traceback of ours" or name.startswith("status")
    )
    return int(bool(odd) or found["traceback of the interpreter's start"] > FROM_START * runs)


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 400))
