"""The plain listing in numbers from /proc/net/ip_vs: one read instead of a dump for each service.

Owns: that file's lines (ip_vs_ctl.c: ip_vs_info_seq_show). Must never know: backends, who reads the file.

The file has the servers of the plain listing, and from its column of methods on, a server's line is the reference's own text.
What it lacks or shows otherwise (families of marks, flags of schedulers, seconds) is taken from the services. Where the two do
not fit together the answer is "cannot", and the dumps serve. A method that the kernel itself has no name for is Masq there.
"""

from __future__ import annotations

from _socket import inet_ntop  # the C module beneath `socket`; this is formatting, not I/O

from pyipvsadm.model import AF_INET, AF_INET6, PROTOCOLS
from pyipvsadm.rules import numeric
from pyipvsadm.view import classic, order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.model import Service

_HEADINGS = [
    "Prot LocalAddress:Port Scheduler Flags",
    "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn",
]
_METHODS = frozenset(f"{name:7}" for name in classic.METHODS.values())
_ARROW = "  -> "
_V4 = 24  # the column of the method in a line whose server is IPv4: arrow, 8 digits, colon, 4 digits, 6 blanks
_V6 = 57  # the same for [IPv6]


def listing(services: list[Service], text: bytes, sort: bool) -> list[str] | None:
    """Each service with its servers as classic.service shows them, None for "cannot"."""
    try:
        return _listing(services, text, sort)
    except (ValueError, IndexError):  # digits that are none, lines that end early
        return None


def _listing(services: list[Service], text: bytes, sort: bool) -> list[str] | None:
    found = _servers(text)
    if found is None or len(found) != len(services):
        return None
    known: dict[str, str] = {}  # a server's place in the file -> how its line starts
    parts = []
    for service in order.services(services) if sort else services:
        servers = found.get(_key(service))
        if servers is None:
            return None
        if sort and len(servers) > 1:
            servers = _sorted(servers)
        rows = [classic.heading(service, numeric)]
        for line in servers:
            at = _V6 if line[5] == "[" else _V4
            place = line[5 : at - 6]
            start = known.get(place)
            if start is None:
                start = known[place] = _start(place)
            if line[at : at + 7] not in _METHODS:
                return None
            rows.append(f"{start}{line[at:]}\n")
        parts.append("".join(rows))
    return parts


def _servers(text: bytes) -> dict[str, list[str]] | None:
    """The server lines by the start of their service's line."""
    lines = text.decode("ascii", "replace").split("\n")
    if lines[1:3] != _HEADINGS or lines.pop():
        return None
    found: dict[str, list[str]] = {}
    servers: list[str] = []
    for line in lines[3:]:
        if line[:5] == _ARROW:
            servers.append(line)
        else:
            # "TCP  0A000001:0050 ": the commonest by its columns, the others by their second gap
            end = 18 if line[13:14] == ":" and line[18:19] == " " else line.find(" ", line.find(" ") + 2)
            found[line[:end]] = servers = []
    # A service that stands there twice (one mark in two families) would be one short here.
    return found


def _key(service: Service) -> str:
    """How its line starts: up to the scheduler."""
    if service.fwmark:
        return f"FWM  {service.fwmark:08X}"
    protocol = PROTOCOLS.get(service.protocol) or ("IP" if not service.protocol else f"IP_{service.protocol}")
    if service.af == AF_INET:
        return "%s  %08X:%04X" % (protocol, int.from_bytes(service.addr, "big"), service.port)  # noqa: UP031  # the kernel's own
    digits = service.addr.hex()
    return f"{protocol}  [{':'.join([digits[at : at + 4] for at in range(0, 32, 4)])}]:{service.port:04X}"


def _start(place: str) -> str:
    """A server's line up to its method: arrow, address and port in 28 columns, a blank."""
    if place[0] == "[":
        addr = bytes.fromhex(place[1:40].replace(":", ""))
        return f"{_ARROW}{f'[{inet_ntop(AF_INET6, addr)}]:{int(place[42:], 16)}':28} "
    return f"{_ARROW}{f'{inet_ntop(AF_INET, bytes.fromhex(place[:8]))}:{int(place[9:], 16)}':28} "


def _sorted(lines: list[str]) -> list[str]:
    """In the reference's order. Digits sort as their numbers do, where no two are half the space apart."""
    lines = sorted(lines)
    if lines[-1][5] != "[" and int(lines[-1][5:13], 16) - int(lines[0][5:13], 16) < order.HALF:
        return lines
    return order.arranged(lines, _words, _port)


def _words(line: str) -> tuple[int, ...]:
    if line[5] == "[":
        digits = line[6:45].replace(":", "")
        return tuple(int(digits[at : at + 8], 16) for at in (0, 8, 16, 24))
    return (int(line[5:13], 16),)


def _port(line: str) -> int:
    return int(line[47:51] if line[5] == "[" else line[14:18], 16)
