"""The pure parts of the measurements: texts, the archive, the table for people."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from pyipvsadm.cli import main
from pyipvsadm.model import TCP
from pyipvsadm.views import connections
from tests.older_python import parse_toml
from tests.unit.fake_environment import FakeEnvironment
from tools.bench import install, names, report, rows
from tools.bench.archive import Archive

if TYPE_CHECKING:
    from pathlib import Path


def test_the_rules_are_what_a_save_writes() -> None:
    text = rows.rules(3, 300)
    env = FakeEnvironment(text.encode())
    assert main(["-R"], env) == 0
    assert main(["-S", "-n"], env) == 0
    assert env.stdout == text
    assert text.count("\n") == 3 * 301


def test_the_connections_are_lines_of_the_kernels_file() -> None:
    lines = rows.connections(20).encode().splitlines(keepends=True)
    assert len(lines) == 21
    assert connections.parse_connection(lines[1]).server == (2, b"\xc0\xa8\0\1", 8080)
    assert {connections.parse_connection(line).number for line in lines[1:]} == {TCP, 17}


def test_row_names_are_unique() -> None:
    found = [row.name for row in rows.ROWS]
    assert len(set(found)) == len(found)
    assert rows.SMALL in found


def test_an_archive_ends_every_part_at_a_multiple_of_four(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    out = io.BytesIO()
    archive = Archive(out)
    archive.tree(tmp_path)
    archive.end()
    assert _members(out.getvalue())[str(tmp_path / "file")[1:]] == b"12345"
    assert _members(out.getvalue())[str(tmp_path / "link")[1:]] == b"file"
    assert str(tmp_path)[1:] in _members(out.getvalue())


def _members(data: bytes) -> dict[str, bytes]:
    """An archive read back (cpio(5): the "new ASCII" format)."""
    found = {}
    at = 0
    while at < len(data):
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * field : at + 14 + 8 * field], 16) for field in range(13)]
        size, length = fields[6], fields[11]
        name = data[at + 110 : at + 110 + length - 1].decode()
        body = at + 110 + length + -(at + 110 + length) % 4
        found[name] = data[body : body + size]
        at = body + size + -(body + size) % 4
    assert "TRAILER!!!" in found
    return found


def _results(same: bool = True, ours: float = 1.0) -> dict[str, Any]:
    measured = {
        "seconds": {"reference": [5.0, 4.0, 6.0], "ours": [ours]},
        "peak": {"ours": 2048},
        "same": same,
    }
    guest = {
        "start": {"python": 0.2},
        "kernel": "6.1",
        "compiled": True,
        "rows": {"restore-100x100": measured, "stats-100x100": measured},
    }
    return {
        "machine": {"processors": 2, "model": "a processor", "system": "x86_64"},
        "runs": 3,
        "q": guest,
    }


def test_a_table_shows_ratios_and_bars() -> None:
    text = "\n".join(report.lines(_results()))
    restore = next(line for line in text.splitlines() if "-R, 100 x 100" in line)
    assert " ".join(restore.split()).endswith(
        "(10,100 rules) 5.000 1.000 5.00 40% 0% 10,100 2.0 ok (bar 4, aim 6)"
    )
    stats = next(line for line in text.splitlines() if "--stats, 100 x 100" in line)
    assert "0.800   6.25" in stats  # past the interpreter's start
    assert not report.wrong(_results())


def test_a_missed_bar_is_marked_and_no_more() -> None:
    results = _results(ours=2.0)
    assert "MISSED (bar 4, aim 6)" in "\n".join(report.lines(results))
    assert not report.wrong(results)


def test_listings_that_differ_are_wrong_however_fast() -> None:
    results = _results(same=False)
    assert report.wrong(results) == [
        "q: restore-100x100: the two tools differ",
        "q: stats-100x100: the two tools differ",
    ]
    assert "DIFFERS" in "\n".join(report.lines(results))


def test_the_name_server_answers_what_it_was_asked() -> None:
    question = b"".join(
        bytes([len(label)]) + label for label in (b"4", b"3", b"2", b"1", b"in-addr", b"arpa")
    )
    query = b"id\1\0\0\1\0\0\0\0\0\0" + question + b"\0\0\x0c\0\1" + b"options"
    reply = names.answer(query)
    assert reply.startswith(b"id\x81\x80\0\1\0\1")
    assert reply.endswith(b"\x0chost-1-2-3-4\7example\0")
    assert b"options" not in reply


def test_what_is_measured_is_built_of_all_that_a_wheel_is_made_of() -> None:
    project = parse_toml((install.REPO / "pyproject.toml").read_text())
    folders = {name.partition(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    assert folders <= set(install.SOURCES)
