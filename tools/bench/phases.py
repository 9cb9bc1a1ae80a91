"""Measure where our time goes, in one process: `python -I phases.py KIND OUTPUT -- ARGV...` runs
ipvsadm and writes JSON to OUTPUT.

Owns: the split into import, parse, encode, kernel, decode, sort, format and write. Must never know:
what the parts do inside. It runs as a program of its own where ipvsadm is installed, and imports
nothing of the tests.

How it works. System calls are timed exactly, by a socket class that times itself and by wrapped
os.read and os.write. The rest is sampled: every few milliseconds all time since the last sample is
added to the function of ours that is running, and a function belongs to a phase by its module. So
the package needs no hooks for the split, and can be rewritten.
"""

from __future__ import annotations

import _socket
import json
import os
import signal
import sys
import time
from collections import defaultdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

INTERVAL = 0.003  # seconds between samples; a late sample covers all time since the last one

# module -> phase, for each kind of work; modules that are not named here belong to "other"
_BOTH = dict.fromkeys(("options", "parser", "combinations", "values", "popt"), "parse")
PHASES = {
    "restore": _BOTH
    | dict.fromkeys(
        ("reader", "fast_parser", "addresses", "model", "restore", "environment"), "parse"
    )
    | dict.fromkeys(("attributes", "framing", "kernel"), "encode"),
    "list": _BOTH
    | dict.fromkeys(("attributes", "framing", "kernel", "dumps", "dump_layout", "model"), "decode")
    | dict.fromkeys(
        (
            "writer",
            "classic",
            "procfs",
            "connections",
            "selection",
            "addresses",
            "listing",
            "save",
        ),
        "format",
    )
    | {"sorting": "sort", "output": "write", "environment": "write"},
}
# Methods that read the kernel's files without os.read.
READERS = frozenset(("KernelBackend.read_proc_table", "KernelBackend.iter_connections"))

kind = sys.argv[1]
timed: dict[str, float] = defaultdict(float)
calls: dict[str, int] = defaultdict(int)
phases: dict[str, float] = defaultdict(float)
functions: dict[str, float] = defaultdict(float)


# When the call began that is being timed, 0 outside of one: a sample may come before its end.
within = [0.0]


def clocked(phase: str, call: Any) -> Any:
    """Return the same function, with its time added to a phase."""

    def timing(*arguments: Any, **named: Any) -> Any:
        within[0] = start = time.perf_counter()
        try:
            return call(*arguments, **named)
        finally:
            timed[phase] += time.perf_counter() - start
            within[0] = 0.0
            calls[phase] += 1

    return timing


Plain = _socket.socket
WAYS = (
    "send",
    "sendto",
    "sendmsg",
    "recv",
    "recv_into",
    "recvfrom",
    "recvfrom_into",
    "recvmsg",
    "recvmsg_into",
)
Timed = type("Timed", (Plain,), {way: clocked("kernel", getattr(Plain, way)) for way in WAYS})
_socket.socket = Timed  # type: ignore[assignment,misc]
plain_read = os.read
read_input = clocked("read", plain_read)
read_kernel = clocked("kernel", plain_read)


def read(fd: int, size: int) -> bytes:
    data: bytes = (read_input if fd == 0 else read_kernel)(fd, size)
    return data


os.read = read
os.write = clocked("write", os.write)

last = [0.0, 0.0]  # the time of the last sample, and the seconds timed exactly until then


def sample(_: int, frame: FrameType | None) -> None:
    now = time.perf_counter()
    known = sum(timed.values()) + (now - within[0] if within[0] else 0.0)
    spent = now - last[0] - (known - last[1])
    last[:] = [now, known]
    while frame is not None:
        place = frame.f_code.co_filename
        if "/pyipvsadm/" in place:
            module = place.rpartition("/")[2].removesuffix(".py")
            name = frame.f_code.co_qualname  # type: ignore[attr-defined]  # from Python 3.11 on
            phases["kernel" if name in READERS else PHASES[kind].get(module, "other")] += spent
            functions[f"{module}.{name}"] += spent
            return
        frame = frame.f_back
    phases["other"] += spent


def main(argv: list[str], place: str) -> int:
    start = time.perf_counter()
    from pyipvsadm import cli  # noqa: PLC0415  # the phase to be timed
    from pyipvsadm.backends import kernel  # noqa: PLC0415, F401  # the phase to be timed
    from pyipvsadm.views import classic  # noqa: F401, PLC0415

    imported = time.perf_counter()
    last[:] = [imported, 0.0]
    signal.signal(signal.SIGALRM, sample)
    signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)
    status = cli.main(argv)
    signal.setitimer(signal.ITIMER_REAL, 0)
    end = time.perf_counter()
    sample(0, sys._getframe())
    split = {"import": imported - start} | dict(phases)
    for phase, seconds in timed.items():
        split[phase] = split.get(phase, 0) + seconds
    hot = sorted(functions.items(), key=lambda pair: -pair[1])[:15]
    found = {"split": split, "total": end - start, "calls": dict(calls), "functions": dict(hot)}
    with open(place, "w") as out:
        json.dump(found, out)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[4:], sys.argv[2]))
