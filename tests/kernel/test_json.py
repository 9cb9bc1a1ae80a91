"""Test --json on a real kernel, with connections through it: the output is compared with the schema
and the reference, and read by jq.

The two examples of jq in docs/json.md are run as they stand there. LAB_TOOL=reference makes no
sense here.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kernel.netns import run_ours, run_reference
from tests.kernel.network import NAT, Connection, Network, built, eventually
from tests.unit.views.test_json_document import valid
from tests.unit.views.test_metrics import read_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).resolve().parents[2]
EXAMPLES = [
    line
    for line in (REPO / "docs" / "json.md").read_text().splitlines()
    if line.startswith("ipvsadm") and "| jq " in line
]


def ipvsadm(command: str) -> str:
    result = run_ours(command.split(), namespace="director")
    assert (result.status, result.stderr) == (0, b""), (command, result)
    return result.stdout.decode()


@pytest.fixture
def network() -> Iterator[Network]:
    """Build a service by translation, its first server quiesced with two connections open, the
    second with one.
    """
    with built(NAT, {"tcp": [80, 8080]}):
        vip = NAT.vip
        ipvsadm(f"-A -t {vip}:80 -s rr")
        ipvsadm(f"-a -t {vip}:80 -r {NAT.real[0]}:8080 -m -x 50")
        with Connection(vip, 80) as first, Connection(vip, 80) as second:
            assert (first.server, second.server) == ("one", "one")
            ipvsadm(f"-e -t {vip}:80 -r {NAT.real[0]}:8080 -m -x 50 -w 0")
            ipvsadm(f"-a -t {vip}:80 -r {NAT.real[1]}:8080 -m")
            ipvsadm("-A -f 5 -6 -s sh -b sh-port -p 60 -M 64")
            with Connection(vip, 80) as third:
                assert third.server == "two"
                yield NAT


def test_what_is_listed_is_in_the_document(network: Network) -> None:
    found = valid(ipvsadm("-L -n --json"))
    by_name = {(each["address"], each["port"]): each for each in found["services"][0]["servers"]}
    one, two = (by_name[address, 8080] for address in network.real)
    assert (
        one["weight"],
        one["active_connections"],
        one["upper_threshold"],
        one["forwarding"],
    ) == (0, 2, 50, "masq")
    assert (two["weight"], two["active_connections"], "upper_threshold" in two) == (1, 1, False)
    mark = found["services"][1]
    assert (mark["family"], mark["firewall_mark"], mark["scheduler_flags"]) == (
        "ipv6",
        5,
        ["sh-port"],
    )
    assert (mark["persistence_timeout"], mark["persistence_prefix_length"]) == (60, 64)
    # The kernel brings its counters up to date every two seconds.
    eventually(lambda: counted()[f"{network.vip}:80"][0], 3)
    eventually(lambda: counted() == counted_by_reference(), wanted=True)


def counted() -> dict[str, list[int]]:
    """Return the counters of the first service and of its servers."""
    service = valid(ipvsadm("-L -n --json"))["services"][0]
    return {
        f"{each['address']}:{each['port']}": list(each["stats"].values())
        for each in (service, *service["servers"])
    }


def counted_by_reference() -> dict[str, list[int]]:
    listing = run_reference(
        ["-L", "-n", "--stats", "--exact"], namespace="director"
    ).stdout.decode()
    lines = [line.split() for line in listing.splitlines() if "." in line and "version" not in line]
    return {words[1]: [int(word) for word in words[2:]] for words in lines}


def test_metrics_are_those_of_the_document(network: Network) -> None:
    """After three connections, every number of the metrics is a number of the document."""
    eventually(lambda: counted()[f"{network.vip}:80"][0], 3)
    eventually(lambda: read_values() == read_metrics(), wanted=True)
    assert read_metrics()[network.vip, "", "connections"] == 3


def read_values() -> dict[tuple[str, str, str], int]:
    """Return the counters and numbers of the document, by service, server and name."""
    found = {}
    for service in valid(ipvsadm("-L -n --json"))["services"]:
        name = service.get("address", "")
        numbers = {**service["stats"], "servers": len(service["servers"])}
        found.update({(name, "", key): value for key, value in numbers.items()})
        for server in service["servers"]:
            numbers = {
                **server["stats"],
                **{k: v for k, v in server.items() if isinstance(v, int) and k != "port"},
            }
            found.update({(name, server["address"], key): value for key, value in numbers.items()})
    return found


def read_metrics() -> dict[tuple[str, str, str], int]:
    found = {}
    for (metric, text), value in read_samples(ipvsadm("-L -n --metrics")).items():
        labels = dict(re.findall(r'(\w+)="([^"]*)"', text))
        _, kind, name = metric.split("_", 2)
        if kind in ("service", "server") and name not in ("info", "full", "quiesced"):
            key = (labels["address"], labels.get("server_address", ""), name.removesuffix("_total"))
            found[key] = value
    return found


def test_the_status_and_the_groups(network: Network) -> None:
    status = valid(ipvsadm("-L --status --json"))["status"]
    assert (status["connections"], status["templates"], status["services"], status["servers"]) == (
        3,
        0,
        2,
        2,
    )
    assert status["connection_hash"]["entries"] == 3
    settings = {each["name"]: each["value"] for each in status["settings"]}
    assert {
        "conn_reuse_mode",
        "expire_nodest_conn",
        "drop_entry",
        "sloppy_tcp",
        "conntrack",
    } <= set(settings)
    assert settings["conn_reuse_mode"] == "1"
    document = valid(ipvsadm("-L -n -c --by=server,state --json"))
    assert [(each["connections"], each["server"]["address"], each["state"]) for each in document["groups"]] == [
        (2, network.real[0], "ESTABLISHED"), (1, network.real[1], "ESTABLISHED"),
    ]  # fmt: skip
    assert ipvsadm("-L -n -c --by=service") == (
        f"Connections Templates  Service\n          3         0  TCP {network.vip}:80\n"
    )


def test_connections_are_a_line_each(network: Network) -> None:
    found = [valid(line) for line in ipvsadm("-L -n -c --json").splitlines(keepends=True)]
    assert sorted(each["server"]["address"] for each in found) == sorted(
        [network.real[0]] * 2 + [network.real[1]]
    )
    assert {each["state"] for each in found} == {"ESTABLISHED"}
    client = found[0]["client"]["address"]
    assert (
        len(
            ipvsadm(
                f"-L -n -c --client {client} -t {network.vip}:80 -r {network.real[1]}"
            ).splitlines()
        )
        == 3
    )
    assert ipvsadm(f"-L -n -c --client {client} -u {network.vip}:80 --json") == ""


def test_the_other_documents(network: Network) -> None:  # noqa: ARG001
    ipvsadm("--start-daemon master --mcast-interface lo --syncid 7")
    (daemon,) = valid(ipvsadm("-L --daemon --json"))["daemons"]
    ipvsadm("--stop-daemon master")
    assert (daemon["role"], daemon["interface"], daemon["sync_id"]) == ("master", "lo", 7)
    assert valid(ipvsadm("-L --timeout --json"))["timeouts"] == {
        "tcp": 900,
        "tcp_fin": 120,
        "udp": 300,
    }


def test_the_page_s_examples_of_jq(network: Network) -> None:
    one, two = network.real
    assert len(EXAMPLES) == 2
    seen = [
        subprocess.run(
            ["ip", "netns", "exec", "director", "/bin/sh", "-c", line],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | {"PATH": f"{REPO}/.venv/bin:{os.environ['PATH']}"},
        )
        for line in EXAMPLES
    ]
    assert [(done.returncode, done.stderr) for done in seen] == [(0, "")] * 2
    assert seen[0].stdout == f"{one} 2\n"
    assert [line.split() for line in seen[1].stdout.splitlines()] == [
        ["2", f"{one}:8080"],
        ["1", f"{two}:8080"],
    ]
