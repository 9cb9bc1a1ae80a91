"""Run two directors under heartbeat, and under Pacemaker with corosync, with the files that the
documentation shows.

Owns: what each manager is given, how it is started, and what a takeover must keep. The nodes are in
cluster.py. A takeover here is slow: the guest is, and these managers are hundreds of shell
processes. The short version ends when the other director has taken over; IPVSADM_CLUSTERS=full goes on.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.kernel.cluster import RULES, Cluster, Node, holds_addresses, list_rules
from tests.kernel.network import Asking, Connection, ask, built, eventually, ip
from tests.kernel.observe import shell
from tests.kernel.pair import NAT_PAIR, cut_short, known, plug
from tests.kernel.test_failover import WAYS, running
from tests.kernel.test_keepalived import ACTIVE, STANDS_BY, at_work, keepalived

if TYPE_CHECKING:
    from collections.abc import Callable

FULL = os.environ.get("IPVSADM_CLUSTERS") == "full"
DOCS = Path(__file__).parents[2] / "docs" / "failover"
LONG = 150.0  # seconds that a manager's clocks and scripts may take in a slow guest
LIFE = 900  # seconds
MOVED = (True, True)
AWAY = (False, False)


class Manager(NamedTuple):
    """Describe a cluster manager.

    files: names in its folder of the documentation, by path below /etc. at_boot: the commands
    before the manager; start: the command that starts it on a node; once: the commands to type on
    the first node when both run; back: the command that moves the addresses to the first node, ""
    if they move by themselves. link_lost, link_found: commands that succeed on the first node when
    it knows that the other node's wire is cut, or is back. standby_rules: the table of the director
    without addresses. log: the command that prints the manager's log.
    """

    name: str
    files: dict[str, str]
    at_boot: str
    start: str
    once: str
    back: str
    link_lost: str
    link_found: str
    standby_rules: str
    log: str


# heartbeat's scripts write a message to its FIFO in pieces. In a slow guest it reads the first one
# alone ("Message with zero fields"), and the director never takes its addresses.
WHOLE_MESSAGES = """
cat >>/etc/ha.d/shellfuncs <<'END'
ha_clustermsg() {
    printf '>>>\\n%s\\n<<<\\n' "$(cat)" >>"$HA_FIFO"
}
END
"""
HEARTBEAT = Manager(
    "heartbeat",
    {
        "ha.d/authkeys": "authkeys",
        "ha.d/ha.cf": "ha.cf",
        "ha.d/haresources": "haresources",
        "default/ipvsadm": "ipvsadm.default",
        "rc.local": "rc.local",
    },
    at_boot=WHOLE_MESSAGES + "sh /etc/rc.local",
    start="/etc/init.d/heartbeat start",
    once="",
    back="",
    link_lost="grep 'Link node2.name:eth0 dead' /var/log/ha-log",
    link_found="[ $(grep -c 'Link node2.name:eth0 up' /var/log/ha-log) = 2 ]",
    standby_rules="",
    log="cat /var/log/ha-log",
)
PACEMAKER = Manager(
    "pacemaker",
    {
        "corosync/corosync.conf": "corosync.conf",
        "corosync/resources.xml": "resources.xml",
        "default/ipvsadm": "ipvsadm.default",
    },
    at_boot="",
    start="""
        corosync
        until corosync-cfgtool -s; do sleep 0.5; done
        pacemakerd >/dev/null 2>&1 </dev/null &
        until cibadmin --query >/dev/null 2>&1; do sleep 0.5; done
    """,
    once="cibadmin --replace --scope=configuration --xml-file=/etc/corosync/resources.xml",
    back="crm_resource --resource addresses --move --node node1.name",
    link_lost="corosync-cfgtool -s | grep disconnected",
    link_found="! corosync-cfgtool -s | grep disconnected",
    standby_rules=RULES,
    log="tail -50 /var/log/corosync/corosync.log; crm_mon -1; grep -v debug: /var/log/pacemaker/pacemaker.log | tail -100",
)


def boot_node(cluster: Cluster, manager: Manager, host: str) -> Node:
    node = cluster.switch_on(host)
    node.output(manager.at_boot)
    node.output(manager.start)
    return node


def wait_until(read: Callable[[], bool], patience: float = LONG) -> None:
    eventually(read, wanted=True, patience=patience)


def exercise_until_known(connection: Connection, host: str) -> None:
    """Ask over a connection until a director has learnt of it: the other director announces a
    connection again after 50 packets (sync_threshold).
    """

    def is_known() -> bool:
        for _ in range(10):
            assert connection.again() == connection.server
        return any(f":{connection.port}" in row[2] for row in known(host))

    wait_until(is_known)


def wait_for_request(cluster: Cluster, request: str, host: str) -> None:
    """Wait until a node asks to cut off the other, and check that the addresses have not moved to
    this host.

    request: the node that asks, and the other node.
    """
    wait_until(lambda: request in {" ".join(line.split()[::2]) for line in cluster.requests()})
    assert holds_addresses(host) == AWAY


@pytest.mark.parametrize("manager", [HEARTBEAT, PACEMAKER], ids=lambda manager: manager.name)
def test_takeover_keeps_connections(manager: Manager) -> None:
    began = time.monotonic()
    files = {path: (DOCS / manager.name / name).read_text() for path, name in manager.files.items()}
    files["ipvsadm.rules"] = RULES
    files["corosync/authkey"] = "not a secret" * 11

    def report(text: str) -> None:
        print(f"{manager.name}, {time.monotonic() - began:.0f} s: {text}", flush=True)

    with ExitStack() as stack:
        stack.enter_context(built(NAT_PAIR, {"tcp": [80, 443]}, LIFE))
        cluster = Cluster(NAT_PAIR, files)
        stack.callback(cluster.end)

        def show_logs(kind: object, *_: object) -> None:
            for node in cluster.nodes.values() if kind else ():
                print(node.name, node.run(manager.log).stdout.decode())

        stack.push(show_logs)

        first = boot_node(cluster, manager, "director")
        boot_node(cluster, manager, "second")
        if manager.once:
            first.output(manager.once)
        wait_until(lambda: holds_addresses("director") == MOVED)
        eventually(lambda: list_rules("director"), RULES, LONG)
        eventually(lambda: list_rules("second"), manager.standby_rules, LONG)
        assert holds_addresses("second") == AWAY
        report("both run")

        before = cut_short()
        early = stack.enter_context(Connection(NAT_PAIR.vip, 80))
        exercise_until_known(early, "second")
        client = stack.enter_context(Asking(NAT_PAIR.vip, 80))
        if FULL:
            # after the cut of one wire nothing moves
            ip(["link set second down"], "switch")
            wait_until(lambda: first.run(manager.link_lost).status == 0)
            ip(["link set second up"], "switch")
            wait_until(lambda: first.run(manager.link_found).status == 0)
            assert (holds_addresses("director"), holds_addresses("second")) == (MOVED, AWAY)
            assert cluster.requests() == []
            report("one wire was cut")

        # after the cut of both, the other node is cut off before the address moves
        cut = time.monotonic()
        ip([f"link set {port} down" for _, _, port, _ in NAT_PAIR.links("director")], "switch")
        wait_for_request(cluster, "node2.name node1.name", "second")
        report(f"asked for the power {time.monotonic() - cut:.1f} s after the cut")
        cluster.cut_power("director")
        wait_until(lambda: holds_addresses("second") == MOVED)
        eventually(lambda: list_rules("second"), RULES, LONG)
        assert early.again() == early.server
        eventually(lambda: set(ask(NAT_PAIR.vip, 80, 3)), {"one", "two"})
        assert client.refusals() == []
        report(f"split: {client.longest_silence(cut):.1f} s without an answer")
        if not FULL:
            return
        late = stack.enter_context(Connection(NAT_PAIR.vip, 443))

        # the way back
        asked = cluster.requests()
        first = cluster.switch_on("director")
        first.output(manager.at_boot)
        if not manager.back:  # the first node will take over as soon as it can
            exercise_until_known(early, "director")
            exercise_until_known(late, "director")
        first.output(manager.start)
        eventually(lambda: list_rules("director"), RULES, LONG)
        back = time.monotonic()
        if manager.back:
            exercise_until_known(early, "director")
            exercise_until_known(late, "director")
            assert holds_addresses("second") == MOVED
            back = time.monotonic()
            first.output(manager.back)
        wait_until(lambda: holds_addresses("director") == MOVED)
        eventually(lambda: list_rules("second"), manager.standby_rules, LONG)
        assert holds_addresses("second") == AWAY
        assert [each.again() for each in (early, late)] == [early.server, late.server]
        eventually(lambda: set(ask(NAT_PAIR.vip, 80, 3)), {"one", "two"})
        assert cluster.requests() == asked
        assert cut_short() == before
        assert client.refusals() == []
        report(f"back: {client.longest_silence(back):.1f} s without an answer")

        # the manager's processes are killed, the node's kernel keeps the addresses
        exercise_until_known(early, "second")
        exercise_until_known(late, "second")
        killed = time.monotonic()
        first.end()
        wait_until(lambda: len(cluster.requests()) > len(asked))
        assert (holds_addresses("director"), holds_addresses("second")) == (MOVED, AWAY)
        assert [each.again() for each in (early, late)] == [early.server, late.server]
        cut = time.monotonic()
        report(f"asked for the power {cut - killed:.1f} s after the kill")
        cluster.cut_power("director")
        wait_until(lambda: holds_addresses("second") == MOVED)
        eventually(lambda: list_rules("second"), RULES, LONG)
        assert [each.again() for each in (early, late)] == [early.server, late.server]
        eventually(lambda: set(ask(NAT_PAIR.vip, 80, 3)), {"one", "two"})
        assert cut_short() == before
        assert client.refusals() == []
        report(f"killed: {client.longest_silence(cut):.1f} s without an answer")


def test_silence_by_hand() -> None:
    way = WAYS[0]
    with running(way, way.start), Asking(NAT_PAIR.vip, 80) as client:
        cut = time.monotonic()
        plug(NAT_PAIR, "director", "down")
        for host, command in way.failover:
            shell(host, command)
        eventually(lambda: set(ask(NAT_PAIR.vip, 80, 3)), {"one", "two"})
        print(f"by hand: {client.longest_silence(cut):.1f} s without an answer")


def test_silence_with_keepalived(tmp_path: Path) -> None:
    with built(NAT_PAIR, {"tcp": [80, 443]}), ExitStack() as stack:
        first = stack.enter_context(keepalived("director", tmp_path))
        eventually(lambda: at_work("director"), ACTIVE, LONG)
        stack.enter_context(keepalived("second", tmp_path))
        eventually(lambda: at_work("second"), STANDS_BY, LONG)
        client = stack.enter_context(Asking(NAT_PAIR.vip, 80))
        cut = time.monotonic()
        first.frozen()
        plug(NAT_PAIR, "director", "down")
        eventually(lambda: at_work("second"), ACTIVE, LONG)
        eventually(lambda: set(ask(NAT_PAIR.vip, 80, 3)), {"one", "two"})
        print(f"keepalived, cut off: {client.longest_silence(cut):.1f} s without an answer")
