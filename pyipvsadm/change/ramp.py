"""Plan how a server's weight rises in steps. Pure.

Owns: which schedulers follow a weight, the weights of the steps. Must never know: when a step is
sent (change/pace.py), backends, messages of a run.
"""

from __future__ import annotations

from math import gcd

from pyipvsadm.change.merge import copy_record
from pyipvsadm.change.plan import Plan, Step
from pyipvsadm.model import NEW_DEST, ONE_PACKET, SET_DEST, UDP, Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyipvsadm.model import Server, Service

MAX_STEPS = 10
FOLLOWING = ("wrr", "wlc", "sed", "sh", "mh")
# What the other schedulers do with weights above 0.
_REASONS = {
    "rr": "rr gives all servers the same turns, whatever their weights",
    "lc": "lc looks at connections alone, whatever the weights",
    "dh": "dh gives all servers the same part of its table, whatever their weights",
    "nq": "nq sends a connection to any server that has none, whatever its weight",
    "fo": "fo sends every connection to the server with the highest weight",
    "ovf": "ovf fills the server with the highest weight first",
    "lblc": "lblc keeps a destination on its server, whatever the weight",
    "lblcr": "lblcr keeps a destination on its servers, whatever their weights",
}


def explain_unsuitable(service: Service) -> str:
    """Return why the clients of a service would not follow a rising weight, "" if they do."""
    scheduler = service.scheduler
    if scheduler not in FOLLOWING:
        return _REASONS.get(scheduler, f"a ramp is for the schedulers {', '.join(FOLLOWING)}")
    if scheduler == "sed" and service.protocol == UDP and not service.fwmark:
        return "sed looks at active connections alone, and UDP has none"
    if scheduler in ("wlc", "sed") and service.flags & ONE_PACKET:
        return f"{scheduler} looks at connections, and one-packet scheduling keeps none"
    return ""


def choose_weights(start: int, target: int, others: Iterable[int]) -> list[int]:
    """Return the weights of the steps from `start` (not included) to `target`, at most MAX_STEPS.

    The steps keep a divisor that target and other weights have in common, where that leaves enough
    steps: sh, mh and wrr then need the fewest turns (mh drops the last bits of weights that are
    large compared with their divisor: ip_vs_mh.c: ip_vs_mh_shift_weight).
    """
    rise = target - start
    divisor = gcd(start, target, *others)
    for count in range(MAX_STEPS, MAX_STEPS // 2 - 1, -1):
        if rise % count == 0 and divisor % (rise // count) == 0:
            return [*range(start + rise // count, target + 1, rise // count)]
    if rise // divisor < MAX_STEPS // 2:  # too few steps of this size
        divisor = 1
    step = divisor * -(-rise // (divisor * MAX_STEPS))
    return [*range(start + step, target, step), target]


def make_states(server: Server, weights: Sequence[int]) -> list[Server]:
    """Return the server with one weight after the other."""
    states = []
    for weight in weights:
        state = copy_record(server)
        state.weight = weight
        states.append(state)
    return states


def make_ramp_plan(service: Service, before: Server | None, states: Sequence[Server]) -> Plan:
    """Return the plan that gives a server one state after the other, each in a phase of its own.
    before: the server as it is, None if the first phase adds it.
    """
    plan = Plan()
    for state in states:
        if before is None:
            step = Step(0, Change(NEW_DEST, service, state))
        else:
            step = Step(0, Change(SET_DEST, service, state), Change(SET_DEST, service, before))
        plan.phases.append([step])
        before = state
    return plan
