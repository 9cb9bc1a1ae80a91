"""Read and write addresses and ports: text to bytes and back.

Owns: what the reference takes for an address (ipvsadm.c: parse_service, parse_netmask,
parse_fwmark, string_to_number) and how it writes one (addrport_to_anyname). Must never know:
options, services, backends.

`_socket` is the C module beneath `socket`, which alone would cost a start 6 ms.
"""

from __future__ import annotations

import _socket
from _socket import inet_ntop

from pyipvsadm.model import AF_INET, AF_INET6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.resolver import Resolver

SPACES = " \t\n\v\f\r"  # isspace() in the C locale
INT_MAX = 0x7FFFFFFF
LONG_MAX = 0x7FFFFFFFFFFFFFFF


def parse_leading_int(text: str) -> tuple[int, str]:
    """strtol(text, &end, 10): the number, clamped to 64 bits, and what follows it (all of text when
    there is none).
    """
    body = text.lstrip(SPACES)
    sign = body[:1] if body[:1] in ("+", "-") else ""
    digits = len(sign)
    while digits < len(body) and body[digits] in "0123456789":
        digits += 1
    if digits == len(sign):
        return 0, text
    # int() refuses more than 4300 digits; past 20 the value is clamped anyway.
    significant = body[len(sign) : digits].lstrip("0")
    number = LONG_MAX + 1 if len(significant) > 20 else int(significant or "0")
    number = max(-number, -LONG_MAX - 1) if sign == "-" else min(number, LONG_MAX)
    return number, body[digits:]


def parse_int(text: str, low: int, high: int) -> int:
    """Read a decimal number from low to high; -1 when it is not one (string_to_number; low is never
    below 0).
    """
    value, rest = parse_leading_int(text)
    return value if text and not rest and low <= value <= high else -1


def parse_atoi(text: str) -> int:
    """atoi(text) as an unsigned 32-bit field keeps it."""
    return parse_leading_int(text)[0] & 0xFFFFFFFF


def parse_ipv4(text: str) -> bytes | None:
    """inet_aton: dotted numbers, also shortened, octal and hexadecimal ones."""
    try:
        return _socket.inet_aton(text)
    except (OSError, ValueError):  # ValueError: a NUL or what is no UTF-8
        return None


def parse_address(family: int, text: str) -> bytes | None:
    """inet_pton, None when text is no address of that family."""
    try:
        return _socket.inet_pton(family, text)
    except (OSError, ValueError):
        return None


def format_address(family: int, addr: bytes) -> str:
    """An address as inet_ntop writes it."""
    return _socket.inet_ntop(family, addr)


def format_endpoint(family: int, host: str, port: str | int) -> str:
    """HOST:PORT, the host in brackets when it is IPv6 (also when it is a name:
    addrport_to_anyname).
    """
    return f"{host}:{port}" if family == AF_INET else f"[{host}]:{port}"


class Endpoint:
    """What parse_service found: family, addr, and port or None when there was none."""

    __slots__ = ("addr", "family", "port")

    def __init__(self, family: int, addr: bytes, port: int | None) -> None:
        self.family = family
        self.addr = addr
        self.port = port


def parse_endpoint(text: str, protocol: int, names: Resolver) -> Endpoint | None:
    """Read HOST[:PORT], [IPV6]:PORT or a bare IPv6 address, as the reference does; None when it is
    none of them.

    Its oddities are kept (ipvsadm.c: parse_service): all digits are no address, [IPV6] needs a
    port, an IPv4 address or a name in brackets loses its port.
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
    # a refusal is an exception, which is dear
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
    """An IPv4 netmask, dotted or a host name, as a number (parse_netmask)."""
    addr = parse_ipv4(text) or names.find_host(text)
    return None if addr is None else int.from_bytes(addr, "big")


CACHE_LIMIT = 1 << 16  # names, and options; then they are forgotten


class _PrefixTexts(dict[bytes, str]):
    """Three bytes of an IPv4 address as text: many addresses have the same, and inet_ntop costs
    three times a look-up.
    """

    def __missing__(self, network: bytes) -> str:
        if len(self) > CACHE_LIMIT:
            self.clear()
        first, second, third = network
        text = self[network] = f"{first}.{second}.{third}."
        return text


PREFIX_TEXTS = _PrefixTexts()


def format_numeric(family: int, addr: bytes, port: int, _protocol: int = 0) -> str:
    """HOST:PORT in numbers."""
    return (
        f"{PREFIX_TEXTS[addr[:3]]}{addr[3]}:{port}"
        if family == AF_INET
        else f"[{inet_ntop(family, addr)}]:{port}"
    )
