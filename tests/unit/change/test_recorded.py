"""Test the changes that the journal records, and undoing them: random tables, and another program
that makes changes meanwhile.
"""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given

from pyipvsadm.change import execute, journal, plan, recorded, snapshot
from pyipvsadm.change.pace import Pace
from pyipvsadm.change.undo import plan_undo
from pyipvsadm.errors import OperationError, UsageError
from pyipvsadm.model import (
    AF_INET,
    BACKUP,
    DEL_DAEMON,
    FLUSH,
    MASTER,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    PERSISTENT,
    ROUTE,
    SET_DEST,
    TCP,
    ZERO,
    Change,
    Daemon,
    Server,
    Service,
)
from pyipvsadm.rules.reader import parse_rule, parse_rules
from pyipvsadm.rules.writer import change_rule
from tests.contract import strategies
from tests.unit.change.test_plan import MASTER as START_MASTER
from tests.unit.change.test_plan import MIXED, entries, parse_table, said, table, tables
from tests.unit.fake_environment import FakeEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyipvsadm.backends.memory import MemoryBackend

    Send = Callable[[journal.Journal], object]

TABLE = "memory:/table"
HEADER: dict[str, object] = {"table": TABLE, "netns": "", "argv": ["-C"]}
HEAD = b'# {"table": "memory:/table", "netns": "", "argv": ["-C"]}\n'


def write(folder: str) -> journal.Journal:
    """Return a journal that must not fail."""
    return journal.Journal(folder, HEADER, pytest.fail)


def apply_text(held: MemoryBackend, text: bytes, made: journal.Journal) -> None:
    found = plan.make_plan(parse_table(text), snapshot.read_table(held), prune=True)
    execute.execute(found, held, Pace(), nullcontext, journal=made)


def replace_by_text(held: MemoryBackend, text: bytes, made: journal.Journal) -> None:
    """Clear and restore, as ipvsadm-restore does."""
    sent = b"-C\n" + text
    made.open_replacement(held, sent)
    for _, change in parse_rules(sent, FakeEnvironment()):
        if isinstance(change, Change):
            held.apply([change])
    made.close(journal.KEPT)


def send_one(held: MemoryBackend, change: Change, made: journal.Journal) -> None:
    execute.execute(plan.make_change_plan(change, held), held, Pace(), nullcontext, journal=made)


def undo(folder: str, held: MemoryBackend, number: int = -1) -> recorded.Entry:
    """Undo an entry, the newest by default."""
    entry = recorded.read_entries(folder, TABLE)[number]
    assert try_undo(folder, held, entry).refused == []
    return entry


def try_undo(folder: str, held: MemoryBackend, entry: recorded.Entry) -> execute.Outcome:
    done, lost = recorded.read_change(folder, entry, FakeEnvironment())
    assert lost == []
    back = plan_undo([*done.iter_steps()], held).make_plan()
    return execute.execute(back, held, Pace(), nullcontext, journal=write(folder))


@pytest.mark.parametrize("send", [apply_text, replace_by_text])
def test_what_was_sent_is_undone_and_done_again(
    send: Callable[[MemoryBackend, bytes, journal.Journal], None],
) -> None:
    @given(tables, tables)
    def check(now: MemoryBackend, other: MemoryBackend) -> None:
        before = said(now)[1]
        text = said(other)[0]
        held = said(now)[1]
        try:
            plan.make_plan(parse_table(text), snapshot.read_table(held), prune=True)
        except (OperationError, UsageError):  # daemons and servers that exclude each other
            assume(False)
        with tempfile.TemporaryDirectory() as folder:
            send(held, text, write(f"{folder}/h"))
            after = entries(held)
            if recorded.read_entries(f"{folder}/h", TABLE):
                undo(f"{folder}/h", held)
                assert entries(held) == entries(before)
                if len(recorded.read_entries(f"{folder}/h", TABLE)) > 1:
                    undo(f"{folder}/h", held)
            assert entries(held) == after

    check()


def test_a_daemon_in_the_place_of_a_mixed_server_is_undone_and_done_again(tmp_path: Path) -> None:
    """The kernel has one or the other: whichever goes must go first, in each direction."""
    held = said(table([]))[1]
    apply_text(held, MIXED, write(str(tmp_path)))
    states = [entries(held)]
    apply_text(held, b"-A -f 2\n" + START_MASTER, write(str(tmp_path)))
    states.append(entries(held))
    assert states[0] != states[1]
    for number in range(4):
        undo(str(tmp_path), held)
        assert entries(held) == states[number % 2]


def is_typed(change: Change) -> bool:
    """Return True if a command line can ask for exactly this change."""
    try:
        return parse_rule(1, change_rule(change).split(), FakeEnvironment()) == change
    except (UsageError, ValueError):
        return False


@given(tables, strategies.changes())
def test_single_changes_are_undone(now: MemoryBackend, changes: list[Change]) -> None:
    held = said(now)[1]
    for change in changes:
        if change.op != FLUSH and (change.service is None or change.op == ZERO):
            continue
        if not is_typed(change):
            continue
        before = entries(held)
        with tempfile.TemporaryDirectory() as folder:
            send_one(held, change, write(f"{folder}/h"))
            for entry in recorded.read_entries(f"{folder}/h", TABLE):
                if not recorded.read_change(f"{folder}/h", entry, FakeEnvironment())[1]:
                    undo(f"{folder}/h", held)
                    assert entries(held) == before


@given(tables, tables, strategies.changes())
def test_what_another_program_changed_stays(
    now: MemoryBackend, other: MemoryBackend, changes: list[Change]
) -> None:
    held = said(now)[1]
    text = said(other)[0]
    with tempfile.TemporaryDirectory() as folder:
        try:
            apply_text(held, text, write(f"{folder}/h"))
        except (OperationError, UsageError):
            assume(False)
        assume(recorded.read_entries(f"{folder}/h", TABLE))
        ours = entries(held)
        held.apply(changes)
        theirs = entries(held)
        outcome = try_undo(f"{folder}/h", held, recorded.read_entries(f"{folder}/h", TABLE)[-1])
        found = entries(held)
    if outcome.refused:
        # The other program's daemons and the servers that come back may exclude each other.
        assert found == theirs
        return
    for key in {*ours, *theirs}:
        if theirs.get(key) == ours.get(key):
            continue
        if theirs.get(key) is None or ours.get(key) is None or isinstance(key, int):
            assert found.get(key) == theirs.get(key), key
            continue
        for mine, wanted, left in zip(ours[key], theirs[key], found[key]):
            assert wanted in (mine, left), key


S = Service(AF_INET, TCP, b"\x0a\0\0\1", 80, scheduler="rr")
A = Server(AF_INET, b"\x0a\0\1\1", 80, 0)
OTHER_PORT = Server(AF_INET, b"\x0a\0\1\1", 8080, ROUTE)


def test_what_no_rule_can_express_is_not_undone_as_another(tmp_path: Path) -> None:
    """-g takes the service's port whatever the rule says, and -p takes no 0: other programs can
    make a server with another port, and a service with timeout 0.
    """
    odd = Service(AF_INET, fwmark=3, scheduler="rr", flags=PERSISTENT)
    held = table(
        [Change(NEW_SERVICE, S), Change(NEW_DEST, S, OTHER_PORT), Change(NEW_SERVICE, odd)]
    )
    folder = str(tmp_path / "h")
    apply_text(held, b"-A -t 10.0.0.1:80 -s rr\n", write(folder))
    entry = recorded.read_entries(folder, TABLE)[0]
    done, lost = recorded.read_change(folder, entry, FakeEnvironment())
    assert [*done.iter_steps()] == []
    assert lost == ["-A -f 3 -s rr -p 0", "-a -t 10.0.0.1:80 -r 10.0.1.1:8080 -g -w 1"]


def test_daemons_and_timeouts_are_undone(tmp_path: Path) -> None:
    held = table([Change(NEW_DAEMON, daemon=Daemon(MASTER, "lo", 3))])
    before = entries(held)
    folder = str(tmp_path / "h")
    text = b"--set 1 2 3\n--start-daemon backup --mcast-interface lo --syncid 4\n"
    apply_text(held, text, write(folder))
    assert [daemon.syncid for daemon in held.read_daemons()] == [4]
    undo(folder, held)
    assert entries(held) == before


@pytest.mark.parametrize(
    "theirs",
    [
        Daemon(BACKUP, "lo", 4, port=9000),
        Daemon(BACKUP, "lo", 4, ttl=9),
        Daemon(BACKUP, "lo", 4, group=b"\xe0\0\0\x09"),
    ],
)
def test_a_daemon_that_another_program_set_up_anew_stays(tmp_path: Path, theirs: Daemon) -> None:
    held = table([])
    folder = str(tmp_path / "h")
    apply_text(held, b"--start-daemon backup --mcast-interface lo --syncid 4\n", write(folder))
    assert held.apply([Change(DEL_DAEMON, daemon=theirs), Change(NEW_DAEMON, daemon=theirs)]) == []
    after = entries(held)
    undo(folder, held)
    assert entries(held) == after


@pytest.mark.parametrize("theirs", [None, Daemon(BACKUP, "lo", 5), Daemon(BACKUP, "lo", 6)])
def test_a_daemon_that_was_replaced_and_then_changed_stays(
    tmp_path: Path, theirs: Daemon | None
) -> None:
    """The change stopped one daemon and started another; that one was stopped, replaced, or
    replaced by the first.
    """
    old = Daemon(BACKUP, "lo", 5)
    held = table([Change(NEW_DAEMON, daemon=old)])
    folder = str(tmp_path / "h")
    text = b"--start-daemon backup --mcast-interface lo --syncid 4\n"
    apply_text(held, text, write(folder))
    assert [daemon.syncid for daemon in held.read_daemons()] == [4]
    new = [] if theirs is None else [Change(NEW_DAEMON, daemon=theirs)]
    assert held.apply([Change(DEL_DAEMON, daemon=old), *new]) == []
    after = entries(held)
    undo(folder, held)
    assert entries(held) == after


def test_a_daemon_that_the_command_stopped_alone_is_started_again(tmp_path: Path) -> None:
    held = table([])
    folder = str(tmp_path / "h")
    apply_text(held, b"--start-daemon backup --mcast-interface lo --syncid 4\n", write(folder))
    running = entries(held)
    undo(folder, held)
    assert held.read_daemons() == []
    undo(folder, held)
    assert entries(held) == running
    replace_by_text(held, b"--stop-daemon backup\n", write(folder))
    assert held.read_daemons() == []
    undo(folder, held)
    assert entries(held) == running


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEAD + b"-C\n", "1.kept is damaged: `# sent:' is missing"),
        (None, "cannot read "),
    ],
)
def test_a_damaged_entry(text: bytes | None, reason: str, tmp_path: Path) -> None:
    folder = tmp_path / "h"
    folder.mkdir(0o700)
    (folder / "1.kept").write_bytes(text or HEAD)
    entry = recorded.read_entries(str(folder), TABLE)[0]
    if text is None:
        (folder / "1.kept").unlink()
    with pytest.raises(OperationError, match=reason):
        recorded.read_change(str(folder), entry, FakeEnvironment())
    assert entry.argv == ["-C"]


def test_files_that_are_no_entries_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "h"
    folder.mkdir(0o700)
    for name, text in {
        "1.kept": "# {",
        "2.kept": "# []\n",
        "3.kept": '# {"table": "memory:/table", "netns": "", "argv": ["-C", 1]}\n',
        "4.gone": HEAD.decode(),
        "x.kept": HEAD.decode(),
        "5.open.new": HEAD.decode(),
        "6.kept": '# {"table": "memory:/other", "netns": ""}\n',
        "7.kept": '# {"table": "memory:/table", "netns": ""}\n',
    }.items():
        (folder / name).write_text(text)
    assert [(entry.number, entry.argv) for entry in recorded.read_entries(str(folder), TABLE)] == [
        (3, ["-C", "1"]),
        (7, []),
    ]
    assert recorded.read_entries(str(tmp_path / "none"), TABLE) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OperationError, match=r"cannot read .*file: Not a directory"):
        recorded.read_entries(str(tmp_path / "file"), TABLE)


def test_a_state_is_changed_or_the_failure_reported(tmp_path: Path) -> None:
    held = table([Change(NEW_SERVICE, S)])
    folder = str(tmp_path / "h")
    send_one(held, Change(NEW_DEST, S, A), write(folder))
    entry = recorded.read_entries(folder, TABLE)[0]
    recorded.set_state(folder, entry, journal.UNDONE)
    assert [*map(str, (tmp_path / "h").iterdir())] == [f"{folder}/1.undone"]
    entry.state = journal.KEPT
    with pytest.raises(OperationError, match=r"cannot write .*h: No such file"):
        recorded.set_state(folder, entry, journal.UNDONE)


def test_refused_lines_of_a_restore_left_nothing(tmp_path: Path) -> None:
    held = table([Change(NEW_SERVICE, S), Change(NEW_DEST, S, A)])
    before = entries(held)
    text = (
        b"-E -f 9 -s rr\n-e -f 9 -r 10.0.0.1\n-d -f 9 -r 10.0.0.1\n-D -f 9\n-a -f 8 -r 10.0.0.1\n"
        b"-A -f 7\n-A -f 7 -s rr\n-a -f 7 -r 10.0.0.2 -w 2\n-a -f 7 -r 10.0.0.2 -w 3\n-E -f 7 -s sh\n"
        b"-e -f 7 -r 10.0.0.2 -w 4\n-A -f 6\n-D -f 6\n-a -f 7 -r 10.0.0.3\n-d -f 7 -r 10.0.0.3\n-Z\n-L\n"
    )
    folder = str(tmp_path / "h")
    replace_by_text(held, text, write(folder))
    done, _ = recorded.read_change(
        folder, recorded.read_entries(folder, TABLE)[0], FakeEnvironment()
    )
    assert [step.format_rule().rstrip() for step in done.iter_steps()] == [
        "-A -f 7 -s sh", "-a -f 7 -r 10.0.0.2:0 -g -w 4", "-a -f 8 -r 10.0.0.1:0 -g -w 1", "-D -t 10.0.0.1:80",
    ]  # fmt: skip
    undo(folder, held)
    assert entries(held) == before


def test_an_amended_plan_is_written_again(tmp_path: Path) -> None:
    """Another program's change is the state before ours; the entry holds the steps that were
    sent.
    """
    held = table([Change(NEW_SERVICE, S)])
    now = snapshot.read_table(held)
    text = b"-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 5\n"
    found = plan.make_plan(parse_table(text), now)
    held.apply([Change(NEW_DEST, S, A)])

    def replan(_: Any) -> plan.Plan:
        return plan.make_plan(parse_table(text), snapshot.read_table(held))

    folder = str(tmp_path / "h")
    execute.execute(found, held, Pace(), nullcontext, replan, write(folder))
    (entry,) = recorded.read_entries(folder, TABLE)
    undo(folder, held)
    assert entry.number == 1
    assert held.read_servers(S) == [A]


def test_an_undo_that_is_undone_half_way_leaves_the_table(tmp_path: Path) -> None:
    """Each step of an undo can be undone too: it holds the settings as they were just before."""
    held = table([Change(NEW_SERVICE, S), Change(NEW_DEST, S, A)])
    folder = str(tmp_path / "h")
    apply_text(
        held,
        b"--set 9 9 9\n-A -t 10.0.0.1:80 -s wrr\n-a -t 10.0.0.1:80 -r 10.0.1.2:80 -m\n"
        b"-A -f 7\n--start-daemon master --mcast-interface lo\n",
        write(folder),
    )
    held.apply([Change(SET_DEST, S, Server(AF_INET, b"\x0a\0\1\2", 80, 0))])
    after = entries(held)
    done, _ = recorded.read_change(
        folder, recorded.read_entries(folder, TABLE)[0], FakeEnvironment()
    )
    back = plan_undo([*done.iter_steps()], held).make_plan()
    signals = iter([0, 0, 15])
    back.phases.append([])
    outcome = execute.execute(back, held, Pace(lambda: next(signals)), nullcontext)
    assert (outcome.signal, outcome.not_undone) == (15, [])
    assert entries(held) == after


def test_the_change_that_waits_to_be_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "identify_table", lambda _: {"boot": "now"})
    entries = [
        recorded.Entry(number, state, {"deadline": deadline, "boot": boot})
        for number, state, deadline, boot in (
            (1, "open", 9, "before"),
            (2, "open", None, "now"),
            (3, "kept", 9, "now"),
            (4, "undone", 9, "now"),
            (5, "open", 9, "now"),
        )
    ]
    assert recorded.find_awaited(entries, "kernel") is entries[-1]
    assert recorded.find_awaited(entries[:-1], "kernel") is None
