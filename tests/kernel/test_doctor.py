"""The doctor's findings, each provoked, seen in packets, mended by the command that was printed, and gone.

Owns: the faults, and six healthy clusters. The networks are in network.py. Must never know: how a check is made.

A command with a word in capitals (DEVICE, SERVER) asks something of a person: `answers` says what that person puts there.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import struct
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import pyipvsadm.doctor.command
import pyipvsadm.doctor.host  # noqa: F401  # takes seconds in the guest: once is enough, all runs of the doctor fork from here
from pyipvsadm.model import AF_INET, NEW_DEST, ROUTE, TCP, Change, Destination, Service
from tests.kernel.netns import enter, inside, run_child, run_ours
from tests.kernel.network import (
    DIRECT,
    DIRECT6,
    ETH_P_ALL,
    NAT,
    NAT6,
    SERVER_LIFE,
    Network,
    built,
    eventually,
    served,
)
from tests.kernel.test_traffic import tunnelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SHORT = 1.5  # seconds for an answer that may never come
WEB = {"tcp": [80]}
BOTH = {"one", "two"}
NOBODY = {""}
ETH_P_ARP = 0x0806
SYNC_PORT = 8848
FALLBACK = Path("/proc/sys/net/core/fb_tunnels_only_for_init_net")


class Fault(NamedTuple):
    """A cluster and what is done to it. rules: for ipvsadm; plant: (host, shell command).

    In both {vip}, {one} and {two} are addresses as a rule has them; with _ ({vip_}) they are bare. seen: what is looked at;
    wrong: what it gives with the fault (None: the harm cannot be seen in packets here); right: after the mend.
    """

    code: str
    network: Network
    rules: tuple[str, ...]
    plant: tuple[tuple[str, str], ...] = ()
    host: str = "director"
    words: str = ""
    answers: Mapping[str, str] = {}
    wrong: object = NOBODY
    right: object = BOTH
    seen: Callable[[Network], object] | None = None
    ports: dict[str, list[int]] = WEB
    name: str = ""
    after: tuple[tuple[str, str], ...] = ()  # what the manual page says beside the command


def shell(host: str, command: str) -> None:
    """A command of a person on that host: our ipvsadm, anything else by the shell. nf_tables has no IPv4 in the guest."""
    if command.startswith("ipvsadm "):
        result = run_ours(shlex.split(command)[1:], namespace=host)
        assert (result.status, result.stderr) == (0, b""), (command, result)
        return
    with inside(host):
        done = subprocess.run(
            re.sub(r"^(ip6?tables) ", r"\1-legacy ", command), shell=True, capture_output=True, text=True, timeout=30, check=False
        )
    assert done.returncode == 0, (host, command, done.stderr)


def doctor(host: str | None, words: str = "") -> tuple[int, list[dict[str, object]]]:
    """The status and the findings."""
    result = run_ours(["--doctor", "--json", *words.split()], namespace=host)
    assert result.stderr == b"", result
    found = json.loads(result.stdout)
    assert found["status"] == result.status
    return result.status, found["findings"]


def answers(network: Network, port: int = 80, times: int = 2, source: str = "") -> set[str]:
    """Who answered that many connections of the client's; "" stands for nobody."""
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
                sock.send(b"?")  # and once more, over the connection that is there
                names.add(name.decode().strip() if sock.recv(100) == name else "")
            except OSError:
                names.add("")
    return names


def filled(text: str, network: Network) -> str:
    names = {"vip": network.vip, "one": network.real[0], "two": network.real[1]}
    return text.format(**names, **{f"{name}_": address.strip("[]") for name, address in names.items()})


def carry_out(fault: Fault, findings: list[dict[str, object]]) -> None:
    """The mends of all findings, in their order, once each."""
    done = []
    for finding in findings:
        mends = finding["mend"]
        assert isinstance(mends, list)
        assert mends, finding
        for mend in mends:
            command = mend
            for word, value in fault.answers.items():
                command = command.replace(word, value)
            assert not re.search(r"\b[A-Z]{4,}\b", re.sub("PREROUTING|POSTROUTING|MASQUERADE|MARK", "", command)), command
            if command not in done:
                shell(fault.host, command)
            done.append(command)


@pytest.fixture(autouse=True)
def _no_tunnels_of_their_own() -> Iterator[None]:
    """New namespaces get no tunl0 and the like: a real server has the tunnels that its test gives it."""
    before = FALLBACK.read_text()
    FALLBACK.write_text("1")
    yield
    FALLBACK.write_text(before)


# --- what is looked at, where it is not who answers


def arp_answers(network: Network) -> set[str]:
    """The hosts that answer the client's question for the virtual address on the wire."""
    with inside("client"):
        mine = bytes.fromhex(link_address("client").replace(":", ""))
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP))
    hosts = {link_address(host): host for host in ("director", "one", "two")}
    names = set()
    with sock:
        sock.bind(("eth0", ETH_P_ARP))
        own = socket.inet_aton("172.16.100.10")
        question = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mine, own, bytes(6), socket.inet_aton(network.vip))
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
        text = subprocess.run(["ip", "-br", "link", "show", "dev", "eth0"], capture_output=True, text=True, check=True).stdout
    return text.split()[2]


def from_afar(network: Network) -> set[str]:
    return answers(network, source="10.99.0.10")


def breaks(network: Network) -> bool:
    """Whether some answers of a lasting conversation do not come.

    By UDP: a TCP socket that is being written to leaves a redirect unheeded, and without the delay of a wire it always is.
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
    """The host that the client holds for the director, once the server had to ask for the client."""
    shell("client", "ip neigh flush dev eth0")
    answers(network, times=1)
    time.sleep(1.1)  # the client keeps what it has learnt for a second, whoever says otherwise
    shell("one", "ip neigh flush dev eth0")
    answers(network, times=1)
    with inside("client"):
        text = subprocess.run(["ip", "neigh", "show", network.vip], capture_output=True, text=True, check=True).stdout
    hosts = {link_address(host): host for host in ("director", "one")}
    return hosts[text.split()[text.split().index("lladdr") + 1]]


def spread(network: Network) -> int:
    """How many servers one client sees."""
    return len(answers(network, times=4))


def transfer(network: Network) -> bool:
    """Whether a transfer's connection reaches a server, when the client is known at port 21."""
    return answers(network, 21, 1) == answers(network, 40000, 1) != NOBODY


def passive(network: Network) -> str:
    """The address that the client is told to connect to."""
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
    """Whether the director sends connections out on its link for sync daemons, whose other end is sync1."""
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
            if packet[0] >> 4 == 4 and packet[9] == 17 and packet[22:24] == struct.pack("!H", SYNC_PORT):
                return True
    return False


# --- the faults

RULES_NAT = ("-A -t {vip}:80 -s rr", "-a -t {vip}:80 -r {one}:80 -m", "-a -t {vip}:80 -r {two}:80 -m")
RULES_DIRECT = ("-A -t {vip}:80 -s rr", "-a -t {vip}:80 -r {one}:80 -g", "-a -t {vip}:80 -r {two}:80 -g")
RULES_TUNNEL = ("-A -t {vip}:80 -s rr", "-a -t {vip}:80 -r {one}:80 -i", "-a -t {vip}:80 -r {two}:80 -i")
RULES_MARK = ("-A -f 8 -s rr", "-a -f 8 -r {one} -g", "-a -f 8 -r {two} -g")
RULES_FTP = ("-A -t {vip}:21 -s rr", "-a -t {vip}:21 -r {one}:21 -{method}", "-a -t {vip}:21 -r {two}:21 -{method}")

REAL = "--real-server-for {vip_}"
A_CLIENT_COMES = "(a client comes)"
MARKED = ("director", "iptables -t mangle -A PREROUTING -d 172.16.100.1 -p tcp --dport 80 -j MARK --set-mark 8")
SYNC = (
    ("director", "ip link add sync0 type veth peer name sync1; ip link set sync0 up; ip link set sync1 up"),
    ("director", "ip addr add 10.50.0.1/24 dev sync0; sysctl -wq net.ipv4.vs.sync_threshold='1 2'"),
)
TUN = tunnelled("ipip")

# The virtual address and the client in the servers' network.
BESIDE = Network(
    "192.168.10.1",
    NAT.real,
    {
        **NAT.setup,
        "client": "addr add 192.168.10.10/24 dev eth0",
        "director": "addr add 192.168.10.1/24 dev eth0\naddr add 192.168.10.7/24 dev eth0",
    },
    NAT.sysctls,
)

FRONT = (
    ("switch", "ip link add front type veth peer name front netns director; ip link set front master lan up"),
    ("director", "ip addr del {vip}/32 dev eth0; ip addr add {vip}/32 dev front; sysctl -wq net.ipv4.conf.all.arp_ignore=1"),
)
TUN6 = tunnelled("IPv6 in IPv6", DIRECT6)
SOURCE_RULE = (
    ("client", "ip addr add 10.99.0.10/32 dev eth0"),
    ("director", "ip link add wan type dummy; ip link set wan up; ip route add 10.99.0.0/24 dev wan"),
    ("director", "ip route add 10.99.0.0/24 dev eth0 table 100; ip rule add from {vip} lookup 100"),
)
SNAT = ("director", "iptables -t nat -A POSTROUTING -s 192.168.10.0/24 -d 192.168.10.0/24 -j MASQUERADE")
FORGET = (("one", "ip route flush cache"), ("two", "ip route flush cache"))
NAT_REAL = REAL + " -m --director 192.168.10.7"
HALF = frozenset({"", "two"})

FAULTS = [
    Fault("scheduler-missing", DIRECT, ("-A -t {vip}:80 -s none", *RULES_DIRECT[1:])),
    Fault("no-servers", DIRECT, RULES_DIRECT[:1], answers={"SERVER": DIRECT.real[0]}, right={"one"}),
    Fault("all-weights-zero", DIRECT, (RULES_DIRECT[0], RULES_DIRECT[1] + " -w 0"), right={"one"}),
    Fault("vip-missing", DIRECT, RULES_DIRECT, (("director", "ip addr del {vip}/32 dev eth0"),)),
    Fault("vip-missing", NAT, RULES_NAT, (("director", "ip addr del {vip}/24 dev eth0; ip addr add 172.16.100.2/24 dev eth0"),)),
    Fault("vip-interface-down", DIRECT, RULES_DIRECT, FRONT),
    Fault(
        "mark-not-local", DIRECT, RULES_MARK,
        (
            MARKED,
            ("client", "ip neigh replace {vip} lladdr $DIRECTOR dev eth0"),
            ("director", "ip neigh add {one} lladdr $ONE dev eth0; ip neigh add {two} lladdr $TWO dev eth0"),
            ("director", "ip addr flush dev eth0; ip route add 172.16.100.0/24 dev eth0"),
        ),
    ),
    Fault(
        "mark-table-empty", DIRECT, RULES_MARK,
        (
            MARKED,
            ("client", "ip route add {vip}/32 via 172.16.100.2"),
            ("director", "ip addr del {vip}/32 dev eth0; ip rule add fwmark 8 lookup 100"),
        ),
    ),
    Fault("mark-unset", DIRECT, RULES_MARK, answers={"VIP": DIRECT.vip, "PORT": "80"}),
    Fault("nat-forwarding-off", NAT, RULES_NAT, (("director", "sysctl -wq net.ipv4.ip_forward=0"),)),
    Fault("nat-forwarding-off", NAT, RULES_NAT, (("director", "sysctl -wq net.ipv4.conf.eth0.forwarding=0"),), name="one link"),
    Fault("nat-forwarding-off", NAT6, RULES_NAT, (("director", "sysctl -wq net.ipv6.conf.all.forwarding=0"),)),
    Fault("nat-clients-beside-servers", BESIDE, RULES_NAT),
    Fault("nat-clients-beside-servers", BESIDE, RULES_NAT, (SNAT,), name="no conntrack"),
    Fault(
        "send-redirects", NAT, ("-A -u {vip}:53 -s rr", "-a -u {vip}:53 -r {one}:53 -m", "-a -u {vip}:53 -r {two}:53 -m"),
        (("director", "sysctl -wq net.ipv4.conf.all.send_redirects=1 net.ipv4.conf.eth0.send_redirects=1"),),
        seen=breaks, wrong=True, right=False, after=FORGET, ports={"udp": [53]},
    ),
    Fault(
        "snat-reroute-off", NAT, RULES_NAT, (*SOURCE_RULE, ("director", "sysctl -wq net.ipv4.vs.snat_reroute=0")),
        seen=from_afar,
    ),
    Fault(
        "server-no-route", NAT, RULES_NAT, (("director", "ip route del 192.168.10.0/24 dev eth0"),), answers={"DEVICE": "eth0"},
    ),
    Fault("dr-behind-gateway", DIRECT, RULES_DIRECT, (("director", "ip route add {one}/32 via {two}"),), wrong={"two"}),
    Fault("tunnel-mtu", TUN6, RULES_TUNNEL, (("director", "ip link set dev eth0 mtu 1300"),)),
    Fault(
        "tunnel-mtu", TUN6, RULES_TUNNEL, (("director", "ip route add {one_}/128 dev eth0 mtu 1300"),), wrong=HALF, name="route",
    ),
    Fault(
        "tunnel-from-vip", TUN, RULES_TUNNEL,
        (("director", "ip addr flush dev eth0; ip addr add {vip}/24 dev eth0; ip addr add 172.16.100.2/24 dev eth0"),),
    ),
    Fault(
        "tunnel-from-vip", TUN6, RULES_TUNNEL, (("director", "ip -6 addr change {vip_}/128 dev eth0 preferred_lft forever"),),
    ),
    Fault(
        "rp-filter", DIRECT, RULES_DIRECT,
        (
            ("client", "ip addr add 10.99.0.10/32 dev eth0"),
            ("one", "ip route add 10.99.0.10/32 dev eth0"),
            ("two", "ip route add 10.99.0.10/32 dev eth0"),
            ("director", "ip link add wan type dummy; ip link set wan up; ip route add default dev wan"),
            ("director", "sysctl -wq net.ipv4.conf.eth0.rp_filter=1"),
        ),
        seen=from_afar,
    ),
    Fault(
        "quiescent-templates", DIRECT, (RULES_DIRECT[0] + " -p 60", RULES_DIRECT[1]),
        (
            ("client", A_CLIENT_COMES),
            ("director", "ipvsadm -e -t {vip}:80 -r {one}:80 -g -w 0"),
            ("director", "ipvsadm -a -t {vip}:80 -r {two}:80 -g"),
        ),
        wrong={"one"}, right={"two"},
    ),
    Fault(
        "netmask-without-persistence", DIRECT, (RULES_DIRECT[0] + " -M 255.255.255.0", *RULES_DIRECT[1:]),
        seen=spread, wrong=2, right=1,
    ),
    Fault(
        "ftp-not-persistent", DIRECT, tuple(rule.replace("{method}", "g") for rule in RULES_FTP),
        seen=transfer, wrong=False, right=True, ports={"tcp": [21, 40000]},
    ),
    Fault(
        "sync-interface-down", DIRECT, (*RULES_DIRECT, "--start-daemon master --mcast-interface sync0"),
        (("director", "ip link set dev sync0 down"),), seen=handed_over, wrong=False, right=True,
    ),
    Fault(
        "sync-no-multicast", DIRECT, (*RULES_DIRECT, "--start-daemon master --mcast-interface sync0"),
        (("director", "ip link set dev sync0 multicast off"),), seen=handed_over, wrong=None, right=True,
    ),
    Fault(
        "sync-backup-holds-vip", DIRECT, (*RULES_DIRECT, "--start-daemon backup --mcast-interface sync0"),
        seen=handed_over, wrong=False, right=True,
    ),
    Fault(
        "server-no-neighbour", DIRECT, RULES_DIRECT, (("one", "ip link set dev eth0 down"),), words="--probe",
        wrong=HALF, right={"two"},
    ),
    Fault(
        "server-silent", DIRECT, RULES_DIRECT, (("one", "iptables -A INPUT -p tcp -j DROP"),), words="--probe",
        wrong=HALF, right={"two"},
    ),
    Fault(
        "server-refuses", DIRECT, RULES_DIRECT,
        (("one", "iptables -A INPUT -p tcp --dport 80 -j REJECT --reject-with tcp-reset"),), words="--probe",
        wrong=HALF, right={"two"},
    ),
    Fault("real-vip-missing", DIRECT, RULES_DIRECT, (("one", "ip addr del {vip}/32 dev lo"),), "one", REAL, wrong=HALF),
    Fault("real-vip-missing", DIRECT6, RULES_DIRECT, (("one", "ip addr del {vip_}/128 dev lo"),), "one", REAL, wrong=HALF),
    Fault(
        "real-vip-interface-down", DIRECT6, RULES_DIRECT,
        (
            ("one", "sysctl -wq net.ipv6.conf.all.keep_addr_on_down=1; ip link add d0 type dummy; ip link set d0 up"),
            ("one", "ip addr del {vip_}/128 dev lo; ip addr add {vip_}/128 dev d0 nodad; ip link set d0 down"),
        ),
        "one", REAL, wrong=HALF,
    ),
    Fault(
        "real-vip-on-wire", DIRECT, RULES_DIRECT, (("one", "ip addr del {vip}/32 dev lo; ip addr add {vip}/32 dev eth0"),),
        "one", REAL, seen=arp_answers, wrong={"director", "one"}, right={"director"},
    ),
    Fault(
        "real-vip-prefix", DIRECT, RULES_DIRECT, (("one", "ip addr del {vip}/32 dev lo; ip addr add {vip}/24 dev lo"),),
        "one", REAL, wrong=HALF,
    ),
    Fault(
        "real-arp-ignore", DIRECT, RULES_DIRECT, (("one", "sysctl -wq net.ipv4.conf.all.arp_ignore=0"),), "one", REAL,
        seen=arp_answers, wrong={"director", "one"}, right={"director"},
    ),
    Fault(
        "real-arp-announce", DIRECT, RULES_DIRECT[:2], (("one", "sysctl -wq net.ipv4.conf.all.arp_announce=0"),), "one", REAL,
        seen=taken_for_the_director, wrong="one", right="director",
    ),
    Fault("real-tunnel-missing", TUN, RULES_TUNNEL, (("one", "ip link del tun"),), "one", REAL + " -i", wrong=HALF),
    Fault("real-tunnel-missing", TUN6, RULES_TUNNEL, (("one", "ip link del tun"),), "one", REAL + " -i", wrong=HALF),
    Fault("real-tunnel-down", TUN, RULES_TUNNEL, (("one", "ip link set dev tun down"),), "one", REAL + " -i", wrong=HALF),
    Fault(
        "real-tunnel-rp-filter", TUN, RULES_TUNNEL, (("one", "sysctl -wq net.ipv4.conf.tun.rp_filter=1"),), "one", REAL + " -i",
        wrong=HALF,
    ),
    Fault(
        "real-tunnel-rp-filter", TUN, RULES_TUNNEL, (("one", "sysctl -wq net.ipv4.conf.all.rp_filter=1"),), "one", REAL + " -i",
        wrong=HALF, name="all",
    ),
    Fault(
        "real-tunnel-rp-filter", TUN, RULES_TUNNEL, (("one", "sysctl -wq net.ipv4.conf.all.rp_filter=2"),), "one", REAL + " -i",
        wrong=HALF, name="loose",
    ),
    Fault("real-no-default-route", NAT, RULES_NAT, (("one", "ip route del default"),), "one", NAT_REAL, wrong=HALF),
    Fault(
        "real-gateway-not-director", NAT, RULES_NAT, (("one", "ip route replace default via 192.168.10.9"),), "one", NAT_REAL,
        wrong=HALF,
    ),
    Fault(
        "real-gateway-is-director", DIRECT, RULES_DIRECT,
        (
            ("client", "ip addr flush dev eth0; ip addr add 10.99.0.10/24 dev eth0; ip route add 172.16.100.0/24 dev eth0"),
            ("director", "ip addr add 10.99.0.1/24 dev eth0; sysctl -wq net.ipv4.ip_forward=1"),
            ("two", "ip route add default dev eth0"),
            ("one", "ip route add default via 172.16.100.2"),
        ),
        "one", REAL + " --director 172.16.100.2", {"via ROUTER": "dev eth0"}, wrong=HALF,
    ),
]  # fmt: skip


def plant(fault: Fault) -> None:
    for host, command in fault.plant:
        if command == A_CLIENT_COMES:
            assert answers(fault.network, times=1) == {"one"}
            continue
        text = filled(command, fault.network)
        for name in ("director", "one", "two"):
            if f"${name.upper()}" in text:
                text = text.replace(f"${name.upper()}", link_address(name))
        shell(host, text)


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{fault.code} {fault.name} {fault.network.vip}" for fault in FAULTS])
def test_a_fault_is_found_and_what_is_printed_mends_it(fault: Fault) -> None:
    network = fault.network
    with built(network, fault.ports):
        if any("sync0" in rule for rule in fault.rules):
            for host, command in SYNC:
                shell(host, command)
        for rule in fault.rules:
            shell("director", "ipvsadm " + filled(rule, network))
        words = filled(fault.words, network)
        seen = fault.seen or answers
        plant(fault)
        status, findings = doctor(fault.host, words)
        assert {finding["code"] for finding in findings} == {fault.code}
        assert status == {"error": 2, "warning": 1}[str(findings[0]["severity"])]
        if fault.wrong is not None:
            assert seen(network) == fault.wrong
        carry_out(fault, findings)
        for host, command in fault.after:
            shell(host, command)
        eventually(lambda: seen(network), fault.right)
        assert doctor(fault.host, words) == (0, [])


# --- faults that need more than a table


def test_another_port_without_nat() -> None:
    """Made by another tool; the servers listen where the table says, and get the packets elsewhere."""
    with built(DIRECT, {"tcp": [8080]}):
        shell("director", f"ipvsadm -A -t {DIRECT.vip}:80 -s rr")

        def add() -> int:
            from pyipvsadm.kernel import Kernel  # noqa: PLC0415  # in the child, which has its own namespace

            service = Service(AF_INET, TCP, socket.inet_aton(DIRECT.vip), 80)
            server = Destination(AF_INET, socket.inet_aton(DIRECT.real[0]), 8080, ROUTE)
            return len(Kernel().apply([Change(NEW_DEST, service, server)]))

        assert run_child(add, namespace="director").status == 0
        status, findings = doctor("director")
        assert (status, [finding["code"] for finding in findings]) == (2, ["port-not-mapped"])
        assert answers(DIRECT) == NOBODY
        carry_out(Fault("port-not-mapped", DIRECT, ()), findings)
        with served("one", socket.AF_INET, WEB):
            assert answers(DIRECT) == {"one"}
        assert doctor("director") == (0, [])


@contextmanager
def ftp_server(host: str, address: str) -> Iterator[None]:
    """Answers everything with its own address, as to PASV."""
    with inside(host):
        listening = socket.create_server(("", 21))
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(SERVER_LIFE)
            enter(host)
            while True:
                connection = listening.accept()[0]
                connection.sendall(b"220 ready\r\n")
                if connection.recv(100):
                    connection.sendall(f"227 Entering Passive Mode ({address.replace('.', ',')},195,80).\r\n".encode())
        finally:
            os._exit(1)
    listening.close()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_ftp_by_nat_without_the_helper() -> None:
    try:
        with built(NAT, {}), ftp_server("one", NAT.real[0]):
            for rule in (f"-A -t {NAT.vip}:21 -s rr", f"-a -t {NAT.vip}:21 -r {NAT.real[0]}:21 -m"):
                shell("director", f"ipvsadm {rule}")
            status, findings = doctor("director")
            assert (status, [finding["code"] for finding in findings]) == (1, ["ftp-helper-missing"])
            assert passive(NAT) == NAT.real[0]
            carry_out(Fault("ftp-helper-missing", NAT, ()), findings)
            assert passive(NAT) == NAT.vip
            assert doctor("director") == (0, [])
    finally:
        subprocess.run(["modprobe", "-r", "ip_vs_ftp"], check=False, capture_output=True)


def test_a_full_table_of_tracked_connections() -> None:
    """Its limit is one for all namespaces: it is set, and mended, from outside the director's."""
    most = Path("/proc/sys/net/netfilter/nf_conntrack_max")
    with built(DIRECT, WEB), served("director", socket.AF_INET, {"tcp": [22]}):
        for rule in RULES_DIRECT:
            shell("director", "ipvsadm " + filled(rule, DIRECT))
        shell("director", "iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT")
        before = most.read_text()
        with inside("client"):
            kept = [socket.create_connection(("172.16.100.2", 22), SHORT) for _ in range(3)]
        try:
            for each in kept:
                assert each.recv(100) == b"director\n"
            most.write_text("3")
            status, findings = doctor("director")
            assert (status, [finding["code"] for finding in findings]) == (2, ["conntrack-full"])
            assert answers(DIRECT, times=2) == NOBODY
            assert findings[0]["mend"] == ["sysctl -w net.netfilter.nf_conntrack_max=6"]
            subprocess.run(shlex.split("sysctl -w net.netfilter.nf_conntrack_max=6"), check=True, capture_output=True)
            assert answers(DIRECT) == BOTH
            assert doctor("director") == (0, [])
        finally:
            most.write_text(before)
            for each in kept:
                each.close()


def test_a_kernel_without_the_module() -> None:
    def loaded() -> list[str]:
        return [line.split()[0] for line in Path("/proc/modules").read_text().splitlines() if line.startswith("ip_vs")]

    def gone() -> list[str]:
        """Modules of services that are still going cannot go."""
        for name in sorted(loaded(), reverse=True):
            subprocess.run(["rmmod", name], check=False, capture_output=True)
        return loaded()

    before = loaded()
    try:
        eventually(gone, [])
        status, findings = doctor(None)
        assert (status, [finding["code"] for finding in findings]) == (2, ["module-missing"])
        assert loaded() == []  # the doctor loads nothing
        assert findings[0]["mend"] == ["modprobe ip_vs"]
        subprocess.run(["modprobe", "ip_vs"], check=True, capture_output=True)
        assert doctor(None) == (0, [])
    finally:
        subprocess.run(["modprobe", "-a", *before], check=True, capture_output=True)
    with built(DIRECT, WEB):
        for rule in RULES_DIRECT:
            shell("director", "ipvsadm " + filled(rule, DIRECT))
        assert answers(DIRECT) == BOTH


def test_the_fallback_tunnel_is_brought_up() -> None:
    """As modprobe ipip leaves it: tunl0, for any sender, down."""
    FALLBACK.write_text("0")
    with built(DIRECT, WEB):
        for rule in RULES_TUNNEL[:2]:
            shell("director", "ipvsadm " + filled(rule, DIRECT))
        status, findings = doctor("one", f"--real-server-for {DIRECT.vip} -i")
        assert (status, [finding["mend"] for finding in findings]) == (2, [["ip link set dev tunl0 up"]])
        assert answers(DIRECT, times=1) == NOBODY
        carry_out(Fault("real-tunnel-down", DIRECT, (), host="one"), findings)
        assert answers(DIRECT) == {"one"}
        assert doctor("one", f"--real-server-for {DIRECT.vip} -i") == (0, [])


# --- health


class Health(NamedTuple):
    """A cluster in which everything is as it should be, seen from the director and from a real server."""

    name: str
    network: Network
    rules: tuple[str, ...]
    plant: tuple[tuple[str, str], ...] = ()
    words: str = REAL
    right: object = BOTH


HEALTHY = [
    Health("NAT", NAT, RULES_NAT, words=NAT_REAL),
    Health("DR", DIRECT, RULES_DIRECT),
    Health("TUN", TUN, RULES_TUNNEL, words=REAL + " -i"),
    Health(
        "mark", DIRECT, RULES_MARK,
        (
            MARKED,
            ("client", "ip route add {vip}/32 via 172.16.100.2"),
            ("director", "ip addr del {vip}/32 dev eth0; ip rule add fwmark 8 lookup 100"),
            ("director", "ip route add local default dev lo table 100"),
        ),
    ),
    Health("v6", TUN6, (*RULES_DIRECT[:2], RULES_TUNNEL[2]), words=REAL + " -i"),
    Health(
        "backup", DIRECT, (*RULES_DIRECT, "--start-daemon backup --mcast-interface eth0"),
        (("director", "ip addr del {vip}/32 dev eth0"),), right=NOBODY,
    ),
]  # fmt: skip


@pytest.mark.parametrize("health", HEALTHY, ids=[health.name for health in HEALTHY])
def test_in_a_healthy_cluster_nothing_is_found(health: Health) -> None:
    with built(health.network, WEB):
        for rule in health.rules:
            shell("director", "ipvsadm " + filled(rule, health.network))
        for host, command in health.plant:
            shell(host, filled(command, health.network))
        assert answers(health.network) == health.right
        assert doctor("director") == (0, [])
        assert doctor("director", "--probe") == (0, [])
        assert doctor("one", filled(health.words, health.network)) == (0, [])
