"""Provide the environment of a run: streams, variables, resolver, clock, signals, and opening a
backend. Tests replace it by a fake.

Owns: file descriptors 0, 1 and 2, the environment variables, the clock, signals that end a program.
Must never know: what a request means.

Streams are plain file descriptors, without a buffer: a failed write is noticed at once.
"""

from __future__ import annotations

import errno
import os

from pyipvsadm.errors import OperationError
from pyipvsadm.resolver import Resolver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pyipvsadm.doctor.host import Host
    from pyipvsadm.model import Backend
    from pyipvsadm.netns import EnteredNetns
    from pyipvsadm.terminal import Screen


# The settings of the service; `make install' puts its own SETTINGS_FILE here.
SETTINGS_FILE = "/etc/default/ipvsadm"
# Bytes of it that are read.
MAX_SETTINGS = 1 << 16
HISTORY_FOLDER = "/var/lib/ipvsadm/history"


class Environment:
    """Serve as the real process environment; tests pass a fake. argv: the words of the command."""

    argv: Sequence[str] = ()
    # Also receives each line for standard error, in a process that works when its user may be gone.
    log: Callable[[str], None] | None = None

    always_has_colours = False  # --color=always

    def __init__(self) -> None:
        self.environ: Mapping[str, str] = os.environ
        self.names = Resolver()
        self._blocked_signals: list[int] = []
        # If the caller closed descriptor 0, 1 or 2, the next file or socket to be opened would get
        # its number, and with it our output: /dev/null takes the number.
        self._closed = [fd for fd in (0, 1, 2) if not _is_open(fd)]
        for _ in self._closed:
            try:
                os.open("/dev/null", os.O_RDWR)
            except OSError:
                # Without /dev/null, only the file or socket of the backend can get the number.
                break

    @property
    def is_root(self) -> bool:
        """Return True if root runs this."""
        return os.geteuid() == 0

    @property
    def is_posix(self) -> bool:
        """Return True if the first word that is no option ends the options (popt.c:
        poptGetContext).
        """
        return "POSIXLY_CORRECT" in self.environ or "POSIX_ME_HARDER" in self.environ

    def write_stdout(self, data: str) -> None:
        """Write all of the text to standard output. Raise OperationError if that fails."""
        try:
            if 1 in self._closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            _write_all(1, data)
        except OSError as exc:
            raise OperationError(f"cannot write to standard output: {exc.strerror}") from None

    def write_stderr(self, line: str) -> None:
        """Write one or more lines to standard error; ignore a failure, which cannot be reported.

        A line may quote a file or a command line: on a terminal, control characters are replaced.
        Scripts see the text unchanged.
        """
        if self.log:
            self.log(line)
        if not line.isprintable() and self.is_error_terminal():
            from pyipvsadm.text import sanitize  # noqa: PLC0415  # few lines need it

            line = "\n".join(map(sanitize, line.split("\n")))
        self.write_raw_stderr(line + "\n")

    def write_raw_stderr(self, text: str) -> None:
        """Write the text to standard error unchanged; ignore a failure."""
        try:
            if 2 not in self._closed:
                _write_all(2, text)
        except OSError:
            pass

    def read_input(self) -> bytes:
        """Return all of standard input."""
        return b"".join(self.read_input_blocks())

    def read_input_blocks(self) -> Iterator[bytes]:
        """Yield standard input as it comes: from a terminal, a line at a time."""
        try:
            if 0 in self._closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            while block := os.read(0, 1 << 20):
                yield block
        except OSError as exc:
            raise OperationError(f"cannot read standard input: {exc.strerror}") from None

    def is_input_terminal(self) -> bool:
        """Return True if standard input is a terminal."""
        return 0 not in self._closed and os.isatty(0)

    def is_error_terminal(self) -> bool:
        """Return True if standard error is a terminal."""
        return 2 not in self._closed and os.isatty(2)

    def open_syslog(self) -> None:
        """Send each line for standard error to the system's log, too: a datagram to /dev/log, which
        systemd's journal or a syslog daemon reads. Without either, nothing is sent.
        """
        import syslog  # noqa: PLC0415  # one process needs it

        syslog.openlog("ipvsadm", syslog.LOG_PID, syslog.LOG_DAEMON)
        self.log = lambda line: syslog.syslog(syslog.LOG_WARNING, line)

    def block_signals(self) -> None:
        """Hold back INT, TERM and HUP, which `wait` then receives, and ignore SIGPIPE, so that a
        change that has begun is finished or undone before the run ends. A signal that the caller
        ignores stays ignored.
        """
        import _signal  # type: ignore[import-not-found]  # noqa: PLC0415  # beneath `signal`, as in cli.py

        end_signals = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)
        self._blocked_signals = [
            signum for signum in end_signals if _signal.getsignal(signum) != _signal.SIG_IGN
        ]
        _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
        _signal.pthread_sigmask(_signal.SIG_BLOCK, self._blocked_signals)

    def wait(self, seconds: float) -> int:
        """Wait for some seconds (0: do not wait) and return 0, or return the number of a blocked
        signal as soon as it comes.
        """
        if self._blocked_signals:
            import _signal  # noqa: PLC0415

            signal_info = _signal.sigtimedwait(self._blocked_signals, seconds)
            return 0 if signal_info is None else int(signal_info.si_signo)
        import time  # noqa: PLC0415  # few commands need it

        time.sleep(seconds)
        return 0

    def is_output_terminal(self) -> bool:
        """Return True if standard output is a terminal."""
        return 1 not in self._closed and os.isatty(1)

    def get_size(self) -> tuple[int, int]:
        """Return the columns and lines of the terminal; without a terminal, the values of COLUMNS
        and LINES, or 80 and 24.
        """
        try:
            columns, lines = os.get_terminal_size(1)
        except OSError:
            columns = lines = 0
        return columns or _parse_number(self.environ.get("COLUMNS"), 80), lines or _parse_number(
            self.environ.get("LINES"), 24
        )

    def read_clock(self) -> float:
        """Return the seconds of a monotonic clock."""
        import time  # noqa: PLC0415  # only commands that repeat need a clock

        return time.monotonic()

    def run_on_screen(self, body: Callable[[Screen], None]) -> None:
        """Run body with the terminal taken over, and restore the terminal however body ends."""
        from pyipvsadm.terminal import Screen  # noqa: PLC0415

        Screen(self.write_stdout).run(body)

    def has_colours(self) -> bool:
        """Return True if standard output is to have colours."""
        from pyipvsadm.views.figures import has_colours  # noqa: PLC0415  # few commands draw

        return self.always_has_colours or (self.is_output_terminal() and has_colours(self.environ))

    def read_file(self, path: str) -> bytes:
        """Read a file of any kind. Raise OperationError if it does not exist or cannot be read."""
        from pyipvsadm.files import read_file  # noqa: PLC0415  # few commands read a file

        return read_file(path)

    def find_history_folder(self, table: str) -> str:
        """Return the folder of the history for a table (Backend.name), "" if it has none: only the
        kernel's table has a history without IPVSADM_HISTORY, and a table that ends with the run never
        has one.
        """
        default = HISTORY_FOLDER if table == "kernel" else ""
        return (self.environ.get("IPVSADM_HISTORY") or default) if table else ""

    def records_all(self) -> bool:
        """Return True if the settings of the service have the line JOURNAL=all: then simple
        commands are in the history, too.
        """
        try:
            fd = os.open(SETTINGS_FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            return False
        try:
            lines = os.read(fd, MAX_SETTINGS).split(b"\n")
        except OSError:
            return False
        finally:
            os.close(fd)
        values = [line[8:] for line in map(bytes.strip, lines) if line[:8] == b"JOURNAL="]
        return bool(values) and values[-1].split(b"#")[0].strip(b" \t\"'") == b"all"

    def has_interface(self, name: str) -> bool:
        """Return True if this network namespace has an interface of this name."""
        from pyipvsadm.backends.memory import has_interface  # noqa: PLC0415

        return has_interface(name)

    def list_programs(self) -> set[str]:
        """Return the names (the first 15 bytes) of the programs that run in this network namespace
        or in one that cannot be read.
        """
        here = _read_namespace("self")
        names: set[str] = set()
        try:
            entries = os.listdir("/proc")
        except OSError:
            # /proc is not mounted.
            return names
        for pid in entries:
            if pid.isdecimal() and _read_namespace(pid) in (here, None):
                try:
                    with open(f"/proc/{pid}/comm", "rb") as file:
                        names.add(os.fsdecode(file.read().rstrip(b"\n")))
                except OSError:
                    # The process has ended meanwhile.
                    continue
        return names

    def open_backend(self, spec: str) -> Backend:
        """Open what spec names: "kernel", "memory" or "memory:FILE"."""
        if spec == "kernel":
            from pyipvsadm.backends.kernel import KernelBackend  # noqa: PLC0415  # one of three

            trace = None
            if self.environ.get("IPVSADM_DEBUG") == "netlink":
                from pyipvsadm.netlink.trace import describe_datagram  # noqa: PLC0415

                def trace(direction: str, data: bytes) -> None:
                    for line in describe_datagram(direction, data):
                        self.write_stderr(line)

            return KernelBackend(trace, self.write_stderr)
        kind, colon, path = spec.partition(":")
        if kind == "memory" and not colon:
            from pyipvsadm.backends.memory import MemoryBackend  # noqa: PLC0415

            return MemoryBackend()
        if kind == "memory" and path:
            from pyipvsadm.backends.table_file import TableFileBackend  # noqa: PLC0415

            return TableFileBackend(path, self.write_stderr)
        raise OperationError(f"unknown backend `{spec}': use kernel, memory or memory:FILE", 2)

    def enter_netns(self, netns_name: str) -> EnteredNetns:
        """Enter the network namespace that --netns names, for the time of a `with`."""
        from pyipvsadm.netns import EnteredNetns  # noqa: PLC0415

        return EnteredNetns(netns_name, self)

    def open_host(self) -> Host:
        """Return this machine, for the doctor to examine."""
        from pyipvsadm.doctor.host import Host  # noqa: PLC0415  # pyroute2 costs 200 ms

        return Host()


def _parse_number(text: str | None, default: int) -> int:
    return (text and text.isascii() and text.isdigit() and len(text) < 5 and int(text)) or default


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _read_namespace(pid: str) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return None


def _write_all(fd: int, text: str) -> None:
    data = memoryview(os.fsencode(text))
    while data:
        data = data[os.write(fd, data) :]
