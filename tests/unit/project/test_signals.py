"""Test signals in the middle of long operations, as a process: how it ends, what it prints, how it
leaves the table.

The table is in a file; its servers are busy and its connections have no end. Signals between two
messages to a kernel, and while a file is written, are tested in tests/kernel/test_faults.py; their
effect on a terminal in test_terminal.py.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pyipvsadm.backends.table_file import TableFileBackend
from pyipvsadm.rules import writer
from tests.unit.fake_environment import apply_all, lines

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 60.0
F_SETPIPE_SZ = 1031  # fcntl.h; the module has it from Python 3.10 on
INT, TERM, HUP, KILL, PIPE = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGKILL,
    signal.SIGPIPE,
)

PLAY = """
from pyipvsadm import cli; from pyipvsadm.backends import table_file as table_file

class Busy(table_file.TableFileBackend):
    def iter_connections(self):
        yield b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\\n"
        while True:
            yield b"TCP 0A000063 C001 0A000001 0050 0A000002 0050 ESTABLISHED     899\\n"

    def read_servers(self, service):
        found = super().read_servers(service)
        for each in found:
            each.active = 2
        return found

table_file.TableFileBackend = Busy
cli.run_program(cli.main)
"""
TABLE = (
    "-A -f 1 -s rr",
    "-a -f 1 -r 10.0.0.2:0 -m -w 3",
    *(f"-A -f {mark} -s wlc" for mark in range(2, 6000)),
)
# more than a pipe holds: when all is taken, reading is on its way
FED = b"-A -f 7000\n" * (1 << 18)
UNDO = "ipvsadm --backend memory:{} -e -f 1 -r 10.0.0.2:0 --keep -w 3\n"


class Running:
    """Run the program on the table; `said` holds what it writes to either stream."""

    def __init__(self, path: Path, words: str, ignored: tuple[signal.Signals, ...] = ()) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", PLAY, "--backend", f"memory:{path}", *words.split()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.getcwd()},
            preexec_fn=lambda: [signal.signal(number, signal.SIG_IGN) for number in ignored],  # noqa: PLW1509  # no threads here
        )
        assert self.child.stdin
        assert self.child.stdout
        assert self.child.stderr
        self.input, self.output, self.errors = (
            self.child.stdin,
            self.child.stdout,
            self.child.stderr,
        )
        fcntl.fcntl(self.output, F_SETPIPE_SZ, 4096)  # a page: a listing does not fit into it
        self.said = {self.output: b"", self.errors: b""}

    def feed(self, data: bytes) -> None:
        self.input.write(data)
        self.input.flush()

    def until(self, text: bytes) -> None:
        while not any(text in said for said in self.said.values()):
            ready, _, _ = select.select(list(self.said), [], [], PATIENCE)
            assert ready, f"no word of {text!r}"
            for stream in ready:
                piece = os.read(stream.fileno(), 1024)
                assert piece, self.said
                self.said[stream] += piece

    def end(self) -> tuple[int, bytes, bytes]:
        """Wait for the end. Return the status, and all output and all errors."""
        out, err = self.child.communicate(timeout=PATIENCE)
        return self.child.returncode, self.said[self.output] + out, self.said[self.errors] + err

    def abandon(self) -> int:
        """Close its streams, wait for its end, and return the status."""
        for stream in (self.input, self.output, self.errors):
            stream.close()
        return self.child.wait(PATIENCE)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    table = TableFileBackend(str(tmp_path_factory.mktemp("signals") / "table"))
    with table.lock_table():
        apply_all(table, TABLE)
    return "".join(writer.dump_table(table))


@pytest.fixture
def path(text: str, tmp_path: Path) -> Path:
    place = tmp_path / "table"
    place.write_text(text)
    return place


LONG = [
    pytest.param("-L -n -c", b"", b"10.0.0.99", id="connections"),
    pytest.param("-L -n", b"", b"FWM", id="a listing"),
    pytest.param("-S -n", b"", b"-A", id="a save"),
    pytest.param("-L -n --watch=1", b"", b"FWM", id="watching"),
    pytest.param("-R", FED, b"", id="restoring"),
    pytest.param("--apply", FED, b"", id="applying"),
]


@pytest.mark.parametrize("number", [INT, TERM, HUP, KILL])
@pytest.mark.parametrize(("words", "fed", "word"), LONG)
def test_what_changes_nothing_yet_ends_silently_by_the_signal(
    words: str, fed: bytes, word: bytes, number: signal.Signals, path: Path
) -> None:
    before = path.read_bytes()
    run = Running(path, words)
    run.feed(fed)
    run.until(word)
    run.child.send_signal(number)
    status, _, errors = run.end()
    assert (status, errors) == (-number, b"")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "fed", "word"),
    [*LONG, pytest.param("-d -f 1 -r 10.0.0.2 --drain", b"", b"left", id="draining")],
)
def test_an_interrupt_that_the_caller_ignores_stays_ignored(
    words: str, fed: bytes, word: bytes, path: Path
) -> None:
    run = Running(path, words, ignored=(INT,))
    run.feed(fed)
    run.until(word)
    for _ in range(2):  # what is pending when the second is sent has been passed over
        run.child.send_signal(INT)
    with pytest.raises(subprocess.TimeoutExpired):
        run.child.wait(0.1)
    run.child.kill()
    status, _, errors = run.end()
    assert (status, b"INT" in errors, b"Traceback" in errors) == (-KILL, False, False)


def test_a_restore_that_ignores_the_interrupt_is_done(path: Path) -> None:
    run = Running(path, "-R", ignored=(INT,))
    run.feed(b"\n" * (1 << 18))  # more than a pipe holds: it is past its start
    run.child.send_signal(INT)
    run.feed(b"-A -f 9000 -s rr\n")
    status, _, errors = run.end()
    assert (status, errors) == (0, b"")
    assert b"-A -f 9000 -s rr\n" in path.read_bytes()


@pytest.mark.parametrize(("words", "fed", "word"), [row for row in LONG if not row.values[1]])
def test_where_the_reader_has_gone_it_ends_silently(
    words: str, fed: bytes, word: bytes, path: Path
) -> None:
    run = Running(path, words)
    run.feed(fed)
    run.until(word)
    assert run.abandon() == -PIPE


def test_an_apply_is_done_though_nobody_reads_what_it_says(path: Path) -> None:
    run = Running(path, "--apply --force")
    run.output.close()
    run.errors.close()
    run.feed(b"-A -f 1 -s wlc\n")
    run.input.close()
    assert run.child.wait(PATIENCE) == 0
    assert "-A -f 1 -s wlc\n" in path.read_text()


@pytest.mark.parametrize("number", [INT, TERM, HUP])
def test_a_draining_puts_the_weight_back(number: signal.Signals, path: Path) -> None:
    before = path.read_bytes()
    run = Running(path, "-d -f 1 -r 10.0.0.2 --drain")
    run.until(b"2 connections left")
    assert path.read_bytes() != before
    run.child.send_signal(number)
    status, out, errors = run.end()
    assert (status, out.decode()) == (128 + number, UNDO.format(path))
    assert errors.decode() == lines(
        "2 connections left",
        f"{number.name[3:]}: 2 connections left, nothing deleted",
        "10.0.0.2:0 of -f 1 has weight 3 again",
    )
    assert path.read_bytes() == before


def test_a_killed_draining_has_said_before_how_to_undo_it(path: Path) -> None:
    before = path.read_bytes()
    run = Running(path, "-d -f 1 -r 10.0.0.2 --drain")
    run.until(b"2 connections left")
    run.child.kill()
    status, out, _ = run.end()
    assert (status, out.decode()) == (-KILL, UNDO.format(path))
    assert path.read_bytes() == before.replace(b" -w 3", b" -w 0")
    apply_all(TableFileBackend(str(path)), [out.decode().removeprefix("ipvsadm ")])
    assert path.read_bytes() == before


def test_a_draining_goes_on_though_nobody_reads_what_it_says(path: Path) -> None:
    run = Running(path, "-d -f 1 -r 10.0.0.2 --drain=1")
    run.until(b"2 connections left")
    assert run.abandon() == 1  # status 1: the time is over, which is the only failure
    assert b" -w 0\n" in path.read_bytes()
