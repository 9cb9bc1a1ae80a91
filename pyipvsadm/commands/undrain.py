"""Give drained servers their weights back, by what the history says (--undrain).

Owns: which changes of the history are drainings, and which of their steps concern the server. Must
never know: how a change is read from the history or undone.
"""

from __future__ import annotations

from contextlib import nullcontext

from pyipvsadm.addresses import format_address, format_numeric
from pyipvsadm.change.execute import execute
from pyipvsadm.change.journal import OPEN, UNDONE, identify_table
from pyipvsadm.change.pace import Pace, describe_server
from pyipvsadm.change.recorded import read_change, set_state
from pyipvsadm.change.undo import plan_undo
from pyipvsadm.commands.fallback import clear_fallback
from pyipvsadm.commands.history import open_journal, read_history
from pyipvsadm.commands.report import format_program, print_undo_failure, print_undo_plan
from pyipvsadm.errors import EXIT_REFUSED, OperationError, RefusedError, UsageError
from pyipvsadm.model import SET_DEST, SET_SERVICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.change.execute import Outcome
    from pyipvsadm.change.plan import Plan, Step
    from pyipvsadm.change.recorded import Entry
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend, Server, Service


def run_undrain(request: Request, backend: Backend, env: Environment) -> int:
    """Undo the drainings of a server. Return 0; 1 if other programs have changed some of it since;
    255 if the kernel refused; 128 + n for signal n.

    Raise UsageError (status 2) if the history has no draining of the server.
    """
    drained = _Drained(request, backend, env)
    try:
        with backend.lock_table():
            found = plan_undo(drained.steps, backend)
            plan = found.make_plan()
            left = [f"{_describe_step(step)}: {reason}" for step, reason in found.left]
            if "dry-run" in request.slots:
                return print_undo_plan(env, plan, left)
            env.block_signals()
            # The lock is held already, since the table was read.
            outcome = execute(
                plan,
                backend,
                Pace(lambda: env.wait(0)),
                nullcontext,
                journal=open_journal(backend, env) if plan.phases else None,
            )
    except RefusedError as exc:  # a reading
        raise OperationError(str(exc), EXIT_REFUSED) from None
    status = _report(plan, outcome, left, env)
    if not (outcome.refused or outcome.signal):
        drained.finish(bool(left))
    return status


class _Drained:
    """Hold the steps that drained the server: of each service the newest that is not undone."""

    def __init__(self, request: Request, backend: Backend, env: Environment) -> None:
        self._request = request
        self._backend = backend
        self._env = env
        self._folder = env.find_history_folder(backend.name)
        self.steps: list[Step] = []
        self._entries: list[tuple[Entry, bool]] = []  # whether other servers were drained with it
        self._flags: dict[
            object, tuple[Entry, Service]
        ] = {}  # by service: its fallback flag was set
        self._collect()
        if not self.steps:
            server = request.server
            assert server is not None
            name = (
                format_address(server.af, server.addr)
                if request.port is None
                else format_numeric(server.af, server.addr, request.port)
            )
            raise UsageError(
                f"the history has no draining of {name} that is not undone: `ipvsadm --history' lists changes"
            )

    def _collect(self) -> None:
        boot = identify_table(self._backend.name)["boot"]
        seen = set()
        for entry in reversed(read_history(self._backend, self._env)):
            if (
                entry.state == UNDONE
                or entry.header.get("undoes")
                or entry.header.get("boot") != boot
                or not any(word.startswith("--drain") for word in entry.argv)
            ):
                continue
            drained, others = [], False
            for step in read_change(self._folder, entry, self._env)[0].iter_steps():
                service, server = step.change.service, step.change.server
                if step.change.op == SET_SERVICE and service is not None:
                    self._flags.setdefault(service.key(), (entry, service))
                elif service is None or server is None or not self._matches(service, server):
                    others = True
                elif (service.key(), server.key()) not in seen:
                    seen.add((service.key(), server.key()))
                    drained.append(step)
            if drained:
                self.steps += drained
                self._entries.append((entry, others))

    def _matches(self, service: Service, server: Server) -> bool:
        """Return True if the request is about this server of this service."""
        asked, port = self._request.server, self._request.port
        assert asked is not None
        return (
            (server.af, server.addr) == (asked.af, asked.addr)
            and port in (None, server.port)
            and (
                not self._request.services
                or any(service.key() == each.key() for each in self._request.services)
            )
        )

    def finish(self, is_left: bool) -> None:
        """Mark the drainings as undone that are undone as a whole, and clear the fallback flag of
        services in which no server has weight 0.
        """
        done = [] if is_left else [entry for entry, others in self._entries if not others]
        done = [entry for entry in done if entry.state != OPEN]  # one that still waits will see it
        services = {step.change.service.key() for step in self.steps if step.change.service}
        for key, (entry, service) in self._flags.items():
            if key not in services:
                continue
            is_cleared, sentence = clear_fallback(
                service, self._backend, format_program(self._request.ours)
            )
            if sentence:
                self._env.write_stderr(sentence)
            if is_cleared:
                done.append(entry)
        for entry in done:
            set_state(self._folder, entry, UNDONE)


def _report(plan: Plan, outcome: Outcome, left: list[str], env: Environment) -> int:
    """Print what was brought back, and return the exit status."""
    status = print_undo_failure(env, outcome, left, _describe_step)
    if status:
        return status
    for step in plan.iter_steps():
        assert step.change.server is not None
        end = "again" if step.change.op == SET_DEST else "and was added again"
        env.write_stderr(f"{_describe_step(step)} has weight {step.change.server.weight} {end}")
    if not plan.phases and not left:
        env.write_stderr("nothing to do: the weights are as before the draining")
    return 1 if left else 0


def _describe_step(step: Step) -> str:
    assert step.change.service is not None
    assert step.change.server is not None
    return describe_server(step.change.service, step.change.server)
