"""A Debian to install the package on: a tree made from this machine's own apt sources, booted with systemd and IPVS.

Owns: the tree (made once, below .lab), the copy of it that is booted, where the results lie. Must never know: what they mean.

The kernel is the lab's user-mode Linux, and the copy is all of the host's files that it sees.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.lab.boot import LAB, kernel, modules, surroundings, watched

SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PACKAGES = (
    *("systemd-sysv", "ipvsadm", "ldirectord", "python3", "man-db", "bash-completion", "kmod", "iproute2", "procps"),
    *("zsh", "fish"),
)
# What the steps install has to be there: the machine has no network.
LATER = ("python3-click", "python3-pyroute2", "python3-rich")
SCENARIO = Path(__file__).with_name("scenario.sh")
UNIT = """\
[Unit]
After=multi-user.target
[Service]
Type=simple
StandardOutput=file:/lab/log
StandardError=inherit
ExecStart=/bin/sh /lab/scenario.sh
ExecStopPost=/bin/sh -c 'echo o >/proc/sysrq-trigger'
"""
REMEDY = "apt-get install mmdebstrap debhelper lintian user-mode-linux"
PROGRAMS = ("mmdebstrap", "dh", "lintian", "dpkg-buildpackage")


def missing() -> str:
    """Why no package can be tested on this machine, with the remedy; "" when it can."""
    lacks = [program for program in PROGRAMS if not shutil.which(program)]
    if os.geteuid() != 0:
        lacks.append("root")
    if not kernel().exists() or not (modules() / "modules.dep").exists():
        lacks.append("user-mode-linux (kernel and modules)")
    return f"the package's tests need {', '.join(lacks)}; as root: {REMEDY}" if lacks else ""


def sources() -> str:
    """Lines of sources.list for the suite: wherever this machine itself gets its Debian from."""
    form = f"deb [signed-by={KEYRING}] $(REPO_URI) $(RELEASE) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages", "Origin: Debian"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    found = [line for line in lines if line.split()[3].startswith(SUITE)]
    assert found, f"this machine's apt sources have no Debian {SUITE} (or it has no lists: apt-get update)"
    return "\n".join(found) + "\n"


def tree() -> Path:
    """A clean system with the reference and ldirectord. Made once for each list of packages and sources."""
    given = sources()
    key = hashlib.sha256(repr((given, PACKAGES, LATER)).encode()).hexdigest()[:12]
    place = LAB / f"debian-{key}"
    if place.exists():
        return place
    LAB.mkdir(exist_ok=True)
    for old in LAB.glob("debian-*"):
        shutil.rmtree(old)
    new = LAB / f"debian-{key}.new"
    hooks = [
        f'--customize-hook=chroot "$1" {command}'
        for command in (
            "apt-get clean",
            f"apt-get install --yes --download-only {' '.join(LATER)}",
            "apt-get install --yes --download-only --reinstall ipvsadm",
        )
    ]
    command = [
        *("mmdebstrap", "--quiet", "--variant=minbase", "--skip=cleanup/apt,cleanup/reproducible"),
        *(f"--include={','.join(PACKAGES)}", *hooks, SUITE, str(new), "-"),
    ]
    done = subprocess.run(command, input=given, text=True, capture_output=True, check=False, timeout=900)
    assert done.returncode == 0, f"mmdebstrap failed:\n{done.stderr[-4000:]}"
    new.rename(place)
    return place


def live(package: Path) -> tuple[dict[str, tuple[int, str]], str]:
    """Boot a copy of the tree and go through the steps: each one's status and output, and the whole log."""
    root = LAB / f"machine-{os.getpid()}"
    shutil.rmtree(root, ignore_errors=True)
    try:
        subprocess.run(["cp", "-a", "--reflink=auto", tree(), root], check=True, timeout=300)
        shutil.copytree(modules(), root / "lib/modules" / modules().name)
        (root / "lab").mkdir()
        shutil.copy(package, root / "lab/pyipvsadm.deb")
        shutil.copy(SCENARIO, root / "lab/scenario.sh")
        (root / "etc/fstab").write_text("")
        (root / "etc/systemd/system/lab.service").write_text(UNIT)
        wants = root / "etc/systemd/system/multi-user.target.wants"
        (wants / "lab.service").symlink_to("../lab.service")
        (wants / "ldirectord.service").unlink()  # the steps start it
        command = [
            *(str(kernel()), "rootfstype=hostfs", f"rootflags={root}", "rw", "mem=1G", "con=null", "con0=fd:0,fd:1"),
            *("quiet", "loglevel=3", "panic=-1", "selinux=0", "init=/lib/systemd/systemd"),
        ]
        console, timed_out = watched(command, root / "lab", 900, lambda _piece: None, lambda: False, surroundings())
        log = console + (root / "lab/log").read_text(errors="replace") + ("\nkilled after its time-out\n" if timed_out else "")
        results = {}
        for path in (root / "lab/results").glob("*.status"):
            results[path.stem] = int(path.read_text()), path.with_suffix(".out").read_text(errors="replace")
        (LAB / "machine.log").write_text(log + "".join(f"== {name}: {each}\n" for name, each in results.items()))
        return results, log
    finally:
        shutil.rmtree(root, ignore_errors=True)
