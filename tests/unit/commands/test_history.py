"""Test --history and --undo, and which commands write an entry, as commands on an embedded
table.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import pyipvsadm
from pyipvsadm import cli
from pyipvsadm.backends.table_file import TableFileBackend
from pyipvsadm.change import recorded
from pyipvsadm.change.journal import Folder
from pyipvsadm.commands import history
from pyipvsadm.environment import Environment
from pyipvsadm.errors import OperationError
from tests.unit.fake_environment import FakeEnvironment, apply_all, lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyipvsadm.model import Change

SCHEMA = json.loads((Path(pyipvsadm.__file__).parent / "schema" / "ipvsadm-1.json").read_text())
RULES = (
    "-A -t 10.0.0.1:80 -s rr",
    "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 1",
    "-a -t 10.0.0.1:80 -r 10.0.1.2:80 -m -w 1",
)
WANTED = lines(
    "-A -t 10.0.0.1:80 -s wrr",
    "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 5",
    "-A -f 7 -s rr",
)
AFTER = (
    "-A -t 10.0.0.1:80 -s wrr",
    "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 5",
    "-A -f 7 -s rr",
)


class RecordingEnvironment(FakeEnvironment):
    """Hold a history, and JOURNAL=all if `all_recorded`."""

    all_recorded = False

    def records_all(self) -> bool:
        return self.all_recorded


class Refusing(TableFileBackend):
    """Refuse the changes of this operation from now on."""

    refused_op = 0

    def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
        refused = []
        for index, change in enumerate(changes):
            if change.op == self.refused_op:
                refused.append((index, 22))
            else:
                refused += [(index, number) for _, number in super().apply([change])]
        return refused


@pytest.fixture
def env(tmp_path: Path) -> RecordingEnvironment:
    table = Refusing(str(tmp_path / "table"))
    made = RecordingEnvironment(WANTED.encode(), table=table)
    apply_all(table, RULES)
    made.environ = {"IPVSADM_HISTORY": str(tmp_path / "h")}
    return made


def run(made: FakeEnvironment, words: str) -> tuple[int, str, str]:
    return (cli.main(words.split(), made), *made.take())


def saved(made: FakeEnvironment) -> tuple[str, ...]:
    return tuple(run(made, "-S -n")[1].splitlines())


def entries(made: FakeEnvironment) -> list[dict[str, Any]]:
    document = json.loads(run(made, "--history --json")[1])
    jsonschema.validate(document, SCHEMA)
    found: list[dict[str, Any]] = document["history"]
    return found


def states(made: FakeEnvironment) -> list[tuple[str, str]]:
    """Return command and state of each entry."""
    return [(" ".join(entry["arguments"]), entry["state"]) for entry in entries(made)]


@pytest.mark.parametrize(
    ("words", "summary"),
    [
        ("--apply", "1 added, 2 changed, 1 removed"),
        ("-C", "3 added, 0 changed, 0 removed"),
        ("-D -t 10.0.0.1:80", "3 added, 0 changed, 0 removed"),
        ("-d -t 10.0.0.1:80 -r 10.0.1.2 --drain", "1 added, 0 changed, 0 removed"),
        ("-e -t 10.0.0.1:80 -r 10.0.1.1 --drain", "0 added, 1 changed, 0 removed"),
        ("-D -t 10.0.0.1:80 --drain", "3 added, 0 changed, 0 removed"),
        ("--drain -r 10.0.1.1", "0 added, 1 changed, 0 removed"),
    ],
)
def test_what_always_has_an_entry_is_undone_and_done_again(
    words: str, summary: str, env: RecordingEnvironment
) -> None:
    assert run(env, words)[0] == 0
    after = saved(env)
    assert after != RULES
    status, out, err = run(env, "--undo")
    assert (status, out) == (0, "")
    if words != "--apply":
        assert err.splitlines()[0] == f"undone 1 (ipvsadm {words}): {summary}"
    assert saved(env) == RULES
    assert states(env) == [(words, "undone"), ("--undo", "kept")]
    # Undoing the undo does it again.
    assert run(env, "--undo 2")[0] == 0
    assert saved(env) == after
    assert states(env) == [(words, "kept"), ("--undo", "undone"), ("--undo 2", "kept")]
    assert run(env, "--undo")[0] == 0
    assert saved(env) == RULES


ONE = (
    "-A -f 9",
    "-E -t 10.0.0.1:80 -s wlc",
    "-a -t 10.0.0.1:80 -r 10.0.1.9 -m",
    "-e -t 10.0.0.1:80 -r 10.0.1.1 -m -w 7",
    "-e -t 10.0.0.1:80 -r 10.0.1.1 -w 7 --keep",
    "-d -t 10.0.0.1:80 -r 10.0.1.2",
)


@pytest.mark.parametrize("words", ONE)
def test_simple_commands_have_an_entry_only_if_that_is_asked(
    words: str, env: RecordingEnvironment
) -> None:
    assert run(env, words) == (0, "", "")
    assert states(env) == []
    run(env, "-C")
    apply_all(env.table, RULES)
    env.all_recorded = True
    assert run(env, words) == (0, "", "")
    assert saved(env) != RULES
    assert run(env, "--undo")[0] == 0
    assert saved(env) == RULES


def test_a_refused_command_says_what_1_31_says(env: RecordingEnvironment) -> None:
    env.all_recorded = True
    for words, message in (
        ("-D -f 9", "No such service"),
        ("-A -t 10.0.0.1:80", "Service already exists"),
        ("-d -t 10.0.0.1:80 -r 10.0.1.9", "No such destination"),
        ("-e -f 9 -r 10.0.1.9", "Service not defined"),
    ):
        assert run(env, words) == (255, "", f"{message}\n")
    assert states(env) == []


@pytest.mark.parametrize(
    "words", ["--set 1 2 3", "-Z", "-L", "-R", "-C --dry-run", "--apply --dry-run", "-D -f 99"]
)
def test_other_commands_have_none(words: str, env: RecordingEnvironment) -> None:
    env.all_recorded = True
    run(env, words)
    assert states(env) == []


def test_a_table_that_ends_with_the_run_has_no_history(tmp_path: Path) -> None:
    made = RecordingEnvironment(environ={"IPVSADM_HISTORY": str(tmp_path / "h")})
    assert run(made, "-C") == (0, "", "")
    assert not (tmp_path / "h").exists()
    for words in ("--history", "--undo"):
        assert run(made, words) == (
            2, "", "this table has no history: IPVSADM_HISTORY=FOLDER gives it one\n",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("table", "environ", "folder"),
    [
        ("kernel", {}, "/var/lib/ipvsadm/history"),
        ("kernel", {"IPVSADM_HISTORY": "h"}, "h"),
        ("memory:/t", {}, ""),
        ("memory:/t", {"IPVSADM_HISTORY": "h"}, "h"),
        ("memory:/t", {"IPVSADM_HISTORY": ""}, ""),
        ("", {"IPVSADM_HISTORY": "h"}, ""),
    ],
)
def test_where_the_history_is(table: str, environ: dict[str, str], folder: str) -> None:
    made = Environment()
    made.environ = environ
    assert made.find_history_folder(table) == folder


def restore(made: FakeEnvironment, words: str = "") -> tuple[int, str, str]:
    return (cli.run_restore(words.split(), made), *made.take())


def test_a_restore_is_undone(env: RecordingEnvironment) -> None:
    assert restore(env, "--dry-run")[0] == 0
    assert states(env) == []
    env.stdin = (WANTED + "-A -f 8 -s nonesuch\n").encode()
    assert restore(env)[0] == 255
    assert saved(env) == AFTER
    assert run(env, "--undo") == (
        0,
        "",
        lines(
            "undone 1 (ipvsadm-restore): 1 added, 2 changed, 1 removed",
            "servers that came back are the newest now: -t 10.0.0.1:80",
        ),
    )
    assert saved(env) == RULES
    env.stdin = b"-A -t 10.0.0.300:80\n"
    assert restore(env)[0] == 2
    assert len(entries(env)) == 2  # that of the bad file was removed
    env.environ = {}
    env.stdin = WANTED.encode()
    assert restore(env)[0] == 0


def test_twice_goes_two_back(env: RecordingEnvironment) -> None:
    run(env, "--apply")
    run(env, "-D -t 10.0.0.1:80")
    assert run(env, "--undo")[0] == 0
    assert saved(env) == AFTER
    assert run(env, "--undo")[0] == 0
    assert saved(env) == RULES
    assert run(env, "--undo") == (
        2, "", "the history has no change of this table that is not undone\n",
    )  # fmt: skip
    assert run(env, "--undo 9") == (
        2, "", "the history has no change 9: `ipvsadm --history' lists them\n",
    )  # fmt: skip
    assert run(env, "--undo 1") == (
        0, "", "nothing to undo: the table has nothing of change 1\n",
    )  # fmt: skip


def test_what_another_program_changed_is_left_and_listed(env: RecordingEnvironment) -> None:
    run(env, "--apply")
    apply_all(env.table, ["-e -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 0", "-a -f 7 -r 10.0.1.9 -w 1"])
    left = [
        "-e -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 5: another program set its weight to 0 meanwhile",
        "-A -f 7 -s rr: another program added servers to it meanwhile",
    ]
    status, out, err = run(env, "--undo --dry-run")
    assert (status, err) == (1, "")
    assert out == lines(
        "dry run: would undo 1: ipvsadm --apply",
        "dry run: -t 10.0.0.1:80: scheduler wrr -> rr",
        "dry run: would add -a -t 10.0.0.1:80 -r 10.0.1.2:80 -m -w 1",
        *(f"dry run: would leave {line}" for line in left),
    )
    assert len(entries(env)) == 1
    status, out, err = run(env, "--undo")
    assert (status, out) == (1, "")
    assert err == lines(
        *(f"left as it is: {line}" for line in left),
        "undone 1 (ipvsadm --apply): 1 added, 1 changed, 0 removed",
        "servers that came back are the newest now: -t 10.0.0.1:80",
    )
    assert saved(env) == (
        "-A -t 10.0.0.1:80 -s rr",
        "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 0",
        "-a -t 10.0.0.1:80 -r 10.0.1.2:80 -m -w 1",
        "-A -f 7 -s rr",
        "-a -f 7 -r 10.0.1.9:0 -g -w 1",
    )


def test_another_user_s_change_wants_its_number(
    env: RecordingEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "read_login_uid", lambda: 4242)
    run(env, "-C")
    monkeypatch.setattr(history, "read_login_uid", lambda: 0)
    assert run(env, "--undo") == (
        2, "", "the newest change is not yours but 4242's (ipvsadm -C): `ipvsadm --undo 1' undoes it all the same\n",
    )  # fmt: skip
    assert run(env, "--undo=1")[0] == 0
    assert saved(env) == RULES
    assert entries(env)[0]["uid"] == 4242


def test_a_change_before_the_machine_was_booted_wants_its_number(
    env: RecordingEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    netns, boot = "net:[1]", "first"

    def identify(_: str) -> dict[str, object]:
        return {"table": "kernel", "netns": netns, "boot": boot}

    for module in (history, recorded):
        monkeypatch.setattr(module, "identify_table", identify)
    run(env, "-C")
    boot = "second"
    assert run(env, "--undo")[0] == 2
    assert run(env, "--undo 1")[0] == 0
    netns = "net:[2]"
    assert entries(env) == []


def test_a_refused_undo_leaves_the_table(env: RecordingEnvironment) -> None:
    assert isinstance(env.table, Refusing)
    run(env, "--apply")
    env.table.refused_op = 2  # SET_SERVICE
    status, out, err = run(env, "--undo")
    assert (status, out) == (255, "")
    assert err == lines(
        "-E -t 10.0.0.1:80 -s rr: Invalid operation.  Possibly wrong module version, address not unicast, ...",
        "refused: change 1 is not undone; the table is as before",
    )
    assert saved(env) == AFTER
    assert states(env) == [("--apply", "kept"), ("--undo", "undone")]


def test_a_signal_stops_an_undo(env: RecordingEnvironment) -> None:
    run(env, "--apply")
    env.meanwhile = lambda _: 15
    status, _, err = run(env, "--undo")
    assert (status, saved(env)) == (143, AFTER)
    assert err == "TERM: change 1 is not undone; the table is as before\n"


def test_a_state_that_cannot_be_written_is_reported(
    env: RecordingEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(env, "-C")

    def rename(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Folder, "rename_file", rename)
    status, _, err = run(env, "--undo")
    assert (status, saved(env)) == (0, RULES)
    assert re.fullmatch(
        r"this change is not in the history \(.*/h\): Read-only file system\n"
        r"the history still has 1 as kept: cannot write .*/h: Read-only file system\n"
        r"undone 1 \(ipvsadm -C\): 3 added, 0 changed, 0 removed\n",
        err,
    )


def test_the_history_as_text(env: RecordingEnvironment, tmp_path: Path) -> None:
    assert run(env, "--history") == (0, "ID  TIME  USER  TERMINAL  STATE  COMMAND\n", "")
    run(env, "-D -t 10.0.0.1:80")
    (tmp_path / "h" / "1.kept").rename(tmp_path / "h" / "1.open")
    head, row = run(env, "--history")[1].splitlines()
    assert head.split() == ["ID", "TIME", "USER", "TERMINAL", "STATE", "COMMAND"]
    assert re.fullmatch(
        r"1   \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \S+ +\S+ +open   ipvsadm -D -t 10.0.0.1:80", row
    )
    text = (tmp_path / "h" / "1.open").read_text()
    text = re.sub(r'"time": "[^"]*"', '"time": "then"', text)
    (tmp_path / "h" / "1.open").write_text(re.sub(r'"uid": \d+', '"uid": "x"', text))
    assert run(env, "--history")[1].splitlines()[1].split()[:3] == ["1", "-", "-"]


def test_a_change_that_cannot_be_read_before_is_sent_all_the_same(
    env: RecordingEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationError("the table kept changing")

    monkeypatch.setattr("pyipvsadm.change.plan.make_change_plan", fail)
    assert run(env, "-C") == (
        0, "", "this change is not in the history: the table kept changing\n",
    )  # fmt: skip
    assert saved(env) == ()


def test_only_one_number_is_taken(env: RecordingEnvironment) -> None:
    assert run(env, "--undo 1 2") == (2, "", "--undo takes one ID: is it 1 or 2?\n")


def test_without_proc_the_user_is_the_process_s(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OperationError("no /proc")

    monkeypatch.setattr(history, "read_file", fail)
    monkeypatch.setattr("os.getuid", lambda: 4242)
    assert history.read_login_uid() == 4242
