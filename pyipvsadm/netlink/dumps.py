"""Describe the records of the kernel's dumps: their fields in the order in which kernels write
them, and the values made from them.

Owns: that order (ip_vs_ctl.c: ip_vs_genl_fill_service, ip_vs_genl_fill_dest). Must never know:
sockets, how many records are read at once (dump_layout.py). The walk of attributes.py reads the
records of a kernel that writes them in another way.
"""

from __future__ import annotations

import os
from _socket import ntohs  # the C module beneath `socket`; this is arithmetic, not I/O
from struct import Struct
from sys import byteorder

from pyipvsadm.model import AF_INET, AF_INET6, HASHED, NO_STATS, Service
from pyipvsadm.netlink.attributes import (
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
from pyipvsadm.netlink.dump_layout import DumpDecoder, RecordLayout
from pyipvsadm.netlink.framing import NLM_F_MULTI

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

    from pyipvsadm.netlink.dump_layout import Field, Path

_U16 = Struct("=H")
_NO_FLAGS = Struct("=II").pack(HASHED, 0xFFFFFFFF)  # and their mask, as the kernel writes them
_SERVICE_NESTS = ((SERVICE,), (SERVICE, SVC_STATS64))
_BY_MARK: tuple[Field, ...] = (((SERVICE, SVC_FWMARK), "I"),)
_NAME: Field = ((SERVICE, SVC_SCHED_NAME), "s")
_FLAGS = (SERVICE, SVC_FLAGS)
_ENGINE: Field = ((SERVICE, SVC_PE_NAME), "s")
_REST: tuple[Field, ...] = (
    (_FLAGS, "I"),
    ((SERVICE, SVC_TIMEOUT), "I"),
    ((SERVICE, SVC_NETMASK), "4s"),
)
_COUNTERS: tuple[Field, ...] = tuple(((SERVICE, SVC_STATS64, kind), "Q") for kind in range(1, 11))
# Names have any length, and the engine is optional. On processors that need aligned 64-bit values,
# a record may have a pad before the first or before the second of them (netlink.h:
# nla_align_64bit).
_SERVICE_MOVING = ((SERVICE, SVC_SCHED_NAME), _FLAGS, (SERVICE, SVC_STATS64, 1))
_DEST_MOVING = ((DEST, DEST_STATS64, 1),)
_DEST_NESTS = ((DEST,), (DEST, DEST_STATS64))
# The struct code of an address, whose payload always has 16 bytes.
_WIDTHS = {AF_INET: "4s", AF_INET6: "16s"}

# The fields of each of model.COLUMNS. A port is left as two bytes.
_COLUMNS: dict[str, tuple[Field, ...]] = {
    "forward": (((DEST, DEST_FWD_METHOD), "I"),),
    "weight": (((DEST, DEST_WEIGHT), "i"),),
    "tun_type": (((DEST, DEST_TUN_TYPE), "B"),),
    "tun_port": (((DEST, DEST_TUN_PORT), "2s"),),
    "tun_flags": (((DEST, DEST_TUN_FLAGS), "H"),),
    "upper": (((DEST, DEST_U_THRESH), "I"),),
    "lower": (((DEST, DEST_L_THRESH), "I"),),
    "active": (((DEST, DEST_ACTIVE_CONNS), "I"),),
    "inactive": (((DEST, DEST_INACT_CONNS), "I"),),
    "persistent": (((DEST, DEST_PERSIST_CONNS), "I"),),
    "totals": tuple(((DEST, DEST_STATS64, kind), "Q") for kind in range(1, 6)),
    "rates": tuple(((DEST, DEST_STATS64, kind), "Q") for kind in range(6, 11)),
}


def _make_address_fields(width: str) -> tuple[Field, ...]:
    return (
        ((SERVICE, SVC_PROTOCOL), "H"),
        ((SERVICE, SVC_ADDR), width),
        ((SERVICE, SVC_PORT), "H"),
    )


class _Names(dict[bytes, str]):
    """Cache the names of schedulers and engines: there are few, and every record has one."""

    def __missing__(self, data: bytes) -> str:
        text = self[data] = os.fsdecode(data.partition(b"\0")[0])
        return text


class _Masks(dict[bytes, int]):
    """Cache netmasks as numbers: there are few. order: the byte order; for IPv6 that of a prefix
    length.
    """

    def __init__(self, order: Literal["big", "little"]) -> None:
        super().__init__()
        self._order = order

    def __missing__(self, data: bytes) -> int:
        mask = self[data] = int.from_bytes(data, self._order)
        return mask


_NAMES = _Names()
_MASKS = {AF_INET: _Masks("big"), AF_INET6: _Masks(byteorder)}


def _make_service_builder(
    af: int, marked: bool, engine: bool
) -> Callable[[list[tuple[Any, ...]]], list[Service]]:
    """Return the function that makes services from their fields, in this order: head, name,
    (engine), _REST, and _COUNTERS if they are read.
    """
    names, masks = _NAMES, _MASKS[af]

    def build_by_address(rows: list[tuple[Any, ...]]) -> list[Service]:
        return [
            Service(
                af,
                row[0],
                row[1],
                ntohs(row[2]),
                0,
                names[row[3]],
                row[4],
                row[5],
                masks[row[6]],
                "",
                row[7:] or NO_STATS,
            )
            for row in rows
        ]

    def build_by_mark(rows: list[tuple[Any, ...]]) -> list[Service]:
        return [
            Service(
                af,
                0,
                b"",
                0,
                row[0],
                names[row[1]],
                row[2],
                row[3],
                masks[row[4]],
                "",
                row[5:] or NO_STATS,
            )
            for row in rows
        ]

    build = build_by_mark if marked else build_by_address
    # The engine's name comes after the scheduler's.
    engine_index = 2 if marked else 4

    def build_with_engine(rows: list[tuple[Any, ...]]) -> list[Service]:
        services = build([row[:engine_index] + row[engine_index + 1 :] for row in rows])
        for service, row in zip(services, rows):
            service.pe = names[row[engine_index]]
        return services

    return build_with_engine if engine else build


def _make_service_layout(
    counters: tuple[Field, ...], fixed_payloads: tuple[Path, ...] = ()
) -> Callable[[bytes], RecordLayout | None]:
    """Return the function that builds the layout of a record. fixed_payloads: attributes whose
    payload belongs to the shape.
    """

    def build_layout(record: bytes) -> RecordLayout | None:
        # A layout skips the attributes that it does not read, so the layouts that need more are
        # tried first: a mark before an address, an engine before none.
        for marked in (True, False):
            for engine in (True, False):
                for family, width in _WIDTHS.items():
                    head = _BY_MARK if marked else _make_address_fields(width)
                    fields = (*head, _NAME, *((_ENGINE,) if engine else ()), *_REST, *counters)
                    constants = [
                        ((SERVICE, SVC_AF), _U16.pack(family)),
                        *((path, None) for path in fixed_payloads),
                    ]
                    # Engines of other lengths may fill the same bytes with their padding.
                    variable = (*_SERVICE_MOVING, *((_ENGINE[0],) if engine else ()))
                    build = _make_service_builder(family, marked, engine)
                    try:
                        return RecordLayout(
                            record, fields, _SERVICE_NESTS, variable, build, constants
                        )
                    except LookupError:
                        continue
        return None

    return build_layout


def _build_known_layout(record: bytes) -> RecordLayout | None:
    """Decode only the key of services that /proc/net/ip_vs shows completely; decode the others
    fully.
    """
    for family, width in _WIDTHS.items():
        fields: tuple[Field, ...] = (
            ((SERVICE, SVC_PROTOCOL), "2s"), ((SERVICE, SVC_ADDR), width), ((SERVICE, SVC_PORT), "2s")
        )  # fmt: skip
        constants = [((SERVICE, SVC_AF), _U16.pack(family)), (_FLAGS, _NO_FLAGS)]
        try:
            return RecordLayout(
                record, fields, _SERVICE_NESTS, ((SERVICE, SVC_SCHED_NAME),), constants=constants
            )
        except LookupError:
            continue
    # Each set of flags has layouts of its own: services without flags must not fit into one.
    return _make_service_layout((), (_FLAGS,))(record)


def _make_row_layout(columns: tuple[str, ...]) -> Callable[[bytes], RecordLayout | None]:
    values = [field for name in columns for field in _COLUMNS[name]]

    def build_layout(record: bytes) -> RecordLayout | None:
        for family, width in _WIDTHS.items():
            fields = (((DEST, DEST_ADDR), width), ((DEST, DEST_PORT), "2s"), *values)
            constants = [((DEST, DEST_ADDR_FAMILY), _U16.pack(family))]
            try:
                return RecordLayout(record, fields, _DEST_NESTS, _DEST_MOVING, constants=constants)
            except LookupError:
                continue
        return None

    return build_layout


def make_service_reader(family: int, counters: bool) -> DumpDecoder:
    """Return the reader of dumps of services, which decodes whole datagrams at once if their
    records are alike. family: the id of the IPVS family.

    Without `counters`, the services have none.
    """
    return DumpDecoder((family, NLM_F_MULTI), _make_service_layout(_COUNTERS if counters else ()))


def make_proc_reader(family: int) -> DumpDecoder:
    """Return a reader as make_service_reader does, but with a model.ProcTable key instead of a
    record for each service by an address without flags.
    """
    return DumpDecoder((family, NLM_F_MULTI), _build_known_layout)


def make_row_reader(family: int, columns: tuple[str, ...]) -> DumpDecoder:
    """Return the reader of dumps of real servers, as rows (model.to_row) of these columns."""
    return DumpDecoder((family, NLM_F_MULTI), _make_row_layout(columns))
