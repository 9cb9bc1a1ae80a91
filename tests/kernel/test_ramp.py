"""Test ramps with connections that the test opens and holds at each step.

Owns: that the shares of new clients follow the weight under wrr and wlc. The networks are in
network.py.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.kernel.netns import run_ours
from tests.kernel.network import NAT, Connection, Network, built
from tests.kernel.test_drain import Running, ipvsadm, rows, running

if TYPE_CHECKING:
    from collections.abc import Iterator

WEIGHT = 4
STEPS = range(1, WEIGHT + 1)
SECONDS = 18  # six for the connections of each step
COUNT = 24  # connections at each step, and before the first


@pytest.fixture
def nat() -> Iterator[Network]:
    with built(NAT, {"tcp": [80, 8080]}):
        yield NAT


def add(network: Network, port: int, scheduler: str) -> tuple[str, str]:
    """Add a service with the first server at WEIGHT and the second at 0. Return the service and the
    second server.
    """
    web, real = f"-t {network.vip}:{port}", f"{network.real[1]}:{port}"
    ipvsadm(f"-A {web} -s {scheduler}")
    ipvsadm(f"-a {web} -r {network.real[0]} -m -w {WEIGHT}")
    ipvsadm(f"-a {web} -r {real} -m -w 0")
    return web, real


def start(web: str, real: str, seconds: int) -> str:
    return f"-e {web} -r {real} --keep -w {WEIGHT} --ramp={seconds}"


def test_shares_follow_the_weight(nat: Network) -> None:
    with ExitStack() as stack:

        def hold(port: int, count: int) -> int:
            """Open connections and keep them open. Return how many of them the second server has
            got.
            """
            held = [stack.enter_context(Connection(nat.vip, port)) for _ in range(count)]
            return sum(connection.server == "two" for connection in held)

        ends = {port: add(nat, port, name) for port, name in ((80, "wrr"), (8080, "wlc"))}
        second = dict.fromkeys(ends, 0)
        for port in ends:
            second[port] += hold(port, COUNT)
        assert second == {80: 0, 8080: 0}
        ramps: dict[int, Running] = {
            port: stack.enter_context(running(start(*names, SECONDS)))
            for port, names in ends.items()
        }
        for weight in STEPS:
            for port, ramp in ramps.items():
                if weight < WEIGHT:
                    ramp.until(f"weight {weight} of {WEIGHT}")
                else:
                    assert ramp.ends() == 0, ramp.said
                got = hold(port, COUNT)
                second[port] += got
                listed = rows(nat)[ends[port][1]]
                assert listed[1] == str(weight), "the machine is too slow for this test"
                assert listed[2] == str(second[port])
                part = weight / (weight + WEIGHT)
                print(
                    f"port {port}, weight {weight} of {WEIGHT}: {got} of {COUNT}, {second[port]} held"
                )
                if port == 80:  # wrr: of the new ones
                    assert abs(got - COUNT * part) <= 2
                else:  # wlc: of all that are open
                    assert abs(second[port] - COUNT * (weight + 1) * part) <= 2
        for port, ramp in ramps.items():
            assert f"has weight {WEIGHT} after {SECONDS} s" in ramp.said, port


def test_a_signal_and_another_program_stop_it(nat: Network) -> None:
    web, real = add(nat, 80, "wrr")
    with running(start(web, real, 90)) as ramp:
        ramp.until("weight 1 of 4")
        os.kill(ramp.pid, signal.SIGTERM)
        assert ramp.ends() == 128 + signal.SIGTERM, ramp.said
        assert f"TERM: {real} of {web} stays at weight 1; to undo: ipvsadm -e {web}" in ramp.said
    assert rows(nat)[real][:2] == ["Masq", "1"]
    undo = ramp.said.splitlines()[0].removeprefix("ipvsadm ").split()
    with running(start(web, real, 90)) as ramp:
        ramp.until("weight 2 of 4")
        ipvsadm(f"-e {web} -r {real} --keep -w 7")
        assert ramp.ends() == 1, ramp.said
        assert (
            f"the weight of {real} of {web} is 7 now: the ramp stopped after weight 2" in ramp.said
        )
    assert rows(nat)[real][:2] == ["Masq", "7"]
    assert run_ours(undo, namespace="director").status == 0
    assert rows(nat)[real][:2] == ["Masq", "0"]
