"""Test rule text both ways: how lines become words, how each record is written, and that the
written text is read back the same.

The writers are compared with literal lines; the reader with a transcription of the reference's loop
(config_stream.c); and both together with the scanner, with random records.
"""

from __future__ import annotations

import os
from itertools import product
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm import addresses
from pyipvsadm.grammar.parser import CommandParser
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    BACKUP,
    BYPASS,
    GRE,
    GUE,
    HASHED,
    IPIP,
    LOCAL,
    MASQ,
    MASTER,
    ONE_PACKET,
    PERSISTENT,
    ROUTE,
    SCHED1,
    SCHED2,
    SCHED3,
    SCTP,
    TCP,
    TUN_CSUM,
    TUN_REMCSUM,
    TUNNEL,
    UDP,
    Change,
    Daemon,
    Server,
    Service,
    Timeouts,
    to_row,
)
from pyipvsadm.resolver import Resolver
from pyipvsadm.rules import reader, writer

if TYPE_CHECKING:
    from pyipvsadm.model import Backend, Row

V4 = bytes([10, 0, 0, 1])
R4 = bytes([10, 0, 1, 1])
V6 = bytes.fromhex("20010db8000000000000000000000001")
R6 = bytes.fromhex("20010db8000000000000000000000002")

# --- lines into words

LINES: dict[str, tuple[bytes, list[tuple[int, list[str]]]]] = {
    "nothing": (b"", []),
    "a line": (b"-C\n", [(1, ["-C"])]),
    "words": (b"-A -t 10.0.0.1:80\n", [(1, ["-A", "-t", "10.0.0.1:80"])]),
    "no line end": (b"-C\n-Z", [(1, ["-C"]), (2, ["-Z"])]),
    "blank lines count": (b"\n\n-C\n \t\r\n-Z\n", [(3, ["-C"]), (5, ["-Z"])]),
    "CR LF": (b"-C\r\n-Z\r\n", [(1, ["-C"]), (2, ["-Z"])]),
    "CR alone is a blank": (b"-C\r-Z\n", [(1, ["-C", "-Z"])]),
    "tabs and many blanks": (b"\t-A  \t -t\tx \n", [(1, ["-A", "-t", "x"])]),
    "other blanks are part of a word": (b"-A\v-t\fx\n", [(1, ["-A\v-t\fx"])]),
    "blanks of Unicode too": ("-A\u00a0-t\u2028x\n".encode(), [(1, ["-A\u00a0-t\u2028x"])]),
    "the program's name": (b"ipvsadm -C\n", [(1, ["-C"])]),
    "the program's name anywhere": (b"-A ipvsadm -s ipvsadm\n", [(1, ["-A", "-s"])]),
    "the program's name alone": (b"ipvsadm\n-C\n", [(2, ["-C"])]),
    "not quite the program's name": (
        b"/sbin/ipvsadm IPVSADM ipvsadm-save\n",
        [(1, ["/sbin/ipvsadm", "IPVSADM", "ipvsadm-save"])],
    ),
    "a comment": (b"# -A -t x\n  # more\n#\n-C\n", [(4, ["-C"])]),
    "a comment behind the program's name": (b"ipvsadm #x\n-C\n", [(2, ["-C"])]),
    "# elsewhere is a word": (b"-C # all of it\n", [(1, ["-C", "#", "all", "of", "it"])]),
    "a NUL ends its word": (b"-C\0 -Z\0more\n", [(1, ["-C", "-Z"])]),
    "a NUL at the front leaves an empty word": (b"-C \0x\n", [(1, ["-C", ""])]),
    "the name and a NUL": (b"ipvsadm\0-C -Z\n", [(1, ["-Z"])]),
    "two blanks before a line end": (b"-Z  \n-C", [(1, ["-Z"]), (2, ["-C"])]),
    "a form feed at the very end": (b"-Z\f", [(1, ["-Z\f"])]),
    "a CR hides nothing behind a comment": (
        b"# web\r-Z\n-C\n",
        [(1, ["#", "web", "-Z"]), (2, ["-C"])],
    ),
    "nor does one of a comment with CR LF": (b" # web\r\n \r# more \r\r\n-C\r\n#\r", [(3, ["-C"])]),
    "UTF-8": ("-s caf\u00e9\n".encode(), [(1, ["-s", "caf\u00e9"])]),
    "what is no UTF-8": (b"-s caf\xe9\xff\n", [(1, ["-s", "caf\udce9\udcff"])]),
}


@pytest.mark.parametrize(("text", "found"), LINES.values(), ids=LINES.keys())
def test_lines(text: bytes, found: list[tuple[int, list[str]]]) -> None:
    assert list(reader.tokenize(text)) == found


@pytest.mark.parametrize(
    "end", ["", *("".join(end) for size in (1, 2, 3) for end in product(" \t\r\0", repeat=size))]
)
def test_no_last_line_is_lost(end: str) -> None:
    """The last line counts whatever follows it, and without a line end too: a NUL ends its word,
    and alone it is an empty word (no rule has one).
    """
    (*_, (at, words)) = reader.tokenize(f"-C\n-Z{end}".encode())
    assert (at, words[0], set(words[1:]) <= {""}) == (2, "-Z", True)


def test_a_line_of_a_megabyte() -> None:
    word = "x" * (1 << 20)
    assert list(reader.tokenize(f"-s {word}\n-C".encode())) == [(1, ["-s", word]), (2, ["-C"])]
    assert [(at, len(words)) for at, words in reader.tokenize(b"-n " * (1 << 20))] == [(1, 1 << 20)]
    assert list(reader.tokenize(b"-C\n-Z" + b" " * (1 << 20))) == [(1, ["-C"]), (2, ["-Z"])]


def stream(text: bytes) -> list[list[bytes]]:
    """Read words as the reference's loop does: fscanf of a word and the blank after it, or of
    single characters where no word comes.

    One difference: a last line that ends in blanks counts here. The reference has read it and
    forgets it at the end of the input.
    """
    found: list[list[bytes]] = []
    at = 0
    while True:
        words: list[bytes] = []
        while True:
            if at == len(text):
                return [line for line in [*found, words] if line]
            end = at
            while end < len(text) and text[end] not in b" \t\n\r":
                end += 1
            if end > at:
                word = text[at:end].partition(b"\0")[0]
                if word != b"ipvsadm":
                    words.append(word)
                at = end + 1
                if text[end : end + 1] == b"\n":
                    break
                at = min(at, len(text))
                continue
            while at < len(text) and text[at] in b" \t\r":
                at += 1
            if at == len(text):
                return [line for line in [*found, words] if line]
            if text[at : at + 1] == b"\n":
                at += 1
                break
        found.append(words)


PIECES = st.sampled_from(
    [
        b" ",
        b" ",
        b"\t",
        b"\r",
        b"\n",
        b"\n",
        b"\0",
        b"\v",
        b"\xff",
        b"-A",
        b"ipvsadm",
        "\u00e9".encode(),
    ]
)


@given(st.lists(PIECES, max_size=20).map(b"".join))
def test_words_are_the_reference_s(text: bytes) -> None:
    found = list(reader.tokenize(text))
    assert [[os.fsencode(word) for word in words] for _, words in found] == stream(text)
    numbers = [at for at, _ in found]
    assert numbers == sorted(set(numbers))
    assert all(1 <= at <= text.count(b"\n") + 1 for at in numbers)


# --- records into lines


def test_selectors() -> None:
    cases = [
        (Service(AF_INET, TCP, V4, 80), "-t 10.0.0.1:80"),
        (Service(AF_INET, UDP, V4, 53), "-u 10.0.0.1:53"),
        (Service(AF_INET, SCTP, V4, 9), "--sctp-service 10.0.0.1:9"),
        (Service(AF_INET, 99, V4, 1), "--xxx-service 10.0.0.1:1"),
        (Service(AF_INET6, TCP, V6, 80), "-t [2001:db8::1]:80"),
        (Service(AF_INET, fwmark=5), "-f 5"),
        (Service(AF_INET6, fwmark=5), "-f 5 -6"),
        (Service(AF_INET, fwmark=0xFFFFFFFF), "-f 4294967295"),  # 1.31 writes -1
    ]
    assert [writer.format_selector(service, addresses.format_numeric) for service, _ in cases] == [
        text for _, text in cases
    ]


def test_a_selector_asks_for_the_name_of_its_endpoint() -> None:
    asked = []

    def endpoint(*what: object) -> str:
        asked.append(what)
        return "www:http"

    assert writer.format_selector(Service(AF_INET, UDP, V4, 80), endpoint) == "-u www:http"
    assert asked == [(AF_INET, V4, 80, UDP)]


def service(
    flags: int = 0,
    scheduler: str = "rr",
    timeout: int = 0,
    netmask: int | None = None,
    pe: str = "",
    af: int = AF_INET,
) -> Service:
    mask = netmask if netmask is not None else 128 if af == AF_INET6 else 0xFFFFFFFF
    return Service(af, TCP, V4 if af == AF_INET else V6, 80, 0, scheduler, flags, timeout, mask, pe)


# (service, the text of -S, the text of the full form), after `-A NAMED`
SERVICE_RULES: list[tuple[Service, str, str]] = [
    (service(), "-s rr", "-s rr"),
    (service(HASHED), "-s rr", "-s rr"),
    (service(PERSISTENT, timeout=360), "-s rr -p 360", "-s rr -p 360"),
    (service(PERSISTENT, timeout=300, netmask=0xFFFFFF00), "-s rr -p 300 -M 255.255.255.0", "-s rr -p 300 -M 255.255.255.0"),
    (service(PERSISTENT, timeout=300, netmask=0), "-s rr -p 300 -M 0.0.0.0", "-s rr -p 300 -M 0.0.0.0"),
    (service(netmask=0xFFFFFF00), "-s rr", "-s rr -M 255.255.255.0"),
    (service(PERSISTENT, timeout=5, af=AF_INET6), "-s rr -p 5", "-s rr -p 5"),
    (service(PERSISTENT, timeout=5, netmask=64, af=AF_INET6), "-s rr -p 5 -M 64", "-s rr -p 5 -M 64"),
    (service(netmask=64, af=AF_INET6), "-s rr", "-s rr -M 64"),
    (service(pe="sip"), "-s rr --pe sip", "-s rr --pe sip"),
    (service(ONE_PACKET), "-s rr -o", "-s rr -o"),
    (service(SCHED1), "-s rr -b flag-1", "-s rr -b flag-1"),
    (service(SCHED1 | SCHED2 | SCHED3), "-s rr -b flag-1,flag-2,flag-3", "-s rr -b flag-1,flag-2,flag-3"),
    (service(SCHED1 | SCHED2, "sh"), "-s sh -b sh-fallback,sh-port", "-s sh -b sh-fallback,sh-port"),
    (service(SCHED1, "mh"), "-s mh -b mh-fallback", "-s mh -b mh-fallback"),
    (service(SCHED2, "mh"), "-s mh -b mh-port", "-s mh -b mh-port"),
    (service(SCHED2 | SCHED3, "mh"), "-s mh -b mh-port", "-s mh -b mh-port,flag-3"),
    # sh has no name for it: 1.31 leaves the blank
    (service(SCHED3, "sh"), "-s sh -b ", "-s sh -b flag-3"),
    (
        service(PERSISTENT | ONE_PACKET | SCHED3, "wlc", 60, 0xFF000000, "sip"),
        "-s wlc -p 60 -M 255.0.0.0 --pe sip -o -b flag-3",
        "-s wlc -p 60 -M 255.0.0.0 --pe sip -o -b flag-3",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("found", "saved", "full"), SERVICE_RULES)
def test_service_rule(found: Service, saved: str, full: str) -> None:
    assert writer.format_service(found, "NAMED") == f"-A NAMED {saved}\n"
    assert writer.format_service(found, "NAMED", full=True) == f"-A NAMED {full}\n"


def server(
    forward: int = ROUTE,
    weight: int = 1,
    upper: int = 0,
    lower: int = 0,
    tunnel: tuple[int, int, int] = (IPIP, 0, 0),
) -> Server:
    return Server(AF_INET, R4, 80, forward, weight, upper, lower, *tunnel)


SERVER_RULES: list[tuple[Server, str]] = [
    (server(), "-g -w 1"),
    (server(MASQ, 0), "-m -w 0"),
    (server(LOCAL), "-g -w 1"),  # the kernel finds out by itself that a server is local
    (server(BYPASS, 65535), "4 -w 65535"),
    (server(upper=100), "-g -w 1 -x 100"),
    (server(lower=50), "-g -w 1 -y 50"),
    (server(MASQ, 2, 4294967295, 1), "-m -w 2 -x 4294967295 -y 1"),
    (server(TUNNEL), "-i -w 1 --tun-type ipip"),
    (server(TUNNEL, 3, 100, 50), "-i -w 3 -x 100 -y 50 --tun-type ipip"),
    (server(TUNNEL, tunnel=(IPIP, 6080, TUN_CSUM)), "-i -w 1 --tun-type ipip"),
    (server(TUNNEL, tunnel=(GUE, 6080, 0)), "-i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum"),
    (
        server(TUNNEL, tunnel=(GUE, 6080, TUN_CSUM)),
        "-i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
    ),
    (
        server(TUNNEL, tunnel=(GUE, 6080, TUN_REMCSUM)),
        "-i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum",
    ),
    (
        server(TUNNEL, tunnel=(GUE, 6080, 3)),
        "-i -w 1 --tun-type gue --tun-port 6080 --tun-csum --tun-remcsum",
    ),
    (server(TUNNEL, tunnel=(GUE, 6080, 4)), "-i -w 1 --tun-type gue --tun-port 6080 4"),
    (server(TUNNEL, tunnel=(GRE, 0, 0)), "-i -w 1 --tun-type gre --tun-nocsum"),
    (server(TUNNEL, tunnel=(GRE, 0, TUN_CSUM)), "-i -w 1 --tun-type gre --tun-csum"),
    (server(TUNNEL, tunnel=(3, 7, 0)), "-i -w 1 --tun-type 3 --tun-port 7 --tun-nocsum"),
    (server(ROUTE, tunnel=(GUE, 6080, 1)), "-g -w 1"),
]


@pytest.mark.parametrize(("found", "rule"), SERVER_RULES)
def test_server_options(found: Server, rule: str) -> None:
    values = to_row(found, writer.TableRules.COLUMNS)
    assert writer.format_server_options(*values[2:]) == f" {rule}\n"


def test_servers_are_named_in_the_protocol_of_their_service() -> None:
    asked = []

    def endpoint(*what: object) -> str:
        asked.append(what)
        return f"name{len(asked)}"

    rules = writer.TableRules(endpoint)
    four, six = (
        to_row(d, rules.COLUMNS)
        for d in (Server(AF_INET, bytes(4), 80, MASQ), Server(AF_INET6, bytes(16), 1))
    )
    marked = Service(AF_INET, fwmark=1, scheduler="rr")
    tcp, udp = Service(AF_INET, TCP, bytes(4), 80), Service(AF_INET, UDP, bytes(4), 80)
    assert rules.format_tables([(tcp, [four, six, four]), (marked, []), (udp, [four])]) == (
        "-A -t name4 -s wlc\n"
        "-a -t name4 -r name1 -m -w 1\n"
        "-a -t name4 -r name2 -g -w 1\n"
        "-a -t name4 -r name1 -m -w 1\n"
        "-A -f 1 -s rr\n"
        "-A -u name5 -s wlc\n"
        "-a -u name5 -r name3 -m -w 1\n"
    )
    assert asked == [
        (AF_INET, bytes(4), 80, TCP),
        (AF_INET6, bytes(16), 1, TCP),
        (AF_INET, bytes(4), 80, UDP),
        (AF_INET, bytes(4), 80, TCP),
        (AF_INET, bytes(4), 80, UDP),
    ]


def test_timeouts_rule() -> None:
    assert writer.format_timeouts(Timeouts(900, 120, 300)) == "--set 900 120 300\n"


@pytest.mark.parametrize(
    ("daemon", "rule"),
    [
        (Daemon(MASTER, "eth0"), "master --mcast-interface eth0 --syncid 0"),
        (
            Daemon(BACKUP, "lo", 255, 1400),
            "backup --mcast-interface lo --syncid 255 --sync-maxlen 1400",
        ),
        (
            Daemon(MASTER, "lo", 1, 1472, bytes([224, 0, 0, 81]), 8848, 1),
            "master --mcast-interface lo --syncid 1 --sync-maxlen 1472 --mcast-group 224.0.0.81 --mcast-port 8848 --mcast-ttl 1",
        ),
        (
            Daemon(BACKUP, "lo", group=bytes.fromhex("ff020000000000000000000000000081")),
            "backup --mcast-interface lo --syncid 0 --mcast-group ff02::81",
        ),
        (Daemon(3, "lo"), "3 --mcast-interface lo --syncid 0"),
    ],
)
def test_daemon_rule(daemon: Daemon, rule: str) -> None:
    assert writer.format_daemon(daemon) == f"--start-daemon {rule}\n"


@pytest.mark.parametrize(
    ("family", "addr", "text"), [(AF_INET, V4, "10.0.0.1:80"), (AF_INET6, V6, "[2001:db8::1]:80")]
)
def test_numeric(family: int, addr: bytes, text: str) -> None:
    assert addresses.format_numeric(family, addr, 80) == text
    assert addresses.format_numeric(family, addr, 80, TCP) == text


class Fixed:
    """Hold a table of given records; servers newest first, as a backend gives them."""

    def __init__(self, rows: list[tuple[Service, list[Server]]], daemons: list[Daemon]) -> None:
        self._rows = rows
        self._daemons = daemons

    def read_timeouts(self) -> Timeouts:
        return Timeouts(900, 120, 300)

    def read_daemons(self) -> list[Daemon]:
        return self._daemons

    def read_services(self, counters: bool = True) -> list[Service]:
        assert not counters
        return [service for service, _ in self._rows]

    def read_servers(self, wanted: Service) -> list[Server]:
        return next(servers for service, servers in self._rows if service is wanted)


def dump_rows(rows: list[tuple[Service, list[Server]]], daemons: list[Daemon]) -> str:
    return "".join(writer.dump_table(cast("Backend", Fixed(rows, daemons))))


@pytest.mark.parametrize("lines", [1, 2, 3, 1000])
def test_a_table_is_dumped_as_rules(lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many lines are joined at once."""
    monkeypatch.setattr(writer, "BLOCK_LINES", lines)
    newest, oldest = server(MASQ), Server(AF_INET6, R6, 0, TUNNEL)
    rows = [
        (service(SCHED1, "sh", netmask=0xFFFFFF00), [newest, oldest]),
        (Service(AF_INET6, fwmark=5, netmask=128), []),
    ]
    assert dump_rows(rows, [Daemon(MASTER, "lo"), Daemon(BACKUP, "lo")]) == (
        "# ipvsadm rules, format 1\n"
        "--set 900 120 300\n"
        "--start-daemon master --mcast-interface lo --syncid 0\n"
        "--start-daemon backup --mcast-interface lo --syncid 0\n"
        "-A -t 10.0.0.1:80 -s sh -M 255.255.255.0 -b sh-fallback\n"
        "-a -t 10.0.0.1:80 -r [2001:db8::2]:0 -i -w 1 --tun-type ipip\n"
        "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 1\n"
        "-A -f 5 -6 -s wlc\n"
    )


# --- records into lines into words into records


class NoNames(Resolver):
    """Fail if a name is looked up: full rules are numbers."""

    def find_host(self, name: str) -> bytes | None:
        raise AssertionError(name)

    def find_port(self, name: str, protocol: int) -> int | None:
        raise AssertionError(name, protocol)


def read(text: str) -> list[Change]:
    """Return the changes that a text of rules asks for."""
    requests = [
        CommandParser(words, NoNames()).parse_request()
        for _, words in reader.tokenize(os.fsencode(text))
    ]
    return [request.change for request in requests if request.change is not None]


def names(size: int) -> st.SearchStrategy[str]:
    """Return a strategy for names of up to size bytes, of which some are no UTF-8; without word
    separators, and without popt's substitution mark.
    """
    usual = st.sampled_from([b"rr", b"wlc", b"sh", b"mh", b"sip", b"-", b"--", b"-n", b"#", b"="])
    odd = st.binary(min_size=1, max_size=size).filter(
        lambda name: (
            not set(name) & set(b"\0\t\n\r ") and name != b"ipvsadm" and b"!#:+" not in name
        )
    )
    return st.one_of(usual, odd).map(os.fsdecode)


def address_texts(family: int) -> st.SearchStrategy[bytes]:
    size = 4 if family == AF_INET else 16
    return st.one_of(
        st.binary(min_size=size, max_size=size), st.sampled_from([bytes(size), b"\xff" * size])
    )


PORTS = st.integers(1, 65535)
BITS = st.sampled_from([SCHED1, SCHED2, SCHED3])


@st.composite
def services(draw: st.DrawFn) -> Service:
    """Draw any service that the grammar can express."""
    family = draw(st.sampled_from([AF_INET, AF_INET6]))
    found = Service(family, scheduler=draw(names(15)))
    if draw(st.booleans()):
        found.fwmark = draw(st.integers(1, 0xFFFFFFFF))
    else:
        found.protocol = draw(st.sampled_from([TCP, UDP, SCTP]))
        found.addr = draw(address_texts(family))
        found.port = draw(PORTS)
    if draw(st.booleans()):
        found.flags |= PERSISTENT
        found.timeout = draw(st.integers(1, 86400 * 31))
        if not found.fwmark and draw(st.booleans()):
            found.port = 0
    if (found.fwmark or found.protocol == UDP) and draw(st.booleans()):
        found.flags |= ONE_PACKET
    found.flags |= sum(draw(st.sets(BITS)))
    found.netmask = draw(st.integers(1, 128) if family == AF_INET6 else st.integers(0, 0xFFFFFFFF))
    found.pe = draw(st.one_of(st.just(""), names(16)))
    return found


@st.composite
def servers(draw: st.DrawFn, of: Service) -> Server:
    """Draw any real server of that service that the grammar can express."""
    forward = draw(st.sampled_from([MASQ, TUNNEL, ROUTE]))
    family = draw(st.sampled_from([AF_INET, AF_INET6])) if forward == TUNNEL else of.af
    port = draw(st.integers(0, 65535)) if of.fwmark or forward == MASQ else of.port
    found = Server(family, draw(address_texts(family)), port, forward, draw(st.integers(0, 65535)))
    found.upper = draw(st.integers(0, 0x7FFFFFFF))
    found.lower = draw(st.integers(0, 0x7FFFFFFF))
    if forward == TUNNEL:
        found.tun_type = draw(st.sampled_from([IPIP, GUE, GRE]))
        if found.tun_type == GUE:
            found.tun_port = draw(PORTS)
            found.tun_flags = draw(st.sampled_from([0, TUN_CSUM, TUN_REMCSUM]))
        elif found.tun_type == GRE:
            found.tun_flags = draw(st.sampled_from([0, TUN_CSUM]))
    return found


@st.composite
def rows(draw: st.DrawFn) -> tuple[Service, list[Server]]:
    found = draw(services())
    return found, draw(st.lists(servers(found), max_size=4))


@st.composite
def daemons(draw: st.DrawFn) -> Daemon:
    groups = [
        st.just(b""),
        st.tuples(st.integers(0xE0, 0xEF), st.binary(min_size=3, max_size=3)).map(
            lambda parts: bytes([parts[0]]) + parts[1]
        ),
        st.binary(min_size=15, max_size=15).map(b"\xff".__add__),
    ]
    return Daemon(
        draw(st.sampled_from([MASTER, BACKUP])),
        draw(names(15)),
        draw(st.integers(0, 255)),
        draw(st.integers(0, 65507)),
        draw(st.one_of(groups)),
        draw(st.integers(0, 65535)),
        draw(st.integers(0, 255)),
    )


def by_name(of: Service) -> Service:
    """Return a service with only the fields by which a rule about one of its servers names it."""
    return Service(
        of.af,
        of.protocol,
        of.addr,
        of.port,
        of.fwmark,
        "",
        netmask=128 if of.af == AF_INET6 else 0xFFFFFFFF,
    )


@given(st.lists(rows(), max_size=4), st.lists(daemons(), max_size=2))
def test_the_full_form_loses_nothing(
    table: list[tuple[Service, list[Server]]], running: list[Daemon]
) -> None:
    found = read(dump_rows(table, running))
    assert [change.timeouts for change in found[:1]] == [Timeouts(900, 120, 300)]
    assert [change.daemon for change in found[1 : 1 + len(running)]] == running
    wanted: list[tuple[Service, Server | None]] = []
    for each, behind in table:
        wanted += [(each, None), *((by_name(each), d) for d in reversed(behind))]
    assert [(change.service, change.server) for change in found[1 + len(running) :]] == wanted


def saved(table: list[tuple[Service, list[Server]]]) -> str:
    rules = writer.TableRules(addresses.format_numeric)
    return rules.format_tables(
        [(each, [to_row(d, rules.COLUMNS) for d in behind]) for each, behind in table]
    )


@given(st.lists(rows(), max_size=4))
def test_what_is_saved_is_read_back(table: list[tuple[Service, list[Server]]]) -> None:
    # 1.31's form has no netmask without persistence and no name for the third flag of sh and mh.
    for each, _ in table:
        if not each.flags & PERSISTENT:
            each.netmask = by_name(each).netmask
        if each.scheduler in ("sh", "mh"):
            each.flags &= ~SCHED3
    found = read(saved(table))
    wanted: list[tuple[Service, Server | None]] = []
    for each, behind in table:
        wanted += [(each, None), *((by_name(each), d) for d in behind)]
    assert [(change.service, change.server) for change in found] == wanted


@given(st.integers(0, 86400 * 31), st.integers(0, 86400 * 31), st.integers(0, 86400 * 31))
def test_timeouts_are_read_back(tcp: int, tcp_fin: int, udp: int) -> None:
    found = Timeouts(tcp, tcp_fin, udp)
    assert [change.timeouts for change in read(writer.format_timeouts(found))] == [found]


WEB = Service(AF_INET, TCP, bytes(4), 80)


def numbered(count: int) -> list[Row]:
    """Return rows of this many servers, with four ports."""
    return [(number.to_bytes(4, "big"), (number & 3).to_bytes(2, "big")) for number in range(count)]


@given(
    st.lists(
        st.tuples(
            st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
            st.binary(min_size=2, max_size=2),
        )
    ),
    st.sampled_from([("", 0), ("  -> ", 33)]),
)
def test_numbers_are_written_as_a_name_would_be(rows: list[Row], shape: tuple[str, int]) -> None:
    """The two ways agree: the numbers written at once, and the texts asked for one by one."""
    asked = addresses.EndpointTexts(
        lambda family, addr, port, _: addresses.format_numeric(family, addr, port), *shape
    )
    numeric = addresses.EndpointTexts(addresses.format_numeric, *shape)
    assert numeric.format_tables([(WEB, rows)]) == asked.format_tables([(WEB, rows)])


def test_names_are_cut_and_padded() -> None:
    hosts = addresses.EndpointTexts(
        lambda *_: "a-long-name.example:80", "-> ", 8, {AF_INET: 4, 10: 30}
    )
    for _ in range(2):
        assert hosts.format_tables([(WEB, [(bytes(4), b"\0\1"), (bytes(16), b"\0\1")])]) == [
            "-> a-lo ",
            "-> a-long-name.example:80",
        ]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "CACHE_LIMIT", 3)
    monkeypatch.setattr(addresses, "CACHE_LIMIT", 3)
    monkeypatch.setattr(addresses.PREFIX_TEXTS, "limit", 3)
    hosts = addresses.EndpointTexts(
        lambda family, addr, port, _: addresses.format_numeric(family, addr, port)
    )
    assert hosts.format_tables([(WEB, numbered(9))]) == [
        addresses.format_numeric(AF_INET, addr, int.from_bytes(port, "big"))
        for addr, port in numbered(9)
    ]
    assert all(len(known) <= 4 for known in hosts._known.values())
    assert [addresses.format_numeric(AF_INET, bytes([0, 0, at, 1]), 80) for at in range(9)] == [
        f"0.0.{at}.1:80" for at in range(9)
    ]
    assert len(addresses.PREFIX_TEXTS) <= 4
    rules = writer.TableRules(addresses.format_numeric)
    rows = [
        to_row(Server(AF_INET, bytes(4), 80, weight=weight), rules.COLUMNS) for weight in range(9)
    ]
    wanted = "".join(f"-a -t 0.0.0.0:80 -r 0.0.0.0:80 -g -w {weight}\n" for weight in range(9))
    assert rules.format_tables([(WEB, rows)]) == f"-A -t 0.0.0.0:80 -s wlc\n{wanted}"
    assert len(rules._options) <= 4
