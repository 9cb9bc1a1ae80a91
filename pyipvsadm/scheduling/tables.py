"""Fill the tables of the schedulers that hash (dh, sh, mh), and look clients up in them.

Owns: which bucket is whose. A table is a list with the index of a server for each bucket; only
a service with servers has one. Servers come newest first, as the kernel lists them.
"""

from __future__ import annotations

from math import gcd

from pyipvsadm.model import AF_INET
from pyipvsadm.scheduling.hashing import fold_address, hash_32, hash_halfsiphash, hash_siphash
from pyipvsadm.scheduling.overload import NO, YES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pyipvsadm.model import Server
    from pyipvsadm.scheduling.build import Build

    Table = list[int]

DH_BITS = 8  # ip_vs_dh.c: IP_VS_DH_TAB_BITS; Kconfig has no option for it

_MAX_KEPT = 4  # tables of mh
_kept: dict[tuple[object, ...], Table] = {}

_FREE = -1  # an entry of mh's table while it is filled

# ip_vs_mh.c: the keys of hash1 and hash2
_KEY1 = 2654435761
_KEY2 = 2654446892


def fill_dh(servers: Sequence[Server]) -> Table:
    """Return dh's table: one bucket each in turn, whatever the weight (ip_vs_dh.c:
    ip_vs_dh_reassign).
    """
    count = len(servers)
    return [index % count for index in range(1 << DH_BITS)]


def fill_sh(servers: Sequence[Server], size: int) -> Table:
    """Return sh's table: as many buckets in a row as a server has weight, at least one (ip_vs_sh.c:
    ip_vs_sh_reassign).
    """
    table: Table = []
    while len(table) < size:
        for index, server in enumerate(servers):
            table += [index] * min(max(1, server.weight), size)
            if len(table) >= size:
                break
    return table[:size]


def get_mh_hash(build: Build, key: int) -> Callable[[int], int]:
    """Return mh's hash of (offset + port + folded address) under a key (ip_vs_mh.c:
    ip_vs_mh_hashkey).
    """
    hashed = hash_siphash if build.bits == 64 else hash_halfsiphash
    if build.big_endian:  # hsiphash reads its bytes as little-endian
        return lambda value: hashed(
            int.from_bytes((value & 0xFFFFFFFF).to_bytes(4, "big"), "little"), key
        )
    return lambda value: hashed(value & 0xFFFFFFFF, key)


def count_mh_turns(weights: Sequence[int], mh_index: int) -> list[int]:
    """Return how many entries each server takes in a round, by its latest weight that was not 0
    (ip_vs_mh.c: ip_vs_mh_gcd_weight, ip_vs_mh_shift_weight, ip_vs_mh_permutate).
    """
    step = gcd(*weights)
    if not step:
        return [0] * len(weights)
    shift = max(0, (max(weights) // step).bit_length() - mh_index // 2)
    return [(weight // step >> shift) or int(weight != 0) for weight in weights]


def fill_mh(servers: Sequence[Server], weights: Sequence[int], build: Build, af: int) -> Table:
    """Return mh's table. weights: the latest weight of each server that was not 0, 0 if it never
    had one: a weight that is edited to 0 leaves the table as it is (ip_vs_mh.c: ip_vs_mh_permutate,
    ip_vs_mh_populate). One of them is not 0.

    af: the service's family, which decides how many bytes of a server's address are hashed. The
    last tables are kept, as shares and impacts go by the same ones, and services by the same
    servers.
    """
    settings = (af, build.mh_index, build.bits, build.big_endian)
    members = tuple((*server.key(), weight) for server, weight in zip(servers, weights))
    table = _kept.pop((settings, members), None) or _populate_mh(servers, weights, build, af)
    if len(_kept) >= _MAX_KEPT:
        del _kept[next(iter(_kept))]
    _kept[settings, members] = table
    return table


def _populate_mh(servers: Sequence[Server], weights: Sequence[int], build: Build, af: int) -> Table:
    size = build.mh_size
    first, second = get_mh_hash(build, _KEY1), get_mh_hash(build, _KEY2)
    walks = []
    for index, turns in enumerate(count_mh_turns(weights, build.mh_index)):
        if turns:
            value = _get_mh_key(servers[index], af)
            walks.append((index, turns, first(value) % size, second(value) % (size - 1) + 1))
    table = [_FREE] * size
    places = {index: offset for index, _, offset, _ in walks}
    free = size
    while True:
        for index, turns, _, skip in walks:
            place = places[index]
            for _ in range(turns):
                while table[place] != _FREE:
                    place += skip
                    if place >= size:
                        place -= size
                table[place] = index
                free -= 1
                if not free:
                    return table
            places[index] = place


def _get_mh_key(server: Server, af: int) -> int:
    addr = server.addr
    if len(addr) != (4 if af == AF_INET else 16):
        addr = (addr + bytes(12))[: 4 if af == AF_INET else 16]
    return server.port + fold_address(addr)


def look_up(table: Table, probes: Iterable[int], usable: Sequence[int]) -> tuple[set[int], bool]:
    """Return the servers that may be taken, and whether a refusal is possible. probes: the buckets
    that are tried in turn; usable: by server, whether it takes connections (overload.py).
    """
    taken: set[int] = set()
    for bucket in probes:
        index = table[bucket]
        if usable[index] == YES:
            taken.add(index)
            return taken, False
        if usable[index] != NO:
            taken.add(index)
    return taken, True


def get_dh_bucket(addr: bytes) -> int:
    """Return the bucket of a destination address (ip_vs_dh.c: ip_vs_dh_hashkey)."""
    return hash_32(fold_address(addr), DH_BITS)


def get_sh_bucket(value: int, bits: int) -> int:
    """Return the first bucket of port + folded address (ip_vs_sh.c: ip_vs_sh_hashkey)."""
    return hash_32(value, bits)


def iter_sh_probes(bucket: int, bits: int, fallback: bool) -> Iterator[int]:
    """Yield the buckets that are tried in turn, by the first one (ip_vs_sh.c: ip_vs_sh_get,
    ip_vs_sh_get_fallback).
    """
    yield bucket
    size = 1 << bits
    for offset in range(size if fallback else 0):
        yield (offset + bucket) % size + bucket & size - 1


def iter_mh_probes(value: int, build: Build, fallback: bool) -> Iterator[int]:
    """Yield the entries that are tried in turn, by port + folded address (ip_vs_mh.c:
    ip_vs_mh_get, ip_vs_mh_get_fallback).
    """
    hashed = get_mh_hash(build, _KEY1)
    size = build.mh_size
    entry = hashed(value) % size
    yield entry
    for offset in range(size if fallback else 0):
        yield hashed((offset + entry) % size + value) % size
