"""Plan how steps that were done are undone: after a refusal or a signal, by --undo and --undrain.

Owns: which steps may be undone, the changes that undo them, which steps are left and why. Must never
know: why the steps were done, how changes are sent.

The undo restores each setting that still has the value we gave it. It never touches an entry that
another program made or a setting that another program changed since, and it lists what it left. It
reads only the entries that the steps have touched.
"""

from __future__ import annotations

import errno

from pyipvsadm.change.merge import copy_record
from pyipvsadm.change.plan import REMOVAL_OF, Plan, Step, change_key, compute_running_daemon
from pyipvsadm.change.snapshot import (
    SERVER_SETTINGS,
    SERVICE_SETTINGS,
    get_service_settings,
    read_all_servers,
    read_service,
    server_settings,
)
from pyipvsadm.model import (
    AF_INET,
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    HASHED,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    PROTOCOLS,
    SET_CONFIG,
    SET_DEST,
    SET_SERVICE,
    Change,
    Daemon,
    Server,
    Service,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyipvsadm.model import Backend, Timeouts

    _Key = tuple[object, ...]

# A removal of an entry that is gone counts as done.
GONE = {
    DEL_SERVICE: (errno.ESRCH,),
    DEL_DEST: (errno.ESRCH, errno.ENOENT),
    DEL_DAEMON: (errno.ESRCH,),
}
# From this number of services on, and if they are at least 1/SHARE of the table, the undo reads them
# by one dump instead of one by one.
MANY = 100
SHARE = 8

_ADDITION_OF = {removal: addition for addition, removal in REMOVAL_OF.items()}


class UndoPlan:
    """Hold the changes that undo steps. pairs: each step that can be undone with the step that
    undoes it, in the order of sending. left: each step that cannot be undone, with the reason.
    """

    __slots__ = ("left", "pairs")

    def __init__(self) -> None:
        self.pairs: list[tuple[Step, Step]] = []
        self.left: list[tuple[Step, str]] = []

    def make_plan(self) -> Plan:
        """Return the changes as a plan: the removals, which come last, are its second phase. Daemons
        start after them if a server goes that excludes them.
        """
        steps = [undoing for _, undoing in self.pairs]
        mixed = any(_removes_mixed(step.change) for step in steps)
        phases: tuple[list[Step], list[Step], list[Step]] = ([], [], [])
        for step in steps:
            is_last = mixed and step.change.op == NEW_DAEMON
            phases[2 if is_last else step.change.op in (DEL_SERVICE, DEL_DEST)].append(step)
        plan = Plan()
        plan.phases = [phase for phase in phases if phase]
        for step in steps:
            plan.count_step(step, 1)
            plan.removed += step.change.op == DEL_SERVICE
            if step.change.op == DEL_DEST and step.change.service is not None:
                plan.orders[step.change.service.key()] = []
        return plan


def _removes_mixed(change: Change) -> bool:
    """Return True if the change removes a server of another address family than its service's."""
    service, server = change.service, change.server
    return (
        change.op == DEL_DEST
        and service is not None
        and server is not None
        and server.af != service.af
    )


def plan_undo(done: Sequence[Step], backend: Backend, held: int = 0) -> UndoPlan:
    """Return what undoes the steps, last first, as far as they are still as we left them.

    held: how many services the table has, 0 if that is not known. Raise OperationError or
    RefusedError if the table cannot be read.
    """
    touched = _Touched(backend, done, held)
    found = UndoPlan()
    for step in reversed(done):
        restoring, reason = touched.find_restoring(step)
        if reason:
            found.left.append((step, reason))
        for change in restoring:
            found.pairs.append((step, Step(step.line, change, *touched.invert(change))))
            touched.record_done(change)
    return found


class _Touched:
    """Hold the present state of the entries that steps changed; `record_done` keeps it up to date
    with the undo's own changes.

    Raise OperationError or RefusedError if an entry cannot be read.
    """

    def __init__(self, backend: Backend, steps: Sequence[Step], held: int) -> None:
        self._now: dict[_Key, object] = {}  # settings, to be compared
        self._records: dict[_Key, Service | Server] = {}
        self._servers: dict[_Key, set[_Key]] = {}  # by service
        self._overtaken: set[_Key] = set()  # not as the last of our steps left them
        wanted = {
            step.change.service.key(): step.change.service
            for step in steps
            if step.change.service is not None
        }
        many = len(wanted) >= MANY and len(wanted) * SHARE >= held
        dumped = (
            {service.key(): service for service in backend.read_services(counters=False)}
            if many
            else {}
        )
        empty = _find_empty(backend) if many else frozenset()
        for key, service in wanted.items():
            found = dumped.get(key) or read_service(backend, service)
            self._servers[key] = set()
            if found is not None:
                self._now[key] = get_service_settings(found)
                self._records[key] = found
                for server in (
                    () if _format_heading(service) in empty else read_all_servers(backend, service)
                ):
                    self._now[key, server.key()] = server_settings(server)
                    self._records[key, server.key()] = server
                    self._servers[key].add(server.key())
        self._timeouts: Timeouts | None = None
        if any(step.change.timeouts for step in steps):
            self._timeouts = backend.read_timeouts()
            self._now["time-outs",] = self._timeouts
        if any(step.change.daemon for step in steps):
            self._now |= {(daemon.state,): daemon for daemon in backend.read_daemons()}

    def find_restoring(self, step: Step) -> tuple[list[Change], str]:
        """Return the changes that undo a step, and why it cannot be undone ("" if it can, or if the
        entry is as before it already).
        """
        key, made = self._find_expected(step.change)
        now = self._now.get(key)
        if step.change.op in (SET_DEST, SET_SERVICE):
            return self._plan_restoring(step, self._records.get(key))
        # A daemon is replaced by two steps: if another program has stopped the new one, it looks as
        # our first step left it.
        if now == made and key not in self._overtaken:
            # Deleting a service deletes its servers. Those that we added are undone before it.
            if step.change.op == NEW_SERVICE and self._servers[key]:
                return [], "another program added servers to it meanwhile"
            return [*step.undo], ""
        self._overtaken.add(key)
        before = map(self._find_expected, step.undo)
        if all(self._now.get(other) == state for other, state in before):
            return [], ""
        return [], "another program changed it meanwhile"

    def _find_expected(self, change: Change) -> tuple[_Key, object]:
        """Return the key of the entry that a change is about, and the settings that the change
        leaves (None if it deletes the entry), to be compared.
        """
        key = change_key(change)
        state: object = None
        if change.op in GONE:
            pass
        elif change.daemon is not None:
            now = self._now.get(key)
            state = compute_running_daemon(
                change.daemon, now if isinstance(now, Daemon) else change.daemon
            )
        elif change.service is None:
            state = change.timeouts
        elif change.server is not None:
            state = server_settings(change.server)
        else:
            state = get_service_settings(change.service)
        return key, state

    def _plan_restoring(
        self, step: Step, present: Service | Server | None
    ) -> tuple[list[Change], str]:
        """Restore those settings that an edit changed and that still have the edit's value; the
        entry's other settings stay as they are now.
        """
        before, after = step.undo[0].record, step.change.record
        if present is None:
            return [], "it is no longer there"
        restored = copy_record(present)
        for name in SERVER_SETTINGS if isinstance(present, Server) else SERVICE_SETTINGS:
            old, new, now = (getattr(record, name) for record in (before, after, present))
            if name == "flags":
                old, new, now = old & ~HASHED, new & ~HASHED, now & ~HASHED
            if old in (new, now):
                continue
            if now != new:
                return [], f"another program set its {name} to {now} meanwhile"
            setattr(restored, name, old)
        if restored == present:
            return [], ""
        service = step.undo[0].service if isinstance(restored, Server) else restored
        assert isinstance(service, Service)
        server = restored if isinstance(restored, Server) else None
        return [Change(step.change.op, service, server)], ""

    def invert(self, change: Change) -> list[Change]:
        """Return the changes that take back a change which is about to be made. An addition needs none
        (Step).
        """
        if change.op in REMOVAL_OF:
            return []
        key = change_key(change)
        if change.op == SET_CONFIG:
            return [Change(SET_CONFIG, timeouts=self._timeouts)]
        if change.op in (SET_SERVICE, SET_DEST, DEL_SERVICE, DEL_DEST):
            op = _ADDITION_OF.get(change.op, change.op)
            present = self._records[key]
            if isinstance(present, Service):
                return [Change(op, present)]
            return [Change(op, change.service, present)]
        return [Change(NEW_DAEMON, daemon=change.daemon)]

    def record_done(self, change: Change) -> None:
        """Record that the undo makes this change."""
        name, made = self._find_expected(change)
        self._now[name] = made
        if change.op in (NEW_SERVICE, NEW_DEST, SET_SERVICE, SET_DEST):
            self._records[name] = change.record
        if change.service is None:
            return
        key = change.service.key()
        if change.server is None:
            if made is None:
                self._servers[key].clear()
        elif made is None:
            self._servers[key].discard(change.server.key())
        else:
            self._servers[key].add(change.server.key())


def _find_empty(backend: Backend) -> set[bytes]:
    """Return the services that certainly have no servers, as /proc/net/ip_vs begins their lines.

    Reading that file costs little, and it shows a service with all of its servers or not at all
    (ip_vs_ctl.c: ip_vs_info_seq_show).
    """
    overview = backend.read_proc_table()
    empty: set[bytes] = set()
    heading = b""
    for line in overview.text.splitlines() if overview else ():
        if line.startswith(b"  ->"):
            empty.discard(heading)
        else:
            heading = b" ".join(line.split(None, 2)[:2])
            empty.add(heading)
    return empty


def _format_heading(service: Service) -> bytes:
    """Return the words that begin a service's line in /proc/net/ip_vs; b"" if it is not looked for
    there.
    """
    if service.fwmark or service.af != AF_INET or service.protocol not in PROTOCOLS:
        return b""
    return b"%s %s:%04X" % (
        PROTOCOLS[service.protocol].encode(),
        service.addr.hex().upper().encode(),
        service.port,
    )
