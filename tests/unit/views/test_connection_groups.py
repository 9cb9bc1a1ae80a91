"""Test -L -c --by: what is counted, in which order it comes, and what is refused."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm import cli
from pyipvsadm.addresses import format_numeric
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.errors import OperationError
from pyipvsadm.grammar.options import GROUP_KEYS
from pyipvsadm.model import AF_INET, TCP
from pyipvsadm.views.connection_groups import count_groups, iter_text, parse_values
from pyipvsadm.views.connections import parse_connection
from pyipvsadm.views.progress import READING_BLOCK, show_reading
from tests.unit.fake_environment import FakeEnvironment, FakeNames
from tests.unit.views.test_connections import LINES
from tests.unit.views.test_json_document import valid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEADING = b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
WEB = b"TCP 0A0101%02X %04X 0A000001 0050 0A0002%02X 0050 %-11s %7d\n"
DNS = b"UDP 0A010109 C003 0A000001 0035 0A000201 0035 UDP             250\n"
IPV6 = (
    b"TCP fd00:0000:0000:0000:0000:0000:0000:0077 C004 fd00:0000:0000:0000:0000:0000:0000:0001 0050 "
    b"fd00:0000:0000:0000:0000:0000:0000:0011 0050 FIN_WAIT         10\n"
)
TEMPLATE = b"TCP 0A010107 0000 0A000001 0050 0A000201 0050 NONE             57\n"
MARK = b"IP  0A010107 0000 00000007 0000 0A000201 0000 ASSURED          57\n"
MARK6 = (
    b"IP  fd00:0000:0000:0000:0000:0000:0000:0077 0000 0000:0008:0000:0000:0000:0000:0000:0000 0000 "
    b"fd00:0000:0000:0000:0000:0000:0000:0011 0000 NONE             57\n"
)


def make_line(client: int, port: int, server: int, state: bytes) -> bytes:
    return WEB % (client, port, server, state, 100)


TABLE = (
    make_line(7, 50000, 1, b"ESTABLISHED"), make_line(7, 50001, 2, b"ESTABLISHED"), make_line(8, 50000, 1, b"FIN_WAIT"),
    DNS, IPV6, TEMPLATE, MARK, MARK6,
)  # fmt: skip


class Connected(MemoryBackend):
    lines: tuple[bytes, ...] = TABLE

    def iter_connections(self) -> Iterator[bytes]:
        yield HEADING
        yield from self.lines


NAMES = FakeNames({"web.example": (AF_INET, bytes([10, 0, 0, 1]))}, {("http", TCP): 80})


def run(words: str, lines: Sequence[bytes] = TABLE, **options: Any) -> str:
    table = Connected()
    table.lines = tuple(lines)
    env = FakeEnvironment(table=table, names=NAMES, **options)
    assert (cli.main(["-L", "-c", *words.split()], env), env.stderr) == (0, "")
    return env.take()[0]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            "-n --by=service",
            ("Connections Templates  Service\n"
            "          3         1  TCP 10.0.0.1:80\n"
            "          1         0  TCP [fd00::1]:80\n"
            "          1         0  UDP 10.0.0.1:53\n"
            "          0         1  FWM 7\n"
            "          0         1  FWM 8 IPv6\n"),
        ),
        (
            "-n --by=client",
            ("Connections Templates  Client\n"
            "          2         2  10.1.1.7\n"
            "          1         1  fd00::77\n"
            "          1         0  10.1.1.8\n"
            "          1         0  10.1.1.9\n"),
        ),
        (
            "-n --by=server",
            ("Connections Templates  Real server\n"
            "          2         1  10.0.2.1:80\n"
            "          1         0  10.0.2.1:53\n"
            "          1         0  10.0.2.2:80\n"
            "          1         0  [fd00::11]:80\n"
            "          0         1  10.0.2.1:0\n"
            "          0         1  [fd00::11]:0\n"),
        ),
        (
            "-n --by=state,protocol --client 10.1.1.7",
            ("Connections Templates  State        Protocol\n"
            "          2         0  ESTABLISHED  TCP\n"
            "          0         1  ASSURED      IP\n"
            "          0         1  NONE         TCP\n"),
        ),
        (
            "--by=service,server -t 10.0.0.1:80",
            ("Connections Templates  Service               Real server\n"
            "          2         1  TCP web.example:http  10.0.2.1:http\n"
            "          1         0  TCP web.example:http  10.0.2.2:http\n"),
        ),
    ],
)  # fmt: skip
def test_text(words: str, text: str) -> None:
    assert run(words) == text


def test_no_connections() -> None:
    assert run("-n --by=state", []) == "Connections Templates  State\n"
    assert run("-n --by=state --pretty", []) == "No connections.\n"
    document = valid(run("-n --by=state --json", []))
    assert document == {
        "format": 1,
        "by": ["state"],
        "connections": 0,
        "templates": 0,
        "groups": [],
    }


def test_the_document() -> None:
    document = valid(run("--by=service,state --json -t 10.0.0.1:80"))
    service = {
        "protocol": "tcp", "family": "ipv4", "address": "10.0.0.1", "port": 80, "host_name": "web.example",
        "port_name": "http",
    }  # fmt: skip
    assert document["groups"] == [
        {"connections": 2, "templates": 0, "service": service, "state": "ESTABLISHED"},
        {"connections": 1, "templates": 0, "service": service, "state": "FIN_WAIT"},
        {"connections": 0, "templates": 1, "service": service, "state": "NONE"},
    ]
    groups = valid(run("-n --by=protocol,client,server,service --json"))["groups"]
    assert {
        "connections": 0, "templates": 1, "protocol": "ip", "client": {"family": "ipv6", "address": "fd00::77"},
        "server": {"family": "ipv6", "address": "fd00::11", "port": 0}, "service": {"family": "ipv6", "firewall_mark": 8},
    } in groups  # fmt: skip
    assert "port_name" not in valid(run("--by=client --json"))["groups"][0]["client"]


def test_for_a_person() -> None:
    text = run(
        "-n --by=service --pretty",
        [*TABLE, *[DNS] * 1234],
        shows=(70, 24),
        environ={"LC_ALL": "C.UTF-8"},
    )
    assert text.startswith("1,239 connections  3 persistence templates  in 5 groups\n")
    assert re.search(r"^UDP 10\.0\.0\.1:53 +1,235 █+▉? +0$", text, re.MULTILINE)
    assert "Templates" not in run("-n --by=service --pretty", [DNS])
    assert run("-n --by=service --pretty", [DNS]).startswith("1 connection  in 1 group\n")
    assert run("-n --by=service --pretty", [MARK]).startswith(
        "0 connections  1 persistence template  in 1 group\n"
    )


def model(lines: Sequence[bytes], keys: Sequence[str]) -> dict[tuple[Any, ...], list[int]]:
    """Count by whole records."""
    every: Counter[tuple[Any, ...]] = Counter()
    templates: Counter[tuple[Any, ...]] = Counter()
    for line in lines:
        found = parse_connection(line)
        values = {
            "client": (*found.client[:2], 0), "server": found.server, "service": (found.protocol, *found.virtual),
            "state": found.state, "protocol": found.protocol,
        }  # fmt: skip
        group = tuple(values[key] for key in keys)
        every[group] += 1
        templates[group] += found.is_template
    return {group: [every[group] - templates[group], templates[group]] for group in every}


some_lines = st.lists(
    st.one_of(
        st.builds(
            make_line, st.integers(1, 3), st.sampled_from([0, 50000, 50001]), st.integers(1, 3),
            st.sampled_from([b"ESTABLISHED", b"NONE", b"ASSURED", b"TIME_WAIT"]),
        ),
        st.sampled_from([*TABLE, *(line for name, (line, *_) in LINES.items() if name != "addresses as text")]),
    ),
    max_size=40,
)  # fmt: skip
some_keys = st.lists(st.sampled_from(GROUP_KEYS), min_size=1, max_size=5, unique=True)


@given(some_lines, some_keys)
def test_counts_are_those_of_whole_records(lines: list[bytes], keys: list[str]) -> None:
    groups = count_groups(lines, keys)
    found = {tuple(parse_values(group, keys)[0]): [*group[1:]] for group in groups}
    assert (found, len(found)) == (model(lines, keys), len(groups))
    order = [(-group.connections, -group.templates) for group in groups]
    assert order == sorted(order)


def test_lines_as_long_as_those_in_fixed_columns() -> None:
    line = b"TCP 10.1.1.70 C35 0A000001 0050 0A000201 0050 ESTABLISHED     100\n"
    assert len(line) == len(DNS)
    (group,) = count_groups([line], ["client"])
    assert parse_values(group, ["client"])[0] == [(AF_INET, bytes([10, 1, 1, 70]), 0)]


def test_many_lines_are_counted_in_batches() -> None:
    lines = [make_line(n % 3, n, 1, b"ESTABLISHED") for n in range(2000)] + [TEMPLATE]
    assert [group.connections for group in count_groups(lines, ["protocol"])] == [2000]


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        (b"TCP 0A010101\n", ["state"]),
        (b"TCP 0A010107 C350 0A00000Z 0050 0A000201 0050 ESTABLISHED     100\n", ["service"]),
        (b"TCP 0A010107 C350 0A000001 0050 0A000201 005Z ESTABLISHED     100\n", ["server"]),
        (b"TCP \xff010107\xff C350 0A000001 0050 0A000201 0050 ESTABLISHED   100\n", ["client"]),
        (b"TCP fd00::zz C350 0A000001 0050 0A000201 0050 ESTABLISHED   100\n", ["client"]),
        (b"TCP 0A0101 7 C350 0A000001 0050 0A000201 0050 ESTABLISHED     100\n", ["client"]),
    ],
)
def test_what_is_no_connection_is_refused(line: bytes, keys: list[str]) -> None:
    with pytest.raises(OperationError, match="unexpected input from /proc/net/ip_vs_conn: "):
        list(iter_text(count_groups([DNS, line], keys), keys, format_numeric))
    with pytest.raises(OperationError, match="unexpected input from /proc/net/ip_vs_conn: "):
        list(iter_text(count_groups([line], keys), keys, format_numeric))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-L -c --by=port", "illegal by specified: `port' is none of client, server, service, state, protocol"),
        ("-L -c --by=state,", "illegal by specified"),
        ("-L -c --by=state,state", "illegal by specified"),
        ("-L --by=state", "You need to supply the 'connection' option for the 'by' option"),
        ("-L -c --by=state --watch", "The option 'by' conflicts with the 'watch' option"),
        ("-L -c --by=state --nosort", "The option 'by' conflicts with the 'nosort' option"),
    ],
)  # fmt: skip
def test_refused_command_lines(words: str, message: str) -> None:
    env = FakeEnvironment()
    assert cli.main(words.split(), env) == 2
    assert env.stderr.startswith(message)


def test_odd_text_of_a_state_reaches_no_terminal() -> None:
    line = DNS.replace(b"UDP        ", b"U\x1b[31m     ")
    assert "\x1b" not in run("-n --by=state", [line], shows=(80, 24))
    (group,) = count_groups([line], ["state"])
    assert list(iter_text([group], ["state"], format_numeric))[1].endswith("U\x1b[31m\n")


def test_reading_is_shown_only_while_it_takes_long() -> None:
    drawn: list[str] = []
    clock = iter([0.0, 0.5, 1.5, 1.6, 2.7])
    lines = range(4 * READING_BLOCK + 5)
    assert list(show_reading(lines, drawn.append, lambda: next(clock))) == list(lines)
    assert drawn == ["\r2,048 connections read", "\r4,096 connections read", "\r" + " " * 22 + "\r"]
    drawn.clear()
    assert list(show_reading(range(10), drawn.append, lambda: 0.0)) == list(range(10))
    assert drawn == []


def test_reading_is_shown_on_a_terminal() -> None:
    env = FakeEnvironment(table=Connected(), seen=True)
    env.table.lines = (DNS,) * (2 * READING_BLOCK)  # type: ignore[attr-defined]
    times = iter(range(10))
    env.read_clock = lambda: float(next(times))  # type: ignore[method-assign]
    assert cli.main(["-L", "-c", "-n", "--by=protocol"], env) == 0
    assert env.stderr.startswith("\r1,024 connections read\r2,048 connections read\r")
    assert env.stdout == "Connections Templates  Protocol\n       2048         0  UDP\n"
