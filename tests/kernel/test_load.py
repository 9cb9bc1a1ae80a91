"""Test large numbers of services, servers, rules, connections and commands. Nothing is lost, and
memory stays bounded.

Owns: how large they are (IPVSADM_LOAD=full: `make load`; otherwise a small part of it), and the
figures, which are printed at the end. No time is asserted: it is a figure. The table is always
compared with what was sent, as both tools show it.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.kernel.netns import REFERENCE, Result, inside, run_ours, run_reference
from tests.kernel.network import ip
from tests.kernel.test_growth import calls
from tests.older_python import zip_equal
from tools.bench import measure
from tools.bench.rows import SHARED, make_connections, make_rules
from tools.bench.work import connection_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FULL = os.environ.get("IPVSADM_LOAD") == "full"
OURS = f"{sys.prefix}/bin/ipvsadm"
MIB = 1024  # KiB
MOST = (128 if FULL else 20) * MIB  # of memory in any run (a run that does nothing has 11 MiB)
TIMEOUT = 600

SERVICES = 50_000 if FULL else 1_000
SERVERS = 20_000 if FULL else 400
PAIRS = 100_000  # services with a server each: two rules
CONNECTIONS = 100_000 if FULL else 2_000
LINES = 200_000 if FULL else 2_000  # lines of a file that replaces the kernel's list of connections
HASHED = 50_000 if FULL else 1_000  # clients with a connection each
AT_ONCE = 20  # rows of commands
COMMANDS = 1_000 if FULL else AT_ONCE
VIEWS = ("-S -n", "-L -n", "-L -n --stats") if FULL else ("-S -n", "-L -n")


class Figure(NamedTuple):
    """Hold a figure. seconds: of the whole process; peak: KiB of memory, 0: not measured."""

    what: str
    who: str
    seconds: float
    peak: int = 0


FIGURES: list[Figure] = []


@pytest.fixture(scope="module", autouse=True)
def _told() -> Iterator[None]:
    yield
    print(f"\nload on Linux {os.uname().release}:")
    for each in FIGURES:
        print(
            f"  {each.what:40} {each.who:9} {each.seconds:8.2f} s"
            + (f" {each.peak / MIB:7.1f} MiB" if each.peak else "")
        )


def measured(
    what: str, program: str, words: str, tmp_path: Path, stdin: str = "/dev/null"
) -> bytes:
    """Run one of the tools, note its figure, and return its output."""
    out = tmp_path / "out"
    ran = measure.peak([program, *words.split()], stdin, str(out))
    who = "reference" if program == REFERENCE else "ours"
    FIGURES.append(Figure(f"{words}, {what}", who, ran.seconds, ran.peak))
    assert who == "reference" or ran.peak < MOST, f"{words}: {ran.peak} KiB"
    return out.read_bytes()


@pytest.mark.usefixtures("netns")
@pytest.mark.parametrize(
    ("services", "servers", "reference_restores"),
    # The reference takes ten minutes to restore 200,000 rules.
    [(SERVICES, 0, FULL), (1, SERVERS, FULL), *([(PAIRS, 1, False)] if FULL else [])],
)
def test_a_large_table(
    services: int, servers: int, reference_restores: bool, tmp_path: Path
) -> None:
    what = f"{services:,} services" if not servers else f"{services:,} x {servers:,} servers"
    text = make_rules(SHARED, services, servers).encode()
    file = tmp_path / "rules"
    file.write_bytes(text)
    if reference_restores:
        measured(what, REFERENCE, "-R", tmp_path, str(file))
        assert run_reference(["-C"]) == Result(0, b"", b"")
    assert measured(what, OURS, "-R", tmp_path, str(file)) == b""
    for words in VIEWS:
        shown = [measured(what, program, words, tmp_path) for program in (OURS, REFERENCE)]
        assert shown[0] == shown[1]
        if words == "-S -n":
            assert shown[0] == text
        else:
            assert shown[0].count(b"\n") == len(text.splitlines()) + 3
    assert measured(what, OURS, "-C", tmp_path) == b""
    assert run_reference(["-S", "-n"]) == Result(0, b"", b"")


VIP = "10.0.0.1"
SERVER_NET = "10.0.1"
CLIENTS = 0x0A400000  # 10.64.0.0 and on
PORTS = 50  # connections of each


@contextmanager
def crossing() -> Iterator[Callable[[bytes], object]]:
    """Build a director that clients reach by one wire, and whose servers swallow everything. Yield
    the function that sends frames on that wire.
    """
    names = ("load-clients", "load-director")
    ip(f"netns add {name}" for name in names)
    try:
        ip([f"link add wire netns {names[0]} type veth peer name eth0 netns {names[1]}"])
        ip(["link set wire up"], names[0])
        lines = [
            f"addr add {VIP}/24 dev eth0",
            "link set eth0 up",
            "link set lo up",
            "link add servers type dummy",
        ]
        lines += [
            f"addr add {SERVER_NET}.254/24 dev servers",
            "link set servers arp off up",
            "route add 10.64.0.0/10 dev eth0",
        ]
        ip(lines, names[1])
        with inside(names[1]):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        address = bytes.fromhex(link(names[1], "eth0").replace(":", ""))
        with inside(names[0]):
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        with wire:
            wire.bind(("wire", 0x0800))
            head = address + b"\2\0\0\0\0\1" + struct.pack("!H", 0x0800)
            yield lambda packet: wire.send(head + packet)
    finally:
        ip(f"netns del {name}" for name in names)


def link(namespace: str, name: str) -> str:
    done = subprocess.run(
        ["ip", "-n", namespace, "-br", "link", "show", "dev", name],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()[2]


def packet(protocol: int, client: int, payload: bytes) -> bytes:
    """Return an IPv4 packet to the VIP."""
    fields = (0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol)
    ends = (client.to_bytes(4, "big"), socket.inet_aton(VIP))
    head = struct.pack("!BBHHHBBH4s4s", *fields, 0, *ends)
    return struct.pack("!BBHHHBBH4s4s", *fields, checksum(head), *ends) + payload


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def tcp(port: int, flags: int) -> bytes:
    """Return a TCP segment to port 80; IPVS checks no checksum of what it passes on by direct
    routing.
    """
    return struct.pack("!HHIIBBHHH", port, 80, 1, 1, 0x50, flags, 8192, 0, 0)


def test_many_connections(tmp_path: Path) -> None:
    """Half of the connections are TCP, established, half UDP; both tools list each of them once,
    with its ends and its state.
    """
    with crossing() as send:
        servers = [f"{SERVER_NET}.{last}" for last in (1, 2)]
        lines = [
            f"-A {name} -s rr\n" + "".join(f"-a {name} -r {s} -g\n" for s in servers)
            for name in (f"-t {VIP}:80", f"-u {VIP}:80")
        ]
        assert run_ours(["-R"], "".join(lines).encode(), namespace="load-director") == Result(
            0, b"", b""
        )
        # No connection may expire while old kernels list them.
        assert run_ours(["--set", *["7200"] * 3], namespace="load-director") == Result(0, b"", b"")
        began = time.monotonic()
        sent = set()
        for at in range(CONNECTIONS // 2):
            client, port = CLIENTS + at // PORTS, 1024 + at % PORTS
            end = f"{socket.inet_ntoa(client.to_bytes(4, 'big'))}:{port}"
            for flags in (0x02, 0x10):  # SYN, ACK
                send(packet(6, client, tcp(port, flags)))
            send(packet(17, client, struct.pack("!HHHH", port, 80, 8, 0)))
            sent |= {("TCP", "ESTABLISHED", end), ("UDP", "UDP", end)}
        FIGURES.append(Figure(f"{len(sent):,} connections made", "", time.monotonic() - began))
        found = {}
        with inside("load-director"):
            for program in (OURS, REFERENCE):
                text = measured(
                    f"{CONNECTIONS:,} connections", program, "-L -n -c", tmp_path
                ).decode()
                rows = [line.split() for line in text.splitlines()[2:]]
                assert len(rows) == len(sent), program
                found[program] = {(row[0], row[2], *row[3:]) for row in rows}
        assert {row[:3] for row in found[OURS]} == sent
        assert {row[3] for row in found[OURS]} == {f"{VIP}:80"}
        assert found[OURS] == found[REFERENCE]
        with inside("load-director"):
            text = measured(f"{CONNECTIONS:,} connections", OURS, "-L -n", tmp_path).decode()
            check_groups(f"{CONNECTIONS:,} connections", tmp_path)
            # Each read makes the kernel walk the table from its start: one a page of the file will
            # do, beside some imports.
            pages = len(Path("/proc/net/ip_vs_conn").read_bytes()) / 4096
            assert calls(["-L", "-n", "-c"]) - calls(["-L", "--timeout"]) < 3 * pages + 100
        counted = [line.split()[-2:] for line in text.splitlines() if "->" in line][1:]
        assert [sum(map(int, column)) for column in zip_equal(*counted)] == [CONNECTIONS // 2] * 2


# How administrators count connections by service and state.
PIPE = f"{REFERENCE} -L -n -c | awk 'NR > 2 {{ print $1, $5, $3 }}' | sort | uniq -c | sort -rn"


def check_groups(what: str, tmp_path: Path) -> None:
    """Check that --by counts as awk, sort and uniq do, in bounded memory, and puts the largest
    group first.
    """
    out = tmp_path / "pipe"
    ran = measure.peak(["sh", "-c", PIPE], "/dev/null", str(out))
    FIGURES.append(Figure(f"-L -n -c | awk | sort | uniq -c, {what}", "reference", ran.seconds))
    counted = [row.split() for row in out.read_text().splitlines()]
    ours = measured(what, OURS, "-L -n -c --by=service,state", tmp_path).decode()
    rows = [line.split() for line in ours.splitlines()[1:]]
    assert {row[1] for row in rows} == {"0"}  # templates
    assert sorted([row[0], *row[2:]] for row in rows) == sorted(counted)
    assert [row[0] for row in rows] == [row[0] for row in counted]
    clients = measured(what, OURS, "-L -n -c --by=client", tmp_path).decode().splitlines()[1:]
    assert sum(int(line.split()[0]) for line in clients) == sum(int(row[0]) for row in counted)


def read_servers(port: int) -> dict[str, str]:
    """Return the server of each client that has a connection from a port."""
    lines = run_ours(["-L", "-n", "-c"], namespace="load-director").stdout.decode().splitlines()
    rows = [line.split() for line in lines[2:]]
    return {row[3].removesuffix(f":{port}"): row[5] for row in rows if row[3].endswith(f":{port}")}


def test_a_dry_run_counts_many_clients(tmp_path: Path) -> None:
    """The dry run's prediction for the clients' next connections comes true."""
    target = f"{VIP}:80"
    servers = [f"{SERVER_NET}.{last}" for last in (1, 2, 3, 4)]
    rules = f"-A -t {target} -s sh\n" + "".join(
        f"-a -t {target} -r {each} -g -w 10\n" for each in servers
    )
    edit = f"-e -t {target} -r {servers[1]} -g -w 0"
    with crossing() as send:
        done = run_ours(["-R"], rules.encode(), namespace="load-director")
        assert done == Result(0, b"", b"")
        for number in range(HASHED):
            send(packet(6, CLIENTS + number, tcp(1024, 0x02)))
        before = read_servers(1024)
        assert len(before) == HASHED
        with inside("load-director"):
            said = measured(
                f"{HASHED:,} clients", OURS, f"{edit} --dry-run=clients", tmp_path
            ).decode()
        done = run_ours(edit.split(), namespace="load-director")
        assert done == Result(0, b"", b"")
        for number in range(HASHED):
            send(packet(6, CLIENTS + number, tcp(1025, 0x02)))
        after = read_servers(1025)
    refused = HASHED - len(after)
    moved = sum(before[client] != server for client, server in after.items())
    assert refused > 0
    assert moved > 0
    assert said.splitlines()[-1] == (
        f"dry run: -t {target}: of {HASHED} clients now connected, {refused} would be refused, "
        f"{moved} would go to another server"
    )


@pytest.mark.usefixtures("netns")
@pytest.mark.parametrize(
    ("how", "at_once"), [("ours", 1), ("reference", 1), ("ours", AT_ONCE), ("restore", AT_ONCE)]
)
def test_many_commands(how: str, at_once: int) -> None:
    """Commands in a row, and in twenty rows at once: none fails, and each has done its work."""
    assert run_ours(["-A", "-f", "1"]) == Result(0, b"", b"")
    servers = [f"10.2.{at >> 8}.{at & 255}" for at in range(COMMANDS)]
    lines = "".join(f"-a -f 1 -r {server} -g -w 1\n" for server in servers)
    command = [sys.executable, "-m", "tests.kernel.run_many", how, str(at_once)]
    began = time.monotonic()
    done = subprocess.run(
        command, input=lines, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    FIGURES.append(
        Figure(
            f"{COMMANDS:,} rules by {'-R' if how == 'restore' else '-a'}, {at_once} at once",
            "reference" if how == "reference" else "ours",
            time.monotonic() - began,
        )
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    right = "-A -f 1 -s wlc\n" + "".join(f"-a -f 1 -r {server}:0 -g -w 1\n" for server in servers)
    assert (
        run_ours(["-S", "-n"]).stdout.decode()
        == run_reference(["-S", "-n"]).stdout.decode()
        == right
    )


@pytest.mark.usefixtures("netns")
def test_many_lines_of_connections(tmp_path: Path) -> None:
    """The connections are lines of a file, so that the kernel's time to list them does not
    count.
    """
    with connection_file(make_connections(LINES)):
        measured(f"{LINES:,} lines", OURS, "-L -n -c", tmp_path)
        check_groups(f"{LINES:,} lines", tmp_path)
