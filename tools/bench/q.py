"""Boot the Q guest: a stock Debian kernel in qemu's emulation, everything in memory, no disk, no
network.

Owns: where kernel, modules and programs come from, the archive they boot from, qemu's command line.
Must never know: what is measured. To run it by hand: `python -m tools.bench.q --shell-command CMD`.

Emulation slows kernel and programs down alike (10 to 20 times), so ratios are close to those of a
real machine. Those of user-mode Linux are not: each system call is expensive there. Nothing is
installed on the machine: the kernel's package is only unpacked, under .lab/q.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import boot
from tests.lab.verdict import Left, judge
from tools.bench.archive import Archive
from tools.bench.install import PYTHON, REFERENCE, REPO, VENV, installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HOME = REPO / ".lab" / "q"
QEMU = "qemu-system-x86_64"
BUSYBOX = Path("/bin/busybox")
APT = "apt-get install qemu-system-x86 busybox-static ipvsadm kmod python3 dpkg make gcc"
# Both are metapackages: they depend on the newest kernel's own image and headers.
KERNEL_PACKAGES = ("linux-image-amd64", "linux-headers-amd64")
COUNTERS = Path(__file__).with_name("counters")

# Modules that the IPVS modules do not load by themselves.
MODULES = (
    "crc32c_generic",
    "crc32c_intel",
    "dummy",
    "veth",
    "fou",
    "ip_tunnel",
    "ip6_tunnel",
    "sit",
    "ipip",
)
MODULE_FOLDERS = ("kernel/net/netfilter/ipvs",)

# Parts of the standard library that the bench does not import. They are much of its size.
NO_LIBRARY = frozenset(
    (
        "test",
        "idlelib",
        "tkinter",
        "turtledemo",
        "lib2to3",
        "ensurepip",
        "distutils",
        "pydoc_data",
        "unittest",
        "site-packages",
    ),
)
NO_EXTENSIONS = (
    "_ssl",
    "_sqlite3",
    "_hashlib",
    "_dbm",
    "_gdbm",
    "_tkinter",
    "_curses",
    "readline",
    "_test",
    "_ctypes_test",
)


def missing() -> str:
    """Return why this machine can boot no guest, with the remedy; "" if it can."""
    programs = {
        QEMU: "qemu-system-x86",
        "ipvsadm": "ipvsadm",
        "depmod": "kmod",
        "dpkg-deb": "dpkg",
        "apt-get": "apt",
        "make": "make",
        "cc": "gcc",
    }
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    lacks = [
        package for program, package in programs.items() if not shutil.which(program, path=path)
    ]
    lacks += [] if BUSYBOX.exists() else ["busybox-static"]
    return f"the Q guest needs {', '.join(lacks)}; as root: {APT}" if lacks else ""


def kernel() -> tuple[Path, Path]:
    """Return the kernel and the folder of its modules: of a package installed here, otherwise of a
    package unpacked under .lab/q.
    """
    for root in (Path("/"), HOME / "root"):
        for image in sorted(
            (root / "boot").glob("vmlinuz-*-amd64"),
            key=lambda path: path.stat().st_mtime,
            reverse=True,
        ):
            modules = root / "lib" / "modules" / image.name.removeprefix("vmlinuz-")
            if (modules / MODULE_FOLDERS[0]).is_dir():
                return image, modules
    _unpack()
    return kernel()


def _unpack() -> None:
    """Fetch and unpack the kernel with its headers, and the packages that its modules are built
    with (common headers, kbuild).
    """
    HOME.mkdir(parents=True, exist_ok=True)
    packages = [name for package in KERNEL_PACKAGES for name in _dependencies(package)]
    packages += [
        name
        for package in packages
        if package.startswith("linux-headers-")
        for name in _dependencies(package)
    ]
    wanted = ("linux-image-", "linux-headers-", "linux-kbuild-")
    packages = [name for name in dict.fromkeys(packages) if name.startswith(wanted)]
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        subprocess.run(
            ["apt-get", "download", "-qq", *packages], check=True, cwd=folder, timeout=600
        )
        for deb in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", deb, HOME / "root"], check=True, timeout=600)


def _dependencies(package: str) -> list[str]:
    lines = subprocess.run(
        ["apt-cache", "depends", package], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return [line.split()[1] for line in lines if "Depends:" in line]


def build_counters(release: str) -> Path:
    """Return the module that sets counters, built for the kernel of that release.

    Kernels are built in folders without blanks only: the headers are copied to one.
    """
    place = HOME / f"ipvs_counters-{release}.ko"
    sources = [path for path in COUNTERS.iterdir() if path.is_file()]
    if place.exists() and place.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return place
    root = HOME / "root"
    if not (root / "usr" / "src" / f"linux-headers-{release}").is_dir():
        _unpack()
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as folder:
        home = Path(folder)
        shutil.copytree(root / "usr", home / "usr", symlinks=True)
        shutil.copytree(COUNTERS, home / "counters")
        headers = home / "usr" / "src" / f"linux-headers-{release}"
        common = next(headers.parent.glob("linux-headers-*-common"))
        command = ["make", "-s", "-f", str(common / "Makefile"), "-C", str(headers)]
        subprocess.run(
            [*command, f"M={home / 'counters'}", "CC=cc", "modules"],
            check=True,
            timeout=600,
            env=_path(),
        )
        shutil.copy2(home / "counters" / "ipvs_counters.ko", place)
    return place


def _module_files(modules: Path) -> Iterator[Path]:
    """Yield the files of the wanted modules and, by their names in modules.dep, of those that they
    need.
    """
    release = modules.name
    if not (modules / "modules.dep").exists():
        subprocess.run(
            ["depmod", "-b", modules.parents[2], release], check=True, timeout=300, env=_path()
        )
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        name, _, rest = line.partition(":")
        needs[name] = rest.split()
    for name, needed in needs.items():
        if name.startswith(MODULE_FOLDERS) or Path(name).stem.replace("-", "_") in MODULES:
            yield from (modules / each for each in (name, *needed))


def _path() -> dict[str, str]:
    return os.environ | {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}


def _put_modules(archive: Archive, modules: Path) -> None:
    with tempfile.TemporaryDirectory(dir=HOME) as root:
        stage = Path(root) / "lib" / "modules" / modules.name
        for path in set(_module_files(modules)):
            place = stage / path.relative_to(modules)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)
        for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            shutil.copy2(modules / name, stage)
        subprocess.run(["depmod", "-b", root, modules.name], check=True, timeout=300, env=_path())
        for path in sorted(stage.rglob("*")):
            if path.is_file():
                archive.file(path, f"/usr/lib/modules/{modules.name}/{path.relative_to(stage)}")


def _libraries(programs: Iterable[Path]) -> set[Path]:
    """Return the shared libraries of programs, as their loader finds them."""
    done = subprocess.run(["ldd", *programs], check=False, capture_output=True, text=True)
    words = (word for line in done.stdout.splitlines() if line[:1] == "\t" for word in line.split())
    return {Path(word) for word in words if word[:1] == "/"}


def _put_programs(archive: Archive) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):  # as on a merged Debian
        archive.link(f"/{name}", f"usr/{name}")
    library = Path(sysconfig.get_path("stdlib", "posix_prefix", {"installed_base": "/usr"}))
    _compiled(library)
    extensions = [
        path
        for path in (library / "lib-dynload").iterdir()
        if not path.name.startswith(NO_EXTENSIONS)
    ]
    archive.tree(
        library, NO_LIBRARY | {path.name for path in library.glob("config-*")} | {"lib-dynload"}
    )
    python = Path(PYTHON).resolve()
    programs = [python, Path(REFERENCE), Path("/usr/bin/kmod").resolve(), *extensions]
    for path in programs:
        archive.file(path)
    for path in _libraries(programs):
        # Under the name that programs ask for, even if that is a link.
        archive.data("/usr" + str(path).removeprefix("/usr"), path.resolve().read_bytes(), 0o755)
    if Path(PYTHON) != python:
        archive.link(PYTHON, str(python))
    for name in ("modprobe", "insmod", "rmmod"):
        archive.link(f"/usr/sbin/{name}", "/usr/bin/kmod")
    archive.file(BUSYBOX.resolve(), "/usr/bin/busybox")
    archive.tree(VENV)


def _compiled(library: Path) -> None:
    """Raise FileNotFoundError if the standard library is not compiled: the guest would compile it
    in each run. Debian compiles it when it installs it.
    """
    if not (library / "__pycache__").is_dir():
        raise FileNotFoundError(f"{library} is not compiled: python3 -m compileall {library}")


def _put_checkout(archive: Archive) -> None:
    """Add the bench and the tests' network namespaces, compiled."""
    for folder in ("tools/bench", "tests/kernel", "tests/lab/etc"):
        archive.tree(REPO / folder)
    archive.file(REPO / "tests" / "__init__.py")
    archive.file(REPO / "tools" / "__init__.py")
    archive.file(REPO / "tests" / "lab" / "__init__.py")
    for name in ("hosts", "services", "nsswitch.conf"):
        archive.file(REPO / "tests" / "lab" / "etc" / name, f"/etc/{name}")
    archive.data("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")


def image(place: Path, modules: Path, token: str, command: list[str]) -> None:
    """Write the archive the guest boots from."""
    with place.open("wb") as out:
        archive = Archive(out)
        archive.device("/dev/console", 5, 1)
        for name in ("/proc", "/sys", "/run", "/tmp", "/var", "/root", "/etc"):
            archive.folder(name)
        _put_programs(archive)
        _put_checkout(archive)
        _put_modules(archive, modules)
        archive.data("/init", Path(__file__).with_name("q_init.sh").read_bytes(), 0o755)
        schedulers = sorted(path.stem for path in (modules / MODULE_FOLDERS[0]).glob("ip_vs_*.ko"))
        archive.file(build_counters(modules.name), "/bench/ipvs_counters.ko")
        archive.data("/bench/modules", " ".join(schedulers).encode())
        words = " ".join(shlex.quote(word) for word in command)
        archive.data(
            "/bench/task", f"REPO={shlex.quote(str(REPO))} TOKEN={token}\nset -- {words}\n".encode()
        )
        archive.end()


def run(
    command: list[str],
    show: Callable[[bytes], object] = lambda _piece: None,
    memory: str = "4G",
    timeout: float = 600,
    counting: bool = False,
) -> Left:
    """Boot a guest that runs command in the checkout's folder. Return what it left behind; the
    report has its results.

    counting: the guest's clock counts instructions instead of following the host's. This gives the
    same times on a busy machine, but not what an instruction costs.
    """
    HOME.mkdir(parents=True, exist_ok=True)
    installed()
    linux, modules = kernel()
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(dir=HOME) as folder:
        home = Path(folder)
        image(home / "initramfs", modules, token, command)
        channel = home / "report"
        words = [
            QEMU, "-accel", "tcg", "-m", memory, "-smp", "1", "-nodefaults", "-no-user-config", "-no-reboot",
            "-display", "none", "-monitor", "none", "-serial", "stdio", "-serial", f"file:{channel}",
            "-kernel", str(linux), "-initrd", str(home / "initramfs"),
            "-append", "console=ttyS0 quiet loglevel=3 panic=-1 PYTHONDONTWRITEBYTECODE=1",
            *(("-icount", "shift=3,sleep=off") if counting else ()),
        ]  # fmt: skip
        log, timed_out = boot.watched(words, home, timeout, show, lambda: False)
        report = channel.read_text() if channel.exists() else ""
    return Left(token, report or None, log, timed_out, tests_expected=False)


def show(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench.q", description="Run a command in the Q guest."
    )
    parser.add_argument("--memory", default="4G", help="of the guest (default %(default)s)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds until it is killed")
    parser.add_argument(
        "--counting", action="store_true", help="let the guest's clock count instructions"
    )
    parser.add_argument("--shell-command", required=True, metavar="CMD", help="what to run")
    given = parser.parse_args()
    if lack := missing():
        print(lack, file=sys.stderr)
        return 69  # EX_UNAVAILABLE
    verdict = judge(
        run(
            ["/bin/sh", "-c", given.shell_command],
            show,
            given.memory,
            given.timeout,
            given.counting,
        )
    )
    print(f"q: {verdict}", file=sys.stderr)
    return verdict.exit_status()


if __name__ == "__main__":
    sys.exit(main())
