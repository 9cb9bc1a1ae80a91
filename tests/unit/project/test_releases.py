"""Check that everything that earlier releases wrote can be read for ever, and that their promises
to programs hold.

tests/releases/ has a folder for each release, which is never recorded anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from pyipvsadm import cli
from pyipvsadm.backends import memory
from pyipvsadm.backends.table_file import TableFileBackend
from pyipvsadm.errors import OperationError
from tests.contract.backends import content
from tests.older_python import zip_equal
from tests.unit.fake_environment import FakeEnvironment
from tools.record_releases import HERE, WRITTEN, Table, statuses, written

if TYPE_CHECKING:
    from collections.abc import Iterable

RELEASES = sorted(each for each in HERE.iterdir() if (each / "table").exists())
PROSE = {"title", "reason", "pyipvsadm"}  # fields whose values may be reworded
SCHEMA = Draft202012Validator(json.loads(Path("pyipvsadm/schema/ipvsadm-1.json").read_text()))

of_each_release = pytest.mark.parametrize("release", RELEASES, ids=[each.name for each in RELEASES])


def documents(text: str) -> list[Any]:
    """Return the document of a text, or the documents if it has one in each line."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


def lost(before: Any, now: Any, where: str = "") -> Iterable[str]:
    """Yield what an earlier document has and the present one lacks."""
    if isinstance(before, dict):
        for name, value in before.items():
            if not isinstance(now, dict) or name not in now:
                yield f"{where}.{name}"
            elif name not in PROSE:
                yield from lost(value, now[name], f"{where}.{name}")
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for at, (one, other) in enumerate(zip_equal(before, now)):
            yield from lost(one, other, f"{where}[{at}]")
    elif before != now:
        yield f"{where}: {before} was, {now} is"


def restored(text: bytes, words: str = "-R") -> memory.MemoryBackend:
    env = FakeEnvironment(stdin=text, table=memory.MemoryBackend({"lo"}.__contains__))
    assert (cli.main(words.split(), env), env.stdout) == (0, "")
    return env.table  # type: ignore[return-value]


def test_there_is_a_first_release() -> None:
    assert [each.name for each in RELEASES][:1] == ["0.1"]


@of_each_release
def test_its_rules_are_read(release: Path) -> None:
    """The table of an embedded table's file, that of -S --full, and that of either by -R and
    --apply are the same; -S keeps what it kept.
    """
    table = TableFileBackend(str(release / "table"))
    held = content(table)
    for file in ("table", "saved-full"):
        for words in ("-R", "--apply"):
            assert content(restored((release / file).read_bytes(), words)) == held
        env = FakeEnvironment(stdin=(release / file).read_bytes(), table=Table(release / "table"))
        assert cli.main(["--apply", "--prune", "--dry-run"], env) == 0, env.stdout
    plain = content(restored((release / "saved").read_bytes()))
    key = [
        (service, sorted(servers, key=lambda each: each.key()))
        for service, servers in held.services
    ]
    assert [
        (service, sorted(servers, key=lambda each: each.key()))
        for service, servers in plain.services
    ] == key


@of_each_release
def test_what_it_wrote_is_written_today(release: Path) -> None:
    """Rule text is the same to the byte; documents have all their fields, to which others may have
    been added.
    """
    today = written(release / "table")
    recorded = {
        each.name: each.read_text()
        for each in release.iterdir()
        if each.name not in ("table", "statuses")
    }
    for name, text in recorded.items():
        if not name.endswith(".json"):
            assert today[name] == text, name
            continue
        then, now = documents(text), documents(today[name])
        assert list(lost(then, now)) == [], name
        assert all("format" in each for each in then), name
        if name in WRITTEN:
            for each in then:
                SCHEMA.validate(each)


@of_each_release
def test_its_exit_statuses_hold(release: Path) -> None:
    recorded = (release / "statuses").read_text()
    commands = [line.partition(" ")[2] for line in recorded.splitlines()]
    assert len(commands) >= 40
    assert statuses(release / "table", commands) == recorded


def test_a_lost_field_is_found() -> None:
    assert list(lost({"a": 1, "reason": "x"}, {"a": 1, "reason": "y", "b": 2})) == []
    assert list(lost({"a": 1, "reason": "x"}, {"a": 2})) == [".a: 1 was, 2 is", ".reason"]
    assert list(lost([{"a": [1]}], [{"a": [1, 2]}])) == ["[0].a: [1] was, [1, 2] is"]
    assert list(lost({"a": {"b": 1}}, {"a": 1})) == [".a.b"]


NEWER = "line 1: the rules are of format 2, but this release only reads format 1: use the ipvsadm that wrote them"


@pytest.mark.parametrize("words", ["-R", "-R --dry-run", "--apply", "--apply --dry-run"])
def test_rules_of_a_later_format_are_refused_whole(words: str) -> None:
    env = FakeEnvironment(stdin=b"# ipvsadm rules, format 2\n-A -f 1\n")
    text = ": '# ipvsadm rules, format 2'" if words.startswith("--apply") else ""
    assert (cli.main(words.split(), env), env.stderr) == (2, f"{NEWER}{text}\n")
    assert env.table.read_services() == []


def test_a_table_of_a_later_format_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text("# ipvsadm rules, format 2\n--new-thing\n")
    env = FakeEnvironment()
    assert cli.main(["--backend", f"memory:{path}", "-A", "-f", "1"], env) == 1
    assert env.stderr == f"{path}: {NEWER} (the file was not changed)\n"
    assert path.read_text() == "# ipvsadm rules, format 2\n--new-thing\n"
    with pytest.raises(OperationError, match="the rules are of format 2"):
        TableFileBackend(str(path))


@pytest.mark.parametrize(
    "line",
    ["", "# ipvsadm rules, format 1", "# ipvsadm rules, format x", "# ipvsadm rules, format ", "#"],
)
def test_other_first_lines_are_comments(line: str) -> None:
    assert len(restored(f"{line}\n-A -f 1\n".encode()).read_services()) == 1
    assert restored(line.encode()).read_services() == []
