"""Carry out -L --metrics: write the table as metrics to standard output, or to a file.

Owns: what is read, where the text goes. Must never know: the format.
"""

from __future__ import annotations

from pyipvsadm import files
from pyipvsadm.commands.output import write_buffered
from pyipvsadm.errors import UsageError
from pyipvsadm.views.metrics import Metrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend, Server, Service

READABLE = 0o644  # monitoring runs as another user


def run_metrics(
    request: Request,
    backend: Backend,
    env: Environment,
    rows: Iterable[tuple[Service, list[Server]]],
) -> None:
    """Write the metrics of these services. A file is replaced whole."""
    only = request.ours["metrics"]
    if only not in (None, "services"):
        raise UsageError(f"--metrics takes `services' or nothing, not `{only}'")
    metrics = Metrics(str(request.ours.get("netns") or ""))
    metrics.add_table(rows, has_servers=only is None)
    metrics.add_settings(
        backend.read_info(),
        backend.read_timeouts(),
        backend.read_daemons(),
        backend.read_sysctl("run_estimation"),
    )
    path = request.ours.get("output")
    if path is None:
        write_buffered(env, metrics.render())
    else:
        files.replace_file(str(path), "".join(metrics.render()), READABLE)
