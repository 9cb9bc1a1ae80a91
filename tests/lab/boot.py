"""Boot one guest and return what it left behind.

Owns: the kernel's command line, the guest's folder under REPO/.lab, the host's timeout. Must never
know: what runs inside, what it means (verdict.py).

A guest is a process group of its own: user-mode Linux signals its whole group when it dies, and the
timeout kills it.
"""

from __future__ import annotations

import compileall
import contextlib
import ctypes
import json
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.verdict import Left

if TYPE_CHECKING:
    from collections.abc import Callable

REPO = Path(__file__).resolve().parents[2]
LAB = REPO / ".lab"
PACKAGES = "ipvsadm kmod iproute2 iputils-arping iptables keepalived ldirectord net-tools procps systemd curl jq gcc libc6-dev"
CLUSTER_PACKAGES = "heartbeat cluster-glue pacemaker pacemaker-cli-utils corosync resource-agents"
APT = f"apt-get install user-mode-linux {PACKAGES} {CLUSTER_PACKAGES}"

AT_MINSIGSTKSZ = 51  # uapi auxvec.h: bytes of a signal's frame, which holds all registers
AVX512_FRAME = 4096  # bytes; any frame whose registers user-mode Linux 6.1 has room for is smaller

# Variables of our environment that the guest's tests get.
PASSED_ON = (
    "LAB_TOOL",
    "LAB_REFERENCE",
    "IPVSADM_STEPS",
    "IPVSADM_SEED",
    "IPVSADM_EXAMPLES",
    "IPVSADM_LOAD",
    "IPVSADM_CLUSTERS",
    "IPVSADM_SCHEDULING",
)
# Variables that all of its processes get: coverage.py starts by itself in each.
MEASURED = ("COVERAGE_PROCESS_START", "COVERAGE_FILE")

# Programs the guest needs, by the Debian package that brings them.
PROGRAMS = {
    "ipvsadm": "ipvsadm",
    "modprobe": "kmod",
    "ip": "iproute2",
    "arping": "iputils-arping",
    "iptables": "iptables",
    "keepalived": "keepalived",
    "jq": "jq",
    "curl": "curl",
    "ldirectord": "ldirectord",
    "ifconfig": "net-tools",
    "sysctl": "procps",
    "systemctl": "systemd",
    "cl_status": "heartbeat",
    "stonith": "cluster-glue",
    "pacemakerd": "pacemaker",
    "cibadmin": "pacemaker-cli-utils",
    "corosync": "corosync",
}


@dataclass(frozen=True)
class Task:
    """Describe what a guest has to do: run pytest with these arguments or, if given, a shell
    command.

    Its console stays in .lab/NAME.log; keep leaves its whole folder below .lab.
    """

    name: str = "guest"
    pytest: list[str] = field(default_factory=list)
    command: str = ""
    memory: str = "2G"
    timeout: float = 480
    keep: bool = False


def describe_sources() -> str:
    """Return the commit of these sources, with a + if they have changed since."""
    command = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    return subprocess.run(
        command, cwd=REPO, check=True, capture_output=True, text=True
    ).stdout.strip()


def kernel() -> Path:
    """Return the guest's kernel: LAB_KERNEL, or the file of Debian's package."""
    return Path(os.environ.get("LAB_KERNEL", "/usr/bin/linux.uml"))


def modules() -> Path:
    """Return the folder of the kernel's modules: LAB_MODULES, or the newest of Debian's package."""
    if "LAB_MODULES" in os.environ:
        return Path(os.environ["LAB_MODULES"])
    found = sorted(Path("/usr/lib/uml/modules").glob("*"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else Path("/usr/lib/uml/modules")


def has_more_registers() -> bool:
    """Return True if this processor has more registers (AMX) than user-mode Linux 6.1 keeps of a
    process.
    """
    value = ctypes.CDLL(None).getauxval
    value.restype, value.argtypes = ctypes.c_ulong, (ctypes.c_ulong,)
    return bool(value(AT_MINSIGSTKSZ) > AVX512_FRAME)


def surroundings() -> dict[str, str]:
    """Return the environment that the guest's kernel needs on this machine: LD_PRELOAD with the
    compiled registers.c if the processor has too many registers, otherwise nothing.
    """
    if not has_more_registers():
        return {}
    LAB.mkdir(exist_ok=True)
    source, library = Path(__file__).with_name("registers.c"), LAB / "registers.so"
    if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
        new = library.with_suffix(f".{secrets.token_hex(8)}")  # unique: guests start side by side
        subprocess.run(
            ["cc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", new, source],
            check=True,
            timeout=60,
        )
        new.rename(library)
    return {"LD_PRELOAD": str(library)}


def missing() -> str:
    """Return why no guest can be booted on this machine, with the remedy; "" if one can."""
    lacks = []
    if os.geteuid() != 0:
        lacks.append("root")
    if not kernel().exists() or not (modules() / "modules.dep").exists():
        lacks.append("user-mode-linux (kernel and modules)")
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    lacks += [
        package for program, package in PROGRAMS.items() if not shutil.which(program, path=path)
    ]
    if has_more_registers() and not shutil.which("cc"):
        lacks.append("gcc")
    return f"the lab needs {', '.join(lacks)}; as root: {APT}" if lacks else ""


def boot(
    task: Task,
    show: Callable[[bytes], object] = lambda _piece: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Left:
    """Run one guest until it ends, until the timeout or until stopped() is true (called every
    second).

    show is called with pieces of its console as they come.
    """
    LAB.mkdir(exist_ok=True)
    _compile()
    run = Path(tempfile.mkdtemp(prefix=f"{task.name}-", dir=LAB))
    token = secrets.token_hex(16)
    (run / "task.json").write_text(
        json.dumps(
            {
                "token": token,
                "pytest": task.pytest,
                "command": task.command,
                "environment": {
                    "IPVSADM_LAB": "1",
                    "LAB_DIR": str(LAB),
                    # The guest's /var is read-only.
                    "IPVSADM_HISTORY": "/tmp/history",
                    "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",
                    **{name: value for name, value in os.environ.items() if name in PASSED_ON},
                },
            },
        ),
    )
    try:
        log, timed_out = watched(
            _command_line(run, task.memory), run, task.timeout, show, stopped, surroundings()
        )
        report = run / "report.json"
        text = report.read_text() if report.exists() else None
        for folder, name in ((run, "console"), (LAB, task.name)):
            (folder / f"{name}.log").write_text(log)
        return Left(token, text, log, timed_out, tests_expected=not task.command)
    finally:
        if not task.keep:
            shutil.rmtree(run, ignore_errors=True)


def _compile() -> None:
    """Compile all modules for the guest: it takes ten times as long for that, and could not write
    them.
    """
    for folder in ("pyipvsadm", "tests"):
        compileall.compile_dir(REPO / folder, quiet=2)


def _command_line(run: Path, memory: str) -> list[str]:
    """Return the kernel's command line. Words with = that the kernel does not know become the
    environment of init, words after -- its arguments.
    """
    words = [
        str(kernel()), "rootfstype=hostfs", "rootflags=/", "rw", f"mem={memory}", "con=null", "con0=fd:0,fd:1",
        "quiet", "loglevel=3", "panic=-1", "selinux=0", "init=/bin/sh",
        f"LAB_MODULES={modules()}", "PYTHONDONTWRITEBYTECODE=1",
        *(f"{name}={os.environ[name]}" for name in MEASURED if name in os.environ), "--",
        str(Path(__file__).with_name("init.sh")), str(REPO), str(run), sys.executable, sys.prefix, sys.base_prefix,
    ]  # fmt: skip
    # The kernel splits its command line at blanks, but not within double quotes.
    return [f'"{word}"' if " " in word else word for word in words]


def watched(
    command: list[str],
    home: Path,
    timeout: float,
    show: Callable[[bytes], object],
    stopped: Callable[[], bool],
    environment: dict[str, str] | None = None,
) -> tuple[str, bool]:
    """Run a kernel. Return its console, and True if it had to be killed. home is where it keeps its
    own files.
    """
    deadline = time.monotonic() + timeout
    log = bytearray()
    guest = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # user-mode Linux keeps its folder .uml in HOME
        env=os.environ | {"HOME": str(home)} | (environment or {}),
        start_new_session=True,
    )
    assert guest.stdout
    timed_out = False
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(guest.stdout, selectors.EVENT_READ)
            while True:
                if time.monotonic() >= deadline or stopped():
                    timed_out = True
                    break
                if not selector.select(1):
                    continue
                piece = os.read(guest.stdout.fileno(), 65536)
                if not piece:
                    break
                piece = piece.replace(b"\r", b"")  # the guest's console is a terminal
                log += piece
                show(piece)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(guest.pid, signal.SIGKILL)
        guest.stdout.close()
        guest.wait()
    return log.decode(errors="replace"), timed_out
