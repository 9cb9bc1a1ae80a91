"""Test the Python interface on a real kernel: the page's examples, connections, another
namespace.
"""

from __future__ import annotations

import functools
import subprocess
from typing import TYPE_CHECKING

import pytest

import pyipvsadm
from pyipvsadm import api
from pyipvsadm.api import Table
from tests.kernel import netns as namespaces
from tests.kernel.network import NAT, Connection, built
from tests.unit.api.test_table import run_examples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.usefixtures("netns")
def test_the_examples_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest's /var is read-only: the history is in another folder."""
    monkeypatch.setattr(api, "open", functools.partial(Table, history=str(tmp_path)))
    assert run_examples() > 15


@pytest.fixture
def service() -> Iterator[tuple[str, str]]:
    with built(NAT, {"tcp": [8080]}):
        yield "tcp", f"{NAT.vip}:80"


def test_connections_of_another_namespace(service: tuple[str, str]) -> None:
    """Reads, changes and the settings of a plan concern the table's namespace, and the program is in
    its own after each call.
    """
    home = subprocess.run(["ip", "netns", "identify"], capture_output=True, check=True).stdout
    with pyipvsadm.open(netns="director") as table:
        table.add_service(*service, scheduler="rr")
        table.add_server(service, f"{NAT.real[0]}:8080", forwarding="masq")
        with Connection(NAT.vip, 80) as connection:
            assert connection.server == "one"
            (found,) = table.connections()
            assert (found.state, found.server.address, found.virtual.port) == (
                "ESTABLISHED",
                NAT.real[0],
                80,
            )
            (server,) = table.servers(service)
            assert (server.address, server.active_connections) == (NAT.real[0], 1)
            prediction = table.predict((found.client.address, found.client.port), service)
            assert prediction.server
            assert prediction.server.address == NAT.real[0]
        assert table.plan(f"-A -t {NAT.vip}:80 -s rr", prune=True).removed == 1
        assert table.services() == [table.service(*service)]
    assert (
        subprocess.run(["ip", "netns", "identify"], capture_output=True, check=True).stdout == home
    )


@pytest.mark.usefixtures("netns")
def test_as_the_reference_lists() -> None:
    with pyipvsadm.open() as table:
        web = table.add_service(
            "tcp", "[2001:db8::1]:80", scheduler="mh", scheduler_flags=["mh-port"]
        )
        table.add_server(web, "[2001:db8::2]:80", forwarding="route", weight=7)
        table.add_service(
            "mark", 3_000_000_000, persistence_timeout=30, persistence_netmask="255.255.0.0"
        )
        with pytest.raises(pyipvsadm.RefusedError, match="Service already exists"):
            table.add_service("tcp", "[2001:db8::1]:80")
    assert namespaces.run_reference(["-S", "-n"]).stdout == (
        b"-A -f -1294967296 -s wlc -p 30 -M 255.255.0.0\n"
        b"-A -t [2001:db8::1]:80 -s mh -b mh-port\n"
        b"-a -t [2001:db8::1]:80 -r [2001:db8::2]:80 -g -w 7\n"
    )
