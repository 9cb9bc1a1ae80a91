"""What surrounds a run: streams, environment, resolver, clock, signals, opening a backend. Tests
put their own in its place.

Owns: file descriptors 0, 1 and 2, the environment, the clock, signals that end a program. Must
never know: what a request means.

Streams are plain descriptors: what is written is on its way when write returns, and a failure is
seen.
"""

from __future__ import annotations

import errno
import os

from pyipvsadm.errors import OperationError
from pyipvsadm.resolver import Resolver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pyipvsadm.doctor.host import Host
    from pyipvsadm.model import Backend
    from pyipvsadm.netns import EnteredNetns
    from pyipvsadm.terminal import Screen


class Environment:
    """The real one."""

    def __init__(self) -> None:
        self.environ: Mapping[str, str] = os.environ
        self.names = Resolver()
        self.is_root = os.geteuid() == 0
        # A descriptor that was closed when we started would be given to the next file or socket we
        # open, and that would get our output: hold its place, and remember.
        self._held: list[int] = []  # signals
        self._closed = [fd for fd in (0, 1, 2) if not _is_open(fd)]
        for _ in self._closed:
            try:
                os.open("/dev/null", os.O_RDWR)
            except OSError:
                break  # no /dev: what is opened next is the one file or socket of the backend

    @property
    def is_posix(self) -> bool:
        """Whether the first bare word ends the options (popt.c: poptGetContext)."""
        return "POSIXLY_CORRECT" in self.environ or "POSIX_ME_HARDER" in self.environ

    def write_stdout(self, data: str) -> None:
        """Write to standard output, all of it. Failed when that is not possible."""
        try:
            if 1 in self._closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            _write_all(1, data)
        except OSError as no:
            raise OperationError(f"cannot write to standard output: {no.strerror}") from None

    def write_stderr(self, line: str) -> None:
        """Write a line (or some) to standard error; where that fails there is nobody to tell.

        It may quote a file or a command line: to a terminal no character goes that it would obey.
        Scripts get all as it was.
        """
        if not line.isprintable() and self.is_error_terminal():
            from pyipvsadm.text import sanitize  # noqa: PLC0415  # few lines have such

            line = "\n".join(map(sanitize, line.split("\n")))
        self.write_raw_stderr(line + "\n")

    def write_raw_stderr(self, text: str) -> None:
        """Write to standard error as it is."""
        try:
            if 2 not in self._closed:
                _write_all(2, text)
        except OSError:
            pass

    def read_input(self) -> bytes:
        """All of standard input."""
        return b"".join(self.read_input_blocks())

    def read_input_blocks(self) -> Iterator[bytes]:
        """Standard input as it comes: from a terminal, a line at a time."""
        try:
            if 0 in self._closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            while block := os.read(0, 1 << 20):
                yield block
        except OSError as no:
            raise OperationError(f"cannot read standard input: {no.strerror}") from None

    def is_input_terminal(self) -> bool:
        """Whether a person types the input."""
        return 0 not in self._closed and os.isatty(0)

    def is_error_terminal(self) -> bool:
        """Whether a person may watch standard error."""
        return 2 not in self._closed and os.isatty(2)

    def block_signals(self) -> None:
        """From here on INT, TERM and HUP come to `wait` alone, and what is written to a closed pipe
        is lost and nothing else.

        For the rest of the process: what is begun is to be put in order before it ends. What we
        were started to ignore (nohup) stays ignored: held, it would come.
        """
        import _signal  # type: ignore[import-not-found]  # noqa: PLC0415  # beneath `signal`, as in cli.py

        ending = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)
        self._held = [number for number in ending if _signal.getsignal(number) != _signal.SIG_IGN]
        _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
        _signal.pthread_sigmask(_signal.SIG_BLOCK, self._held)

    def wait(self, seconds: float) -> int:
        """Let the seconds pass (none: look): 0, or sooner with the number of a signal that has come
        and is held.
        """
        if self._held:
            import _signal  # noqa: PLC0415

            came = _signal.sigtimedwait(self._held, seconds)
            return 0 if came is None else int(came.si_signo)
        import time  # noqa: PLC0415  # few commands need it

        time.sleep(seconds)
        return 0

    def is_output_terminal(self) -> bool:
        """Whether a person reads the output as it comes."""
        return 1 not in self._closed and os.isatty(1)

    def get_size(self) -> tuple[int, int]:
        """Columns and lines of the terminal; where there is none, what COLUMNS and LINES say, or 80
        x 24.
        """
        try:
            columns, lines = os.get_terminal_size(1)
        except OSError:
            columns = lines = 0
        return columns or _parse_number(self.environ.get("COLUMNS"), 80), lines or _parse_number(
            self.environ.get("LINES"), 24
        )

    def read_clock(self) -> float:
        """Seconds since some moment; never goes back."""
        import time  # noqa: PLC0415  # only what repeats needs a clock

        return time.monotonic()

    def run_on_screen(self, body: Callable[[Screen], None]) -> None:
        """Run body with the terminal taken over; it is given back at any end."""
        from pyipvsadm.terminal import Screen  # noqa: PLC0415

        Screen(self.write_stdout).run(body)

    def has_colours(self) -> bool:
        """Whether standard output is a terminal with colours."""
        from pyipvsadm.views.figures import has_colours  # noqa: PLC0415  # few commands draw

        return self.is_output_terminal() and has_colours(self.environ)

    def read_file(self, path: str) -> bytes:
        """Read a file that must be there, of any kind. Failed when it cannot be read."""
        from pyipvsadm.files import read_file  # noqa: PLC0415  # only what is used is imported

        return read_file(path)

    def has_interface(self, name: str) -> bool:
        """Whether this network namespace has an interface of that name."""
        from pyipvsadm.backends.memory import has_interface  # noqa: PLC0415

        return has_interface(name)

    def list_programs(self) -> set[str]:
        """What runs in this network namespace, by the first 15 bytes of its name; also what runs
        nobody can tell where.
        """
        here = _read_namespace("self")
        found: set[str] = set()
        try:
            entries = os.listdir("/proc")
        except OSError:
            return found  # no /proc
        for pid in entries:
            if pid.isdecimal() and _read_namespace(pid) in (here, None):
                try:
                    with open(f"/proc/{pid}/comm", "rb") as file:
                        found.add(os.fsdecode(file.read().rstrip(b"\n")))
                except OSError:
                    continue  # it has ended
        return found

    def open_backend(self, spec: str) -> Backend:
        """Open what spec names: "kernel", "memory" or "memory:FILE"."""
        if spec == "kernel":
            from pyipvsadm.backends.kernel import KernelBackend  # noqa: PLC0415  # only what is used is imported

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
        raise OperationError(f"unknown backend `{spec}': it is kernel, memory or memory:FILE", 2)

    def enter_netns(self, place: str) -> EnteredNetns:
        """The network of another namespace, as --netns names it, for the time of a `with`."""
        from pyipvsadm.netns import EnteredNetns  # noqa: PLC0415

        return EnteredNetns(place, self)

    def open_host(self) -> Host:
        """The machine around the table, for the doctor to look at."""
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
