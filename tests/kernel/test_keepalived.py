"""Test ipvsadm beside keepalived, which runs the file that the documentation shows: its table is
read, its failover works.

Owns: keepalived's processes, and what its file means as a table. The networks are in pair.py.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyipvsadm.doctor.host  # noqa: F401  # takes seconds in the guest: once is enough, all runs of the doctor fork from here
from tests.kernel.netns import enter, inside, run_ours, run_reference
from tests.kernel.network import Connection, ask, built, eventually, served
from tests.kernel.observe import shell
from tests.kernel.pair import NAT_PAIR, cut_short, doctor, known, plug

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).parents[2]
FILE = REPO / "docs" / "failover" / "keepalived.conf"
NAMES = {"director": "lb1", "second": "lb2"}  # the file's lines with @ are for these
WEB = {"tcp": [80, 443]}
LONG = 60.0  # seconds for events that wait for keepalived's own clocks

# The table that FILE describes.
TABLE = """\
-A -t 172.16.100.1:80 -s wrr
-a -t 172.16.100.1:80 -r 192.168.10.8:80 -m -w 2
-a -t 172.16.100.1:80 -r 192.168.10.9:80 -m -w 1
-A -t 172.16.100.1:443 -s rr -p 300
-a -t 172.16.100.1:443 -r 192.168.10.8:443 -m -w 1
-a -t 172.16.100.1:443 -r 192.168.10.9:443 -m -w 1
"""
WITHOUT_ONE = "".join(
    line for line in TABLE.splitlines(keepends=True) if "192.168.10.8" not in line
)
SYNC = "--mcast-interface eth1 --syncid 51"
FULL = f"""\
--set 900 120 300
--start-daemon master {SYNC} --sync-maxlen 1472 --mcast-group 224.0.0.81 --mcast-port 8848 --mcast-ttl 1
"""


class Keepalived:
    """Run keepalived on a host, with its children in a process group. Its output is in its log."""

    def __init__(self, host: str, folder: Path) -> None:
        self.log = folder / f"{host}.log"
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setpgid(0, 0)
                out = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
                os.dup2(out, 1)
                os.dup2(out, 2)
                enter(host)
                files = [
                    f"--{which}={folder / host}.{which}"
                    for which in ("pid", "vrrp_pid", "checkers_pid")
                ]
                words = [
                    "--dont-fork",
                    "--log-console",
                    "--log-detail",
                    "--no-syslog",
                    f"--config-id={NAMES[host]}",
                ]
                os.execv(
                    "/usr/sbin/keepalived", ["keepalived", *words, f"--use-file={FILE}", *files]
                )
            finally:
                os._exit(127)

    def killed(self) -> None:
        """Kill only its first process; its children notice, and leave the host as they found it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.pid = 0

    def frozen(self) -> None:
        """Stop all of its processes, as when the machine hangs."""
        os.killpg(self.pid, signal.SIGSTOP)

    def gone(self) -> None:
        """Kill all of its processes, and print the log."""
        if self.pid:
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        print(self.log.read_text() if self.log.exists() else "no log")


@contextmanager
def keepalived(host: str, folder: Path) -> Iterator[Keepalived]:
    """Run keepalived until the body ends, unless it was killed before."""
    run = Keepalived(host, folder)
    try:
        yield run
    finally:
        run.gone()


def at_work(host: str) -> tuple[bool, bool, list[str]]:
    """Return whether a host has the virtual address, whether it has the servers' gateway, and the
    daemons it runs.
    """
    addresses = shell(host, "ip -br -4 address show").split()
    daemons = [line.split()[0] for line in shell(host, "ipvsadm -L --daemon").splitlines()]
    return "172.16.100.1/24" in addresses, "192.168.10.1/24" in addresses, daemons


ACTIVE = (True, True, ["master"])
STANDS_BY = (False, False, ["backup"])


def saved(host: str, *words: str) -> str:
    return shell(host, " ".join(["ipvsadm -S -n", *words]))


def as_rules(text: str) -> str:
    """Return the document of --json in the form that -S writes."""
    lines = []
    for service in json.loads(text)["services"]:
        virtual = f"-t {service['address']}:{service['port']}"
        assert (service["family"], service["protocol"], service["one_packet"]) == (
            "ipv4",
            "tcp",
            False,
        )
        timeout = service.get("persistence_timeout")
        lines.append(
            f"-A {virtual} -s {service['scheduler']}" + (f" -p {timeout}" if timeout else "")
        )
        for server in service["servers"]:
            assert server["forwarding"] == "masq"
            lines.append(
                f"-a {virtual} -r {server['address']}:{server['port']} -m -w {server['weight']}"
            )
    return "\n".join(lines) + "\n"


def service_script(folder: Path) -> list[str]:
    """Return the command behind `service ipvsadm`, as installed beside the environment's programs,
    with its /etc in folder.
    """
    text = (REPO / "packaging" / "systemd" / "service.sh").read_text()
    script = folder / "service"
    filled = {
        "@SBINDIR@": str(Path(sys.executable).parent),
        "@RULES_FILE@": f"{folder}/ipvsadm.rules",
        "@SETTINGS_FILE@": f"{folder}/default/ipvsadm",
        "@SAVE_ON_STOP@": "no",
    }
    for word, value in filled.items():
        text = text.replace(word, value)
    script.write_text(text)
    return ["sh", str(script)]


def test_its_table_is_read_and_left_alone(tmp_path: Path) -> None:
    with built(NAT_PAIR, {}), ExitStack() as stack:
        one = stack.enter_context(ExitStack())
        one.enter_context(served("one", socket.AF_INET, WEB))
        stack.enter_context(served("two", socket.AF_INET, WEB))
        stack.enter_context(keepalived("director", tmp_path))
        eventually(lambda: at_work("director"), ACTIVE, LONG)

        # the table of its file, our listings, the reference's listings
        eventually(lambda: saved("director"), TABLE)
        for words in (["-L", "-n"], ["-S", "-n"], ["-L", "--daemon"], ["-L", "-n", "--stats"]):
            assert run_ours(words, namespace="director") == run_reference(
                words, namespace="director"
            )
        assert saved("director", "--full") == FULL + TABLE
        assert as_rules(shell("director", "ipvsadm -L -n --json")) == TABLE
        assert doctor("director") == ([], [])

        # --prune alone deletes nothing of keepalived's
        (tmp_path / "ipvsadm.rules").write_text("-A -f 7 -s rr\n")
        apply = ["--apply", str(tmp_path / "ipvsadm.rules"), "--prune"]
        no = b"keepalived is running: --prune may delete services that are not yours; "
        told = no + b"add --force if you mean it (nothing was done)\n"
        refused = run_ours(apply, namespace="director")
        assert (refused.status, refused.stdout, refused.stderr) == (2, b"", told)
        with inside("director"):
            reload = subprocess.run(
                [*service_script(tmp_path), "reload"], capture_output=True, timeout=60, check=False
            )
        assert (reload.returncode, reload.stdout, reload.stderr) == (2, b"", told)
        tried = run_ours([*apply, "--dry-run"], namespace="director")
        assert tried.status == 1
        assert tried.stderr.startswith(
            no + b"without --force this ends with status 2, and nothing is done\n"
        )
        assert saved("director") == TABLE
        assert run_ours(apply[:2], namespace="director").status == 0
        assert saved("director") == TABLE + "-A -f 7 -s rr\n"

        # a server dies, and comes back
        assert sorted(ask(NAT_PAIR.vip, 80, 3)) == ["one", "one", "two"]
        one.close()
        eventually(lambda: saved("director"), WITHOUT_ONE + "-A -f 7 -s rr\n", LONG)
        assert ask(NAT_PAIR.vip, 80, 4) == ["two"] * 4
        one.enter_context(served("one", socket.AF_INET, WEB))
        eventually(lambda: saved("director"), TABLE + "-A -f 7 -s rr\n", LONG)
        assert set(ask(NAT_PAIR.vip, 80, 3)) == {"one", "two"}

        # --force deletes all of it
        assert run_ours([*apply, "--force"], namespace="director").status == 0
        assert saved("director") == "-A -f 7 -s rr\n"


def test_its_failover_keeps_connections(tmp_path: Path) -> None:
    """The failover is tested twice: first its first process is killed; then the other machine hangs
    and is cut off.
    """
    with built(NAT_PAIR, WEB), ExitStack() as stack:
        first = stack.enter_context(keepalived("director", tmp_path))
        eventually(lambda: at_work("director"), ACTIVE, LONG)
        second = stack.enter_context(keepalived("second", tmp_path))
        eventually(lambda: at_work("second"), STANDS_BY, LONG)
        eventually(lambda: saved("second"), TABLE)
        assert doctor("director") == ([], [])
        findings, (aside,) = doctor("second")
        assert findings == []
        assert "a backup sync daemon runs here" in aside
        shell("second", "ipvsadm --stop-daemon backup")  # as in a file without lvs_sync_daemon
        findings, (aside,) = doctor("second")
        assert findings == []
        assert "keepalived runs here" in aside
        shell("second", f"ipvsadm --start-daemon backup {SYNC}")

        before = cut_short()
        early = stack.enter_context(Connection(NAT_PAIR.vip, 80))
        eventually(lambda: known("second"), known("director"))
        first.killed()
        eventually(lambda: at_work("second"), ACTIVE, LONG)
        eventually(lambda: at_work("director"), (False, False, []))
        assert early.again() == early.server
        assert set(ask(NAT_PAIR.vip, 80, 3)) == {"one", "two"}

        # the director that comes back stands by, and learns of connections made meanwhile
        first = stack.enter_context(keepalived("director", tmp_path))
        eventually(lambda: at_work("director"), STANDS_BY, LONG)
        eventually(lambda: saved("director"), TABLE)
        late = stack.enter_context(Connection(NAT_PAIR.vip, 443))
        eventually(lambda: set(known("second")) <= set(known("director")), True)
        second.frozen()
        plug(NAT_PAIR, "second", "down")
        eventually(lambda: at_work("director"), ACTIVE, LONG)
        assert [each.again() for each in (early, late)] == [early.server, late.server]
        assert set(ask(NAT_PAIR.vip, 80, 3)) == {"one", "two"}
        assert cut_short() == before
        assert doctor("director") == ([], [])
