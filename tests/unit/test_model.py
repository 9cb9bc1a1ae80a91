"""Test records: equality, their repr, and their keys for the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyipvsadm import model
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    MASTER,
    NEW_SERVICE,
    TCP,
    UDP,
    Change,
    Daemon,
    Info,
    Record,
    Server,
    Service,
    Timeouts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

V4 = bytes([10, 0, 0, 1])

# One record of each kind, with no two values alike where that is possible, by name.
RECORDS: list[tuple[type[Record], dict[str, object]]] = [
    (
        Service,
        {
            "af": AF_INET, "protocol": TCP, "addr": V4, "port": 80, "fwmark": 3, "scheduler": "rr", "flags": 1, "timeout": 300,
            "netmask": 0xFFFFFF00, "pe": "sip", "stats": tuple(range(10)),
        },
    ),
    (
        Server,
        {
            "af": AF_INET, "addr": V4, "port": 80, "forward": 0, "weight": 5, "upper": 6, "lower": 4, "tun_type": 1,
            "tun_port": 6080, "tun_flags": 7, "active": 8, "inactive": 9, "persistent": 10, "stats": tuple(range(10, 20)),
        },
    ),
    (Daemon, {"state": 1, "interface": "lo", "syncid": 2, "maxlen": 1400, "group": V4, "port": 8848, "ttl": 3}),
    (Timeouts, {"tcp": 1, "tcp_fin": 2, "udp": 3}),
    (Info, {"version": 0x010201, "size": 4096}),
    (
        Change,
        {
            "op": 1, "service": Service(AF_INET), "server": Server(AF_INET, V4, 80), "daemon": Daemon(1),
            "timeouts": Timeouts(1, 2, 3),
        },
    ),
]  # fmt: skip
KINDS = [kind.__name__ for kind, _ in RECORDS]


@pytest.mark.parametrize(("kind", "values"), RECORDS, ids=KINDS)
def test_every_value_is_kept_where_it_was_given(
    kind: type[Record], values: dict[str, object]
) -> None:
    record = kind(**values)
    assert {name: getattr(record, name) for name in kind.__slots__} == values
    assert kind(*values.values()) == record  # and in this order


@pytest.mark.parametrize(("kind", "values"), RECORDS, ids=KINDS)
def test_one_other_value_makes_another_record(
    kind: type[Record], values: dict[str, object]
) -> None:
    record = kind(**values)
    assert record == kind(**values)
    for name in values:
        other = kind(**values)
        setattr(other, name, "another")
        assert record != other, name


@pytest.mark.parametrize(("kind", "values"), RECORDS, ids=KINDS)
def test_a_record_shows_what_makes_it(kind: type[Record], values: dict[str, object]) -> None:
    shown = repr(kind(**values))
    assert shown.startswith(f"{kind.__name__}(")
    assert all(f"{name}={value!r}" in shown for name, value in values.items())
    assert eval(shown, vars(model)) == kind(**values)


def test_records_of_other_kinds_are_others() -> None:
    assert Timeouts(1, 2, 3) != Info(1, 2)
    assert Timeouts(1, 2, 3) != (1, 2, 3)
    assert Info(1, 2).__eq__((1, 2)) is NotImplemented


def test_records_change_and_so_are_no_keys() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Info(1, 2))


def test_records_have_no_other_names() -> None:
    with pytest.raises(AttributeError):
        Info(1, 2).sise = 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("service", "key"),
    [
        (Service(AF_INET, TCP, V4, 80), (AF_INET, TCP, V4, 80, 0)),
        (Service(AF_INET, UDP, V4, 80), (AF_INET, UDP, V4, 80, 0)),
        (Service(AF_INET, TCP, V4, 0), (AF_INET, TCP, V4, 0, 0)),
        (Service(AF_INET, fwmark=5), (AF_INET, 0, b"", 0, 5)),
        (Service(AF_INET6, fwmark=5), (AF_INET6, 0, b"", 0, 5)),
        # a mark alone names the service
        (Service(AF_INET, TCP, V4, 80, 5), (AF_INET, 0, b"", 0, 5)),
        (Service(AF_INET, TCP, V4, 80, 0, "rr", 1, 300, 0, "sip"), (AF_INET, TCP, V4, 80, 0)),
    ],
)
def test_what_names_a_service(service: Service, key: tuple[int, int, bytes, int, int]) -> None:
    assert service.key() == key


def test_what_names_a_server() -> None:
    assert Server(AF_INET, V4, 80, 0, 5, 1, 2).key() == (AF_INET, V4, 80)


def test_defaults() -> None:
    assert Service(AF_INET) == Service(
        AF_INET, 0, b"", 0, 0, "wlc", 0, 0, 0xFFFFFFFF, "", (0,) * 10
    )
    assert Server(AF_INET, V4, 80) == Server(
        AF_INET, V4, 80, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, (0,) * 10
    )
    assert Daemon(MASTER) == Daemon(1, "", 0, 0, b"", 0, 0)
    assert Change(NEW_SERVICE) == Change(1, None, None, None, None)


# uapi ip_vs.h
NUMBERS = {
    "MASQ": 0, "LOCAL": 1, "TUNNEL": 2, "ROUTE": 3, "BYPASS": 4,
    "PERSISTENT": 0x1, "HASHED": 0x2, "ONE_PACKET": 0x4, "SCHED1": 0x8, "SCHED2": 0x10, "SCHED3": 0x20,
    "IPIP": 0, "GUE": 1, "GRE": 2, "TUN_CSUM": 1, "TUN_REMCSUM": 2, "MASTER": 1, "BACKUP": 2,
    "AF_INET": 2, "AF_INET6": 10, "TCP": 6, "UDP": 17, "SCTP": 132,
    "NEW_SERVICE": 1, "SET_SERVICE": 2, "DEL_SERVICE": 3, "GET_SERVICE": 4, "NEW_DEST": 5, "SET_DEST": 6, "DEL_DEST": 7,
    "GET_DEST": 8, "NEW_DAEMON": 9, "DEL_DAEMON": 10, "GET_DAEMON": 11, "SET_CONFIG": 12, "GET_CONFIG": 13, "SET_INFO": 14,
    "GET_INFO": 15, "ZERO": 16, "FLUSH": 17,
}  # fmt: skip


def test_the_kernel_s_numbers() -> None:
    assert {name: getattr(model, name) for name in NUMBERS} == NUMBERS


@pytest.mark.parametrize("counts", [[], [0], [1] * 5, [998, 1, 0, 3000, 2], [0] * 2001])
def test_blocks_hold_each_table_once(counts: list[int]) -> None:
    tables = [(Service(AF_INET, fwmark=at), [(at,)] * count) for at, count in enumerate(counts, 1)]
    blocks = list(model.iter_blocks(iter(tables)))
    assert [table for block in blocks for table in block] == tables
    for block in blocks[:-1]:
        lines = [1 + len(rows) for _, rows in block]
        assert sum(lines[:-1]) < model.BLOCK_LINES <= sum(lines)


@pytest.mark.parametrize("count", [0, 2])
def test_an_error_comes_after_the_services_before_it(count: int) -> None:
    def read_tables() -> Iterator[tuple[Service, list[model.Row]]]:
        yield from ((Service(AF_INET, fwmark=1), []) for _ in range(count))
        raise PermissionError

    blocks = model.iter_blocks(read_tables())
    if count:
        assert len(next(blocks)) == count
    with pytest.raises(PermissionError):
        next(blocks)
