"""What a table holds, read so that nothing is missing.

Owns: consistent reads. Must never know: what they are for.

The kernel's dumps keep their place by counting: what is deleted meanwhile makes them skip others, silently, and nothing marks
such a dump (NLM_F_DUMP_INTR is never set for these). So the table is read until two readings in a row agree in all that is
configured; counters may differ.
"""

from __future__ import annotations

from operator import attrgetter

from pyipvsadm.errors import Failed
from pyipvsadm.model import HASHED, NEW_DAEMON, NEW_DEST, NEW_SERVICE, SET_CONFIG, Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    from pyipvsadm.model import Backend, Daemon, Destination, Service, Timeouts

    Found = TypeVar("Found")

TRIES = 10  # readings before we give up

# What is configured of a server beside what names it, and what identifies all of it.
SETTINGS = ("forward", "weight", "upper", "lower", "tun_type", "tun_port", "tun_flags")
server_settings = attrgetter(*SETTINGS)
server_rule = attrgetter("af", "addr", "port", *SETTINGS)


def service_settings(service: Service) -> tuple[str, int, int, int, str]:
    """What is configured of a service beside what names it."""
    return (service.scheduler, service.flags & ~HASHED, service.timeout, service.netmask, service.pe)


class Snapshot:
    """rows: each service with its servers, newest first."""

    __slots__ = ("daemons", "rows", "timeouts")

    def __init__(self, rows: list[tuple[Service, list[Destination]]], timeouts: Timeouts, daemons: list[Daemon]) -> None:
        self.rows = rows
        self.timeouts = timeouts
        self.daemons = daemons

    def configured(self) -> tuple[Any, ...]:
        """All of it that is configured, to be compared."""
        rows = {service.key(): (service_settings(service), list(map(server_rule, servers))) for service, servers in self.rows}
        return (len(self.rows), rows, self.timeouts, self.daemons)


def recipe(found: Snapshot) -> Iterator[Change]:
    """What would make an empty table hold this."""
    yield Change(SET_CONFIG, timeouts=found.timeouts)
    for daemon in found.daemons:
        yield Change(NEW_DAEMON, daemon=daemon)
    for service, servers in found.rows:
        yield Change(NEW_SERVICE, service)
        for server in reversed(servers):
            yield Change(NEW_DEST, service, server)


def read(backend: Backend) -> Snapshot:
    """One reading."""
    return Snapshot(
        [(service, backend.destinations(service)) for service in backend.services()],
        backend.timeouts(),
        backend.daemons(),
    )


def consistent(backend: Backend) -> Snapshot:
    """The table, in the last of two readings in a row that agree. Failed when none do in TRIES."""
    return agreed(lambda: read(backend), Snapshot.configured)


def agreed(look: Callable[[], Found], seen: Callable[[Found], object]) -> Found:
    """The last of two looks in a row at which the same is seen. Failed when there are none in TRIES."""
    before = seen(look())
    for _ in range(TRIES - 1):
        found = look()
        now = seen(found)
        if now == before:
            return found
        before = now
    raise Failed(f"the table kept changing while it was read ({TRIES} times); nothing was done, try again")
