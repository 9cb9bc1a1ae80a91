"""Say which part of a hash scheduler's clients a change of weights refuses or moves. Pure.

Owns: the words of these warnings, and the command that avoids refusals. Must never know: backends,
how tables are compared (scheduling/impact.py), where the warnings are printed.

The parts are parts of the hash table, not of the clients, who need not be spread evenly over it.
"""

from __future__ import annotations

from pyipvsadm.model import SCHED1
from pyipvsadm.rules import writer
from pyipvsadm.scheduling.impact import assess_change, assess_drain
from pyipvsadm.scheduling.overload import NO, get_usable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from pyipvsadm.model import Server, Service
    from pyipvsadm.scheduling.build import Build
    from pyipvsadm.scheduling.impact import Impact, ServerKey

WITH_FALLBACK = ("sh", "mh")


def get_fallback_flag(service: Service) -> str:
    """Return the name of the flag by which sh or mh choose another server than one of weight 0."""
    return f"{service.scheduler}-fallback"


def has_fallback(service: Service) -> bool:
    """Return True if a client of an unusable server goes to another one."""
    return service.scheduler in WITH_FALLBACK and bool(service.flags & SCHED1)


def describe_drain(
    service: Service,
    servers: Sequence[Server],
    keys: Container[ServerKey],
    deletes: bool,
    build: Build,
    program: str = "ipvsadm",
) -> str:
    """Return the warning for draining the servers with these keys under sh, mh or dh; "" if no
    client is refused and no other client moves.

    servers: all of the service, newest first. deletes: whether the drained ones are deleted in the
    end. program: the beginning of a command, with the options of this run.
    """
    rest = [server for server in servers if server.key() not in keys]
    if all(get_usable(server) == NO for server in rest):
        message = "no other server takes connections: new clients are refused"
        return _format_warning(service, message, "", build)
    impact = assess_drain(service, servers, keys, build)
    message = _describe_impact(impact, service)
    advice = ""
    command = f"{program} -E {writer.format_selector(service)} --keep"
    if not has_fallback(service) and (impact is None or impact.refused):
        flag = get_fallback_flag(service)
        advice = (
            f"dh has no fallback; lblc passes over weight 0: {command} -s lblc"
            if service.scheduler == "dh"
            else f"to refuse none, give --fallback too, or first: {command} -b +{flag}"
        )
    if deletes and service.scheduler in WITH_FALLBACK:
        impact = assess_change((service, servers), (service, rest), build)
        if impact is not None and impact.between:
            part = _format_part(impact.between, impact.total)
            message += f"{'; ' * bool(message)}after the deletion, {part} has moved between them"
    return _format_warning(service, message, advice, build)


def describe_ramp(
    service: Service, servers: Sequence[Server], states: Sequence[Server], build: Build
) -> str:
    """Return the warning for giving a server one state after the other under sh or mh; "" under
    other schedulers.

    servers: all of the service, newest first. states: of one server, which may be new.
    """
    if service.scheduler not in WITH_FALLBACK:
        return ""
    key = states[0].key()
    present = [*servers]
    parts = []
    for state in states:
        after = [state if server.key() == key else server for server in present]
        if all(server.key() != key for server in present):
            after.insert(0, state)
        impact = assess_change((service, present), (service, after), build)
        part = "not known" if impact is None else _format_part(impact.moved, impact.total)
        parts.append(f"{state.weight}: {part}")
        present = after
    message = f"each step moves a part of the hash table; by weight: {', '.join(parts)}"
    return _format_warning(service, message, "", build)


def _describe_impact(impact: Impact | None, service: Service) -> str:
    """Return "25.0% of the hash table is refused, none moves between the other servers"; "" if
    there is neither.
    """
    if impact is None:
        return (
            f"which part of the clients is refused or moves is not known: {service.scheduler} keeps"
            " the weights that servers of weight 0 had before"
        )
    if not (impact.refused or impact.between):
        return ""
    refused = _format_part(impact.refused, impact.total)
    if service.scheduler == "dh":
        if impact.refused == impact.total:
            return "all new clients are refused"
        return f"{refused} of the hash table (of the addresses that clients connect to) is refused"
    between = _format_part(impact.between, impact.total)
    if not impact.refused:
        return f"no client is refused, {between} of the hash table moves between the other servers"
    moves = f"{between} moves" if impact.between else "none moves"
    return f"{refused} of the hash table is refused, {moves} between the other servers"


def _format_part(count: int, total: int) -> str:
    """Return a percentage with one digit after the point."""
    return f"{100 * count / total:.1f}%"


def _format_warning(service: Service, message: str, advice: str, build: Build) -> str:
    """Return the whole warning, "" if there is no message."""
    if not message:
        return ""
    for option in build.assumed:
        if f"_{service.scheduler.upper()}_" in option:
            message += f" (assumed: the usual {option})"
    named = f"{writer.format_selector(service)} ({service.scheduler})"
    return f"warning: {named}: {message}{'; ' * bool(advice)}{advice}"
