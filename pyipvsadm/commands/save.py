"""Render the rules of a table: -S and ipvsadm-save.

Owns: what is read for a save, and in which order it is written. Must never know: where the text
goes, how a rule is written.
"""

from __future__ import annotations

from pyipvsadm import addresses, sorting
from pyipvsadm.model import iter_blocks, to_row
from pyipvsadm.rules import writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.change.snapshot import Snapshot
    from pyipvsadm.environment import Environment
    from pyipvsadm.model import Backend, Row, Service
    from pyipvsadm.rules.writer import Endpoint


def render_rules(
    backend: Backend, env: Environment, numeric: bool, full: bool = False, certain: bool = False
) -> str:
    """Return the rules as text. A name is written only if -R would read it back as the same
    address.

    full: with timeouts and daemons, and consistent. certain: read consistently, so that no entry is
    missing because the table changed meanwhile.
    """
    columns = writer.TableRules.COLUMNS
    found: Snapshot | None = None
    tables: list[tuple[Service, list[Row]]]
    if full or certain:
        from pyipvsadm.change import snapshot  # noqa: PLC0415  # the plain save does not pay for it

        found = snapshot.read_consistent(backend)
        found.rows = sorting.sort_table(found.rows)
        tables = [
            (service, [to_row(each, columns) for each in servers])
            for service, servers in found.rows
        ]
    else:
        services = sorting.sort_services(backend.read_services(counters=False))
        tables = list(zip(services, backend.iter_rows(services, columns)))
    endpoint: Endpoint = addresses.format_numeric
    if not numeric:
        from pyipvsadm.commands.names import resolve_endpoints  # noqa: PLC0415  # rules in numbers do without

        endpoint = resolve_endpoints(tables, env, read_back=True)
    if found and full:
        from pyipvsadm.commands import full_save  # noqa: PLC0415  # the plain save does not pay for it

        return full_save.render_full_save(found, endpoint, env)
    rules = writer.TableRules(endpoint)
    ordered = ((service, sorting.sort_rows(rows)) for service, rows in tables)
    return "".join(map(rules.format_tables, iter_blocks(ordered)))
