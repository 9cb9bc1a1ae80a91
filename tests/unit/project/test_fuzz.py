"""Run a part of what `make fuzz` does for minutes, and check that no input takes more work than its
size allows.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.change import desired, execute, plan, snapshot
from pyipvsadm.change.pace import Pace
from pyipvsadm.model import AF_INET, NEW_SERVICE, Change, Service
from pyipvsadm.netlink import framing
from pyipvsadm.rules import reader
from tests.unit.fake_environment import FakeEnvironment
from tools.fuzz import targets
from tools.fuzz.targets import TARGETS, EndlessError, lines_of, memory_of

if TYPE_CHECKING:
    from collections.abc import Callable

INPUTS = 25
BASE = 100  # repetitions
TIMES = 4


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_it_ends_in_a_sentence(name: str) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=INPUTS, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(target.inputs)
    def one(drawn: object) -> None:
        lines_of(lambda: target.run(drawn))

    one()


def test_a_loop_without_an_end_is_found() -> None:
    with pytest.raises(EndlessError):
        lines_of(lambda: targets.rules(b"-A -f 1\n" * 100), 500)


def nested(times: int) -> bytes:
    data = b""
    for _ in range(times):
        data = framing.pack_attribute(1, data)
    return data


def answers(body: Callable[[int], list[Any]]) -> Callable[[int], Any]:
    return lambda times: (["-L -n"], body(times), True, b"")


GROWS: list[tuple[str, str, Callable[[int], Any]]] = [
    ("netlink", "attributes", answers(lambda times: [[(28, 2, 0, framing.pack_attribute(9, b"") * times)]])),
    ("netlink", "nests", answers(lambda times: [[(28, 2, 0, nested(times))]])),
    ("netlink", "messages", answers(lambda times: [[(28, 2, 1, b"")] * times])),
    ("netlink", "datagrams", answers(lambda times: [[(28, 2, 1, b"")]] * times)),
    *(("connections", f"line {at}", lambda times, line=line: ("-Lnc", line * times))
      for at, line in enumerate(targets.CONNECTIONS)),
    ("connections", "words", lambda times: ("-Lnc", b"TCP " * times + b"\n")),
    *(("table_file", f"line {at}", lambda times, line=line: targets.TABLE[0] + line * times)
      for at, line in enumerate(targets.TABLE)),
    *(
        (name, f"rule {at}", lambda times, line=line: line * times)
        for name in ("rules", "embedded_file")
        for at, line in enumerate(targets.RULES)
    ),
    ("rules", "words", lambda times: b"-A" + b" -n" * times + b"\n"),
    ("rules", "flags", lambda times: b"-A -f 1 -b " + b"flag-1," * times + b"\n"),
    ("rules", "a cluster", lambda times: b"-L" + b"n" * times + b"\n"),
    ("rules", "words that stand for the next", lambda times: b"-A " + b"--backend=!#:+ " * times + b"\n"),
    ("rules", "bare words that stand for others", lambda times: b"-A " + b"--backend=!#:+ x " * times + b"\n"),
    ("argv", "words", lambda times: ["-L", *["-n"] * times]),
    ("argv", "services", lambda times: ["-L", *["-f", "5"] * times]),
    ("argv", "a cluster", lambda times: ["-L" + "n" * times]),
    ("argv", "a typing error", lambda times: ["-L", "--" + "x" * times]),
    ("completion", "words", lambda times: ("fish", ["ipvsadm", "-L", *["-n"] * times, ""], times + 2)),
    ("completion", "a word", lambda times: ("zsh", ["ipvsadm", "-A", "-t", "1" * times], 3)),
]  # fmt: skip


# Bytes that ten runs may leave. Python 3.9 keeps frames and caches for later, up to a bound that
# does not grow with the runs.
SETTLED = 1000 if sys.version_info >= (3, 10) else 15_000

GROWING = pytest.mark.parametrize(
    ("name", "of"), [pytest.param(name, of, id=f"{name}: {what}") for name, what, of in GROWS]
)


@GROWING
def test_work_grows_with_the_input_and_no_faster(name: str, of: Callable[[int], Any]) -> None:
    run = TARGETS[name].run
    run(of(1))  # imports, and results that are computed once
    small, large = [lines_of(lambda times=times: run(of(times))) for times in (BASE, BASE * TIMES)]  # type: ignore[misc]
    assert large <= small * TIMES * 1.2 + 500, (small, large)


UNDONE = {
    "services": lambda times: "".join(f"-A -t 10.0.0.1:{port}\n" for port in range(1, times + 1)),
    "servers": lambda times: (
        "-A -f 1\n" + "".join(f"-a -f 1 -r 10.0.0.1:{port}\n" for port in range(1, times + 1))
    ),
    "services with servers": lambda times: "".join(
        f"-A -f {mark}\n-a -f {mark} -r 10.0.0.1\n" for mark in range(1, times + 1)
    ),
}


@pytest.mark.parametrize("undone", UNDONE.values(), ids=UNDONE)
@pytest.mark.parametrize("way", ["added", "edited", "removed"])
def test_undoing_grows_with_the_plan_and_no_faster(undone: Callable[[int], str], way: str) -> None:
    def run(times: int) -> int:
        text = undone(times)
        other = text.replace("-A", "-A -s rr").replace("-r", "-w 7 -r")
        held, wanted = {"added": ("", text), "edited": (other, text), "removed": (text, "")}[way]
        table = MemoryBackend()
        table.apply(
            change
            for _, change in reader.parse_rules(held.encode(), FakeEnvironment())
            if isinstance(change, Change)
        )
        made = plan.make_plan(
            desired.parse_desired(wanted.encode(), FakeEnvironment()),
            snapshot.read_table(table),
            prune=True,
        )
        steps = len([*made.iter_steps()])
        refused = Service(AF_INET, fwmark=99999, scheduler="none such")
        made.phases.append([plan.Step(0, Change(NEW_SERVICE, refused))])
        outcomes = []
        count = lines_of(lambda: outcomes.append(execute.execute(made, table, Pace(), nullcontext)))
        assert (outcomes[0].not_undone, len(outcomes[0].refused)) == ([], 1)
        assert len(outcomes[0].undone) == steps > 0
        return count

    small, large = run(BASE), run(BASE * TIMES)
    assert large <= small * TIMES * 1.2 + 500, (small, large)


@GROWING
def test_memory_grows_with_the_input_and_no_faster(name: str, of: Callable[[int], Any]) -> None:
    run = TARGETS[name].run
    run(of(1))
    small, large = [
        memory_of(lambda times=times: run(of(times)))[0]  # type: ignore[misc]
        for times in (BASE // 2, BASE // 2 * TIMES)
    ]
    assert large <= small * TIMES * 1.2 + 10_000, (small, large)


@GROWING
def test_the_same_again_and_again_leaves_nothing(name: str, of: Callable[[int], Any]) -> None:
    run, drawn = TARGETS[name].run, of(10)
    run(drawn)
    once, often = [
        memory_of(lambda times=times: [run(drawn) for _ in range(times)])[1]  # type: ignore[misc]
        for times in (1, 11)
    ]
    assert often - once < SETTLED, (once, often)
