"""List clusters with one fault each, with the finding for it, and six clusters without any.

Owns: the table of faults: what is done to a cluster, what that does to its clients, and what they
see when it is mended. The networks are in network.py, the functions that observe them in
observe.py. Must never know: how a fault is found.

A command with a word in capitals (DEVICE, SERVER) has a value for a person to fill in: `answers`
holds that value.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from tests.kernel.network import DIRECT, DIRECT6, NAT, NAT6, Network
from tests.kernel.observe import (  # fmt: skip
    NOBODY,
    answers,
    arp_answers,
    breaks,
    from_afar,
    handed_over,
    spread,
    taken_for_the_director,
    transfer,
)
from tests.kernel.test_traffic import tunnelled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WEB = {"tcp": [80]}
BOTH = {"one", "two"}
HALF = frozenset({"", "two"})


class Fault(NamedTuple):
    """Describe a cluster and the fault that is put into it. rules: for ipvsadm; plant: (host, shell
    command).

    In both {vip}, {one} and {two} are addresses as a rule has them; with _ ({vip_}) they are bare.
    seen: the function that observes the harm; wrong: its result with the fault (None: the harm
    cannot be seen in packets here); right: its result after the mend.
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
    # the manual step that the finding names beside the command
    after: tuple[tuple[str, str], ...] = ()


def filled(text: str, network: Network) -> str:
    names = {"vip": network.vip, "one": network.real[0], "two": network.real[1]}
    return text.format(
        **names, **{f"{name}_": address.strip("[]") for name, address in names.items()}
    )


RULES_NAT = (
    "-A -t {vip}:80 -s rr",
    "-a -t {vip}:80 -r {one}:80 -m",
    "-a -t {vip}:80 -r {two}:80 -m",
)
RULES_DIRECT = (
    "-A -t {vip}:80 -s rr",
    "-a -t {vip}:80 -r {one}:80 -g",
    "-a -t {vip}:80 -r {two}:80 -g",
)
RULES_TUNNEL = (
    "-A -t {vip}:80 -s rr",
    "-a -t {vip}:80 -r {one}:80 -i",
    "-a -t {vip}:80 -r {two}:80 -i",
)
RULES_MARK = ("-A -f 8 -s rr", "-a -f 8 -r {one} -g", "-a -f 8 -r {two} -g")
RULES_FTP = (
    "-A -t {vip}:21 -s rr",
    "-a -t {vip}:21 -r {one}:21 -{method}",
    "-a -t {vip}:21 -r {two}:21 -{method}",
)

CLIENTS_HANG = "(clients wait in vain)"
REAL = "--real-server-for {vip_}"
A_CLIENT_COMES = "(a client comes)"
MARKED = (
    "director",
    "iptables -t mangle -A PREROUTING -d 172.16.100.1 -p tcp --dport 80 -j MARK --set-mark 8",
)
SYNC = (
    (
        "director",
        "ip link add sync0 type veth peer name sync1; ip link set sync0 up; ip link set sync1 up",
    ),
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
    (
        "switch",
        "ip link add front type veth peer name front netns director; ip link set front master lan up",
    ),
    (
        "director",
        "ip addr del {vip}/32 dev eth0; ip addr add {vip}/32 dev front; sysctl -wq net.ipv4.conf.all.arp_ignore=1",
    ),
)
TUN6 = tunnelled("IPv6 in IPv6", DIRECT6)
SOURCE_RULE = (
    ("client", "ip addr add 10.99.0.10/32 dev eth0"),
    (
        "director",
        "ip link add wan type dummy; ip link set wan up; ip route add 10.99.0.0/24 dev wan",
    ),
    ("director", "ip route add 10.99.0.0/24 dev eth0 table 100; ip rule add from {vip} lookup 100"),
)
SNAT = (
    "director",
    "iptables -t nat -A POSTROUTING -s 192.168.10.0/24 -d 192.168.10.0/24 -j MASQUERADE",
)
FORGET = (("one", "ip route flush cache"), ("two", "ip route flush cache"))
NAT_REAL = REAL + " -m --director 192.168.10.7"

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
    Fault(
        "server-syn-recv", DIRECT, RULES_DIRECT, (("one", "ip addr del {vip}/32 dev lo"), ("client", CLIENTS_HANG)),
        wrong=HALF, right={"two"},
    ),
    Fault(
        "server-full", DIRECT, (RULES_DIRECT[0], RULES_DIRECT[1] + " -x 4 -y 2"), (("client", A_CLIENT_COMES),) * 4,
        right={"one"},
    ),
    Fault(
        "sh-starved", DIRECT,
        ("-A -t {vip}:80 -s sh -b sh-port", RULES_DIRECT[1] + " -w 256", RULES_DIRECT[2] + " -w 256"),
        seen=partial(answers, times=16), wrong={"two"}, right=BOTH,
    ),
    Fault(
        "hash-no-fallback", DIRECT, ("-A -t {vip}:80 -s sh -b sh-port", RULES_DIRECT[1] + " -w 0", RULES_DIRECT[2]),
        seen=partial(answers, times=6), wrong=HALF, right={"two"},
    ),
    Fault("dh-quiesced", DIRECT, ("-A -t {vip}:80 -s dh", RULES_DIRECT[1], RULES_DIRECT[2] + " -w 0"), right={"one"}),
    Fault("real-vip-missing", DIRECT, RULES_DIRECT, (("one", "ip addr del {vip}/32 dev lo"),), "one", REAL, wrong=HALF),
    Fault(
        "real-vip-missing", DIRECT, RULES_DIRECT,
        (
            ("one", "ip addr del {vip}/32 dev lo"),
            ("one", "sysctl -wq net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.all.arp_announce=0"),
        ),
        "one", REAL, wrong=HALF, name="not silent",
    ),
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
    Fault(
        "real-tunnel-missing", TUN, RULES_TUNNEL,
        (("one", "ip link del tun; sysctl -wq net.ipv4.conf.all.rp_filter=1"),), "one", REAL + " -i", wrong=HALF, name="strict",
    ),
    Fault("real-tunnel-missing", TUN6, RULES_TUNNEL, (("one", "ip link del tun"),), "one", REAL + " -i", wrong=HALF),
    Fault("real-tunnel-down", TUN, RULES_TUNNEL, (("one", "ip link set dev tun down"),), "one", REAL + " -i", wrong=HALF),
    Fault(
        "real-tunnel-down", TUN, RULES_TUNNEL,
        (("one", "ip link set dev tun down; sysctl -wq net.ipv4.conf.tun.rp_filter=1"),), "one", REAL + " -i",
        wrong=HALF, name="strict",
    ),
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


class Health(NamedTuple):
    """Describe a cluster without any fault, seen from the director and from a real server."""

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
