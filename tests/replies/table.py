"""List what is asked of each kernel, and of which tables.

Owns: the rules, the traffic, the commands. Must never know: how answers are kept or replayed
(recording.py).
"""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cases.case import Step, restore, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyipvsadm.backends.kernel import KernelBackend

# Enough servers and services that a dump comes in several datagrams (11 services or 10 servers fill
# the first).
RULES = "".join(
    f"{line}\n"
    for line in (
        "-A -t 127.0.0.1:80 -s rr",
        "-a -t 127.0.0.1:80 -r 127.0.0.2:80 -m -w 3 -x 100 -y 50",
        "-a -t 127.0.0.1:80 -r 127.0.0.3:80 -m -w 0",
        "-A -t 127.0.0.1:81 -s wlc -p 600 -M 255.255.255.0",
        "-a -t 127.0.0.1:81 -r 127.0.0.2:80 -m -w 65535",
        "-A -u 127.0.0.1:9 -s wrr",
        *(f"-a -u 127.0.0.1:9 -r 127.0.1.{last}:9 -m -w {last}" for last in range(1, 15)),
        "-A -u 127.0.0.1:53 -s rr -o",
        "-A -u 127.0.0.1:5060 -s rr -p 90 --pe sip",
        "-a -u 127.0.0.1:5060 -r 127.0.0.2:5060 -m",
        "-A -u [fd00::1]:9 -s sh -b sh-fallback,sh-port",
        "-a -u [fd00::1]:9 -r [fd00::2]:9 -m -w 2",
        "-A -t [fd00::1]:443 -s mh -p 30 -M 64",
        "-a -t [fd00::1]:443 -r [fd00::9]:443 -g -x 2147483647 -y 1",
        "-A --sctp-service 10.0.0.1:2905 -s lc",
        "-a --sctp-service 10.0.0.1:2905 -r 10.0.0.2 -g",
        "-A -t 10.0.0.1:80 -s wlc",
        "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -i",
        "-a -t 10.0.0.1:80 -r 10.0.0.3:80 -i --tun-type gue --tun-port 6080 --tun-csum",
        "-a -t 10.0.0.1:80 -r 10.0.0.4:80 -i --tun-type gue --tun-port 6081 --tun-remcsum",
        "-a -t 10.0.0.1:80 -r 10.0.0.5:80 -i --tun-type gre --tun-csum",
        "-a -t 10.0.0.1:80 -r [fd00::5]:80 -i --tun-type ipip",
        "-A -f 7 -s sed",
        "-a -f 7 -r 10.0.0.2 -g -w 4",
        "-A -f 2147483647 -6 -s nq -p 60",
        "-a -f 2147483647 -6 -r [fd00::7]:0 -g",
        "-A -t 10.0.0.9:65535 -s lblcr",
    )
)

VIEWS = (
    "",
    "--stats",
    "--rate",
    "--stats --exact",
    "--rate --exact",
    "--thresholds",
    "--persistent-conn",
    "--tun-info",
)
ONE = (
    "-t 127.0.0.1:81",
    "-u 127.0.0.1:9",
    "-u [fd00::1]:9",
    "-f 7",
    "-f 2147483647 -6",
    "-u 127.0.0.1:5060",
)

# The commands, by the table that they run on. None changes a table: those that would are refused.
STEPS: dict[str, tuple[Step, ...]] = {
    "empty": (
        run("-L -n"),
        run("-S -n"),
        run("-L --timeout"),
        run("-L --daemon"),
        run("-Ln -f 1"),
        run("-d -f 1 -r 10.0.0.2"),
    ),
    "full": (
        *(run(f"-L -n {view}") for view in VIEWS),
        *(run(f"-L -n {name} --stats") for name in ONE),
        run("-A -t 127.0.0.1:80"),
        run("-A -t 10.0.0.8:80 -s bogus"),
        run("-a -t 127.0.0.1:80 -r 127.0.0.2:80"),
        run("-a -t 127.0.0.1:80 -r 224.0.0.1:80"),
        run("-e -t 127.0.0.1:80 -r 127.0.0.9:80"),
        run("-d -f 7 -r 10.0.0.3"),
        run("-D -t 10.0.0.8:80"),
        run("-Z -f 9"),
        # refused: no daemon runs beside a server of the other family than its service
        run("--start-daemon master --mcast-interface lo"),
        run("--stop-daemon backup"),
        restore("-A -f 7\n-a -f 9 -r 10.0.0.2\n-D -f 9\n"),
    ),
    "daemons": (
        run("-L --daemon"),
        run("-L --timeout"),
        run("--start-daemon master --mcast-interface lo"),
    ),
}
DAEMONS = (
    "--start-daemon master --mcast-interface lo --syncid 7 --sync-maxlen 1400 --mcast-group 224.0.0.9 --mcast-port 9000",
    "--start-daemon backup --mcast-interface lo --syncid 255 --mcast-group ff02::9",
    "--set 901 121 301",
)
LISTENERS = ((socket.AF_INET, "127.0.0.2", 80),)
CLIENTS = (("127.0.0.1", 80), ("127.0.0.1", 80), ("127.0.0.1", 81))
DATAGRAMS = {("127.0.0.1", 9): 40, ("fd00::1", 9): 3}
PATIENCE = 60.0


def set_up() -> None:
    """Give the present namespace's lo its IPv6 addresses."""
    for address in ("fd00::1", "fd00::2"):
        subprocess.run(
            ["ip", "-6", "addr", "add", f"{address}/128", "dev", "lo", "nodad"], check=True
        )


def traffic(table: KernelBackend) -> Iterator[None]:
    """Open connections and send datagrams; when all are counted, stop the counting and yield. The
    connections stay open until the generator goes on.
    """
    sockets = []
    for family, address, port in LISTENERS:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.bind((address, port))
        listening.listen()
        sockets.append(listening)
    sockets += [socket.create_connection(client, PATIENCE) for client in CLIENTS]
    for (host, port), count in DATAGRAMS.items():
        for _ in range(count):
            with socket.socket(
                socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
            ) as client:
                client.sendto(b"x" * 100, (host, port))
    deadline = time.monotonic() + PATIENCE
    # The kernel sums up every two seconds, and computes the rates of these sums then.
    while sum(service.stats[0] for service in table.read_services()) < len(CLIENTS) + sum(
        DATAGRAMS.values()
    ):
        assert time.monotonic() < deadline, table.read_services()
        time.sleep(0.1)
    Path("/proc/sys/net/ipv4/vs/run_estimation").write_text("0")
    yield
    for each in sockets:
        each.close()
