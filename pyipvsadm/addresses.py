"""Read and write addresses and ports: text to bytes and back.

Owns: the texts that 1.31 accepts as an address (ipvsadm.c: parse_service, parse_netmask,
parse_fwmark, string_to_number) and the text that it writes (addrport_to_anyname). Must never know:
options, services, backends.

`_socket` is the C module beneath `socket`, whose import would cost every start 6 ms.
"""

from __future__ import annotations

import _socket
from _socket import inet_ntop
from struct import Struct

from pyipvsadm.model import AF_INET, AF_INET6, HOST_MASK4, HOST_PREFIX6, PROTOCOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from pyipvsadm.model import Row, Service
    from pyipvsadm.resolver import Resolver

    Key = TypeVar("Key")

    # (family, address, port, protocol) -> HOST:PORT
    EndpointFormatter = Callable[[int, bytes, int, int], str]

SPACES = " \t\n\v\f\r"  # isspace() in the C locale
INT_MAX = 0x7FFFFFFF
LONG_MAX = 0x7FFFFFFFFFFFFFFF


def parse_leading_int(text: str) -> tuple[int, str]:
    """Parse a number as strtol(text, &end, 10) does: return it, clamped to 64 bits, and the text
    after it (all of the text if there is no number).
    """
    body = text.lstrip(SPACES)
    sign = body[:1] if body[:1] in ("+", "-") else ""
    digits = len(sign)
    while digits < len(body) and body[digits] in "0123456789":
        digits += 1
    if digits == len(sign):
        return 0, text
    # int() refuses more than 4300 digits, and a number of more than 20 digits is clamped anyway.
    significant = body[len(sign) : digits].lstrip("0")
    number = LONG_MAX + 1 if len(significant) > 20 else int(significant or "0")
    number = max(-number, -LONG_MAX - 1) if sign == "-" else min(number, LONG_MAX)
    return number, body[digits:]


def parse_int(text: str, low: int, high: int) -> int:
    """Parse a decimal number from low to high; return -1 if the text is none (string_to_number).
    low must not be negative.
    """
    value, rest = parse_leading_int(text)
    return value if text and not rest and low <= value <= high else -1


def parse_atoi(text: str) -> int:
    """Parse a number as atoi does, stored in an unsigned 32-bit field."""
    return parse_leading_int(text)[0] & 0xFFFFFFFF


def parse_ipv4(text: str) -> bytes | None:
    """Parse an IPv4 address as inet_aton does: shortened, octal and hexadecimal forms too."""
    try:
        return _socket.inet_aton(text)
    except (OSError, ValueError):
        # Python raises ValueError for a NUL, and for text that cannot be encoded in UTF-8.
        return None


def parse_address(family: int, text: str) -> bytes | None:
    """Parse an address as inet_pton does; return None if the text is no address of the family."""
    try:
        return _socket.inet_pton(family, text)
    except (OSError, ValueError):
        return None


def format_address(family: int, addr: bytes) -> str:
    """Format an address as inet_ntop does."""
    return _socket.inet_ntop(family, addr)


def format_endpoint(family: int, host: str, port: str | int) -> str:
    """Format HOST:PORT, an IPv6 host in brackets (also if it is a name: addrport_to_anyname)."""
    return f"{host}:{port}" if family == AF_INET else f"[{host}]:{port}"


class Endpoint:
    """Hold a parsed endpoint: family, addr, and port or None if the text has no port."""

    __slots__ = ("addr", "family", "port")

    def __init__(self, family: int, addr: bytes, port: int | None) -> None:
        self.family = family
        self.addr = addr
        self.port = port


def parse_endpoint(text: str, protocol: int, names: Resolver) -> Endpoint | None:
    """Parse HOST[:PORT], [IPV6]:PORT or an IPv6 address without port, as 1.31 does; return None if
    the text is none of them.

    The peculiarities of 1.31 are kept (ipvsadm.c: parse_service): digits alone are no address,
    [IPV6] needs a port, and the port of an IPv4 address or a name in brackets is ignored.
    """
    if not text or (text.isascii() and text.isdigit()):
        return None
    port = None
    if text[0] == "[":
        host, bracket, port = text[1:].partition("]")
        if not bracket or port[:1] != ":":
            return None
        port = port[1:]
    else:
        host = text
    # parse_address raises and catches an exception for other text, which is slow: look first.
    addr = parse_address(AF_INET6, host) if host.count(":") > 1 else None
    if addr is not None:
        family = AF_INET6
    else:
        host, colon, port = host.rpartition(":")
        if not colon:
            host, port = port, None
        family = AF_INET
        addr = parse_ipv4(host) or names.find_host(host)
        if addr is None:
            return None
    if port is None:
        return Endpoint(family, addr, None)
    value: int | None = parse_int(port, 0, 65535)
    if value == -1:
        value = names.find_port(port, protocol)
        if value is None:
            return None
    return Endpoint(family, addr, value)


def parse_mask(text: str, names: Resolver) -> int | None:
    """Parse an IPv4 netmask, dotted or a host name, as a number (parse_netmask)."""
    addr = parse_ipv4(text) or names.find_host(text)
    return None if addr is None else int.from_bytes(addr, "big")


# Entries of a text cache before it is emptied. Equal prefixes mostly follow each other in a table, so
# that fewer suffice.
CACHE_LIMIT = 1 << 16
PREFIX_LIMIT = 1 << 12


class TextCache(dict["Key", str]):
    """Map what a text is made from to the text, made once. `make` may raise for a key without one.
    With more than `limit` texts it starts anew, so that memory does not grow with a listing.
    """

    def __init__(self, make: Callable[[Key], str], limit: int) -> None:
        super().__init__()
        self._make = make
        self.limit = limit

    def __missing__(self, key: Key) -> str:
        if len(self) > self.limit:
            self.clear()
        text = self[key] = self._make(key)
        return text


def _format_prefix(network: bytes) -> str:
    """Return the first three bytes of an IPv4 address as text."""
    first, second, third = network
    return f"{first}.{second}.{third}."


# Many addresses share a prefix, and inet_ntop takes three times as long as a lookup.
PREFIX_TEXTS = TextCache(_format_prefix, PREFIX_LIMIT)


def format_ipv6_prefix(prefix: bytes) -> str:
    """Return the text of IPv6 addresses up to their last group of digits, which is not zero; "" if
    the last group is not written as one (::ffff:10.0.0.1).
    """
    text = inet_ntop(AF_INET6, prefix + b"\xff\xff")
    return text[:-4] if text.endswith(":ffff") and "." not in text else ""


# A zero at the end may be part of "::", so that addresses with it are left to inet_ntop.
PREFIX6_TEXTS = TextCache(format_ipv6_prefix, PREFIX_LIMIT)


def format_ipv6(addr: bytes) -> str:
    """Format an IPv6 address as inet_ntop does."""
    prefix = PREFIX6_TEXTS[addr[:14]]
    group = addr[14] << 8 | addr[15]
    return f"{prefix}{group:x}" if prefix and group else inet_ntop(AF_INET6, addr)


def format_numeric(family: int, addr: bytes, port: int, _protocol: int = 0) -> str:
    """Format HOST:PORT in numbers."""
    return (
        f"{PREFIX_TEXTS[addr[:3]]}{addr[3]}:{port}"
        if family == AF_INET
        else f"[{format_ipv6(addr)}]:{port}"
    )


def format_service_key(af: int, protocol: int, addr: bytes, port: int, fwmark: int) -> str:
    """Return the name of a service as listings show it, by Service.key(): TCP 10.0.0.1:80."""
    if fwmark:
        return f"FWM {fwmark}{' IPv6' if af == AF_INET6 else ''}"
    return f"{PROTOCOLS.get(protocol, protocol)} {format_numeric(af, addr, port)}"


def format_netmask(family: int, netmask: int) -> str:
    """Format the netmask of persistence, "" if it is the default. IPv4 dotted, IPv6 the prefix
    length.
    """
    if family == AF_INET6:
        return "" if netmask == HOST_PREFIX6 else str(netmask)
    return "" if netmask == HOST_MASK4 else format_address(AF_INET, netmask.to_bytes(4, "big"))


_NO_LIMITS: dict[int, int | None] = {AF_INET: None, AF_INET6: None}


class EndpointTexts:
    """Format the endpoints of real servers, each in its service's protocol; ask for each name once.

    Numbers are written anew each time: to remember them costs more. start, width: of the text,
    which is padded to the width. limits: characters of a name, by family.
    """

    def __init__(
        self,
        endpoint: EndpointFormatter,
        start: str = "",
        width: int = 0,
        limits: Mapping[int, int | None] = _NO_LIMITS,
    ) -> None:
        self._endpoint = endpoint
        self._start = start
        self._width = width
        self._limits = limits
        self._known: dict[int, _KnownTexts] = {}

    def format_tables(self, tables: list[tuple[Service, list[Row]]]) -> list[str]:
        """Return a text a row, for the servers of one service after the other."""
        if self._endpoint is format_numeric:
            rows = [row for _, servers in tables for row in servers]
            return _format_numeric_rows(rows, self._start, self._width)
        return [
            text for service, rows in tables for text in self._format_names(service.protocol, rows)
        ]

    def _format_names(self, protocol: int, rows: list[Row]) -> list[str]:
        known = self._known.get(protocol)
        if known is None:
            known = self._known[protocol] = _KnownTexts(
                self._endpoint, protocol, self._start, self._width, self._limits
            )
        return [known[row[0] + row[1]] for row in rows]


def _format_numeric_rows(rows: list[Row], start: str, width: int) -> list[str]:
    places = [row[0] + row[1] for row in rows]
    packed = b"".join(places)
    if len(packed) == len(rows) * PACKED_IPV4.size:
        return format_packed_ipv4(packed, start, width)
    is_v4 = [len(place) == PACKED_IPV4.size for place in places]
    v4 = b"".join([place for place, chosen in zip(places, is_v4) if chosen])
    v6 = b"".join([place for place, chosen in zip(places, is_v4) if not chosen])
    texts4 = iter(format_packed_ipv4(v4, start, width))
    texts6 = iter(format_packed_ipv6(v6, start, width))
    return [next(texts4 if chosen else texts6) for chosen in is_v4]


# An address up to its last octet (IPv6: group of four digits), this octet or group, and the port.
PACKED_IPV4 = Struct(">3sBH")
PACKED_IPV6 = Struct(">14sHH")
# The texts of 0 to 255; made for the first addresses that need them.
_OCTETS: list[str] = []


def format_packed_ipv4(packed: bytes, start: str, width: int) -> list[str]:
    """Format many HOST:PORT as format_numeric does, after `start` and padded to the width. packed:
    address and port of each, in network order.
    """
    if not _OCTETS:
        _OCTETS.extend(map(str, range(256)))
    prefixes, octets = PREFIX_TEXTS, _OCTETS
    return [
        f"{start}{prefixes[prefix]}{octets[octet]}:{port}".ljust(width)
        for prefix, octet, port in PACKED_IPV4.iter_unpack(packed)
    ]


def format_packed_ipv6(packed: bytes, start: str, width: int) -> list[str]:
    """Format as format_packed_ipv4 does."""
    prefixes = PREFIX6_TEXTS
    return [
        (
            f"{start}[{prefixes[prefix]}{group:x}]:{port}"
            if group and prefixes[prefix]
            else f"{start}[{inet_ntop(AF_INET6, prefix + group.to_bytes(2, 'big'))}]:{port}"
        ).ljust(width)
        for prefix, group, port in PACKED_IPV6.iter_unpack(packed)
    ]


class _KnownTexts(dict[bytes, str]):
    """Cache the text of an address with its port. Nothing here leads back to its EndpointTexts: the
    program runs without a garbage collector.
    """

    def __init__(
        self,
        endpoint: EndpointFormatter,
        protocol: int,
        start: str,
        width: int,
        limits: Mapping[int, int | None],
    ) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._protocol = protocol
        self._start = start
        self._width = width
        self._limits = limits

    def __missing__(self, place: bytes) -> str:
        if len(self) > CACHE_LIMIT:
            self.clear()
        family = AF_INET if len(place) == 6 else AF_INET6
        name = self._endpoint(family, place[:-2], place[-2] << 8 | place[-1], self._protocol)
        text = f"{self._start}{name[: self._limits[family]]}".ljust(self._width)
        self[place] = text
        return text
