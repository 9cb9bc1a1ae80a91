"""Run two directors for one virtual address: their networks, a director that is cut off, and what
both and a client see.

Owns: the second director, what a failover does to wires, and the functions that observe the pair.
Must never know: which program moves an address, or when.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tests.kernel.netns import inside, run_ours
from tests.kernel.network import DIRECT, DIRECT6, SERVERS, Network, ip
from tests.kernel.observe import shell

DIRECTORS = ("director", "second")

_FORWARDING = {"net/ipv4/ip_forward": "1"}
# the kernel announces an address of IPv6 by itself, where it is told to
_NOTIFYING = {"net/ipv6/conf/eth0/ndisc_notify": "1"}

# At first no host has the virtual address nor, with NAT, the servers' gateway. Clients come by
# eth0; servers and sync daemons are at eth1.
NAT_PAIR = Network(
    "172.16.100.1",
    ("192.168.10.8", "192.168.10.9"),
    {
        "client": "addr add 172.16.100.10/24 dev eth0\naddr add 172.16.100.11/24 dev eth0",
        "director": "addr add 172.16.100.2/24 dev eth0\naddr add 192.168.10.2/24 dev eth1",
        "second": "addr add 172.16.100.3/24 dev eth0\naddr add 192.168.10.3/24 dev eth1",
        "one": "addr add 192.168.10.8/24 dev eth0\nroute add default via 192.168.10.1",
        "two": "addr add 192.168.10.9/24 dev eth0\nroute add default via 192.168.10.1",
    },
    dict.fromkeys(DIRECTORS, _FORWARDING),
    {
        "client": ("front",),
        **dict.fromkeys(DIRECTORS, ("front", "back")),
        **dict.fromkeys(SERVERS, ("back",)),
    },
)

DIRECT_PAIR = replace(
    DIRECT,
    setup={
        **DIRECT.setup,
        "director": "addr add 172.16.100.2/24 dev eth0",
        "second": "addr add 172.16.100.3/24 dev eth0",
    },
)

DIRECT6_PAIR = replace(
    DIRECT6,
    setup={
        **DIRECT6.setup,
        "client": DIRECT6.setup["client"] + "\naddr add 2001:db8:100::11/64 dev eth0 nodad",
        "director": "addr add 2001:db8:100::2/64 dev eth0 nodad",
        "second": "addr add 2001:db8:100::3/64 dev eth0 nodad",
    },
    sysctls=dict.fromkeys(DIRECTORS, _NOTIFYING),
)


def plug(network: Network, host: str, state: str) -> None:
    """Pull a host's cables out of the switch ("down"), or put them in again ("up")."""
    ip([f"link set {port} {state}" for _, _, port, _ in network.links(host)], "switch")


def cut_short() -> int:
    """Return how many established connections of the client were cut by a reset, or closed with
    data unread.

    /proc/net/snmp has a line of names, then a line of values.
    """
    with inside("client"):
        names, values = (
            line.split()
            for line in Path("/proc/net/snmp").read_text().splitlines()
            if line.startswith("Tcp:")
        )
    return int(values[names.index("EstabResets")])


def known(host: str) -> list[tuple[str, ...]]:
    """Return a director's connections and templates: protocol, state, client, virtual address,
    server.
    """
    rows = [line.split() for line in shell(host, "ipvsadm -L -n -c").splitlines()[2:]]
    return sorted((row[0], *row[2:6]) for row in rows)


def doctor(host: str) -> tuple[list[object], list[str]]:
    """Return the doctor's findings on a host, and its list of what it could not check, without the
    real servers that it always names.
    """
    result = run_ours(["--doctor", "--json"], namespace=host)
    assert result.stderr == b"", result
    told = json.loads(result.stdout)
    assert result.status == told["status"]
    return told["findings"], [
        line for line in told["not_checked"] if not line.startswith("The real server")
    ]
