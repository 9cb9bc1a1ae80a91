"""Render the plain numeric listing from /proc/net/ip_vs: one read instead of a dump for each
service.

Owns: the lines of that file (ip_vs_ctl.c: ip_vs_info_seq_show). Must never know: backends, who
reads the file.

The file has the servers of the plain listing, and from the column of methods on, a server's line is
1.31's own text. For services by an address and without flags, which are most, the file is complete
too. The other services lack facts or show them differently (families of marks, flags of schedulers,
seconds): these come from their records. If the parts do not fit together, the answer is None, and
dumps serve instead. A method without a name in the kernel is Masq in the file.

The lines of a service become one text, its block; blocks sort as the listing does. The lines of all
servers are made at once, and those of services mostly by looking up the text that was made for the
same slice before.
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
_SERVER = "\0"  # in a block, stands for a line end and an arrow
# of protocols in blocks: of one length, and in the order of the numbers
_NAMES = {TCP: "TCP  ", UDP: "UDP  ", SCTP: "ZZZ  "}

# Of a service, "TCP  0A0001F6:0050 wlc ", "TCP  [2001:0db8:...:0001]:0050 wlc " or "FWM  0000002A
# wlc ": where the address starts, where its prefix, the address and the port end, and (in IPv6) where
# its last group of digits and the port start.
_ADDRESS = 5
_V4_PREFIX, _V4_COLON, _V4_END = 11, 13, 18
_V6_PREFIX, _V6_GROUP, _V6_ADDRESS, _V6_PORT, _V6_END = 40, 41, 45, 47, 51
_MARK_END = 13
# Of a server, "C0A80001:1F90      Masq    1 ..." or "[2001:...:0001]:0050      Masq    1 ...": where
# the port ends, and the blank before the method, the last of six after the port.
_V4_PORT_END, _V4_METHOD = 13, 18
_V6_PORT_END, _V6_METHOD = 46, 51
_METHOD_WIDTH = 8  # with this blank
# The marks between the digits of address and port, by their offsets.
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
    others = {_format_block_name(service): service for service in overview.other_services}
    if len(others) != len(overview.other_services):
        return None  # a mark is there in both families, which the file does not tell apart
    blocks = _split_blocks(overview.text)
    heads = []
    lines: list[str] = []
    counts = []
    for block in _sort_blocks(blocks) if sort else blocks:
        head, *servers = block.split(_SERVER)
        heads.append(head)
        lines += _sort_lines(servers) if sort and len(servers) > 1 else servers
        counts.append(len(servers))
    headings = _format_headings(heads, others, overview.simple_keys)
    return classic.add_lines(headings, _format_servers(lines), counts)


def _split_blocks(text: bytes) -> list[str]:
    """Return a block for each service, in the file's order. Raise ValueError if the file has
    another form.
    """
    lines = text.decode("ascii", "replace").split("\n", 3)
    if lines[1:3] != _HEADINGS or _SERVER in lines[3]:
        raise ValueError(lines[:3])
    rest = "\n" + lines[3]
    if rest[-1] != "\n":
        raise ValueError(rest[-80:])
    if "SCTP" in rest:
        rest = rest.replace("\nSCTP  ", f"\n{_NAMES[SCTP]}")
    first, *blocks = rest[:-1].replace("\n" + _ARROW, _SERVER).split("\n")
    if first:  # servers of nobody
        raise ValueError(first)
    return blocks


def _format_block_name(service: Service) -> str:
    """Return the part of a block that names its service: all before the scheduler."""
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
    simple = _SimpleHeadings()
    headings = []
    names = []
    for head in heads:
        is_v4 = head[_V4_COLON] == ":"
        end = _V4_END if is_v4 else _V6_END if head[_ADDRESS] == "[" else _MARK_END
        service = others.pop(head[:end], None) if others else None
        if service:
            headings.append(classic.format_heading(service, format_numeric))
        else:
            names.append(head[:end])
            headings.append(simple.format_ipv4(head) if is_v4 else simple.format_ipv6(head))
    if others or not _match_names(names, simple_keys):
        raise LookupError(names[:1])
    return headings


class _SimpleHeadings:
    """Format services that the file shows completely. Raise ValueError for other text."""

    def __init__(self) -> None:
        self._prefixes, self._places, self._prefixes6, self._ports, self._tails = (
            TextCache(make, CACHE_LIMIT)
            for make in (_format_prefix, _format_place, _format_prefix6, _format_port, _format_tail)
        )

    def format_ipv4(self, head: str) -> str:
        place = self._places[head[_V4_PREFIX:_V4_END]]
        return f"{self._prefixes[head[:_V4_PREFIX]]}{place}{self._tails[head[_V4_END:]]}"

    def format_ipv6(self, head: str) -> str:
        text = self._prefixes6[head[:_V6_PREFIX]]
        group = head[_V6_GROUP:_V6_ADDRESS].lstrip("0")
        if not (text and group):
            addr = bytes.fromhex(head[_ADDRESS + 1 : _V6_ADDRESS].replace(":", ""))
            text, group = f"{_get_protocol(head)}[{format_ipv6(addr)}", ""
        return f"{text}{group}]:{self._ports[head[_V6_PORT:_V6_END]]}{self._tails[head[_V6_END:]]}"


def _match_names(names: list[str], simple_keys: list[tuple[bytes, bytes, bytes]]) -> bool:
    """Return True if the names are those of exactly these services."""
    keys = sorted(map(b"".join, simple_keys))
    v4 = sorted([name for name in names if len(name) == _V4_END])
    v6 = sorted([name for name in names if len(name) == _V6_END])
    return (
        len(v4) + len(v6) == len(keys)
        and _format_keys(v4, _V4_END, _V4_MARKS) == b"".join([k for k in keys if len(k) == 8]).hex()
        and _format_keys(v6, _V6_END, _V6_MARKS)
        == b"".join([k for k in keys if len(k) == 20]).hex()
    )


def _format_keys(names: list[str], width: int, marks: dict[int, str]) -> str:
    """Return the keys of services in hexadecimal, from their names, which are as wide."""
    digits = _remove_marks(names, width, {_ADDRESS + at: mark for at, mark in marks.items()})
    for number, protocol in _NAMES.items():
        digits = digits.replace(protocol, number.to_bytes(2, byteorder).hex())
    return digits.lower()


def _remove_marks(texts: list[str], width: int, marks: dict[int, str]) -> str:
    """Return the texts, joined, without the marks at these offsets. Raise ValueError if a text has
    another width or other marks.
    """
    joined = "".join(texts)
    if len(joined) != len(texts) * width or any(
        joined[at::width] != mark * len(texts) for at, mark in marks.items()
    ):
        raise ValueError(joined[:width])
    for mark in set(marks.values()):
        joined = joined.replace(mark, "")
    if len(joined) != len(texts) * (width - len(marks)):
        raise ValueError(joined[:width])
    return joined


def _sort_blocks(blocks: list[str]) -> list[str]:
    """Return the blocks in 1.31's order: IPv4 addresses, IPv6 addresses, marks."""
    blocks = sorted(blocks)
    v4 = [block for block in blocks if block[_V4_COLON] == ":"]
    v6 = [block for block in blocks if block[_ADDRESS] == "["]
    marks = [block for block in blocks if block.startswith("FWM")]
    if len(v4) + len(v6) + len(marks) != len(blocks):
        raise ValueError(blocks[:1])
    addresses = [block[_ADDRESS:_V4_COLON] for block in v4]
    if v4 and int(max(addresses), 16) - int(min(addresses), 16) >= sorting.HALF:
        v4 = _sort_by_protocol(v4)
    if not _sorts_as_text(v6, _ADDRESS + 1):
        v6 = _sort_by_protocol(v6)
    return [*v4, *v6, *marks]


def _sorts_as_text(texts: list[str], start: int) -> bool:
    """Return True if the IPv6 addresses that start at that offset sort as their digits do: each of
    their 32-bit words lies on one half of the circle.
    """
    firsts = {text[start : start + _WORDS_WIDTH : _WORD_STEP] for text in texts}
    return len({tuple([digit < "8" for digit in digits]) for digits in firsts}) < 2


def _sort_by_protocol(blocks: list[str]) -> list[str]:
    """Sort blocks, which are in the order of their digits, in 1.31's order."""
    return [
        block
        for name in _NAMES.values()
        for block in sorting.sort_circular(
            [block for block in blocks if block.startswith(name)],
            lambda block: _split_words(block[_ADDRESS:]),
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
    if text[0] != " " or not scheduler.isprintable():
        raise ValueError(text)
    return f" {scheduler}\n"


def _format_servers(lines: list[str]) -> list[str]:
    """Return the lines of servers from their text in the file. Raise ValueError if the file has
    another form.
    """
    v4 = [line for line in lines if line[8] == ":"]
    digits = _remove_marks([line[:_V4_PORT_END] for line in v4], _V4_PORT_END, _V4_MARKS)
    hosts = format_packed_ipv4(_parse_digits(digits), _ARROW, _WIDTH)
    texts = _add_counts(hosts, v4, _V4_METHOD)
    if len(v4) == len(lines):
        return texts
    v6 = [line for line in lines if line[8] != ":"]
    digits = _remove_marks([line[:_V6_PORT_END] for line in v6], _V6_PORT_END, _V6_MARKS)
    hosts = format_packed_ipv6(_parse_digits(digits), _ARROW, _WIDTH)
    texts4, texts6 = iter(texts), iter(_add_counts(hosts, v6, _V6_METHOD))
    return [next(texts4 if line[8] == ":" else texts6) for line in lines]


def _parse_digits(digits: str) -> bytes:
    """Parse hexadecimal digits. Raise ValueError for anything else, also for blanks, which
    bytes.fromhex passes over.
    """
    if digits and not digits.isalnum():
        raise ValueError(digits)
    return bytes.fromhex(digits)


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
    lines = sorted(lines)
    if lines[-1][0] != "[":
        if int(lines[-1][:8], 16) - int(lines[0][:8], 16) < sorting.HALF:
            return lines
    elif lines[0][0] == "[" and _sorts_as_text(lines, 1):
        return lines
    return sorting.sort_circular(lines, _split_words, _get_port)


def _split_words(text: str) -> tuple[int, ...]:
    """Return the 32-bit words of the address that the text starts with."""
    if text[0] == "[":
        digits = text[1:40].replace(":", "")
        return tuple(int(digits[at : at + 8], 16) for at in (0, 8, 16, 24))
    return (int(text[:8], 16),)


def _get_port(line: str) -> int:
    return int(line[42:46] if line[0] == "[" else line[9:13], 16)
