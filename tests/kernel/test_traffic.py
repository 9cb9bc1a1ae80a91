"""Judge rules that our ipvsadm wrote by the packets that a client and the real servers see.

Owns: the recipes of administrators (translation, direct routing, tunnels, marks, persistence,
editing, save and restore) and what they promise to a client. The networks are in network.py.
LAB_TOOL=reference gives the same rules with the reference, and must pass as well.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.contract.backends import bounds_thresholds
from tests.kernel.netns import run_ours
from tests.kernel.network import (
    DIRECT,
    DIRECT6,
    NAT,
    NAT6,
    PATIENCE,
    Connection,
    Network,
    ask,
    ask_udp,
    built,
    crossed,
    eventually,
    listened,
)
from tests.kernel.observe import filters, shell
from tests.older_python import zip_equal

if TYPE_CHECKING:
    from collections.abc import Iterator

WEB = {"tcp": [80]}


def ipvsadm(command: str, stdin: str = "") -> str:
    """Return the output of a successful run on the director."""
    result = run_ours(command.split(), stdin.encode(), namespace="director")
    assert (result.status, result.stderr) == (0, b""), (command, result)
    return result.stdout.decode()


def table(network: Network, service: str, real: str) -> None:
    """Add one service with both real servers. In the options, {vip}, {one} and {two} stand for
    addresses; {real} for each server's.
    """
    names = {"vip": network.vip, "one": network.real[0], "two": network.real[1]}
    ipvsadm("-A " + service.format(**names))
    virtual = " ".join(service.format(**names).split()[:2])
    for address in network.real:
        ipvsadm(f"-a {virtual} " + real.format(real=address, **names))


def fields(listing: str, address: str) -> list[str]:
    """Return the words after an address and port, from the first line of a listing that begins with
    it (or with -> and it).
    """
    for line in listing.splitlines():
        words = line.split()
        if len(words) > 1 and words[1] == address:
            return words[2:]
    raise AssertionError(f"no line of {address} in\n{listing}")


class Way(NamedTuple):
    """Describe a way from the director to the real servers. wire: the kinds of packet that arrive;
    maybe: the kinds that may arrive as well.
    """

    name: str
    network: Network
    real: str
    wire: str = "tcp"
    ports: dict[str, list[int]] = WEB
    maybe: str = ""


TUNNELS = {
    "ipip": "link add tun type ipip local {own}",
    "gre": "link add tun type gre local {own}",
    "gre with checksums": "link add tun type gre local {own} icsum",
    "gue": "link add tun type ipip local {own}\nfou add port 6080 gue",
    "IPv6 in IPv6": "link add tun type ip6tnl mode ip6ip6 local {own} remote any",
    "IPv6 in IPv4": "link add tun type sit local {own}",
    "IPv4 in IPv6": "link add tun type ip6tnl mode ipip6 local {own} remote any",
}


def tunnelled(kind: str, network: Network = DIRECT) -> Network:
    """Return a network with both real servers at the far end of a tunnel."""
    ends = {
        host: TUNNELS[kind].format(own=own.strip("[]")) + "\nlink set tun up"
        for host, own in zip_equal(("one", "two"), network.real)
    }
    return network.but(**ends)


# A remote checksum is asked for where the client's packet has none yet: not for an answer that TCP
# makes without a socket, as the last acknowledgement may be: that depends on which side closes
# first.
GUE = "-r {real} -i --tun-type gue --tun-port 6080"

WAYS = [
    Way("translation with a port mapping", NAT, "-r {real}:8080 -m", ports={"tcp": [8080]}),
    Way("translation", NAT, "-r {real} -m"),
    Way("direct routing", DIRECT, "-r {real} -g"),
    Way("ipip", tunnelled("ipip"), "-r {real} -i", "ipip"),
    Way("gre", tunnelled("gre"), "-r {real} -i --tun-type gre", "gre"),
    Way(
        "gre with checksums",
        tunnelled("gre with checksums"),
        "-r {real} -i --tun-type gre --tun-csum",
        "gre, checksum",
    ),
    Way("gue", tunnelled("gue"), f"{GUE} --tun-nocsum", "udp"),
    Way("gue with checksums", tunnelled("gue"), f"{GUE} --tun-csum", "udp, checksum"),
    Way(
        "gue with remote checksums",
        tunnelled("gue"),
        f"{GUE} --tun-remcsum",
        "udp, checksum, private",
        maybe="udp, checksum",
    ),
    Way("translation of IPv6", NAT6, "-r {real}:8080 -m", ports={"tcp": [8080]}),
    Way("direct routing of IPv6", DIRECT6, "-r {real}:80 -g"),
    Way("IPv6 in IPv6", tunnelled("IPv6 in IPv6", DIRECT6), "-r {real}:80 -i", "ipv6"),
    Way(
        "IPv6 in IPv4",
        tunnelled("IPv6 in IPv4", crossed(DIRECT, DIRECT6)),
        "-r {real}:80 -i",
        "ipv6",
    ),
    Way(
        "IPv4 in IPv6",
        tunnelled("IPv4 in IPv6", crossed(DIRECT6, DIRECT)),
        "-r {real}:80 -i",
        "ipip",
    ),
]


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_every_way_reaches_both_servers_in_turn(way: Way) -> None:
    with built(way.network, way.ports):
        table(way.network, "-t {vip}:80 -s rr", way.real)
        with listened("one") as arrived:
            answers = ask(way.network.vip, 80, 6)
        assert sorted(answers[:2]) == ["one", "two"]
        assert answers == answers[:2] * 3
        assert arrived - {way.maybe} == {way.wire}


@pytest.fixture
def nat() -> Iterator[Network]:
    with built(NAT, {"tcp": [80, 443], "udp": [53]}):
        yield NAT


@pytest.fixture
def direct() -> Iterator[Network]:
    with built(DIRECT, {"tcp": [80, 443]}):
        yield DIRECT


def test_the_notebook_s_change_from_rr_to_weights_three_and_one(nat: Network) -> None:
    table(nat, "-t {vip}:80 -s rr", "-r {real} -m")
    assert Counter(ask(nat.vip, 80, 4)) == {"one": 2, "two": 2}
    ipvsadm(f"-E -t {nat.vip}:80 -s wrr")
    ipvsadm(f"-e -t {nat.vip}:80 -r {nat.real[0]} -m -w 3")
    ipvsadm(f"-e -t {nat.vip}:80 -r {nat.real[1]} -m -w 1")
    for _ in range(3):  # each cycle has these shares, wherever it starts
        assert Counter(ask(nat.vip, 80, 4)) == {"one": 3, "two": 1}


def test_wlc_gives_open_connections_by_weight(direct: Network) -> None:
    """The setup is the notebook's director for direct routing, with its weights 2 and 1."""
    ipvsadm(f"-A -t {direct.vip}:80 -s wlc")
    ipvsadm(f"-a -t {direct.vip}:80 -r {direct.real[0]} -g -w 2")
    ipvsadm(f"-a -t {direct.vip}:80 -r {direct.real[1]} -g -w 1")
    connections: list[Connection] = []
    try:
        # the director sees only the client's half, but an ACK from there is enough to count as
        # established
        for number in range(6):
            connections.append(Connection(direct.vip, 80))
            eventually(lambda: active(direct), (number + 1, 0))
        assert Counter(connection.server for connection in connections) == {"one": 4, "two": 2}
        listing = ipvsadm("-Ln")
        assert fields(listing, f"{direct.real[0]}:80") == ["Route", "2", "4", "0"]
        assert fields(listing, f"{direct.real[1]}:80") == ["Route", "1", "2", "0"]
    finally:
        for connection in connections:
            connection.close()


def active(network: Network) -> tuple[int, int]:
    """Return the numbers of active and inactive connections to both servers of the only service."""
    listing = ipvsadm("-Ln")
    rows = [fields(listing, f"{address}:80") for address in network.real]
    return sum(int(row[2]) for row in rows), sum(int(row[3]) for row in rows)


def test_persistence_keeps_a_client_at_its_server(direct: Network) -> None:
    table(direct, "-t {vip}:80 -s rr -p 60", "-r {real} -g")
    first, second = "172.16.100.10", "172.16.100.11"
    here, there = ask(direct.vip, 80, 1, first), ask(direct.vip, 80, 1, second)
    assert sorted(here + there) == ["one", "two"]
    assert ask(direct.vip, 80, 5, first) == here * 5
    assert ask(direct.vip, 80, 5, second) == there * 5
    templates = [
        words
        for line in ipvsadm("-Lnc").splitlines()
        if (words := line.split()) and words[3:4] == [f"{first}:0"]
    ]
    server = direct.real[("one", "two").index(here[0])]
    assert [(words[0], words[4], words[5]) for words in templates] == [
        ("TCP", f"{direct.vip}:80", f"{server}:80")
    ]
    assert fields(ipvsadm("-Ln --persistent-conn"), f"{server}:80")[1] == "1"


def test_a_service_for_all_ports_of_a_persistent_client(direct: Network) -> None:
    table(direct, "-t {vip}:0 -s rr -p", "-r {real}:0 -g")
    here = ask(direct.vip, 80, 1)
    assert ask(direct.vip, 443, 3) + ask(direct.vip, 80, 3) == here * 6


MARK = "iptables -t mangle -A PREROUTING -d 172.16.100.1 -i eth0 -p tcp --dport {} -j MARK --set-mark 8"
# Where the kernel has no iptables.
MARK_AT_THE_LINK = (
    "tc filter add dev eth0 ingress protocol ip u32 match ip dport {} 0xffff action skbedit mark 8"
)


def mark(*ports: int) -> None:
    """Add the notebook's rule for each port, on the director. Kernels without iptables get a rule
    of tc.
    """
    if not filters():
        shell("director", "tc qdisc add dev eth0 ingress")
    for port in ports:
        shell("director", (MARK if filters() else MARK_AT_THE_LINK).format(port))


def test_a_firewall_mark_groups_ports(direct: Network) -> None:
    mark(80, 443)
    table(direct, "-f 8 -s rr", "-r {real} -g")
    # one cycle runs over both ports
    assert sorted(ask(direct.vip, 80, 1) + ask(direct.vip, 443, 1)) == ["one", "two"]
    assert sorted(ask(direct.vip, 443, 1) + ask(direct.vip, 80, 1)) == ["one", "two"]


def test_a_persistent_firewall_mark_gives_both_ports_one_server(direct: Network) -> None:
    mark(80, 443)
    table(direct, "-f 8 -s rr -p 600", "-r {real} -g")
    here = ask(direct.vip, 80, 1)
    assert ask(direct.vip, 443, 3) + ask(direct.vip, 80, 3) == here * 6


def test_weight_zero_takes_no_new_connection_and_keeps_the_old(nat: Network) -> None:
    table(nat, "-t {vip}:80 -s rr", "-r {real} -m")
    old = {
        connection.server: connection
        for connection in (Connection(nat.vip, 80), Connection(nat.vip, 80))
    }
    try:
        assert sorted(old) == ["one", "two"]
        ipvsadm(f"-e -t {nat.vip}:80 -r {nat.real[0]} -m -w 0")
        assert ask(nat.vip, 80, 5) == ["two"] * 5
        assert old["one"].again() == "one"
        assert fields(ipvsadm("-Ln"), f"{nat.real[0]}:80") == ["Masq", "0", "1", "0"]
    finally:
        for connection in old.values():
            connection.close()


def test_a_deleted_server_gets_nothing_more(nat: Network) -> None:
    table(nat, "-t {vip}:80 -s rr", "-r {real} -m")
    ipvsadm(f"-d -t {nat.vip}:80 -r {nat.real[1]}")
    assert ask(nat.vip, 80, 4) == ["one"] * 4
    ipvsadm(f"-D -t {nat.vip}:80")
    with pytest.raises(ConnectionRefusedError):
        ask(nat.vip, 80, 1)


def test_an_upper_threshold_is_kept_to(nat: Network) -> None:
    ipvsadm(f"-A -t {nat.vip}:80 -s rr")
    ipvsadm(f"-a -t {nat.vip}:80 -r {nat.real[0]} -m -x 1")
    ipvsadm(f"-a -t {nat.vip}:80 -r {nat.real[1]} -m")
    connections = [Connection(nat.vip, 80) for _ in range(5)]
    try:
        assert Counter(connection.server for connection in connections) == {"one": 1, "two": 4}
    finally:
        for connection in connections:
            connection.close()


def test_an_upper_threshold_set_for_a_busy_server(nat: Network) -> None:
    """Kernels that bound thresholds look at the server's connections at once; those before 2026's
    do so at its next connection.
    """
    table(nat, "-t {vip}:80 -s rr", "-r {real} -m")
    connections = [Connection(nat.vip, 80) for _ in range(4)]
    try:
        ipvsadm(f"-e -t {nat.vip}:80 -r {nat.real[0]} -m -x 2")
        connections += [Connection(nat.vip, 80) for _ in range(4)]
        found = Counter(connection.server for connection in connections)
        assert found == ({"one": 2, "two": 6} if bounds_thresholds() else {"one": 3, "two": 5})
    finally:
        for connection in connections:
            connection.close()


def test_saved_cleared_restored(nat: Network) -> None:
    table(nat, "-t {vip}:80 -s wrr", "-r {real} -m -w 2")
    table(nat, "-t {vip}:443 -s rr", "-r {real} -m")
    assert sorted(ask(nat.vip, 443, 2)) == ["one", "two"]
    saved = ipvsadm("-S -n")
    ipvsadm("-C")
    for port in (80, 443):
        with pytest.raises(ConnectionRefusedError):
            ask(nat.vip, port, 1)
    ipvsadm("-R", saved)
    assert ipvsadm("-S -n") == saved
    assert sorted(ask(nat.vip, 443, 2)) == ["one", "two"]
    assert Counter(ask(nat.vip, 80, 4)) == {"one": 2, "two": 2}


def test_statistics_agree_with_what_was_sent(nat: Network) -> None:
    table(nat, "-u {vip}:53 -s rr", "-r {real} -m")
    answers = ask_udp(nat.vip, 53, 10, b"x" * 72)
    assert Counter(answers) == {"one": 5, "two": 5}
    # ten questions of 20 + 8 + 72 bytes, ten answers of 20 + 8 + 4 bytes; the kernel adds up every
    # two seconds
    eventually(
        lambda: fields(ipvsadm("-Ln --stats"), f"{nat.vip}:53"),
        ["10", "10", "10", "1000", "320"],
    )
    for address in nat.real:
        assert fields(ipvsadm("-Ln --stats"), f"{address}:53") == ["5", "5", "5", "500", "160"]
    ipvsadm("-Z")
    assert fields(ipvsadm("-Ln --stats"), f"{nat.vip}:53") == ["0"] * 5
    assert ask_udp(nat.vip, 53, 1) != []
    eventually(lambda: fields(ipvsadm("-Ln --stats"), f"{nat.vip}:53"), ["1", "1", "1", "29", "32"])


def test_the_connection_list_shows_each_connection(nat: Network) -> None:
    table(nat, "-t {vip}:80 -s rr", "-r {real} -m")
    with Connection(nat.vip, 80) as first, Connection(nat.vip, 80) as second:
        servers = dict(zip_equal(("one", "two"), nat.real))
        rows = [line.split() for line in ipvsadm("-L -n -c").splitlines()[2:]]
        assert sorted([row[0], *row[2:]] for row in rows) == sorted(
            [
                "TCP",
                "ESTABLISHED",
                f"172.16.100.10:{each.port}",
                f"{nat.vip}:80",
                f"{servers[each.server]}:80",
            ]
            for each in (first, second)
        )


def test_a_changed_timeout_is_what_a_connection_gets(nat: Network) -> None:
    ipvsadm("--set 100 20 30")
    table(nat, "-t {vip}:80 -s rr", "-r {real} -m")
    with Connection(nat.vip, 80):
        (row,) = [line.split() for line in ipvsadm("-Lnc").splitlines()[2:]]
        minutes, seconds = row[1].split(":")
        assert 100 - PATIENCE < int(minutes) * 60 + int(seconds) <= 100
