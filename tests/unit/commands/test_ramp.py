"""Test ramps on the embedded table, with a clock that the test controls: each step, and every
end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pyipvsadm.errors import RefusedError
from tests.unit.commands.test_drain import Drain
from tests.unit.fake_environment import FakeEnvironment, FullWorld, apply_all, lines

if TYPE_CHECKING:
    from pyipvsadm.model import Server, Service

WEB, HASHED, TURNS = "-t 10.0.1.1:80", "-t 10.0.2.1:80", "-t 10.0.3.1:80"
A, NEW = "10.0.1.2:80", "10.0.1.9:80"
ON_WEB, NEW_ON_WEB = f"{A} of {WEB}", f"{NEW} of {WEB}"
UNDO = f"ipvsadm -e {WEB} -r {A} --keep -w 0"
UNDO_NEW = f"ipvsadm -d {WEB} -r {NEW}"
RAISE = f"-e {WEB} -r {A} --keep -w 4 --ramp=30"
ADD = f"-a {WEB} -r {NEW} -m -w 4 --ramp=30"
ONE_STEP = "from weight 0 to 1 is a single step: --ramp needs"
RULES = (
    f"-A {WEB} -s wrr", f"-a {WEB} -r {A} -m -w 0 -x 10", f"-a {WEB} -r 10.0.1.3 -m -w 4",
    f"-A {HASHED} -s mh", *(f"-a {HASHED} -r 10.0.2.{last} -m -w 2" for last in (2, 3)),
    f"-A {TURNS} -s rr", f"-a {TURNS} -r 10.0.3.2 -m",
)  # fmt: skip
STEPS = ["weight 1 of 4, 2 in 10 s", "weight 2 of 4, 3 in 10 s", "weight 3 of 4, 4 in 10 s"]


class Ramp(Drain):
    def __init__(self, env: FakeEnvironment | None = None) -> None:
        super().__init__(env)
        apply_all(self.table, RULES)
        self.table.changes = 0
        self.before = self.table.weights()
        self.seen: list[tuple[int, int | None]] = []

    def watch(self, name: str) -> None:
        """Note the weight after each second in which it changed."""

        def meanwhile(now: float) -> int:
            weight = self.table.weights().get(name)
            if not self.seen or self.seen[-1][1] != weight:
                self.seen.append((int(now), weight))
            return 0

        self.env.meanwhile = meanwhile

    def server(self, name: str) -> Server:
        host, _, port = name.rpartition(":")
        return next(
            each
            for service in self.table.read_services()
            for each in self.table.read_servers(service)
            if (each.addr, each.port) == (bytes(map(int, host.split("."))), int(port))
        )


@pytest.mark.parametrize(
    ("words", "name", "undo"), [(RAISE, ON_WEB, UNDO), (ADD, NEW_ON_WEB, UNDO_NEW)]
)
def test_the_weight_rises_in_equal_times(words: str, name: str, undo: str) -> None:
    case = Ramp()
    case.watch(name)
    end = f"{name} has weight 4 after 30 s; to undo: {undo}"
    assert case.run(words) == (0, lines(undo), lines(*STEPS, end))
    # Seen after a second of waiting; the last step is at the end.
    assert case.seen == [(1, 1), (11, 2), (21, 3)]
    assert (case.changed(), case.env.now) == ({name: 4}, 30)
    assert case.table.changes == 4
    assert case.run(undo.removeprefix("ipvsadm ")) == (0, "", "")
    assert case.changed() == {}


def test_settings_that_are_not_kept_change_with_the_first_step() -> None:
    case = Ramp()
    uppers: list[int] = []
    case.at({1: lambda: uppers.append(case.server(A).upper)})
    undo = f"ipvsadm -e {WEB} -r {A} -m -w 0 -x 10"
    status, output, _ = case.run(f"-e {WEB} -r {A} -m -w 4 --ramp=30")
    assert (status, output, uppers) == (0, lines(undo), [0])
    assert case.run(undo.removeprefix("ipvsadm ")) == (0, "", "")
    assert (case.server(A).weight, case.server(A).upper) == (0, 10)


@pytest.mark.parametrize("number", [1, 2, 15])
def test_a_signal_stops_it_where_it_is(number: int) -> None:
    case = Ramp()
    case.at({14: lambda: number})
    status, _, errors = case.run(RAISE)
    name = {1: "HUP", 2: "INT", 15: "TERM"}[number]
    assert (status, case.changed()) == (128 + number, {ON_WEB: 2})
    assert errors == lines(*STEPS[:2], f"{name}: {ON_WEB} stays at weight 2; to undo: {UNDO}")


@pytest.mark.parametrize(
    ("rule", "message", "changed"),
    [
        (f"-e {WEB} -r {A} -m -w 7 -x 10", f"the weight of {ON_WEB} is 7 now", {ON_WEB: 7}),
        (f"-e {WEB} -r {A} -m -w 2 -x 11", f"another program changed {ON_WEB}", {ON_WEB: 2}),
        (f"-d {WEB} -r {A}", f"{ON_WEB} is no longer there", {ON_WEB: None}),
        (f"-D {WEB}", f"{ON_WEB} is no longer there", {ON_WEB: None, f"10.0.1.3:80 of {WEB}": None}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("moment", [14, 20])
def test_another_programs_change_stops_it(
    rule: str, message: str, changed: dict[str, int | None], moment: int
) -> None:
    """The other change comes between two steps, and at the moment of a step."""
    case = Ramp()
    case.at({moment: case.other(rule)})
    status, _, errors = case.run(RAISE)
    assert (status, case.changed()) == (1, changed)
    assert errors == lines(*STEPS[:2], f"{message}: the ramp stopped after weight 2")


def test_a_change_between_the_last_look_and_the_lock_is_seen() -> None:
    case = Ramp()
    real = case.table.lock_table
    entered: list[int] = []

    def lock_table() -> object:
        entered.append(1)
        if len(entered) == 2:
            apply_all(case.table, [f"-e {WEB} -r {A} -m -w 9"])
        return real()

    case.table.lock_table = lock_table  # type: ignore[method-assign, assignment]
    case.at({})
    status, _, errors = case.run(RAISE)
    assert (status, case.changed()) == (1, {ON_WEB: 9})
    assert (
        errors.splitlines()[-1]
        == f"the weight of {ON_WEB} is 9 now: the ramp stopped after weight 1"
    )


def test_changes_of_other_servers_do_not_matter() -> None:
    case = Ramp()
    case.at({5: case.other(f"-e {WEB} -r 10.0.1.3 -m -w 1", f"-a {WEB} -r 10.0.1.4 -m")})
    assert case.run(RAISE)[0] == 0


def test_an_entry_that_a_dump_left_out_is_read_again() -> None:
    case = Ramp()

    def skip() -> None:
        case.table.skips = 2

    case.at({5: skip})
    assert case.run(RAISE)[0] == 0


@pytest.mark.parametrize(
    ("refused", "changed", "end"),
    [(1, {}, ""), (3, {ON_WEB: 2}, f"; {ON_WEB} stays at weight 2, to undo: {UNDO}")],
)
def test_a_refusal_stops_it(refused: int, changed: dict[str, int | None], end: str) -> None:
    case = Ramp()
    case.table.refuses = {refused}
    case.at({})
    status, _, errors = case.run(RAISE)
    assert (status, case.changed()) == (255, changed)
    refusal = "Invalid operation.  Possibly wrong module version, address not unicast, ..."
    assert errors.splitlines()[-1] == f"{refusal}{end}"


def test_when_the_table_does_not_answer_any_more() -> None:
    case = Ramp()

    def breaks() -> None:
        case.table.broken = True

    case.at({5: breaks})
    assert case.run(RAISE) == (
        1, lines(UNDO), lines(STEPS[0], f"no answer: stopped; to undo: {UNDO}"),
    )  # fmt: skip


def test_when_a_reading_is_refused() -> None:
    case = Ramp()
    real = case.table.read_servers

    def refuse(service: Service) -> list[Server]:
        if case.env.now:
            raise RefusedError(8, 1)
        return real(service)

    case.table.read_servers = refuse  # type: ignore[method-assign]
    case.at({})
    assert case.run(RAISE)[0] == 255


def test_when_the_line_that_undoes_it_cannot_be_written_nothing_is_done() -> None:
    case = Ramp(FullWorld())
    assert case.run(RAISE)[0] == 1
    assert (case.changed(), case.table.changes) == ({}, 0)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (f"-a {TURNS} -r {NEW} -m -w 4 --ramp=9", 2,
         f"--ramp does not work for {TURNS}: rr gives all servers the same turns, whatever their weights (nothing was done)"),
        (f"-e {WEB} -r 10.0.1.3 -w 4 --keep --ramp=9", 2,
         f"--ramp raises a weight: 10.0.1.3:80 of {WEB} has 4 and was to have 4"),
        (f"-e {WEB} -r {A} -w 1 --keep --ramp=9", 2,
         f"{ONE_STEP} larger weights in the whole service, such as 100 in place of 1"),
        (f"-a {WEB} -r {A} -m -w 4 --ramp=9", 255, "Destination already exists"),
        (f"-e {WEB} -r {NEW} -m -w 4 --ramp=9", 255,
         "No such destination"),
        ("-a -t 10.9.9.9:80 -r 10.0.1.2 -m -w 4 --ramp=9", 255, "Service not defined"),
        (f"-e {WEB} -r {A} --keep --ramp=9", 2, "You need to supply the 'weight' option for the 'ramp' option"),
        (f"-e {WEB} -r {A} --keep -w 4 --ramp=0", 2, "illegal ramp specified: `0' is no number from 1 to 86400"),
        (f"-e {WEB} -r {A} --keep -w 4 --ramp=x", 2, "illegal ramp specified: `x' is no number from 1 to 86400"),
        (f"-e {WEB} -r {A} --keep -w 4 --ramp=9 --dry-run=clients", 2,
         "--dry-run=clients does not go with --ramp: -e with -w and --dry-run=clients counts the clients"),
        (f"-d {WEB} -r {A} --ramp=9", 2, "Illegal 'ramp' option with the 'delete-server' command"),
    ],
)  # fmt: skip
def test_what_cannot_be_ramped_changes_nothing(words: str, status: int, message: str) -> None:
    case = Ramp()
    assert case.run(words) == (status, "", lines(message))
    assert (case.changed(), case.table.changes) == ({}, 0)


def test_in_rules_it_has_no_place() -> None:
    case = Ramp(FakeEnvironment(stdin=f"{ADD}\n".encode()))
    assert case.run("-R")[2].startswith("line 1: --ramp does not belong in rules")


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (RAISE, "weight 0 -> 1"),
        (f"-e {WEB} -r {A} -m -w 4 --ramp=30", "weight 0 -> 1, upper threshold 10 -> none"),
        (ADD, f"-a {WEB} -r {NEW} -m -w 1"),
    ],
)
def test_a_dry_run_has_the_steps(words: str, first: str) -> None:
    case = Ramp()
    steps = [(0, first), (10, "weight 1 -> 2"), (20, "weight 2 -> 3"), (30, "weight 3 -> 4")]
    expected = lines(*(f"dry run: after {due} s: {text}" for due, text in steps))
    assert case.run(f"{words} --dry-run") == (0, expected, "")
    assert (case.changed(), case.table.changes) == ({}, 0)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (f"-a {HASHED} -r 10.0.2.9 -m -w 2 --ramp=9", r"1: 2\d\.\d%, 2: 1\d\.\d%"),
        (f"-e {HASHED} -r 10.0.2.2 --keep -w 4 --ramp=9", r"3: 1\d\.\d%, 4: \d\.\d%"),
    ],
)
def test_under_mh_each_step_is_announced(words: str, parts: str) -> None:
    case = Ramp()
    status, _, errors = case.run(f"{words} --dry-run")
    start = f"warning: {HASHED} (mh): each step moves a part of the hash table; by weight: "
    assert status == 0
    assert re.fullmatch(re.escape(start) + parts + "\n", errors)
    assert case.run(words)[2].startswith(errors)


def test_under_mh_the_first_step_from_weight_0_is_not_known() -> None:
    case = Ramp()
    apply_all(case.table, [f"-e {HASHED} -r 10.0.2.2 -m -w 0"])
    errors = case.run(f"-e {HASHED} -r 10.0.2.2 -m -w 2 --ramp=9 --dry-run")[2]
    assert "by weight: 1: not known, 2: " in errors


@pytest.mark.parametrize(("errors", "output"), [(True, True), (True, False), (False, True)])
def test_on_a_terminal_the_line_that_undoes_it_has_a_label(errors: bool, output: bool) -> None:
    case = Ramp()
    case.env.seen, case.env.shows = errors, (80, 24) if output else None
    assert case.run(RAISE)[2].startswith("to undo the ramp:\n") == (errors and output)


def test_the_commands_are_for_the_same_table() -> None:
    case = Ramp()
    assert case.run(f"{RAISE} --netns blue")[1] == lines(
        UNDO.replace("ipvsadm", "ipvsadm --netns blue")
    )
