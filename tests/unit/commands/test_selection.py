"""Test which rows and connections a listing shows, and the messages for invalid selectors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm import cli
from pyipvsadm.addresses import Endpoint
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.commands.selection import Selection, parse_network
from pyipvsadm.errors import UsageError
from pyipvsadm.grammar.schedulers import SCHEDULERS
from pyipvsadm.model import AF_INET, AF_INET6, TCP, Server, Service
from tests.unit.fake_environment import FakeEnvironment, FakeNames, apply_all

NAMES = FakeNames({"web.example.com": (AF_INET, bytes([10, 0, 1, 1]))}, {("http", TCP): 80})
RULES = (
    "-A -t 10.0.0.1:80 -s rr",
    "-a -t 10.0.0.1:80 -r 10.0.1.1 -w 1",
    "-a -t 10.0.0.1:80 -r 10.0.1.2 -w 0",
    "-A -t 10.0.0.1:81 -s wrr",
    "-a -t 10.0.0.1:81 -r 10.0.1.1:8080 -m -w 0",
    "-A -t [fd00::1]:80 -s rr",
    "-a -t [fd00::1]:80 -r [fd00::11]:80 -m",
    "-A -f 5 -s rr",
)
HEADING = b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
LINES = (
    b"TCP 0A010107 C001 0A000001 0050 0A000101 0050 ESTABLISHED     899\n",
    b"TCP 0A010108 C002 0A000001 0051 0A000101 1F90 ESTABLISHED     899\n",
    b"UDP 0A020107 C003 0A000001 0050 0A000102 0050 UDP              65\n",
    (
        b"TCP fd00:0000:0000:0000:0000:0000:0000:0077 C004 fd00:0000:0000:0000:0000:0000:0000:0001 0050 "
        b"fd00:0000:0000:0000:0000:0000:0000:0011 0050 FIN_WAIT         10\n"
    ),
)


class Connected(MemoryBackend):
    def iter_connections(self) -> Any:
        yield HEADING
        yield from LINES


def env() -> FakeEnvironment:
    made = FakeEnvironment(table=Connected(), names=NAMES)
    apply_all(made.table, RULES)
    return made


def run(words: str) -> tuple[int, str, str]:
    made = env()
    return (cli.main(words.split(), made), *made.take())


# (options, the rows that are shown: each service's port or mark with its servers' last bytes)
ROWS: list[tuple[str, dict[str, list[str]]]] = [
    (
        "-s rr",
        {"10.0.0.1:80": ["10.0.1.1:80", "10.0.1.2:80"], "fd00::1:80": ["fd00::11:80"], "5": []},
    ),
    ("-s sed", {}),  # a scheduler that no service uses
    ("-r 10.0.1.1", {"10.0.0.1:80": ["10.0.1.1:80"], "10.0.0.1:81": ["10.0.1.1:8080"]}),
    ("-r 10.0.1.1:8080", {"10.0.0.1:81": ["10.0.1.1:8080"]}),
    ("-r web.example.com:http", {"10.0.0.1:80": ["10.0.1.1:80"]}),
    ("-r fd00::11", {"fd00::1:80": ["fd00::11:80"]}),
    ("-r 10.0.1.9", {}),
    ("--empty", {"5": []}),
    ("--quiesced", {"10.0.0.1:80": ["10.0.1.2:80"], "10.0.0.1:81": ["10.0.1.1:8080"]}),
    ("--quiesced -r 10.0.1.1", {"10.0.0.1:81": ["10.0.1.1:8080"]}),
    ("--quiesced -s rr", {"10.0.0.1:80": ["10.0.1.2:80"]}),
    ("--empty -s wrr", {}),
    ("-t 10.0.0.1:80 -r 10.0.1.1", {"10.0.0.1:80": ["10.0.1.1:80"]}),
    ("-f 5 -t 10.0.0.1:81 -s wrr", {"10.0.0.1:81": ["10.0.1.1:8080"]}),
]


def place(of: dict[str, Any]) -> str:
    return str(of["firewall_mark"]) if "firewall_mark" in of else f"{of['address']}:{of['port']}"


@pytest.mark.parametrize(("options", "left"), ROWS)
def test_rows(options: str, left: dict[str, list[str]]) -> None:
    status, stdout, stderr = run(f"-L -n --json {options}")
    assert (status, stderr) == (0, "")
    assert {
        place(row): [place(each) for each in row["servers"]]
        for row in json.loads(stdout)["services"]
    } == left


@pytest.mark.parametrize(
    "how", ["", "--stats", "--rate", "--thresholds", "--persistent-conn", "--tun-info", "--nosort"]
)
@pytest.mark.parametrize(("options", "left"), ROWS)
def test_it_combines_with_every_view(options: str, left: dict[str, list[str]], how: str) -> None:
    status, stdout, stderr = run(f"-L -n {options} {how}")
    assert (status, stderr) == (0, "")
    shown = [
        line.split()[1].replace("[", "").replace("]", "")
        for line in stdout.splitlines()
        if line[:5] != "  -> "
    ]
    servers = [
        line.split()[1].replace("[", "").replace("]", "")
        for line in stdout.splitlines()
        if line[:5] == "  -> "
    ]
    assert sorted(set(shown) - {"Virtual", "LocalAddress:Port"}) == sorted(left)
    assert sorted(servers[1:]) == sorted(each for found in left.values() for each in found)


# (options, which lines are shown)
CONNECTIONS: list[tuple[str, list[int]]] = [
    ("", [0, 1, 2, 3]),
    ("-t 10.0.0.1:80", [0]),
    ("-t 10.0.0.1", [0, 1]),
    ("-u 10.0.0.1", [2]),
    ("-t 10.0.0.1:80 -t [fd00::1]:80", [0, 3]),
    ("-t 10.9.9.9:80", []),
    ("-r 10.0.1.1", [0, 1]),
    ("-r 10.0.1.1:8080", [1]),
    ("-t 10.0.0.1:80 -r 10.0.1.2", []),
    ("--client 10.1.1.7", [0]),
    ("--client 10.1.0.0/16", [0, 1]),
    ("--client 10.1.255.255/16", [0, 1]),
    ("--client 0.0.0.0/0", [0, 1, 2]),
    ("--client ::/0", [3]),
    ("--client [fd00::]/64", [3]),
    ("--client 10.1.0.0/16 -t 10.0.0.1:81", [1]),
]


@pytest.mark.parametrize(("options", "left"), CONNECTIONS)
def test_connections(options: str, left: list[int]) -> None:
    status, stdout, stderr = run(f"-L -n -c {options}")
    assert (status, stderr) == (0, "")
    ports = [line.split()[3].rpartition(":")[2] for line in stdout.splitlines()[2:]]
    assert ports == [str(0xC001 + at) for at in left]
    documents = [json.loads(line) for line in run(f"-L -n -c --json {options}")[1].splitlines()]
    assert [str(each["client"]["port"]) for each in documents] == ports
    assert run(f"-L -c {options}")[1].count("\n") == 2 + len(left)


KNOWN = " ".join(SCHEDULERS)
FAULTS = [
    ("-L -s tats", f"no service has the scheduler `tats', and none of that name is known: {KNOWN}"),
    (
        "-L -f 5 -s tats",
        f"no service has the scheduler `tats', and none of that name is known: {KNOWN}",
    ),
    ("-L -r nowhere", "illegal real server address[:port] specified"),
    ("-L -r 10.0.1.1:sip", "illegal real server address[:port] specified"),
    ("-L -f 5 -r 10.0.1.1:sip", "illegal real server address[:port] specified"),
    (
        "-L -c -f 5",
        "connections do not say which firewall mark chose them: give the address and port that the mark stands for",
    ),
    ("-L -c --client nowhere", "illegal client `nowhere': it is ADDRESS or ADDRESS/PREFIX-LENGTH"),
    (
        "-L -c --client 10.0.0.1:80",
        "illegal client `10.0.0.1:80': it is ADDRESS or ADDRESS/PREFIX-LENGTH",
    ),
    ("-L -c --client=", "illegal client `': it is ADDRESS or ADDRESS/PREFIX-LENGTH"),
    ("-L -c --client 10.0.0.0/33", "illegal client `10.0.0.0/33': the prefix length is 0 to 32"),
    ("-L -c --client 10.0.0.0/", "illegal client `10.0.0.0/': the prefix length is 0 to 32"),
    ("-L -c --client ::/129", "illegal client `::/129': the prefix length is 0 to 128"),
    (
        "-L -c --client 10.0.0.0/255.0.0.0",
        "illegal client `10.0.0.0/255.0.0.0': the prefix length is 0 to 32",
    ),
]


@pytest.mark.parametrize(("words", "message"), FAULTS)
def test_faults(words: str, message: str) -> None:
    assert run(words) == (2, "", message + "\n")


def test_a_scheduler_of_somebody_s_own_can_be_selected() -> None:
    service = Service(AF_INET, TCP, bytes(4), 80, scheduler="own")
    Selection(scheduler="own").check_known([service])
    with pytest.raises(UsageError):
        Selection(scheduler="other").check_known([service])


def test_selecting_does_not_belong_in_rules() -> None:
    made = FakeEnvironment(stdin=b"-L -s rr\n")
    assert (cli.main(["-R"], made), *made.take()) == (
        2,
        "",
        "line 1: --scheduler does not belong in rules: give it on the command line\n",
    )


ADDRESSES = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))


@given(ADDRESSES, ADDRESSES, st.integers(0, 128))
def test_a_network_is_what_begins_with_its_bits(addr: bytes, other: bytes, length: int) -> None:
    from ipaddress import ip_address, ip_network  # noqa: PLC0415

    length = min(length, 8 * len(addr))
    theirs = ip_network((addr, length), strict=False)
    ours = parse_network(f"{ip_address(addr)}/{length}", FakeNames())
    for each in (addr, other, bytes(len(addr))):
        assert ours.contains(AF_INET6 if len(each) == 16 else AF_INET, each) == (
            ip_address(each) in theirs
        )


SERVERS = st.builds(
    Server, st.just(AF_INET), st.sampled_from([bytes([10, 0, 0, at]) for at in (1, 2)]), st.sampled_from([80, 81]),
    weight=st.integers(0, 1),
)  # fmt: skip
TABLES = st.lists(
    st.tuples(
        st.builds(
            Service,
            st.just(AF_INET),
            fwmark=st.integers(1, 9),
            scheduler=st.sampled_from(["rr", "sh"]),
        ),
        st.lists(SERVERS),
    )
)
SELECTIONS = st.builds(
    Selection,
    scheduler=st.sampled_from(["", "rr"]),
    server=st.one_of(
        st.none(),
        st.builds(
            Endpoint, st.just(AF_INET), st.just(bytes([10, 0, 0, 1])), st.sampled_from([None, 80])
        ),
    ),
    empty=st.booleans(),
    quiesced=st.booleans(),
)


@given(TABLES, SELECTIONS)
def test_selecting_is_the_same_for_each_row_and_twice_is_once(
    table: list[tuple[Service, list[Server]]], wanted: Selection
) -> None:
    rows = list(wanted.filter_rows(table))
    assert rows == [row for each in table for row in wanted.filter_rows([each])]
    assert list(wanted.filter_rows(rows)) == rows
    assert all(
        server in servers
        for service, found in rows
        for each, servers in table
        if each is service
        for server in found
    )
