"""Describe steps of a plan in words: old and new values, what is deleted, connections concerned.

Owns: those words. Must never know: backends, where they are printed.
"""

from __future__ import annotations

from pyipvsadm import addresses
from pyipvsadm.change.snapshot import SERVER_SETTINGS, SERVICE_SETTINGS
from pyipvsadm.grammar.values import format_scheduler_flags
from pyipvsadm.model import (
    AF_INET,
    DEL_DEST,
    DEL_SERVICE,
    LOCAL,
    MASQ,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    ONE_PACKET,
    PERSISTENT,
    ROLES,
    ROUTE,
    SET_CONFIG,
    SET_DEST,
    SET_SERVICE,
    TCP,
    TUNNEL,
    Server,
    Service,
)
from pyipvsadm.rules import writer
from pyipvsadm.text import pluralize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyipvsadm.change.plan import Plan, Step
    from pyipvsadm.model import Timeouts

MAX_EDITS = 20
_METHODS = {MASQ: "NAT", LOCAL: "local", TUNNEL: "tunnel", ROUTE: "direct routing"}
_NAMES = {
    "forward": "forwarding method",
    "upper": "upper threshold",
    "lower": "lower threshold",
    "tun_type": "tunnel type",
    "tun_port": "tunnel port",
    "tun_flags": "tunnel checksums",
    "pe": "persistence engine",
}


def describe_difference(step: Step) -> str:
    """Return old and new values of an edit: "weight 3 -> 4, upper threshold 1000 -> none"; "" for
    steps that edit nothing.
    """
    if step.change.op == SET_CONFIG:
        before, after = step.undo[0].timeouts, step.change.timeouts
        assert before is not None
        assert after is not None
        return ", ".join(_compare_timeouts(before, after))
    if step.change.op not in (SET_SERVICE, SET_DEST):
        return ""
    old, new = step.undo[0].record, step.change.record
    fields = SERVER_SETTINGS if isinstance(new, Server) else SERVICE_SETTINGS
    parts = []
    for field in fields:
        values = _format_value(old, field), _format_value(new, field)
        if values[0] != values[1]:
            parts.append(f"{_NAMES.get(field, field)} {values[0]} -> {values[1]}")
    return ", ".join(parts)


def describe_resets(old: Server, new: Server) -> str:
    """Return the settings of a server that an edit sets back to their defaults, as 1.31 does with
    all that are not given: "forwarding method NAT -> direct routing"; "" if there are none.
    """
    defaults = Server(new.af, new.addr, new.port)
    return ", ".join(
        f"{_NAMES[field]} {_format_value(old, field)} -> {_format_value(new, field)}"
        for field in ("forward", "upper", "lower")
        if getattr(old, field) != getattr(new, field) == getattr(defaults, field)
    )


def _compare_timeouts(before: Timeouts, after: Timeouts) -> Iterable[str]:
    for field, name in (("tcp", "tcp"), ("tcp_fin", "tcpfin"), ("udp", "udp")):
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            yield f"{name} timeout {old} s -> {new} s"


def _format_value(record: Service | Server, field: str) -> str:
    value = getattr(record, field)
    if field == "forward":
        return _METHODS.get(value, str(value))
    if isinstance(record, Service):
        if field == "flags":
            flags = format_scheduler_flags(record)
            one_packet = "one-packet" if value & ONE_PACKET else ""
            return ",".join(filter(None, (one_packet, flags))) or "none"
        if field == "timeout":
            return f"{value} s" if record.flags & PERSISTENT else "none"
        if field == "netmask":
            if not record.flags & PERSISTENT:
                return "none"
            return (
                addresses.format_address(AF_INET, value.to_bytes(4, "big"))
                if record.af == AF_INET
                else str(value)
            )
    if field in ("upper", "lower"):
        return str(value) if value else "none"
    return str(value) if value != "" else "none"


def count_connections(service: Service, server: Server) -> int:
    """Return the connections of a server that its removal concerns: the active ones, and of UDP and
    of marks, whose flows the kernel counts as inactive, those too.
    """
    return server.active + (0 if service.protocol == TCP else server.inactive)


def count_removed(steps: Iterable[Step]) -> tuple[int, int, int]:
    """Return how many services, servers and connections of servers the steps remove."""
    services = servers = connections = 0
    for step in steps:
        if step.change.op not in (DEL_SERVICE, DEL_DEST):
            continue
        services += step.change.op == DEL_SERVICE
        for change in step.undo:
            if change.server is not None and change.service is not None:
                servers += 1
                connections += count_connections(change.service, change.server)
    return services, servers, connections


def describe_removal(services: int, servers: int, connections: int) -> str:
    """Return "4 services, 7 servers; 812 active connections"; "" if nothing is removed."""
    if not (services or servers):
        return ""
    entries = _count_entries(services, servers)
    return f"{entries}; {pluralize(connections, 'active connection')}"


def _count_entries(services: int, servers: int) -> str:
    """Return "4 services, 7 servers", without those of which there are none."""
    numbers = ((services, "service"), (servers, "server"))
    return ", ".join(pluralize(number, noun) for number, noun in numbers if number)


def count_raised(steps: Iterable[Step]) -> int:
    """Return how many servers with weight 0 the steps give a weight."""
    return sum(
        step.change.op == SET_DEST
        and step.change.server is not None
        and step.undo[0].server is not None
        and step.change.server.weight > 0 == step.undo[0].server.weight
        for step in steps
    )


def describe_plan(plan: Plan) -> list[str]:
    """Return what a plan would do, in a few lines: edits one by one (at most MAX_EDITS), additions
    and removals one by one if there is only one, else their numbers.
    """
    steps = [*plan.iter_steps()]
    differences = ((step, describe_difference(step)) for step in steps)
    edits = [(step, difference) for step, difference in differences if difference]
    lines = [
        f"{_name_entry(step)}: {difference}".removeprefix(": ")
        for step, difference in edits[:MAX_EDITS]
    ]
    if len(edits) > MAX_EDITS:
        lines.append(f"{len(edits) - MAX_EDITS} more edits")
    added = [step for step in steps if step.change.op in (NEW_SERVICE, NEW_DEST)]
    if len(added) == 1:
        lines.append(f"would add {added[0].format_rule().rstrip()}")
    elif added:
        services = sum(step.change.op == NEW_SERVICE for step in added)
        lines.append(f"would add {_count_entries(services, len(added) - services)}")
    removed = describe_removal(*count_removed(steps))
    if removed:
        lines.append(f"would delete {removed}")
    raised = count_raised(steps)
    if raised:
        lines.append(f"would raise {pluralize(raised, 'quiesced server')}")
    lines += [
        f"would {'start' if step.change.op == NEW_DAEMON else 'stop'} the {ROLES[step.change.daemon.state]} sync daemon"
        for step in steps
        if step.change.daemon is not None
    ]
    return lines


def _name_entry(step: Step) -> str:
    """Return the service or server that a step edits, "" for the timeouts."""
    service = step.change.service
    return "" if service is None else writer.format_entry(service, step.change.server)
