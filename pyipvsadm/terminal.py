"""The terminal while something is drawn on it: its modes, its alternate screen, keys, signals.

Owns: termios, escape sequences, that all is as before at any end. Must never know: what is drawn,
what a key means.

Plain ANSI as every terminal has it (ECMA-48, xterm's 1049). Lines are drawn over the old ones, not
after clearing: that does not flicker over a slow line.
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

# Alternate screen, no cursor, no wrapping at the margin (a line may be too long for the moment in
# which a window shrinks).
ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME = "\x1b[H"
CLEAR_LINE = "\x1b[K"

LEAVE_TIMEOUT = 1.0  # seconds

_SEQUENCES = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down",
    b"\x1b[5~": "page up", b"\x1b[6~": "page down",
    b"\x1b[H": "home", b"\x1bOH": "home", b"\x1b[1~": "home", b"\x1b[F": "end", b"\x1bOF": "end", b"\x1b[4~": "end",
}  # fmt: skip
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class _Terminated(
    BaseException
):  # not an error: a signal that ends us, after the terminal is as it was
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def parse_keys(data: bytes) -> tuple[list[str], bytes]:
    """The keys in what a terminal sent, by name or as the letter, and the start of a sequence that
    is not yet whole.

    Sequences without a name here, and bytes that are no ASCII letters, are passed over.
    """
    found = []
    while data:
        if data[0] != 0x1B:
            letter, data = data[:1], data[1:]
            if letter.isalpha():
                found.append(letter.decode("ascii"))
            continue
        if len(data) < 2:
            return found, data
        if data[1:2] not in (b"[", b"O"):
            data = data[1:]
            continue
        end = next((at for at in range(2, len(data)) if 0x40 <= data[at] < 0x7F), None)
        if end is None:
            return found, data if len(data) < 32 else b""  # longer is no key
        name = _SEQUENCES.get(data[: end + 1])
        found += [name] if name else []
        data = data[end + 1 :]
    return found, b""


class Screen:
    """The terminal at standard output, and the keys of standard input or, where that is no
    terminal, of /dev/tty.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._input = -1
        self._opened = False
        self._modes: list[Any] | None = None
        self._waiting = b""
        self._handlers: dict[int, Any] = {}
        self._stop = False
        self._again = False
        self._ending = False
        self._entered = False
        self._wake = (-1, -1)

    def run(self, body: Callable[[Screen], None]) -> None:
        """Run body with the terminal taken over; give it back however that ends.

        A signal that ends us does so only then, and as if we had never caught it.
        """
        number = 0
        try:
            self._install_handlers()
            self._find_input()
            self._enter_screen()
            body(self)
        except _Terminated as by:
            number = by.number
        finally:
            self._ending = True  # no further signal ends this
            self._leave_screen()
            self._release_terminal()
        if number:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def show(self, text: str) -> None:
        """Draw lines in the place of those drawn before."""
        # Cleared before it is written: after a letter in the last column, clearing would take that
        # letter.
        self._write(HOME + CLEAR_LINE + text.removesuffix("\n").replace("\n", "\r\n" + CLEAR_LINE))

    def read_keys(self, seconds: float) -> list[str]:
        """The keys pressed; none after so many seconds, or when the window has changed. `q` when
        the terminal is gone.
        """
        wanted = [self._wake[0]] + ([self._input] if self._input >= 0 else [])
        ready, _, _ = select.select(wanted, [], [], seconds)
        if self._wake[0] in ready:
            os.read(self._wake[0], 1024)
        if self._stop:
            self._stop = False
            self._leave_screen()
            os.kill(os.getpid(), signal.SIGSTOP)
            self._again = True
        if self._again:  # the shell had the terminal meanwhile
            self._again = False
            self._enter_screen()
        if self._input not in ready:
            return []
        try:
            data = os.read(self._input, 1024)
        except OSError:
            data = b""
        if not data:
            return ["q"]
        found, self._waiting = parse_keys(self._waiting + data)
        return found

    def _install_handlers(self) -> None:
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)

        def end(number: int, _: Any) -> None:
            if not self._ending:
                self._ending = True
                raise _Terminated(number)

        def stop(*_: Any) -> None:
            self._stop = True

        def go_on(*_: Any) -> None:
            self._again = True

        def note(*_: Any) -> None:
            """What wakes us is the descriptor; the window's size is asked for at each drawing."""

        others = ((signal.SIGTSTP, stop), (signal.SIGCONT, go_on), (signal.SIGWINCH, note))
        for number, handler in (*((each, end) for each in _ENDING), *others):
            # what our parent has ignored (nohup) stays so
            if signal.getsignal(number) != signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, handler)

    def _release_terminal(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        for fd in self._wake:
            os.close(fd)
        if self._opened:
            os.close(self._input)

    def _find_input(self) -> None:
        if os.isatty(0):
            self._input = 0
            return
        try:
            self._input = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
            self._opened = True
        except OSError:
            pass  # no keys: a signal ends it

    def _enter_screen(self) -> None:
        if self._input >= 0:
            changed = termios.tcgetattr(self._input)
            if self._modes is None:
                self._modes = termios.tcgetattr(self._input)
            # Ctrl-S is a key: output that it stopped would hold us where we are
            changed[0] &= ~termios.IXON
            changed[3] &= ~(termios.ICANON | termios.ECHO)
            changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self._input, termios.TCSANOW, changed)
        self._entered = True
        self._write(ENTER)

    def _leave_screen(self) -> None:
        try:
            # A line that takes nothing (a dead connection) must not keep us.
            if self._entered and select.select([], [1], [], LEAVE_TIMEOUT)[1]:
                self._write(LEAVE)
        except (OSError, OperationError):  # the terminal is gone: nobody sees the difference
            pass
        try:
            if self._modes is not None:
                termios.tcsetattr(self._input, termios.TCSANOW, self._modes)
        except termios.error:
            pass
        self._entered = False
        self._modes = None
