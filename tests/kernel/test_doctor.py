"""Provoke each finding of the doctor, see its harm in packets, carry out the printed command, and
see both gone.

Owns: how a faulty cluster is set up, examined and mended. The faults are in faulty_setups.py. Must
never know: how a check is made.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyroute2.nftables.expressions import verdict
from pyroute2.nftables.main import NFTables

import pyipvsadm.commands.doctor  # noqa: F401  # with the next, takes seconds in the guest: all runs fork from here
from pyipvsadm.doctor.host import Host
from pyipvsadm.model import AF_INET, NEW_DEST, ROUTE, TCP, Change, Server, Service
from pyipvsadm.views.connections import HANDSHAKE
from tests.kernel.faulty_setups import (  # fmt: skip
    A_CLIENT_COMES,
    BOTH,
    CLIENTS_HANG,
    FAULTS,
    HEALTHY,
    RULES_DIRECT,
    RULES_NAT,
    RULES_TUNNEL,
    SYNC,
    WEB,
    Fault,
    Health,
    filled,
)
from tests.kernel.netns import Result, enter, fresh, inside, run_child, run_ours
from tests.kernel.network import DIRECT, NAT, SERVER_LIFE, built, eventually, served
from tests.kernel.observe import NOBODY, SHORT, answers, link_address, passive, shell

if TYPE_CHECKING:
    from collections.abc import Iterator

FALLBACK = Path("/proc/sys/net/core/fb_tunnels_only_for_init_net")


def doctor(host: str | None, words: str = "") -> tuple[int, list[dict[str, object]]]:
    """Return the doctor's status and its findings."""
    result = run_ours(["--doctor", "--json", *words.split()], namespace=host)
    assert result.stderr == b"", result
    found = json.loads(result.stdout)
    assert found["status"] == result.status
    return result.status, found["findings"]


def carry_out(fault: Fault, findings: list[dict[str, object]]) -> None:
    """Carry out the fixes of all findings, in their order, each once."""
    done = []
    for finding in findings:
        fixes = finding["fix"]
        assert isinstance(fixes, list)
        assert fixes, finding
        for fix in fixes:
            command = fix
            for word, value in fault.answers.items():
                command = command.replace(word, value)
            assert not re.search(
                r"\b[A-Z]{4,}\b", re.sub("PREROUTING|POSTROUTING|MASQUERADE|MARK", "", command)
            ), command
            if command not in done:
                shell(fault.host, command)
            done.append(command)


@pytest.fixture(autouse=True)
def _no_tunnels_of_their_own() -> Iterator[None]:
    """Keep the kernel from giving new namespaces tunl0 and the like: a real server has only the
    tunnels that its test creates.
    """
    before = FALLBACK.read_text()
    FALLBACK.write_text("1")
    yield
    FALLBACK.write_text(before)


def plant(fault: Fault) -> None:
    for host, command in fault.plant:
        if command == A_CLIENT_COMES:
            eventually(lambda: answers(fault.network, times=1), {"one"})
            continue
        if command == CLIENTS_HANG:
            answers(fault.network, times=4)
            time.sleep(HANDSHAKE + 1)
            continue
        text = filled(command, fault.network)
        for name in ("director", "one", "two"):
            if f"${name.upper()}" in text:
                text = text.replace(f"${name.upper()}", link_address(name))
        shell(host, text)


@pytest.mark.parametrize(
    "fault", FAULTS, ids=[f"{fault.code} {fault.name} {fault.network.vip}" for fault in FAULTS]
)
def test_a_fault_is_found_and_what_is_printed_mends_it(fault: Fault) -> None:
    network = fault.network
    with built(network, fault.ports):
        if any("sync0" in rule for rule in fault.rules):
            for host, command in SYNC:
                shell(host, command)
        for rule in fault.rules:
            shell("director", "ipvsadm " + filled(rule, network))
        words = filled(fault.words, network)
        seen = fault.seen or answers
        plant(fault)
        status, findings = doctor(fault.host, words)
        assert {finding["code"] for finding in findings} == {fault.code}
        assert status == {"error": 2, "warning": 1}[str(findings[0]["severity"])]
        if fault.wrong is not None:
            # A link's own IPv6 address takes a second to be good for finding neighbours.
            eventually(lambda: seen(network), fault.wrong)
        carry_out(fault, findings)
        for host, command in fault.after:
            shell(host, command)
        eventually(lambda: seen(network), fault.right)
        assert doctor(fault.host, words) == (0, [])


# --- faults that need more than a table


def test_another_port_without_nat() -> None:
    """Another tool made the server; the servers listen on the port that the table names, and get
    the packets on another.
    """
    with built(DIRECT, {"tcp": [8080]}):
        shell("director", f"ipvsadm -A -t {DIRECT.vip}:80 -s rr")

        def add() -> int:
            from pyipvsadm.backends.kernel import KernelBackend  # noqa: PLC0415  # in the child, which has its own namespace

            service = Service(AF_INET, TCP, socket.inet_aton(DIRECT.vip), 80)
            server = Server(AF_INET, socket.inet_aton(DIRECT.real[0]), 8080, ROUTE)
            return len(KernelBackend().apply([Change(NEW_DEST, service, server)]))

        assert run_child(add, namespace="director").status == 0
        status, findings = doctor("director")
        assert (status, [finding["code"] for finding in findings]) == (2, ["port-not-mapped"])
        assert answers(DIRECT) == NOBODY
        carry_out(Fault("port-not-mapped", DIRECT, ()), findings)
        with served("one", socket.AF_INET, WEB):
            eventually(lambda: answers(DIRECT), {"one"})
        assert doctor("director") == (0, [])


@contextmanager
def ftp_server(host: str, address: str) -> Iterator[None]:
    """Run an FTP server that answers every command with its own address, as it answers PASV."""
    with inside(host):
        listening = socket.create_server(("", 21))
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(SERVER_LIFE)
            enter(host)
            while True:
                connection = listening.accept()[0]
                connection.sendall(b"220 ready\r\n")
                if connection.recv(100):
                    connection.sendall(
                        f"227 Entering Passive Mode ({address.replace('.', ',')},195,80).\r\n".encode()
                    )
        finally:
            os._exit(1)
    listening.close()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_ftp_by_nat_without_the_helper() -> None:
    try:
        with built(NAT, {}), ftp_server("one", NAT.real[0]):
            for rule in (f"-A -t {NAT.vip}:21 -s rr", f"-a -t {NAT.vip}:21 -r {NAT.real[0]}:21 -m"):
                shell("director", f"ipvsadm {rule}")
            status, findings = doctor("director")
            assert (status, [finding["code"] for finding in findings]) == (
                1,
                ["ftp-helper-missing"],
            )
            assert passive(NAT) == NAT.real[0]
            carry_out(Fault("ftp-helper-missing", NAT, ()), findings)
            assert passive(NAT) == NAT.vip
            assert doctor("director") == (0, [])
    finally:
        subprocess.run(["modprobe", "-r", "ip_vs_ftp"], check=False, capture_output=True)


def test_a_full_table_of_tracked_connections() -> None:
    """The limit is one for all namespaces: the test sets and mends it from outside the
    director's.
    """
    most = Path("/proc/sys/net/netfilter/nf_conntrack_max")
    with built(DIRECT, WEB), served("director", socket.AF_INET, {"tcp": [22]}):
        for rule in RULES_DIRECT:
            shell("director", "ipvsadm " + filled(rule, DIRECT))
        shell("director", "iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT")
        before = most.read_text()
        with inside("client"):
            kept = [socket.create_connection(("172.16.100.2", 22), SHORT) for _ in range(3)]
        try:
            for each in kept:
                assert each.recv(100) == b"director\n"
            most.write_text("3")
            status, findings = doctor("director")
            assert (status, [finding["code"] for finding in findings]) == (2, ["conntrack-full"])
            assert answers(DIRECT, times=2) == NOBODY
            assert findings[0]["fix"] == ["sysctl -w net.netfilter.nf_conntrack_max=6"]
            subprocess.run(
                shlex.split("sysctl -w net.netfilter.nf_conntrack_max=6"),
                check=True,
                capture_output=True,
            )
            eventually(lambda: answers(DIRECT), BOTH)
            assert doctor("director") == (0, [])
        finally:
            most.write_text(before)
            for each in kept:
                each.close()


def test_a_kernel_without_the_module() -> None:
    def loaded() -> list[str]:
        return [
            line.split()[0]
            for line in Path("/proc/modules").read_text().splitlines()
            if line.startswith("ip_vs")
        ]

    def gone() -> list[str]:
        """Unload what can be unloaded. Return the modules that stay: services that are still being
        deleted hold theirs.
        """
        for name in sorted(loaded(), reverse=True):
            subprocess.run(["rmmod", name], check=False, capture_output=True)
        return loaded()

    before = loaded()
    try:
        eventually(gone, [])
        status, findings = doctor(None)
        assert (status, [finding["code"] for finding in findings]) == (2, ["module-missing"])
        assert loaded() == []  # the doctor loads nothing
        assert findings[0]["fix"] == ["modprobe ip_vs"]
        subprocess.run(["modprobe", "ip_vs"], check=True, capture_output=True)
        assert doctor(None) == (0, [])
    finally:
        subprocess.run(["modprobe", "-a", *before], check=True, capture_output=True)
    with built(DIRECT, WEB):
        for rule in RULES_DIRECT:
            shell("director", "ipvsadm " + filled(rule, DIRECT))
        eventually(lambda: answers(DIRECT), BOTH)


def test_rules_of_nftables_are_counted() -> None:
    """Nothing is asked before the module is loaded, since the doctor loads none. The test kernel
    has only the bridge family of nftables.
    """

    def counted() -> dict[str, int]:
        filters = Host().collect_facts((), (), ()).filters
        assert filters is not None
        return {name: number for name, number in filters.items() if name.startswith("nftables")}

    def body() -> int:
        fresh()
        assert counted() == {}
        assert not Path("/sys/module/nf_tables").exists()
        with NFTables(nfgen_family=socket.AF_BRIDGE) as tables:
            for table, rules in (("web", 2), ("nat", 1)):
                tables.table("add", name=table)
                tables.chain("add", table=table, name="lab")
                for _ in range(rules):
                    tables.rule("add", table=table, chain="lab", expressions=(verdict(code=1),))
        assert counted() == {"nftables web": 2, "nftables nat": 1}
        return 0

    try:
        assert run_child(body, timeout=60) == Result(0, b"", b"")
    finally:
        eventually(
            lambda: (
                subprocess.run(
                    ["modprobe", "-r", "nf_tables"], check=False, capture_output=True
                ).returncode
            ),
            0,
        )


def test_the_fallback_tunnel_is_brought_up() -> None:
    """After modprobe ipip, tunl0 is down and open to any sender."""
    subprocess.run(["modprobe", "ipip"], check=True, capture_output=True)
    FALLBACK.write_text("0")
    with built(DIRECT, WEB):
        for rule in RULES_TUNNEL[:2]:
            shell("director", "ipvsadm " + filled(rule, DIRECT))
        status, findings = doctor("one", f"--real-server-for {DIRECT.vip} -i")
        assert (status, [finding["fix"] for finding in findings]) == (
            2,
            [["ip link set dev tunl0 up"]],
        )
        assert answers(DIRECT, times=1) == NOBODY
        carry_out(Fault("real-tunnel-down", DIRECT, (), host="one"), findings)
        eventually(lambda: answers(DIRECT), {"one"})
        assert doctor("one", f"--real-server-for {DIRECT.vip} -i") == (0, [])


# --- health


@pytest.mark.parametrize("health", HEALTHY, ids=[health.name for health in HEALTHY])
def test_in_a_healthy_cluster_nothing_is_found(health: Health) -> None:
    with built(health.network, WEB):
        for rule in health.rules:
            shell("director", "ipvsadm " + filled(rule, health.network))
        for host, command in health.plant:
            shell(host, filled(command, health.network))
        eventually(lambda: answers(health.network), health.right)
        assert doctor("director") == (0, [])
        assert doctor("director", "--probe") == (0, [])
        assert doctor("one", filled(health.words, health.network)) == (0, [])


def test_another_namespace_is_examined_and_mended_from_here() -> None:
    """With --netns everything that is read is of that namespace, and the printed commands work in
    the namespace of the reader.
    """
    with built(NAT, {"tcp": [80]}):
        for rule in RULES_NAT:
            shell("director", "ipvsadm " + filled(rule, NAT))
        with inside("director"):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
        status, findings = doctor(None, "--netns director")
        assert (status, [finding["code"] for finding in findings]) == (2, ["nat-forwarding-off"])
        fix = "nsenter --net=/run/netns/director sysctl -w net.ipv4.ip_forward=1"
        assert findings[0]["fix"] == [fix]
        subprocess.run(fix.split(), check=True, capture_output=True)
        assert doctor(None, "--netns director --probe") == (0, [])
        assert answers(NAT) == BOTH
