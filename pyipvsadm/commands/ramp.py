"""Raise a server's weight in steps (--ramp).

Owns: what the request means for the present server, the line that undoes it, messages and the exit
status. Must never know: which weights the steps have (change/ramp.py), when they are sent
(change/pace.py).

The line that undoes the ramp is written to standard output before anything is changed.
"""

from __future__ import annotations

import errno

from pyipvsadm.change.describe import describe_difference
from pyipvsadm.change.execute import execute
from pyipvsadm.change.merge import find_matching, find_server, find_service, merge_edit
from pyipvsadm.change.moves import WITH_FALLBACK, describe_ramp
from pyipvsadm.change.pace import RampPace, describe_server
from pyipvsadm.change.ramp import choose_weights, explain_unsuitable, make_ramp_plan, make_states
from pyipvsadm.change.snapshot import SERVER_SETTINGS, read_services
from pyipvsadm.commands.history import open_journal
from pyipvsadm.commands.report import format_program
from pyipvsadm.errors import EXIT_REFUSED, OperationError, RefusedError, UsageError, format_error
from pyipvsadm.model import NEW_DEST, SET_DEST, Change
from pyipvsadm.rules import writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend, Server, Service


def run_ramp(request: Request, backend: Backend, env: Environment) -> int:
    """Carry out -e or -a with --ramp. Return 0; 1 if another program changed the server meanwhile;
    255 if a step was refused; 128 + n if signal n stopped it.

    Raise UsageError (status 2) if the scheduler does not follow weights, or if the weight leaves no
    room for steps.
    """
    asked = merge_edit(request, backend) if "keep" in request.ours else request.change
    assert asked is not None
    assert asked.service is not None
    assert asked.server is not None
    service = find_service(backend, asked.service, asked.op)
    ramp = _Ramp(request, service, asked.server, backend, env)
    if "dry-run" in request.slots:
        return ramp.print_dry_run()
    return ramp.run()


class _Ramp:
    """Carry out one request with --ramp. Raise UsageError or OperationError if it cannot be ramped."""

    def __init__(
        self, request: Request, service: Service, target: Server, backend: Backend, env: Environment
    ) -> None:
        self._service = service
        self._backend = backend
        self._env = env
        self._program = format_program(request.ours)
        self._name = describe_server(service, target)
        seconds = request.ours["ramp"]
        assert isinstance(seconds, int)
        self._seconds = seconds
        self._target = target
        unsuitable = explain_unsuitable(service)
        if unsuitable:
            selector = writer.format_selector(service)
            raise UsageError(
                f"--ramp does not work for {selector}: {unsuitable} (nothing was done)"
            )
        self._before = (
            find_server(backend, service, target, target.port)
            if request.command == "edit-server"
            else None
        )
        rows = read_services(backend, [service], {})
        self._servers = rows[0][1] if rows else []
        if self._before is None and find_matching(self._servers, target, target.port):
            raise OperationError(format_error(NEW_DEST, errno.EEXIST), EXIT_REFUSED)
        start = 0 if self._before is None else self._before.weight
        self._check_weight(start)
        others = [server.weight for server in self._servers if server.key() != target.key()]
        self._states = make_states(target, choose_weights(start, target.weight, others))
        self._plan = make_ramp_plan(service, self._before, self._states)

    def _check_weight(self, start: int) -> None:
        """Raise UsageError if a rise to the weight that is asked for has no steps."""
        weight = self._target.weight
        if weight <= start:
            raise UsageError(
                f"--ramp raises a weight: {self._name} has {start} and was to have {weight}"
            )
        if weight == start + 1:
            raise UsageError(
                f"from weight {start} to {weight} is a single step: --ramp needs larger weights in the"
                " whole service, such as 100 in place of 1"
            )

    def run(self) -> int:
        """Raise the weight and return the exit status."""
        env = self._env
        undo_line = self._format_undo()
        if env.is_output_terminal() and env.is_error_terminal():
            env.write_stderr("to undo the ramp:")
        # If this line cannot be written, nothing is changed.
        env.write_stdout(f"{undo_line}\n")
        env.block_signals()
        self._warn()
        pace = RampPace(
            self._backend,
            self._service,
            self._states,
            self._seconds,
            env.read_clock,
            env.wait,
            self._report_step,
        )
        try:
            outcome = execute(
                self._plan,
                self._backend,
                pace,
                self._backend.lock_table,
                journal=open_journal(self._backend, env),
            )
        except (OperationError, RefusedError) as exc:
            env.write_stderr(f"{exc}: stopped; to undo: {undo_line}")
            return exc.status if isinstance(exc, OperationError) else EXIT_REFUSED
        weight = self._get_weight(len(outcome.done))
        if outcome.refused:
            stays = f"; {self._name} stays at weight {weight}, to undo: {undo_line}"
            env.write_stderr(f"{outcome.refused[0][1]}{stays if outcome.done else ''}")
            return EXIT_REFUSED
        if pace.signal:
            env.write_stderr(
                f"{outcome.stopped}: {self._name} stays at weight {weight}; to undo: {undo_line}"
            )
            return 128 + pace.signal
        if outcome.stopped:
            env.write_stderr(f"{outcome.stopped}: the ramp stopped after weight {weight}")
            return 1
        env.write_stderr(
            f"{self._name} has weight {weight} after {self._seconds} s; to undo: {undo_line}"
        )
        return 0

    def print_dry_run(self) -> int:
        """Print the steps, and when each would be sent."""
        self._warn()
        lines = []
        for index, (step,) in enumerate(self._plan.phases):
            due = self._seconds * index / (len(self._plan.phases) - 1)
            text = describe_difference(step) or step.format_rule().rstrip()
            lines.append(f"dry run: after {due:.0f} s: {text}\n")
        self._env.write_stdout("".join(lines))
        return 0

    def _warn(self) -> None:
        """Warn of the clients that each step moves."""
        if self._service.scheduler in WITH_FALLBACK:
            from pyipvsadm.commands.predict import read_build  # noqa: PLC0415  # few schedulers need it

            build = read_build(self._backend, self._env)
            self._env.write_stderr(describe_ramp(self._service, self._servers, self._states, build))

    def _report_step(self, index: int, seconds: float) -> None:
        weight, target = self._states[index].weight, self._states[-1].weight
        self._env.write_stderr(
            f"weight {weight} of {target}, {self._states[index + 1].weight} in {seconds:.0f} s"
        )

    def _get_weight(self, steps: int) -> int:
        """Return the weight after this number of steps."""
        if steps:
            return self._states[steps - 1].weight
        return 0 if self._before is None else self._before.weight

    def _format_undo(self) -> str:
        """Return the command that undoes the ramp."""
        before, service = self._before, self._service
        if before is None:
            return f"{self._program} -d {writer.format_entry(service, self._target)}"
        if all(
            getattr(before, name) == getattr(self._target, name)
            for name in SERVER_SETTINGS
            if name != "weight"
        ):
            return f"{self._program} -e {writer.format_entry(service, before)} --keep -w {before.weight}"
        return f"{self._program} {writer.change_rule(Change(SET_DEST, service, before)).rstrip()}"
