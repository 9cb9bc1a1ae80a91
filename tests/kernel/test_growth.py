"""Count the system calls that a rule and a listed service cost: a count does not depend on the
speed of the machine.

A tracer stops the tool at each of its system calls (ptrace), whatever makes them: those for
reading, writing and memory are counted too. The fixed cost of a run cancels out, because two sizes
are compared.
"""

from __future__ import annotations

import os

import pytest

from pyipvsadm.cli import main
from tests.kernel import netns as namespaces
from tests.kernel.tracer import traced
from tools.bench.rows import DISTINCT, make_rules

PER_RULE = 0.05
PER_SERVICE = 4


def calls(argv: list[str], stdin: bytes = b"") -> int:
    """Return the number of our system calls, from the main function on. The output is thrown
    away.
    """

    def counted() -> int:
        stops, status = traced(lambda: main(argv))
        os.write(2, f"{stops}\n".encode())
        return os.waitstatus_to_exitcode(status)

    done = namespaces.run_child(counted, stdin, timeout=120)
    assert done.status == 0, done
    return int(done.stderr.split()[-1]) // 2  # one stop before a call and one after it


@pytest.mark.usefixtures("netns")
@pytest.mark.parametrize(
    ("small", "large"), [((1, 1000), (1, 4000)), ((500, 1), (2000, 1)), ((10, 100), (40, 100))]
)
def test_system_calls_of_a_rule(small: tuple[int, int], large: tuple[int, int]) -> None:
    before, after = (_restored(shape) for shape in (small, large))
    more = large[0] * (1 + large[1]) - small[0] * (1 + small[1])
    assert 0 < after - before < PER_RULE * more


def _restored(shape: tuple[int, int]) -> int:
    found = calls(["-C"])
    assert found > 0
    return calls(["-R"], make_rules(DISTINCT, *shape).encode())


@pytest.mark.usefixtures("netns")
@pytest.mark.parametrize(
    "argv", [["-L", "-n"], ["-S", "-n"], ["-L", "-n", "--stats"], ["-L", "-n", "--thresholds"]]
)
def test_system_calls_of_a_service(argv: list[str]) -> None:
    counts = []
    for services in (100, 500):
        _restored((services, 3))
        counts.append(calls(argv))
    assert counts[1] - counts[0] < PER_SERVICE * 400
