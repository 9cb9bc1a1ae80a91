"""Send one change and report a refusal.

Owns: the commands that change one thing (-A -E -D -a -e -d -C -Z --set and the sync daemons), the
dry run of any command. Must never know: netlink, how a line is parsed.
"""

from __future__ import annotations

from pyipvsadm.errors import EXIT_REFUSED, OperationError, RefusedError, format_error
from pyipvsadm.model import DEL_DEST, DEL_SERVICE, FLUSH, ZERO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyipvsadm.environment import Environment
    from pyipvsadm.model import Backend, Change


def apply_change(wanted: Change, backend: Backend, env: Environment) -> int:
    """Send one change. Print nothing unless it is refused; to a person at a terminal, say how many
    active connections removed servers had.
    """
    is_terminal = env.is_error_terminal()
    connections = _count_connections(wanted, backend) if is_terminal else 0
    refused = backend.apply([wanted])
    if connections and not refused:
        from pyipvsadm.commands.report import print_hints  # noqa: PLC0415
        from pyipvsadm.text import pluralize  # noqa: PLC0415

        print_hints(env, [f"the removed servers had {pluralize(connections, 'active connection')}"])
    for _, number in refused:
        env.write_stderr(format_error(wanted.op, number))
        if is_terminal:
            from pyipvsadm.commands.report import print_hints  # noqa: PLC0415
            from pyipvsadm.grammar import hints  # noqa: PLC0415  # a person waits longer than a script

            print_hints(env, hints.suggest_for_refusal(wanted, number, backend))
    return EXIT_REFUSED if refused else 0


def _count_connections(wanted: Change, backend: Backend) -> int:
    """Return the active connections of the servers that a change removes."""
    if wanted.op not in (DEL_SERVICE, DEL_DEST, FLUSH):
        return 0
    from pyipvsadm.change.describe import count_connections  # noqa: PLC0415  # a person waits longer than a script

    gone = wanted.server and wanted.server.key()
    try:
        services = [wanted.service] if wanted.service else backend.read_services(counters=False)
        return sum(
            count_connections(service, server)
            for service in services
            for server in backend.read_servers(service)
            if gone is None or server.key() == gone
        )
    except (OperationError, RefusedError):
        return 0


def run_on_copy(
    backend: Backend, env: Environment, body: Callable[[Backend], int], change: Change | None = None
) -> int:
    """Run body on a copy of the table, print what it would change, and what was assumed.

    change: the single change that the body makes, if it is one. Return the body's status.
    """
    from pyipvsadm.change import describe, desired, dry_run, plan, snapshot  # noqa: PLC0415
    from pyipvsadm.text import pluralize  # noqa: PLC0415

    held = snapshot.read_consistent(backend)
    copy = dry_run.DryRunTable(backend, held)
    status = body(copy)
    if change is not None and change.op == ZERO:
        count = 1 if change.service else len(held.rows)
        lines = (
            [] if status else [f"would set the counters of {pluralize(count, 'service')} to zero"]
        )
    else:
        goal = desired.describe_snapshot(snapshot.read_table(copy))
        lines = describe.describe_plan(plan.make_plan(goal, held, prune=True))
    if status == 0 or lines:
        env.write_stdout(
            "".join(f"dry run: {line}\n" for line in lines or ["would change nothing"])
        )
    for line in copy.list_assumptions():
        env.write_stderr(line)
    return status
