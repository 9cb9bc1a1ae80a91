"""Test faults of the machine around a command: signals while it runs, full and read-only disks, no
/proc, other commands at the same time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from pyipvsadm import cli, locks
from pyipvsadm.backends import kernel
from pyipvsadm.backends.kernel import KernelBackend
from pyipvsadm.commands.dispatch import run_request
from pyipvsadm.model import AF_INET, DEL_SERVICE, NEW_SERVICE, Change, Service
from tests.kernel.netns import Result, run_child, run_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("netns")

COUNT = 2000  # rules: several batches
RULES = "".join(f"-A -f {mark} -s wlc\n" for mark in range(1, COUNT + 1)).encode()


def marks() -> list[int]:
    with closing(KernelBackend()) as table:
        return sorted(service.fwmark for service in table.read_services())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of two pages that holds a file `rules`."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", tmp_path], check=True)
    try:
        (tmp_path / "rules").write_text("-A -f 7 -s wlc\n")
        yield tmp_path
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def save(path: Path) -> Result:
    return run_child(lambda: cli.run_save(["-n", "-f", str(path)]))


def grow(path: Path) -> Result:
    return run_ours(["--backend", f"memory:{path}", "-R"], RULES.replace(b"-f 7 ", b"-f 9999 "))


WRITERS = [pytest.param(save, id="save"), pytest.param(grow, id="embedded table")]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_disk_that_takes_nothing_keeps_the_old_file(
    disk: Path, write: Callable[[Path], Result], state: str
) -> None:
    assert run_ours(["-R"], RULES).status == 0
    if state == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    found = write(disk / "rules")
    said = "No space left on device" if state == "full" else "Read-only file system"
    assert (found.status, found.stdout) == (1, b"")
    assert found.stderr.decode().startswith("cannot write ")
    assert found.stderr.decode().endswith(f"{said}\n")
    assert (disk / "rules").read_text() == "-A -f 7 -s wlc\n"
    assert [each.name for each in disk.iterdir()] == ["rules"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("-A -f 9", 0, ""),
        ("-L -n", 0, ""),
        ("-S -n", 0, ""),
        ("-L -n -c", 1, "cannot open file /proc/net/ip_vs_conn"),
        (
            "--apply",
            0,
            (
                f"cannot lock {locks.NAMESPACE_LOCK}: No such file or directory; "
                "do not run another ipvsadm at the same time\n"
                "1 added, 0 changed, 0 removed, 0 unchanged"
            ),
        ),
        ("--apply --dry-run --prune", 1, ""),
        ("--complete fish 3 ipvsadm -D -f", 0, ""),
    ],
)
def test_proc_is_not_mounted(words: str, status: int, said: str) -> None:
    done = subprocess.run(
        [
            "unshare",
            "-m",
            "/bin/sh",
            "-c",
            # an empty file system hides /proc of the machine, which a guest shares
            'mount -t tmpfs none /proc && exec "$@"',
            "sh",
            sys.executable,
            "-m",
            "pyipvsadm",
            *words.split(),
        ],
        input=b"-A -f 8\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr.decode()) == (status, False), done.stderr
    if said:
        assert done.stderr.decode() == said + "\n"


SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGKILL]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_between_two_batches_of_a_restore(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program ends by the signal; the rules that were sent stand, in order, and the rest can
    follow.
    """
    real = KernelBackend._send_bytes
    sent: list[int] = []

    def send(table: KernelBackend, data: bytes) -> None:
        if len(sent) == 4:  # the family, the information, two batches
            os.kill(os.getpid(), number)
        sent.append(len(data))
        real(table, data)

    monkeypatch.setattr(KernelBackend, "_send_bytes", send)
    assert run_ours(["-R"], RULES) == Result(-number, b"", b"")
    monkeypatch.undo()
    there = marks()
    assert 0 < len(there) < COUNT
    assert there == list(range(1, len(there) + 1))
    assert run_ours(["-R"], RULES).stderr.count(b"Service already exists") == len(there)
    assert marks() == list(range(1, COUNT + 1))


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_signal_while_a_file_is_written(
    number: signal.Signals, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file stays whole; the new one, unfinished, may stay beside it."""
    path = tmp_path / "rules"
    path.write_text("old\n")
    assert run_ours(["-A", "-f", "1", "-s", "wlc"]).status == 0
    monkeypatch.setattr(f"pyipvsadm.files.os.{call}", lambda *_: os.kill(os.getpid(), number))
    assert save(path).status == -number
    monkeypatch.undo()
    assert path.read_text() == "old\n"
    assert save(path) == Result(0, b"", b"")
    assert path.read_text() == "-A -f 1 -s wlc\n"


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("words", ["-L -n --stats", "-S -n"])
def test_a_signal_in_a_listing(
    number: signal.Signals, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_ours(["-R"], RULES).status == 0
    real = KernelBackend._receive_datagram
    received: list[memoryview] = []

    def receive(table: KernelBackend) -> memoryview:
        received.append(real(table))
        if len(received) == 4:
            os.kill(os.getpid(), number)
        return received[-1]

    monkeypatch.setattr(KernelBackend, "_receive_datagram", receive)
    found = run_ours(words.split())
    assert (found.status, found.stderr) == (-number, b"")


BEFORE = "-A -f 1 -s rr\n-a -f 1 -r 10.0.0.2:80 -m -w 1\n-A -f 2 -s rr\n"
AFTER = (
    b"-A -f 1 -s wrr\n-A -f 3 -s rr\n--set 100 20 30\n--start-daemon backup --mcast-interface lo\n"
)
APPLY = ["--apply", "--prune", "--force"]  # in four phases: more, edits, a daemon, less


def save_rules() -> str:
    return run_ours(["-S", "-n", "--full"]).stdout.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_an_apply_reads(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program ends by the signal, and nothing was sent."""
    assert run_ours(["-R"], BEFORE.encode()).status == 0
    before = save_rules()
    real = KernelBackend.read_services

    def services(table: KernelBackend, counters: bool = True) -> list[Service]:
        os.kill(os.getpid(), number)
        return real(table, counters)

    monkeypatch.setattr(KernelBackend, "read_services", services)
    assert run_ours(APPLY, AFTER) == Result(-number, b"", b"")
    monkeypatch.undo()
    assert save_rules() == before


@pytest.mark.parametrize(
    ("number", "phase", "undone"),
    [
        (signal.SIGINT, 2, 3),
        (signal.SIGTERM, 1, 2),
        (signal.SIGTERM, 3, 4),
        (signal.SIGTERM, 4, 0),
        (signal.SIGHUP, 2, 3),
        (signal.SIGPIPE, 1, 0),
    ],
)
def test_a_signal_while_an_apply_sends(
    number: signal.Signals, phase: int, undone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the last of the plan is sent, the signal undoes it; after that, the plan is done. It
    makes no difference that no process reads the output.
    """
    assert run_ours(["-R"], BEFORE.encode()).status == 0
    before = save_rules()
    real = KernelBackend.apply
    calls = 0

    def apply(table: KernelBackend, changes: Iterable[Change]) -> list[tuple[int, int]]:
        nonlocal calls
        calls += 1
        if calls == phase:
            os.kill(os.getpid(), number)
        return real(table, changes)

    monkeypatch.setattr(KernelBackend, "apply", apply)
    found = run_ours(APPLY, AFTER)
    monkeypatch.undo()
    if undone:
        said = f"{number.name[3:]}: the table is as before ({undone} undone)\n"
        assert found == Result(128 + number, b"", said.encode())
        assert save_rules() == before
    else:
        assert found == Result(0, b"", b"2 added, 2 changed, 2 removed, 0 unchanged\n")
        assert run_ours(APPLY, AFTER).stderr == b"0 added, 0 changed, 0 removed, 4 unchanged\n"


MORE = Change(NEW_SERVICE, Service(AF_INET, fwmark=3, scheduler="rr"))
GONE = [Change(DEL_SERVICE, Service(AF_INET, fwmark=mark)) for mark in (1, 2)]


@pytest.mark.parametrize(
    ("others", "said", "counts"),
    [
        pytest.param(
            MORE,
            "line 2: another program made it meanwhile, with the same settings: '-A -f 3 -s rr'\n",
            (1, 2, 2, 1),
            id="new",
        ),
        pytest.param(
            GONE[0],
            "line 1: another program removed it meanwhile; it was added again: '-E -f 1 -s wrr'\n",
            (3, 1, 1, 0),
            id="edited",
        ),
        pytest.param(GONE[1], "", (2, 2, 2, 0), id="removed"),
    ],
)
def test_another_process_between_reading_and_sending(
    others: Change, said: str, counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process changes entries that we add, edit or remove: they are read again, and the
    table ends as the rules say.
    """
    assert run_ours(["-R"], BEFORE.encode()).status == 0
    real = KernelBackend.apply
    met: list[Change] = []

    def apply(table: KernelBackend, changes: Iterable[Change]) -> list[tuple[int, int]]:
        if not met:
            met.append(others)
            with closing(KernelBackend()) as other:
                assert real(other, met) == []
        return real(table, changes)

    monkeypatch.setattr(KernelBackend, "apply", apply)
    summary = "{} added, {} changed, {} removed, {} unchanged\n".format(*counts)
    assert run_ours(APPLY, AFTER) == Result(0, b"", (said + summary).encode())
    assert marks() == [1, 3]
    assert run_ours(APPLY, AFTER).stderr == b"0 added, 0 changed, 0 removed, 4 unchanged\n"


def test_more_errors_than_the_socket_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOBUFS in the middle of a batch: how much of it was done is not known, and the message says
    so.
    """
    monkeypatch.setattr(kernel, "RCVBUF_PER_ERROR", 32)  # the kernel's errors take more
    assert run_ours(["-R"], RULES).status == 0
    found = run_ours(["-R"], RULES)
    assert (found.status, found.stdout) == (1, b"")
    assert found.stderr == (
        b"Cannot read the kernel's answer: No buffer space available; "
        b"some answers are lost: list the table to see what was done\n"
    )


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("-A -f 1", 255, "{}"),
        ("-R", 255, "line 1: {}line 2: {}"),
        ("-L -n", 1, "{}"),
        ("-S -n", 1, "{}"),
        ("--apply --dry-run", 255, "{}"),
    ],
)
def test_a_permission_that_is_dropped(
    words: str, status: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = run_request

    def unprivileged(*arguments: Any) -> int:
        os.setresuid(65534, 65534, 65534)
        return real(*arguments)

    monkeypatch.setattr("pyipvsadm.cli.run_request", unprivileged)
    found = run_ours(words.split(), b"-A -f 1\n-A -f 2\n")
    assert (found.status, found.stderr.decode()) == (
        status,
        said.replace("{}", "Permission denied (you must be root)\n"),
    )
    assert marks() == []


def test_signals_that_are_handled_disturb_nothing() -> None:
    """EINTR comes some thousand times while requests are sent and answered."""

    def under_fire(words: list[str]) -> Callable[[], int]:
        def body() -> int:
            fired: list[int] = []
            signal.signal(signal.SIGALRM, lambda number, _: fired.append(number))
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            sys.stdin = open(0)  # noqa: SIM115
            status = cli.main(words)
            signal.setitimer(signal.ITIMER_REAL, 0)
            return status if fired else 99

        return body

    assert run_child(under_fire(["-R"]), RULES) == Result(0, b"", b"")
    calm = run_ours(["-L", "-n"])
    assert calm.stdout.count(b"FWM") == COUNT
    assert run_child(under_fire(["-L", "-n"])) == calm


@pytest.mark.parametrize("embedded", [False, True])
def test_two_restores_at_once(embedded: bool, tmp_path: Path) -> None:
    """Nothing is lost: each rule is added by one restore, and the other is told that it exists. On a
    slow machine the other also says that it waits for an embedded table.
    """
    backend = ["--backend", f"memory:{tmp_path / 'table'}"] if embedded else []
    pids = []
    for name in ("one", "two"):
        pid = os.fork()
        if not pid:
            found = run_ours([*backend, "-R"], RULES, timeout=100)
            (tmp_path / name).write_bytes(found.stderr)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    told = [
        line
        for name in ("one", "two")
        for line in (tmp_path / name).read_text().splitlines()
        if "table is being changed by another command" not in line
    ]
    assert all(line.endswith("Service already exists") for line in told)
    assert len(told) == len(set(told)) == COUNT
    assert run_ours([*backend, "-S", "-n"]).stdout.count(b"\n") == COUNT
