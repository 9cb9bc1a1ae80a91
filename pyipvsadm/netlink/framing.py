"""Pack and parse generic netlink messages, sans-I/O: headers, attributes, the one question to the
controller.

Owns: the framing (uapi netlink.h, genetlink.h). Must never know: sockets, the attributes of IPVS
(attributes.py).

A message is nlmsghdr (length, type, flags, sequence, port id), genlmsghdr (command, version,
reserved) and attributes (length, type, payload padded to 4 bytes), which may be nested; all in the
machine's byte order.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# nlmsghdr types and flags
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 1
NLM_F_MULTI = 2
NLM_F_ACK = 4
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300

# The controller of generic netlink, which knows the ids of the other families.
GENL_ID_CTRL = 16
CTRL_CMD_GETFAMILY = 3
CTRL_ATTR_FAMILY_ID = 1
CTRL_ATTR_FAMILY_NAME = 2

FAMILY_NAME = "IPVS"
FAMILY_VERSION = 1

# The largest errno (err.h); a damaged answer may claim a larger one.
MAX_ERRNO = 4095
# NLA_TYPE_MASK: the type without the bits NLA_F_NESTED and NLA_F_NET_BYTEORDER.
TYPE_MASK = 0x3FFF

_HEADER = Struct("=IHHIIBBH")
_NLMSGHDR = Struct("=IHHII")
_NLATTR = Struct("=HH")
_U16 = Struct("=H")
_S32 = Struct("=i")

# The end of a dump: nlmsghdr, whose port id is skipped, and an errno.
_DONE = Struct("=IHHI4xi")

HEADER = _HEADER.size  # 20
FRAME = Struct("=8sI8s")
DONE = _DONE.size  # 20


class WireError(ValueError):
    """Report bytes that are no message of the expected kind."""


def pack_attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute: header, payload, padding to 4 bytes."""
    size = 4 + len(payload)
    return _NLATTR.pack(size, kind) + payload + bytes(-size % 4)


def pack_message(family: int, command: int, flags: int, seq: int, payload: bytes) -> bytes:
    """Return a complete request of a generic netlink family; port id 0: the kernel fills in the
    sender's.
    """
    return (
        _HEADER.pack(HEADER + len(payload), family, flags, seq, 0, command, FAMILY_VERSION, 0)
        + payload
    )


def split_header(family: int, command: int, flags: int, size: int) -> tuple[bytes, bytes]:
    """Return the header of a request with `size` bytes of payload: the bytes before its sequence
    number, and those after it (FRAME packs the three).
    """
    header = _HEADER.pack(HEADER + size, family, flags, 0, 0, command, FAMILY_VERSION, 0)
    return header[:8], header[12:]


def add_ack(request: bytes) -> bytes:
    """Return the same request with the flag that asks for an acknowledgement (nlmsg_flags are at
    byte 6).
    """
    return request[:6] + _U16.pack(_U16.unpack_from(request, 6)[0] | NLM_F_ACK) + request[8:]


def pack_family_request(seq: int) -> bytes:
    """Return the request to the controller for the id of the IPVS family, which the kernel assigns
    at run time.
    """
    name = pack_attribute(CTRL_ATTR_FAMILY_NAME, FAMILY_NAME.encode() + b"\0")
    return pack_message(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_REQUEST, seq, name)


class Message:
    """Hold a received message: the header's fields, and the bytes after nlmsghdr."""

    __slots__ = ("body", "flags", "pid", "seq", "type")

    def __init__(self, kind: int, flags: int, seq: int, pid: int, body: bytes) -> None:
        self.type = kind
        self.flags = flags
        self.seq = seq
        self.pid = pid
        self.body = body

    def read_errno(self) -> int:
        """Return the errno of NLMSG_ERROR or NLMSG_DONE: positive, or 0 for an acknowledgement (and
        for a DONE without payload).
        """
        if len(self.body) < 4:
            if self.type == NLMSG_ERROR:
                raise WireError("an error message without its errno")
            return 0
        value: int = _S32.unpack_from(self.body)[0]
        return min(abs(value), MAX_ERRNO)

    def parse_attributes(self) -> dict[int, bytes]:
        """Return {number: payload} of the attributes after genlmsghdr."""
        if len(self.body) < 4:
            raise WireError("a message without its generic netlink header")
        return parse_attributes(self.body[4:])


def iter_messages(datagram: bytes) -> Iterator[Message]:
    """Yield the messages of a datagram."""
    offset = 0
    end = len(datagram)
    while offset < end:
        if end - offset < _NLMSGHDR.size:
            raise WireError(f"a message header cut after {end - offset} bytes")
        size, kind, flags, seq, pid = _NLMSGHDR.unpack_from(datagram, offset)
        if size < _NLMSGHDR.size or size > end - offset:
            raise WireError(f"a message of {size} bytes, but {end - offset} are left")
        yield Message(kind, flags, seq, pid, datagram[offset + 16 : offset + size])
        offset += size + 3 & ~3


def is_dump_end(datagram: bytes | memoryview, seq: int) -> bool:
    """Return True if a datagram of DONE bytes ends a dump without an errno and without an
    interruption. For any other datagram the caller uses iter_messages.
    """
    return _DONE.unpack(datagram) == (DONE, NLMSG_DONE, NLM_F_MULTI, seq, 0)


def parse_attributes(data: bytes) -> dict[int, bytes]:
    """Return {number: payload}; of several attributes with one number the last counts, as in the
    kernel.
    """
    payloads = {}
    offset = 0
    end = len(data)
    while offset < end:
        if end - offset < 4:
            raise WireError(f"an attribute header cut after {end - offset} bytes")
        size, kind = _NLATTR.unpack_from(data, offset)
        if size < 4 or size > end - offset:
            raise WireError(f"an attribute of {size} bytes, but {end - offset} are left")
        payloads[kind & TYPE_MASK] = data[offset + 4 : offset + size]
        offset += size + 3 & ~3
    return payloads


def read_family(reply: Message) -> int:
    """Return the family's id from the controller's answer."""
    data = reply.parse_attributes().get(CTRL_ATTR_FAMILY_ID, b"")
    if len(data) < 2:
        raise WireError("a family without its id")
    value: int = _U16.unpack_from(data)[0]
    return value
