"""Make a machine whose packages are RPMs: Debian's files and kernel, dnf and rpm, and a repository
of our own.

Owns: the tree, the repository, its stand-ins for Red Hat's packages. Must never know: what happens
on the machine (tests/deb/swap.sh, rest.sh), what it means.

No packages of Red Hat's can be had here, so two packages stand in for them. `lab-base` has no files
and provides what the packages require (python3, systemd, /bin/sh, /bin/bash, /usr/bin/python3),
whose files are Debian's. `ipvsadm` has Debian's program, and a unit and scriptlets that do the same
as Red Hat's, in our words.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.deb.machine import REMEDY, sources
from tests.deb.machine import missing as missing_for_deb
from tests.lab.trees import make_tree

if TYPE_CHECKING:
    from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    "systemd-sysv",
    "python3",
    "kmod",
    "iproute2",
    "procps",
    "dnf",
    "rpm",
    "libnl-3-200",
    "libnl-genl-3-200",
    "libpopt0",
)
PROGRAMS = ("rpmbuild", "rpmlint", "dnf", "createrepo_c")
RPM_REMEDY = f"{REMEDY} rpm rpmlint dnf createrepo-c"

BASE = """\
Name: lab-base
Version: 9
Release: 1
Summary: What the packages require
License: MIT
BuildArch: noarch
Provides: python3 = 3.11 systemd = 252 /bin/sh /bin/bash /usr/bin/sh /usr/bin/python3
%description
Its files are Debian's.
%files
"""

# The unit and the scriptlets do the same as those of ipvsadm 1.31-6.el9, whose macros are expanded
# as by systemd 252.
THEIRS = """\
Name: ipvsadm
Version: 1.31
Release: 6
Summary: The reference
License: GPL
AutoReqProv: no
%description
The program is Debian's.
%install
mkdir -p %{buildroot}/usr/sbin %{buildroot}/etc/sysconfig %{buildroot}/usr/lib/systemd/system
for name in ipvsadm ipvsadm-save ipvsadm-restore; do cp FILES/$name %{buildroot}/usr/sbin/$name; done
echo SAVE_ON_STOP=no >%{buildroot}/etc/sysconfig/ipvsadm-config
cat >%{buildroot}/usr/lib/systemd/system/ipvsadm.service <<'END'
[Unit]
Description=The reference's rules
After=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/bash -c "exec /sbin/ipvsadm-restore < /etc/sysconfig/ipvsadm"
ExecStop=/bin/bash -c "exec /sbin/ipvsadm-save -n > /etc/sysconfig/ipvsadm"
ExecStop=/sbin/ipvsadm -C
[Install]
WantedBy=multi-user.target
END
%post
if [ $1 -eq 1 ]; then systemctl --no-reload preset ipvsadm.service || :; fi
%preun
if [ $1 -eq 0 ]; then systemctl --no-reload disable --now ipvsadm.service || :; fi
%files
%attr(755, root, root) /usr/sbin/*
%config(noreplace) /etc/sysconfig/ipvsadm-config
/usr/lib/systemd/system/ipvsadm.service
"""


def find_missing() -> str:
    """Return why no RPM can be tested on this machine, with the remedy; "" if it can."""
    lacks = [program for program in PROGRAMS if not shutil.which(program)]
    own = f"the RPM's tests need {', '.join(lacks)}; as root: {RPM_REMEDY}" if lacks else ""
    return missing_for_deb() or own


def make_machine() -> Path:
    """Return a clean system with dnf and without IPVS."""
    return make_tree("dnf", SUITE, sources(SUITE), PACKAGES)


def build_rpm(spec: str, folder: Path, files: Path | None = None) -> Path:
    """Build a package from a spec, and return its file; the word FILES in the spec becomes the path
    of files.
    """
    folder.mkdir()
    (folder / "it.spec").write_text(spec.replace("FILES", str(files)))
    subprocess.run(
        ["rpmbuild", "-bb", "--quiet", "--nodeps", "--define", f"_topdir {folder}", "--define", "_build_id_links none",
         "--define", "debug_package %{nil}", "--define", "__os_install_post %{nil}", folder / "it.spec"],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (found,) = folder.glob("RPMS/*/*.rpm")
    return found


def build_newer(package: Path, folder: Path) -> Path:
    """Build our package once more, with a higher release number, and return its file."""
    spec = package.parents[1] / "packaging/rpm/pyipvsadm.spec"
    (folder / "SOURCES").mkdir(parents=True)
    source = package.parents[1] / "build/rpm/SOURCES"
    for path in source.iterdir():
        shutil.copy(path, folder / "SOURCES")
    text = spec.read_text().replace("Release: 1\n", "Release: 2\n")
    (folder / "it.spec").write_text(text)
    subprocess.run(
        ["rpmbuild", "-bb", "--quiet", "--nodeps", "--define", f"_topdir {folder}", folder / "it.spec"],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (found,) = folder.glob("RPMS/*/*.rpm")
    return found


def make_repository(packages: list[Path], folder: Path) -> None:
    """Put the packages into a repository for dnf."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        shutil.copy(package, folder)
    subprocess.run(["createrepo_c", "--quiet", folder], check=True, timeout=120)


def install(root: Path, repository: Path, names: list[str]) -> str:
    """Install packages into a tree that is not booted. Return what dnf prints."""
    command = [
        "dnf",
        "--quiet",
        "--assumeyes",
        f"--installroot={root}",
        "--releasever=9",
        "--nogpgcheck",
    ]
    command += [f"--repofrompath=lab,{repository}", "--repo=lab", "install", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
