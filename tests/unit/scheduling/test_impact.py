"""Test the effect of a change on the new clients of a service, by hand-counted tables and by
client.
"""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyipvsadm.model import AF_INET, SCHED1, SCHED2, TCP, Server, Service
from pyipvsadm.scheduling.build import Build
from pyipvsadm.scheduling.choice import Chooser
from pyipvsadm.scheduling.impact import Impact, assess_change, assess_drain

VIP = bytes([10, 1, 1, 1])
BUILD = Build(counts_total=True)


def service(scheduler: str, flags: int = 0, fwmark: int = 0) -> Service:
    if fwmark:
        return Service(AF_INET, fwmark=fwmark, scheduler=scheduler, flags=flags)
    return Service(AF_INET, TCP, VIP, 80, scheduler=scheduler, flags=flags)


def added(*weights: int) -> list[Server]:
    """Return servers 1, 2, 3 and on, newest first."""
    return [
        Server(AF_INET, bytes([10, 2, 0, number]), 80, weight=weight)
        for number, weight in enumerate(weights, 1)
    ][::-1]


@pytest.mark.parametrize(
    ("scheduler", "flags", "expected"),
    [
        ("sh", 0, Impact(256, 0, 64, 0)),
        ("sh", SCHED1, Impact(256, 64, 0, 0)),
        ("mh", 0, Impact(4093, 0, 1023, 0)),
        ("mh", SCHED1, Impact(4093, 1023, 0, 0)),
        ("dh", SCHED1, Impact(1, 0, 1, 0)),
        ("rr", 0, None),
    ],
)
def test_weight_0_for_one_of_four(scheduler: str, flags: int, expected: Impact | None) -> None:
    servers = added(1, 1, 1, 1)
    drained = {servers[2].key()}
    assert assess_drain(service(scheduler, flags), servers, drained, BUILD) == expected
    assert [server.weight for server in servers] == [1] * 4
    back = assess_change(
        (service(scheduler, flags), added(1, 0, 1, 1)), (service(scheduler, flags), servers), BUILD
    )
    if scheduler in ("sh", "dh") and expected is not None:
        assert back == Impact(
            expected.total, expected.moved, 0, expected.moved, regained=expected.refused
        )
    else:
        # mh: the kernel does not list the weight before weight 0.
        assert back is None


def test_weight_0_for_one_of_four_with_weights_of_10_under_sh() -> None:
    servers = added(10, 10, 10, 10)
    impact = assess_drain(service("sh"), servers, {servers[2].key()}, BUILD)
    assert impact is not None
    assert 0 < impact.refused < 256 * 0.05
    assert 256 * 0.4 < impact.between <= impact.moved
    back = assess_change(
        (service("sh"), added(10, 0, 10, 10)), (service("sh"), added(10, 10, 10, 10)), BUILD
    )
    assert back is not None
    assert (back.refused, back.regained) == (0, impact.refused)


def test_the_other_servers_of_dh_are_without_clients() -> None:
    servers = added(1, 1, 1, 1)
    impacts = [assess_drain(service("dh"), servers, {each.key()}, BUILD) for each in servers]
    assert sorted(impact.refused for impact in impacts if impact) == [0, 0, 0, 1]
    by_mark = assess_drain(service("dh", fwmark=7), servers, {servers[0].key()}, BUILD)
    assert by_mark == Impact(256, 0, 64, 0)


@pytest.mark.parametrize(("scheduler", "low", "high"), [("sh", 0.85, 0.9), ("mh", 0.12, 0.2)])
def test_removing_one_of_eight(scheduler: str, low: float, high: float) -> None:
    kind, servers = service(scheduler), added(*[1] * 8)
    impact = assess_change((kind, servers), (kind, servers[1:]), BUILD)
    assert impact is not None
    assert low < impact.moved / impact.total < high
    assert impact.refused == 0


@pytest.mark.parametrize(("scheduler", "size"), [("sh", 256), ("mh", 4093), ("dh", 1)])
def test_the_first_and_the_last_server(scheduler: str, size: int) -> None:
    kind = service(scheduler)
    assert assess_change((kind, added(1)), (kind, []), BUILD) == Impact(size, 0, size, 0)
    assert assess_change((kind, []), (kind, added(1)), BUILD) == Impact(size, 0, 0, 0, size)
    # A server that is added with weight 0 takes nothing.
    assert assess_change((kind, []), (kind, added(0)), BUILD) == Impact(size, 0, 0, 0)


def test_a_weight_before_weight_0_that_is_known() -> None:
    """A drained server is deleted: the kernel has its weight, and the caller remembers it."""
    kind, servers = service("mh"), added(1, 2, 3)
    drained = added(1, 0, 3)
    rest = [each for each in drained if each.weight]
    assert assess_change((kind, drained), (kind, rest), BUILD) is None
    assert assess_change((kind, drained), (kind, rest), BUILD, servers[:1]) is None
    impact = assess_change((kind, drained), (kind, rest), BUILD, servers)
    whole = assess_change((kind, servers), (kind, rest), BUILD)
    refused = assess_change((kind, servers), (kind, drained), BUILD)
    assert impact is not None
    assert whole is not None
    assert refused is not None
    # The clients of the drained server get one again; the others move as if it was deleted at once.
    assert (impact.regained, impact.refused) == (refused.refused, 0)
    assert impact.moved == impact.between == whole.between


def test_a_server_that_is_added_with_weight_0_has_no_part_of_mh() -> None:
    kind = service("mh")
    assert assess_change((kind, added(1, 1)), (kind, added(1, 1, 0)), BUILD) == Impact(
        4093, 0, 0, 0
    )
    with_third = assess_change((kind, added(1, 1)), (kind, added(1, 1, 1)), BUILD)
    assert with_third is not None
    assert with_third.moved > 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (service("sh"), service("mh")),
        (service("rr"), service("rr")),
        (service("sh"), service("sh", SCHED2)),
        (service("mh", SCHED2), service("mh", SCHED1)),
    ],
)
def test_changes_that_tables_do_not_tell(before: Service, after: Service) -> None:
    assert assess_change((before, added(1, 1)), (after, added(1, 1)), BUILD) is None


def test_the_flag_for_a_fallback_alone() -> None:
    before, after = (service("sh"), added(1, 0)), (service("sh", SCHED1), added(1, 0))
    assert assess_change(before, after, BUILD) == Impact(256, 0, 0, 0, 128)
    assert assess_change(after, before, BUILD) == Impact(256, 0, 128, 0)


SMALL = Build(sh_bits=4, mh_index=8, counts_total=True)


@cache
def list_clients(scheduler: str) -> list[bytes]:
    """Return a client for each bucket, which does not depend on the servers."""
    chooser = Chooser(service(scheduler), added(1), SMALL)
    clients: dict[str, bytes] = {}
    size = {"sh": SMALL.sh_size, "mh": SMALL.mh_size}[scheduler]
    number = 0
    while len(clients) < size:
        number += 1
        client = number.to_bytes(4, "big")
        clients.setdefault(chooser.choose(client, None).reason, client)
    return [*clients.values()]


@pytest.mark.parametrize(("scheduler", "flags"), [("sh", 0), ("sh", SCHED1), ("mh", 0)])
@settings(max_examples=40)
@given(
    weights=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    later=st.lists(st.sampled_from([None, None, 0, 3]), min_size=5, max_size=5),
    gone=st.integers(0, 9),
)
def test_clients_fare_as_their_buckets(
    scheduler: str, flags: int, weights: list[int], later: list[int | None], gone: int
) -> None:
    kind, before = service(scheduler, flags), added(*weights)
    after = added(*(old if new is None else new for old, new in zip(weights, later)))
    latest = added(*(new or old for old, new in zip(weights, later)))
    after, latest = after[:gone] + after[gone + 1 :], latest[:gone] + latest[gone + 1 :]
    impact = assess_change((kind, before), (kind, after), SMALL)
    first = Chooser(kind, before, SMALL)
    second = Chooser(kind, after, SMALL, [server.weight for server in latest])
    still = {server.key() for server in after if server.weight}
    moved = refused = between = 0
    for client in list_clients(scheduler):
        (old,) = (before[at].key() for at in first.choose(client, None).candidates)
        new = [after[at].key() for at in second.choose(client, None).candidates]
        refused += not new
        moved += bool(new) and new != [old]
        between += bool(new) and new != [old] and old in still
    assert impact == Impact(len(list_clients(scheduler)), moved, refused, between)
