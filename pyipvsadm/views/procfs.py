"""Render the plain numeric listing from /proc/net/ip_vs: one read instead of a dump for each
service.

Owns: the lines of that file (ip_vs_ctl.c: ip_vs_info_seq_show). Must never know: backends, who
reads the file.

The file has the servers of the plain listing, and from the column of methods on, a server's line is
1.31's own text. For services by an IPv4 address and without flags, which are most, the file is
complete too. The other services lack facts or show them differently (families of marks, flags of
schedulers, seconds): these come from their records. If the parts do not fit together, the answer is
None, and dumps serve instead. A method without a name in the kernel is Masq in the file.

The lines of a service become one text, its block; blocks sort as the listing does. The work for
each of thousands of blocks is slicing, and looking up the text that was made for the same slice
before.
"""

from __future__ import annotations

from sys import byteorder

from pyipvsadm import sorting
from pyipvsadm.addresses import CACHE_LIMIT, TextCache, format_numeric
from pyipvsadm.model import AF_INET, AF_INET6, SCTP, TCP, UDP
from pyipvsadm.views import classic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.model import ProcTable, Service

_HEADINGS = [
    "Prot LocalAddress:Port Scheduler Flags",
    "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn",
]
_METHODS = {f"{name:7}": f" {name:7}" for name in classic.METHODS.values()}
_ARROW = "  -> "
_SERVER = "\0"  # in a block, stands for a line end and an arrow
# of protocols in blocks: of one length, and in the order of the numbers
_NAMES = {TCP: "TCP  ", UDP: "UDP  ", SCTP: "ZZZ  "}

# "TCP  0A0001F6:0050 wlc  ": protocol, address, port; the rest starts with the scheduler.
_ADDRESS = 5
_NETWORK = 11
_COLON = 13
_START = 18
# "C0A80001:1F90      Masq   ": where address, port and method end, with [IPv6] further on.
_V4_ADDRESS = 8
_V4_PORT = 13
_V4_METHOD = 26
_V6_METHOD = 59
# Of a listing's line: an arrow, and address and port in 28 columns.
_WIDTH = 33


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
    blocks = _split_blocks(overview.text)
    others = {_format_block_start(service): service for service in overview.other_services}
    plain = (
        [block for block in blocks if _get_block_name(block) not in others] if others else blocks
    )
    if (
        len(others) != len(overview.other_services)
        or len(plain) + len(others) != len(blocks)
        or not _match_services(plain, overview.simple_keys)
    ):
        # they differ, or a mark is there in both families, which the file does not tell apart
        return None
    if sort:
        blocks = _sort_blocks(blocks, others)
    networks, places, tails = (
        TextCache(_format_network, CACHE_LIMIT),
        TextCache(_format_place, CACHE_LIMIT),
        TextCache(_format_tail, CACHE_LIMIT),
    )
    format_servers = _ServerLines().format
    service = None
    parts = []
    for block in blocks:
        head, arrow, line = block.partition(_SERVER)
        if others:
            service = others.get(_get_block_name(head))
        if service:
            text = classic.format_heading(service, format_numeric)
        else:
            text = (
                f"{networks[head[:_NETWORK]]}{places[head[_NETWORK:_START]]}{tails[head[_START:]]}"
            )
        parts.append(text)
        if arrow:
            lines = line.split(_SERVER)
            parts += format_servers(_sort_lines(lines) if sort else lines)
    return parts


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


def _get_block_name(block: str) -> str:
    """Return the part of a block that names its service: all before the scheduler."""
    return block[:_START] if block[_COLON] == ":" else block[: block.find(" ", _ADDRESS)]


def _format_block_start(service: Service) -> str:
    """Return the text that names a service in its block."""
    if service.fwmark:
        return f"FWM  {service.fwmark:08X}"
    protocol = _NAMES[service.protocol]
    digits = service.addr.hex()
    if service.af == AF_INET:
        return f"{protocol}{digits.upper()}:{service.port:04X}"
    return f"{protocol}[{':'.join([digits[at : at + 4] for at in range(0, 32, 4)])}]:{service.port:04X}"


def _match_services(blocks: list[str], plain: list[tuple[bytes, bytes, bytes]]) -> bool:
    """Return True if the blocks are those of exactly these services."""
    digits = "".join(sorted([block[:_START] for block in blocks])).replace(":", "")
    for number, name in _NAMES.items():
        digits = digits.replace(name, number.to_bytes(2, byteorder).hex().upper())
    return digits == b"".join(sorted(map(b"".join, plain))).hex().upper()


def _sort_blocks(blocks: list[str], others: dict[str, Service]) -> list[str]:
    """Return the blocks in 1.31's order: IPv4 addresses, IPv6 addresses, marks."""
    rest = [service for service in others.values() if service.fwmark or service.af != AF_INET]
    if rest:
        apart = {_get_block_name(block): block for block in blocks if block[_COLON] != ":"}
        blocks = [block for block in blocks if block[_COLON] == ":"]
        return [
            *_sort_blocks(blocks, {}),
            *(apart[_format_block_start(service)] for service in sorting.sort_services(rest)),
        ]
    blocks = sorted(blocks)
    addresses = [block[_ADDRESS:_COLON] for block in blocks]
    if not blocks or int(max(addresses), 16) - int(min(addresses), 16) < sorting.HALF:
        return blocks
    found = []
    for name in _NAMES.values():
        some = [block for block in blocks if block.startswith(name)]
        # Among equal addresses the ports stay in order.
        found += sorting.sort_circular(
            some, lambda block: (int(block[_ADDRESS:_COLON], 16),), lambda _: 0
        )
    return found


def _format_network(text: str) -> str:
    """Return the first three bytes of an address: `TCP 0A0001` is "TCP 10.0.1."."""
    protocol = "SCTP " if text.startswith(_NAMES[SCTP]) else text[:_ADDRESS]
    first, second, third = bytes.fromhex(text[_ADDRESS:])
    return f"{protocol}{first}.{second}.{third}."


def _format_place(text: str) -> str:
    """Return the last byte of an address and the port: F6:0050 is "246:80"."""
    return f"{int(text[:2], 16)}:{int(text[3:], 16)}"


def _format_tail(text: str) -> str:
    """Return the text after the address of a service without flags: its scheduler."""
    (scheduler,) = text.split()
    if text[0] != " " or not scheduler.isprintable():
        raise ValueError(text)
    return f" {scheduler}\n"


class _ServerLines:
    """Make lines of the listing from servers' lines of the file. Raise LookupError or ValueError for
    "cannot".

    An IPv4 address is put together from a network and an octet, which are few, so that it costs the
    same whether or not it comes again.
    """

    def __init__(self) -> None:
        self._networks = TextCache(_format_server_network, CACHE_LIMIT)
        self._octets = {f"{number:02X}:": f"{number}:" for number in range(256)}

    def format(self, lines: list[str]) -> list[str]:
        """Return a line a server."""
        networks, octets = self._networks, self._octets
        return [
            f"{networks[line[:6]]}{octets[line[6:9]]}{int(line[9:_V4_PORT], 16)}".ljust(_WIDTH)
            + f"{_METHODS[line[19:_V4_METHOD]]}{line[_V4_METHOD:]}\n"
            if line[_V4_ADDRESS] == ":"
            else _format_ipv6_server(line)
            for line in lines
        ]


def _format_server_network(text: str) -> str:
    """Return "  -> 10.0.1." for 0A0001."""
    first, second, third = bytes.fromhex(text)
    return f"{_ARROW}{first}.{second}.{third}."


def _format_ipv6_server(line: str) -> str:
    """Return the line of a server with an IPv6 address."""
    addr = bytes.fromhex(line[1:40].replace(":", ""))
    end = format_numeric(AF_INET6, addr, int(line[42:46], 16))
    method = _METHODS[line[_V6_METHOD - 7 : _V6_METHOD]]
    return f"{_ARROW}{end:28}{method}{line[_V6_METHOD:]}\n"


def _sort_lines(lines: list[str]) -> list[str]:
    """Sort the lines of servers in 1.31's order. Digits sort as their numbers do, unless two
    addresses are half the space apart.
    """
    if len(lines) == 1:  # Fast path: in large tables most services have one server.
        return lines
    lines = sorted(lines)
    if lines[-1][0] != "[":
        if int(lines[-1][:8], 16) - int(lines[0][:8], 16) < sorting.HALF:
            return lines
    elif (
        lines[0][0] == "["
        and len({(line[1] < "8", line[11] < "8", line[21] < "8", line[31] < "8") for line in lines})
        == 1
    ):
        return lines
    return sorting.sort_circular(lines, _split_words, _get_port)


def _split_words(line: str) -> tuple[int, ...]:
    if line[0] == "[":
        digits = line[1:40].replace(":", "")
        return tuple(int(digits[at : at + 8], 16) for at in (0, 8, 16, 24))
    return (int(line[:8], 16),)


def _get_port(line: str) -> int:
    return int(line[42:46] if line[0] == "[" else line[9:13], 16)
