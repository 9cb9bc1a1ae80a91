"""Generate command lines, valid and damaged: our ipvsadm does on the kernel what the reference
does.

IPVSADM_SEED chooses other lines, IPVSADM_EXAMPLES how many. A line that has failed once becomes a
case: tests/cases/table_found.py.

Left out are lines that hang or crash the reference (a value with `!#:+` never returns, `-b ,`
crashes) and lines whose results may differ (help, marks above 2^31-1, addresses in no defined
order, names that -R could not read back).
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from pyipvsadm.backends.kernel import KernelBackend
from pyipvsadm.errors import LineSkippedError, UsageError
from pyipvsadm.grammar.parser import CommandParser
from pyipvsadm.resolver import Resolver
from tests.cases import ours, reference
from tests.cases.case import Step
from tests.cases.dialects import translate
from tests.kernel import netns
from tests.older_python import zip_equal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.cases.recording import Answer

NAMES = Resolver()
SEED = int(os.environ.get("IPVSADM_SEED", "1"))
EXAMPLES = int(os.environ.get("IPVSADM_EXAMPLES", "150"))
THRESHOLDS = re.compile(r" -[xy] \d+")
NUMBERED = re.compile(r"^line \d+: ", re.MULTILINE)

Words = list[str]

# --- values: valid ones, odd but valid ones, invalid ones

ODD_NUMBERS = ("0", "-0", "-1", "+1", " 1", "1 ", "01", "0x1", "1x", "x", "", "1.0", "65535", "65536", "2147483647",
               "2147483648", "4294967296", "9223372036854775808", "18446744073709551617")  # fmt: skip
ODD_ENDPOINTS = ("", "80", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", ":80", "[10.0.0.1]:80", "[10.0.0.1:80]:90", "[fd00::1]",
                 "[fd00::1]:", "fd00::1:80", "10.1:80", "0x0a000001:80", "012.0.0.1:80", "10.0.0.1:65536", "10.0.0.1:-1",
                 "10.0.0.1:+80", "10.0.0.1: 80", "10.0.0.1:80 ", "10.0.0.1 :80", "10.0.0.1:http", "10.0.0.1:m2pa",
                 "10.0.0.1:nothing", "nowhere:80", "six:80", "[vip]:80", "10.0.0.1:80:80", "[fd00::1]:x", "[fd00::1]x:80",
                 "::ffff:10.0.0.1", "[fd00::1", "-t", "0.0.0.0:0", "[::]:0", "10.0.0.256:80")  # fmt: skip

SERVICES = st.sampled_from(
    ("10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:81", "vip:http", "[fd00::1]:80", "10.0.0.2", "fd00::2")
)
SERVERS = st.sampled_from(
    (
        "10.0.1.1",
        "10.0.1.1:80",
        "10.0.1.1:8080",
        "10.0.1.2",
        "web1",
        "web1:http",
        "127.0.0.1",
        "[fd00::11]:80",
        "fd00::12",
    )
)


def mostly(right: st.SearchStrategy[str], odd: Sequence[str]) -> st.SearchStrategy[str]:
    return st.integers(0, 9).flatmap(lambda dice: st.sampled_from(odd) if dice == 0 else right)


def numbers(*right: str, odd: Sequence[str] = ODD_NUMBERS) -> st.SearchStrategy[str]:
    return mostly(st.sampled_from(right), odd)


ENDPOINT = mostly(SERVICES, ODD_ENDPOINTS)
# A mark above 2^31-1 is shown otherwise.
MARK = numbers("5", "6", odd=[number for number in ODD_NUMBERS if number != "2147483648"])
SCHEDULER = mostly(
    st.sampled_from(("rr", "wrr", "lc", "wlc", "sh", "mh", "nq")),
    ("", "RR", "bogus", "none", "x" * 20),
)
FLAGS = mostly(
    st.sampled_from(
        (
            "sh-port",
            "sh-fallback",
            "mh-port",
            "flag-1",
            "flag-2,flag-3",
            "sh-port,sh-fallback",
            ",flag-1",
        )
    ),
    ("", "bogus", "flag-1,bogus", "flag-1," * 19),
)
MASK = mostly(
    st.sampled_from(("255.255.255.0", "64", "255.255.255.255", "128")),
    ("", "0", "129", "24", "64x", "-1", "junk", "1.2"),
)

# (short, long, values): None takes no value
SERVICE = (
    ("t", "tcp-service", ENDPOINT),
    ("t", "tcp-service", ENDPOINT),
    ("u", "udp-service", ENDPOINT),
    ("", "sctp-service", ENDPOINT),
    ("f", "fwmark-service", MARK),
)
OF_SERVICES = (
    ("s", "scheduler", SCHEDULER),
    ("p", "persistent", numbers("60", "300", "2678400", "2678401")),
    ("M", "netmask", MASK),
    ("b", "sched-flags", FLAGS),
    ("o", "ops", None),
    ("", "pe", mostly(st.just("sip"), ("", "bogus", "SIP", "x" * 17))),
)
SERVER = ("r", "real-server", mostly(SERVERS, ODD_ENDPOINTS))
OF_SERVERS = (
    ("g", "gatewaying", None),
    ("i", "ipip", None),
    ("m", "masquerading", None),
    ("w", "weight", numbers("0", "1", "5")),
    ("x", "u-threshold", numbers("20", "30")),
    ("y", "l-threshold", numbers("10", "25")),
    ("", "tun-type", mostly(st.sampled_from(("ipip", "gue", "gre")), ("", "GUE", "bogus"))),
    ("", "tun-port", numbers("6080")),
    ("", "tun-nocsum", None),
    ("", "tun-csum", None),
    ("", "tun-remcsum", None),
)
OF_LISTS = (
    ("n", "numeric", None),
    ("n", "numeric", None),
    ("c", "connection", None),
    ("", "stats", None),
    ("", "rate", None),
    ("", "thresholds", None),
    ("", "persistent-conn", None),
    ("", "tun-info", None),
    ("", "nosort", None),
    ("", "sort", None),
    ("X", "exact", None),
    ("", "timeout", None),
    ("", "daemon", None),
)
OF_DAEMONS = (
    ("", "mcast-interface", mostly(st.just("lo"), ("", "eth7", "x" * 20))),
    ("", "syncid", numbers("5", "255", "256")),
    ("", "sync-maxlen", numbers("1400", "65507", "65508")),
    (
        "",
        "mcast-group",
        mostly(st.just("224.0.0.82"), ("", "10.0.0.1", "ff02::81", "fe80::1", "junk", "224.1")),
    ),
    ("", "mcast-port", numbers("8849")),
    ("", "mcast-ttl", numbers("2", "255", "256")),
)
EVERY = (*SERVICE, *OF_SERVICES, SERVER, *OF_SERVERS, *OF_LISTS, *OF_DAEMONS)

Row = tuple[str, str, "st.SearchStrategy[str] | None"]

# --- lines


@st.composite
def option(draw: st.DrawFn, row: Row) -> Words:
    """Draw a spelling of an option."""
    short, long, values = row
    by_short = bool(short) and draw(st.integers(0, 3)) != 0
    name = f"-{short}" if by_short else f"--{long}"
    if values is None:
        return [name]
    value = draw(values)
    if long == "persistent" and draw(st.booleans()):
        return [name]
    spelling = draw(st.sampled_from(("apart", "apart", "apart", "=", "attached")))
    if spelling == "=":
        return [f"{name}={value}"]
    if spelling == "attached" and by_short and value:
        return [name + value]
    return [name, value]


@st.composite
def options(draw: st.DrawFn, rows: Sequence[Row], most: int) -> Words:
    words: Words = []
    for row in draw(st.lists(st.sampled_from(rows), max_size=most, unique_by=lambda row: row[1])):
        words += draw(option(row))
    return words


@st.composite
def service(draw: st.DrawFn) -> Words:
    row = draw(st.sampled_from(SERVICE))
    words = draw(option(row))
    return [*words, "-6"] if row[0] == "f" and draw(st.booleans()) else words


def named(short: str, long: str) -> st.SearchStrategy[Words]:
    return st.sampled_from(([f"-{short}"], [f"-{short}"], [f"--{long}"]))


@st.composite
def on_services(draw: st.DrawFn) -> Words:
    command = draw(
        st.one_of(
            named("A", "add-service"), named("E", "edit-service"), named("D", "delete-service")
        )
    )
    parts = [
        draw(service()),
        [] if command[0] in ("-D", "--delete-service") else draw(options(OF_SERVICES, 4)),
    ]
    return command + joined(draw(st.permutations(parts)))


@st.composite
def on_servers(draw: st.DrawFn) -> Words:
    command = draw(
        st.one_of(named("a", "add-server"), named("e", "edit-server"), named("d", "delete-server"))
    )
    parts = [
        draw(service()),
        draw(option(SERVER)),
        [] if command[0] in ("-d", "--delete-server") else draw(options(OF_SERVERS, 4)),
    ]
    return command + joined(draw(st.permutations(parts)) if draw(st.booleans()) else parts)


@st.composite
def on_tables(draw: st.DrawFn) -> Words:
    chosen = draw(
        st.sampled_from(
            (
                "list",
                "list",
                "list",
                "list",
                "zero",
                "save",
                "clear",
                "set",
                "start",
                "stop",
                "nothing",
            )
        )
    )
    if chosen == "list":
        what = draw(service()) if draw(st.integers(0, 3)) == 0 else []
        return (
            draw(st.sampled_from(("-L", "-l", "--list"))).split()
            + what
            + draw(options(OF_LISTS, 4))
        )
    if chosen == "zero":
        return ["-Z", *(draw(service()) if draw(st.booleans()) else [])]
    if chosen == "save":
        return ["-S", "-n"]
    if chosen == "clear":
        return ["-C"]
    if chosen == "set":
        return [
            "--set",
            *draw(
                st.lists(numbers("0", "60", "900", "2678400", "2678401"), min_size=2, max_size=4)
            ),
        ]
    if chosen == "start":
        role = draw(mostly(st.sampled_from(("master", "backup")), ("", "bogus", "-n")))
        return ["--start-daemon", role, *draw(options(OF_DAEMONS, 4))]
    if chosen == "stop":
        return [
            "--stop-daemon",
            draw(mostly(st.sampled_from(("master", "backup")), ("", "bogus"))),
        ]
    return []


def joined(parts: Sequence[Words]) -> Words:
    return [word for part in parts for word in part]


@st.composite
def damaged(draw: st.DrawFn, lines: st.SearchStrategy[Words]) -> Words:
    """Draw a line, sometimes damaged."""
    words = draw(lines)
    if not words or draw(st.integers(0, 3)):
        return clustered(words) if draw(st.booleans()) else words
    at = draw(st.integers(0, len(words) - 1))
    damage = draw(st.sampled_from(("drop", "double", "swap", "insert", "option", "append")))
    if damage == "drop":
        words = words[:at] + words[at + 1 :]
    elif damage == "double":
        words = [*words[:at], words[at], *words[at:]]
    elif damage == "swap":
        other = draw(st.integers(0, len(words) - 1))
        words = list(words)
        words[at], words[other] = words[other], words[at]
    elif damage == "insert":
        stray = draw(
            st.sampled_from(
                (
                    "--",
                    "-",
                    "",
                    "junk",
                    "-q",
                    "--bogus",
                    "-nq",
                    "--numeric=1",
                    "-n=",
                    "-6",
                    "-LA",
                    "-@",
                )
            )
        )
        words = [*words[:at], stray, *words[at:]]
    elif damage == "option":
        words = [*words[:at], *draw(option(draw(st.sampled_from(EVERY)))), *words[at:]]
    elif damage == "append":
        words = [
            *words[:at],
            words[at] + draw(st.sampled_from(("x", " ", "=", ":", "\u00e9"))),
            *words[at + 1 :],
        ]
    return clustered(words) if draw(st.booleans()) else words


def clustered(words: Words) -> Words:
    """Join each short option without a value to the short option after it: -A -t X becomes -At
    X.
    """
    bare = {f"-{short}" for short, _, values in EVERY if short and values is None} | {
        f"-{short}" for short in "AEDaedLlZS"
    }
    made: Words = []
    for word in words:
        if made and made[-1] in bare and re.fullmatch(r"-[A-Za-z6].*", word, re.DOTALL):
            made[-1] += word[1:]
        else:
            made.append(word)
    return made


def gains(words: Sequence[str]) -> bool:
    """Return True if the line selects rows of a listing in a way that the reference refuses."""
    scanner = CommandParser(words, NAMES)
    with suppress(UsageError, LineSkippedError):
        scanner.parse_request()
    slots = scanner._slots
    return scanner.command == "list" and (
        bool(slots & {"scheduler", "real-server"})
        or slots >= {"connection", "service-address"}
        or len(scanner._services) > 1
    )


LINE = damaged(st.one_of(on_services(), on_servers(), on_servers(), on_tables())).filter(
    lambda words: not gains(words)
)
FULL = b"""\
-A -t 10.0.0.1:80 -s sh -b sh-port -p 60
-a -t 10.0.0.1:80 -r 10.0.1.1 -w 3
-a -t 10.0.0.1:80 -r 10.0.1.2 -i --tun-type gre
-A -t 10.0.0.1:81 -s mh
-a -t 10.0.0.1:81 -r 10.0.1.1:8080 -m -x 30 -y 10
-A -u 10.0.0.1:80 -s rr -o
-a -u 10.0.0.1:80 -r 10.0.0.11 -m
-A -t 10.0.0.2 -p
-a -t 10.0.0.2 -r 127.0.0.1
-A -t [fd00::1]:80 -s wrr -p 90 -M 64
-a -t [fd00::1]:80 -r [fd00::11]:80 -m
-A -u fd00::2 -p 120 --pe sip
-A -f 5 -s nq
-a -f 5 -r 10.0.1.2
-A -f 5 -6
-a -f 5 -6 -r fd00::12 -i --tun-type gue --tun-port 6080
"""
# The table at first, as -R reads it.
STARTS = st.sampled_from(
    (
        FULL,
        FULL,
        b"-A -t 10.0.0.1:80 -s rr\n",
        b"-A -t 10.0.0.1:80\n-a -t 10.0.0.1:80 -r 10.0.1.1\n-A --sctp-service 10.0.0.1:80\n-A -f 6\n",
        b"--start-daemon backup --mcast-interface lo\n-A -f 5\n-a -f 5 -r 10.0.1.2\n",
        b"\n",
    )
)


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    environ = {"POSIXLY_CORRECT": "1"} if draw(st.integers(0, 19)) == 0 else {}
    lines = draw(st.lists(LINE, min_size=1, max_size=4))
    return [Step(("-R",), draw(STARTS)), *(Step(tuple(line), environ=environ) for line in lines)]


@st.composite
def rules(draw: st.DrawFn) -> bytes:
    """Draw rules for -R. A word that is empty or has blanks becomes no word or several in the
    text.
    """
    ends = st.sampled_from(("\n", "\n", "\n", "\r\n", " \n", "\n\n"))
    before = st.sampled_from(("", "", "", "ipvsadm ", "\t", "  "))
    words = st.one_of(on_services(), on_servers(), LINE).filter(bool)
    text = "".join(
        draw(before) + " ".join(line) + draw(ends)
        for line in draw(st.lists(words, min_size=1, max_size=6))
    )
    return text.encode()


# --- the comparison


@pytest.fixture(autouse=True)
def _home() -> Iterator[None]:
    with netns.kept():
        yield


def generated(test: object) -> object:
    chosen = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        # to make an example smaller would take the guest longer than a reader
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    return seed(SEED)(chosen(test))  # type: ignore[type-var]


def shown(step: Step, answer: Answer) -> str:
    """Return the output, with its lines sorted if --nosort shows the table's own order, which
    differs between namespaces.
    """
    if b"--nosort" in step.stdin or any("--nosort" in word for word in step.argv):
        return "".join(sorted(answer.stdout.splitlines(keepends=True)))
    return answer.stdout


def compare(step: Step, theirs: Answer, mine: Answer) -> None:
    note(f"{step}\n  reference: {theirs}\n  ours:      {mine}")
    saved = step.argv[:1] in (("-S",), ("-Sn",))
    printed = THRESHOLDS.sub("", mine.stdout) if saved else shown(step, mine)
    assert (mine.status, mine.stderr, printed) == (
        theirs.status,
        theirs.stderr,
        shown(step, theirs),
    )


@generated
@given(steps())
def test_lines(steps: list[Step]) -> None:
    netns.fresh()
    theirs = [translate(reference.answer(step)) for step in steps]
    left = reference.look()
    netns.fresh()
    for step, answer in zip_equal(steps, theirs):
        compare(step, answer, ours.answer(step, NAMES, KernelBackend))
    assert reference.look() == left


@generated
@given(STARTS, rules())
def test_rules(start: bytes, rules: bytes) -> None:
    """With -R our messages name the line; if a line ends the reference's run, ours prints the same
    message and has applied nothing.
    """
    first, step = Step(("-R",), start), Step(("-R",), rules)
    netns.fresh()
    reference.answer(first)
    before = reference.look()
    theirs = translate(reference.answer(step))
    left = reference.look()
    netns.fresh()
    ours.answer(first, NAMES, KernelBackend)
    mine = ours.answer(step, NAMES, KernelBackend)
    note(f"{start!r}\n{step}\n  reference: {theirs}\n  ours:      {mine}")
    said = NUMBERED.sub("", mine.stderr)
    now = reference.look()
    # Ours has found a line that ends the run; the reference may have ended sooner, with 1, at a
    # service it could not list.
    ended = theirs.status == 1 or (mine.status == theirs.status and theirs.stderr.endswith(said))
    if not (ended and said and not mine.stdout and now == before):
        printed = THRESHOLDS.sub("", shown(step, mine))
        assert (mine.status, printed, said, now) == (
            theirs.status,
            shown(step, theirs),
            theirs.stderr,
            left,
        )
