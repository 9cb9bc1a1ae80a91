"""Which rows and which connections a listing shows: selecting, whatever the view.

Owns: what --scheduler, --real-server, --empty, --quiesced and --client select, and a service beside
-c. Must never know: backends, views, streams.
"""

from __future__ import annotations

from pyipvsadm.addresses import aton, number, parse, pton
from pyipvsadm.errors import Usage
from pyipvsadm.grammar.options import SCHEDULERS
from pyipvsadm.model import AF_INET, AF_INET6, TCP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyipvsadm.addresses import Parsed
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Destination, Service
    from pyipvsadm.resolver import Resolver
    from pyipvsadm.views.connections import Connection


class Network:
    """Addresses that share their first bits. length: how many."""

    __slots__ = ("_first", "_rest", "family")

    def __init__(self, family: int, addr: bytes, length: int) -> None:
        self.family = family
        self._rest = 8 * len(addr) - length
        self._first = int.from_bytes(addr, "big") >> self._rest

    def holds(self, family: int, addr: bytes) -> bool:
        """Whether an address is one of them."""
        return family == self.family and int.from_bytes(addr, "big") >> self._rest == self._first


class Selection:
    """All that was asked for must hold. Empty values ask for nothing."""

    __slots__ = ("client", "empty", "quiesced", "scheduler", "server", "virtuals")

    def __init__(
        self,
        scheduler: str = "",
        server: Parsed | None = None,
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

    def rows(
        self, rows: Iterable[tuple[Service, list[Destination]]]
    ) -> Iterator[tuple[Service, list[Destination]]]:
        """Of services with their servers, those that were asked for; of their servers too, where it
        is these that were.
        """
        for service, servers in rows:
            if self.scheduler and service.scheduler != self.scheduler:
                continue
            if self.empty:
                if not servers:
                    yield service, servers
                continue
            if self.server or self.quiesced:
                found = [each for each in servers if self._takes(each)]
                if found:
                    yield service, found
                continue
            yield service, servers

    def _takes(self, server: Destination) -> bool:
        if self.quiesced and server.weight:
            return False
        return not self.server or _is_at(self.server, server.af, server.addr, server.port)

    def connection(self, found: Connection) -> bool:
        """Whether a connection was asked for."""
        if self.client and not self.client.holds(*found.client[:2]):
            return False
        if self.server and not _is_at(self.server, *found.server):
            return False
        return not self.virtuals or any(
            each.protocol == found.number
            and (each.af, each.addr) == found.virtual[:2]
            and each.port in (0, found.virtual[2])
            for each in self.virtuals
        )

    def check(self, services: Iterable[Service]) -> None:
        """Usage when no service has the scheduler and nobody knows one of that name: a slip, not an
        answer of "none".
        """
        name = self.scheduler
        if name and name not in SCHEDULERS and all(each.scheduler != name for each in services):
            raise Usage(
                f"no service has the scheduler `{name}', and none of that name is known: {' '.join(SCHEDULERS)}"
            )


def _is_at(wanted: Parsed, family: int, addr: bytes, port: int) -> bool:
    return (wanted.family, wanted.addr) == (family, addr) and wanted.port in (None, port)


def read(request: Request, names: Resolver) -> Selection:
    """What a list command selects. Raises Usage for values that cannot be read."""
    ours = request.ours
    beside = request.services if "connection" in request.slots else []
    if any(each.fwmark for each in beside):
        raise Usage(
            "connections do not say which firewall mark chose them: give the address and port that the mark stands for"
        )
    server = client = None
    if "real-server" in ours:
        protocol = request.services[0].protocol if request.services else TCP
        server = parse(str(ours["real-server"]), protocol or TCP, names)
        if server is None:
            raise Usage("illegal real server address[:port] specified")
    if "client" in ours:
        client = network(str(ours["client"]), names)
    return Selection(
        str(ours.get("scheduler", "")), server, "empty" in ours, "quiesced" in ours, client, beside
    )


def network(text: str, names: Resolver) -> Network:
    """ADDRESS[/LENGTH], the address IPv4, IPv6 (also in brackets) or the name of an IPv4 host.
    Usage when it is none.
    """
    host, slash, length = text.partition("/")
    host = host.removeprefix("[").removesuffix("]")
    addr = pton(AF_INET6, host)
    family = AF_INET6 if addr else AF_INET
    addr = addr or aton(host) or names.host(host)
    if addr is None:
        raise Usage(f"illegal client `{text}': it is ADDRESS or ADDRESS/PREFIX-LENGTH")
    bits = number(length, 0, 8 * len(addr)) if slash else 8 * len(addr)
    if bits < 0:
        raise Usage(f"illegal client `{text}': the prefix length is 0 to {8 * len(addr)}")
    return Network(family, addr, bits)
