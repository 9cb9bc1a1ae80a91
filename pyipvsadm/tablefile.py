"""The embedded table kept in a file between commands.

Owns: loading, locking and storing it. Must never know: the table's rules (memory.py), the text's form (rules.py).

The file is rule text that loses nothing (rules.whole), oldest server first, so that replaying it gives the same table.
"""

from __future__ import annotations

import os

from pyipvsadm import files, rules
from pyipvsadm.argv import TRY_HELP, Scanner
from pyipvsadm.endpoint import NoNames
from pyipvsadm.errors import Failed, Skipped, Usage, sentence
from pyipvsadm.memory import Table
from pyipvsadm.quick import Rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyipvsadm.model import Change

_LOADED = ("add-service", "add-server", "set", "start-daemon")


class FileTable(Table):
    """A memory.Table whose rules are those of a file. Failed when the file is damaged (it stays as it is) or in use."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._lock: files.Lock | None = None
        self._changed = False
        super().__init__()
        self._load()

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if self._state() != self._seen:
            self._load()

    def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
        """Carry the changes out on what the file holds now, and store it; within `alone` it is stored at the end of that."""
        changes = list(changes)
        if self._lock is None:
            with self.alone():
                return self.apply(changes)
        refused = super().apply(changes)
        self._changed = self._changed or len(refused) < len(changes)
        return refused

    def _state(self) -> tuple[int, ...]:
        """What changes when the file does."""
        try:
            found = os.stat(self._path)
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def alone(self) -> FileTable:
        """The file's lock. What it holds is read at the start, and replaced at the end unless that is an exception."""
        return self

    def __enter__(self) -> None:
        lock = files.Lock(self._path)
        lock.__enter__()
        try:
            self._load()
        except BaseException:
            lock.__exit__()
            raise
        self._lock = lock
        self._changed = False

    def __exit__(self, kind: object, *_: object) -> None:
        assert self._lock is not None
        try:
            if self._changed and kind is None:
                files.replace(self._path, rules.whole(self))
        finally:
            self._lock.__exit__()
            self._lock = None

    def _load(self) -> None:
        self._seen = None  # until it is read
        state = self._state()
        plain = Rules()
        text = files.read(self._path)
        if said := rules.newer(text):
            raise Failed(f"{self._path}: {said} (the file is left as it is)")
        steps = [(at, plain.change(words) or self._change(at, words)) for at, words in rules.lines(text)]
        machine = self.interfaces
        # A daemon may have been started where its interface was; whatever was held before is forgotten.
        super().__init__(lambda _: True)
        try:
            refused = super().apply([change for _, change in steps])
        finally:
            self.interfaces = machine
        if refused:
            index, number = refused[0]
            at, change = steps[index]
            raise self._damaged(at, sentence(change.op, number))
        self._seen = state

    def _change(self, at: int, words: list[str]) -> Change:
        try:
            request = Scanner(words, NoNames()).request()  # a name in the file is damage
        except (Usage, Skipped) as bad:
            raise self._damaged(at, "this is no rule" if str(bad) == TRY_HELP else str(bad)) from None
        if request.change is None or request.command not in _LOADED:
            raise self._damaged(at, f"{request.command} does not belong in a table's file")
        return request.change

    def _damaged(self, at: int, why: str) -> Failed:
        return Failed(f"{self._path}: line {at}: {why.strip()} (the file is left as it is)")
