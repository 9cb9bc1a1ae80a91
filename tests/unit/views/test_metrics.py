"""Test metrics: the format, the values, the file."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from pyipvsadm import cli
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.model import Daemon, Info, Server, Service, Timeouts
from pyipvsadm.views.fields import COUNTERS, SERVER_FIELDS
from pyipvsadm.views.metrics import Metrics
from tests.unit.fake_environment import FakeEnvironment, apply_all

if TYPE_CHECKING:
    from pathlib import Path

RULES = (
    "-A -t 10.0.0.1:80 -s sh -b sh-port -p 60", "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 3 -x 10 -y 5",
    "-a -t 10.0.0.1:80 -r 10.0.1.2:8080 -m -w 0", "-A -u [2001:db8::1]:53 -s rr -o", "-A -f 7 -6 -s wlc",
    "-a -f 7 -6 -r [2001:db8::2]:0 -i",
)  # fmt: skip
SAMPLE = re.compile(r'^(ipvs_[a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\} (\d+)$')


class Busy(MemoryBackend):
    """Hold a table with traffic: 64-bit counters."""

    def read_services(self, counters: bool = True) -> list[Service]:
        services = super().read_services(counters)
        for service in services:
            service.stats = (2**63 + 1, 2, 3, 4, 5, 0, 0, 0, 0, 0)
        return services

    def read_servers(self, service: Service) -> list[Server]:
        servers = super().read_servers(service)
        for server in servers:
            server.active, server.inactive, server.persistent = 9, 1, 2
            server.stats = (11, 12, 13, 14, 2**64 - 1, 0, 0, 0, 0, 0)
        return servers

    def read_sysctl(self, name: str) -> str:
        return {"run_estimation": "0"}.get(name, "")


def run(words: str) -> tuple[int, str, str]:
    env = FakeEnvironment(table=Busy())
    apply_all(env.table, RULES)
    return (cli.main(words.split(), env), *env.take())


def read_samples(text: str) -> dict[tuple[str, str], int]:
    """Return each sample by name and labels, after a check of the format."""
    samples: dict[tuple[str, str], int] = {}
    seen: set[str] = set()
    head = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            head = line.split()[2]
            assert head not in seen
            seen.add(head)
        elif line.startswith("# TYPE "):
            assert line.split()[2:] == [head, "counter" if head.endswith("_total") else "gauge"]
        else:
            found = SAMPLE.match(line)
            assert found, line
            assert found[1] == head
            assert (found[1], found[2]) not in samples
            samples[found[1], found[2]] = int(found[3])
    return samples


WEB = 'netns="",protocol="tcp",address="10.0.0.1",port="80",mark="",family="ipv4"'
ONE = f'{WEB},server_address="10.0.1.1",server_port="80"'
TWO = f'{WEB},server_address="10.0.1.2",server_port="8080"'
MARK = 'netns="",protocol="",address="",port="",mark="7",family="ipv6"'


def test_the_values() -> None:
    status, out, err = run("-L -n --metrics")
    assert (status, err) == (0, "")
    samples = read_samples(out)
    expected = {
        ("ipvs_service_info", f'{WEB},scheduler="sh",flags="sh-port",persistence_seconds="60",one_packet="0"'): 1,
        ("ipvs_service_servers", WEB): 2,
        ("ipvs_service_connections_total", WEB): 2**63 + 1,
        ("ipvs_server_info", f'{ONE},method="masq"'): 1,
        ("ipvs_server_weight", ONE): 3,
        ("ipvs_server_active_connections", ONE): 9,
        ("ipvs_server_upper_threshold", ONE): 10,
        ("ipvs_server_full", ONE): 1,
        ("ipvs_server_full", TWO): 0,
        ("ipvs_server_quiesced", TWO): 1,
        ("ipvs_server_bytes_out_total", ONE): 2**64 - 1,
        ("ipvs_service_servers", MARK): 1,
        ("ipvs_timeout_seconds", 'netns="",state="udp"'): 300,
        ("ipvs_connection_table_size", 'netns=""'): 4096,
        ("ipvs_estimation_enabled", 'netns=""'): 0,
    }  # fmt: skip
    assert {key: samples.get(key) for key in expected} == expected
    assert ("ipvs_server_upper_threshold", TWO) not in samples


def test_services_only_and_one_service() -> None:
    assert not [
        name for name, _ in read_samples(run("-L --metrics=services")[1]) if "_server_" in name
    ]
    labels = {labels for _, labels in read_samples(run("-L --metrics -f 7 -6")[1])}
    assert not [each for each in labels if 'address="10.0.0.1"' in each]


def test_the_same_values_as_json() -> None:
    samples = read_samples(run("-L -n --metrics")[1])
    found = json.loads(run("-L -n --json")[1])["services"]
    web = next(service for service in found if service.get("port") == 80)
    for field in COUNTERS:
        assert samples[f"ipvs_service_{field.metric}", WEB] == web["stats"][field.key]
        assert samples[f"ipvs_server_{field.metric}", ONE] == web["servers"][0]["stats"][field.key]
    for field in SERVER_FIELDS:
        if field.metric:
            assert samples[f"ipvs_server_{field.metric}", ONE] == web["servers"][0][field.key]


def test_a_file_is_replaced_and_readable(tmp_path: Path) -> None:
    path = tmp_path / "ipvs.prom"
    assert run(f"-L -n --metrics --output {path}") == (0, "", "")
    assert path.read_text() == run("-L -n --metrics")[1]
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in tmp_path.iterdir()] == ["ipvs.prom"]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("-L --metrics=servers", 2, "--metrics takes `services' or nothing, not `servers'"),
        ("-L --metrics --json", 2, "The option 'metrics' conflicts with the 'json' option in the 'list' command"),
        ("-L -c --metrics", 2, "The option 'metrics' conflicts with the 'connection' option in the 'list' command"),
        ("-L --output x", 2, "You need to supply the 'metrics' option for the 'output' option"),
        ("-L --metrics -t 10.0.0.9:80", 1, "No such service"),
    ],
)  # fmt: skip
def test_what_does_not_go(words: str, status: int, message: str) -> None:
    got, _, err = run(words)
    assert (got, err.splitlines()[0]) == (status, message)


def test_labels_are_escaped() -> None:
    metrics = Metrics('a"b\\c\nd\udcff')
    metrics.add_settings(Info(0x010201, 8), Timeouts(1, 2, 3), [Daemon(9, "eth0", 1)], "")
    text = "".join(metrics.render())
    assert r'netns="a\"b\\c\nd\\xff",role="9"' in text
    assert "estimation" not in text
