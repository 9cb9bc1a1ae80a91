"""Test the failover of two directors by hand: connections that sync daemons have handed over go on,
and without the daemons they do not.

Owns: the ways to run a pair, with the commands that a person types; the lines for NAT are those of
docs/failover.md. The networks are in pair.py, keepalived in test_keepalived.py.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import pyipvsadm.doctor.host  # noqa: F401  # takes seconds in the guest: once is enough, all runs of the doctor fork from here
from tests.kernel.netns import run_ours
from tests.kernel.network import Connection, Network, ask, built, eventually
from tests.kernel.observe import shell
from tests.kernel.pair import (
    DIRECT6_PAIR,
    DIRECT_PAIR,
    DIRECTORS,
    NAT_PAIR,
    cut_short,
    doctor,
    known,
    plug,
)
from tests.older_python import zip_equal

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "failover.md"
HOSTS = dict(zip_equal(("lb1", "lb2"), DIRECTORS))
WEB = {"tcp": [80, 443]}

Steps = list[tuple[str, str]]  # (host, command)

# The sync daemons of both directors.
ONE_EACH = ("master", "backup")
BOTH = ("master backup", "master backup")


def read_page_steps() -> list[Steps]:
    """Return the steps of each block of the page, before keepalived: `# lb1` names the host on
    which the following lines are typed.
    """
    section = PAGE.read_text().split("\n## keepalived\n")[0]
    blocks = []
    for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL):
        steps, host = [], ""
        for line in block.splitlines():
            if line.startswith("# "):
                host = HOSTS[re.findall(r"lb\d", line)[0]]
            else:
                steps.append((host, line))
        blocks.append(steps)
    return blocks


PAGE_START, PAGE_FAILOVER = read_page_steps()


def daemons(roles: tuple[str, str], words: str) -> Steps:
    """Return the commands that start the daemons. roles: of both directors, with blanks between
    those of one director.
    """
    return [
        (host, f"ipvsadm --start-daemon {role} {words}")
        for host, given in zip_equal(DIRECTORS, roles)
        for role in given.split()
    ]


def moved(host: str, *lines: str) -> Steps:
    return [(host, line) for line in lines]


class Way(NamedTuple):
    """Describe how a pair is run. start: steps on both, when all is well; failover: steps when the
    first director is gone; clients: two addresses.
    """

    name: str
    network: Network
    method: str
    address: str  # gives the director the moving addresses at the start
    start: Steps
    failover: Steps
    clients: tuple[str, str] = ("172.16.100.10", "172.16.100.11")
    roles: tuple[str, str] = ONE_EACH  # the roles that `-L --daemon` shows on each


TAKE = ("ip address add 172.16.100.1/32 dev eth0", "arping -U -c 1 -I eth0 172.16.100.1")
# the kernel looks for a duplicate, and announces it
TAKE6 = "ip address add 2001:db8:100::1/128 dev eth0"
SYNC6 = "--mcast-interface eth0 --syncid 7 --mcast-group ff02::51"

WAYS = [
    Way(
        "NAT, as on the page", NAT_PAIR, "-m",
        "ip address add 172.16.100.1/24 dev eth0; ip address add 192.168.10.1/24 dev eth1", PAGE_START, PAGE_FAILOVER,
    ),
    Way(
        "direct routing, both daemons on both", DIRECT_PAIR, "-g", TAKE[0],
        daemons(BOTH, "--mcast-interface eth0 --syncid 7"), moved("second", *TAKE), roles=BOTH,
    ),
    Way(
        "direct routing of IPv6, daemons too", DIRECT6_PAIR, "-g", f"{TAKE6} nodad",
        daemons(ONE_EACH, SYNC6), [*moved("second", TAKE6, "ipvsadm --stop-daemon backup"), *daemons(("", "master"), SYNC6)],
        ("2001:db8:100::10", "2001:db8:100::11"),
    ),
]  # fmt: skip


@contextmanager
def running(way: Way, start: Steps) -> Iterator[None]:
    """Run the pair: the same rules on both, the address at the first."""
    rules = "".join(
        f"-A -t {way.network.vip}:{port} -s rr{persistence}\n"
        + "".join(
            f"-a -t {way.network.vip}:{port} -r {real}:{port} {way.method}\n"
            for real in way.network.real
        )
        for port, persistence in ((80, ""), (443, " -p 300"))
    )
    with built(way.network, WEB):
        for host in DIRECTORS:
            assert run_ours(["-R"], rules.encode(), namespace=host).status == 0
        shell("director", way.address)
        for host, command in start:
            shell(host, command)
        yield


class Held(NamedTuple):
    """Hold connections of two clients, one of them to the service that is not persistent."""

    plain: Connection
    first: Connection
    second: Connection

    def again(self) -> list[str]:
        return [each.again() for each in self]

    def servers(self) -> list[str]:
        return [each.server for each in self]


@contextmanager
def held(way: Way) -> Iterator[Held]:
    """Open the connections. The second client gets another server than the first, which a fresh
    table would begin with.
    """
    with ExitStack() as stack:
        made = Held(
            *(
                stack.enter_context(Connection(way.network.vip, port, way.clients[at]))
                for port, at in ((80, 0), (443, 0), (443, 1))
            )
        )
        assert made.first.server != made.second.server
        yield made


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_connections_and_persistence_go_on(way: Way) -> None:
    vip = way.network.vip
    with running(way, way.start), held(way) as connections:
        eventually(partial(known, "second"), known("director"))
        # and a template for each client
        assert len(known("director")) == len(connections) + len(way.clients)
        for host, roles in zip_equal(DIRECTORS, way.roles):
            assert [
                line.split()[0] for line in shell(host, "ipvsadm -L --daemon").splitlines()
            ] == roles.split()
        assert doctor("director") == ([], [])
        findings, (aside,) = doctor("second")
        assert findings == []
        assert (
            f"{vip.strip('[]')} is not this host's: right while the other director is active"
            in aside
        )

        before = cut_short()
        assert connections.again() == connections.servers()
        plug(way.network, "director", "down")
        for host, command in way.failover:
            shell(host, command)
        for _ in range(3):
            assert connections.again() == connections.servers()
        assert ask(vip, 443, 1, way.clients[1]) == [connections.second.server]
        assert sorted(ask(vip, 80, 2)) == ["one", "two"]
        assert cut_short() == before
        assert doctor("second") == ([], [])


def test_back_again_with_both_daemons_on_both() -> None:
    """A planned move back works: whichever director has taken up a connection, the other has learnt
    of it.
    """
    way = WAYS[1]
    with running(way, way.start), ExitStack() as stack:
        made = [stack.enter_context(Connection(way.network.vip, 80))]
        eventually(partial(known, "second"), known("director"))
        before = cut_short()
        for giver, taker in (DIRECTORS, DIRECTORS[::-1]):
            shell(giver, TAKE[0].replace(" add ", " del "))
            for command in TAKE:
                shell(taker, command)
            assert [each.again() for each in made] == [each.server for each in made]
            made.append(stack.enter_context(Connection(way.network.vip, 80)))
            eventually(partial(known, giver), known(taker))
        assert cut_short() == before


def ports(host: str) -> set[int]:
    """Return the client's ports of a director's connections."""
    return {int(row[2].rpartition(":")[2]) for row in known(host)}


def test_who_listens_late_learns_only_of_what_moves() -> None:
    way = WAYS[1]
    with running(way, []), Connection(way.network.vip, 80) as quiet:
        for host, command in daemons(ONE_EACH, "--mcast-interface eth0"):
            shell(host, command)
        with Connection(way.network.vip, 80) as late:
            assert quiet.again() == quiet.server
            eventually(partial(ports, "second"), {late.port})
        for _ in range(60):  # net.ipv4.vs.sync_threshold: again with each 50th packet
            quiet.again()
        eventually(partial(ports, "second"), {late.port, quiet.port})


FILTER = (
    "sysctl -wq net.ipv4.vs.conntrack=1",
    "iptables -A INPUT -m conntrack --ctstate INVALID -j DROP",
    "iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP",
    "iptables -t nat -A POSTROUTING -p tcp --dport 443 -j MASQUERADE",
)


def test_a_filter_that_tracks_lets_connections_go_on_but_not_what_it_translates() -> None:
    way = WAYS[0]
    with (
        running(way, [(host, line) for host in DIRECTORS for line in FILTER] + way.start),
        held(way) as connections,
    ):
        eventually(partial(known, "second"), known("director"))
        plug(way.network, "director", "down")
        for host, command in way.failover:
            shell(host, command)
        assert connections.plain.again() == connections.plain.server
        for each in (connections.first, connections.second):
            with pytest.raises(ConnectionResetError):
                each.again()


def test_without_daemons_they_are_cut_and_clients_get_other_servers() -> None:
    """The result shows that the tests above can fail."""
    way = WAYS[1]
    with running(way, []), held(way) as connections:
        assert connections.again() == connections.servers()
        before = cut_short()
        plug(way.network, "director", "down")
        for host, command in way.failover:
            shell(host, command)
        for each in connections:
            with pytest.raises(ConnectionResetError):
                each.again()
        assert cut_short() == before + len(connections)
        assert ask(way.network.vip, 443, 1, way.clients[1]) == [connections.first.server]
        assert known("second") != []
