"""Do the work inside a guest: `python -m tools.bench.work OUTPUT [--runs N] [--only NAME]...`
writes results as JSON to OUTPUT.

Owns: the order of runs, so that both tools meet the same conditions: runs alternate; each restore
starts in a network namespace of its own (a cleared table revives its servers, which costs a
fraction), after a restore that warmed up the kernel's memory, and when the kernel has removed the
last namespace. Must never know: bars, tables for people.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fnmatch
import hashlib
import json
import os
import platform
import re
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.kernel import netns
from tools.bench import rows
from tools.bench.install import OURS, PYTHON, REFERENCE, VENV
from tools.bench.measure import peak, run, settle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.bench.rows import Row

CLONE_NEWNS = 0x00020000  # uapi/linux/sched.h
MS_REC, MS_PRIVATE = 1 << 14, 1 << 18  # uapi/linux/mount.h
TOOLS = {"reference": REFERENCE, "ours": OURS}
PHASES = str(Path(__file__).with_name("phases.py"))
COUNTERS = Path("/bench/ipvs_counters.ko")
LIMITS = re.compile(rb" -[xy] [0-9]+")
STARTS = 11  # runs of the interpreter that does nothing

_libc = ctypes.CDLL(None, use_errno=True)


class Bench:
    """Run one guest's measurements. folder is in memory: everything that is read and written while
    the clock runs is there.
    """

    def __init__(self, runs: int, chosen: list[str], folder: Path) -> None:
        self.runs = runs
        self._chosen = chosen
        self._folder = folder
        self.results: dict[str, dict[str, Any]] = {}

    def is_chosen(self, row: Row) -> bool:
        return not self._chosen or any(
            fnmatch.fnmatch(row.name, pattern) for pattern in self._chosen
        )

    def all(self) -> dict[str, Any]:
        """Measure all chosen rows, one table after the other, and return the results."""
        found = self._starts()
        tables = dict.fromkeys(
            (row.table, row.shape)
            for row in rows.ROWS
            if row.kind in (rows.RESTORE, rows.LIST) and self.is_chosen(row)
        )
        for table, shape in tables:
            self._table(table, shape)
        for row in rows.ROWS:
            if row.kind == rows.CONNECTIONS and self.is_chosen(row):
                self._connections(row)
            elif row.kind == rows.LOOP and self.is_chosen(row):
                self._loop(row)
        return found | {"rows": self.results}

    def _starts(self) -> dict[str, Any]:
        """Return what a start costs here: of the interpreter that does nothing, and of both tools
        on an empty table.
        """
        netns.fresh()
        commands = {
            "python": [PYTHON, "-I", "-c", "pass"],
            "environment": [str(VENV / "bin" / "python"), "-I", "-c", "pass"],
            **{name: [tool, "-L", "-n"] for name, tool in TOOLS.items()},
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(STARTS + 1):
            for name, command in commands.items():
                ran = run(command)
                if number:  # the first run fills the caches
                    seconds[name].append(ran.seconds)
        found = {name: median(values) for name, values in seconds.items()}
        say(", ".join(f"{name} {value * 1000:.1f} ms" for name, value in found.items()))
        return {"start": found, "kernel": platform.release(), "compiled": compiled()}

    # --- tables

    def _table(self, table: str, shape: tuple[int, int]) -> None:
        """Measure the rows of one table."""
        file = self._file("rules", rows.make_rules(table, *shape))
        chosen = [
            row
            for row in rows.ROWS
            if (row.table, row.shape) == (table, shape) and self.is_chosen(row)
        ]
        for row in chosen:
            if row.kind == rows.RESTORE:
                self._restore(row, file)
        listings = [row for row in chosen if row.kind == rows.LIST]
        if not listings:
            return
        self._fresh()
        run([OURS, "-R"], file)
        if table == rows.MIXED:
            set_counters()
        for row in listings:
            self._listing(row)
            if table == rows.DISTINCT:
                self._phases("list", row.name, list(row.argv))

    def _fresh(self) -> None:
        """Make an empty table in a quiet kernel."""
        netns.fresh()
        settle()

    def _restore(self, row: Row, file: str) -> None:
        small = self._file("small", rows.make_rules(rows.SHARED, 1, 10))
        self._fresh()
        for tool in TOOLS.values():
            run([tool, "-C"])
            run([tool, "-R"], small)
        runs = self.runs if row is not rows.LARGE else 1
        seconds: dict[str, list[float]] = {name: [] for name in TOOLS}
        peaks: dict[str, int] = {}
        tables = {}
        for number in range(runs):
            for name, tool in TOOLS.items():
                self._fresh()
                seconds[name].append(run([tool, "-R"], file).seconds)
                say(f"{row.name} {name} {seconds[name][-1]:.2f} s")
                if not number:
                    tables[name] = self._digest([REFERENCE, "-S", "-n"])
        for name, tool in TOOLS.items():
            if name == "ours" or row is not rows.LARGE:
                self._fresh()
                peaks[name] = peak([tool, "-R"], file).peak
        self._fresh()
        self.results[row.name] = {
            "seconds": seconds,
            "peak": peaks,
            "same": tables["reference"] == tables["ours"],
        }
        if row.table == rows.DISTINCT:
            self._phases("restore", row.name, ["-R"], file)

    def _listing(self, row: Row) -> None:
        seconds: dict[str, list[float]] = {name: [] for name in TOOLS}
        peaks = {}
        digests = {}
        for name, tool in TOOLS.items():  # these runs warm both up, and their output is compared
            out = str(self._folder / name)
            peaks[name] = peak([tool, *row.argv], stdout=out).peak
            digests[name] = digest(out, saved=row.argv[0] == "-S")
        for _ in range(self.runs):
            for name, tool in TOOLS.items():
                seconds[name].append(
                    run([tool, *row.argv], stdout=str(self._folder / name)).seconds
                )
        say(
            f"{row.name} "
            + ", ".join(f"{name} {median(values):.2f} s" for name, values in seconds.items())
        )
        self.results[row.name] = {
            "seconds": seconds,
            "peak": peaks,
            "same": digests["reference"] == digests["ours"],
        }

    def _phases(self, kind: str, name: str, argv: list[str], stdin: str = "/dev/null") -> None:
        """Measure the split of our time, in the present table."""
        place = str(self._folder / "phases")
        run(
            [str(VENV / "bin" / "python"), "-I", PHASES, kind, place, "--", *argv],
            stdin,
            str(self._folder / "split"),
        )
        self.results.setdefault(name, {})["phases"] = json.loads(Path(place).read_text())

    # --- the rest

    def _connections(self, row: Row) -> None:
        """Measure the listing of connections. Both tools read the same text: a file system of ours
        lies over /proc while they run.
        """
        self._fresh()
        seconds: dict[str, list[float]] = {name: [] for name in TOOLS}
        digests = {}
        peaks = {}
        with connection_file("") as place:
            for name, tool in TOOLS.items():
                place.write_text(rows.HEADING)
                peaks[f"{name}, empty"] = peak(
                    [tool, *row.argv], stdout=str(self._folder / name)
                ).peak
            place.write_text(rows.make_connections(row.things))
            for name, tool in TOOLS.items():
                out = str(self._folder / name)
                peaks[name] = peak([tool, *row.argv], stdout=out).peak
                digests[name] = digest(out)
            for _ in range(self.runs):
                for name, tool in TOOLS.items():
                    seconds[name].append(
                        run([tool, *row.argv], stdout=str(self._folder / name)).seconds
                    )
            self.results[row.name] = {
                "seconds": seconds,
                "peak": peaks,
                "same": digests["reference"] == digests["ours"],
            }
            self._phases("list", row.name, list(row.argv))
        say(
            f"{row.name} "
            + ", ".join(f"{name} {median(values):.2f} s" for name, values in seconds.items())
        )

    def _loop(self, row: Row) -> None:
        """Measure what is slower with ours: one command after the other. Then the same lines
        through -R.
        """
        lines = rows.make_rules(rows.SHARED, row.things, 0).splitlines()
        file = self._file("loop", "\n".join(lines) + "\n")
        seconds: dict[str, list[float]] = {name: [] for name in TOOLS}
        together: dict[str, list[float]] = {name: [] for name in TOOLS}
        tables = {}
        for _ in range(self.runs):
            for name, tool in TOOLS.items():
                self._fresh()
                seconds[name].append(sum(run([tool, *line.split()]).seconds for line in lines))
                tables[name] = self._digest([REFERENCE, "-S", "-n"])
                self._fresh()
                together[name].append(run([tool, "-R"], file).seconds)
        same = tables["reference"] == tables["ours"]
        self.results[row.name] = {"seconds": seconds, "together": together, "same": same}

    def _file(self, name: str, text: str) -> str:
        place = self._folder / name
        place.write_text(text)
        return str(place)

    def _digest(self, argv: list[str]) -> str:
        out = str(self._folder / "digest")
        run(argv, stdout=out)
        return digest(out)


def set_counters() -> None:
    """Give the table the counters of months of traffic, if the guest has the module
    that sets them.
    """
    if not COUNTERS.exists():
        say("no counters here: they are zero")
        return
    places = {}
    for line in Path("/proc/kallsyms").read_text().splitlines():
        address, _, name = line.split()[:3]
        places[name] = address
    setting = Path("/proc/sys/net/ipv4/vs/run_estimation")
    if setting.exists():  # no estimation: rates stay as they are set
        setting.write_text("0")
    words = [f"services=0x{places['ip_vs_svc_table']}", f"marks=0x{places['ip_vs_svc_fwm_table']}"]
    run(["/usr/sbin/insmod", str(COUNTERS), *words])
    run(["/usr/sbin/rmmod", COUNTERS.stem])


def digest(path: str, saved: bool = False) -> str:
    """Return a digest of an output. saved: of rules, without the thresholds, which 1.31 leaves
    out.
    """
    data = Path(path).read_bytes()
    return hashlib.sha256(LIMITS.sub(b"", data) if saved else data).hexdigest()


def compiled() -> bool:
    """Return True if the compiled modules count: they name the time and the size of
    their source.
    """
    for source in (VENV / "lib").rglob("pyipvsadm/*.py"):
        cache = source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
        head = cache.read_bytes()[:16] if cache.exists() else b""
        found = source.stat()
        if head[8:] != (int(found.st_mtime)).to_bytes(4, "little") + found.st_size.to_bytes(
            4, "little"
        ):
            return False
    return True


@contextlib.contextmanager
def connection_file(text: str) -> Iterator[Path]:
    """Yield a file that every process of this mount namespace reads as /proc/net/ip_vs_conn, for
    the length of the body.

    /proc/net leads to each reader's own folder, so a mount on the file alone is seen by its owner
    only: all of /proc is covered. Neither tool reads anything else there.
    """
    netns._check("unshare", _libc.unshare(CLONE_NEWNS))
    netns._check("mount", _libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    netns._check("mount", _libc.mount(b"tmpfs", b"/proc", b"tmpfs", 0, None))
    try:
        Path("/proc/net").mkdir()
        place = Path("/proc/net/ip_vs_conn")
        place.write_text(text)
        yield place
    finally:
        netns._check("umount", _libc.umount(b"/proc"))


def say(line: str) -> None:
    print(f"bench: {line}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench.work", description="Measure, inside a guest."
    )
    parser.add_argument("output")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", action="append", default=[])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        found = Bench(given.runs, given.only, Path(folder)).all()
    with open(given.output, "w") as out:
        json.dump(found, out)
        out.flush()
        os.fsync(out.fileno())


if __name__ == "__main__":
    main()
