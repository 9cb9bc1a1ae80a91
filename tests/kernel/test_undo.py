"""Test undoing and reading on a kernel's table that is large, or that another program keeps
busy.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from pyipvsadm.backends.kernel import KernelBackend
from pyipvsadm.change import desired, execute, plan, snapshot
from pyipvsadm.change.pace import Pace
from pyipvsadm.cli import run_save
from pyipvsadm.commands.apply import run_apply as _loaded  # noqa: F401  # in a child that would be many system calls
from pyipvsadm.environment import Environment
from pyipvsadm.model import (
    AF_INET,
    FLUSH,
    MASQ,
    NEW_DEST,
    NEW_SERVICE,
    SET_DEST,
    TCP,
    Change,
    Server,
    Service,
)
from tests.kernel.netns import run_child, run_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.kernel.netns import Result

MANY = 16_000
BUSY = 6_000
PAUSE = 0.1  # seconds between two edits
SERVER = b"\x0a\2\0\1"


def service(number: int) -> Service:
    return Service(AF_INET, TCP, b"\x0a\1" + number.to_bytes(2, "big"), 80, scheduler="rr")


def selector(number: int) -> str:
    return f"-t 10.1.{number >> 8}.{number & 255}:80"


def run(words: str, rest: str, text: str) -> Result:
    argv = [*words.split(), *rest.split()]
    if argv[0] == "ipvsadm-save":
        return run_child(lambda: run_save(argv[1:]), timeout=300)
    return run_ours(argv, text.encode(), timeout=300)


class Timed(KernelBackend):
    """Count the messages that are sent, and measure how long each batch of changes took."""

    sent = 0  # opening the table sends a message already

    def __init__(self) -> None:
        self.seconds: list[float] = []
        super().__init__()

    def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
        start = time.monotonic()
        try:
            return super().apply(changes)
        finally:
            self.seconds.append(time.monotonic() - start)

    def _send_bytes(self, data: bytes) -> None:
        self.sent += 1
        super()._send_bytes(data)


@pytest.mark.usefixtures("netns")
@pytest.mark.parametrize("servers", [0, 1])
def test_a_large_refused_plan_is_undone_by_few_questions(
    servers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(
        f"-A {selector(number)} -s rr\n" + f"-a {selector(number)} -r 10.2.0.1:80 -m\n" * servers
        for number in range(MANY)
    )
    undo = execute.undo
    seconds = 0.0

    def timed(*of: Any) -> None:
        nonlocal seconds
        start = time.monotonic()
        undo(*of)
        seconds = time.monotonic() - start

    monkeypatch.setattr(execute, "undo", timed)
    wanted = desired.parse_desired((text + "-A -f 1 -s nonesuch\n").encode(), Environment())
    with closing(Timed()) as table:
        made = plan.make_plan(wanted, snapshot.read_consistent(table))
        table.sent = 0
        table.seconds.clear()
        outcome = execute.execute(made, table, Pace(), nullcontext)
        sending = table.seconds[0]
        print(
            f"{MANY} new services with {servers} servers: sent in {sending:.2f} s, undone in {seconds:.2f} s",
            end=", ",
        )
        print(f"{table.sent} messages of ours: {seconds / sending:.1f} times")
        assert (outcome.not_undone, len(outcome.undone)) == ([], MANY * (1 + servers))
        assert table.read_services() == []
        # Batches there and back, and one question for each service that has servers.
        batches = 2 * (MANY * (1 + servers) // table._batch + 1)
        assert table.sent <= batches + MANY * servers + 10


@contextmanager
def edited() -> Iterator[Callable[[], int]]:
    """Run another process that gives one server another weight ten times a second. Yield a function
    that returns how often it has.
    """
    of, server = service(BUSY // 2), Server(AF_INET, SERVER, 80, MASQ)
    counts, end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(600)
            table = KernelBackend()
            while True:
                server.weight = server.weight % 9 + 1
                if table.apply([Change(SET_DEST, of, server)]):
                    os._exit(1)
                os.write(end, b".")
                time.sleep(PAUSE)
        finally:
            os._exit(2)
    os.close(end)
    try:
        yield lambda: len(os.read(counts, 1 << 16))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(counts)


@pytest.mark.usefixtures("netns")
def test_one_busy_weight_holds_up_nobody(tmp_path: Path) -> None:
    server = Server(AF_INET, SERVER, 80, MASQ)
    with closing(KernelBackend()) as table:
        assert table.apply(Change(NEW_SERVICE, service(number)) for number in range(BUSY)) == []
        assert (
            table.apply(Change(NEW_DEST, service(number), server) for number in range(BUSY)) == []
        )
    new = f"-A {selector(BUSY)} -s rr\n-a {selector(BUSY)} -r 10.2.0.1:80 -m\n"
    more = f"-A {selector(BUSY + 1)} -s rr\n"
    commands = [
        ("ipvsadm-save -n -f", f"{tmp_path}/rules", "", 0),
        ("-S --full", "-n", "", 0),
        ("--apply --dry-run", "", new, 1),
        ("--apply", "", new, 0),
        ("--apply", "", more + "-A -f 1 -s nonesuch\n", 255),
    ]
    for words, rest, text, status in commands:
        with edited() as edits:
            edits()
            start = time.monotonic()
            done = run(words, rest, text)
            seconds = time.monotonic() - start
            print(
                f"{words}: status {done.status} after {seconds:.1f} s, {edits()} edits meanwhile: {done.stderr.decode()!r}"
            )
            assert done.status == status, done
    assert done.stderr.decode().splitlines()[-1].startswith("refused: the table is as before")
    with closing(KernelBackend()) as table:
        assert len(table.read_services()) == BUSY + 1
        assert table.apply([Change(FLUSH)]) == []
