"""Compare the table of CONTRIBUTING.md that says which target is run by whom with the Makefile and
.ci/run.
"""

from __future__ import annotations

import re
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
MAKEFILE = (REPO / "Makefile").read_text()
PREREQUISITES = {
    target: words.split()
    for target, words in re.findall(r"^([a-z][a-z-]*):([^=#\n]*)", MAKEFILE, re.MULTILINE)
}
# Before a target of tests; no tests.
SET_UP = {"env", *(target for target in PREREQUISITES if target.endswith("-packages"))}


def collect_targets(targets: list[str]) -> set[str]:
    """Return the targets, with all that they depend on, where that has a recipe of tests."""
    found: set[str] = set()
    for target in targets:
        needed = [word for word in PREREQUISITES[target] if word in PREREQUISITES]
        found |= {target} | collect_targets(needed)
    return found - SET_UP


def test_the_table_of_targets_is_that_of_the_makefile() -> None:
    text = (REPO / "CONTRIBUTING.md").read_text()
    table = text[text.index("| Target | Purpose |") :].partition("\n\n")[0]
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()[2:]]
    said = {name: row[-1] for row in rows for name in re.findall("`make ([a-z-]+)", row[0])}
    by_ci = collect_targets(
        re.findall(r"^make ([a-z-]+)", (REPO / ".ci/run").read_text(), re.MULTILINE)
    )
    by_all = collect_targets(["test-all"])
    assert by_ci <= by_all
    wrong = {
        name: caller
        for name, caller in said.items()
        if caller
        != ("`.ci/run`" if name in by_ci else "`make test-all`" if name in by_all else "by hand")
    }
    assert wrong == {}
    assert (by_all - {"test", "test-all"}) - said.keys() == set()
