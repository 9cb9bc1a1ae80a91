"""Test the backend on a real kernel: large batches and dumps, daemons stopped at once, a module
that is not loaded.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyipvsadm.backends.kernel import NETLINK_GENERIC, RCVBUF_PER_ERROR, KernelBackend
from pyipvsadm.backends.memory import SCHEDULERS
from pyipvsadm.cli import main
from pyipvsadm.errors import OperationError
from pyipvsadm.model import (
    AF_INET,
    BYPASS,
    DEL_DAEMON,
    DEL_SERVICE,
    FLUSH,
    MASQ,
    MASTER,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    TABLE_FILE,
    TCP,
    TUNNEL,
    UDP,
    Change,
    Daemon,
    Server,
    Service,
)
from pyipvsadm.netlink import attributes, framing
from tests.kernel.netns import Result, run_ours, run_reference
from tests.kernel.network import eventually
from tests.unit.fake_environment import FakeEnvironment, FakeScreen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVICES = 400
SERVERS = 10
SERVICE = Service(AF_INET, TCP, bytes([10, 0, 0, 1]), 80, scheduler="rr")


SO_MEMINFO = 55  # uapi asm-generic/socket.h
# This file came with tables that grow (Linux 7.1).
STATUS = Path("/proc/net/ip_vs_status") if os.path.exists("/proc/net/ip_vs_status") else None


@pytest.fixture
def table(netns: None) -> Iterator[KernelBackend]:  # noqa: ARG001
    """Open the kernel's table of a fresh namespace."""
    with closing(KernelBackend()) as opened:
        yield opened


def rules(services: int, servers: int) -> str:
    """Return a table as -S -n writes it."""
    parts = []
    for at in range(services):
        vip = f"10.1.{at >> 8}.{at & 255}:80"
        parts.append(f"-A -t {vip} -s wlc\n")
        parts += [
            f"-a -t {vip} -r 10.2.0.{server}:80 -g -w 1\n" for server in range(1, servers + 1)
        ]
    return "".join(parts)


@pytest.mark.usefixtures("netns")
def test_thousands_of_rules_there_and_back() -> None:
    text = rules(SERVICES, SERVERS).encode()
    assert run_ours(["-R"], text) == run_ours(["-Z"])  # both tools: status 0 and no output
    assert run_ours(["-S", "-n"]).stdout == text
    # the reference lists some services twice while their table grows
    eventually(lambda: run_reference(["-S", "-n"]).stdout, text)
    assert run_ours(["-L", "-n", "--stats"]) == run_reference(["-L", "-n", "--stats"])
    again = run_ours(["-R"], text)
    assert again.status == 255
    assert len(again.stderr.splitlines()) == SERVICES * (SERVERS + 1)
    assert again.stderr.splitlines()[0] == b"line 1: Service already exists"


@pytest.mark.usefixtures("netns")
def test_the_size_of_the_connection_table_is_what_the_kernel_says() -> None:
    """Up to 7.0 the size is one number; from 7.1 on a namespace's table does not exist before its
    first service, and grows later.
    """
    sizes = []
    for words in ("-Z", "-A -f 1", "-C"):
        assert run_ours(words.split()).status == 0
        listing = run_ours(["-L", "-n"])
        assert listing == run_reference(["-L", "-n"])
        sizes.append(
            json.loads(run_ours(["-L", "-n", "--json"]).stdout)["ipvs"]["connection_table_size"]
        )
        assert f"(size={sizes[-1]})".encode() in listing.stdout
        assert STATUS is None or f"Conn buckets:\t{sizes[-1]} ".encode() in STATUS.read_bytes()
    assert sizes == ([4096] * 3 if STATUS is None else [0, 256, 256])


@pytest.mark.usefixtures("netns")
def test_the_kernels_own_order_is_shown() -> None:
    """From 7.1 on the order is random, with marks among addresses, and changes when the table
    grows.
    """
    text = rules(100, 2) + "".join(
        f"-A -f {at} -s rr\n-a -f {at} -r 10.2.0.1 -g\n" for at in range(1, 101)
    )
    assert run_ours(["-R"], text.encode()).status == 0
    # two listings that are made while the table grows differ in their order
    for words in ("-L -n --nosort", "-L -n --nosort --stats"):
        eventually(
            lambda words=words: run_ours(words.split()) == run_reference(words.split()),  # type: ignore[misc]
            wanted=True,
        )
    kinds = [
        line[:3]
        for line in run_ours(["-L", "-n", "--nosort"]).stdout.splitlines()
        if line[:3] in (b"TCP", b"FWM")
    ]
    assert sorted(kinds) == [b"FWM"] * 100 + [b"TCP"] * 100
    assert (kinds == [b"TCP"] * 100 + [b"FWM"] * 100) is (STATUS is None)


@pytest.mark.parametrize("turn", range(15))
def test_no_service_is_missed_while_a_table_grows(table: KernelBackend, turn: int) -> None:
    """From 7.1 on, a dump that is taken while the table grows can mix two orders (half of them
    did): 1.31 shows a service twice and misses another.
    """
    marks = list(range(1, 600 + 10 * turn))
    assert table.apply(Change(NEW_SERVICE, Service(AF_INET, fwmark=mark)) for mark in marks) == []
    for _ in range(3):
        assert sorted(service.fwmark for service in table.read_services()) == marks
    # Services that go with their namespace, in the background, make the dumps of the next one skip
    # others: before 7.1 all namespaces share one table (ip_vs_ctl.c: ip_vs_svc_table).
    assert table.apply([Change(FLUSH)]) == []


@pytest.mark.usefixtures("netns")
@pytest.mark.parametrize("file", ["saved", "saved-full"])
@pytest.mark.parametrize("tool", [run_ours, run_reference])
def test_what_the_first_release_saved_is_read_by_both_tools(
    file: str, tool: Callable[..., Result]
) -> None:
    folder = Path("tests/releases/0.1")
    assert tool(["-R"], (folder / file).read_bytes()) == Result(0, b"", b"")
    again = run_ours(["-S", "-n", *(["--full"] if file == "saved-full" else [])])
    assert sorted(again.stdout.splitlines()) == sorted((folder / file).read_bytes().splitlines())


def test_a_batch_in_which_everything_is_refused(table: KernelBackend) -> None:
    """The kernel sends more errors than a receive buffer would hold if they were all sent at
    once.
    """
    count = 3000
    wrong = Change(NEW_DEST, SERVICE, Server(AF_INET, bytes([10, 0, 0, 2]), 80))
    assert table.apply([wrong] * count) == [(at, errno.ESRCH) for at in range(count)]
    assert table.apply([Change(NEW_SERVICE, SERVICE)]) == []
    assert [each.key() for each in table.read_services()] == [SERVICE.key()]


def test_an_error_takes_no_more_of_the_receive_buffer_than_batches_leave_for_it(
    table: KernelBackend,
) -> None:
    table._send_bytes(
        framing.pack_message(
            table._family,
            DEL_SERVICE,
            framing.NLM_F_REQUEST,
            99,
            attributes.encode_service_key(SERVICE),
        )
    )
    # SK_MEMINFO_RMEM_ALLOC
    (taken,) = struct.unpack_from("=I", table._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
    assert 0 < taken <= RCVBUF_PER_ERROR


def test_a_daemon_stopped_right_after_its_start(table: KernelBackend) -> None:
    """The acknowledgement can get lost; we must neither wait for it nor call that a failure."""
    daemon = Daemon(MASTER, "lo")
    for _ in range(30):
        assert (
            table.apply([Change(NEW_DAEMON, daemon=daemon), Change(DEL_DAEMON, daemon=daemon)])
            == []
        )
        assert table.read_daemons() == []
    assert table.apply([Change(DEL_DAEMON, daemon=daemon)]) == [(0, errno.ESRCH)]


def test_what_this_release_does_not_know_is_shown_as_a_number(table: KernelBackend) -> None:
    """Other programs can store methods and tunnel types in the kernel that no ipvsadm writes."""
    odd = Server(AF_INET, bytes([10, 0, 0, 2]), 80, BYPASS)
    tunnel = Server(AF_INET, bytes([10, 0, 0, 3]), 80, TUNNEL, tun_type=9, tun_flags=7)
    unknown = Service(AF_INET, 47, bytes([10, 0, 0, 1]), 80, scheduler="rr")
    changes = [Change(NEW_SERVICE, SERVICE), Change(NEW_SERVICE, unknown)]
    changes += [Change(NEW_DEST, SERVICE, each) for each in (odd, tunnel)]
    assert table.apply(changes) == []
    assert run_ours(["-L", "-n", "--tun-info"]).stdout.decode().splitlines()[1:] == [
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn",
        "TCP  10.0.0.1:80 rr",
        "  -> 10.0.0.2:80                  4       n/a           1      0          0         ",
        "  -> 10.0.0.3:80                  Tunnel  9             1      0          0         ",
        "?    10.0.0.1:80 rr",
    ]
    assert run_ours(["-S", "-n"]).status == 0


@pytest.mark.usefixtures("netns")
def test_every_message_is_shown_when_asked_for() -> None:
    shown = run_ours(["-A", "-t", "10.0.0.1:80"], env={"IPVSADM_DEBUG": "netlink"})
    lines = shown.stderr.decode().splitlines()
    assert (shown.status, shown.stdout) == (0, b"")
    assert "  FAMILY_NAME 'IPVS'" in lines
    assert "    SCHED_NAME 'wlc'" in lines
    assert any("sent" in line and "NEW_SERVICE" in line for line in lines)
    assert lines[-1].endswith("ACK")


def module(*words: str) -> int:
    return subprocess.run(
        ["/sbin/modprobe", *words], capture_output=True, check=False, timeout=60
    ).returncode


@pytest.fixture
def without_module() -> Iterator[None]:
    """Load the modules again that the guest loads at boot, after a test that unloads ip_vs.

    A scheduler that is loaded on demand while the namespace of an earlier test is being deleted can
    lock the kernel (lab/init.sh).
    """
    yield
    assert module("-a", "ip_vs", "ip_vs_lblc", "ip_vs_lblcr", "fou") == 0


def unload() -> None:
    for name in (*SCHEDULERS, "pe_sip", "ftp"):
        module("-r", f"ip_vs_{name}")
    assert module("-r", "ip_vs") == 0, "something still uses ip_vs"
    # TAB does not bring it back
    asked = run_ours(["--complete", "fish", "3", "ipvsadm", "-D", "-t", ""])
    assert (asked.status, asked.stdout, asked.stderr) == (0, b"", b"")
    assert not os.path.exists(TABLE_FILE)


@pytest.mark.usefixtures("netns", "without_module")
def test_a_module_that_is_gone_comes_back_with_the_next_command() -> None:
    with closing(KernelBackend()) as opened:
        unload()
        for ask in (
            opened.read_services,
            opened.read_daemons,
            opened.read_timeouts,
            lambda: opened.apply([Change(FLUSH)]),
        ):
            with pytest.raises(
                OperationError, match="Can't initialize ipvs: Protocol not available"
            ):
                ask()
    assert run_ours(["-A", "-t", "10.0.0.1:80"]).status == 0
    assert run_ours(["-S", "-n"]).stdout == b"-A -t 10.0.0.1:80 -s wlc\n"


KEPT = """\
-A -t 10.0.0.1:80 -s sh -p 60 -M 255.255.255.0 -b sh-port
-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 3 -x 10 -y 5
-a -t 10.0.0.1:80 -r 10.0.0.4:80 -i -w 1 -x 9 --tun-type gue --tun-port 6080 --tun-csum
-A -f 8 -6 -s rr -p 60 -M 64
-a -f 8 -6 -r [fd00::2]:0 -g -w 2
"""


@pytest.mark.usefixtures("netns")
def test_an_edit_that_keeps_changes_what_is_given_alone() -> None:
    def save() -> list[str]:
        return run_ours(["-S", "-n"]).stdout.decode().splitlines()

    assert run_ours(["-R"], KEPT.encode()).status == 0
    before = save()
    assert sorted(before) == sorted(KEPT.splitlines())
    for name, servers in (
        ("-t 10.0.0.1:80", ["10.0.0.2", "10.0.0.4"]),
        ("-f 8 -6", ["[fd00::2]:0"]),
    ):
        for words in [f"-E {name}", *(f"-e {name} -r {server}" for server in servers)]:
            assert run_ours([*words.split(), "--keep"]).status == 0
            assert save() == before
    for words in (
        "-e -t 10.0.0.1:80 -r 10.0.0.2 -w 0",
        "-e -f 8 -6 -r [fd00::2]:0 -w 7",
        "-E -t 10.0.0.1:80 -s wrr",
    ):
        assert run_ours([*words.split(), "--keep"]).status == 0
    assert sorted(save()) == sorted(
        line.replace("-w 3", "-w 0")
        .replace("-w 2", "-w 7")
        .replace("-s sh", "-s wrr")
        .replace("sh-port", "flag-2")
        for line in before
    )


@pytest.mark.usefixtures("without_module")
def test_watching_while_packets_come_and_the_module_goes_and_comes(table: KernelBackend) -> None:
    env = FakeEnvironment(table=table, shows=(100, 12), environ={"TERM": "xterm", "NO_COLOR": "1"})
    service = Service(AF_INET, UDP, bytes([127, 0, 0, 1]), 9, scheduler="rr")
    table.apply(
        [
            Change(NEW_SERVICE, service),
            Change(NEW_DEST, service, Server(AF_INET, bytes([127, 0, 0, 2]), 9, MASQ)),
        ]
    )

    def traffic() -> None:
        for _ in range(10):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"x", ("127.0.0.1", 9))
        deadline = time.monotonic() + 60
        while table.read_services()[0].stats[0] < 10:  # the kernel counts every two seconds
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def clear_and_unload() -> None:
        table.apply([Change(FLUSH)])
        unload()

    def load() -> None:
        assert module("ip_vs") == 0

    env.screen = screen = FakeScreen(env, [traffic, clear_and_unload, None, load, ["q"]])
    assert main(["-L", "-n", "--watch=2"], env) == 0
    row = next(line.split() for line in screen.frames[1].splitlines() if "127.0.0.2:9" in line)
    # ten connections of one datagram of 29 bytes in two seconds
    assert (row[3], row[5:7], row[8:10]) == ("10", ["5", "5"], ["145", "B"])
    assert ["trying again" in frame for frame in screen.frames] == [False, False, True, True, False]
    assert "Can't initialize ipvs: Protocol not available" in screen.frames[3]
    assert "No virtual services." in screen.frames[4]


def test_nobody_but_the_kernel_can_answer(table: KernelBackend) -> None:
    """The kernel refuses a message of another process to our port id and tells that process so, as
    our socket is connected to the kernel.
    """
    (port_id, _) = table._socket.getsockname()
    end = struct.pack("=IHHIIi", 20, framing.NLMSG_DONE, framing.NLM_F_MULTI, table._seq + 1, 0, 0)
    with closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)) as stranger:
        with pytest.raises(ConnectionRefusedError):
            stranger.sendto(end, (port_id, 0))
        other = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        with closing(other):
            other.bind((0, 0))
            # without connect() the message would arrive
            assert stranger.sendto(end, other.getsockname()) == len(end)
    assert table.apply([Change(NEW_SERVICE, SERVICE)]) == []
    assert [service.key() for service in table.read_services()] == [SERVICE.key()]
