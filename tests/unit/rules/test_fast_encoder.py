"""Check that the fast path of -R encodes what the definition encodes: rules/reader.py, then
netlink/attributes.py.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm.errors import IpvsadmError
from pyipvsadm.model import Change
from pyipvsadm.netlink.attributes import Encoder
from pyipvsadm.rules import fast_encoder, reader
from tests.older_python import zip_equal
from tests.unit.fake_environment import FakeEnvironment
from tools.bench import rows

Encoded = tuple[int, int, bytes]


def encode_slowly(text: bytes) -> list[Encoded | str]:
    """Encode by the definition; an error last, as text."""
    found: list[Encoded | str] = []
    encode = Encoder().encode
    try:
        for lineno, step in reader.parse_rules(text, FakeEnvironment()):
            if not isinstance(step, Change):
                raise reader.NotOnlyChangesError
            found.append((lineno, step.op, encode(step)))
    except (IpvsadmError, reader.NotOnlyChangesError) as exc:
        found.append(repr(exc))
    return found


def encode_fast(text: bytes) -> list[Encoded | str]:
    """Encode by the fast path; an error last, as text."""
    lines: list[int] = []
    ops = bytearray()
    payloads = []
    errors = []
    try:
        for op, payload in fast_encoder.encode_rules(text, FakeEnvironment(), lines, ops):
            assert op == ops[-1]
            payloads.append(payload)
    except (IpvsadmError, reader.NotOnlyChangesError) as exc:
        errors.append(repr(exc))
    return [*zip_equal(lines, ops, payloads), *errors]


@pytest.mark.parametrize("table", rows.TABLES)
def test_tables_are_encoded_alike_and_fast(table: str) -> None:
    text = rows.make_rules(table, 120, 12)
    assert encode_fast(text.encode()) == encode_slowly(text.encode())
    encoder = fast_encoder.RuleEncoder(FakeEnvironment())
    assert [line for line in text.splitlines() if encoder.encode_line(line) is None] == []


def test_blanks_and_the_programs_name_do_not_slow_a_line_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [
        f"ipvsadm\t-a -t  10.0.0.1:80 -r 10.0.0.{number}:80 -m -w 1\r\n" for number in range(9)
    ]
    text = "".join(["# ipvsadm rules, format 1\n", *lines]).encode()
    wanted = encode_slowly(text)
    parsed = []

    def parse(lineno: int, words: list[str], env: FakeEnvironment) -> object:
        parsed.append(words)
        return reader.parse_rule(lineno, words, env)

    monkeypatch.setattr(fast_encoder, "parse_rule", parse)
    assert encode_fast(text) == wanted
    assert len(parsed) == 1


ODD_LINES = [
    "-A -t 10.0.0.1:80 -s rr -t 10.0.0.2:80",
    "-A -t 10.0.0.1:80 -s",
    "-A -t 10.0.0.1:80",
    "-A -f 0 -s rr",
    "-A -f 7 -6 -s rr",
    "-A -f 7 -s rr -6",
    "-A -f 007 -s rr",
    "-A -f 7:7 -s rr",
    "-A -t 10.0.0.1:0 -s rr",
    "-A -t 10.0.0.1:0 -s rr -p 300",
    "-A -u 10.0.0.1:53 -s rr -o",
    "-A -t 10.0.0.1:53 -s rr -o",
    "-A -t [2001:db8::1]:80 -s wlc -p 300 -M 64",
    "-A -t 10.0.0.1:80 -s sh -b sh-port",
    "-A -u 10.0.0.1:5060 -s rr -p 60 --pe sip -o",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1 -r 10.0.0.3:80",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1 -x 5 -y 7",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1 -w 2",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1 ",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1  -x 5",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 00001",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:99999 -g -w 1",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:+80 -m -w 1",
    "-a -t 10.0.0.1:80 -r [10.0.0.2]:80 -m -w 1",
    "-a -t 10.0.0.1:80 -r [2001:db8::2]:80 -m -w 1",
    "-a -t 10.0.0.1:80 -r [2001:db8::2]:80 -i -w 1",
    "-a -t 10.0.0.1:80 -r [2001:db8::2]x:80 -i -w 1",
    "-a -t 10.0.0.1:80 -r 10.2:80 -i -w 1",
    "-a -t 10.0.0.1:80 -r  -i -w 1",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1 --tun-type ipip",
    "-a -f 7 -6 -r [2001:db8::2]:0 -i -w 4 --tun-type ipip",
    "-a -f 7 -6 -r 10.0.0.2:0 -g -w 4",
    "-a -f 7 -r 10.0.0.2:8080 -m -w 4",
    "-a -f 7 -r 10.0.0.2:8080 -g -w 4",
    "-a -t web:80 -r 10.0.0.2:8080 -m -w 4",
    "-e -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1",
    "-a\t-t 10.0.0.1:80  -r 10.0.0.2:80 -m -w 1\r",
    "ipvsadm -A -t 10.0.0.1:80 -s rr",
    "# -A -t 10.0.0.1:80 -s rr",
    "-C",
    "--set 1 2 3",
    "-A -t 10.0.0.1:80 -s \u00e9",
    "-A -t 10.0.0.1:8\u0660 -s rr",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:8\u0660 -m -w \u0661",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1 -x \u0661",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1\0 -x 5",
    "#\r-A -t 10.0.0.1:80 -s rr",
    "-A ipvsadm -t 10.0.0.3:80 -s rr",
    "",
]


@pytest.mark.parametrize("line", ODD_LINES)
@pytest.mark.parametrize("before", ["-A -t 10.0.0.1:80 -s rr", "-A -f 7 -s rr", "-A -f 7 -6 -s rr"])
def test_odd_lines_are_encoded_alike(before: str, line: str) -> None:
    text = f"{before}\n{line}\n{line}\n{before}\n".encode()
    assert encode_fast(text) == encode_slowly(text)


@pytest.mark.parametrize("text", [b"# ipvsadm rules, format 9\n", b"-L -n\n", b"-R\n"])
def test_a_text_that_is_not_only_changes_ends_alike(text: bytes) -> None:
    assert encode_fast(text) == encode_slowly(text)


def test_what_is_learnt_is_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_encoder, "CACHE_LIMIT", 3)
    lines = [f"-A -u 10.0.0.{n}:53 -s rr -p {n}" for n in range(1, 20)]
    lines += [f"-a -u 10.0.0.1:53 -r 10.0.0.{n}:53 -m -w 1 -x {n}" for n in range(1, 20)]
    text = "\n".join(lines).encode()
    assert encode_fast(text) == encode_slowly(text)


SELECTORS = st.sampled_from(
    [
        "-t 10.0.0.1:80",
        "-u 10.0.0.1:53",
        "-t [2001:db8::1]:80",
        "-f 7",
        "-f 7 -6",
        "-t 10.0.0.1:0",
        "-t 10.0.0.9",
    ]
)
SERVERS = st.sampled_from(
    ["10.0.0.2:80", "10.0.0.3:8080", "[2001:db8::2]:80", "10.0.0.2", "10.0.0.2:0", "10.0.0.2:70000"]
)
WORDS = st.lists(
    st.sampled_from(
        [
            "-m",
            "-g",
            "-i",
            "-w",
            "1",
            "0",
            "5",
            "65535",
            "70000",
            "-x",
            "-y",
            "-s",
            "rr",
            "wrr",
            "sh",
            "-p",
            "300",
            "-M",
            "255.255.255.0",
            "64",
            "-o",
            "-b",
            "sh-port",
            "--pe",
            "sip",
            "--tun-type",
            "ipip",
            "gue",
            "gre",
            "--tun-port",
            "6080",
            "--tun-csum",
            "-6",
            "-r",
            "-t",
            "-n",
        ]
    ),
    max_size=6,
).map(" ".join)
ADDED = st.builds(
    "-A {} -s {}{}".format, SELECTORS, st.sampled_from(["rr", "sh"]), WORDS.map(" {}".format)
)
SERVED = st.builds(
    "-a {} -r {} {} -w {}{}".format,
    SELECTORS,
    SERVERS,
    st.sampled_from(["-m", "-g", "-i"]),
    st.integers(0, 70000),
    st.one_of(st.just(""), WORDS.map(" {}".format)),
)


@given(st.lists(st.one_of(ADDED, SERVED, WORDS), max_size=5))
def test_both_ways_encode_the_same(lines: list[str]) -> None:
    text = "\n".join([*lines, *lines]).encode()  # the second time uses what was cached
    assert encode_fast(text) == encode_slowly(text)
