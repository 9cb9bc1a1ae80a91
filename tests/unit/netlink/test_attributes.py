"""Test the codec: values and exact bytes both ways, and bytes that mean nothing."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm import model
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    BACKUP,
    GRE,
    GUE,
    MASTER,
    ONE_PACKET,
    PERSISTENT,
    SCHED1,
    TCP,
    TUNNEL,
    UDP,
    Change,
    Daemon,
    Info,
    Server,
    Service,
    Timeouts,
)
from pyipvsadm.netlink import attributes, framing

V4 = bytes([10, 0, 0, 1])
V6 = bytes.fromhex("20010db8000000000000000000000001")

# Bytes are written for a little-endian machine; nothing here runs elsewhere.
LITTLE = struct.pack("=H", 1) == b"\1\0"

# (what is sent, the payload after the headers in hexadecimal)
SENT: list[tuple[str, Change, str]] = [
    ("clear", Change(model.FLUSH), ""),
    ("zero all", Change(model.ZERO), ""),
    (
        "delete a service",
        Change(model.DEL_SERVICE, Service(AF_INET, TCP, V4, 80)),
        (
            "30000100"
            "06000100 02000000"  # AF
            "06000200 06000000"  # PROTOCOL
            "14000300 0a000001 00000000 00000000 00000000"  # ADDR
            "06000400 00500000"
        ),  # PORT, network order
    ),
    (
        "zero a mark",
        Change(model.ZERO, Service(AF_INET6, fwmark=7)),
        "14000100 06000100 0a000000 08000500 07000000",
    ),
    (
        "add a service",
        Change(
            model.NEW_SERVICE,
            Service(
                AF_INET, UDP, V4, 5060, 0, "rr", PERSISTENT | ONE_PACKET, 300, 0xFFFFFF00, "sip"
            ),
        ),
        (
            "5c000100"
            "06000100 02000000"
            "06000200 11000000"
            "14000300 0a000001 00000000 00000000 00000000"
            "06000400 13c40000"
            "07000600 72720000"  # SCHED_NAME
            "08000b00 73697000"  # PE_NAME
            "0c000700 05000000 ffffffff"  # FLAGS and their mask
            "08000800 2c010000"  # TIMEOUT
            "08000900 ffffff00"
        ),  # NETMASK, IPv4: network order
    ),
    (
        "edit a service",
        Change(model.SET_SERVICE, Service(AF_INET6, TCP, V6, 443, 0, "sh", SCHED1, 0, 64)),
        (
            "54000100"
            "06000100 0a000000"
            "06000200 06000000"
            "14000300 20010db8 00000000 00000000 00000001"
            "06000400 01bb0000"
            "07000600 73680000"
            "0c000700 08000000 ffffffff"
            "08000800 00000000"
            "08000900 40000000"
        ),  # NETMASK, IPv6: a prefix length in the machine's order
    ),
    (
        "add a server",
        Change(
            model.NEW_DEST,
            Service(AF_INET, TCP, V4, 80),
            Server(AF_INET, bytes([10, 0, 0, 2]), 8080, TUNNEL, 3, 100, 50, GUE, 6080, 1),
        ),
        (
            "30000100 06000100 02000000 06000200 06000000 14000300 0a000001 00000000 00000000 00000000 06000400 00500000"
            "60000200"
            "06000b00 02000000"  # ADDR_FAMILY
            "14000100 0a000002 00000000 00000000 00000000"  # ADDR
            "06000200 1f900000"  # PORT
            "08000300 02000000"  # FWD_METHOD
            "08000400 03000000"  # WEIGHT
            "05000d00 01000000"  # TUN_TYPE
            "06000e00 17c00000"  # TUN_PORT, network order
            "06000f00 01000000"  # TUN_FLAGS
            "08000500 64000000"  # U_THRESH
            "08000600 32000000"
        ),  # L_THRESH
    ),
    (
        "edit a server",
        Change(
            model.SET_DEST,
            Service(AF_INET, fwmark=0xFFFFFFFF),
            Server(AF_INET6, V6, 0, TUNNEL, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE, GRE, 0, 0x8001),
        ),
        (
            "14000100 06000100 02000000 08000500 ffffffff"
            "60000200"
            "06000b00 0a000000"
            "14000100 20010db8 00000000 00000000 00000001"
            "06000200 00000000"
            "08000300 02000000"
            "08000400 ffffff7f"
            "05000d00 02000000"
            "06000e00 00000000"
            "06000f00 01800000"
            "08000500 ffffffff"  # thresholds have no sign
            "08000600 feffffff"
        ),
    ),
    (
        "delete a server of a mark",
        Change(
            model.DEL_DEST,
            Service(AF_INET, fwmark=1),
            Server(AF_INET, bytes([10, 0, 0, 2]), 0),
        ),
        (
            "14000100 06000100 02000000 08000500 01000000"
            "28000200 06000b00 02000000 14000100 0a000002 00000000 00000000 00000000 06000200 00000000"
        ),
    ),
    (
        "set timeouts",
        Change(model.SET_CONFIG, timeouts=Timeouts(900, 120, 300)),
        "08000400 84030000 08000500 78000000 08000600 2c010000",
    ),
    (
        "start a daemon with defaults",
        Change(model.NEW_DAEMON, daemon=Daemon(MASTER, "lo", 5)),
        "1c000300 08000100 01000000 07000200 6c6f0000 08000300 05000000",
    ),
    (
        "start a daemon with everything",
        Change(
            model.NEW_DAEMON,
            daemon=Daemon(BACKUP, "eth0", 1, 1400, bytes([224, 0, 0, 82]), 8849, 3),
        ),
        (
            "40000300 08000100 02000000 09000200 65746830 00000000 08000300 01000000"
            "06000400 78050000"  # SYNC_MAXLEN
            "06000700 91220000"  # MCAST_PORT: the machine's order, unlike every other port
            "05000800 03000000"  # MCAST_TTL
            "08000500 e0000052"
        ),  # MCAST_GROUP
    ),
    (
        "start a daemon on an IPv6 group",
        Change(
            model.NEW_DAEMON,
            daemon=Daemon(MASTER, "lo", 0, group=bytes.fromhex("ff02" + "00" * 13 + "81")),
        ),
        "30000300 08000100 01000000 07000200 6c6f0000 08000300 00000000 14000600 ff020000 00000000 00000000 00000081",
    ),
]

STATS64 = tuple(range(1 << 33, (1 << 33) + 10))
STATS32 = (1, 2, 3, 1 << 33, (1 << 33) + 1, 6, 7, 8, 9, 10)


def nest(kind: int, *parts: bytes) -> bytes:
    return framing.pack_attribute(kind, b"".join(parts))


def stats64() -> bytes:
    return b"".join(
        framing.pack_attribute(at, struct.pack("=Q", value)) for at, value in enumerate(STATS64, 1)
    )


def stats32() -> bytes:
    return b"".join(
        framing.pack_attribute(at, struct.pack("=Q" if at in (4, 5) else "=I", value))
        for at, value in enumerate(STATS32, 1)
    )


def reply(*parts: bytes) -> framing.Message:
    (message,) = framing.iter_messages(
        framing.pack_message(28, 1, framing.NLM_F_MULTI, 3, b"".join(parts))
    )
    return message


@pytest.mark.parametrize(
    ("change", "expected"), [pytest.param(c, e, id=name) for name, c, e in SENT]
)
def test_what_is_sent(change: Change, expected: str) -> None:
    assert LITTLE
    assert attributes.Encoder().encode(change).hex() == expected.replace(" ", "")


def test_what_an_encoder_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "CACHE_LIMIT", 2)
    encoder = attributes.Encoder()
    for at in range(10):
        service = Service(AF_INET, TCP, V4, 80, timeout=at)
        servers = [Server(AF_INET, V4, port) for port in (at, at + 1)]
        for change in (
            Change(model.NEW_SERVICE, service),
            *[Change(model.NEW_DEST, service, each) for each in servers * 2],
        ):
            assert encoder.encode(change) == attributes.Encoder().encode(change)
    assert max(len(encoder._settings), len(encoder._servers)) <= 3


def test_an_encoder_makes_bytes_that_come_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(name: str) -> None:
        real = getattr(attributes, name)

        def count(*words: object) -> object:
            made.append(name)
            return real(*words)

        monkeypatch.setattr(attributes, name, count)

    for name in ("encode_service_key", "_encode_service_settings", "encode_dest"):
        counted(name)
    encoder = attributes.Encoder()
    services = [Service(AF_INET, TCP, V4, port) for port in (80, 81)]
    server = Server(AF_INET, V4, 80)
    for service in services:
        encoder.encode(Change(model.NEW_SERVICE, service))
        for _ in range(3):
            encoder.encode(Change(model.NEW_DEST, service, server))
    assert sorted(made) == [
        "_encode_service_settings",
        "encode_dest",
        "encode_service_key",
        "encode_service_key",
    ]


def test_a_whole_request() -> None:
    assert framing.pack_message(
        28, model.FLUSH, framing.NLM_F_REQUEST | framing.NLM_F_ACK, 9, b""
    ).hex(" ") == ("14 00 00 00 1c 00 05 00 09 00 00 00 00 00 00 00 11 01 00 00")
    assert framing.pack_family_request(
        1
    ).hex() == "20000000" + "10000100" + "01000000" + "00000000" + "03010000" + (
        "09000200" + "495056530" + "0000000"
    )


SERVICE_HEAD = (
    framing.pack_attribute(attributes.SVC_AF, struct.pack("=H", AF_INET)),
    framing.pack_attribute(attributes.SVC_PROTOCOL, struct.pack("=H", TCP)),
    framing.pack_attribute(attributes.SVC_ADDR, V4 + bytes(12)),
    framing.pack_attribute(attributes.SVC_PORT, b"\x00\x50"),
)
SERVICE_TAIL = (
    framing.pack_attribute(attributes.SVC_SCHED_NAME, b"wlc\0"),
    framing.pack_attribute(attributes.SVC_FLAGS, struct.pack("=II", 3, 0xFFFFFFFF)),
    framing.pack_attribute(attributes.SVC_TIMEOUT, struct.pack("=I", 360)),
    framing.pack_attribute(attributes.SVC_NETMASK, bytes([255, 255, 0, 0])),
)
SERVER = (
    framing.pack_attribute(attributes.DEST_ADDR, bytes([10, 0, 0, 2]) + bytes(12)),
    framing.pack_attribute(attributes.DEST_PORT, b"\x1f\x90"),
    framing.pack_attribute(attributes.DEST_FWD_METHOD, struct.pack("=I", 0x8000_0102)),
    framing.pack_attribute(attributes.DEST_WEIGHT, struct.pack("=i", -1)),
    framing.pack_attribute(attributes.DEST_U_THRESH, struct.pack("=I", 9)),
    framing.pack_attribute(attributes.DEST_L_THRESH, struct.pack("=I", 8)),
    framing.pack_attribute(attributes.DEST_ACTIVE_CONNS, struct.pack("=I", 7)),
    framing.pack_attribute(attributes.DEST_INACT_CONNS, struct.pack("=I", 6)),
    framing.pack_attribute(attributes.DEST_PERSIST_CONNS, struct.pack("=I", 5)),
)


def test_a_service_as_received() -> None:
    unknown = framing.pack_attribute(99, b"from a newer kernel")
    body = (
        *SERVICE_HEAD,
        unknown,
        *SERVICE_TAIL,
        nest(attributes.SVC_STATS, stats32()),
        nest(attributes.SVC_STATS64, stats64()),
    )
    assert attributes.read_service(reply(nest(attributes.SERVICE, *body))) == Service(
        AF_INET, TCP, V4, 80, 0, "wlc", 3, 360, 0xFFFF0000, "", STATS64
    )


def test_a_service_of_an_old_kernel_has_32_bit_statistics() -> None:
    body = (*SERVICE_HEAD, *SERVICE_TAIL, nest(attributes.SVC_STATS, stats32()))
    assert attributes.read_service(reply(nest(attributes.SERVICE, *body))).stats == STATS32


def test_a_mark_as_received() -> None:
    head = (
        SERVICE_HEAD[0],
        framing.pack_attribute(attributes.SVC_FWMARK, struct.pack("=I", 0xFFFFFFFF)),
    )
    pe = framing.pack_attribute(attributes.SVC_PE_NAME, b"sip\0left\0over")
    found = attributes.read_service(reply(nest(attributes.SERVICE, *head, pe, *SERVICE_TAIL)))
    assert found.key() == (AF_INET, 0, b"", 0, 0xFFFFFFFF)
    assert (found.pe, found.stats) == ("sip", model.NO_STATS)


def test_an_ipv6_service_has_its_prefix_in_the_machines_order() -> None:
    head = (
        framing.pack_attribute(attributes.SVC_AF, struct.pack("=H", AF_INET6)),
        SERVICE_HEAD[1],
        framing.pack_attribute(attributes.SVC_ADDR, V6),
        SERVICE_HEAD[3],
    )
    tail = (
        *SERVICE_TAIL[:3],
        framing.pack_attribute(attributes.SVC_NETMASK, struct.pack("=I", 64)),
    )
    found = attributes.read_service(reply(nest(attributes.SERVICE, *head, *tail)))
    assert (found.addr, found.netmask) == (V6, 64)


def test_a_server_as_received() -> None:
    tunnel = (
        framing.pack_attribute(attributes.DEST_TUN_TYPE, bytes([GRE])),
        framing.pack_attribute(attributes.DEST_TUN_PORT, b"\x17\xc0"),
        framing.pack_attribute(attributes.DEST_TUN_FLAGS, struct.pack("=H", 1)),
        framing.pack_attribute(attributes.DEST_ADDR_FAMILY, struct.pack("=H", AF_INET)),
        nest(attributes.DEST_STATS64, stats64()),
    )
    found = attributes.read_destination(reply(nest(attributes.DEST, *SERVER, *tunnel)), AF_INET6)
    assert found == Server(
        AF_INET, bytes([10, 0, 0, 2]), 8080, TUNNEL, -1, 9, 8, GRE, 6080, 1, 7, 6, 5, STATS64
    )


def test_a_server_of_an_old_kernel_has_its_services_family() -> None:
    found = attributes.read_destination(reply(nest(attributes.DEST, *SERVER)), AF_INET)
    assert (found.af, found.tun_type, found.tun_port, found.tun_flags, found.stats) == (
        AF_INET,
        0,
        0,
        0,
        model.NO_STATS,
    )
    narrow = nest(attributes.DEST_STATS, stats32())
    assert (
        attributes.read_destination(reply(nest(attributes.DEST, *SERVER, narrow)), AF_INET).stats
        == STATS32
    )


@pytest.mark.parametrize(
    "daemon",
    [
        Daemon(MASTER, "lo", 5, 1472, bytes([224, 0, 0, 81]), 8848, 1),
        Daemon(BACKUP, "eth0", 255, 65487, bytes.fromhex("ff02" + "00" * 13 + "81"), 1, 255),
        Daemon(MASTER, "wlan-at-fifteen", 0),
    ],
    ids=["v4", "v6", "old"],
)
def test_a_daemon_there_and_back(daemon: Daemon) -> None:
    assert attributes.read_daemon(reply(attributes.encode_daemon(daemon))) == daemon


def test_info_timeouts_and_family() -> None:
    info = framing.pack_attribute(1, struct.pack("=I", 0x010201)) + framing.pack_attribute(
        2, struct.pack("=I", 4096)
    )
    assert attributes.read_info(reply(info)) == Info(0x010201, 4096)
    assert attributes.read_timeouts(
        reply(attributes.encode_timeouts(Timeouts(1, 2, 3)))
    ) == Timeouts(1, 2, 3)
    assert attributes.read_timeouts(reply()) == Timeouts(0, 0, 0)
    assert framing.read_family(reply(framing.pack_attribute(1, struct.pack("=H", 28)))) == 28


def test_of_two_attributes_with_one_number_the_last_counts() -> None:
    assert framing.parse_attributes(
        framing.pack_attribute(1, b"a") + framing.pack_attribute(1, b"b")
    ) == {1: b"b"}


def test_nested_and_byte_order_bits_are_not_part_of_the_number() -> None:
    assert framing.parse_attributes(framing.pack_attribute(0x8000 | 1, b"a")) == {1: b"a"}


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        (framing.NLMSG_ERROR, struct.pack("=i", -17), 17),
        (framing.NLMSG_ERROR, struct.pack("=i", 0), 0),
        (framing.NLMSG_DONE, struct.pack("=i", -4), 4),
        (framing.NLMSG_DONE, b"", 0),
        (framing.NLMSG_DONE, struct.pack("=i", 3), 3),
        (framing.NLMSG_ERROR, struct.pack("=i", -(2**31)), 4095),
    ],
)
def test_errno(kind: int, body: bytes, expected: int) -> None:
    assert framing.Message(kind, 0, 1, 0, body).read_errno() == expected


DAMAGED: list[tuple[str, bytes]] = [
    ("cut header", bytes(10)),
    ("length below the header", struct.pack("=IHHII", 15, 28, 0, 1, 0)),
    ("length beyond the end", struct.pack("=IHHII", 17, 28, 0, 1, 0)),
    ("length 0", bytes(16)),
]


@pytest.mark.parametrize("datagram", [pytest.param(data, id=name) for name, data in DAMAGED])
def test_damaged_datagrams(datagram: bytes) -> None:
    with pytest.raises(framing.WireError):
        list(framing.iter_messages(datagram))


READERS: list[Any] = [
    attributes.read_service,
    lambda message: attributes.read_destination(message, AF_INET),
    attributes.read_daemon,
    attributes.read_info,
    attributes.read_timeouts,
    framing.read_family,
    framing.Message.read_errno,
]

INCOMPLETE: list[tuple[str, Any, framing.Message, str]] = [
    ("no generic header", attributes.read_service, framing.Message(28, 0, 1, 0, b""),
     "a message without its generic netlink header"),
    ("no service", attributes.read_service, reply(), "a reply without its service"),
    ("no server", lambda message: attributes.read_destination(message, AF_INET), reply(), "a reply without its destination"),
    ("no daemon", attributes.read_daemon, reply(), "a reply without its daemon"),
    ("no version", attributes.read_info, reply(), "info without attribute 1"),
    ("timeouts cut", attributes.read_timeouts, reply(framing.pack_attribute(4, b"\1\0")),
     "attribute 4 of timeouts has only 2 bytes"),
    ("server without address", lambda message: attributes.read_destination(message, AF_INET), reply(nest(attributes.DEST)),
     "attribute 1 of destination has only 0 bytes"),
    ("daemon without state", attributes.read_daemon, reply(nest(attributes.DAEMON)), "daemon without attribute 1"),
    ("daemon's group cut", attributes.read_daemon,
     reply(nest(attributes.DAEMON, framing.pack_attribute(attributes.DAEMON_MCAST_GROUP6, V6[:15]))),
     "attribute 6 of daemon has only 15 bytes"),
    ("service without family", attributes.read_service, reply(nest(attributes.SERVICE)), "service without attribute 1"),
    ("family too short", attributes.read_service,
     reply(nest(attributes.SERVICE, framing.pack_attribute(attributes.SVC_AF, b"\2"))),
     "attribute 1 of service has only 1 bytes"),
    (
        "address too short",
        attributes.read_service,
        reply(nest(attributes.SERVICE, *SERVICE_HEAD[:2], framing.pack_attribute(attributes.SVC_ADDR, V4[:3]), *SERVICE_TAIL)),
        "attribute 3 of service has only 3 bytes",
    ),
    (
        "unknown family",
        attributes.read_service,
        reply(nest(attributes.SERVICE, framing.pack_attribute(attributes.SVC_AF, b"\7\0"), *SERVICE_HEAD[1:], *SERVICE_TAIL)),
        "unknown address family 7",
    ),
    ("statistics cut", attributes.read_service, reply(nest(attributes.SERVICE, *SERVICE_HEAD, *SERVICE_TAIL, nest(12, b"\1"))),
     "an attribute header cut after 1 bytes"),
    ("a counter missing", attributes.read_service, reply(nest(attributes.SERVICE, *SERVICE_HEAD, *SERVICE_TAIL, nest(12))),
     "statistics without attribute 1"),
    ("a narrow counter missing", attributes.read_service, reply(nest(attributes.SERVICE, *SERVICE_HEAD, *SERVICE_TAIL, nest(10))),
     "statistics without attribute 1"),
    ("no id", framing.read_family, reply(), "a family without its id"),
    ("error without errno", framing.Message.read_errno, framing.Message(framing.NLMSG_ERROR, 0, 1, 0, b"\0"),
     "an error message without its errno"),
    ("attribute length below its header", attributes.read_service, reply(b"\3\0\1\0"),
     "an attribute of 3 bytes, but 4 are left"),
    ("attribute length beyond the end", attributes.read_service, reply(b"\x09\0\1\0"),
     "an attribute of 9 bytes, but 4 are left"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("read", "message", "said"), [pytest.param(*row[1:], id=row[0]) for row in INCOMPLETE]
)
def test_incomplete_answers(read: Any, message: framing.Message, said: str) -> None:
    with pytest.raises(framing.WireError, match=f"^{said}$"):
        read(message)


def outcomes(datagram: bytes) -> None:
    """Decode any bytes: the result is values or WireError."""
    try:
        decoded = list(framing.iter_messages(datagram))
    except framing.WireError:
        return
    assert len(decoded) <= len(datagram) // 16
    for message in decoded:
        for read in READERS:
            try:
                read(message)
            except framing.WireError:
                continue


@given(st.binary(max_size=300))
def test_random_bytes_are_values_or_one_kind_of_error(data: bytes) -> None:
    outcomes(data)


GOOD = framing.pack_message(
    28,
    1,
    2,
    3,
    nest(attributes.SERVICE, *SERVICE_HEAD, *SERVICE_TAIL, nest(attributes.SVC_STATS64, stats64())),
)


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=4), st.integers(0, len(GOOD)))
def test_a_good_answer_damaged_or_cut(at: int, junk: bytes, end: int) -> None:
    outcomes((GOOD[:at] + junk + GOOD[at + len(junk) :])[:end])


ports = st.integers(0, 65535)
u32 = st.integers(0, 2**32 - 1)
v4 = st.binary(min_size=4, max_size=4)
v6 = st.binary(min_size=16, max_size=16)
words = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", max_size=15)


@st.composite
def services(draw: st.DrawFn) -> Service:
    af = draw(st.sampled_from((AF_INET, AF_INET6)))
    tail = (draw(words), draw(u32), draw(u32), draw(u32), draw(words))
    if draw(st.booleans()):
        return Service(af, 0, b"", 0, draw(st.integers(1, 2**32 - 1)), *tail)
    return Service(af, draw(ports), draw(v4 if af == AF_INET else v6), draw(ports), 0, *tail)


@st.composite
def destinations(draw: st.DrawFn) -> Server:
    af = draw(st.sampled_from((AF_INET, AF_INET6)))
    return Server(
        af, draw(v4 if af == AF_INET else v6), draw(ports), draw(st.integers(0, 7)), draw(st.integers(-(2**31), 2**31 - 1)),
        draw(u32), draw(u32), draw(st.integers(0, 255)), draw(ports), draw(ports),
    )  # fmt: skip


@given(services())
def test_services_there_and_back(service: Service) -> None:
    assert (
        attributes.read_service(
            reply(attributes.Encoder().encode(Change(model.NEW_SERVICE, service)))
        )
        == service
    )


@given(destinations())
def test_servers_there_and_back(server: Server) -> None:
    counts = b"".join(framing.pack_attribute(kind, bytes(4)) for kind in (7, 8, 9))
    inner = attributes.encode_dest(server)[4:] + counts
    assert (
        attributes.read_destination(reply(framing.pack_attribute(attributes.DEST, inner)), 0)
        == server
    )
