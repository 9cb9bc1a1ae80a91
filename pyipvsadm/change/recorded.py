"""Read the journal: which changes there are, and what each of them changed.

Owns: what the lines of an entry say was before a change, and after it. Must never know: how a change
is undone, how entries are listed.
"""

from __future__ import annotations

import json
import os

from pyipvsadm.change import desired
from pyipvsadm.change.journal import OPEN, SENT, Folder, identify_table
from pyipvsadm.change.plan import make_plan
from pyipvsadm.change.snapshot import Snapshot
from pyipvsadm.errors import OperationError, UsageError
from pyipvsadm.model import (
    DEL_DEST,
    DEL_SERVICE,
    FLUSH,
    NEW_DAEMON,
    NEW_SERVICE,
    SET_DEST,
    SET_SERVICE,
    Change,
    Service,
    Timeouts,
)
from pyipvsadm.rules import reader, writer
from pyipvsadm.rules.fast_parser import FastRuleParser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyipvsadm.change.desired import ServerKey, ServiceKey
    from pyipvsadm.change.plan import Plan
    from pyipvsadm.model import Daemon, Server
    from pyipvsadm.rules.reader import Context


class Entry:
    """Hold a file of the journal. header: the object of its first line."""

    __slots__ = ("header", "number", "state")

    def __init__(self, number: int, state: str, header: dict[str, object]) -> None:
        self.number = number
        self.state = state
        self.header = header

    @property
    def name(self) -> str:
        """Return the name of the file in its folder."""
        return f"{self.number}.{self.state}"

    @property
    def argv(self) -> list[str]:
        """Return the words of the command."""
        words = self.header.get("argv")
        return [*map(str, words)] if isinstance(words, list) else []


def read_entries(path: str, table: str) -> list[Entry]:
    """Return the entries of a table (Backend.name), the oldest first; none if the folder does not
    exist. Files whose first line is damaged are left out. Raise OperationError if the folder cannot
    be read.
    """
    identity = identify_table(table)
    entries = []
    try:
        with Folder(path) as folder:
            for number, state in folder.list_files():
                entry = Entry(number, state, {})
                try:
                    header = json.loads(folder.read_file(entry.name, first_line=True)[2:])
                except ValueError:
                    continue
                if isinstance(header, dict) and all(
                    header.get(key) == identity[key] for key in ("table", "netns")
                ):
                    entry.header = header
                    entries.append(entry)
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise OperationError(f"cannot read {path}: {exc.strerror}") from None
    return entries


def set_state(path: str, entry: Entry, state: str) -> None:
    """Give an entry another state. Raise OperationError if that fails."""
    try:
        with Folder(path) as folder:
            folder.rename_file(entry.name, f"{entry.number}.{state}")
    except OSError as exc:
        raise OperationError(f"cannot write {path}: {exc.strerror}") from None
    entry.state = state


def has_state(path: str, entry: Entry) -> bool:
    """Return True if the entry still has its state: another process may have changed it."""
    return os.path.exists(os.path.join(path, entry.name))


def find_awaited(entries: list[Entry], table: str) -> Entry | None:
    """Return the change of this table that is neither confirmed nor taken back yet, if there is one.
    After a boot, the table that it changed is gone.
    """
    boot = identify_table(table)["boot"]
    for entry in entries:
        if (
            entry.state == OPEN
            and entry.header.get("deadline") is not None
            and entry.header.get("boot") == boot
        ):
            return entry
    return None


def read_change(path: str, entry: Entry, context: Context) -> tuple[Plan, list[str]]:
    """Return what the command of an entry changed, as a plan from the state before to the state that
    it left, and the rules of the state before that cannot be read back as they were.

    Raise OperationError if the file cannot be read or is damaged.
    """
    try:
        with Folder(path) as folder:
            text = folder.read_file(entry.name)
    except OSError as exc:
        raise OperationError(f"cannot read {path}/{entry.name}: {exc.strerror}") from None
    rules, mark, sent = text.partition(SENT)
    if not mark:
        raise OperationError(f"{path}/{entry.name} is damaged: `# sent:' is missing")
    before = _State()
    lines = rules.split(b"\n")
    lost = []
    for lineno, change in _iter_changes(rules, context):
        line = os.fsdecode(lines[lineno - 1])
        if change is not None and writer.change_rule(change).rstrip("\n") == line:
            before.apply_change(change)
        else:
            lost.append(line)
    after = before.copy()
    for _, change in _iter_changes(sent, context):
        if change is not None:
            after.apply_change(change)
    goal = desired.describe_snapshot(after.build_snapshot(before))
    return make_plan(goal, before.build_snapshot(after), prune=True), lost


def _iter_changes(text: bytes, context: Context) -> Iterator[tuple[int, Change | None]]:
    """Yield the number of each line and its change, None if it is none."""
    parser = FastRuleParser()
    for lineno, words in reader.tokenize(text):
        try:
            step = parser.parse_change(words) or reader.parse_words(words, context)
        except UsageError:
            step = None
        yield lineno, step if isinstance(step, Change) else None


class _State:
    """Hold what is known of a table. A service of which only servers are known has no record."""

    def __init__(self) -> None:
        self.services: dict[ServiceKey, Service] = {}
        self.servers: dict[ServiceKey, dict[ServerKey, Server]] = {}  # the oldest first
        self.daemons: dict[int, Daemon] = {}
        self.timeouts = Timeouts(0, 0, 0)  # 0: not known

    def copy(self) -> _State:
        """Return a state that changes by itself; the records are shared."""
        state = _State()
        state.services = dict(self.services)
        state.servers = {key: dict(servers) for key, servers in self.servers.items()}
        state.daemons = dict(self.daemons)
        state.timeouts = self.timeouts
        return state

    def apply_change(self, change: Change) -> None:
        """Carry a change out as the table does; pass over what it would refuse."""
        if change.timeouts is not None:
            now, new = self.timeouts, change.timeouts
            self.timeouts = Timeouts(
                new.tcp or now.tcp, new.tcp_fin or now.tcp_fin, new.udp or now.udp
            )
        elif change.daemon is not None:
            if change.op == NEW_DAEMON:
                self.daemons.setdefault(change.daemon.state, change.daemon)
            else:
                self.daemons.pop(change.daemon.state, None)
        elif change.op == FLUSH:
            self.services.clear()
            self.servers.clear()
        elif change.service is not None:
            self._apply_to_service(change.op, change.service, change.server)

    def _apply_to_service(self, op: int, service: Service, server: Server | None) -> None:
        key = service.key()
        servers = self.servers.setdefault(key, {})
        if server is not None:
            if op == DEL_DEST:
                servers.pop(server.key(), None)
            elif (server.key() in servers) == (op == SET_DEST):
                servers[server.key()] = server
        elif op == DEL_SERVICE:
            self.services.pop(key, None)
            servers.clear()
        elif op in (NEW_SERVICE, SET_SERVICE) and (key in self.services) == (op == SET_SERVICE):
            self.services[key] = service

    def build_snapshot(self, other: _State) -> Snapshot:
        """Return the state as a snapshot. A service whose record is known neither here nor in the
        other state was there all the time: any record stands for it, the same in both.
        """
        rows = []
        for key in {**self.services, **self.servers, **other.servers}:
            unknown = key not in self.services and key not in other.services
            service = Service(*key) if unknown else self.services.get(key)
            if service is not None:
                rows.append((service, [*self.servers.get(key, {}).values()][::-1]))
        return Snapshot(rows, self.timeouts, [*self.daemons.values()])
