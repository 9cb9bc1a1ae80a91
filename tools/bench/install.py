"""Install our ipvsadm as an administrator does: a wheel of this checkout, by pip, compiled, in an
environment of the machine's Python.

Owns: .lab/bench/venv, which the host and both guests use under the same path. The first line of its
launcher is pip's (`#!.../venv/bin/python`): nothing is changed in it for speed. Must never know:
what is measured.
"""

from __future__ import annotations

import compileall
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
HOME = REPO / ".lab" / "bench"
VENV = HOME / "venv"
PYTHON = "/usr/bin/python3"
OURS = str(VENV / "bin" / "ipvsadm")
REFERENCE = "/usr/sbin/ipvsadm"

# The files that a wheel is made of.
SOURCES = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "pyipvsadm",
    "ansible_collections",
    "man",
    "completions",
)


def installed() -> None:
    """Install the checkout as it is now, unless the installation that exists is of the
    same files.
    """
    wanted = _digest()
    stamp = HOME / "venv.stamp"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    stamp.unlink(missing_ok=True)
    for folder in (VENV, HOME / "source"):
        shutil.rmtree(folder, ignore_errors=True)
    # Build in a copy: a build leaves folders behind, and would use those of an earlier one.
    for name in SOURCES:
        place = HOME / "source" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (REPO / name).is_dir():
            shutil.copytree(REPO / name, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(REPO / name, place)
    _run(PYTHON, "-m", "venv", "--without-pip", VENV)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    _run(*pip, "--python", VENV / "bin" / "python", "install", "--no-deps", HOME / "source")
    _start_through_a_shell()
    # pip compiles; compile again where the environment forbids it to write compiled modules.
    compileall.compile_dir(VENV / "lib", quiet=2)
    stamp.write_text(wanted)


def _start_through_a_shell() -> None:
    """Let launchers start although the interpreter's path has blanks, which a `#!` line cannot
    hold. This costs them the start of a shell.
    """
    if " " not in str(VENV):
        return
    for path in (VENV / "bin").glob("ipvsadm*"):
        _, _, body = path.read_text().partition("\n")
        start = f"#!/bin/sh\n'''exec' \"{VENV}/bin/python\" \"$0\" \"$@\"\n' '''\n"
        path.write_text(start + body)


def _digest() -> str:
    found = hashlib.sha256(str(VENV).encode())
    for name in SOURCES:
        place = REPO / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(str(path).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, timeout=600, stdin=subprocess.DEVNULL)
