"""Run all measurements, or some: `python -m tools.bench [OPTIONS]` prints a table and writes JSON
to .lab/bench.json.

Exits with 1 if the two tools differ or a guest fails. A bar that is missed is only marked.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

from tests.lab import boot
from tests.lab.verdict import PASSED, judge, tail
from tools.bench import host, install, pages, q, report, rows
from tools.bench.guest import RESULTS
from tools.bench.install import PYTHON, installed

PLACE = boot.LAB / "bench.json"
GUESTS = ("host", "q", "u")


class GuestError(RuntimeError):
    """Report a guest that failed, or whose report does not count."""


def machine() -> dict[str, Any]:
    """Return the machine's kind, not its name, and how busy others keep it."""
    text = Path("/proc/cpuinfo").read_text()
    models = [
        line.partition(":")[2].strip()
        for line in text.splitlines()
        if line.startswith("model name")
    ]
    return {
        "processors": os.cpu_count(),
        "model": models[0] if models else "?",
        "system": platform.machine(),
        "load": os.getloadavg()[1],
    }


def in_u(words: list[str], timeout: float) -> dict[str, Any]:
    """Run the work in the user-mode guest and return its results. They come through the one folder
    that the guest can write.
    """
    installed()
    place = boot.LAB / "bench" / "u.json"
    place.unlink(missing_ok=True)
    command = shlex.join([PYTHON, "-m", "tools.bench.work", str(place), *words])
    left = boot.boot(
        boot.Task(name="bench-u", command=command, memory="4G", timeout=timeout), q.show
    )
    verdict = judge(left)
    if verdict.kind != PASSED:
        raise GuestError(f"U: {verdict}\n{tail(left.log)}")
    found: dict[str, Any] = json.loads(place.read_text())
    return found


def in_q(words: list[str], timeout: float, counting: bool) -> dict[str, Any]:
    left = q.run(
        [PYTHON, "-m", "tools.bench.work", RESULTS, *words],
        q.show,
        timeout=timeout,
        counting=counting,
    )
    verdict = judge(left)
    if verdict.kind != PASSED:
        raise GuestError(f"Q: {verdict}\n{tail(left.log)}")
    found: dict[str, Any] = json.loads(left.report or "")["results"]
    return found


def lacking(guest: str) -> str:
    if guest == "host":
        return "" if Path(PYTHON).exists() else f"no {PYTHON}"
    return q.missing() if guest == "q" else boot.missing()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench", description="Measure ipvsadm against the reference."
    )
    parser.add_argument(
        "--guest", action="append", choices=GUESTS, help="only there (may be repeated)"
    )
    parser.add_argument("--runs", type=int, default=5, help="of each row (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one run of each row, not the largest")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ROW",
        help="a row, or a pattern (may be repeated)",
    )
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument(
        "--hot", action="store_true", help="name the functions that take longest, too"
    )
    parser.add_argument(
        "--counting",
        action="store_true",
        help="let Q's clock count instructions: for a busy machine",
    )
    parser.add_argument(
        "--timeout", type=float, default=5400, help="seconds until a guest is killed"
    )
    parser.add_argument(
        "--write",
        type=Path,
        default=PLACE,
        metavar="FILE",
        help="where the JSON goes (default %(default)s)",
    )
    parser.add_argument(
        "--show",
        type=Path,
        metavar="FILE",
        help="show the table of an earlier run's JSON, measure nothing",
    )
    parser.add_argument(
        "--write-pages",
        action="store_true",
        help="write the least favourable figures into README.md and docs/performance.md",
    )
    return parser.parse_args()


def measured(given: argparse.Namespace, guests: list[str]) -> dict[str, Any]:
    runs = 1 if given.quick else given.runs
    only = given.only or (
        [row.name for row in rows.ROWS if row is not rows.LARGE] if given.quick else []
    )
    words = ["--runs", str(runs), *(word for pattern in only for word in ("--only", pattern))]
    results: dict[str, Any] = {"machine": machine(), "runs": runs, "counting": given.counting}
    for guest in guests:
        if guest == "host":
            results["host"] = host.measured(10 if given.quick else host.STARTS)
        elif guest == "q":
            results["q"] = in_q(words, given.timeout, given.counting)
        else:
            results["u"] = in_u(words, given.timeout)
        given.write.parent.mkdir(parents=True, exist_ok=True)
        given.write.write_text(json.dumps(results, indent=1) + "\n")
    return results


def main() -> int:
    given = arguments()
    if given.list:
        for row in rows.ROWS:
            print(f"{row.name:32} {row.format_work()}")
        return 0
    if given.show:
        results: dict[str, Any] = json.loads(given.show.read_text())
    else:
        guests = given.guest or [guest for guest in GUESTS if guest != "host" or not given.only]
        if lacks := [lack for guest in guests if (lack := lacking(guest))]:
            print(*lacks, sep="\n", file=sys.stderr)
            return 69  # EX_UNAVAILABLE
        try:
            results = measured(given, guests)
        except GuestError as broken:
            print(broken, file=sys.stderr)
            return 1
    if given.write_pages and "q" in results:
        pages.write_pages(results, install.REPO)
    print()
    for line in report.lines(results):
        print(line)
    for guest in report.GUESTS:
        if given.hot and guest in results:
            print(f"\n{guest}: our functions, ms")
            print(*report.hottest(results[guest]), sep="\n")
    return 1 if report.wrong(results) else 0


if __name__ == "__main__":
    sys.exit(main())
