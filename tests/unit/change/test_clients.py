"""Count the clients of a connection table by what a change does to their next connection."""

from __future__ import annotations

import pytest

from pyipvsadm.change.clients import ClientCounts, count_clients
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    PERSISTENT,
    SCHED1,
    SCHED2,
    TCP,
    UDP,
    Server,
    Service,
)
from pyipvsadm.scheduling.build import Build
from pyipvsadm.scheduling.packet import Settings

VIP = bytes([10, 0, 0, 2])
BUILD = Build(counts_total=True)
HOST = 0xFFFFFFFF


def service(scheduler: str, flags: int = 0, port: int = 80, netmask: int = HOST) -> Service:
    return Service(
        AF_INET, TCP, VIP, port, scheduler=scheduler, flags=flags, netmask=netmask, timeout=60
    )


def servers(*weights: int | None) -> list[Server]:
    """Return servers 1, 2 and on, newest first, without those whose weight is None."""
    return [
        Server(AF_INET, bytes([10, 2, 0, number]), 80, weight=weight)
        for number, weight in enumerate(weights, 1)
        if weight is not None
    ][::-1]


def line(client: int, server: int, port: int = 40000, virtual: int = 80) -> bytes:
    """Return a connection of the client 10.3.0.N; with port 0, a template."""
    state = "ESTABLISHED" if port else "NONE"
    real = 80 if virtual or port else 0
    return (
        f"TCP 0A0300{client:02X} {port:04X} 0A000002 {virtual:04X} 0A0200{server:02X} {real:04X} {state} 60"
    ).encode()


def count(
    kind: Service,
    before: list[Server],
    after: list[Server] | None,
    *lines: bytes,
    changed: Service | None = None,
    settings: Settings | None = None,
    **others: tuple[Service, list[Server]],
) -> ClientCounts:
    rest = {found[0].key(): found for found in others.values()}
    states = rest | {kind.key(): (kind, before)}
    then = rest | ({kind.key(): (changed or kind, after)} if after is not None else {})
    counts = count_clients([kind.key()], lines, states.get, then.get, BUILD, settings or Settings())
    return counts[kind.key()]


# Under sh, with three servers of weight 1, the clients 10.3.0.1, .2 and .5 have servers 3, 2 and 1.
SH = [line(1, 3), line(2, 2), line(5, 1), line(5, 1, 40001)]


@pytest.mark.parametrize(
    ("flags", "after", "expected"),
    [
        (0, servers(1, 1, 1), ClientCounts(3)),
        (0, servers(1, 0, 1), ClientCounts(3, refused=1)),
        (SCHED1, servers(1, 0, 1), ClientCounts(3, elsewhere=1)),
        (0, servers(0, 0, 0), ClientCounts(3, refused=3)),
        (0, [], ClientCounts(3, refused=3)),
        (0, None, ClientCounts(3, refused=3)),
    ],
)
def test_source_hashing(flags: int, after: list[Server] | None, expected: ClientCounts) -> None:
    assert count(service("sh", flags), servers(1, 1, 1), after, *SH) == expected


def test_mh_remembers_the_weight_before_weight_0() -> None:
    # 10.3.0.1, .2 and .13 have servers 3, 1 and 2.
    lines = [line(1, 3), line(2, 1), line(13, 2)]
    assert count(service("mh"), servers(1, 1, 1), servers(1, 0, 1), *lines) == ClientCounts(
        3, refused=1
    )
    # If the weight is 0, the weight before that is not known.
    back = count(service("mh"), servers(1, 0, 1), servers(1, 1, 1), *lines)
    assert (back.clients, back.refused) == (3, 0)


def test_by_the_client_s_port_nothing_is_known() -> None:
    counts = count(service("sh", SCHED2), servers(1, 1, 1), servers(1, 0, 1), *SH)
    assert counts == ClientCounts(3, unknown=3)


def test_round_robin() -> None:
    lines = [line(1, 1), line(2, 2), line(3, 3)]
    # The server of one is removed; the others may get any.
    assert count(service("rr"), servers(1, 1, 1), servers(1, 1, None), *lines) == ClientCounts(
        3, elsewhere=1, unknown=2
    )
    assert count(service("rr"), servers(1, 1), servers(1, None), line(1, 1)) == ClientCounts(1)


def test_a_threshold_makes_an_answer_uncertain() -> None:
    full = servers(1, 1)
    full[0].upper, full[0].lower, full[0].active = 4, 1, 3
    after = [full[0]]
    assert count(service("rr"), full, after, line(1, 2), line(2, 1)) == ClientCounts(2, unknown=2)


PERSISTENT_WEB = service("rr", PERSISTENT)
TEMPLATES = [line(1, 1, 0), line(1, 1), line(2, 2, 0), line(3, 2, 0)]


@pytest.mark.parametrize(
    ("after", "expire", "expected"),
    [
        (servers(1, 1), 0, ClientCounts(3, bound=3)),
        (servers(1, 0), 0, ClientCounts(3, bound=3)),
        (servers(1, 0), 1, ClientCounts(3, bound=1, elsewhere=2)),
        (servers(1, None), 0, ClientCounts(3, bound=1, elsewhere=2)),
        ([], 0, ClientCounts(3, refused=3)),
    ],
)
def test_persistence(after: list[Server], expire: int, expected: ClientCounts) -> None:
    settings = Settings(expire_quiescent_template=expire)
    found = count(PERSISTENT_WEB, servers(1, 1), after, *TEMPLATES, settings=settings)
    assert found == expected


def test_a_template_of_a_network() -> None:
    network = service("rr", PERSISTENT, netmask=0xFFFFFF00)
    # A template for 10.3.0.0/24, with two clients, and one for 10.3.1.0/24 without connections.
    other = b"TCP 0A030100 0000 0A000002 0050 0A020002 0050 NONE 60"
    lines = [line(0, 1, 0), line(1, 1), line(2, 1), other]
    assert count(network, servers(1, 1), servers(1, None), *lines) == ClientCounts(
        3, bound=2, elsewhere=1
    )


def test_services_with_other_ports() -> None:
    every = service("rr", PERSISTENT, port=0)
    for each in (before := servers(1, 1)):
        each.port = 0
    lines = [line(1, 1, 0, virtual=0), line(1, 1, virtual=443), line(2, 2, virtual=8080), *SH]
    web = (service("sh"), servers(1, 1, 1))
    # The connections of port 80 are the web's.
    assert count(every, before, before[1:], *lines, web=web) == ClientCounts(
        2, bound=1, elsewhere=1
    )
    ftp = service("rr", PERSISTENT, port=21)
    lines = [line(1, 1, 0, virtual=0), line(1, 1, virtual=21), line(2, 2, virtual=30000)]
    found = count(ftp, servers(1, 1), servers(1, 0), *lines)
    assert found == ClientCounts(2, bound=1, elsewhere=1)
    # A deleted service may leave its clients to one with port 0.
    assert count(web[0], web[1], None, *SH, every=(every, servers(1, None))) == ClientCounts(
        3, elsewhere=2
    )


def test_what_belongs_to_no_service_that_changes() -> None:
    lines = [
        b"TCP 0A030001 9C40 0A000003 0050 0A020001 0050 ESTABLISHED 60",
        b"TCP 0A030001 0000 0A000003 0000 0A020001 0000 NONE 60",
        b"UDP 0A030001 9C40 0A000002 0050 0A020001 0050 UDP 60",
    ]
    assert count(service("rr"), servers(1, 1), servers(1), *lines) == ClientCounts(0)


def test_marks_are_known_by_their_templates() -> None:
    kind = Service(AF_INET, fwmark=7, scheduler="rr", flags=PERSISTENT, netmask=HOST)
    template = b"IP  0A030001 0000 00000007 0000 0A020002 0000 NONE 57"
    before = servers(1, 1)
    for each in before:
        each.port = 0
    assert count(kind, before, before[1:], template, *SH) == ClientCounts(1, elsewhere=1)
    six = Service(AF_INET6, fwmark=7, scheduler="rr", flags=PERSISTENT, netmask=128)
    assert count(six, before, before[1:], template) == ClientCounts(0)


def test_a_persistence_engine_decides_by_the_packet() -> None:
    kind = Service(
        AF_INET, UDP, VIP, 5060, scheduler="rr", flags=PERSISTENT, netmask=HOST, pe="sip"
    )
    template = b"UDP 0A030001 0000 0A000002 13C4 0A020002 13C4 NONE 117 sip abc123@host.example"
    connection = b"UDP 0A030001 9C40 0A000002 13C4 0A020002 13C4 UDP 117"
    before = [Server(AF_INET, bytes([10, 2, 0, number]), 5060, weight=1) for number in (3, 2, 1)]
    found = count(kind, before, before[:2], template, connection)
    assert found == ClientCounts(1, unknown=1)


def test_words() -> None:
    assert ClientCounts(1).describe() == (
        "of 1 client now connected, none would be refused or go to another server"
    )
    assert ClientCounts(9, 1, 2, 3, 0).describe() == (
        "of 9 clients now connected, 1 would be refused, 2 would go to another server, 3 stay bound by persistence"
    )
    assert ClientCounts(2, unknown=2).describe() == ("of 2 clients now connected, 2 cannot be told")
    assert ClientCounts(9, 1, 2, 3, 4).make_record() == {
        "clients": 9, "refused": 1, "elsewhere": 2, "bound": 3, "unknown": 4,
    }  # fmt: skip
