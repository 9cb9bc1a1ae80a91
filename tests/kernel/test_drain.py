"""Test draining with connections that the test opens, holds and closes.

Owns: that the kernel's counts mean what pyipvsadm/commands/drain.py takes them for. The networks
are in network.py.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyipvsadm import cli
from tests.kernel.netns import enter, inside, run_ours
from tests.kernel.network import NAT, PATIENCE, Connection, Network, ask, built, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


def ipvsadm(command: str) -> str:
    """Return the output of a successful run on the director."""
    result = run_ours(command.split(), namespace="director")
    assert (result.status, result.stderr) == (0, b""), (command, result)
    return result.stdout.decode()


class Running:
    """Run an ipvsadm on the director in the background; its output comes through a pipe."""

    def __init__(self, command: str) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 99
            try:
                os.dup2(writing, 1)
                os.dup2(writing, 2)
                os.closerange(3, 1024)  # a connection is closed only when no copy of it is open
                enter("director")
                status = cli.main(command.split())
            finally:
                os._exit(status)
        os.close(writing)
        self._pipe = reading
        self.said = ""

    def until(self, text: str) -> None:
        """Wait until the output has this text."""
        while text not in self.said:
            assert select.select([self._pipe], [], [], PATIENCE)[0], (
                f"no word of {text!r}: {self.said!r}"
            )
            piece = os.read(self._pipe, 65536)
            assert piece, f"it ended without {text!r}: {self.said!r}"
            self.said += piece.decode()

    def ends(self) -> int:
        """Wait for the program to end by itself, and return its exit status."""
        while select.select([self._pipe], [], [], PATIENCE)[0]:
            piece = os.read(self._pipe, 65536)
            if not piece:
                status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
                self.pid = 0
                return status
            self.said += piece.decode()
        raise AssertionError(f"it does not end: {self.said!r}")

    def stop(self) -> None:
        os.close(self._pipe)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@contextmanager
def running(command: str) -> Iterator[Running]:
    """Run the program until it ends or the body ends."""
    run = Running(command)
    try:
        yield run
    finally:
        run.stop()


@pytest.fixture
def nat() -> Iterator[Network]:
    with built(NAT, {"tcp": [80, 8080], "udp": [53]}):
        yield NAT


def rows(network: Network, *options: str) -> dict[str, list[str]]:
    """Return the words after each real server in the listing."""
    listing = ipvsadm(" ".join(["-Ln", *options]))
    found = [
        line.split()
        for line in listing.splitlines()
        if line.startswith("  -> ") and "Remote" not in line
    ]
    assert all(words[1].startswith(network.real[0][:10]) for words in found)
    return {words[1]: words[2:] for words in found}


def test_a_held_connection_is_waited_for_and_the_server_deleted(nat: Network) -> None:
    one, web = f"{nat.real[0]}:8080", f"-t {nat.vip}:80"
    ipvsadm(f"-A {web} -s rr")
    ipvsadm(f"-a {web} -r {one} -m -w 3")
    with Connection(nat.vip, 80) as held, running(f"-d {web} -r {nat.real[0]} --drain") as drain:
        drain.until("1 connection left")
        assert drain.said.splitlines()[0] == f"ipvsadm -e {web} -r {one} --keep -w 3"
        # another program adds a server: draining goes on
        ipvsadm(f"-a {web} -r {nat.real[1]} -m")
        assert held.again() == "one"
        assert ask(nat.vip, 80, 3) == ["two"] * 3
        assert rows(nat)[one] == ["Masq", "0", "1", "0"]
        held.close()
        assert drain.ends() == 0, drain.said
        back = f"to bring it back: ipvsadm -a {web} -r {one} -m -w 3\n"
        assert drain.said.endswith(f", deleted; {back}"), drain.said
    assert list(rows(nat)) == [f"{nat.real[1]}:80"]


def test_inactive_connections_are_waited_for_when_asked(nat: Network) -> None:
    web = f"-t {nat.vip}:80"
    ipvsadm("--set 0 4 0")  # how long a closing connection is inactive
    ipvsadm(f"-A {web} -s rr")
    ipvsadm(f"-a {web} -r {nat.real[0]} -m")
    assert ask(nat.vip, 80, 1) == ["one"]
    eventually(lambda: rows(nat)[f"{nat.real[0]}:80"][2:], ["0", "1"])
    assert (
        run_ours(f"-e {web} -r {nat.real[0]} --drain=0".split(), namespace="director").status == 0
    )
    waits = run_ours(
        f"-e {web} -r {nat.real[0]} --drain=0 --drain-inactive".split(), namespace="director"
    )
    assert (waits.status, waits.stderr) == (1, b"1 connection left after 0 seconds\n")


def test_a_live_udp_flow_is_waited_for(nat: Network) -> None:
    dns = f"-u {nat.vip}:53"
    ipvsadm("--set 0 0 2")
    ipvsadm(f"-A {dns} -s rr")
    ipvsadm(f"-a {dns} -r {nat.real[0]} -m")
    with inside("client"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        flow.settimeout(PATIENCE)
        flow.connect((nat.vip, 53))

        def again() -> bytes:
            flow.send(b"?")
            return flow.recv(100)

        assert again() == b"one\n"
        assert rows(nat)[f"{nat.real[0]}:53"] == ["Masq", "1", "0", "1"]
        with running(f"-d {dns} -r {nat.real[0]} --drain") as drain:
            drain.until("1 connection left")
            assert again() == b"one\n"
            # no packet, no flow: the kernel forgets it after two seconds
            assert drain.ends() == 0, drain.said
    assert rows(nat) == {}


def test_templates_of_persistence_count_and_are_warned_of(nat: Network) -> None:
    web = f"-t {nat.vip}:80"
    setting = Path("/proc/sys/net/ipv4/vs/expire_quiescent_template")
    ipvsadm(f"-A {web} -s rr -p 3")
    ipvsadm(f"-a {web} -r {nat.real[0]} -m")
    with inside("director"):
        assert setting.read_text() == "0\n"
    with (
        Connection(nat.vip, 80) as held,
        running(f"-d {web} -r {nat.real[0]} --drain --drain-inactive") as drain,
    ):
        drain.until("1 connection and 1 template left")
        assert f"warning: {web} is persistent" in drain.said
        assert rows(nat, "--persistent-conn")[f"{nat.real[0]}:80"][1] == "1"
        assert ask(nat.vip, 80, 1) == ["one"]  # the warning is about this
        with inside("director"):
            setting.write_text("1\n")
        with pytest.raises(ConnectionRefusedError):
            ask(nat.vip, 80, 1)
        held.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_puts_the_weight_back(nat: Network, number: signal.Signals) -> None:
    web = f"-t {nat.vip}:80"
    ipvsadm(f"-A {web} -s rr")
    ipvsadm(f"-a {web} -r {nat.real[0]} -m -w 7")
    with Connection(nat.vip, 80), running(f"-D {web} --drain") as drain:
        drain.until("1 connection left")
        assert rows(nat)[f"{nat.real[0]}:80"][1] == "0"
        os.kill(drain.pid, number)
        assert drain.ends() == 128 + number, drain.said
        assert drain.said.splitlines()[-1] == f"{nat.real[0]}:80 of {web} has weight 7 again"
        assert rows(nat)[f"{nat.real[0]}:80"][:2] == ["Masq", "7"]


def test_a_reader_that_has_gone_does_not_end_it(nat: Network) -> None:
    web = f"-t {nat.vip}:80"
    ipvsadm(f"-A {web} -s rr")
    ipvsadm(f"-a {web} -r {nat.real[0]} -m -w 7")
    with Connection(nat.vip, 80), running(f"-d {web} -r {nat.real[0]} --drain=2") as drain:
        drain.until("1 connection left")
        os.close(drain._pipe)
        drain._pipe = os.open("/dev/null", os.O_RDONLY)
        # status 1: the time is over, which is the only failure
        assert os.waitstatus_to_exitcode(os.waitpid(drain.pid, 0)[1]) == 1
        drain.pid = 0
    assert rows(nat)[f"{nat.real[0]}:80"][1] == "0"


def test_a_server_of_several_services_at_once(nat: Network) -> None:
    web, dns, mark = f"-t {nat.vip}:80", f"-u {nat.vip}:53", "-f 8"
    for named in (web, dns, mark):
        ipvsadm(f"-A {named} -s rr")
        for real in nat.real:
            ipvsadm(f"-a {named} -r {real} -m -w 2")
    drained = run_ours(["--drain", "-r", nat.real[0]], namespace="director")
    assert drained.status == 0, drained
    undo = drained.stdout.decode().splitlines()
    assert sorted(line.split()[2:4] for line in undo) == sorted(
        [web.split(), dns.split(), mark.split()]
    )
    weights = [line.split()[3] for line in ipvsadm("-Ln").splitlines() if nat.real[0] in line]
    assert weights == ["0"] * 3
    for line in undo:
        ipvsadm(line.removeprefix("ipvsadm "))
    assert [line.split()[3] for line in ipvsadm("-Ln").splitlines() if "  -> 192" in line] == [
        "2"
    ] * 6


def test_no_connection_of_a_server_that_a_file_no_longer_names_is_cut(
    nat: Network, tmp_path: Path
) -> None:
    web, other = f"-t {nat.vip}:80", f"-t {nat.vip}:8080"
    one, two = (f"{real}:80" for real in nat.real)
    ipvsadm(f"-A {web} -s rr")
    ipvsadm(f"-a {web} -r {nat.real[0]} -m -w 3")
    ipvsadm(f"-A {other} -s rr")
    ipvsadm(f"-a {other} -r {nat.real[0]}:8080 -m")
    rules = tmp_path / "lvs.rules"
    rules.write_text(f"-A {web} -s rr\n-a {web} -r {nat.real[1]} -m -w 2\n")
    with ExitStack() as stack:
        held = [stack.enter_context(Connection(nat.vip, port)) for port in (80, 8080) * 4]
        late = ["--apply", str(rules), "--prune", "--force", "--drain=1"]
        result = run_ours(late, namespace="director")
        assert result.status == 1, result
        assert result.stderr.decode().count("4 connections left after 1 seconds") == 2, result
        assert rows(nat) == {
            one: ["Masq", "0", "4", "0"],
            f"{nat.real[0]}:8080": ["Masq", "0", "4", "0"],
            two: ["Masq", "2", "0", "0"],
        }
        with running(f"--apply {rules} --prune --force --drain=60") as apply:
            apply.until("8 connections left")
            # No lock is held: another command is not kept waiting.
            ipvsadm(f"-e {web} -r {nat.real[1]} -m -w 5")
            assert [connection.again() for connection in held] == ["one"] * 8
            assert ask(nat.vip, 80, 3) == ["two"] * 3
            for connection in held[:-1]:
                connection.close()
            assert held[-1].again() == "one"
            held[-1].close()
            assert apply.ends() == 0, apply.said
    assert list(rows(nat)) == [two]
