"""Write the figures into README.md and docs/performance.md, between two lines that mark the place.

Owns: which figures people get to read: of the kinds of tables, the one that is least favourable to
us. Must never know: how anything was measured.
"""

from __future__ import annotations

import textwrap
from statistics import median
from typing import TYPE_CHECKING, Any

from tools.bench import report, rows

if TYPE_CHECKING:
    from pathlib import Path

    from tools.bench.rows import Row

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
# The rows of the README's table: kind of row, shape, options.
HIGHLIGHTS = (
    (rows.RESTORE, (100, 100), ("-R",)),
    (rows.RESTORE, (10_000, 1), ("-R",)),
    (rows.LIST, (10_000, 1), ("-L", "-n")),
    (rows.LIST, (100, 100), ("-L", "-n")),
    (rows.LIST, (1_000, 10), ("-L", "-n", "--stats")),
    (rows.CONNECTIONS, (0, 0), ("-L", "-n", "-c")),
)


def write_pages(results: dict[str, Any], repo: Path) -> None:
    """Write both tables. A page without the marks stays as it is."""
    for name, make in (
        ("README.md", format_highlights),
        ("docs/performance.md", format_all),
    ):
        page = repo / name
        if page.exists():
            text = page.read_text()
            page.write_text(replace_marked(text, make(results)))


def replace_marked(text: str, table: str) -> str:
    """Return the page with the table between the marks, the same page when it has none."""
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    return f"{before}{begin}{table}{end}{after}" if begin and end else text


def find_least_favourable(found: dict[str, Any]) -> list[tuple[Row, dict[str, Any]]]:
    """Return each work and size once, with the kind of table where the ratio is lowest."""
    least: dict[tuple[str, tuple[int, int], tuple[str, ...]], tuple[Row, dict[str, Any]]] = {}
    for row in rows.ROWS:
        measured = found["rows"].get(row.name)
        if measured is None or "seconds" not in measured:
            continue
        key = (row.kind, row.shape, row.argv)
        if key not in least or _ratio(measured) < _ratio(least[key][1]):
            least[key] = (row, measured)
    return list(least.values())


def _ratio(measured: dict[str, Any]) -> float:
    return median(report.compute_ratios(measured))


def format_highlights(results: dict[str, Any]) -> str:
    """Format the README's few lines."""
    lines = ["", "| | ipvsadm 1.31 | pyipvsadm | times as fast |", "| --- | --- | --- | --- |"]
    found = {(row.kind, row.shape, row.argv): (row, m) for row, m in _least(results)}
    for key in HIGHLIGHTS:
        if key in found:
            row, measured = found[key]
            reference, ours, ratio, _ = _cells(measured)
            lines.append(f"| {_format_work(row)} | {reference} | {ours} | {ratio} |")
    return "\n".join([*lines, "", _format_conditions(results), ""])


def format_all(results: dict[str, Any]) -> str:
    """Format every work and size."""
    lines = [
        "",
        _format_conditions(results),
        "",
        "| work | table | ipvsadm 1.31 | pyipvsadm | times as fast | lowest to highest pair |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row, measured in _least(results):
        cells = " | ".join(_cells(measured))
        lines.append(f"| {_format_work(row)} | {row.table} | {cells} |")
    return "\n".join([*lines, ""])


def _least(results: dict[str, Any]) -> list[tuple[Row, dict[str, Any]]]:
    return find_least_favourable(results["q"])


def _cells(measured: dict[str, Any]) -> tuple[str, str, str, str]:
    ratios = report.compute_ratios(measured)
    reference, ours = (median(measured["seconds"][name]) for name in ("reference", "ours"))
    return (
        f"{reference:.2f} s",
        f"{ours:.2f} s",
        f"{median(ratios):.2f}",
        f"{min(ratios):.2f} to {max(ratios):.2f}",
    )


def _format_work(row: Row) -> str:
    if row.kind == rows.CONNECTIONS:
        return f"`-L -n -c`, {row.things:,} connections"
    if row.kind == rows.LOOP:
        return f"{row.things} times `-A` in a loop"
    services, servers = row.shape
    rules = f" ({row.things:,} rules)" if row.kind == rows.RESTORE else ""
    return f"`{' '.join(row.argv)}`, {services:,} x {servers:,}{rules}"


def _format_conditions(results: dict[str, Any]) -> str:
    machine = report.format_machine(results["machine"])
    clock = " The guest's clock counted instructions." if results.get("counting") else ""
    return textwrap.fill(
        f"Whole processes, medians of {results['runs']} runs in turn, Linux {results['q']['kernel']} under "
        f"qemu's emulation on {machine}.{clock}",
        120,
        break_on_hyphens=False,
    )
