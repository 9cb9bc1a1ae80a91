"""Test `--netns` on a kernel: every command does in that namespace what it does in the present one,
and leaves the caller's own namespace alone.

The caller is in a namespace of the test's own, with a table that must stay as it is; `blue` and
`green` are namespaces of `ip netns`.
"""

from __future__ import annotations

import _socket
import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyipvsadm import cli, locks, netns
from pyipvsadm.grammar.options import COMMANDS
from pyipvsadm.model import SETTINGS, TABLE_FILE
from tests.kernel.netns import CLONE_NEWNET, NAMED, _libc, inside, run_child, run_ours
from tests.kernel.network import ip
from tests.kernel.test_backend import unload, without_module  # noqa: F401  # a fixture
from tests.older_python import zip_equal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OWN = b"-A -t 10.0.0.99:99 -s rr\n"
WEB = "-A -t 10.0.0.1:80 -s rr\n"
SERVER = "-a -t 10.0.0.1:80 -r 192.168.10.8:80 -m -w 1\n"
RULES = WEB + SERVER


@pytest.fixture(autouse=True)
def places(netns: None) -> Iterator[None]:  # noqa: ARG001
    """Create blue and green. Only blue has an interface only0. Check afterwards that the caller's
    table is as before.
    """
    ip(["netns add blue", "netns add green"])
    try:
        ip(
            [
                "link set lo up",
                "link add only0 type dummy",
                "link set only0 up",
                "addr add 10.0.0.1/24 dev only0",
            ],
            "blue",
        )
        ip(["link set lo up"], "green")
        (Path(SETTINGS) / "expire_quiescent_template").write_text("0")
        with inside("blue"):
            (Path(SETTINGS) / "expire_quiescent_template").write_text("1")
        assert run_ours(["-R"], OWN).stderr == b""
        yield
        assert run_ours(["-S", "-n", "--full"]).stdout.endswith(b"\n" + OWN)
    finally:
        ip([f"netns del {name.name}" for name in NAMED.iterdir() if name.name in ("blue", "green")])


def ours(command: str, text: str = "") -> tuple[int, str, str]:
    done = run_ours(command.split(), text.encode())
    return done.status, done.stdout.decode(), done.stderr.decode()


def there(command: str, text: str = "", place: str = "blue") -> str:
    """Return the output of a command for that namespace; it must succeed."""
    status, out, err = ours(f"--netns {place} {command}", text)
    assert (status, err) == (0, ""), command
    return out


def held(place: str = "blue") -> str:
    """Return the table of a namespace, read by a process inside it."""
    return run_ours(["-S", "-n"], namespace=place).stdout.decode()


HEAD = "IP Virtual Server version 1.2.1 (size=4096)\n"
LISTED = (
    "TCP  10.0.0.1:80 rr\n  -> 192.168.10.8:80              Masq    1      0          0         \n"
)
SUMMARY = "2 added, 0 changed, 0 removed, 0 unchanged\n"

# (command, standard input, its output or the end of it, its message on standard error, the table
# before, and after it). None: as before.
EACH: list[tuple[str, str, str, str, str, str | None]] = [
    ("-A -t 10.0.0.1:80 -s rr", "", "", "", "", WEB),
    ("-E -t 10.0.0.1:80 -s wrr", "", "", "", WEB, WEB.replace(" rr", " wrr")),
    ("-E -t 10.0.0.1:80 -s wrr --keep", "", "", "", WEB, WEB.replace(" rr", " wrr")),
    ("-D -t 10.0.0.1:80", "", "", "", RULES, ""),
    ("-C", "", "", "", RULES, ""),
    ("-a -t 10.0.0.1:80 -r 192.168.10.8 -m", "", "", "", WEB, RULES),
    ("-e -t 10.0.0.1:80 -r 192.168.10.8 -w 5 --keep", "", "", "", RULES, RULES.replace("-w 1", "-w 5")),
    ("-d -t 10.0.0.1:80 -r 192.168.10.8", "", "", "", RULES, WEB),
    ("-d -t 10.0.0.1:80 -r 192.168.10.8 --drain=9", "",
     "ipvsadm --netns blue -e -t 10.0.0.1:80 -r 192.168.10.8:80 --keep -w 1\n", "", RULES, WEB),
    ("-L -n", "", LISTED, "", RULES, None),
    ("-L -n --stats", "", "  -> 192.168.10.8:80                     0        0        0        0        0\n", "", RULES, None),
    ("-L -n -c", "", "destination\n", "", RULES, None),
    ("-L --timeout", "", "Timeout (tcp tcpfin udp): 900 120 300\n", "", "", None),
    ("-R", RULES, "", "", "", RULES),
    ("-S -n", "", RULES, "", RULES, None),
    ("-S -n --full", "", RULES, "", RULES, None),
    ("--apply", RULES, "", SUMMARY, "", RULES),
    ("-Z -t 10.0.0.1:80", "", "", "", RULES, None),
    ("-A -f 1 --dry-run", "", "dry run: would add -A -f 1 -s wlc\n", "", RULES, None),
    ("--predict 192.0.2.1 -t 10.0.0.1:80", "", "  because    rr: the only server that takes connections\n", "",
     RULES, None),
    ("--check", RULES, "", "", RULES, None),
]  # fmt: skip


def test_each_command() -> None:
    for command, stdin, out, err, before, after in EACH:
        assert run_ours(["-C"], namespace="blue").status == 0
        assert run_ours(["-R"], before.encode(), namespace="blue").stderr == b""
        status, said, complaint = ours(f"{command} --netns blue", stdin)
        assert status == 0, (command, complaint)
        assert said.endswith(out), command
        assert bool(said) == bool(out), command
        assert complaint.endswith(err), command
        assert held() == (before if after is None else after), command
    # Settings that are not in the rules.
    there("--set 800 0 0")
    assert there("-L --timeout") == "Timeout (tcp tcpfin udp): 800 120 300\n"
    there("--start-daemon master --mcast-interface only0 --syncid 3")
    assert "only0" in there("-L --daemon")
    assert ours("-L --daemon")[1] == ""
    assert ours("-L --timeout")[1] == "Timeout (tcp tcpfin udp): 900 120 300\n"
    there("--stop-daemon master --syncid 3")
    assert there("-L --daemon") == ""
    tried = {word for row in EACH for word in row[0].split()} | {
        "--set",
        "--start-daemon",
        "--stop-daemon",
    }
    missing = {
        row.long
        for row in COMMANDS
        if f"-{row.short}" not in tried and f"--{row.long}" not in tried
    }
    # The doctor is in test_doctor.py, the history below.
    assert missing == {"doctor", "help", "version", "confirm", "history", "undo", "undrain"}


def test_the_history_of_a_namespace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each namespace has its own changes."""
    monkeypatch.setenv("IPVSADM_HISTORY", str(tmp_path / "h"))
    assert run_ours(["-C"], namespace="blue").status == 0
    there("-R", RULES)
    there("-D -t 10.0.0.1:80")
    assert "-D -t 10.0.0.1:80" in there("--history")
    assert "-D" not in ours("--history")[1]
    assert ours("--undo")[0] == 2
    assert ours("--undo --netns blue")[0] == 0
    assert held() == RULES
    assert ours("-e -t 10.0.0.1:80 -r 192.168.10.8 --drain=9 --netns blue")[0] == 0
    assert held() == RULES.replace("-w 1", "-w 0")
    assert ours("--undrain -r 192.168.10.8:80 --netns blue")[0] == 0
    assert held() == RULES
    assert ours("--confirm --netns blue")[0] == 2  # no change waits


def test_save_and_restore() -> None:
    def call(
        main: Callable[[list[str]], int], words: list[str], stdin: str = ""
    ) -> tuple[int, bytes, bytes]:
        done = run_child(lambda: main(words), stdin.encode())
        return done.status, done.stdout, done.stderr

    assert call(cli.run_restore, ["--netns", "blue"], RULES) == (0, b"", b"")
    assert call(cli.run_restore, ["--netns=blue"], RULES) == (0, b"", b"")
    assert call(cli.run_save, ["-n", "--netns", "blue"]) == (0, RULES.encode(), b"")
    assert call(cli.run_save, ["-n", "--netns=green"]) == (0, b"", b"")
    assert held() == RULES


def test_by_process_and_by_path(tmp_path: Path) -> None:
    place = tmp_path / "sandbox"
    place.touch()
    # as container engines keep theirs
    subprocess.run(["mount", "--bind", NAMED / "blue", place], check=True)
    sleeper = subprocess.Popen(
        ["ip", "netns", "exec", "blue", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert sleeper.stdin
    assert sleeper.stdout
    try:
        sleeper.stdin.write(b"\n")
        sleeper.stdin.flush()
        assert sleeper.stdout.readline() == b"\n"  # now the process is in its namespace
        for at, word in enumerate(
            (str(sleeper.pid), str(place), f"/proc/{sleeper.pid}/ns/net", f"{NAMED}/blue"), 1
        ):
            there(f"-A -f {at}", place=word)
        assert held().count("-A") == 4
    finally:
        sleeper.kill()
        sleeper.communicate()
        subprocess.run(["umount", place], check=True)


def test_what_is_no_namespace_or_not_ours_to_enter(tmp_path: Path) -> None:
    left_over = tmp_path / "left over"  # as when the machine's mounts went and the file stayed
    left_over.touch()
    ip(["netns del green"])
    for place, said in (
        ("green", "cannot open the network namespace /run/netns/green: No such file or directory"),
        (
            "4194305",
            "cannot open the network namespace /proc/4194305/ns/net: No such file or directory",
        ),
        (str(left_over), f"{left_over} is not a network namespace"),
        ("/proc/self/ns/mnt", "/proc/self/ns/mnt is not a network namespace"),
        ("/proc/self/net/dev", "/proc/self/net/dev is not a network namespace"),
        (
            "..",
            "`..' is not a network namespace: use NAME (in /run/netns), PID, or PATH (with a slash)",
        ),
    ):
        for command, status in ((["-C"], 2), (["--apply", "--dry-run"], 255), (["--doctor"], 3)):
            done = run_ours([*command, "--netns", place])
            assert (done.status, done.stdout, done.stderr.decode()) == (status, b"", f"{said}\n"), (
                place
            )

    def as_nobody() -> int:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        return cli.main(["-C", "--netns", "blue"])

    refused = run_child(as_nobody)
    said = "cannot enter the network namespace /run/netns/blue: Operation not permitted (you must be root)\n"
    assert (refused.status, refused.stderr.decode()) == (2, said)


def test_the_caller_is_where_it_was() -> None:
    """The calling process stays in its namespace too: the kernel's files show the same before,
    within and after.
    """

    def look() -> tuple[int, str, str, str]:
        table, settings = Path(TABLE_FILE), Path(SETTINGS, "expire_quiescent_template")
        links = sorted(name for _, name in _socket.if_nameindex())
        return (
            os.stat(netns.SELF_NETNS).st_ino,
            table.read_text(),
            settings.read_text(),
            " ".join(links),
        )

    def compare() -> int:
        from pyipvsadm.environment import Environment  # noqa: PLC0415

        env = Environment()
        names = env.names
        before = look()
        with env.enter_netns("blue"):
            within = look()
        assert (look(), env.names) == (before, names)
        with inside("blue"):
            assert look() == within
        assert all(mine != its for mine, its in zip_equal(before, within))
        assert (before[2], within[2]) == ("0\n", "1\n")
        assert cli.main(["-A", "-f", "7", "--netns", "blue"]) == 0
        assert cli.main(["-L", "--nope", "--netns", "blue"]) == 255
        assert look() == before
        return 0

    assert run_ours(["-R"], RULES.encode(), namespace="blue").status == 0
    done = run_child(compare)
    assert (done.status, done.stderr) == (0, b"--nope: unknown option\n")


def test_only_the_thread_that_asks_moves() -> None:
    """netns.py relies on two facts of the kernel: whose view /proc shows, and in which namespace
    threads are born.
    """

    def inode(of: str) -> int:
        return os.stat(f"/proc/{of}/ns/net").st_ino

    def facts() -> int:
        setting = Path(SETTINGS, "expire_quiescent_template")
        seen: list[object] = []

        def away() -> None:
            with (NAMED / "blue").open("rb") as file:
                assert _libc.setns(file.fileno(), CLONE_NEWNET) == 0
            seen.extend(
                [
                    inode("thread-self"),
                    inode("self"),
                    setting.read_text(),
                    "10.0.0.1" in Path("/proc/net/fib_trie").read_text(),
                ]
            )

        def blue_is_in_proc_net() -> bool:
            return "10.0.0.1" in Path("/proc/net/fib_trie").read_text()

        def born() -> None:
            seen.append(inode("thread-self"))

        home, blue = inode("self"), os.stat(NAMED / "blue").st_ino
        for body in (away, born):
            thread = threading.Thread(target=body)
            thread.start()
            thread.join()
        assert seen == [blue, home, "1\n", False, home]
        with inside("blue"):
            thread = threading.Thread(target=born)
            thread.start()
            thread.join()
            assert blue_is_in_proc_net()
        assert (seen[-1], inode("self")) == (blue, home)
        return 0

    done = run_child(facts)
    assert (done.status, done.stderr) == (0, b"")


def test_names_are_asked_of_the_network_that_the_command_was_started_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = os.stat(netns.SELF_NETNS).st_ino

    def here() -> str:
        return f"asked-in-{os.stat('/proc/thread-self/ns/net').st_ino}"

    monkeypatch.setattr(_socket, "gethostbyaddr", lambda _: (here(), [], []))
    monkeypatch.setattr(
        _socket,
        "gethostbyname_ex",
        lambda _: ("", [], ["10.7.7.7"] if here() == f"asked-in-{home}" else []),
    )
    there("-R", "-A -t web:80\n-a -t web:80 -r 192.168.10.8 -m\n")
    there("-A -u web:53")
    listed = there("-L")
    assert listed.count(f"asked-in-{home}"[:20]) == 3
    assert "10.7.7.7:80" in held()


def test_a_lock_a_namespace() -> None:
    with locks.lock_namespace(pytest.fail, "busy"):  # another process's lock does not block
        assert ours("--apply --netns blue", RULES) == (0, "", SUMMARY)
    assert not Path("/run/ipvsadm").exists()


def test_settings_and_managers_are_those_of_the_namespace() -> None:
    """Draining warns by the namespace's own setting; --prune refuses beside a manager of that
    namespace.
    """
    there("-R", RULES.replace(" rr", " rr -p 50") + "-A -f 9 -s rr\n")
    status, _, err = ours("-e -t 10.0.0.1:80 -r 192.168.10.8 --drain=9 --netns blue")
    assert (status, "expire_quiescent_template" in err) == (0, False)
    with inside("blue"):
        Path(SETTINGS, "expire_quiescent_template").write_text("0")
    assert (
        "expire_quiescent_template"
        in ours("-e -t 10.0.0.1:80 -r 192.168.10.8 --drain=9 --netns blue")[2]
    )
    ip(["link add kube-ipvs0 type dummy"], "blue")
    refused = ours("--apply --prune --netns blue", RULES)
    assert refused[0] == 2
    assert "kube-ipvs0" in refused[2]
    assert ours("--apply --prune --netns green", RULES) == (0, "", SUMMARY)


@pytest.mark.usefixtures("without_module")
def test_the_module_is_loaded_from_there_and_not_by_completion() -> None:
    assert run_ours(["-C"]).status == 0
    unload()
    assert (
        run_ours(["--complete", "fish", "5", "ipvsadm", "--netns", "blue", "-D", "-t", ""]).stdout
        == b""
    )
    assert not Path(TABLE_FILE).exists()
    # newer kernels have no connection table before a service
    assert there("-L -n").startswith(HEAD.partition("size=")[0])
    assert Path(TABLE_FILE).exists()
    run_ours(["-R"], OWN)  # the fixture checks for this table


def test_completion() -> None:
    there("-R", RULES)

    def tab(line: str, user: int = 0) -> list[str]:
        words = ["ipvsadm", *line.split(" ")]

        def ask() -> int:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            return cli.main(["--complete", "fish", str(len(words) - 1), *words])

        done = run_child(ask)
        assert (done.status, done.stderr) == (0, b"")
        return [row.partition("\t")[0] for row in done.stdout.decode().splitlines()]

    assert tab("--netns ") == ["blue", "green"]
    assert tab("--netns b", 65534) == ["blue"]
    assert tab("--netns /run/netns/") == ["/run/netns/blue", "/run/netns/green"]
    assert tab("-D -t ") == ["10.0.0.99:99"]
    assert tab("--netns blue -D -t ") == ["10.0.0.1:80"]
    assert tab("--netns blue -d -t 10.0.0.1:80 -r ") == ["192.168.10.8:80"]
    assert (
        tab("--netns green -D -t ")
        == tab("--netns gone -D -t ")
        == tab("--netns blue -D -t ", 65534)
        == []
    )
    assert "only0" in tab("--netns blue --start-daemon master --mcast-interface ")
    assert "only0" not in tab("--start-daemon master --mcast-interface ")


def test_an_embedded_table_is_of_no_namespace_but_looks_at_its_interfaces(tmp_path: Path) -> None:
    spec = f"--backend memory:{tmp_path}/table"
    assert ours(f"{spec} --netns blue -A -f 3 -s rr") == (0, "", "")
    assert ours(f"{spec} -S -n")[1] == "-A -f 3 -s rr\n"
    daemon = f"{spec} --start-daemon master --mcast-interface only0"
    assert ours(daemon)[0] == 255
    assert ours(f"{daemon} --netns blue") == (0, "", "")
    assert held() == ""
