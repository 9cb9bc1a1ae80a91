"""The records of the kernel's dumps: their fields in the order kernels write them, and what is made of them.

Owns: that order (ip_vs_ctl.c: ip_vs_genl_fill_service, ip_vs_genl_fill_dest). Must never know: sockets, how many records are
read at once (layout.py). A kernel that writes them otherwise is read by wire.py's walk.
"""

from __future__ import annotations

import os
from _socket import ntohs  # the C module beneath `socket`; this is arithmetic, not I/O
from sys import byteorder

from pyipvsadm.layout import Layout, Reader
from pyipvsadm.model import AF_INET, AF_INET6, FORWARD_MASK, Destination, Service
from pyipvsadm.netlink import NLM_F_MULTI, WireError
from pyipvsadm.wire import (
    DEST,
    DEST_ACTIVE_CONNS,
    DEST_ADDR,
    DEST_ADDR_FAMILY,
    DEST_FWD_METHOD,
    DEST_INACT_CONNS,
    DEST_L_THRESH,
    DEST_PERSIST_CONNS,
    DEST_PORT,
    DEST_STATS64,
    DEST_TUN_FLAGS,
    DEST_TUN_PORT,
    DEST_TUN_TYPE,
    DEST_U_THRESH,
    DEST_WEIGHT,
    SERVICE,
    SVC_ADDR,
    SVC_AF,
    SVC_FLAGS,
    SVC_FWMARK,
    SVC_NETMASK,
    SVC_PE_NAME,
    SVC_PORT,
    SVC_PROTOCOL,
    SVC_SCHED_NAME,
    SVC_STATS64,
    SVC_TIMEOUT,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyipvsadm.layout import Field

_STATS64 = tuple((kind, "Q") for kind in range(1, 11))
_SERVICE_NESTS = ((SERVICE,), (SERVICE, SVC_STATS64))
_BY_MARK: tuple[Field, ...] = (((SERVICE, SVC_AF), "H"), ((SERVICE, SVC_FWMARK), "I"))
_BY_ADDRESS: tuple[Field, ...] = (
    ((SERVICE, SVC_AF), "H"),
    ((SERVICE, SVC_PROTOCOL), "H"),
    ((SERVICE, SVC_ADDR), "16s"),
    ((SERVICE, SVC_PORT), "H"),
)
_NAME: Field = ((SERVICE, SVC_SCHED_NAME), "s")
_ENGINE: Field = ((SERVICE, SVC_PE_NAME), "s")
_REST: tuple[Field, ...] = (
    ((SERVICE, SVC_FLAGS), "I"),
    ((SERVICE, SVC_TIMEOUT), "I"),
    ((SERVICE, SVC_NETMASK), "4s"),
    *(((SERVICE, SVC_STATS64, kind), code) for kind, code in _STATS64),
)
_DEST_NESTS = ((DEST,), (DEST, DEST_STATS64))
_DEST_FIELDS: tuple[Field, ...] = (
    ((DEST, DEST_ADDR), "16s"),
    ((DEST, DEST_PORT), "H"),
    ((DEST, DEST_FWD_METHOD), "I"),
    ((DEST, DEST_WEIGHT), "i"),
    ((DEST, DEST_TUN_TYPE), "B"),
    ((DEST, DEST_TUN_PORT), "H"),
    ((DEST, DEST_TUN_FLAGS), "H"),
    ((DEST, DEST_U_THRESH), "I"),
    ((DEST, DEST_L_THRESH), "I"),
    ((DEST, DEST_ACTIVE_CONNS), "I"),
    ((DEST, DEST_INACT_CONNS), "I"),
    ((DEST, DEST_PERSIST_CONNS), "I"),
    ((DEST, DEST_ADDR_FAMILY), "H"),
    *(((DEST, DEST_STATS64, kind), code) for kind, code in _STATS64),
)


def _address(family: int, data: bytes) -> bytes:
    """All 16 bytes, which only an IPv6 address has."""
    if family != AF_INET6:
        raise WireError(f"address family {family}")
    return data


_NAMES: dict[bytes, str] = {}  # there are few, and every record has one


def _name(data: bytes) -> str:
    if data not in _NAMES:
        _NAMES[data] = os.fsdecode(data.partition(b"\0")[0])
    return _NAMES[data]


def _builder(marked: bool, engine: bool) -> Callable[[tuple[Any, ...]], Service]:
    """What makes a service of its fields: those of its head, its names, _REST."""

    def address(row: tuple[Any, ...]) -> Service:
        af, protocol, addr, port, name, flags, timeout, netmask = row[:8]
        if af == AF_INET:
            addr, mask = addr[:4], int.from_bytes(netmask, "big")
        else:
            addr, mask = _address(af, addr), int.from_bytes(netmask, byteorder)
        return Service(
            af, protocol, addr, ntohs(port), 0, _NAMES.get(name) or _name(name), flags, timeout, mask, "", row[8:]
        )  # fmt: skip

    def mark(row: tuple[Any, ...]) -> Service:
        af, number, name, flags, timeout, netmask = row[:6]
        mask = int.from_bytes(netmask, "big" if af == AF_INET else byteorder)
        return Service(af, 0, b"", 0, number, _name(name), flags, timeout, mask, "", row[6:])

    plain = mark if marked else address
    at = len(_BY_MARK if marked else _BY_ADDRESS) + 1

    def with_engine(row: tuple[Any, ...]) -> Service:
        service = plain(row[:at] + row[at + 1 :])
        service.pe = _name(row[at])
        return service

    return with_engine if engine else plain


def _destination(row: tuple[Any, ...]) -> Destination:
    addr, port, method, weight, tun_type, tun_port, tun_flags, upper, lower, active, inactive, persistent, af = row[:13]
    return Destination(
        af, addr[:4] if af == AF_INET else _address(af, addr), ntohs(port), method & FORWARD_MASK, weight, upper, lower,
        tun_type, ntohs(tun_port), tun_flags, active, inactive, persistent, row[13:],
    )  # fmt: skip


# Marks before addresses, and those with an engine before those without: a shape passes over what it does not name.
_SERVICE_SHAPES = tuple(
    ((*(_BY_MARK if marked else _BY_ADDRESS), _NAME, *((_ENGINE,) if engine else ()), *_REST), _builder(marked, engine))
    for marked in (True, False)
    for engine in (True, False)
)


def _learn_service(record: bytes) -> Layout | None:
    for fields, build in _SERVICE_SHAPES:
        try:
            return Layout(record, fields, _SERVICE_NESTS, build)
        except LookupError:
            continue
    return None


def _learn_destination(record: bytes) -> Layout | None:
    try:
        return Layout(record, _DEST_FIELDS, _DEST_NESTS, _destination)
    except LookupError:
        return None


def service_reader(family: int) -> Reader:
    """Reads the records of dumps of services, whole datagrams at once where they are alike. family: the IPVS family's id."""
    return Reader((family, NLM_F_MULTI), _learn_service)


def destination_reader(family: int) -> Reader:
    """The same for dumps of real servers."""
    return Reader((family, NLM_F_MULTI), _learn_destination)
