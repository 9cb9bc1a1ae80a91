"""Run the tests that need no kernel under each supported Python: `python -m tests.pythons
[SUITE...]`.

Owns: which Debian has which Python, the trees they are taken from, the packages beside them. Must
never know: what the tests test.

A tree is made once, below .lab, from the mirror that this machine itself is set up with. It has an
environment with pytest, hypothesis, jsonschema and ansible-core from the package index that this
machine's pip uses. The oldest supported click, pyroute2 and rich are tested with the oldest Python;
the other trees have their distribution's own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab.boot import LAB, REPO, describe_sources
from tests.lab.newer import find_mirror
from tests.lab.trees import KEYRING, make_tree

SUITES = {"bullseye": "3.9", "bookworm": "3.11", "trixie": "3.13", "forky": "3.14"}
OLDEST = "bullseye"
PACKAGES = ("python3", "python3-venv", "make", "git", "e2fsprogs", "jq")
OWN = ("python3-click", "python3-pyroute2", "python3-rich")
TESTS = ("tests/unit", "tests/contract", "tests/cases")
# Files of this machine that pip needs in a tree to reach the package index as it is reached here.
FOR_PIP = ("/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
LIMIT = 3600


def find_missing() -> str:
    """Return why no tree can be made on this machine, with the remedy; "" if one can."""
    lacks = [] if shutil.which("mmdebstrap") else ["mmdebstrap"]
    lacks += [] if os.geteuid() == 0 else ["root"]
    remedy = "as root: apt-get install mmdebstrap"
    return f"test-pythons needs {', '.join(lacks)}; {remedy}" if lacks else ""


def list_requirements(suite: str) -> list[str]:
    """Return what pip installs into the suite's tree: the test packages of pyproject.toml and, for
    the oldest Python, our dependencies in exactly the lowest versions.
    """
    text = (REPO / "pyproject.toml").read_text()
    (extra,) = re.findall(r"^pythons = \[([^]]*)\]", text, re.MULTILINE)
    words = re.findall('"([^"]+)"', extra)
    if suite == OLDEST:
        (dependencies,) = re.findall(r"^dependencies = \[([^]]*)\]", text, re.MULTILINE)
        words += [word.replace(">=", "==") for word in re.findall('"([^"]+)"', dependencies)]
    return words


def make_python_tree(suite: str) -> Path:
    """Return the suite's tree, with its environment in /venv."""
    packages = PACKAGES if suite == OLDEST else (*PACKAGES, *OWN)
    mirror = os.environ.get("PYTHONS_MIRROR") or find_mirror()
    requirements = list_requirements(suite)

    def install(tree: Path) -> None:
        own = [] if suite == OLDEST else ["--system-site-packages"]
        for words in (
            ["/usr/bin/python3", "-m", "venv", *own, "/venv"],
            ["/venv/bin/python", "-m", "pip", "install", "--quiet", "--upgrade", "pip"],
            ["/venv/bin/python", "-m", "pip", "install", "--quiet", *requirements],
        ):
            done = run_inside(tree, words)
            if done.returncode:
                sys.exit(f"no environment in the tree of {suite}:\n{done.stdout[-2000:]}")

    try:
        return make_tree(
            "python",
            suite,
            f"deb [signed-by={KEYRING}] {mirror} {suite} main\n",
            packages,
            # The release files of suites that are made anew every day are valid for a week only.
            ('--aptopt=Acquire::Check-Valid-Until "false"',),
            install,
            requirements,
        )
    except RuntimeError as exc:
        sys.exit(
            f"no tree of {suite} (where the mirror has dropped it, PYTHONS_MIRROR=URL names one"
            f" that has it): {exc}"
        )


def run_inside(tree: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run words in the tree, whose root is a mount of its own, with this machine's network. Return
    their status and all that they print.
    """
    for name in FOR_PIP:
        if Path(name).exists():
            (tree / name[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, tree / name[1:])
    script = (
        'mount --bind "$0" "$0" && mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" &&'
        ' mount -t sysfs sysfs "$0/sys" && mount -t tmpfs tmpfs "$0/tmp" && exec chroot "$0" "$@"'
    )
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "CI"))},
    }
    return subprocess.run(
        [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", script),
            *(str(tree), "/usr/bin/env", "-i"),
            *(f"{name}={value}" for name, value in environment.items()),
            *words,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        timeout=LIMIT,
    )


def copy_sources(tree: Path) -> None:
    """Copy the files that git has, or would add, to the tree's /src."""
    shutil.rmtree(tree / "src", ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=REPO, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in listed:
        if name and (REPO / name).exists():
            target = tree / "src" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, target, follow_symlinks=False)
    for words in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *words], cwd=tree / "src", check=True)


def run_suite(suite: str) -> tuple[bool, str]:
    """Run the tests under the suite's Python. Return True if they pass, and a row that says so."""
    tree = make_python_tree(suite)
    copy_sources(tree)
    commit = describe_sources()
    began = time.monotonic()
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--editable", "/src"]
    done = run_inside(tree, ["/venv/bin/python", *install])
    if not done.returncode:
        script = 'cd /src && exec /venv/bin/python -m pytest -q --tb=short "$@"'
        done = run_inside(tree, ["/bin/sh", "-c", script, "sh", *TESTS])
    log = LAB / f"python-{suite}.log"
    log.write_text(done.stdout)
    versions = run_inside(tree, ["/venv/bin/python", "-c", VERSIONS]).stdout.strip()
    verdict = done.stdout.rstrip().rpartition("\n")[2]
    minutes = (time.monotonic() - began) / 60
    good = done.returncode == 0 and versions.startswith(f"Python {SUITES[suite]}.")
    where = f"{commit}, {minutes:.1f} min, {log.relative_to(REPO)}"
    return good, f"{suite:9} {versions}: {verdict} ({where})"


VERSIONS = """
import sys
from importlib.metadata import version
print("Python", sys.version.split()[0], *(f"{n} {version(n)}" for n in ("click", "pyroute2", "rich")))
"""


def main() -> None:
    if missing := find_missing():
        sys.exit(missing)
    suites = sys.argv[1:] or list(SUITES)
    if unknown := [suite for suite in suites if suite not in SUITES]:
        sys.exit(f"no Python of {', '.join(unknown)} is tested, but of {', '.join(SUITES)}")
    results = []
    with ThreadPoolExecutor(2) as pool:
        for good, row in pool.map(run_suite, suites):
            print("passed" if good else "FAILED", row, flush=True)
            results.append(good)
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
