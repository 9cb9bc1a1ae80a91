"""Test the pure parts of the measurements: texts, the archive, the table for people."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from pyipvsadm.cli import main
from pyipvsadm.model import TCP
from pyipvsadm.views import connections
from tests.older_python import parse_toml
from tests.unit.fake_environment import FakeEnvironment
from tools.bench import install, names, pages, report, rows
from tools.bench.archive import Archive

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("table", rows.TABLES)
def test_the_rules_are_what_a_save_writes(table: str) -> None:
    text = rows.make_rules(table, 60, 30)
    env = FakeEnvironment(text.encode())
    assert main(["-R"], env) == 0
    assert main(["-S", "-n"], env) == 0
    assert sorted(env.stdout.splitlines()) == sorted(text.splitlines())
    assert text.count("\n") == 60 * 31


def test_no_two_servers_of_a_distinct_table_are_the_same() -> None:
    lines = rows.make_rules(rows.DISTINCT, 1_000, 10).splitlines()
    servers = [line.split(" -r ")[1] for line in lines if line.startswith("-a")]
    assert len(set(servers)) == 10_000


def test_a_mixed_table_holds_what_grows_over_the_years() -> None:
    text = rows.make_rules(rows.MIXED, 300, 10)
    for words in (
        "-m -w 0\n",
        "-w 100",
        " -g ",
        " -i ",
        " -x 2000 -y 1500",
        " -p 300",
        "-f ",
        "-6",
        "-u",
    ):
        assert words in text
    services = [line for line in text.splitlines() if line.startswith("-A")]
    assert sum("[" in line or "-6" in line for line in services) == len(services) // 3


def test_the_least_favourable_table_is_written_between_the_marks() -> None:
    results = _results()
    found = results["q"]["rows"]
    slow = found["restore-100x100-mixed"] = {**found["restore-100x100-distinct"]}
    slow["seconds"] = {"reference": [4.0] * 3, "ours": [2.0] * 3}
    page = f"above\n{pages.BEGIN}\nold\n{pages.END}\nbelow\n"
    text = pages.replace_marked(page, pages.format_all(results))
    assert (
        "| `-R`, 100 x 100 (10,100 rules) | mixed | 4.00 s | 2.00 s | 2.00 | 2.00 to 2.00 |" in text
    )
    assert "old" not in text
    assert text.startswith(f"above\n{pages.BEGIN}\n")
    assert text.endswith(f"{pages.END}\nbelow\n")
    assert "Linux 6.1 under qemu's emulation on 2 x a processor, x86_64." in text
    assert "| 4.00 s | 2.00 s | 2.00 |" in pages.format_highlights(results)
    assert pages.replace_marked("no marks", "table") == "no marks"


def test_the_connections_are_lines_of_the_kernels_file() -> None:
    lines = rows.make_connections(20).encode().splitlines(keepends=True)
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
    """Read an archive back (cpio(5): the "new ASCII" format)."""
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
        "seconds": {"reference": [5.0, 4.0, 6.0], "ours": [ours] * 3},
        "peak": {"ours": 2048},
        "same": same,
    }
    guest = {
        "start": {"python": 0.2},
        "kernel": "6.1",
        "compiled": True,
        "rows": {"restore-100x100-distinct": measured, "stats-100x100-mixed": measured},
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
        "(10,100 rules) distinct 5.000 1.000 5.00 4.00 to 6.00 10,100 2.0 ok (bar 4, aim 6)"
    )
    stats = next(line for line in text.splitlines() if "--stats, 100 x 100" in line)
    assert stats.endswith("meets the aim")
    assert not report.wrong(_results())


def test_a_missed_bar_is_marked_and_no_more() -> None:
    results = _results(ours=2.0)
    assert "MISSED (bar 4, aim 6)" in "\n".join(report.lines(results))
    assert not report.wrong(results)


def test_listings_that_differ_are_wrong_however_fast() -> None:
    results = _results(same=False)
    assert report.wrong(results) == [
        "q: restore-100x100-distinct: the two tools differ",
        "q: stats-100x100-mixed: the two tools differ",
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
