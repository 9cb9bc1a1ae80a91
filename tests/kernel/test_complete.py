"""Test completion on a real kernel: /proc/net/ip_vs has the same content as the netlink family, and
every user may read it.
"""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from pyipvsadm import cli
from pyipvsadm.backends.kernel import KernelBackend
from pyipvsadm.completion import shell_protocol
from pyipvsadm.model import AF_INET, PROTOCOLS, TABLE_FILE
from tests.kernel.netns import run_child, run_ours

RULES = b"""\
-A -t 10.0.0.1:80 -s rr -p 300 -M 255.255.255.0
-a -t 10.0.0.1:80 -r 192.168.0.8:8080 -m -w 3
-a -t 10.0.0.1:80 -r 192.168.0.9 -g -w 0
-A -u 10.0.0.1:5060 -s sh -b sh-port -p 60 --pe sip -o
-a -u 10.0.0.1:5060 -r [fd00::8]:5060 -i --tun-type gue --tun-port 6080
-A --sctp-service [2001:db8::1]:99 -s mh -b mh-fallback,mh-port
-a --sctp-service [2001:db8::1]:99 -r [2001:db8::8]:99 -m -x 10
-A -f 4294967295 -s wlc
-a -f 4294967295 -r 192.168.0.8 -i
-A -f 7 -6 -s wlc
-a -f 7 -6 -r [2001:db8::8]:0 -g
-A -t 10.0.0.2:80
"""

ASKED = {
    "-D -t ": ["10.0.0.1:80", "10.0.0.2:80"],
    "-D -u ": ["10.0.0.1:5060"],
    "-D --sctp-service [": ["[2001:db8::1]:99"],
    "-D -f ": ["4294967295", "7"],
    "-d -t 10.0.0.1:80 -r ": ["192.168.0.8:8080", "192.168.0.9:80"],
    "-d -u 10.0.0.1:5060 -r ": ["[fd00::8]:5060"],
    "-d -f 7 -6 -r ": ["[2001:db8::8]:0"],
}


@pytest.mark.usefixtures("netns")
def test_the_file_says_what_netlink_says() -> None:
    assert run_ours(["-R"], RULES).stderr == b""
    rows = shell_protocol.read_proc_rows(TABLE_FILE)
    with closing(KernelBackend()) as kernel:
        found = {
            service.key(): (service, kernel.read_servers(service))
            for service in kernel.read_services()
        }
    assert len(found) == RULES.count(b"-A ")
    assert {service.key() for service, _ in rows} == found.keys()
    for service, servers in rows:
        known, its = found[service.key()]
        assert service.scheduler == known.scheduler
        assert [(d.key(), d.forward, d.weight) for d in servers] == [
            (d.key(), d.forward, d.weight) for d in its
        ]
        assert service.fwmark or service.protocol in PROTOCOLS
        assert service.af == AF_INET or known.af != AF_INET


@pytest.mark.usefixtures("netns")
@pytest.mark.parametrize("user", [0, 65534])
def test_live_values(user: int) -> None:
    """Completion works for users other than root too: they type behind sudo."""
    assert run_ours(["-R"], RULES).stderr == b""

    def ask() -> int:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        for line in ASKED:
            words = ["ipvsadm", *line.split(" ")]
            cli.main(["--complete", "fish", str(len(words) - 1), *words])
            os.write(1, b"\n")
        return 0

    done = run_child(ask)
    assert done.stderr == b""
    answers = [
        [row.partition("\t")[0] for row in part.splitlines() if row]
        for part in done.stdout.decode().split("\n\n")
    ]
    assert answers[: len(ASKED)] == list(ASKED.values())
