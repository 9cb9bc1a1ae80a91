"""Test hints: what a person reads after the reference's text, and that scripts get no hints."""

from __future__ import annotations

import errno
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pyipvsadm import cli
from pyipvsadm.errors import OperationError, RefusedError
from pyipvsadm.grammar.hints import NAMES, ONLY_HOST
from pyipvsadm.grammar.options import OPTIONS, SLOTS
from pyipvsadm.grammar.parser import TRY_HELP
from pyipvsadm.grammar.schedulers import SCHEDULERS
from tests.unit.fake_environment import FakeEnvironment, apply_all

if TYPE_CHECKING:
    from pathlib import Path

RULES = (
    "-A -t 10.0.0.1:80 -s rr",
    "-a -t 10.0.0.1:80 -r 10.0.1.1:8080 -m",
    "-a -t 10.0.0.1:80 -r 10.0.1.2 -g",
    "-A -t [fd00::1]:80",
    "-a -t [fd00::1]:80 -r [fd00::11]:8080 -m",
    "-a -t [fd00::1]:80 -r [fd00::11]:8081 -m",
)
KNOWN = " ".join(SCHEDULERS)
LOADING = "each is a module of the kernel; what its loading says: modprobe"
DENIED = "Permission denied (you must be root)"
ABSENT = "Scheduler or persistence engine not found"

VIRTUAL = "illegal virtual server address[:port] specified"
REAL = "illegal real server address[:port] specified"
NO_PORT = "is no port: neither a number from 0 to 65535, nor a name in /etc/services"
FROM_FILE = (
    "rules come from standard input: < FILE; or use --apply FILE, or ipvsadm-restore -f FILE"
)
# (command line, 1.31's message, the hint that follows it for a person)
HINTS: list[tuple[str, str, list[str]]] = [
    ("-L --shceduler rr", "--shceduler: unknown option", ["did you mean --scheduler?"]),
    ("-L --sched=rr", "--sched=rr: unknown option", ["did you mean --scheduler?"]),
    ("-A -t 10.0.0.1:81 --sched rr", "--sched: unknown option", ["did you mean --scheduler?"]),
    ("-L --timeouts", "--timeouts: unknown option", ["did you mean --timeout?"]),
    (
        "-L --persistent_conn",
        "--persistent_conn: unknown option",
        ["did you mean --persistent-conn?"],
    ),
    (
        "-a -t 10.0.0.1:80 -r 10.0.1.9 --wieght 5",
        "--wieght: unknown option",
        ["did you mean --weight?"],
    ),
    # --weight does not go with -C, but no other option is meant
    ("-C --wieght 5", "--wieght: unknown option", ["did you mean --weight?"]),
    ("-L --STATS", "--STATS: unknown option", ["did you mean --stats?"]),
    ("-L -nquiesced", "-nquiesced: unknown option", []),
    ("-L -json", "-json: unknown option", ["did you mean --json?"]),
    ("-L -q", "-q: unknown option", []),
    ("-L --qqqqqq", "--qqqqqq: unknown option", []),
    ("-L --=", "--=: unknown option", []),
    ("-L --numeric=1", "--numeric=1: option does not take an argument", []),
    ("-A -t", "-t: missing argument", []),
    (
        "-L -stats",
        f"no service has the scheduler `tats', and none of that name is known: {KNOWN}",
        ["did you mean --stats?"],
    ),
    ("-L -rate", "illegal real server address[:port] specified", ["did you mean --rate?"]),
    ("-L -exact", "invalid option `-exact'", ["did you mean --exact?"]),
    (
        "-a -t 10.0.0.1:80 -r 10.0.1.9 -weight=5",
        "illegal weight specified",
        ["did you mean --weight?"],
    ),
    ("-L extra", "unexpected argument extra", []),
    ("-A -t nowhere", VIRTUAL, ["no host `nowhere' with an address was found"]),
    ("-A -t 10.0.0.300", VIRTUAL, ["`10.0.0.300' is no IPv4 address"]),
    ("-A -t 10.0.0.300:80", VIRTUAL, ["`10.0.0.300' is no IPv4 address"]),
    ("-A -t 10.0.0.1:99999", VIRTUAL, [f"`99999' {NO_PORT}"]),
    ("-A -t [fd00::1]:htpp", VIRTUAL, [f"`htpp' {NO_PORT}"]),
    ("-A -t [fd00::g]:80", VIRTUAL, ["`fd00::g' is no IPv6 address"]),
    ("-A -t fd00::g", VIRTUAL, ["`fd00::g' is no IPv6 address"]),
    ("-A -t :80", VIRTUAL, []),
    ("-L -t 10.0.0.1:80 -t nowhere:80", VIRTUAL, ["no host `nowhere' with an address was found"]),
    ("-a -t 10.0.0.1:80 -r 10.0.1.300", REAL, ["`10.0.1.300' is no IPv4 address"]),
    ("-C -t 10.0.0.1:80", "Illegal 'service-address' option with the 'flush' command", ["-t does not go with -C"]),
    ("--clear --tcp-service 10.0.0.1:80", "Illegal 'service-address' option with the 'flush' command",
     ["--tcp-service does not go with --clear"]),
    ("-a -t 10.0.0.1:80", "You need to supply the 'real-server' option for the 'add-server' command",
     ["-a needs -r HOST[:PORT]"]),
    ("-A", "You need to supply the 'service-address' option for the 'add-service' command",
     ["-A needs -t, -u, --sctp-service or -f"]),
    ("-L -c --timeout", "The option 'timeout' conflicts with the 'connection' option in the 'list' command",
     ["--timeout does not go with -c"]),
    ("-Lc --stats", "options conflicts in the list command", ["-c does not go with --stats"]),
    ("-L --sort-by rate", "You need to supply the 'watch' option for the 'sort-by' option", ["--sort-by needs --watch"]),
    ("-L --pretty --metrics", "The option 'metrics' conflicts with the 'pretty' option in the 'list' command",
     ["--metrics does not go with --pretty"]),
    ("-e -t 10.0.0.1:80 -r 10.0.1.1 --drain -w 5", "Illegal 'weight' option with the 'drain' command",
     ["-w does not go with --drain"]),
    ("-A -t 10.0.0.1:80 -f 5", "multiple 'service-address' options specified", ["-t, -f: only one is allowed with -A"]),
    ("-L -n -n", "multiple 'numeric' options specified", ["-n: only one is allowed with -L"]),
    ("-L -A", "invalid option `-A'", ["-L and -A are two commands: give one"]),
    ("-a -t 10.0.0.1:80 -r 10.0.1.9 -i --tun-type gue",
     "You need to supply the 'tun-port' option for the 'gue' tunnel type", ["--tun-type gue needs --tun-port PORT"]),
    ("-a -t 10.0.0.1:80 -r 10.0.1.9 -i --tun-port 9", "Illegal 'tun-port' option with the 'ipip' tunnel type",
     ["--tun-port does not go with --tun-type ipip"]),
    ("-a -t 10.0.0.1:80 -r 10.0.1.9 -i --tun-type gre --tun-csum --tun-nocsum",
     "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gre' tunnel type",
     ["--tun-csum does not go with --tun-nocsum"]),
    ("-a -t 10.0.0.1:80 -r 10.0.1.9 -m --tun-port 9", "Tunnel options conflict with forward method", ["they go with -i"]),
    ("-A -t 10.0.0.1", "Zero port specified for non-persistent service",
     ["give a port, or -p for a service of all ports"]),
    ("--set 1 2", "--set option requires 3 timeout values", ["as in: ipvsadm --set 900 120 300"]),
    ("--start-daemon both", "illegal start-daemon parameter specified", ["as in: ipvsadm --start-daemon master"]),
    ("--stop-daemon both", "illegal start_daemon specified", ["as in: ipvsadm --stop-daemon master"]),
    ("-A -f 1 -b mh-prot", "invalid scheduler flag `mh-prot'",
     ["flags: flag-1, flag-2, flag-3, sh-fallback, sh-port, mh-fallback, mh-port"]),
    ("-A -f 1 -b sh-port", "incompatible scheduler flag `sh-port'", ["it goes with -s sh"]),
    ("-R rules", "unexpected argument rules", [FROM_FILE]),
    ("--restore -", "unexpected argument -", [FROM_FILE]),
    ("-S rules", "unexpected argument rules",
     ["the rules go to standard output: > FILE; or use ipvsadm-save -f FILE"]),
    ("\u2013C", TRY_HELP, ["`\u2013C' starts with a dash that is no hyphen: type -C"]),
    ("-L \u2014stats", "unexpected argument \u2014stats", ["`\u2014stats' starts with a dash that is no hyphen: type --stats"]),
    ("-L \u2013-stats", "unexpected argument \u2013-stats",
     ["`\u2013-stats' starts with a dash that is no hyphen: type --stats"]),
    ("-A -u 10.0.0.1:53 -O", "-O: unknown option", ["did you mean -o (--ops)?"]),
    ("-V", TRY_HELP, ["did you mean -v (--version)?"]),
    ("help", TRY_HELP, ["did you mean --help?"]),
    ("list", TRY_HELP, ["did you mean --list?"]),
    ("--s", TRY_HELP, []),
    ("--lst", TRY_HELP, ["did you mean --list?"]),
    ("--start_daemon master", TRY_HELP, ["did you mean --start-daemon?"]),
    ("--tcp-servise 10.0.0.1:80", TRY_HELP, ["did you mean --tcp-service?"]),
    ("-q", TRY_HELP, []),
    ("-n", TRY_HELP, ["the command comes first, as in: ipvsadm -L -n"]),
    ("word", TRY_HELP, ["the command comes first, as in: ipvsadm -L -n"]),
    (
        "-A -t 10.0.0.1:81 -s wrrr",
        ABSENT,
        [f"did you mean -s wrr? schedulers: {KNOWN}", f"{LOADING} ip_vs_wrrr"],
    ),
    (
        "-E -t 10.0.0.1:80 -s weighted",
        ABSENT,
        [f"schedulers: {KNOWN}", f"{LOADING} ip_vs_weighted"],
    ),
    ("-A -t 10.0.0.1:81 -s twos", ABSENT, [f"{LOADING} ip_vs_twos"]),
    (
        "-A -t 10.0.0.1:81 -s rr --pe SIP",
        ABSENT,
        ["persistence engines: sip", f"{LOADING} ip_vs_rr ip_vs_pe_SIP"],
    ),
    ("-E -t 10.0.0.9:80 -s wrrr", "No such service", []),
    ("-E -t 10.0.0.1:443", "No such service", ["the table has -t 10.0.0.1:80"]),
    ("-D -u [fd00::1]:80", "No such service", ["the table has -t [fd00::1]:80"]),
    ("-D -f 5", "No such service", []),
    ("-d -t 10.0.0.1:81 -r 10.0.1.1", "Service not defined", ["the table has -t 10.0.0.1:80"]),
    (
        "-e -t 10.0.0.1:80 -r 10.0.1.1:8080 -w 0",
        "No such destination",
        [
            "the service has 10.0.1.1:8080 (-m): give -m too, or --keep, which leaves what is not given as it is"
        ],
    ),
    (
        "-e -t 10.0.0.1:80 -r 10.0.1.1 -m -w 0",
        "No such destination",
        [
            "the service has 10.0.1.1:8080: give the port with -r, and its forwarding method or --keep"
        ],
    ),
    (
        "-e -t 10.0.0.1:80 -r 10.0.1.2:8080 -m -w 0",
        "No such destination",
        ["the service has 10.0.1.2:80: give the port with -r, and its forwarding method or --keep"],
    ),
    ("-e -t 10.0.0.1:80 -r 10.0.1.3 -w 0", "No such destination", []),
    (
        "-d -t 10.0.0.1:80 -r 10.0.1.1",
        "No such destination",
        ["the service has 10.0.1.1:8080: give the port with -r"],
    ),
    (
        "-d -t [fd00::1]:80 -r fd00::11",
        "No such destination",
        ["the service has [fd00::11]:8080, [fd00::11]:8081: give the port with -r"],
    ),
    ("-d -t 10.0.0.9:80 -r 10.0.1.1", "Service not defined", []),
    ("-A -t 10.0.0.1:80", "Service already exists", ["-E changes it; with --keep, settings that are not given stay"]),
    ("-a -t 10.0.0.1:80 -r 10.0.1.2", "Destination already exists",
     ["-e changes it; with --keep, settings that are not given stay"]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said", "hints"), HINTS)
def test_hints(words: str, said: str, hints: list[str]) -> None:
    answers = []
    for seen in (False, True):
        env = FakeEnvironment(seen=seen)
        apply_all(env.table, RULES)
        answers.append((cli.main(words.split(), env), *env.take()))
    status = answers[0][0]
    assert status in (2, 255)
    assert answers[0] == (status, "", f"{said}\n")
    assert answers[1] == (
        status,
        "",
        "".join(f"{line}\n" for line in [said, *(f"hint: {hint}" for hint in hints)]),
    )


@pytest.mark.parametrize("row", OPTIONS, ids=[row.long for row in OPTIONS])
def test_two_letters_in_the_wrong_order_are_seen_through(row: Any) -> None:
    if len(row.long) < 5:
        return
    env = FakeEnvironment(seen=True)
    damaged = row.long[:1] + row.long[2] + row.long[1] + row.long[3:]
    cli.main(["-L", f"--{damaged}"], env)
    assert "hint: did you mean --" in env.stderr or damaged == row.long


@pytest.mark.parametrize("row", OPTIONS, ids=[row.long for row in OPTIONS])
def test_an_option_given_twice_ends_in_a_sentence(row: Any) -> None:
    """With a command before it, after it, or with none."""
    word = f"--{row.long}=1" if row.argument else f"--{row.long}"
    for words in ([word, word], [word, word, "-L"], ["-L", word, word], ["-a", word, word]):
        env = FakeEnvironment()
        env.seen = True
        cli.main(words, env)
        assert "{" not in env.take()[1]


def test_a_hint_never_names_a_slot() -> None:
    """Nor does it name a command as 1.31's messages do: each word of a hint can be typed."""
    slots = {slot.name for slot in SLOTS} - set(NAMES)
    assert "service-address" in slots
    for _, _, hints in HINTS:
        for hint in hints:
            assert not slots & set(re.findall(r"[a-z-]+", hint)), hint
            assert "flush" not in hint


def test_an_empty_word_has_no_dash() -> None:
    env = FakeEnvironment(seen=True)
    assert cli.main(["-L", ""], env) == 2
    assert env.stderr == "unexpected argument \n"


def test_many_services_of_an_address_are_counted() -> None:
    env = FakeEnvironment(seen=True)
    apply_all(env.table, [f"-A -t 10.0.0.1:{port}" for port in range(1, 6)])
    assert cli.main(["-D", "-t", "10.0.0.1:80"], env) == 255
    found = "-t 10.0.0.1:1, -t 10.0.0.1:2, -t 10.0.0.1:3 and 2 more"
    assert env.stderr == f"No such service\nhint: the table has {found}\n"


@pytest.mark.parametrize("root", [False, True])
def test_root_of_a_container_is_told_why(root: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    hint = f"hint: {ONLY_HOST}\n" if root else ""
    env = FakeEnvironment(seen=True, root=root)
    monkeypatch.setattr(env.table, "apply", lambda _: [(0, errno.EPERM)])
    assert cli.main(["-C"], env) == 255
    assert env.take()[1] == f"{DENIED}\n{hint}"

    def refuse(*_: Any, **__: Any) -> Any:
        raise RefusedError(0, errno.EPERM)

    monkeypatch.setattr(env.table, "read_services", refuse)
    assert cli.main(["-L", "-n"], env) == 1
    assert env.take()[1] == f"{DENIED}\n{hint}"


def test_a_table_that_can_not_be_asked_gives_no_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    env = FakeEnvironment(seen=True)
    apply_all(env.table, RULES)

    def broken(*_: Any, **__: Any) -> Any:
        raise OperationError("gone")

    monkeypatch.setattr(env.table, "read_servers", broken)
    monkeypatch.setattr(env.table, "read_services", broken)
    assert cli.main(["-d", "-t", "10.0.0.1:80", "-r", "10.0.1.1"], env) == 255
    assert env.take()[1] == "No such destination\n"
    assert cli.main(["-d", "-t", "10.0.0.1:81", "-r", "10.0.1.1"], env) == 255
    assert env.take()[1] == "Service not defined\n"


def test_rules_get_no_hints() -> None:
    env = FakeEnvironment(seen=True, stdin=b"-A -f 1 -s wrrr\n-L --shceduler\n")
    assert cli.main(["-R"], env) == 255
    assert env.stderr == f"line 1: {ABSENT}\nline 2: --shceduler: unknown option\n"


def read_to_end(master: int) -> bytes:
    """Return the output to a terminal whose other side is closed. It may come in pieces."""
    shown = b""
    while True:
        try:
            shown += os.read(master, 10_000)
        except OSError:  # EIO is the end
            return shown


@pytest.mark.parametrize(
    "words", [["-L", "--shceduler"], ["--lst"], ["-A", "-f", "1", "-s", "wrrr"]]
)
def test_a_terminal_and_a_pipe(words: list[str], tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pyipvsadm",
        "--backend",
        f"memory:{tmp_path / 'table'}",
        *words,
    ]
    environ = os.environ | {"PYTHONPATH": os.getcwd()}
    piped = subprocess.run(command, capture_output=True, env=environ, timeout=60, check=False)
    master, slave = pty.openpty()
    try:
        typed = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=slave, env=environ, timeout=60, check=False
        )
    finally:
        os.close(slave)
    shown = read_to_end(master).replace(b"\r\n", b"\n")
    os.close(master)
    assert (typed.returncode, typed.stdout) == (piped.returncode, piped.stdout) == (255, b"")
    assert shown.startswith(piped.stderr + b"hint: did you mean ")
    assert b"hint" not in piped.stderr
