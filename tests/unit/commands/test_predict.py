"""Test --predict on the embedded table and on a fake kernel: text, JSON, statuses, what is read."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator

from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.cli import main
from pyipvsadm.commands import predict
from pyipvsadm.errors import OperationError
from pyipvsadm.model import BACKUP, CONNECTIONS_FILE, Daemon
from pyipvsadm.scheduling.build import Build, find_release
from tests.unit.fake_environment import FakeEnvironment, apply_all
from tests.unit.views.test_json_document import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES = (
    "-A -t 10.0.0.1:80 -s sh",
    "-a -t 10.0.0.1:80 -r 192.168.10.8:80 -m",
    "-a -t 10.0.0.1:80 -r 192.168.10.9:80 -m -w 0",
    "-A -t 10.0.0.2:80 -s rr",
    "-a -t 10.0.0.2:80 -r 192.168.10.8:80 -m",
    "-a -t 10.0.0.2:80 -r 192.168.10.9:80 -m",
    "-A -t 10.0.0.3:21 -s rr -p 60",
    "-a -t 10.0.0.3:21 -r 192.168.10.8:21 -m",
    "-A -t [2001:db8::1]:80 -s rr",
    "-a -t [2001:db8::1]:80 -r [2001:db8::8]:80 -m",
    "-A -f 5 -s mh",
    "-a -f 5 -r 192.168.10.8 -m",
    "-a -f 5 -r 192.168.10.9 -m -w 0",
    "-A -f 6 -6 -s rr",
)


@pytest.fixture
def table() -> MemoryBackend:
    found = MemoryBackend()
    apply_all(found, RULES)
    return found


def run(table: MemoryBackend, words: str, stdin: bytes = b"") -> tuple[int, str, str]:
    env = FakeEnvironment(stdin, table=table)
    status = main(["--backend", "memory", *words.split()], env)
    return (status, *env.take())


SH = "  service    TCP 10.0.0.1:80, sh, if the packet carries no mark\n"


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        ("10.3.0.4 -t 10.0.0.1:80", 0,
         f"10.3.0.4 -> 192.168.10.8:80\n{SH}  because    sh: bucket 223 of 256\n"),
        ("10.3.0.2:4000 -t 10.0.0.1:80", 1,
         f"10.3.0.2:4000 -> refused\n{SH}  because    sh: bucket 28 of 256 is of a server with weight 0\n"),
        ("10.3.0.1 -t 10.0.0.2:80", 0,
         ("10.3.0.1 -> one of 192.168.10.9:80, 192.168.10.8:80\n"
         "  service    TCP 10.0.0.2:80, rr, if the packet carries no mark\n"
         "  because    round robin: it depends on whose turn it is\n")),
        ("10.3.0.1 -t 10.0.0.3:5000", 0,
         ("10.3.0.1 -> 192.168.10.8:5000\n"
         "  service    TCP 10.0.0.3:21, rr, if the packet carries no mark\n"
         "  because    rr: the only server that takes connections\n")),
        ("10.3.0.1 -f 5", 0,
         ("10.3.0.1 -> one of 192.168.10.8:0, or refused\n"
         "  service    FWM 5, mh\n"
         "  because    mh: its table keeps the weight that a server had before weight 0, which is not listed\n")),
        ("2001:db8::9 -f 6 -6", 1,
         "2001:db8::9 -> refused\n  service    FWM 6 IPv6, rr\n  because    the service has no real servers\n"),
        ("[2001:db8::9]:4000 -t [2001:db8::1]:80", 0,
         ("[2001:db8::9]:4000 -> [2001:db8::8]:80\n"
         "  service    TCP [2001:db8::1]:80, rr, if the packet carries no mark\n"
         "  because    rr: the only server that takes connections\n")),
    ],
)  # fmt: skip
def test_one_client(table: MemoryBackend, words: str, status: int, text: str) -> None:
    assert run(table, f"--predict {words}") == (status, text, "")


def test_many_clients(table: MemoryBackend) -> None:
    stdin = b"10.3.0.4\n\n 10.3.0.2:4000 \n"
    assert run(table, "--predict - -t 10.0.0.1:80", stdin) == (
        1,
        (
            "10.3.0.4 192.168.10.8:80\n"
            "10.3.0.2:4000 refused (sh: bucket 28 of 256 is of a server with weight 0)\n"
        ),
        "",
    )
    assert run(table, "--predict - -f 5", b"10.3.0.1\n") == (
        0,
        (
            "10.3.0.1 one of 192.168.10.8:0 or refused (mh: its table keeps the weight that a server had "
            "before weight 0, which is not listed)\n"
        ),
        "",
    )
    assert run(table, "--predict - -t 10.0.0.1:80") == (0, "", "")


def test_json(table: MemoryBackend) -> None:
    for words, stdin, expected in (
        ("- -t 10.0.0.1:80", b"10.3.0.4\n10.3.0.2\n", [
            {"client": "10.3.0.4", "outcome": "server", "reason": "sh: bucket 223 of 256",
             "server": {"address": "192.168.10.8", "port": 80}},
            {"client": "10.3.0.2", "outcome": "refused",
             "reason": "sh: bucket 28 of 256 is of a server with weight 0"},
        ]),
        ("10.3.0.1:9 -t 10.0.0.2:80", b"", [
            {"client": "10.3.0.1:9", "outcome": "one_of", "may_refuse": False,
             "candidates": [{"address": "192.168.10.9", "port": 80}, {"address": "192.168.10.8", "port": 80}],
             "reason": "round robin: it depends on whose turn it is"},
        ]),
    ):  # fmt: skip
        _, text, _ = run(table, f"--predict {words} --json", stdin)
        document = json.loads(text)
        Draft202012Validator(SCHEMA).validate(document)
        assert document == {"format": 1, "predictions": expected}


BAD = "illegal client `{}': it is ADDRESS, or ADDRESS:PORT\n"


@pytest.mark.parametrize(
    ("words", "stdin", "message"),
    [
        ("10.3.0.1 -t 10.0.0.9:80", b"", "no service takes a packet to TCP 10.0.0.9:80\n"),
        ("10.3.0.1 -u 10.0.0.1:80", b"", "no service takes a packet to UDP 10.0.0.1:80\n"),
        ("10.3.0.1 -f 7", b"", "no service takes a packet to FWM 7\n"),
        ("2001:db8::9 -f 5 -6", b"", "no service takes a packet to FWM 5 IPv6\n"),
        *((f"{text} -t 10.0.0.1:80", b"", BAD.format(text))
          for text in ("host", "10.3.0", "10.3.0.1:", "[::1", "[::1]x", "[::1]:", ":80", "10.3.0.1:80:80")),
        ("::1 -t 10.0.0.1:80", b"", "client `::1' is not of the service's family, IPv4\n"),
        ("10.3.0.1 -t [2001:db8::1]:80", b"", "client `10.3.0.1' is not of the service's family, IPv6\n"),
        ("10.3.0.1:0 -t 10.0.0.1:80", b"", "illegal port of the client `10.3.0.1:0': it is 1 to 65535\n"),
        ("10.3.0.1:x -t 10.0.0.1:80", b"", "illegal port of the client `10.3.0.1:x': it is 1 to 65535\n"),
        ("- -t 10.0.0.1:80", b"10.3.0.1\n\nhost\n", "line 3: " + BAD.format("host")),
        ("10.3.0.1", b"", "You need to supply the 'service-address' option for the 'predict' command\n"),
        ("10.3.0.1 -t 10.0.0.1:80 -n", b"", "Illegal 'numeric' option with the 'predict' command\n"),
    ],
)  # fmt: skip
def test_faults(table: MemoryBackend, words: str, stdin: bytes, message: str) -> None:
    assert run(table, f"--predict {words}", stdin) == (2, "", message)


class FakeKernel(MemoryBackend):
    """Hold a table that is not embedded: with settings, daemons and connections."""

    embedded = False

    def __init__(self, connections: bytes = b"", **sysctls: str) -> None:
        super().__init__()
        self.connections = connections
        self.sysctls = sysctls
        self.daemons: list[Daemon] = []

    def read_sysctl(self, name: str) -> str:
        return self.sysctls.get(name, "")

    def read_daemons(self) -> list[Daemon]:
        return self.daemons

    def iter_connections(self) -> Iterator[bytes]:
        yield b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
        yield from self.connections.splitlines(keepends=True)


CONNECTIONS = b"""\
TCP 0A030001 0FA0 0A000002 0050 C0A80A08 0050 ESTABLISHED     800
TCP 0A030002 0FA0 0A000001 0050 C0A80A08 0050 ESTABLISHED     800
TCP 0A030001 0000 0A000003 0000 C0A80A08 0015 NONE             57
IP  0A030001 0000 00000005 0000 C0A80A08 0000 NONE             57
"""


@pytest.mark.parametrize(
    ("words", "result"),
    [
        ("10.3.0.1:4000 -t 10.0.0.2:80", "192.168.10.8:80 (this connection exists (ESTABLISHED, ends in 800 s without packets))"),
        ("10.3.0.1:4001 -t 10.0.0.2:80", "one of 192.168.10.9:80, 192.168.10.8:80 (round robin: it depends on whose turn it is)"),
        ("10.3.0.1 -t 10.0.0.3:21", "192.168.10.8:21 (persistence: the client is bound to this server for 57 s more)"),
    ],
)  # fmt: skip
def test_connections_are_read(words: str, result: str) -> None:
    kernel = FakeKernel(CONNECTIONS)
    apply_all(kernel, RULES)
    text = run(kernel, f"--predict {words}")[1].split("\n")
    assert f"{text[0].partition(' -> ')[2]} ({text[2].removeprefix('  because    ')})" == result


def test_a_mark_has_templates_of_its_own() -> None:
    kernel = FakeKernel(CONNECTIONS)
    apply_all(kernel, [*RULES, "-E -f 5 -s rr -p 60"])
    assert "bound to this server for 57 s" in run(kernel, "--predict 10.3.0.1 -f 5")[1]
    assert "bound" not in run(kernel, "--predict 10.3.0.2 -f 5")[1]


def test_a_line_that_is_no_connection() -> None:
    kernel = FakeKernel(b"TCP 0A000002\n")
    apply_all(kernel, RULES)
    status, _, message = run(kernel, "--predict 10.3.0.1 -t 10.0.0.2:80")
    assert (status, message) == (
        1, f"unexpected input from {CONNECTIONS_FILE}: b'TCP 0A000002\\n'\n",
    )  # fmt: skip


class HostEnvironment(FakeEnvironment):
    """Hold a host with these files."""

    def __init__(self, **files: bytes) -> None:
        super().__init__()
        self.files = files

    def read_file(self, path: str) -> bytes:
        for name, data in self.files.items():
            if name in path:
                return data
        raise OperationError(path)


def test_settings() -> None:
    kernel = FakeKernel(backup_only="1\n", expire_nodest_conn="1")
    kernel.daemons = [Daemon(BACKUP)]
    settings = predict.read_settings(kernel, HostEnvironment(unprivileged=b"80\n"))
    assert (settings.backup_only, settings.role, settings.first_port) == (1, BACKUP, 80)
    assert (settings.expire_nodest_conn, settings.conn_reuse_mode) == (1, 1)
    for env in (HostEnvironment(), HostEnvironment(unprivileged=b"?\n")):
        assert predict.read_settings(FakeKernel(), env).first_port == 1024


def test_the_build_of_the_host() -> None:
    config = b"CONFIG_IP_VS_SH_TAB_BITS=10\nCONFIG_IP_VS_MH_TAB_INDEX=12\n"
    found = predict.read_build(FakeKernel(), HostEnvironment(config=config))
    assert (found.sh_bits, found.assumed) == (10, ())
    assert len(predict.read_build(FakeKernel(), HostEnvironment()).assumed) == 2
    assert predict.read_build(MemoryBackend(), HostEnvironment()) == Build(counts_total=True)
    assert os.uname().release


def test_assumed_sizes_are_named() -> None:
    kernel = FakeKernel()
    apply_all(kernel, RULES)
    env = HostEnvironment()
    env.table = kernel
    assert main(["--predict", "10.3.0.4", "-t", "10.0.0.1:80"], env) == 0
    assert env.take()[0].endswith(
        "  assumed    the usual CONFIG_IP_VS_SH_TAB_BITS and CONFIG_IP_VS_MH_TAB_INDEX\n"
    )


@pytest.mark.parametrize(
    ("release", "version", "found"),
    [
        ("6.1.0-18-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)", "6.1.76-1"),
        ("6.1.100", "#1 SMP", "6.1.100"),
        ("6.1.100", "#1 SMP Debian", "6.1.100"),
    ],
)
def test_release(release: str, version: str, found: str) -> None:
    assert find_release(release, version) == found
