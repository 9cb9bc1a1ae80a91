"""Parse rule lines of the plain shape that -S writes, without the grammar.

Owns: that shape. Must never know: what else a line may hold (grammar/parser.py parses that): it
returns None for any other line.

The result is the grammar's (a property test holds the two together) at a tenth of the cost, because
a rule file names the same few services and servers again and again.
"""

from __future__ import annotations

from sys import intern

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


# Entries of each cache, of services and of servers; a full cache is cleared.
CACHE_LIMIT = 1 << 12

_PROTOCOLS = {"-t": TCP, "-u": UDP}
_METHODS = {"-m": MASQ, "-g": ROUTE, "-i": TUNNEL}


class FastRuleParser:
    """Parse lines, and cache the services and servers in them.

    Equal ports and schedulers are one object each: of a large table their copies take megabytes.
    """

    def __init__(self) -> None:
        self._services: dict[tuple[str, str], Service | None] = {}
        self._servers: dict[tuple[str, str, str, int, int], Server] = {}
        self._ports: dict[str, int] = {}  # by at most five digits, so it needs no limit

    def parse_change(self, words: Sequence[str]) -> Change | None:
        """Return the change that these words ask for, None if the grammar must parse them."""
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
        """Return the server, built once for all services of this family and port: the same server
        stands under many of them.
        """
        endpoint = self._parse_numeric(rip)
        forward = _METHODS.get(method)
        if (
            endpoint is None
            or forward is None
            or not _is_number(weight)
            or (endpoint.family != af and forward != TUNNEL)
        ):
            return None
        if len(self._servers) > CACHE_LIMIT:
            self._servers.clear()
        server = Server(
            endpoint.family,
            endpoint.addr,
            (endpoint.port or 0) if forward == MASQ else port,
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
                scheduler=intern(scheduler),
                netmask=known.netmask,
            ),
        )

    def _get_service_key(self, option: str, vip: str) -> Service | None:
        """Return the service with its key only: a server's rule says nothing else of it."""
        key = (option, vip)
        if key not in self._services:
            if len(self._services) > CACHE_LIMIT:
                self._services.clear()
            protocol = _PROTOCOLS.get(option)
            endpoint = None if protocol is None else self._parse_numeric(vip)
            self._services[key] = None if endpoint is None else Service(
                endpoint.family, protocol or 0, endpoint.addr, endpoint.port or 0, scheduler="",
                netmask=HOST_MASK4 if endpoint.family == AF_INET else HOST_PREFIX6,
            )  # fmt: skip
        return self._services[key]

    def _parse_numeric(self, text: str) -> Endpoint | None:
        """Parse HOST:PORT in plain numbers, as addresses.parse_endpoint does; return None for other
        forms.
        """
        host, _, port = text.rpartition(":")
        number = self._ports.get(port)
        if number is None:
            if not _is_number(port) or int(port) > 65535:
                return None
            number = self._ports[port] = int(port)
        family = AF_INET
        if host[:1] == "[" and host[-1:] == "]":
            family = AF_INET6
            host = host[1:-1]
        addr = parse_address(family, host)
        return None if addr is None else Endpoint(family, addr, number)


def _is_number(text: str) -> bool:
    """Return True for decimal digits that int() parses as strtol does, within every range."""
    return text.isascii() and text.isdigit() and len(text) < 6
