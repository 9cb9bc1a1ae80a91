"""Test the pretty views: text snapshots at three widths, and what a snapshot of good records cannot
show.

`make pictures` writes the snapshots anew: look at the difference before you commit it.
"""

from __future__ import annotations

import re
import sys
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from pyipvsadm import cli
from pyipvsadm.addresses import format_endpoint, format_numeric
from pyipvsadm.model import AF_INET, AF_INET6, GRE, GUE, TCP, TUNNEL, Server, Service
from pyipvsadm.views import grid, pretty
from pyipvsadm.views.connections import Connection
from tests.unit.fake_environment import FakeEnvironment, FakeNames, apply_all, lines
from tools.pictures.__main__ import COLUMNS, picture
from tools.pictures.draw import PICTURES, SNAPSHOTS, snapshot

if TYPE_CHECKING:
    from pyipvsadm.rules.writer import Endpoint

RULES = (
    "-A -t 10.0.0.1:80 -s rr",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m",
    "-a -t 10.0.0.1:80 -r 10.0.0.3:80 -m -w 3",
)
LISTING = lines(
    "IPVS 1.2.1  1 service, 2 real servers, 0 connections",
    "Service / server Method Weight                Active InAct Share",
    "TCP 10.0.0.1:80  rr",
    "  10.0.0.2:80    Masq   1 #####                    0     0",
    "  10.0.0.3:80    Masq   3 ##############           0     0",
)
SERVICE = Service(AF_INET, TCP, bytes([10, 0, 0, 1]), 80)


@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: path.stem)
def test_snapshot(path: Path) -> None:
    assert snapshot(*SNAPSHOTS[path]) == path.read_text(encoding="utf-8")


def test_no_snapshot_is_left_over() -> None:
    assert set(next(iter(SNAPSHOTS)).parent.iterdir()) == set(SNAPSHOTS)


@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: path.stem)
def test_no_line_is_wider_than_the_window(path: Path) -> None:
    width = SNAPSHOTS[path][1]
    assert all(cell_len(line) <= width for line in path.read_text(encoding="utf-8").split("\n"))


@pytest.mark.parametrize("name", PICTURES)
def test_the_readme_s_picture_is_of_today(name: str) -> None:
    """The picture has today's text: the rest of the file is rich's, and differs between its
    releases.
    """
    assert picture(name) == picture(name)
    svg = Path(f"docs/{name}.svg").read_text(encoding="utf-8")
    shown = re.sub(r"\s", "", unescape("".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))))
    look = grid.TerminalStyle(COLUMNS)
    for line in grid.render_text(PICTURES[name](look), look).split("\n"):
        for word in line.split():
            assert word in shown


def world_with_rules(**options: object) -> FakeEnvironment:
    env = FakeEnvironment(**options)  # type: ignore[arg-type]
    apply_all(env.table, RULES)
    return env


def run(env: FakeEnvironment, words: str) -> tuple[int, str, str]:
    return (cli.main(words.split(), env), *env.take())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-L -n --pretty", LISTING),
        ("-L -n --pretty -t 10.0.0.1:80", "".join(LISTING.splitlines(keepends=True)[1:])),
        ("-L -n --pretty -c", "No connections.\n"),
        ("-L --pretty -c", "No connections.\n"),
        ("-L --pretty --timeout", lines(
            "Connections are kept for",
            "  TCP, established       15 min",
            "  TCP, after a FIN        2 min",
            "  UDP                     5 min",
        )),
        ("-L --pretty --daemon", "No sync daemon runs.\n"),
    ],
)  # fmt: skip
def test_the_command(words: str, expected: str) -> None:
    assert run(world_with_rules(), words) == (0, expected, "")


def test_an_empty_table() -> None:
    expected = "IPVS 1.2.1  0 services, 0 real servers, 0 connections\nNo virtual services.\n"
    assert run(FakeEnvironment(), "-L --pretty") == (0, expected, "")


@pytest.mark.parametrize(
    ("value", "terminal", "is_pretty"),
    [("1", True, True), ("1", False, False), ("0", True, False), ("", True, False)],
)
def test_the_variable_counts_on_a_terminal_only(
    value: str, terminal: bool, is_pretty: bool
) -> None:
    env = world_with_rules(environ={"IPVSADM_PRETTY": value}, shows=(80, 24) if terminal else None)
    status, stdout, _ = run(env, "-L -n")
    assert (status, stdout.startswith("IPVS 1.2.1"), stdout.startswith("IP Virtual")) == (
        0,
        is_pretty,
        not is_pretty,
    )


@pytest.mark.parametrize("words", ["-L -n", "-L --status"])
def test_without_rich_the_variable_changes_nothing(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(world_with_rules(shows=(80, 24)), words)
    monkeypatch.setitem(sys.modules, "rich", None)
    env = world_with_rules(environ={"IPVSADM_PRETTY": "1"}, shows=(80, 24))
    assert run(env, words) == plain
    assert plain[0] == 0


def test_names_are_shown_whole() -> None:
    name = "a-name-that-is-longer-than-what-1.31-has-room-for.example.com"
    names = FakeNames({name: (AF_INET, bytes([10, 0, 0, 2]))}, {("http", TCP): 80})
    assert (
        f"  {name}:http Masq"
        in run(world_with_rules(names=names, shows=(140, 24)), "-L --pretty")[1]
    )


def test_sorted_unless_asked_otherwise() -> None:
    found = run(world_with_rules(), "-L -n --pretty --nosort")[1].splitlines()
    assert [line.split()[0] for line in found[3:]] == ["10.0.0.3:80", "10.0.0.2:80"]


def drawn(
    groups: list[pretty.ServiceGroup], view: str = "", endpoint: Endpoint = format_numeric
) -> str:
    look = grid.TerminalStyle(120)
    return grid.render_text(
        pretty.render_listing(groups, {view} if view else set(), endpoint, look), look
    )


def test_nothing_of_a_name_or_of_an_engine_steers_the_terminal() -> None:
    evil = "\x1b[2J\u202eweb\r"

    def endpoint(family: int, _: bytes, port: int, __: int) -> str:
        return format_endpoint(family, evil, port)

    found = drawn(
        [pretty.ServiceGroup(SERVICE, [Server(AF_INET, bytes(4), 80)])], endpoint=endpoint
    )
    end = (AF_INET, bytes(4), 80)
    look = grid.TerminalStyle(120)
    found += grid.render_text(
        pretty.render_connections(
            [Connection(evil, end, end, end, evil, 1, evil, evil)], endpoint, look, engine=True
        ),
        look,
    )
    assert found.count("?[2J?web?") == 9
    assert all(line.isprintable() for line in found.split("\n"))


TUNNELS: list[tuple[Server, str]] = [
    (Server(AF_INET, bytes(4), 80, TUNNEL), "ipip"),
    (
        Server(AF_INET, bytes(4), 80, TUNNEL, tun_type=GUE, tun_port=6080, tun_flags=1),
        "gue 6080, checksum",
    ),
    (
        Server(AF_INET, bytes(4), 80, TUNNEL, tun_type=GUE, tun_port=6080, tun_flags=2),
        "gue 6080, remote checksum",
    ),
    (Server(AF_INET, bytes(4), 80, TUNNEL, tun_type=GRE, tun_flags=9), "gre, flags 9"),
    (Server(AF_INET, bytes(4), 80, TUNNEL, tun_type=7), "7"),
    (Server(AF_INET, bytes(4), 80), "-"),
]


@pytest.mark.parametrize(("server", "expected"), TUNNELS)
def test_tunnels(server: Server, expected: str) -> None:
    assert re.search(
        rf" {expected} +1 ", drawn([pretty.ServiceGroup(SERVICE, [server])], "tun-info")
    )


def test_services_of_all_kinds() -> None:
    services = [
        Service(AF_INET6, fwmark=4294967295, flags=1, timeout=90, netmask=64, pe="sip"),
        Service(AF_INET, 99, bytes([10, 0, 0, 1]), 80, flags=1, timeout=360),
    ]
    found = drawn([pretty.ServiceGroup(service, []) for service in services])
    assert (
        "FWM 4294967295 IPv6  wlc  persistent 1 min 30 s  mask 64  engine sip  no real servers\n"
        in found
    )
    assert "99 10.0.0.1:80  wlc  persistent 6 min  no real servers\n" in found
