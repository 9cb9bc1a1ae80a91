"""Rule lines of the plain shape that -S writes, to changes, past the scanner.

Owns: that shape. Must never know: what else a line may hold (grammar/parser.py reads that): it
returns None for what it does not know.

What it yields is what the scanner yields (a property test holds them together); it only gets there
at a tenth of the cost, because a rule file names the same few services and servers again and again.
"""

from __future__ import annotations

from pyipvsadm.addresses import Endpoint, parse_address
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    HOST_MASK4,
    HOST_PREFIX6,
    MASQ,
    NEW_DEST,
    NEW_SERVICE,
    ROUTE,
    TCP,
    TUNNEL,
    UDP,
    Change,
    Server,
    Service,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


CACHE_LIMIT = 1 << 14  # services, and servers; then they are forgotten

_PROTOCOLS = {"-t": TCP, "-u": UDP}
_METHODS = {"-m": MASQ, "-g": ROUTE, "-i": TUNNEL}


class FastRuleParser:
    """Reads lines, remembering what it has made of the services and servers in them."""

    def __init__(self) -> None:
        self._services: dict[tuple[str, str], Service | None] = {}
        self._servers: dict[tuple[str, str, str, int, int], Server] = {}

    def parse_change(self, words: Sequence[str]) -> Change | None:
        """The change that these words ask for, None when the scanner must look."""
        if len(words) == 8 and words[0] == "-a" and words[3] == "-r" and words[6] == "-w":
            return self._parse_server(words)
        if len(words) == 5 and words[0] == "-A" and words[3] == "-s":
            return self._parse_service(words[1], words[2], words[4])
        return None

    def _parse_server(self, words: Sequence[str]) -> Change | None:
        service = self._services.get((words[1], words[2])) or self._get_service_key(
            words[1], words[2]
        )
        if service is None:
            return None
        key = (words[4], words[5], words[7], service.af, service.port)
        server = self._servers.get(key) or self._build_server(*key)
        return None if server is None else Change(NEW_DEST, service, server)

    def _build_server(
        self, rip: str, method: str, weight: str, af: int, port: int
    ) -> Server | None:
        """The same server stands under many services: it is made once for all that have this family
        and port.
        """
        found = self._parse_numeric(rip)
        forward = _METHODS.get(method)
        if (
            found is None
            or forward is None
            or not _is_number(weight)
            or (found.family != af and forward != TUNNEL)
        ):
            return None
        if len(self._servers) > CACHE_LIMIT:
            self._servers.clear()
        server = Server(
            found.family,
            found.addr,
            (found.port or 0) if forward == MASQ else port,
            forward,
            int(weight),
        )
        self._servers[rip, method, weight, af, port] = server
        return server

    def _parse_service(self, option: str, vip: str, scheduler: str) -> Change | None:
        known = self._get_service_key(option, vip)
        if (
            known is None
            or not known.port
            or not scheduler.isascii()
            or not 0 < len(scheduler) <= 15
        ):
            return None
        return Change(
            NEW_SERVICE,
            Service(
                known.af,
                known.protocol,
                known.addr,
                known.port,
                scheduler=scheduler,
                netmask=known.netmask,
            ),
        )

    def _get_service_key(self, option: str, vip: str) -> Service | None:
        """What names the service; its other fields are the scanner's for a server's rule."""
        key = (option, vip)
        if key not in self._services:
            if len(self._services) > CACHE_LIMIT:
                self._services.clear()
            protocol = _PROTOCOLS.get(option)
            found = None if protocol is None else self._parse_numeric(vip)
            self._services[key] = None if found is None else Service(
                found.family, protocol or 0, found.addr, found.port or 0, scheduler="",
                netmask=HOST_MASK4 if found.family == AF_INET else HOST_PREFIX6,
            )  # fmt: skip
        return self._services[key]

    def _parse_numeric(self, text: str) -> Endpoint | None:
        """HOST:PORT in plain numbers, as endpoint.parse reads it; other forms are left alone."""
        host, _, port = text.rpartition(":")
        if not _is_number(port) or int(port) > 65535:
            return None
        family = AF_INET
        if host[:1] == "[" and host[-1:] == "]":
            family = AF_INET6
            host = host[1:-1]
        addr = parse_address(family, host)
        return None if addr is None else Endpoint(family, addr, int(port))


def _is_number(text: str) -> bool:
    """Decimal digits that int() reads as strtol does, and a weight or a port whatever they are."""
    return text.isascii() and text.isdigit() and len(text) < 6
