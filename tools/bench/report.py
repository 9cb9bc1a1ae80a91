"""Format the results as a table for people: a pure function of the measurements.

Owns: medians, ratios, spreads, which bar is met. Must never know: how anything was measured.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from tools.bench import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tools.bench.rows import Row

PHASES = (
    "start",
    "import",
    "read",
    "parse",
    "encode",
    "kernel",
    "decode",
    "sort",
    "format",
    "write",
    "other",
)
TITLES = (
    "work",
    "table",
    "reference",
    "ours",
    "ratio",
    "of pairs",
    "ours/s",
    "ref peak",
    "peak",
    "",
)
GUESTS = {
    "q": "Q, a stock kernel under emulation (qemu, TCG)",
    "u": "U, a user-mode kernel (its dear system calls flatter us)",
}


def wrong(results: dict[str, Any]) -> list[str]:
    """Return what makes the results invalid, whatever the times: tables or listings that differ, an
    installation that is not compiled.
    """
    found = []
    for guest in GUESTS:
        here = results.get(guest)
        if not here:
            continue
        if not here["compiled"]:
            found.append(f"{guest}: what was measured is not compiled")
        found += [
            f"{guest}: {name}: the two tools differ"
            for name, row in here["rows"].items()
            if row.get("same") is False
        ]
    for kind, row in results.get("host", {}).get("names", {}).items():
        if row["servers"] != 1_000:
            found.append(f"names, {kind}: {row['servers']} servers were listed")
    return found


def lines(results: dict[str, Any]) -> Iterator[str]:
    """Yield all results as text."""
    machine = results["machine"]
    yield f"{format_machine(machine)}, {results['runs']} runs, medians"
    if "host" in results:
        yield from _host(results["host"])
    for guest, title in GUESTS.items():
        if guest in results:
            yield ""
            yield f"{title}, Linux {results[guest]['kernel']}"
            yield from _guest(results[guest], bars=guest == "q")
    for sentence in wrong(results):
        yield f"WRONG: {sentence}"


def format_machine(machine: dict[str, Any]) -> str:
    """Format the machine and how busy others kept it when the run began."""
    text = f"{machine['processors']} x {machine['model']}, {machine['system']}"
    return text + (f", load {machine['load']:.1f} before" if "load" in machine else "")


def _host(found: dict[str, Any]) -> Iterator[str]:
    starts = {name: median(values) for name, values in found["starts"].items()}
    yield ""
    yield "Outside any guest, an empty embedded table"
    for name in ("-L -n", "-A"):
        over = starts[name] - starts["environment"]  # the stricter of the two comparisons
        mark = _mark(over <= rows.START)
        yield (
            f"  {name:6} {starts[name] * 1000:6.1f} ms, python -I -c pass {starts['environment'] * 1000:.1f} there "
            f"(outside its environment {starts['python'] * 1000:.1f}): {over * 1000:+.1f} ms  {mark}"
        )
    for kind, row in found["names"].items():
        words = {"slow": "50 ms a name", "silent": "no answer"}[kind]
        mark = _mark(row["seconds"] <= rows.NAMES)
        yield f"  -L by name, 1,000 servers, {words}: {row['seconds']:.2f} s, {row['named']} named  {mark}"


def _guest(found: dict[str, Any], bars: bool) -> Iterator[str]:
    start = found["start"]
    yield (
        "  "
        + ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in start.items())
        + " (on an empty table)"
    )
    table: list[tuple[str, ...]] = [TITLES]
    known = {row.name: row for row in rows.ROWS}
    for name, measured in found["rows"].items():
        if "seconds" in measured:
            table.append(_line(known[name], measured, bars=bars))
    widths = [max(len(line[column]) for line in table) for column in range(len(TITLES))]
    for line in table:
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1])),
        ]
        yield "  " + "  ".join([*cells, line[-1]]).rstrip()
    yield from _large(found["rows"])
    yield from _growth(found["rows"])
    if "together" in found["rows"].get("loop", {}):
        together = found["rows"]["loop"]["together"]
        words = ", ".join(f"{name} {median(values):.2f} s" for name, values in together.items())
        yield f"  the loop's {rows.LOOP_COUNT} commands through one -R: {words}"
    yield "  where our time goes, ms"
    yield from _splits(found)


def compute_ratios(measured: dict[str, Any]) -> list[float]:
    """Return how many times as fast ours is, run by run: both tools ran in turn."""
    return [
        reference / ours
        for reference, ours in zip(measured["seconds"]["reference"], measured["seconds"]["ours"])
    ]


def _line(row: Row, measured: dict[str, Any], bars: bool) -> tuple[str, ...]:
    reference, ours = (median(measured["seconds"][name]) for name in ("reference", "ours"))
    ratios = compute_ratios(measured)
    ratio = median(ratios)
    note = ""
    if bars and row.bar:
        note = "meets the aim" if row.aim and ratio >= row.aim else ""
        note = note or f"{_mark(ratio >= row.bar)} (bar {row.bar:g}" + (
            f", aim {row.aim:g})" if row.aim else ")"
        )
    peak = measured.get("peak", {})
    return (
        row.format_work(),
        row.table,
        f"{reference:.3f}",
        f"{ours:.3f}",
        f"{ratio:.2f}",
        f"{min(ratios):.2f} to {max(ratios):.2f}",
        f"{row.things / ours:,.0f}",
        *(f"{peak[name] / 1024:.1f}" if name in peak else "" for name in ("reference", "ours")),
        note if measured["same"] else "DIFFERS",
    )


def _mark(met: bool) -> str:
    return "ok" if met else "MISSED"


def _large(found: dict[str, Any]) -> Iterator[str]:
    """Yield a line that compares the large restore with the small one, for each rule, with and
    without the kernel's part: the kernel's chains grow with the table.
    """
    large, small = found.get(rows.LARGE.name), found.get(rows.SMALL)
    if not large or not small:
        return
    things = {name: row.things for name, row in ((row.name, row) for row in rows.ROWS)}
    whole, ours, kernel = ([], [], [])  # type: tuple[list[float], list[float], list[float]]
    for name, measured in ((rows.LARGE.name, large), (rows.SMALL, small)):
        seconds = median(measured["seconds"]["ours"])
        inside = measured["phases"]["split"].get("kernel", 0.0)
        for values, value in ((whole, seconds), (kernel, inside), (ours, seconds - inside)):
            values.append(value / things[name] * 1e6)
    yield (
        f"  a rule of {things[rows.LARGE.name]:,} against one of {things[rows.SMALL]:,}: "
        f"{whole[0]:.1f} us to {whole[1]:.1f}; the kernel's part {kernel[0]:.1f} to {kernel[1]:.1f}, "
        f"ours {ours[0]:.1f} to {ours[1]:.1f}: {ours[0] / ours[1]:.2f} times  {_mark(ours[0] / ours[1] <= rows.PER_RULE)} "
        f"(bar {rows.PER_RULE:g}); peak {large['peak']['ours'] / 1024:.0f} MiB  {_mark(large['peak']['ours'] < rows.PEAK)} "
        f"(bar {rows.PEAK // 1024})"
    )


def _growth(found: dict[str, Any]) -> Iterator[str]:
    if "connections" in found:
        peak = found["connections"]["peak"]
        grown = peak["ours"] - peak["ours, empty"]
        yield (
            f"  connections: {grown / 1024:.1f} MiB over an empty listing  {_mark(grown <= rows.CONNECTIONS_GROWTH)} "
            f"(bar {rows.CONNECTIONS_GROWTH // 1024})"
        )


def _splits(found: dict[str, Any]) -> Iterator[str]:
    splits = {name: row["phases"] for name, row in found["rows"].items() if "phases" in row}
    width = max([len(name) for name in splits], default=0)
    yield (
        f"  {'':<{width}} " + "".join(f"{phase:>9}" for phase in PHASES) + f"{'sum':>9}{'calls':>9}"
    )
    for name, phases in splits.items():
        split = {"start": found["start"]["python"]} | phases["split"]
        cells = "".join(
            f"{split[phase] * 1000:9.1f}" if phase in split else " " * 9 for phase in PHASES
        )
        yield f"  {name:<{width}} {cells}{sum(split.values()) * 1000:9.1f}{phases['calls'].get('kernel', 0):9,}"


def hottest(found: dict[str, Any]) -> Iterator[str]:
    """Yield for each split the functions of ours that take longest."""
    for name, row in found["rows"].items():
        if "phases" in row:
            functions = row["phases"]["functions"].items()
            yield f"  {name}: " + ", ".join(
                f"{function} {seconds * 1000:.0f}" for function, seconds in functions
            )
