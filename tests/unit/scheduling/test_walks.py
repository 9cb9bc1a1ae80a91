"""Test schedulers that compare and take turns: sequences recorded on kernels 6.1, 6.12 and 7.3, and
the thresholds.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm.model import AF_INET, Server, Service
from pyipvsadm.scheduling.build import Build
from pyipvsadm.scheduling.choice import get_distribution
from pyipvsadm.scheduling.overload import (
    MAYBE,
    NO,
    YES,
    explain_unusable,
    get_overload,
    get_usable,
)
from pyipvsadm.scheduling.walks import (
    choose_by_walk,
    choose_usable,
    get_overhead,
)
from tests.older_python import zip_equal
from tests.turns import WeightedCursor, get_weight_steps, next_by_weight, next_in_turn, reset_cursor

WALKS = ("lc", "wlc", "sed", "nq", "fo", "ovf")


def server(number: int, weight: int = 1, **values: Any) -> Server:
    return Server(AF_INET, bytes([10, 2, 0, number]), 80, weight=weight, **values)


def added(weights: str) -> list[Server]:
    """Return servers 1, 2, 3 with these weights, newest first."""
    return [server(at + 1, int(weight)) for at, weight in enumerate(weights.split(","))][::-1]


def play(scheduler: str, weights: str, length: int, active: bool) -> str:
    servers: list[Server] = []
    cursor = WeightedCursor()
    for each in added(weights)[::-1]:
        servers.insert(0, each)
        cursor = reset_cursor(servers, cursor)
    names = []
    for _ in range(length):
        index: int | None
        if scheduler == "rr":
            index = next_in_turn(servers, cursor.last)
            cursor = cursor if index is None else WeightedCursor(index)
        elif scheduler == "wrr":
            index, cursor = next_by_weight(servers, cursor)
        else:
            candidates, may_refuse = choose_by_walk(scheduler, servers, counts_total=True)
            assert len(candidates) + may_refuse == 1
            index = next(iter(candidates), None)
        if scheduler in ("rr", "wrr"):
            candidates, may_refuse = choose_usable(servers)
            assert index in candidates if candidates else (index is None and may_refuse)
        if index is None:
            names.append("-")
            continue
        names.append(str(servers[index].addr[3]))
        if active:
            servers[index].active += 1
        else:
            servers[index].inactive += 1
    return " ".join(names)


@pytest.mark.parametrize(
    ("scheduler", "weights", "active", "sequence"),
    [
        ("rr", "1,1,1", True, "3 2 1 3 2 1 3 2"),
        ("rr", "5,1,1", True, "3 2 1 3 2 1 3 2"),
        ("rr", "1,0,1", True, "3 1 3 1 3 1 3 1"),
        ("rr", "0,0", True, "- -"),
        ("wrr", "4,3,2", True, "3 2 1 1 2 1 3 2 1 3 2 1 1 2 1 3 2 1"),
        ("wrr", "3,1", True, "2 1 1 1 2 1 1 1 2 1 1 1"),
        ("wrr", "6,4,2", True, "3 2 1 1 2 1 3 2 1 1 2 1 3 2"),
        ("wrr", "5,0,3", True, "3 1 1 1 3 1 3 1 3 1 1 1 3 1 3 1"),
        ("wrr", "0,0", True, "- -"),
        ("lc", "1,1,1", True, "3 2 1 3 2 1 3 2"),
        ("lc", "1,5,1", False, "3 2 1 3 2 1 3 2"),
        ("wlc", "1,2,3", True, "3 2 1 3 2 3 3 2 1 3 2 3 3 2"),
        ("wlc", "1,2,3", False, "3 2 1 3 2 3 3 2 1 3 2 3 3 2"),
        ("wlc", "1,0,1", True, "3 1 3 1 3 1"),
        ("sed", "1,2,3", True, "3 2 3 3 2 1 3 2 3 3 2 1 3 2"),
        ("sed", "1,2,3", False, "3 3 3 3 3 3"),
        ("nq", "1,2,3", False, "3 3 3 3 3 3"),
        ("nq", "1,2,3", True, "3 2 1 3 3 2 3 2 3 3 2 1 3 2"),
        ("fo", "1,3,3", True, "3 3 3 3 3"),
        ("ovf", "2,3,1", True, "2 2 2 2 1 1 1 3 3 - - -"),
        ("ovf", "2,3,1", False, "2 2 2 2 2 2 2 2"),
    ],
)
def test_recorded(scheduler: str, weights: str, active: bool, sequence: str) -> None:
    assert play(scheduler, weights, len(sequence.split()), active) == sequence


@pytest.mark.parametrize(
    ("upper", "lower", "total", "state"),
    [
        (0, 0, 1000, NO), (4, 0, 4, YES), (4, 0, 5, YES), (4, 0, 3, MAYBE), (4, 0, 2, NO),
        (4, 2, 3, MAYBE), (4, 2, 2, MAYBE), (4, 2, 1, NO), (1, 0, 0, NO), (1, 1, 1, YES), (3, 3, 2, NO),
    ],
)  # fmt: skip
def test_thresholds(upper: int, lower: int, total: int, state: int) -> None:
    for active in (0, total):
        found = server(1, upper=upper, lower=lower, active=active, inactive=total - active)
        assert get_overload(found) == state
        assert get_usable(found) == {NO: YES, YES: NO, MAYBE: MAYBE}[state]
        assert bool(explain_unusable(found)) == (state != NO)
        found.weight = 0
        assert (get_usable(found), explain_unusable(found)) == (NO, "weight 0")


def test_reasons_name_the_threshold() -> None:
    assert explain_unusable(server(1, upper=4, active=4)) == "4 connections, upper threshold 4"
    assert (
        explain_unusable(server(1, upper=4, active=3)) == "3 connections: full if it had 4 before"
    )


def test_wrr_over_thresholds() -> None:
    full = [
        server(3, 2, upper=1, active=1),
        server(2, 2, upper=1, active=1),
        server(1, 1, upper=1, active=1),
    ]
    for last, current in product((-1, 0, 1, 2), (1, 2)):
        assert next_by_weight(full, WeightedCursor(last, current))[0] is None
        free = [*full[:2], server(1, 1)]
        assert next_by_weight(free, WeightedCursor(last, current))[0] == 2


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.integers(-1, 4), st.integers(0, 12))
def test_the_turns_of_a_whole_round(weights: list[int], last: int, current: int) -> None:
    """Wherever the cursor stands, a round gives each server its share of the turns."""
    servers = [server(at, weight) for at, weight in enumerate(weights)]
    greatest, step = get_weight_steps(servers)
    kind = Service(AF_INET, port=80, scheduler="wrr")
    shares = get_distribution(kind, servers, Build())
    assert shares.total == sum(weights)
    if not shares.total:
        return
    cursor = WeightedCursor(
        min(last, len(servers) - 1), max(0, current - current % step - step) + 1
    )
    cursor = reset_cursor(servers, cursor) if current > greatest else cursor
    counts = [0] * len(servers)
    for _ in range(shares.total // step):
        index, cursor = next_by_weight(servers, cursor)
        assert index is not None
        counts[index] += step
    assert counts == shares.counts


def test_the_overhead_of_old_and_new_kernels() -> None:
    busy = server(1, active=2, inactive=3)
    assert (get_overhead(busy, counts_total=False), get_overhead(busy, counts_total=True)) == (
        515,
        517,
    )
    servers = [server(2, active=1), server(1, inactive=257)]
    assert choose_by_walk("lc", servers, counts_total=True) == ({0}, False)
    servers = [server(2, active=1), server(1, inactive=256)]
    assert choose_by_walk("lc", servers, counts_total=True) == ({1}, False)
    assert choose_by_walk("lc", servers, counts_total=False) == ({0}, False)


@pytest.mark.parametrize("scheduler", WALKS)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 5), st.booleans()),
        max_size=5,
    )
)
def test_every_case_of_unknown_thresholds(
    scheduler: str, rows: list[tuple[int, int, int, bool]]
) -> None:
    """If a server may or may not be over its threshold, the candidates are those of both cases."""
    servers = [
        server(at, weight, active=active, inactive=inactive, upper=12 if unknown else 0, lower=1)
        for at, (weight, active, inactive, unknown) in enumerate(rows)
    ]
    unknown = [at for at, each in enumerate(servers) if get_overload(each) == MAYBE]
    answers = set()
    for full in product((False, True), repeat=len(unknown)):
        for at, over in zip_equal(unknown, full):
            total = servers[at].active + servers[at].inactive
            servers[at].upper = total if over else 0
        (candidates, refused) = choose_by_walk(scheduler, servers, counts_total=True)
        assert len(candidates) + refused == 1
        answers.add(next(iter(candidates), None))
    for at in unknown:
        servers[at].upper = 12
    candidates, refused = choose_by_walk(scheduler, servers, counts_total=True)
    assert (candidates | ({None} if refused else set())) == answers


def test_any_usable_server() -> None:
    servers = [server(3, 0), server(2, upper=4, active=3), server(1)]
    assert choose_usable(servers) == ({1, 2}, False)
    assert choose_usable(servers[:2]) == ({1}, True)
    assert choose_usable([]) == (set(), True)
