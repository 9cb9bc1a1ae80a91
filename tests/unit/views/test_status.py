"""Test the status of the table: what is counted, the words, the document."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pyipvsadm import cli
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.model import Info, Server, Service
from pyipvsadm.views import status as view
from pyipvsadm.views.grid import TerminalStyle, render_text
from tests.unit.fake_environment import FakeEnvironment, apply_all
from tests.unit.views.test_json_document import valid

if TYPE_CHECKING:
    from collections.abc import Mapping

# What Linux 7.1 and later write (ip_vs_ctl.c: ip_vs_status_show).
FILE = """Conns:\t5001
Conn buckets:\t8192 (13 bits, lfactor -4)
Conn buckets empty:\t4000 (48%)
Conn buckets len-1:\t3500 (83%)
Conn buckets len-2:\t690 (16%)
Conn buckets len-7:\t2 (0%)
Services:\t2
Service buckets:\t128 (7 bits, lfactor -3)
Service buckets empty:\t126 (98%)
Service buckets len-1:\t2 (100%)
Stats thread slots:\t1 (max 16)
Stats chain max len:\t16
Stats thread ests:\t6
"""
RULES = (
    "-A -t 10.0.0.1:80 -s rr -p 60", "-a -t 10.0.0.1:80 -r 10.0.1.1 -m", "-a -t 10.0.0.1:80 -r 10.0.1.2 -m",
    "-A -u 10.0.0.1:53 -s rr", "--start-daemon master --mcast-interface lo --syncid 7",
)  # fmt: skip
OLD = {
    "conn_reuse_mode": "1", "expire_nodest_conn": "0", "expire_quiescent_template": "1", "drop_entry": "0",
    "drop_packet": "0", "secure_tcp": "0", "sloppy_tcp": "0", "conntrack": "0",
}  # fmt: skip


class Kernel(MemoryBackend):
    """Hold a table that claims to be the kernel's."""

    embedded = False
    settings: Mapping[str, str] = OLD
    status = ""

    def read_info(self) -> Info:
        return Info(0x010201, 4096)

    def read_servers(self, service: Service) -> list[Server]:
        servers = super().read_servers(service)
        for server in servers:
            server.active, server.inactive, server.persistent = 2000, 450, 6
        return servers

    def read_sysctl(self, name: str) -> str:
        return self.settings.get(name, "")

    def read_status(self) -> str:
        return self.status


NEW = {**OLD, "conn_max": "10000", "run_estimation": "0", "drop_entry": "2", "conn_reuse_mode": "3"}


class Newer(Kernel):
    settings = NEW
    status = FILE


def run(words: str, table: MemoryBackend, **options: object) -> str:
    env = FakeEnvironment(table=table, **options)  # type: ignore[arg-type]
    apply_all(env.table, RULES)
    assert (cli.main(words.split(), env), env.stderr) == (0, "")
    return env.take()[0]


def make_table(kind: type[MemoryBackend]) -> MemoryBackend:
    return kind(interfaces={"lo"}.__contains__)


def test_of_an_older_kernel() -> None:
    assert run("-L --status", make_table(Kernel)) == (
        "IP Virtual Server version 1.2.1\n"
        "Connections           4900, and 12 persistence templates\n"
        "Hash of connections   load 1.20: entries for each of 4096 buckets; it holds any number\n"
        "Services              2, with 2 real servers\n"
        "Sync daemons          master on lo, id 7\n"
        "Drops                 none\n"
        "Setting                    Value  Meaning\n"
        "conn_reuse_mode            1      a client that uses a port again after TIME_WAIT is scheduled anew\n"
        "expire_nodest_conn         0      packets of connections to"
        " a removed server are dropped until it is back or they time out\n"
        "expire_quiescent_template  1      persistent clients of a server of weight 0 get another one\n"
        "drop_entry                 0      off\n"
        "drop_packet                0      off\n"
        "secure_tcp                 0      off\n"
        "sloppy_tcp                 0      a TCP connection begins with a SYN\n"
        "conntrack                  0      the packet filter does not"
        " track connections of IPVS: its rules by state and NAT do not see them\n"
    )


def test_of_a_newer_kernel() -> None:
    lines = run("-L --status", make_table(Newer)).splitlines()
    assert lines[2:8] == [
        "Hash of connections   load 0.61: entries for each of 8192 buckets; it holds any number; the longest chain has 7 or more",
        "Most connections      10000 (conn_max), of which 50.0% are used",
        "Services              2, with 2 real servers",
        "Estimation            off, 6 estimators",
        "Sync daemons          master on lo, id 7",
        "Drops                 now, by drop_entry",
    ]
    settings = {line.split()[0]: line.split(None, 2)[2] for line in lines[9:]}
    assert settings["drop_entry"] == "memory is short: connections are dropped at random"
    assert settings["run_estimation"].startswith("rates stand still")
    assert settings["conn_reuse_mode"].endswith("is scheduled anew when that is safe")


def test_for_a_person() -> None:
    text = run("-L --status --pretty", make_table(Newer), shows=(60, 24))
    assert "Connections           4,900, and 12 persistence templates\n" in text
    assert "Most connections      10,000 (conn_max), of which 50.0% are" in text
    assert max(map(len, text.splitlines())) <= 60
    assert "conn_reuse_mode 3\n  a client that uses a port again is scheduled anew" in text
    by_variable = FakeEnvironment(
        table=make_table(Newer), environ={"IPVSADM_PRETTY": "1"}, shows=(60, 24)
    )
    apply_all(by_variable.table, RULES)
    assert (cli.main(["-L", "--status"], by_variable), by_variable.take()[0]) == (0, text)


def test_the_document() -> None:
    old = valid(run("-L --status --json", make_table(Kernel)))["status"]
    assert (old["connections"], old["templates"], old["services"], old["servers"]) == (
        4900,
        12,
        2,
        2,
    )
    assert old["connection_hash"] == {"entries": 4912, "buckets": 4096, "load": 1.1992}
    assert [(each["role"], each["interface"], each["sync_id"]) for each in old["daemons"]] == [
        ("master", "lo", 7)
    ]
    assert not {"estimators", "maximum_connections"} & set(old)
    new = valid(run("-L --status --json", make_table(Newer)))["status"]
    assert (new["maximum_connections"], new["estimators"]) == (10000, 6)
    assert new["connection_hash"] == {
        "entries": 5001, "buckets": 8192, "load": 0.6105,
        "buckets_by_length": {"0": 4000, "1": 3500, "2": 690, "7": 2},
    }  # fmt: skip
    assert {each["name"]: each["value"] for each in new["settings"]} == {
        name: value for name, value in NEW.items() if name != "conn_max"
    }


def test_of_an_embedded_table() -> None:
    table = make_table(MemoryBackend)
    assert run("-L --status", table) == (
        "IP Virtual Server version 1.2.1\n"
        "Connections           none: no packet passes through an embedded table\n"
        "Services              2, with 2 real servers\n"
        "Sync daemons          master on lo, id 7\n"
    )
    document = valid(run("-L --status --json", make_table(MemoryBackend)))["status"]
    assert (document["embedded"], document["servers"]) == (True, 2)
    assert not {"connection_hash", "estimators"} & set(document)


def make_status(**values: object) -> view.Status:
    status = view.Status(Info(0x010201, 0), 1, 1, 1, 1, [], {}, {})
    return status._replace(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (make_status(), "Connections           1, and 1 persistence template\n"),
        (make_status(), "Hash of connections   made with the first service\n"),
        (make_status(), "Services              1, with 1 real server\n"),
        (make_status(settings={"run_estimation": "1"}), "Estimation            on\n"),
        (make_status(settings={"drop_packet": "3"}), "Drops                 now, by drop_packet\n"),
        (make_status(settings={"secure_tcp": "9"}), "secure_tcp                 9\n"),
        (
            make_status(kernel=view.parse_status_file("Conns:\t0\nConn buckets:\t64 (6 bits)\nno colon\n")),
            "Hash of connections   load 0.00: entries for each of 64 buckets; it holds any number\n",
        ),
        (
            make_status(kernel=view.parse_status_file(FILE.replace("len-7", "len-3"))),
            "Hash of connections   load 0.61: entries for each of 8192 buckets; it holds any number; the longest chain has 3\n",
        ),
        (make_status(kernel={"Conns": "odd", "Conn buckets": ""}, info=Info(0x010201, 8)),
         "Hash of connections   load 0.25: entries for each of 8 buckets; it holds any number\n"),
    ],
)  # fmt: skip
def test_lines(status: view.Status, line: str) -> None:
    assert line in list(view.iter_text(status))


def test_a_setting_without_a_meaning_and_no_setting() -> None:
    look = TerminalStyle(80)
    text = render_text(view.render_status(make_status(settings={"secure_tcp": "9"}), look), look)
    assert text.endswith("\nsecure_tcp 9\n")
    text = render_text(view.render_status(make_status(), look), look)
    assert text.endswith("\nSync daemons          none\n")
    assert (
        "meaning" not in view.make_record(make_status(settings={"secure_tcp": "9"}))["settings"][0]
    )


def test_no_number_reads_as_a_limit() -> None:
    """The size of the hash table is shown only beside the load."""
    for status in (
        make_status(info=Info(0x010201, 4096)),
        make_status(kernel=view.parse_status_file(FILE)),
    ):
        for line in view.iter_text(status):
            assert not re.search(r"\b(4096|8192)\b", line) or line.startswith(
                "Hash of connections   load "
            )


@pytest.mark.parametrize(
    "words", ["-c", "-t 10.0.0.1:80", "--rate", "--watch", "--metrics", "--client 10.0.0.1"]
)
def test_it_goes_with_nothing_that_selects(words: str) -> None:
    env = FakeEnvironment()
    assert cli.main(["-L", "--status", *words.split()], env) == 2
    assert "onflicts with" in env.stderr or "You need to supply" in env.stderr
