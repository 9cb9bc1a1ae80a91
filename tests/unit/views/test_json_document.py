"""Test --json: its output, read by a strict parser and compared with the schema that is shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import pyipvsadm
from pyipvsadm import cli
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.commands.names import LOOKUP_BATCH
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    BACKUP,
    HASHED,
    MASTER,
    TCP,
    Daemon,
    Info,
    Server,
    Service,
)
from pyipvsadm.views import json_document as view
from pyipvsadm.views.connections import Connection
from tests.unit.fake_environment import FakeEnvironment, FakeNames, apply_all

SCHEMA = json.loads((Path(pyipvsadm.__file__).parent / "schema" / "ipvsadm-1.json").read_text())
V6 = bytes.fromhex("20010db8111122223333444455556666")
MOST = 2**64 - 1
NAMES = FakeNames({"vip.example.com": (AF_INET, bytes([10, 0, 0, 1]))}, {("http", TCP): 80})
RULES = (
    "-A -t 10.0.0.1:80 -s sh -b sh-port,flag-3 -p 60 -M 255.255.255.0",
    "-a -t 10.0.0.1:80 -r 10.0.1.1 -w 3 -x 20 -y 10",
    "-a -t 10.0.0.1:80 -r 10.0.1.2 -i --tun-type gue --tun-port 6080 --tun-csum",
    "-a -t 10.0.0.1:80 -r 10.0.1.3 -i --tun-type gre --tun-nocsum",
    "-a -t 10.0.0.1:80 -r [2001:db8::5]:80 -i",
    "-A -u [2001:db8::2]:5060 -p 120 --pe sip -M 64",
    "-A --sctp-service 10.0.0.1:81 -s rr",
    "-a --sctp-service 10.0.0.1:81 -r 10.0.1.1:8080 -m -w 0",
    "-A -f 5 -6 -s mh -b flag-1",
)


def closed(part: Any) -> Any:
    """Return the schema with no other fields allowed than those that it names: the shipped one
    accepts fields that later releases add.
    """
    if isinstance(part, list):
        return [closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    made = {key: closed(value) for key, value in part.items()}
    return (
        made | {"additionalProperties": False}
        if "properties" in part and part.get("type") == "object"
        else made
    )


VALIDATOR = Draft202012Validator(closed(SCHEMA))


def strict(text: str) -> Any:
    """Read a document as a strict reader does: ASCII, a line end behind it, no half of a surrogate
    pair, no name twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    assert text.isascii()
    assert text.endswith("}\n")
    found = json.loads(text, object_pairs_hook=once, parse_constant=pytest.fail)
    json.dumps(found, ensure_ascii=False).encode()  # UTF-8 has no half pairs
    return found


def valid(text: str) -> Any:
    found = strict(text)
    VALIDATOR.validate(found)
    return found


def written(env: FakeEnvironment, words: str) -> str:
    assert (cli.main(words.split(), env), env.stderr) == (0, "")
    return env.take()[0]


def with_rules(**options: Any) -> FakeEnvironment:
    env = FakeEnvironment(**options)
    apply_all(env.table, RULES)
    return env


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    for definition in SCHEMA["$defs"].values():
        for field in definition["properties"].values():
            assert (
                field.get("description") or "$ref" in field or "enum" in field or "items" in field
            )


ZERO = {"connections": 0, "packets_in": 0, "packets_out": 0, "bytes_in": 0, "bytes_out": 0}
COUNTS = {"stats": ZERO, "rate": ZERO}
IDLE = {"active_connections": 0, "inactive_connections": 0, "persistent_connections": 0}
WHOLE = {
    "format": 1,
    "ipvs": {"version": "1.2.1", "connection_table_size": 4096},
    "services": [
        {"family": "ipv4", "protocol": "tcp", "address": "10.0.0.1", "port": 80, "scheduler": "sh",
         "scheduler_flags": ["sh-port", "flag-3"], "persistence_timeout": 60, "persistence_netmask": "255.255.255.0",
         "one_packet": False, **COUNTS, "servers": [
             {"family": "ipv4", "address": "10.0.1.1", "port": 80, "forwarding": "route", "weight": 3, **IDLE,
              "upper_threshold": 20, "lower_threshold": 10, **COUNTS},
             {"family": "ipv4", "address": "10.0.1.2", "port": 80, "forwarding": "tunnel", "weight": 1, **IDLE,
              "tunnel": {"type": "gue", "port": 6080, "checksum": True, "remote_checksum": False}, **COUNTS},
             {"family": "ipv4", "address": "10.0.1.3", "port": 80, "forwarding": "tunnel", "weight": 1, **IDLE,
              "tunnel": {"type": "gre", "checksum": False, "remote_checksum": False}, **COUNTS},
             {"family": "ipv6", "address": "2001:db8::5", "port": 80, "forwarding": "tunnel", "weight": 1, **IDLE,
              "tunnel": {"type": "ipip"}, **COUNTS}]},
        {"family": "ipv4", "protocol": "sctp", "address": "10.0.0.1", "port": 81, "scheduler": "rr", "one_packet": False,
         **COUNTS, "servers": [
             {"family": "ipv4", "address": "10.0.1.1", "port": 8080, "forwarding": "masq", "weight": 0, **IDLE, **COUNTS}]},
        {"family": "ipv6", "protocol": "udp", "address": "2001:db8::2", "port": 5060, "scheduler": "wlc",
         "persistence_timeout": 120, "persistence_prefix_length": 64, "persistence_engine": "sip", "one_packet": False,
         **COUNTS, "servers": []},
        {"family": "ipv6", "firewall_mark": 5, "scheduler": "mh", "scheduler_flags": ["mh-fallback"], "one_packet": False,
         **COUNTS, "servers": []},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    "how", ["", "--stats", "--rate --exact", "--thresholds", "--persistent-conn", "--tun-info"]
)
def test_every_view_is_the_same_document(how: str) -> None:
    assert valid(written(with_rules(), f"-L -n --json {how}")) == WHOLE


def test_it_is_a_line_a_service() -> None:
    text = written(with_rules(), "-L -n --json")
    assert len(text.splitlines()) == 2 + len(WHOLE["services"])  # type: ignore[arg-type]


def test_an_empty_table_and_one_service() -> None:
    assert valid(written(FakeEnvironment(), "-L --json"))["services"] == []
    found = valid(written(with_rules(), "-L -n --json -f 5 -6 --sctp-service 10.0.0.1:81"))[
        "services"
    ]
    assert found == [WHOLE["services"][at] for at in (3, 1)]  # type: ignore[index]


def test_what_is_not_there_is_said_before_anything_is_written() -> None:
    env = with_rules()
    assert (cli.main(["-L", "--json", "-f", "5", "-6", "-f", "6"], env), *env.take()) == (
        1,
        '{"format": 1, "error": {"code": "refused", "message": "No such service", "errno": 3}}\n',
        "No such service\n",
    )


def test_the_table_s_own_order() -> None:
    found = valid(written(with_rules(), "-L -n --json --nosort"))["services"]
    assert [each["scheduler"] for each in found] == ["sh", "wlc", "rr", "mh"]
    assert [each["address"] for each in found[0]["servers"]] == [
        "2001:db8::5",
        "10.0.1.3",
        "10.0.1.2",
        "10.0.1.1",
    ]


def test_names_stand_beside_the_numbers() -> None:
    found = valid(written(with_rules(names=NAMES), "-L --json"))["services"]
    first = found[0]
    assert (first["address"], first["host_name"], first["port"], first["port_name"]) == (
        "10.0.0.1",
        "vip.example.com",
        80,
        "http",
    )
    assert "host_name" not in first["servers"][0]
    assert first["servers"][0]["port_name"] == "http"
    assert "port_name" not in found[1]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (
            "-L --timeout --json",
            {"format": 1, "timeouts": {"tcp": 900, "tcp_fin": 120, "udp": 300}},
        ),
        ("-L --daemon --json", {"format": 1, "daemons": []}),
        (
            "-v --json",
            {
                "format": 1,
                "version": {"ipvsadm": "1.31", "pyipvsadm": pyipvsadm.__version__, "ipvs": "1.2.1"},
            },
        ),
    ],
)
def test_the_other_documents(words: str, found: Any) -> None:
    assert valid(written(FakeEnvironment(), words)) == found


def test_daemons() -> None:
    text = view.make_daemons(
        [
            Daemon(MASTER, "eth0", 5, 1472, bytes([224, 0, 0, 81]), 8848, 1),
            Daemon(BACKUP, "eth1", group=V6),
        ]
    )
    assert valid(text)["daemons"] == [
        {"role": "master", "interface": "eth0", "sync_id": 5, "maximum_length": 1472, "multicast_group": "224.0.0.81",
         "multicast_port": 8848, "multicast_ttl": 1},
        {"role": "backup", "interface": "eth1", "sync_id": 0, "multicast_group": "2001:db8:1111:2222:3333:4444:5555:6666"},
    ]  # fmt: skip
    assert valid(view.make_daemons([Daemon(3)]))["daemons"][0]["role"] == "3"


def document(*rows: tuple[Service, list[Server]]) -> Any:
    entries = [(service, servers, None) for service, servers in rows]
    return valid("".join(view.iter_table(Info(0x010203, 1 << 20), entries, None)))


def test_numbers_have_64_bits_and_addresses_are_whole() -> None:
    service = Service(AF_INET6, TCP, V6, 443, flags=HASHED, netmask=128, stats=(MOST,) * 10)
    found = document((service, [Server(AF_INET6, V6, 65535, stats=(MOST, *range(9)))]))
    assert found["ipvs"] == {"version": "1.2.3", "connection_table_size": 1 << 20}
    (service_,) = found["services"]
    assert set(service_["stats"].values()) == set(service_["rate"].values()) == {MOST}
    assert (
        service_["servers"][0]["address"]
        == service_["address"]
        == "2001:db8:1111:2222:3333:4444:5555:6666"
    )
    assert service_["servers"][0]["stats"]["connections"] == MOST


def test_what_a_newer_kernel_may_bring() -> None:
    service = Service(AF_INET, 47, bytes(4), 80, flags=0x143)
    (found,) = document(
        (
            service,
            [
                Server(AF_INET, bytes(4), 0, 2, tun_type=7, tun_flags=5),
                Server(AF_INET, bytes(4), 1, 6),
            ],
        )
    )["services"]
    assert (found["protocol"], found["unknown_flags"], found["persistence_timeout"]) == (
        "47",
        0x140,
        0,
    )
    assert found["servers"][0]["tunnel"] == {
        "type": "7",
        "checksum": True,
        "remote_checksum": False,
        "unknown_flags": 4,
    }
    assert found["servers"][1]["forwarding"] == "6"


TEXT = st.text(
    st.one_of(
        st.characters(codec="utf-8"), st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
    ),
    max_size=16,
)


@given(TEXT, TEXT, TEXT)
def test_bytes_that_are_no_text_are_valid_all_the_same(
    scheduler: str, engine: str, name: str
) -> None:
    service = Service(AF_INET, TCP, bytes(4), 80, scheduler=scheduler, pe=engine)
    valid("".join(view.iter_table(Info(0, 0), [(service, [], None)], lambda *_: (name, name))))
    valid(view.make_daemons([Daemon(MASTER, name)]))
    end = (AF_INET, bytes(4), 0)
    valid(view.make_connection(Connection(name, end, end, end, scheduler, 0, engine, name), None))


def test_how_bytes_that_are_no_text_are_shown() -> None:
    (found,) = document((Service(AF_INET, fwmark=1, scheduler="\udcffé\udce9\n"), []))["services"]
    assert found["scheduler"] == "\\xffé\\xe9\n"


# --- connections

HEADING = b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
LINES = (
    b"TCP 0A000063 C001 0A000001 0050 0A000002 0050 ESTABLISHED     899\n",
    b"UDP 0A000063 C002 0A000001 13C4 0A000002 13C4 UDP              65 sip call-\xff1\n",
    b"IP  0A010100 0000 00000007 0000 20010db8:1111:2222:3333:4444:5555:6666 0000 NONE             57\n".replace(
        b"20010db8", b"2001:0db8"
    ),
)


class Connected(MemoryBackend):
    """Hold a table with these connections, many times."""

    def __init__(self, times: int = 1) -> None:
        super().__init__()
        self.times = times

    def iter_connections(self) -> Any:
        yield HEADING
        for _ in range(self.times):
            yield from LINES


def end(address: str, port: int, family: str = "ipv4", **names: str) -> dict[str, Any]:
    return {"family": family, "address": address, "port": port, **names}


def test_connections_are_a_document_each() -> None:
    text = written(FakeEnvironment(table=Connected()), "-L -n -c --json")
    assert [valid(line) for line in text.splitlines(keepends=True)] == [
        {"format": 1, "protocol": "tcp", "state": "ESTABLISHED", "expires": 899, "client": end("10.0.0.99", 49153),
         "virtual": end("10.0.0.1", 80), "server": end("10.0.0.2", 80)},
        {"format": 1, "protocol": "udp", "state": "UDP", "expires": 65, "client": end("10.0.0.99", 49154),
         "virtual": end("10.0.0.1", 5060), "server": end("10.0.0.2", 5060),
         "persistence_engine": "sip", "persistence_data": "call-\\xff1"},
        {"format": 1, "protocol": "ip", "state": "NONE", "expires": 57, "template": True, "firewall_mark": 7,
         "client": end("10.1.1.0", 0),
         "virtual": end("0.0.0.7", 0), "server": end("2001:db8:1111:2222:3333:4444:5555:6666", 0, "ipv6")},
    ]  # fmt: skip


def test_connections_by_name() -> None:
    text = written(FakeEnvironment(table=Connected(), names=NAMES), "-L -c --json")
    first = valid(text.splitlines(keepends=True)[0])
    assert first["virtual"] == end("10.0.0.1", 80, host_name="vip.example.com", port_name="http")
    assert first["server"] == end("10.0.0.2", 80, port_name="http")


def test_no_connection_is_no_line() -> None:
    assert written(FakeEnvironment(), "-L -c --json") == ""


class Counting(FakeNames):
    """Count the addresses that were looked up in each block."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def find_host_names(
        self, addresses: Any, seconds: float | None = None
    ) -> dict[tuple[int, bytes], str]:
        self.asked.append(len(list(addresses)))
        assert seconds is not None
        return {}


@pytest.mark.parametrize(
    ("words", "blocks"), [("-L -c --json", [6, 0, 0]), ("-L -c --json --resolve-timeout 0", [])]
)
def test_connections_are_read_and_looked_up_a_block_at_a_time(
    words: str, blocks: list[int]
) -> None:
    names = Counting()
    env = FakeEnvironment(table=Connected(LOOKUP_BATCH), names=names)
    assert written(env, words).count("\n") == 3 * LOOKUP_BATCH
    assert names.asked == blocks


@pytest.mark.parametrize(
    "words", ["-L -n -c --json", "-L -c --json", "-L -n -c --json -t 10.0.0.1:80"]
)
def test_connections_are_written_while_they_are_read(words: str) -> None:
    ahead: list[int] = []

    class Counted(Connected):
        taken = 0

        def iter_connections(self) -> Any:
            for line in super().iter_connections():
                self.taken += 1
                yield line

    class Watching(FakeEnvironment):
        written = 0

        def write_stdout(self, data: str) -> None:
            super().write_stdout(data)
            self.written += data.count("\n")
            ahead.append(table.taken - 1 - self.written * (3 if "-t" in words.split() else 1))

    table = Counted(10_000)
    assert cli.main(words.split(), Watching(table=table)) == 0
    assert table.taken == 30_001
    assert len(ahead) > 10
    assert max(ahead) <= LOOKUP_BATCH


def test_a_table_is_written_while_it_is_read() -> None:
    class Counted(MemoryBackend):
        asked = 0

        def read_servers(self, service: Service) -> list[Server]:
            self.asked += 1
            return super().read_servers(service)

    class Watching(FakeEnvironment):
        first = 0

        def write_stdout(self, data: str) -> None:
            self.first = self.first or table.asked
            super().write_stdout(data)

    table = Counted()
    apply_all(table, [f"-A -f {mark}" for mark in range(1, 1001)])
    env = Watching(table=table)
    assert len(valid(written(env, "-L -n --json"))["services"]) == 1000
    assert 0 < env.first < 500
