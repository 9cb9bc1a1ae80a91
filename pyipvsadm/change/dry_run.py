"""Try changes on an embedded copy of a table.

Owns: the copy, and which of its answers are assumptions. Must never know: who asks, where the
assumptions are printed.
"""

from __future__ import annotations

from pyipvsadm.addresses import format_address
from pyipvsadm.backends.memory import MemoryBackend, is_link_local
from pyipvsadm.model import AF_INET6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from pyipvsadm.change.desired import ServiceKey
    from pyipvsadm.change.snapshot import Snapshot
    from pyipvsadm.model import Backend, Info, Server, Service

SHOWN = 3  # names of a kind; of more, their number


class _Assumptions(dict[str, "dict[str, None]"]):
    """Hold the names and addresses that were taken for granted, by kind, in the order in which they
    came: a dict is an ordered set.

    is_exact: the copied table is an embedded one, of which all is known.
    """

    def __init__(self, is_exact: bool) -> None:
        super().__init__()
        self.is_exact = is_exact

    def add(self, kind: str, name: str) -> bool:
        """Record an assumption. Return False if the copy needs none."""
        if self.is_exact:
            return False
        self.setdefault(kind, {})[name] = None
        return True


class DryRunTable(MemoryBackend):
    """Hold a copy of `original`, made from the reading `held`. It answers changes as the original
    would, as far as that can be known.

    If only the kernel can answer, the copy assumes yes and records the assumption, unless `held`
    shows that the answer is yes. only: the keys of the services to copy, None for all. Connections
    and counters are not copied.
    """

    def __init__(
        self, original: Backend, held: Snapshot, only: Container[ServiceKey] | None = None
    ) -> None:
        super().__init__(original.interfaces if isinstance(original, MemoryBackend) else None)
        has_interface = self.interfaces
        self._original = original
        self._exact = original.embedded
        assumptions = self._assumptions = _Assumptions(self._exact)
        # A method of this object would keep the copy in memory: the program runs without a garbage
        # collector. A sync daemon needs an interface that can multicast.
        self.interfaces = lambda name: (
            has_interface(name)
            and (assumptions.is_exact or assumptions.add("route for multicast by interface", name))
        )
        self._schedulers = {service.scheduler for service, _ in held.rows}
        self._engines = {service.pe for service, _ in held.rows}
        self._addresses = {
            (server.af, server.addr)
            for _, servers in ([] if self._exact else held.rows)
            for server in servers
        }
        rows = [row for row in held.rows if only is None or row[0].key() in only or _is_mixed(*row)]
        self.load(rows, held.timeouts, held.daemons)

    def read_info(self) -> Info:
        """Return the original's version and size."""
        return self._original.read_info()

    def has_scheduler(self, name: str) -> bool:
        """Return True if the kernel ships the scheduler or the table uses it; otherwise assume so."""
        return (
            super().has_scheduler(name)
            or name in self._schedulers
            or self._assumptions.add("scheduler", name)
        )

    def has_engine(self, name: str) -> bool:
        """Return True if the kernel ships the persistence engine or the table uses it; otherwise
        assume so.
        """
        return (
            super().has_engine(name)
            or name in self._engines
            or self._assumptions.add("persistence engine", name)
        )

    def is_server_address(self, family: int, addr: bytes) -> bool:
        """Return True if a server may have this address: not a broadcast address of the host, but a
        link-local one of its own. Assume so if only the kernel can tell.
        """
        if (family, addr) in self._addresses:
            return True
        known = super().is_server_address(family, addr)
        if self._exact or not (known or (family == AF_INET6 and is_link_local(addr))):
            return known
        return self._assumptions.add("type of address", format_address(family, addr))

    def list_assumptions(self) -> Iterator[str]:
        """Yield a line for each kind of assumption that was made."""
        for kind, names in self._assumptions.items():
            shown = ", ".join([*names][:SHOWN])
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            yield f"not checked, for only the kernel can tell: {kind} {shown}{more}"


def _is_mixed(service: Service, servers: list[Server]) -> bool:
    """Return True if the service has servers of another address family, which keep daemons from
    starting.
    """
    return any(server.af != service.af for server in servers)
