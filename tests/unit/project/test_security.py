"""Check the promises of SECURITY.md, as far as the sources and files show them. Other promises are
tested beside their subjects.
"""

from __future__ import annotations

import ast
import os
import re
import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from pyipvsadm import cli
from tests.unit.fake_environment import FakeEnvironment

SOURCES = {path: path.read_text() for path in sorted(Path("pyipvsadm").rglob("*.py"))}
SECTION = Path("SECURITY.md").read_text().partition("\n## Environment\n")[2].partition("\n## ")[0]

# Names that start another program, or turn text into code.
STARTS = {
    "system",
    "popen",
    "posix_spawn",
    "posix_spawnp",
    "spawnv",
    "spawnve",
    "execv",
    "execve",
    "execvp",
    "fork",
    "forkpty",
}
RUNS = {"eval", "exec", "compile", "__import__"}


def test_one_program_is_started_by_its_whole_path_and_no_shell() -> None:
    found = []
    for path, text in SOURCES.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert names.isdisjoint(
                    {"subprocess", "pty", "pickle", "marshal", "shelve", "multiprocessing"}
                ), path
            if isinstance(node, ast.Call):
                if isinstance(node.func, ast.Attribute) and node.func.attr in STARTS:
                    words = [ast.unparse(word) for word in node.args[:1]]
                    found.append((path.name, node.func.attr, *words))
                assert not (isinstance(node.func, ast.Name) and node.func.id in RUNS), path
    # The process that waits for a confirmation is a copy of this one.
    assert sorted(found) == [("confirm.py", "fork"), ("missing_ipvs.py", "posix_spawn", "MODPROBE")]


# From the section: variables that we read, and variables that it says other programs read.
OURS, OTHERS = [
    set(re.findall(r"`([A-Z][A-Z_0-9]+)`", part))
    for part in SECTION.partition("What the environment can change")[2].partition(
        "`PATH` changes nothing"
    )[::2]
]


def test_the_variables_that_are_read_are_those_that_are_listed() -> None:
    """The source reads each variable by its literal name, so that a search finds them all."""
    read = set()
    for path, text in SOURCES.items():
        tree = ast.parse(text)
        constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "os"
            ):
                assert node.attr != "environ" or path.name == "environment.py", path
                assert node.attr not in ("getenv", "getenvb", "environb", "putenv"), path
            key = None
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and of_environment(node.func.value)
            ):
                assert node.func.attr == "get", path
                key = node.args[0]
            elif isinstance(node, ast.Subscript) and of_environment(node.value):
                key = node.slice
            elif isinstance(node, ast.Compare) and of_environment(node.comparators[0]):
                key = node.left
            if isinstance(key, ast.Name):
                key = constants[key.id]
            if key is not None:
                assert isinstance(key, ast.Constant), path
                read.add(key.value)
    assert read == OURS


def of_environment(node: ast.expr) -> bool:
    return ast.unparse(node).rpartition(".")[2] == "environ"


RECORDS = """
import os, sys
names = set()
get = os._Environ.__getitem__
def record(self, name):
    names.add(name)
    return get(self, name)
os._Environ.__getitem__ = record
from pyipvsadm import cli
for words in sys.stdin.read().splitlines():
    try:
        cli.main(words.split())
    except SystemExit:
        pass
sys.stderr.write(" ".join(sorted(map(os.fsdecode, names))))
"""
WORDS = (
    "-L", "-L -n --stats", "-L --pretty", "-L -n -c", "-S", "-S --full", "-A -f 9", "-e -f 1 -r 10.0.0.2 -w 3 --keep", "-q",
    "-d -f 1 -r 10.0.0.2 --drain=0", "--apply /dev/null --allow-empty --dry-run", "-L --json", "--help", "-A --help", "-v",
    "word", "--doctor --explain all", "--doctor --json", "--complete bash 3 ipvsadm -D -f",
    "--complete fish 2 ipvsadm --backend memory:~/",
)  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table"
    path.write_text("-A -f 1 -s rr\n-a -f 1 -r 10.0.0.2 -m\n")
    return path


def test_what_we_import_reads_no_more_of_the_environment(table: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RECORDS],
        input="".join(f"{words}\n" for words in WORDS),
        env={
            "IPVSADM_BACKEND": f"memory:{table}",
            "PYTHONPATH": os.getcwd(),
            "HOME": str(table.parent),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    read = set(done.stderr.splitlines()[-1].split())
    assert {"IPVSADM_BACKEND", "HOME", "COLUMNS"} <= read
    listed = sys.version_info[:2] == (3, 11) and not version("pyroute2").startswith("0.7.")
    others = OTHERS if listed else OTHERS | OF_OTHER_VERSIONS
    assert {name for name in read if not name.startswith("PYTHON")} <= OURS | others, read - OURS


# OTHERS lists what Python 3.11 and the newest packages read. Other versions read these as well.
OF_OTHER_VERSIONS = {
    "APPENGINE_RUNTIME", "LANGUAGE", "LC_MESSAGES", "PATH", "PSUTIL_DEBUG", "_PYTHON_SUBPROCESS_USE_POSIX_SPAWN",
    "_PYTHON_HOST_PLATFORM", "_PYTHON_PROJECT_BASE",
}  # fmt: skip
HOSTILE = ("", "1", "\x1b[31m\u202e%s{}$(id)`id`/../", "9" * 10_000, "\udcff\udcfe")
PLAIN = (
    "-L -n",
    "-S -n --full",
    "-L -n --json",
    "-q",
    "-E -f 1 -s wlc --dry-run",
    "--apply /dev/null --allow-empty",
)
FOR_PEOPLE = ("-L -n --pretty", "--help", "--complete fish 3 ipvsadm -D -f")


def run(words: str, environ: dict[str, str], *options: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, *options, "-m", "pyipvsadm", *words.split()],
        env=environ, input="", capture_output=True, text=True, errors="surrogateescape", timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("value", HOSTILE, ids=["empty", "one", "odd", "long", "bytes"])
def test_a_hostile_environment_changes_how_it_looks_at_most(value: str, table: Path) -> None:
    """All variables are set at once, except those that choose the table and the grammar. In a pipe,
    not even the look changes.
    """
    clean = {"IPVSADM_BACKEND": f"memory:{table}", "PYTHONPATH": os.getcwd()}
    others = {name for name in OTHERS if not name.startswith(("PYTHON", "LD_"))}
    assert "HOSTALIASES" in others
    names = (OURS | others | {"PATH", "MODPROBE_OPTIONS", "IFS", "SHELL", "FORCE_COLOR"}) - {
        "IPVSADM_BACKEND", "POSIXLY_CORRECT", "POSIX_ME_HARDER",
    }  # fmt: skip
    hostile = dict.fromkeys(names, value) | clean
    for words in PLAIN:
        assert run(words, hostile) == run(words, clean), words
    for words in FOR_PEOPLE:
        status, out, errors = run(words, hostile)
        assert (status, errors) == (0, ""), words
        assert out.replace("\n", "").replace("\t", "").isprintable(), words


@pytest.mark.parametrize("value", [value for value in HOSTILE if value])
def test_a_hostile_choice_of_the_table_is_a_sentence(value: str) -> None:
    status, out, errors = run("-L -n", {"IPVSADM_BACKEND": value, "PYTHONPATH": os.getcwd()})
    assert (status, out) == (2, "")
    assert errors == f"unknown backend `{value}': use kernel, memory or memory:FILE\n"


def test_isolated_the_interpreter_s_own_variables_change_nothing(
    table: Path, tmp_path: Path
) -> None:
    """The program is started as our launchers start it, and as SECURITY.md says to start it
    elsewhere.
    """
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("sitecustomize", "usercustomize", "struct", "fcntl", "pyipvsadm"):
        (evil / f"{name}.py").write_text("raise SystemExit(99)\n")
    clean = {"IPVSADM_BACKEND": f"memory:{table}"}
    hostile = clean | {
        "PYTHONPATH": str(evil), "PYTHONHOME": str(evil), "PYTHONSTARTUP": str(evil / "struct.py"), "PYTHONINSPECT": "1",
        "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2", "PYTHONIOENCODING": "ascii:strict", "PYTHONUSERBASE": str(evil),
        "PYTHONVERBOSE": "1", "PYTHONMALLOC": "debug",
    }  # fmt: skip
    # without isolation the variable takes effect
    assert run("-L -n", {**clean, "PYTHONPATH": str(evil)})[0] not in (0, 255)
    for words in PLAIN:
        assert run(words, hostile, "-I") == run(words, clean, "-I"), words
        assert run(words, hostile, "-I")[0] in (0, 255)


@pytest.mark.parametrize("program", ["save", "embedded"])
def test_files_of_rules_are_their_owners_alone_whatever_the_umask(
    program: str, tmp_path: Path
) -> None:
    path = tmp_path / "rules"
    before = os.umask(0)
    try:
        if program == "save":
            assert cli.run_save(["-f", str(path)], FakeEnvironment()) == 0
        else:
            assert (
                cli.main(["--backend", f"memory:{path}", "-A", "-f", "1"], FakeEnvironment()) == 0
            )
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
