"""Keep a journal of changes: a file for each, with all that is needed to undo it.

Owns: the folder, the form of a file, how many files are kept, what tells tables apart. Must never
know: how a change is sent or undone, what a file says was changed (change/recorded.py).

A file holds a line with a JSON object (who, when, what), the rules of the entries concerned as they
were before, and the lines that were sent:

    # {"format": 1, "time": "2026-11-28T09:50:01Z", ..., "argv": ["--apply", "web"], ...}
    -a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 1
    # sent:
    -e -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 5

What the command left behind follows from both, so a kill at any moment leaves a file that says what
may have been done. The file's name is its number and its state: `12.open` while the change is under
way, then `12.kept`, or `12.undone`. A change with a deadline stays open after its command has sent it,
until it is confirmed or undone. A state changes by renaming, which is atomic.

Nothing is synced to the disk: a table does not survive the power failure that would lose its
journal. A journal that cannot be written never stops a change: it is reported, in one line. But a
change with a deadline could not be taken back without its entry, and is not begun.
"""

from __future__ import annotations

import fcntl
import os

from pyipvsadm.addresses import format_numeric
from pyipvsadm.change.snapshot import TRIES, read_all_servers
from pyipvsadm.errors import OperationError, UsageError
from pyipvsadm.files import read_file
from pyipvsadm.rules import writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyipvsadm.change.execute import Outcome
    from pyipvsadm.change.plan import Plan
    from pyipvsadm.model import Backend

FORMAT = 1  # of a file; a later release may add keys to its first line
OPEN, KEPT, UNDONE = "open", "kept", "undone"
NOT_BEGUN = ""  # no state: the entry is removed
STATES = (OPEN, KEPT, UNDONE)
MAX_ENTRIES = 50
MAX_BYTES = 64 << 20  # of all files: 200,000 rules take 12 MB
SENT = b"# sent:\n"


class Folder:
    """Hold the folder of a journal open and locked, for a `with`.

    create: make the folder if it does not exist. Raise OSError if it cannot be opened,
    OperationError if other users may write to it.
    """

    def __init__(self, path: str, create: bool = False) -> None:
        self._path = path
        self._create = create
        self._fd = -1

    def __enter__(self) -> Folder:  # noqa: PYI034  # Self comes with Python 3.11
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            self._fd = os.open(self._path, flags)
        except FileNotFoundError:
            if not self._create:
                raise
            for path in (os.path.dirname(self._path), self._path):
                try:
                    os.mkdir(path or ".", 0o700)
                except FileExistsError:
                    continue
            self._fd = os.open(self._path, flags)
        try:
            status = os.fstat(self._fd)
            if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
                raise OperationError(f"{self._path} is not used: other users may write to it")
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def list_files(self) -> list[tuple[int, str]]:
        """Return number and state of each file, in the order of their numbers."""
        parts = (name.partition(".") for name in os.listdir(self._fd))
        return sorted(
            (int(number), state)
            for number, _, state in parts
            if number.isdecimal() and number.isascii() and state in STATES
        )

    def write_file(self, name: str, blocks: Sequence[bytes]) -> None:
        """Write a file, whole or not at all."""
        new = f"{name}.new"
        fd = self._open_file(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            try:
                for block in blocks:
                    remaining = memoryview(block)
                    while remaining:
                        remaining = remaining[os.write(fd, remaining) :]
            finally:
                os.close(fd)
            self.rename_file(new, name)
        except OSError:
            self.remove_file(new)
            raise

    def read_file(self, name: str, first_line: bool = False) -> bytes:
        """Return a file, or its first line."""
        with open(self._open_file(name, os.O_RDONLY), "rb") as file:
            return file.readline() if first_line else file.read()

    def rename_file(self, old: str, new: str) -> None:
        """Rename a file within the folder."""
        os.rename(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def remove_file(self, name: str) -> None:
        """Remove a file."""
        os.unlink(name, dir_fd=self._fd)

    def remove_old(self, newest: int) -> None:
        """Keep to MAX_ENTRIES and MAX_BYTES. The oldest files go first, open ones last, the newest
        never.
        """
        files = [
            (state == OPEN, number, f"{number}.{state}") for number, state in self.list_files()
        ]
        sizes = {name: os.stat(name, dir_fd=self._fd).st_size for _, _, name in files}
        removable = sorted(file for file in files if file[1] != newest)
        while len(sizes) > MAX_ENTRIES or sum(sizes.values()) > MAX_BYTES:
            name = removable.pop(0)[2]
            self.remove_file(name)
            del sizes[name]

    def _open_file(self, name: str, flags: int) -> int:
        return os.open(
            name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600, dir_fd=self._fd
        )


class Journal:
    """Write the entry of one change. folder: its path. header: what the first line says beside the
    format; if it has a deadline, the entry stays open. tell: prints a message. written: called with
    the entry's number as soon as it is written.

    number: of the entry, 0 if there is none.
    """

    def __init__(
        self,
        folder: str,
        header: dict[str, object],
        tell: Callable[[str], None],
        written: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._folder = folder
        self._header = header
        self._tell = tell
        self._written = written
        self._stays_open = header.get("deadline") is not None
        self.number = 0
        self._failed = False

    def open_entry(self, plan: Plan) -> None:
        """Write a plan before its first change is sent, or anew after it was amended. A plan
        without steps has no entry. Raise UsageError if an entry with a deadline cannot be written.
        """
        sent = "".join(step.format_rule() for step in plan.iter_steps())
        if sent:
            self._write_entry(plan.format_before(), os.fsencode(sent))

    def open_replacement(self, backend: Backend, sent: bytes) -> None:
        """Write the whole table before the lines that replace it are sent."""
        try:
            self._write_entry(format_table(backend), sent)
        except OperationError as exc:
            self._report_failure(exc)

    def _write_entry(self, before: str, sent: bytes) -> None:
        if self._failed:
            return
        head = f"# {_format_header({'format': FORMAT, **self._header})}\n"
        blocks = [os.fsencode(head), os.fsencode(before), SENT, sent]
        size = sum(map(len, blocks))
        try:
            if size > MAX_BYTES:
                raise OperationError(f"it takes {size >> 20} MB, {MAX_BYTES >> 20} are kept")
            with Folder(self._folder, create=True) as folder:
                numbers = [number for number, _ in folder.list_files()]
                number = self.number or max(numbers, default=0) + 1
                folder.write_file(f"{number}.{OPEN}", blocks)
                self.number = number
                self._written(number)
                folder.remove_old(number)
        except (OSError, OperationError) as exc:
            self._report_failure(exc)

    def close_entry(self, outcome: Outcome) -> None:
        """Record how a plan has ended: kept, undone, or never begun."""
        if not outcome.done:
            self.close(NOT_BEGUN)
        elif outcome.undone and not outcome.not_undone:
            self.close(UNDONE)
        else:
            self.close(KEPT)

    def close(self, state: str) -> None:
        """Give the entry a state, or remove it (NOT_BEGUN). An entry with a deadline is not kept
        before it is confirmed.
        """
        if not self.number or self._failed or (state == KEPT and self._stays_open):
            return
        name = f"{self.number}.{OPEN}"
        try:
            with Folder(self._folder) as folder:
                if state:
                    folder.rename_file(name, f"{self.number}.{state}")
                else:
                    folder.remove_file(name)
        except (OSError, OperationError) as exc:
            self._report_failure(exc)

    def _report_failure(self, exc: OSError | OperationError) -> None:
        self._failed = True
        reason = exc.strerror if isinstance(exc, OSError) else exc
        if self._stays_open and not self.number:
            raise UsageError(
                f"this change could not be taken back: {self._folder}: {reason}; nothing was changed"
            ) from None
        self._tell(f"this change is not in the history ({self._folder}): {reason}")


def _format_header(header: dict[str, object]) -> str:
    """Return an object of strings, numbers, nulls and lists of strings as JSON."""
    # `json' would cost every command that writes a journal more than the journal itself.
    from _json import encode_basestring_ascii as quote  # noqa: PLC0415

    def format_value(value: object) -> str:
        if isinstance(value, list):
            return f"[{', '.join(map(format_value, value))}]"
        if isinstance(value, str):
            return str(quote(value))
        return "null" if value is None else str(value)

    return (
        f"{{{', '.join(f'{quote(key)}: {format_value(value)}' for key, value in header.items())}}}"
    )


def identify_table(name: str) -> dict[str, object]:
    """Return what tells the table apart from others: the kernel's has a network namespace, and ends
    when the machine is booted anew.
    """
    if name != "kernel":
        return {"table": name, "netns": "", "boot": ""}
    try:
        netns = os.readlink("/proc/self/ns/net")
        boot = read_file("/proc/sys/kernel/random/boot_id").decode("ascii", "replace").strip()
    except (OSError, OperationError):
        return {"table": name, "netns": "", "boot": ""}  # /proc is not mounted
    return {"table": name, "netns": netns, "boot": boot}


def format_table(backend: Backend) -> str:
    """Return the whole table as rules. Raise OperationError if services come and go all the time.

    Unlike a snapshot, it holds the records of one service only: the table may be large.
    """
    for _ in range(TRIES):
        services = backend.read_services(counters=False)
        text = "".join(
            line
            for _, line in writer.iter_full_rules(
                ((service, read_all_servers(backend, service)) for service in services),
                backend.read_timeouts(),
                backend.read_daemons(),
                format_numeric,
            )
        )
        again = backend.read_services(counters=False)
        if {service.key() for service in services} == {service.key() for service in again}:
            return text
    raise OperationError(f"the table kept changing while it was read ({TRIES} times)")
