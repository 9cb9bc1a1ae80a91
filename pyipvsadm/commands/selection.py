"""Select the rows and connections that a listing shows, in whatever view.

Owns: what --scheduler, --real-server, --empty, --quiesced and --client select, and a service beside
-c. Must never know: backends, views, streams.
"""

from __future__ import annotations

from pyipvsadm.addresses import parse_address, parse_endpoint, parse_int, parse_ipv4
from pyipvsadm.errors import UsageError
from pyipvsadm.grammar.schedulers import SCHEDULERS
from pyipvsadm.model import AF_INET, AF_INET6, TCP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyipvsadm.addresses import Endpoint
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Server, Service
    from pyipvsadm.resolver import Resolver
    from pyipvsadm.views.connections import Connection


class Network:
    """Hold the addresses that share their first `length` bits."""

    __slots__ = ("_first", "_rest", "family")

    def __init__(self, family: int, addr: bytes, length: int) -> None:
        self.family = family
        self._rest = 8 * len(addr) - length
        self._first = int.from_bytes(addr, "big") >> self._rest

    def contains(self, family: int, addr: bytes) -> bool:
        """Return True if the address belongs to the network."""
        return family == self.family and int.from_bytes(addr, "big") >> self._rest == self._first


class Selection:
    """Hold the filters of a request. All of them must match; empty ones match everything."""

    __slots__ = ("client", "empty", "quiesced", "scheduler", "server", "virtuals")

    def __init__(
        self,
        scheduler: str = "",
        server: Endpoint | None = None,
        empty: bool = False,
        quiesced: bool = False,
        client: Network | None = None,
        virtuals: Iterable[Service] = (),
    ) -> None:
        self.scheduler = scheduler
        self.server = server
        self.empty = empty
        self.quiesced = quiesced
        self.client = client
        self.virtuals = list(virtuals)

    def filter_rows(
        self, rows: Iterable[tuple[Service, list[Server]]]
    ) -> Iterator[tuple[Service, list[Server]]]:
        """Return the services that match, with their servers, or only with the matching servers if
        servers were asked for.
        """
        for service, servers in rows:
            if self.scheduler and service.scheduler != self.scheduler:
                continue
            if self.empty:
                if not servers:
                    yield service, servers
                continue
            if self.server or self.quiesced:
                found = [each for each in servers if self._match_server(each)]
                if found:
                    yield service, found
                continue
            yield service, servers

    def _match_server(self, server: Server) -> bool:
        if self.quiesced and server.weight:
            return False
        return not self.server or _is_at(self.server, server.af, server.addr, server.port)

    def match_connection(self, found: Connection) -> bool:
        """Return True if the connection matches."""
        if self.client and not self.client.contains(*found.client[:2]):
            return False
        if self.server and not _is_at(self.server, *found.server):
            return False
        return not self.virtuals or any(
            each.protocol == found.number
            and (each.af, each.addr) == found.virtual[:2]
            and each.port in (0, found.virtual[2])
            for each in self.virtuals
        )

    def check_known(self, services: Iterable[Service]) -> None:
        """Raise UsageError if no service has the scheduler and none of that name is known: that is
        a slip, not an answer of "none".
        """
        name = self.scheduler
        if name and name not in SCHEDULERS and all(each.scheduler != name for each in services):
            raise UsageError(
                f"no service has the scheduler `{name}', and none of that name is known: {' '.join(SCHEDULERS)}"
            )


def _is_at(wanted: Endpoint, family: int, addr: bytes, port: int) -> bool:
    return (wanted.family, wanted.addr) == (family, addr) and wanted.port in (None, port)


def parse_selection(request: Request, names: Resolver) -> Selection:
    """Return the filters of a list command. Raise UsageError for values that cannot be parsed."""
    ours = request.ours
    beside = request.services if "connection" in request.slots else []
    if any(each.fwmark for each in beside):
        raise UsageError(
            "connections do not say which firewall mark chose them: give the address and port that the mark stands for"
        )
    server = client = None
    if "real-server" in ours:
        protocol = request.services[0].protocol if request.services else TCP
        server = parse_endpoint(str(ours["real-server"]), protocol or TCP, names)
        if server is None:
            raise UsageError("illegal real server address[:port] specified")
    if "client" in ours:
        client = parse_network(str(ours["client"]), names)
    return Selection(
        str(ours.get("scheduler", "")), server, "empty" in ours, "quiesced" in ours, client, beside
    )


def parse_network(text: str, names: Resolver) -> Network:
    """Parse ADDRESS[/LENGTH]: an IPv4 or IPv6 address (also in brackets), or the name of an IPv4
    host. Raise UsageError if it is none.
    """
    host, slash, length = text.partition("/")
    host = host.removeprefix("[").removesuffix("]")
    addr = parse_address(AF_INET6, host)
    family = AF_INET6 if addr else AF_INET
    addr = addr or parse_ipv4(host) or names.find_host(host)
    if addr is None:
        raise UsageError(f"illegal client `{text}': it is ADDRESS or ADDRESS/PREFIX-LENGTH")
    bits = parse_int(length, 0, 8 * len(addr)) if slash else 8 * len(addr)
    if bits < 0:
        raise UsageError(f"illegal client `{text}': the prefix length is 0 to {8 * len(addr)}")
    return Network(family, addr, bits)
