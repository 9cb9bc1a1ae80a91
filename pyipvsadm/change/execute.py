"""Execute a plan, and undo the steps that were done if the kernel refuses one or a signal comes.

Owns: when to stop, when the journal is written. Must never know: why a plan has its steps, how its
outcome is printed, how steps are undone (change/undo.py).

Phases are sent one after the other. Within a phase, the changes after a refused one are still
carried out (Backend.apply), but no later phase begins. A pace may wait between two phases; a signal
stops the plan before its next phase, and the steps done so far are undone.

Another program may change an entry between our reading and our sending: a service that the plan
adds exists already, a server that it edits is gone. That is no refusal. The services concerned are
read again, planned again (Plan.replace_remaining), and the plan goes on from there.

The journal, if there is one, holds the whole plan before its first change is sent, and again when it
was amended. It is closed when the outcome is known; if this process is killed, the entry stays open.
"""

from __future__ import annotations

import errno

from pyipvsadm.change.plan import change_key
from pyipvsadm.change.undo import GONE, plan_undo
from pyipvsadm.errors import OperationError, RefusedError, UsageError, format_error
from pyipvsadm.model import DEL_DEST, NEW_DAEMON, NEW_DEST, NEW_SERVICE, SET_DEST, SET_SERVICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from pyipvsadm.backends.memory import MemoryBackend
    from pyipvsadm.change.journal import Journal
    from pyipvsadm.change.pace import Pace
    from pyipvsadm.change.plan import Plan, Step
    from pyipvsadm.model import Backend, Service

    Locked = Callable[[], AbstractContextManager[None]]
    Replan = Callable[[list[Step]], Plan]

# How often a plan is amended because another program changed the table first.
MAX_AMENDMENTS = 5

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


class Outcome:
    """Hold the result of a plan.

    refused: each refused step with the kernel's answer. signal: the number of the signal that
    stopped the plan, or 0. stopped: why the pace gave up waiting, "" if it did not. meanwhile: each
    step that another program was faster than, and what was done about it. done: the steps that were
    carried out. undone: those of them that were undone; not_undone: those that could not be, with
    the reason; reordered: services whose servers came back in another order. errno: the kernel's
    last refusal, or 0.
    """

    __slots__ = (
        "done", "errno", "meanwhile", "not_undone", "refused", "reordered", "signal", "stopped", "undone",
    )  # fmt: skip

    def __init__(self) -> None:
        self.refused: list[tuple[Step, str]] = []
        self.errno = 0
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
    plan: Plan,
    backend: Backend,
    pace: Pace,
    lock: Locked,
    replan: Replan | None = None,
    journal: Journal | None = None,
) -> Outcome:
    """Carry a plan out, or undo the steps done if a step is refused or a signal comes.

    pace: whether to wait between phases, and whether a signal has come. lock: entered while a phase
    is sent, never while waiting. replan: given steps that another program was faster than, read
    their services again and return a new plan for them; the plan is amended in place. Raise
    OperationError if the table does not answer: what was sent by then may stand, and the journal
    stays open.
    """
    outcome = Outcome()
    if journal:
        journal.open_entry(plan)
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
            outcome.errno = [*answers.values()][-1] if answers else 0
            outcome.refused = _list_refusals(phase, answers)
            overtaken = [
                phase[at]
                for at, number in answers.items()
                if number in _OVERTAKEN.get(phase[at].change.op, ())
            ]
            if replan and overtaken and len(overtaken) == len(outcome.refused):
                amended += 1
                _amend(plan, index, overtaken, amended, replan, outcome)
                if journal and not outcome.refused:
                    journal.open_entry(plan)
            if outcome.refused:
                if pace.undoes(index):
                    undo(plan, outcome, backend)
                break
        index += 1
    if outcome.signal:
        with lock():
            undo(plan, outcome, backend)
    if journal:
        journal.close_entry(outcome)
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
        if number not in GONE.get(step.change.op, ())
    ]


def undo(plan: Plan, outcome: Outcome, backend: Backend) -> None:
    """Undo the steps that were done, last first, as far as they are still as we left them."""
    try:
        found = plan_undo(outcome.done, backend, plan.held)
    except (OperationError, RefusedError) as exc:
        outcome.not_undone += [(step, str(exc)) for step in outcome.done]
        return
    outcome.not_undone += found.left
    refused = {}
    for index, number in backend.apply(undoing.change for _, undoing in found.pairs):
        step, undoing = found.pairs[index]
        if number in GONE.get(undoing.change.op, ()):
            continue
        refused[id(step)] = (step, format_error(undoing.change.op, number))
    outcome.not_undone += refused.values()
    steps = {id(step): step for step, _ in found.pairs}
    outcome.undone = [step for key, step in steps.items() if key not in refused]
    outcome.reordered = _find_reordered(plan, (step for step, _ in reversed(found.pairs)), backend)


def list_standing(plan: Plan, outcome: Outcome, backend: Backend) -> list[Step]:
    """Return the steps that were done and whose result still stands, in their order."""
    standing = {id(step) for step, _ in plan_undo(outcome.done, backend, plan.held).pairs}
    return [step for step in outcome.done if id(step) in standing]


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
