"""Check that the listing made from /proc/net/ip_vs equals the listing made from the dumps, or is
refused.
"""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyipvsadm import sorting
from pyipvsadm.addresses import format_numeric
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    HASHED,
    HOST_PREFIX6,
    MASQ,
    ONE_PACKET,
    PERSISTENT,
    PROTOCOLS,
    ROUTE,
    SCHED1,
    SCTP,
    TCP,
    TUNNEL,
    UDP,
    Server,
    Service,
    to_row,
)
from pyipvsadm.views import classic, procfs
from tests.unit.fake_environment import overview

Table = list[tuple[Service, list[Server]]]

HEADINGS = (
    "IP Virtual Server version 1.2.1 (size=4096)\n"
    "Prot LocalAddress:Port Scheduler Flags\n"
    "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
)
METHODS = {0: "Masq", 1: "Local", 2: "Tunnel", 3: "Route"}


def hexadecimal(af: int, addr: bytes, port: int) -> str:
    """Return an address and port as the kernel writes them in the file: %08X:%04X, [%pI6]:%04X."""
    if af == AF_INET:
        return f"{int.from_bytes(addr, 'big'):08X}:{port:04X}"
    return f"[{':'.join(f'{addr[at]:02x}{addr[at + 1]:02x}' for at in range(0, 16, 2))}]:{port:04X}"


def kernel_text(table: Table) -> bytes:
    """Return the text that ip_vs_info_seq_show writes for a table (HZ 250)."""
    text = HEADINGS
    for s, servers in table:
        ops = "ops " if s.flags & ONE_PACKET else ""
        if s.fwmark:
            text += f"FWM  {s.fwmark:08X} {s.scheduler} {ops}"
        else:
            name = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP", 0: "IP"}.get(
                s.protocol, f"IP_{s.protocol}"
            )
            text += f"{name}  {hexadecimal(s.af, s.addr, s.port)} {s.scheduler} {f'{ops} ' if s.af == AF_INET else ''}"
        if s.flags & PERSISTENT:
            text += f"persistent {s.timeout * 250} {s.netmask:08X}"
        text += "\n"
        for d in servers:
            text += f"  -> {hexadecimal(d.af, d.addr, d.port)}      {METHODS[d.forward]:7} {d.weight:<6} "
            text += f"{d.active:<10} {d.inactive:<10}\n"
    return text.encode()


def classic_text(table: Table, sort: bool) -> str:
    columns = classic.list_columns(set())
    held = {service.key(): [to_row(d, columns) for d in servers] for service, servers in table}
    if sort:
        held = {key: sorting.sort_rows(rows) for key, rows in held.items()}
    listing = classic.Listing(set(), format_numeric)
    return listing.format_tables(
        [(service, held[service.key()]) for service in arranged(table, sort)]
    )


def arranged(table: Table, sort: bool) -> list[Service]:
    services = [service for service, _ in table]
    return sorting.sort_services(services) if sort else services


u16 = st.integers(0, 2**16 - 1)
v4 = st.one_of(
    st.binary(min_size=4, max_size=4),
    st.sampled_from((b"\x0a\0\0\1", b"\x0a\0\0\2", b"\x7f\xff\xff\xff", b"\x80\0\0\0", bytes(4))),
)
v6 = st.one_of(
    st.binary(min_size=16, max_size=16),
    st.builds(lambda tail: b"\x20\x01" + bytes(12) + tail, st.binary(min_size=2, max_size=2)),
)
counts = st.integers(0, 2**31 - 1)


@st.composite
def servers(draw: st.DrawFn, af: int) -> Server:
    family = draw(st.sampled_from((af, af, af, AF_INET, AF_INET6)))
    method = TUNNEL if family != af else draw(st.integers(0, 3))
    return Server(
        family,
        draw(v4 if family == AF_INET else v6),
        draw(u16),
        method,
        draw(st.integers(0, 2**31 - 1)),
        active=draw(counts),
        inactive=draw(counts),
    )


@st.composite
def tables(draw: st.DrawFn) -> Table:
    table: Table = []
    for _ in range(draw(st.integers(0, 5))):
        af = draw(st.sampled_from((AF_INET, AF_INET6)))
        scheduler = draw(st.sampled_from(("rr", "wlc", "sh", "none")))
        flags = draw(
            st.sampled_from(
                (0, HASHED, HASHED, PERSISTENT, HASHED | ONE_PACKET, PERSISTENT | SCHED1)
            )
        )
        tail = (
            scheduler,
            flags,
            draw(st.integers(0, 1000)),
            draw(
                st.sampled_from((0xFFFFFFFF, 0xFFFFFF00) if af == AF_INET else (HOST_PREFIX6, 64))
            ),
        )
        if draw(st.booleans()):
            service = Service(
                af, 0, b"", 0, draw(st.integers(1, 9) | st.integers(1, 2**32 - 1)), *tail
            )
        else:
            protocol = draw(st.sampled_from((TCP, UDP, SCTP, 0, 47)))
            service = Service(af, protocol, draw(v4 if af == AF_INET else v6), draw(u16), 0, *tail)
        held = {d.key(): d for d in draw(st.lists(servers(af), max_size=5))}
        table.append((service, list(held.values())))
    return list({service.key(): (service, held) for service, held in table}.values())


@given(tables(), st.booleans())
def test_it_is_the_classic_listing_or_cannot(table: Table, sort: bool) -> None:
    services = [service for service, _ in table]
    found = procfs.render_listing(overview(kernel_text(table), services), sort)
    marks = [service.fwmark for service in services if service.fwmark]
    if found is None:
        # The file does not say of which family a mark is, a large one may come first, and few
        # protocols have a name.
        unnamed = any(not s.fwmark and s.protocol not in PROTOCOLS for s in services)
        assert len(set(marks)) < len(marks) or max(marks, default=0) >= sorting.HALF or unnamed
    else:
        assert "".join(found) == classic_text(table, sort)


VIP = Service(AF_INET, TCP, bytes([10, 0, 0, 1]), 80, scheduler="rr")
OTHER = Service(AF_INET, TCP, bytes([10, 0, 0, 2]), 80, scheduler="rr")
MARK = Service(AF_INET, fwmark=7, scheduler="rr")
MARK6 = Service(AF_INET6, fwmark=7, scheduler="rr", netmask=HOST_PREFIX6)
LARGE = Service(AF_INET, fwmark=1 << 31)
GRE = Service(AF_INET, 47, bytes([10, 0, 0, 1]), 80, flags=PERSISTENT)
GOOD: Table = [
    (
        VIP,
        [
            Server(AF_INET, bytes([10, 0, 0, 9]), 80, ROUTE),
            Server(AF_INET, bytes([10, 0, 0, 8]), 80, MASQ),
        ],
    )
]
TEXT = kernel_text(GOOD)
ALONE = kernel_text([(VIP, GOOD[0][1][1:])])
SIX = Service(AF_INET6, TCP, bytes.fromhex("20010db8" + "00" * 11 + "01"), 80, scheduler="rr")
SIXES: Table = [
    (SIX, [Server(AF_INET6, SIX.addr[:15] + bytes([last]), 80, TUNNEL) for last in (8, 9)])
]

CANNOT: list[tuple[str, list[Service], bytes]] = [
    ("no file", [VIP], b""),
    ("no headings", [VIP], b"\n\n\n"),
    ("another heading", [VIP], TEXT.replace(b"Scheduler", b"Planner")),
    ("the service is missing", [VIP], kernel_text([])),
    ("another service", [VIP], kernel_text([(OTHER, [])])),
    ("a service too many", [VIP], kernel_text([*GOOD, (OTHER, [])])),
    ("a service that the dump lacked", [], TEXT),
    ("a method with another name", [VIP], TEXT.replace(b"Masq ", b"Magic")),
    ("cut", [VIP], TEXT[:-5]),
    ("an arrow alone", [VIP], TEXT + b"  -> \n"),
    ("no digits", [VIP], TEXT.replace(b"0A000008", b"0A00000x")),
    ("no text", [VIP], TEXT + b"\xff\n"),
    ("a mark that the dump lacked", [VIP], kernel_text([*GOOD, (Service(AF_INET, fwmark=7), [])])),
    ("another protocol", [VIP], TEXT.replace(b"TCP", b"IP")),
    ("an address twice", [VIP, OTHER], kernel_text([*GOOD, *GOOD])),
    ("a scheduler that cannot be printed", [VIP], TEXT.replace(b" rr ", b" \1r ")),
    ("a mark in both families", [MARK, MARK6], kernel_text([(MARK, []), (MARK6, [])])),
    ("a large mark", [LARGE], kernel_text([(LARGE, [])])),
    ("a protocol without a name", [GRE], kernel_text([(GRE, [])])),
    ("a mark twice", [MARK, OTHER], kernel_text([(MARK, []), (MARK, [])])),
    ("a server's address with a blank", [VIP], ALONE.replace(b"0A000008", b"0A 00008")),
    ("a server's address with blanks", [VIP], ALONE.replace(b"0A000008", b"0A  0008")),
    ("colons in a server's address", [VIP], ALONE.replace(b"0A000008:0", b"0A0008:0:0")),
    (
        "digits of another server",
        [SIX],
        kernel_text(SIXES)
        .replace(
            b"2001:0db8:0000:0000:0000:0000:0000:0008]:0050",
            b"2001:0db8a0000:0000:0000:0000:0000:0008]:0050",
        )
        .replace(b"0009]:0050", b"0009]:00 0"),
    ),
    ("a service twice", [VIP, VIP], kernel_text([(VIP, []), (VIP, [])])),
    (
        "digits of another service",
        [SIX],
        kernel_text(SIXES).replace(b"TCP  [2001:0db8:", b"TCP  [20010:db8:"),
    ),
]


@pytest.mark.parametrize(
    ("services", "text"), [pytest.param(s, t, id=name) for name, s, t in CANNOT]
)
def test_cannot(services: list[Service], text: bytes) -> None:
    assert procfs.render_listing(overview(text, services), sort=True) is None


def test_the_lines_are_the_references() -> None:
    assert "".join(procfs.render_listing(overview(TEXT, [VIP]), sort=True) or []).splitlines(
        keepends=True
    ) == [
        "TCP  10.0.0.1:80 rr\n",
        "  -> 10.0.0.8:80                  Masq    1      0          0         \n",
        "  -> 10.0.0.9:80                  Route   1      0          0         \n",
    ]


@given(st.binary(max_size=300))
@example(b"TCP  0A000001:0050\1\n")
@example(b"TCP  0A000001:0050 \1\n")
@example(b"TCP  0A000001:0050 wlc \n")
def test_any_bytes_are_cannot_or_a_listing(junk: bytes) -> None:
    for text in (junk, HEADINGS.encode() + junk, TEXT[:150] + junk, TEXT + junk + b"\n"):
        found = procfs.render_listing(overview(text, [VIP]), sort=True)
        assert found is None or re.fullmatch(r"TCP  10\.0\.0\.1:80 [!-~]+\n", found[0])


def test_servers_of_nobody_are_cannot() -> None:
    line = "  -> 0A000009:0050      Masq    1      0          0         \n"
    assert procfs.render_listing(overview(HEADINGS.encode() + line.encode(), []), True) is None


@pytest.mark.parametrize(
    "firsts",
    [
        [0x20, 0x21, 0x10],  # on one half of the circle
        [0x20, 0xFD, 0x90, 0x10],
        [0x20, 10, 0xFD, 200],  # 10 and 200 stand for IPv4 addresses
    ],
)
def test_ipv6_servers_sort_as_in_the_classic_listing(firsts: list[int]) -> None:
    service = Service(AF_INET6, TCP, bytes(15) + b"\1", 80, scheduler="rr", flags=HASHED)
    servers = [
        Server(AF_INET, bytes([first, 0, 0, 1]), 80, TUNNEL)
        if first in (10, 200)
        else Server(AF_INET6, bytes([first, *range(1, 16)]), 80 + first, TUNNEL)
        for first in firsts
    ]
    table: Table = [(service, servers)]
    found = procfs.render_listing(overview(kernel_text(table), [service]), sort=True)
    assert "".join(found or []) == classic_text(table, sort=True)


@pytest.mark.parametrize("firsts", [[10, 100, 11], [200, 10, 100]])
def test_ipv4_servers_sort_as_in_the_classic_listing(firsts: list[int]) -> None:
    """The addresses lie on one half of the circle, or on both."""
    table: Table = [(VIP, [Server(AF_INET, bytes([first, 0, 0, 1]), 80) for first in firsts])]
    found = procfs.render_listing(overview(kernel_text(table), [VIP]), sort=True)
    assert "".join(found or []) == classic_text(table, sort=True)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procfs, "CACHE_LIMIT", 3)
    table: Table = [(VIP, [Server(AF_INET, bytes([10, 0, net, 1]), 80) for net in range(9)])]
    found = procfs.render_listing(overview(kernel_text(table), [VIP]), sort=True)
    assert "".join(found or []) == classic_text(table, sort=True)


@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize(
    "addresses",
    [
        [
            "2001:db8::1",
            "2001:db8::2",
            "2001:db8::",
            "2001:db8:0:1::",
        ],  # on one half of each circle
        ["2001:db8::1", "fd00::1", "::", "::1", "::ffff:10.0.0.1", "9000::"],
        ["2001:db8:0:0:9000::1", "2001:db8::1", "2001:db8::ffff:0:0", "fe80::1"],
    ],
)
def test_services_by_ipv6_addresses(addresses: list[str], sort: bool) -> None:
    services = [
        Service(
            AF_INET6, protocol, ipaddress.IPv6Address(address).packed, 80 + at, 0, "rr",
            HASHED | (PERSISTENT if at == 2 else 0), timeout=60 if at == 2 else 0, netmask=HOST_PREFIX6,
        )
        for protocol in (UDP, TCP, SCTP)
        for at, address in enumerate(addresses)
    ]  # fmt: skip
    services += [
        Service(AF_INET6, fwmark=7, flags=HASHED, netmask=HOST_PREFIX6),
        Service(AF_INET, UDP, bytes([10, 0, 0, 1]), 53, flags=HASHED | PERSISTENT, timeout=60),
        VIP,
    ]
    table: Table = [
        (service, [Server(AF_INET6, bytes(15) + bytes([at]), at)])
        for at, service in enumerate(services)
    ]
    found = procfs.render_listing(overview(kernel_text(table), services), sort)
    assert "".join(found or []) == classic_text(table, sort)


def test_servers_that_compare_as_equal_keep_the_order_of_the_table() -> None:
    """Of an IPv4 address the missing words count as zero."""
    service = Service(
        AF_INET6, TCP, bytes([0x20, 1, *[0] * 14]), 80, scheduler="rr", flags=HASHED,
        netmask=HOST_PREFIX6,
    )  # fmt: skip
    six = Server(AF_INET6, bytes([0x80, *[0] * 15]), 80, TUNNEL)
    four = Server(AF_INET, bytes([0x80, 0, 0, 0]), 80, TUNNEL)
    for servers_in_order in ([six, four], [four, six]):
        table: Table = [(service, servers_in_order)]
        found = procfs.render_listing(overview(kernel_text(table), [service]), sort=True)
        assert "".join(found or []) == classic_text(table, sort=True)


def test_addresses_at_both_sides_of_the_middle() -> None:
    """They differ by less than half the space, so they are in the order of numbers."""
    services = [
        Service(AF_INET, TCP, bytes([first, 0, 0, 1]), 80, scheduler="rr", flags=HASHED)
        for first in (130, 126)
    ]
    table: Table = [(service, []) for service in services]
    found = procfs.render_listing(overview(kernel_text(table), services), sort=True)
    assert "".join(found or []) == "TCP  126.0.0.1:80 rr\nTCP  130.0.0.1:80 rr\n"


@pytest.mark.parametrize("sort", [True, False])
def test_addresses_more_than_half_the_space_apart(sort: bool) -> None:
    ends = [
        (TCP, 192, 80),
        (UDP, 10, 53),
        (TCP, 10, 443),
        (SCTP, 200, 5),
        (TCP, 10, 80),
        (UDP, 192, 53),
        (SCTP, 9, 5),
        (TCP, 100, 1),
    ]
    table: Table = [
        (
            Service(AF_INET, protocol, bytes([first, 0, 0, 1]), port, scheduler="rr", flags=HASHED),
            [],
        )
        for protocol, first, port in ends
    ]
    found = procfs.render_listing(
        overview(kernel_text(table), [service for service, _ in table]), sort
    )
    assert found is not None
    assert "".join(found) == classic_text(table, sort)
    if sort:  # of the two UDP services' addresses, the widest gap lies between them
        assert [line for line in "".join(found).split("\n") if "UDP" in line] == [
            "UDP  192.0.0.1:53 rr",
            "UDP  10.0.0.1:53 rr",
        ]
