"""Carry out -L --status: read what concerns the table as a whole, and write it in the requested view.

Owns: what is read, and in which order. Must never know: the words.
"""

from __future__ import annotations

from pyipvsadm.commands.output import is_pretty, sanitize_for_terminal, write_buffered
from pyipvsadm.views import status as view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend

_COUNTS = ("active", "inactive", "persistent")


def run_status(request: Request, backend: Backend, env: Environment) -> None:
    """Write the status of the table."""
    status = read_status(backend)
    if "json" in request.slots:
        from pyipvsadm.views.json_document import format_document  # noqa: PLC0415  # costs more than a start

        env.write_stdout(format_document(status=view.make_record(status)))
    elif is_pretty(request, env):
        from pyipvsadm.views import grid  # noqa: PLC0415  # rich costs a start 50 ms

        look = grid.choose_style(
            env.environ, env.is_output_terminal(), env.get_size()[0], env.always_has_colours
        )
        env.write_stdout(grid.render_text(view.render_status(status, look), look))
    else:
        write_buffered(env, sanitize_for_terminal(view.iter_text(status), env))


def read_status(backend: Backend) -> view.Status:
    """Read the status of a table.

    Connections are counted by the servers that they lead to: the kernel's list of connections may
    be long, and older kernels take quadratic time for it.
    """
    backend.refresh()
    services = backend.read_services(counters=False)
    servers = connections = templates = 0
    for rows in backend.iter_rows(services, _COUNTS):
        servers += len(rows)
        for _, _, active, inactive, persistent in rows:
            connections += active + inactive
            templates += persistent
    names = (*view.SETTINGS, view.CONN_MAX)
    return view.Status(
        backend.read_info(),
        len(services),
        servers,
        connections,
        templates,
        backend.read_daemons(),
        {name: value for name in names if (value := backend.read_sysctl(name))},
        view.parse_status_file(backend.read_status()),
        backend.embedded,
    )
