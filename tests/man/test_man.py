"""The manual pages as readers see them: mandoc finds no fault, 80 columns hold them in both of
Debian's readers, the examples work.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from typing import TYPE_CHECKING

import pytest

from tests.man.pages import FILES, FOLDER, PAGES, literals, section
from tests.needs import need

if TYPE_CHECKING:
    from pathlib import Path

READERS = {
    "mandoc": ["mandoc", "-T", "utf8", "-O", "width=78"],
    "man": ["man", "--warnings", "-P", "cat", "-l"],
}
NOT_FOUND = r"referenced manual not found: (Xr \S+ \d)"
PACKAGES = {"mandoc": "mandoc", "man": "man-db", "jq": "jq"}


def need_program(program: str) -> None:
    need("" if shutil.which(program) else f"no {program} here: apt-get install {PACKAGES[program]}")


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_finds_no_fault(name: str) -> None:
    need_program("mandoc")
    # A reference to a page that this machine does not have is no fault: ours need not be installed.
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "style", FILES[name]],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    ours = tuple(f"Xr {page.stem} {page.suffix[1:]}" for page in FILES.values())
    faults = [line for line in done.stdout.splitlines() if not re.search(NOT_FOUND, line)]
    assert faults == []
    unknown = re.findall(NOT_FOUND, done.stdout)
    assert [page for page in unknown if page in ours] == unknown


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("reader", READERS)
def test_shown_in_80_columns(reader: str, name: str) -> None:
    need_program(reader)
    environ = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "TERM": "dumb"}
    command = [*READERS[reader], str(FILES[name])]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environ, timeout=60, check=True
    )
    shown = re.sub(".\b", "", done.stdout)  # bold and underlined are overstruck
    assert done.stderr == ""
    assert max(map(len, shown.splitlines())) <= 80
    # Commands can be copied: a hyphen or a quote in them is shown as the character that is typed.
    blocks = literals(PAGES[name])
    assert blocks
    for line in "".join(blocks).splitlines():
        assert line in shown


# Run after the main page's examples: compare the file that draining has written, run the examples
# of jq, and list the table.
AFTER = """
cmp undo - <<< '{undo}'
{jq}
ipvsadm -L -n
"""
APPLIED = "0 added, 1 changed, 0 removed, 7 unchanged"
CHECKED = "3 added, 0 changed, 0 removed, 0 unchanged"
UNDO = "ipvsadm -e -t 10.0.0.1:80 -r 192.168.10.8:8080 --keep -w 2"
DRAINED = f"192.168.10.8:8080 of -t 10.0.0.1:80 drained in 0 s, weight 0; to bring it back: {UNDO}"
# What a page's examples write to standard error.
SAID = {
    "ipvsadm": [DRAINED, f"dry run: {APPLIED}", APPLIED],
    "ipvsadm-rules": [CHECKED, CHECKED],
}


@pytest.mark.parametrize("name", PAGES)
def test_examples_work(name: str, tmp_path: Path) -> None:
    """All of a page's examples work in a row, on a table in a file as the page says, in a shell
    that ends at the first command that fails.
    """
    need_program("jq")
    environ = {
        "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
        "IPVSADM_BACKEND": f"memory:{tmp_path / 'table'}",
        "LC_ALL": "C.UTF-8",
    }
    script = "".join(literals(section(PAGES[name], "EXAMPLES")))
    if name == "ipvsadm":
        script += AFTER.format(undo=UNDO, jq="".join(literals(section(PAGES[name], "JSON"))))
    command = ["bash", "-eu", "-o", "pipefail", "-c", script]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environ, cwd=tmp_path, timeout=120, check=False
    )
    told = re.compile("this (changes|saves) the embedded table")  # to root alone
    said = [line for line in done.stderr.splitlines() if not told.search(line)]
    assert (done.returncode, said) == (0, SAID.get(name, []))
    if name == "ipvsadm":
        assert "\ngood\n" in done.stdout
        assert "TCP  10.0.0.1:80 wrr\n" in done.stdout


def test_what_make_try_shows() -> None:
    environ = {"PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    command = ["sh", str(FOLDER.parent / "docs" / "try.sh")]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environ, timeout=120, check=False
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, APPLIED.replace("7", "2"))
    assert len(done.stdout.splitlines()) <= 24  # a screen
