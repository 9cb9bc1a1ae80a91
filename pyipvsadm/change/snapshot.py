"""Read a table consistently.

Owns: when a reading is complete. Must never know: what it is used for.

The kernel's dumps keep their place by counting: an entry that is deleted meanwhile makes a dump
skip another one, silently (NLM_F_DUMP_INTR is never set for these dumps). Therefore membership,
that is the set of services and the order of each one's servers, must be the same in two readings in
a row. Only what differs is read again, so a service that another program keeps busy holds up
nothing else. Settings and counters are those of the last reading; they may change between readings.
"""

from __future__ import annotations

import errno
from operator import attrgetter

from pyipvsadm.errors import OperationError, RefusedError
from pyipvsadm.model import HASHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from pyipvsadm.backends.memory import MemoryBackend
    from pyipvsadm.model import Backend, Daemon, Server, Service, Timeouts

    Found = TypeVar("Found")
    _ServiceKey = tuple[int, int, bytes, int, int]
    _ServerKey = tuple[int, bytes, int]

TRIES = 10  # readings of one thing before we give up
# A server takes at least 356 bytes of a dump's first datagram of 3.7 KB, which the kernel fills in
# one go: a dump of fewer servers than this is never torn by a deletion.
AT_ONCE = 9

# What is configured of a server, and of a service, beside its key.
SERVER_SETTINGS = ("forward", "weight", "upper", "lower", "tun_type", "tun_port", "tun_flags")
SERVICE_SETTINGS = ("scheduler", "flags", "timeout", "netmask", "pe")
server_settings = attrgetter(*SERVER_SETTINGS)


def get_service_settings(service: Service) -> tuple[str, int, int, int, str]:
    """Return what is configured of a service beside its key."""
    return (
        service.scheduler,
        service.flags & ~HASHED,
        service.timeout,
        service.netmask,
        service.pe,
    )


class Snapshot:
    """Hold a table's content. rows: each service with its servers, newest first."""

    __slots__ = ("daemons", "rows", "timeouts")

    def __init__(
        self,
        rows: list[tuple[Service, list[Server]]],
        timeouts: Timeouts,
        daemons: list[Daemon],
    ) -> None:
        self.rows = rows
        self.timeouts = timeouts
        self.daemons = daemons


def read_table(backend: Backend) -> Snapshot:
    """Read once."""
    return Snapshot(
        [(service, backend.read_servers(service)) for service in backend.read_services()],
        backend.read_timeouts(),
        backend.read_daemons(),
    )


def read_consistent(backend: Backend) -> Snapshot:
    """Read the table so that nothing is missing. Raise OperationError if it keeps changing."""
    return Snapshot(read_rows(backend), backend.read_timeouts(), backend.read_daemons())


def read_rows(backend: Backend) -> list[tuple[Service, list[Server]]]:
    """Read all services with their servers, none missing. Raise OperationError if membership
    keeps changing (TRIES readings). This process alone changes an embedded table that it has
    read: its own records are returned, not to be changed.
    """
    if backend.embedded:
        table: MemoryBackend = backend  # type: ignore[assignment]  # all embedded ones are
        return table.list_held()
    first = backend.read_services()
    before = {service.key(): get_server_keys(backend.read_servers(service)) for service in first}
    now = {
        service.key(): service
        for service in read_until_stable(backend.read_services, _get_members, _get_members(first))
    }
    return read_services(backend, now.values(), before)


def read_services(
    backend: Backend,
    services: Iterable[Service],
    before: dict[_ServiceKey, list[_ServerKey]],
) -> list[tuple[Service, list[Server]]]:
    """Read the servers of these services, nothing missing; services that are gone by then are left
    out.

    before: of services whose servers were read once already, the names of those. They are taken
    out of it.
    """
    rows = []
    for service in services:
        seen = before.pop(service.key(), None)  # of a large table they take megabytes
        servers = read_until_stable(
            lambda service=service: backend.read_servers(service),  # type: ignore[misc]
            get_server_keys,
            seen,
        )
        # The dump of a service that is gone is empty.
        found = service if servers or not seen else read_service(backend, service)
        if found is not None:
            rows.append((found, servers))
    return rows


def read_service(backend: Backend, wanted: Service) -> Service | None:
    """Read one service; None when there is none."""
    try:
        return backend.find_service(wanted)
    except RefusedError as exc:
        if exc.errno != errno.ESRCH:
            raise
        return None


def read_all_servers(backend: Backend, service: Service) -> list[Server]:
    """Read all servers of a service, none missing."""
    servers = backend.read_servers(service)
    if len(servers) < AT_ONCE:
        return servers
    return read_until_stable(
        lambda: backend.read_servers(service), get_server_keys, get_server_keys(servers)
    )


def read_until_stable(
    look: Callable[[], Found], seen: Callable[[Found], object], before: object = None
) -> Found:
    """Call `look` until `seen` returns the same value twice in a row; return the last result. Raise
    OperationError if that does not happen in TRIES readings.

    before: the value of `seen` for a reading that was made already.
    """
    for _ in range(TRIES):
        found = look()
        now = seen(found)
        if now == before:
            return found
        before = now
    raise OperationError(f"the table kept changing while it was read ({TRIES} times); try again")


def _get_members(services: list[Service]) -> tuple[int, set[_ServiceKey]]:
    return len(services), {service.key() for service in services}


def get_server_keys(servers: list[Server]) -> list[_ServerKey]:
    """Return the servers' keys in their order: what must agree."""
    return [server.key() for server in servers]
