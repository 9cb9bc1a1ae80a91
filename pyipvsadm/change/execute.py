"""Carrying a plan out, and undoing what was done where something of it is refused.

Owns: when to stop, what may be undone, what then stands. Must never know: why the plan is as it is,
how it is told.

Phases go out one after the other: within one, what follows a refused change is done all the same
(Backend.apply), but no later phase begins. Nor does one when a signal has come: who interrupts a
change wants the table that was there before.

Another program may change what the plan is about between its reading and its sending: what was to
be made is there, what was to be edited is gone. That is no refusal. The services concerned are read
again, planned again (Plan.amend) and go on from there.

The undo restores what is still as we left it, never touches an entry that another program made or
changed since, and lists what it left. It reads only what the plan has touched.
"""

from __future__ import annotations

import errno

from pyipvsadm.change.plan import change_key
from pyipvsadm.change.snapshot import (
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
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    PROTOCOLS,
    SET_DEST,
    SET_SERVICE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyipvsadm.backends.memory import MemoryBackend
    from pyipvsadm.change.plan import Plan, Step
    from pyipvsadm.model import Backend, Change, Server, Service

    _Key = tuple[object, ...]
    Replan = Callable[[list[Step]], Plan]

MAX_AMENDMENTS = 5  # times that a plan is amended because another program was faster

# A removal that finds the thing gone is done.
_GONE = {
    DEL_SERVICE: (errno.ESRCH,),
    DEL_DEST: (errno.ESRCH, errno.ENOENT),
    DEL_DAEMON: (errno.ESRCH,),
}
_MAKES = (NEW_SERVICE, NEW_DEST)
# What says that the table is no longer as it was read. Where nothing else of a phase is refused, it
# is another program's doing.
_OVERTAKEN = {
    NEW_SERVICE: (errno.EEXIST,),
    NEW_DEST: (errno.EEXIST, errno.ESRCH),
    NEW_DAEMON: (errno.EEXIST,),
    SET_SERVICE: (errno.ESRCH,),
    SET_DEST: (errno.ESRCH, errno.ENOENT),
}

# From so many services on, and when they are a good part of all, the undo reads them by a dump
# instead of one by one.
MANY = 100
SHARE = 8
# A server takes at least 356 bytes of a dump's first datagram of 3.7 KB, which is filled at once:
# fewer servers are never torn apart by what is deleted meanwhile.
AT_ONCE = 9


class Outcome:
    """Tell what became of a plan.

    refused: steps and what was answered. signal: what stopped it, or 0. meanwhile: steps that
    another program came before, and what was done about it. Then undone: how many steps went back;
    stands: steps that did not, and why; reordered: services whose servers came back in another
    order.
    """

    __slots__ = ("meanwhile", "refused", "reordered", "signal", "stands", "undone")

    def __init__(self) -> None:
        self.refused: list[tuple[Step, str]] = []
        self.signal = 0
        self.meanwhile: list[tuple[Step, str]] = []
        self.undone = 0
        self.stands: list[tuple[Step, str]] = []
        self.reordered: list[Service] = []


def try_plan(plan: Plan, copy: MemoryBackend) -> Outcome:
    """Try a plan on a copy: what of it is refused."""
    outcome = Outcome()
    steps = [*plan.iter_steps()]
    outcome.refused = _list_refusals(steps, dict(copy.apply(step.change for step in steps)))
    return outcome


def carry_out(
    plan: Plan,
    backend: Backend,
    signalled: Callable[[], int] = lambda: 0,
    replan: Replan | None = None,
) -> Outcome:
    """Carry a plan out, or have it undone. Failed when the table does not answer: what was sent by
    then may stand.

    signalled: whether a signal has come that is to stop it: its number, or 0. replan: given steps
    that another program came before, read what they are about again and plan that anew; the plan is
    amended in place.
    """
    outcome = Outcome()
    done: list[Step] = []
    index = amended = 0
    while index < len(plan.phases):
        outcome.signal = signalled()
        if outcome.signal:
            _undo_steps(plan, done, backend, outcome)
            break
        phase = plan.phases[index]
        answers = dict(backend.apply(step.change for step in phase))
        done += [step for at, step in enumerate(phase) if at not in answers]
        outcome.refused = _list_refusals(phase, answers)
        overtaken = [
            phase[at]
            for at, number in answers.items()
            if number in _OVERTAKEN.get(phase[at].change.op, ())
        ]
        if replan and overtaken and len(overtaken) == len(outcome.refused):
            if amended < MAX_AMENDMENTS:
                amended += 1
                try:
                    newer = replan(overtaken)
                except (OperationError, RefusedError, UsageError) as exc:
                    outcome.refused = [(step, f"{why}; {exc}") for step, why in outcome.refused]
                else:
                    outcome.meanwhile += [
                        (step, _describe_change(step, newer)) for step in overtaken
                    ]
                    outcome.refused = []
                    plan.replace_remaining(index, overtaken, newer)
            else:
                outcome.refused = [
                    (step, f"{why} (another program changes it again and again)")
                    for step, why in outcome.refused
                ]
        if outcome.refused:
            _undo_steps(plan, done, backend, outcome)
            break
        index += 1
    return outcome


def _describe_change(step: Step, newer: Plan) -> str:
    """Say what another program has done to what a step is about, and what comes of it."""
    name = change_key(step.change)
    ops = [other.change.op for other in newer.iter_steps() if change_key(other.change) == name]
    if not ops:
        return "another program has made it meanwhile, as it should be"
    if ops[0] in _MAKES:
        return "another program has removed it meanwhile; it was made again"
    return "another program has made it meanwhile in another way; it was changed"


def _list_refusals(steps: list[Step], answers: dict[int, int]) -> list[tuple[Step, str]]:
    found = [(steps[index], number) for index, number in answers.items()]
    return [
        (step, format_error(step.change.op, number))
        for step, number in found
        if number not in _GONE.get(step.change.op, ())
    ]


def _undo_steps(plan: Plan, done: list[Step], backend: Backend, outcome: Outcome) -> None:
    """Take back, last first, what is still as it was made."""
    try:
        now = _Touched(backend, done, plan.held)
    except (OperationError, RefusedError) as exc:
        outcome.stands += [(step, str(exc)) for step in done]
        return
    changes: list[tuple[Step, Change]] = []
    for step in reversed(done):
        why = now.explain_not_undone(step)
        if why is None:
            changes += [(step, change) for change in step.undo]
            for change in step.undo:
                now.record_done(change)
        elif why:
            outcome.stands.append((step, why))
    refused = {}
    for index, number in backend.apply(change for _, change in changes):
        step, change = changes[index]
        if number in _GONE.get(change.op, ()):
            continue
        refused[id(step)] = (step, format_error(change.op, number))
    outcome.stands += refused.values()
    outcome.undone = len({id(step) for step, _ in changes} - refused.keys())
    outcome.reordered = _find_reordered(plan, (step for step, _ in reversed(changes)), backend)


def _find_reordered(plan: Plan, undone: Iterable[Step], backend: Backend) -> list[Service]:
    """Of services to which servers came back (at the head: ip_vs_ctl.c, __ip_vs_update_dest), those
    in another order than before.

    They are left so: to delete and add servers would end their connections.
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
    """Hold the present state of what steps were about; `note` keeps it up with what is to be sent.

    Raises Failed or Refused when it cannot be read.
    """

    def __init__(self, backend: Backend, steps: list[Step], held: int) -> None:
        self._now: dict[_Key, object] = {}
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
                for server in (
                    () if _format_heading(service) in empty else _read_servers(backend, service)
                ):
                    self._now[key, server.key()] = server_settings(server)
                    self._servers[key].add(server.key())
        if any(step.change.timeouts for step in steps):
            self._now["time-outs",] = backend.read_timeouts()
        if any(step.change.daemon for step in steps):
            self._now |= {
                (daemon.state,): (daemon.interface, daemon.syncid)
                for daemon in backend.read_daemons()
            }

    def explain_not_undone(self, step: Step) -> str | None:
        """Say why a step is not undone: "" when all is as before it. None when its result is there
        still.
        """
        name, made = _get_expected_state(step.change)
        now = self._now.get(name)
        if now == made:
            # To delete a service is to delete its servers. Those that we added are taken back by
            # now.
            if step.change.op == NEW_SERVICE and self._servers[name]:
                return "it has servers that came from elsewhere meanwhile"
            return None
        if all(
            self._now.get(other) == before for other, before in map(_get_expected_state, step.undo)
        ):
            return ""
        return "it was changed by somebody else meanwhile"

    def record_done(self, change: Change) -> None:
        """Take a change for done."""
        name, made = _get_expected_state(change)
        self._now[name] = made
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
    """Read a service's servers, none missing."""
    servers = backend.read_servers(service)
    if len(servers) < AT_ONCE:
        return servers
    return read_until_stable(
        lambda: backend.read_servers(service), get_server_keys, get_server_keys(servers)
    )


def _find_empty(backend: Backend) -> set[bytes]:
    """Find services that certainly have no servers by the kernel's own listing, which costs little:
    the headings of their lines.

    There a service comes with all of its servers or not at all (ip_vs_ctl.c: ip_vs_info_seq_show).
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
    """Return the words that such a line starts with; b"" of services that none is looked for."""
    if service.fwmark or service.af != AF_INET or service.protocol not in PROTOCOLS:
        return b""
    return b"%s %s:%04X" % (
        PROTOCOLS[service.protocol].encode(),
        service.addr.hex().upper().encode(),
        service.port,
    )


def _get_expected_state(change: Change) -> tuple[_Key, object]:
    """Return what names the thing that a change is about, and what the change leaves there (None:
    nothing), to be compared.
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
