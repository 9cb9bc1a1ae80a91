"""The three shells complete on a terminal with TAB, each with our stub and nothing else.

tests/unit/completion/test_candidates.py tests which candidates are offered; the tests here are
about how words get into a shell and back on its line.
"""

from __future__ import annotations

import shutil
import sysconfig
from typing import TYPE_CHECKING

import pytest

from pyipvsadm.cli import main
from tests.needs import need
from tests.shells.terminal import SHELLS, Shell
from tests.unit.fake_environment import FakeEnvironment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RULES = """\
-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 192.168.0.8:8080 -m -w 3
-a -t 10.0.0.1:80 -r 192.168.0.9:8080 -m
-A -t 10.0.0.1:443 -s wlc
-A -u 10.0.0.1:53 -s rr
-A -t [2001:db8::1]:80 -s wlc
-a -t [2001:db8::1]:80 -r [2001:db8::8]:80 -m
-A -f 5 -s sh
"""

BRACKETS = str.maketrans({"[": "\\[", "]": "\\]"})  # zsh and fish quote them, bash does without
DESCRIBED = {"bash": "{0}", "zsh": "{0} -- {1}", "fish": "{0} ({1})"}
PLACES = {"FOLDER": "", "SCRIPTS": sysconfig.get_path("scripts")}

# (line, what is on the line after TAB). `^` is the cursor. No blank follows a word that is not
# complete yet.
COMPLETED: list[tuple[str, str]] = [
    ("ipvsadm --zer", "ipvsadm --zero "),
    ("ipvsadm -", "ipvsadm -"),
    ("ipvsadm --nope", "ipvsadm --nope"),
    ("SCRIPTS/ipvsadm --zer", "SCRIPTS/ipvsadm --zero "),
    ("true; ipvsadm --zer", "true; ipvsadm --zero "),
    ("LANG=C ipvsadm --zer", "LANG=C ipvsadm --zero "),
    ("ipvsadm -A --sched-", "ipvsadm -A --sched-flags "),
    (
        "ipvsadm -A -t 10.0.0.9:80 -s nq -p 5 -M 1 --p",
        "ipvsadm -A -t 10.0.0.9:80 -s nq -p 5 -M 1 --pe ",
    ),
    ("ipvsadm -A -t 10.0.0.9:80 -s wl", "ipvsadm -A -t 10.0.0.9:80 -s wlc "),
    ("ipvsadm -A -s sh -b sh-f", "ipvsadm -A -s sh -b sh-fallback "),
    ("ipvsadm -A -s sh -b sh-fallback,", "ipvsadm -A -s sh -b sh-fallback,sh-port "),
    ("ipvsadm -A -u 10", "ipvsadm -A -u 10.0.0.1:"),
    ("ipvsadm -D -u ", "ipvsadm -D -u 10.0.0.1:53 "),
    ("ipvsadm -D -u 10.0", "ipvsadm -D -u 10.0.0.1:53 "),
    ("ipvsadm -D -t 10", "ipvsadm -D -t 10.0.0.1:"),
    ("ipvsadm -D -t 10.0.0.1:4", "ipvsadm -D -t 10.0.0.1:443 "),
    ("ipvsadm -Dt", "ipvsadm -Dt "),
    ("ipvsadm -Dt10.0.0.1:4", "ipvsadm -Dt10.0.0.1:443 "),
    ("ipvsadm -D --tcp-service=10.0.0.1:4", "ipvsadm -D --tcp-service=10.0.0.1:443 "),
    ("ipvsadm -D -t \\[", "ipvsadm -D -t [2001:db8::1]:80 "),
    ("ipvsadm -D -t \\[2001:db8:", "ipvsadm -D -t [2001:db8::1]:80 "),
    ("ipvsadm -D -t [2001:db8::1]:", "ipvsadm -D -t [2001:db8::1]:80 "),
    ("ipvsadm -D -t '[2001:", "ipvsadm -D -t '[2001:db8::1]:80' "),
    (
        "ipvsadm -d -t '[2001:db8::1]:80' -r ",
        "ipvsadm -d -t '[2001:db8::1]:80' -r [2001:db8::8]:80 ",
    ),
    ("ipvsadm -d -t 10.0.0.1:80 -r 192.168.0.9", "ipvsadm -d -t 10.0.0.1:80 -r 192.168.0.9:8080 "),
    (
        "ipvsadm -d -t 10.0.0.1:80 -r 192.168.0.9:8",
        "ipvsadm -d -t 10.0.0.1:80 -r 192.168.0.9:8080 ",
    ),
    (
        "ipvsadm -a -t 10.0.0.1:443 -r 192.168.0.8:",
        "ipvsadm -a -t 10.0.0.1:443 -r 192.168.0.8:8080 ",
    ),
    ("ipvsadm -d -f ", "ipvsadm -d -f 5 "),
    ("ipvsadm -a -i --tun-type gu", "ipvsadm -a -i --tun-type gue "),
    ("ipvsadm --start-daemon m", "ipvsadm --start-daemon master "),
    ("ipvsadm --start-daemon=b", "ipvsadm --start-daemon=backup "),
    (
        "ipvsadm --start-daemon master --mcast-interface l",
        "ipvsadm --start-daemon master --mcast-interface lo ",
    ),
    ("ipvsadm --help add-serve", "ipvsadm --help add-server "),
    # tables and files
    ("ipvsadm --backend memory:FOLDER/tab", "ipvsadm --backend memory:FOLDER/table "),
    ("ipvsadm --backend memory:FOLDER/et", "ipvsadm --backend memory:FOLDER/etc/"),
    (
        "ipvsadm --backend=memory:FOLDER/other -D -t 10",
        "ipvsadm --backend=memory:FOLDER/other -D -t 10.9.9.9:9 ",
    ),
    (
        "ipvsadm --backend memory:FOLDER/damaged -D -t 10",
        "ipvsadm --backend memory:FOLDER/damaged -D -t 10",
    ),
    (
        "ipvsadm --backend memory:FOLDER/damaged -D --ud",
        "ipvsadm --backend memory:FOLDER/damaged -D --udp-service ",
    ),
    ("ipvsadm --backend kernel -D -t 192.0.2.", "ipvsadm --backend kernel -D -t 192.0.2."),
    ("ipvsadm --backend kernel -D --ud", "ipvsadm --backend kernel -D --udp-service "),
    ("ipvsadm-save -f FOLDER/a", "ipvsadm-save -f FOLDER/a\\ b "),
    ("ipvsadm-save -f FOLDER/a\\ ", "ipvsadm-save -f FOLDER/a\\ b "),
    ('ipvsadm-save -f "FOLDER/a', 'ipvsadm-save -f "FOLDER/a b" '),
    ("ipvsadm-save -f ~/et", "ipvsadm-save -f ~/etc/"),
    ("ipvsadm-save -f ~/tab", "ipvsadm-save -f ~/table "),
    ("ipvsadm-save -n --fu", "ipvsadm-save -n --full "),
    ("ipvsadm-restore --ne", "ipvsadm-restore --netns "),
]

# (line, the candidates with their descriptions, what is not among them). If all candidates begin
# alike, fish shows little of the common part.
SHOWN: list[tuple[str, list[tuple[str, str]], list[str]]] = [
    ("ipvsadm ", [("--add-service", "add a virtual service, -A"), ("--zero", "")], ["--tcp-service"]),
    ("ipvsadm --add-serv", [("-add-service", "add a virtual service, -A"), ("-add-server", "")], ["--edit"]),
    ("ipvsadm -D ", [("--tcp-service", "TCP service, -t"), ("--help", "")], ["--scheduler", "--add-service"]),
    ("ipvsadm -D -t ", [("10.0.0.1:80", "rr, 2 servers"), ("10.0.0.1:443", ""), ("[2001:db8::1]:80", "wlc, 1 server")],
     ["10.0.0.1:53"]),
    ("ipvsadm -d -t 10.0.0.1:80 -r ", [("92.168.0.8:8080", "NAT, weight 3"), ("92.168.0.9:8080", "NAT, weight 1")], ["2001"]),
    ("ipvsadm -A -s w", [("wlc", "weighted least connections (default)"), ("wrr", "weighted round robin")], ["lblc"]),
    ("ipvsadm --backend ", [("kernel", "the kernel's table (default)"), ("memory:", "a table in a file")], []),
    ("ipvsadm-save ",
     [("-n", "addresses and ports as numbers"), ("-f", "replace FILE, whole or not at all (-: standard output)")],
     []),
]  # fmt: skip


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("shells")
    for file, rules in (("table", RULES), ("other", "-A -t 10.9.9.9:9\n")):
        assert (
            main(
                ["--backend", f"memory:{place / file}", "-R"], FakeEnvironment(stdin=rules.encode())
            )
            == 0
        )
    (place / "damaged").write_text("what is this\n")
    (place / "a b").touch()
    (place / "etc").mkdir()
    return place


@pytest.fixture(scope="module", params=SHELLS)
def shell(request: pytest.FixtureRequest, folder: Path) -> Iterator[Shell]:
    """Yield each shell, started once."""
    name = request.param
    need("" if shutil.which(name) else f"no {name} here: apt-get install {name}")
    started = Shell(
        name,
        {
            "PATH": f"{PLACES['SCRIPTS']}:/usr/bin:/bin",
            "HOME": str(folder),
            "TERM": "xterm",
            "LANG": "C.UTF-8",
            "IPVSADM_BACKEND": f"memory:{folder / 'table'}",
        },
        str(folder),
    )
    yield started
    started.close()


@pytest.mark.parametrize(("line", "expected"), COMPLETED, ids=[line for line, _ in COMPLETED])
def test_completed(shell: Shell, folder: Path, line: str, expected: str) -> None:
    line, expected = (
        text.replace("FOLDER", str(folder)).replace("SCRIPTS", PLACES["SCRIPTS"])
        for text in (line, expected)
    )
    if shell.name == "bash":
        line = line.replace("\\[", "[")
    elif "'[" not in line.rpartition(" ")[2]:
        start = expected.rpartition("'")[0] + expected.rpartition("'")[1]
        expected = start + expected[len(start) :].translate(BRACKETS)
    assert shell.complete(line)[1] == expected


def test_words_behind_the_cursor_count(shell: Shell) -> None:
    expected = {
        "bash": "ipvsadm -A --scheduler -b sh-port",
        "zsh": "ipvsadm -A --scheduler  -b sh-port",
        "fish": "ipvsadm -A --sched -b sh-port",  # it does not pass the words after the cursor
    }
    assert shell.complete("ipvsadm -A --sche^ -b sh-port")[1] == expected[shell.name]


@pytest.mark.parametrize(("line", "expected", "absent"), SHOWN, ids=[row[0] for row in SHOWN])
def test_shown(shell: Shell, line: str, expected: list[tuple[str, str]], absent: list[str]) -> None:
    seen = shell.complete(line, *(word for word, _ in expected))[0]
    appeared = " ".join(seen.split())
    for word, about in expected:
        wanted = DESCRIBED[shell.name].format(word, about) if about else word
        assert wanted in appeared
    for word in absent:
        assert word not in appeared
