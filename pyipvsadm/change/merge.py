"""Merge the options of an edit with --keep into the present settings.

Owns: finding the server that is meant, and which option replaces which setting. Must never know:
how the edit is sent, netlink.

The kernel's edits replace every setting (ip_vs_ctl.c: ip_vs_edit_service, __ip_vs_update_dest), so
the present ones are read first.
"""

from __future__ import annotations

import errno

from pyipvsadm import addresses
from pyipvsadm.errors import EXIT_REFUSED, OperationError, RefusedError, UsageError, format_error
from pyipvsadm.grammar.options import TUNNEL_TYPES
from pyipvsadm.grammar.parser import check_server
from pyipvsadm.grammar.values import merge_scheduler_flags
from pyipvsadm.model import (
    GUE,
    IPIP,
    ONE_PACKET,
    PERSISTENT,
    SCHED1,
    SCHED2,
    SCHED3,
    SET_DEST,
    SET_SERVICE,
    TUNNEL,
    Change,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeVar

    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend, Record, Server, Service

    Kind = TypeVar("Kind", bound=Record)

# What a slot fills.
_SERVER = (
    ("weight", "weight"),
    ("u-threshold", "upper"),
    ("l-threshold", "lower"),
    ("forwarding-method", "forward"),
)
_SERVICE = (
    ("scheduler", "scheduler"),
    ("netmask", "netmask"),
    ("persistent", "timeout"),
    ("pe", "pe"),
)

TRIES = 3  # a dump leaves out entries when the table changes meanwhile


def merge_edit(request: Request, backend: Backend) -> Change:
    """Return the complete change that `-e ... --keep` or `-E ... --keep` asks for.

    Raise UsageError if the options do not fit the present settings, OperationError if the service
    or server does not exist or is ambiguous.
    """
    asked = request.change
    assert asked is not None
    assert asked.service is not None
    present = find_service(backend, asked.service, asked.op)
    if asked.op == SET_SERVICE:
        return Change(
            SET_SERVICE, merge_service(present, asked.service, request.slots, request.flags)
        )
    assert asked.server is not None
    found = find_server(backend, present, asked.server, request.port)
    return Change(SET_DEST, present, merge_server(present, found, asked.server, request.slots))


def find_service(backend: Backend, wanted: Service, op: int) -> Service:
    """Return the service as it is now. Raise OperationError, with the message of `op`, if it does
    not exist.
    """
    try:
        return backend.find_service(wanted)
    except RefusedError as exc:
        if exc.errno != errno.ESRCH:
            raise
        raise OperationError(format_error(op, exc.errno), EXIT_REFUSED) from None


def find_server(backend: Backend, of: Service, wanted: Server, port: int | None) -> Server:
    """Return the server with this address, and this port unless it is None. Raise OperationError if
    there is none, or more than one.
    """
    servers: Sequence[Server] = []
    for _ in range(TRIES):
        servers = backend.read_servers(of)
        found = find_matching(servers, wanted, port)
        if found:
            break
    else:
        beside = find_matching(servers, wanted, None)
        hint = f": there is {_name_servers(beside)}" if beside else ""
        raise OperationError(format_error(SET_DEST, errno.ENOENT) + hint, EXIT_REFUSED)
    if len(found) > 1:
        raise OperationError(
            f"which real server is meant? Give one with its port: {_name_servers(found)}", 2
        )
    return found[0]


def find_matching(servers: Iterable[Server], wanted: Server, port: int | None) -> list[Server]:
    """Return the servers with this address, and with this port unless it is None."""
    return [
        each
        for each in servers
        if (each.af, each.addr) == (wanted.af, wanted.addr) and port in (None, each.port)
    ]


def _name_servers(servers: Iterable[Server]) -> str:
    return ", ".join(
        sorted(addresses.format_numeric(each.af, each.addr, each.port) for each in servers)
    )


def merge_server(of: Service, present: Server, given: Server, slots: set[str]) -> Server:
    """Return a copy of `present` in which the settings that `slots` names come from `given`. Raise
    UsageError if they do not fit together.

    A forwarding method other than tunnelling clears the tunnel settings; another tunnel type clears
    port and flags of the former type.
    """
    edited = copy_record(present)
    for slot, field in _SERVER:
        if slot in slots:
            setattr(edited, field, getattr(given, field))
    if "forwarding-method" in slots and given.forward != TUNNEL:
        edited.tun_type = edited.tun_port = edited.tun_flags = 0
    if "tun-type" in slots:
        edited.tun_type = given.tun_type
        if given.tun_type != present.tun_type or given.tun_type == IPIP:
            edited.tun_port = edited.tun_flags = 0
    if "tun-port" in slots:
        edited.tun_port = given.tun_port
    if slots & {"tun-nocsum", "tun-csum", "tun-remcsum"}:
        edited.tun_flags = given.tun_flags
    if edited.tun_type < len(TUNNEL_TYPES):
        port = (
            {"tun-port"}
            if edited.forward == TUNNEL and edited.tun_type == GUE and edited.tun_port
            else set()
        )
        check_server(of, edited, slots | port)
    return edited


def merge_service(present: Service, given: Service, slots: set[str], flags: str) -> Service:
    """Return a copy of `present` in which the settings that `slots` names come from `given`. Raise
    UsageError if they do not fit together.

    flags: scheduler flags as typed; they belong to the present scheduler unless another one is
    given.
    """
    edited = copy_record(present)
    for slot, field in _SERVICE:
        if slot in slots:
            setattr(edited, field, getattr(given, field))
    if "persistent" in slots:
        edited.flags |= PERSISTENT
    if "ops" in slots:
        edited.flags |= ONE_PACKET
    if "sched-flags" in slots:
        bits = SCHED1 | SCHED2 | SCHED3
        chosen = merge_scheduler_flags(edited.scheduler, flags, edited.flags & bits)
        edited.flags = edited.flags & ~bits | chosen
    if not (edited.fwmark or edited.port or edited.flags & PERSISTENT):
        raise UsageError("Zero port specified for non-persistent service")
    return edited


def copy_record(record: Kind) -> Kind:
    """Return a new record with the same values."""
    made = record.__class__.__new__(record.__class__)
    for name in record.__slots__:
        setattr(made, name, getattr(record, name))
    return made
