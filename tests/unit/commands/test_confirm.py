"""Test --confirm-within and --confirm: how a change ends, as processes on an embedded table, some
of them at a terminal; and the process that waits, with a clock that the test controls.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyipvsadm import cli
from pyipvsadm.backends.table_file import TableFileBackend
from pyipvsadm.change.journal import Folder
from pyipvsadm.commands import confirm
from tests.unit.fake_environment import FakeEnvironment, apply_all, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyipvsadm.model import Change

PATIENCE = 60.0
RULES = (
    "-A -t 10.0.0.1:80 -s rr",
    "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 1",
    "-a -t 10.0.0.1:80 -r 10.0.1.2:80 -m -w 1",
)
NEW = (
    "-A -t 10.0.0.1:80 -s wrr",
    "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 5",
    "-a -t 10.0.0.1:80 -r 10.0.1.2:80 -m -w 1",
)
LONG = "--confirm-within=600"
QUESTION = "keep the change? [y/n] "
PLAY = "import sys; from pyipvsadm import cli; cli.run_program(getattr(cli, sys.argv.pop(1)))"


class Machine:
    """Hold a table, its history and the rules that are applied to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rules = folder / "rules"
        self.rules.write_text(lines(*NEW))
        self.table = TableFileBackend(str(folder / "table"))
        apply_all(self.table, RULES)
        self.environ = os.environ | {
            "PYTHONPATH": os.getcwd(),
            "IPVSADM_HISTORY": str(folder / "h"),
            "IPVSADM_BACKEND": f"memory:{folder / 'table'}",
        }

    def command(self, words: str, program: str = "main") -> list[str]:
        return [sys.executable, "-c", PLAY, program, *words.split()]

    def run(self, words: str) -> tuple[int, str, str]:
        """Run a command as from another session."""
        done = subprocess.run(
            self.command(words), env=self.environ, capture_output=True, text=True, timeout=PATIENCE,
            start_new_session=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, without_notice(done.stderr)

    def saved(self) -> tuple[str, ...]:
        return tuple(self.run("-S -n")[1].splitlines())

    def states(self) -> list[str]:
        """Return the state of each change."""
        return [entry["state"] for entry in json.loads(self.run("--history --json")[1])["history"]]

    def wait_for_state(self, state: str) -> None:
        """Wait until the first change has a state."""
        end = time.monotonic() + PATIENCE
        while not (self.folder / "h" / f"1.{state}").exists():
            assert time.monotonic() < end, os.listdir(self.folder / "h")
            time.sleep(0.05)

    def find_waiter_of(self, pid: int) -> int:
        """Return the child of a process that waits for the deadline."""
        end = time.monotonic() + PATIENCE
        while True:
            (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if os.getsid(int(child)) == int(child):
                return int(child)
            assert time.monotonic() < end


class Session:
    """Run a command on a terminal of its own. The command or a shell leads the session."""

    def __init__(
        self, machine: Machine, words: str, program: str = "main", shell: str = ""
    ) -> None:
        command = machine.command(words, program)
        if shell:
            command = ["/bin/sh", "-c", shell, "sh", *command]
        self.text = ""
        self.pid, self.terminal = pty.fork()
        if not self.pid:
            try:
                os.execve(command[0], command, machine.environ)
            finally:
                os._exit(127)

    def read_until(self, text: str) -> str:
        """Read what is shown until a text comes."""
        end = time.monotonic() + PATIENCE
        while text not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self.terminal], [], [], 0.1)[0]:
                try:
                    block = os.read(self.terminal, 4096)
                except OSError:  # EIO: all have closed it
                    block = b""
                assert block, self.text
                self.text += block.decode().replace("\r\n", "\n")
        return self.text

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def wait(self) -> int:
        """Return the status of the command, 128 + n for a signal."""
        status = os.waitpid(self.pid, 0)[1]
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def without_notice(text: str) -> str:
    return re.sub(r"^ipvsadm: IPVSADM_BACKEND=.*\n", "", text, flags=re.MULTILINE)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def start(machine: Machine, words: str, program: str = "main") -> subprocess.Popen[str]:
    """Start a command without a terminal, and wait until its change is open."""
    child = subprocess.Popen(
        machine.command(words, program),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=machine.environ, text=True, start_new_session=True,
    )  # fmt: skip
    machine.wait_for_state("open")
    return child


def end(child: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Return the status of a command and what it wrote to standard error."""
    err = child.communicate(timeout=PATIENCE)[1]
    return child.returncode, without_notice(err).splitlines()


CHANGES = (
    ("main", "--apply {rules}", NEW),
    ("main", "-C", ()),
    ("run_restore", "-f {rules}", NEW),
)


@pytest.mark.parametrize(("program", "words", "after"), CHANGES)
def test_a_confirmed_change_stands(
    program: str, words: str, after: tuple[str, ...], machine: Machine
) -> None:
    child = start(machine, f"{words.format(rules=machine.rules)} {LONG}", program)
    assert machine.saved() == after
    assert machine.states() == ["open"]
    name = "ipvsadm" if program == "main" else "ipvsadm-restore"
    command = f"{name} {words.format(rules=machine.rules)} {LONG}"
    assert machine.run("--confirm --dry-run") == (0, f"dry run: would keep 1: {command}\n", "")
    assert machine.run("--confirm") == (0, "", f"kept 1 ({command})\n")
    status, err = end(child)
    assert (status, err[-1]) == (0, "change 1 is kept")
    assert (machine.saved(), machine.states()) == (after, ["kept"])
    assert machine.run("--confirm") == (
        2, "", "no change of this table waits to be confirmed: 1 is kept\n",
    )  # fmt: skip
    # It is a change like any other now.
    assert machine.run("--undo")[0] == 0
    assert machine.saved() == RULES


@pytest.mark.parametrize(("program", "words", "after"), CHANGES)
def test_a_change_that_is_not_confirmed_is_taken_back(
    program: str, words: str, after: tuple[str, ...], machine: Machine
) -> None:
    child = start(machine, f"{words.format(rules=machine.rules)} --confirm-within 2", program)
    if after:
        assert machine.saved() == after
        # A health checker is at work meanwhile.
        apply_all(machine.table, ["-e -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 0"])
    status, err = end(child)
    assert status == 1
    deadline = next(line for line in err if "is taken back at" in line)
    assert re.fullmatch(
        r"change 1 is taken back at \d\d:\d\d:\d\d, unless it is confirmed", deadline
    )
    assert "open a new session and test: established connections prove nothing" in err
    assert err[-1] == "rules come back, connections do not"
    kept = [line for line in err if line.startswith("left as it is: ")]
    if after:
        assert kept == [
            (
                "left as it is: -e -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 5:"
                " another program set its weight to 0 meanwhile"
            )
        ]
        assert machine.saved() == (RULES[0], RULES[1].replace("-w 1", "-w 0"), RULES[2])
    else:
        assert kept == []
        assert machine.saved() == RULES
    assert machine.states() == ["undone", "kept"]
    assert machine.run("--history")[1].splitlines()[2].endswith("kept    ipvsadm --undo 1")


def test_undo_in_another_session_takes_it_back(machine: Machine) -> None:
    child = start(machine, f"-C {LONG}")
    status, out, err = machine.run("--undo")
    assert (status, out) == (0, "")
    assert err.splitlines()[-1] == "rules come back, connections do not"
    status, lines_of_child = end(child)
    assert (status, lines_of_child[-1]) == (1, "change 1 is undone")
    assert machine.saved() == RULES


def test_a_second_one_is_refused_and_plain_changes_go_on(machine: Machine) -> None:
    child = start(machine, f"-C {LONG}")
    for words in (f"-C {LONG}", f"--apply {machine.rules} {LONG}"):
        assert machine.run(words) == (
            2,
            "",
            (
                f"change 1 (ipvsadm -C {LONG}) waits to be confirmed: `ipvsadm --confirm' keeps it,"
                " `ipvsadm --undo 1' takes it back; nothing was changed\n"
            ),
        )
    assert machine.saved() == ()
    assert machine.run(f"--apply {machine.rules}")[0] == 0
    assert machine.run("--confirm")[0] == 0
    assert end(child)[0] == 0
    assert machine.saved() == NEW


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (f"--apply {{rules}} {LONG}", 0, "nothing to confirm: the table was like this before"),
        (f"-C --dry-run {LONG}", 0, None),
        (f"--apply {{folder}}/none {LONG}", 2, None),
        (
            "-C --confirm-within=0",
            2,
            "illegal confirm-within specified: `0' is no number from 1 to 86400",
        ),
        ("-C --confirm-within", 255, "--confirm-within: missing argument"),
        (f"-D -f 1 {LONG}", 2, "Illegal 'confirm-within' option with the 'delete-service' command"),
        ("--confirm", 2, "no change of this table waits to be confirmed"),
    ],
)
def test_nothing_waits_where_nothing_was_changed(
    words: str, status: int, message: str | None, machine: Machine
) -> None:
    machine.rules.write_text(lines(*RULES))
    found, _, err = machine.run(words.format(rules=machine.rules, folder=machine.folder))
    assert found == status
    assert message is None or err.splitlines()[-1] == message
    assert (machine.saved(), machine.states()) == (RULES, [])


@pytest.mark.parametrize("words", ["--confirm-within=x", "--confirm-within=86401"])
def test_a_restore_wants_a_number_of_seconds(words: str, machine: Machine) -> None:
    done = subprocess.run(
        machine.command(words, "run_restore"), env=machine.environ, capture_output=True, check=False
    )
    value = words.partition("=")[2]
    assert (done.returncode, done.stderr.decode()) == (
        2,
        (
            f"ipvsadm-restore: --confirm-within: `{value}' is no number from 1 to 86400;"
            " see ipvsadm-restore --help; nothing was changed\n"
        ),
    )


@pytest.mark.parametrize("broken", ["h/x", "h"])
def test_without_a_history_nothing_is_begun(broken: str, machine: Machine) -> None:
    """A change that could not be taken back is not made."""
    (machine.folder / "h").write_text("no folder")
    machine.environ["IPVSADM_HISTORY"] = str(machine.folder / broken)
    reason = "Not a directory"
    for words in (f"-C {LONG}", f"--apply {machine.rules} {LONG}"):
        status, _, err = machine.run(words)
        assert status != 0
        assert reason in err
        assert "what was sent" not in err
    machine.environ["IPVSADM_HISTORY"] = ""
    assert machine.run(f"-C {LONG}") == (
        2, "", "this table has no history: IPVSADM_HISTORY=FOLDER gives it one\n",
    )  # fmt: skip
    assert machine.saved() == RULES


@pytest.mark.parametrize(
    ("typed", "status", "after"), [("y\n", 0, NEW), ("YES\n", 0, NEW), ("n\n", 1, RULES)]
)
def test_an_answer_at_the_terminal(
    typed: str, status: int, after: tuple[str, ...], machine: Machine
) -> None:
    session = Session(machine, f"--apply {machine.rules} {LONG}")
    session.read_until(QUESTION)
    session.type("maybe\n")
    session.read_until(f"maybe\n{QUESTION}")
    assert machine.states() == ["open"]
    session.type(typed)
    session.read_until("change 1 is kept" if after is NEW else "rules come back")
    assert session.wait() == status
    assert machine.saved() == after


def end_by_hangup(session: Session) -> None:
    os.close(session.terminal)


def end_by_kill_of_shell(session: Session) -> None:
    os.kill(session.pid, signal.SIGKILL)


def end_by_ctrl_c(session: Session) -> None:
    session.type("\x03")
    session.read_until("INT: change 1 still waits to be confirmed")


def end_by_ctrl_d(session: Session) -> None:
    session.type("\x04")


@pytest.mark.parametrize("act", [end_by_hangup, end_by_kill_of_shell, end_by_ctrl_c, end_by_ctrl_d])
@pytest.mark.parametrize("confirmed", [True, False])
def test_the_end_of_the_session_changes_nothing(
    act: Callable[[Session], None], machine: Machine, *, confirmed: bool
) -> None:
    seconds = 600 if confirmed else 3
    shell = '"$@"; :' if act is end_by_kill_of_shell else ""
    session = Session(machine, f"--apply {machine.rules} --confirm-within={seconds}", shell=shell)
    session.read_until(QUESTION)
    act(session)
    assert machine.states() == ["open"]
    assert machine.saved() == NEW
    if confirmed:
        assert machine.run("--confirm")[0] == 0
    else:
        machine.wait_for_state("undone")
    assert machine.saved() == (NEW if confirmed else RULES)
    session.wait()


def test_in_the_background_it_does_not_ask(machine: Machine) -> None:
    """A job that read the terminal would be stopped."""
    session = Session(
        machine, f"--apply {machine.rules} {LONG}", shell='set -m; "$@" & wait $!; echo status $?'
    )
    session.read_until("--undo 1")
    assert machine.run("--confirm")[0] == 0
    assert QUESTION not in session.read_until("status 0")
    session.wait()


def test_what_was_typed_before_the_question_is_no_answer(machine: Machine) -> None:
    session = Session(machine, f"--apply - {LONG}")
    session.read_until("end them with Ctrl-D")
    session.type(f"{lines(*NEW)}\x04y\n")
    session.read_until(QUESTION)
    time.sleep(0.5)
    assert machine.states() == ["open"]
    session.type("n\n")
    assert session.read_until("rules come back")
    assert session.wait() == 1


def test_a_killed_process_that_waits_leaves_the_change_open(machine: Machine) -> None:
    child = start(machine, f"-C {LONG}")
    os.kill(machine.find_waiter_of(child.pid), signal.SIGKILL)
    status, err = end(child)
    assert (status, err[-1]) == (
        1,
        (
            "change 1 stays, and is not taken back at the deadline any more:"
            " `ipvsadm --confirm' keeps it, `ipvsadm --undo 1' takes it back"
        ),
    )
    assert re.search(r"  open until \d\d:\d\d:\d\d  ", machine.run("--history")[1])
    assert machine.run(f"-C {LONG}")[0] == 2
    assert machine.run("--undo")[0] == 0
    assert (machine.saved(), machine.states()) == (RULES, ["undone", "kept"])


def test_term_takes_the_change_back_at_once(machine: Machine) -> None:
    child = start(machine, f"-C {LONG}")
    waiter = machine.find_waiter_of(child.pid)
    for ignored in (signal.SIGHUP, signal.SIGINT):
        os.kill(waiter, ignored)
    time.sleep(1)
    assert machine.states() == ["open"]
    os.kill(waiter, signal.SIGTERM)
    status, err = end(child)
    assert status == 1
    assert (
        f"change 1 (ipvsadm -C {LONG}) was not confirmed before TERM ended the process that waits"
        in err
    )
    assert machine.saved() == RULES


def test_the_process_that_waits_holds_nothing_of_its_caller(machine: Machine) -> None:
    reading, writing = os.pipe()
    child = subprocess.Popen(
        machine.command(f"-C {LONG}"),
        env=machine.environ, stderr=subprocess.DEVNULL, pass_fds=[writing], start_new_session=True,
    )  # fmt: skip
    os.close(writing)
    machine.wait_for_state("open")
    waiter = machine.find_waiter_of(child.pid)
    child.kill()
    child.wait()
    assert os.read(reading, 1) == b""
    assert sorted(os.listdir(f"/proc/{waiter}/fd"))[:3] == ["0", "1", "2"]
    assert machine.run("--confirm")[0] == 0


@pytest.mark.parametrize(("words", "status"), [("--confirm", 0), ("--undo", 1)])
def test_another_session_may_be_faster_than_the_message(
    words: str, status: int, machine: Machine
) -> None:
    """A command that is stopped before it has printed anything finds the change decided."""
    play = PLAY.replace(
        "cli.run_program",
        "from pyipvsadm.commands import modify; send = modify.apply_change;"
        " modify.apply_change = lambda *words: (send(*words), sys.stdin.read(1))[0];"
        " cli.run_program",
    )
    child = subprocess.Popen(
        [sys.executable, "-c", play, "main", "-C", LONG],
        env=machine.environ, start_new_session=True, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    machine.wait_for_state("open")
    assert machine.run(words)[0] == 0
    found, err = end(child)
    state = "undone" if status else "kept"
    assert (found, err) == (status, [f"change 1 is {state}"])


@pytest.mark.parametrize("rules", ["-A -f 9 -s rr\n-a -f 9 -r 10.0.1.1 -w 1 -x 1 -y 2\n"])
def test_a_refused_change_is_not_asked_about(rules: str, machine: Machine) -> None:
    machine.rules.write_text(rules)
    status, _, err = machine.run(f"--apply {machine.rules} {LONG}")
    assert status == 255
    assert "confirm" not in err
    assert machine.states() == []


class Waiting(FakeEnvironment):
    """Hold a history, a clock that the test controls, and a system log."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(
            table=machine.table, environ={"IPVSADM_HISTORY": str(machine.folder / "h")}
        )
        self.logged: list[str] = []

    def open_syslog(self) -> None:
        self.log = self.logged.append


@pytest.fixture
def waiting(machine: Machine) -> Waiting:
    """Return the environment of the process that waits, for a change that is open."""
    env = Waiting(machine)
    env.argv = ["-C"]
    assert cli.main(["-C"], env) == 0
    path = machine.folder / "h" / "1.kept"
    path.write_text(path.read_text().replace('"deadline": null', '"deadline": 1'))
    path.rename(machine.folder / "h" / "1.open")
    return env


def test_it_waits_for_the_deadline_and_writes_to_the_log(
    waiting: Waiting, machine: Machine
) -> None:
    waiting.open_syslog()
    assert confirm.wait_for_deadline(1, 60, machine.table, waiting) == 0
    assert 60 <= waiting.now < 61
    assert machine.saved() == RULES
    assert waiting.logged == [
        "change 1 (ipvsadm -C) was not confirmed in 60 seconds",
        "undone 1 (ipvsadm -C): 3 added, 0 changed, 0 removed",
        "rules come back, connections do not",
    ]
    assert waiting.take()[1] == lines(*waiting.logged)


@pytest.mark.parametrize("state", ["kept", "undone"])
@pytest.mark.parametrize("at", [0, 30, 60])
def test_it_ends_when_the_change_does(
    state: str, at: int, waiting: Waiting, machine: Machine
) -> None:
    def meanwhile(now: float) -> int:
        if now >= at and machine.states() == ["open"]:
            (machine.folder / "h" / "1.open").rename(machine.folder / "h" / f"1.{state}")
        return 0

    if not at:
        meanwhile(0)
    waiting.meanwhile = meanwhile
    assert confirm.wait_for_deadline(1, 60, machine.table, waiting) == 0
    assert waiting.now <= at + 1
    assert waiting.take() == ("", "")
    assert machine.saved() == ()


def test_confirmed_at_the_last_moment_it_stands(waiting: Waiting, machine: Machine) -> None:
    """Both processes hold the lock of the table in turn; the second sees what the first has
    done.
    """

    class Confirmed(TableFileBackend):
        def __enter__(self) -> None:
            super().__enter__()
            (machine.folder / "h" / "1.open").rename(machine.folder / "h" / "1.kept")

    table = Confirmed(str(machine.folder / "table"))
    assert confirm.wait_for_deadline(1, 60, table, waiting) == 0
    assert machine.saved() == ()
    assert machine.states() == ["kept"]


def test_a_refused_return_is_reported_and_the_change_stays_open(
    waiting: Waiting, machine: Machine
) -> None:
    class Refusing(TableFileBackend):
        def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
            return [(index, 22) for index, _ in enumerate(changes)]

    table = Refusing(str(machine.folder / "table"))
    assert confirm.wait_for_deadline(1, 60, table, waiting) == 255
    assert "refused: change 1 is not undone; the table is as before" in waiting.take()[1]
    assert machine.states() == ["open"]


def test_a_history_that_is_damaged_is_reported(
    waiting: Waiting, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise OSError(5, "Input/output error")

    read = Folder.read_file
    monkeypatch.setattr(
        Folder,
        "read_file",
        lambda folder, name, first_line=False: (
            read(folder, name, first_line) if first_line else fail()
        ),
    )
    assert confirm.wait_for_deadline(1, 60, machine.table, waiting) == 1
    assert re.search(
        r"^it cannot be taken back: cannot read .*/1.open: Input/output error$",
        waiting.take()[1],
        re.MULTILINE,
    )


REMOVALS = (
    # (words, the command in the hint without JOURNAL=all, the command with it)
    ("-C", "--undo", "--undo"),
    ("-D -f 1", "--undo", "--undo"),
    ("-D -f 2", "--undo", "--undo"),
    ("-d -f 1 -r 10.0.1.1", "-a -f 1 -r 10.0.1.1:0 -m -w 3", "--undo"),
    ("-d -t 10.0.0.1:80 -r 10.0.1.1", None, None),
    ("-d -f 1 -r 10.0.1.9", None, None),
    ("-D -f 9", None, None),
    ("-e -f 1 -r 10.0.1.1 -m -w 0", None, None),
)


@pytest.mark.parametrize(("words", "undo", "undo_if_all"), REMOVALS)
@pytest.mark.parametrize("all_recorded", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_removal_at_a_terminal_says_how_it_is_undone(
    words: str,
    undo: str | None,
    undo_if_all: str | None,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    *,
    all_recorded: bool,
    terminal: bool,
) -> None:
    apply_all(machine.table, ["-A -f 1 -s rr", "-a -f 1 -r 10.0.1.1 -m -w 3", "-A -f 2 -s rr"])
    before = machine.saved()
    env = Waiting(machine)
    env.seen = terminal
    monkeypatch.setattr(env, "records_all", lambda: all_recorded)
    cli.main([*words.split(), "--netns", "blue"], env)
    hints = [line for line in env.take()[1].splitlines() if "active connection" in line]
    command = undo_if_all if all_recorded else undo
    if not terminal or command is None:
        assert hints == []
        return
    assert hints == [
        f"hint: the removed servers had 0 active connections; to undo: ipvsadm --netns blue {command}"
    ]
    assert cli.main(command.split(), env) == 0
    assert sorted(machine.saved()) == sorted(before)


@pytest.mark.parametrize(
    ("words", "rule"),
    [("-C", ""), ("-D -f 1", ""), ("-d -f 1 -r 10.0.1.1", "-a -f 1 -r 10.0.1.1:0 -m -w 3")],
)
def test_no_undo_is_offered_that_would_take_back_an_older_change(
    words: str, rule: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the history cannot be written, --undo means the change before."""
    apply_all(machine.table, ["-A -f 1 -s rr", "-a -f 1 -r 10.0.1.1 -m -w 3"])
    Path(machine.environ["IPVSADM_HISTORY"]).write_text("no folder")
    env = Waiting(machine)
    env.seen = True
    monkeypatch.setattr(env, "records_all", lambda: True)
    cli.main(words.split(), env)
    err = env.take()[1]
    assert "this change is not in the history (" in err
    assert re.findall("to undo: (.*)", err) == ([f"ipvsadm {rule}"] if rule else [])
