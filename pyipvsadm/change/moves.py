"""Say which part of a hash scheduler's clients a change of weights refuses or moves. Pure.

Owns: the words of these warnings, and the command that avoids refusals. Must never know: backends,
where the warnings are printed.

The parts are parts of the hash table (of sh and mh), not of the clients, who need not be spread
evenly over it.
"""

from __future__ import annotations

from pyipvsadm.change.merge import copy_record
from pyipvsadm.model import SCHED1
from pyipvsadm.rules import writer
from pyipvsadm.scheduling.choice import compare_tables
from pyipvsadm.scheduling.overload import NO, get_usable
from pyipvsadm.scheduling.tables import fill_dh, get_dh_bucket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from pyipvsadm.model import Server, Service
    from pyipvsadm.scheduling.build import Build
    from pyipvsadm.scheduling.choice import Impact

HASHING = ("sh", "mh", "dh")
WITH_FALLBACK = ("sh", "mh")


def get_fallback_flag(service: Service) -> str:
    """Return the name of the flag by which sh or mh choose another server than one of weight 0."""
    return f"{service.scheduler}-fallback"


def has_fallback(service: Service) -> bool:
    """Return True if a client of an unusable server goes to another one."""
    return service.scheduler in WITH_FALLBACK and bool(service.flags & SCHED1)


def set_weights(
    servers: Sequence[Server], keys: Container[tuple[int, bytes, int]], weight: int
) -> list[Server]:
    """Return copies of the servers in which those with these keys have this weight."""
    copies = []
    for server in servers:
        copy = copy_record(server)
        if copy.key() in keys:
            copy.weight = weight
        copies.append(copy)
    return copies


def compare_weights(
    service: Service,
    before: Sequence[Server],
    after: Sequence[Server],
    build: Build,
    former: Sequence[Server] = (),
) -> Impact | None:
    """Return what a change from one state of the servers to another does to the hash table; None if
    it cannot be known.

    mh keeps the latest weight of a server that was not 0. former: servers with that weight, where
    `before` has 0.
    """
    known: dict[tuple[int, bytes, int], int] = {}
    latest: list[list[int] | None] = []
    for servers in (former, before, after):
        known |= {server.key(): server.weight for server in servers if server.weight}
        latest.append(
            [known[server.key()] for server in servers]
            if all(server.key() in known for server in servers)
            else None
        )
    return compare_tables((service, before), (service, after), build, (latest[1], latest[2]))


def describe_drain(
    service: Service,
    servers: Sequence[Server],
    keys: Container[tuple[int, bytes, int]],
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
    command = f"{program} -E {writer.format_selector(service)} --keep"
    if service.scheduler == "dh":
        message = _describe_refusals_of_dh(service, servers, keys)
        advice = f"dh has no fallback; lblc passes over weight 0: {command} -s lblc"
        return _format_warning(service, message, advice, build)
    if all(get_usable(server) == NO for server in rest):
        message = "no other server takes connections: new clients are refused"
        return _format_warning(service, message, "", build)
    drained = set_weights(servers, keys, 0)
    impact = compare_weights(service, servers, drained, build)
    message = describe_impact(impact, service)
    advice = ""
    if not has_fallback(service) and (impact is None or impact.refused):
        flag = get_fallback_flag(service)
        advice = f"to refuse none, give --fallback too, or first: {command} -b +{flag}"
    if deletes:
        impact = compare_weights(service, drained, rest, build, former=servers)
        if impact is not None and impact.between:
            part = format_part(impact.between, impact.total)
            message += f"{'; ' * bool(message)}the deletion moves {part} between them"
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
        impact = compare_weights(service, present, after, build)
        part = "not known" if impact is None else format_part(impact.moved, impact.total)
        parts.append(f"{state.weight}: {part}")
        present = after
    message = f"each step moves a part of the hash table; by weight: {', '.join(parts)}"
    return _format_warning(service, message, "", build)


def _describe_refusals_of_dh(
    service: Service, servers: Sequence[Server], keys: Container[tuple[int, bytes, int]]
) -> str:
    """Return which clients dh refuses when these servers have weight 0, "" for none.

    dh chooses by the address that the client connects to. It is the service's own, or any for a
    firewall mark.
    """
    table = fill_dh(servers)
    lost = [servers[index].key() in keys and servers[index].weight > 0 for index in table]
    if service.fwmark:
        if not any(lost):
            return ""
        part = format_part(sum(lost), len(lost))
        return f"{part} of the hash table (of the addresses that clients connect to) is refused"
    return "all new clients are refused" if lost[get_dh_bucket(service.addr)] else ""


def describe_impact(impact: Impact | None, service: Service) -> str:
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
    between = format_part(impact.between, impact.total)
    if not impact.refused:
        return f"no client is refused, {between} of the hash table moves between the other servers"
    moves = f"{between} moves" if impact.between else "none moves"
    refused = format_part(impact.refused, impact.total)
    return f"{refused} of the hash table is refused, {moves} between the other servers"


def format_part(count: int, total: int) -> str:
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
