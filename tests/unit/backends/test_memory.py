"""Test the embedded table where the contract of all backends (tests/contract) says nothing."""

from __future__ import annotations

import errno
import gc
import subprocess
import sys
import time
from copy import deepcopy

import pytest
from hypothesis import given

from pyipvsadm.backends import memory
from pyipvsadm.backends.memory import MemoryBackend, has_interface
from pyipvsadm.model import (
    AF_INET,
    BACKUP,
    MASTER,
    NEW_DEST,
    NEW_SERVICE,
    TCP,
    Change,
    Daemon,
    Server,
    Service,
)
from tests.contract.backends import LAB, Content, content, embedded, recipe
from tests.contract.shorthand import (
    add,
    alter,
    backup,
    mark,
    master,
    new,
    remove,
    server,
    start,
    stop,
    tcp,
)
from tests.contract.strategies import changes


def answers_one_by_one(table: MemoryBackend, sequence: list[Change]) -> list[tuple[int, int]]:
    return [
        (index, number)
        for index, change in enumerate(sequence)
        for _, number in table.apply([change])
    ]


@given(changes())
def test_all_at_once_is_one_by_one(sequence: list[Change]) -> None:
    together, apart = embedded(), embedded()
    refused = together.apply(sequence)
    assert refused == answers_one_by_one(apart, sequence)
    assert content(together) == content(apart)
    indices = [index for index, _ in refused]
    assert indices == sorted(set(indices))
    assert {number for _, number in refused} <= set(errno.errorcode)


@given(changes())
def test_refused_changes_leave_the_table_as_it_was(sequence: list[Change]) -> None:
    table = embedded()
    for change in sequence:
        before = content(table)
        if table.apply([change]):
            assert content(table) == before


@given(changes())
def test_without_the_refused_ones_it_is_the_same(sequence: list[Change]) -> None:
    table, again = embedded(), embedded()
    refused = {index for index, _ in table.apply(sequence)}
    assert (
        again.apply([change for index, change in enumerate(sequence) if index not in refused]) == []
    )
    assert content(again) == content(table)


@given(changes())
def test_what_it_holds_replays_to_itself(sequence: list[Change]) -> None:
    table, again = embedded(), embedded()
    table.apply(sequence)
    held = Content(
        [(s, table.read_servers(s)) for s in table.read_services()],
        table.read_timeouts(),
        table.read_daemons(),
    )
    assert again.apply(recipe(held)) == []
    assert content(again) == content(table)
    assert again.read_services() == table.read_services()  # in the same order, too


@given(changes())
def test_what_a_caller_does_to_its_records_is_not_seen(sequence: list[Change]) -> None:
    table = embedded()
    table.apply(sequence)
    before = deepcopy(content(table))
    for record in (
        *(change.service for change in sequence),
        *(change.server for change in sequence),
        *(change.daemon for change in sequence),
        *(change.timeouts for change in sequence),
        *table.read_services(),
        *(one for service in table.read_services() for one in table.read_servers(service)),
        table.read_timeouts(),
        *table.read_daemons(),
    ):
        for name in record.__slots__ if record else ():
            setattr(record, name, None)
    assert content(table) == before


def test_services_keep_their_order_marks_last() -> None:
    table = embedded()
    table.apply([new(mark(9)), new(tcp(port=443)), new(mark(1)), new(tcp(port=80))])
    assert [(service.port, service.fwmark) for service in table.read_services()] == [
        (443, 0),
        (80, 0),
        (0, 9),
        (0, 1),
    ]
    table.apply([Change(2, tcp(port=443, scheduler="rr"))])
    assert [service.port for service in table.read_services()] == [443, 80, 0, 0]


def test_the_interfaces_asked_for() -> None:
    asked = []

    def only_bond(name: str) -> bool:
        asked.append(name)
        return name == "bond0"

    table = MemoryBackend(only_bond)
    assert table.apply([start(master("bond0")), start(backup("lo")), start(backup("n" * 16))]) == [
        (1, errno.ENODEV),
        (2, errno.EINVAL),
    ]
    assert asked == ["bond0", "lo"]


def test_interfaces_may_be_replaced() -> None:
    """Daemons of another machine are loaded, then this one's interfaces count."""
    table = MemoryBackend(lambda _: True)
    assert table.apply([start(master("eth7"))]) == []
    table.interfaces = has_interface
    assert table.apply([start(backup("no-such-thing")), stop(master("eth7"))]) == [
        (0, errno.ENODEV)
    ]


def test_the_machine_is_asked_by_default() -> None:
    table = MemoryBackend()
    assert table.apply([start(master("lo")), start(backup("no-such-thing"))]) == [(1, errno.ENODEV)]
    assert table.read_daemons()[0].interface == "lo"


@pytest.mark.parametrize(
    ("name", "exists"), [("lo", True), ("", False), ("no-such-thing", False), ("l\0o", False)]
)
def test_interface_exists(name: str, exists: bool) -> None:
    assert has_interface(name) is exists


def test_only_lo_is_longer_than_usual() -> None:
    table = MemoryBackend(lambda _: True)
    table.apply([start(Daemon(BACKUP, "eth0")), start(Daemon(MASTER, "eth0"))])
    assert [(daemon.state, daemon.maxlen) for daemon in table.read_daemons()] == [
        (MASTER, 1472),
        (BACKUP, 1472),
    ]


def test_groups_of_no_family() -> None:
    table = embedded()
    assert table.apply(
        [start(Daemon(MASTER, "lo", group=b"\xff" * length)) for length in (1, 5, 15, 17)]
    ) == [(index, errno.EINVAL) for index in range(4)]


def test_it_says_which_kernel_it_is() -> None:
    assert memory.MODELLED_KERNEL.startswith("Linux 6.1.")
    assert (memory.HZ, memory.SIZE, memory.VERSION) == (250, 4096, 0x010201)
    assert "twos" not in memory.SCHEDULERS


def test_limits_at_its_own_tick_rate() -> None:
    table = embedded()
    table.apply(
        [
            new(tcp(timeout=seconds, port=seconds & 0xFFFF))
            for seconds in (17179869, 17179870, 4294967295)
        ]
    )
    assert [service.timeout for service in table.read_services()] == [17179869, 0, 17179868]


def test_close_is_nothing() -> None:
    table = embedded()
    table.close()
    assert (
        table.apply(
            [new(tcp()), add(tcp(), server()), alter(tcp(), server()), remove(tcp(), server())]
        )
        == []
    )


@pytest.mark.skipif(LAB, reason="fresh memory costs the guest more than the work")
def test_many_rules_take_time_in_proportion() -> None:
    """Four times the servers take far less than sixteen times as long, which a search or insertions
    at the head would take.
    """

    def seconds(count: int) -> float:
        web = Service(AF_INET, TCP, b"\x0a\1\1\1", 80)
        sequence = [Change(NEW_SERVICE, web)]
        sequence += [
            Change(NEW_DEST, web, Server(AF_INET, (0x0A000001 + number).to_bytes(4, "big"), 80))
            for number in range(count)
        ]
        table = MemoryBackend()
        gc.disable()
        try:
            started = time.perf_counter()
            assert table.apply(sequence) == []
            assert len(table.read_servers(web)) == count
            return time.perf_counter() - started
        finally:
            gc.enable()

    assert min(seconds(80000) for _ in range(3)) < 10 * min(seconds(20000) for _ in range(3))


def test_imports_are_the_allowed_ones() -> None:
    """Only sys, os, errno, struct, time, _socket and our own modules are imported: an administrator
    waits for the start of every command.
    """
    program = (
        "import sys, os, errno; before = set(sys.modules); "
        "import pyipvsadm.backends.memory; print(*(set(sys.modules) - before))"
    )
    path = f"import sys; sys.path[:0] = {sys.path!r}; "
    out = subprocess.run(
        [sys.executable, "-I", "-S", "-c", path + program],
        check=True,
        capture_output=True,
        text=True,
    )
    allowed = {"struct", "_struct", "time", "_socket", "__future__"}
    assert {name for name in out.stdout.split() if not name.startswith("pyipvsadm")} <= allowed
