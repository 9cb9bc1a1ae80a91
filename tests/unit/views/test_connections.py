"""Test /proc/net/ip_vs_conn: lines as the kernel prints them (ip_vs_conn.c: ip_vs_conn_seq_show),
and the reference's lines for them.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm.addresses import format_numeric
from pyipvsadm.errors import OperationError
from pyipvsadm.model import AF_INET, AF_INET6, SCTP, TCP, UDP
from pyipvsadm.views import connections
from pyipvsadm.views.connections import (
    TITLE,
    TITLE_ENGINE,
    Connection,
    NumericFormatter,
    format_connection,
    parse_connection,
)
from tools.bench import rows

CLIENT = (AF_INET, bytes([10, 1, 1, 1]), 26000)
VIRTUAL = (AF_INET, bytes([10, 1, 1, 1]), 80)
SERVER = (AF_INET, bytes([10, 2, 0, 1]), 8080)
SERVER6 = (AF_INET6, bytes.fromhex("fd000002000000000000000000000009"), 80)
CLIENT6 = (AF_INET6, bytes.fromhex("fd000001000000000000000000000007"), 65535)
VIRTUAL6 = (AF_INET6, bytes.fromhex("fd000001000000000000000000000001"), 443)

# (the kernel's line, its fields, the listing's line, the listing's line with engines)
LINES: dict[str, tuple[bytes, Connection, str, str]] = {
    "TCP": (
        b"TCP 0A010101 6590 0A010101 0050 0A020001 1F90 ESTABLISHED     899\n",
        Connection("TCP", CLIENT, VIRTUAL, SERVER, "ESTABLISHED", 899),
        "TCP 14:59  ESTABLISHED 10.1.1.1:26000     10.1.1.1:80        10.2.0.1:8080\n",
        "TCP 14:59  ESTABLISHED 10.1.1.1:26000     10.1.1.1:80        10.2.0.1:8080\n",
    ),
    "UDP with an engine's data": (
        b"UDP 0A010101 6590 0A010101 0050 0A020001 1F90 UDP             117 sip abc123@host.example\n",
        Connection("UDP", CLIENT, VIRTUAL, SERVER, "UDP", 117, "sip", "abc123@host.example"),
        "UDP 01:57  UDP         10.1.1.1:26000     10.1.1.1:80        10.2.0.1:8080\n",
        "UDP 01:57  UDP         10.1.1.1:26000     10.1.1.1:80        10.2.0.1:8080    sip                abc123@host.example\n",
    ),
    "a template of a mark": (
        b"IP  0A010100 0000 00000007 0000 0A020001 0000 NONE             57\n",
        Connection(
            "IP",
            (AF_INET, bytes([10, 1, 1, 0]), 0),
            (AF_INET, bytes([0, 0, 0, 7]), 0),
            (AF_INET, SERVER[1], 0),
            "NONE",
            57,
        ),
        "IP  00:57  NONE        10.1.1.0:0         0.0.0.7:0          10.2.0.1:0\n",
        "IP  00:57  NONE        10.1.1.0:0         0.0.0.7:0          10.2.0.1:0\n",
    ),
    "an IPv6 server of an IPv4 service": (
        b"TCP 0A010101 6590 0A010101 0050 fd00:0002:0000:0000:0000:0000:0000:0009 0050 SYN_RECV         59\n",
        Connection("TCP", CLIENT, VIRTUAL, SERVER6, "SYN_RECV", 59),
        "TCP 00:59  SYN_RECV    10.1.1.1:26000     10.1.1.1:80        [fd00:2::9]:80\n",
        "TCP 00:59  SYN_RECV    10.1.1.1:26000     10.1.1.1:80        [fd00:2::9]:80\n",
    ),
    "IPv6": (
        (
            b"SCTP fd00:0001:0000:0000:0000:0000:0000:0007 FFFF fd00:0001:0000:0000:0000:0000:0000:0001 01BB "
            b"fd00:0002:0000:0000:0000:0000:0000:0009 0050 S-RECEIVED        0\n"
        ),
        Connection("SCTP", CLIENT6, VIRTUAL6, SERVER6, "S-RECEIVED", 0),
        "SCTP 00:00  S-RECEIVED  [fd00:1::7]:65535  [fd00:1::1]:443    [fd00:2::9]:80\n",
        "SCTP 00:00  S-RECEIVED  [fd00:1::7]:65535  [fd00:1::1]:443    [fd00:2::9]:80\n",
    ),
    "a long time, an odd protocol, no end of line": (
        b"IP_47 0A010101 6590 0A010101 0050 0A020001 1F90 ERR!        4294967",
        Connection("IP_47", CLIENT, VIRTUAL, SERVER, "ERR!", 4294967),
        "IP_47 71582:47 ERR!        10.1.1.1:26000     10.1.1.1:80        10.2.0.1:8080\n",
        "IP_47 71582:47 ERR!        10.1.1.1:26000     10.1.1.1:80        10.2.0.1:8080\n",
    ),
    "addresses as text": (  # 1.31 takes them so too
        b"TCP 10.1.1.1 6590 10.1.1.1 0050 10.2.0.1 1F90 CLOSE             9\n",
        Connection("TCP", CLIENT, VIRTUAL, SERVER, "CLOSE", 9),
        "TCP 00:09  CLOSE       10.1.1.1:26000     10.1.1.1:80        10.2.0.1:8080\n",
        "TCP 00:09  CLOSE       10.1.1.1:26000     10.1.1.1:80        10.2.0.1:8080\n",
    ),
    "an engine without data": (
        b"UDP 0A010101 6590 0A010101 0050 0A020001 1F90 UDP              60 sip \n",
        Connection("UDP", CLIENT, VIRTUAL, SERVER, "UDP", 60),
        "UDP 01:00  UDP         10.1.1.1:26000     10.1.1.1:80        10.2.0.1:8080\n",
        "UDP 01:00  UDP         10.1.1.1:26000     10.1.1.1:80        10.2.0.1:8080\n",
    ),
    "data of odd bytes": (
        b"UDP 0A010101 6590 0A010101 0050 0A020001 1F90 UDP              60 sip \xff\xc2\xa0\x1cid rest\n",
        Connection("UDP", CLIENT, VIRTUAL, SERVER, "UDP", 60, "sip", "\udcff\u00a0\x1cid"),
        "UDP 01:00  UDP         10.1.1.1:26000     10.1.1.1:80        10.2.0.1:8080\n",
        "UDP 01:00  UDP         10.1.1.1:26000     10.1.1.1:80        10.2.0.1:8080    sip                \udcff\u00a0\x1cid\n",
    ),
}


@pytest.mark.parametrize(
    ("line", "found", "listed", "with_engine"), LINES.values(), ids=LINES.keys()
)
def test_lines(line: bytes, found: Connection, listed: str, with_engine: str) -> None:
    assert parse_connection(line) == found
    assert format_connection(found, format_numeric, engine=False) == listed
    assert format_connection(found, format_numeric, engine=True) == with_engine


@pytest.mark.parametrize("expires", [b"73786976294838206", b"18446744073709551", b"2147483648"])
def test_a_timer_that_has_run_out_is_zero(expires: bytes) -> None:
    line = b"TCP 0A69FDA0 0000 0A69FDA0 0050 0AF40119 2590 NONE %s\n" % expires
    assert parse_connection(line).expires == 0
    assert NumericFormatter(False).format_line(line).startswith("TCP 00:00  NONE ")


GOOD = b"TCP 0A010101 6590 0A010101 0050 0A020001 1F90 ESTABLISHED     899\n"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"TCP\n",
        GOOD[:-5],  # no time
        GOOD.replace(b"899", b"soon"),
        GOOD.replace(b"899", b"9" * 5000),
        GOOD.replace(b"6590", b"port"),
        GOOD.replace(b"0A020001", b"10.2.0.256"),
        GOOD.replace(b"0A020001", b"10.2.1"),
        GOOD.replace(b"0A020001", b"fd00::2::9"),
        GOOD.replace(b"0A020001", b"fd00:2:"),
        GOOD.replace(b"0A020001", b"\xff"),
        b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n",
    ],
)
def test_what_is_no_connection(line: bytes) -> None:
    with pytest.raises(OperationError) as caught:
        parse_connection(line)
    assert str(caught.value) == f"unexpected input from /proc/net/ip_vs_conn: {line[:80]!r}"
    assert caught.value.status == 1


@given(
    st.one_of(
        st.binary(max_size=100), st.lists(st.sampled_from(GOOD.split()), max_size=12).map(b" ".join)
    )
)
def test_any_line_is_a_connection_or_fails(line: bytes) -> None:
    try:
        found = parse_connection(line)
    except OperationError:
        return
    assert format_connection(found, format_numeric, engine=True).startswith(found.protocol)


@pytest.mark.parametrize(
    ("protocol", "number"),
    [(b"TCP", TCP), (b"UDP", UDP), (b"SCTP", SCTP), (b"ICMP", 0), (b"IP", 0), (b"tcp", 0)],
)
def test_ports_have_names_in_a_protocol(protocol: bytes, number: int) -> None:
    asked = []

    def endpoint(*what: object) -> str:
        asked.append(what)
        return "x"

    format_connection(parse_connection(GOOD.replace(b"TCP", protocol)), endpoint, engine=False)
    assert asked == [(*end, number) for end in (CLIENT, VIRTUAL, SERVER)]


def test_names_are_cut_at_59_characters() -> None:
    def endpoint(_family: int, _addr: bytes, port: int, _protocol: int) -> str:
        return "n" * 60 + f":{port}"

    assert (
        format_connection(parse_connection(GOOD), endpoint, engine=False)
        == f"TCP 14:59  ESTABLISHED {'n' * 59} {'n' * 59} {'n' * 59}\n"
    )


def test_titles() -> None:
    assert (
        TITLE
        == "IPVS connection entries\npro expire state       source             virtual            destination\n"
    )
    assert TITLE_ENGINE == (
        "IPVS connection entries\n"
        "pro expire state       source             virtual            destination        pe name          pe_data\n"
    )


def outcome(line: bytes, reader: NumericFormatter | None, engine: bool) -> str:
    try:
        return (
            reader.format_line(line)
            if reader
            else format_connection(parse_connection(line), format_numeric, engine)
        )
    except OperationError as exc:
        return f"failed: {exc}"


WORDS = [
    *GOOD.split(),
    b"-1234567",
    b"00000000",
    b"\x1c",
    b"\xff",
    b"1_0",
    b"fd00:2::9",
    b"10.0.0.1",
    b"-1",
]


@pytest.mark.parametrize("bound", [connections.CACHE_LIMIT, 1])
@pytest.mark.parametrize("engine", [False, True])
@given(
    lines=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.lists(st.sampled_from(WORDS), min_size=8, max_size=12).map(b" ".join),
        )
    )
)
def test_lines_in_numbers_are_the_same_past_the_records(
    lines: list[bytes], engine: bool, bound: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "CACHE_LIMIT", bound)
        reader = NumericFormatter(engine)
        for line in (*[each[0] for each in LINES.values()], *lines):
            assert outcome(line, reader, engine) == outcome(line, None, engine)


def format_all(lines: list[bytes], engine: bool) -> list[str]:
    """Return the text by the definition; an error last."""
    found = []
    for line in lines:
        text = outcome(line, None, engine)
        found.append(text)
        if text.startswith("failed: "):
            break
    return found


FIELDS = (
    [b"TCP", b"UDP", b"IP ", b" TC", b"   ", b"\xffCP"],
    [
        b"0A000001",
        b"ffffffff",
        b"-1234567",
        b" A000001",
        b"0A 00001",
        b"0x00000A",
        b"::1     ",
        b"zzzzzzzz",
    ],
    [b"9C40", b"0050", b"-001", b"0x50", b"    ", b" 050", b"http"],
    [b"0A000002", b"00000000", b"1.2.3.4 "],
    [b"0050", b"FFFF", b"    "],
    [b"C0A80001", b"::      "],
    [b"1F90", b"1F9 "],
    [b"ESTABLISHED", b"UDP        ", b"A B        ", b"           "],
    [b"    900", b"      0", b"   1  2", b"     -1", b"      x"],
)


@pytest.mark.parametrize("bound", [connections.CACHE_LIMIT, 1])
@given(
    lines=st.lists(
        st.one_of(
            st.tuples(*(st.sampled_from(field) for field in FIELDS)).map(b" ".join),
            st.tuples(*(st.just(field[0]) for field in FIELDS)).map(b" ".join),
            st.sampled_from([each[0].rstrip(b"\n") for each in LINES.values()]),
        ).map(lambda line: line + b"\n"),
        min_size=1,
        max_size=6,
    ),
    size=st.integers(1, 3),
)
def test_many_lines_at_once_are_the_same(lines: list[bytes], size: int, bound: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "_BATCH", size)
        patch.setattr(connections, "CACHE_LIMIT", bound)
        found = []
        try:
            for text in NumericFormatter(engine=False).format_lines(lines):
                found.append(text)  # noqa: PERF402  # extend() would drop what came before an error
        except OperationError as exc:
            found.append(f"failed: {exc}")
        assert "".join(found) == "".join(format_all(lines, engine=False))


@pytest.mark.parametrize("place", [3, 12, 40, 65])
def test_lines_of_the_length_with_other_columns_are_parsed(place: int) -> None:
    (line,) = rows.make_connections(1).encode().splitlines(keepends=True)[1:]
    line = line[:place] + b"0" + line[place + 1 :]
    found: list[str] = []
    try:
        found += NumericFormatter(engine=False).format_lines([line])
    except OperationError as exc:
        found.append(f"failed: {exc}")
    assert found == format_all([line], engine=False)


def test_plain_lines_are_taken_at_once() -> None:
    lines = rows.make_connections(100).encode().splitlines(keepends=True)[1:]
    (text,) = NumericFormatter(engine=False).format_lines(lines)
    assert text == "".join(format_all(lines, engine=False))


def test_handshakes_that_stay_are_counted() -> None:
    states = [
        ("TCP", "SYN_RECV", 57), ("TCP", "SYN_RECV", 58), ("TCP", "ESTABLISHED", 3), ("TCP", "NONE", 20),
        ("TCP", "ASSURED", 20), ("UDP", "UDP", 20),
    ]  # fmt: skip
    lines = [
        f"{name} 0A000001 9C40 0A000002 0050 0A000003 0050 {state:11} {expires}\n".encode()
        for name, state, expires in states
    ]
    virtual, server = ((AF_INET, bytes([10, 0, 0, last]), 80) for last in (2, 3))
    assert connections.count_handshakes(iter(lines)) == {(virtual, server): (1, 3)}
    with pytest.raises(OperationError):
        connections.count_handshakes([b"TCP\n"])
