"""Send one change and report a refusal.

Owns: the commands that change one thing (-A -E -D -a -e -d -C -Z --set and the sync daemons), which
of them are in the history, the dry run of any command. Must never know: netlink, how a line is
parsed.

A command that is in the history (-C and -D, and with JOURNAL=all -A -E -a -e -d, --keep or not) is a
plan of one step, for which the entry is read before. The others are sent as they are: they read
nothing, and cost what they cost in 1.31.
"""

from __future__ import annotations

from pyipvsadm.errors import EXIT_REFUSED, OperationError, RefusedError, format_error
from pyipvsadm.model import (
    DEL_DEST,
    DEL_SERVICE,
    FLUSH,
    NEW_DEST,
    NEW_SERVICE,
    SET_DEST,
    SET_SERVICE,
    ZERO,
    Change,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyipvsadm.commands.confirm import Confirmation
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend

_REMOVING = (DEL_SERVICE, DEL_DEST, FLUSH)
# What is in the history: always, and with JOURNAL=all.
_RECORDED = (DEL_SERVICE, FLUSH)
_RECORDED_IF_ALL = (NEW_SERVICE, SET_SERVICE, NEW_DEST, SET_DEST, DEL_DEST)


def apply_change(
    wanted: Change,
    backend: Backend,
    env: Environment,
    options: Mapping[str, object],
    confirmation: Confirmation | None = None,
) -> int:
    """Send one change. Print nothing unless it is refused; to a person at a terminal, say how many
    active connections removed servers had, how the removal is undone, and which settings of a server
    were reset. options: of the command line.
    """
    is_terminal = env.is_error_terminal()
    hint = ""
    removal = None
    if is_terminal and wanted.op in _REMOVING:
        removal = _read_removal(wanted, backend)
    elif is_terminal and (resets := _find_resets(wanted, backend)):
        hint = f"{resets}; --keep leaves settings that are not given"
    refused, in_history = _send_change(wanted, backend, env, confirmation)
    if removal:
        hint = _describe_removal(*removal, in_history, options)
    if hint and not refused:
        from pyipvsadm.commands.report import print_hints  # noqa: PLC0415  # a person waits longer than a script

        print_hints(env, [hint])
    for number in refused:
        env.write_stderr(format_error(wanted.op, number))
        if env.is_error_terminal():
            from pyipvsadm.commands.report import print_hints  # noqa: PLC0415
            from pyipvsadm.grammar import hints  # noqa: PLC0415  # a person waits longer than a script

            print_hints(env, hints.suggest_for_refusal(wanted, number, backend, env.is_root))
    return EXIT_REFUSED if refused else 0


def apply_with_confirmation(
    request: Request, wanted: Change, backend: Backend, env: Environment
) -> int:
    """Send one change, and take it back unless it is confirmed in time (--confirm-within)."""
    from pyipvsadm.commands.confirm import start_confirmation  # noqa: PLC0415  # few runs need it

    confirmation = start_confirmation(request, backend, env)
    status = apply_change(wanted, backend, env, request.ours, confirmation)
    return confirmation.await_end(status) if confirmation else status


def _send_change(
    wanted: Change, backend: Backend, env: Environment, confirmation: Confirmation | None
) -> tuple[list[int], bool]:
    """Send one change. Return the errno of its refusal, if it is refused, and True if the history
    has an entry for it.
    """
    if _is_recorded(wanted, backend, env):
        return _execute_change(wanted, backend, env, confirmation)
    return [number for _, number in backend.apply([wanted])], False


def _is_recorded(wanted: Change, backend: Backend, env: Environment) -> bool:
    """Return True if the history is to get an entry for this change."""
    return bool(env.find_history_folder(backend.name)) and (
        wanted.op in _RECORDED or (wanted.op in _RECORDED_IF_ALL and env.records_all())
    )


def _execute_change(
    wanted: Change, backend: Backend, env: Environment, confirmation: Confirmation | None
) -> tuple[list[int], bool]:
    """Send one change as a plan, with its entry in the history. Return as _send_change does."""
    from contextlib import nullcontext  # noqa: PLC0415  # a plain command does not pay for it

    from pyipvsadm.change import execute, pace, plan  # noqa: PLC0415
    from pyipvsadm.commands.history import open_journal  # noqa: PLC0415

    try:
        found = plan.make_change_plan(wanted, backend)
    except (OperationError, RefusedError) as exc:
        if confirmation and isinstance(exc, OperationError):
            raise
        # The history never stops a change. If the table refuses to be read, it refuses the change.
        if isinstance(exc, OperationError):
            env.write_stderr(f"this change is not in the history: {exc}")
        return [number for _, number in backend.apply([wanted])], False
    journal = confirmation.open_journal() if confirmation else open_journal(backend, env)
    # One change needs no lock.
    outcome = execute.execute(found, backend, pace.Pace(), nullcontext, journal=journal)
    in_history = journal is not None and journal.number != 0
    return [outcome.errno] if outcome.errno else [], in_history


def _read_removal(wanted: Change, backend: Backend) -> tuple[int, bool, str] | None:
    """Return how many active connections the servers have that a change removes, True if no server
    would be left, and the rule that adds a single server again ("" if it is not one); None if the
    table cannot be read.
    """
    from pyipvsadm.change.describe import count_connections  # noqa: PLC0415  # a person waits longer than a script
    from pyipvsadm.rules import writer  # noqa: PLC0415

    try:
        services = [wanted.service] if wanted.service else backend.read_services(counters=False)
        servers = [
            (service, server) for service in services for server in backend.read_servers(service)
        ]
    except (OperationError, RefusedError):
        return None
    removed = [
        (service, server)
        for service, server in servers
        if wanted.server is None or server.key() == wanted.server.key()
    ]
    connections = sum(count_connections(*entry) for entry in removed)
    is_single = wanted.server is not None and bool(removed)
    rule = writer.change_rule(Change(NEW_DEST, *removed[0])).rstrip() if is_single else ""
    return connections, len(removed) == len(servers) and bool(services), rule


def _describe_removal(
    connections: int,
    leaves_none: bool,
    rule: str,
    in_history: bool,
    options: Mapping[str, object],
) -> str:
    """Return how many active connections removed servers had, and the command that undoes the
    removal. Return "" if there were none and either other servers are left or no command undoes it.

    The first three are those of _read_removal. in_history: --undo means this change.
    """
    from pyipvsadm.commands.report import format_program  # noqa: PLC0415
    from pyipvsadm.text import pluralize  # noqa: PLC0415

    undo = "--undo" if in_history else rule
    if not (connections or (undo and leaves_none)):
        return ""
    hint = f"the removed servers had {pluralize(connections, 'active connection')}"
    return hint + (f"; to undo: {format_program(options)} {undo}" if undo else "")


def _find_resets(wanted: Change, backend: Backend) -> str:
    """Return the settings of a server that a change sets back to their defaults."""
    if wanted.op != SET_DEST or wanted.service is None or wanted.server is None:
        return ""
    from pyipvsadm.change.describe import describe_resets  # noqa: PLC0415  # a person waits longer than a script

    key = wanted.server.key()
    try:
        servers = backend.read_servers(wanted.service)
    except (OperationError, RefusedError):
        return ""
    return "".join(
        describe_resets(server, wanted.server) for server in servers if server.key() == key
    )


def run_on_copy(
    backend: Backend,
    env: Environment,
    body: Callable[[Backend], int],
    change: Change | None = None,
    with_clients: bool = False,
) -> int:
    """Run body on a copy of the table, print what it would change, and what was assumed.

    change: the single change that the body makes, if it is one. with_clients: count the clients in
    the connection table that it concerns. Return the body's status.
    """
    from pyipvsadm.change import describe, desired, dry_run, plan, snapshot  # noqa: PLC0415
    from pyipvsadm.change.impact import describe_impact  # noqa: PLC0415
    from pyipvsadm.commands.impact import assess_plan  # noqa: PLC0415
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
        planned = plan.make_plan(goal, held, prune=True)
        lines = describe.describe_plan(planned)
        lines += describe_impact(assess_plan(planned, held, copy, backend, env, with_clients))
    if status == 0 or lines:
        env.write_stdout(
            "".join(f"dry run: {line}\n" for line in lines or ["would change nothing"])
        )
    for line in copy.list_assumptions():
        env.write_stderr(line)
    return status
