"""What README's section on security promises, as far as the sources and files show it. The rest stands beside its subject."""

from __future__ import annotations

import ast
import os
import re
import stat
from pathlib import Path

import pytest

from pyipvsadm import cli, files
from tests.unit.worlds import FakeWorld

SOURCES = {path: path.read_text() for path in sorted(Path("pyipvsadm").rglob("*.py"))}
SECTION = Path("README.md").read_text().partition("\n## Security\n")[2].partition("\n## ")[0]

# What starts another program, and what makes code of text.
STARTS = {"system", "popen", "posix_spawn", "posix_spawnp", "spawnv", "spawnve", "execv", "execve", "execvp", "fork", "forkpty"}
RUNS = {"eval", "exec", "compile", "__import__"}


def test_one_program_is_started_by_its_whole_path_and_no_shell() -> None:
    found = []
    for path, text in SOURCES.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert names.isdisjoint({"subprocess", "pty", "pickle", "marshal", "shelve", "multiprocessing"}), path
            if isinstance(node, ast.Call):
                if isinstance(node.func, ast.Attribute) and node.func.attr in STARTS:
                    found.append((path.name, node.func.attr, ast.unparse(node.args[0])))
                assert not (isinstance(node.func, ast.Name) and node.func.id in RUNS), path
    assert found == [("kernel.py", "posix_spawn", "MODPROBE")]


def test_the_variables_that_are_read_are_those_that_are_listed() -> None:
    read = set()
    for text in SOURCES.values():
        read |= set(re.findall(r'environ\.get\("([A-Z_0-9]+)"', text)) | set(re.findall(r'"([A-Z_0-9]+)" in self\.environ', text))
    read.add(cli.VARIABLE)
    listed = set(re.findall(r"`([A-Z][A-Z_0-9]+)`", SECTION))
    assert read <= listed, read - listed


@pytest.mark.parametrize("program", ["save", "embedded"])
def test_files_of_rules_are_their_owners_alone_whatever_the_umask(program: str, tmp_path: Path) -> None:
    path = tmp_path / "rules"
    before = os.umask(0)
    try:
        if program == "save":
            assert cli.main_save(["-f", str(path)], FakeWorld()) == 0
        else:
            assert cli.main(["--backend", f"memory:{path}", "-A", "-f", "1"], FakeWorld()) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "rules"
    victim.write_text("precious")
    link.symlink_to(victim)
    files.replace(str(link), "rules\n")
    assert (victim.read_text(), link.read_text(), link.is_symlink()) == ("precious", "rules\n", False)
