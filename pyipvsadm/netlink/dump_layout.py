"""Dumps read a datagram at a time.

Owns: where the values of a dump's records stand, and how they are read out of many records at once.
Must never know: what a value means (netlink/codec.py), sockets.

How it works. A kernel writes the records of a dump alike: what stands where in one stands there in
the next. A record is walked once, attribute by attribute, which gives the offset of every header
and value; a Struct over those offsets then reads records of that shape. A record has a shape when
it has its size, and the same bytes at its head and at the headers of what can move the rest: the
attributes whose length or presence differ (the caller names them; all others are written always and
have one size). What has no known shape is left to the walk. Shapes outlive the dump they were
learnt in: only the sequence number differs from one dump to the next.
"""

from __future__ import annotations

from struct import Struct

from pyipvsadm.netlink.messages import HEADER, TYPE_MASK

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
    """The shape of one record (a whole message): `size` bytes, and its fields in the order they
    stand in.
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
        """moving: the attributes that can move the rest. given: values that belong to the shape.

        build: makes values of many records' fields, which else stay the tuples they are.
        LookupError when a field is missing, too short, or out of its order, or a given value is
        another.
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
        """What its records are, None when one of them has another shape or sequence number."""
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
    """Reads the datagrams of dumps of one kind, and learns their shapes as it goes.

    head: (type, flags) of their records; learn: a Layout for a record, or None.
    """

    __slots__ = ("_head", "_layouts", "_learn")

    def __init__(
        self, head: tuple[int, int], learn: Callable[[bytes], RecordLayout | None]
    ) -> None:
        self._head = head
        self._learn = learn
        self._layouts: list[RecordLayout] = []

    def decode_values(self, datagram: Bytes, seq: int) -> list[Any] | None:
        """The values of all records; None when anything in it is not a record of that dump whose
        shape can be learnt.
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
        """Of the record there; 0 when it is not one of this dump."""
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
    """(path, offset of the payload, its length) of every attribute. LookupError where the bytes are
    no attributes.
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
