"""Keep the embedded table in a file between commands.

Owns: loading, locking and storing it. Must never know: the table's rules (memory.py), the form of
the text (rules/).

The file is complete rule text (writer.dump_table), oldest server first, so that replaying it gives
the same table.
"""

from __future__ import annotations

import os
from io import BytesIO

from pyipvsadm import files
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.errors import LineSkippedError, OperationError, UsageError, format_error
from pyipvsadm.grammar.parser import TRY_HELP, CommandParser
from pyipvsadm.resolver import NullResolver
from pyipvsadm.rules import reader, writer
from pyipvsadm.rules.fast_parser import FastRuleParser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyipvsadm.locks import Lock
    from pyipvsadm.model import Change

_UNCHANGED = "(the file was not changed)"
_ALLOWED_COMMANDS = ("add-service", "add-server", "set", "start-daemon")


class TableFileBackend(MemoryBackend):
    """Hold a table whose rules are those of a file. Raise OperationError if it is no regular file,
    or damaged (it is left as it is).

    A symbolic link is resolved once: its target is locked, read and written. tell: prints messages
    about the lock (locks.Lock).
    """

    def __init__(self, path: str, tell: Callable[[str], None] = lambda _: None) -> None:
        self._path = os.path.realpath(path) if os.path.islink(path) else path
        self.name = f"memory:{os.path.abspath(self._path)}"
        self._tell = tell
        self._loaded_fingerprint: tuple[int, ...] | None = None
        self._lock: Lock | None = None
        self._changed = False
        super().__init__()
        self._load_file()

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if self._read_fingerprint() != self._loaded_fingerprint:
            self._load_file()

    def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
        """Carry the changes out on the present content of the file, and store it. Inside a `with`
        of lock_table, the table is stored at its end.
        """
        changes = list(changes)
        if self._lock is None:
            with self.lock_table():
                return self.apply(changes)
        refused = super().apply(changes)
        self._changed = self._changed or len(refused) < len(changes)
        return refused

    def _read_fingerprint(self) -> tuple[int, ...]:
        """Return a value that changes when the file does."""
        try:
            status = os.stat(self._path)
        except OSError:
            return ()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def lock_table(self) -> TableFileBackend:
        """Lock the file: reload on entry, write back on exit unless an exception was raised."""
        return self

    def __enter__(self) -> None:
        from pyipvsadm import locks  # noqa: PLC0415  # a listing takes no lock

        lock = locks.Lock(self._path, self._tell)
        lock.__enter__()
        try:
            self._load_file()
        except BaseException:
            lock.__exit__()
            raise
        self._lock = lock
        self._changed = False

    def __exit__(self, kind: object, *_: object) -> None:
        assert self._lock is not None
        try:
            if self._changed and kind is None:
                try:
                    text = self._format_file()
                except OperationError:
                    self._load_file()
                    raise
                files.replace_file(self._path, text)
        finally:
            self._lock.__exit__()
            self._lock = None

    def _load_file(self) -> None:
        # If loading fails, the next refresh must try again.
        self._loaded_fingerprint = None
        fingerprint = self._read_fingerprint()
        text = files.read_if_exists(self._path)
        if reason := reader.format_version_error(text):
            raise OperationError(f"{self._path}: line 1: {reason} {_UNCHANGED}")
        has_interface = self.interfaces
        # Start with an empty table. Every interface is accepted: that of a stored daemon need not
        # exist now.
        super().__init__(lambda _: True)
        try:
            # A line at a time: a large text is never held as changes.
            for lineno, change in _iter_changes(text):
                for _, errnum in self._carry_out([change]):
                    raise _LineError(lineno, format_error(change.op, errnum))
        except _LineError as exc:
            raise OperationError(f"{self._path}: line {exc.lineno}: {exc} {_UNCHANGED}") from None
        finally:
            self.interfaces = has_interface
        self._loaded_fingerprint = fingerprint

    def _format_file(self) -> bytes:
        """Return the table's text. Each line that the file does not have yet is read back, as the
        next command will: some names cannot be written as a rule. Raise OperationError if a line is
        read back differently.
        """
        old_lines = set(files.read_if_exists(self._path).split(b"\n"))
        text = BytesIO()  # a list of blocks and their join would hold a large text twice
        for block in map(os.fsencode, writer.dump_table(self)):
            self._check_lines([line for line in block.split(b"\n") if line not in old_lines])
            text.write(block)
        return text.getvalue()

    def _check_lines(self, lines: list[bytes]) -> None:
        try:
            for lineno, change in _iter_changes(b"\n".join(lines)):
                reread = writer.change_rule(change).rstrip("\n")
                line = os.fsdecode(lines[lineno - 1])
                if reread != line:
                    raise OperationError(
                        f"{self._path} cannot store `{line}': "
                        f"it would be read back as `{reread}' {_UNCHANGED}"
                    )
        except _LineError as exc:
            line = os.fsdecode(lines[exc.lineno - 1])
            raise OperationError(
                f"{self._path} cannot store `{line}': {exc} {_UNCHANGED}"
            ) from None


class _LineError(Exception):
    """Report a bad line of a table's text."""

    def __init__(self, lineno: int, reason: str) -> None:
        super().__init__(reason.strip())
        self.lineno = lineno


def _iter_changes(text: bytes) -> Iterator[tuple[int, Change]]:
    """Yield (line number, change) of each rule. Raise _LineError for the first line that is no
    change.
    """
    fast_parser = FastRuleParser()
    for lineno, words in reader.tokenize(text):
        yield lineno, fast_parser.parse_change(words) or _parse_change(lineno, words)


def _parse_change(lineno: int, words: list[str]) -> Change:
    try:
        # A table file has numeric addresses only: a name in it is damage, and is not resolved.
        request = CommandParser(words, NullResolver()).parse_request()
    except (UsageError, LineSkippedError) as exc:
        raise _LineError(
            lineno, "this is not a rule" if str(exc) == TRY_HELP else str(exc)
        ) from None
    if request.change is None or request.command not in _ALLOWED_COMMANDS:
        raise _LineError(lineno, f"{request.command} is not allowed in a table file")
    return request.change
