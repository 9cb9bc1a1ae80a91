"""Test the steps of a ramp: which schedulers have steps, and which weights these pass through."""

from __future__ import annotations

from functools import reduce
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm.change import ramp
from pyipvsadm.model import (
    AF_INET,
    DEL_DEST,
    NEW_DEST,
    ONE_PACKET,
    SCTP,
    SET_DEST,
    TCP,
    UDP,
    Server,
    Service,
)


@pytest.mark.parametrize(
    ("start", "target", "others", "weights"),
    [
        (0, 100, (100, 100), [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        (50, 100, (100,), [55, 60, 65, 70, 75, 80, 85, 90, 95, 100]),
        (0, 100, (), [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        (0, 12, (12, 6), [2, 4, 6, 8, 10, 12]),
        (0, 4, (4,), [1, 2, 3, 4]),
        (0, 2, (2,), [1, 2]),
        (0, 7, (5,), [1, 2, 3, 4, 5, 6, 7]),
        (0, 300, (200, 100), [50, 100, 150, 200, 250, 300]),
        # larger than the divisor: its multiples
        (0, 25, (5,), [5, 10, 15, 20, 25]),
        (0, 65, (5,), [10, 20, 30, 40, 50, 60, 65]),
        # too few steps of the divisor: any
        (0, 97, (97,), [10, 20, 30, 40, 50, 60, 70, 80, 90, 97]),
        (97, 194, (97,), [107, 117, 127, 137, 147, 157, 167, 177, 187, 194]),
        (0, 1, (1,), [1]),
    ],
)
def test_the_weights_of_the_steps(
    start: int, target: int, others: tuple[int, ...], weights: list[int]
) -> None:
    found = ramp.choose_weights(start, target, others)
    assert found == weights


_WEIGHT = st.integers(0, 65535)


@given(_WEIGHT, st.integers(1, 65535), st.lists(_WEIGHT, max_size=4), st.integers(1, 50))
def test_steps_rise_to_the_target_and_keep_a_common_divisor(
    start: int, rise: int, others: list[int], factor: int
) -> None:
    start, target, others = start * factor, (start + rise) * factor, [w * factor for w in others]
    weights = ramp.choose_weights(start, target, others)
    assert weights[-1] == target
    assert [start, *weights] == sorted({start, *weights})
    assert len(weights) <= ramp.MAX_STEPS
    # Few steps only where there are few weights in between.
    assert len(weights) >= min(target - start, ramp.MAX_STEPS // 2)
    divisor = reduce(gcd, others, gcd(start, target))
    if (target - start) // divisor >= ramp.MAX_STEPS:
        assert all(weight % divisor == 0 for weight in weights)


@pytest.mark.parametrize(
    ("scheduler", "protocol", "flags", "mark", "reason"),
    [
        ("wrr", TCP, 0, 0, ""),
        ("wrr", UDP, ONE_PACKET, 0, ""),
        ("wlc", TCP, 0, 0, ""),
        ("wlc", UDP, 0, 0, ""),
        ("wlc", UDP, ONE_PACKET, 0, "wlc looks at connections, and one-packet scheduling keeps none"),
        ("sed", TCP, 0, 0, ""),
        ("sed", SCTP, 0, 0, ""),
        ("sed", 0, 0, 7, ""),
        ("sed", UDP, 0, 0, "sed looks at active connections alone, and UDP has none"),
        ("sh", TCP, 0, 0, ""),
        ("mh", UDP, 0, 0, ""),
        ("rr", TCP, 0, 0, "rr gives all servers the same turns, whatever their weights"),
        ("lc", TCP, 0, 0, "lc looks at connections alone, whatever the weights"),
        ("dh", TCP, 0, 0, "dh gives all servers the same part of its table, whatever their weights"),
        ("nq", TCP, 0, 0, "nq sends a connection to any server that has none, whatever its weight"),
        ("fo", TCP, 0, 0, "fo sends every connection to the server with the highest weight"),
        ("ovf", TCP, 0, 0, "ovf fills the server with the highest weight first"),
        ("lblc", TCP, 0, 0, "lblc keeps a destination on its server, whatever the weight"),
        ("lblcr", TCP, 0, 0, "lblcr keeps a destination on its servers, whatever their weights"),
        ("twos", TCP, 0, 0, "a ramp is for the schedulers wrr, wlc, sed, sh, mh"),
        ("none", TCP, 0, 0, "a ramp is for the schedulers wrr, wlc, sed, sh, mh"),
    ],
)  # fmt: skip
def test_which_schedulers_follow_a_weight(
    scheduler: str, protocol: int, flags: int, mark: int, reason: str
) -> None:
    service = Service(
        AF_INET, protocol, bytes(4), 80 * (not mark), mark, scheduler=scheduler, flags=flags
    )
    assert ramp.explain_unsuitable(service) == reason


@pytest.mark.parametrize("exists", [True, False])
def test_a_plan_has_a_phase_for_each_step(exists: bool) -> None:
    service = Service(AF_INET, TCP, bytes([10, 0, 0, 1]), 80)
    before = Server(AF_INET, bytes([10, 0, 0, 2]), 80, weight=0) if exists else None
    target = Server(AF_INET, bytes([10, 0, 0, 2]), 80, weight=3, upper=9)
    plan = ramp.make_ramp_plan(service, before, ramp.make_states(target, [1, 2, 3]))
    steps = [*plan.iter_steps()]
    assert [len(phase) for phase in plan.phases] == [1, 1, 1]
    changed = [step.change.server for step in steps]
    assert [(server.weight, server.upper) for server in changed if server] == [
        (1, 9),
        (2, 9),
        (3, 9),
    ]
    assert [step.change.op for step in steps] == [
        SET_DEST if exists else NEW_DEST,
        SET_DEST,
        SET_DEST,
    ]
    assert [step.undo[0].op for step in steps] == [
        SET_DEST if exists else DEL_DEST,
        SET_DEST,
        SET_DEST,
    ]
    undone = [step.undo[0].server for step in steps if step.undo[0].op == SET_DEST]
    assert undone == [*([before] if before else []), *changed[:-1]]
