"""Use another kernel in the lab: `python -m tests.lab.newer SUITE COMMAND...` runs COMMAND with the
kernel of another Debian suite.

Owns: where that kernel comes from, and what it needs to start on an older machine. Must never know:
what is run on it.

Debian's other suites (bullseye, stable, unstable) carry `user-mode-linux` packages of other
kernels. They are taken from the mirror that this machine itself is set up with, checked by Debian's
keys, and unpacked under .lab; nothing is installed. A newer kernel needs a newer C library than the
machine has. That library's loader cannot be started with the kernel as its argument: the kernel
takes the memory behind itself for its own, and the loader would lie in it. So a copy of the kernel
names that loader instead.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.lab.boot import LAB
from tests.lab.trees import KEYRING

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = ("user-mode-linux", "libc6")
TRIPLET = "x86_64-linux-gnu"
LOADER = "ld-linux-x86-64.so.2"
PT_INTERP = 3  # elf.h


def fetched(suite: str) -> Path:
    """Return the folder of a suite's kernel: `linux` to start it, `modules`. It is made once;
    remove it to get a newer kernel.
    """
    place = LAB / f"kernel-{suite}"
    if not place.exists():
        LAB.mkdir(exist_ok=True)
        new = LAB / f"kernel-{suite}.new"
        shutil.rmtree(new, ignore_errors=True)
        _unpack(suite, new)
        _startable(new, place)
        (modules,) = (new / "root/usr/lib/uml/modules").iterdir()
        (new / "modules").symlink_to(f"root/usr/lib/uml/modules/{modules.name}")
        new.rename(place)
    return place


def find_mirror() -> str:
    """Return the mirror from which this machine gets its Debian."""
    wanted = ["Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main"]
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted]
    found = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()
    if not found:
        sys.exit("this machine's apt sources have no Debian (or it has no lists: apt-get update)")
    return found[0]


def _unpack(suite: str, place: Path) -> None:
    """Fetch the suite's packages and unpack them below place/root, by an apt with lists
    of its own.
    """
    for folder in ("apt/lists/partial", "apt/cache/archives/partial", "root"):
        (place / folder).mkdir(parents=True)
    (place / "apt/sources.list").write_text(
        f"deb [signed-by={KEYRING}] {find_mirror()} {suite} main\n"
    )
    options = {
        "Dir::Etc::SourceList": place / "apt/sources.list",
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": place / "apt/lists",
        "Dir::State::Status": "/dev/null",
        "Dir::Cache": place / "apt/cache",
        "APT::Sandbox::User": "root",
        # The release files of suites that are made anew every day are valid for a week only.
        "Acquire::Check-Valid-Until": "false",
    }
    apt = [
        "apt-get",
        "--quiet=2",
        *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
    ]
    for words in (["update"], ["download", *PACKAGES]):
        subprocess.run([*apt, *words], check=True, cwd=place / "apt", timeout=600)
    for package in (place / "apt").glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", package, place / "root"], check=True, timeout=600)
    (library,) = (place / "apt").glob("libc6_*.deb")
    if not is_newer(library):
        shutil.rmtree(place / "root/lib", ignore_errors=True)
        shutil.rmtree(place / "root/usr/lib" / TRIPLET, ignore_errors=True)
    shutil.rmtree(place / "apt")


def is_newer(library: Path) -> bool:
    """Return True if a package of the C library is newer than this machine's."""
    query = ["dpkg-query", "--show", "--showformat=${Version}\n", "libc6"]
    own = subprocess.run(query, check=True, capture_output=True, text=True, timeout=60).stdout
    field = ["dpkg-deb", "--field", str(library), "Version"]
    its = subprocess.run(field, check=True, capture_output=True, text=True, timeout=60).stdout
    compare = ["dpkg", "--compare-versions", its.strip(), "gt", own.splitlines()[0]]
    return subprocess.run(compare, check=False, timeout=60).returncode == 0


def _startable(new: Path, place: Path) -> None:
    """Make new/linux, which starts the kernel once new has been renamed to place. It uses the
    fetched C library if that is newer than the machine's.
    """
    library = new / "root/usr/lib" / TRIPLET / LOADER
    if not library.exists():
        (new / "linux").symlink_to("root/usr/bin/linux.uml")
        return
    folder = place / library.parent.relative_to(new)
    kernel = new / "linux.uml"
    kernel.write_bytes(
        with_loader((new / "root/usr/bin/linux.uml").read_bytes(), str(folder / LOADER))
    )
    start = new / "linux"
    start.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{folder}" exec "{place / kernel.name}" "$@"\n')
    for program in (kernel, start):
        program.chmod(0o755)


def with_loader(program: bytes, loader: str) -> bytes:
    """Return a program (ELF, 64 bits) that asks for another loader, whose name is appended to its
    file.
    """
    name = os.fsencode(loader) + b"\0"
    changed = bytearray(program)
    (headers,) = struct.unpack_from("=Q", program, 32)  # e_phoff
    size, count = struct.unpack_from("=HH", program, 54)  # e_phentsize, e_phnum
    for at in range(headers, headers + size * count, size):
        if struct.unpack_from("=I", program, at) == (PT_INTERP,):
            struct.pack_into("=Q", changed, at + 8, len(program))  # p_offset
            struct.pack_into("=Q", changed, at + 32, len(name))  # p_filesz
    return bytes(changed) + name


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit("usage: python -m tests.lab.newer SUITE COMMAND...")
    suite, *command = sys.argv[1:]
    place = fetched(suite)
    kernel, modules = place / "linux", (place / "modules").resolve()
    print(f"lab: {suite}'s kernel, Linux {modules.name}", flush=True)
    os.environ.update(LAB_KERNEL=str(kernel), LAB_MODULES=str(modules))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
