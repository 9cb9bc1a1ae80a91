"""Observe a cluster as clients and wires see it: which server answers, which host claims an address
by ARP, which packets leave the director.

Owns: a person's shell on each host, and the functions that observe. Must never know: what is wrong
with the cluster, or what finds it.
"""

from __future__ import annotations

import re
import shlex
import socket
import struct
import subprocess
import time
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.kernel.netns import inside, run_ours
from tests.kernel.network import ETH_P_ALL

if TYPE_CHECKING:
    from tests.kernel.network import Network

SHORT = 1.5  # seconds for an answer that may never come
ETH_P_ARP = 0x0806
SYNC_PORT = 8848
NOBODY = {""}


@cache
def filters() -> bool:
    """Return True if the guest's kernel has iptables (of the old interface: none of these kernels
    has IPv4 in nf_tables).
    """
    done = subprocess.run(
        ["iptables-legacy", "-n", "-L"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0 or "Table does not exist" in done.stderr, done
    return done.returncode == 0


def need_filters() -> None:
    """Skip the test if the kernel has no packet filters: newer user-mode Linux is built without
    iptables' old interface as well.
    """
    if not filters():
        pytest.skip("this kernel is built without packet filters for IPv4 and IPv6")


def shell(host: str, command: str) -> str:
    """Run a command of a person on that host and return its output. ipvsadm is ours; the shell runs
    everything else.

    nf_tables has no IPv4 in the guest. A test that wants a packet filter ends here if the kernel
    has none.
    """
    if command.startswith("ipvsadm "):
        result = run_ours(shlex.split(command)[1:], namespace=host)
        assert (result.status, result.stderr) == (0, b""), (command, result)
        return result.stdout.decode()
    if command.startswith(("iptables ", "ip6tables ")):
        need_filters()
    with inside(host):
        done = subprocess.run(
            re.sub(r"^(ip6?tables) ", r"\1-legacy ", command),
            shell=True,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 0, (host, command, done.stderr)
    return done.stdout


def answers(network: Network, port: int = 80, times: int = 2, source: str = "") -> set[str]:
    """Return the names of the servers that answered this many connections of the client; "" stands
    for no answer.
    """
    names = set()
    family = socket.AF_INET6 if network.vip.startswith("[") else socket.AF_INET
    for _ in range(times):
        with inside("client"):
            sock = socket.socket(family, socket.SOCK_STREAM)
        with sock:
            sock.settimeout(SHORT)
            try:
                if source:
                    sock.bind((source, 0))
                sock.connect((network.vip.strip("[]"), port))
                name = sock.recv(100)
                sock.send(b"?")  # ask once more, over the same connection
                names.add(name.decode().strip() if sock.recv(100) == name else "")
            except OSError:
                names.add("")
    return names


def arp_answers(network: Network) -> set[str]:
    """Return the hosts that answer the client's ARP request for the virtual address."""
    with inside("client"):
        mine = bytes.fromhex(link_address("client").replace(":", ""))
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP))
    hosts = {link_address(host): host for host in ("director", "one", "two")}
    names = set()
    with sock:
        sock.bind(("eth0", ETH_P_ARP))
        own = socket.inet_aton("172.16.100.10")
        question = struct.pack(
            "!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mine, own, bytes(6), socket.inet_aton(network.vip)
        )
        sock.send(b"\xff" * 6 + mine + struct.pack("!H", ETH_P_ARP) + question)
        deadline = time.monotonic() + SHORT
        while (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                frame = sock.recv(100)
            except TimeoutError:
                break
            if frame[20:22] == b"\0\2" and frame[28:32] == socket.inet_aton(network.vip):
                names.add(hosts[frame[22:28].hex(":")])
    return names


def link_address(host: str) -> str:
    with inside(host):
        text = subprocess.run(
            ["ip", "-br", "link", "show", "dev", "eth0"], capture_output=True, text=True, check=True
        ).stdout
    return text.split()[2]


def from_afar(network: Network) -> set[str]:
    return answers(network, source="10.99.0.10")


def breaks(network: Network) -> bool:
    """Return True if some answers of a lasting conversation do not come.

    The conversation is by UDP: a TCP socket that is being written to leaves a redirect unheeded,
    and without the delay of a wire it always is being written to.
    """
    with inside("client"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.settimeout(SHORT)
        sock.connect((network.vip, 53))
        for _ in range(6):
            sock.send(b"?")
            try:
                sock.recv(100)
            except TimeoutError:
                return True
            time.sleep(0.3)
    return False


def taken_for_the_director(network: Network) -> str:
    """Return the host that the client takes for the director, after the server had to ask for the
    client's link address.
    """
    shell("client", "ip neigh flush dev eth0")
    answers(network, times=1)
    # the client keeps what it has learnt for a second, whichever host says otherwise
    time.sleep(1.1)
    shell("one", "ip neigh flush dev eth0")
    answers(network, times=1)
    with inside("client"):
        text = subprocess.run(
            ["ip", "neigh", "show", network.vip], capture_output=True, text=True, check=True
        ).stdout
    hosts = {link_address(host): host for host in ("director", "one")}
    return hosts[text.split()[text.split().index("lladdr") + 1]]


def spread(network: Network) -> int:
    """Return how many servers one client gets."""
    return len(answers(network, times=4))


def transfer(network: Network) -> bool:
    """Return True if a transfer's connection reaches the same server as the client's connection to
    port 21.
    """
    return answers(network, 21, 1) == answers(network, 40000, 1) != NOBODY


def passive(network: Network) -> str:
    """Return the address that the client is told to connect to."""
    with inside("client"):
        sock = socket.create_connection((network.vip, 21), SHORT)
    with sock:
        sock.settimeout(SHORT)
        sock.recv(100)
        sock.send(b"PASV\r\n")
        text = sock.recv(200).decode()
    found = re.search(r"\((\d+),(\d+),(\d+),(\d+),", text)
    assert found, text
    return ".".join(found.groups())


def handed_over(network: Network) -> bool:
    """Return True if the director sends connections out on its link for sync daemons, whose other
    end is sync1.
    """
    with inside("director"):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    with sock:
        sock.bind(("sync1", ETH_P_ALL))
        answers(network)
        deadline = time.monotonic() + 4
        while (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                packet = sock.recv(2048)
            except TimeoutError:
                return False
            if (
                packet[0] >> 4 == 4
                and packet[9] == 17
                and packet[22:24] == struct.pack("!H", SYNC_PORT)
            ):
                return True
    return False
