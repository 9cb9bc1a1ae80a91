"""Test the fallback flag of sh and mh during a draining: when it is set, and when it is cleared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyipvsadm.model import SCHED1, SCHED2
from tests.unit.commands.test_drain import Drain
from tests.unit.fake_environment import FakeEnvironment, apply_all, lines

if TYPE_CHECKING:
    from collections.abc import Callable

WEB, MARK, PLAIN = "-t 10.0.1.1:80", "-f 9", "-t 10.0.2.1:80"
A, B = "10.0.1.2:80", "10.0.1.3:80"
RULES = (
    f"-A {WEB} -s sh -b sh-port", *(f"-a {WEB} -r 10.0.1.{last} -m" for last in (2, 3, 4)),
    f"-A {MARK} -s mh", *(f"-a {MARK} -r 10.0.1.{last}:80 -m" for last in (2, 3)),
    f"-A {PLAIN} -s rr", f"-a {PLAIN} -r 10.0.1.2 -m",
)  # fmt: skip
UNDO = f"ipvsadm -e {WEB} -r {A} --keep -w 1 --clear-fallback"
CLEARED = f"sh-fallback of {WEB} cleared"
CLEAR = f"ipvsadm -E {WEB} --keep -b -sh-fallback"


def stays(server: str) -> str:
    return f"sh-fallback of {WEB} stays set: {server} has weight 0; to clear it: {CLEAR}"


class Hashed(Drain):
    """Hold a table with services of sh, mh and rr."""

    def __init__(self, *more: str) -> None:
        super().__init__(FakeEnvironment())
        apply_all(self.table, [*RULES, *more])
        self.table.changes = 0
        self.before = self.table.weights()

    def flags(self, scheduler: str = "sh") -> int:
        (service,) = (each for each in self.table.read_services() if each.scheduler == scheduler)
        return service.flags & (SCHED1 | SCHED2)


def test_the_flag_comes_before_the_weight_and_other_flags_stay() -> None:
    case = Hashed()
    order: list[object] = []
    real = case.table.apply

    def apply(changes: object) -> object:
        refused = real(changes)  # type: ignore[arg-type]
        order.append((bool(case.flags() & SCHED1), case.table.weights()[f"{A} of {WEB}"]))
        return refused

    case.table.apply = apply  # type: ignore[method-assign, assignment]
    status, output, errors = case.run(f"-e {WEB} -r {A} --drain --fallback")
    assert (status, output) == (0, lines(UNDO))
    assert order == [(True, 1), (True, 0)]
    assert case.flags() == SCHED1 | SCHED2
    assert f"warning: {WEB} (sh): " not in errors
    # The line that undoes it takes the flag back.
    assert case.run(UNDO.removeprefix("ipvsadm ")) == (0, "", "")
    assert (case.changed(), case.flags()) == ({}, SCHED2)


def test_after_the_deletion_the_flag_is_cleared() -> None:
    case = Hashed()
    status, _, errors = case.run(f"-d {WEB} -r {A} --drain --fallback")
    assert (status, case.flags()) == (0, SCHED2)
    assert errors.splitlines()[-1] == CLEARED


def test_a_flag_that_was_set_before_is_left_alone() -> None:
    case = Hashed(f"-E {WEB} -s sh -b sh-fallback")
    undo = UNDO.removesuffix(" --clear-fallback")
    assert case.run(f"-e {WEB} -r {A} --drain --fallback")[1] == lines(undo)
    assert case.run(f"-d {WEB} -r {B} --drain --fallback")[0] == 0
    assert case.flags() == SCHED1


@pytest.mark.parametrize(
    ("rules", "flags", "sentence"),
    [
        ([], SCHED2, CLEARED),
        ([f"-e {WEB} -r {B} -m -w 0"], SCHED1 | SCHED2, stays(B)),
    ],
)
@pytest.mark.parametrize("ended_by", ["deletion", "signal"])
def test_while_another_server_has_weight_0_the_flag_stays(
    rules: list[str], flags: int, sentence: str, ended_by: str
) -> None:
    case = Hashed()
    case.table.count(A, 1)
    end: Callable[[], object] = (
        (lambda: case.table.count(A)) if ended_by == "deletion" else (lambda: 15)
    )
    case.at({2: case.other(*rules), 4: end})
    status, _, errors = case.run(f"-d {WEB} -r {A} --drain --fallback")
    assert status == (0 if ended_by == "deletion" else 143)
    assert (case.flags(), errors.splitlines()[-1]) == (flags, sentence)


def test_a_server_that_had_weight_0_has_no_line_that_clears_the_flag() -> None:
    case = Hashed(f"-e {WEB} -r {A} -m -w 0")
    status, output, errors = case.run(f"-e {WEB} -r {A} --drain --fallback")
    assert (status, output, case.flags()) == (0, "", SCHED1 | SCHED2)
    assert errors.splitlines()[-1] == stays(A)


def test_when_the_time_is_over_the_flag_stays_with_the_weight() -> None:
    case = Hashed()
    case.table.count(A, 1)
    status, _, errors = case.run(f"-d {WEB} -r {A} --drain=3 --fallback")
    assert (status, case.flags()) == (1, SCHED1 | SCHED2)
    assert f"stays at weight 0; to undo: {UNDO}" in errors
    assert "sh-fallback of" not in errors


@pytest.mark.parametrize(
    ("refused", "messages"),
    [
        (1, [f"{WEB}: Invalid operation.  Possibly wrong module version, address not unicast, ..."]),
        (2, [f"{A} of {WEB}: Invalid operation.  Possibly wrong module version, address not unicast, ..."]),
    ],
)  # fmt: skip
def test_a_refusal_leaves_no_flag_behind(refused: int, messages: list[str]) -> None:
    case = Hashed()
    case.table.refuses = {refused}
    status, _, errors = case.run(f"-e {WEB} -r {A} --drain --fallback")
    assert (status, case.changed(), case.flags()) == (255, {}, SCHED2)
    said = [line for line in errors.splitlines() if not line.startswith("warning: ")]
    assert said[: len(messages)] == messages


def test_of_all_services_those_of_sh_and_mh_get_the_flag() -> None:
    case = Hashed()
    status, output, _ = case.run("--drain -r 10.0.1.2 --fallback")
    assert (status, case.flags(), case.flags("mh")) == (0, SCHED1 | SCHED2, SCHED1)
    undo = output.splitlines()
    assert [line.endswith(" --clear-fallback") for line in undo] == [
        PLAIN not in line for line in undo
    ]
    assert len(undo) == 3
    for line in undo:
        assert case.run(line.removeprefix("ipvsadm ")) == (0, "", "")
    assert (case.changed(), case.flags(), case.flags("mh")) == ({}, SCHED2, 0)


def test_a_flag_is_taken_back_when_that_of_another_service_is_refused() -> None:
    case = Hashed()
    case.table.refuses = {2}
    assert case.run("--drain -r 10.0.1.2 --fallback")[0] == 255
    assert (case.changed(), case.flags(), case.flags("mh")) == ({}, SCHED2, 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (f"-e {PLAIN} -r 10.0.1.2 --drain --fallback",
         f"--fallback is for the schedulers sh and mh; {PLAIN} has rr"),
        (f"-D {WEB} --drain --fallback", "Illegal 'fallback' option with the 'delete-service' command"),
        (f"-e {WEB} -r {A} --fallback -w 1", "You need to supply the 'drain' option for the 'fallback' option"),
        (f"-e {WEB} -r {A} -w 1 --clear-fallback",
         "You need to supply the 'keep' option for the 'clear-fallback' option"),
        (f"-e {WEB} -r {A} --drain --clear-fallback",
         "You need to supply the 'keep' option for the 'clear-fallback' option"),
    ],
)  # fmt: skip
def test_the_options_where_they_make_no_sense(words: str, message: str) -> None:
    case = Hashed()
    assert case.run(words) == (2, "", lines(message))
    assert case.changed() == {}


def test_a_dry_run_names_the_flag() -> None:
    case = Hashed()
    status, output, errors = case.run(f"-d {WEB} -r {A} --drain --fallback --dry-run")
    assert (status, case.flags()) == (0, SCHED2)
    assert output.splitlines()[0] == f"dry run: {WEB}: flags sh-port -> sh-fallback,sh-port"
    assert f"warning: {WEB} (sh): after the deletion, " in errors
    assert "is refused" not in errors


@pytest.mark.parametrize(
    ("rules", "words", "sentence", "flags"),
    [
        # another server has weight 0 still
        ([f"-E {WEB} -s sh -b sh-fallback", f"-e {WEB} -r {B} -m -w 0"], f"-e {WEB} -r {A} --keep -w 2",
         lines(stays(B)), SCHED1),
        ([f"-E {WEB} -s sh -b sh-fallback"], f"-e {WEB} -r {A} --keep -w 2", "", 0),
        # no flag to clear
        ([], f"-e {WEB} -r {A} --keep -w 2", "", SCHED2),
    ],
)  # fmt: skip
def test_clearing(rules: list[str], words: str, sentence: str, flags: int) -> None:
    case = Hashed(*rules)
    assert case.run(f"{words} --clear-fallback") == (0, "", sentence)
    assert (case.flags(), case.table.weights()[f"{A} of {WEB}"]) == (flags, 2)


@pytest.mark.parametrize(
    ("refused", "status", "message"),
    [(1, 255, "Invalid operation."), (2, 0, f"sh-fallback of {WEB} stays set: Invalid operation.")],
)
def test_a_clearing_that_is_refused(refused: int, status: int, message: str) -> None:
    case = Hashed(f"-E {WEB} -s sh -b sh-fallback")
    case.table.refuses = {refused}
    ended, _, errors = case.run(f"-e {WEB} -r {A} --keep -w 2 --clear-fallback")
    assert (ended, case.flags()) == (status, SCHED1)
    assert errors.startswith(message)
