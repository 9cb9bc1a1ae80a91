"""Sort services and real servers as 1.31 does (libipvs.c: ipvs_cmp_services, ipvs_cmp_dests).

Owns: that order. Must never know: what is shown.

1.31 compares marks and addresses (IPv6: word by word) by a 32-bit difference that wraps. If all
values lie on one half of the circle of 2**32, that is a total order: the circle's, starting after
the widest gap. Otherwise 1.31's order is undefined, and ours is numeric.
"""

from __future__ import annotations

from pyipvsadm.model import AF_INET

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
    for lower, upper in zip(ring, ring[1:]):  # itertools is one import more
        if upper - lower >= HALF:
            first = upper
    # If the widest gap is the one across zero, the order is numeric.
    return first if first == ring[0] or CIRCLE - ring[-1] + ring[0] < HALF else ring[0]


def split_address_words(addr: bytes) -> tuple[int, ...]:
    """Split an address into 32-bit words: four for IPv6, one for IPv4."""
    return tuple(
        [int.from_bytes(addr[offset : offset + 4], "big") for offset in range(0, len(addr), 4)]
    )


def sort_circular(
    items: list[Item], keys: Callable[[Item], tuple[int, ...]], tie_break: Callable[[Item], int]
) -> list[Item]:
    """Sort items by the words of their keys, then by tie_break; stable. Each word is compared on
    the circle of the items that are equal in all words before it.
    """
    return [
        item
        for _, item in _sort_circular_rows([(keys(item), item) for item in items], 0, tie_break)
    ]


def _sort_circular_rows(
    rows: list[tuple[tuple[int, ...], Item]], depth: int, tie_break: Callable[[Item], int]
) -> list[tuple[tuple[int, ...], Item]]:
    longer = [row for row in rows if len(row[0]) > depth]
    # In a shorter key (IPv4 among IPv6 servers), the missing words count as zero.
    if len(rows) < 2 or not longer:
        return sorted(rows, key=lambda row: tie_break(row[1]))
    groups: dict[int, list[tuple[tuple[int, ...], Item]]] = {}
    for row in rows:
        groups.setdefault(row[0][depth] if len(row[0]) > depth else 0, []).append(row)
    first = find_circle_start(groups)
    result = []
    for word in sorted(groups, key=lambda word: (word - first) % CIRCLE):
        result += _sort_circular_rows(groups[word], depth + 1, tie_break)
    return result


def _is_plain(addrs: list[bytes]) -> bool:
    """Return True if addresses of one family lie on one half of each circle, so that they sort as
    their bytes do; also if there are none.
    """
    sizes = {len(addr) for addr in addrs}
    if sizes == {4}:
        return int.from_bytes(max(addrs), "big") - int.from_bytes(min(addrs), "big") < HALF
    if sizes == {16}:
        first = addrs[0]
        halves = (first[0] & 128, first[4] & 128, first[8] & 128, first[12] & 128)
        return all(
            (addr[0] & 128, addr[4] & 128, addr[8] & 128, addr[12] & 128) == halves
            for addr in addrs
        )
    return not addrs


def sort_services(services: list[Service]) -> list[Service]:
    """Sort services by mark (no mark first), family, protocol, address, port."""
    if (
        _is_plain([s.addr for s in services if not s.fwmark and s.af == AF_INET])
        and _is_plain([s.addr for s in services if not s.fwmark and s.af != AF_INET])
        and all(s.fwmark < HALF for s in services)
    ):
        return sorted(services, key=lambda s: (s.fwmark, s.af, s.protocol, s.addr, s.port))
    return sort_circular(
        services,
        lambda s: (
            s.fwmark,
            s.af,
            s.protocol,
            *(split_address_words(s.addr) if not s.fwmark else ()),
        ),
        lambda s: s.port,
    )


def sort_table(rows: list[tuple[Service, Item]]) -> list[tuple[Service, Item]]:
    """Sort pairs of a service and whatever belongs to it by service."""
    beside = {id(service): item for service, item in rows}
    return [
        (service, beside[id(service)])
        for service in sort_services([service for service, _ in rows])
    ]


def sort_rows(rows: list[Row]) -> list[Row]:
    """Sort rows by address and port. Among servers of both families, an IPv4 address is compared
    with the first word of an IPv6 address.
    """
    if len(rows) < 2:
        return rows
    ordered = sorted(rows)
    if len(b"".join([row[0] for row in rows])) == 4 * len(rows):  # IPv6 addresses are longer
        # Fast path of _is_plain: these two are the least and the greatest.
        if _is_plain([ordered[0][0], ordered[-1][0]]):
            return ordered
    elif _is_plain([row[0] for row in rows]):
        return ordered
    return sort_circular(
        rows, lambda row: split_address_words(row[0]), lambda row: int.from_bytes(row[1], "big")
    )


def sort_servers(servers: list[Server]) -> list[Server]:
    """Sort records by address and port; equal ones keep their order."""
    if len(servers) < 2:
        return servers
    rows = [
        (server.addr, server.port.to_bytes(2, "big"), index, server)
        for index, server in enumerate(servers)
    ]
    return [row[3] for row in sort_rows(rows)]
