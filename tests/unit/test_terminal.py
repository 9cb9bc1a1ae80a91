"""Test the terminal: keys from bytes, and --watch as a process on a pseudo-terminal, which is
restored however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm.terminal import ENTER, LEAVE, parse_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 30.0  # seconds, for a machine that is busy
# by `make coverage`
MEASURED = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}

# What a shell does for a job: the terminal at its output becomes the session's own.
OWN_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(1, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

KEYS: list[tuple[bytes, list[str], bytes]] = [
    (b"q", ["q"], b""),
    (b"cr w\n1", ["c", "r", "w"], b""),
    (b"\x1b[A\x1b[B\x1bOA\x1bOB", ["up", "down", "up", "down"], b""),
    (b"\x1b[5~\x1b[6~\x1b[1~\x1b[4~", ["page up", "page down", "home", "end"], b""),
    (b"\x1b[H\x1b[F\x1bOH\x1bOF", ["home", "end", "home", "end"], b""),
    (b"\x1b[1;5Aq\x1b[200~", ["q"], b""),  # Ctrl and an arrow; a paste begins
    (b"\x1b", [], b"\x1b"),
    (b"q\x1b[", ["q"], b"\x1b["),
    (b"\x1b[5", [], b"\x1b[5"),
    (b"\x1bq", ["q"], b""),
    (b"\x1b\x1b[A", ["up"], b""),
    (b"\x1b[" + b"1" * 40, [], b""),
    ("öq".encode(), ["q"], b""),
]


@pytest.mark.parametrize(("data", "found", "rest"), KEYS)
def test_keys(data: bytes, found: list[str], rest: bytes) -> None:
    assert parse_keys(data) == (found, rest)


@given(
    st.lists(st.sampled_from([data for data, _, rest in KEYS if not rest and len(data) < 20])),
    st.data(),
)
def test_keys_come_in_pieces(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    found: list[str] = []
    rest = b""
    at = 0
    while at < len(whole):
        size = data.draw(st.integers(1, len(whole) - at))
        more, rest = parse_keys(rest + whole[at : at + size])
        found += more
        at += size
    assert found == parse_keys(whole)[0]


class Session:
    """Run `ipvsadm --backend memory:FILE -L -n --watch=1` at a terminal of its own; `seen` is all
    that it wrote.
    """

    def __init__(self, table: Path, stdin: int | None = None) -> None:
        self.table = f"memory:{table}"
        self.master, self.slave = pty.openpty()
        self.resize(80, 12)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.child = subprocess.Popen(
            [
                sys.executable,
                "-c",
                OWN_TERMINAL,
                "-m",
                "pyipvsadm",
                "--backend",
                self.table,
                "-L",
                "-n",
                "--watch=1",
            ],
            stdin=self.slave if stdin is None else stdin,
            stdout=self.slave,
            stderr=self.slave,
            env={
                "TERM": "xterm",
                "LANG": "C.UTF-8",
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.getcwd(),
                **MEASURED,
            },
            start_new_session=True,
        )

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def change(self, words: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "pyipvsadm", "--backend", self.table, *words.split()],
            check=True,
            timeout=PATIENCE,
        )

    def wait_for(self, text: str, count: int = 1) -> bytes:
        """Wait until text was written `count` more times, and return what was written meanwhile."""
        start = len(self.seen)
        self._until(lambda: self.seen.count(text.encode(), start) >= count, text)
        return self.seen[start:]

    def end(self) -> int:
        """Wait for the end of the process, and return its status, negative for a signal."""
        self._until(lambda: self.child.poll() is not None, "its end")
        self._read(0.1)
        return self.child.returncode

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (
                f"waited for {what}; the last it wrote: {self.seen[-2000:]!r}"
            )
            self._read(0.05)

    def _read(self, seconds: float) -> None:
        while select.select([self.master], [], [], seconds)[0]:
            self.seen += os.read(self.master, 65536)

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        os.close(self.master)
        with contextlib.suppress(OSError):
            os.close(self.slave)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    path = tmp_path / "table"
    path.write_text("-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m\n")
    found = Session(path)
    try:
        found.wait_for("arrows scroll")
        yield found
    finally:
        found.close()


def as_before(session: Session) -> bool:
    """Return True if the screen was entered first, and left as often and last, and the terminal's
    modes are those of the start.
    """
    seen = session.seen.decode()
    return (
        seen.startswith(ENTER)
        and seen.endswith(LEAVE)
        and seen.count(ENTER) == seen.count(LEAVE)
        and termios.tcgetattr(session.slave) == session.before
    )


def modes(session: Session) -> Any:
    return termios.tcgetattr(session.slave)[3]


def test_a_session(session: Session) -> None:
    assert not modes(session) & (termios.ECHO | termios.ICANON)
    session.change("-A -t 10.0.0.9:443")
    session.wait_for("10.0.0.9:443")
    session.type(b"w")
    session.wait_for("by weight")
    session.resize(60, 4)
    frame = session.wait_for("1-2 of 3 rows").decode()
    session.type(b"\x1b[")
    session.type(b"B")
    session.wait_for("2-3 of 3 rows")
    session.change("-C")
    session.wait_for("No virtual services.")
    session.type(b"q")
    assert session.end() == 0
    assert as_before(session)
    # A frame is as many lines as the window has, none wider than it: it never scrolls.
    drawn = frame.split("\x1b[H")[-1]
    lines = re.sub(r"\x1b\[[0-9;]*[mK]", "", drawn).replace("\r", "").split("\n")
    assert len(lines) == 4
    assert max(map(len, lines)) <= 60


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_it_and_the_terminal_is_as_before(session: Session, number: int) -> None:
    session.child.send_signal(number)
    assert session.end() == -number
    assert as_before(session)


def test_ctrl_c(session: Session) -> None:
    session.type(b"\x03")
    assert session.end() == -signal.SIGINT
    assert as_before(session)


def test_stopped_it_gives_the_terminal_back_and_takes_it_again(session: Session) -> None:
    session.child.send_signal(signal.SIGTSTP)
    os.waitid(os.P_PID, session.child.pid, os.WSTOPPED | os.WNOWAIT)
    session._read(0.1)
    assert as_before(session)
    session.child.send_signal(signal.SIGCONT)
    session.wait_for("arrows scroll")
    assert not modes(session) & termios.ECHO
    session.type(b"q")
    assert session.end() == 0
    assert as_before(session)


def test_continued_after_a_stop_that_nobody_can_catch(session: Session) -> None:
    session.child.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, session.child.pid, os.WSTOPPED | os.WNOWAIT)
    termios.tcsetattr(session.slave, termios.TCSANOW, session.before)  # as a shell does
    session.child.send_signal(signal.SIGCONT)
    session.wait_for(ENTER)
    assert not modes(session) & termios.ECHO
    session.type(b"q")
    assert session.end() == 0
    assert termios.tcgetattr(session.slave) == session.before


def test_a_damaged_file_is_told_until_it_is_whole_again(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "table"
    whole = path.read_text()
    path.write_text("nonsense\n")
    session.wait_for("trying")
    path.write_text(whole + "-A -f 77\n")
    session.wait_for("FWM 77")
    session.type(b"q")
    assert session.end() == 0


def test_without_an_input_keys_come_from_the_terminal(tmp_path: Path) -> None:
    with open(os.devnull, "rb") as null:
        session = Session(tmp_path / "table", stdin=null.fileno())
    try:
        session.wait_for("arrows scroll")
        session.type(b"q")
        assert session.end() == 0
        assert as_before(session)
    finally:
        session.close()


def test_a_terminal_that_is_gone_ends_it(session: Session) -> None:
    os.close(session.slave)
    os.close(session.master)
    try:
        assert session.child.wait(PATIENCE) in (-signal.SIGHUP, 1)
    finally:
        session.master, session.slave = pty.openpty()


def test_what_goes_wrong_at_the_start_leaves_the_terminal_alone(tmp_path: Path) -> None:
    (tmp_path / "table").write_text("nonsense\n")
    session = Session(tmp_path / "table")
    try:
        assert session.end() == 1
        assert session.seen.startswith(str(tmp_path).encode())
        assert termios.tcgetattr(session.slave) == session.before
    finally:
        session.close()


def test_blocks_into_a_pipe_end_with_its_reader(tmp_path: Path) -> None:
    command = f"{sys.executable} -m pyipvsadm --backend memory:{tmp_path}/table -L -n --watch=1"
    done = subprocess.run(
        ["/bin/bash", "-c", f'{command} | head -c 300; echo "${{PIPESTATUS[0]}}"'],
        capture_output=True,
        timeout=PATIENCE,
        check=True,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    assert done.stderr == b""
    assert done.stdout.count(b"\fIP Virtual Server version") >= 1
    assert done.stdout.endswith(f"{128 + signal.SIGPIPE}\n".encode())
