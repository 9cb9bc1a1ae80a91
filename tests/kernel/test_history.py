"""Test the history on a kernel: random tables there and back, beside open connections and another
program; a kill at any moment.
"""

from __future__ import annotations

import os
import random
import signal
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyipvsadm.backends.kernel import KernelBackend
from pyipvsadm.change import recorded, undo
from pyipvsadm.cli import main
from pyipvsadm.commands import apply, history
from pyipvsadm.model import AF_INET, SET_DEST, TCP, Change, Service
from tests.kernel.netns import enter, inside, run_child, run_ours, run_reference
from tests.kernel.network import NAT, Connection, built, eventually
from tests.kernel.test_growth import calls
from tests.kernel.tracer import traced

if TYPE_CHECKING:
    from collections.abc import Iterator

# Loaded here: in a child they would be many system calls.
assert all((apply, history, recorded, undo))

ROUNDS = 20 if os.environ.get("IPVSADM_LOAD") == "full" else 4
SEED = int(os.environ.get("IPVSADM_SEED", "1"))
PAUSE = 0.05  # seconds between two edits
LIVE = Service(AF_INET, TCP, bytes(map(int, NAT.vip.split("."))), 80, scheduler="rr")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IPVSADM_HISTORY", str(tmp_path / "h"))
    return tmp_path / "h"


def make_table(dice: random.Random) -> str:
    """Return rules of services that the test's clients do not use."""
    lines = []
    for mark in dice.sample(range(1, 9), dice.randint(2, 6)):
        scheduler = dice.choice(("rr", "wrr", "wlc", "sh"))
        lines.append(f"-A -f {mark} -s {scheduler}{dice.choice(('', ' -p 60', ' -p 300'))}")
        lines += [
            f"-a -f {mark} -r 10.9.0.{number} {dice.choice(('-m', '-i', '-g'))}"
            f" -w {dice.randint(0, 9)} -x {dice.choice((0, 50))}"
            for number in dice.sample(range(1, 9), dice.randint(0, 5))
        ]
    return "".join(f"{line}\n" for line in lines)


def on_director(command: str, text: str = "") -> tuple[int, str]:
    done = run_ours(command.split(), text.encode(), namespace="director")
    return done.status, done.stderr.decode()


def list_by_reference() -> list[str]:
    """Return all that 1.31 shows, sorted: rules, and thresholds."""
    shown = [
        run_reference(words.split(), namespace="director")
        for words in ("-S -n", "-L -n --thresholds")
    ]
    return sorted(b"".join(done.stdout for done in shown).decode().splitlines())


@contextmanager
def edited_weights(edits: Path) -> Iterator[None]:
    """Have another process edit the weights of the live service's servers all the time; the file
    holds the weight that it set last.
    """
    edits.write_bytes(b"%08d" % 0)
    fd = os.open(edits, os.O_RDWR)
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(300)
            enter("director")
            table = KernelBackend()
            servers = table.read_servers(LIVE)
            for weight in range(100, 60_000):
                server = servers[weight % len(servers)]
                server.weight = weight
                if table.apply([Change(SET_DEST, LIVE, server)]):
                    os._exit(1)
                os.pwrite(fd, b"%08d" % weight, 0)
                signal.sigtimedwait([signal.SIGUSR1], PAUSE)
        finally:
            os._exit(2)
    try:
        eventually(lambda: int(edits.read_bytes()) > 0, True)
        yield
    finally:
        os.close(fd)
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        assert os.WIFSIGNALED(status)


def test_random_tables_come_back_beside_connections_and_another_program(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    live = f"-A -t {NAT.vip}:80 -s wrr\n" + "".join(
        f"-a -t {NAT.vip}:80 -r {server}:8080 -m -w 1\n" for server in NAT.real[:2]
    )
    options = "--prune --keep-weights --force"
    edits = tmp_path / "edits"
    with built(NAT, {"tcp": [8080]}), ExitStack() as opened:
        with inside("director"):
            Path("/proc/sys/net/ipv4/vs/expire_nodest_conn").write_text("1")
        assert on_director("-R", live) == (0, "")
        held = [opened.enter_context(Connection(NAT.vip, 80)) for _ in range(8)]
        names = [connection.server for connection in held]
        assert set(names) == {"one", "two"}
        for number in range(ROUNDS):
            first, second = (live + make_table(dice) for _ in range(2))
            status, said = on_director(f"--apply {options}", first)
            assert status == 0, said
            before = list_by_reference()
            with edited_weights(edits):
                status, said = on_director(f"--apply {options}", second)
                assert status == 0, said
                status, said = on_director("--undo")
                assert status == 0, said
            last = int(edits.read_text())
            with inside("director"), closing(KernelBackend()) as table:
                servers = table.read_servers(LIVE)
                # The weight of the last edit in the file, or of the next, if the kill came before
                # its note.
                assert max(server.weight for server in servers) in (last, last + 1), number
                assert {server.weight for server in servers} <= {last - 1, last, last + 1}, number
                for server in servers:
                    server.weight = 1
                assert table.apply(Change(SET_DEST, LIVE, server) for server in servers) == []
            assert list_by_reference() == before, number
            assert [connection.again() for connection in held] == names


@pytest.mark.usefixtures("netns")
def test_what_a_health_checker_did_is_left_and_named() -> None:
    first = "-A -f 1 -s rr\n-a -f 1 -r 10.9.0.1 -m -w 3\n-a -f 1 -r 10.9.0.2 -m -w 3\n"
    second = "-A -f 1 -s wrr\n-a -f 1 -r 10.9.0.1 -m -w 7\n-a -f 1 -r 10.9.0.3 -m -w 3\n"
    assert run_ours(["-R"], first.encode()).status == 0
    assert run_ours(["--apply"], second.encode()).status == 0
    edits = "-e -f 1 -r 10.9.0.1 -m -w 0\n-e -f 1 -r 10.9.0.3 -m -w 0\n"
    assert run_reference(["-R"], edits.encode()).status == 0
    done = run_ours(["--undo"])
    assert (done.status, done.stderr.decode().splitlines()) == (
        1,
        [
            "left as it is: -e -f 1 -r 10.9.0.1:0 -m -w 7: another program set its weight to 0 meanwhile",
            "left as it is: -a -f 1 -r 10.9.0.3:0 -m -w 3: another program changed it meanwhile",
            "undone 1 (ipvsadm --apply): 1 added, 1 changed, 0 removed",
            "servers that came back are the newest now: -f 1",
        ],
    )
    assert sorted(run_reference(["-S", "-n"]).stdout.decode().splitlines()) == [
        "-A -f 1 -s rr",
        "-a -f 1 -r 10.9.0.1:0 -m -w 0",
        "-a -f 1 -r 10.9.0.2:0 -m -w 3",
        "-a -f 1 -r 10.9.0.3:0 -m -w 0",
    ]


BEFORE = "-A -f 1 -s rr\n-a -f 1 -r 10.9.0.1:0 -m -w 3\n-A -f 2 -s rr\n"
AFTER = "-A -f 1 -s wrr\n-a -f 1 -r 10.9.0.2:0 -m -w 3\n-A -f 3 -s rr\n"


@pytest.mark.usefixtures("netns")
@pytest.mark.parametrize(("command", "goal"), [("--apply --prune --force", AFTER), ("-C", "")])
def test_killed_at_any_point_the_history_knows(command: str, goal: str, folder: Path) -> None:
    """The table is as before and there is no entry, or --undo brings it back."""

    def saved() -> str:
        return run_reference(["-S", "-n"]).stdout.decode()

    def killed(at: int) -> int:
        for path in folder.glob("*"):
            path.unlink()
        assert run_reference(["-C"]).status == 0
        assert run_reference(["-R"], BEFORE.encode()).status == 0

        def body() -> int:
            stops, status = traced(lambda: main(command.split()), at)
            os.write(1, f"{stops}\n".encode())
            return 0 if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)

        done = run_child(body, AFTER.encode(), timeout=60)
        assert done.status == 0, done
        return int(done.stdout.split()[0])

    killed(0)  # makes the folder
    stops = killed(0)
    assert (saved(), [path.name for path in folder.iterdir()]) == (goal, ["1.kept"])
    ends = set()
    # The readings are alike, the changes are sent at the end: most points are there.
    for at in sorted({*range(1, stops, stops // 4), *range(stops - 72, stops, 4)}):
        killed(at)
        names = [path.name for path in folder.glob("*") if path.suffix != ".new"]
        ends.add((saved(), *names))
        if not names:
            assert saved() == BEFORE
            continue
        assert names in (["1.open"], ["1.kept"])
        assert names == ["1.open"] or saved() == goal
        done = run_ours(["--undo"])
        assert (done.status, saved()) == (0, BEFORE), done
    print(f"{command}: {len(ends)} different ends")
    assert {(BEFORE,), (BEFORE, "1.open"), (goal, "1.open")} <= ends


@pytest.mark.usefixtures("netns")
def test_a_simple_command_only_looks_at_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three system calls: the file is opened, read and closed; one if it does not exist."""
    looking = calls(["-A", "-f", "1"])
    assert run_reference(["-C"]).status == 0
    monkeypatch.setattr("pyipvsadm.environment.SETTINGS_FILE", "/none")
    without_file = calls(["-A", "-f", "1"])
    assert run_reference(["-C"]).status == 0
    monkeypatch.setattr("pyipvsadm.environment.Environment.find_history_folder", lambda *_: "")
    blind = calls(["-A", "-f", "1"])
    print(f"-A: {looking} system calls, {without_file} without a file of settings, {blind} blind")
    assert (without_file - blind, looking - without_file) in ((1, 0), (1, 2))
