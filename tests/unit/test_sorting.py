"""Test the order of services and of real servers: the reference's if that is an order, otherwise
numeric, and always stable.

It is compared with a transcription of the reference's comparisons (libipvs.c: ipvs_cmp_services,
ipvs_cmp_dests), which subtract 32-bit numbers and look at the sign of the result.
"""

from __future__ import annotations

from functools import cmp_to_key
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm import sorting
from pyipvsadm.model import AF_INET, AF_INET6, SCTP, TCP, UDP, Server, Service
from tests.older_python import zip_equal

CIRCLE = 1 << 32


def difference(one: int, other: int) -> int:
    """Return `int r = one - other` of two 32-bit unsigned numbers."""
    found = (one - other) % CIRCLE
    return found - CIRCLE if found >= CIRCLE // 2 else found


def words(addr: bytes) -> list[int]:
    """Return s6_addr32 of an address in a union of 16 bytes."""
    padded = addr.ljust(16, b"\0")
    return [int.from_bytes(padded[at : at + 4], "big") for at in range(0, 16, 4)]


def compare_addresses(family: int, one: bytes, other: bytes) -> int:
    for left, right in list(zip_equal(words(one), words(other)))[: 4 if family == AF_INET6 else 1]:
        if difference(left, right):
            return difference(left, right)
    return 0


def compare_services(one: Service, other: Service) -> int:
    return (
        difference(one.fwmark, other.fwmark)
        or one.af - other.af
        or one.protocol - other.protocol
        or compare_addresses(one.af, one.addr, other.addr)
        or one.port - other.port
    )


def compare_servers(one: Server, other: Server) -> int:
    return compare_addresses(one.af, one.addr, other.addr) or one.port - other.port


def ipv4(number: int, port: int = 80) -> Server:
    return Server(AF_INET, (number % CIRCLE).to_bytes(4, "big"), port)


def numbers(found: list[Server]) -> list[int]:
    return [int.from_bytes(d.addr, "big") for d in found]


# (addresses in the order in which they are listed)
LISTED: dict[str, list[int]] = {
    "none": [],
    "one": [5],
    "near each other": [1, 2, 3],
    "all of the lower half": [0, 1, 0x7FFFFFFE],
    "all of the upper half": [0x80000000, 0xC0000000, 0xFFFFFFFF],
    "around the middle": [0x7FFFFFFF, 0x80000000],
    "across zero": [0xFFFFFFFF, 0, 1],
    # 10.0.0.1 is less than half a circle after 192.168.0.1
    "192.168 before 10": [0xC0A80001, 0x0A000001],
    "10 before 127": [0x0A000001, 0x7F000001],
    "224 before 10 and 70": [0xE0000001, 0x0A000001, 0x46000001],
    "just under half the circle": [0x80000001, 0],
    # From here on the reference's comparison is no order.
    "half the circle": [0, 0x80000000],
    "half the circle, another": [0x10000000, 0x90000000],
    "three around the circle": [0x00000000, 0x55555555, 0xAAAAAAAA],
    "four around the circle": [0x00000000, 0x40000000, 0x80000000, 0xC0000000],
    "more than half taken": [0x0A000001, 0x80000000, 0xC0A80001],
}


@pytest.mark.parametrize("listed", LISTED.values(), ids=LISTED.keys())
def test_servers(listed: list[int]) -> None:
    for given_in in permutations(listed):
        assert numbers(sorting.sort_servers([ipv4(number) for number in given_in])) == listed


@pytest.mark.parametrize(
    ("values", "first"),
    [
        ([7], 7),
        ([7, 7], 7),
        ([1, 2], 1),
        ([1, 0x80000002], 0x80000002),
        ([1, 0x80000000], 1),
        ([0, 0x80000000], 0),  # both gaps are half the circle
        ([5, 0x80000005, 0x80000006], 0x80000005),  # a gap of exactly half is wide enough
        ([0, 1, 0x80000001], 0x80000001),
    ],
)
def test_where_the_circle_starts(values: list[int], first: int) -> None:
    assert sorting.find_circle_start(values) == first


def test_ports_come_last_and_as_numbers() -> None:
    found = sorting.sort_servers([ipv4(2, 5), ipv4(1, 65535), ipv4(1, 80), ipv4(1, 0), ipv4(2, 0)])
    assert [(number, d.port) for number, d in zip_equal(numbers(found), found)] == [
        (1, 0),
        (1, 80),
        (1, 65535),
        (2, 0),
        (2, 5),
    ]


def ipv6(*parts: int) -> bytes:
    return b"".join(part.to_bytes(4, "big") for part in parts)


def test_ipv6_goes_word_by_word() -> None:
    listed = [
        ipv6(0xFD000000, 0, 0, 1),
        ipv6(0xFD000000, 0, 0, 2),
        ipv6(0xFD000000, 0xFFFFFFFF, 0, 0),  # on a circle of their own: ffff:ffff is before 1
        ipv6(0xFD000000, 1, 0, 0),
        ipv6(0x20010DB8, 0, 0, 0),  # 2001: is less than half a circle after fd00:
    ]
    # Second words 0, ffffffff and 1 start after their widest gap, at ffffffff.
    wanted = [listed[2], listed[0], listed[1], listed[3], listed[4]]
    for given_in in permutations(listed):
        found = sorting.sort_servers([Server(AF_INET6, addr, 80) for addr in given_in])
        assert [d.addr for d in found] == wanted


def test_servers_of_both_families() -> None:
    # The first words are compared; where they are the same, an IPv4 address has zeros after it.
    four = ipv4(0x20010DB8)
    low, high = (
        Server(AF_INET6, ipv6(0x20010DB7, 9, 9, 9), 80),
        Server(AF_INET6, ipv6(0x20010DB8, 0, 0, 1), 80),
    )
    for given_in in permutations([four, low, high]):
        assert sorting.sort_servers(list(given_in)) == [low, four, high]


def test_services() -> None:
    listed = [
        Service(AF_INET, TCP, bytes([10, 0, 0, 2]), 80),
        Service(AF_INET, TCP, bytes([10, 0, 0, 2]), 443),
        Service(AF_INET, TCP, bytes([10, 0, 0, 3]), 80),
        Service(AF_INET, UDP, bytes([10, 0, 0, 1]), 80),
        Service(AF_INET, SCTP, bytes([10, 0, 0, 1]), 80),
        Service(AF_INET6, TCP, ipv6(0xFD000000, 0, 0, 1), 80),
        Service(AF_INET6, TCP, ipv6(0xFD000000, 0, 0, 2), 80),
        Service(AF_INET6, UDP, ipv6(0xFD000000, 0, 0, 1), 80),
        Service(AF_INET, fwmark=1),
        Service(AF_INET6, fwmark=1),
        Service(AF_INET, fwmark=2),
    ]
    assert sorting.sort_services(listed[::-1]) == listed
    assert sorting.sort_services(listed[5:] + listed[:5]) == listed


def test_marks_are_on_a_circle_too() -> None:
    found = sorting.sort_services([Service(AF_INET, fwmark=mark) for mark in (1, 0xFFFFFFFF, 2)])
    assert [service.fwmark for service in found] == [0xFFFFFFFF, 1, 2]


def test_equals_stay_as_they_came() -> None:
    found = [
        Server(AF_INET, bytes([10, 0, 0, last]), 80, weight=at)
        for at, last in enumerate((2, 1, 2, 1, 2))
    ]
    assert [d.weight for d in sorting.sort_servers(found)] == [1, 3, 0, 2, 4]


# --- wherever the reference has an order, ours is the same


def near(start: int) -> st.SearchStrategy[int]:
    """Return a strategy for numbers on less than half of the circle from start on."""
    return st.one_of(st.integers(0, 3), st.integers(0, CIRCLE // 2 - 1)).map(
        lambda ahead: (start + ahead) % CIRCLE
    )


STARTS = st.one_of(
    st.sampled_from([0, CIRCLE // 2, CIRCLE - 1, 0xC0A80000]), st.integers(0, CIRCLE - 1)
)


@st.composite
def some_servers(draw: st.DrawFn) -> list[Server]:
    """Draw servers of one family or both; each word of all addresses lies on one half of the
    circle.
    """
    words = [near(draw(STARTS)) for _ in range(4)]
    found = []
    for _ in range(draw(st.integers(0, 8))):
        if draw(st.booleans()):
            addr = ipv6(*(draw(word) for word in words))
            found.append(Server(AF_INET6, addr, draw(st.integers(0, 65535))))
        else:
            found.append(ipv4(draw(words[0]), draw(st.integers(0, 65535))))
    # An IPv4 and an IPv6 address that begin alike: 1.31 compares them one way by ports and the
    # other by the words that follow.
    firsts = {words_of(d)[0] for d in found if d.af == AF_INET6}
    return [d for d in found if d.af == AF_INET6 or words_of(d)[0] not in firsts]


def words_of(d: Server) -> list[int]:
    return words(d.addr)


@given(some_servers())
def test_servers_as_the_reference_has_them(found: list[Server]) -> None:
    assert sorting.sort_servers(found) == sorted(found, key=cmp_to_key(compare_servers))


@st.composite
def some_services(draw: st.DrawFn) -> list[Service]:
    marks = near(draw(st.sampled_from([1, 0xC0000000])))
    parts = [near(draw(STARTS)) for _ in range(4)]
    found = []
    for _ in range(draw(st.integers(0, 8))):
        family = draw(st.sampled_from([AF_INET, AF_INET6]))
        mark = draw(st.one_of(st.just(0), st.just(0), marks))
        if mark:
            found.append(Service(family, fwmark=mark))
            continue
        addr = ipv6(*(draw(part) for part in parts)) if family == AF_INET6 else ipv6(draw(parts[0]))
        found.append(
            Service(
                family, draw(st.sampled_from([TCP, UDP, SCTP])), addr, draw(st.integers(0, 65535))
            )
        )
    # No mark is mark 0: it must lie on the same half.
    high = [service.fwmark for service in found if service.fwmark >= CIRCLE // 2]
    low = [service.fwmark for service in found if service.fwmark < CIRCLE // 2]
    if high and low and max(low) + CIRCLE - min(high) >= CIRCLE // 2:
        found = [service for service in found if service.fwmark < CIRCLE // 2]
    return found


@given(some_services())
def test_services_as_the_reference_has_them(found: list[Service]) -> None:
    assert sorting.sort_services(found) == sorted(found, key=cmp_to_key(compare_services))


@given(st.lists(st.integers(0, CIRCLE - 1), unique=True, max_size=8))
def test_any_addresses_have_one_order(found: list[int]) -> None:
    """The order does not depend on the order before; it is numeric from some address on around the
    circle, from the least one if the reference's is no order.
    """
    listed = numbers(sorting.sort_servers([ipv4(number) for number in found]))
    assert listed == numbers(
        sorting.sort_servers([ipv4(number) for number in sorted(found, reverse=True)])
    )
    ring = sorted(found)
    at = ring.index(listed[0]) if ring else 0
    assert listed == ring[at:] + ring[:at]
    if at:
        assert (listed[-1] - listed[0]) % CIRCLE <= CIRCLE // 2
