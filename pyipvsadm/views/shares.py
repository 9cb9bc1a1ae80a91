"""Format the part of new clients that each server gets (-L --shares).

Owns: how shares are worded. Must never know: how schedulers choose (scheduling/).
"""

from __future__ import annotations

from pyipvsadm.scheduling.choice import NEXT, TABLE, UNKNOWN_SHARES, WEIGHT, get_distribution
from pyipvsadm.views import classic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyipvsadm.model import Server, Service
    from pyipvsadm.rules.writer import Endpoint
    from pyipvsadm.scheduling.build import Build

TITLE = "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Weight Share\n"
_OF = {
    TABLE: "of the hash table",
    WEIGHT: "of the turns",
    NEXT: "who is next",
    UNKNOWN_SHARES: "not known",
}


class Shares:
    """Hold the distribution of a service's new clients, with the counts of its servers by key."""

    __slots__ = ("counts", "found")

    def __init__(
        self,
        service: Service,
        servers: Sequence[Server],
        build: Build,
        former: Sequence[int] | None = None,
    ) -> None:
        """Take a service with all its servers, newest first. former: see Chooser."""
        self.found = get_distribution(service, servers, build, former)
        self.counts = {server.key(): count for server, count in zip(servers, self.found.counts)}

    def get_part(self, server: Server) -> float:
        """Return one server's part, from 0 to 1; 0 if it is not known."""
        kind, total = self.found.kind, self.found.total
        return self._count(server) / total if total and kind in (TABLE, WEIGHT) else 0.0

    def _count(self, server: Server) -> int:
        return self.counts.get(server.key(), 0)  # one that was added meanwhile has none

    def format_part(self, server: Server) -> str:
        """Return one server's share as text: a percentage, "next", or "?"."""
        found = self.found
        if found.kind == UNKNOWN_SHARES:
            return "?"
        if found.kind == NEXT:
            if not self._count(server):
                return "-"
            return "next" if sum(found.counts) == 1 else "may be next"
        return f"{100 * self.get_part(server):.1f}%"

    def format_remark(self) -> str:
        """Return what the shares are shares of, and what no server has."""
        found = self.found
        text = _OF[found.kind]
        for count, what in ((found.refused, "refused"), (found.spread, "spread over the others")):
            if count:
                text += f", {100 * count / found.total:.1f}% {what}"
        return text

    def make_record(self) -> dict[str, Any]:
        """Return the service's part in JSON."""
        found = self.found
        record: dict[str, Any] = {"of": found.kind}
        if found.kind in (TABLE, WEIGHT):
            record["total"] = found.total
        if found.kind == TABLE:
            record |= {"refused": found.refused, "spread": found.spread}
        return record

    def get_count(self, server: Server) -> int | None:
        """Return a server's count in JSON; None if its share is not known."""
        return None if self.found.kind == UNKNOWN_SHARES else self._count(server)


def format_percentage(count: int, total: int) -> str:
    """Return a part as a percentage that is 0 or 100 only if the part is."""
    text = f"{100 * count / total:.1f}%"
    if text == "0.0%" and count:
        return "less than 0.1%"
    return "more than 99.9%" if text == "100.0%" and count != total else text


def format_service(
    service: Service, servers: Sequence[Server], shares: Shares, endpoint: Endpoint
) -> str:
    """Return the lines of a service and its servers, in the order in which they come."""
    heading = classic.format_heading(service, endpoint).removesuffix("\n")
    lines = [f"{heading}: {shares.format_remark()}\n"]
    for server in servers:
        name = endpoint(server.af, server.addr, server.port, service.protocol)
        lines.append(f"  -> {name:28} {server.weight:<6} {shares.format_part(server)}\n")
    return "".join(lines)
