"""Test the folder of the journal: what is kept, what is refused, and failures that stop no
change.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from pyipvsadm.change import execute, journal, plan
from pyipvsadm.change.pace import Pace
from pyipvsadm.errors import OperationError, UsageError
from pyipvsadm.model import AF_INET, FLUSH, NEW_SERVICE, TCP, Change, Service
from tests.contract.backends import embedded
from tests.unit.change.test_plan import RefusingBackend, table

if TYPE_CHECKING:
    from pathlib import Path

    from pyipvsadm.backends.memory import MemoryBackend

S = Service(AF_INET, TCP, b"\x0a\0\0\1", 80, scheduler="rr")


def service(mark: int) -> Change:
    return Change(NEW_SERVICE, Service(AF_INET, fwmark=mark, scheduler="rr"))


def send(folder: Path | str, change: Change, held: MemoryBackend | None = None) -> list[str]:
    """Send a change with an entry in the folder; return what was printed."""
    told: list[str] = []
    held = held or embedded()
    made = journal.Journal(
        str(folder), {"argv": ["a", 'b\n\udcff"'], "uid": 0, "n": None}, told.append
    )
    execute.execute(plan.make_change_plan(change, held), held, Pace(), nullcontext, journal=made)
    return told


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder), key=lambda name: int(name.partition(".")[0]))


def test_an_entry_is_a_file_of_root_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "ipvsadm" / "history"
    held = table([Change(NEW_SERVICE, S)])
    assert send(folder, service(7), held) == []
    assert send(folder, Change(FLUSH), held) == []
    assert names(folder) == ["1.kept", "2.kept"]
    for path, mode in ((folder.parent, 0o700), (folder, 0o700), (folder / "1.kept", 0o600)):
        assert path.stat().st_mode & 0o777 == mode
    head, *lines = (folder / "2.kept").read_text().splitlines()
    assert json.loads(head[2:]) == {"format": 1, "argv": ["a", 'b\n\udcff"'], "uid": 0, "n": None}
    assert lines == [
        "--set 900 120 300",
        "-A -t 10.0.0.1:80 -s rr",
        "-A -f 7 -s rr",
        "# sent:",
        "-C",
    ]


def test_a_refused_change_has_no_entry(tmp_path: Path) -> None:
    folder = tmp_path / "h"
    held = table([Change(NEW_SERVICE, S)])
    assert send(folder, Change(NEW_SERVICE, S), held) == []
    assert names(folder) == []
    empty = plan.Plan()
    made = journal.Journal(str(folder), {}, pytest.fail)
    execute.execute(empty, held, Pace(), nullcontext, journal=made)
    assert names(folder) == []


@pytest.mark.parametrize(("at", "state"), [(2, "undone"), (9, "kept")])
def test_the_state_says_how_it_ended(at: int, state: str, tmp_path: Path) -> None:
    folder = tmp_path / "h"
    made = journal.Journal(str(folder), {}, pytest.fail)
    found = plan.Plan()
    found.phases = [
        [plan.Step(1, service(mark), Change(3, service(mark).service))] for mark in (1, 2)
    ]
    execute.execute(found, RefusingBackend(embedded(), at), Pace(), nullcontext, journal=made)
    assert names(folder) == [f"1.{state}"]


def test_while_it_is_under_way_it_is_open(tmp_path: Path) -> None:
    folder = tmp_path / "h"
    seen = []

    class Looking(Pace):
        def wait(self, index: int) -> tuple[int, str]:
            seen.append(names(folder))
            return super().wait(index)

    made = journal.Journal(str(folder), {}, pytest.fail)
    execute.execute(
        plan.make_change_plan(service(1), embedded()),
        embedded(),
        Looking(),
        nullcontext,
        journal=made,
    )
    assert seen == [["1.open"]]


def test_the_last_fifty_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "h"
    monkeypatch.setattr(journal, "MAX_ENTRIES", 3)
    assert send(folder, service(1)) == []
    (folder / "1.kept").rename(folder / "1.open")  # its process was killed
    for mark in range(2, 6):
        assert send(folder, service(mark)) == []
    assert names(folder) == ["1.open", "4.kept", "5.kept"]
    for number in (4, 5):
        (folder / f"{number}.kept").rename(folder / f"{number}.open")
    assert send(folder, service(6)) == []
    assert names(folder) == ["4.open", "5.open", "6.kept"]


def test_all_of_them_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "h"
    assert send(folder, service(1)) == []
    size = (folder / "1.kept").stat().st_size
    monkeypatch.setattr(journal, "MAX_BYTES", 2 * size)
    for mark in range(2, 5):
        assert send(folder, service(mark)) == []
    assert names(folder) == ["3.kept", "4.kept"]
    monkeypatch.setattr(journal, "MAX_BYTES", size - 1)
    held = embedded()
    (told,) = send(folder, service(5), held)
    assert told == f"this change is not in the history ({folder}): it takes 0 MB, 0 are kept"
    assert len(held.read_services()) == 1


def test_a_history_that_cannot_be_written_stops_no_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(folder: Path | str, reason: str) -> None:
        held = embedded()
        told = send(folder, service(1), held)
        assert told == [f"this change is not in the history ({folder}): {reason}"]
        assert len(held.read_services()) == 1

    (tmp_path / "file").write_text("")
    check(tmp_path / "file", "Not a directory")
    check(tmp_path / "none" / "none" / "h", "No such file or directory")
    (tmp_path / "open").mkdir(0o700)
    (tmp_path / "open").chmod(0o770)
    check(tmp_path / "open", f"{tmp_path}/open is not used: other users may write to it")
    full = tmp_path / "full"

    def write(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        check(full, "No space left on device")
    assert names(full) == []

    def rename(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(journal.Folder, "rename_file", rename)
        check(full, "Read-only file system")


def test_a_history_that_goes_away_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "h"
    told: list[str] = []
    made = journal.Journal(str(folder), {}, told.append)
    found = plan.make_change_plan(service(1), embedded())
    made.open_entry(found)
    (folder / "1.open").unlink()
    made.close(journal.KEPT)
    made.close(journal.KEPT)
    made.open_entry(found)
    assert told == [f"this change is not in the history ({folder}): No such file or directory"]
    assert names(folder) == []


def test_a_table_that_keeps_changing_is_not_written(tmp_path: Path) -> None:
    class Busy(type(embedded())):  # type: ignore[misc]
        """Hold another service at each reading."""

        count = 0

        def read_services(self, counters: bool = True) -> list[Service]:  # noqa: ARG002  # as the protocol has it
            Busy.count += 1
            return [Service(AF_INET, fwmark=self.count)]

    told: list[str] = []
    made = journal.Journal(str(tmp_path / "h"), {}, told.append)
    made.open_replacement(Busy(), b"")
    assert len(told) == 1
    assert "kept changing while it was read (10 times)" in told[0]
    with pytest.raises(OperationError):
        plan.make_change_plan(Change(FLUSH), Busy())


def test_what_tells_tables_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert journal.identify_table("memory:/t") == {"table": "memory:/t", "netns": "", "boot": ""}
    found = journal.identify_table("kernel")
    assert str(found["netns"]).startswith("net:[")
    assert len(str(found["boot"])) == 36

    def fail(*_: object) -> bytes:
        raise OperationError("no /proc")

    monkeypatch.setattr(journal, "read_file", fail)
    assert journal.identify_table("kernel") == {"table": "kernel", "netns": "", "boot": ""}


def test_an_entry_with_a_deadline_stays_open(tmp_path: Path) -> None:
    folder = tmp_path / "h"
    written: list[int] = []
    cases: tuple[tuple[dict[str, object], str], ...] = (
        ({"deadline": 9}, "open"),
        ({"deadline": None}, "kept"),
    )
    for header, state in cases:
        made = journal.Journal(str(folder), header, pytest.fail, written.append)
        held = table([Change(NEW_SERVICE, S)])
        execute.execute(
            plan.make_change_plan(Change(FLUSH), held), held, Pace(), nullcontext, journal=made
        )
        assert held.read_services() == []
        assert (folder / f"{made.number}.{state}").exists()
    assert written == [1, 2]


def test_a_change_with_a_deadline_is_not_begun_without_its_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "h").write_text("no folder")
    for folder in (tmp_path / "h", tmp_path / "h" / "x"):
        made = journal.Journal(str(folder), {"deadline": 9}, pytest.fail)
        held = table([Change(NEW_SERVICE, S)])
        with pytest.raises(
            UsageError, match=r"^this change could not be taken back: .*; nothing was changed$"
        ):
            execute.execute(
                plan.make_change_plan(Change(FLUSH), held), held, Pace(), nullcontext, journal=made
            )
        assert len(held.read_services()) == 1
    # Once it is written, it can be taken back, however long it is kept.
    told: list[str] = []
    made = journal.Journal(str(tmp_path / "new"), {"deadline": 9}, told.append)
    monkeypatch.setattr(journal.Folder, "remove_old", raise_full)
    execute.execute(
        plan.make_change_plan(Change(FLUSH), held), held, Pace(), nullcontext, journal=made
    )
    assert held.read_services() == []
    assert names(tmp_path / "new") == ["1.open"]
    assert told == [
        f"this change is not in the history ({tmp_path / 'new'}): No space left on device"
    ]


def raise_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
