"""Send one change and report a refusal.

Owns: the commands that change one thing (-A -E -D -a -e -d -C -Z --set and the sync daemons), the
dry run of any command. Must never know: netlink, how a line is parsed.
"""

from __future__ import annotations

from pyipvsadm.errors import EXIT_REFUSED, format_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyipvsadm.environment import Environment
    from pyipvsadm.model import Backend, Change


def apply_change(wanted: Change, backend: Backend, env: Environment) -> int:
    """Send one change. Print nothing unless it is refused."""
    refused = backend.apply([wanted])
    for _, number in refused:
        env.write_stderr(format_error(wanted.op, number))
        if env.is_error_terminal():
            from pyipvsadm.grammar import hints  # noqa: PLC0415  # a person waits longer than a script

            print_hints(env, hints.suggest_for_refusal(wanted, number, backend))
    return EXIT_REFUSED if refused else 0


def print_hints(env: Environment, hints: Iterable[str]) -> None:
    """Write hints, a line each. To a person only: scripts get the reference's text and no more."""
    for hint in hints:
        env.write_stderr(f"hint: {hint}")


def run_on_copy(backend: Backend, env: Environment, body: Callable[[Backend], int]) -> int:
    """Run body on a copy of the table, and say what was not known of it."""
    from pyipvsadm.change import dry_run, snapshot  # noqa: PLC0415

    copy = dry_run.DryRunTable(backend, snapshot.read_consistent(backend))
    status = body(copy)
    for line in copy.list_assumptions():
        env.write_stderr(line)
    return status
