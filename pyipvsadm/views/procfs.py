"""Render the plain numeric listing from /proc/net/ip_vs: one read instead of a dump for each
service.

Owns: the lines of that file (ip_vs_ctl.c: ip_vs_info_seq_show). Must never know: backends, who
reads the file.

The file has the servers of the plain listing, and from the column of methods on, a server's line is
1.31's own text. For services by an address and without flags, which are most, the file is complete
too. The other services lack facts or show them differently (families of marks, flags of schedulers,
seconds): these come from their records. If the services of both do not fit together, the answer is
None, and dumps serve instead; a server's text behind its method is not looked at. A method without
a name in the kernel is Masq in the file.

The lines of a service become one text, its block. Addresses and ports are read from the lines of all
services, and of all servers, at once; the text of a service is mostly looked up, by the slices of
its line. The lines of services sort as the listing does.
"""

from __future__ import annotations

from sys import byteorder

from pyipvsadm import sorting
from pyipvsadm.addresses import (
    CACHE_LIMIT,
    TextCache,
    format_ipv6,
    format_ipv6_prefix,
    format_numeric,
    format_packed_ipv4,
    format_packed_ipv6,
)
from pyipvsadm.model import AF_INET, SCTP, TCP, UDP
from pyipvsadm.views import classic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.model import ProcTable, Service

_HEADINGS = [
    "Prot LocalAddress:Port Scheduler Flags",
    "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn",
]
_METHODS = frozenset([f" {name:7}" for name in classic.METHODS.values()])
_ARROW = "  -> "
_SERVER = "\0"  # in a block, stands for the line end before a server
# of protocols in the text: of one length, and in the order of the numbers
_NAMES = {TCP: "TCP  ", UDP: "UDP  ", SCTP: "ZZZ  "}
_NAMES_BY_BYTES = {number.to_bytes(2, byteorder): name for number, name in _NAMES.items()}

# Of the lines "TCP  0A0001F6:0050 wlc ", "TCP  [2001:0db8:...:0001]:0050 wlc ", "FWM  0000002A wlc "
# and "  -> C0A80001:1F90      Masq    1 ...": where the address starts, where its prefix, the address
# and the port end, and (in IPv6) where its last group of digits and the port start.
_ADDRESS = 5
_V4_PREFIX, _V4_COLON, _V4_END = 11, 13, 18
_V6_PREFIX, _V6_GROUP, _V6_ADDRESS, _V6_PORT, _V6_END = 40, 41, 45, 47, 51
_MARK_END = 13
# Of a server: from the port's end to the blank before the method, the last of six; the width of
# this blank and the method.
_METHOD, _METHOD_WIDTH = 5, 8
# The marks between the digits of address and port, by their offsets from the address's start.
_V4_MARKS = {8: ":"}
_V6_MARKS = {0: "[", **dict.fromkeys(range(5, 40, 5), ":"), 40: "]", 41: ":"}
# Of a listing's line: an arrow, and address and port in 28 columns.
_WIDTH = 33
# The first digit of each of the four 32-bit words of an IPv6 address.
_WORD_STEP, _WORDS_WIDTH = 10, 31


def render_listing(overview: ProcTable, sort: bool) -> list[str] | None:
    """Return services with their servers as classic.Listing shows them, in parts; None if the file
    does not suffice.

    sort: in 1.31's order; else in the file's, which is that of the dumps.
    """
    try:
        return _render_listing(overview, sort)
    except (ValueError, LookupError):  # digits that are none, lines that end early
        return None


def _render_listing(overview: ProcTable, sort: bool) -> list[str] | None:
    if any(
        each.fwmark >= sorting.HALF or (not each.fwmark and each.protocol not in _NAMES)
        for each in overview.other_services
    ):
        return None  # a large mark may come before all others
    others = {_format_name(service): service for service in overview.other_services}
    if len(others) != len(overview.other_services):
        return None  # a mark is there in both families, which the file does not tell apart
    heads = []
    lines: list[str] = []
    counts = []
    for block in _split_blocks(overview.text):
        head, _, servers = block.partition(_SERVER)
        heads.append(head)
        if _SERVER in servers:
            several = servers.split(_SERVER)
            lines += _sort_lines(several) if sort else several
            counts.append(len(several))
        elif servers:
            lines.append(servers)
            counts.append(1)
        else:
            counts.append(0)
    headings = _format_headings(heads, others, overview.simple_keys)
    texts = classic.add_lines(headings, _format_servers(lines), counts)
    if not sort:
        return texts
    by_head = dict(zip(heads, texts))
    if len(by_head) < len(heads):
        raise LookupError(heads[:1])
    return [by_head[head] for head in _sort_heads(heads)]


def _split_blocks(text: bytes) -> list[str]:
    """Return the lines of each service with its servers, in the file's order. Raise ValueError if
    the file has another form.
    """
    parts = text.decode("ascii", "replace").split("\n", 3)
    if parts[1:3] != _HEADINGS or _SERVER in parts[3]:
        raise ValueError(parts[:3])
    rest = "\n" + parts[3]
    if rest[-1] != "\n":
        raise ValueError(rest[-80:])
    if "SCTP" in rest:
        rest = rest.replace("\nSCTP  ", f"\n{_NAMES[SCTP]}")
    first, *blocks = rest[:-1].replace("\n" + _ARROW, _SERVER + _ARROW).split("\n")
    if first:  # servers of nobody
        raise ValueError(first)
    return blocks


def _format_name(service: Service) -> str:
    """Return the part of a line that names its service: all before the scheduler."""
    if service.fwmark:
        return f"FWM  {service.fwmark:08X}"
    protocol = _NAMES[service.protocol]
    digits = service.addr.hex()
    if service.af == AF_INET:
        return f"{protocol}{digits.upper()}:{service.port:04X}"
    return f"{protocol}[{':'.join([digits[at : at + 4] for at in range(0, 32, 4)])}]:{service.port:04X}"


def _format_headings(
    heads: list[str], others: dict[str, Service], simple_keys: list[tuple[bytes, bytes, bytes]]
) -> list[str]:
    """Return the lines of services from their text in the file. others: the services that the text
    does not show completely, by their names. Raise LookupError if the file's services are not
    exactly these and those of simple_keys.
    """
    texts: list[str] = []
    simple = heads
    if others:
        known = [others.pop(_get_name(head), None) for head in heads]
        texts = [
            classic.format_heading(service, format_numeric) if service else "" for service in known
        ]
        simple = [head for head, text in zip(heads, texts) if not text]
    v4 = [head for head in simple if head[_V4_COLON] == ":"]
    v6 = [head for head in simple if head[_ADDRESS] == "["]
    if (
        others
        or len(v4) + len(v6) != len(simple)
        or not _match_keys(v4, _V4_END, _V4_MARKS, [key for key in simple_keys if len(key[1]) == 4])
        or not _match_keys(v6, _V6_END, _V6_MARKS, [key for key in simple_keys if len(key[1]) != 4])
    ):
        raise LookupError(heads[:1])
    texts4, texts6 = iter(_format_ipv4_headings(v4)), iter(_format_ipv6_headings(v6))
    return [
        text or next(texts4 if head[_V4_COLON] == ":" else texts6)
        for head, text in zip(heads, texts or [""] * len(heads))
    ]


def _get_name(head: str) -> str:
    end = _V4_END if head[_V4_COLON] == ":" else _V6_END if head[_ADDRESS] == "[" else _MARK_END
    return head[:end]


def _match_keys(
    heads: list[str], end: int, marks: dict[int, str], keys: list[tuple[bytes, bytes, bytes]]
) -> bool:
    """Return True if the lines are those of exactly the services with these keys."""
    if len(heads) != len(keys):
        return False
    packed = _pack_places(heads, end, marks)
    names = [head[:_ADDRESS] for head in heads]
    key_places = [addr + port for _, addr, port in keys]
    key_names = [_NAMES_BY_BYTES[protocol] for protocol, _, _ in keys]
    if packed == b"".join(key_places) and names == key_names:
        return True
    # A table that was resized between the file and the dump has another order.
    width = len(packed) // len(heads)
    places = [packed[start : start + width] for start in range(0, len(packed), width)]
    return sorted(zip(names, places)) == sorted(zip(key_names, key_places))


def _format_ipv4_headings(heads: list[str]) -> list[str]:
    prefixes, places, tails = (
        TextCache(make, CACHE_LIMIT) for make in (_format_prefix, _format_place, _format_tail)
    )
    return [
        f"{prefixes[head[:_V4_PREFIX]]}{places[head[_V4_PREFIX:_V4_END]]}{tails[head[_V4_END:]]}"
        for head in heads
    ]


def _format_ipv6_headings(heads: list[str]) -> list[str]:
    prefixes, ports, tails = (
        TextCache(make, CACHE_LIMIT) for make in (_format_prefix6, _format_port, _format_tail)
    )
    texts = []
    for head in heads:
        prefix = prefixes[head[:_V6_PREFIX]]
        group = head[_V6_GROUP:_V6_ADDRESS].lstrip("0")
        if not (prefix and group):
            addr = bytes.fromhex(head[_ADDRESS + 1 : _V6_ADDRESS].replace(":", ""))
            prefix, group = f"{_get_protocol(head)}[{format_ipv6(addr)}", ""
        texts.append(f"{prefix}{group}]:{ports[head[_V6_PORT:_V6_END]]}{tails[head[_V6_END:]]}")
    return texts


def _pack_places(lines: list[str], end: int, marks: dict[int, str]) -> bytes:
    """Return address and port of each line in network order. end: where the port ends. Raise
    ValueError if a line has another form.
    """
    joined = "".join([line[_ADDRESS:end] for line in lines])
    width = end - _ADDRESS
    if len(joined) != len(lines) * width or any(
        joined[at::width] != mark * len(lines) for at, mark in marks.items()
    ):
        raise ValueError(joined[:width])
    digits = joined.encode().translate(None, "".join(marks.values()).encode()).decode()
    # bytes.fromhex passes over blanks.
    if len(digits) != len(lines) * (width - len(marks)) or not (digits + "0").isalnum():
        raise ValueError(joined[:width])
    return bytes.fromhex(digits)


def _sort_heads(heads: list[str]) -> list[str]:
    """Return the lines of services in 1.31's order: IPv4 addresses, IPv6 addresses, marks."""
    heads = sorted(heads)
    v4 = [head for head in heads if head[_V4_COLON] == ":"]
    if len(v4) == len(heads):
        v6 = marks = []
    else:
        v6 = [head for head in heads if head[_ADDRESS] == "["]
        marks = [head for head in heads if head.startswith("FWM")]
    if len({head[_ADDRESS] < "8" for head in v4}) > 1:
        addresses = [int(head[_ADDRESS:_V4_COLON], 16) for head in v4]
        if max(addresses) - min(addresses) >= sorting.HALF:
            v4 = _sort_by_protocol(v4)
    if not _sorts_as_text(v6):
        v6 = _sort_by_protocol(v6)
    return [*v4, *v6, *marks]


def _sorts_as_text(lines: list[str]) -> bool:
    """Return True if the IPv6 addresses of the lines sort as their digits do: each of their 32-bit
    words lies on one half of the circle.
    """
    start = _ADDRESS + 1
    firsts = {line[start : start + _WORDS_WIDTH : _WORD_STEP] for line in lines}
    return len({tuple([digit < "8" for digit in digits]) for digits in firsts}) < 2


def _sort_by_protocol(heads: list[str]) -> list[str]:
    """Sort lines, which are in the order of their digits, in 1.31's order."""
    return [
        head
        for name in _NAMES.values()
        for head in sorting.sort_circular(
            [head for head in heads if head.startswith(name)],
            _split_words,
            lambda _: 0,  # Among equal addresses the ports stay in order.
        )
    ]


def _get_protocol(text: str) -> str:
    return "SCTP " if text.startswith(_NAMES[SCTP]) else text[:_ADDRESS]


def _format_prefix(text: str) -> str:
    """Return the first three bytes of an address: `TCP  0A0001` is "TCP  10.0.1."."""
    first, second, third = bytes.fromhex(text[_ADDRESS:])
    return f"{_get_protocol(text)}{first}.{second}.{third}."


def _format_place(text: str) -> str:
    """Return the last byte of an address and the port: F6:0050 is "246:80"."""
    return f"{int(text[:2], 16)}:{int(text[3:], 16)}"


def _format_prefix6(text: str) -> str:
    """Return an IPv6 address up to its last group of digits; "" if the text depends on this group
    (addresses.format_ipv6_prefix).
    """
    prefix = format_ipv6_prefix(bytes.fromhex(text[_ADDRESS + 1 :].replace(":", "")))
    return prefix and f"{_get_protocol(text)}[{prefix}"


def _format_port(text: str) -> str:
    return str(int(text, 16))


def _format_tail(text: str) -> str:
    """Return the text after the address of a service without flags: its scheduler."""
    (scheduler,) = text.split()
    if text[0] != " " or not (scheduler.isascii() and scheduler.isprintable()):
        raise ValueError(text)
    return f" {scheduler}\n"


def _format_servers(lines: list[str]) -> list[str]:
    """Return the lines of servers from their text in the file. Raise ValueError if the file has
    another form.
    """
    v4 = [line for line in lines if line[_V4_COLON] == ":"]
    hosts = format_packed_ipv4(_pack_places(v4, _V4_END, _V4_MARKS), _ARROW, _WIDTH)
    texts = _add_counts(hosts, v4, _V4_END + _METHOD)
    if len(v4) == len(lines):
        return texts
    v6 = [line for line in lines if line[_V4_COLON] != ":"]
    hosts = format_packed_ipv6(_pack_places(v6, _V6_END, _V6_MARKS), _ARROW, _WIDTH)
    texts4, texts6 = iter(texts), iter(_add_counts(hosts, v6, _V6_END + _METHOD))
    return [next(texts4 if line[_V4_COLON] == ":" else texts6) for line in lines]


def _add_counts(hosts: list[str], lines: list[str], method: int) -> list[str]:
    """Return lines of hosts, followed by the servers' own text. method: where it starts."""
    methods = {line[method : method + _METHOD_WIDTH] for line in lines}
    if not methods <= _METHODS:
        raise ValueError(methods)
    return [f"{host}{line[method:]}\n" for host, line in zip(hosts, lines)]


def _sort_lines(lines: list[str]) -> list[str]:
    """Sort the lines of servers in 1.31's order. Digits sort as their numbers do, unless two
    addresses are half the space apart.
    """
    ordered = sorted(lines)
    first, last = ordered[0], ordered[-1]
    if last[_ADDRESS] != "[":
        if int(last[_ADDRESS:_V4_COLON], 16) - int(first[_ADDRESS:_V4_COLON], 16) < sorting.HALF:
            return ordered
    elif first[_ADDRESS] == "[" and _sorts_as_text(ordered):
        return ordered
    # Of servers that are equal in all that is compared, the order of the table counts.
    return sorting.sort_circular(lines, _split_words, _get_port)


def _split_words(line: str) -> tuple[int, ...]:
    """Return the 32-bit words of a line's address."""
    if line[_ADDRESS] == "[":
        digits = line[_ADDRESS + 1 : _V6_ADDRESS].replace(":", "")
        return tuple(int(digits[at : at + 8], 16) for at in (0, 8, 16, 24))
    return (int(line[_ADDRESS:_V4_COLON], 16),)


def _get_port(line: str) -> int:
    if line[_ADDRESS] == "[":
        return int(line[_V6_PORT:_V6_END], 16)
    return int(line[_V4_COLON + 1 : _V4_END], 16)
