"""Rule lines of the plain shape that -S writes, to changes, past the scanner.

Owns: that shape. Must never know: what else a line may hold (argv.py reads that); it says None to whatever it does not know.

What it yields is what the scanner yields (a property test holds them together); it only gets there at a tenth of the cost,
because a rule file names the same few services and servers again and again.
"""

from __future__ import annotations

from pyipvsadm.endpoint import parse, pton
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    MASQ,
    NEW_DEST,
    NEW_SERVICE,
    NO_MASK4,
    NO_MASK6,
    ROUTE,
    TCP,
    TUNNEL,
    UDP,
    Change,
    Destination,
    Service,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyipvsadm.endpoint import Names, Parsed

_PROTOCOLS = {"-t": TCP, "-u": UDP}
_METHODS = {"-m": MASQ, "-g": ROUTE, "-i": TUNNEL}


class Rules:
    """Reads lines, remembering endpoints it has seen. Names are left to the scanner."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._services: dict[tuple[str, str], Service | None] = {}
        self._servers: dict[str, Parsed | None] = {}

    def change(self, words: Sequence[str]) -> Change | None:
        """The change that these words ask for, None when the scanner must look."""
        if len(words) == 8 and words[0] == "-a" and words[3] == "-r" and words[6] == "-w":
            return self._server(words[1], words[2], words[4], words[5], words[7])
        if len(words) == 5 and words[0] == "-A" and words[3] == "-s":
            return self._service(words[1], words[2], words[4])
        return None

    def _server(self, option: str, vip: str, rip: str, method: str, weight: str) -> Change | None:
        service = self._known(option, vip)
        found = self._servers.get(rip)
        if found is None and rip not in self._servers:
            found = self._servers[rip] = self._numeric(rip)
        forward = _METHODS.get(method)
        if service is None or found is None or forward is None or not _is_number(weight):
            return None
        if found.family != service.af and forward != TUNNEL:
            return None
        port = service.port if forward != MASQ or found.port is None else found.port
        return Change(NEW_DEST, service, Destination(found.family, found.addr, port, forward, int(weight)))

    def _service(self, option: str, vip: str, scheduler: str) -> Change | None:
        known = self._known(option, vip)
        if known is None or not known.port or not scheduler.isascii() or not 0 < len(scheduler) <= 15:
            return None
        netmask = NO_MASK4 if known.af == AF_INET else NO_MASK6
        return Change(NEW_SERVICE, Service(known.af, known.protocol, known.addr, known.port, 0, scheduler, 0, 0, netmask))

    def _known(self, option: str, vip: str) -> Service | None:
        """What names the service; its other fields are the scanner's for a server's rule."""
        key = (option, vip)
        if key not in self._services:
            protocol = _PROTOCOLS.get(option)
            found = None if protocol is None else self._numeric(vip)
            self._services[key] = None if found is None else Service(
                found.family, protocol or 0, found.addr, found.port or 0, scheduler="",
                netmask=NO_MASK4 if found.family == AF_INET else NO_MASK6,
            )  # fmt: skip
        return self._services[key]

    def _numeric(self, text: str) -> Parsed | None:
        """HOST:PORT in numbers, read by endpoint.parse; anything that a resolver would be asked for is left alone."""
        host, colon, port = text.rpartition(":")
        if not colon or not _is_number(port):
            return None
        bracketed = host[:1] == "[" and host[-1:] == "]"
        numeric = pton(AF_INET6, host[1:-1]) if bracketed else pton(AF_INET, host)
        return None if numeric is None else parse(text, 0, self._names)


def _is_number(text: str) -> bool:
    """Decimal digits that int() reads as strtol does, and a weight or a port whatever they are."""
    return text.isascii() and text.isdigit() and len(text) < 6
