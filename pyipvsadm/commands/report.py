"""Print the parts of an outcome that all commands report alike."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyipvsadm.change.execute import Outcome
    from pyipvsadm.change.plan import Step
    from pyipvsadm.environment import Environment


def print_not_undone(env: Environment, outcome: Outcome, describe: Callable[[Step], str]) -> None:
    """Print each step that could not be undone, with the reason."""
    for step, reason in outcome.not_undone:
        env.write_stderr(f"not undone: {describe(step)}: {reason}")
