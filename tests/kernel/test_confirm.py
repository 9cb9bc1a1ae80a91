"""Test a change that must be confirmed, on a kernel: how it ends, and what it leaves alone."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyipvsadm.change import dry_run, recorded, undo
from pyipvsadm.cli import main, run_restore
from pyipvsadm.commands import apply, confirm, history
from tests.kernel.netns import fresh, run_child, run_ours, run_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Loaded here: in a child they would be many system calls.
assert all((apply, confirm, dry_run, history, recorded, undo))

PATIENCE = 20.0
FIRST = (
    "-A -f 1 -s rr",
    "-a -f 1 -r 10.9.0.1:0 -m -w 3",
    "-A -f 2 -s rr",
)
SECOND = ("-A -f 1 -s wrr", "-a -f 1 -r 10.9.0.1:0 -m -w 7", "-A -f 2 -s rr")
OUTCOMES = (
    "confirmed", "not confirmed", "shell killed", "shell killed, confirmed", "waiter killed",
)  # fmt: skip


def list_rules() -> tuple[str, ...]:
    return tuple(sorted(run_reference(["-S", "-n"]).stdout.decode().splitlines()))


def read_counters() -> list[str]:
    """Return 1.31's line of the service that no change touches."""
    lines = run_reference(["-L", "-n", "--stats"]).stdout.decode().splitlines()
    return [line for line in lines if line.startswith("UDP")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, netns: None) -> Path:  # noqa: ARG001  # its own table
    monkeypatch.setenv("IPVSADM_HISTORY", str(tmp_path / "h"))
    rules = "\n".join(
        [*FIRST, "-A -u 127.0.0.1:53 -s rr", "-a -u 127.0.0.1:53 -r 127.0.0.1:5353 -m"]
    )
    assert run_ours(["-R"], f"{rules}\n".encode()).status == 0
    return tmp_path / "h"


@pytest.fixture
def log() -> Iterator[socket.socket]:
    """Yield the socket of a syslog daemon; skip the test if the machine has one at /dev/log."""
    path = Path("/dev/log")
    if path.exists():
        pytest.skip("this machine has a syslog daemon")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(PATIENCE)
        yield listening
        path.unlink()


def start(command: Callable[[], int], rules: tuple[str, ...]) -> int:
    """Start a command in a session of its own, as a login shell would; return the process."""
    pid = os.fork()
    if not pid:
        try:
            os.setsid()
            os._exit(run_child(command, "\n".join(rules).encode(), timeout=60).status)
        finally:
            os._exit(99)
    return pid


def wait_for(path: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, sorted(path.parent.iterdir())
        time.sleep(0.05)


def find_children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_how_a_change_ends(outcome: str, folder: Path, tmp_path: Path) -> None:
    before, counters = list_rules(), read_counters()
    keeps = "confirmed" in outcome.replace("not confirmed", "")
    seconds = 3 if outcome in ("not confirmed", "shell killed") else 600
    rules = tmp_path / "rules"
    rules.write_text("".join(f"{line}\n" for line in SECOND))
    words = ["--apply", str(rules), f"--confirm-within={seconds}"]
    pid = start(lambda: main(words), ())
    wait_for(folder / "1.open")
    time.sleep(0.3)
    changed = list_rules()
    assert changed == tuple(sorted([*SECOND, *(line for line in before if " -u " in line)]))
    assert read_counters() == counters
    (command,) = find_children(pid)
    (waiter,) = find_children(command)
    assert os.getsid(waiter) == waiter
    if outcome.startswith("shell killed"):
        os.kill(command, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1]
    if outcome == "waiter killed":
        os.kill(waiter, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
        assert b"  open until " in run_ours(["--history"]).stdout
        assert run_ours(["--undo"]).status == 0
    elif keeps:
        assert run_ours(["--confirm"]).status == 0
    if keeps:
        wait_for(folder / "1.kept")
        status = 0
    else:
        wait_for(folder / "1.undone")
        status = 1
    if outcome in ("confirmed", "not confirmed"):
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
    assert list_rules() == (changed if keeps else before)
    assert read_counters() == counters


@pytest.mark.parametrize("command", ["-C", "restore", "from another namespace"])
def test_a_whole_table_comes_back_and_the_log_says_so(
    command: str, log: socket.socket, tmp_path: Path
) -> None:
    before = list_rules()
    rules = tmp_path / "rules"
    rules.write_text("".join(f"{line}\n" for line in SECOND))
    if command == "-C":
        done = run_ours(["-C", "--confirm-within=1"])
    elif command == "from another namespace":
        words = ["-C", f"--netns=/proc/{os.getpid()}/ns/net", "--confirm-within=1"]

        def clear_from_afar() -> int:
            fresh()
            return main(words)

        done = run_child(clear_from_afar)
    else:
        done = run_child(lambda: run_restore(["-f", str(rules), "--confirm-within=1"]))
    assert done.status == 1, done
    assert list_rules() == before
    logged: list[str] = []
    while not logged or not logged[-1].endswith("connections do not"):
        logged.append(log.recv(4096).decode())
    assert "was not confirmed in 1 seconds" in logged[0]
    # daemon.warning (syslog.h: LOG_DAEMON, LOG_WARNING)
    assert all(line.startswith("<28>") and " ipvsadm[" in line for line in logged)
    assert done.stderr.decode().splitlines()[-1] == "rules come back, connections do not"
