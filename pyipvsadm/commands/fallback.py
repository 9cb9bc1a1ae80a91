"""Set the fallback flag of sh and mh for the time in which a server has weight 0, and clear it.

Owns: when the flag may be cleared. Must never know: how servers are drained.
"""

from __future__ import annotations

from pyipvsadm.addresses import format_numeric
from pyipvsadm.change.merge import copy_record
from pyipvsadm.change.moves import WITH_FALLBACK, get_fallback_flag, has_fallback
from pyipvsadm.change.plan import Plan, Step
from pyipvsadm.change.snapshot import read_service, read_services
from pyipvsadm.commands.report import format_program
from pyipvsadm.errors import UsageError, format_error
from pyipvsadm.model import SCHED1, SET_SERVICE, Change
from pyipvsadm.rules import writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend, Service


def plan_fallback(services: Iterable[Service]) -> Plan:
    """Return the plan that sets the flag of those services that lack it. Raise UsageError if none
    of them is scheduled by sh or mh.
    """
    named = [*services]
    if not any(service.scheduler in WITH_FALLBACK for service in named):
        selector = writer.format_selector(named[0])
        raise UsageError(
            f"--fallback is for the schedulers sh and mh; {selector} has {named[0].scheduler}"
        )
    plan = Plan()
    plan.phases = [
        [
            _make_flag_step(service, service.flags | SCHED1)
            for service in named
            if service.scheduler in WITH_FALLBACK and not has_fallback(service)
        ]
    ]
    return plan


def clear_fallback(service: Service, backend: Backend, program: str) -> tuple[bool, str]:
    """Clear the flag of a service unless one of its servers has weight 0. Return True if it was
    cleared, and a sentence on it ("" if the service is gone or has no such flag).

    program: the beginning of a command, with the options of this run.
    """
    with backend.lock_table():
        present = read_service(backend, service)
        if present is None or not has_fallback(present):
            return False, ""
        selector = writer.format_selector(present)
        flag = f"{get_fallback_flag(present)} of {selector}"
        for _, servers in read_services(backend, [present], {}):
            for server in servers:
                if not server.weight:
                    name = format_numeric(server.af, server.addr, server.port)
                    command = f"{program} -E {selector} --keep -b -{get_fallback_flag(present)}"
                    return False, f"{flag} stays set: {name} has weight 0; to clear it: {command}"
        step = _make_flag_step(present, present.flags & ~SCHED1)
        for _, number in backend.apply([step.change]):
            return False, f"{flag} stays set: {format_error(SET_SERVICE, number)}"
    return True, f"{flag} cleared"


def print_clearing(request: Request, change: Change, backend: Backend, env: Environment) -> int:
    """Clear the flag of the service of a change that gave a server its weight back. Print why it
    stays set, if it does. Return 0.
    """
    assert change.service is not None
    cleared, sentence = clear_fallback(change.service, backend, format_program(request.ours))
    if sentence and not cleared:
        env.write_stderr(sentence)
    return 0


def _make_flag_step(service: Service, flags: int) -> Step:
    changed = copy_record(service)
    changed.flags = flags
    return Step(0, Change(SET_SERVICE, changed), Change(SET_SERVICE, service))
