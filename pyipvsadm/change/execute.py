"""Execute a plan, and undo the steps that were done if the kernel refuses one or a signal comes.

Owns: when to stop, which steps may be undone, which steps are reported as not undone. Must never
know: why a plan has its steps, how its outcome is printed.

Phases are sent one after the other. Within a phase, the changes after a refused one are still
carried out (Backend.apply), but no later phase begins. A pace may wait between two phases; a signal
stops the plan before its next phase, and the steps done so far are undone.

Another program may change an entry between our reading and our sending: a service that the plan
adds exists already, a server that it edits is gone. That is no refusal. The services concerned are
read again, planned again (Plan.replace_remaining), and the plan goes on from there.

The undo restores each setting that still has the value we gave it. It never touches an entry that
another program made or a setting that another program changed since, and it lists what it left. It
reads only the entries that the plan has touched.
"""

from __future__ import annotations

import errno

from pyipvsadm.change.merge import copy_record
from pyipvsadm.change.plan import change_key
from pyipvsadm.change.snapshot import (
    SERVER_SETTINGS,
    SERVICE_SETTINGS,
    get_server_keys,
    get_service_settings,
    read_service,
    read_until_stable,
    server_settings,
)
from pyipvsadm.errors import OperationError, RefusedError, UsageError, format_error
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
    SET_DEST,
    SET_SERVICE,
    Change,
    Server,
    Service,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from pyipvsadm.backends.memory import MemoryBackend
    from pyipvsadm.change.pace import Pace
    from pyipvsadm.change.plan import Plan, Step
    from pyipvsadm.model import Backend

    _Key = tuple[object, ...]
    Locked = Callable[[], AbstractContextManager[None]]
    Replan = Callable[[list[Step]], Plan]

# How often a plan is amended because another program changed the table first.
MAX_AMENDMENTS = 5

# A removal of an entry that is gone counts as done.
_GONE = {
    DEL_SERVICE: (errno.ESRCH,),
    DEL_DEST: (errno.ESRCH, errno.ENOENT),
    DEL_DAEMON: (errno.ESRCH,),
}
_MAKES = (NEW_SERVICE, NEW_DEST)
# Answers that mean that the table has changed since it was read. If a phase has no other refusal,
# another program has made the change.
_OVERTAKEN = {
    NEW_SERVICE: (errno.EEXIST,),
    NEW_DEST: (errno.EEXIST, errno.ESRCH),
    NEW_DAEMON: (errno.EEXIST,),
    SET_SERVICE: (errno.ESRCH,),
    SET_DEST: (errno.ESRCH, errno.ENOENT),
}

# From this number of services on, and if they are at least 1/SHARE of the table, the undo reads them
# by one dump instead of one by one.
MANY = 100
SHARE = 8
# A server takes at least 356 bytes of a dump's first datagram of 3.7 KB, which the kernel fills in
# one go: a dump of fewer servers than this is never torn by a deletion.
AT_ONCE = 9


class Outcome:
    """Hold the result of a plan.

    refused: each refused step with the kernel's answer. signal: the number of the signal that
    stopped the plan, or 0. stopped: why the pace gave up waiting, "" if it did not. meanwhile: each
    step that another program was faster than, and what was done about it. done: the steps that were
    carried out. undone: those of them that were undone; not_undone: those that could not be, with
    the reason; reordered: services whose servers came back in another order.
    """

    __slots__ = (
        "done", "meanwhile", "not_undone", "refused", "reordered", "signal", "stopped", "undone",
    )  # fmt: skip

    def __init__(self) -> None:
        self.refused: list[tuple[Step, str]] = []
        self.signal = 0
        self.stopped = ""
        self.meanwhile: list[tuple[Step, str]] = []
        self.done: list[Step] = []
        self.undone: list[Step] = []
        self.not_undone: list[tuple[Step, str]] = []
        self.reordered: list[Service] = []


def try_plan(plan: Plan, copy: MemoryBackend) -> Outcome:
    """Apply a plan to a copy of the table, and return what of it is refused."""
    outcome = Outcome()
    steps = [*plan.iter_steps()]
    outcome.refused = _list_refusals(steps, dict(copy.apply(step.change for step in steps)))
    return outcome


def execute(
    plan: Plan, backend: Backend, pace: Pace, lock: Locked, replan: Replan | None = None
) -> Outcome:
    """Carry a plan out, or undo the steps done if a step is refused or a signal comes.

    pace: whether to wait between phases, and whether a signal has come. lock: entered while a phase
    is sent, never while waiting. replan: given steps that another program was faster than, read
    their services again and return a new plan for them; the plan is amended in place. Raise
    OperationError if the table does not answer: what was sent by then may stand.
    """
    outcome = Outcome()
    index = amended = 0
    while index < len(plan.phases):
        if not _wait(pace, index, outcome):
            break
        with lock():
            if not pace.is_ready(index):
                continue
            phase = plan.phases[index]
            answers = dict(backend.apply(step.change for step in phase)) if phase else {}
            outcome.done += [step for at, step in enumerate(phase) if at not in answers]
            outcome.refused = _list_refusals(phase, answers)
            overtaken = [
                phase[at]
                for at, number in answers.items()
                if number in _OVERTAKEN.get(phase[at].change.op, ())
            ]
            if replan and overtaken and len(overtaken) == len(outcome.refused):
                amended += 1
                _amend(plan, index, overtaken, amended, replan, outcome)
            if outcome.refused:
                if pace.undoes(index):
                    undo(plan, outcome, backend)
                break
        index += 1
    if outcome.signal:
        with lock():
            undo(plan, outcome, backend)
    return outcome


def _wait(pace: Pace, index: int, outcome: Outcome) -> bool:
    """Wait as the pace says before a phase. Return False if the plan is to stop."""
    outcome.signal, outcome.stopped = pace.wait(index)
    return not (outcome.signal or outcome.stopped)


def _amend(
    plan: Plan,
    index: int,
    overtaken: list[Step],
    amended: int,
    replan: Replan,
    outcome: Outcome,
) -> None:
    """Plan the steps again that another program was faster than, or explain why that fails."""
    if amended > MAX_AMENDMENTS:
        outcome.refused = [
            (step, f"{reason} (another program changes it again and again)")
            for step, reason in outcome.refused
        ]
        return
    try:
        newer = replan(overtaken)
    except (OperationError, RefusedError, UsageError) as exc:
        outcome.refused = [(step, f"{reason}; {exc}") for step, reason in outcome.refused]
        return
    outcome.meanwhile += [(step, _describe_change(step, newer)) for step in overtaken]
    outcome.refused = []
    plan.replace_remaining(index, overtaken, newer)


def _describe_change(step: Step, newer: Plan) -> str:
    """Return what another program did to the entry of a step, and what was done about it."""
    key = change_key(step.change)
    ops = [other.change.op for other in newer.iter_steps() if change_key(other.change) == key]
    if not ops:
        return "another program made it meanwhile, with the same settings"
    if ops[0] in _MAKES:
        return "another program removed it meanwhile; it was added again"
    return "another program made it meanwhile, with other settings; it was changed"


def _list_refusals(steps: list[Step], answers: dict[int, int]) -> list[tuple[Step, str]]:
    refusals = [(steps[index], number) for index, number in answers.items()]
    return [
        (step, format_error(step.change.op, number))
        for step, number in refusals
        if number not in _GONE.get(step.change.op, ())
    ]


def undo(plan: Plan, outcome: Outcome, backend: Backend) -> None:
    """Undo the steps that were done, last first, as far as they are still as we left them."""
    try:
        touched = _Touched(backend, outcome.done, plan.held)
    except (OperationError, RefusedError) as exc:
        outcome.not_undone += [(step, str(exc)) for step in outcome.done]
        return
    changes: list[tuple[Step, Change]] = []
    for step in reversed(outcome.done):
        restoring, reason = touched.plan_undo(step)
        if reason:
            outcome.not_undone.append((step, reason))
        for change in restoring:
            changes.append((step, change))
            touched.record_done(change)
    refused = {}
    for index, number in backend.apply(change for _, change in changes):
        step, change = changes[index]
        if number in _GONE.get(change.op, ()):
            continue
        refused[id(step)] = (step, format_error(change.op, number))
    outcome.not_undone += refused.values()
    steps = {id(step): step for step, _ in changes}
    outcome.undone = [step for key, step in steps.items() if key not in refused]
    outcome.reordered = _find_reordered(plan, (step for step, _ in reversed(changes)), backend)


def list_standing(plan: Plan, outcome: Outcome, backend: Backend) -> list[Step]:
    """Return the steps that were done and whose result still stands, in their order."""
    touched = _Touched(backend, outcome.done, plan.held)
    return [step for step in outcome.done if touched.plan_undo(step)[0]]


def _find_reordered(plan: Plan, undone: Iterable[Step], backend: Backend) -> list[Service]:
    """Return the services whose servers came back in another order than before.

    The kernel adds a server at the head of the list (ip_vs_ctl.c: __ip_vs_update_dest). The order
    is left as it is: deleting and adding servers would end their connections.
    """
    changes = [step.change for step in undone if step.change.op == DEL_DEST]
    services = {
        change.service.key(): change.service for change in changes if change.service is not None
    }
    found = []
    for key, service in services.items():
        before = plan.orders[key]
        now = [server.key() for server in backend.read_servers(service)]
        both = {*before} & {*now}
        if [name for name in before if name in both] != [name for name in now if name in both]:
            found.append(service)
    return found


class _Touched:
    """Hold the present state of the entries that steps changed; `record_done` keeps it up to date
    with the undo's own changes.

    Raise OperationError or RefusedError if an entry cannot be read.
    """

    def __init__(self, backend: Backend, steps: list[Step], held: int) -> None:
        self._now: dict[_Key, object] = {}  # settings, to be compared
        self._records: dict[_Key, Service | Server] = {}
        self._servers: dict[_Key, set[_Key]] = {}  # by service
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
                    () if _format_heading(service) in empty else _read_servers(backend, service)
                ):
                    self._now[key, server.key()] = server_settings(server)
                    self._records[key, server.key()] = server
                    self._servers[key].add(server.key())
        if any(step.change.timeouts for step in steps):
            self._now["time-outs",] = backend.read_timeouts()
        if any(step.change.daemon for step in steps):
            self._now |= {
                (daemon.state,): (daemon.interface, daemon.syncid)
                for daemon in backend.read_daemons()
            }

    def plan_undo(self, step: Step) -> tuple[list[Change], str]:
        """Return the changes that undo a step, and why it cannot be undone ("" if it can, or if the
        entry is as before it already).
        """
        key, made = _get_expected_state(step.change)
        now = self._now.get(key)
        if step.change.op in (SET_DEST, SET_SERVICE):
            return self._plan_restoring(step, self._records.get(key))
        if now == made:
            # Deleting a service deletes its servers. Those that we added are undone before it.
            if step.change.op == NEW_SERVICE and self._servers[key]:
                return [], "another program added servers to it meanwhile"
            return [*step.undo], ""
        before = map(_get_expected_state, step.undo)
        if all(self._now.get(other) == state for other, state in before):
            return [], ""
        return [], "another program changed it meanwhile"

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

    def record_done(self, change: Change) -> None:
        """Record that the undo makes this change."""
        name, made = _get_expected_state(change)
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


def _read_servers(backend: Backend, service: Service) -> list[Server]:
    """Read all servers of a service, none missing."""
    servers = backend.read_servers(service)
    if len(servers) < AT_ONCE:
        return servers
    return read_until_stable(
        lambda: backend.read_servers(service), get_server_keys, get_server_keys(servers)
    )


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


def _get_expected_state(change: Change) -> tuple[_Key, object]:
    """Return the key of the entry that a change is about, and the settings that the change leaves
    (None if it deletes the entry), to be compared.
    """
    state: object = None
    if change.op in _GONE:
        pass
    elif change.daemon is not None:
        state = (change.daemon.interface, change.daemon.syncid)  # which no default fills
    elif change.service is None:
        state = change.timeouts
    elif change.server is not None:
        state = server_settings(change.server)
    else:
        state = get_service_settings(change.service)
    return change_key(change), state
