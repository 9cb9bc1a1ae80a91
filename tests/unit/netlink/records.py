"""Write the records of dumps as the kernel does."""

from __future__ import annotations

import struct

from pyipvsadm.model import NEW_SERVICE, Change, Server, Service
from pyipvsadm.netlink import attributes, framing

FAMILY = 28
SEQ = 3


def nested(kind: int, values: dict[int, bytes], order: tuple[int, ...]) -> bytes:
    return framing.pack_attribute(
        kind, b"".join(framing.pack_attribute(at, values[at]) for at in order if at in values)
    )


def statistics(numbers: tuple[int, ...], pad: int = 0) -> bytes:
    """Encode the counters. pad: the value that a pad stands before, for processors that want them
    aligned (IPVS_STATS_ATTR_PAD).
    """
    values = [
        framing.pack_attribute(at, struct.pack("=Q", value)) for at, value in enumerate(numbers, 1)
    ]
    if pad:
        values.insert(pad - 1, framing.pack_attribute(11, b""))
    return b"".join(values)


def record(
    payload: bytes, flags: int = framing.NLM_F_MULTI, seq: int = SEQ, family: int = FAMILY
) -> bytes:
    return framing.pack_message(family, 1, flags, seq, payload)


def service_record(
    service: Service, pad: int = 0, more: bytes | None = None, **options: int
) -> bytes:
    """Encode a service as ip_vs_genl_fill_service does. more: the content of an attribute that a
    newer kernel might put before the counters.
    """
    values = framing.parse_attributes(
        framing.parse_attributes(attributes.Encoder().encode(Change(NEW_SERVICE, service)))[
            attributes.SERVICE
        ]
    )
    values[attributes.SVC_STATS64] = statistics(service.stats, pad)
    if more is not None:
        values[99] = more
    order = (1, 5, 2, 3, 4, 6, 11, 7, 8, 9, 99, 12)
    return record(nested(attributes.SERVICE, values, order), **options)


def destination_record(server: Server, stats: bool = True, pad: int = 0, **options: int) -> bytes:
    """Encode a server as ip_vs_genl_fill_dest does."""
    values = framing.parse_attributes(
        framing.parse_attributes(attributes.encode_dest(server))[attributes.DEST]
    )
    for kind, count in ((7, server.active), (8, server.inactive), (9, server.persistent)):
        values[kind] = struct.pack("=I", count)
    if stats:
        values[attributes.DEST_STATS64] = statistics(server.stats, pad)
    order = (1, 2, 3, 4, 13, 14, 15, 5, 6, 7, 8, 9, 11, 12)
    return record(nested(attributes.DEST, values, order), **options)
