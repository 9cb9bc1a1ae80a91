"""Print the parts of an outcome that all commands report alike, and commands to run later."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyipvsadm.change.execute import Outcome
    from pyipvsadm.change.plan import Step
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request


def print_not_undone(env: Environment, outcome: Outcome, describe: Callable[[Step], str]) -> None:
    """Print each step that could not be undone, with the reason."""
    for step, reason in outcome.not_undone:
        env.write_stderr(f"not undone: {describe(step)}: {reason}")


def format_program(request: Request) -> str:
    """Return the beginning of a command for the same table: ipvsadm, with the backend and the
    network namespace of this run.
    """
    program = "ipvsadm"
    for option in ("backend", "netns"):
        value = request.ours.get(option)
        if isinstance(value, str):
            from shlex import quote  # noqa: PLC0415  # costs 8 ms, and is seldom needed

            program += f" --{option} {quote(value)}"
    return program
