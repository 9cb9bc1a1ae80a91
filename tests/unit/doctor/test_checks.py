"""Test the doctor's checks over facts as plain data: what each finds, what it leaves alone, and six
clusters that are healthy.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pyipvsadm.backends.memory import MemoryBackend as Memory
from pyipvsadm.doctor import director, real_server, services, unchecked
from pyipvsadm.doctor.codes import CODES
from pyipvsadm.doctor.facts import (
    OUTSIDE,
    Address,
    DirectorTable,
    Facts,
    HeldConnections,
    Link,
    ProbeResult,
    Route,
    Rule,
)
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    GRE,
    GUE,
    MASQ,
    NEW_DEST,
    ROUTE,
    TCP,
    TUNNEL,
    Change,
    Server,
    Service,
)
from tests.unit.fake_environment import apply_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyipvsadm.errors import Finding

LO = Link("lo", mtu=65536, loopback=True, multicast=False)
ETH0 = Link("eth0")
DUMMY = Link("d0", kind="dummy", noarp=True)

CONF = {
    "forwarding": "0",
    "rp_filter": "0",
    "send_redirects": "0",
    "arp_ignore": "0",
    "arp_announce": "0",
}
SYSCTLS = {
    **{
        f"net/ipv4/conf/{link}/{name}": value
        for link in ("all", "lo", "eth0", "d0", "tun")
        for name, value in CONF.items()
    },
    "net/ipv4/ip_forward": "0",
    "net/ipv6/conf/all/forwarding": "0",
    "net/ipv4/vs/conntrack": "0",
    "net/ipv4/vs/snat_reroute": "1",
    "net/ipv4/vs/expire_quiescent_template": "0",
}
FORWARDING = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/eth0/forwarding": "1",
    "net/ipv6/conf/all/forwarding": "1",
}

LOCAL = Route("local", "lo")
ON_LINK = Route("unicast", "eth0")


def host(
    *addresses: Address,
    links: tuple[Link, ...] = (),
    routes: Mapping[str, Route] = {},
    sysctls: Mapping[str, str] = {},
) -> Facts:
    return Facts(
        links={link.name: link for link in (LO, ETH0, *links)},
        addresses=[Address("127.0.0.1", 8, "lo"), *addresses],
        routes={**{each.text: LOCAL for each in addresses}, **routes},
        sysctls={**SYSCTLS, **sysctls},
        applications="prot port    usecnt name",
        schedulers={"rr", "wlc"},
        filters={},
        conntrack=(10, 1000),
    )


class Cluster(NamedTuple):
    rules: tuple[str, ...]
    facts: Facts


def rules(service: str, *servers: str) -> tuple[str, ...]:
    return (
        f"-A {service}",
        *(f"-a {' '.join(service.split()[:2])} -r {server}" for server in servers),
    )


DIRECT = Cluster(
    rules("-t 172.16.100.1:80 -s rr", "172.16.100.7:80 -g", "172.16.100.8:80 -g"),
    host(
        Address("172.16.100.2", 24, "eth0"),
        Address("172.16.100.1", 32, "eth0"),
        routes={"172.16.100.7": ON_LINK, "172.16.100.8": ON_LINK},
    ),
)
HEALTHY = {
    "NAT": Cluster(
        rules("-t 172.16.100.1:80 -s rr", "192.168.10.8:8080 -m", "192.168.10.9:8080 -m"),
        host(
            Address("172.16.100.1", 24, "eth0"),
            Address("192.168.10.7", 24, "eth0"),
            routes={"192.168.10.8": ON_LINK, "192.168.10.9": ON_LINK},
            sysctls=FORWARDING,
        ),
    ),
    "DR": DIRECT,
    "TUN": Cluster(
        rules(
            "-t 172.16.100.1:80 -s wlc",
            "10.1.0.7:80 -i",
            "10.2.0.7:80 -i --tun-type gue --tun-port 6080",
        ),
        host(
            Address("172.16.100.2", 24, "eth0"),
            Address("172.16.100.1", 32, "eth0"),
            routes={
                host: Route("unicast", "eth0", gateway="172.16.100.254", source="172.16.100.2")
                for host in ("10.1.0.7", "10.2.0.7")
            },
        ),
    ),
    "mark": Cluster(
        rules("-f 8 -s rr -p 600", "172.16.100.7 -g", "172.16.100.8 -g"),
        replace(
            host(Address("172.16.100.2", 24, "eth0"), routes=DIRECT.facts.routes),
            rules=[Rule(AF_INET, 100, mark=8, brings=True)],
            filters={"iptables mangle": 1},
        ),
    ),
    "v6": Cluster(
        rules(
            "-t [2001:db8:100::1]:80 -s rr",
            "[2001:db8:100::7]:80 -g",
            "[2001:db8:101::8]:80 -i",
            "[2001:db8:102::8]:80 -m",
        ),
        host(
            Address("2001:db8:100::2", 64, "eth0"),
            Address("2001:db8:100::1", 128, "eth0", deprecated=True),
            routes={
                "2001:db8:100::7": ON_LINK,
                "2001:db8:101::8": Route("unicast", "eth0", "fe80::1", "2001:db8:100::2"),
                "2001:db8:102::8": Route("unicast", "eth0", "fe80::1"),
            },
            sysctls=FORWARDING,
        ),
    ),
    "backup": Cluster(
        (*DIRECT.rules, "--start-daemon backup --mcast-interface eth0"),
        host(
            Address("172.16.100.2", 24, "eth0"),
            routes={**DIRECT.facts.routes, "172.16.100.1": ON_LINK},
        ),
    ),
}


def table_of(lines: tuple[str, ...], *more: Change) -> DirectorTable:
    memory = Memory(interfaces={"eth0", "sync0"}.__contains__)
    apply_all(memory, lines)
    assert memory.apply(more) == []
    services = [(service, memory.read_servers(service)) for service in memory.read_services()]
    return DirectorTable(
        services, {each.state: (each.interface, each.syncid) for each in memory.read_daemons()}
    )


def changed(facts: Facts, changes: dict[str, Any]) -> Facts:
    """Return facts with these changes. Dictionaries are updated (None deletes an entry), anything
    else is replaced.
    """
    facts = copy.deepcopy(facts)
    for name, value in changes.items():
        there = getattr(facts, name)
        if isinstance(value, dict) and there is not None:
            merged = {**there, **value}
            setattr(facts, name, {key: each for key, each in merged.items() if each is not None})
        else:
            setattr(facts, name, value)
    return facts


@pytest.mark.parametrize("kind", HEALTHY)
def test_a_healthy_cluster_gives_no_finding(kind: str) -> None:
    cluster = HEALTHY[kind]
    assert director.examine_director(table_of(cluster.rules), cluster.facts) == []


@pytest.mark.parametrize("kind", HEALTHY)
def test_of_what_was_not_read_nothing_is_claimed(kind: str) -> None:
    """If the host was not read, findings can only come from the table itself."""
    assert director.examine_director(table_of(HEALTHY[kind].rules), Facts()) == []
    # a server without a route may be this host
    assert list(unchecked.list_not_checked(table_of(HEALTHY[kind].rules), Facts())) == []


class Case(NamedTuple):
    """Describe a planted fault: what is done to a healthy cluster, and the finding (None: no
    finding, although it looks like a fault).
    """

    kind: str
    code: str | None
    changes: dict[str, Any] = {}  # noqa: RUF012  # never changed
    rules: tuple[str, ...] | None = None
    fixes: tuple[str, ...] | None = None
    subject: str | None = None
    says: str = ""


NAT, TUN, MARK, V6, BACKUP = (
    HEALTHY[kind].rules for kind in ("NAT", "TUN", "mark", "v6", "backup")
)
DR = DIRECT.rules
REUSE = {"net/ipv4/vs/conn_reuse_mode": "1", "net/ipv4/vs/conntrack": "1"}
WAN = Link("wan")
VLAN = Link("eth0.7")
PERSISTENT = rules(
    "-t 172.16.100.1:80 -s rr -p 60", "172.16.100.7:80 -g -w 0", "172.16.100.8:80 -g"
)
MASTER = (*DR, "--start-daemon master --mcast-interface eth0 --syncid 7")
BESIDE = {
    "addresses": [Address("172.16.100.1", 24, "eth0"), Address("172.16.100.2", 24, "eth0")],
    "routes": {"172.16.100.7": ON_LINK, "172.16.100.8": ON_LINK},
    "sysctls": FORWARDING,
}
BESIDE_RULES = rules("-t 172.16.100.1:80 -s rr", "172.16.100.7:80 -m", "172.16.100.8:80 -m")
BESIDE6_RULES = rules("-t [2001:db8:100::1]:80 -s rr", "[2001:db8:100::7]:80 -m")
BESIDE6 = [Address("2001:db8:100::2", 64, "eth0"), Address("2001:db8:100::1", 128, "eth0")]


def down(link: Link) -> dict[str, Link]:
    return {link.name: replace(link, up=False, carrier=False)}


def probed(neighbour: str, tcp: str) -> dict[str, Any]:
    return {
        "answers": {
            ("172.16.100.7", 80): ProbeResult(neighbour, tcp),
            ("172.16.100.8", 80): ProbeResult("reachable", "open"),
        }
    }


CASES = [
    Case("DR", "scheduler-missing", rules=("-A -t 172.16.100.1:80 -s none", *DR[1:]),
         fixes=("ipvsadm -E -t 172.16.100.1:80 -s wlc",), subject="TCP 172.16.100.1:80"),
    Case("DR", "scheduler-missing", {"schedulers": {"wlc"}}, says="no module ip_vs_rr"),
    Case("DR", None, {"schedulers": None}),
    Case("DR", "sh-starved", {"schedulers": None}, ("-A -t 172.16.100.1:80 -s sh", DR[1], DR[2] + " -w 256"),
         fixes=("ipvsadm -e -t 172.16.100.1:80 -r 172.16.100.8:80 -g -w 128",)),
    Case("DR", "hash-no-fallback", {"schedulers": None}, ("-A -t 172.16.100.1:80 -s sh -b sh-port", DR[1], DR[2] + " -w 0"),
         says="172.16.100.8:80 at weight 0, and the flag sh-fallback is not set.", subject="TCP 172.16.100.1:80",
         fixes=("ipvsadm -E -t 172.16.100.1:80 -s sh -b sh-fallback,sh-port",)),
    Case("DR", "hash-no-fallback", {"schedulers": None}, ("-A -t 172.16.100.1:80 -s mh -p 60", DR[1] + " -w 0", DR[2]),
         fixes=("ipvsadm -E -t 172.16.100.1:80 -s mh -p 60 -b mh-fallback",)),
    Case("DR", None, {"schedulers": None}, ("-A -t 172.16.100.1:80 -s mh -b mh-fallback", DR[1] + " -w 0", DR[2])),
    Case("DR", None, {"schedulers": None}, ("-A -t 172.16.100.1:80 -s mh", *DR[1:])),
    # dh gives this address to the server that was added last: bucket 206 of 256, of two servers.
    Case("DR", "dh-quiesced", {"schedulers": None}, ("-A -t 172.16.100.1:80 -s dh", DR[1], DR[2] + " -w 0"),
         says="172.16.100.8:80 at weight 0.", fixes=("ipvsadm -E -t 172.16.100.1:80 -s lblc",)),
    Case("DR", None, {"schedulers": None}, ("-A -t 172.16.100.1:80 -s dh", DR[1] + " -w 0", DR[2])),
    Case("mark", "dh-quiesced", {"schedulers": None},
         ("-A -f 8 -s dh", "-a -f 8 -r 172.16.100.7 -g -w 0", "-a -f 8 -r 172.16.100.8 -g"), subject="FWM 8",
         fixes=("ipvsadm -E -f 8 -s lblc",)),
    Case("DR", "all-weights-zero", {"schedulers": None},
         ("-A -t 172.16.100.1:80 -s dh", DR[1] + " -w 0", DR[2] + " -w 0"), says="Its 2 servers have weight 0."),
    Case("DR", "boot-file-differs", {"boot_file": ("/etc/x y", DirectorTable())}, rules=DR,
         fixes=("ipvsadm-save -n -f '/etc/x y'",), subject="/etc/x y"),
    Case("DR", "no-servers", rules=DR[:1], fixes=("ipvsadm -a -t 172.16.100.1:80 -r SERVER",)),
    Case("DR", "all-weights-zero", rules=(DR[0], DR[1] + " -w 0"), says="Its 1 server has weight 0.",
         fixes=("ipvsadm -e -t 172.16.100.1:80 -r 172.16.100.7:80 -g -w 1",)),
    Case("DR", "all-weights-zero", rules=(DR[0], DR[1] + " -w 0", DR[2] + " -w 0"), says="Its 2 servers have weight 0."),
    Case("DR", None, rules=(DR[0], DR[1] + " -w 0", DR[2])),
    Case("DR", "vip-missing", {"addresses": [], "routes": {"172.16.100.1": ON_LINK}}, subject="172.16.100.1",
         fixes=("ip address add 172.16.100.1/32 dev eth0",)),
    Case("DR", "vip-missing", {"addresses": [], "routes": {"172.16.100.1": Route("unreachable")}},
         fixes=("ip address add 172.16.100.1/32 dev eth0",)),
    Case("DR", "vip-missing", {"addresses": [], "routes": {"172.16.100.1": Route("unreachable")}, "links": down(ETH0)},
         fixes=("ip address add 172.16.100.1/32 dev DEVICE",)),
    Case("DR", None, {"addresses": []}),  # a route of type local has it
    # both daemons run on both directors: this one stands by
    Case("backup", None, rules=(*BACKUP, "--start-daemon master --mcast-interface eth0")),
    Case("backup", "vip-missing", rules=(*DIRECT.rules, "--start-daemon master --mcast-interface eth0")),
    Case("backup", None, {"programs": {"keepalived", "bash"}}, rules=DIRECT.rules),
    Case("backup", "vip-missing", {"programs": {"bash"}}, rules=DIRECT.rules),
    Case("DR", "vip-interface-down", {"links": down(ETH0)}, fixes=("ip link set dev eth0 up",)),
    Case("DR", None, {"addresses": [Address("172.16.100.1", 32, "d0")], "links": down(DUMMY)}),
    Case("DR", "vip-interface-down", {"links": {"eth0": replace(ETH0, carrier=False)}}, fixes=(), says="up, but has no carrier"),
    Case("mark", "mark-not-local", {"addresses": [Address("127.0.0.1", 8, "lo")], "rules": []}, subject="FWM 8",
         fixes=("ip rule add fwmark 8 lookup 100", "ip route add local default dev lo table 100")),
    Case("mark", "mark-not-local", {"rules": [Rule(AF_INET, 9, mark=9)]}, ("-A -f 8 -6", "-a -f 8 -6 -r [2001:db8::7]:0"),
         subject="FWM 8 IPv6",
         fixes=("ip -6 rule add fwmark 8 lookup 100", "ip -6 route add local default dev lo table 100")),
    Case("mark", "mark-table-empty", {"rules": [Rule(AF_INET, 100, mark=8, empty=True)]},
         fixes=("ip route add local default dev lo table 100",), says="table 100, which is empty"),
    Case("mark", "mark-table-empty", {"rules": [Rule(AF_INET, 100, mark=0x108, mask=0xFF, empty=True)]}),
    Case("mark", None, {"rules": [Rule(AF_INET, 100, mark=9, empty=True), Rule(AF_INET6, 100, mark=8, empty=True)]}),
    Case("mark", None, {"rules": []}),
    Case("mark", "mark-unset", {"filters": {"iptables mangle": 0}},
         fixes=("iptables -t mangle -A PREROUTING -d VIP -p tcp --dport PORT -j MARK --set-mark 8",)),
    Case("mark", None, {"filters": None}),
    Case("NAT", "nat-forwarding-off", {"sysctls": SYSCTLS}, subject="eth0", fixes=("sysctl -w net.ipv4.ip_forward=1",),
         says="2 NAT servers answer there: 192.168.10.8, 192.168.10.9."),
    Case("NAT", "nat-forwarding-off", {"sysctls": {"net/ipv4/conf/eth0/forwarding": "0"}},
         fixes=("sysctl -w net.ipv4.conf.eth0.forwarding=1",)),
    Case("NAT", "nat-forwarding-off",
         {"sysctls": {"net/ipv4/conf/eth0.7/forwarding": "0"}, "links": {"eth0.7": VLAN},
          "routes": {"192.168.10.8": Route("unicast", "eth0.7")}},
         fixes=("sysctl -w net/ipv4/conf/eth0.7/forwarding=1",), says="1 NAT server answers there"),
    Case("v6", "nat-forwarding-off", {"sysctls": SYSCTLS}, fixes=("sysctl -w net.ipv6.conf.all.forwarding=1",)),
    Case("v6", None, {"sysctls": {**SYSCTLS, "net/ipv6/conf/eth0/force_forwarding": "1"}}),
    Case("NAT", None, {"sysctls": {"net/ipv4/conf/eth0/forwarding": None, "net/ipv4/ip_forward": "0"}}),
    Case("DR", "nat-clients-beside-servers", BESIDE, BESIDE_RULES, subject="172.16.100.1",
         says="172.16.100.1 and 172.16.100.7, 172.16.100.8 are in 172.16.100.0/24 on eth0; net.ipv4.vs.conntrack is 0.",
         fixes=("sysctl -w net.ipv4.vs.conntrack=1",
                "iptables -t nat -A POSTROUTING -s 172.16.100.0/24 -d 172.16.100.0/24 -j MASQUERADE")),
    Case("DR", "nat-clients-beside-servers", {**BESIDE, "filters": {"iptables nat": 1}}, BESIDE_RULES,
         fixes=("sysctl -w net.ipv4.vs.conntrack=1",)),
    Case("DR", "nat-clients-beside-servers", {**BESIDE, "sysctls": {**FORWARDING, "net/ipv4/vs/conntrack": "1"}}, BESIDE_RULES,
         fixes=("iptables -t nat -A POSTROUTING -s 172.16.100.0/24 -d 172.16.100.0/24 -j MASQUERADE",)),
    Case("DR", "nat-clients-beside-servers", {**BESIDE, "sysctls": {**FORWARDING, "net/ipv4/vs/conntrack": None}}, BESIDE_RULES,
         says="on eth0."),
    Case("DR", None, {**BESIDE, "sysctls": {**FORWARDING, "net/ipv4/vs/conntrack": "1"}, "filters": {"nftables nat": 3}},
         BESIDE_RULES),
    Case("v6", "nat-clients-beside-servers", {"addresses": BESIDE6}, BESIDE6_RULES,
         fixes=("sysctl -w net.ipv4.vs.conntrack=1",
                "ip6tables -t nat -A POSTROUTING -s 2001:db8:100::/64 -d 2001:db8:100::/64 -j MASQUERADE")),
    Case("NAT", "send-redirects", {"sysctls": {"net/ipv4/conf/all/send_redirects": "1"}}, subject="eth0",
         fixes=("sysctl -w net.ipv4.conf.all.send_redirects=0",)),
    Case("NAT", "send-redirects",
         {"sysctls": {"net/ipv4/conf/all/send_redirects": "1", "net/ipv4/conf/eth0/send_redirects": "1"}},
         fixes=("sysctl -w net.ipv4.conf.all.send_redirects=0", "sysctl -w net.ipv4.conf.eth0.send_redirects=0")),
    Case("NAT", None,
         {"sysctls": {"net/ipv4/conf/all/send_redirects": "1", "net/ipv4/vs/conntrack": "1"}, "filters": {"iptables nat": 1}}),
    Case("NAT", None, {"sysctls": {"net/ipv4/conf/all/send_redirects": "1"},
                       "addresses": [Address("172.16.100.1", 24, "d0")], "links": {"d0": DUMMY}}),
    Case("NAT", "snat-reroute-off",
         {"sysctls": {"net/ipv4/vs/snat_reroute": "0"},
          "rules": [Rule(AF_INET, 100, source="172.16.0.0/16"), Rule(AF_INET, 7, mark=1), Rule(AF_INET6, 7, source="::/0")]},
         fixes=("sysctl -w net.ipv4.vs.snat_reroute=1",), says="from 172.16.0.0/16 to table 100"),
    Case("NAT", None, {"sysctls": {"net/ipv4/vs/snat_reroute": "0"}, "rules": [Rule(AF_INET, 100, source="10.0.0.0/8")]}),
    Case("NAT", None, {"rules": [Rule(AF_INET, 100, source="172.16.0.0/16")]}),
    Case("NAT", "server-no-route", {"routes": {"192.168.10.9": Route("blackhole")}}, subject="192.168.10.9",
         fixes=("ip route add 192.168.10.9/32 dev DEVICE",)),
    Case("NAT", "server-no-route", {"routes": {"192.168.10.8": Route("unreachable")}},
         (*NAT[:2], "-A -t 172.16.100.1:443 -s rr", "-a -t 172.16.100.1:443 -r 192.168.10.8:443 -m")),
    Case("NAT", None, {"routes": {"192.168.10.9": None}}),
    Case("DR", "dr-behind-gateway", {"routes": {"172.16.100.7": Route("unicast", "eth0", "172.16.100.254")}},
         subject="TCP 172.16.100.1:80 -> 172.16.100.7:80", fixes=("ip route replace 172.16.100.7/32 dev eth0",)),
    Case("DR", "dr-behind-gateway", {"routes": {"10.1.0.7": Route("unicast", "eth0", "172.16.100.254")}},
         rules("-t 172.16.100.1:80", "10.1.0.7:80 -g"),
         fixes=("ipvsadm -e -t 172.16.100.1:80 -r 10.1.0.7:80 -i -w 1 --tun-type ipip",)),
    Case("TUN", "tunnel-mtu", {"links": {"eth0": replace(ETH0, mtu=87)}}, TUN[:2], subject="TCP 172.16.100.1:80 -> 10.1.0.7:80",
         fixes=("ip link set dev eth0 mtu 88",), says="takes 87 bytes; the tunnel leaves 67, 68 are needed"),
    Case("TUN", None, {"links": {"eth0": replace(ETH0, mtu=88)}}, TUN[:2]),
    Case("TUN", None, {"links": {"eth0": None}}),
    Case("v6", "tunnel-mtu", {"routes": {"2001:db8:101::8": Route("unicast", "eth0", "fe80::1", "2001:db8:100::2", mtu=1319)}},
         fixes=("ip route replace 2001:db8:101::8/128 via fe80::1 dev eth0 mtu 1320",)),
    Case("v6", None, {"routes": {"2001:db8:101::8": Route("unicast", "eth0", "fe80::1", "2001:db8:100::2", mtu=1320)}}),
    Case("TUN", "tunnel-mtu", {"links": {"eth0": replace(ETH0, mtu=99)}}, (TUN[0], TUN[2] + " --tun-remcsum"),
         says="leaves 59"),
    Case("TUN", "tunnel-mtu", {"links": {"eth0": replace(ETH0, mtu=95)}},
         (TUN[0], "-a -t 172.16.100.1:80 -r 10.1.0.7:80 -i --tun-type gre --tun-csum"), says="leaves 67"),
    Case("TUN", None, {"links": {"eth0": replace(ETH0, mtu=92)}},
         (TUN[0], "-a -t 172.16.100.1:80 -r 10.1.0.7:80 -i --tun-type gre")),
    Case("TUN", "tunnel-from-vip", {"routes": {"10.1.0.7": Route("unicast", "eth0", "172.16.100.254", "172.16.100.1")}},
         fixes=("ip route replace 10.1.0.7/32 via 172.16.100.254 dev eth0 src 172.16.100.2",)),
    Case("TUN", "tunnel-from-vip",
         {"routes": {"10.1.0.7": Route("unicast", "eth0", "", "172.16.100.1")},
          "addresses": [Address("172.16.100.1", 24, "eth0")]},
         fixes=("ip route replace 10.1.0.7/32 dev eth0 src ADDRESS",)),
    Case("v6", "tunnel-from-vip", {"routes": {"2001:db8:101::8": Route("unicast", "eth0", "fe80::1", "2001:db8:100::1")}},
         fixes=("ip -6 address del 2001:db8:100::1/128 dev eth0",
                "ip -6 address add 2001:db8:100::1/128 dev eth0 nodad preferred_lft 0")),
    Case("DR", "rp-filter", {"sysctls": {"net/ipv4/conf/all/rp_filter": "1"}, "back": {"172.16.100.1": Route("unicast", "wan")}},
         subject="eth0", fixes=("sysctl -w net.ipv4.conf.eth0.rp_filter=2",)),
    Case("DR", None, {"sysctls": {"net/ipv4/conf/all/rp_filter": "1", "net/ipv4/conf/eth0/rp_filter": "2"},
                      "back": {"172.16.100.1": Route("unicast", "wan")}}),
    Case("DR", None, {"sysctls": {"net/ipv4/conf/all/rp_filter": "1"}, "back": {"172.16.100.1": ON_LINK}}),
    Case("DR", None, {"sysctls": {"net/ipv4/conf/all/rp_filter": None}, "back": {"172.16.100.1": Route("unicast", "wan")}}),
    Case("DR", "conntrack-full", {"conntrack": (1000, 1000)}, fixes=("sysctl -w net.netfilter.nf_conntrack_max=2000",),
         says="1000 connections are tracked, of 1000 at most"),
    Case("DR", None, {"conntrack": (0, 0)}),
    Case("DR", "connections-near-limit", {"held": HeldConnections(900, 4096, 1000)}, subject="connections",
         fixes=("sysctl -w net.ipv4.vs.conn_max=2000",), says="900 connections and templates are kept, of 1000 at most"),
    Case("DR", None, {"held": HeldConnections(899, 4096, 1000)}),
    Case("DR", None, {"held": HeldConnections(899, 4096, 0)}),
    Case("DR", "connection-hash-small", {"held": HeldConnections(16384, 4096)}, subject="connections",
         fixes=("echo options ip_vs conn_tab_bits=14 > /etc/modprobe.d/ip_vs.conf",), says="are in 4096 buckets: 4.0 in each"),
    Case("DR", None, {"held": HeldConnections(16383, 4096)}),
    Case("DR", None, {"held": HeldConnections(100, 0)}),
    Case("DR", "connection-chains-long",
         {"held": HeldConnections(9, 4096, None, {0: 9, 1: 18, 6: 1, 7: 1}), "sysctls": {"net/ipv4/vs/conn_lfactor": "-4"}},
         fixes=("sysctl -w net.ipv4.vs.conn_lfactor=-5",), says="1 of 20 chains hold 7 connections or more"),
    Case("DR", "connection-chains-long",
         {"held": HeldConnections(9, 4096, None, {7: 1}), "sysctls": {"net/ipv4/vs/conn_lfactor": "-8"}}, fixes=()),
    Case("DR", "connection-chains-long", {"held": HeldConnections(9, 4096, None, {7: 1})}, fixes=()),
    Case("DR", None, {"held": HeldConnections(9, 4096, None, {0: 9, 1: 20, 7: 1})}),
    Case("DR", None, {"held": HeldConnections(0, 4096, None, {0: 4096})}),
    Case("DR", "estimation-off", {"sysctls": {"net/ipv4/vs/run_estimation": "0"}}, subject="counters",
         fixes=("sysctl -w net.ipv4.vs.run_estimation=1",)),
    Case("DR", None, {"sysctls": {"net/ipv4/vs/run_estimation": "1"}}),
    Case("DR", "conn-reuse-delay", {"sysctls": REUSE, "release": (5, 8)}, fixes=("sysctl -w net.ipv4.vs.conn_reuse_mode=0",),
         says="net.ipv4.vs.conn_reuse_mode is 1, net.ipv4.vs.conntrack is 1, and this is Linux 5.8."),
    Case("DR", None, {"sysctls": REUSE, "release": (5, 9)}),
    Case("DR", None, {"sysctls": REUSE}),
    Case("DR", None, {"sysctls": {**REUSE, "net/ipv4/vs/conn_reuse_mode": "0"}, "release": (4, 19)}),
    Case("DR", None, {"sysctls": {**REUSE, "net/ipv4/vs/conn_reuse_mode": None}, "release": (4, 19)}),
    Case("DR", None, {"sysctls": {**REUSE, "net/ipv4/vs/conntrack": "0"}, "release": (4, 19)}),
    Case("DR", None, rules=PERSISTENT),  # no client is held back
    Case("DR", "netmask-without-persistence", rules=(DR[0] + " -M 255.255.255.0", *DR[1:]),
         fixes=("ipvsadm -E -t 172.16.100.1:80 -s rr -p 360 -M 255.255.255.0",)),
    Case("v6", "netmask-without-persistence", rules=(V6[0] + " -M 64", *V6[1:]),
         fixes=("ipvsadm -E -t [2001:db8:100::1]:80 -s rr -p 360 -M 64",)),
    Case("DR", None, rules=(DR[0] + " -p -M 255.255.255.0", *DR[1:])),
    Case("NAT", "ftp-helper-missing", rules=rules("-t 172.16.100.1:21", "192.168.10.8:21 -m"), fixes=("modprobe ip_vs_ftp",)),
    Case("NAT", None, {"applications": "prot port    usecnt name\nTCP  21      1      ftp"},
         rules("-t 172.16.100.1:21", "192.168.10.8:21 -m")),
    Case("NAT", None, {"applications": None}, rules("-t 172.16.100.1:21", "192.168.10.8:21 -m")),
    Case("DR", "ftp-not-persistent", rules=rules("-t 172.16.100.1:21", "172.16.100.7:21 -g"),
         fixes=("ipvsadm -E -t 172.16.100.1:21 -s wlc -p 360",)),
    Case("DR", None, rules=rules("-t 172.16.100.1:21 -p", "172.16.100.7:21 -g")),
    Case("DR", "sync-interface-down", {"links": down(Link("sync0"))},
         (*DR, "--start-daemon master --mcast-interface sync0"), subject="sync master", fixes=("ip link set dev sync0 up",)),
    Case("DR", "sync-interface-down", {"links": {"sync0": Link("sync0", carrier=False)}},
         (*DR, "--start-daemon master --mcast-interface sync0"), fixes=(), says="has no carrier"),
    Case("DR", "sync-interface-down", rules=(*DR, "--start-daemon master --mcast-interface sync0"), fixes=(),
         says="is not there"),
    Case("DR", "sync-no-multicast", {"links": {"eth0": replace(ETH0, multicast=False)}}, MASTER,
         fixes=("ip link set dev eth0 multicast on",)),
    Case("DR", None, rules=MASTER),
    Case("backup", "sync-backup-holds-vip", {"addresses": DIRECT.facts.addresses}, subject="sync backup",
         fixes=("ipvsadm --start-daemon master --mcast-interface eth0 --syncid 0",), says="172.16.100.1 is on an interface here"),
    Case("backup", None, {"addresses": [Address("172.16.100.1", 32, "lo")]}),
    Case("DR", "server-no-neighbour", probed("incomplete", "silent"),
         fixes=("ipvsadm -e -t 172.16.100.1:80 -r 172.16.100.7:80 -g -w 0",)),
    Case("DR", "server-no-neighbour", probed("failed", "")),
    Case("DR", "server-silent", probed("reachable", "no answer"), says="given a second: no answer."),
    Case("DR", "server-refuses", probed("reachable", "refused"), says="172.16.100.7:80 refused a connection."),
    Case("DR", None, probed("", "open")),
    Case("DR", None, probed("failed", "silent"), (DR[0], DR[1] + " -w 0", DR[2])),
]  # fmt: skip


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{number} {case.code}" for number, case in enumerate(CASES)]
)
def test_a_fault_on_a_director_is_found(case: Case) -> None:
    cluster = HEALTHY[case.kind]
    found = director.examine_director(
        table_of(case.rules or cluster.rules), changed(cluster.facts, case.changes)
    )
    check(case, found)


def check(case: Case, found: list[Finding]) -> None:
    if case.code is None:
        assert found == []
        return
    (finding,) = found
    assert finding.code == case.code
    assert case.says in finding.message
    if case.fixes is not None:
        assert finding.fixes == case.fixes
    if case.subject is not None:
        assert finding.text == case.subject


def test_another_port_without_nat() -> None:
    """No tool of ours makes such a server, but other programs do."""
    service = Service(AF_INET, TCP, bytes([172, 16, 100, 1]), 80)
    odd = Server(AF_INET, bytes([172, 16, 100, 7]), 8080, ROUTE, 3)
    table = table_of(DR[:1], Change(NEW_DEST, service, odd))
    (finding,) = director.examine_director(table, DIRECT.facts)
    assert finding.code == "port-not-mapped"
    assert finding.fixes == (
        "ipvsadm -a -t 172.16.100.1:80 -r 172.16.100.7:80 -g -w 3",
        "ipvsadm -d -t 172.16.100.1:80 -r 172.16.100.7:8080",
    )


# codes about connections, of which the embedded table has none
COUNTED = {"quiescent-templates", "server-full", "server-syn-recv"}


def counted(lines: tuple[str, ...], **counts: int) -> DirectorTable:
    """Return the table of these rules, with these counts at its first service's first server."""
    table = table_of(lines)
    (_, servers), *_ = table.services
    for name, value in counts.items():
        setattr(min(servers, key=Server.key), name, value)
    return table


FULL = (DR[0], DR[1] + " -x 3 -y 2", DR[2])
IDLE = rules("-t 172.16.100.1:80 -s rr -p 60", "172.16.100.7:80 -g -w 0")
EXPIRE = "sysctl -w net.ipv4.vs.expire_quiescent_template=1"


@pytest.mark.parametrize(
    ("lines", "counts", "sysctls", "code", "says", "fixes"),
    [
        (PERSISTENT, {"persistent": 2}, {}, "quiescent-templates", "172.16.100.7:80 at weight 0, 2 templates there", (EXPIRE,)),
        (PERSISTENT, {"persistent": 2}, {"net/ipv4/vs/expire_quiescent_template": "1"}, "", "", ()),
        (IDLE, {"persistent": 1}, {}, "quiescent-templates", "1 template there", (EXPIRE,)),
        (FULL, {"active": 1, "inactive": 2}, {}, "server-full", "3 connections there, of 3 at most (-x).",
         ("ipvsadm -e -t 172.16.100.1:80 -r 172.16.100.7:80 -g -w 1 -x 6 -y 4",)),
    (rules("-t 172.16.100.1:80 -s rr", "172.16.100.7:80 -g -x 3"), {"active": 5}, {}, "server-full", "5 connections there",
     ("ipvsadm -e -t 172.16.100.1:80 -r 172.16.100.7:80 -g -w 1 -x 10",)),
        (FULL, {"active": 2}, {}, "", "", ()),
    ],
)  # fmt: skip
def test_what_the_counts_of_servers_show(
    lines: tuple[str, ...],
    counts: dict[str, int],
    sysctls: dict[str, str],
    code: str,
    says: str,
    fixes: tuple[str, ...],
) -> None:
    found = director.examine_director(
        counted(lines, **counts), changed(DIRECT.facts, {"sysctls": sysctls})
    )
    found = [each for each in found if each.code != "all-weights-zero"]
    assert [each.code for each in found] == [code] * bool(code)
    for each in found:
        assert says in each.message
        assert each.fixes == fixes


VIRTUAL, ONE, TWO = ((AF_INET, bytes([172, 16, 100, last]), 80) for last in (1, 7, 8))
ELSEWHERE = (AF_INET, bytes([172, 16, 100, 1]), 443)


@pytest.mark.parametrize(
    ("lines", "handshakes", "says"),
    [
        (
            DR,
            {(VIRTUAL, ONE): (3, 3), (VIRTUAL, TWO): (0, 9)},
            ["3 of 3 connections to it stay in SYN_RECV."],
        ),
        (DR, {(VIRTUAL, ONE): (1, 1)}, ["1 of 1 connection to it stays in SYN_RECV."]),
        (DR, {(VIRTUAL, ONE): (2, 4)}, []),
        (DR, {(ELSEWHERE, ONE): (3, 3)}, []),
        ((DR[0], DR[1] + " -w 0", DR[2]), {(VIRTUAL, ONE): (3, 3)}, []),
        (
            MARK,
            {(ELSEWHERE, ONE): (3, 3), (VIRTUAL, ONE): (0, 2)},
            ["3 of 5 connections to it stay in SYN_RECV."],
        ),
    ],
)
def test_connections_that_stay_in_syn_recv(
    lines: tuple[str, ...], handshakes: Any, says: list[str]
) -> None:
    kind = "mark" if lines is MARK else "DR"
    found = director.examine_director(
        table_of(lines), changed(HEALTHY[kind].facts, {"handshakes": handshakes})
    )
    assert [(each.code, each.message) for each in found] == [
        ("server-syn-recv", what) for what in says
    ]


@pytest.mark.parametrize(
    ("lines", "bad", "held", "fixes"),
    [
        (DR, ["7"], 0, ["ipvsadm -e -t 172.16.100.1:80 -r 172.16.100.7:80 -g -w 0"]),
        (DR[:2], ["7"], 0, []),  # no server would take its clients
        (DR, ["7", "8"], 0, []),
        ((*DR[:2], DR[2] + " -w 0"), ["7"], 0, []),
        (
            (DR[0] + " -p 60", *DR[1:]),
            ["7"],
            1,
            [EXPIRE, "ipvsadm -e -t 172.16.100.1:80 -r 172.16.100.7:80 -g -w 0"],
        ),
    ],
)
def test_no_server_is_taken_out_that_no_other_can_stand_in_for(
    lines: tuple[str, ...], bad: list[str], held: int, fixes: list[str]
) -> None:
    answers = {(f"172.16.100.{each}", 80): ProbeResult("reachable", "refused") for each in bad}
    found = director.examine_director(
        counted(lines, persistent=held), changed(DIRECT.facts, {"answers": answers})
    )
    assert {each.code for each in found} == {"server-refuses"}
    assert [fix for each in found for fix in each.fixes] == fixes


SH = "-A -t 172.16.100.1:80 -s sh"
REDUCED = tuple(
    f"ipvsadm -e -t 172.16.100.1:80 -r 172.16.100.{last}:80 -g -w 128" for last in (8, 7)
)


# The kernel puts a new server first.
@pytest.mark.parametrize(
    ("lines", "says", "fixes"),
    [
        ((SH, DR[1] + " -w 256", DR[2] + " -w 256"), "sum to 512, and there are 256 buckets: none for 172.16.100.7:80.", REDUCED),
        ((SH, DR[1], DR[2] + " -w 300"), "sum to 301",
         ("ipvsadm -e -t 172.16.100.1:80 -r 172.16.100.8:80 -g -w 150",)),
        ((SH, DR[1] + " -w 300", DR[2] + " -w 255"), "", ()),  # one bucket is left
        ((SH, DR[1] + " -w 0", DR[2] + " -w 256"), "", ()),  # a server of weight 0 needs no bucket
        (("-A -t 172.16.100.1:80 -s wrr", DR[1] + " -w 256", DR[2] + " -w 256"), "", ()),
        ((SH, *(f"-a -t 172.16.100.1:80 -r 10.0.{n // 200}.{n % 200}:80 -g" for n in range(257))), "none for 10.0.0.0:80.", ()),
        ((SH, *(f"-a -t 172.16.100.1:80 -r 10.0.0.{n}:80 -g -w {65535 if n == 254 else 1}" for n in range(255))), "none for",
         ("ipvsadm -e -t 172.16.100.1:80 -r 10.0.0.254:80 -g -w 2",)),
    ],
)  # fmt: skip
def test_source_hashing_needs_a_bucket_for_each_server(
    lines: tuple[str, ...], says: str, fixes: tuple[str, ...]
) -> None:
    found = list(services.check_buckets(table_of(lines), DIRECT.facts))
    assert len(found) == bool(says)
    for each in found:
        assert each.code == "sh-starved"
        assert says in each.message
        assert each.fixes == fixes


# --- the printed commands do not cause the next finding


def test_an_address_comes_with_what_its_interface_lacks_for_it() -> None:
    """Beside servers of NAT the interface must not send redirects, and its rp_filter must let
    clients in.
    """
    changes: dict[str, Any] = {
        "addresses": [Address("192.168.10.7", 24, "eth0")],
        "routes": {"172.16.100.1": ON_LINK},
        "back": {"172.16.100.1": Route("unicast", "wan")},
        "sysctls": {"net/ipv4/conf/all/rp_filter": "1", "net/ipv4/conf/eth0/send_redirects": "1"},
    }
    (finding,) = director.examine_director(table_of(NAT), changed(HEALTHY["NAT"].facts, changes))
    assert finding.code == "vip-missing"
    assert finding.fixes == (
        "sysctl -w net.ipv4.conf.eth0.rp_filter=2",
        "sysctl -w net.ipv4.conf.eth0.send_redirects=0",
        "ip address add 172.16.100.1/32 dev eth0",
    )


def test_what_an_interface_lacks_already_is_said_once() -> None:
    lines = (*NAT, *(line.replace("172.16.100.1:", "172.16.100.3:") for line in NAT))
    changes = {
        "routes": {"172.16.100.3": ON_LINK},
        "sysctls": {"net/ipv4/conf/eth0/send_redirects": "1"},
    }
    found = director.examine_director(table_of(lines), changed(HEALTHY["NAT"].facts, changes))
    assert [(each.code, each.fixes) for each in found] == [
        ("vip-missing", ("ip address add 172.16.100.3/32 dev eth0",)),
        ("send-redirects", ("sysctl -w net.ipv4.conf.eth0.send_redirects=0",)),
    ]


def test_a_tunnel_in_the_place_of_direct_routing_starts_elsewhere() -> None:
    changes = {
        "routes": {"10.1.0.7": Route("unicast", "eth0", "172.16.100.254", "172.16.100.1", mtu=1400)}
    }
    (finding,) = director.examine_director(
        table_of(rules("-t 172.16.100.1:80", "10.1.0.7:80 -g")), changed(DIRECT.facts, changes)
    )
    assert finding.fixes == (
        "ip route replace 10.1.0.7/32 via 172.16.100.254 dev eth0 src 172.16.100.2 mtu 1400",
        "ipvsadm -e -t 172.16.100.1:80 -r 10.1.0.7:80 -i -w 1 --tun-type ipip",
    )


def test_what_widens_an_interface_leaves_room_for_every_tunnel() -> None:
    """Otherwise the last command would set an MTU that is too narrow for the first server."""
    gue = "-a -t 172.16.100.1:80 -r 10.2.0.7:80 -i --tun-type gue --tun-port 6080"
    facts = changed(HEALTHY["TUN"].facts, {"links": {"eth0": replace(ETH0, mtu=80)}})
    found = director.examine_director(table_of((TUN[0], TUN[1], gue)), facts)
    assert {each.fixes for each in found} == {("ip link set dev eth0 mtu 100",)}


def test_another_port_that_is_there_already() -> None:
    service = Service(AF_INET, TCP, bytes([172, 16, 100, 1]), 80)
    odd = Server(AF_INET, bytes([172, 16, 100, 7]), 8080, ROUTE, 3)
    (finding,) = director.examine_director(
        table_of(DR, Change(NEW_DEST, service, odd)), DIRECT.facts
    )
    assert finding.fixes == ("ipvsadm -d -t 172.16.100.1:80 -r 172.16.100.7:8080",)


def test_a_sync_daemon_s_interface_is_brought_up_with_multicast() -> None:
    facts = changed(DIRECT.facts, {"links": down(replace(ETH0, name="sync0", multicast=False))})
    (finding,) = director.examine_director(
        table_of((*DR, "--start-daemon master --mcast-interface sync0")), facts
    )
    assert finding.fixes == ("ip link set dev sync0 up", "ip link set dev sync0 multicast on")


# --- what could not be checked

UNSEEN = [
    ("NAT", {}, "192.168.10.8, 192.168.10.9", "172.16.100.1 -m --director 192.168.10.7"),
    ("DR", {}, "172.16.100.7, 172.16.100.8", "172.16.100.1 --director 172.16.100.2"),
    (
        "DR",
        {"routes": {"172.16.100.7": LOCAL}},
        "172.16.100.8",
        "172.16.100.1 --director 172.16.100.2",
    ),
    ("DR", {"addresses": []}, "172.16.100.7, 172.16.100.8", "172.16.100.1"),
    ("mark", {}, "172.16.100.7, 172.16.100.8", "VIP --director 172.16.100.2"),
]


@pytest.mark.parametrize(("kind", "changes", "servers", "words"), UNSEEN)
def test_real_servers_that_were_not_seen_are_named(
    kind: str, changes: dict[str, Any], servers: str, words: str
) -> None:
    cluster = HEALTHY[kind]
    lines = [*unchecked.list_not_checked(table_of(cluster.rules), changed(cluster.facts, changes))]
    noun = "servers" if "," in servers else "server"
    command = f"ipvsadm --doctor --real-server-for {words}"
    assert f"The real {noun} {servers}. On each, run:\n{command}" in lines


def test_real_servers_of_several_services_and_tunnels() -> None:
    table = table_of((*TUN, *(line.replace("172.16.100.1:", "172.16.100.3:") for line in TUN)))
    lines = [
        line
        for line in unchecked.list_not_checked(table, HEALTHY["TUN"].facts)
        if line.startswith("The real server")
    ]
    again = "On each, run; then the same for 172.16.100.3:\nipvsadm --doctor --real-server-for 172.16.100.1 -i"
    assert sorted(lines) == [
        f"The real server 10.1.0.7. {again} --director 172.16.100.2",
        f"The real server 10.2.0.7. {again} --tun-type gue --director 172.16.100.2",
    ]


# --- how much is read


class Counted(list[Address]):
    """Hold addresses, and count how many of them were read."""

    looked = 0

    def __iter__(self) -> Iterator[Address]:
        for each in super().__iter__():
            self.looked += 1
            yield each

    def __reversed__(self) -> Iterator[Address]:
        for each in super().__reversed__():
            self.looked += 1
            yield each


def looks(number: int) -> int:
    """Return how many addresses are read if `number` addresses are virtual ones, of services by
    each method and by mark.
    """
    vips = [f"172.16.{high}.{low}" for high in range(number // 100) for low in range(1, 101)]
    lines: list[str] = []
    for index, vip in enumerate(vips):
        lines += rules(f"-t {vip}:80", "192.168.10.8:80 -m", "10.1.0.7:80 -i", "172.16.100.7:80 -g")
        lines += [f"-A -f {index + 1}"]
    facts = host(*(Address(vip, 32, "eth0") for vip in vips), Address("192.168.10.7", 24, "eth0"))
    facts.routes |= {
        server: Route("unicast", "eth0", "192.168.10.1", vips[0])
        for server in ("10.1.0.7", "172.16.100.7")
    }
    facts.routes |= {"192.168.10.8": ON_LINK}
    facts.addresses = counting = Counted(facts.addresses)
    director.examine_director(table_of(tuple(lines)), facts)
    list(unchecked.list_not_checked(table_of(tuple(lines)), facts))
    return counting.looked


def test_twice_the_addresses_are_twice_the_looks() -> None:
    assert looks(200) <= 2.1 * looks(100)


def test_errors_come_before_warnings() -> None:
    facts = changed(
        HEALTHY["NAT"].facts, {"sysctls": {**SYSCTLS, "net/ipv4/conf/all/send_redirects": "1"}}
    )
    found = director.examine_director(
        table_of(("-A -t 172.16.100.1:443 -M 255.0.0.0", *NAT)), facts
    )
    assert [each.code for each in found] == [
        "no-servers",
        "nat-forwarding-off",
        "send-redirects",
        "netmask-without-persistence",
    ]


AWAY = "172.16.100.1 is not this host's: right while the other director is active ({} runs here), wrong otherwise."
ASIDE = [
    ("mark", {}, ["iptables mangle has 1 rule; pyipvsadm does not evaluate firewall rules."]),
    (
        "DR",
        {"filters": {"iptables filter": 0, "nftables web": 2}},
        ["nftables web has 2 rules; pyipvsadm does not evaluate firewall rules."],
    ),
    ("DR", {"unprobed": 3}, ["3 servers could not be probed in time."]),
    ("DR", {"programs": {"keepalived"}}, []),
    ("backup", {}, [AWAY.format("a backup sync daemon")]),
]


@pytest.mark.parametrize(("kind", "changes", "lines"), ASIDE)
def test_what_cannot_be_judged_is_named(
    kind: str, changes: dict[str, Any], lines: list[str]
) -> None:
    cluster = HEALTHY[kind]
    assert asides(table_of(cluster.rules), changed(cluster.facts, changes)) == lines


def asides(table: DirectorTable, facts: Facts) -> list[str]:
    """Return what cannot be checked, without the real servers, which are always named."""
    return [
        line
        for line in unchecked.list_not_checked(table, facts)
        if not line.startswith("The real server")
    ]


def test_addresses_that_may_come_with_keepalived_are_named() -> None:
    facts = changed(
        HEALTHY["backup"].facts, {"programs": {"keepalived"}, "routes": {"172.16.100.9": ON_LINK}}
    )
    lines = asides(table_of((*DIRECT.rules, "-A -t 172.16.100.9:80")), facts)
    assert lines == [AWAY.format("keepalived").replace(".1 is", ".1, 172.16.100.9 are")]


def test_full_sized_packets_and_tunnels() -> None:
    cluster = HEALTHY["TUN"]
    first, second = asides(table_of(cluster.rules), cluster.facts)
    assert (
        "Packets of 1500 bytes, which eth0 takes, do not fit into the tunnel to 10.2.0.7 (1468)"
        in first
    )
    assert "10.1.0.7 (1480)" in second
    assert "advmss 1440" in second
    wide = changed(
        cluster.facts,
        {"routes": {host: Route("unicast", "wan") for host in ("10.1.0.7", "10.2.0.7")}},
    )
    wide.links["wan"] = Link("wan", mtu=1532)
    assert asides(table_of(cluster.rules), wide) == []


def test_redirects_of_ipv6() -> None:
    """No setting turns redirects off on the host that sends them."""
    lines = list(unchecked.list_not_checked(table_of(V6), HEALTHY["v6"].facts))
    assert [line for line in lines if "redirects" in line and "through eth0" in line]


def test_many_servers_are_not_all_named() -> None:
    servers = [f"192.168.10.{number}:80 -m" for number in range(10, 15)]
    facts = changed(
        HEALTHY["NAT"].facts,
        {"routes": {server.split(":")[0]: ON_LINK for server in servers}, "sysctls": SYSCTLS},
    )
    (finding,) = director.examine_director(table_of(rules("-t 172.16.100.1:80", *servers)), facts)
    assert finding.message.endswith(
        "5 NAT servers answer there: 192.168.10.10, 192.168.10.11, 192.168.10.12 and 2 more."
    )


# --- real servers

VIP = Address("172.16.100.1", 32, "lo")
OWN = Address("172.16.100.7", 24, "eth0")
QUIET = {"net/ipv4/conf/all/arp_ignore": "1", "net/ipv4/conf/all/arp_announce": "2"}
TUNNEL_LINK = Link("tun", kind="ipip", noarp=True, mtu=1480)
ROUTED = {OUTSIDE[AF_INET]: Route("unicast", "eth0", "172.16.100.254")}
VIP6, OWN6 = Address("2001:db8:100::1", 128, "lo"), Address("2001:db8:100::7", 64, "eth0")

REAL = {
    "DR": (
        real_server.RealServerRole("172.16.100.1", ROUTE, "172.16.100.2"),
        host(VIP, OWN, sysctls=QUIET, routes=ROUTED),
    ),
    "TUN": (
        real_server.RealServerRole("172.16.100.1", TUNNEL),
        host(
            Address("172.16.100.1", 32, "tun"),
            Address("10.1.0.7", 24, "eth0"),
            links=(TUNNEL_LINK,),
        ),
    ),
    "NAT": (
        real_server.RealServerRole("172.16.100.1", MASQ, "192.168.10.7"),
        host(
            Address("192.168.10.8", 24, "eth0"),
            routes={OUTSIDE[AF_INET]: Route("unicast", "eth0", "192.168.10.7")},
        ),
    ),
    "v6": (real_server.RealServerRole("2001:db8:100::1"), host(VIP6, OWN6)),
    "v6 TUN": (
        real_server.RealServerRole("2001:db8:100::1", TUNNEL),
        host(
            VIP6, Address("fe80::7", 64, "eth0"), OWN6, links=(replace(TUNNEL_LINK, kind="ip6tnl"),)
        ),
    ),
}


@pytest.mark.parametrize("kind", REAL)
def test_a_healthy_real_server_gives_no_finding(kind: str) -> None:
    part, facts = REAL[kind]
    assert real_server.examine_real_server(part, facts) == []
    assert real_server.examine_real_server(part, Facts()) == []


def without(kind: str, *addresses: Address) -> dict[str, Any]:
    return {"addresses": list(addresses), "routes": {REAL[kind][0].vip: ON_LINK}}


REAL_CASES = [
    Case("DR", "real-vip-missing", without("DR", OWN), fixes=("ip address add 172.16.100.1/32 dev lo",)),
    Case("v6", "real-vip-missing", without("v6", OWN6), fixes=("ip address add 2001:db8:100::1/128 dev lo",)),
    Case("DR", "real-vip-missing", without("DR", OWN) | {"sysctls": dict.fromkeys(QUIET, "0")},
         fixes=("sysctl -w net.ipv4.conf.all.arp_ignore=1", "sysctl -w net.ipv4.conf.all.arp_announce=2",
                "ip address add 172.16.100.1/32 dev lo")),
    Case("DR", None, {"addresses": [OWN]}),  # a route of type local has it
    Case("NAT", None, without("NAT", OWN)),
    Case("v6", "real-vip-interface-down",
         {"addresses": [OWN6, replace(VIP6, link="d0")], "links": down(DUMMY), "routes": {VIP6.text: ON_LINK}},
         subject="d0", fixes=("ip link set dev d0 up",)),
    Case("DR", None, {"addresses": [OWN, replace(VIP, link="d0")], "links": down(DUMMY)}),
    Case("DR", None, {"addresses": [OWN, replace(VIP, link="d0")], "links": {"d0": DUMMY}}),
    Case("DR", "real-vip-on-wire", {"addresses": [OWN, replace(VIP, link="eth0")]}, subject="eth0",
         fixes=("ip address del 172.16.100.1/32 dev eth0", "ip address add 172.16.100.1/32 dev lo")),
    Case("DR", "real-vip-prefix", {"addresses": [OWN, replace(VIP, prefix=24)]},
         fixes=("ip address del 172.16.100.1/24 dev lo", "ip address add 172.16.100.1/32 dev lo")),
    Case("v6", "real-vip-prefix", {"addresses": [OWN6, replace(VIP6, prefix=64)]},
         fixes=("ip address del 2001:db8:100::1/64 dev lo", "ip address add 2001:db8:100::1/128 dev lo")),
    Case("DR", "real-arp-ignore", {"sysctls": {"net/ipv4/conf/all/arp_ignore": "0"}}, subject="eth0",
         fixes=("sysctl -w net.ipv4.conf.all.arp_ignore=1",), says="arp_ignore is 0 on eth0"),
    Case("DR", "real-arp-ignore", {"sysctls": {"net/ipv4/conf/eth0/arp_ignore": "5"}},
         fixes=("sysctl -w net.ipv4.conf.all.arp_ignore=1", "sysctl -w net.ipv4.conf.eth0.arp_ignore=1")),
    Case("DR", None, {"sysctls": {"net/ipv4/conf/all/arp_ignore": "0", "net/ipv4/conf/eth0/arp_ignore": "8"}}),
    Case("DR", None, {"sysctls": {"net/ipv4/conf/all/arp_ignore": None}}),
    Case("DR", "real-arp-announce", {"sysctls": {"net/ipv4/conf/all/arp_announce": "1"}},
         fixes=("sysctl -w net.ipv4.conf.all.arp_announce=2",)),
    Case("TUN", "real-arp-ignore",
         {"addresses": [VIP, OWN], "sysctls": {"net/ipv4/conf/all/arp_announce": "2"}}),
    Case("TUN", "real-tunnel-missing", {"links": {"tun": None}, "addresses": [VIP, Address("10.1.0.7", 24, "eth0")]},
         fixes=("ip link add lvs type ipip local 10.1.0.7", "ip link set dev lvs up")),
    Case("TUN", "real-tunnel-missing",
         {"links": {"tun": None}, "addresses": [VIP, Address("10.1.0.7", 24, "eth0")],
          "sysctls": {"net/ipv4/conf/all/rp_filter": "1", "net/ipv4/conf/default/rp_filter": "1"}},
         fixes=("ip link add lvs type ipip local 10.1.0.7", "ip link set dev lvs up", "sysctl -w net.ipv4.conf.lvs.rp_filter=2",
                "ip address add 172.16.100.1/32 dev lvs")),
    Case("TUN", "real-tunnel-missing",
         {"links": {"tun": None}, "addresses": [VIP, Address("10.1.0.7", 24, "eth0")],
          "sysctls": {"net/ipv4/conf/default/rp_filter": "1"}},
         fixes=("ip link add lvs type ipip local 10.1.0.7", "ip link set dev lvs up", "sysctl -w net.ipv4.conf.lvs.rp_filter=0")),
    Case("TUN", "real-tunnel-down",
         {"links": down(TUNNEL_LINK), "sysctls": {"net/ipv4/conf/tun/rp_filter": "1"}},
         fixes=("ip link set dev tun up", "sysctl -w net.ipv4.conf.tun.rp_filter=0")),
    Case("TUN", "real-tunnel-missing", {"links": {"tun": None, "eth0": None}, "addresses": [VIP]}, fixes=()),
    Case("TUN", "real-tunnel-missing", {"links": {"tun": None}, "addresses": [VIP, OWN6]},
         fixes=("ip link add lvs type ip6tnl mode ipip6 remote any local 2001:db8:100::7", "ip link set dev lvs up")),
    Case("v6 TUN", "real-tunnel-missing", {"links": {"tun": None}},
         fixes=("ip link add lvs type ip6tnl mode ip6ip6 remote any local 2001:db8:100::7", "ip link set dev lvs up")),
    Case("v6 TUN", "real-tunnel-missing", {"links": {"tun": None}, "addresses": [VIP6, OWN]},
         fixes=("ip link add lvs type sit local 172.16.100.7", "ip link set dev lvs up")),
    Case("TUN", "real-tunnel-down", {"links": down(TUNNEL_LINK), "addresses": [VIP, Address("10.1.0.7", 24, "eth0")]},
         subject="tun", fixes=("ip link set dev tun up",)),
    Case("TUN", "real-tunnel-down",
         {"links": {**down(TUNNEL_LINK), **down(Link("gre0", kind="gre")), **down(Link("tunl0", kind="ipip"))},
          "addresses": [VIP, Address("10.1.0.7", 24, "eth0")]}, subject="tun"),
    Case("TUN", "real-tunnel-rp-filter", {"sysctls": {"net/ipv4/conf/all/rp_filter": "1"}}, says="is 1 (the larger",
         fixes=("sysctl -w net.ipv4.conf.tun.rp_filter=2",)),
    Case("TUN", "real-tunnel-rp-filter", {"sysctls": {"net/ipv4/conf/tun/rp_filter": "1"}},
         fixes=("sysctl -w net.ipv4.conf.tun.rp_filter=0",)),
    Case("TUN", "real-tunnel-rp-filter",
         {"sysctls": {"net/ipv4/conf/all/rp_filter": "2"}, "addresses": [VIP, Address("10.1.0.7", 24, "eth0")]},
         says="no IPv4 address is on it",
         fixes=("sysctl -w net.ipv4.conf.tun.rp_filter=2", "ip address add 172.16.100.1/32 dev tun")),
    Case("TUN", None, {"sysctls": {"net/ipv4/conf/tun/rp_filter": "2"}}),
    Case("NAT", "real-no-default-route", {"routes": {OUTSIDE[AF_INET]: Route("unreachable")}},
         fixes=("ip route add default via 192.168.10.7",)),
    Case("NAT", "real-gateway-not-director", {"routes": {OUTSIDE[AF_INET]: Route("unicast", "eth0", "192.168.10.1")}},
         fixes=("ip route replace default via 192.168.10.7",), says="through 192.168.10.1 on eth0, not through 192.168.10.7"),
    Case("NAT", "real-gateway-not-director", {"routes": {OUTSIDE[AF_INET]: ON_LINK}}, says="straight to eth0"),
    Case("DR", "real-gateway-is-director", {"routes": {OUTSIDE[AF_INET]: Route("unicast", "eth0", "172.16.100.2")}},
         fixes=("ip route replace default via ROUTER",)),
]  # fmt: skip


@pytest.mark.parametrize(
    "case", REAL_CASES, ids=[f"{number} {case.code}" for number, case in enumerate(REAL_CASES)]
)
def test_a_fault_on_a_real_server_is_found(case: Case) -> None:
    part, facts = REAL[case.kind]
    check(case, real_server.examine_real_server(part, changed(facts, case.changes)))


@pytest.mark.parametrize(
    ("own", "tun_type", "fixes"),
    [
        (OWN, GRE, ("ip link add lvs type gre local 172.16.100.7",)),
        (OWN6, GRE, ("ip link add lvs type ip6gre local 2001:db8:100::7",)),
        (OWN, GUE, ("ip fou add port PORT gue", "ip link add lvs type ipip local 172.16.100.7")),
    ],
)
def test_tunnels_of_other_types(own: Address, tun_type: int, fixes: tuple[str, ...]) -> None:
    part = replace(REAL["TUN"][0], tun_type=tun_type)
    facts = changed(
        REAL["TUN"][1], {"links": {"tun": None}, "addresses": [VIP, own], "sysctls": QUIET}
    )
    (finding,) = real_server.examine_real_server(part, facts)
    assert finding.fixes == (*fixes, "ip link set dev lvs up")


def test_no_default_route_without_knowing_the_director() -> None:
    part = real_server.RealServerRole("172.16.100.1", MASQ)
    facts = changed(REAL["NAT"][1], {"routes": {OUTSIDE[AF_INET]: Route("unreachable")}})
    assert [each.fixes for each in real_server.examine_real_server(part, facts)] == [
        ("ip route add default via DIRECTOR",)
    ]


def test_settings_matter_to_services_only() -> None:
    sysctls = {**REUSE, "net/ipv4/vs/run_estimation": "0"}
    facts = changed(DIRECT.facts, {"sysctls": sysctls, "release": (5, 4)})
    assert director.examine_director(table_of(()), facts) == []


def test_every_code_is_planted() -> None:
    planted = {case.code for case in (*CASES, *REAL_CASES)} | {
        "port-not-mapped",
        "module-missing",
        *COUNTED,
    }
    assert planted - {None} == {row.code for row in CODES}
    assert len(CODES) == len({row.code for row in CODES}) >= 25
