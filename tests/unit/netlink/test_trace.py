"""Test the trace of netlink messages: requests and replies line by line, and bytes that are damaged
or mean nothing.
"""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyipvsadm import model
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    GUE,
    MASTER,
    NEW_DEST,
    NEW_SERVICE,
    PERSISTENT,
    SET_CONFIG,
    TCP,
    TUN_CSUM,
    TUNNEL,
    Change,
    Daemon,
    Server,
    Service,
    Timeouts,
)
from pyipvsadm.netlink import attributes, framing
from pyipvsadm.netlink.trace import describe_datagram

V4 = bytes([10, 0, 0, 1])
V6 = bytes.fromhex("20010db8000000000000000000000001")
FAMILY = 27  # any number the kernel may have given out
REQUEST_ACK = framing.NLM_F_REQUEST | framing.NLM_F_ACK


def u32(value: int) -> str:
    """Return a 32-bit number in hexadecimal as it lies in memory."""
    return struct.pack("=I", value).hex()


def sent(change: Change, flags: int = REQUEST_ACK) -> list[str]:
    return list(
        describe_datagram(
            "sent",
            framing.pack_message(FAMILY, change.op, flags, 7, attributes.Encoder().encode(change)),
        )
    )


def test_a_service() -> None:
    service = Service(AF_INET, TCP, V4, 80, 0, "rr", PERSISTENT, 300, 0xFFFFFF00, "sip")
    assert sent(Change(NEW_SERVICE, service)) == [
        "netlink sent seq=7 NEW_SERVICE family=27 flags=REQUEST|ACK",
        "  SERVICE",
        "    AF 2",
        "    PROTOCOL 6",
        "    ADDR 0a000001 00000000 00000000 00000000",
        "    PORT 80",
        "    SCHED_NAME 'rr'",
        "    PE_NAME 'sip'",
        f"    FLAGS {u32(1)} ffffffff",
        "    TIMEOUT 300",
        "    NETMASK ffffff00",
    ]


def test_a_server_of_a_mark() -> None:
    server = Server(AF_INET6, V6, 8080, TUNNEL, -1, 100, 50, GUE, 6080, TUN_CSUM)
    assert sent(Change(NEW_DEST, Service(AF_INET, fwmark=5), server), framing.NLM_F_REQUEST) == [
        "netlink sent seq=7 NEW_DEST family=27 flags=REQUEST",
        "  SERVICE",
        "    AF 2",
        "    FWMARK 5",
        "  DEST",
        "    ADDR_FAMILY 10",
        "    ADDR 20010db8 00000000 00000000 00000001",
        "    PORT 8080",
        "    FWD_METHOD 2",
        "    WEIGHT -1",
        "    TUN_TYPE 1",
        "    TUN_PORT 6080",
        "    TUN_FLAGS 1",
        "    U_THRESH 100",
        "    L_THRESH 50",
    ]


@pytest.mark.parametrize(
    ("group", "line"),
    [
        (bytes([224, 0, 0, 81]), "MCAST_GROUP e0000051"),
        (b"\xff\2" + bytes(14), "MCAST_GROUP6 ff020000 00000000 00000000 00000000"),
    ],
)
def test_a_daemon(group: bytes, line: str) -> None:
    daemon = Daemon(MASTER, "eth0", 7, 1400, group, 8848, 2)
    assert sent(Change(model.NEW_DAEMON, daemon=daemon)) == [
        "netlink sent seq=7 NEW_DAEMON family=27 flags=REQUEST|ACK",
        "  DAEMON",
        "    STATE 1",
        "    MCAST_IFN 'eth0'",
        "    SYNC_ID 7",
        "    SYNC_MAXLEN 1400",
        "    MCAST_PORT 8848",
        "    MCAST_TTL 2",
        f"    {line}",
    ]


def test_timeouts() -> None:
    assert sent(Change(SET_CONFIG, timeouts=Timeouts(900, 120, 300)), 0) == [
        "netlink sent seq=7 SET_CONFIG family=27 flags=0",
        "  TIMEOUT_TCP 900",
        "  TIMEOUT_TCP_FIN 120",
        "  TIMEOUT_UDP 300",
    ]


def test_nothing_but_a_command() -> None:
    assert sent(Change(model.FLUSH)) == ["netlink sent seq=7 FLUSH family=27 flags=REQUEST|ACK"]


def test_many_messages_in_one_datagram() -> None:
    both = framing.pack_message(FAMILY, model.FLUSH, 1, 1, b"") + framing.pack_message(
        FAMILY, model.ZERO, 5, 2, b""
    )
    assert list(describe_datagram("sent", both)) == [
        "netlink sent seq=1 FLUSH family=27 flags=REQUEST",
        "netlink sent seq=2 ZERO family=27 flags=REQUEST|ACK",
    ]


@pytest.mark.parametrize(
    ("direction", "flags", "shown"),
    [
        ("sent", framing.NLM_F_REQUEST | framing.NLM_F_DUMP, "REQUEST|DUMP"),
        ("sent", framing.NLM_F_REQUEST | 0x100, "REQUEST"),  # half of what asks for a dump
        ("sent", framing.NLM_F_DUMP_INTR, "0"),
        ("received", framing.NLM_F_MULTI, "MULTI"),
        ("received", framing.NLM_F_MULTI | framing.NLM_F_DUMP_INTR, "MULTI|DUMP_INTR"),
        ("received", framing.NLM_F_DUMP, "0"),  # these bits mean other things in replies
    ],
)
def test_flags(direction: str, flags: int, shown: str) -> None:
    data = framing.pack_message(FAMILY, model.GET_SERVICE, flags, 3, b"")
    assert list(describe_datagram(direction, data)) == [
        f"netlink {direction} seq=3 GET_SERVICE family=27 flags={shown}"
    ]


def reply(kind: int, body: bytes, seq: int = 7) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, seq, 0) + body


@pytest.mark.parametrize(
    ("kind", "body", "line"),
    [
        (framing.NLMSG_ERROR, struct.pack("=i", 0), "ACK"),
        (
            framing.NLMSG_ERROR,
            struct.pack("=i", -errno.EEXIST) + bytes(16),
            "ERROR 17 (File exists)",
        ),
        (framing.NLMSG_ERROR, struct.pack("=i", -errno.ESRCH), "ERROR 3 (No such process)"),
        (framing.NLMSG_ERROR, struct.pack("=i", -5000), "ERROR 4095 (Unknown error 4095)"),
        (framing.NLMSG_ERROR, struct.pack("=i", -(2**31)), "ERROR 4095 (Unknown error 4095)"),
        (framing.NLMSG_DONE, struct.pack("=i", 0), "DONE 0"),
        (framing.NLMSG_DONE, struct.pack("=i", -errno.EINTR), "DONE 4"),
        (framing.NLMSG_DONE, b"", "DONE 0"),
    ],
)
def test_ends(kind: int, body: bytes, line: str) -> None:
    assert list(describe_datagram("received", reply(kind, body))) == [
        f"netlink received seq=7 {line}"
    ]


def nest(kind: int, *inner: bytes) -> bytes:
    return framing.pack_attribute(kind, b"".join(inner))


def test_statistics() -> None:
    narrow = [
        framing.pack_attribute(kind, struct.pack("=Q" if kind in (4, 5) else "=I", kind * 10))
        for kind in range(1, 11)
    ]
    # On some machines every 64-bit value has an empty PAD before it.
    wide = [
        framing.pack_attribute(11, b"")
        + framing.pack_attribute(kind, struct.pack("=Q", kind << 40))
        for kind in (1, 10)
    ]
    body = nest(
        attributes.SERVICE, nest(attributes.SVC_STATS, *narrow), nest(attributes.SVC_STATS64, *wide)
    )
    body += nest(
        attributes.DEST,
        framing.pack_attribute(attributes.DEST_PERSIST_CONNS, struct.pack("=I", 3)),
        nest(attributes.DEST_STATS64),
        nest(attributes.DEST_STATS),
    )
    assert list(
        describe_datagram("received", framing.pack_message(FAMILY, model.NEW_SERVICE, 2, 9, body))
    ) == [
        "netlink received seq=9 NEW_SERVICE family=27 flags=MULTI",
        "  SERVICE",
        "    STATS",
        "      CONNS 10",
        "      INPKTS 20",
        "      OUTPKTS 30",
        "      INBYTES 40",
        "      OUTBYTES 50",
        "      CPS 60",
        "      INPPS 70",
        "      OUTPPS 80",
        "      INBPS 90",
        "      OUTBPS 100",
        "    STATS64",
        "      PAD ",
        "      CONNS 1099511627776",
        "      OUTBPS 10995116277760",
        "  DEST",
        "    PERSIST_CONNS 3",
        "    STATS64",
        "    STATS",
    ]


def test_connections_of_a_server() -> None:
    counts = [(attributes.DEST_ACTIVE_CONNS, 1), (attributes.DEST_INACT_CONNS, 2)]
    body = nest(
        attributes.DEST,
        *(framing.pack_attribute(kind, struct.pack("=I", value)) for kind, value in counts),
    )
    assert list(describe_datagram("received", framing.pack_message(FAMILY, NEW_DEST, 2, 9, body)))[
        1:
    ] == [
        "  DEST",
        "    ACTIVE_CONNS 1",
        "    INACT_CONNS 2",
    ]


def test_info_has_attributes_of_its_own() -> None:
    body = framing.pack_attribute(1, struct.pack("=I", 0x010201)) + framing.pack_attribute(
        2, struct.pack("=I", 4096)
    )
    assert list(
        describe_datagram("received", framing.pack_message(FAMILY, model.SET_INFO, 0, 1, body))
    ) == [
        "netlink received seq=1 SET_INFO family=27 flags=0",
        f"  VERSION {u32(0x010201)}",
        "  CONN_TAB_SIZE 4096",
    ]


def test_the_controller() -> None:
    assert list(describe_datagram("sent", framing.pack_family_request(1))) == [
        "netlink sent seq=1 controller family=16 flags=REQUEST",
        "  FAMILY_NAME 'IPVS'",
    ]
    body = framing.pack_attribute(
        framing.CTRL_ATTR_FAMILY_ID, struct.pack("=H", FAMILY)
    ) + framing.pack_attribute(3, struct.pack("=I", 1))
    assert list(describe_datagram("received", framing.pack_message(16, 1, 0, 1, body)))[1:] == [
        "  FAMILY_ID 27",
        f"  attribute 3 {u32(1)}",
    ]


def test_what_has_no_name() -> None:
    body = nest(
        attributes.SERVICE, framing.pack_attribute(99, b"\1\2\3\4\5")
    ) + framing.pack_attribute(77, b"")
    assert list(describe_datagram("received", framing.pack_message(FAMILY, 42, 0, 1, body))) == [
        "netlink received seq=1 42 family=27 flags=0",
        "  SERVICE",
        "    attribute 99 01020304 05",
        "  attribute 77 ",
    ]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"rr\0", "'rr'"),
        (b"rr", "'rr'"),
        (b"", "''"),
        (b"a\0b", "'a'"),
        (b"\xff\x1b[0m", r"'\\xff\x1b[0m'"),
        (b"it's\0", '"it\'s"'),
    ],
)
def test_names_cannot_steer_the_terminal(name: bytes, shown: str) -> None:
    body = nest(attributes.SERVICE, framing.pack_attribute(attributes.SVC_SCHED_NAME, name))
    assert (
        list(describe_datagram("sent", framing.pack_message(FAMILY, NEW_SERVICE, 0, 1, body)))[2]
        == f"    SCHED_NAME {shown}"
    )


def test_numbers_of_other_sizes() -> None:
    sizes = [
        framing.pack_attribute(attributes.SVC_TIMEOUT, b""),
        framing.pack_attribute(attributes.SVC_FWMARK, b"\xff" * 9),
        framing.pack_attribute(attributes.SVC_AF, b"\5"),
    ]
    lines = list(
        describe_datagram(
            "sent",
            framing.pack_message(FAMILY, NEW_SERVICE, 0, 1, nest(attributes.SERVICE, *sizes)),
        )
    )
    assert lines[2:] == ["    TIMEOUT 0", "    FWMARK ffffffff ffffffff ff", "    AF 5"]


WHOLE = framing.pack_message(
    FAMILY,
    NEW_SERVICE,
    REQUEST_ACK,
    7,
    attributes.Encoder().encode(Change(NEW_SERVICE, Service(AF_INET, TCP, V4, 80))),
)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"\1\2\3", ["netlink received: a message header cut after 3 bytes: 010203"]),
        (
            WHOLE[:4] + b"\0",
            ["netlink received: a message header cut after 5 bytes: " + WHOLE[:4].hex() + " 00"],
        ),
        (reply(framing.NLMSG_ERROR, b"\1"), None),
        (reply(FAMILY, b""), None),
        (reply(FAMILY, b"\1"), None),
    ],
)
def test_what_cannot_be_read_is_shown_in_hexadecimal(data: bytes, lines: list[str] | None) -> None:
    found = list(describe_datagram("received", data))
    assert found[-1].startswith("netlink received: ")
    assert found[-1].endswith(f": {data.hex(' ', -4)}")
    assert lines is None or found == lines


@given(st.binary(max_size=200), st.sampled_from(["sent", "received"]))
@example(
    framing.pack_message(
        FAMILY,
        NEW_SERVICE,
        0,
        1,
        nest(attributes.SERVICE, framing.pack_attribute(attributes.SVC_AF, bytes(60000))),
    ),
    "sent",
)
def test_any_bytes_are_shown(data: bytes, direction: str) -> None:
    lines = list(describe_datagram(direction, data))
    assert bool(lines) == bool(data)
    assert all("\n" not in line for line in lines)


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), st.integers(0, len(WHOLE)))
def test_damaged_bytes_are_shown(at: int, value: int, size: int) -> None:
    damaged = WHOLE[:at] + bytes([value]) + WHOLE[at + 1 :]
    lines = list(describe_datagram("received", damaged[:size]))
    assert bool(lines) == bool(size)
    assert all(line.isprintable() for line in lines)
