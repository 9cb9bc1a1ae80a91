"""Carrying a plan out, and undoing what was done where something of it is refused.

Owns: when to stop, what may be undone, what then stands. Must never know: why the plan is as it is, how it is told.

Phases go out one after the other: within one, what follows a refused change is done all the same (Backend.apply), but no later
phase begins. Nor does one when a signal has come: who interrupts a change wants the table that was there before. Undoing looks at
the table again: only what is still as we made it goes back to what it was.
"""

from __future__ import annotations

import errno

from pyipvsadm.change.snapshot import consistent, recipe, server_settings, service_settings
from pyipvsadm.errors import Failed, Refused, sentence
from pyipvsadm.model import DEL_DAEMON, DEL_DEST, DEL_SERVICE, NEW_SERVICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyipvsadm.change.plan import Plan, Step
    from pyipvsadm.memory import Table
    from pyipvsadm.model import Backend, Change

    _Name = tuple[object, ...]

# A removal that finds the thing gone is done.
_GONE = {
    DEL_SERVICE: (errno.ESRCH,),
    DEL_DEST: (errno.ESRCH, errno.ENOENT),
    DEL_DAEMON: (errno.ESRCH,),
}


class Outcome:
    """refused: steps and what was answered. signal: what stopped it, or 0.

    Then undone: how many changes went back; stands: steps that did not, and why.
    """

    __slots__ = ("refused", "signal", "stands", "undone")

    def __init__(self) -> None:
        self.refused: list[tuple[Step, str]] = []
        self.signal = 0
        self.undone = 0
        self.stands: list[tuple[Step, str]] = []


def rehearsed(plan: Plan, copy: Table) -> Outcome:
    """Try a plan on a copy: what of it is refused."""
    outcome = Outcome()
    steps = [*plan.steps()]
    outcome.refused = _refused(steps, dict(copy.apply(step.change for step in steps)))
    return outcome


def carry_out(plan: Plan, backend: Backend, signalled: Callable[[], int] = lambda: 0) -> Outcome:
    """Carry a plan out, or have it undone. Failed when the table does not answer: what was sent by then may stand.

    signalled: whether a signal has come that is to stop it: its number, or 0.
    """
    outcome = Outcome()
    done: list[Step] = []
    for phase in filter(None, plan.phases):
        outcome.signal = signalled()
        if outcome.signal:
            _undo(done, backend, outcome)
            break
        answers = dict(backend.apply(step.change for step in phase))
        done += [step for index, step in enumerate(phase) if index not in answers]
        outcome.refused = _refused(phase, answers)
        if outcome.refused:
            _undo(done, backend, outcome)
            break
    return outcome


def _refused(steps: list[Step], answers: dict[int, int]) -> list[tuple[Step, str]]:
    found = [(steps[index], number) for index, number in answers.items()]
    return [(step, sentence(step.change.op, number)) for step, number in found if number not in _GONE.get(step.change.op, ())]


def _undo(done: list[Step], backend: Backend, outcome: Outcome) -> None:
    """Take back, last first, what is still as it was made."""
    try:
        now = dict(map(_left, recipe(consistent(backend))))
    except (Failed, Refused) as no:
        outcome.stands += [(step, str(no)) for step in done]
        return
    changes: list[tuple[Step, Change]] = []
    for step in reversed(done):
        why = _differs(step, now)
        if why is None:
            changes += [(step, change) for change in step.undo]
            now |= map(_left, step.undo)
        elif why:
            outcome.stands.append((step, why))
    refused = {}
    for index, number in backend.apply(change for _, change in changes):
        step, change = changes[index]
        if number not in _GONE.get(change.op, ()):
            refused[id(step)] = (step, sentence(change.op, number))
    outcome.stands += refused.values()
    outcome.undone = len({id(step) for step, _ in changes} - refused.keys())


def _differs(step: Step, now: Mapping[_Name, object]) -> str | None:
    """None when the step's result is there still. Else "" when it is as before the step, or what has become of it."""
    name, made = _left(step.change)
    if now.get(name) == made:
        # To delete a service is to delete its servers. Those that we added are taken back by now.
        if step.change.op == NEW_SERVICE and any(there is not None and other[0] == name for other, there in now.items()):
            return "it has servers that came from elsewhere meanwhile"
        return None
    return "" if now.get(name) == _left(step.undo[0])[1] else "it was changed by somebody else meanwhile"


def _left(change: Change) -> tuple[_Name, object]:
    """What names the thing that a change is about, and what the change leaves there (None: nothing), to be compared."""
    gone = change.op in _GONE
    service, server, daemon = change.service, change.destination, change.daemon
    if daemon is not None:
        return (daemon.state,), None if gone else (daemon.interface, daemon.syncid)  # which no default fills
    if service is None:
        return ("time-outs",), change.timeouts
    if server is not None:
        return (service.key(), server.key()), None if gone else server_settings(server)
    return service.key(), None if gone else service_settings(service)
