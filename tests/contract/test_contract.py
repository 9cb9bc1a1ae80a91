"""The contract of every backend: the table of cases, and rules that a table of cases cannot
express.
"""

from __future__ import annotations

import errno
from copy import deepcopy
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

from pyipvsadm.errors import RefusedError
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    COLUMNS,
    GET_SERVICE,
    GUE,
    HASHED,
    NO_STATS,
    TCP,
    TUN_CSUM,
    TUNNEL,
    Service,
    Timeouts,
    build_server,
    to_row,
)
from tests.contract.backends import (
    LAB,
    REFUSED_BEFORE,
    Content,
    bounds_thresholds,
    content,
    embedded,
    is_kernel_before,
    need_nic,
    plug_in,
    recipe,
)
from tests.contract.cases import CASES
from tests.contract.shorthand import (
    CLEAR,
    DEFAULT_TIMEOUTS,
    EMPTY,
    Case,
    Held,
    add,
    alter,
    backup,
    config,
    delete,
    edit,
    mark,
    master,
    new,
    remove,
    server,
    stop,
    tcp,
)
from tests.contract.strategies import changes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyipvsadm.model import Backend, Change

MH_TABLE = 4093


def expected(held: Held) -> Content:
    """Return the content that a backend reads from a table that holds this: a table sets the flag
    HASHED of every service.
    """
    rows = [
        (
            Service(
                s.af,
                s.protocol,
                s.addr,
                s.port,
                s.fwmark,
                s.scheduler,
                s.flags | HASHED,
                s.timeout,
                s.netmask,
                s.pe,
            ),
            list(servers),
        )
        for s, servers in held.rows
    ]
    rows.sort(key=lambda row: row[0].key())
    return Content(rows, Timeouts(*held.timeouts), list(held.daemons))


@pytest.fixture
def with_nic(backend: Backend) -> Backend:
    plug_in()
    return backend


def same(backend: Backend, sequence: Sequence[Change]) -> None:
    """Check that the embedded table gives the same answers and then holds the same, and that a new
    table with that content holds it, too.
    """
    beside = embedded()
    assert beside.apply(sequence) == backend.apply(sequence)
    held = content(backend)
    assert content(beside) == held
    again = embedded()
    assert again.apply(recipe(held)) == []
    assert content(again) == held


def test_the_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, backend: Backend) -> None:
    if need_nic((*case.setup, case.change)):
        plug_in()
    assert backend.apply(case.setup) == []
    before = content(backend)
    if case.unbounded is not None and not bounds_thresholds():
        assert backend.apply([case.change]) == ([(0, case.unbounded)] if case.unbounded else [])
        return  # the embedded table is a later kernel's
    if case.name in REFUSED_BEFORE and is_kernel_before(*REFUSED_BEFORE[case.name]):
        assert backend.apply([case.change]) == [(0, errno.EINVAL)]
        return
    assert backend.apply([case.change]) == ([(0, case.errno)] if case.errno else [])
    after = content(backend)
    assert after == (before if case.after is None else expected(case.after))
    beside = embedded()
    assert beside.apply([*case.setup, case.change]) == (
        [(len(case.setup), case.errno)] if case.errno else []
    )
    assert content(beside) == after
    again = embedded()
    assert again.apply(recipe(after)) == []
    assert content(again) == after


@settings(
    max_examples=300 if LAB else 20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(sequence=changes())
def test_any_changes(with_nic: Backend, sequence: list[Change]) -> None:
    # One namespace for all: the kernel removes namespaces slowly, and a thousand fill its memory.
    with_nic.apply([CLEAR, stop(master()), stop(backup()), config(*DEFAULT_TIMEOUTS)])
    assert content(with_nic) == expected(EMPTY)
    same(with_nic, sequence)


def test_a_new_table(backend: Backend) -> None:
    assert content(backend) == Content([], Timeouts(900, 120, 300), [])
    assert backend.read_info().version == 0x010201
    # from 7.1 on, a table grows from nothing
    assert backend.read_info().size in ((4096,) if not LAB else (0, 4096))
    assert backend.apply([]) == []


def test_connections_begin_with_their_heading(backend: Backend) -> None:
    heading = b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
    assert list(backend.iter_connections()) == [heading]


@pytest.mark.parametrize(
    "service", [tcp(), tcp(AF_INET6, 443), mark(7), mark(7, AF_INET6)], ids=repr
)
def test_one_service(backend: Backend, service: Service) -> None:
    with pytest.raises(RefusedError) as refusal:
        backend.find_service(service)
    assert (refusal.value.op, refusal.value.errno) == (GET_SERVICE, errno.ESRCH)
    assert backend.read_servers(service) == []
    assert backend.apply([new(service), add(service, server(af=service.af))]) == []
    service.flags = HASHED
    assert backend.find_service(service) == service
    # Only its key is read.
    assert (
        backend.find_service(
            Service(service.af, service.protocol, service.addr, service.port, service.fwmark)
        )
        == service
    )
    assert backend.read_servers(service) == [server(af=service.af)]


def test_rows_are_the_servers_in_parts(backend: Backend) -> None:
    for service in (tcp(), tcp(af=AF_INET6), mark(7)):
        others = AF_INET6 if service.af == AF_INET else AF_INET
        backend.apply(
            [new(service), add(service, server(af=service.af, weight=7, upper=9, lower=3))]
        )
        backend.apply([add(service, server(af=others, forward=TUNNEL, tun=(GUE, 6080, TUN_CSUM)))])
        servers = backend.read_servers(service)
        assert len(servers) == 2
        assert [
            list(map(build_server, rows)) for rows in backend.iter_rows([service], COLUMNS)
        ] == [servers]
        for name in COLUMNS:
            assert list(backend.iter_rows([service], (name,))) == [
                [to_row(each, (name,)) for each in servers]
            ]
    services = backend.read_services()
    assert [len(rows) for rows in backend.iter_rows([*services, tcp(port=81)], ())] == [2, 2, 2, 0]


def test_services_may_be_read_without_their_counters(backend: Backend) -> None:
    backend.apply([new(tcp()), new(mark(7))])
    found = backend.read_services(counters=False)
    assert [each.key() for each in found] == [each.key() for each in backend.read_services()]


def test_one_service_of_no_family(backend: Backend) -> None:
    alien = Service(7, TCP, b"\x0a\1\1\1", 80)
    with pytest.raises(RefusedError) as refusal:
        backend.find_service(alien)
    assert (refusal.value.op, refusal.value.errno) == (GET_SERVICE, errno.EAFNOSUPPORT)
    assert backend.read_servers(alien) == []


def test_a_mark_service_has_no_address(backend: Backend) -> None:
    backend.apply([new(mark(7))])
    (service,) = backend.read_services()
    assert (service.protocol, service.addr, service.port, service.fwmark) == (0, b"", 0, 7)


def test_nothing_is_counted_of_what_a_request_claims(backend: Backend) -> None:
    counted = server()
    counted.active, counted.inactive, counted.persistent, counted.stats = 1, 2, 3, tuple(range(10))
    service = tcp()
    service.stats = tuple(range(10))
    backend.apply([new(service), add(service, counted)])
    assert backend.find_service(service).stats == NO_STATS
    assert backend.read_servers(service) == [server()]


def test_records_given_back_are_the_callers(backend: Backend) -> None:
    service, one = tcp(), server()
    backend.apply([new(service), add(service, one), config(1, 2, 3)])
    before = deepcopy(content(backend))  # a copy that shares nothing with the table
    held = backend.read_services()[0]
    held.scheduler = "rr"
    backend.find_service(service).flags = 0xFF
    backend.read_servers(service)[0].weight = 99
    backend.read_servers(service).clear()
    backend.read_timeouts().tcp = 9
    service.scheduler, one.weight = "sh", 77  # as are the records of a request
    assert content(backend) == before


def test_refreshed_it_is_the_same_table(backend: Backend) -> None:
    backend.apply([new(tcp()), add(tcp(), server()), config(1, 2, 3)])
    before = content(backend)
    backend.refresh()
    assert content(backend) == before
    assert backend.apply([delete(tcp())]) == []


def test_one_refused_change_does_not_stop_the_next(backend: Backend) -> None:
    web = tcp()
    sequence = [
        new(web),
        new(web),
        add(web, server(1)),
        add(web, server(1)),
        alter(web, server(2)),
        remove(tcp(port=81), server(1)),
        add(web, server(3, weight=-1)),
        add(web, server(2)),
        config(2**31),
        edit(tcp(scheduler="rr")),
        delete(mark(1)),
    ]
    assert backend.apply(sequence) == [
        (1, errno.EEXIST),
        (3, errno.EEXIST),
        (4, errno.ENOENT),
        (5, errno.ESRCH),
        (6, errno.ERANGE),
        (8, errno.EINVAL),
        (10, errno.ESRCH),
    ]
    assert content(backend) == expected(Held(((tcp(scheduler="rr"), (server(2), server(1))),)))


def test_changes_that_cannot_all_be_had_do_nothing(backend: Backend) -> None:
    def broken() -> Iterator[Change]:
        yield new(tcp())
        raise LookupError

    with pytest.raises(LookupError):
        backend.apply(broken())
    assert backend.read_services() == []
    assert backend.apply(iter((new(tcp()), new(tcp())))) == [(1, errno.EEXIST)]


def test_many_changes_at_once(backend: Backend) -> None:
    """More changes than fit one batch are answered one by one: here the whole second half is
    refused.
    """
    web = tcp()
    servers = [server(addr=(0x0A030000 + number).to_bytes(4, "big")) for number in range(1500)]
    sequence = [new(web), *(add(web, one) for one in servers)]
    assert backend.apply(sequence * 2) == [(index, errno.EEXIST) for index in range(1501, 3002)]
    assert backend.read_servers(web) == servers[::-1]


def test_mh_begins_with_no_more_servers_than_its_table_holds(backend: Backend) -> None:
    web, maglev = tcp(scheduler="rr"), tcp(scheduler="mh")
    servers = [
        server(addr=(0x0A030000 + number).to_bytes(4, "big")) for number in range(MH_TABLE + 1)
    ]
    assert backend.apply([new(web), *(add(web, one) for one in servers)]) == []
    assert backend.apply([edit(maglev)]) == [(0, errno.EINVAL)]
    # Linux 5.10 has taken the old scheduler away by then; 6.1 gives it back.
    left = "none" if is_kernel_before(6, 1) else "rr"
    assert backend.find_service(web).scheduler == left
    assert backend.apply([remove(web, servers[0]), edit(maglev)]) == []
    # A service that has the scheduler already takes more servers, and can be edited.
    assert backend.apply([add(web, servers[0]), edit(maglev)]) == []
    assert len(backend.read_servers(web)) == MH_TABLE + 1


def test_addresses_are_told_apart_by_family(backend: Backend) -> None:
    """Two servers with the same first four bytes differ if one is IPv4 and the other IPv6."""
    web = tcp(AF_INET6)
    six = server(addr=b"\x0a\2\0\1" + bytes(12), af=AF_INET6, forward=2)
    four = server(addr=b"\x0a\2\0\1", af=AF_INET, forward=2)
    assert backend.apply([new(web), add(web, six), add(web, four)]) == []
    assert backend.read_servers(web) == [four, six]
