"""Compare the model of the schedulers with the kernel's own choices, by packets that start
connections.

Each random table is a service of its own, to which random clients send one packet each through a
raw socket; /proc/net/ip_vs_conn then says which server each of them got. IPVSADM_SCHEDULING=full
has 10,000 pairs of table and client under each hashing scheduler, and 500 sequences under each
other one (`make scheduling`). IPVSADM_SEED chooses other tables. Draining under these schedulers is
compared with the same choices.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyipvsadm.backends.kernel import KernelBackend
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    CONNECTIONS_FILE,
    DEL_SERVICE,
    MASQ,
    NEW_DEST,
    NEW_SERVICE,
    SCHED1,
    SCHED2,
    SET_DEST,
    TCP,
    UDP,
    Change,
    Server,
    Service,
)
from pyipvsadm.scheduling.build import Build, find_release, parse_build
from pyipvsadm.scheduling.choice import Chooser
from pyipvsadm.views.connections import parse_connection
from tests.kernel.netns import run_ours
from tests.kernel.network import ip
from tests.turns import WeightedCursor, next_by_weight, next_in_turn, reset_cursor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FULL = os.environ.get("IPVSADM_SCHEDULING") == "full"
SEED = int(os.environ.get("IPVSADM_SEED", "1"))
PAIRS = 10_000 if FULL else 1_000
CLIENTS = 50  # for each table
SEQUENCES = 500 if FULL else 30
LENGTH = 20  # connections of a sequence
DRAINED_WEIGHTS = (1, 3, 10) if FULL else (3,)
DRAIN_CLIENTS = 256
READ_AFTER = 50  # sequences: a connection that is not answered ends after 60 s
MARK = 77
WEIGHTS = (0, 1, 1, 1, 2, 3, 5, 10, 64, 100, 101, 255, 300, 1000, 65535)

End = tuple[int, bytes, int]


class Wire:
    """Send packets from any address through raw sockets, and remember to whom they went."""

    def __init__(self) -> None:
        self._sockets = {
            AF_INET: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
            AF_INET6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
        }

    def set_mark(self, mark: int) -> None:
        """Give every packet from now on this firewall mark; 0 for none."""
        for sock in self._sockets.values():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)

    def send(self, protocol: int, source: tuple[bytes, int], target: tuple[bytes, int]) -> None:
        """Send the first packet of a connection: a SYN of TCP, or a datagram."""
        ports = struct.pack("!HH", source[1], target[1])
        body = (
            ports + struct.pack("!IIBBHHH", 1, 0, 5 << 4, 2, 1024, 0, 0)
            if protocol == TCP
            else ports + struct.pack("!HH", 8, 0)
        )
        if len(source[0]) == 4:
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0)
            family, to = AF_INET, socket.inet_ntoa(target[0])
        else:
            head = struct.pack("!IHBB", 6 << 28, len(body), protocol, 64)
            family, to = AF_INET6, socket.inet_ntop(AF_INET6, target[0])
        with suppress(PermissionError):  # a packet that IPVS refuses
            self._sockets[family].sendto(head + source[0] + target[0] + body, (to, 0))

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()


@pytest.fixture
def network(netns: None) -> None:  # noqa: ARG001
    """Make the virtual addresses local. There is no route to the servers, so that no server
    answers.
    """
    ip(["route add local 10.1.0.0/16 dev lo", "route add local fd01::/16 dev lo"])


@pytest.fixture
def table(network: None) -> Iterator[KernelBackend]:  # noqa: ARG001
    backend = KernelBackend()
    yield backend
    backend.close()


@pytest.fixture
def wire(network: None) -> Iterator[Wire]:  # noqa: ARG001
    with closing(Wire()) as found:
        yield found


@pytest.fixture(scope="module")
def build() -> Build:
    uname = os.uname()
    config = Path(f"/boot/config-{uname.release}")
    text = config.read_text() if config.exists() else ""
    release = find_release(uname.release, uname.version)
    return parse_build(text, release, uname.machine, sys.byteorder == "big")


def do(table: KernelBackend, *changes: Change) -> None:
    assert table.apply(changes) == []


def read_assignments() -> dict[tuple[End, End], End]:
    """Return (client, virtual) -> server of all connections. The file is read until nothing new is
    found: the kernel resumes a listing by position, and skips entries if others end meanwhile.
    """
    found: dict[tuple[End, End], End] = {}
    before = -1
    while len(found) > before:
        before = len(found)
        lines = Path(CONNECTIONS_FILE).read_bytes().splitlines()[1:]
        found |= {(each.client, each.virtual): each.server for each in map(parse_connection, lines)}
    return found


def make_servers(rng: random.Random, af: int, count: int) -> list[Server]:
    """Return servers in the order in which they are added."""
    base = bytes([10, 2]) if af == AF_INET else bytes([0xFD, 2]) + bytes(12)
    kind = rng.randrange(3)
    weights = (
        [1] * count
        if kind == 0
        else [rng.choice(WEIGHTS) for _ in range(count)]
        if kind == 1
        else [rng.randrange(1, 12) for _ in range(count)]
    )
    return [
        Server(
            af, base + bytes([index, rng.randrange(256)]), rng.choice((80, 8080, 443)), MASQ, weight
        )
        for index, weight in enumerate(weights)
    ]


def test_hashing(table: KernelBackend, wire: Wire, build: Build) -> None:
    for scheduler in ("sh", "mh", "dh"):
        rng = random.Random(f"{SEED} {scheduler}")
        wire.set_mark(MARK if scheduler == "dh" else 0)
        expected = {}
        for number in range(PAIRS // CLIENTS):
            af = AF_INET6 if number % 4 == 3 else AF_INET
            virtual = (
                bytes([10, 1, number >> 8, number & 255])
                if af == AF_INET
                else bytes([0xFD, 1]) + bytes(12) + number.to_bytes(2, "big")
            )
            flags = 0 if scheduler == "dh" else rng.choice((0, SCHED1, SCHED2, SCHED1 | SCHED2))
            netmask = 0xFFFFFFFF if af == AF_INET else 128
            service = (
                Service(af, fwmark=MARK, scheduler=scheduler, netmask=netmask)
                if scheduler == "dh"
                else Service(
                    af, UDP, virtual, 53, scheduler=scheduler, flags=flags, netmask=netmask
                )
            )
            added = make_servers(rng, af, rng.randrange(1, 11))
            do(table, Change(NEW_SERVICE, service))
            do(table, *(Change(NEW_DEST, service, server) for server in added))
            former = {server.key(): server.weight for server in added}
            for server in added:
                if server.weight and rng.random() < 0.2:
                    server.weight = rng.choice((0, 0, 7))
                    do(table, Change(SET_DEST, service, server))
                    former[server.key()] = server.weight or former[server.key()]
            servers = table.read_servers(service)
            assert [server.key() for server in servers] == [server.key() for server in added[::-1]]
            chooser = Chooser(service, servers, build, [former[each.key()] for each in servers])
            for _ in range(CLIENTS):
                client = (
                    bytes([rng.choice((11, 100, 192)), *rng.randbytes(3)])
                    if af == AF_INET
                    else bytes([0x20, 0x01]) + rng.randbytes(14)
                )
                target = virtual
                if scheduler == "dh":
                    target = (
                        bytes([10, 1]) + rng.randbytes(2)
                        if af == AF_INET
                        else bytes([0xFD, 1]) + rng.randbytes(14)
                    )
                port = rng.randrange(1024, 65536)
                choice = chooser.choose(client, port, target)
                assert len(choice.candidates) + choice.may_refuse == 1, (SEED, choice)
                wire.send(UDP, (client, port), (target, 53))
                expected[(af, client, port), (af, target, 53)] = (
                    servers[choice.candidates[0]].key() if choice.candidates else None
                )
            do(table, Change(DEL_SERVICE, service))
        got = read_assignments()
        wrong = {
            key: (want, got.get(key)) for key, want in expected.items() if got.get(key) != want
        }
        served = sum(want is not None for want in expected.values())
        print(
            f"{scheduler}: {len(expected)} pairs, {served} served, {len(wrong)} wrong (seed {SEED})"
        )
        assert wrong == {}, SEED
        assert served > 0
        assert len(expected) > PAIRS * 0.99  # a few random pairs may be the same


def follow(
    scheduler: str, servers: Sequence[Server], cursor: WeightedCursor, build: Build
) -> tuple[int | None, WeightedCursor]:
    """Return the index of the next server, and the cursor. The program does not know the cursor:
    the server of rr and wrr must be among those that it names.
    """
    choice = Chooser(Service(AF_INET, scheduler=scheduler, port=80), servers, build).choose(
        b"", None
    )
    if scheduler in ("rr", "wrr"):
        index: int | None
        if scheduler == "rr":
            index = next_in_turn(servers, cursor.last)
            cursor = cursor if index is None else WeightedCursor(index)
        else:
            index, cursor = next_by_weight(servers, cursor)
        assert choice.may_refuse if index is None else index in choice.candidates
        return index, cursor
    assert len(choice.candidates) + choice.may_refuse == 1, choice
    return (choice.candidates[0] if choice.candidates else None), cursor


def test_sequences(table: KernelBackend, wire: Wire, build: Build) -> None:
    for at, scheduler in enumerate(("rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf")):
        rng = random.Random(f"{SEED} {scheduler}")
        expected: dict[tuple[End, End], End | None] = {}
        got: dict[tuple[End, End], End] = {}
        for number in range(SEQUENCES):
            virtual = bytes([10, 1, 100 + at * 2 + (number >> 8), number & 255])
            service = Service(AF_INET, TCP, virtual, 80, scheduler=scheduler)
            do(table, Change(NEW_SERVICE, service))
            cursor = WeightedCursor()
            servers: list[Server] = []
            for server in make_servers(rng, AF_INET, rng.randrange(1, 8)):
                if rng.random() < 0.3:
                    server.upper = server.lower = rng.randrange(1, 5)
                do(table, Change(NEW_DEST, service, server))
                servers.insert(0, server)
                cursor = reset_cursor(servers, cursor)
            for client in range(LENGTH):
                if client and rng.random() < 0.05:
                    edited = rng.choice(servers)
                    edited.weight = rng.choice((0, 1, 2, 5))
                    do(table, Change(SET_DEST, service, edited))
                    cursor = reset_cursor(servers, cursor) if scheduler == "wrr" else cursor
                index, cursor = follow(scheduler, servers, cursor, build)
                source = (bytes([11, at, number >> 8, client]), 1024 + (number & 255))
                wire.send(TCP, source, (virtual, 80))
                expected[(AF_INET, *source), (AF_INET, virtual, 80)] = (
                    None if index is None else servers[index].key()
                )
                if index is not None:
                    servers[index].active += 1
            listed = table.read_servers(service)
            assert [(each.key(), each.active, each.inactive) for each in listed] == [
                (each.key(), each.active, each.inactive) for each in servers
            ], (SEED, scheduler, number, servers)
            do(table, Change(DEL_SERVICE, service))
            if number % READ_AFTER == READ_AFTER - 1 or number == SEQUENCES - 1:
                got |= read_assignments()
        wrong = {
            key: (want, got.get(key)) for key, want in expected.items() if got.get(key) != want
        }
        refused = sum(want is None for want in expected.values())
        print(
            f"{scheduler}: {SEQUENCES} sequences of {LENGTH}, {refused} refused, {len(wrong)} wrong (seed {SEED})"
        )
        assert wrong == {}, (SEED, scheduler)


class Clients:
    """Hold 256 source addresses, and ask for the servers that they get, one round after the
    other.
    """

    def __init__(self, wire: Wire, virtual: bytes) -> None:
        self._wire = wire
        self._virtual = virtual
        self._port = 1024  # another one in each round: a new connection, under the same hash
        self.addresses = [bytes([172, 16, 5, last]) for last in range(DRAIN_CLIENTS)]

    def ask(self) -> list[End | None]:
        """Return the server of each client, None for those that are refused."""
        self._port += 1
        target = (self._virtual, 53)
        for addr in self.addresses:
            self._wire.send(UDP, (addr, self._port), target)
        got = read_assignments()
        return [
            got.get(((AF_INET, addr, self._port), (AF_INET, *target))) for addr in self.addresses
        ]


def predict(
    service: Service, servers: list[Server], weight: int, build: Build, clients: Clients
) -> list[End | None]:
    """Return the server that the model chooses for each client. weight: the last weight of all
    servers that was not 0.
    """
    chooser = Chooser(service, servers, build, [weight] * len(servers))
    found = [chooser.choose(addr, None).candidates for addr in clients.addresses]
    return [servers[taken[0]].key() if taken else None for taken in found]


@pytest.mark.parametrize("weight", DRAINED_WEIGHTS)
@pytest.mark.parametrize("scheduler", ["sh", "mh"])
def test_draining_refuses_and_moves_as_predicted(
    table: KernelBackend, wire: Wire, build: Build, scheduler: str, weight: int
) -> None:
    for number, options in enumerate((["--drain=0"], ["--drain=0", "--fallback"])):
        virtual = bytes([10, 1, 9, number])
        selector = f"-u 10.1.9.{number}:53"
        service = Service(AF_INET, UDP, virtual, 53, scheduler=scheduler)
        added = [Server(AF_INET, bytes([10, 2, 0, last]), 53, MASQ, weight) for last in range(1, 5)]
        do(
            table,
            Change(NEW_SERVICE, service),
            *(Change(NEW_DEST, service, each) for each in added),
        )
        clients = Clients(wire, virtual)
        before = clients.ask()
        assert before == predict(service, table.read_servers(service), weight, build, clients)
        drained = added[2].key()
        words = ["-e", *selector.split(), "-r", "10.2.0.3:53", *options]
        result = run_ours(words)
        # The connections of the first round are left.
        assert result.status == 1, result
        service.flags = table.find_service(service).flags
        after = clients.ask()
        assert after == predict(service, table.read_servers(service), weight, build, clients)
        refused = sum(new is None for new in after)
        lost = sum(old == drained for old in before)
        between = sum(new not in (None, old) for old, new in zip(before, after) if old != drained)
        shown = [line for line in result.stderr.decode().splitlines() if "warning: " in line]
        print(
            f"{scheduler}, weights of {weight}, {' '.join(options)}: of {DRAIN_CLIENTS} clients"
            f" {lost} on the server, {refused} refused, {between} moved between others; {shown}"
        )
        if "--fallback" in options:
            assert (refused, service.flags & SCHED1) == (0, SCHED1)
        else:
            assert refused > 0
            assert " is refused" in shown[0]
        assert (between > 0) == (scheduler == "sh" and weight > 1)
        # The line that undoes it gives all clients the server that they had.
        undo = result.stdout.decode().removeprefix("ipvsadm ").split()
        assert ("--clear-fallback" in undo) == ("--fallback" in options)
        assert run_ours(undo).status == 0
        assert (table.find_service(service).flags & SCHED1, clients.ask()) == (0, before)
