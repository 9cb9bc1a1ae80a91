"""Take a change back unless it is confirmed in time (--confirm-within), and confirm it (--confirm).

Owns: the process that waits for the deadline, the question at the terminal, messages and the exit
status. Must never know: how a change is made, how it is undone (commands/history.py).

Two processes wait. The one that was typed stays in the foreground: its status says how the change
ended, so that a script can rely on it, and at a terminal it takes an answer. It may be killed at any
time. The other takes the change back at the deadline. It is forked before anything is sent, has a
session of its own, and no descriptor of the terminal: neither a hangup nor the end of the shell
reaches it. What it prints goes through a pipe to the first process, and to the system's log.

They share nothing but the journal: the change is open as long as its entry is. A command that
confirms or undoes it holds the lock of the table and changes the state of the entry; both processes
see that and end.
"""

from __future__ import annotations

import fcntl
import os
import termios
import time
from contextlib import suppress

from pyipvsadm.change.journal import KEPT, OPEN
from pyipvsadm.commands.history import format_command, open_journal, read_history, undo_entry
from pyipvsadm.errors import SIGNALS, IpvsadmError, OperationError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyipvsadm.change.journal import Journal
    from pyipvsadm.change.recorded import Entry
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend

# Seconds between two looks at the entry, by the process in the foreground and by the other.
POLL_INTERVAL = 0.1
WAITER_INTERVAL = 0.5
NOT_CONFIRMED = 1  # exit status
_MAX_ANSWER = 256  # bytes
_BLOCK = 1 << 16


def run_confirm(request: Request, backend: Backend, env: Environment) -> int:
    """Keep the change that waits to be confirmed. Raise UsageError if there is none."""
    with backend.lock_table():
        entry = find_awaited_change(backend, env)
        if entry is None:
            raise UsageError(_explain_absence(backend, env))
        if "dry-run" in request.slots:
            env.write_stdout(f"dry run: would keep {entry.number}: {format_command(entry)}\n")
            return 0
        _keep_entry(entry, backend, env)
    env.write_stderr(f"kept {entry.number} ({format_command(entry)})")
    return 0


def find_awaited_change(backend: Backend, env: Environment) -> Entry | None:
    """Return the change of this table that waits to be confirmed."""
    from pyipvsadm.change.recorded import find_awaited  # noqa: PLC0415  # json costs 5 ms

    return find_awaited(read_history(backend, env), backend.name)


def _keep_entry(entry: Entry, backend: Backend, env: Environment) -> None:
    from pyipvsadm.change.recorded import set_state  # noqa: PLC0415

    set_state(env.find_history_folder(backend.name), entry, KEPT)


def _explain_absence(backend: Backend, env: Environment) -> str:
    """Say that no change waits, and how the last one that did has ended."""
    ended = [
        entry for entry in read_history(backend, env) if entry.header.get("deadline") is not None
    ]
    last = f": {ended[-1].number} is {ended[-1].state}" if ended else ""
    return f"no change of this table waits to be confirmed{last}"


class Confirmation:
    """Take one change back unless it is confirmed within some seconds. To be made before the table
    is locked and before another thread starts: it forks.

    program: the beginning of the commands that messages name. Raise OperationError if the table has
    no history.
    """

    def __init__(self, backend: Backend, env: Environment, seconds: int, program: str) -> None:
        self._backend = backend
        self._env = env
        self._seconds = seconds
        self._program = program
        self._number = 0
        self._terminal = -1
        self._is_reported = False
        self._refuse_second()
        env.block_signals()
        number_in, self._number_out = os.pipe()
        self._text_in, text_out = os.pipe()
        if not os.fork():
            os.close(self._number_out)
            os.close(self._text_in)
            _run_waiter(number_in, text_out, backend, env, seconds)
        os.close(number_in)
        os.close(text_out)
        os.set_blocking(self._text_in, False)

    def open_journal(self, program: str = "ipvsadm") -> Journal:
        """Return the journal for the change. Raise UsageError if another change waits to be
        confirmed.
        """
        self._refuse_second()
        journal = open_journal(
            self._backend,
            self._env,
            program,
            deadline=int(time.time()) + self._seconds,
            written=self._begin,
        )
        assert journal is not None  # or its history could not have been read
        return journal

    def _refuse_second(self) -> None:
        entry = find_awaited_change(self._backend, self._env)
        if entry is not None:
            raise UsageError(
                f"change {entry.number} ({format_command(entry)}) waits to be confirmed: "
                f"`{self._program} --confirm' keeps it, "
                f"`{self._program} --undo {entry.number}' takes it back; nothing was changed"
            )

    def _begin(self, number: int) -> None:
        """Tell the other process to wait for this change from now on."""
        if not self._number:
            self._number = number
            with suppress(BrokenPipeError):  # await_end says that the process was killed
                os.write(self._number_out, b"%d\n" % number)

    def await_end(self, status: int) -> int:
        """Wait until the change is confirmed or taken back, and ask at the terminal. status: of the
        change itself. Return it if the change is kept or was never made; 1 if it is taken back or
        stays open; 128 + n for signal n.
        """
        env = self._env
        entry = self._find_entry()
        os.close(self._number_out)
        if entry is None:
            if not status:
                env.write_stderr("nothing to confirm: the table was like this before")
            return status
        if entry.state == OPEN:
            self._print_instructions(entry)
            self._open_terminal()
        elif status:  # refused, and undone by the command itself
            return status
        while True:
            signal = env.wait(POLL_INTERVAL)
            if signal:
                env.write_stderr(
                    f"{SIGNALS[signal]}: change {entry.number} still waits to be confirmed"
                )
                return 128 + signal
            if not self._pass_text_on():
                return self._report_end(status)
            answer = self._read_answer()
            if answer:
                self._obey_answer(answer == "y", entry)

    def _find_entry(self) -> Entry | None:
        for entry in read_history(self._backend, self._env) if self._number else ():
            if entry.number == self._number:
                return entry
        return None

    def _print_instructions(self, entry: Entry) -> None:
        deadline = time.strftime("%H:%M:%S", time.localtime(_get_deadline(entry)))
        self._env.write_stderr(
            f"change {entry.number} is taken back at {deadline}, unless it is confirmed\n"
            "open a new session and test: established connections prove nothing\n"
            f"to keep it: {self._program} --confirm\n"
            f"to take it back now: {self._program} --undo {entry.number}"
        )

    def _open_terminal(self) -> None:
        """Ask at the terminal, if this process has one and is in its foreground."""
        try:
            self._terminal = os.open(
                "/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK
            )
            if self._is_in_foreground():
                termios.tcflush(self._terminal, termios.TCIFLUSH)  # typed before the question
            self._ask()
        except OSError:
            self._close_terminal()

    def _close_terminal(self) -> None:
        if self._terminal >= 0:
            os.close(self._terminal)
        self._terminal = -1

    def _ask(self) -> None:
        if self._is_in_foreground():
            os.write(self._terminal, b"keep the change? [y/n] ")

    def _is_in_foreground(self) -> bool:
        """Return True if the terminal may be read: a job in the background would be stopped."""
        return os.tcgetpgrp(self._terminal) == os.getpgrp()

    def _read_answer(self) -> str:
        """Return "y" or "n" if one of them was typed, else ""."""
        if self._terminal < 0:
            return ""
        try:
            if not self._is_in_foreground():
                return ""
            line = os.read(self._terminal, _MAX_ANSWER)
            answer = line.strip().lower()
            if not line:
                self._close_terminal()  # Ctrl-D, or a hangup
            elif answer in (b"y", b"yes"):
                return "y"
            elif answer in (b"n", b"no"):
                return "n"
            else:
                self._ask()
        except BlockingIOError:
            pass
        except OSError:
            self._close_terminal()  # a hangup
        return ""

    def _obey_answer(self, keep: bool, entry: Entry) -> None:
        """Keep the change or take it back, unless another process was faster; then it says so."""
        self._close_terminal()
        try:
            if not keep:
                self._is_reported = True
                _take_back(entry, self._backend, self._env)
                return
            with self._backend.lock_table():
                current = self._find_entry()
                if current is not None and current.state == OPEN:
                    _keep_entry(current, self._backend, self._env)
        except IpvsadmError as exc:
            self._env.write_stderr(str(exc))

    def _pass_text_on(self) -> bool:
        """Print what the other process has written. Return False if it has ended."""
        try:
            text = os.read(self._text_in, _BLOCK)
        except BlockingIOError:
            return True
        if text:
            self._is_reported = True
            self._env.write_stderr(os.fsdecode(text).rstrip("\n"))
        return bool(text)

    def _report_end(self, status: int) -> int:
        """Say how the change has ended, and return the exit status."""
        self._close_terminal()
        os.close(self._text_in)
        entry = self._find_entry()
        state = entry.state if entry else "gone from the history"
        if state == OPEN:
            self._env.write_stderr(
                f"change {self._number} stays, and is not taken back at the deadline any more: "
                f"`{self._program} --confirm' keeps it, "
                f"`{self._program} --undo {self._number}' takes it back"
            )
            return NOT_CONFIRMED
        if state == KEPT or not self._is_reported:
            self._env.write_stderr(f"change {self._number} is {state}")
        return status if state == KEPT else NOT_CONFIRMED


def start_confirmation(request: Request, backend: Backend, env: Environment) -> Confirmation | None:
    """Return the confirmation that a request asks for, None without --confirm-within or in a dry
    run.
    """
    seconds = request.ours.get("confirm-within")
    if not isinstance(seconds, int) or "dry-run" in request.slots:
        return None
    from pyipvsadm.commands.report import format_program  # noqa: PLC0415

    return Confirmation(backend, env, seconds, format_program(request.ours))


def _take_back(entry: Entry, backend: Backend, env: Environment) -> int:
    env.argv = ("--undo", str(entry.number))  # the history says that of this process
    return undo_entry(entry, backend, env)


def _get_deadline(entry: Entry) -> int:
    deadline = entry.header.get("deadline")
    return deadline if isinstance(deadline, int) else 0


def _run_waiter(
    number_in: int, text_out: int, backend: Backend, env: Environment, seconds: int
) -> NoReturn:
    """Leave the session, learn the number of the change, wait for its deadline, and end."""
    status = 1
    try:
        import _signal  # type: ignore[import-not-found]  # noqa: PLC0415  # beneath `signal`, as in cli.py

        os.setsid()
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
        _signal.signal(_signal.SIGHUP, _signal.SIG_IGN)
        backend.close()  # the socket is the first process's
        _move_descriptors(text_out, number_in)
        env.block_signals()
        env.open_syslog()
        with open(3, "rb") as file:
            number = file.readline().strip()
        # Without a number nothing was changed.
        status = 0
        if number:
            status = wait_for_deadline(int(number), seconds, env.open_backend(backend.name), env)
    except Exception as exc:  # noqa: BLE001  # without it, the process would end in silence
        env.write_stderr(f"the process that waits has failed: {type(exc).__name__}: {exc}")
    finally:
        os._exit(status)


def _move_descriptors(text_out: int, number_in: int) -> None:
    """Make these two descriptors standard error and descriptor 3, 0 and 1 /dev/null, and close all
    others: the caller may wait until nothing holds its pipes and locks any more.
    """
    text_out, number_in = (fcntl.fcntl(fd, fcntl.F_DUPFD, 4) for fd in (text_out, number_in))
    null = os.open("/dev/null", os.O_RDWR)
    for fd, target in ((null, 0), (null, 1), (text_out, 2), (number_in, 3)):
        os.dup2(fd, target)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))


def wait_for_deadline(number: int, seconds: int, backend: Backend, env: Environment) -> int:
    """Wait until the change is confirmed or undone, and return 0; take it back at the deadline, or
    if TERM asks this process to end before it, and return the status of that.
    """
    from pyipvsadm.change import execute, pace, recorded, undo  # noqa: PLC0415

    # Loaded now: the program may be replaced while this process waits.
    assert all((execute, pace, undo))
    folder = env.find_history_folder(backend.name)
    entry = find_awaited_change(backend, env)
    if entry is None or entry.number != number:
        return 0  # confirmed or undone already
    end = env.read_clock() + seconds
    reason = f"in {seconds} seconds"
    while True:
        left = end - env.read_clock()
        if not recorded.has_state(folder, entry):
            return 0
        if left <= 0:
            break
        signal = env.wait(min(left, WAITER_INTERVAL))
        if signal:
            reason = f"before {SIGNALS[signal]} ended the process that waits"
            break
    env.write_stderr(f"change {number} ({format_command(entry)}) was not confirmed {reason}")
    backend.refresh()
    try:
        return _take_back(entry, backend, env)
    except UsageError:  # confirmed or undone at the last moment
        return 0
    except OperationError as exc:
        env.write_stderr(f"it cannot be taken back: {exc}")
        return exc.status
