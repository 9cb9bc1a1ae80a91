"""Check ARCHITECTURE.md: its index of options is fresh, and the files that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

from pyipvsadm.grammar.options import COMMANDS, OPTIONS
from tools import option_index

REPO = Path(__file__).resolve().parents[3]
PAGE = (REPO / "ARCHITECTURE.md").read_text()


def test_the_index_of_options_is_fresh() -> None:
    assert option_index.renew(PAGE) == PAGE, "run python -m tools.option_index"


def test_every_option_has_files_that_exist() -> None:
    rows = option_index.list_rows()
    assert len(rows) == len(COMMANDS) + len(OPTIONS)
    missing = {
        file for _, files in rows for file in files if not (REPO / "pyipvsadm" / file).is_file()
    }
    assert missing == set()


def test_no_name_in_the_index_is_unknown() -> None:
    assert set(option_index._OPTIONS) <= {row.long for row in OPTIONS}
    assert set(option_index._COMMANDS) <= {row.long for row in COMMANDS}


def test_modules_that_the_text_names_exist() -> None:
    text = PAGE.partition(option_index.BEGIN)[0]
    named = set(re.findall(r"`((?:pyipvsadm/)?(?:[a-z_]+/)*[a-z_]+\.py)`", text))
    missing = {
        name
        for name in named
        if not any((REPO / root / name).is_file() for root in ("", "pyipvsadm"))
    }
    assert (missing, bool(named)) == (set(), True)


def test_every_module_is_named() -> None:
    text = PAGE.partition(option_index.BEGIN)[0]
    modules = {
        path.relative_to(REPO / "pyipvsadm")
        for path in (REPO / "pyipvsadm").rglob("*.py")
        if path.name != "__init__.py"
    }
    assert {str(path) for path in modules if f"`{path}`" not in text} == set()
