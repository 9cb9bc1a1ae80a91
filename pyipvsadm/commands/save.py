"""Render the rules of a table: -S and ipvsadm-save.

Owns: what is read for a save, and in which order it is written. Must never know: where the text
goes, how a rule is written.
"""

from __future__ import annotations

from pyipvsadm import addresses, sorting
from pyipvsadm.commands.names import list_endpoints, resolve_endpoints
from pyipvsadm.model import row
from pyipvsadm.rules import writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.environment import World
    from pyipvsadm.model import Backend, Row, Service
    from pyipvsadm.rules.writer import Endpoint


def render_rules(
    backend: Backend, world: World, numeric: bool, full: bool = False, certain: bool = False
) -> str:
    """The rules as text. By name only where -R would read the name back as the same address.

    full: with time-outs and daemons, and certain. certain: nothing is missing because the table
    changed meanwhile.
    """
    columns = writer.ServerRules.COLUMNS
    tables: list[tuple[Service, list[Row]]]
    if full or certain:
        from pyipvsadm.change import snapshot  # noqa: PLC0415  # the plain save does not pay for it
        from pyipvsadm.commands import full_save  # noqa: PLC0415  # the plain save does not pay for it

        found = snapshot.consistent(backend)
        if full:
            named = (
                addresses.format_numeric
                if numeric
                else resolve_endpoints(list_endpoints(found.rows), world, read_back=True)
            )
            return full_save.render_full_save(found, named, world)
        held = {
            service.key(): [row(each, columns) for each in servers]
            for service, servers in found.rows
        }
        tables = [
            (each, held[each.key()])
            for each in sorting.services([service for service, _ in found.rows])
        ]
    else:
        services = sorting.services(backend.services(counters=False))
        tables = list(zip(services, backend.rows(services, columns), strict=True))
    endpoint: Endpoint = (
        addresses.format_numeric if numeric else resolve_endpoints(tables, world, read_back=True)
    )
    servers = writer.ServerRules(endpoint)
    parts = []
    for service, rows in tables:
        selector = writer.selector(service, endpoint)
        parts.append(writer.service_rule(service, selector))
        parts.append(servers.text(service, selector, sorting.servers(rows)))
    return "".join(parts)
