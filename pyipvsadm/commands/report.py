"""Print findings, hints and the parts of an outcome that all commands report alike."""

from __future__ import annotations

from pyipvsadm.errors import Finding, format_findings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyipvsadm.change.execute import Outcome
    from pyipvsadm.change.plan import Step
    from pyipvsadm.environment import Environment


def print_hints(env: Environment, hints: Iterable[str]) -> None:
    """Write hints, a line each. To a person only: scripts get the reference's text and no more."""
    for hint in hints:
        env.write_stderr(f"hint: {hint}")


def print_findings(env: Environment, findings: Sequence[Finding]) -> None:
    """Print findings, a line each, on standard error."""
    if findings:
        env.write_stderr(format_findings(findings))


def read_typed_rules(env: Environment) -> bytes:
    """Return the rules on standard input, and tell a person at a terminal how to end them."""
    if env.is_input_terminal():
        env.write_stderr("rules come from the terminal: end them with Ctrl-D on a line of its own")
    return env.read_input()


def make_refusals(steps: Iterable[tuple[Step, str]], file: str = "") -> list[Finding]:
    """Return a finding for each step that was refused, or met another program: (step, reason)."""
    return [
        Finding("refused", step.format_rule().rstrip(), reason, file=file, line=step.line)
        for step, reason in steps
    ]


def print_not_undone(env: Environment, outcome: Outcome, describe: Callable[[Step], str]) -> None:
    """Print each step that could not be undone, with the reason."""
    for step, reason in outcome.not_undone:
        env.write_stderr(f"not undone: {describe(step)}: {reason}")
