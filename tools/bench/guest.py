"""Run a command inside the Q guest: `python -m tools.bench.guest TOKEN CHANNEL COMMAND...` writes
the report to CHANNEL.

Owns: the report, of the shape that tests/lab/verdict.py judges, and in it the content of RESULTS,
which the command wrote. Must never know: what runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

RESULTS = "/tmp/results.json"


def main(token: str, channel: str, command: list[str]) -> None:
    status = subprocess.run(command, check=False).returncode & 0xFF
    sys.stdout.flush()
    results = json.loads(Path(RESULTS).read_text()) if Path(RESULTS).exists() else None
    report = json.dumps({"token": token, "status": status, "counts": {}, "results": results})
    with open(channel, "wb", buffering=0) as out:
        data = memoryview(report.encode() + b"\n")
        while data:
            data = data[out.write(data) or 0 :]
        if os.isatty(out.fileno()):
            import termios  # noqa: PLC0415  # only needed for a terminal

            termios.tcdrain(out.fileno())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
