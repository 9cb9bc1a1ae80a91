"""Take over the terminal while something is drawn on it: its modes, its alternate screen, keys,
signals.

Owns: termios, escape sequences, restoring the terminal at any end. Must never know: what is drawn,
what a key means.

Plain ANSI that every terminal has (ECMA-48, xterm's 1049). Lines are drawn over the old ones, not
after clearing: that does not flicker over a slow connection.
"""

from __future__ import annotations

import os
import select
import signal
import termios

from pyipvsadm.errors import OperationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Alternate screen, no cursor, no wrapping at the margin: while a window shrinks, a line may be too
# long.
ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME = "\x1b[H"
CLEAR_LINE = "\x1b[K"

# Seconds to wait for a terminal that takes no output.
LEAVE_TIMEOUT = 1.0

_SEQUENCES = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down",
    b"\x1b[5~": "page up", b"\x1b[6~": "page down",
    b"\x1b[H": "home", b"\x1bOH": "home", b"\x1b[1~": "home", b"\x1b[F": "end", b"\x1bOF": "end", b"\x1b[4~": "end",
}  # fmt: skip
_END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class _Terminated(BaseException):
    """Carry the number of a signal that ends the process, until the terminal is restored. It is no
    Exception: code that handles errors must not catch it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def parse_keys(data: bytes) -> tuple[list[str], bytes]:
    """Parse the keys in a terminal's input, by name or as the letter; return them and the start of
    an unfinished sequence.

    Sequences without a name here, and bytes that are no ASCII letters, are skipped.
    """
    keys = []
    while data:
        if data[0] != 0x1B:
            letter, data = data[:1], data[1:]
            if letter.isalpha():
                keys.append(letter.decode("ascii"))
            continue
        if len(data) < 2:
            return keys, data
        if data[1:2] not in (b"[", b"O"):
            data = data[1:]
            continue
        end = next((index for index in range(2, len(data)) if 0x40 <= data[index] < 0x7F), None)
        if end is None:
            # A sequence of 32 bytes and more belongs to no key.
            return keys, data if len(data) < 32 else b""
        name = _SEQUENCES.get(data[: end + 1])
        keys += [name] if name else []
        data = data[end + 1 :]
    return keys, b""


class Screen:
    """Draw on the terminal at standard output, and read keys from standard input or, if that is no
    terminal, from /dev/tty.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._input = -1
        self._opened_tty = False
        self._modes: list[Any] | None = None
        self._unfinished = b""
        self._handlers: dict[int, Any] = {}
        self._stop_requested = False
        self._resumed = False
        self._ending = False
        self._entered = False
        self._wake_pipe = (-1, -1)

    def run(self, body: Callable[[Screen], None]) -> None:
        """Run body with the terminal taken over, and restore the terminal however body ends.

        A signal that ends the process does so after that, as if it had not been caught.
        """
        signum = 0
        try:
            self._install_handlers()
            self._find_input()
            self._enter_screen()
            body(self)
        except _Terminated as exc:
            signum = exc.signum
        finally:
            # A second signal must not interrupt the restoring.
            self._ending = True
            self._leave_screen()
            self._release_terminal()
        if signum:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    def show(self, text: str) -> None:
        """Draw lines in the place of those drawn before."""
        # A line is cleared before it is written: clearing after a letter in the last column would
        # erase that letter.
        self._write(HOME + CLEAR_LINE + text.removesuffix("\n").replace("\n", "\r\n" + CLEAR_LINE))

    def read_keys(self, seconds: float) -> list[str]:
        """Return the pressed keys; no keys after so many seconds or if the window has changed size;
        `q` if the terminal is gone.
        """
        descriptors = [self._wake_pipe[0]] + ([self._input] if self._input >= 0 else [])
        ready, _, _ = select.select(descriptors, [], [], seconds)
        if self._wake_pipe[0] in ready:
            os.read(self._wake_pipe[0], 1024)
        if self._stop_requested:
            self._stop_requested = False
            self._leave_screen()
            os.kill(os.getpid(), signal.SIGSTOP)
            self._resumed = True
        if self._resumed:
            # The shell has used the terminal meanwhile.
            self._resumed = False
            self._enter_screen()
        if self._input not in ready:
            return []
        try:
            data = os.read(self._input, 1024)
        except OSError:
            data = b""
        if not data:
            return ["q"]
        keys, self._unfinished = parse_keys(self._unfinished + data)
        return keys

    def _install_handlers(self) -> None:
        self._wake_pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake_pipe[1], warn_on_full_buffer=False)

        def end(signum: int, _: Any) -> None:
            if not self._ending:
                self._ending = True
                raise _Terminated(signum)

        def stop(*_: Any) -> None:
            self._stop_requested = True

        def go_on(*_: Any) -> None:
            self._resumed = True

        def note(*_: Any) -> None:
            """Do nothing: the wake-up descriptor ends the wait, and each drawing reads the size."""

        handlers: dict[int, Any] = dict.fromkeys(_END_SIGNALS, end)
        handlers |= {signal.SIGTSTP: stop, signal.SIGCONT: go_on, signal.SIGWINCH: note}
        for signum, handler in handlers.items():
            # A signal that the caller ignores (nohup) stays ignored.
            if signal.getsignal(signum) != signal.SIG_IGN:
                self._handlers[signum] = signal.signal(signum, handler)

    def _release_terminal(self) -> None:
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(-1)
        for fd in self._wake_pipe:
            os.close(fd)
        if self._opened_tty:
            os.close(self._input)

    def _find_input(self) -> None:
        if os.isatty(0):
            self._input = 0
            return
        try:
            self._input = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
            self._opened_tty = True
        except OSError:
            # Without a terminal there are no keys: only a signal ends the screen.
            pass

    def _enter_screen(self) -> None:
        if self._input >= 0:
            changed = termios.tcgetattr(self._input)
            if self._modes is None:
                self._modes = termios.tcgetattr(self._input)
            # Without IXON, Ctrl-S is a key: it must not stop the output, and with it this process.
            changed[0] &= ~termios.IXON
            changed[3] &= ~(termios.ICANON | termios.ECHO)
            changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self._input, termios.TCSANOW, changed)
        self._entered = True
        self._write(ENTER)

    def _leave_screen(self) -> None:
        try:
            # A terminal that takes no output (a dead connection) must not block the end.
            if self._entered and select.select([], [1], [], LEAVE_TIMEOUT)[1]:
                self._write(LEAVE)
        except (OSError, OperationError):
            # The terminal is gone, and needs no restoring.
            pass
        try:
            if self._modes is not None:
                termios.tcsetattr(self._input, termios.TCSANOW, self._modes)
        except termios.error:
            pass
        self._entered = False
        self._modes = None
