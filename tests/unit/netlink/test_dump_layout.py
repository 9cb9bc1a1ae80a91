"""Test that dumps decoded a datagram at a time equal those decoded attribute by attribute, whatever
the mixture, and that no other bytes are taken for a dump.
"""

from __future__ import annotations

import struct
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    COLUMNS,
    HASHED,
    NEW_SERVICE,
    NO_STATS,
    PERSISTENT,
    TCP,
    Change,
    Server,
    Service,
    build_server,
    to_row,
)
from pyipvsadm.netlink import attributes, dump_layout, dumps, framing
from tests.older_python import zip_equal
from tests.unit.fake_environment import overview
from tests.unit.netlink.records import (
    FAMILY,
    SEQ,
    destination_record,
    nested,
    record,
    service_record,
    statistics,
)

Item = TypeVar("Item")

V4 = bytes([10, 0, 0, 1])

u16 = st.integers(0, 2**16 - 1)
u32 = st.integers(0, 2**32 - 1)
counters = st.tuples(*[st.integers(0, 2**64 - 1)] * 10)
names = st.sampled_from(("rr", "wlc", "lblcr", "a-longer-name", ""))


@st.composite
def services(draw: st.DrawFn) -> Service:
    af = draw(st.sampled_from((AF_INET, AF_INET6)))
    tail = (draw(names), draw(u32), draw(u32), draw(u32), draw(names), draw(counters))
    if draw(st.booleans()):
        return Service(af, 0, b"", 0, draw(st.integers(1, 2**32 - 1)), *tail)
    addr = draw(
        st.binary(min_size=4, max_size=4) if af == AF_INET else st.binary(min_size=16, max_size=16)
    )
    return Service(af, draw(u16), addr, draw(u16), 0, *tail)


@st.composite
def servers(draw: st.DrawFn) -> Server:
    af = draw(st.sampled_from((AF_INET, AF_INET6)))
    addr = draw(
        st.binary(min_size=4, max_size=4) if af == AF_INET else st.binary(min_size=16, max_size=16)
    )
    return Server(
        af, addr, draw(u16), draw(st.integers(0, 7)), draw(st.integers(-(2**31), 2**31 - 1)), draw(u32), draw(u32),
        draw(st.integers(0, 255)), draw(u16), draw(u16), draw(u32), draw(u32), draw(u32), draw(counters),
    )  # fmt: skip


def repeat_batches(batches: list[list[Item]]) -> list[list[Item]]:
    """Return the batches, and each of them repeated: many records are compared all at once."""
    return [*batches, *(batch * dump_layout.MIN_BULK_RECORDS for batch in batches)]


@given(st.lists(st.lists(services(), max_size=6), max_size=4))
def test_services_of_any_mixture(batches: list[list[Service]]) -> None:
    reader = dumps.make_service_reader(FAMILY, counters=True)
    for batch in repeat_batches(batches):
        datagram = b"".join(map(service_record, batch))
        found = reader.decode_values(datagram, SEQ)
        walked = [attributes.read_service(message) for message in framing.iter_messages(datagram)]
        assert walked == batch
        assert found in (batch, None)
        if found is None:  # more kinds of records than are worth learning
            assert (
                len(
                    {
                        (*service.key()[0:2], service.scheduler, service.pe)
                        for batch in batches
                        for service in batch
                    }
                )
                > 3
            )


@given(st.lists(st.lists(services(), max_size=6), max_size=4))
def test_services_without_counters(batches: list[list[Service]]) -> None:
    reader = dumps.make_service_reader(FAMILY, counters=False)
    for batch in repeat_batches(batches):
        found = reader.decode_values(b"".join(map(service_record, batch)), SEQ)
        for service in batch:
            service.stats = NO_STATS
        assert found in (batch, None)


@given(st.lists(st.lists(services(), max_size=6), max_size=4))
def test_services_beside_the_kernels_own_listing(batches: list[list[Service]]) -> None:
    reader = dumps.make_proc_reader(FAMILY)
    for batch in repeat_batches(batches):
        for service in batch:  # the fewest would be plain by chance
            service.flags = HASHED if service.flags & 1 else service.flags | HASHED
        found = reader.decode_values(b"".join(map(service_record, batch)), SEQ)
        if found is not None:
            for each, service in zip_equal(found, batch):
                plain = overview(b"", [service]).simple_keys
                service.stats = NO_STATS
                assert [each] == (plain or [service])


columns = st.sets(st.sampled_from(COLUMNS)).map(
    lambda some: tuple(name for name in COLUMNS if name in some)
)


@given(st.lists(st.lists(servers(), max_size=6), max_size=4), columns)
def test_rows_of_servers(batches: list[list[Server]], columns: tuple[str, ...]) -> None:
    reader = dumps.make_row_reader(FAMILY, columns)
    for batch in repeat_batches(batches):
        datagram = b"".join(map(destination_record, batch))
        assert reader.decode_values(datagram, SEQ) == [to_row(server, columns) for server in batch]


@given(servers())
def test_a_row_of_all_columns_is_its_server(server: Server) -> None:
    assert build_server(to_row(server, COLUMNS)) == server


def test_a_pad_at_another_place_is_another_shape() -> None:
    first, second = (Server(AF_INET, V4, 80, stats=tuple(range(at, at + 10))) for at in (1, 100))
    one, other = destination_record(first, pad=1), destination_record(second, pad=2)
    assert len(one) == len(other)
    reader = dumps.make_row_reader(FAMILY, ("totals",))
    wanted = [to_row(server, ("totals",)) for server in (first, first, second)]
    assert reader.decode_values(one + one + other, SEQ) == wanted
    assert reader._count_layouts() == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"pad": 1}, {"pad": 2}),
        ({"pe": "sip"}, {"more": b"four"}),
        ({"pe": "x"}, {"pe": "sip"}),
        ({"scheduler": "a"}, {"scheduler": "abc"}),
        ({"pe": "sip-5", "scheduler": "wlc"}, {"pe": "s", "scheduler": "wlc-5"}),
    ],
)
def test_services_of_one_size_and_other_shapes(one: dict[str, Any], other: dict[str, Any]) -> None:
    def made(options: dict[str, Any], at: int) -> tuple[Service, bytes]:
        names = {name: options[name] for name in ("scheduler", "pe") if name in options}
        rest = {name: options[name] for name in ("pad", "more") if name in options}
        service = Service(
            AF_INET, TCP, V4, at, timeout=at, stats=tuple(range(at, at + 10)), **names
        )
        return service, service_record(service, **rest)

    (first, data), (second, more) = made(one, 1), made(other, 1 << 10)
    assert len(data) == len(more)
    reader = dumps.make_service_reader(FAMILY, counters=True)
    assert reader.decode_values(data + data + more, SEQ) == [first, first, second]
    assert reader.decode_values(more + data, SEQ) == [second, first]
    assert reader.decode_values((more + data) * 9, SEQ) == [second, first] * 9


def test_a_shape_that_more_bytes_tell_apart_is_learnt_among_many() -> None:
    """Of a service with flags more is read, and more must agree."""
    simple = Service(AF_INET, TCP, V4, 80, scheduler="rr", flags=HASHED)
    other = Service(AF_INET, TCP, V4, 81, scheduler="rr", flags=HASHED | PERSISTENT, timeout=9)
    records = [simple] * 9 + [other, simple, other]
    found = dumps.make_proc_reader(FAMILY).decode_values(
        b"".join(map(service_record, records)), SEQ
    )
    (key,) = overview(b"", [simple]).simple_keys
    assert found == [key] * 9 + [other, key, other]


def test_a_name_ends_at_its_first_zero() -> None:
    assert dumps._Names()[b"wlc\0left\0over"] == "wlc"


def test_a_netmask_is_a_number_in_its_order() -> None:
    assert dumps._Masks("big")[bytes([255, 255, 0, 0])] == 0xFFFF0000
    assert dumps._Masks("little")[bytes([64, 1, 0, 0])] == 0x140


SERVICE = Service(AF_INET, TCP, V4, 80, scheduler="rr")
GOOD = service_record(SERVICE)
SERVER = Server(AF_INET, V4, 80)

OTHERS: list[tuple[str, bytes]] = [
    ("another sequence number", service_record(SERVICE, seq=SEQ + 1)),
    ("another family", service_record(SERVICE, family=FAMILY + 1)),
    (
        "a family of addresses that nobody knows",
        service_record(Service(7, TCP, V4, 80, scheduler="rr")),
    ),
    (
        "an interrupted dump",
        service_record(SERVICE, flags=framing.NLM_F_MULTI | framing.NLM_F_DUMP_INTR),
    ),
    (
        "the end of a dump",
        struct.pack("=IHHIIi", 20, framing.NLMSG_DONE, framing.NLM_F_MULTI, SEQ, 0, 0),
    ),
    ("a server", destination_record(SERVER)),
    ("no attributes", record(b"")),
    ("a cut attribute", record(b"\1\0")),
    ("a nest of two bytes", record(framing.pack_attribute(attributes.SERVICE, b"\1\0"))),
    ("an attribute beyond the end", record(b"\x09\0\1\0")),
    ("an attribute shorter than its header", record(b"\3\0\1\0")),
    ("a cut record", GOOD[:-4]),
    ("a cut header", GOOD[:10]),
    (
        "a record shorter than its header",
        struct.pack("=IHHII", 16, FAMILY, framing.NLM_F_MULTI, SEQ, 0) + b"\0\0\0\0",
    ),
    (
        "a value shorter than its type",
        GOOD.replace(
            framing.pack_attribute(attributes.SVC_FLAGS, struct.pack("=II", 0, 0xFFFFFFFF)),
            framing.pack_attribute(attributes.SVC_FLAGS, b"\0"),
        ),
    ),
]


@pytest.mark.parametrize("other", [pytest.param(data, id=name) for name, data in OTHERS])
def test_what_is_left_to_the_walk(other: bytes) -> None:
    for datagram in (other, GOOD + other, other + GOOD, GOOD * 9 + other, GOOD + other + GOOD * 9):
        reader = dumps.make_service_reader(FAMILY, counters=True)
        assert reader.decode_values(GOOD, SEQ) == [SERVICE]
        assert reader.decode_values(datagram, SEQ) is None
        assert reader.decode_values(GOOD * 3, SEQ) == [SERVICE] * 3


@given(
    st.lists(st.lists(servers(), max_size=12), max_size=5),
    st.sets(st.sampled_from(COLUMNS)),
    st.booleans(),
)
def test_dumps_that_are_joined(dumped: list[list[Server]], names: set[str], alike: bool) -> None:
    """Joined dumps are decoded to what each is decoded to."""
    columns = tuple(name for name in COLUMNS if name in names)
    if alike:
        for server in [server for batch in dumped for server in batch]:
            server.af, server.addr = AF_INET, server.addr[:4]
    parts = [b"".join(map(destination_record, batch)) for batch in dumped]
    reader = dumps.make_row_reader(FAMILY, columns)
    found = reader.decode_dumps(b"".join(parts), list(map(len, parts)), SEQ)
    assert found == [[to_row(server, columns) for server in batch] for batch in dumped]


@pytest.mark.parametrize("other", [pytest.param(data, id=name) for name, data in OTHERS])
def test_joined_dumps_that_are_left_to_the_walk(other: bytes) -> None:
    for parts in ([other], [GOOD * 9, other], [other, GOOD], [GOOD * 9 + other]):
        reader = dumps.make_service_reader(FAMILY, counters=True)
        assert reader.decode_dumps(b"".join(parts), list(map(len, parts)), SEQ) is None


def test_dumps_that_end_within_a_record_are_left_to_the_walk() -> None:
    reader = dumps.make_service_reader(FAMILY, counters=True)
    size = len(GOOD)
    assert reader.decode_dumps(GOOD * 2, [size, size], SEQ) == [[SERVICE], [SERVICE]]
    assert reader.decode_dumps(GOOD * 2, [size - 4, size + 4], SEQ) is None


def test_a_server_without_wide_statistics_is_left_to_the_walk() -> None:
    assert (
        dumps.make_row_reader(FAMILY, ("totals",)).decode_values(
            destination_record(SERVER, stats=False), SEQ
        )
        is None
    )


def test_values_out_of_their_order_are_left_to_the_walk() -> None:
    values = framing.parse_attributes(
        framing.parse_attributes(attributes.Encoder().encode(Change(NEW_SERVICE, SERVICE)))[
            attributes.SERVICE
        ]
    )
    values[attributes.SVC_STATS64] = statistics(SERVICE.stats)
    datagram = record(nested(attributes.SERVICE, values, (1, 2, 3, 4, 6, 8, 7, 9, 12)))
    assert dumps.make_service_reader(FAMILY, counters=True).decode_values(datagram, SEQ) is None
    assert [attributes.read_service(message) for message in framing.iter_messages(datagram)] == [
        SERVICE
    ]


def test_shapes_outlive_the_dump_they_were_learnt_in() -> None:
    reader = dumps.make_service_reader(FAMILY, counters=True)
    assert reader.decode_values(GOOD, SEQ) == [SERVICE]
    for seq in (SEQ + 1, 255, 256, 2**32 - 1):
        later = service_record(SERVICE, seq=seq)
        assert reader.decode_values(later * 3, seq) == [SERVICE] * 3
        assert reader.decode_values(later * 3, SEQ) is None
        assert reader.decode_values(later + GOOD, seq) is None
    assert reader._count_layouts() == 1


def test_a_family_that_nobody_knows() -> None:
    odd = service_record(Service(7, TCP, V4, 80))
    assert dumps.make_service_reader(FAMILY, counters=True).decode_values(odd, SEQ) is None


def test_no_more_shapes_are_learnt_than_bounded() -> None:
    reader = dumps.make_service_reader(FAMILY, counters=True)
    lengths = [4 * at + 1 for at in range(dump_layout._SHAPES + 1)]
    for length in lengths[:-1]:
        assert reader.decode_values(
            service_record(Service(AF_INET, TCP, V4, 80, scheduler="x" * length)), SEQ
        )
    assert (
        reader.decode_values(
            service_record(Service(AF_INET, TCP, V4, 80, scheduler="x" * lengths[-1])), SEQ
        )
        is None
    )


@given(st.binary(max_size=200), st.integers(0, len(GOOD)))
def test_random_bytes_end(junk: bytes, at: int) -> None:
    reader = dumps.make_service_reader(FAMILY, counters=True)
    reader.decode_values(GOOD, SEQ)
    for datagram in (junk, GOOD[:at] + junk, GOOD[:at] + junk + GOOD[at:]):
        found = reader.decode_values(datagram, SEQ)
        assert found is None or len(found) <= len(datagram) // 20
