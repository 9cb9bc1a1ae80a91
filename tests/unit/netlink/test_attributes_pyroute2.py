"""Compare the codec with pyroute2, which knows the family too, as an independent reader and writer.

Its known errors are left out: it types the IPv6 netmask as an address and the tunnel's port in the
machine's order, and has no names of its own for 64-bit statistics. Before 0.8 it had no IPVS at
all: the package accepts such a version, and with it these tests are skipped.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest

from pyipvsadm import model
from pyipvsadm.model import (
    AF_INET,
    MASQ,
    ONE_PACKET,
    PERSISTENT,
    ROUTE,
    TCP,
    UDP,
    Change,
    Server,
    Service,
)
from pyipvsadm.netlink import attributes, framing

if tuple(map(int, version("pyroute2").split(".")[:2])) < (0, 8):
    pytest.skip("pyroute2 has IPVS from 0.8 on", allow_module_level=True)

from pyroute2.netlink.generic import ipvs as theirs

V4 = bytes([10, 0, 0, 1])


def pyroute2_reads(payload: bytes) -> dict[str, Any]:
    """Return our request, decoded by pyroute2."""
    message = theirs.ipvsmsg(framing.pack_message(28, 1, 1, 1, payload))
    message.decode()
    return {name: dict(value["attrs"]) for name, value in message["attrs"]}


def test_pyroute2_reads_our_service() -> None:
    change = Change(
        model.NEW_SERVICE, Service(AF_INET, TCP, V4, 80, 0, "wrr", PERSISTENT, 300, 0xFFFFFF00)
    )
    found = pyroute2_reads(attributes.Encoder().encode(change))["IPVS_CMD_ATTR_SERVICE"]
    assert found["IPVS_SVC_ATTR_AF"] == AF_INET
    assert found["IPVS_SVC_ATTR_PROTOCOL"] == TCP
    assert found["IPVS_SVC_ATTR_ADDR"] == "10.0.0.1"
    assert found["IPVS_SVC_ATTR_PORT"] == 80
    assert found["IPVS_SVC_ATTR_SCHED_NAME"] == "wrr"
    assert found["IPVS_SVC_ATTR_FLAGS"]["flags"] == PERSISTENT
    assert found["IPVS_SVC_ATTR_TIMEOUT"] == 300
    assert found["IPVS_SVC_ATTR_NETMASK"] == "255.255.255.0"


def test_pyroute2_reads_our_server() -> None:
    server = Server(AF_INET, bytes([10, 0, 0, 2]), 8080, MASQ, 5, 100, 50)
    found = pyroute2_reads(
        attributes.Encoder().encode(Change(model.NEW_DEST, Service(AF_INET, TCP, V4, 80), server))
    )
    dest = found["IPVS_CMD_ATTR_DEST"]
    assert dest["IPVS_DEST_ATTR_ADDR"] == "10.0.0.2"
    assert dest["IPVS_DEST_ATTR_PORT"] == 8080
    assert dest["IPVS_DEST_ATTR_FWD_METHOD"] == MASQ
    assert dest["IPVS_DEST_ATTR_WEIGHT"] == 5
    assert dest["IPVS_DEST_ATTR_U_THRESH"] == 100
    assert dest["IPVS_DEST_ATTR_L_THRESH"] == 50


def pyroute2_writes(*attrs: tuple[str, Any]) -> framing.Message:
    """Return a message that pyroute2 wrote, for us to read."""
    message = theirs.ipvsmsg()
    message["cmd"] = 1
    message["version"] = 1
    message["attrs"] = list(attrs)
    message["header"]["type"] = 28
    message.encode()
    (found,) = framing.iter_messages(bytes(message.data))
    return found


def test_we_read_pyroute2s_service() -> None:
    found = attributes.read_service(
        pyroute2_writes(
            (
                "IPVS_CMD_ATTR_SERVICE",
                {
                    "attrs": [
                        ("IPVS_SVC_ATTR_AF", AF_INET),
                        ("IPVS_SVC_ATTR_PROTOCOL", UDP),
                        ("IPVS_SVC_ATTR_ADDR", "10.0.0.1"),
                        ("IPVS_SVC_ATTR_PORT", 53),
                        ("IPVS_SVC_ATTR_SCHED_NAME", "sed"),
                        ("IPVS_SVC_ATTR_FLAGS", {"flags": 4, "mask": 0xFFFFFFFF}),
                        ("IPVS_SVC_ATTR_TIMEOUT", 10),
                        ("IPVS_SVC_ATTR_NETMASK", "255.255.0.0"),
                    ]
                },
            )
        )
    )
    assert found == Service(AF_INET, UDP, V4, 53, 0, "sed", ONE_PACKET, 10, 0xFFFF0000)


def test_we_read_pyroute2s_server() -> None:
    numbers = {"FWD_METHOD": ROUTE, "WEIGHT": 4, "U_THRESH": 3, "L_THRESH": 2}
    counts = {"ACTIVE_CONNS": 1, "INACT_CONNS": 2, "PERSIST_CONNS": 3}
    attrs: list[tuple[str, Any]] = [
        ("IPVS_DEST_ATTR_ADDR_FAMILY", AF_INET),
        ("IPVS_DEST_ATTR_ADDR", "10.0.0.9"),
    ]
    attrs += [("IPVS_DEST_ATTR_PORT", 80)]
    attrs += [(f"IPVS_DEST_ATTR_{name}", value) for name, value in (numbers | counts).items()]
    found = attributes.read_destination(
        pyroute2_writes(("IPVS_CMD_ATTR_DEST", {"attrs": attrs})), 0
    )
    assert found == Server(
        AF_INET, bytes([10, 0, 0, 9]), 80, ROUTE, 4, 3, 2, active=1, inactive=2, persistent=3
    )
