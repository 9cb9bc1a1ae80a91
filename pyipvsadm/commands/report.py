"""Print findings, hints and the parts of an outcome that all commands report alike; format the
beginning of commands to run later.
"""

from __future__ import annotations

from pyipvsadm.errors import EXIT_REFUSED, SIGNALS, Finding, format_findings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pyipvsadm.change.execute import Outcome
    from pyipvsadm.change.plan import Plan, Step
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


def print_undo_plan(
    env: Environment, plan: Plan, left: Iterable[str], heading: Sequence[str] = ()
) -> int:
    """Print what an undo would do, after its heading, and what it would leave. Return the status: 1
    if it would leave something.
    """
    from pyipvsadm.change.describe import describe_plan  # noqa: PLC0415  # only a dry run needs it

    kept = [f"would leave {line}" for line in left]
    lines = [*heading, *(describe_plan(plan) or ["would change nothing"]), *kept]
    env.write_stdout("".join(f"dry run: {line}\n" for line in lines))
    return 1 if kept else 0


def print_undo_failure(
    env: Environment,
    outcome: Outcome,
    left: Iterable[str],
    describe: Callable[[Step], str],
    subject: str = "",
) -> int:
    """Print what an undo left, and how it failed. Return the status if it failed, else 0.

    subject: what is not undone then, as the beginning of a sentence.
    """
    for step, reason in outcome.refused:
        env.write_stderr(f"{describe(step)}: {reason}")
    print_not_undone(env, outcome, describe)
    for line in left:
        env.write_stderr(f"left as it is: {line}")
    if not (outcome.refused or outcome.signal):
        return 0
    reason = SIGNALS[outcome.signal] if outcome.signal else "refused"
    state = "some of it was done" if outcome.not_undone else "the table is as before"
    env.write_stderr(f"{reason}: {subject}{state}")
    return 128 + outcome.signal if outcome.signal else EXIT_REFUSED


def format_program(options: Mapping[str, object]) -> str:
    """Return the beginning of a command for the same table: ipvsadm, with the backend and the
    network namespace of this run. options: of this run, by long name.
    """
    program = "ipvsadm"
    for option in ("backend", "netns"):
        value = options.get(option)
        if isinstance(value, str):
            from shlex import quote  # noqa: PLC0415  # costs 8 ms, and is seldom needed

            program += f" --{option} {quote(value)}"
    return program
