"""Test hash tables, choices and shares: sequences recorded on kernels 6.1, 6.12 and 7.3."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm.model import AF_INET, AF_INET6, SCHED1, SCHED2, TCP, Server, Service
from pyipvsadm.scheduling.build import Build
from pyipvsadm.scheduling.choice import (
    FORMER_WEIGHT,
    MH_FULL,
    NEXT,
    TABLE,
    UNKNOWN,
    UNKNOWN_SHARES,
    WEIGHT,
    Chooser,
    Distribution,
    get_distribution,
)
from pyipvsadm.scheduling.hashing import fold_address, hash_halfsiphash, hash_siphash
from pyipvsadm.scheduling.tables import count_mh_turns, fill_mh, fill_sh, get_mh_hash

VIP = bytes([10, 1, 1, 1])
BUILD = Build(counts_total=True)
CLIENTS = [bytes([10, 3, 0, number]) for number in range(1, 21)]


def service(scheduler: str, flags: int = 0) -> Service:
    return Service(AF_INET, TCP, VIP, 80, scheduler=scheduler, flags=flags)


def added(*weights: int, **values: Any) -> list[Server]:
    """Return servers 1, 2, 3 and on, newest first."""
    return [
        Server(AF_INET, bytes([10, 2, 0, number]), 80, weight=weight, **values)
        for number, weight in enumerate(weights, 1)
    ][::-1]


@pytest.mark.parametrize(
    ("scheduler", "flags", "weights", "former", "port", "sequence"),
    [
        ("sh", 0, (1, 1, 1), None, None, "3 2 3 2 1 2 1 2 1 3 1 2 1 3 2 3 1 1 2 3"),
        ("sh", 0, (1, 2, 3), None, None, "3 2 3 3 1 3 1 3 3 3 3 2 3 2 3 2 1 3 2 3"),
        ("sh", 0, (1, 0, 1), None, None, "3 - 3 - 1 - 1 - 1 3 1 - 1 3 - 3 1 1 - 3"),
        ("sh", SCHED1, (1, 0, 1), None, None, "3 1 3 1 1 1 1 1 1 3 1 1 1 3 1 3 1 1 1 3"),
        ("sh", SCHED1, (0, 0, 0), None, None, "- - - - - - - - - - - - - - - - - - - -"),
        ("sh", SCHED2, (1, 1, 1), None, 40000, "2 3 2 1 2 1 2 1 3 1 3 1 3 2 3 2 3 2 1 2"),
        ("mh", 0, (1, 1, 1), None, None, "3 1 1 1 3 3 3 3 3 1 3 3 2 3 2 2 2 2 1 1"),
        ("mh", 0, (1, 2, 3), None, None, "3 3 3 2 3 3 3 3 3 3 3 3 2 3 3 2 2 2 1 1"),
        ("mh", 0, (1, 0, 1), (1, 0, 1), None, "3 1 1 1 3 3 3 3 3 1 3 3 1 3 3 1 3 1 1 1"),
        ("mh", SCHED1, (1, 0, 1), (1, 0, 1), None, "3 1 1 1 3 3 3 3 3 1 3 3 1 3 3 1 3 1 1 1"),
        ("mh", 0, (1, 0, 1), (1, 1, 1), None, "3 1 1 1 3 3 3 3 3 1 3 3 - 3 - - - - 1 1"),
        ("mh", SCHED2, (1, 1, 1), None, 50000, "3 2 2 2 3 2 1 1 1 1 1 2 1 3 1 2 1 3 2 2"),
        ("dh", 0, (1, 1, 1), None, None, "2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2 2"),
        ("dh", 0, (1, 0, 1), None, None, "- - - - - - - - - - - - - - - - - - - -"),
    ],
)
def test_recorded(
    scheduler: str,
    flags: int,
    weights: tuple[int, ...],
    former: tuple[int, ...] | None,
    port: int | None,
    sequence: str,
) -> None:
    servers = added(*weights)
    chooser = Chooser(service(scheduler, flags), servers, BUILD, former and former[::-1])
    names = []
    for number, client in enumerate(CLIENTS):
        choice = chooser.choose(
            client if port is None else CLIENTS[0], None if port is None else port + number, VIP
        )
        assert len(choice.candidates) + choice.may_refuse == 1
        names += [str(servers[at].addr[3]) for at in choice.candidates] or ["-"]
    assert " ".join(names) == sequence


@pytest.mark.parametrize(
    ("scheduler", "flags", "servers", "candidates", "may_refuse", "reason"),
    [
        ("rr", 0, added(1, 0, 2), (0, 2), False, UNKNOWN["rr"]),
        ("wrr", 0, added(1, 0), (1,), False, "wrr: the only server that takes connections"),
        ("wrr", 0, added(0, 0), (), True, "all servers have weight 0"),
        ("twos", 0, added(1, 1), (0, 1), False, UNKNOWN["twos"]),
        ("own", 0, added(1, 1), (0, 1), False, "the scheduler own is not known here"),
        ("none", 0, added(1), (), True, "the service has no scheduler"),
        ("rr", 0, [], (), True, "the service has no real servers"),
        ("lc", 0, added(1, 1), (0,), False, "lc: by the connections and weights of now"),
        ("ovf", 0, added(1, active=2), (), True, "ovf: every server has more active connections than its weight"),
        ("rr", 0, added(1, upper=1, active=1), (), True,
         "every server has weight 0 or as many connections as its upper threshold"),
        ("mh", 0, added(1, 0, 1), (0, 2), True, FORMER_WEIGHT),
        ("mh", SCHED1, added(1, 0, 1), (0, 2), False, FORMER_WEIGHT),
        ("mh", SCHED1, added(*[0] * 252), (), True, "all servers have weight 0"),
        ("mh", 0, added(1, 1)[:1] * 252, tuple(range(252)), False, MH_FULL),
        ("sh", SCHED2, added(1, 0, 1), (0, 2), True, "sh: it depends on the client's port (sh-port)"),
        ("dh", 0, added(1, 1, upper=4, active=3), (0, 1), True,
         "dh: it depends on the address that the client connects to"),
    ],
)  # fmt: skip
def test_what_does_not_depend_on_the_client(
    scheduler: str,
    flags: int,
    servers: list[Server],
    candidates: tuple[int, ...],
    may_refuse: bool,
    reason: str,
) -> None:
    chooser = Chooser(service(scheduler, flags), servers, Build(mh_index=8, counts_total=True))
    for _ in range(2):
        choice = chooser.choose(CLIENTS[0], None, b"" if scheduler == "dh" else VIP)
        assert (choice.candidates, choice.may_refuse, choice.reason) == (
            candidates,
            may_refuse,
            reason,
        )


def test_buckets_are_explained() -> None:
    choice = Chooser(service("sh"), added(1, 1, 1), BUILD).choose(bytes(4), None)
    assert (choice.candidates, choice.may_refuse, choice.reason) == (
        (0,),
        False,
        "sh: bucket 0 of 256",
    )
    servers = added(1, 1, 0)
    refused = Chooser(service("sh"), servers, BUILD).choose(bytes(4), None)
    assert (refused.candidates, refused.reason) == (
        (), "sh: bucket 0 of 256 is of a server with weight 0",
    )  # fmt: skip
    other = Chooser(service("sh", SCHED1), servers, BUILD).choose(bytes(4), None)
    assert other.reason == "sh: bucket 0 of 256 is of a server with weight 0, fallback to another"
    assert (len(other.candidates), other.may_refuse) == (1, False)
    servers[0].weight, servers[0].upper, servers[0].active = 1, 4, 3
    unsure = Chooser(service("sh"), servers, BUILD).choose(bytes(4), None)
    assert (unsure.candidates, unsure.may_refuse) == ((0,), True)


def test_the_fallback_of_mh() -> None:
    """The fallback moves the clients of the server of weight 0, and no others."""
    servers = added(1, 0, 1)
    plain = Chooser(service("mh"), servers, BUILD, [1, 1, 1])
    fallback = Chooser(service("mh", SCHED1), servers, BUILD, [1, 1, 1])
    moved = set()
    for client in CLIENTS:
        before, after = plain.choose(client, None), fallback.choose(client, None)
        assert len(after.candidates) == 1
        assert not after.may_refuse
        if before.candidates:
            assert after == before
        else:
            moved |= set(after.candidates)
    assert moved == {0, 2}


def test_a_release_that_does_not_say_how_it_counts() -> None:
    servers = [*added(1, active=1), *added(1, inactive=256)]
    assert Chooser(service("lc"), servers, Build()).choose(b"", None).candidates == (0, 1)
    assert Chooser(service("lc"), servers, BUILD).choose(b"", None).candidates == (1,)


@pytest.mark.parametrize(
    ("scheduler", "flags", "servers", "former", "expected"),
    [
        ("rr", 0, added(5, 0, 1), None, Distribution(WEIGHT, [1, 0, 1], 2)),
        ("wrr", 0, added(5, 0, 1), None, Distribution(WEIGHT, [1, 0, 5], 6)),
        ("fo", 0, added(5, 0, 1), None, Distribution(NEXT, [0, 0, 1], 1)),
        ("dh", 0, added(1, 1, 1), None, Distribution(NEXT, [0, 1, 0], 1)),
        ("sh", 0, added(1, 1, 1), None, Distribution(TABLE, [86, 85, 85], 256)),
        ("sh", 0, added(1, 0, 1), None, Distribution(TABLE, [86, 0, 85], 256, 85)),
        ("sh", SCHED1, added(1, 0, 1), None, Distribution(TABLE, [86, 0, 170], 256)),
        ("sh", SCHED1, added(0, 0), None, Distribution(TABLE, [0, 0], 256, 256)),
        ("mh", 0, added(1, 1, 1), None, Distribution(TABLE, [1365, 1364, 1364], 4093)),
        ("mh", 0, added(1, 0, 1), (1, 1, 1), Distribution(TABLE, [1365, 0, 1364], 4093, 1364)),
        (
            "mh",
            SCHED1,
            added(1, 0, 1),
            (1, 1, 1),
            Distribution(TABLE, [1365, 0, 1364], 4093, 0, 1364),
        ),
        ("mh", 0, added(1, 0, 1), None, Distribution(UNKNOWN_SHARES, [0, 0, 0], 0)),
        ("twos", 0, added(1, 1), None, Distribution(UNKNOWN_SHARES, [0, 0], 0)),
        ("sh", 0, [], None, Distribution(UNKNOWN_SHARES, [], 0)),
    ],
)
def test_distribution(
    scheduler: str,
    flags: int,
    servers: list[Server],
    former: tuple[int, ...] | None,
    expected: Distribution,
) -> None:
    assert get_distribution(service(scheduler, flags), servers, BUILD, former) == expected


def test_the_distribution_of_sh_is_what_its_buckets_get() -> None:
    servers = added(3, 0, 1, 7)
    for flags in (0, SCHED1):
        chooser = Chooser(service("sh", flags), servers, BUILD)
        counts = [0] * len(servers)
        # one client for each bucket: the product's upper byte runs through all values
        seen = set()
        for number in range(4096):
            choice = chooser.choose(number.to_bytes(4, "big"), None)
            bucket = choice.reason.split()[2]
            if bucket not in seen:
                seen.add(bucket)
                for at in choice.candidates:
                    counts[at] += 1
        assert len(seen) == 256
        assert get_distribution(service("sh", flags), servers, BUILD).counts == counts


def test_siphash() -> None:
    """SipHash-1-3 and HalfSipHash-1-3 of four bytes (lib/test_siphash.c has vectors of other keys)."""
    assert hash_siphash(0, 2654435761) != hash_siphash(1, 2654435761)
    assert 0 <= hash_siphash(0xFFFFFFFF, 2654446892) < 1 << 32
    assert hash_halfsiphash(0, 2654435761) != hash_halfsiphash(1, 2654435761)
    assert 0 <= hash_halfsiphash(0xFFFFFFFF, 2654446892) < 1 << 32


def test_hashes_by_machine() -> None:
    assert get_mh_hash(Build(), 7)(0x01020304) == hash_siphash(0x01020304, 7)
    assert get_mh_hash(Build(bits=32), 7)(0x01020304) == hash_halfsiphash(0x01020304, 7)
    assert get_mh_hash(Build(big_endian=True), 7)(0x01020304) == hash_siphash(0x04030201, 7)
    assert get_mh_hash(Build(), 7)(1 << 32 | 5) == hash_siphash(5, 7)


def test_addresses_of_ipv6_are_folded() -> None:
    assert fold_address(bytes([1, 0, 0, 0] * 3 + [0, 0, 0, 9])) == 0x01000009
    assert fold_address(b"\1\2\3\4") == 0x01020304


def test_servers_of_the_other_family() -> None:
    """Mh hashes as many bytes of a server as the service's family has."""
    six = Server(AF_INET6, bytes([10, 2, 0, 1]) + bytes(12), 80)
    four = Server(AF_INET, bytes([10, 2, 0, 1]), 80)
    last = Server(AF_INET, bytes([10, 2, 0, 9]), 80)
    assert fill_mh([six, last], [1, 1], BUILD, AF_INET) == fill_mh(
        [four, last], [1, 1], BUILD, AF_INET
    )
    assert fill_mh([six, last], [1, 1], BUILD, AF_INET6) == fill_mh(
        [four, last], [1, 1], BUILD, AF_INET6
    )


@pytest.mark.parametrize(
    ("weights", "turns"),
    [
        ([0, 0], [0, 0]), ([1, 0, 1], [1, 0, 1]), ([10, 20], [1, 2]), ([63, 1], [63, 1]), ([64, 1], [32, 1]),
        ([65535, 1, 100], [63, 1, 1]), ([300, 100], [3, 1]),
    ],
)  # fmt: skip
def test_turns(weights: list[int], turns: list[int]) -> None:
    assert count_mh_turns(weights, 12) == turns


@given(st.lists(st.integers(0, 400), min_size=1, max_size=6))
def test_sh_gives_every_server_its_weight_in_turn(weights: list[int]) -> None:
    table = fill_sh(added(*weights), 256)
    cycle = [at for at, weight in enumerate(weights[::-1]) for _ in range(max(1, weight))]
    assert table == [cycle[at % len(cycle)] for at in range(256)]


@given(st.lists(st.integers(0, 200), min_size=1, max_size=6).filter(any))
def test_mh_gives_every_entry_to_a_server_with_a_weight(weights: list[int]) -> None:
    build = Build(mh_index=8)
    table = fill_mh(added(*weights), weights[::-1], build, AF_INET)
    assert len(table) == build.mh_size
    assert set(table) <= {at for at, weight in enumerate(weights[::-1]) if weight}
    turns = count_mh_turns(weights[::-1], 8)
    for at, turn in enumerate(turns):  # a full round more or less
        share = build.mh_size * turn / sum(turns)
        assert abs(table.count(at) - share) <= turn + 1
