"""Sort services and real servers as 1.31 does (libipvs.c: ipvs_cmp_services, ipvs_cmp_dests).

Owns: that order. Must never know: what is shown.

1.31 compares marks and addresses (IPv6: word by word) by a 32-bit difference that wraps. If all
values lie on one half of the circle of 2**32, that is a total order: the circle's, starting after
the widest gap. Otherwise 1.31's order is undefined, and ours is numeric.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from pyipvsadm.model import Row, Server, Service

    Item = TypeVar("Item")

HALF = 1 << 31
CIRCLE = 1 << 32


def find_circle_start(values: Iterable[int]) -> int:
    """Return the value that comes first: the one after the widest gap if that is at least half the
    circle, else the least.
    """
    ring = sorted(set(values))
    first = ring[0]
    for before, after in zip(ring, ring[1:]):  # itertools is one import more
        if after - before >= HALF:
            first = after
    # The gap across zero is the one that leaves the order numeric.
    return first if first == ring[0] or CIRCLE - ring[-1] + ring[0] < HALF else ring[0]


def split_address_words(addr: bytes) -> tuple[int, ...]:
    """Split an address into 32-bit words: four for IPv6, one for IPv4."""
    return tuple([int.from_bytes(addr[at : at + 4], "big") for at in range(0, len(addr), 4)])


def sort_circular(
    items: list[Item], keys: Callable[[Item], tuple[int, ...]], rest: Callable[[Item], int]
) -> list[Item]:
    """Order items by the words of keys, each word on its own circle among those equal so far, then
    by rest; stable.
    """
    return [
        item for _, item in _sort_circular_rows([(keys(item), item) for item in items], 0, rest)
    ]


def _sort_circular_rows(
    rows: list[tuple[tuple[int, ...], Item]], depth: int, rest: Callable[[Item], int]
) -> list[tuple[tuple[int, ...], Item]]:
    here = [row for row in rows if len(row[0]) > depth]
    # A shorter key (IPv4 among IPv6 servers) counts as zero from here on.
    if len(rows) < 2 or not here:
        return sorted(rows, key=lambda row: rest(row[1]))
    groups: dict[int, list[tuple[tuple[int, ...], Item]]] = {}
    for row in rows:
        groups.setdefault(row[0][depth] if len(row[0]) > depth else 0, []).append(row)
    first = find_circle_start(groups)
    found = []
    for word in sorted(groups, key=lambda word: (word - first) % CIRCLE):
        found += _sort_circular_rows(groups[word], depth + 1, rest)
    return found


def _is_plain(addrs: list[bytes]) -> bool:
    """Return True if all addresses are IPv4 and on one half of the circle, so that they sort as
    their bytes do.
    """
    if not addrs or max(map(len, addrs)) > 4:
        return not addrs
    return int.from_bytes(max(addrs), "big") - int.from_bytes(min(addrs), "big") < HALF


def sort_services(found: list[Service]) -> list[Service]:
    """Sort services by mark (no mark first), family, protocol, address, port."""
    if _is_plain([s.addr for s in found if not s.fwmark]) and all(s.fwmark < HALF for s in found):
        return sorted(found, key=lambda s: (s.fwmark, s.af, s.protocol, s.addr, s.port))
    return sort_circular(
        found,
        lambda s: (
            s.fwmark,
            s.af,
            s.protocol,
            *(split_address_words(s.addr) if not s.fwmark else ()),
        ),
        lambda s: s.port,
    )


def sort_rows(rows: list[Row]) -> list[Row]:
    """Sort rows by address and port. If the servers are of both families, IPv4 addresses sort among
    the first words.
    """
    if len(rows) < 2:
        return rows
    if _is_plain([row[0] for row in rows]):
        return sorted(rows)
    return sort_circular(
        rows, lambda row: split_address_words(row[0]), lambda row: int.from_bytes(row[1], "big")
    )


def sort_servers(found: list[Server]) -> list[Server]:
    """Sort records by address and port; equal ones keep their order."""
    return [
        row[3]
        for row in sort_rows(
            [(d.addr, d.port.to_bytes(2, "big"), at, d) for at, d in enumerate(found)]
        )
    ]
