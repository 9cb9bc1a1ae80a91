"""Decode dumps a datagram at a time.

Owns: the offsets of values in a dump's records, and reading many records at once. Must never know:
the meaning of a value (attributes.py), sockets.

A kernel writes the records of a dump alike: the offsets of one record hold for the next. A record
is walked once, attribute by attribute, which gives the offset of every header and value; a Struct
over those offsets then reads all records of that shape. A record has a shape if it has its size,
and the same bytes at its head and at the headers of the attributes whose length or presence may
differ (the caller names them; all others are always written and have one size). A record of no
known shape is walked. Shapes outlive the dump they were learnt from: only the sequence number
differs from one dump to the next.
"""

from __future__ import annotations

from struct import Struct

from pyipvsadm.netlink.framing import HEADER, TYPE_MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    Bytes = bytes | memoryview

    # (attribute numbers from the outermost nest inwards, struct code or "s" for as many bytes as
    # came)
    Path = tuple[int, ...]
    Field = tuple[Path, str]

_NLMSGHDR = Struct("=IHHII")
_NLATTR = Struct("=HH")
_SHAPES = 16  # a table with more kinds of records than that is walked


class RecordLayout:
    """Describe the shape of one record (a complete message): `size` bytes, and its fields in their
    order.
    """

    __slots__ = ("_after", "_before", "_build", "_shape", "_struct", "size")

    def __init__(
        self,
        record: bytes,
        fields: Iterable[Field],
        nests: Iterable[Path],
        moving: Iterable[Path],
        build: Callable[[list[tuple[Any, ...]]], list[Any]] | None = None,
        given: Iterable[tuple[Path, bytes]] = (),
    ) -> None:
        """Build the layout of a record.

        moving: the attributes whose length or presence may move others. given: values that belong
        to the shape. build: makes values of many records' fields; without it they stay tuples.
        Raise LookupError if a field is missing, too short, or out of order, or if a given value
        differs.
        """
        self.size = len(record)
        self._build = build
        offsets: dict[Path, tuple[int, int]] = {}
        for path, at, length in iter_attributes(record, HEADER, self.size, (), frozenset(nests)):
            offsets[path] = (at, length)
        marks = [(offsets[path][0] - 4, offsets[path][0]) for path in moving]
        for path, value in given:
            at, length = offsets[path]
            if record[at : at + length] != value:
                raise LookupError(path)
            marks.append((at - 4, at + length))
        marks.sort()
        shape = f"=8sI{HEADER - 12}s"  # the sequence number stands at byte 8
        end = HEADER
        for at, after in marks:
            shape += f"{at - end}x{after - at}s"
            end = after
        self._shape = Struct(f"{shape}{self.size - end}x")
        head = self._shape.unpack(record)
        self._before = head[0]
        self._after = head[2:]
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

    def decode_values(self, datagram: Bytes, seq: int) -> list[Any] | None:
        """Return the values of a datagram's records; None if one of them has another shape or
        sequence number.
        """
        shape = (self._before, seq, *self._after)
        # so it is where a service has one server: thousands of times
        if len(datagram) == self.size:
            if self._shape.unpack(datagram) != shape:
                return None
            found = [self._struct.unpack(datagram)]
        elif len(datagram) % self.size:
            return None
        else:
            shapes = list(self._shape.iter_unpack(datagram))
            if shapes.count(shape) != len(shapes):
                return None
            found = list(self._struct.iter_unpack(datagram))
        return self._build(found) if self._build else found


class DumpDecoder:
    """Decode the datagrams of dumps of one kind, and learn their shapes on the way.

    head: (type, flags) of their records; learn: returns a RecordLayout for a record, or None.
    """

    __slots__ = ("_head", "_layouts", "_learn")

    def __init__(
        self, head: tuple[int, int], learn: Callable[[bytes], RecordLayout | None]
    ) -> None:
        self._head = head
        self._learn = learn
        self._layouts: list[RecordLayout] = []

    def decode_values(self, datagram: Bytes, seq: int) -> list[Any] | None:
        """Return the values of all records; None if the datagram holds anything else than records
        of this dump whose shape can be learnt.
        """
        for layout in self._layouts:
            found = layout.decode_values(datagram, seq)
            if found is not None:
                return found
        found = []
        at = 0
        while at < len(datagram):
            record = bytes(datagram[at : at + self._get_record_size(datagram, at, seq)])
            at += len(record)
            one = self._decode_record(record, seq) if record else None
            if one is None:
                return None
            found += one
        return found

    def _get_record_size(self, datagram: Bytes, at: int, seq: int) -> int:
        """Return the size of the record at `offset`, or 0 if it is not part of this dump."""
        if len(datagram) - at < HEADER:
            return 0
        size, kind, flags, number, _ = _NLMSGHDR.unpack_from(datagram, at)
        ours = (kind, flags) == self._head and number == seq
        return size if ours and HEADER <= size <= len(datagram) - at and not size & 3 else 0

    def _decode_record(self, record: bytes, seq: int) -> list[Any] | None:
        for layout in self._layouts:
            found = layout.decode_values(record, seq)
            if found is not None:
                return found
        learnt = self._learn(record) if len(self._layouts) < _SHAPES else None
        if learnt is None:
            return None
        self._layouts.append(learnt)
        return learnt.decode_values(record, seq)


def iter_attributes(
    record: bytes, at: int, end: int, path: tuple[int, ...], nests: frozenset[tuple[int, ...]]
) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """Yield (path, offset of the payload, its length) of every attribute. Raise LookupError if the
    bytes are no attributes.
    """
    while at < end:
        if end - at < 4:
            raise LookupError(path)
        size, kind = _NLATTR.unpack_from(record, at)
        if size < 4 or size > end - at:
            raise LookupError(path)
        here = (*path, kind & TYPE_MASK)
        yield here, at + 4, size - 4
        if here in nests:
            yield from iter_attributes(record, at + 4, at + size, here, nests)
        at += size + 3 & ~3
