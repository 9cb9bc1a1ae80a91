"""Test completion: the candidates at each place are the words that the scanner accepts, neither
more nor less.

The lines of tests/cases are the model: every beginning of each line that the scanner accepts is
completed.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm.backends import memory
from pyipvsadm.completion.candidates import NO_SPACE_SUFFIXES, complete
from pyipvsadm.errors import LineSkippedError, UsageError
from pyipvsadm.grammar.help_layout import CONCEPTS
from pyipvsadm.grammar.options import (
    ATTACHED,
    COMMANDS,
    OPTIONAL,
    OPTIONS,
    UNSLOTTED_COMMANDS,
    Option,
)
from pyipvsadm.grammar.parser import CommandParser
from pyipvsadm.grammar.popt import PoptScanner, find_option
from pyipvsadm.grammar.schedulers import ENGINES, SCHEDULERS
from tests.cases.table import CASES
from tests.unit.fake_environment import FakeNames, apply_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyipvsadm.completion.candidates import Rows

RULES = (
    "-A -t 10.0.0.1:80 -s rr",
    "-a -t 10.0.0.1:80 -r 192.168.0.9:8080 -m",
    "-a -t 10.0.0.1:80 -r 192.168.0.8:8080 -m -w 3",
    "-A -t 10.0.0.1:443 -s sh",
    "-a -t 10.0.0.1:443 -r 192.168.0.8:443 -g",
    "-A -t 10.0.0.2:80",
    "-A -u 10.0.0.1:53",
    "-a -u 10.0.0.1:53 -r 192.168.0.7:53 -i",
    "-A --sctp-service 10.0.0.3:99",
    "-A -t [2001:db8::1]:80",
    "-a -t [2001:db8::1]:80 -r [2001:db8::8]:80 -m",
    "-A -f 5",
    "-a -f 5 -r 192.168.0.6 -g",
    "-A -f 7 -6",
    "-a -f 7 -6 -r 2001:db8::9 -g",
)
FOLDERS = {"": ["rules", "etc/", ".hidden"], "etc/": ["a b", "table"], "/": ["etc/", "rules"]}


class Here:
    """Hold a machine with a table, others under the name memory:other and in another network
    namespace, a few files and interfaces.
    """

    def __init__(self) -> None:
        self.tables: dict[tuple[str | None, str | None], memory.MemoryBackend] = {}
        for name, rules in (
            ((None, None), RULES),
            (("memory:other", None), ["-A -t 10.9.9.9:9"]),
            ((None, "blue"), ["-A -t 10.8.8.8:8"]),
        ):
            apply_all(self.tables.setdefault(name, memory.MemoryBackend()), rules)

    def read_rows(self, backend: str | None, place: str | None) -> Rows:
        table = self.tables.get((backend, place))
        return (
            [(service, table.read_servers(service)) for service in table.read_services()]
            if table
            else []
        )

    def list_folder(self, path: str) -> list[str]:
        return FOLDERS.get(path, [])

    def list_interfaces(self, place: str | None) -> list[str]:
        return ["lo", "blue0"] if place == "blue" else ["lo", "eth0", "eth1"]

    def list_namespaces(self) -> list[str]:
        return ["blue", "green"]

    def list_changes(self, backend: str | None, place: str | None) -> list[tuple[str, str]]:
        assert backend is None
        return [("7", "")] if place == "blue" else [("12", "ipvsadm -C"), ("11", "ipvsadm-restore")]


HERE = Here()

SERVICES = "--tcp-service --udp-service --sctp-service --fwmark-service"
ALL_COMMANDS = " ".join(f"--{row.long}" for row in COMMANDS)
TUNNEL = "--tun-type --tun-port --tun-nocsum --tun-csum --tun-remcsum"
LIMITS = "--weight --u-threshold --l-threshold"
LISTED = "--numeric --exact --tun-info --nosort --sort --resolve-timeout --syncid --backend --help"
APPLY = f"{SERVICES} --backend --help"

# (line, the candidates in their order). `^` is the cursor, which stands at the end without it.
OFFERED: list[tuple[str, str]] = [
    # commands
    ("", f"{ALL_COMMANDS} --backend"),
    ("--add", "--add-service --add-server"),
    ("--add-server", "--add-server"),
    ("-", f"{' '.join(f'-{row.short}' for row in COMMANDS if row.short)} {ALL_COMMANDS} --backend"),
    ("--backend memory -", f"{' '.join(f'-{row.short}' for row in COMMANDS if row.short)} {ALL_COMMANDS}"),
    ("-L", "-L"),
    ("-q", ""),
    ("--nope=", ""),
    ("nothing", ""),
    ("-t 10.0.0.1:80 --ed", "--edit-service --edit-server"),
    ("-- ", ""),
    ("^ -D -t 10.0.0.1:80", "--backend --help"),
    # the options that go with the command, required options first
    ("-A ", f"{SERVICES} --scheduler --sched-flags --persistent --netmask --pe --ops --backend --help"),
    ("-A -t 10.0.0.1:80 -s rr -p 5 ", "--sched-flags --netmask --pe --backend --help"),
    ("-A -u 10.0.0.1:53 --o", "--ops"),
    ("-A -o --", "--udp-service --fwmark-service --scheduler --sched-flags --persistent --netmask --pe --backend --help"),
    ("-A -f 5 -s rr -p -M 1 --pe sip -o -b flag-1 ", "--ipv6 --backend --help"),
    ("-A ^ -f 5 -s rr -p -M 1 --pe sip -o -b flag-1", "--backend --help"),
    ("-A -f 5 -6 -s rr -p -M 1 --pe sip -o -b flag-1 ", "--backend --help"),
    ("-D ", f"{SERVICES} --backend --help"),
    ("-D -t 10.0.0.1:80 ", "--backend --help"),
    ("-C --backend=memory ", "--help"),
    ("-C --help ", ""),
    ("--set 1 2 3 ", "--backend --help"),
    ("-a -t 10.0.0.1:80 ", f"--real-server --gatewaying --ipip --masquerading {LIMITS} {TUNNEL} --backend --help"),
    ("-a -t 10.0.0.1:80 -m ", f"--real-server {LIMITS} --backend --help"),
    ("-a -f 5 -6 -r 1 -w 1 -x 1 -y 1 -i ", f"{TUNNEL} --backend --help"),
    ("-a -t 1 -r 1 -w 1 -x 1 -y 1 --tun-type gre ", "--ipip --tun-nocsum --tun-csum --backend --help"),
    ("-a -t 1 -r 1 -w 1 -x 1 -y 1 -i --tun-type gue --tun-csum ", "--tun-port --backend --help"),
    ("-a -t 1 -r 1 -w 1 -x 1 -y 1 -i --tun-type ipip ", "--backend --help"),
    ("-a -f 5 -r 10.0.0.1 -m -w 1 -x 1 -y 1 ", "--backend --help"),
    ("-a -f 5 -r fd00::1 -m -w 1 -x 1 -y 1 ", "--ipv6 --backend --help"),
    ("-a -t 10.0.0.1:80 -r [fd00::1]:80 -w 1 -x 1 -y 1 ", f"--ipip {TUNNEL} --backend --help"),
    (
        "-L -c ",
        "--tcp-service --udp-service --sctp-service --fwmark-service --real-server "
        + LISTED.replace("--exact", "--exact --persistent-conn"),
    ),
    ("-L --daemon --s", "--sort --syncid"),
    ("-L --stats --rate --th", "--thresholds"),
    ("-L --stats --ti", ""),
    ("-L -t 10.0.0.1:80 --t", "--tcp-service --thresholds --tun-info"),
    ("-S ", "--numeric --resolve-timeout --backend --help"),
    ("-Ln", "-Ln"),
    ("-Lnn", ""),
    ("-Lnq", ""),
    ("-Aq", ""),
    ("-Agt", ""),
    ("-A -D", ""),
    ("-L -h", "-h"),
    ("-v ", ""),
    ("--help ", " ".join([*CONCEPTS, *(row.long for row in (*COMMANDS, *OPTIONS))])),
    ("--help --add-", "--add-service --add-server"),
    ("--help --ti", "--timeout"),
    ("--help sche", "schedulers scheduler sched-flags"),
    ("--help edit-se", "edit-service edit-server"),
    # services
    ("-D -t ", "10.0.0.1:80 10.0.0.1:443 10.0.0.2:80 [2001:db8::1]:80"),
    ("-D -t 10.0.0.1:", "10.0.0.1:80 10.0.0.1:443"),
    ("-D -t [", "[2001:db8::1]:80"),
    ("-Dt", "-Dt"),
    ("-Dt10.0.0.2", "-Dt10.0.0.2:80"),
    ("-Dt=10.0.0.2", "-Dt=10.0.0.2:80"),
    ("-D --tcp-service=10.0.0.2", "--tcp-service=10.0.0.2:80"),
    ("-D --tcp-service=", " ".join(
        f"--tcp-service={end}" for end in ("10.0.0.1:80", "10.0.0.1:443", "10.0.0.2:80", "[2001:db8::1]:80"))),
    ("-D -u ", "10.0.0.1:53"),
    ("-D --sctp-service ", "10.0.0.3:99"),
    ("-D -f ", "5 7"),
    ("-L -t 10.0.0.1:80 -t ", "10.0.0.1:443 10.0.0.2:80 [2001:db8::1]:80"),
    ("-t ", "10.0.0.1:80 10.0.0.1:443 10.0.0.2:80 [2001:db8::1]:80"),
    ("-D -t 10.0.0.1:80 -t10", ""),
    ("-D -t 10.0.0.1:80 --udp-service=", ""),
    ("-A -t ", "10.0.0.1: 10.0.0.2: [2001:db8::1]:"),
    ("-A -t 10.0.0.1:", ""),
    ("-At10.0.0.1", "-At10.0.0.1:"),
    ("-A -f ", ""),
    ("-D -t 10.9", ""),
    ("--backend memory:other -D -t 10.9", "10.9.9.9:9"),
    ("-D -t 10.9^ --backend=memory:other", "10.9.9.9:9"),
    ("--backend memory:nothing -D -t ", ""),
    # servers
    ("-d -t 10.0.0.1:80 -r ", "192.168.0.8:8080 192.168.0.9:8080"),
    ("-d -r ^ -t 10.0.0.1:80", "192.168.0.8:8080 192.168.0.9:8080"),
    ("-e -t 10.0.0.1:80 -r192.168.0.9", "-r192.168.0.9:8080"),
    ("-d -t [2001:db8::1]:80 -r [", "[2001:db8::8]:80"),
    ("-d -f 5 -r ", "192.168.0.6:0"),
    ("-d -f 7 -6 -r ", "[2001:db8::9]:0"),
    ("-d -t 10.0.0.2:80 -r ", ""),
    ("-d -t vip:80 -r 192.168.0.8", "192.168.0.8:8080 192.168.0.8:443"),
    ("-d -t 10.0.0.1:http -r 192.168.0.7", "192.168.0.7:53"),
    ("-d -t junk -r 192.168.0.7", "192.168.0.7:53"),
    ("-a -t 10.0.0.1:443 -r 192", "192.168.0.8:8080 192.168.0.9:8080 192.168.0.7:53 192.168.0.6:0"),
    ("-a -t 10.0.0.1:443 -r [", ""),
    ("-a -t 10.0.0.1:443 -i -r [", "[2001:db8::8]:80 [2001:db8::9]:0"),
    ("-a -r 192.168.0.9", "192.168.0.9:8080"),
    # fixed values
    ("-A -s w", "wrr wlc"),
    ("-A -b sh-port -s ", "sh"),
    ("-As", "-As"),
    ("-Asw", "-Aswrr -Aswlc"),
    ("-A -s sh -b ", "sh-fallback sh-port"),
    ("-A -s sh -b sh-port,", "sh-port,sh-fallback"),
    ("-A -s sh -b sh-port,sh-fallback,", ""),
    ("-E -s sh -b +", "+sh-fallback +sh-port"),
    ("-E -s sh -b -sh-port,+", "-sh-port,+sh-fallback"),
    ("-A -b mh-^ -s mh", "mh-fallback mh-port"),
    ("-A -s rr -b flag-1,", "flag-1,flag-2 flag-1,flag-3"),
    ("-A -b ", "flag-1 flag-2 flag-3 sh-fallback sh-port mh-fallback mh-port"),
    ("-A -p ", f"{SERVICES} --scheduler --sched-flags --netmask --pe --ops --backend --help"),
    ("-A -p 3", ""),
    ("-A --pe ", "sip"),
    ("-a --tun-type ", "ipip gue gre"),
    ("-a --tun-port 6080 --tun-type ", "gue"),
    ("--start-daemon ", "master backup"),
    ("--stop-daemon=b", "--stop-daemon=backup"),
    ("--start-daemon master --mcast-interface e", "eth0 eth1"),
    ("-a -w ", ""),
    # backends and files
    ("--backend ", "kernel memory memory:"),
    ("--backend memory:", "memory:etc/ memory:rules"),
    ("--backend=memory:etc/", "--backend=memory:etc/a_b --backend=memory:etc/table"),
    ("--backend memory:.", "memory:.hidden"),
    ("--backend memory:/no/", ""),
    ("--netns ", "blue green"),
    ("--netns=b", "--netns=blue"),
    ("-L --netns blue --netns g", "green"),
    ("--netns etc/", "etc/a_b etc/table"),
    ("--netns /no/", ""),
    ("--netns blue -D -t ", "10.8.8.8:8"),
    ("-D -t ^ --netns=blue", "10.8.8.8:8"),
    ("--netns blue --netns green -D -t ", ""),
    # the numbers of the history
    ("--undo ", "12 11 --backend --help"),
    ("--undo 1", "12 11"),
    ("--undo --dry-run 12", "12"),
    ("--undo 12 --h", "--help"),
    ("--undo 12 1", ""),
    ("--netns blue --undo ", "7 --backend --help"),
    # the files of --check
    ("--check e", "etc/"),
    ("--check rules r", "rules"),
    # the file of --apply
    ("--apply ", f"etc/ rules {APPLY}"),
    ("--apply e", "etc/"),
    ("--apply etc/", "etc/a_b etc/table"),
    ("--apply=r", "--apply=rules"),
    ("--apply --prune ", f"etc/ rules {APPLY}"),
    ("--apply --prune r", "rules"),
    ("--apply --prune --", APPLY),
    ("--apply -t ", "10.0.0.1:80 10.0.0.1:443 10.0.0.2:80 [2001:db8::1]:80"),
    ("--apply -t 10.0.0.1:80 r", "rules"),
    ("--apply rules ", APPLY),
    ("--apply=rules r", ""),
    ("--apply - r", ""),
    ("--apply ^ rules", APPLY),
    ("--apply --prune ^ rules", APPLY),
    ("--apply -- r", ""),
    ("--start-daemon master --netns blue --mcast-interface ", "lo blue0"),
]  # fmt: skip


def offered(line: str, program: str = "ipvsadm") -> list[tuple[str, str]]:
    left, _, right = line.partition("^")
    words = [program, *left.split(), *([""] if not left or left[-1] == " " else [])]
    return complete([*words, *right.split()], len(words) - 1, HERE)


@pytest.mark.parametrize(
    ("line", "expected"), OFFERED, ids=[line or "(nothing)" for line, _ in OFFERED]
)
def test_offered(line: str, expected: str) -> None:
    # The options that this list was written with; our later options are compared with the scanner
    # below.
    later = {f"--{row.long}" for row in OPTIONS if row.ours} - {"--backend", "--resolve-timeout"}
    assert [value for value, _ in offered(line) if value not in later] == [
        word.replace("_", " ") for word in expected.split()
    ]


@pytest.mark.parametrize(
    ("program", "line", "expected"),
    [
        ("ipvsadm-save", "", "-n -f --full --backend --netns --help --version"),
        ("/usr/sbin/ipvsadm-save", "-n ", "-f --full --backend --netns --help --version"),
        ("ipvsadm-save", "-n --n", "--netns"),
        ("ipvsadm-save", "--netns ", "blue green"),
        ("ipvsadm-save", "--netns etc/", "etc/a_b etc/table"),
        ("ipvsadm-save", "--netns=b", "--netns=blue"),
        ("ipvsadm-save", "--full=b", ""),
        ("ipvsadm-save", "--netns=blue --", "--full --backend --help --version"),
        ("ipvsadm-save", "-n -f ", "etc/ rules"),
        ("ipvsadm-save", "-f ru", "rules"),
        ("ipvsadm-save", "-f etc/", "etc/a_b etc/table"),
        ("ipvsadm-save", "-f x ^ -n", "--full --backend --netns --help --version"),
        ("ipvsadm-save", "--backend ", "kernel memory memory:"),
        (
            "ipvsadm-restore",
            "",
            "-n -f --dry-run --confirm-within --backend --netns --help --version",
        ),
        ("ipvsadm-restore", "-f ru", "rules"),
        ("ipvsadm-restore", "--backend memory:ru", "memory:rules"),
        ("ipvsadm-restore", "--backend=k", "--backend=kernel"),
        ("ipvsadm-restore", "--netns g", "green"),
        ("./ipvsadm", "-D -u ", "10.0.0.1:53"),
    ],
)
def test_programs(program: str, line: str, expected: str) -> None:
    assert [value for value, _ in offered(line, program)] == [
        word.replace("_", " ") for word in expected.split()
    ]


@pytest.mark.parametrize(
    ("line", "described"),
    [
        (
            "--add-serv",
            [
                ("--add-service", "add a virtual service, -A"),
                ("--add-server", "add a real server to a virtual service, -a"),
            ],
        ),
        ("-A --pe", [("--persistent", find_option("persistent")), ("--pe", "persistence engine")]),
        ("-L --js", [("--json", "print every detail as JSON (with -c: one connection per line)")]),
        ("-L -s", [("-s", "only services using this scheduler")]),
        ("-A -s", [("-s", "scheduler (default wlc)")]),
        ("-D -t 10.0.0.1:", [("10.0.0.1:80", "rr, 2 servers"), ("10.0.0.1:443", "sh, 1 server")]),
        (
            "-d -t 10.0.0.1:80 -r ",
            [("192.168.0.8:8080", "NAT, weight 3"), ("192.168.0.9:8080", "NAT, weight 1")],
        ),
        ("-A -s wl", [("wlc", "weighted least connections (default)")]),
    ],
)
def test_each_comes_with_a_line_about_it(line: str, described: list[tuple[str, object]]) -> None:
    expected = [
        (value, f"{about.help}, -{about.short}" if isinstance(about, Option) else about)
        for value, about in described
    ]
    assert offered(line) == expected


def test_no_line_at_all() -> None:
    assert complete([], 0, HERE) == complete(["ipvsadm"], 1, HERE)
    # the cursor on the program's name: no shell asks for that
    assert complete(["ipvsadm", "-A"], 0, HERE)


def test_a_kind_of_values_may_be_the_words_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    for values, expected in (
        ("up|down", ["up", "down"]),
        ("file", ["etc/", "rules"]),
        ("no such kind", []),
        ("", []),
    ):
        row = Option("new", "", "", "new", "WHICH", values=values, ours=True)
        monkeypatch.setattr("pyipvsadm.completion.candidates.OPTIONS", (*OPTIONS, row))
        monkeypatch.setattr(
            "pyipvsadm.grammar.popt._LONG", {row.long: row for row in (*COMMANDS, *OPTIONS, row)}
        )
        assert [value for value, _ in offered("-C --new ")] == expected
        assert [value for value, _ in offered("-C --new")] == ["--new"]


def test_the_embedded_table_s_schedulers_and_engines_are_offered() -> None:
    assert SCHEDULERS.keys() >= memory.SCHEDULERS
    assert ENGINES.keys() >= memory.ENGINES


def test_options_without_a_slot_are_all_known() -> None:
    assert UNSLOTTED_COMMANDS.keys() <= {row.long for row in OPTIONS if not row.slot}


# --- held against the scanner


def accepted(words: Sequence[str]) -> bool:
    try:
        CommandParser(words, FakeNames()).parse_request()
    except (UsageError, LineSkippedError):
        return False
    return True


LINES = sorted(
    {
        step.argv
        for case in CASES.values()
        for step in case.steps
        if step.program == "ipvsadm"
        and not step.environ
        and accepted(step.argv)
        and sum(map(len, step.argv)) < 500
    }
)
BEGINNINGS = sorted({words[:at] for words in LINES for at in range(len(words) + 1)})

# Samples of an option's argument, by its name in the help, for arguments that the table does not
# describe itself.
SAMPLES = {
    "HOST[:PORT]": ("10.9.9.9:80", "[fd00::9]:80"),
    "MARK": ("5",),
    "NAME": ("sip", "sh", "mh"),
    "FLAGS": ("flag-1",),
    "TYPE": ("ipip", "gue", "gre"),
    "ADDRESS": ("224.0.0.81",),
    "MASK": ("64",),
}
# Options that may still be missing. The tunnel's options require each other.
CURES = sorted(
    (
        [*" ".join(cure).split()]
        for cure in product(
            ("", "-t 10.9.9.9:80", "-u 10.9.9.9:80", "-t [fd00::9]:80"),
            ("", "-r 10.9.9.8", "-r fd00::8"),
            ("", "-i", "--tun-type gue", "-i --tun-type gue", "-i --tun-type gre", "--tun-port 80",
             "--tun-type gue --tun-port 80", "-i --tun-port 80", "-i --tun-type gue --tun-port 80"),
            ("", "-p", "-s sh", "-s mh", "1", "1 2", "1 2 3"),
        )
    ),
    key=len,
)  # fmt: skip


def samples(row: Option) -> tuple[str, ...]:
    if row.limits:
        return (str(row.limits[0]),)
    if "|" in row.values:
        return (row.values.partition("|")[0],)
    return SAMPLES.get(row.metavar, ("100",))


def waits(words: Sequence[str]) -> bool:
    """Return True if the next word is the argument of the last option."""
    found = PoptScanner(words, posix=False)
    while True:
        try:
            if found.read_option() is None:
                return (
                    found.awaiting_argument is not None
                    and found.awaiting_argument.argument != OPTIONAL
                )
        except LineSkippedError:
            continue


def legal(words: Sequence[str]) -> bool:
    """Return True if the words can be completed to a line that the scanner accepts."""
    return accepted([*words, "-L"]) or any(accepted([*words, *cure]) for cure in CURES)


def continued(words: Sequence[str], word: str) -> Iterator[list[str]]:
    row = find_option(word[2:])
    if isinstance(row, Option) and row.argument == ATTACHED:
        return iter([[*words, word]])
    if isinstance(row, Option) and row.argument:
        return ([*words, word, value] for value in samples(row))
    return iter([[*words, word, "master"] if row and row.argument else [*words, word]])


def test_what_is_offered_is_legal() -> None:
    checked = 0
    for words in BEGINNINGS:
        if waits(words):
            for value, _ in complete(["ipvsadm", *words, ""], len(words) + 1, HERE):
                assert value.endswith(NO_SPACE_SUFFIXES) or legal([*words, value]), (words, value)
            continue
        for word, _ in complete(["ipvsadm", *words, "--"], len(words) + 1, HERE):
            checked += 1
            assert any(map(legal, continued(words, word))), (words, word)
    assert checked > 1000


def test_what_is_legal_is_offered() -> None:
    names = {f"-{row.short}": row for row in (*COMMANDS, *OPTIONS) if row.short} | {
        f"--{row.long}": row for row in (*COMMANDS, *OPTIONS)
    }
    checked = 0
    for words in LINES:
        for at, word in enumerate(words):
            row = names.get(word)
            before = words[:at]
            if (
                row is None
                or "--" in before
                or waits(before)
                or words[0] in ("-h", "--help", "-v", "--version")
            ):
                continue
            if (
                isinstance(row, Option)
                and not row.slot
                and any(names.get(other) is row for other in before)
            ):
                continue  # legal without end, and of no use
            if (
                isinstance(row, Option)
                and row.long == "sort"
                and not before[0].startswith(("-L", "-l", "--list"))
            ):
                continue  # 1.31 takes it with any command
            checked += 1
            assert f"--{row.long}" in [
                value for value, _ in complete(["ipvsadm", *before, ""], at + 1, HERE)
            ], (words, word)
    assert checked > 500


def test_no_beginning_of_a_line_is_too_odd() -> None:
    for words in BEGINNINGS:
        if words:
            for end in range(min(len(words[-1]), 40)):
                for value, _ in complete(
                    ["ipvsadm", *words[:-1], words[-1][:end]], len(words), HERE
                ):
                    assert value.startswith(words[-1][:end])


@given(
    st.lists(st.text(alphabet="-=:,[]/ALatrsfbhp61.\0\xff\udcff!#+", max_size=8), max_size=6),
    st.integers(0, 8),
)
def test_no_line_is_too_odd(words: list[str], cursor: int) -> None:
    complete(["ipvsadm", *words], cursor, HERE)
