"""Run the two directors as nodes of a cluster: machines that have a name, processes of their own
and a power switch.

Owns: the namespaces of a node beside its network, what its /etc says, and its loss of power.
Must never know: which program manages the cluster.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kernel import machine
from tests.kernel.netns import Result, run_child, run_reference
from tests.kernel.network import ip
from tests.kernel.observe import shell
from tests.kernel.pair import plug

if TYPE_CHECKING:
    from tests.kernel.network import Network

POWER = machine.PLACE / "power"
PATIENCE = 150.0  # seconds that a program may take to start in a slow guest
# The nodes' names, and their addresses at eth0.
NAMES = {"director": "node1.name", "second": "node2.name"}
ADDRESSES = {"director": "172.16.100.2", "second": "172.16.100.3"}
RULES = """\
-A -t 172.16.100.1:80 -s rr
-a -t 172.16.100.1:80 -r 192.168.10.8:80 -m -w 1
-a -t 172.16.100.1:80 -r 192.168.10.9:80 -m -w 1
-A -t 172.16.100.1:443 -s rr -p 300
-a -t 172.16.100.1:443 -r 192.168.10.8:443 -m -w 1
-a -t 172.16.100.1:443 -r 192.168.10.9:443 -m -w 1
"""

# Run after machine.SETUP, as `sh -e -c ... sh OWN PLACE NAME`. /run is the node's own, but for
# /run/machines, where /etc links to. It ends as the node's first process. That is bash, which also
# waits for children that lost their parents.
SETUP = """
mkdir -p $own/run
mount -t tmpfs tmpfs $own/run
mkdir -p $own/run/machines $own/run/lock/subsys $own/run/resource-agents
mount --rbind /run/machines $own/run/machines
mount --rbind $own/run /run
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t proc proc /proc
hostname $3
rm /etc/hosts
cp $2/cluster-hosts /etc/hosts
rm /etc/corosync
mkdir -p /etc/corosync
for name in heartbeat heartbeat/crm heartbeat/ccm heartbeat/dopd crm; do
    install -d -o hacluster -g haclient -m 750 /run/$name
done
for name in pacemaker pacemaker/cib pacemaker/cores pacemaker/pengine pacemaker/blackbox; do
    install -d -o hacluster -g haclient -m 750 /var/lib/$name
done
install -d /var/lib/heartbeat /var/lib/heartbeat/api /var/lib/heartbeat/casual /var/lib/heartbeat/lrm
for name in root nobody hacluster; do install -d -o $name /var/lib/heartbeat/cores/$name; done
install -d /var/lib/corosync /var/log/corosync
install -d -o hacluster -g haclient /var/log/pacemaker
for each in $2/etc/*; do cp -R $each /etc; done
mount -t tmpfs tmpfs /usr/lib/stonith/plugins/external
install $2/power.sh /usr/lib/stonith/plugins/external/power
mkdir -p $own/sbin
mount --rbind /usr/sbin $own/sbin
mount -t tmpfs tmpfs /usr/sbin
ln -s $own/sbin/* /usr/sbin
install $2/power.sh /usr/sbin/fence_power
: >/etc/is-ready
exec bash -c 'sleep infinity & wait'
"""


class Node:
    """Hold a director's processes, until its power is cut."""

    def __init__(self, host: str) -> None:
        self.host, self.name = host, NAMES[host]
        self.log = machine.PLACE / f"{host}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("nsenter", f"--net=/run/netns/{host}"),
                    *("unshare", "--fork", "--kill-child", "--mount", "--pid", "--uts", "--ipc"),
                    *("sh", "-e", "-c", machine.SETUP + SETUP, "sh"),
                    *(str(machine.PLACE / host), str(machine.PLACE), self.name),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._is_ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        pids = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        self.first = pids[0] if pids else ""
        return bool(pids) and Path(f"/proc/{pids[0]}/root/etc/is-ready").exists()

    def run(self, script: str, timeout: float = PATIENCE) -> Result:
        """Run a script there, by a shell that ends at the first command that fails."""
        command = [
            "nsenter",
            f"--target={self.first}",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
        ]
        command += ["bash", "-e", "-c", script]
        return run_child(lambda: os.execvp(command[0], command), timeout=timeout)

    def output(self, script: str) -> str:
        """Return what a script that succeeds prints there."""
        result = self.run(script)
        assert result.status == 0, (self.host, script, result)
        return result.stdout.decode()

    def end(self) -> None:
        """Kill all processes of the node."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Cluster:
    """Hold both nodes on a network, and their power switch."""

    def __init__(self, network: Network, files: dict[str, str]) -> None:
        """Write the configuration files for both nodes. files: text by path below /etc."""
        self.network = network
        self.nodes: dict[str, Node] = {}
        machine.install_programs()
        shutil.rmtree(POWER, ignore_errors=True)
        POWER.mkdir()
        (POWER / "requests").touch()
        script = Path(__file__).with_name("power.sh").read_text()
        (machine.PLACE / "power.sh").write_text(script.replace("@POWER@", str(POWER)))
        hosts = "127.0.0.1 localhost\n"
        hosts += "".join(f"{ADDRESSES[host]} {name}\n" for host, name in NAMES.items())
        (machine.PLACE / "cluster-hosts").write_text(hosts)
        shutil.rmtree(machine.PLACE / "etc", ignore_errors=True)
        for name, text in files.items():
            path = machine.PLACE / "etc" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o600)

    def _addresses(self, host: str) -> list[str]:
        # heartbeat's `bcast` sends to the broadcast address of the interface
        return self.network.setup[host].replace(" dev ", " brd + dev ").splitlines()

    def switch_on(self, host: str) -> Node:
        """Boot a node: plug its cables in, set its addresses, then start its processes."""
        ip([f"addr flush dev {link}" for _, link, *_ in self.network.links(host)], host)
        ip(self._addresses(host), host)
        plug(self.network, host, "up")
        (POWER / f"off.{NAMES[host]}").unlink(missing_ok=True)
        self.nodes[host] = Node(host)
        return self.nodes[host]

    def cut_power(self, host: str) -> None:
        """Cut a node off, with all that its kernel holds, and let the request for it succeed."""
        plug(self.network, host, "down")
        self.nodes.pop(host).end()
        for words in (["-C"], ["--stop-daemon", "master"], ["--stop-daemon", "backup"]):
            run_reference(words, namespace=host)
        ip([f"addr flush dev {link}" for _, link, *_ in self.network.links(host)], host)
        (POWER / f"off.{NAMES[host]}").touch()

    def requests(self) -> list[str]:
        """Return what the power switch was asked: who asks, the action, the node."""
        return (POWER / "requests").read_text().splitlines()

    def end(self) -> None:
        for node in self.nodes.values():
            node.end()


def list_rules(host: str) -> str:
    """Return the rules as 1.31 prints them."""
    result = run_reference(["-S", "-n"], namespace=host)
    assert (result.status, result.stderr) == (0, b""), result
    return result.stdout.decode()


def holds_addresses(host: str) -> tuple[bool, bool]:
    """Return True if a director has the virtual address and the real servers' gateway."""
    words = shell(host, "ip -br -4 address show").split()
    addresses = {word.partition("/")[0] for word in words}
    return "172.16.100.1" in addresses, "192.168.10.1" in addresses
