"""Measure what needs no guest: the time of a start, and a listing by name while the resolver does
not answer.

Owns: these two. Must never know: bars, tables for people.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tools.bench.install import OURS, PYTHON, REPO, VENV, installed
from tools.bench.measure import ENVIRONMENT, run
from tools.bench.names import DELAYS

STARTS = 40
COMMANDS = {
    "python": [PYTHON, "-I", "-c", "pass"],
    "environment": [str(VENV / "bin" / "python"), "-I", "-c", "pass"],
    "-L -n": [OURS, "-L", "-n"],
    "-A": [OURS, "-A", "-t", "10.0.0.1:80", "-s", "rr"],
}


def measured(runs: int = STARTS) -> dict[str, Any]:
    """Return {"starts": {command: [seconds]}, "names": {kind: {...}}}; names only as root."""
    installed()
    return {"starts": starts(runs), "names": names() if os.geteuid() == 0 else {}}


def starts(runs: int) -> dict[str, list[float]]:
    """Return the seconds of whole processes on an empty embedded table, the commands in turn."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    # -A on an embedded table warns root, and only root: the warning is hidden.
    environment = ENVIRONMENT | {"IPVSADM_BACKEND": "memory"}
    errors = os.dup(2)
    silent = os.open("/dev/null", os.O_WRONLY)
    os.dup2(silent, 2)
    try:
        for number in range(runs + 3):
            for name, command in COMMANDS.items():
                seconds = run(command, environment=environment).seconds
                if number >= 3:  # the first runs fill the caches
                    found[name].append(seconds)
    finally:
        os.dup2(errors, 2)
        os.close(silent)
        os.close(errors)
    return found


def names() -> dict[str, Any]:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        # in a process of its own, whose mounts and network end with it
        for kind in DELAYS:
            subprocess.run(
                [sys.executable, "-m", "tools.bench.names", kind, out],
                check=True,
                timeout=120,
                cwd=REPO,
            )
            found[kind] = json.loads(out.read_text())
    return found
