"""Follow the recipes for administrators, and the notebook's scripts, exactly as written, and count
the answers at the client.

Owns: the machines as each recipe finds them, and what a client sees afterwards. The recipes are in
docs/recipes, their form in recipes.py. Must never know: what is in a recipe, except for its
addresses.
"""

from __future__ import annotations

import re
import signal
import socket
from collections import Counter
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kernel import recipes
from tests.kernel.machine import done, machines, running
from tests.kernel.network import (
    SERVERS,
    Connection,
    Network,
    ask,
    browse,
    built,
    eventually,
    listened,
    served,
)
from tests.kernel.observe import arp_answers, need_filters
from tests.kernel.test_doctor import doctor

if TYPE_CHECKING:
    from collections.abc import Iterator

VIP = "172.16.100.1"
NOTEBOOK = Path(__file__).with_name("notebook")
LONG = 60.0  # seconds that a check every few seconds may take for several tries

# The values that Debian's systemd sets at boot.
LOOSE = {"net/ipv4/conf/default/rp_filter": "2", "net/ipv4/conf/eth0/rp_filter": "2"}
SYSCTLS = {"director": LOOSE, "one": LOOSE, "two": LOOSE}

# The director stands between two wires.
BETWEEN = Network(
    VIP,
    ("192.168.10.8", "192.168.10.9"),
    {
        "client": "addr add 172.16.100.10/24 dev eth0",
        "director": "addr add 192.168.10.7/24 dev eth1",
        "one": "addr add 192.168.10.8/24 dev eth0",
        "two": "addr add 192.168.10.9/24 dev eth0",
    },
    SYSCTLS,
    {"client": ("front",), "director": ("front", "back"), **dict.fromkeys(SERVERS, ("back",))},
)


def beside(vip: str, director: str, real: tuple[str, str]) -> Network:
    """Return a network with all hosts on one wire, in which no host has the virtual address yet."""
    net = vip.rpartition(".")[0]
    hosts = {
        "client": f"{net}.10/24 dev eth0\naddr add {net}.11",
        "director": director,
        "one": real[0],
        "two": real[1],
    }
    return Network(
        vip,
        real,
        {host: f"addr add {address}/24 dev eth0" for host, address in hosts.items()},
        SYSCTLS,
    )


BESIDE = beside(VIP, "172.16.100.2", ("172.16.100.7", "172.16.100.8"))

# Each server is in another network.
APART = Network(
    VIP,
    ("192.0.2.7", "198.51.100.8"),
    {
        "router": "addr add 172.16.100.254/24 dev eth0\naddr add 192.0.2.254/24 dev eth1\naddr add 198.51.100.254/24 dev eth2",
        "client": "addr add 172.16.100.10/24 dev eth0\nroute add default via 172.16.100.254",
        "director": "addr add 172.16.100.2/24 dev eth0\nroute add default via 172.16.100.254",
        "one": "addr add 192.0.2.7/24 dev eth0\nroute add default via 192.0.2.254",
        "two": "addr add 198.51.100.8/24 dev eth0\nroute add default via 198.51.100.254",
    },
    {**SYSCTLS, "router": {"net/ipv4/ip_forward": "1"}},
    {"router": ("lan", "here", "there"), "one": ("here",), "two": ("there",)},
)

NETWORKS = {
    "nat": BETWEEN,
    "direct-routing": BESIDE,
    "tunnel-ipip": APART,
    "tunnel-gre": APART,
    "tunnel-gue": APART,
}
WEB = {"tcp": [80, 443]}


def carry_out(parts: list[recipes.Part]) -> str:
    """Run the parts, and return their output, all together."""
    return "".join(done(host, part.text) for part in parts for host in part.hosts)


def follow(name: str) -> None:
    """Follow a recipe, after the recipes that must be followed before it."""
    recipe = recipes.read(name)
    if recipe.first:
        follow(recipe.first)
    carry_out(recipe.then(""))


def healthy(name: str) -> None:
    """Check that the doctor finds nothing on the hosts that the recipe, or its predecessor, says to
    check.
    """
    recipe = recipes.read(name)
    if recipe.first:
        healthy(recipe.first)
        return
    for part in recipe.then(recipes.WELL):
        words = part.text.split()
        assert words[:2] == ["ipvsadm", "--doctor"]
        for host in part.hosts:
            assert doctor(host, " ".join(words[2:])) == (0, []), host


@contextmanager
def cluster(name: str, ports: dict[str, list[int]] = WEB) -> Iterator[ExitStack]:
    """Set up the machines of a recipe, and follow it on them."""
    recipe = recipes.read(name)
    with (
        built(NETWORKS[recipe.first or name], ports),
        machines("director", *SERVERS),
        ExitStack() as stack,
    ):
        follow(name)
        yield stack


def table() -> str:
    return done("director", "ipvsadm -S -n")


def spread(names: list[str]) -> tuple[int, int, int]:
    """Return how many answers came from one, how many from two, and how many connections got
    none.
    """
    count = Counter(names)
    assert set(count) <= {"one", "two", ""}, names
    return count["one"], count["two"], count[""]


def held(vip: str, times: int) -> tuple[int, int, int]:
    """Return the spread of this many connections, all open at the same time."""
    with ExitStack() as stack:
        return spread([stack.enter_context(Connection(vip, 80)).server for _ in range(times)])


def test_nat() -> None:
    with cluster("nat", {}) as stack:
        stack.enter_context(served("one", socket.AF_INET, {"tcp": [80]}))
        stack.enter_context(served("two", socket.AF_INET, {"tcp": [8080]}))
        assert spread(ask(VIP, 80, 6)) == (3, 3, 0)
        healthy("nat")


def test_weights() -> None:
    with cluster("weights", {"tcp": [80, 8080]}):
        assert spread(ask(VIP, 80, 8)) == (6, 2, 0)
        printed = carry_out(recipes.read("weights").then("to change many at once"))
        assert printed.count("-e -t 172.16.100.1:80 ") == 2  # the dry run
        assert spread(ask(VIP, 80, 8)) == (2, 6, 0)
        healthy("weights")


def test_draining() -> None:
    recipe = recipes.read("drain")
    with built(BETWEEN, {"tcp": [80, 8080]}), machines("director", *SERVERS):
        follow("nat")
        with ExitStack() as stack:
            two = [stack.enter_context(Connection(VIP, 80)) for _ in range(2)]
            old = next(each for each in two if each.server == "one")
            (part,) = recipe.then("")
            with running("director", part.text) as drain:
                eventually(lambda: "192.168.10.8:80 -m -w 0" in table(), wanted=True)
                assert spread(ask(VIP, 80, 5)) == (0, 5, 0)
                assert old.again() == "one"
                old.close()
                assert drain.wait(30) == 0
        assert spread(ask(VIP, 80, 5)) == (0, 5, 0)
        carry_out(recipe.then("after the maintenance"))
        assert spread(ask(VIP, 80, 6)) == (3, 3, 0)
        healthy("drain")
        carry_out(recipe.then("when it goes for good"))
        assert spread(ask(VIP, 80, 5)) == (0, 5, 0)
        assert "192.168.10.8" not in table()


def test_direct_routing() -> None:
    with cluster("direct-routing"):
        assert arp_answers(BESIDE) == {"director"}
        assert held(VIP, 6) == (4, 2, 0)
        healthy("direct-routing")


@pytest.mark.parametrize(
    ("name", "wire"), [("tunnel-ipip", "ipip"), ("tunnel-gre", "gre"), ("tunnel-gue", "udp")]
)
def test_tunnelling(name: str, wire: str) -> None:
    with cluster(name):
        with listened("one") as kinds:
            assert spread(ask(VIP, 80, 6)) == (3, 3, 0)
        assert kinds == {wire}
        healthy(name)


CLIENTS = ("172.16.100.10", "172.16.100.11")


def stays(first: int, others: list[int]) -> None:
    """Check that each client gets one server at all these ports, and that the two clients get
    different servers.
    """
    here = {client: ask(VIP, first, 1, client)[0] for client in CLIENTS}
    assert sorted(here.values()) == ["one", "two"]
    for client, server in here.items():
        for port in [first, *others]:
            assert ask(VIP, port, 3, client) == [server] * 3


def test_persistence_for_each_port() -> None:
    with cluster("persistence-port"):
        stays(443, [])
        # the service beside it is not held to that: six open connections by weight
        assert held(VIP, 6) == (4, 2, 0)
        healthy("persistence-port")


def test_persistence_for_each_client() -> None:
    with cluster("persistence-client", {"tcp": [80, 443, 2222]}):
        stays(80, [443, 2222])
        healthy("persistence-client")


def test_persistence_by_mark() -> None:
    need_filters()
    with cluster("persistence-mark", {"tcp": [80, 443]}):
        stays(80, [443])
        with pytest.raises(ConnectionRefusedError):
            ask(VIP, 8080, 1)
        healthy("persistence-mark")


def test_after_the_next_boot() -> None:
    """The files that the recipe wrote are read as at boot: by the unit, and by systemd-networkd
    (both machines run their own programs).
    """
    with cluster("boot"):
        before = table()
        done("director", "ipvsadm -C; ip address del 172.16.100.1/32 dev eth0")
        for host in SERVERS:
            done(
                host,
                "ip address del 172.16.100.1/32 dev lo; sysctl -q net.ipv4.conf.all.arp_ignore=0",
            )
        with pytest.raises(OSError, match="No route to host"):
            Connection(VIP, 80)
        unit = done("director", "cat /etc/systemd/system/multi-user.target.wants/ipvsadm.service")
        done("director", re.findall("^ExecStart=(.*)$", unit, re.MULTILINE)[0])
        for host in ("director", *SERVERS):
            done(host, "sysctl -q -p /etc/sysctl.d/*.conf" if host in SERVERS else "true")
        with ExitStack() as stack:
            for host in ("director", *SERVERS):
                stack.enter_context(running(host, "exec /lib/systemd/systemd-networkd"))
            for host, device in {"director": "eth0", "one": "lo", "two": "lo"}.items():
                eventually(
                    lambda: " 172.16.100.1/32 " in done(host, f"ip -br address show {device}"),  # noqa: B023
                    wanted=True,
                )
        assert table() == before
        assert held(VIP, 6) == (4, 2, 0)
        healthy("boot")


# --- health


def serving(vip: str) -> tuple[int, int, int]:
    return spread(browse(vip, 80, 10))


def out(network: Network) -> bool:
    """Return True if the first server gets no new clients."""
    return not re.search(rf"-r {network.real[0]}:80 -\w -w [1-9]", table())


def pages(host: str) -> AbstractContextManager[None]:
    return served(host, socket.AF_INET, {"http": [80]})


def dies_and_returns(network: Network, one: ExitStack) -> None:
    """Check what the client sees while a server dies and returns. one: the context that keeps it
    running.
    """
    eventually(lambda: out(network), wanted=False, patience=LONG)
    ones, twos, nobodies = serving(network.vip)
    assert (ones + twos, nobodies) == (10, 0)
    assert min(ones, twos) > 0
    one.close()
    eventually(lambda: out(network), wanted=True, patience=LONG)
    assert serving(network.vip) == (0, 10, 0)
    one.enter_context(pages("one"))
    eventually(lambda: out(network), wanted=False, patience=LONG)
    # the server has no connections: wlc gives it all new ones, until it has as many
    assert serving(network.vip) == (10, 0, 0)


def events(host: str = "director") -> list[str]:
    """Return the lines of the log, without their times."""
    log = done(host, "cat /var/log/ipvsmonitor.log || true").splitlines()
    return [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d, ", "", line) for line in log]


def test_the_health_check() -> None:
    with cluster("direct-routing", {}), pages("two"), ExitStack() as one:
        one.enter_context(pages("one"))
        before = table()
        with running(
            "director", f"INTERVAL=1 exec sh {recipes.FOLDER}/health-check.sh -t {VIP}:80"
        ) as check:
            dies_and_returns(BESIDE, one)
            done("one", "ip link set eth0 down")  # nothing refuses: the host cannot be reached
            eventually(lambda: out(BESIDE), wanted=True, patience=LONG)
            assert serving(VIP) == (0, 10, 0)
            done("one", "ip link set eth0 up")
            eventually(lambda: out(BESIDE), wanted=False, patience=LONG)
            check.send_signal(signal.SIGTERM)
            assert check.wait(LONG) == 0
        assert events() == ["172.16.100.7:80 is gone", "172.16.100.7:80 is back"] * 2
        assert table() == before
        healthy("direct-routing")


def test_ldirectord() -> None:
    """Debian's package, as it is: it calls /sbin/ipvsadm."""
    with cluster("direct-routing", {}), pages("two"), ExitStack() as one:
        one.enter_context(pages("one"))
        try:
            carry_out(recipes.read("ldirectord").then(""))
            dies_and_returns(BESIDE, one)
            healthy("ldirectord")
        finally:
            done("director", "service ldirectord stop")
        eventually(table, "", LONG)


# --- the notebook's scripts, as they stand


def notes(name: str) -> str:
    return f"bash {NOTEBOOK}/{name}.sh"


def test_the_notebook_s_scripts_for_direct_routing() -> None:
    with built(BESIDE, WEB), machines("director", *SERVERS):
        for host in ("director", *SERVERS):
            done(host, "mkdir -p /etc/rc.d/init.d; touch /etc/rc.d/init.d/functions")
        for host in SERVERS:
            done(host, f"{notes('real-server')} start")
        done("director", f"{notes('director')} start")
        assert arp_answers(BESIDE) == {"director"}
        assert held(VIP, 7) == (2, 5, 0)
        assert "Running" in done("one", f"{notes('real-server')} status")
        status = done("director", f"{notes('director')} status")
        assert status.startswith("ipvs is running ...\nIP Virtual Server version 1.2.1")
        assert "\n  -> 172.16.100.8:80              Route   5      " in status
        assert doctor("director") == (0, [])
        for host in SERVERS:
            assert doctor(host, f"--real-server-for {VIP} --director 172.16.100.2") == (0, [])
        assert done("director", f"{notes('director')} stop") == "ipvs is stopped...\n"
        assert table() == ""
        assert done("director", f"{notes('director')} status") == "ipvsadm is stopped ...\n"
        done("one", f"{notes('real-server')} stop")
        assert VIP not in done("one", "ip address show")


@pytest.mark.parametrize(
    ("name", "log"),
    [("health-1", []), ("health-2", ["192.168.10.7 is gone.", "192.168.10.7 is back."])],
)
def test_the_notebook_s_health_checks(name: str, log: list[str]) -> None:
    network = beside("192.168.10.3", "192.168.10.2", ("192.168.10.7", "192.168.10.8"))
    with built(network, {}), machines("director", *SERVERS), pages("two"), ExitStack() as one:
        for part in recipes.read("direct-routing").then(""):
            text = part.text.replace(VIP, network.vip).replace("172.16.100", "192.168.10")
            carry_out([part._replace(text=text)])
        one.enter_context(pages("one"))
        faster = "sleep() { command sleep 1; }; export -f sleep"  # for 5
        with running("director", f"{faster}; exec {notes(name)}"):
            dies_and_returns(network, one)
            eventually(events, log, LONG)  # the script writes after ipvsadm has ended
