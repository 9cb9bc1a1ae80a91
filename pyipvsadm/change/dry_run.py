"""Trying changes out on an embedded copy of a table.

Owns: the copy, and what of its answers is an assumption. Must never know: how it is asked, where
the assumptions are told.
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


class DryRunTable(MemoryBackend):
    """A copy of what `held` says of `original`: it answers to changes as that would, as far as can
    be known.

    What only the kernel can know is taken for granted and remembered, but for what `held` shows to
    be good. only: the services to copy, where not all of them matter. Connections and counters are
    not copied.
    """

    def __init__(
        self, original: Backend, held: Snapshot, only: Container[ServiceKey] | None = None
    ) -> None:
        super().__init__(original.interfaces if isinstance(original, MemoryBackend) else None)
        self._has_interface = self.interfaces
        self.interfaces = self._can_multicast
        self._original = original
        self._exact = original.embedded
        self._schedulers = {service.scheduler for service, _ in held.rows}
        self._engines = {service.pe for service, _ in held.rows}
        self._addresses = {
            (server.af, server.addr) for _, servers in held.rows for server in servers
        }
        # Names and addresses that were taken for granted, in the order in which they came: a dict
        # is an ordered set.
        self._assumed: dict[str, dict[str, None]] = {}
        rows = [row for row in held.rows if only is None or row[0].key() in only or _is_mixed(*row)]
        self.load(rows, held.timeouts, held.daemons)

    def read_info(self) -> Info:
        """The original's."""
        return self._original.read_info()

    def has_scheduler(self, name: str) -> bool:
        """Whether it is one that the kernel brings, or holds; of others only the kernel knows."""
        return (
            super().has_scheduler(name)
            or name in self._schedulers
            or self._assume("scheduler", name)
        )

    def has_engine(self, name: str) -> bool:
        """The same of persistence engines."""
        return (
            super().has_engine(name)
            or name in self._engines
            or self._assume("persistence engine", name)
        )

    def is_server_address(self, family: int, addr: bytes) -> bool:
        """Whether it is of a good form. Broadcast addresses of the host are not good, its own
        link-local ones are.
        """
        if (family, addr) in self._addresses:
            return True
        known = super().is_server_address(family, addr)
        if self._exact or not (known or (family == AF_INET6 and is_link_local(addr))):
            return known
        return self._assume("type of address", format_address(family, addr))

    def _can_multicast(self, interface: str) -> bool:
        """Whether a daemon can run there."""
        return self._has_interface(interface) and (
            self._exact or self._assume("route for multicast by interface", interface)
        )

    def _assume(self, kind: str, name: str) -> bool:
        if self._exact:
            return False
        self._assumed.setdefault(kind, {})[name] = None
        return True

    def list_assumptions(self) -> Iterator[str]:
        """A line for each kind of thing that was taken for granted."""
        for kind, names in self._assumed.items():
            shown = ", ".join([*names][:SHOWN])
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            yield f"not checked, for only the kernel can tell: {kind} {shown}{more}"


def _is_mixed(service: Service, servers: list[Server]) -> bool:
    """Whether it has servers of another family: they keep daemons from starting."""
    return any(server.af != service.af for server in servers)
