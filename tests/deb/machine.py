"""Make a Debian to install the package on: a tree made from this machine's own apt sources, booted
with systemd and IPVS.

Owns: the trees (made once, below .lab), the copies that are booted, where results lie. Must never
know: what they mean.

The kernel is the lab's user-mode Linux, and it sees no files of the host but the copy. The trees
are of the release that this machine has and of others, whose packages come from the same mirrors.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.boot import LAB, kernel, modules, surroundings, watched
from tests.lab.trees import KEYRING, make_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITES = ("bookworm", "trixie")
PACKAGES = ("systemd-sysv", "ipvsadm", "python3", "kmod", "iproute2", "procps")
# Packages for scenario.sh, which runs on the first suite only.
MORE = ("ldirectord", "man-db", "bash-completion", "zsh", "fish")
# Packages that the steps install. They have to be in the tree: the machine has no network.
LATER = ("python3-click", "python3-pyroute2", "python3-rich")
UNIT = """\
[Unit]
After=multi-user.target
[Service]
Type=simple
StandardOutput=file:/lab/log
StandardError=inherit
ExecStart=/bin/sh /lab/script.sh
ExecStopPost=/bin/sh -c 'echo o >/proc/sysrq-trigger'
"""
REMEDY = "apt-get install mmdebstrap debhelper lintian user-mode-linux"
PROGRAMS = ("mmdebstrap", "dh", "lintian", "dpkg-buildpackage")


def missing() -> str:
    """Return why no package can be tested on this machine, with the remedy; "" if it can."""
    lacks = [program for program in PROGRAMS if not shutil.which(program)]
    if os.geteuid() != 0:
        lacks.append("root")
    if not kernel().exists() or not (modules() / "modules.dep").exists():
        lacks.append("user-mode-linux (kernel and modules)")
    return f"the package's tests need {', '.join(lacks)}; as root: {REMEDY}" if lacks else ""


def sources(suite: str) -> str:
    """Return lines of sources.list for a suite, from the mirrors that this machine itself gets its
    Debian from.
    """
    own = platform.freedesktop_os_release()["VERSION_CODENAME"]
    form = f"deb [signed-by={KEYRING}] $(REPO_URI) $(RELEASE) $(COMPONENT)"
    command = [
        "apt-get",
        "indextargets",
        "--format",
        form,
        "Created-By: Packages",
        "Origin: Debian",
    ]
    lines = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60
    ).stdout.splitlines()
    found = [
        line.replace(f" {own}", f" {suite}") for line in lines if line.split()[3].startswith(own)
    ]
    assert found, (
        f"this machine's apt sources have no Debian {own} (or it has no lists: apt-get update)"
    )
    return "\n".join(found) + "\n"


def tree(suite: str) -> Path:
    """Return a clean system with the reference."""
    given = sources(suite)
    packages, later = ((*PACKAGES, *MORE), LATER) if suite == SUITES[0] else (PACKAGES, ())
    hooks = [
        f'--customize-hook=chroot "$1" {command}'
        for command in (
            "apt-get clean",
            f"apt-get install --yes --download-only {' '.join(later)}",
            "apt-get install --yes --download-only --reinstall ipvsadm",
        )
    ]
    skipped = "--skip=cleanup/apt,cleanup/reproducible"
    return make_tree("debian", suite, given, packages, (skipped, *hooks))


def reference(suite_tree: Path) -> Path:
    """Return the reference's package of that tree."""
    (found,) = (suite_tree / "var/cache/apt/archives").glob("ipvsadm_*.deb")
    return found


def newer(package: Path, folder: Path) -> Path:
    """Return the package once more in folder, under a higher version."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    subprocess.run(
        ["dpkg-deb", "--raw-extract", package, folder / "content"], check=True, timeout=60
    )
    control = folder / "content/DEBIAN/control"
    control.write_text(re.sub("^(Version: .*)$", r"\1.9", control.read_text(), flags=re.MULTILINE))
    subprocess.run(
        ["dpkg-deb", "--build", folder / "content", folder],
        check=True,
        capture_output=True,
        timeout=60,
    )
    (found,) = folder.glob("*.deb")
    return found


@contextmanager
def copied(name: str, suite_tree: Path, script: str, lab: dict[str, Path | str]) -> Iterator[Path]:
    """Yield the root of a copy of the tree. Its /lab has the script, as script.sh, and the entries
    of `lab`: files to copy, or texts.
    """
    root = LAB / f"machine-{name}-{os.getpid()}"
    shutil.rmtree(root, ignore_errors=True)
    try:
        subprocess.run(["cp", "-a", "--reflink=auto", suite_tree, root], check=True, timeout=300)
        (root / "lab/results").mkdir(parents=True)
        for file, content in {"script.sh": Path(__file__).with_name(script), **lab}.items():
            if isinstance(content, str):
                (root / "lab" / file).write_text(content)
            else:
                shutil.copy(content, root / "lab" / file)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def boot(name: str, root: Path, times: int = 1) -> str:
    """Boot the copy so many times, one boot after the other: the script runs in each. Return the
    whole log, which .lab keeps.
    """
    shutil.copytree(modules(), root / "lib/modules" / modules().name)
    (root / "etc/fstab").write_text("")
    (root / "etc/systemd/system/lab.service").write_text(UNIT)
    (root / "etc/systemd/system/multi-user.target.wants/lab.service").symlink_to("../lab.service")
    command = [
        *(
            str(kernel()),
            "rootfstype=hostfs",
            f"rootflags={root}",
            "rw",
            "mem=1G",
            "con=null",
            "con0=fd:0,fd:1",
        ),
        *("quiet", "loglevel=3", "panic=-1", "selinux=0", "init=/lib/systemd/systemd"),
    ]
    log = ""
    for _ in range(times):
        console, timed_out = watched(
            command, root / "lab", 900, lambda _piece: None, lambda: False, surroundings()
        )
        log += (
            console
            + (root / "lab/log").read_text(errors="replace")
            + ("\nkilled after its time-out\n" if timed_out else "")
        )
    (LAB / f"machine-{name}.log").write_text(log)
    return log


def results(root: Path) -> dict[str, tuple[int, str]]:
    """Return each step's status and output."""
    found = {}
    for path in (root / "lab/results").glob("*.status"):
        found[path.stem] = (
            int(path.read_text()),
            path.with_suffix(".out").read_text(errors="replace"),
        )
    return found


def run_unbooted(root: Path, environment: dict[str, str]) -> str:
    """Run the script in the copy without booting it, in namespaces of its own. Return what it
    printed.
    """
    command = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        f"--mount-proc={root}/proc",
        "chroot",
        str(root),
    ]
    command += [
        "/usr/bin/env",
        "-i",
        *(f"{name}={value}" for name, value in environment.items()),
        "/bin/sh",
        "/lab/script.sh",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    return done.stdout + done.stderr


def texts(root: Path) -> dict[str, str]:
    """Return what each file of the results holds."""
    return {
        path.stem: path.read_text(errors="replace") for path in (root / "lab/results").glob("*.out")
    }
