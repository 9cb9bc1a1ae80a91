"""Hints: what a person is told after the reference's text, and that a script is told nothing."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pyipvsadm import cli
from pyipvsadm.errors import OperationError
from pyipvsadm.grammar.options import OPTIONS
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
ABSENT = "Scheduler or persistence engine not found"

# (command line, what 1.31 says, what a person is told beside it)
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
    # it does not go with -C, but what else
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
    ("-A -t nowhere", "illegal virtual server address[:port] specified", []),
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
    ("-A -t 10.0.0.1:80", "Service already exists", []),
]


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


def test_a_table_that_can_not_be_asked_gives_no_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    env = FakeEnvironment(seen=True)
    apply_all(env.table, RULES)

    def broken(_: Any) -> Any:
        raise OperationError("gone")

    monkeypatch.setattr(env.table, "read_servers", broken)
    assert cli.main(["-d", "-t", "10.0.0.1:80", "-r", "10.0.1.1"], env) == 255
    assert env.stderr == "No such destination\n"


def test_rules_get_no_hints() -> None:
    env = FakeEnvironment(seen=True, stdin=b"-A -f 1 -s wrrr\n-L --shceduler\n")
    assert cli.main(["-R"], env) == 255
    assert env.stderr == f"line 1: {ABSENT}\nline 2: --shceduler: unknown option\n"


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
        shown = os.read(master, 10_000).replace(b"\r\n", b"\n")
    finally:
        os.close(master)
        os.close(slave)
    assert (typed.returncode, typed.stdout) == (piped.returncode, piped.stdout) == (255, b"")
    assert shown.startswith(piped.stderr + b"hint: did you mean ")
    assert b"hint" not in piped.stderr
