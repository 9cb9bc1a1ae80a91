"""Compute hashes of addresses as the kernel's schedulers do.

Owns: the multiplicative hash of sh and dh, and hsiphash of mh.
"""

from __future__ import annotations

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF
GOLDEN_RATIO_32 = 0x61C88647  # include/linux/hash.h


def fold_address(addr: bytes) -> int:
    """Return an address as one number of 32 bits, the four words of an IPv6 address combined
    (ip_vs_sh.c: ip_vs_sh_hashkey, ip_vs_mh.c: ip_vs_mh_hashkey).
    """
    if len(addr) == 4:
        return int.from_bytes(addr, "big")
    words = [int.from_bytes(addr[index : index + 4], "big") for index in (0, 4, 8, 12)]
    return words[0] ^ words[1] ^ words[2] ^ words[3]


def hash_32(value: int, bits: int) -> int:
    """Return the upper bits of a product (include/linux/hash.h: hash_32)."""
    return (value * GOLDEN_RATIO_32 & _MASK32) >> (32 - bits)


def hash_siphash(value: int, key: int) -> int:
    """Return hsiphash of a number of 32 bits under the key (key, key), on a machine of 64 bits:
    SipHash-1-3, cut to 32 bits (lib/siphash.c: hsiphash_1u32).
    """
    v0 = 0x736F6D6570736575 ^ key
    v1 = 0x646F72616E646F6D ^ key
    v2 = 0x6C7967656E657261 ^ key
    v3 = 0x7465646279746573 ^ key
    last = 4 << 56 | value
    v3 ^= last
    for turn in range(4):
        if turn == 1:
            v0 ^= last
            v2 ^= 0xFF
        v0 = v0 + v1 & _MASK64
        v1 = (v1 << 13 | v1 >> 51) & _MASK64 ^ v0
        v0 = (v0 << 32 | v0 >> 32) & _MASK64
        v2 = v2 + v3 & _MASK64
        v3 = (v3 << 16 | v3 >> 48) & _MASK64 ^ v2
        v0 = v0 + v3 & _MASK64
        v3 = (v3 << 21 | v3 >> 43) & _MASK64 ^ v0
        v2 = v2 + v1 & _MASK64
        v1 = (v1 << 17 | v1 >> 47) & _MASK64 ^ v2
        v2 = (v2 << 32 | v2 >> 32) & _MASK64
    return (v0 ^ v1 ^ v2 ^ v3) & _MASK32


def hash_halfsiphash(value: int, key: int) -> int:
    """Return hsiphash of a number of 32 bits under the key (key, key), on a machine of 32 bits:
    HalfSipHash-1-3 (lib/siphash.c: hsiphash_1u32).
    """
    v0 = key
    v1 = key
    v2 = 0x6C796765 ^ key
    v3 = 0x74656462 ^ key
    for turn, word in enumerate((value, 4 << 24, 0, 0, 0)):
        v3 ^= word
        if turn == 2:
            v2 ^= 0xFF
        v0 = v0 + v1 & _MASK32
        v1 = (v1 << 5 | v1 >> 27) & _MASK32 ^ v0
        v0 = (v0 << 16 | v0 >> 16) & _MASK32
        v2 = v2 + v3 & _MASK32
        v3 = (v3 << 8 | v3 >> 24) & _MASK32 ^ v2
        v0 = v0 + v3 & _MASK32
        v3 = (v3 << 7 | v3 >> 25) & _MASK32 ^ v0
        v2 = v2 + v1 & _MASK32
        v1 = (v1 << 13 | v1 >> 19) & _MASK32 ^ v2
        v2 = (v2 << 16 | v2 >> 16) & _MASK32
        v0 ^= word
    return v1 ^ v3
