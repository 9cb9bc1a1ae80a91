"""Test what shells send and what they receive: lines into words, quoting, live values of the
kernel's file, of tables in files.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm import cli
from pyipvsadm.completion import shell_protocol
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    MASQ,
    ROUTE,
    SCTP,
    TCP,
    TUNNEL,
    UDP,
    Server,
    Service,
)
from tests.unit.fake_environment import FakeEnvironment, apply_all
from tests.unit.views.test_procfs import kernel_text

if TYPE_CHECKING:
    from pathlib import Path

# --- lines into words

SPLIT: list[tuple[str, list[str], str]] = [
    ("", [""], ""),
    ("a", ["a"], ""),
    ("a ", ["a", ""], ""),
    (" a\t b\n", ["a", "b", ""], ""),
    ("a [2001:db8::1]:8", ["a", "[2001:db8::1]:8"], ""),
    (r"a b\ c", ["a", "b c"], ""),
    (r"a b\ ", ["a", "b "], ""),
    ("a b\\", ["a", "b"], ""),
    ("a 'b c", ["a", "b c"], "'"),
    ("a 'b c' d", ["a", "b c", "d"], ""),
    (r"a 'b\' ", ["a", "b\\", ""], ""),
    ('a "b c', ["a", "b c"], '"'),
    (r'a "b \" \$ \` \\ \x', ["a", 'b " $ ` \\ \\x'], '"'),
    ("a '' b", ["a", "", "b"], ""),
    ("a ''", ["a", ""], ""),
    ("a 'b\"c'\"d'e\"", ["a", "b\"cd'e"], ""),
]


@pytest.mark.parametrize(("line", "words", "quote"), SPLIT)
def test_a_line_is_parted_as_bash_does(line: str, words: list[str], quote: str) -> None:
    assert shell_protocol.split_words(line) == (words, quote)


@given(st.lists(st.text(alphabet=" '\"\\$ab:[]~\u00e9", min_size=1), min_size=1))
def test_words_that_were_quoted_are_parted_again(words: list[str]) -> None:
    assert shell_protocol.split_words(shlex.join(words)) == (words, "")


@given(st.text())
def test_any_line_has_words(line: str) -> None:
    words, quote = shell_protocol.split_words(line)
    assert words
    assert quote in ("", "'", '"')


# --- the answers

RULES = (
    "-A -t 10.0.0.1:80 -s rr",
    "-A -t 10.0.0.1:443",
    "-A -t [2001:db8::1]:80",
    "-a -t [2001:db8::1]:80 -r [2001:db8::8]:80 -m",
)


def asked(*words: str) -> tuple[int, list[str], str]:
    env = FakeEnvironment(environ={"IPVSADM_BACKEND": "memory"})
    apply_all(env.table, RULES)
    status = cli.main(["--complete", *words], env)
    return status, env.stdout.splitlines(), env.stderr


# (text left of the cursor, text right of it, the part that readline replaces) -> the answer
BASH: list[tuple[str, str, str, list[str]]] = [
    ("ipvsadm --add-serv", "", "--add-serv", ["--add-service", "--add-server"]),
    ("ipvsadm -D -t ", "", "", ["10.0.0.1:80", "10.0.0.1:443", "[2001:db8::1]:80"]),
    ("ipvsadm -D -t 10", "", "10", ["10.0.0.1:80", "10.0.0.1:443"]),
    ("ipvsadm -D -t 10.0.0.1:", "", "", ["80", "443"]),
    ("ipvsadm -D -t 10.0.0.1:4", "", "4", ["443"]),
    ("ipvsadm -D -t [2001:db8::", "", "", ["1]:80"]),
    ("ipvsadm -D -t \\[2001:db8", "", "db8", ["db8::1]:80"]),
    ("ipvsadm -D -t '[2001:", "", "'[2001:", ["[2001:db8::1]:80"]),
    ("ipvsadm -D --tcp-service=10.0.0.1:8", "", "8", ["80"]),
    ("ipvsadm -D --tcp-service=", "", "", ["10.0.0.1:80", "10.0.0.1:443", "[2001:db8::1]:80"]),
    ("ipvsadm -A -b sh-fallback,sh", " -s sh", "sh-fallback,sh", ["sh-fallback,sh-port"]),
    ("ipvsadm -A --sch", "ed -t 10.0.0.1:80", "--sch", ["--scheduler", "--sched-flags"]),
    ("ipvsadm -A --sch", " --sched-flags sh-port", "--sch", ["--scheduler"]),
    ("ipvsadm -A -q", "", "-q", []),
]


@pytest.mark.parametrize(("left", "right", "piece", "expected"), BASH)
def test_bash(left: str, right: str, piece: str, expected: list[str]) -> None:
    assert asked("bash", left, right, piece) == (0, expected, "")


def test_zsh() -> None:
    assert asked("zsh", "3", "ipvsadm", "-D", "-t", "") == (
        0,
        [
            ".10.0.0.1\\:80:rr, 0 servers",
            ".10.0.0.1\\:443:wlc, 0 servers",
            ".[2001\\:db8\\:\\:1]\\:80:wlc, 1 server",
        ],
        "",
    )
    assert asked("zsh", "3", "ipvsadm", "-A", "-t", "10") == (0, ["+10.0.0.1\\:"], "")
    assert asked("zsh", "2", "ipvsadm", "--start-daemon", "m") == (0, [".master"], "")


def test_fish() -> None:
    assert asked("fish", "2", "ipvsadm", "--backend", "mem", "-L") == (
        0,
        ["memory\tan empty table, for this command", "memory:\ta table in a file"],
        "",
    )


@pytest.mark.parametrize(
    "words",
    [
        "",
        "bash",
        "bash a b",
        "bash a b c d",
        "zsh",
        "zsh x",
        "zsh 1.5 ipvsadm",
        "fish",
        "fish -- x",
        "tcsh 1 ipvsadm",
        "--help",
    ],
)
def test_questions_that_no_stub_asks_are_not_answered(words: str) -> None:
    assert asked(*words.split()) == (2, [], "")


@pytest.mark.parametrize("index", ["-1", "0", "99"])
def test_any_index_is_taken(index: str) -> None:
    assert asked("fish", index, "ipvsadm", "-C")[0] == 0


def test_it_is_the_first_word_or_nothing() -> None:
    env = FakeEnvironment()
    assert (cli.main(["-L", "--complete", "bash"], env), env.stdout) == (255, "")


# --- files and folders


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in (
        "rules",
        "a b",
        "$(touch x)`y`;'",
        ".hidden",
        "line\nfeed",
        "b\u00e9",
        "back\\slash",
        "co:lon",
    ):
        (tmp_path / name).touch()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "table").touch()
    return tmp_path


def files(home: Path, *words: str) -> list[str]:
    env = FakeEnvironment(environ={"HOME": str(home)})
    assert cli.main(["--complete", *words], env) == 0
    return env.stdout.splitlines()


def test_files_in_bash_are_quoted(home: Path) -> None:
    got = files(home, "bash", "ipvsadm-save -f ~/", "", "~/")
    assert "~/a\\ b" in got
    assert "~/etc/" in got
    # a name with a line end cannot be expressed
    assert not any("hidden" in line or "feed" in line for line in got)
    # What bash makes of the words is the names again.
    done = subprocess.run(
        ["/bin/bash", "-c", f"printf '%s\\n' {' '.join(got)}"],
        env={"HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    expected = [
        f"{home}/{name}"
        for name in sorted([*os.listdir(home)])
        if name[0] != "." and "\n" not in name
    ]
    assert done.stdout.splitlines() == [
        f"{path}/" if path.endswith("etc") else path for path in expected
    ]


def test_files_in_quotes_that_are_open(home: Path) -> None:
    assert files(home, "bash", 'ipvsadm-save -f "~/a', "", '"~/a') == ["~/a b"]


def test_files_in_zsh(home: Path) -> None:
    got = files(home, "zsh", "2", "ipvsadm-save", "-f", "~/")
    # Quoted, and each backslash once more for _describe.
    assert ".~/a\\\\ b" in got
    assert "+~/etc/" in got
    assert ".~/co\\:lon" in got
    assert files(home, "zsh", "2", "ipvsadm-save", "-f", f"{home}/back") == [
        f".{home}/back\\\\slash"
    ]


def test_files_in_fish(home: Path) -> None:
    assert files(home, "fish", "2", "ipvsadm-save", "-f", f"{home}/etc/") == [f"{home}/etc/table\t"]
    assert files(home, "fish", "2", "ipvsadm", "--backend", f"memory:{home}/e") == [
        f"memory:{home}/etc/\t"
    ]
    assert files(home, "fish", "2", "ipvsadm-save", "-f", "/no/such/folder/") == []
    assert files(home, "fish", "2", "ipvsadm-save", "-f", "\0/") == []


def test_the_current_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    assert files(home, "fish", "2", "ipvsadm-save", "-f", "r") == ["rules\t"]


def test_interfaces(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "lo\t" in files(
        home, "fish", "4", "ipvsadm", "--start-daemon", "master", "--mcast-interface", "l"
    )

    def denied() -> None:
        raise OSError

    monkeypatch.setattr(shell_protocol, "if_nameindex", denied)
    assert shell_protocol.LiveCompletionSource(FakeEnvironment(), str).list_interfaces(None) == []


# --- other network namespaces


def test_what_is_asked_of_another_namespace_is_found_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = f"memory:{tmp_path / 'table'}"
    assert cli.main(["--backend", table, "-A", "-t", "10.0.0.1:80"], FakeEnvironment()) == 0
    env = FakeEnvironment()
    around = shell_protocol.LiveCompletionSource(env, lambda spec: spec or table)
    assert [service.port for service, _ in around.read_rows(None, "blue")] == [80]
    assert "lo" in around.list_interfaces("blue")
    assert env.places == ["blue", ""] * 2
    assert (around.read_rows(None, "gone"), around.list_interfaces("gone")) == ([], [])
    monkeypatch.setattr("pyipvsadm.netns.NETNS_DIR", str(tmp_path))
    assert around.list_namespaces() == ["table"]


# --- the history


def test_changes_that_can_be_undone(tmp_path: Path) -> None:
    table = f"memory:{tmp_path / 'table'}"
    environ = {"IPVSADM_HISTORY": str(tmp_path / "h")}
    env = FakeEnvironment(environ=environ)
    around = shell_protocol.LiveCompletionSource(env, lambda spec: spec or table)
    assert around.list_changes(None, None) == []
    for words in ("-A -f 1", "-D -f 1", "-A -f 2", "-C", "--undo"):
        assert cli.main(["--backend", table, *words.split()], env) == 0
    expected = [
        ("3", f"ipvsadm --backend {table} --undo"),
        ("1", f"ipvsadm --backend {table} -D -f 1"),
    ]
    assert around.list_changes(None, None) == expected
    assert around.list_changes(None, "blue") == expected
    assert around.list_changes("memory", None) == []
    (tmp_path / "h").chmod(0o777)
    assert around.list_changes(None, None) == []
    env.environ = {}
    assert around.list_changes(None, None) == []


# --- tables


def services(env: FakeEnvironment, *words: str) -> list[str]:
    line = ["ipvsadm", *words, "-D", "-t", ""]
    assert cli.main(["--complete", "fish", str(len(line) - 1), *line], env) == 0
    assert env.stderr == ""
    return [each.partition("\t")[0] for each in env.take()[0].splitlines()]


def test_a_table_in_a_file(tmp_path: Path) -> None:
    table = f"memory:{tmp_path / 'table'}"
    assert cli.main(["--backend", table, "-A", "-t", "10.0.0.1:80"], FakeEnvironment()) == 0
    assert services(FakeEnvironment(environ={"IPVSADM_BACKEND": table})) == ["10.0.0.1:80"]
    assert services(FakeEnvironment(), "--backend", table) == ["10.0.0.1:80"]
    assert (
        services(
            FakeEnvironment(environ={"IPVSADM_BACKEND": table}), "--backend", "memory:/no/such"
        )
        == []
    )


def test_tables_that_cannot_be_read_are_silent(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.write_text("what is this\n")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)  # reading it would wait for ever
    for spec in (
        f"memory:{damaged}",
        f"memory:{fifo}",
        f"memory:{tmp_path}",
        "memory:",
        "nonsense",
        "a\0b",
        "memory:\0",
    ):
        assert services(FakeEnvironment(environ={"IPVSADM_BACKEND": spec})) == []
    assert damaged.read_text() == "what is this\n"


V4 = bytes([10, 0, 0, 1])
R4 = bytes([192, 168, 0, 8])
V6 = bytes.fromhex("20010db8000000000000000000000001")
TABLE = [
    (
        Service(AF_INET, TCP, V4, 80, scheduler="rr"),
        [Server(AF_INET, R4, 8080, MASQ, 3), Server(AF_INET, V4, 80, ROUTE, 0)],
    ),
    (Service(AF_INET6, UDP, V6, 53, scheduler="wlc"), [Server(AF_INET6, V6, 53, TUNNEL, 1)]),
    (Service(AF_INET, SCTP, V4, 99, scheduler="sh"), []),
    (Service(AF_INET, fwmark=5, scheduler="wrr"), [Server(AF_INET, R4, 0, ROUTE, 1)]),
    (Service(AF_INET6, fwmark=7, scheduler="wrr"), [Server(AF_INET6, V6, 0, ROUTE, 1)]),
]


def test_the_kernel_s_table_is_read_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ip_vs"
    file.write_bytes(kernel_text(TABLE))
    assert shell_protocol.read_proc_rows(str(file)) == TABLE
    monkeypatch.setattr(shell_protocol, "TABLE_FILE", str(file))
    env = FakeEnvironment()
    assert services(env) == ["10.0.0.1:80"]
    assert env.specs == []  # netlink is not opened


def test_without_the_module_the_kernel_has_no_table() -> None:
    assert shell_protocol.read_proc_rows("/no/such/file") == []


@pytest.mark.parametrize(
    "odd",
    [
        "TCP  5A0000:0050 wlc  ",
        "TCP  [fd00:0001]:0050 wlc  ",
        "TCP  0A000001:0050 wlc  \n  -> 0A00:0050 Masq 1 0 0",
    ],
)
def test_an_address_of_another_length_is_none(
    odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ip_vs"
    file.write_bytes(b"one\ntwo\nthree\nTCP  0A000009:0050 wlc  \n" + odd.encode())
    monkeypatch.setattr(shell_protocol, "TABLE_FILE", str(file))
    assert "10.0.0.9:80" in services(FakeEnvironment())
    line = ["ipvsadm", "-a", "-t", "10.0.0.9:80", "-r", ""]
    assert cli.main(["--complete", "fish", str(len(line) - 1), *line], FakeEnvironment()) == 0


@given(st.integers(0, 700), st.binary(max_size=40))
def test_a_kernel_s_file_of_another_form_is_read_as_far_as_it_goes(
    tmp_path_factory: pytest.TempPathFactory, at: int, odd: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "odd"
    text = kernel_text(TABLE)
    file.write_bytes(text[:at] + odd + text[at + len(odd) :])
    shell_protocol.read_proc_rows(str(file))
