"""Test the entry points and what runs behind them: backends chosen, statuses, streams, restoring,
saving, names, help.
"""

from __future__ import annotations

import errno
import inspect
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pyipvsadm import __version__, cli
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.click_command import ipvsadm
from pyipvsadm.environment import Environment
from pyipvsadm.errors import OperationError
from pyipvsadm.grammar.combinations import is_allowed_with
from pyipvsadm.grammar.help_layout import (
    COMMON_EXAMPLES,
    CONCEPTS,
    EXAMPLES,
    EXTENSIONS,
    format_help,
)
from pyipvsadm.grammar.options import COMMAND_GROUPS, COMMAND_HELP, COMMANDS, OPTIONS, Command
from pyipvsadm.grammar.parser import TRY_HELP
from pyipvsadm.grammar.schedulers import SCHEDULERS
from pyipvsadm.model import AF_INET, AF_INET6, TCP, Change, Server, Service
from tests.unit.fake_environment import FakeEnvironment, FakeNames, FullWorld, apply_all, lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RULES = (
    "-A -t 10.0.0.1:80 -s rr",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1",
    "-a -t 10.0.0.1:80 -r 10.0.0.3:80 -m -w 1",
)
TITLE = lines(
    "IP Virtual Server version 1.2.1 (size=4096)",
    "Prot LocalAddress:Port Scheduler Flags",
    "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
)


def with_rules(**options: Any) -> FakeEnvironment:
    env = FakeEnvironment(**options)
    apply_all(env.table, RULES)
    return env


def run(env: FakeEnvironment, words: str) -> tuple[int, str, str]:
    return (cli.main(words.split(), env), *env.take())


def call(env: FakeEnvironment, line: str) -> tuple[int, str, str]:
    """Run ipvsadm; or ipvsadm-save or ipvsadm-restore if `save` or `restore` is the first word."""
    words = line.split()
    program = {"save": cli.run_save, "restore": cli.run_restore}.get(
        words[0] if words else "", cli.main
    )
    return (program(words if program is cli.main else words[1:], env), *env.take())


def test_a_package_that_is_missing_is_named_and_what_is_ours_is_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def list_without_rich(*_: Any) -> None:
        raise ModuleNotFoundError("No module named 'rich'", name="rich.table")

    monkeypatch.setattr("pyipvsadm.commands.listing.run_list", list_without_rich)
    message = "this needs the Python package rich: No module named 'rich'; install it with `apt-get install python3-rich'\n"
    assert run(FakeEnvironment(), "-L --pretty") == (1, "", message)
    monkeypatch.setitem(sys.modules, "pyipvsadm.grammar.help_layout", None)
    with pytest.raises(ImportError, match=r"pyipvsadm\.grammar\.help"):
        run(FakeEnvironment(), "--help")


def test_alone_it_lists() -> None:
    names = FakeNames({"web": (AF_INET, bytes([10, 0, 0, 2]))}, {("http", TCP): 80})
    assert run(with_rules(names=names), "") == (
        0,
        TITLE
        + lines(
            "TCP  10.0.0.1:http rr",
            "  -> web:http                     Masq    1      0          0         ",
            "  -> 10.0.0.3:http                Masq    1      0          0         ",
        ),
        "",
    )


STEPS: list[tuple[str, int, str, str]] = [
    ("-L -n -t 10.0.0.9:80", 1, "", "No such service\n"),
    ("-A -t 10.0.0.1:80", 255, "", "Service already exists\n"),
    ("-q", 255, "", TRY_HELP + "\n"),
    ("-L -q", 255, "", "-q: unknown option\n"),
    (
        "-A",
        2,
        "",
        "You need to supply the 'service-address' option for the 'add-service' command\n",
    ),
    ("-L --timeout", 0, "Timeout (tcp tcpfin udp): 900 120 300\n", ""),
    ("-L --daemon", 0, "", ""),
    ("-S -n", 0, lines(*RULES), ""),
    (
        "-C --resolve-timeout 1",
        2,
        "",
        "Illegal 'resolve-timeout' option with the 'flush' command\n",
    ),
    (
        "-L --resolve-timeout x",
        2,
        "",
        "illegal resolve-timeout specified: `x' is no number from 0 to 3600\n",
    ),
    ("-Z", 0, "", ""),
    ("-C", 0, "", ""),
    ("-v", 0, f"ipvsadm v1.31 (pyipvsadm {__version__}, IPVS v1.2.1)\n", ""),
    (
        "-L --backend nonsense",
        2,
        "",
        "unknown backend `nonsense': use kernel, memory or memory:FILE\n",
    ),
    (
        "-L --backend memory:",
        2,
        "",
        "unknown backend `memory:': use kernel, memory or memory:FILE\n",
    ),
]


@pytest.mark.parametrize(("words", "status", "stdout", "stderr"), STEPS)
def test_statuses(words: str, status: int, stdout: str, stderr: str) -> None:
    assert run(with_rules(), words) == (status, stdout, stderr)


@pytest.mark.parametrize(
    ("words", "environ", "opened"),
    [
        ("-Ln", {}, "kernel"),
        ("-Ln", {"IPVSADM_BACKEND": ""}, "kernel"),
        ("-Ln", {"IPVSADM_BACKEND": "memory"}, "memory"),
        ("-Ln --backend kernel", {"IPVSADM_BACKEND": "memory"}, "kernel"),
        ("--backend=memory -Ln", {}, "memory"),
        ("--backend memory -A -t nonsense", {}, "memory"),
        ("-A -t nonsense --backend memory", {}, "memory"),
        ("-L --watch=x --backend=memory", {}, "memory"),
        ("-L --watch=x --backend", {}, "kernel"),
    ],
)
def test_the_backend_that_is_opened(words: str, environ: dict[str, str], opened: str) -> None:
    env = FakeEnvironment(environ=environ)
    run(env, words)
    assert env.specs == [opened]


WARNING = "ipvsadm: IPVSADM_BACKEND=memory: this {} the embedded table, not the kernel\n"


@pytest.mark.parametrize(
    ("words", "root", "seen", "effect"),
    [
        ("-C", True, False, "changes"),
        ("-R", True, False, "changes"),
        ("-Z --dry-run", True, False, ""),
        ("-Z --dry-run", True, True, "reads"),
        ("-L", True, False, ""),
        ("-L", True, True, "reads"),
        ("", True, True, "reads"),
        ("-S", True, False, "saves"),
        ("-C", False, True, ""),
        ("-L", False, True, ""),
        ("-S", False, True, ""),
        ("-v", True, True, ""),
        ("-L --backend memory", True, True, ""),
        ("-C --backend memory", True, True, ""),
        ("save -n", True, False, "saves"),
        ("save -n", False, True, ""),
        ("save -n --backend memory", True, True, ""),
        ("save --help", True, True, ""),
        ("restore", True, False, "changes"),
        ("restore --dry-run", True, False, ""),
        ("restore --dry-run", True, True, "reads"),
        ("restore --backend memory", True, True, ""),
    ],
)
def test_a_variable_does_not_silently_turn_root_from_the_kernel(
    words: str, root: bool, seen: bool, effect: str
) -> None:
    env = FakeEnvironment(environ={"IPVSADM_BACKEND": "memory"}, root=root, seen=seen)
    assert call(env, words)[2] == (WARNING.format(effect) if effect else "")


def test_the_doctor_says_where_a_variable_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyipvsadm.commands.doctor.run_doctor", lambda *_: 0)
    env = FakeEnvironment(environ={"IPVSADM_BACKEND": "memory"}, root=True, seen=True)
    assert run(env, "--doctor") == (0, "", WARNING.format("reads"))


def test_no_table_is_said_before_a_bad_request(monkeypatch: pytest.MonkeyPatch) -> None:
    env = FakeEnvironment()

    def absent(_: str) -> Any:
        raise OperationError("Can't initialize ipvs", 2)

    monkeypatch.setattr(env, "open_backend", absent)
    assert run(env, "-q") == (2, "", "Can't initialize ipvs\n")
    assert run(env, "-h")[0] == 0
    assert run(env, "-v")[0] == 0


def test_a_full_output_is_not_success() -> None:
    table = with_rules().table
    env = FullWorld(table=table)
    assert cli.main(["-S", "-n"], env) == 1
    assert env.stderr.startswith("cannot write to standard output: No space left on device")


def test_out_of_memory_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: Any) -> int:
        raise MemoryError

    monkeypatch.setattr("pyipvsadm.cli.run_request", exhausted)
    assert run(FakeEnvironment(), "-L") == (1, "", "Memory allocation problem\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "/some/file"),
            "/some/file: Permission denied\n",
        ),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files\n"),
        (TimeoutError("timed out"), "timed out\n"),
    ],
)
def test_what_the_system_refuses_is_a_sentence(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> int:
        raise error

    monkeypatch.setattr("pyipvsadm.cli.run_request", refused)
    assert run(FakeEnvironment(), "-L") == (1, "", said)
    assert run(FakeEnvironment(b"-A -f 1\n"), "--apply --dry-run") == (255, "", said)
    monkeypatch.setattr("pyipvsadm.commands.save.render_rules", refused)
    env = FakeEnvironment()
    assert (cli.run_save(["-n"], env), env.stderr) == (1, said)


# --- restoring: (input, status, standard error, the rules afterwards)

RESTORED: list[tuple[str, str, int, str, tuple[str, ...]]] = [
    ("what save writes", lines(*RULES), 0, "", RULES),
    ("nothing", "", 0, "", ()),
    ("comments, blanks, no final line end", "# rules\n\n\t\r\n" + RULES[0] + "\r\n" + RULES[1], 0, "", RULES[:2]),
    ("a last line that ends in blanks", lines(RULES[0]) + RULES[1] + " \t\r ", 0, "", RULES[:2]),
    (
        "a refused line is passed over, and the last line's status counts",
        lines(RULES[0], RULES[0], RULES[1]),
        0,
        "line 2: Service already exists\n",
        RULES[:2],
    ),
    ("the last line is refused", lines(RULES[0], RULES[0]), 255, "line 2: Service already exists\n", RULES[:1]),
    (
        "an unknown option is passed over",
        lines(RULES[0], "-a -t 10.0.0.1:80 --nope", RULES[1]),
        0,
        "line 2: --nope: unknown option\n",
        RULES[:2],
    ),
    ("an unknown option in the last line", lines(RULES[0], "-L --nope"), 255, "line 2: --nope: unknown option\n", RULES[:1]),
    ("a bad value ends it", lines(RULES[0], "-a -t 10.0.0.1:80 -r x -w 1"), 2,
     "line 2: illegal real server address[:port] specified\n", ()),
    ("a stray word ends it", lines(RULES[0], "", "-C now"), 2, "line 3: unexpected argument now\n", ()),
    ("no option ends it", lines(RULES[0], "now"), 255, f"line 2: {TRY_HELP}\n", ()),
    ("restore in restore", lines(RULES[0], "-R"), 255, f"line 2: {TRY_HELP}\n", ()),
    ("help ends it as it ends 1.31", lines(RULES[0], "-h"), 0, "line 2: --help ends the rules here: none was applied\n", ()),
    ("help on a command does not belong there", lines(RULES[0], "-A -h"), 2,
     "line 2: --help does not belong in rules: give it on the command line\n", ()),
    ("our options are for the command line", lines(RULES[0], "-C --backend memory"), 2,
     "line 2: --backend does not belong in rules: give it on the command line\n", ()),
    ("rules after clear", lines(*RULES, "-C", RULES[0]), 0, "", RULES[:1]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("stdin", "status", "stderr", "rules"), [pytest.param(*row[1:], id=row[0]) for row in RESTORED]
)
def test_restore(stdin: str, status: int, stderr: str, rules: tuple[str, ...]) -> None:
    env = FakeEnvironment(stdin=stdin.encode())
    assert run(env, "-R") == (status, "", stderr)
    assert run(env, "-S -n") == (0, lines(*rules), "")


def test_listings_between_rules_see_what_came_before() -> None:
    env = FakeEnvironment(stdin=lines(RULES[0], "-S -n", RULES[1], "-S -n").encode())
    assert run(env, "-R") == (0, lines(RULES[0], RULES[0], RULES[1]), "")


def test_a_listing_of_what_is_missing_ends_the_restore() -> None:
    env = FakeEnvironment(stdin=lines(RULES[0], "-L -t 10.9.9.9:80", RULES[1]).encode())
    assert run(env, "-R") == (1, "", "No such service\n")
    assert run(env, "-S -n") == (0, lines(RULES[0]), "")


def test_typed_rules_take_effect_line_by_line() -> None:
    env = FakeEnvironment(
        stdin=lines(f"{RULES[0]}  ", RULES[0], "-C now", RULES[1]).encode(), terminal=True
    )
    assert run(env, "-R") == (
        2,
        "",
        "line 2: Service already exists\nline 3: unexpected argument now\n",
    )
    assert run(env, "-S -n") == (0, lines(RULES[0]), "")


def test_typed_rules_without_a_last_line_end() -> None:
    env = FakeEnvironment(stdin=RULES[0].encode() + b"  ", terminal=True)
    assert run(env, "-R") == (0, "", "")
    assert run(env, "-S -n") == (0, lines(RULES[0]), "")


# --- ipvsadm-save, ipvsadm-restore


def test_save_and_restore_programs(tmp_path: Path) -> None:
    path = tmp_path / "rules"
    env = with_rules()
    assert (cli.run_save(["-n"], env), *env.take()) == (0, lines(*RULES), "")
    assert (cli.run_save(["-n", "-f", str(path)], env), *env.take()) == (0, "", "")
    assert path.read_text() == lines(*RULES)
    assert path.stat().st_mode & 0o777 == 0o600
    apply_all(env.table, ["-A -f 5"])
    env.stdin = b"# saved\n" + path.read_bytes()
    assert (cli.run_restore([], env), *env.take()) == (0, "", "")
    assert run(env, "-S -n") == (0, lines(*RULES), "")


def test_restore_program_checks_before_it_clears() -> None:
    env = with_rules(stdin=lines(RULES[0], "-A -t nonsense").encode())
    assert cli.run_restore([], env) == 2
    assert run(env, "-S -n")[1] == lines(*RULES)


TYPING = "reading rules from the terminal: Ctrl-D puts them in the place of the table, Ctrl-C leaves it as it is\n"


class Typist(FakeEnvironment):
    """Play a terminal at which these lines are typed: `seen_while_typing` notes the table before
    each of them and at their end.
    """

    def __init__(self, *typed: str, hangs_up: bool = False) -> None:
        super().__init__(terminal=True)
        apply_all(self.table, RULES)
        self.typed = typed
        self.hangs_up = hangs_up
        self.seen_while_typing: list[str] = []

    def read_input_blocks(self) -> Iterator[bytes]:
        for block in (*self.typed, ""):
            self.seen_while_typing.append(run(FakeEnvironment(table=self.table), "-S -n")[1])
            yield block.encode()
        self.terminal = not self.hangs_up


@pytest.mark.parametrize(
    ("typed", "status", "stderr", "rules"),
    [
        ([], 0, "", ()),
        (["-A -f 1\n"], 0, "", ("-A -f 1 -s wlc",)),
        (["-A -f", " 1\n-A", " -f 2"], 0, "", ("-A -f 1 -s wlc", "-A -f 2 -s wlc")),
        (
            ["-A -f 1\n", "-A -t x\n"],
            2,
            "line 2: illegal virtual server address[:port] specified\n",
            RULES,
        ),
        (["-A -f 1\n", "-A -f 1\n"], 255, "line 2: Service already exists\n", ("-A -f 1 -s wlc",)),
    ],
)
@pytest.mark.parametrize("words", ["restore", "restore -f -"])
def test_restore_program_reads_all_that_is_typed_before_it_clears(
    words: str, typed: list[str], status: int, stderr: str, rules: tuple[str, ...]
) -> None:
    env = Typist(*typed)
    assert call(env, words) == (status, "", TYPING + stderr)
    assert env.seen_while_typing == [lines(*RULES)] * (len(typed) + 1)
    assert run(env, "-S -n")[1] == lines(*rules)


def test_restore_program_and_a_terminal_that_hangs_up() -> None:
    env = Typist("-A -f 1\n", hangs_up=True)
    said = "the terminal is gone before the end of the rules: nothing was changed\n"
    assert call(env, "restore") == (1, "", TYPING + said)
    assert run(env, "-S -n")[1] == lines(*RULES)


@pytest.mark.parametrize("terminal", [False, True])
def test_restore_program_reads_a_file(tmp_path: Path, terminal: bool) -> None:
    (tmp_path / "rules").write_text("-A -f 1\n")
    env = with_rules(stdin=b"-A -f 2\n", terminal=terminal)
    assert call(env, f"restore -f {tmp_path}/rules") == (0, "", "")
    assert run(env, "-S -n")[1] == "-A -f 1 -s wlc\n"


@pytest.mark.parametrize(
    ("name", "why"), [("", "Is a directory"), ("gone", "No such file or directory")]
)
def test_restore_program_cannot_read_a_file(tmp_path: Path, name: str, why: str) -> None:
    path = tmp_path / name
    env = with_rules()
    assert call(env, f"restore -f {path}") == (1, "", f"cannot read {path}: {why}\n")
    assert run(env, "-S -n")[1] == lines(*RULES)


DELETED = "would delete 1 service, 2 servers; 0 active connections"


@pytest.mark.parametrize(
    ("stdin", "status", "added", "stderr"),
    [
        ("-A -f 1\n", 0, True, ""),
        ("", 0, False, ""),
        ("-A -f 1\n-A -f 1\n", 255, True, "line 2: Service already exists\n"),
        ("-A -t x\n", 2, None, "line 1: illegal virtual server address[:port] specified\n"),
    ],
)
def test_restore_program_tries_out(
    stdin: str, status: int, added: bool | None, stderr: str
) -> None:
    env = with_rules(stdin=stdin.encode())
    would = ["would add -A -f 1 -s wlc"] * bool(added)
    would += [DELETED] * (added is not None)
    assert call(env, "restore --dry-run") == (
        status,
        lines(*(f"dry run: {line}" for line in would)),
        stderr,
    )
    assert run(env, "-S -n")[1] == lines(*RULES)


def test_both_programs_use_the_backend_that_is_named(tmp_path: Path) -> None:
    table = f"memory:{tmp_path}/table"
    env = with_rules(stdin=b"-A -f 1\n")
    assert call(env, f"restore --backend {table}") == (0, "", "")
    assert call(env, f"save -n --backend={table}") == (0, "-A -f 1 -s wlc\n", "")
    assert run(env, "-S -n")[1] == lines(*RULES)
    assert env.specs == [table, table, "kernel"]


@pytest.mark.parametrize(
    "words",
    [
        "restore /etc/ipvsadm.rules",
        "restore --backend",
        "restore --backend memory --prune",
        "restore --full",
        "restore -f",
        "restore -nx",
        "save rules",
        "save -x",
        "save --dry-run",
        "save -f",
    ],
)
def test_a_word_that_a_program_does_not_know_is_refused_and_nothing_is_done(words: str) -> None:
    env = with_rules()
    status, stdout, stderr = call(env, words)
    assert (status, stdout) == (2, "")
    assert (stderr.startswith(f"ipvsadm-{words.split(maxsplit=1)[0]}: "), stderr.count("\n")) == (
        True,
        1,
    )
    assert env.specs == []
    assert run(env, "-S -n")[1] == lines(*RULES)


@pytest.mark.parametrize("program", ["save", "restore"])
def test_help_and_version_of_both_programs_need_no_table(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = FakeEnvironment()
    monkeypatch.setattr(env, "open_backend", None)
    for words in ("-h", "--help", "-n --help"):
        status, stdout, stderr = call(env, f"{program} {words}")
        assert (status, stdout.splitlines()[0][: len(program) + 18], stderr) == (
            0,
            f"Usage: ipvsadm-{program} [-",
            "",
        )
    for words in ("-v", "--version"):
        shown = f"ipvsadm-{program} v1.31 (pyipvsadm {__version__}, IPVS v1.2.1)\n"
        assert call(env, f"{program} {words}") == (0, shown, "")


def test_save_program_to_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in ("save -n -f -", "save -nf -", "save -nf-"):
        assert call(with_rules(), words) == (0, lines(*RULES), "")
    assert list(tmp_path.iterdir()) == []


def test_save_program_cannot_write(tmp_path: Path) -> None:
    env = with_rules()
    assert cli.run_save(["-f", str(tmp_path / "no" / "rules")], env) == 1
    assert "No such file or directory" in env.stderr


# --- names

NAMED = FakeNames(
    {
        "vip.example.com": (AF_INET, bytes([10, 0, 0, 1])),
        "web\u2028.example.com": (AF_INET, bytes([10, 0, 0, 9])),
        "six.example.com": (AF_INET6, bytes.fromhex("20010db8" + "0" * 22 + "01")),
        "other.example.com": (AF_INET, bytes([10, 0, 0, 3])),
    },
    {("http", TCP): 80},
)


class Liar(FakeNames):
    """Resolve other.example.com to another address than the one it came from."""

    def find_host(self, name: str) -> bytes | None:
        return bytes(4) if name == "other.example.com" else super().find_host(name)


def test_save_writes_names_that_can_be_read_back() -> None:
    env = with_rules(names=Liar(NAMED.hosts, NAMED.ports))
    apply_all(env.table, ["-A -t [2001:db8::1]:80"])
    assert run(env, "-S")[1] == lines(
        "-A -t vip.example.com:http -s rr",
        "-a -t vip.example.com:http -r 10.0.0.2:http -m -w 1",
        "-a -t vip.example.com:http -r 10.0.0.3:http -m -w 1",
        "-A -t [2001:db8::1]:http -s wlc",
    )


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("-L", 2.0),
        ("-L --resolve-timeout 5", 5),
        ("-S --resolve-timeout=0", 0),
        ("--resolve-timeout 1 -L", 1),
    ],
)
def test_the_time_for_names_can_be_set(words: str, seconds: float) -> None:
    env = with_rules(names=FakeNames())
    assert run(env, words)[0] == 0
    assert env.names.seconds == seconds


class Connected(MemoryBackend):
    """Hold a table with these connections."""

    def iter_connections(self) -> Any:
        yield b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
        yield b"TCP 0A000063 C001 0A000001 0050 0A000002 0050 ESTABLISHED     899\n"
        yield b"UDP 0A000063 C002 0A000001 13C4 0A000002 13C4 UDP              65 sip call-1\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "-Lnc",
            (
                "pro expire state       source             virtual            destination",
                "TCP 14:59  ESTABLISHED 10.0.0.99:49153    10.0.0.1:80        10.0.0.2:80",
                "UDP 01:05  UDP         10.0.0.99:49154    10.0.0.1:5060      10.0.0.2:5060",
            ),
        ),
        (
            "-Lc",
            (
                "pro expire state       source             virtual            destination",
                "TCP 14:59  ESTABLISHED 10.0.0.99:49153    vip.example.com:http 10.0.0.2:http",
                "UDP 01:05  UDP         10.0.0.99:49154    vip.example.com:5060 10.0.0.2:5060",
            ),
        ),
        (
            "-Lnc --persistent-conn",
            (
                "pro expire state       source             virtual            destination        pe name          pe_data",
                "TCP 14:59  ESTABLISHED 10.0.0.99:49153    10.0.0.1:80        10.0.0.2:80",
                "UDP 01:05  UDP         10.0.0.99:49154    10.0.0.1:5060      10.0.0.2:5060    sip                call-1",
            ),
        ),
    ],
)
def test_connections(words: str, expected: tuple[str, ...]) -> None:
    env = FakeEnvironment(table=Connected(), names=NAMED)
    assert run(env, words) == (0, lines("IPVS connection entries", *expected), "")


class Hostile(MemoryBackend):
    """Hold a table with a connection whose client has sent an odd Call-ID."""

    def iter_connections(self) -> Any:
        yield b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
        yield "UDP 0A000063 C002 0A000001 13C4 0A000002 13C4 UDP 65 sip \x1b[31m\u202e!\n".encode()


@pytest.mark.parametrize("words", ["-Lnc --persistent-conn", "-Lc --persistent-conn"])
@pytest.mark.parametrize(("shows", "end"), [((80, 24), "?[31m?!\n"), (None, "\x1b[31m\u202e!\n")])
def test_what_clients_have_sent_does_not_steer_a_terminal(
    words: str, shows: tuple[int, int] | None, end: str
) -> None:
    env = FakeEnvironment(table=Hostile(), shows=shows)
    assert cli.main(words.split(), env) == 0
    assert env.stdout.endswith(f"sip                {end}")
    assert env.stdout.startswith("IPVS connection entries\npro expire")


@pytest.mark.parametrize("words", ["-L --daemon", "-S -n --full", "save -n --full"])
@pytest.mark.parametrize(("shows", "name"), [((80, 24), "?[31m?"), (None, "\x1b[31m\u202e")])
def test_what_a_table_s_file_names_does_not_steer_a_terminal(
    words: str, shows: tuple[int, int] | None, name: str, tmp_path: Path
) -> None:
    path = tmp_path / "table"
    path.write_text("--start-daemon master --mcast-interface \x1b[31m\u202e\n")
    env = FakeEnvironment(environ={"IPVSADM_BACKEND": f"memory:{path}"}, shows=shows)
    program = cli.run_save if words.startswith("save") else cli.main
    assert (program(words.removeprefix("save ").split(), env), env.stderr) == (0, "")
    assert name in env.stdout
    assert ("\x1b" in env.stdout) == (shows is None)


@pytest.mark.parametrize(
    ("seen", "said"),
    [(True, "--?[31m?: unknown option\n"), (False, "--\x1b[31m\u202e: unknown option\n")],
)
def test_what_a_file_says_does_not_steer_a_terminal(seen: bool, said: str) -> None:
    env = FakeEnvironment(stdin="-L --\x1b[31m\u202e\n".encode(), seen=seen)
    assert cli.main(["-R"], env) == 255
    assert env.stderr == f"line 1: {said}"


def test_long_listings_are_written_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    env = with_rules()
    whole = run(env, "-Ln")[1]
    pieces: list[str] = []
    monkeypatch.setattr("pyipvsadm.commands.output.BLOCK", 10)
    monkeypatch.setattr(env, "write_stdout", pieces.append)
    run(env, "-Ln")
    assert len(pieces) > 2
    assert "".join(pieces) == whole


# --- click


def test_the_first_page_of_the_help_names_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPVSADM_BACKEND", "memory")
    for word in ("--help", "-h"):
        result = CliRunner().invoke(ipvsadm, [word])
        assert result.exit_code == 0
        for row in COMMANDS:
            assert f"--{row.long} " in result.output
    assert all(len(line) <= 80 for line in result.output.splitlines())
    assert len(result.output.splitlines()) < 65


def test_the_first_page_of_the_help_names_what_1_31_lacks() -> None:
    extensions = {f"--{row.long}" for row in (*COMMANDS, *OPTIONS) if row.ours}
    for syntax, about in EXTENSIONS:
        named = set(re.findall(r"--[a-z-]+", syntax))
        assert named, syntax
        assert named <= extensions, syntax
        assert re.search(rf"{re.escape(syntax)} +{re.escape(about.split()[0])}", format_help())


@pytest.mark.parametrize(("command", "option"), COMMAND_HELP)
def test_a_command_has_its_own_help_for_an_option(command: str, option: str) -> None:
    page = " ".join(format_help(command).split())
    row = next(row for row in OPTIONS if row.long == option)
    assert is_allowed_with(row, command)
    assert COMMAND_HELP[command, option] in page
    assert COMMAND_HELP[command, option] != row.help


@pytest.mark.parametrize("row", COMMANDS, ids=[row.long for row in COMMANDS])
def test_the_help_of_a_command_names_the_options_that_go_with_it(row: Command) -> None:
    page = run(FakeEnvironment(), f"--help {row.long}")[1]
    for option in OPTIONS:
        shown = any(
            line.replace("[", " ").split()[:1] == [f"--{option.long}"]
            or f", --{option.long}" in line
            for line in page.splitlines()
        )
        assert shown == (
            row.long not in ("help", "version") and is_allowed_with(option, row.long)
        ), option.long
    assert all(len(line) <= 80 for line in page.splitlines())
    assert page.endswith("\n")
    assert not page.endswith("\n\n")


def test_every_option_is_in_the_help_of_a_command() -> None:
    for option in OPTIONS:
        assert any(is_allowed_with(option, row.long) for row in COMMANDS), option.long


TOPICS = (
    ("-a --help", "add-server"),
    ("-ah", "add-server"),
    ("-a -t 10.0.0.1:80 -h --nonsense", "add-server"),
    ("--help -a", "add-server"),
    ("-h add-server", "add-server"),
    ("--help - add-server -D", "add-server"),
    ("-l --help", "list"),
    ("--help -l", "list"),
    ("--set --help", "set"),
    ("--start-daemon --help", "start-daemon"),
    ("--start-daemon -h", "start-daemon"),
    ("--stop-daemon backup --help", "stop-daemon"),
    ("--help --stop-daemon", "stop-daemon"),
    ("--help --help", "help"),
    ("--backend nowhere -C --help", "clear"),
    ("--help", ""),
    ("--help -", ""),
    ("--help -w", "weight"),
    ("--help --weight", "weight"),
    ("--help drain", "drain"),
    ("--help schedulers", "schedulers"),
    ("--help --Schedulers", "schedulers"),
    ("--help topics", "topics"),
)


@pytest.mark.parametrize(("words", "about"), TOPICS)
def test_what_the_help_is_about(words: str, about: str) -> None:
    env = FakeEnvironment()
    assert run(env, words) == (0, format_help(about), "")
    assert env.specs == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--help nonsense", "no help about nonsense: ipvsadm --help topics lists all topics"),
        ("-h -q", "no help about -q: ipvsadm --help topics lists all topics"),
        ("--help drian", "no help about drian: did you mean drain? ipvsadm --help topics lists all topics"),
        ("--help --add-srver", "no help about --add-srver: did you mean add-server? ipvsadm --help topics lists all topics"),
        ("--help schedules", "no help about schedules: did you mean schedulers? ipvsadm --help topics lists all topics"),
    ],
)  # fmt: skip
def test_an_unknown_topic_is_an_error_with_a_suggestion(words: str, message: str) -> None:
    assert run(FakeEnvironment(), words) == (2, "", f"{message}\n")


TOPICS_OF_THE_TABLE = [*(row.long for row in (*COMMANDS, *OPTIONS)), *CONCEPTS, "topics", ""]


@pytest.mark.parametrize("topic", TOPICS_OF_THE_TABLE)
@pytest.mark.parametrize("columns", [40, 60, 80, 300])
def test_every_page_of_the_help_fits_the_terminal(topic: str, columns: int) -> None:
    page = run(FakeEnvironment(shows=(columns, 24)), f"--help {topic}".strip())[1]
    for line in page.splitlines():
        # Only words, command lines and the narrowest column of text may be wider.
        assert len(line) <= max(min(columns, 100), 76), line
        assert line == line.rstrip()
    assert page.startswith("Usage: ipvsadm ")
    assert page.endswith("\n")
    if columns == 40:
        assert max(map(len, page.splitlines())) <= 80


def test_the_page_of_an_option_names_its_commands_and_values() -> None:
    assert format_help("weight") == lines(
        "Usage: ipvsadm COMMAND ... -w, --weight N",
        "Weight (default 1; 0: no new connections).",
        "",
        "Goes with:",
        "  -a, -e",
    )
    assert format_help("sort-by") == lines(
        "Usage: ipvsadm COMMAND ... --sort-by KEY",
        "With --watch: sort by connections, rate or weight, largest first.",
        "",
        "Goes with:",
        "  -L",
        "",
        "KEY:",
        "  connections, rate, weight",
    )
    drain = format_help("drain")
    for (command, option), text in COMMAND_HELP.items():
        assert (f"  {text}\n" in drain) == (option == "drain"), command
    assert "SECONDS:\n  0 to 2678400; a unit may follow: 90s, 10m, 2h, 1d\n" in drain
    for name in SCHEDULERS:
        assert f"\n  {name} " in format_help("scheduler")


@pytest.mark.parametrize(
    ("environ", "words", "coloured"),
    [
        ({}, "", False),
        ({}, "--color always", True),
        ({}, "--color=always", True),
        ({"NO_COLOR": "1"}, "--color=always", True),
        ({"NO_COLOR": "1"}, "--color=auto", False),
        ({"CLICOLOR_FORCE": "1"}, "", False),
        ({}, "--color=never", False),
    ],
)
@pytest.mark.parametrize("command", ["-L -n --pretty", "--apply --dry-run"])
def test_colours_go_where_they_are_wanted(
    command: str,
    environ: dict[str, str],
    words: str,
    coloured: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FakeEnvironment, "has_colours", Environment.has_colours)
    env = with_rules(environ=environ, stdin=b"-A -f 9 -s rr\n")
    status, out, _ = run(env, f"{command} {words}")
    assert (status, "\x1b[" in out) == (int("--dry-run" in command), coloured)
    env.environ, env.shows = {**environ, "TERM": "xterm"}, (80, 24)
    assert ("\x1b[3" in run(env, f"{command} --color=never")[1]) is False
    assert run(env, "-L --color=red")[0] == 2


def test_help_needs_no_package() -> None:
    script = "from pyipvsadm.cli import main; sys.exit(main(sys.argv[1:]))"
    for words in (["--help"], ["--help", "drain"], ["-a", "--help"], ["--help", "statuses"]):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = [{os.getcwd()!r}]; {script}", *words],
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.startswith(b"Usage: ipvsadm ")


def test_the_help_of_a_command_whole() -> None:
    assert run(FakeEnvironment(), "--stop-daemon --help")[1] == lines(
        "Usage: ipvsadm --stop-daemon {master|backup} [OPTIONS]",
        "Stop a sync daemon.",
        "",
        "Daemon options:",
        "      --syncid ID  id of this pair, 0 to 255 (default 0)",
        "",
        "Other options:",
        "      --dry-run[=clients]  try the change on a copy of the table and send",
        "                           nothing; =clients: also count the connected clients",
        "                           that it concerns",
        "      --color WHEN         colours: auto (on terminals; default), always, never",
        "      --backend SPEC       kernel, memory (empty, for this command) or",
        "                           memory:FILE",
        "      --netns NAME         work in this network namespace: NAME (of `ip netns'),",
        "                           PID or PATH",
        "",
        "Example:",
        "  ipvsadm --stop-daemon master",
    )


def test_a_fault_before_it_comes_before_the_help() -> None:
    assert run(FakeEnvironment(), "-A -t nonsense --help") == (
        2,
        "",
        "illegal virtual server address[:port] specified\n",
    )
    assert run(FakeEnvironment(), "-A --nope --help") == (255, "", "--nope: unknown option\n")
    assert (
        run(FakeEnvironment(), "-A -s --help -t 10.0.0.1:80")[0] == 255
    )  # a scheduler by that name


@pytest.mark.parametrize(
    "words", [f"{words} --backend memory" for group in EXAMPLES.values() for words in group]
)
def test_the_examples_of_the_help_work(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules").write_text("-A -f 9\n")
    env = FakeEnvironment(stdin=b"-A -f 9\n", table=MemoryBackend(interfaces={"eth0"}.__contains__))
    mode = ("-a", "-E", "-D", "-e", "-d", "-L", "-Z", "-S")
    if words.startswith(mode):
        apply_all(env.table, ["-A -t 10.0.0.1:80", "-A -f 7", "-A -f 7 -6"])
    if words.startswith(("-e", "-d")):
        apply_all(env.table, ["-a -t 10.0.0.1:80 -r 10.0.0.8:8080 -m"])
    if words.startswith("--predict"):
        apply_all(env.table, ["-A -t 10.0.0.1:80", "-a -t 10.0.0.1:80 -r 10.0.0.8:80 -m"])
    if words.startswith(("--undo", "--history", "--confirm")):
        env.table.name = "memory:table"
        env.environ = {"IPVSADM_HISTORY": str(tmp_path / "history")}
        apply_all(env.table, ["-A -f 7"])
        assert run(env, "-C")[0] == 0
    if words.startswith("--confirm"):
        text = (tmp_path / "history" / "1.kept").read_text()
        (tmp_path / "history" / "1.open").write_text(
            text.replace('"deadline": null', '"deadline": 1')
        )
    if words.startswith("--stop"):
        apply_all(env.table, ["--start-daemon master --mcast-interface eth0"])
    status, _, stderr = run(env, words.replace("> rules", "").replace("< rules", ""))
    # 1: there is something to do
    assert status == ("--dry-run" in words and not words.startswith(("--undo", "--confirm")))
    assert stderr.endswith(
        "1 added, 0 changed, 0 removed, 0 unchanged\n" if words.startswith("--apply") else ""
    )


def test_the_examples_of_the_first_page_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = run(FakeEnvironment(), "--help")[1]
    programs = {
        "ipvsadm": cli.main,
        "ipvsadm-save": cli.run_save,
        "ipvsadm-restore": cli.run_restore,
    }
    env = FakeEnvironment()
    apply_all(env.table, ["-A -t 10.0.0.1:80", "-a -t 10.0.0.1:80 -r 10.0.0.8:80 -m"])
    for about, line in COMMON_EXAMPLES:
        assert f"  # {about}\n  {line}\n" in page
        command, _, file = line.partition(" < ")
        env.stdin = (tmp_path / file).read_bytes() if file else b""
        program, *words = command.split()
        assert (programs[program](words, env), env.take()[1]) == (0, ""), line
    assert run(env, "-S -n")[1] == lines(
        "-A -t 10.0.0.1:80 -s wlc", "-a -t 10.0.0.1:80 -r 10.0.0.8:80 -m -w 0"
    )


def test_commands_stand_in_one_group_of_the_help() -> None:
    grouped = " ".join(names for _, names in COMMAND_GROUPS).split()
    assert len(grouped) == len(set(grouped))
    assert set(grouped) <= {row.long for row in COMMANDS}
    assert EXAMPLES.keys() <= {row.long for row in COMMANDS}


def test_a_command_in_no_group_is_in_the_help_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pyipvsadm.grammar.help_layout.COMMANDS", (*COMMANDS, Command("dance", "", "on the table"))
    )
    assert "Other:\n      --dance  on the table\n" in format_help()
    assert format_help("dance").startswith("Usage: ipvsadm --dance\nOn the table.\n")


def test_the_click_command_is_the_program(tmp_path: Path) -> None:
    # click 8.2 keeps the two streams apart, and the switch for it has gone
    has_switch = "mix_stderr" in inspect.signature(CliRunner).parameters
    apart: dict[str, Any] = {"mix_stderr": False} if has_switch else {}
    runner = CliRunner(**apart)
    table = f"memory:{tmp_path / 'table'}"
    for rule in RULES:
        assert runner.invoke(ipvsadm, ["--backend", table, *rule.split()]).exit_code == 0
    assert runner.invoke(ipvsadm, ["--backend", table, "-Sn"]).output == lines(*RULES)
    refused = runner.invoke(ipvsadm, ["--backend", table, *RULES[0].split()])
    assert (refused.exit_code, refused.stderr) == (255, "Service already exists\n")
    wrong = runner.invoke(ipvsadm, ["--backend", table, "-L", "--nope"])
    assert (wrong.exit_code, wrong.stderr) == (255, "--nope: unknown option\n")


def test_refusals_of_a_table_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyipvsadm.errors import RefusedError  # noqa: PLC0415

    env = with_rules()

    def services(**_: bool) -> Any:
        raise RefusedError(4, errno.EPERM)

    monkeypatch.setattr(env.table, "read_services", services)
    assert run(env, "-Ln") == (
        1,
        TITLE.splitlines(keepends=True)[0],
        "Permission denied (you must be root)\n",
    )


def test_zero_of_the_unspecified_address_is_zero_of_all() -> None:
    class Asked(MemoryBackend):
        seen: list[Change] = []  # noqa: RUF012

        def apply(self, changes: Any) -> list[tuple[int, int]]:
            self.seen.extend(changes)
            return []

    env = FakeEnvironment(table=Asked())
    run(env, "-Z -t 0.0.0.0:0")
    run(env, "-Z -t 0.0.0.0:1")
    assert [change.service for change in Asked.seen] == [
        None,
        Service(AF_INET, TCP, bytes(4), 1, scheduler=""),
    ]


class Serving(MemoryBackend):
    """Give all servers three active connections and five inactive ones."""

    def read_servers(self, service: Service) -> list[Server]:
        servers = super().read_servers(service)
        for server in servers:
            server.active, server.inactive = 3, 5
        return servers


@pytest.mark.parametrize(
    ("words", "resets"),
    [
        ("-e -t 10.0.0.1:80 -r 10.0.0.2:80 -w 5", "forwarding method NAT -> direct routing, upper threshold 9 -> none"),
        ("-e -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 5", "upper threshold 9 -> none"),
        ("-e -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 5 -x 8", ""),
        ("-e -t 10.0.0.1:80 -r 10.0.0.2:80 -w 5 --keep", ""),
        ("-e -t 10.0.0.1:80 -r 10.0.0.3:80 -w 5", ""),
        ("-a -t 10.0.0.1:80 -r 10.0.0.4:80", ""),
    ],
)  # fmt: skip
def test_a_person_is_told_which_settings_an_edit_resets(words: str, resets: str) -> None:
    rules = (
        "-A -t 10.0.0.1:80",
        "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -x 9",
        "-a -t 10.0.0.1:80 -r 10.0.0.3:80",
    )
    for seen in (True, False):
        env = FakeEnvironment(seen=seen)
        apply_all(env.table, rules)
        hint = (
            f"hint: {resets}; --keep leaves settings that are not given\n"
            if resets and seen
            else ""
        )
        assert run(env, words) == (0, "", hint)


def test_no_reset_is_told_of_a_table_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    env = FakeEnvironment(seen=True)
    apply_all(env.table, ("-A -t 10.0.0.1:80", "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m"))

    def fail(_: Any) -> Any:
        raise OperationError("gone")

    monkeypatch.setattr(env.table, "read_servers", fail)
    assert run(env, "-e -t 10.0.0.1:80 -r 10.0.0.2:80") == (0, "", "")


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (
            "-d -t 10.0.0.1:80 -r 10.0.0.2:80",
            "3 active connections; to undo: ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1",
        ),
        ("-D -t 10.0.0.1:80", "6 active connections"),
        ("-D -u 10.0.0.1:53", "8 active connections"),
        ("-C", "14 active connections"),
        ("-d -t 10.0.0.1:80 -r 10.0.0.9:80", None),
        ("-A -f 1", None),
    ],
)
def test_a_person_is_told_what_a_removal_cost(words: str, count: str | None) -> None:
    dns = ("-A -u 10.0.0.1:53 -s rr", "-a -u 10.0.0.1:53 -r 10.0.0.2:53 -m")
    for seen in (True, False):
        env = FakeEnvironment(table=Serving())
        apply_all(env.table, (*RULES, *dns))
        env.seen = seen
        err = run(env, words)[2]
        said = f"hint: the removed servers had {count}\n"
        assert (said in err) == (seen and count is not None)
        assert seen or "hint" not in err
