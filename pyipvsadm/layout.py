"""Dumps read a datagram at a time.

Owns: where the values of a dump's records stand, and how they are read out of many records at once.
Must never know: what a value means (wire.py), sockets.

How it works. A kernel writes the records of a dump alike: what stands where in one stands there in the next. A record is walked
once, attribute by attribute, which gives the offset of every header and value; a Struct over those offsets then reads records
of that shape. Whether a whole datagram has that shape is one comparison: its bytes as a large number, AND a mask that keeps the
headers, must be the number that so many records give. What has no known shape is left to the walk. Shapes outlive the dump they
were learnt in: only the sequence number differs from one dump to the next.
"""

from __future__ import annotations

from struct import Struct
from sys import byteorder

from pyipvsadm.netlink import HEADER, TYPE_MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    # (attribute numbers from the outermost nest inwards, struct code or "s" for as many bytes as came)
    Field = tuple[tuple[int, ...], str]

_NLMSGHDR = Struct("=IHHII")
_NLATTR = Struct("=HH")
_SHAPES = 8  # a table with more kinds of records than that is walked


class Layout:
    """The shape of one record (a whole message): `size` bytes, and its fields in the order they stand in."""

    __slots__ = ("_known", "_mask", "_record", "_struct", "build", "size")

    def __init__(
        self,
        record: bytes,
        fields: Iterable[Field],
        nests: Iterable[tuple[int, ...]],
        build: Callable[[tuple[Any, ...]], Any],
    ) -> None:
        """build: makes a value of the fields. LookupError when a field is missing, too short, or out of its order."""
        self.size = len(record)
        self.build = build
        mask = bytearray(self.size)
        mask[:HEADER] = b"\xff" * HEADER
        offsets: dict[tuple[int, ...], tuple[int, int]] = {}
        for path, at, length in walk(record, HEADER, self.size, (), frozenset(nests)):
            mask[at - 4 : at] = b"\xff" * 4
            offsets[path] = (at, length)
        code = "="
        end = 0
        for path, kind in fields:
            at, length = offsets[path]
            layout = f"{length}s" if kind == "s" else kind
            width = Struct(f"={layout}").size
            if at < end or length < width:
                raise LookupError(path)
            code += f"{at - end}x{layout}"
            end = at + width
        self._struct = Struct(f"{code}{self.size - end}x")
        self._mask = bytes(mask)
        self._record = record[:8] + bytes(4) + record[12:]  # without its sequence number
        self._known: dict[int, tuple[int, int, int]] = {}

    def values(self, datagram: memoryview, seq: int) -> list[Any] | None:
        """What its records are, None when one of them has another shape or sequence number."""
        count, rest = divmod(len(datagram), self.size)
        if rest or not count:
            return None
        if count not in self._known:
            mask = int.from_bytes(self._mask * count, "little")
            ones = (bytes(8) + b"\1" + bytes(self.size - 9)) * count  # a one where each sequence number stands
            self._known[count] = (
                mask,
                int.from_bytes(self._record * count, "little") & mask,
                int.from_bytes(ones, "little"),
            )
        mask, shape, places = self._known[count]
        if int.from_bytes(datagram, "little") & mask != shape + places * _little(seq):
            return None
        return list(map(self.build, self._struct.iter_unpack(datagram)))


class Reader:
    """Reads the datagrams of dumps of one kind, and learns their shapes as it goes.

    head: (type, flags) of their records; learn: a Layout for a record, or None.
    """

    __slots__ = ("_head", "_layouts", "_learn")

    def __init__(self, head: tuple[int, int], learn: Callable[[bytes], Layout | None]) -> None:
        self._head = head
        self._learn = learn
        self._layouts: list[Layout] = []

    def values(self, datagram: memoryview, seq: int) -> list[Any] | None:
        """The values of all records; None when anything in it is not a record of that dump whose shape can be learnt."""
        for layout in self._layouts:
            found = layout.values(datagram, seq)
            if found is not None:
                return found
        found = []
        at = 0
        while at < len(datagram):
            record = datagram[at : at + self._size(datagram, at, seq)]
            at += len(record)
            one = self._value(record, seq) if record else None
            if one is None:
                return None
            found += one
        return found

    def _size(self, datagram: memoryview, at: int, seq: int) -> int:
        """Of the record there; 0 when it is not one of this dump."""
        if len(datagram) - at < HEADER:
            return 0
        size, kind, flags, number, _ = _NLMSGHDR.unpack_from(datagram, at)
        ours = (kind, flags) == self._head and number == seq
        return size if ours and HEADER <= size <= len(datagram) - at and not size & 3 else 0

    def _value(self, record: memoryview, seq: int) -> list[Any] | None:
        for layout in self._layouts:
            found = layout.values(record, seq)
            if found is not None:
                return found
        learnt = self._learn(bytes(record)) if len(self._layouts) < _SHAPES else None
        if learnt is None:
            return None
        self._layouts.append(learnt)
        return learnt.values(record, seq)


def _little(seq: int) -> int:
    """The number that the bytes of seq give when they are read as little-endian."""
    return seq if byteorder == "little" else int.from_bytes(seq.to_bytes(4, "big"), "little")


def walk(
    record: bytes, at: int, end: int, path: tuple[int, ...], nests: frozenset[tuple[int, ...]]
) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """(path, offset of the payload, its length) of every attribute. LookupError where the bytes are no attributes."""
    while at < end:
        if end - at < 4:
            raise LookupError(path)
        size, kind = _NLATTR.unpack_from(record, at)
        if size < 4 or size > end - at:
            raise LookupError(path)
        here = (*path, kind & TYPE_MASK)
        yield here, at + 4, size - 4
        if here in nests:
            yield from walk(record, at + 4, at + size, here, nests)
        at += size + 3 & ~3
