"""Test addresses, ports and names: which words the reference takes for them, and a resolver that
fails, lies or hangs.

No test asks the machine's resolver: `_socket`'s functions are replaced.
"""

from __future__ import annotations

import _socket
import struct
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyipvsadm.addresses import (
    format_address,
    format_endpoint,
    format_numeric,
    format_packed_ipv6,
    parse_atoi,
    parse_endpoint,
    parse_int,
    parse_leading_int,
    parse_mask,
)
from pyipvsadm.model import AF_INET, AF_INET6, SCTP, TCP, UDP
from pyipvsadm.resolver import Resolver, map_concurrently

if TYPE_CHECKING:
    from collections.abc import Callable

V4 = bytes([10, 0, 0, 1])
V6 = bytes.fromhex("20010db8000000000000000000000001")


class Book(Resolver):
    """Resolve one host and two services."""

    def find_host(self, name: str) -> bytes | None:
        return {"www": V4}.get(name)

    def find_port(self, name: str, protocol: int) -> int | None:
        return {("http", TCP): 80, ("sip", UDP): 5060}.get((name, protocol))


# --- numbers


@pytest.mark.parametrize(
    ("text", "value", "rest"),
    [
        ("0", 0, ""),
        ("42", 42, ""),
        ("007", 7, ""),
        ("+5", 5, ""),
        ("-5", -5, ""),
        (" \t\n\v\f\r5", 5, ""),
        ("5 ", 5, " "),
        ("5x", 5, "x"),
        ("0x10", 0, "x10"),
        ("1_000", 1, "_000"),
        ("", 0, ""),
        (" ", 0, " "),  # no number: all of it is left
        ("+", 0, "+"),
        ("- 5", 0, "- 5"),
        ("+-5", 0, "+-5"),
        ("x5", 0, "x5"),
        ("\N{NO-BREAK SPACE}5", 0, "\N{NO-BREAK SPACE}5"),
        ("\N{ARABIC-INDIC DIGIT THREE}", 0, "\N{ARABIC-INDIC DIGIT THREE}"),
        ("5\0", 5, "\0"),
        ("9223372036854775807", 9223372036854775807, ""),
        ("9223372036854775808", 9223372036854775807, ""),
        ("-9223372036854775808", -9223372036854775808, ""),
        ("-9223372036854775809", -9223372036854775808, ""),
        ("9" * 5000, 9223372036854775807, ""),
        ("-" + "9" * 5000 + "z", -9223372036854775808, "z"),
        ("0" * 5000 + "7", 7, ""),
    ],
)
def test_strtol(text: str, value: int, rest: str) -> None:
    assert parse_leading_int(text) == (value, rest)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("3", 3),
        ("7", 7),
        (" 5", 5),
        ("+5", 5),
        ("2", -1),
        ("8", -1),
        ("", -1),
        ("5 ", -1),
        ("five", -1),
        ("-5", -1),
    ],
)
def test_number_from_3_to_7(text: str, value: int) -> None:
    assert parse_int(text, 3, 7) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64", 64),
        ("64x", 64),
        ("x", 0),
        ("", 0),
        ("-1", 0xFFFFFFFF),
        ("4294967360", 64),
        ("9" * 30, 0xFFFFFFFF),
    ],
)
def test_atoi(text: str, value: int) -> None:
    assert parse_atoi(text) == value


# --- addresses

PARSED: list[tuple[str, int, bytes, int | None]] = [
    ("10.0.0.1:80", AF_INET, V4, 80),
    ("10.0.0.1", AF_INET, V4, None),
    ("10.0.0.1:0", AF_INET, V4, 0),
    ("10.0.0.1:65535", AF_INET, V4, 65535),
    ("10.0.0.1:http", AF_INET, V4, 80),
    ("10.0.0.1: +80", AF_INET, V4, 80),
    ("www:80", AF_INET, V4, 80),
    ("www", AF_INET, V4, None),
    ("www:http", AF_INET, V4, 80),
    # inet_aton's shorter and other forms
    ("10.1:80", AF_INET, V4, 80),
    ("0x0a.0.0.1:80", AF_INET, V4, 80),
    ("012.0.0.1:80", AF_INET, V4, 80),
    ("167772161:80", AF_INET, V4, 80),
    ("10.0.0.1 and more:80", AF_INET, V4, 80),
    ("2001:db8::1", AF_INET6, V6, None),
    ("[2001:db8::1]:443", AF_INET6, V6, 443),
    ("[2001:db8::1]:http", AF_INET6, V6, 80),
    ("::", AF_INET6, bytes(16), None),
    ("::10.0.0.1", AF_INET6, bytes(12) + V4, None),
    # In brackets that hold no IPv6 address, what follows them is dropped and a port within them
    # counts.
    ("[10.0.0.1]:80", AF_INET, V4, None),
    ("[www]:no-such-port", AF_INET, V4, None),
    ("[10.0.0.1:90]:80", AF_INET, V4, 90),
]


@pytest.mark.parametrize(("text", "family", "addr", "port"), PARSED)
def test_parse(text: str, family: int, addr: bytes, port: int | None) -> None:
    found = parse_endpoint(text, TCP, Book())
    assert found is not None
    assert (found.family, found.addr, found.port) == (family, addr, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "80",  # all digits: taken for a port without its address
        "0",
        ":80",
        "nowhere",
        "nowhere:80",
        "10.0.0.1:",
        "10.0.0.1:65536",
        "10.0.0.1:-1",
        "10.0.0.1:80x",
        "10.0.0.1:sip",  # a name of UDP only
        "10.0.0.256:80",
        "10.0.0.0.1:80",
        "[",
        "[]",
        "[]:80",
        "[2001:db8::1",
        "[2001:db8::1]",
        "[2001:db8::1]80",
        "[2001:db8::1]:",
        "[2001:db8::1]:80:90",
        "[[2001:db8::1]]:80",
        "2001:db8::1]:80",
        "2001:db8::1:80:http",
        "fe80::1%lo",
        "www\0:80",
        "\udcff:80",
        "\N{ARABIC-INDIC DIGIT THREE}",
    ],
)
def test_no_address(text: str) -> None:
    assert parse_endpoint(text, TCP, Book()) is None


def test_a_port_has_its_name_in_its_protocol() -> None:
    found = parse_endpoint("www:sip", UDP, Book())
    assert found is not None
    assert found.port == 5060
    assert parse_endpoint("www:http", UDP, Book()) is None


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("255.255.255.0", 0xFFFFFF00),
        ("0.0.0.0", 0),
        ("255.0.255.0", 0xFF00FF00),
        ("0xff000000", 0xFF000000),
        ("24", 24),  # a number is an address: 0.0.0.24
        ("www", 0x0A000001),
        ("nowhere", None),
        ("", None),
    ],
)
def test_mask(text: str, mask: int | None) -> None:
    assert parse_mask(text, Book()) == mask


@pytest.mark.parametrize(
    ("family", "addr", "text"), [(AF_INET, V4, "10.0.0.1"), (AF_INET6, V6, "2001:db8::1")]
)
def test_address_text(family: int, addr: bytes, text: str) -> None:
    assert format_address(family, addr) == text


# Few words differ from zero, so that "::" stands everywhere.
ipv6 = st.lists(
    st.sampled_from([0, 0, 0, 1, 0xFFFF]) | st.integers(0, 0xFFFF), min_size=8, max_size=8
).map(lambda words: struct.pack(">8H", *words))


@given(st.lists(ipv6, min_size=1, max_size=9))
@example([bytes(16), bytes(15) + b"\1", bytes(10) + b"\xff\xff\0\0\0\1", bytes(12) + V4])
def test_ipv6_addresses_are_written_as_by_the_c_library(addrs: list[bytes]) -> None:
    wanted = [f"[{_socket.inet_ntop(AF_INET6, addr)}]:80" for addr in addrs]
    assert [format_numeric(AF_INET6, addr, 80) for addr in addrs] == wanted
    assert format_packed_ipv6(b"".join([addr + b"\0\x50" for addr in addrs]), "", 0) == wanted


@pytest.mark.parametrize(
    ("family", "host", "port", "text"),
    [
        (AF_INET, "10.0.0.1", 80, "10.0.0.1:80"),
        (AF_INET, "www", "http", "www:http"),
        (AF_INET6, "2001:db8::1", 80, "[2001:db8::1]:80"),
        (AF_INET6, "www6", "http", "[www6]:http"),
    ],
)
def test_endpoint_text(family: int, host: str, port: str | int, text: str) -> None:
    assert format_endpoint(family, host, port) == text


# --- the resolver


def answer(value: object) -> Callable[..., object]:
    """Return a stand-in for a function of the C library that returns value, or raises it."""

    def replaced(*_: object) -> object:
        if isinstance(value, Exception):
            raise value
        return value

    return replaced


@pytest.mark.parametrize(
    ("found", "addr"),
    [
        (("www", [], ["10.0.0.1", "10.0.0.2"]), V4),
        (("www", [], []), None),
        (_socket.gaierror(-2, "Name or service not known"), None),
        (_socket.herror(1, "Unknown host"), None),
    ],
)
def test_host(found: object, addr: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_socket, "gethostbyname_ex", answer(found))
    assert Resolver().find_host("www") == addr


@pytest.mark.parametrize("name", ["", "<broadcast>", "<any>", "a\0b", "\ud800"])
def test_names_that_are_not_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Python handles the first three addresses itself, and cannot pass the others to C.
    monkeypatch.setattr(_socket, "gethostbyname_ex", answer(("", [], ["10.0.0.1"])))
    assert Resolver().find_host(name) is None


def test_a_host_is_asked_for_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def spy(name: object) -> object:
        asked.append(name)
        return ("", [], ["10.0.0.1"])

    monkeypatch.setattr(_socket, "gethostbyname_ex", spy)
    assert Resolver().find_host("caf\udce9.example") == V4
    assert asked == [b"caf\xe9.example"]


@pytest.mark.parametrize(("protocol", "name"), [(TCP, "tcp"), (UDP, "udp"), (SCTP, "sctp")])
def test_ports_by_name(protocol: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_socket, "getservbyname", lambda *asked: {("http", name): 80}[asked])
    monkeypatch.setattr(_socket, "getservbyport", lambda *asked: {(80, name): "http"}[asked])
    assert (Resolver().find_port("http", protocol), Resolver().find_port_name(80, protocol)) == (
        80,
        "http",
    )


def test_ports_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Resolver()
    # No protocol yet (`-r` before the service): no name can be looked up.
    assert (names.find_port("http", 0), names.find_port_name(80, 0)) == (None, None)
    assert (names.find_port("ht\0tp", TCP), names.find_port("\udcff", TCP)) == (None, None)
    no = OSError("service/proto not found")
    monkeypatch.setattr(_socket, "getservbyname", answer(no))
    monkeypatch.setattr(_socket, "getservbyport", answer(no))
    assert (names.find_port("http", TCP), names.find_port_name(80, TCP)) == (None, None)


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (("www.example", [], ["10.0.0.1"]), "www.example"),
        (
            ("b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher", [], []),
            "b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher",
        ),
        (("", [], []), None),
        (("www\x1b[31m", [], []), None),  # a name must not steer the terminal
        (("www\u202e.example", [], []), None),
        (("two\nlines", [], []), None),
        (_socket.herror(1, "Unknown host"), None),
        (_socket.gaierror(-3, "Temporary failure in name resolution"), None),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), None),
    ],
)
def test_host_name(found: object, name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_socket, "gethostbyaddr", answer(found))
    assert Resolver().find_host_name(AF_INET, V4) == name


@pytest.mark.parametrize(
    ("family", "addr", "text"), [(AF_INET, V4, "10.0.0.1"), (AF_INET6, V6, "2001:db8::1")]
)
def test_host_name_asks_for_the_address(
    family: int, addr: bytes, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_socket, "gethostbyaddr", lambda asked: (f"name of {asked}", [], []))
    assert Resolver().find_host_name(family, addr) == f"name of {text}"


def test_host_names() -> None:
    class Few(Resolver):
        def find_host_name(self, family: int, addr: bytes) -> str | None:
            return {(AF_INET, V4): "www", (AF_INET6, V6): "www6"}.get((family, addr))

    wanted = [(AF_INET, V4), (AF_INET6, V6), (AF_INET, bytes(4)), (AF_INET, V4)]
    assert Few().find_host_names(wanted) == {(AF_INET, V4): "www", (AF_INET6, V6): "www6"}


def test_names_that_rules_can_use() -> None:
    class Zone(Resolver):
        def find_host(self, name: str) -> bytes | None:
            return None if name == "gone" else bytes([10, 0, 0, 9]) if name == "other" else V4

    # (name of 10.0.0.1, whether -R would take it for 10.0.0.1)
    cases = {
        "www": True,
        "www.example": True,
        "gone": False,
        "other": False,  # the name is another address's
        "123": False,  # all digits are no host
        "a:b": False,  # the rest would be a port
        "a b": False,
        "[a": False,
        "a#b": False,
    }
    for name, usable in cases.items():
        assert Zone().filter_reversible({(AF_INET, V4): name}, 1) == (
            {(AF_INET, V4): name} if usable else {}
        ), name
    assert (
        Zone().filter_reversible({(AF_INET6, V6): "www"}, 1) == {}
    )  # 1.31 finds IPv4 addresses only


# --- many look-ups


def test_each_key_is_asked_for_once() -> None:
    asked: list[int] = []

    def ask(key: int) -> int:
        asked.append(key)
        return key * key

    assert map_concurrently(ask, [3, 1, 3, 2, 1, 3], workers=4, seconds=5) == {1: 1, 2: 4, 3: 9}
    assert sorted(asked) == [1, 2, 3]


def test_nothing_to_ask() -> None:
    assert map_concurrently(str, iter(()), workers=4, seconds=5) == {}


def test_keys_without_an_answer_are_left_out() -> None:
    assert map_concurrently({1: "one", 2: ""}.get, [1, 2, 3], workers=1, seconds=5) == {
        1: "one",
        2: "",
    }


def test_at_most_so_many_at_once() -> None:
    lock = threading.Lock()
    barrier = threading.Barrier(4)  # breaks unless four are inside together
    running, most = 0, 0

    def ask(key: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        barrier.wait(5)
        with lock:
            running -= 1
        return key

    assert map_concurrently(ask, range(12), workers=4, seconds=5) == {key: key for key in range(12)}
    assert most == 4


def test_one_that_hangs_costs_no_more_than_the_bound() -> None:
    released = threading.Event()
    ended = threading.Event()

    def ask(key: int) -> int:
        if key == 5:
            released.wait(5)
            ended.set()
        return key

    start = time.monotonic()
    try:
        found = map_concurrently(ask, range(10), workers=2, seconds=0.1)
        took = time.monotonic() - start
        assert found == {key: key for key in range(10) if key != 5}
        assert 0.1 <= took < 0.4
    finally:
        released.set()
    assert ended.wait(5)
    assert 5 not in found  # later answers change nothing


def test_after_the_bound_nothing_more_is_asked() -> None:
    released = threading.Event()
    asked: list[int] = []
    ended = threading.Event()

    def ask(key: int) -> int:
        asked.append(key)
        released.wait(5)
        ended.set()
        return key

    try:
        assert map_concurrently(ask, range(10), workers=1, seconds=0.05) == {}
    finally:
        released.set()
    assert ended.wait(5)
    time.sleep(0.02)  # a request for another key would come by now
    assert len(asked) == 1


@pytest.mark.parametrize("possible", [0, 1, 3])
def test_fewer_threads_than_wanted(possible: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import _thread  # noqa: PLC0415  # the module that gather() starts its threads with

    real = _thread.start_new_thread
    started = 0

    def limited(work: Callable[[], None], arguments: tuple[()]) -> int:
        nonlocal started
        if started == possible:
            raise RuntimeError("can't start new thread")
        started += 1
        return real(work, arguments)

    monkeypatch.setattr(_thread, "start_new_thread", limited)
    begin = time.monotonic()
    assert map_concurrently(str, range(8), workers=8, seconds=5) == (
        {key: str(key) for key in range(8)} if possible else {}
    )
    assert time.monotonic() - begin < 2  # without a thread there is nothing to wait for


def test_answers_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Threads that run where they are started: the first takes everything, the second finds nothing
    # left.
    import _thread  # noqa: PLC0415

    def at_once(work: Callable[[], None], _: tuple[()]) -> int:
        work()
        return 1

    monkeypatch.setattr(_thread, "start_new_thread", at_once)
    assert map_concurrently({1: "one", 3: "three"}.get, [1, 2, 3], workers=2, seconds=5) == {
        1: "one",
        3: "three",
    }


def test_the_bound_is_for_all_names_together(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(_: str) -> object:
        released.wait(5)
        raise _socket.herror(1, "Unknown host")

    monkeypatch.setattr(_socket, "gethostbyaddr", hang)
    monkeypatch.setattr(Resolver, "seconds", 0.05)
    start = time.monotonic()
    try:
        assert (
            Resolver().find_host_names((AF_INET, bytes([10, 0, 0, last])) for last in range(200))
            == {}
        )
        assert time.monotonic() - start < 0.4
    finally:
        released.set()
