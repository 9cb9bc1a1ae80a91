"""Describe a table as a small site might have it. Its rules are real; its traffic is invented: an
embedded table has no packets.

The numbers are the same at each run, for snapshots and pictures.
"""

from __future__ import annotations

from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING

from pyipvsadm import sorting
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.model import AF_INET, AF_INET6, BACKUP, MASTER, Daemon, Timeouts
from pyipvsadm.views.connections import Connection
from tests.unit.fake_environment import apply_all

if TYPE_CHECKING:
    from pyipvsadm.model import Server, Service

    Rows = list[tuple[Service, list[Server]]]

RULES = (
    "-A -t 172.16.100.1:80 -s wlc -p 900 -M 255.255.255.0",
    "-a -t 172.16.100.1:80 -r 192.168.10.8:8080 -m -w 300 -x 4000 -y 3000",
    "-a -t 172.16.100.1:80 -r 192.168.10.9:8080 -m -w 200 -x 900 -y 600",
    "-a -t 172.16.100.1:80 -r 192.168.10.10:8080 -m -w 100",
    "-a -t 172.16.100.1:80 -r 192.168.10.11:8080 -m -w 0",
    "-A -t [2001:db8:100::80]:443 -s mh -b mh-port,mh-fallback",
    "-a -t [2001:db8:100::80]:443 -r [2001:db8:10::8]:443 -g -w 10",
    "-a -t [2001:db8:100::80]:443 -r [2001:db8:10:ffff:1234:5678:9abc:def0]:443 -g -w 10",
    "-A -u 172.16.100.1:53 -s rr -o",
    "-a -u 172.16.100.1:53 -r 192.168.20.53 -i --tun-type gue --tun-port 6080 --tun-csum",
    "-a -u 172.16.100.1:53 -r 192.168.21.53 -i --tun-type gre --tun-nocsum",
    "-A -t 172.16.100.25:25 -s lc",
    "-A -f 7 -s wrr",
    "-a -f 7 -r 192.168.30.1:0 -g -w 0",
)

# How busy each server is, in the order of the listing.
_BUSY = (420, 300, 95, 12, 160, 155, 700, 650, 3, 1)


def table() -> MemoryBackend:
    """Return the rules in an embedded table."""
    found = MemoryBackend(interfaces={"eth1"}.__contains__)
    apply_all(found, RULES)
    return found


def rows(at: int = 3600) -> Rows:
    """Return the table with its traffic after `at` seconds."""
    embedded = table()
    found = [
        (service, sorting.sort_servers(embedded.read_servers(service)))
        for service in sorting.sort_services(embedded.read_services())
    ]
    busy = iter(_BUSY)
    for service, servers in found:
        for d in servers:
            level = next(busy)
            conns, now = _counted(level)[at - 1], _conns(level, at)
            d.active, d.inactive, d.persistent = (
                (0, now, 0) if service.protocol == 17 else (now * 3, now, now // 4)
            )
            d.stats = (
                conns,
                conns * 9,
                conns * 11,
                conns * 900,
                conns * 14000,
                now,
                now * 9,
                now * 11,
                now * 900,
                now * 14000,
            )
        service.stats = (
            tuple(map(sum, zip(*(d.stats for d in servers)))) if servers else service.stats
        )
    return found


@cache
def _counted(level: int) -> list[int]:
    return list(accumulate(_conns(level, second) for second in range(4000)))


def _conns(level: int, second: int) -> int:
    """Return the new connections in that second: a swell, and some noise."""
    swell = abs(second % 40 - 20)
    noise = (second * 1103515245 + level * 12345) // 65536 % 17
    return level * (20 + swell * 3 + noise) // 60


def connections() -> list[Connection]:
    """Return a few connections, one of them with the data of a persistence engine."""
    web = (AF_INET, bytes([172, 16, 100, 1]), 80)
    server = (AF_INET, bytes([192, 168, 10, 8]), 8080)
    six = (AF_INET6, bytes.fromhex("20010db8010000000000000000000080"), 443)
    long = (AF_INET6, bytes.fromhex("20010db80010ffff123456789abcdef0"), 443)
    sip = (AF_INET, bytes([172, 16, 100, 1]), 5060)
    return [
        Connection(
            "TCP", (AF_INET, bytes([203, 0, 113, 7]), 51234), web, server, "ESTABLISHED", 899
        ),
        Connection("TCP", (AF_INET, bytes([203, 0, 113, 0]), 0), web, server, "NONE", 3600),
        Connection(
            "TCP",
            (AF_INET6, bytes.fromhex("20010db8ffffeeeeddddccccbbbbaaaa"), 40000),
            six,
            long,
            "FIN_WAIT",
            119,
        ),
        Connection(
            "TCP", (AF_INET, bytes([198, 51, 100, 200]), 65535), web, server, "SYN_RECV", 60
        ),
        Connection(
            "UDP",
            (AF_INET, bytes([203, 0, 113, 9]), 0),
            sip,
            server,
            "UDP",
            240,
            "sip",
            "a84b4c76e66710@pc33.example",
        ),
    ]


def daemons() -> list[Daemon]:
    """Return a pair of daemons, and one of which a kernel shows only state, interface
    and syncid.
    """
    return [
        Daemon(MASTER, "eth1", 5, 1472, bytes([224, 0, 0, 81]), 8848, 1),
        Daemon(BACKUP, "eth1", 5, 1472, bytes.fromhex("ff050000000000000000000000000081"), 8848, 4),
        Daemon(BACKUP, "eth0", 200),
    ]


def timeouts() -> Timeouts:
    """Return timeouts that are not the defaults."""
    return Timeouts(900, 90, 7500)
