"""Test ipvsadm-restore typed at a terminal on the kernel's table: an interrupt before the end of
the rules leaves the table as it was.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import time

import pytest

from pyipvsadm import cli
from tests.kernel.netns import Result, run_child

BEFORE = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1\n"
WAITS = b"Ctrl-C leaves it as it is\r\n"
TIMEOUT = 60.0
CTRL_C, CTRL_D = "\x03", "\x04"
MANY = "".join(f"-A -f {mark}\n" for mark in range(1, 201))

pytestmark = pytest.mark.usefixtures("netns")


def call(*words: str, stdin: str = "") -> Result:
    return run_child(lambda: cli.main(words), stdin.encode())


def table() -> str:
    seen = call("-S", "-n")
    assert (seen.status, seen.stderr) == (0, b"")
    return seen.stdout.decode()


class Typed:
    """Run ipvsadm-restore on a pseudo-terminal, which is its controlling terminal: keys make
    signals.
    """

    def __init__(self, *words: str, ignores_hangup: bool = False) -> None:
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if not self.pid:
            status = 70
            try:
                if ignores_hangup:
                    signal.signal(signal.SIGHUP, signal.SIG_IGN)
                status = cli.run_restore(words)
            finally:
                os._exit(status)
        self.wait_for(WAITS)

    def type(self, keys: str) -> None:
        """Type keys, and wait until the terminal echoes them: they have arrived when this
        returns.
        """
        for line in keys.splitlines(keepends=True):
            self.seen = b""
            os.write(self.fd, line.encode())
            if line.isprintable() or line.endswith("\n"):
                self.wait_for(line.encode().replace(b"\n", b"\r\n"))

    def wait_for(self, text: bytes) -> None:
        """Read until the text has appeared."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.seen:
            assert select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0], (
                self.seen
            )
            self.seen += os.read(self.fd, 65536)

    def end(self) -> int:
        """Return the exit status; if a signal ended the process, its number below 0."""
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if self.fd >= 0:
            os.close(self.fd)
        return status

    def hang_up(self) -> None:
        """Close the terminal."""
        os.close(self.fd)
        self.fd = -1


INTERRUPTED = {
    "before any line": "",
    "in the middle of a line": "-A -f 1\n-A -f",
    "after one line": "-A -f 1\n",
    "after many lines": MANY,
    "after a line that ends a restore": "-A -f 1\n-A -t nonsense\n",
    "after a first Ctrl-D, in the middle of a line": "-A -f 1\n-A -f 2",
}


@pytest.mark.parametrize("keys", INTERRUPTED.values(), ids=INTERRUPTED)
def test_an_interrupt_leaves_the_table_as_it_was(keys: str) -> None:
    call("-R", stdin=BEFORE)
    typed = Typed()
    typed.type(keys)
    if keys.endswith("2"):
        os.write(typed.fd, CTRL_D.encode())  # hands the unfinished line on: the input goes on
    assert table() == BEFORE
    os.write(typed.fd, CTRL_C.encode())
    assert typed.end() == -signal.SIGINT
    assert table() == BEFORE


@pytest.mark.parametrize("words", [(), ("-f", "-"), ("-n",)])
def test_the_end_of_the_rules_replaces_the_table(words: tuple[str, ...]) -> None:
    call("-R", stdin=BEFORE)
    typed = Typed(*words)
    typed.type(MANY)
    assert table() == BEFORE
    os.write(typed.fd, CTRL_D.encode())
    assert typed.end() == 0
    assert sorted(table().splitlines()) == sorted(f"{line} -s wlc" for line in MANY.splitlines())


def test_a_wrong_line_leaves_the_table_as_it_was() -> None:
    call("-R", stdin=BEFORE)
    typed = Typed()
    typed.type("-A -f 1\n-A -t nonsense\n")
    os.write(typed.fd, CTRL_D.encode())
    typed.wait_for(b"line 2: illegal virtual server address[:port] specified")
    assert typed.end() == 2
    assert table() == BEFORE


@pytest.mark.parametrize(("ignores", "status"), [(False, -signal.SIGHUP), (True, 1)])
def test_a_terminal_that_hangs_up_leaves_the_table_as_it_was(ignores: bool, status: int) -> None:
    call("-R", stdin=BEFORE)
    typed = Typed(ignores_hangup=ignores)
    typed.type("-A -f 1\n")
    typed.hang_up()
    assert typed.end() == status
    assert table() == BEFORE


REFUSED = [
    ["/etc/ipvsadm.rules"],
    ["--prune"],
    ["--help"],
    ["--version"],
    ["--dry-run"],
    ["--backend", "memory"],
    ["-f"],
]


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_no_word_clears_the_kernel_s_table(words: list[str]) -> None:
    call("-R", stdin=BEFORE)
    ended = run_child(lambda: cli.run_restore(words))
    assert ended.status == (
        0 if words[0] in ("--help", "--version", "--dry-run", "--backend") else 2
    )
    assert table() == BEFORE
