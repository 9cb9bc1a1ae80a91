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

    # The numbers of an attribute and of the nests around it, the outermost first.
    Path = tuple[int, ...]
    # The path and the struct code of a value; "s" takes the whole payload.
    Field = tuple[Path, str]

_NLMSGHDR = Struct("=IHHII")
_NLATTR = Struct("=HH")
# Shapes that a decoder keeps. Records of further shapes are walked.
_SHAPES = 64


class RecordLayout:
    """Describe the shape of one record (a complete message): `size` bytes, and its fields in their
    order.
    """

    __slots__ = ("_after", "_before", "_build", "_shape", "_struct", "size")

    def __init__(
        self,
        record: bytes,
        fields: Iterable[Field],
        nested: Iterable[Path],
        variable: Iterable[Path],
        build: Callable[[list[tuple[Any, ...]]], list[Any]] | None = None,
        constants: Iterable[tuple[Path, bytes]] = (),
    ) -> None:
        """Build the layout of a record.

        fields: the values to read, in the order of the record. nested: the attributes that hold
        attributes. variable: the attributes whose length or presence may move others. build: makes
        values from the fields of many records; without it they stay tuples. constants: payloads
        that belong to the shape. Raise LookupError if a field is missing, too short or out of
        order, or if the payload of a constant differs.
        """
        self.size = len(record)
        self._build = build
        offsets: dict[Path, tuple[int, int]] = {}
        for path, offset, length in iter_attributes(
            record, HEADER, self.size, (), frozenset(nested)
        ):
            offsets[path] = (offset, length)
        spans = [(offsets[path][0] - 4, offsets[path][0]) for path in variable]
        for path, value in constants:
            offset, length = offsets[path]
            if record[offset : offset + length] != value:
                raise LookupError(path)
            spans.append((offset - 4, offset + length))
        spans.sort()
        # The sequence number, at byte 8, is the only part of the header that may differ.
        shape_code = f"=8sI{HEADER - 12}s"
        end = HEADER
        for offset, span_end in spans:
            shape_code += f"{offset - end}x{span_end - offset}s"
            end = span_end
        self._shape = Struct(f"{shape_code}{self.size - end}x")
        signature = self._shape.unpack(record)
        self._before = signature[0]
        self._after = signature[2:]
        value_code = "="
        end = 0
        for path, kind in fields:
            offset, length = offsets[path]
            layout = f"{length}s" if kind == "s" else kind
            width = Struct(f"={layout}").size
            if offset < end or length < width:
                raise LookupError(path)
            value_code += f"{offset - end}x{layout}"
            end = offset + width
        self._struct = Struct(f"{value_code}{self.size - end}x")

    def decode_values(self, datagram: Bytes, seq: int) -> list[Any] | None:
        """Return the values of a datagram's records; None if one of them has another shape or
        sequence number.
        """
        expected = (self._before, seq, *self._after)
        # Fast path: in large tables most services have one server.
        if len(datagram) == self.size:
            if self._shape.unpack(datagram) != expected:
                return None
            values = [self._struct.unpack(datagram)]
        elif len(datagram) % self.size:
            return None
        else:
            shapes = list(self._shape.iter_unpack(datagram))
            if shapes.count(expected) != len(shapes):
                return None
            values = list(self._struct.iter_unpack(datagram))
        return self._build(values) if self._build else values


class DumpDecoder:
    """Decode the datagrams of dumps of one kind, and learn their shapes on the way.

    head: (type, flags) of their records; learn: returns a RecordLayout for a record, or None.
    """

    __slots__ = ("_by_size", "_head", "_layouts", "_learn")

    def __init__(
        self, head: tuple[int, int], learn: Callable[[bytes], RecordLayout | None]
    ) -> None:
        self._head = head
        self._learn = learn
        self._layouts: list[RecordLayout] = []
        self._by_size: dict[int, list[RecordLayout]] = {}

    def decode_values(self, datagram: Bytes, seq: int) -> list[Any] | None:
        """Return the values of all records; None if the datagram holds anything but records of this
        dump whose shape is known or can be learnt.
        """
        for layout in self._layouts:
            values = layout.decode_values(datagram, seq)
            if values is not None:
                return values
        values = []
        offset = 0
        while offset < len(datagram):
            record = bytes(datagram[offset : offset + self._get_record_size(datagram, offset, seq)])
            offset += len(record)
            record_values = self._decode_record(record, seq) if record else None
            if record_values is None:
                return None
            values += record_values
        return values

    def _get_record_size(self, datagram: Bytes, offset: int, seq: int) -> int:
        """Return the size of the record at `offset`, or 0 if it is not part of this dump."""
        if len(datagram) - offset < HEADER:
            return 0
        size, kind, flags, record_seq, _ = _NLMSGHDR.unpack_from(datagram, offset)
        belongs = (kind, flags) == self._head and record_seq == seq
        return size if belongs and HEADER <= size <= len(datagram) - offset and not size & 3 else 0

    def _decode_record(self, record: bytes, seq: int) -> list[Any] | None:
        for layout in self._by_size.get(len(record), ()):
            values = layout.decode_values(record, seq)
            if values is not None:
                return values
        learnt = self._learn(record) if len(self._layouts) < _SHAPES else None
        if learnt is None:
            return None
        self._layouts.append(learnt)
        self._by_size.setdefault(learnt.size, []).append(learnt)
        return learnt.decode_values(record, seq)


def iter_attributes(
    record: bytes, offset: int, end: int, path: tuple[int, ...], nested: frozenset[tuple[int, ...]]
) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """Yield (path, offset of the payload, its length) of every attribute. Raise LookupError if the
    bytes are no attributes.
    """
    while offset < end:
        if end - offset < 4:
            raise LookupError(path)
        size, kind = _NLATTR.unpack_from(record, offset)
        if size < 4 or size > end - offset:
            raise LookupError(path)
        attribute_path = (*path, kind & TYPE_MASK)
        yield attribute_path, offset + 4, size - 4
        if attribute_path in nested:
            yield from iter_attributes(record, offset + 4, offset + size, attribute_path, nested)
        offset += size + 3 & ~3
