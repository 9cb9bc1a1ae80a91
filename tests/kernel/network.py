"""Build small networks for real packets: a client, one or two directors and two real servers on
bridges.

Owns: the namespaces and their addresses, the servers that answer with their name, the client's
sockets. Must never know: IPVS and its tools. Namespaces are made with `ip -batch`: one process for
many links (pyroute2 takes seconds to import in the guest).
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kernel.netns import enter, inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Self

SERVERS = ("one", "two")

PATIENCE = 10.0  # seconds to wait for one answer, or for a condition to become true
SERVER_LIFE = 120  # seconds after which a server that was left running ends by itself

ETH_P_ALL = 0x0003  # uapi/linux/if_ether.h
ETH_P_IP = 0x0800
ETH_P_IPV6 = 0x86DD
PACKET_HOST = 0  # uapi/linux/if_packet.h


@dataclass(frozen=True)
class Network:
    """Describe a network. vip and real are addresses as in a rule. setup is `ip -batch` text,
    sysctls are values, both by host.

    wires: the bridges that a host's eth0, eth1 and so on are plugged into, for hosts whose links
    are not just eth0 into lan.
    """

    vip: str
    real: tuple[str, str]
    setup: dict[str, str]
    sysctls: dict[str, dict[str, str]] = field(default_factory=dict)
    wires: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def but(self, **more: str) -> Network:
        """Return the same network with more lines of setup."""
        return replace(
            self, setup={host: f"{text}\n{more.get(host, '')}" for host, text in self.setup.items()}
        )

    def links(self, *hosts: str) -> list[tuple[str, str, str, str]]:
        """Return the links of these hosts, or of all: host, its link, the switch's port at the
        other end, the bridge of that port.
        """
        return [
            (host, f"eth{at}", f"{host}{at or ''}", bridge)
            for host in hosts or self.setup
            for at, bridge in enumerate(self.wires.get(host, ("lan",)))
        ]


# The link of each host is eth0. With NAT the answers must pass the director: the client is in
# another subnet. A redirect would tell the servers that the client is on their wire all the same;
# it is not sent (IPv4) or not heeded (IPv6).
NAT = Network(
    "172.16.100.1",
    ("192.168.10.8", "192.168.10.9"),
    {
        "client": "addr add 172.16.100.10/24 dev eth0",
        "director": "addr add 172.16.100.1/24 dev eth0\naddr add 192.168.10.7/24 dev eth0",
        "one": "addr add 192.168.10.8/24 dev eth0\nroute add default via 192.168.10.7",
        "two": "addr add 192.168.10.9/24 dev eth0\nroute add default via 192.168.10.7",
    },
    {
        "director": {
            "net/ipv4/ip_forward": "1",
            "net/ipv4/conf/all/send_redirects": "0",
            "net/ipv4/conf/eth0/send_redirects": "0",
        },
    },
)

_UNHEEDING = {"net/ipv6/conf/eth0/accept_redirects": "0"}

NAT6 = Network(
    "[2001:db8:100::1]",
    ("[2001:db8:10::8]", "[2001:db8:10::9]"),
    {
        "client": "addr add 2001:db8:100::10/64 dev eth0 nodad",
        "director": "addr add 2001:db8:100::1/64 dev eth0 nodad\naddr add 2001:db8:10::7/64 dev eth0 nodad",
        "one": "addr add 2001:db8:10::8/64 dev eth0 nodad\nroute add default via 2001:db8:10::7",
        "two": "addr add 2001:db8:10::9/64 dev eth0 nodad\nroute add default via 2001:db8:10::7",
    },
    {
        "director": {"net/ipv6/conf/all/forwarding": "1"},
        **dict.fromkeys(SERVERS, _UNHEEDING),
    },
)

# With the VIP on lo, a real server must not answer for it on the wire, nor drop what comes out of a
# tunnel.
_QUIET = {
    "net/ipv4/conf/all/arp_ignore": "1",
    "net/ipv4/conf/all/arp_announce": "2",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}

DIRECT = Network(
    "172.16.100.1",
    ("172.16.100.7", "172.16.100.8"),
    {
        "client": "addr add 172.16.100.10/24 dev eth0\naddr add 172.16.100.11/24 dev eth0",
        "director": "addr add 172.16.100.2/24 dev eth0\naddr add 172.16.100.1/32 dev eth0",
        "one": "addr add 172.16.100.7/24 dev eth0\naddr add 172.16.100.1/32 dev lo",
        "two": "addr add 172.16.100.8/24 dev eth0\naddr add 172.16.100.1/32 dev lo",
    },
    dict.fromkeys(SERVERS, _QUIET),
)

# Neighbour discovery never answers for an address of another interface, so there is nothing to turn
# off. The director must not tunnel from the VIP, which is the real servers' own address as well: it
# is deprecated, so that another address is chosen.
DIRECT6 = Network(
    "[2001:db8:100::1]",
    ("[2001:db8:100::7]", "[2001:db8:100::8]"),
    {
        "client": "addr add 2001:db8:100::10/64 dev eth0 nodad",
        "director": "addr add 2001:db8:100::2/64 dev eth0 nodad\naddr add 2001:db8:100::1/128 dev eth0 nodad preferred_lft 0",
        "one": "addr add 2001:db8:100::7/64 dev eth0 nodad\naddr add 2001:db8:100::1/128 dev lo nodad",
        "two": "addr add 2001:db8:100::8/64 dev eth0 nodad\naddr add 2001:db8:100::1/128 dev lo nodad",
    },
)


def crossed(outer: Network, inner: Network) -> Network:
    """Return a network with both families on the same hosts: the VIP of inner, the real servers'
    addresses of outer.
    """
    return Network(
        inner.vip, outer.real, inner.but(**outer.setup).setup, outer.sysctls | inner.sysctls
    )


def ip(lines: Iterable[str], namespace: str | None = None) -> None:
    """Run the lines as commands of `ip -batch`, in a namespace."""
    command = ["ip", *(["-n", namespace] if namespace else []), "-batch", "-"]
    done = subprocess.run(
        command, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (lines, done.stderr)


@contextmanager
def built(network: Network, ports: dict[str, list[int]], life: int = SERVER_LIFE) -> Iterator[None]:
    """Build the network, with real servers on these ports, such as {"tcp": [80], "udp": [53]};
    without ports no server is started. Everything is deleted afterwards.
    """
    with ExitStack() as stack:
        namespaces = ("switch", *network.setup)
        links = network.links()
        stack.callback(ip, [f"netns del {name}" for name in namespaces])
        ip(
            [f"netns add {name}" for name in namespaces]
            + [
                f"link add {port} netns switch type veth peer name {link} netns {host}"
                for host, link, port, _ in links
            ],
        )
        ip(
            [
                f"link add name {bridge} up type bridge"
                for bridge in dict.fromkeys(bridge for *_, bridge in links)
            ]
            + [f"link set {port} master {bridge} up" for *_, port, bridge in links],
            "switch",
        )
        for host in network.setup:
            with inside(host):
                for name, value in network.sysctls.get(host, {}).items():
                    Path("/proc/sys", name).write_text(value)
            ip(
                [
                    "link set lo up",
                    *(f"link set {link} up" for _, link, *_ in network.links(host)),
                    network.setup[host],
                ],
                host,
            )
        family = socket.AF_INET6 if network.vip.startswith("[") else socket.AF_INET
        for host in SERVERS if ports else ():
            stack.enter_context(served(host, family, ports, life))
        yield


@contextmanager
def served(
    host: str, family: int, ports: dict[str, list[int]], life: int = SERVER_LIFE
) -> Iterator[None]:
    """Run a real server in a forked child: it answers each connection and each datagram with the
    host's name. It ends with the body.

    A connection stays open until the client closes it; each thing that the client sends is answered
    with the name again. A server of kind "http" answers a request with a page that holds the name,
    and closes.
    """
    with inside(host):
        sockets = [(kind, _listening(family, kind, port)) for kind in ports for port in ports[kind]]
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(life)
            enter(host)
            _serve(host.encode() + b"\n", sockets)
        finally:
            os._exit(1)
    for _, sock in sockets:
        sock.close()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _listening(family: int, kind: str, port: int) -> socket.socket:
    """Return a socket that listens on every address of this namespace.

    A UDP answer comes from the host's own address, whichever was asked: good for translation, not
    for direct routing.
    """
    sock = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    # connections of a server's predecessor may still be closing when it comes back
    if kind != "udp":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", port))
    if kind != "udp":
        sock.listen(64)
    return sock


def _serve(name: bytes, sockets: list[tuple[str, socket.socket]]) -> None:
    """Answer requests for ever."""
    with selectors.DefaultSelector() as selector:

        def accept(sock: socket.socket) -> None:
            connection = sock.accept()[0]
            selector.register(connection, selectors.EVENT_READ, answer)
            with suppress(ConnectionError):  # a client that has gone already: answer() will see it
                connection.sendall(name)

        def answer(sock: socket.socket) -> None:
            with suppress(ConnectionError):
                if sock.recv(65536):
                    sock.sendall(name)
                    return
            selector.unregister(sock)
            sock.close()

        def answer_datagram(sock: socket.socket) -> None:
            with suppress(ConnectionError):
                sock.sendto(name, sock.recvfrom(65536)[1])

        def accept_http(sock: socket.socket) -> None:
            selector.register(sock.accept()[0], selectors.EVENT_READ, answer_http)

        def answer_http(sock: socket.socket) -> None:
            with suppress(ConnectionError):
                if sock.recv(65536):  # a request is small: it comes in one piece
                    sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + name)
            selector.unregister(sock)
            sock.close()

        handlers = {"tcp": accept, "udp": answer_datagram, "http": accept_http}
        for kind, sock in sockets:
            selector.register(sock, selectors.EVENT_READ, handlers[kind])
        while True:
            for key, _ in selector.select():
                key.data(key.fileobj)


class Connection:
    """Hold the client's side of a TCP connection to host:port; server is the name of the host that
    answered.
    """

    def __init__(self, host: str, port: int, source: str = "") -> None:
        with inside("client"):
            self.sock = socket.create_connection(
                (host.strip("[]"), port), PATIENCE, (source, 0) if source else None
            )
        self.port = int(self.sock.getsockname()[1])
        self.server = self._line()

    def again(self) -> str:
        """Ask over the same connection which server answers."""
        self.sock.sendall(b"?")
        return self._line()

    def _line(self) -> str:
        data = b""
        while not data.endswith(b"\n"):
            piece = self.sock.recv(100)
            assert piece, f"the connection was closed after {data!r}"
            data += piece
        return data.decode().strip()

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Asking:
    """Run a client that asks for a server every tenth of a second, in a forked child, and note when
    an answer came, and when the connection was refused: by a host that has the address and no
    service.
    """

    def __init__(self, host: str, port: int) -> None:
        self.notes = os.memfd_create("answers")
        self.pid = os.fork()
        if self.pid == 0:
            try:
                enter("client")
                self._ask(host, port)
            finally:
                os._exit(1)

    def _ask(self, host: str, port: int) -> None:
        while True:
            outcome = ""
            try:
                with socket.create_connection((host, port), 0.5) as sock:
                    outcome = "answer" if sock.recv(100) else ""
            except ConnectionRefusedError:
                outcome = "refusal"
            except OSError:
                pass
            if outcome:
                os.write(self.notes, f"{outcome} {time.monotonic()}\n".encode())
            time.sleep(0.1)

    def _moments(self, outcome: str) -> list[float]:
        text = os.pread(self.notes, os.fstat(self.notes).st_size, 0).decode()
        rows = [line.split() for line in text.splitlines()]
        return [float(moment) for noted, moment in rows if noted == outcome]

    def refusals(self) -> list[float]:
        """Return when connections were refused."""
        return self._moments("refusal")

    def longest_silence(self, since: float) -> float:
        """Return the longest time without an answer since `since`, in seconds."""
        times = self._moments("answer")
        times = [since, *(moment for moment in times if moment > since), time.monotonic()]
        return max(later - earlier for earlier, later in pairwise(times))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.notes)


def ask(host: str, port: int, times: int, source: str = "") -> list[str]:
    """Open this many connections, one after the other, and return the names of the servers."""
    names = []
    for _ in range(times):
        with Connection(host, port, source) as connection:
            names.append(connection.server)
    return names


def ask_udp(host: str, port: int, times: int, data: bytes = b"?") -> list[str]:
    """Send this many datagrams, each from a new port, and wait for each answer. Return the names of
    the servers.
    """
    names = []
    for _ in range(times):
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        with inside("client"), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            sock.connect((host.strip("[]"), port))
            sock.send(data)
            names.append(sock.recv(100).decode().strip())
    return names


def browse(host: str, port: int, times: int, patience: float = PATIENCE) -> list[str]:
    """Ask for a page this many times, one after the other. Return the names of the servers; "" if
    no page came within patience.
    """
    names = []
    for _ in range(times):
        page = b""
        with suppress(OSError):
            with inside("client"):
                sock = socket.create_connection((host, port), patience)
            with sock:
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                while piece := sock.recv(1000):
                    page += piece
        names.append(page.rpartition(b"\r\n\r\n")[2].decode().strip())
    return names


@contextmanager
def listened(host: str) -> Iterator[set[str]]:
    """Yield a set that is filled at the end of the body with the kinds of packet that this host was
    sent.
    """
    kinds: set[str] = set()
    with inside(host):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    with sock:
        sock.bind(("eth0", ETH_P_ALL))
        sock.setblocking(False)
        yield kinds
        with suppress(BlockingIOError):
            while True:
                data, (_, ethertype, direction, *_) = sock.recvfrom(2048)
                if direction == PACKET_HOST and ethertype in (ETH_P_IP, ETH_P_IPV6):
                    kinds.add(kind_of(data))
        kinds.discard("icmp6")  # neighbours


def kind_of(packet: bytes) -> str:
    """Return the content of an IP packet: tcp, ipip, ipv6, gre or udp, and what a tunnel's header
    says.
    """
    protocol, inner = (packet[9], packet[20:]) if packet[0] >> 4 == 4 else (packet[6], packet[40:])
    if protocol == 47:  # RFC 2784: the first bit
        return "gre, checksum" if inner[0] & 0x80 else "gre"
    # 8 bytes of UDP, the checksum last; then GUE (include/net/gue.h): bit 0 of its flags is
    # "private"
    if protocol == 17:
        return (
            "udp"
            + (", checksum" if any(inner[6:8]) else "")
            + (", private" if inner[11] & 1 else "")
        )
    return {4: "ipip", 6: "tcp", 41: "ipv6", 58: "icmp6"}.get(protocol, f"protocol {protocol}")


def eventually(read: Callable[[], object], wanted: object, patience: float = PATIENCE) -> None:
    """Read until the result is as wanted; a failure shows the last result."""
    deadline = time.monotonic() + patience
    while (found := read()) != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found == wanted
