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
    # By their signatures.
    Layouts = dict[tuple[bytes, ...], "RecordLayout"]

# Of a record's header: size, type and flags as bytes, and the sequence number.
_HEAD = Struct("=8sI")
_SIZE_AND_TYPE = Struct("=IHH")
_NLATTR = Struct("=HH")
# Records from which on comparing them byte by byte, all at once, is faster than one by one.
MIN_BULK_RECORDS = 8
# Shapes that a decoder keeps. Records of further shapes are walked.
_SHAPES = 64


class RecordLayout:
    """Describe the shape of one record (a complete message): `size` bytes, and its fields in their
    order.

    signature_format: the struct code that reads the signature from a record. signature_offsets: of
    its bytes after the header. unpack_fields(records, offset): reads the fields of one record;
    iter_fields(records): those of all.
    """

    __slots__ = (
        "_build", "iter_fields", "signature", "signature_format", "signature_offsets", "size",
        "unpack_fields",
    )  # fmt: skip

    def __init__(
        self,
        record: bytes,
        fields: Iterable[Field],
        nested: Iterable[Path],
        variable: Iterable[Path],
        build: Callable[[list[tuple[Any, ...]]], list[Any]] | None = None,
        constants: Iterable[tuple[Path, bytes | None]] = (),
    ) -> None:
        """Build the layout of a record.

        fields: the values to read, in the order of the record. nested: the attributes that hold
        attributes. variable: the attributes whose length or presence may move others. build: makes
        values from the fields of many records; without it they stay tuples. constants: payloads
        that belong to the shape; None: as in this record. Raise LookupError if a field is missing,
        too short or out of order, or if the payload of a constant differs.
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
            if value is not None and record[offset : offset + length] != value:
                raise LookupError(path)
            spans.append((offset - 4, offset + length))
        spans.sort()
        # The sequence number, at byte 8, is the only part of the header that may differ.
        rest = f"{HEADER - 12}s"
        end = HEADER
        self.signature_offsets: list[int] = []
        for start, span_end in spans:
            offset = max(start, end)  # an attribute may be both variable and constant
            rest += f"{offset - end}x{span_end - offset}s"
            self.signature_offsets += range(offset, span_end)
            end = span_end
        rest += f"{self.size - end}x"
        self.signature_format = f"=8s4x{rest}"
        self.signature: tuple[bytes, ...] = Struct(self.signature_format).unpack(record)
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
        fields_struct = Struct(f"{value_code}{self.size - end}x")
        self.unpack_fields = fields_struct.unpack_from
        self.iter_fields = fields_struct.iter_unpack

    def make_values(self, rows: list[tuple[Any, ...]]) -> list[Any]:
        """Return the values of records from their fields."""
        return self._build(rows) if self._build else rows


class _Groups(dict["tuple[int, ...]", "list[int]"]):
    """Hold the indices of records by what tells them apart."""

    def __missing__(self, key: tuple[int, ...]) -> list[int]:
        indices: list[int] = []
        self[key] = indices
        return indices


class _KnownLayouts:
    """Hold the layouts of records whose size, type and flags are the same.

    forms: for each form of their signatures the Struct that reads it, and the layouts by their
    signatures. offsets: of the bytes of the record's header and of all these signatures.
    """

    __slots__ = ("forms", "offsets", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.forms: list[tuple[Struct, Layouts]] = []
        self.offsets = [*range(HEADER)]

    def add(self, layout: RecordLayout) -> None:
        """Add the layout of a record that none of the others fits."""
        offsets = sorted({*self.offsets, *layout.signature_offsets})
        if offsets != self.offsets:
            self.offsets = offsets
        for form, layouts in self.forms:
            if form.format == layout.signature_format:
                layouts[layout.signature] = layout
                return
        self.forms.append((Struct(layout.signature_format), {layout.signature: layout}))
        # A record may have several of these signatures: the longest says most of it.
        self.forms.sort(key=lambda item: -sum(map(len, next(iter(item[1])))))


class DumpDecoder:
    """Decode the datagrams of dumps of one kind, and learn their shapes on the way.

    head: (type, flags) of their records; learn: returns a RecordLayout for a record, or None.
    """

    __slots__ = ("_by_head", "_head", "_learn")

    def __init__(
        self, head: tuple[int, int], learn: Callable[[bytes], RecordLayout | None]
    ) -> None:
        self._head = head
        self._learn = learn
        # By the bytes of size, type and flags.
        self._by_head: dict[bytes, _KnownLayouts] = {}

    def decode_values(self, datagram: Bytes, seq: int) -> list[Any] | None:
        """Return the values of all records; None if the datagram holds anything but records of this
        dump whose shape is known or can be learnt.
        """
        data = bytes(datagram)  # is read faster than a memoryview
        values = self._decode_sized(data, seq)
        return self._decode_mixture(data, seq) if values is None else values

    def decode_dumps(self, data: bytes, sizes: list[int], seq: int) -> list[list[Any]] | None:
        """Return as decode_values does, but the values of several dumps, whose records are joined.
        sizes: the bytes of each dump.
        """
        values = self._decode_sized(data, seq)
        size = len(data) // len(values) if values else 1
        dumps = []
        start = 0
        for length in sizes:
            end = start + length
            if values is None:
                found = self.decode_values(data[start:end], seq)
            else:
                found = None if length % size else values[start // size : end // size]
            if found is None:
                return None
            dumps.append(found)
            start = end
        return dumps

    def _decode_sized(self, data: bytes, seq: int) -> list[Any] | None:
        """Return as decode_values does; None also if the records are few, or of several sizes.

        Each byte of a signature is compared in all records at once. Where records differ, these
        bytes tell their shapes apart.
        """
        first = self._find_layout(data, 0, seq)
        count, rest = divmod(len(data), first.size) if first else (0, 0)
        if not first or rest or count < MIN_BULK_RECORDS:
            return None
        size = first.size
        known = self._by_head[data[:8]]
        offsets = known.offsets
        columns = []
        for offset in offsets:
            column = data[offset::size]
            if column != column[:1] * count:
                if offset < HEADER:
                    return None
                columns.append(column)
        if not columns:
            return first.make_values(list(first.iter_fields(data)))
        groups = _Groups()
        for index, key in enumerate(zip(*columns)):
            groups[key].append(index)
        values: list[Any] = [None] * count
        for indices in groups.values():
            layout = self._find_layout(data, indices[0] * size, seq)
            if layout is None:
                return None
            if known.offsets is not offsets:  # a layout was learnt that needs more of them
                return self._decode_sized(data, seq)
            unpack = layout.unpack_fields
            rows = [unpack(data, index * size) for index in indices]
            for index, value in zip(indices, layout.make_values(rows)):
                values[index] = value
        return values

    def _decode_mixture(self, datagram: bytes, seq: int) -> list[Any] | None:
        """Return as decode_values does. Records of one layout are built together."""
        groups: dict[RecordLayout, tuple[list[int], list[tuple[Any, ...]]]] = {}
        offset = count = 0
        end = len(datagram)
        while offset < end:
            layout = self._find_layout(datagram, offset, seq)
            if layout is None:
                return None
            group = groups.get(layout)
            if group is None:
                group = groups[layout] = ([], [])
            group[0].append(count)
            group[1].append(layout.unpack_fields(datagram, offset))
            offset += layout.size
            count += 1
        values: list[Any] = [None] * count
        for layout, (places, rows) in groups.items():
            for place, value in zip(places, layout.make_values(rows)):
                values[place] = value
        return values

    def _find_layout(self, datagram: bytes, offset: int, seq: int) -> RecordLayout | None:
        """Return the layout of the record at `offset`, which is learnt if it is new; None if the
        record is not part of this dump or cannot be learnt.
        """
        rest = len(datagram) - offset
        if rest < HEADER:
            return None
        head, record_seq = _HEAD.unpack_from(datagram, offset)
        if record_seq != seq:
            return None
        known = self._by_head.get(head)
        if known:
            if known.size > rest:
                return None
            for form, layouts in known.forms:
                layout: RecordLayout | None = layouts.get(form.unpack_from(datagram, offset))
                if layout is not None:
                    return layout
        size, kind, flags = _SIZE_AND_TYPE.unpack(head)
        if (kind, flags) != self._head or not HEADER <= size <= rest or size & 3:
            return None
        return self._learn_layout(head, datagram[offset : offset + size])

    def _count_layouts(self) -> int:
        return sum([len(each) for known in self._by_head.values() for _, each in known.forms])

    def _learn_layout(self, head: bytes, record: bytes) -> RecordLayout | None:
        layout = self._learn(record) if self._count_layouts() < _SHAPES else None
        if layout is not None:
            self._by_head.setdefault(head, _KnownLayouts(layout.size)).add(layout)
        return layout


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
