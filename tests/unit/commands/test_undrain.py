"""Test --undrain, on an embedded table with a history: what it brings back, and what it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyipvsadm import cli
from pyipvsadm.change import recorded
from pyipvsadm.errors import RefusedError
from pyipvsadm.model import SET_DEST
from tests.unit.commands.test_history import Refusing
from tests.unit.fake_environment import FakeEnvironment, apply_all, lines

if TYPE_CHECKING:
    from pathlib import Path

WEB, DNS = "-t 10.0.0.1:80", "-u 10.0.0.1:53"
RULES = (
    f"-A {WEB} -s sh", f"-a {WEB} -r 10.0.1.1:80 -m -w 3 -x 9", f"-a {WEB} -r 10.0.1.2:80 -m -w 3",
    f"-A {DNS} -s rr", f"-a {DNS} -r 10.0.1.1:53 -m -w 2", f"-a {DNS} -r 10.0.1.2:53 -m -w 2",
)  # fmt: skip
ON_WEB, ON_DNS = f"10.0.1.1:80 of {WEB}", f"10.0.1.1:53 of {DNS}"
WEB_AGAIN, DNS_AGAIN = f"{ON_WEB} has weight 3 again", f"{ON_DNS} has weight 2 again"


class Undrain:
    """Hold a table with a history, and run commands on it."""

    def __init__(self, folder: Path) -> None:
        self.table = Refusing(str(folder / "table"))
        self.env = FakeEnvironment(table=self.table)
        self.env.environ = {"IPVSADM_HISTORY": str(folder / "h")}
        apply_all(self.table, RULES)
        self.before = self.save()

    def run(self, words: str) -> tuple[int, str, str]:
        self.env.argv = words.split()
        return (cli.main(words.split(), self.env), *self.env.take())

    def save(self) -> list[str]:
        return sorted(self.run("-S -n")[1].splitlines())

    def states(self) -> list[str]:
        entries = recorded.read_entries(self.env.environ["IPVSADM_HISTORY"], self.table.name)
        return [entry.state for entry in entries]


@pytest.fixture
def case(tmp_path: Path) -> Undrain:
    return Undrain(tmp_path)


@pytest.mark.parametrize(
    ("drains", "undrain", "messages"),
    [
        (["--drain -r 10.0.1.1"], "10.0.1.1", [WEB_AGAIN, DNS_AGAIN]),
        ([f"-e {WEB} -r 10.0.1.1 --drain"], "10.0.1.1", [WEB_AGAIN]),
        ([f"-d {WEB} -r 10.0.1.1 --drain=5"], "10.0.1.1:80", [f"{ON_WEB} has weight 3 and was added again"]),
        ([f"-e {WEB} -r 10.0.1.1 --drain", f"-e {DNS} -r 10.0.1.1 --drain"], "10.0.1.1", [WEB_AGAIN, DNS_AGAIN]),
        # The second draining finds weight 0 and only deletes.
        ([f"-e {DNS} -r 10.0.1.1 --drain", f"-e {WEB} -r 10.0.1.1 --drain"], f"10.0.1.1 {WEB} {DNS}",
         [DNS_AGAIN, WEB_AGAIN]),
        (["--drain -r 10.0.1.1 --fallback"], "10.0.1.1", [WEB_AGAIN, DNS_AGAIN, f"sh-fallback of {WEB} cleared"]),
    ],
)  # fmt: skip
def test_what_was_drained_is_brought_back(
    case: Undrain, drains: list[str], undrain: str, messages: list[str]
) -> None:
    for words in drains:
        assert case.run(words)[0] == 0
    assert case.save() != case.before
    status, output, errors = case.run(f"--undrain -r {undrain}")
    assert (status, output, sorted(errors.splitlines())) == (0, "", sorted(messages))
    assert case.save() == case.before
    assert case.states()[-1] == "kept"
    assert set(case.states()[:-1]) == {"undone"}
    assert case.run(f"--undrain -r {undrain}")[0] == 2


def test_only_the_services_and_the_port_that_are_named(case: Undrain) -> None:
    assert case.run("--drain -r 10.0.1.1")[0] == 0
    assert case.run(f"--undrain -r 10.0.1.1 {DNS}") == (0, "", lines(DNS_AGAIN))
    assert case.states() == ["kept", "kept"]  # the other service's is to be undone still
    assert case.run("--undrain -r 10.0.1.1:80") == (0, "", lines(WEB_AGAIN))
    assert case.save() == case.before


def test_the_end_of_a_draining_of_many_services_names_it(case: Undrain) -> None:
    end = "servers drained in 0 s, weight 0; to bring them back: ipvsadm --undrain -r 10.0.1.1"
    apply_all(case.table, [f"-a {WEB} -r 10.0.1.1:53 -m"])
    assert case.run("--drain -r 10.0.1.1:53")[2].splitlines()[-1] == f"2 {end}:53"
    assert case.run("--undrain -r 10.0.1.1:53")[0] == 0
    assert case.run("--drain -r 10.0.1.1")[2].splitlines()[-1] == f"3 {end}"


def test_a_flag_that_was_cleared_by_hand(case: Undrain) -> None:
    assert case.run(f"-e {WEB} -r 10.0.1.1 --drain --fallback")[0] == 0
    assert case.run(f"-E {WEB} --keep -b -sh-fallback")[0] == 0
    assert case.run("--undrain -r 10.0.1.1") == (0, "", lines(WEB_AGAIN))


def test_flags_of_other_services_stay(case: Undrain) -> None:
    apply_all(case.table, ["-A -f 8 -s mh", "-a -f 8 -r 10.0.1.1:0 -m", "-a -f 8 -r 10.0.1.2:0 -m"])
    assert case.run("--drain -r 10.0.1.1 --fallback")[0] == 0
    assert case.run(f"--undrain -r 10.0.1.1 {WEB}") == (
        0, "", lines(WEB_AGAIN, f"sh-fallback of {WEB} cleared"),
    )  # fmt: skip
    assert "-A -f 8 -s mh -b mh-fallback" in case.save()


def test_a_draining_under_way_sees_it_and_stops(case: Undrain) -> None:
    """The entry of the draining stays open; the draining itself will close it."""
    assert case.run(f"-e {WEB} -r 10.0.1.1 --drain")[0] == 0
    folder = case.env.environ["IPVSADM_HISTORY"]
    (entry,) = recorded.read_entries(folder, case.table.name)
    recorded.set_state(folder, entry, "open")
    assert case.run("--undrain -r 10.0.1.1") == (0, "", lines(WEB_AGAIN))
    assert (case.save(), case.states()) == (case.before, ["open", "kept"])


def test_a_server_that_another_program_changed_is_left(case: Undrain) -> None:
    assert case.run("--drain -r 10.0.1.1")[0] == 0
    apply_all(case.table, [f"-e {WEB} -r 10.0.1.1 -m -w 7 -x 9"])
    reason = f"{ON_WEB}: another program set its weight to 7 meanwhile"
    assert case.run("--undrain -r 10.0.1.1 --dry-run") == (
        1,
        lines(
            f"dry run: {DNS} -r 10.0.1.1:53: weight 0 -> 2",
            "dry run: would raise 1 quiesced server",
            f"dry run: would leave {reason}",
        ),
        "",
    )
    assert case.run("--undrain -r 10.0.1.1") == (
        1, "", lines(f"left as it is: {reason}", DNS_AGAIN),
    )  # fmt: skip
    assert case.states()[0] == "kept"


def test_weights_that_were_given_back_by_hand(case: Undrain) -> None:
    undo = case.run("--drain -r 10.0.1.1")[1]
    for line in undo.splitlines():
        assert case.run(line.removeprefix("ipvsadm "))[0] == 0
    assert case.run("--undrain -r 10.0.1.1 --dry-run") == (
        0, "dry run: would change nothing\n", "",
    )  # fmt: skip
    assert case.run("--undrain -r 10.0.1.1") == (
        0, "", lines("nothing to do: the weights are as before the draining"),
    )  # fmt: skip


def test_a_variable_that_leaked_is_named(case: Undrain) -> None:
    assert case.run("--drain -r 10.0.1.1")[0] == 0
    case.env.is_root = True
    case.env.environ = {**case.env.environ, "IPVSADM_BACKEND": "memory"}
    errors = case.run("--undrain -r 10.0.1.1")[2]
    assert "this changes the embedded table, not the kernel" in errors


@pytest.mark.parametrize("history", [True, False])
def test_what_the_history_does_not_have(case: Undrain, history: bool) -> None:
    assert case.run("--drain -r 10.0.1.1")[0] == 0
    assert case.run("--drain -r 10.0.1.1")[0] == 0  # from weight 0: nothing to undo
    if not history:
        del case.env.environ["IPVSADM_HISTORY"]  # type: ignore[attr-defined]
    message = (
        "the history has no draining of {} that is not undone: `ipvsadm --history' lists changes"
        if history
        else "this table has no history: IPVSADM_HISTORY=FOLDER gives it one"
    )
    for name in ("10.0.1.2", "10.0.1.1:81"):
        assert case.run(f"--undrain -r {name}") == (2, "", lines(message.format(name)))
    assert case.run("--undrain")[0] == 2


def test_other_changes_are_no_drainings(case: Undrain) -> None:
    case.env.stdin = lines(*(rule.replace("-w 3", "-w 0") for rule in RULES)).encode()
    assert case.run("--apply")[0] == 0
    assert case.run("--undrain -r 10.0.1.1")[0] == 2


def test_a_refusal_changes_nothing(case: Undrain) -> None:
    assert case.run("--drain -r 10.0.1.1")[0] == 0
    drained = case.save()
    case.table.refused_op = SET_DEST
    status, _, errors = case.run("--undrain -r 10.0.1.1")
    assert (status, case.save(), case.states()[0]) == (255, drained, "kept")
    assert errors.splitlines()[-1] == "refused: the table is as before"


def test_a_signal_stops_it(case: Undrain) -> None:
    assert case.run("--drain -r 10.0.1.1")[0] == 0
    drained = case.save()
    case.env.meanwhile = lambda _: 15
    assert case.run("--undrain -r 10.0.1.1") == (143, "", lines("TERM: the table is as before"))
    assert case.save() == drained


def test_a_table_that_cannot_be_read(case: Undrain, monkeypatch: pytest.MonkeyPatch) -> None:
    assert case.run("--drain -r 10.0.1.1")[0] == 0

    def refuse(_: object) -> None:
        raise RefusedError(SET_DEST, 1)

    monkeypatch.setattr(case.table, "find_service", refuse)
    assert case.run("--undrain -r 10.0.1.1")[0] == 255
