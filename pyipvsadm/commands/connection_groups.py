"""Carry out -L -c --by: count the connections in groups, and write the counts in the requested view.

Owns: when names are looked up, the progress of reading on a terminal. Must never know: columns,
lines of the kernel's file.
"""

from __future__ import annotations

from pyipvsadm.addresses import format_numeric
from pyipvsadm.commands.names import format_by_name, make_json_resolver
from pyipvsadm.commands.output import (
    is_pretty,
    sanitize_for_terminal,
    show_connections_read,
    write_buffered,
)
from pyipvsadm.views import connection_groups as view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request


def run_groups(request: Request, env: Environment, lines: Iterable[bytes]) -> None:
    """Count these lines of the kernel's file, its heading left out, by the keys of the request."""
    keys = str(request.ours["by"]).split(",")
    groups = view.count_groups(show_connections_read(lines, env), keys)
    numeric = "numeric" in request.slots
    hosts = {} if numeric else env.names.find_host_names(view.collect_addresses(groups, keys))
    if "json" in request.slots:
        names = None if numeric else make_json_resolver(env, hosts)
        write_buffered(env, view.iter_document(groups, keys, names))
        return
    endpoint = format_numeric if numeric else format_by_name(env, hosts)
    if is_pretty(request, env):
        from pyipvsadm.views import grid  # noqa: PLC0415  # rich costs a start 50 ms

        look = grid.choose_style(env.environ, env.is_output_terminal(), env.get_size()[0])
        env.write_stdout(grid.render_text(view.render_groups(groups, keys, endpoint, look), look))
    else:
        parts = view.iter_text(groups, keys, endpoint)
        write_buffered(env, sanitize_for_terminal(parts, env))
