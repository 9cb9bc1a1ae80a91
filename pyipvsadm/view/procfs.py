"""The plain listing in numbers from /proc/net/ip_vs: one read instead of a dump for each service.

Owns: that file's lines (ip_vs_ctl.c: ip_vs_info_seq_show). Must never know: backends, who reads the file.

The file has the servers of the plain listing, and from its column of methods on, a server's line is the reference's own text.
What it lacks or shows otherwise (families of marks, flags of schedulers, seconds) is taken from the services. Where the two do
not fit together the answer is "cannot", and the dumps serve. A method that the kernel itself has no name for is Masq there.
"""

from __future__ import annotations

from pyipvsadm.model import AF_INET, AF_INET6, PROTOCOLS
from pyipvsadm.rules import REMEMBERED, numeric
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
    """The lines of the services and their servers as classic.Listing shows them, None for "cannot". sort: the servers."""
    try:
        return _listing(services, text, sort)
    except (ValueError, IndexError):  # digits that are none, lines that end early
        return None


def _listing(services: list[Service], text: bytes, sort: bool) -> list[str] | None:
    found = _servers(text)
    if found is None or len(found) != len(services):
        return None
    starts = _Starts()
    parts = []
    for service in services:
        servers = found.get(_key(service))
        if servers is None:
            return None
        if sort and len(servers) > 1:
            servers = _sorted(servers)
        parts.append(classic.heading(service, numeric))
        for line in servers:
            at = _V6 if line[5] == "[" else _V4
            if line[at : at + 7] not in _METHODS:
                return None
            parts.append(f"{starts[line[5 : at - 6]]}{line[at:]}\n")
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
        return f"{protocol}  {service.addr.hex().upper()}:{service.port:04X}"
    digits = service.addr.hex()
    return f"{protocol}  [{':'.join([digits[at : at + 4] for at in range(0, 32, 4)])}]:{service.port:04X}"


class _Starts(dict[str, str]):
    """A server's place in the file -> its line up to its method: arrow, address and port in 28 columns, a blank."""

    def __missing__(self, place: str) -> str:
        if len(self) > REMEMBERED:
            self.clear()
        if place[0] == "[":
            end = numeric(AF_INET6, bytes.fromhex(place[1:40].replace(":", "")), int(place[42:], 16))
        else:
            end = numeric(AF_INET, bytes.fromhex(place[:8]), int(place[9:], 16))
        text = self[place] = f"{_ARROW}{end:28} "
        return text


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
