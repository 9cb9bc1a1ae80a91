"""Decode dumps a datagram at a time.

Owns: the offsets of values in a dump's records, and reading many records at once. Must never know:
the meaning of a value (attributes.py), sockets.

A kernel writes the records of a dump alike: the offsets of one record hold for the next. A record
is walked once, attribute by attribute, which gives the offset of every header and value; a Struct
over those offsets then reads all records of that shape. A record has a shape if it has its size,
and the same bytes at its head and at the headers of the attributes whose length or presence may
differ (the caller names them; all others are always written and have one size): its signature. A
record of no known shape is walked. Shapes outlive the dump they were learnt from: only the sequence
number differs from one dump to the next.
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

    signature_format: the struct code that reads the signature from a record. unpack_fields(record,
    offset): reads the fields.
    """

    __slots__ = (
        "_build", "_fields", "_shape", "signature", "signature_format", "size", "unpack_fields",
    )  # fmt: skip

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
        rest = f"{HEADER - 12}s"
        end = HEADER
        for offset, span_end in spans:
            rest += f"{offset - end}x{span_end - offset}s"
            end = span_end
        rest += f"{self.size - end}x"
        self.signature_format = f"=8s4x{rest}"
        self.signature: tuple[bytes, ...] = Struct(self.signature_format).unpack(record)
        self._shape = Struct(f"=8sI{rest}")
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
        self._fields = Struct(f"{value_code}{self.size - end}x")
        self.unpack_fields = self._fields.unpack_from

    def decode_alike(self, datagram: Bytes, seq: int) -> list[Any] | None:
        """Return the values of a datagram's records; None if one of them has another shape or
        sequence number.
        """
        if len(datagram) % self.size:
            return None
        shapes = list(self._shape.iter_unpack(datagram))
        before, *after = self.signature
        if shapes.count((before, seq, *after)) != len(shapes):
            return None
        return self.make_values(list(self._fields.iter_unpack(datagram)))

    def make_values(self, rows: list[tuple[Any, ...]]) -> list[Any]:
        """Return the values of records from their fields."""
        return self._build(rows) if self._build else rows


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
        # By size of records: what reads a signature, and the layouts by their signatures.
        self._by_size: dict[int, list[tuple[Struct, dict[tuple[bytes, ...], RecordLayout]]]] = {}

    def decode_values(self, datagram: Bytes, seq: int) -> list[Any] | None:
        """Return the values of all records; None if the datagram holds anything but records of this
        dump whose shape is known or can be learnt.
        """
        layout, size = self._find_layout(datagram, 0, seq)
        if layout is None:
            return None if datagram else []
        if size == len(datagram):  # Fast path: in large tables most services have one server.
            return layout.make_values([layout.unpack_fields(datagram)])
        values = layout.decode_alike(datagram, seq)
        return self._decode_mixture(datagram, seq) if values is None else values

    def _decode_mixture(self, datagram: Bytes, seq: int) -> list[Any] | None:
        """Return as decode_values does. Records of one layout are built together."""
        groups: dict[RecordLayout, tuple[list[int], list[tuple[Any, ...]]]] = {}
        offset = count = 0
        while offset < len(datagram):
            layout, size = self._find_layout(datagram, offset, seq)
            if layout is None:
                return None
            if layout not in groups:
                groups[layout] = ([], [])
            places, rows = groups[layout]
            places.append(count)
            rows.append(layout.unpack_fields(datagram, offset))
            offset += size
            count += 1
        values: list[Any] = [None] * count
        for layout, (places, rows) in groups.items():
            for place, value in zip(places, layout.make_values(rows)):
                values[place] = value
        return values

    def _find_layout(
        self, datagram: Bytes, offset: int, seq: int
    ) -> tuple[RecordLayout | None, int]:
        """Return the layout of the record at `offset`, which is learnt if it is new, and its size;
        None and 0 if the record is not part of this dump or cannot be learnt.
        """
        if len(datagram) - offset < HEADER:
            return None, 0
        size, kind, flags, record_seq, _ = _NLMSGHDR.unpack_from(datagram, offset)
        belongs = (kind, flags) == self._head and record_seq == seq
        if not (belongs and HEADER <= size <= len(datagram) - offset) or size & 3:
            return None, 0
        for shape, layouts in self._by_size.get(size, ()):
            layout = layouts.get(shape.unpack_from(datagram, offset))
            if layout is not None:
                return layout, size
        if len(self._layouts) == _SHAPES:
            return None, 0
        layout = self._learn(bytes(datagram[offset : offset + size]))
        if layout is not None:
            self._add_layout(layout)
        return layout, size

    def _add_layout(self, layout: RecordLayout) -> None:
        self._layouts.append(layout)
        shapes = self._by_size.setdefault(layout.size, [])
        for shape, layouts in shapes:
            if shape.format == layout.signature_format:
                layouts[layout.signature] = layout
                return
        shapes.append((Struct(layout.signature_format), {layout.signature: layout}))
        # A record may have several of these signatures: the longest says most of it.
        shapes.sort(key=lambda item: -sum(map(len, next(iter(item[1])))))


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
