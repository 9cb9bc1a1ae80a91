"""Test draining on the embedded table, with counts and a clock that the test controls: every way it
can end.
"""

from __future__ import annotations

import errno
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pyipvsadm import cli
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.change import pace
from pyipvsadm.errors import OperationError
from pyipvsadm.model import PERSISTENT, SCTP, TCP, UDP, Change, Server, Service
from tests.unit.fake_environment import FakeEnvironment, FullWorld, apply_all, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

WEB, DNS, MARK = "-t 10.0.0.1:80", "-u 10.0.0.1:53", "-f 8"
A, B = "10.0.0.2:8080", "10.0.0.3:80"
START = (
    f"-A {WEB} -s rr", f"-a {WEB} -r {A} -m -w 3 -x 10 -y 5", f"-a {WEB} -r {B} -g -w 1",
    f"-A {DNS} -s rr", f"-a {DNS} -r 10.0.0.2:53 -m -w 2",
    f"-A {MARK} -s rr -p 60", f"-a {MARK} -r 10.0.0.3:0 -g -w 4",
)  # fmt: skip


class Counting(MemoryBackend):
    """Give each server the connections (active, inactive, persistent) that `counts` holds for its
    port and address.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[tuple[int, bytes], tuple[int, int, int]] = {}
        self.quiescent = ""
        self.refuses: set[int] = set()  # which change is refused, by its number
        self.changes = 0
        self.broken = False
        self.skips = 0  # how many dumps show nothing
        self.locked = 0
        self.on_lock: Callable[[], object] = lambda: None
        # Changes of another program before a change of ours, by the number of that change.
        self.before_change: dict[int, Callable[[], object]] = {}

    @contextmanager
    def lock_table(self) -> Iterator[None]:
        self.locked += 1
        self.on_lock()
        yield
        self.locked -= 1

    def read_servers(self, service: Service) -> list[Server]:
        if self.broken:
            raise OperationError("no answer")
        if self.skips:
            self.skips -= 1
            return []
        found = super().read_servers(service)
        for each in found:
            each.active, each.inactive, each.persistent = self.counts.get(
                (each.port, each.addr), (0, 0, 0)
            )
        return found

    def list_held(self) -> list[tuple[Service, list[Server]]]:
        return [(service, self.read_servers(service)) for service in self.read_services()]

    def read_sysctl(self, name: str) -> str:
        if name == "expire_nodest_conn":
            return "0"
        assert name == "expire_quiescent_template"
        return self.quiescent

    def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
        refused = []
        for index, change in enumerate(changes):
            self.changes += 1
            self.before_change.pop(self.changes, lambda: None)()
            if self.changes in self.refuses:
                refused.append((index, errno.EINVAL))
            else:
                refused += [(index, number) for _, number in super().apply([change])]
        return refused

    def count(self, server: str, active: int = 0, inactive: int = 0, persistent: int = 0) -> None:
        host, _, port = server.rpartition(":")
        self.counts[int(port), bytes(map(int, host.split(".")))] = (active, inactive, persistent)

    def weights(self) -> dict[str, int]:
        return {
            pace.describe_server(s, d): d.weight
            for s in self.read_services()
            for d in self.read_servers(s)
        }


class Drain:
    """Hold an environment with a table, run commands in it, and report what changed."""

    def __init__(self, env: FakeEnvironment | None = None) -> None:
        self.table = Counting()
        apply_all(self.table, START)
        self.table.changes = 0
        self.env = env or FakeEnvironment()
        self.env.table = self.table
        self.before = self.table.weights()

    def at(self, events: dict[int, Callable[[], object]]) -> None:
        """Set what happens when the clock reaches a second; an event that returns a number sends
        that signal.
        """

        def meanwhile(now: float) -> int:
            assert now < 200, "this does not end"
            event = events.pop(int(now), None)
            given = event() if event else None
            return given if isinstance(given, int) else 0

        self.env.meanwhile = meanwhile

    def run(self, words: str) -> tuple[int, str, str]:
        return (cli.main(words.split(), self.env), *self.env.take())

    def changed(self) -> dict[str, int | None]:
        """Return the weights that differ from the start; None: the server was deleted."""
        now = self.table.weights()
        return {
            key: now.get(key)
            for key in {**self.before, **now}
            if now.get(key) != self.before.get(key)
        }

    def other(self, *rules: str) -> Callable[[], object]:
        """Return a function that applies another program's rules."""
        return lambda: apply_all(self.table, rules)


# The output of a draining that had nothing to wait for.
END_A, END_B, END_DNS, END_MARK = (
    f"{name} drained in 0 s, "
    for name in (f"{A} of {WEB}", f"{B} of {WEB}", f"10.0.0.2:53 of {DNS}", f"10.0.0.3:0 of {MARK}")
)
BACK = "to bring it back: "
ADD_A, ADD_B = f"ipvsadm -a {WEB} -r {A} -m -w 3 -x 10 -y 5", f"ipvsadm -a {WEB} -r {B} -g -w 1"
UNDO_A = f"ipvsadm -e {WEB} -r {A} --keep -w 3"
UNDO_B = f"ipvsadm -e {WEB} -r {B} --keep -w 1"
UNDO_DNS = f"ipvsadm -e {DNS} -r 10.0.0.2:53 --keep -w 2"
UNDO_MARK = f"ipvsadm -e {MARK} -r 10.0.0.3:0 --keep -w 4"
ON_WEB, ON_DNS, ON_MARK = f"{A} of {WEB}", f"10.0.0.2:53 of {DNS}", f"10.0.0.3:0 of {MARK}"
B_ON_WEB = f"{B} of {WEB}"


@pytest.mark.parametrize(
    ("words", "undo", "changed", "end"),
    [
        (f"-d {WEB} -r 10.0.0.2 --drain", [UNDO_A], {ON_WEB: None}, [f"{END_A}deleted; {BACK}{ADD_A}"]),
        (f"-d {WEB} -r {A} --drain=5", [UNDO_A], {ON_WEB: None}, [f"{END_A}deleted; {BACK}{ADD_A}"]),
        (f"-d {WEB} -r {A} --drain 5 --drain-inactive", [UNDO_A], {ON_WEB: None},
         [f"{END_A}deleted; {BACK}{ADD_A}"]),
        (f"-e {WEB} -r 10.0.0.2 --drain", [UNDO_A], {ON_WEB: 0}, [f"{END_A}weight 0; {BACK}{UNDO_A}"]),
        (f"-D {WEB} --drain", [UNDO_B, UNDO_A], {ON_WEB: None, B_ON_WEB: None},
         [f"{WEB} drained in 0 s, deleted; to bring it back:", f"ipvsadm -A {WEB} -s rr", ADD_A, ADD_B]),
        ("--drain -r 10.0.0.2", [UNDO_A, UNDO_DNS], {ON_WEB: 0, ON_DNS: 0},
         ["2 servers drained in 0 s, weight 0; to bring them back:", UNDO_A, UNDO_DNS]),
        ("--drain -r 10.0.0.2:53", [UNDO_DNS], {ON_DNS: 0}, [f"{END_DNS}weight 0; {BACK}{UNDO_DNS}"]),
        (f"--drain -r 10.0.0.2 {DNS} {WEB}", [UNDO_DNS, UNDO_A], {ON_WEB: 0, ON_DNS: 0},
         ["2 servers drained in 0 s, weight 0; to bring them back:", UNDO_DNS, UNDO_A]),
        (f"--drain -r 10.0.0.2 {DNS}", [UNDO_DNS], {ON_DNS: 0}, [f"{END_DNS}weight 0; {BACK}{UNDO_DNS}"]),
        (f"--drain=9 {MARK} -r 10.0.0.3", [UNDO_MARK], {ON_MARK: 0}, [f"{END_MARK}weight 0; {BACK}{UNDO_MARK}"]),
        (f"-d {WEB} -r {A} --drain --netns blue", [f"ipvsadm --netns blue -e {WEB} -r {A} --keep -w 3"],
         {ON_WEB: None}, [f"{END_A}deleted; {BACK}{ADD_A.replace('ipvsadm', 'ipvsadm --netns blue')}"]),
        (f"-d {WEB} -r {A} --drain --backend memory", [f"ipvsadm --backend memory -e {WEB} -r {A} --keep -w 3"],
         {ON_WEB: None}, [f"{END_A}deleted; {BACK}{ADD_A.replace('ipvsadm', 'ipvsadm --backend memory')}"]),
    ],
)  # fmt: skip
def test_with_nothing_left_it_is_done_at_once(
    words: str, undo: list[str], changed: dict[str, int | None], end: list[str]
) -> None:
    case = Drain()
    assert case.run(words) == (0, lines(*undo), lines(*end))
    assert case.changed() == changed
    assert case.env.now == 0


@pytest.mark.parametrize("words", [f"-d {WEB} -r {A} --drain", f"-D {WEB} --drain"])
def test_the_commands_at_the_end_bring_back_what_was_deleted(words: str) -> None:
    case = Drain()
    before = [
        case.table.read_servers(each) for each in sorted(case.table.read_services(), key=repr)
    ]
    _, _, errors = case.run(words)
    commands = [
        line[line.index("ipvsadm ") :] for line in errors.splitlines() if "ipvsadm " in line
    ]
    for command in commands:
        assert case.run(command.removeprefix("ipvsadm ")) == (0, "", "")
    after = [case.table.read_servers(each) for each in sorted(case.table.read_services(), key=repr)]
    assert [sorted(map(repr, servers)) for servers in after] == [
        sorted(map(repr, servers)) for servers in before
    ]


@pytest.mark.parametrize(("errors", "output"), [(True, True), (True, False), (False, True)])
def test_on_a_terminal_the_lines_that_undo_it_have_a_label(errors: bool, output: bool) -> None:
    case = Drain()
    case.env.seen, case.env.shows = errors, (80, 24) if output else None
    said = case.run(f"-e {WEB} -r {A} --drain")[2]
    assert said.startswith("to undo the draining:\n") == (errors and output)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (f"-d {WEB} -r 10.0.0.9 --drain", 255, "No such destination"),
        ("-d -t 10.0.0.9:80 -r 10.0.0.9 --drain", 255, "Service not defined"),
        ("-D -t 10.0.0.9:80 --drain", 255, "No such service"),
        ("--drain -r 10.0.0.9", 255, "no service has this real server"),
        ("--drain -r 10.0.0.9 -t 10.0.0.9:80", 255, "Service not defined"),
        ("--drain", 2, "You need to supply the 'real-server' option for the 'drain' command"),
        ("--drain -r 10.0.0.2 -d", 2, "invalid option `-d'"),
        ("--drain -r 10.0.0.2 -w 1", 2, "Illegal 'weight' option with the 'drain' command"),
        ("--drain --drain -r 10.0.0.2", 2, "multiple 'drain' options specified"),
        ("--drain x -r 10.0.0.2", 2, "illegal drain specified: `x' is no number from 0 to 2678400"),
        (
            "--drain=-1 -r 10.0.0.2",
            2,
            "illegal drain specified: `-1' is no number from 0 to 2678400",
        ),
        ("--drain --nonsense", 255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information."),
        (f"-e {WEB} -r {A} --drain -w 1", 2, "Illegal 'weight' option with the 'drain' command"),
        (
            f"-e {WEB} -r {A} --drain -m",
            2,
            "Illegal 'forwarding-method' option with the 'drain' command",
        ),
        (f"-e {WEB} -r {A} --drain --keep", 2, "Illegal 'keep' option with the 'drain' command"),
        (f"-a {WEB} -r {A} --drain", 2, "Illegal 'drain' option with the 'add-server' command"),
        (
            f"-d {WEB} -r {A} --drain-inactive",
            2,
            "You need to supply the 'drain' option for the 'drain-inactive' option",
        ),
    ],
)
def test_what_cannot_be_drained_changes_nothing(words: str, status: int, said: str) -> None:
    case = Drain()
    assert case.run(words) == (status, "", lines(said))
    assert case.changed() == {}


def test_an_ambiguous_server_is_not_drained() -> None:
    case = Drain()
    apply_all(case.table, [f"-a {WEB} -r 10.0.0.2:81 -m"])
    assert case.run(f"-d {WEB} -r 10.0.0.2 --drain") == (
        2, "", lines("which real server is meant? Give one with its port: 10.0.0.2:8080, 10.0.0.2:81"),
    )  # fmt: skip


def test_in_rules_it_has_no_place() -> None:
    case = Drain(FakeEnvironment(stdin=b"--drain -r 10.0.0.2\n"))
    assert case.run("-R") == (
        2,
        "",
        lines("line 1: --drain does not belong in rules: give it on the command line"),
    )


@pytest.mark.parametrize(
    ("protocol", "flags", "inactive", "connections", "templates"),
    [
        (TCP, 0, False, 1, 0),
        (TCP, 0, True, 11, 0),
        (TCP, PERSISTENT, False, 1, 100),
        (TCP, PERSISTENT, True, 11, 100),
        (UDP, 0, False, 11, 0),
        (UDP, PERSISTENT, False, 11, 100),
        (SCTP, 0, False, 11, 0),
        (0, 0, False, 11, 0),
        (0, PERSISTENT, True, 11, 100),
    ],
)
def test_what_counts(
    protocol: int, flags: int, inactive: bool, connections: int, templates: int
) -> None:
    server = Server(2, bytes(4), 80, active=1, inactive=10, persistent=100)
    remaining = pace.count_remaining(Service(2, protocol, flags=flags), server, inactive)
    assert remaining == pace.Remaining(connections, templates)


def test_it_waits_with_a_line_every_ten_seconds_and_deletes() -> None:
    case = Drain()
    case.table.count(A, 20, 7)
    at_weight_0: list[int] = []
    case.at({
        1: lambda: at_weight_0.append(case.table.weights()[ON_WEB]),
        5: lambda: case.table.count(A, 12, 7),
        15: lambda: case.table.count(A, 1, 7),
        25: lambda: case.table.count(A, 0, 7),
    })  # fmt: skip
    assert case.run(f"-d {WEB} -r 10.0.0.2 --drain") == (
        0,
        lines(UNDO_A),
        lines(
            "20 connections left",
            "12 of 20 connections left (0.8 closed per second, 10 s)",
            "1 of 20 connections left (1.1 closed per second, 20 s)",
            f"{ON_WEB} drained in 25 s, deleted; {BACK}{ADD_A}",
        ),
    )
    assert (case.changed(), case.env.now, at_weight_0) == ({ON_WEB: None}, 25, [0])


def test_other_servers_connections_do_not_count() -> None:
    case = Drain()
    case.table.count(B, 99)
    assert case.run(f"-d {WEB} -r {A} --drain 0")[0] == 0


def test_several_services_are_waited_for_together() -> None:
    case = Drain()
    case.table.count(A, 1)
    case.table.count("10.0.0.2:53", 0, 2)
    case.at({3: lambda: case.table.count(A), 7: lambda: case.table.count("10.0.0.2:53")})
    assert case.run("--drain -r 10.0.0.2") == (
        0,
        lines(UNDO_A, UNDO_DNS),
        lines(
            "3 connections left",
            "2 servers drained in 7 s, weight 0; to bring them back:",
            UNDO_A,
            UNDO_DNS,
        ),
    )
    assert case.env.now == 7


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (f"-d {WEB} -r {A}", [f"to delete it all the same: ipvsadm -d {WEB} -r {A}"]),
        (
            f"-D {WEB}",
            [
                f"{B_ON_WEB} stays at weight 0; to undo: {UNDO_B}",
                f"to delete it all the same: ipvsadm -D {WEB}",
            ],
        ),
        (f"-e {WEB} -r {A}", []),
    ],
)
def test_when_the_time_is_over(words: str, more: list[str]) -> None:
    case = Drain()
    case.table.count(A, 2)
    status, _, said = case.run(f"{words} --drain=3")
    stays = f"{ON_WEB} stays at weight 0; to undo: {UNDO_A}"
    expected = [
        "2 connections left",
        f"2 connections left after 3 seconds{', nothing deleted' if more else ''}",
        stays,
        *more,
    ]
    assert (status, sorted(said.splitlines()), said.splitlines()[:2]) == (
        1,
        sorted(expected),
        expected[:2],
    )
    assert case.env.now == 3
    assert set(case.changed().values()) == {0}


@pytest.mark.parametrize("number", [1, 2, 15])
def test_a_signal_puts_the_weight_back(number: int) -> None:
    case = Drain()
    case.table.count(A, 1)
    case.at({4: lambda: number})
    assert case.run(f"-d {WEB} -r {A} --drain") == (
        128 + number,
        lines(UNDO_A),
        lines(
            "1 connection left",
            f"{ {1: 'HUP', 2: 'INT', 15: 'TERM'}[number] }: 1 connection left, nothing deleted",
            f"{ON_WEB} has weight 3 again",
        ),
    )
    assert case.changed() == {}


def test_a_signal_keeps_what_else_somebody_has_edited() -> None:
    case = Drain()
    case.table.count(A, 1)
    case.at({2: case.other(f"-e {WEB} -r {A} -m -w 0 -x 77"), 4: lambda: 2})
    case.run(f"-d {WEB} -r {A} --drain")
    (found,) = [
        each for each in case.table.read_servers(case.table.read_services()[0]) if each.port == 8080
    ]
    assert (found.weight, found.upper) == (3, 77)


@pytest.mark.parametrize(
    ("rule", "said", "weight"),
    [
        (
            f"-e {WEB} -r {A} -m -w 5",
            f"not undone: {ON_WEB}: another program set its weight to 5 meanwhile",
            5,
        ),
        (f"-d {WEB} -r {A}", f"not undone: {ON_WEB}: it is no longer there", None),
        (f"-D {WEB}", f"not undone: {ON_WEB}: it is no longer there", None),
    ],
)
def test_a_signal_leaves_alone_what_is_not_ours_any_more(
    rule: str, said: str, weight: int | None
) -> None:
    case = Drain()
    case.table.count(A, 1)

    def both() -> int:
        apply_all(case.table, [rule])
        return 15

    case.at({4: both})
    status, _, errors = case.run(f"-d {WEB} -r {A} --drain")
    assert (status, errors.splitlines()[-1]) == (143, said)
    assert case.changed()[ON_WEB] == weight


def test_a_weight_that_cannot_be_put_back() -> None:
    case = Drain()
    case.table.count(A, 1)
    case.table.refuses = {2}
    case.at({4: lambda: 2})
    status, _, errors = case.run(f"-e {WEB} -r {A} --drain")
    assert (status, case.changed()) == (130, {ON_WEB: 0})
    assert errors.splitlines()[-1].startswith(f"not undone: {ON_WEB}: Invalid operation.")


@pytest.mark.parametrize(
    ("words", "rule", "seen", "stays"),
    [
        (f"-d {WEB} -r {A}", f"-e {WEB} -r {A} -m -w 1", f"the weight of {ON_WEB} is 1 now", False),
        (f"-d {WEB} -r {A}", f"-d {WEB} -r {A}", f"{ON_WEB} is no longer there", False),
        (f"-d {WEB} -r {A}", f"-D {WEB}", f"{ON_WEB} is no longer there", False),
        (f"-D {WEB}", f"-a {WEB} -r 10.0.0.9 -g", f"10.0.0.9:80 of {WEB} was added", True),
        (f"-D {WEB}", f"-d {WEB} -r {B}", f"{B_ON_WEB} is no longer there", True),
    ],
)
def test_somebody_else_stops_it(words: str, rule: str, seen: str, stays: bool) -> None:
    case = Drain()
    case.table.count(A, 1)
    after: list[dict[str, int]] = []

    def somebody() -> None:
        apply_all(case.table, [rule])
        after.append(case.table.weights())

    case.at({2: somebody})
    status, _, errors = case.run(f"{words} --drain")
    assert status == 1
    assert f"{seen}: stopped, nothing deleted" in errors.splitlines()
    assert (f"{ON_WEB} stays at weight 0; to undo: {UNDO_A}" in errors.splitlines()) == stays
    assert [case.table.weights()] == after


def test_without_a_deletion_none_is_spoken_of() -> None:
    case = Drain()
    case.table.count(A, 1)
    case.at({2: case.other(f"-d {WEB} -r {A}")})
    assert (
        case.run(f"-e {WEB} -r {A} --drain")[2].splitlines()[-1]
        == f"{ON_WEB} is no longer there: stopped"
    )


def test_a_dump_that_leaves_something_out_is_read_again() -> None:
    case = Drain()
    case.table.count(A, 1)

    def skip() -> None:
        case.table.skips = 2

    case.at({2: skip, 4: lambda: case.table.count(A)})
    assert case.run(f"-d {WEB} -r {A} --drain")[0] == 0
    assert case.env.now == 4


def test_a_service_that_one_dump_left_out_is_drained_too() -> None:
    case = Drain()
    case.table.embedded = False  # only the kernel's dumps leave something out
    case.table.skips = 1
    assert case.run("--drain -r 10.0.0.2")[:2] == (0, lines(UNDO_A, UNDO_DNS))


def test_a_table_that_never_rests_is_not_drained() -> None:
    case = Drain()
    case.table.embedded = False
    whole = case.table.read_services()
    orders = [whole, whole[:1]] * 9
    case.table.read_services = lambda counters=True: orders.pop()  # type: ignore[method-assign]  # noqa: ARG005
    assert case.run("--drain -r 10.0.0.2") == (
        1,
        "",
        lines("the table kept changing while it was read (10 times); try again"),
    )
    assert case.table.changes == 0


def test_a_server_at_weight_zero_has_nothing_to_undo() -> None:
    case = Drain()
    apply_all(case.table, [f"-e {WEB} -r {A} -m -w 0"])
    case.table.count(A, 1)
    case.at({4: lambda: 2})
    assert case.run(f"-d {WEB} -r {A} --drain") == (
        130,
        "",
        lines("1 connection left", "INT: 1 connection left, nothing deleted"),
    )


def test_a_drained_server_of_weight_zero_is_brought_back_by_nothing() -> None:
    case = Drain()
    apply_all(case.table, [f"-e {WEB} -r {A} -m -w 0"])
    assert case.run(f"-e {WEB} -r {A} --drain") == (0, "", lines(f"{END_A}weight 0"))


def test_when_a_weight_is_refused_those_before_are_put_back() -> None:
    case = Drain()
    case.table.refuses = {2}
    status, _, errors = case.run("--drain -r 10.0.0.2")
    assert (status, case.changed()) == (255, {})
    assert errors.splitlines()[0].startswith(f"{ON_DNS}: Invalid operation.")
    assert errors.splitlines()[1:] == [f"{ON_WEB} has weight 3 again"]


def test_when_the_deletion_is_refused() -> None:
    case = Drain()
    case.table.refuses = {2}
    status, _, errors = case.run(f"-d {WEB} -r {A} --drain")
    assert (status, case.changed()) == (255, {ON_WEB: 0})
    assert errors.startswith("Invalid operation.")


def test_when_the_table_does_not_answer_any_more() -> None:
    case = Drain()
    case.table.count(A, 1)

    def breaks() -> None:
        case.table.broken = True

    case.at({2: breaks})
    assert case.run(f"-d {WEB} -r {A} --drain") == (
        1, lines(UNDO_A), lines("1 connection left", "no answer: stopped, nothing deleted", f"to undo: {UNDO_A}"),
    )  # fmt: skip


def test_when_the_lines_that_undo_it_cannot_be_written_nothing_is_done() -> None:
    case = Drain(FullWorld())
    assert case.run(f"-d {WEB} -r {A} --drain")[0] == 1
    assert case.changed() == {}


@pytest.mark.parametrize(
    ("words", "setting", "warned"),
    [
        (f"-e {MARK} -r 10.0.0.3 --drain", "0", True),
        (f"-e {MARK} -r 10.0.0.3 --drain", "1", False),
        (f"-e {MARK} -r 10.0.0.3 --drain", "", False),
        (f"-e {WEB} -r {A} --drain", "0", False),
    ],
)
def test_persistence_that_feeds_the_server_is_warned_of(
    words: str, setting: str, warned: bool
) -> None:
    case = Drain()
    case.table.quiescent = setting
    status, _, errors = case.run(words)
    assert (status, "`sysctl net.ipv4.vs.expire_quiescent_template=1'" in errors) == (0, warned)
    case = Drain()
    case.table.quiescent = setting
    there = "`nsenter --net=/run/netns/blue sysctl net.ipv4.vs.expire_quiescent_template=1'"
    assert (there in case.run(f"{words} --netns blue")[2]) == warned


def test_a_variable_that_leaked_is_named() -> None:
    case = Drain(FakeEnvironment(environ={"IPVSADM_BACKEND": "memory"}, root=True))
    assert "this changes the embedded table, not the kernel" in case.run("--drain -r 10.0.0.2")[2]


@pytest.mark.parametrize("plain", ["", "1"])
def test_on_a_terminal_a_bar_is_drawn_and_taken_away(
    plain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # of our own process: only the fake environment's variables count
    monkeypatch.setenv("NO_COLOR", "" if plain else "1")
    case = Drain(FakeEnvironment(environ={"TERM": "xterm", "NO_COLOR": plain}))
    case.env.seen = True
    case.table.count(A, 4)
    case.at(
        {
            1: lambda: case.table.count(A, 3),
            2: lambda: case.table.count(A, 5),
            4: lambda: case.table.count(A),
        }
    )
    status, _, errors = case.run(f"-d {WEB} -r {A} --drain")
    assert status == 0
    for text in (
        "4 connections left",
        "3 of 4 connections left (1.0 closed per second, 1 s)",
        "5 of 4 connections left (0.5 more per second, 2 s)",
    ):
        assert text in errors
    # the cursor is visible again after the last progress
    assert errors.rindex("\x1b[?25h") > errors.rindex("connections left")
    assert bool(re.search(r"\x1b\[[39]\dm", errors)) == (plain == "")


@pytest.mark.parametrize(("term", "has_rich"), [("dumb", True), ("", True), ("xterm", False)])
def test_lines_where_no_bar_can_be_drawn(
    term: str, has_rich: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_rich:
        monkeypatch.setitem(sys.modules, "rich.progress", None)  # its import fails
    case = Drain(FakeEnvironment(environ={"TERM": term}))
    case.env.seen = True
    case.table.count(A, 1)
    case.at({1: lambda: case.table.count(A)})
    end = f"{ON_WEB} drained in 1 s, deleted; {BACK}{ADD_A}"
    assert case.run(f"-d {WEB} -r {A} --drain")[2] == lines("1 connection left", end)


def test_templates_are_counted_apart() -> None:
    case = Drain()
    mark = "10.0.0.3:0"
    case.table.count(mark, 3, 1, 2)
    case.at({
        5: lambda: case.table.count(mark, 0, 2, 2),
        15: lambda: case.table.count(mark, 0, 0, 1),
        35: lambda: case.table.count(mark),
    })  # fmt: skip
    assert case.run(f"-e {MARK} -r 10.0.0.3 --drain=60") == (
        0,
        lines(UNDO_MARK),
        lines(
            "4 connections and 2 templates left",
            "2 of 4 connections and 2 templates left (0.2 closed per second, 10 s of 60 s)",
            "0 of 4 connections and 1 template left (0.2 closed per second, 20 s of 60 s)",
            "1 template left (30 s of 60 s)",
            f"{ON_MARK} drained in 35 s, weight 0; {BACK}{UNDO_MARK}",
        ),
    )


@pytest.mark.parametrize(
    ("counts", "left"),
    [((0, 0, 1), "1 template"), ((1, 0, 2), "1 connection and 2 templates")],
)
def test_what_is_left_when_the_time_is_over(counts: tuple[int, int, int], left: str) -> None:
    case = Drain()
    case.table.count("10.0.0.3:0", *counts)
    errors = case.run(f"-e {MARK} -r 10.0.0.3 --drain=3")[2].splitlines()
    assert errors[:2] == [f"{left} left", f"{left} left after 3 seconds"]


def test_the_embedded_table_has_no_settings_to_warn_of() -> None:
    env = FakeEnvironment()
    apply_all(env.table, START)
    assert cli.main(f"-e {MARK} -r 10.0.0.3 --drain".split(), env) == 0
    assert env.take() == (lines(UNDO_MARK), lines(f"{END_MARK}weight 0; {BACK}{UNDO_MARK}"))


def test_a_client_that_comes_at_the_last_moment_is_waited_for() -> None:
    """The client comes between the last reading and the deletion, which reads again under the
    lock.
    """
    case = Drain()
    case.table.count(A, 1)
    readings = iter([1, 0, 1, 1, 0, 0])
    real = case.table.read_servers

    def read_servers(service: Service) -> list[Server]:
        servers = real(service)
        if case.table.changes:
            for server in servers:
                if server.port == 8080:
                    server.active = next(readings, 0)
        return servers

    case.table.read_servers = read_servers  # type: ignore[method-assign]
    case.at({})
    assert case.run(f"-d {WEB} -r {A} --drain=60")[0] == 0
    assert case.changed() == {ON_WEB: None}
    assert 2 <= case.env.now < 60


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (f"-e {WEB} -r {A} --drain", [f"{ON_WEB}: weight 3 -> 0", "would wait for 2 connections to end"]),
        (f"-d {WEB} -r 10.0.0.2 --drain=5", [f"{ON_WEB}: weight 3 -> 0", "would wait for 2 connections to end",
                                             f"then: ipvsadm -d {WEB} -r {A}"]),
        (f"-D {WEB} --drain", [f"{B_ON_WEB}: weight 1 -> 0", f"{ON_WEB}: weight 3 -> 0",
                               "would wait for 2 connections to end", f"then: ipvsadm -D {WEB}"]),
        ("--drain -r 10.0.0.3 --netns blue", [f"{B_ON_WEB}: weight 1 -> 0", f"{ON_MARK}: weight 4 -> 0",
                                              "would wait for 0 connections to end"]),
    ],
)  # fmt: skip
def test_a_dry_run_says_what_it_would_wait_for(words: str, printed: list[str]) -> None:
    case = Drain()
    case.table.count(A, 2)
    expected = lines(*(f"dry run: {line}" for line in printed))
    assert case.run(f"{words} --dry-run")[:2] == (0, expected)
    assert (case.changed(), case.table.changes) == ({}, 0)
