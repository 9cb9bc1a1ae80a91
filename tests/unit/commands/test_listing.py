"""Test the order of a listing: the same in every view, and the table's own for --nosort."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm import cli, model, sorting, views
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.commands import listing
from pyipvsadm.grammar.parser import CommandParser
from pyipvsadm.model import AF_INET, TCP, Server, Service
from tests.unit.fake_environment import FakeEnvironment, FakeNames, FakeScreen, apply_all

RULES = (
    "-A -t 10.0.0.9:80 -s rr",
    "-a -t 10.0.0.9:80 -r 10.0.1.2 -m -w 3",
    "-a -t 10.0.0.9:80 -r 10.0.1.10 -m -w 2",
    "-a -t 10.0.0.9:80 -r 10.0.1.2:79 -m -w 1",
    "-A -t 10.0.0.8:80 -s sh",
    "-a -t 10.0.0.8:80 -r 10.0.1.4 -m",
    "-a -t 10.0.0.8:80 -r 10.0.1.3 -m",
)
SORTED = [
    "10.0.0.8:80", "10.0.1.3:80", "10.0.1.4:80",
    "10.0.0.9:80", "10.0.1.2:79", "10.0.1.2:80", "10.0.1.10:80",
]  # fmt: skip
# The embedded table has the newest server first, as the kernel.
UNSORTED = [
    "10.0.0.9:80", "10.0.1.2:79", "10.0.1.10:80", "10.0.1.2:80",
    "10.0.0.8:80", "10.0.1.3:80", "10.0.1.4:80",
]  # fmt: skip
TERMINAL = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
VIEWS = (
    "", "--stats", "--rate", "--thresholds", "--persistent-conn", "--tun-info", "--shares",
    "--pretty", "--pretty --stats", "--pretty --shares", "--json", "--json --shares",
)  # fmt: skip
# Filters that match everything, since these take another path; names: no resolver knows one.
HOW = ("-n", "", "-n --real-server 10.0.1.2", "-n -t 10.0.0.8:80 -t 10.0.0.9:80")
ENDPOINT = re.compile(r"\b10\.0\.[01]\.\d+:(?:\d+|http)")


def table() -> MemoryBackend:
    made = MemoryBackend()
    apply_all(made, RULES)
    return made


def run(words: str) -> str:
    env = FakeEnvironment(table=table())
    assert cli.main(["--backend", "memory", *words.split()], env) == 0
    return env.take()[0]


def list_endpoints(text: str) -> list[str]:
    if not text.startswith("{"):
        return ENDPOINT.findall(text)
    return [
        f"{entry['address']}:{entry['port']}"
        for service in json.loads(text)["services"]
        for entry in (service, *service["servers"])
    ]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("order", "expected"), [("", SORTED), ("--nosort", UNSORTED)])
def test_every_view_has_the_same_order(
    view: str, how: str, order: str, expected: list[str]
) -> None:
    if "--real-server" in how:  # only that server, of each service that has it
        expected = [end for end in expected if end.startswith(("10.0.0.9", "10.0.1.2:"))]
    elif "-t" in how and order:  # named services come as they are named
        expected = expected[4:] + expected[:4]
    assert list_endpoints(run(f"-L {how} {view} {order}")) == expected


@pytest.mark.parametrize(("order", "expected"), [("", SORTED), ("--nosort", UNSORTED)])
def test_watch_has_the_order_of_the_listing(order: str, expected: list[str]) -> None:
    env = FakeEnvironment(table=table(), environ=TERMINAL, shows=(100, 40))
    env.screen = screen = FakeScreen(env, [["q"]])
    assert cli.main(["--backend", "memory", *f"-L -n --watch {order}".split()], env) == 0
    assert list_endpoints(screen.frames[0]) == expected


def test_save_has_the_order_of_the_listing() -> None:
    found = [line.split() for line in run("-S -n").splitlines()]
    assert [words[4] if words[0] == "-a" else words[2] for words in found] == SORTED


def test_a_full_save_keeps_the_order_of_servers() -> None:
    found = [line.split() for line in run("-S -n --full").splitlines()]
    assert [words[4] if words[0] == "-a" else words[2] for words in found if words[0] in ("-A", "-a")] == [
        "10.0.0.8:80", "10.0.1.4:80", "10.0.1.3:80",
        "10.0.0.9:80", "10.0.1.2:80", "10.0.1.10:80", "10.0.1.2:79",
    ]  # fmt: skip


class CountingBackend(MemoryBackend):
    """Count the services of which servers were read."""

    count = 0

    def read_servers(self, service: Service) -> list[Server]:
        self.count += 1
        return super().read_servers(service)


@pytest.mark.parametrize(
    "view", ["", "--stats", "--json", "--json --shares", "--real-server 10.0.1.2"]
)
def test_servers_are_read_when_their_turn_comes(view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "BLOCK_LINES", 1)
    backend = CountingBackend()
    apply_all(backend, (*RULES, "-a -t 10.0.0.8:80 -r 10.0.1.2 -m"))
    request = CommandParser(f"-L -n {view}".split(), FakeNames()).parse_request()
    counts = [
        backend.count
        for text in listing.render(request, backend, FakeEnvironment())
        if "10.0.0" in text
    ]
    assert counts == [1, 2]


@given(st.lists(st.integers(0, 2**32 - 1), unique=True))
def test_pairs_sort_as_their_services(addresses: list[int]) -> None:
    services = [Service(AF_INET, TCP, number.to_bytes(4, "big"), 80) for number in addresses]
    pairs = sorting.sort_table([(service, number) for service, number in zip(services, addresses)])
    assert [service for service, _ in pairs] == sorting.sort_services(services)
    assert all(service.addr == number.to_bytes(4, "big") for service, number in pairs)


def test_views_do_not_sort() -> None:
    """Only procfs sorts: the kernel's text, which never becomes records."""
    importing = {
        path.stem
        for path in Path(next(iter(views.__path__))).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and "sorting" in (node.module, *(n.name for n in node.names))
    }
    assert importing == {"procfs"}
