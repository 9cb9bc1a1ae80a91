"""Test --apply with --drain, on the embedded table, with counts and a clock that the test
controls.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING

import jsonschema
import pytest

from tests.unit.commands.test_drain import (
    B_ON_WEB,
    DNS,
    ON_DNS,
    ON_WEB,
    START,
    WEB,
    A,
    B,
    Counting,
    Drain,
)
from tests.unit.commands.test_history import SCHEMA
from tests.unit.fake_environment import FakeEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NEW = "10.0.0.9:80"
# Without A, with a new server.
FILE = "".join(f"{line}\n" for line in (*START[:1], *START[2:], f"-a {WEB} -r {NEW} -m -w 7"))
ON_NEW = f"{NEW} of {WEB}"
AGAIN = "the same --apply again goes on; without --drain it removes them at once\n"


class TellingEnvironment(FakeEnvironment):
    """Keep each warning, with the number of changes that the table had seen by then."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: set[tuple[int, str]] = set()

    def write_stderr(self, text: str) -> None:
        assert isinstance(self.table, Counting)
        if text.startswith("warning"):
            self.warnings.add((self.table.changes, text))
        super().write_stderr(text)


class Apply(Drain):
    """Run --apply with a file."""

    def __init__(self, path: Path, text: str = FILE) -> None:
        self.telling = TellingEnvironment()
        super().__init__(self.telling)
        self.path = path / "lvs.rules"
        self.path.write_text(text)

    def apply(self, words: str = "--drain=30") -> tuple[int, str, str]:
        return self.run(f"--apply {self.path} {words}")


def test_removed_servers_are_drained_first(tmp_path: Path) -> None:
    drain = Apply(tmp_path)
    drain.table.count(A, 8)
    seen = []
    drain.at({
        1: lambda: seen.append(drain.changed()),
        5: lambda: drain.table.count(A, 0, 3),  # closing ones do not count
    })  # fmt: skip
    assert drain.apply() == (
        0,
        "",
        (
            "8 connections left\n"
            "1 added, 0 changed, 1 removed, 6 unchanged; waited 5 s for connections\n"
        ),
    )
    assert seen == [{ON_WEB: 0, ON_NEW: 7}]
    assert drain.changed() == {ON_WEB: None, ON_NEW: 7}


@pytest.mark.parametrize(
    ("counts", "events", "status", "err", "changed"),
    [
        pytest.param({A: 0}, {}, 0, "1 added, 0 changed, 2 removed, 5 unchanged; waited 0 s for connections\n",
                     {ON_WEB: None, B_ON_WEB: None, ON_NEW: 7}, id="nothing to wait for"),
        pytest.param({A: 3, B: 1}, {9: lambda drain: drain.table.count(B)}, 1,
                     "4 connections left\n3 of 4 connections left (0.1 closed per second, 10 s of 30 s)\n"
                     "3 of 4 connections left (0.0 closed per second, 20 s of 30 s)\n"
                     "1 added, 0 changed, 1 removed, 5 unchanged; waited 30 s for connections, 1 not removed\n"
                     f"not finished: -d {WEB} -r {A}: 3 connections left after 30 seconds; weight 0, not removed\n"
                     + AGAIN, {ON_WEB: 0, B_ON_WEB: None, ON_NEW: 7}, id="one has connections at the end"),
        pytest.param({A: 3, B: 1}, {3: lambda _: 2}, 130,
                     "4 connections left\nINT: 4 connections left, nothing removed, 2 weights put back; "
                     "1 other change made before the wait stay\n", {ON_NEW: 7}, id="a signal"),
        pytest.param({A: 3}, {3: lambda drain: drain.other(f"-e {WEB} -r {A} -m -w 5 -x 10 -y 5")(),
                              4: lambda drain: drain.table.count(A)}, 1,
                     "3 connections left\n1 added, 0 changed, 1 removed, 5 unchanged; waited 3 s for connections, 1 not removed\n"
                     f"not finished: -d {WEB} -r {A}: the weight of {ON_WEB} is 5 now: not removed\n" + AGAIN,
                     {ON_WEB: 5, B_ON_WEB: None, ON_NEW: 7}, id="another program gives it a weight"),
        pytest.param({A: 3}, {3: lambda drain: drain.other(f"-e {WEB} -r {A} -m -w 0")()}, 1,
                     "3 connections left\n1 added, 0 changed, 1 removed, 5 unchanged; waited 3 s for connections, 1 not removed\n"
                     f"not finished: -d {WEB} -r {A}: another program changed {ON_WEB}: not removed\n" + AGAIN,
                     {ON_WEB: 0, B_ON_WEB: None, ON_NEW: 7}, id="another program changes its thresholds"),
        pytest.param({A: 3}, {3: lambda drain: drain.other(f"-d {WEB} -r {A}")()}, 0,
                     "3 connections left\n1 added, 0 changed, 1 removed, 5 unchanged; waited 3 s for connections\n",
                     {ON_WEB: None, B_ON_WEB: None, ON_NEW: 7}, id="another program removes it"),
        pytest.param({A: 3}, {3: lambda drain: drain.other(f"-D {WEB}")()}, 0,
                     "3 connections left\n1 added, 0 changed, 0 removed, 5 unchanged; waited 3 s for connections\n",
                     {ON_WEB: None, B_ON_WEB: None}, id="another program removes the service"),
    ],
)  # fmt: skip
def test_how_a_wait_ends(
    tmp_path: Path,
    counts: dict[str, int],
    events: dict[int, Callable[[Apply], object]],
    status: int,
    err: str,
    changed: dict[str, int | None],
) -> None:
    drain = Apply(tmp_path, FILE.replace(f"{START[2]}\n", ""))
    for server, count in counts.items():
        drain.table.count(server, count)
    drain.at({second: partial(event, drain) for second, event in events.items()})
    assert drain.apply("--drain=30 --force") == (status, "", err)
    assert drain.changed() == changed


PRUNED = f"{START[0]}\n{START[1]}\n{START[2]}\n-A -f 8 -s rr -p 60\n{START[6]}\n"


@pytest.mark.parametrize(
    ("event", "status", "reason", "weight"),
    [
        (lambda drain: drain.table.count("10.0.0.2:53"), 0, "", None),
        (lambda _: None, 1, "10.0.0.2:53: 2 connections left after 9 seconds; weight 0, not removed", 0),
        (lambda drain: drain.other(f"-a {DNS} -r {B} -m")(), 1,
         f"10.0.0.3:80 of {DNS} was added: not removed", 0),
        (lambda drain: drain.other(f"-E {DNS} -s wlc")(), 1, f"another program changed {DNS}: not removed", 0),
        (lambda drain: drain.other(f"-D {DNS}")(), 0, "", None),
    ],
)  # fmt: skip
def test_a_service_is_removed_when_its_servers_are_drained(
    tmp_path: Path,
    event: Callable[[Apply], object],
    status: int,
    reason: str,
    weight: int | None,
) -> None:
    drain = Apply(tmp_path, PRUNED)
    drain.table.count("10.0.0.2:53", 0, 2)  # a UDP flow counts as inactive
    drain.at({4: lambda: event(drain)})
    assert drain.apply("--prune --drain=9")[0] == status
    assert drain.changed()[ON_DNS] == weight
    drain = Apply(tmp_path, PRUNED)
    drain.table.count("10.0.0.2:53", 0, 2)
    drain.at({4: lambda: event(drain)})
    _, out, err = drain.apply("--prune --drain=9 --json")
    assert err == ""
    document = json.loads(out)
    jsonschema.validate(document, SCHEMA)
    unfinished = [{"line": None, "rule": f"-D {DNS}", "message": reason}] if reason else []
    assert document["drain"] == {
        "seconds": 9,
        "servers": [
            {"service": DNS, "address": "10.0.0.2", "port": 53, "connections": 2, "templates": 0}
        ],
        "unfinished": unfinished,
    }


def test_a_client_that_comes_at_the_last_moment_is_waited_for(tmp_path: Path) -> None:
    drain = Apply(tmp_path)
    taken = []

    def come() -> None:
        taken.append(drain.env.now)
        drain.table.count(A, 1 if len(taken) == 2 else 0)

    drain.table.on_lock = come
    drain.at({7: lambda: drain.table.count(A)})
    assert drain.apply()[0] == 0
    assert taken == [0, 0, 7]  # for the plan, for the removal, and again
    assert drain.changed() == {ON_WEB: None, ON_NEW: 7}


def test_no_lock_is_held_while_waiting(tmp_path: Path) -> None:
    drain = Apply(tmp_path)
    drain.table.count(A, 2)
    held = []
    drain.at({second: lambda: held.append(drain.table.locked) for second in (1, 2, 29)})
    assert drain.apply()[0] == 1
    assert held == [0, 0, 0]
    assert drain.table.locked == 0


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_refusal(tmp_path: Path, at: int) -> None:
    """The plan has four changes: the new server, the edit, the weight, the removal."""
    text = FILE.replace(f"{START[2]}", START[2].replace("-w 1", "-w 2"))
    drain = Apply(tmp_path, text)
    drain.table.refuses = {at}
    status, _, err = drain.apply()
    assert status == 255
    after_wait = {ON_WEB: 0, B_ON_WEB: 2, ON_NEW: 7}
    assert drain.changed() == (after_wait if at == 4 else {})
    assert ("refused: 3 changes made before it stay" in err) == (at == 4)


def test_a_server_that_another_program_removes_first_is_no_refusal(tmp_path: Path) -> None:
    """Another program removes it between the reading and the weight 0; the other server is still
    waited for.
    """
    drain = Apply(tmp_path, FILE.replace(f"{START[2]}\n", ""))
    drain.table.count(B, 1)
    drain.table.before_change = {2: drain.other(f"-d {WEB} -r {A}")}
    drain.at({6: lambda: drain.table.count(B)})
    status, _, err = drain.apply("--drain=30 --force")
    assert status == 0
    assert "another program removed it meanwhile" in err
    assert err.endswith("1 added, 0 changed, 1 removed, 5 unchanged; waited 6 s for connections\n")
    assert drain.changed() == {ON_WEB: None, B_ON_WEB: None, ON_NEW: 7}


def test_a_dry_run_names_the_servers_and_their_connections(tmp_path: Path) -> None:
    drain = Apply(tmp_path)
    drain.table.count(A, 8)
    assert drain.apply("--drain=30 --dry-run") == (
        1,
        (
            f"-a {WEB} -r {NEW} -m -w 7\n"
            f"-e {WEB} -r {A} -m -w 0 -x 10 -y 5\n#   weight 3 -> 0\n"
            f"-d {WEB} -r {A}\n"
            f"# {WEB}: shares of the turns: 10.0.0.2:8080 50.0% -> 0.0%, 10.0.0.9:80 0.0% -> 50.0%\n"
            f"# would wait up to 30 seconds for {ON_WEB}: 8 connections\n"
        ),
        "dry run: 1 added, 0 changed, 1 removed, 6 unchanged\n",
    )
    assert drain.changed() == {}
    document = json.loads(drain.apply("--drain=1m --dry-run --json")[1])
    assert document["drain"]["seconds"] == 60
    assert document["drain"]["servers"][0]["connections"] == 8
    assert (
        document["drain"]["unfinished"],
        document["impact"]["services"][0]["connections_of_removed_servers"],
    ) == ([], 0)


@pytest.mark.parametrize("words", ["--drain", "--drain=soon", "--drain=-1"])
def test_a_number_is_required(tmp_path: Path, words: str) -> None:
    drain = Apply(tmp_path)
    status, out, err = drain.apply(words)
    assert (status, out) == (2, "")
    assert "number" in err
    assert drain.changed() == {}


def test_a_drain_is_not_to_be_confirmed(tmp_path: Path) -> None:
    drain = Apply(tmp_path)
    status, out, err = drain.apply("--drain=5 --confirm-within=5")
    assert (status, out) == (2, "")
    assert "--confirm-within does not go with --drain" in err
    assert drain.changed() == {}


@pytest.mark.parametrize(
    ("scheduler", "sysctl", "warning"),
    [
        ("sh", "", f"warning: {WEB} (sh): .* of the hash table is refused, .*; to refuse none, give its -A line -b sh-fallback"),
        ("mh", "", f"warning: {WEB} (mh): .* of the hash table is refused, .*; to refuse none, give its -A line -b mh-fallback"),
        ("dh", "", f"warning: {WEB} (dh): .*"),
        ("rr -p 50", "0", f"warning: {WEB} is persistent: clients that come back within 50 seconds .*"),
        ("rr -p 50", "1", ""),
        ("rr", "", ""),
    ],
)  # fmt: skip
def test_warnings_come_before_anything_is_sent(
    tmp_path: Path, scheduler: str, sysctl: str, warning: str
) -> None:
    # Under dh all clients of the address have the same server: one of the two warns.
    rest = START[1:3] if scheduler == "dh" else START[2:3]
    warnings = set()
    for kept in rest:
        rules = (f"-A {WEB} -s {scheduler}", START[1], START[2])
        drain = Apply(tmp_path, f"{rules[0]}\n{kept}\n")
        drain.table.quiescent = sysctl
        for rule in (f"-D {WEB}", *rules):
            drain.other(rule)()
        drain.table.changes = 0
        assert drain.apply()[0] == 0
        warnings |= drain.telling.warnings
    if not warning:
        assert warnings == set()
        return
    assert len(warnings) == 1
    changes, text = warnings.pop()
    assert changes == 0
    assert re.fullmatch(re.escape(warning).replace(re.escape(".*"), ".*"), text), text


@pytest.mark.parametrize(
    ("end", "status"),
    [(lambda drain: drain.table.count(A), 0), (lambda _: None, 1), (lambda _: 15, 143)],
)
def test_undo_goes_back_behind_the_draining(
    tmp_path: Path, end: Callable[[Apply], object], status: int
) -> None:
    drain = Apply(tmp_path)
    drain.env.environ = {"IPVSADM_HISTORY": str(tmp_path / "history")}
    drain.table.name = "drained"
    drain.table.count(A, 1)
    entries = []

    def look() -> object:
        """Note the entry that a kill at this moment leaves."""
        sent = (tmp_path / "history" / "1.open").read_text().partition("# sent:\n")[2]
        entries.append(sent)
        return end(drain)

    drain.at({3: look})
    assert drain.apply()[0] == status
    added = f"-a {WEB} -r {NEW} -m -w 7\n"
    assert entries == [f"{added}-e {WEB} -r {A} -m -w 0 -x 10 -y 5\n"]
    sent = (tmp_path / "history" / "1.kept").read_text().partition("# sent:\n")[2]
    assert sent == {0: f"{entries[0]}-d {WEB} -r {A}\n", 1: entries[0], 143: added}[status]
    assert drain.run("--undo")[0] == 0
    assert drain.changed() == {}


MIXED = f"-a {WEB} -r [2001:db8::9]:80 -i"
DAEMON = "--start-daemon master --mcast-interface lo"


@pytest.mark.parametrize("connections", [0, 2])
def test_daemons_start_when_servers_of_another_family_are_removed(
    tmp_path: Path, connections: int
) -> None:
    drain = Apply(tmp_path, "".join(f"{line}\n" for line in (*START, DAEMON)))
    drain.other(MIXED)()
    drain.table.changes = 0
    drain.table.counts[80, bytes.fromhex("20010db8000000000000000000000009")] = (connections, 0, 0)
    status, _, err = drain.apply("--drain=5")
    assert status == bool(connections)
    assert len(drain.table.read_daemons()) == (not connections)
    assert ("not done while servers of another address family are in the table" in err) == bool(
        connections
    )


def test_all_servers_are_drained_together_after_an_amendment(tmp_path: Path) -> None:
    """Another program adds the new server first: the service is planned again, and the draining of
    the other service is still in the plan.
    """
    text = FILE.replace(f"{START[4]}\n", "")
    drain = Apply(tmp_path, text)
    drain.env.environ = {"IPVSADM_HISTORY": str(tmp_path / "history")}
    drain.table.name = "drained"
    drain.table.before_change = {1: drain.other(f"-a {WEB} -r {NEW} -m -w 9")}
    drain.table.count(A, 1)
    seen = []

    def look() -> None:
        seen.append(drain.changed())
        sent = (tmp_path / "history" / "1.open").read_text().partition("# sent:\n")[2]
        assert sent.count("-w 0") == 2
        assert "-d " not in sent
        drain.table.count(A)

    drain.at({2: look})
    status, _, err = drain.apply("--drain=5 --force")
    assert status == 0
    assert err.endswith(
        "0 added, 1 changed, 2 removed, 5 unchanged; waited 2 s for connections\n"
    ), err
    assert seen == [{ON_WEB: 0, ON_NEW: 7, ON_DNS: 0}]
    assert drain.changed() == {ON_WEB: None, ON_NEW: 7, ON_DNS: None}


def test_nothing_to_remove_is_no_wait(tmp_path: Path) -> None:
    drain = Apply(tmp_path, "".join(f"{line}\n" for line in START))
    assert drain.apply() == (0, "", "0 added, 0 changed, 0 removed, 7 unchanged\n")
