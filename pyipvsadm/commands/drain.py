"""Drain servers: weight 0, wait until no connection is left, then delete if that was asked.

Owns: which servers a request means, the lines that undo it, messages and the exit status. Must
never know: netlink, the grammar, how weights are set and put back (change/execute.py), when a
server is drained (change/pace.py), how progress is drawn.

The lines that undo the draining are written to standard output before anything is changed, so that
they survive whatever happens to this process. How it ended is written to standard error.
"""

from __future__ import annotations

from pyipvsadm import addresses
from pyipvsadm.change.describe import describe_difference
from pyipvsadm.change.execute import execute, list_standing
from pyipvsadm.change.merge import find_matching, find_server, find_service
from pyipvsadm.change.moves import describe_drain
from pyipvsadm.change.pace import (
    DrainPace,
    DrainTarget,
    Pace,
    count_remaining,
    describe_server,
    sum_remaining,
)
from pyipvsadm.change.plan import Plan, make_drain_plan
from pyipvsadm.change.snapshot import read_rows, read_services
from pyipvsadm.commands.fallback import clear_fallback, plan_fallback
from pyipvsadm.commands.history import open_journal
from pyipvsadm.commands.report import format_program, print_not_undone
from pyipvsadm.errors import EXIT_REFUSED, SIGNALS, OperationError, RefusedError
from pyipvsadm.model import (
    DEL_DEST,
    DEL_SERVICE,
    NEW_DEST,
    NEW_SERVICE,
    PERSISTENT,
    SET_DEST,
    Change,
)
from pyipvsadm.rules import writer
from pyipvsadm.scheduling.impact import HASHING
from pyipvsadm.views.progress import open_progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyipvsadm.change.execute import Outcome
    from pyipvsadm.change.pace import Remaining
    from pyipvsadm.change.plan import Step
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend, Server, Service


def run_drain(request: Request, backend: Backend, env: Environment) -> int:
    """Carry out a request with --drain and return the exit status.

    Raise OperationError if there is nothing to drain.
    """
    return _Draining(request, backend, env).run()


def find_targets(request: Request, backend: Backend) -> list[DrainTarget]:
    """Return the services and servers that a request is about.

    Raise OperationError if the service or server does not exist, or if the server is ambiguous.
    """
    change = request.change
    if request.command == "delete-service":
        service = find_service(backend, request.services[0], DEL_SERVICE)
        return [DrainTarget(service, backend.read_servers(service), whole=True)]
    if change is not None:
        assert change.server is not None
        service = find_service(backend, request.services[0], change.op)
        return [DrainTarget(service, [find_server(backend, service, change.server, request.port)])]
    targets = _find_in_services(request, backend)
    if not targets:
        raise OperationError("no service has this real server", EXIT_REFUSED)
    return targets


def _find_in_services(request: Request, backend: Backend) -> list[DrainTarget]:
    """Return the services that have the server: of those named, or of all if none was named."""
    assert request.server is not None
    named = [find_service(backend, service, SET_DEST) for service in request.services]
    # A dump leaves out entries if the table changes meanwhile, and a server that is left out would
    # not be drained. Hence the consistent readings.
    rows = read_services(backend, named, {}) if named else read_rows(backend)
    targets = [
        DrainTarget(service, find_matching(servers, request.server, request.port))
        for service, servers in rows
    ]
    return [target for target in targets if target.servers]


def format_command(
    program: str, command: str, service: Service, server: Server | None = None, more: str = ""
) -> str:
    """Return an ipvsadm command line. program: see format_program."""
    return f"{program} {command} {writer.format_entry(service, server)}{more}"


class _Draining:
    """Carry out one request with --drain."""

    def __init__(self, request: Request, backend: Backend, env: Environment) -> None:
        seconds = request.ours["drain"]
        self._request = request
        self._seconds = seconds if isinstance(seconds, int) else None
        self._deletion = (
            request.change if request.command in ("delete-server", "delete-service") else None
        )
        self._backend = backend
        self._env = env
        self._program = format_program(request.ours)
        self._fallback = Plan()  # sets the fallback flag of services

    def run(self) -> int:
        """Drain the servers and return the exit status."""
        env = self._env
        targets = find_targets(self._request, self._backend)
        deletion = self._deletion
        if deletion is not None and deletion.server is not None:
            # The request may have left the port out; the server that was found has it.
            deletion.service, deletion.server = targets[0].service, targets[0].servers[0]
        plan = make_drain_plan(targets, deletion)
        pace = DrainPace(
            self._backend,
            targets,
            "drain-inactive" in self._request.ours,
            self._seconds,
            env.read_clock,
            env.wait,
            lambda: open_progress(
                env.write_raw_stderr,
                env.write_stderr,
                env.environ,
                env.is_error_terminal(),
                self._seconds,
            ),
        )
        if "fallback" in self._request.ours:
            self._fallback = plan_fallback(target.service for target in targets)
        warnings = self._list_warnings(targets)
        if "dry-run" in self._request.slots:
            for line in warnings:
                env.write_stderr(line)
            return self._print_dry_run(plan, targets)
        undo_lines = [self._format_undo(step) for step in plan.phases[0]]
        if undo_lines:
            if env.is_output_terminal() and env.is_error_terminal():
                env.write_stderr("to undo the draining:")
            env.write_stdout("".join(f"{line}\n" for line in undo_lines))
        env.block_signals()
        for line in warnings:
            env.write_stderr(line)
        try:
            outcome = self._execute(self._fallback, Pace())
            if not outcome.refused:  # else nothing is drained
                outcome = self._execute(plan, pace)
        except (OperationError, RefusedError) as exc:
            env.write_stderr(f"{exc}: stopped{self._nothing_deleted}")
            # The table does not answer: present weights are unknown, the former ones are known.
            for line in undo_lines:
                env.write_stderr(f"to undo: {line}")
            return exc.status if isinstance(exc, OperationError) else EXIT_REFUSED
        status = self._report(plan, outcome, pace.remaining, targets[0])
        if not status:
            self._print_end(plan, targets, pace.waited)
        is_restored = bool(outcome.signal or outcome.undone or (self._deletion and not status))
        with_undo = {step.change.service.key() for step in plan.phases[0] if step.change.service}
        for step in self._fallback.iter_steps():
            assert step.change.service is not None
            stays_by_us = step.change.service.key() in with_undo and not is_restored
            is_cleared, sentence = clear_fallback(step.change.service, self._backend, self._program)
            if sentence and (is_cleared or not stays_by_us):
                env.write_stderr(sentence)
        return status

    def _execute(self, plan: Plan, pace: Pace) -> Outcome:
        """Carry out a plan, with an entry in the journal if it has a step."""
        has_steps = any(plan.phases)
        journal = open_journal(self._backend, self._env) if has_steps else None
        return execute(plan, self._backend, pace, self._backend.lock_table, journal=journal)

    def _print_dry_run(self, plan: Plan, targets: list[DrainTarget]) -> int:
        """Print what draining would do, and how many connections it would wait for."""
        steps = [*self._fallback.iter_steps(), *plan.phases[0]]
        lines = [f"{_describe_step(step)}: {describe_difference(step)}" for step in steps]
        inactive = "drain-inactive" in self._request.ours
        remaining = sum_remaining(
            count_remaining(target.service, server, inactive)
            for target in targets
            for server in target.servers
        )
        lines.append(f"would wait for {remaining} to end")
        if plan.phases[1]:
            target = targets[0]
            command, server = ("-D", None) if target.whole else ("-d", target.servers[0])
            lines.append(f"then: {format_command(self._program, command, target.service, server)}")
        self._env.write_stdout("".join(f"dry run: {line}\n" for line in lines))
        return 0

    def _report(
        self, plan: Plan, outcome: Outcome, remaining: Remaining, target: DrainTarget
    ) -> int:
        """Print why the draining ended early, if it did, and return the exit status."""
        env = self._env
        for step, reason in outcome.refused:
            deletes = step.change.op in (DEL_SERVICE, DEL_DEST)
            env.write_stderr(reason if deletes else f"{_describe_step(step)}: {reason}")
        if outcome.signal:
            env.write_stderr(f"{SIGNALS[outcome.signal]}: {remaining} left{self._nothing_deleted}")
        elif outcome.stopped:
            ended = "" if remaining else ": stopped"
            env.write_stderr(f"{outcome.stopped}{ended}{self._nothing_deleted}")
            for step in list_standing(plan, outcome, self._backend):
                env.write_stderr(
                    f"{_describe_step(step)} stays at weight 0; to undo: {self._format_undo(step)}"
                )
            if remaining and self._deletion:
                command, server = ("-D", None) if target.whole else ("-d", target.servers[0])
                line = format_command(self._program, command, target.service, server)
                env.write_stderr(f"to delete it all the same: {line}")
            return 1
        for step in outcome.undone:
            if step.change.op != SET_DEST:  # the fallback flag, and no weight was changed
                continue
            env.write_stderr(f"{_describe_step(step)} has weight {_get_weight(step)} again")
        print_not_undone(env, outcome, _describe_step)
        return 128 + outcome.signal if outcome.signal else EXIT_REFUSED if outcome.refused else 0

    def _print_end(self, plan: Plan, targets: Sequence[DrainTarget], waited: float) -> None:
        """Print that the servers are drained, and the commands that bring them back."""
        first = targets[0]
        servers = [(target.service, server) for target in targets for server in target.servers]
        name = describe_server(*servers[0]) if len(servers) == 1 else f"{len(servers)} servers"
        state = "deleted" if self._deletion else "weight 0"
        if first.whole:
            name, state = writer.format_selector(first.service), "deleted"
            added = [Change(NEW_SERVICE, first.service)]
            added += [Change(NEW_DEST, first.service, server) for server in reversed(first.servers)]
        elif self._deletion:
            added = [Change(NEW_DEST, *servers[0])]
        else:
            added = []
        commands = [
            f"{self._program} {writer.change_rule(change).rstrip()}" for change in added
        ] or [self._format_undo(step) for step in plan.phases[0]]
        end = f"{name} drained in {waited:.0f} s, {state}"
        if not commands:  # the weight was 0 before
            self._env.write_stderr(end)
        elif len(commands) == 1:
            self._env.write_stderr(f"{end}; to bring it back: {commands[0]}")
        elif self._env.find_history_folder(self._backend.name) and not (
            self._deletion or self._request.services
        ):
            server = servers[0][1]
            name = (
                addresses.format_address(server.af, server.addr)
                if self._request.port is None
                else addresses.format_numeric(server.af, server.addr, server.port)
            )
            self._env.write_stderr(
                f"{end}; to bring them back: {self._program} --undrain -r {name}"
            )
        else:
            self._env.write_stderr(f"{end}; to bring {'it' if first.whole else 'them'} back:")
            for command in commands:
                self._env.write_stderr(command)

    @property
    def _nothing_deleted(self) -> str:
        return ", nothing deleted" if self._deletion else ""

    def _format_undo(self, step: Step) -> str:
        """Return the command that gives a server its weight back."""
        service, server = step.change.service, step.change.server
        assert service is not None
        more = f" --keep -w {_get_weight(step)}"
        if any(service.key() == each.change.record.key() for each in self._fallback.iter_steps()):
            more += " --clear-fallback"
        return format_command(self._program, "-e", service, server, more)

    def _list_warnings(self, targets: Sequence[DrainTarget]) -> list[str]:
        """Return the warnings: clients of templates that still come; clients that a hash scheduler
        refuses or moves.
        """
        warnings = []
        with_flag = {
            step.change.record.key(): step.change.service for step in self._fallback.iter_steps()
        }
        for target in targets:
            warnings.append(self._describe_templates(target.service))
            if target.service.scheduler in HASHING and not target.whole:
                service = with_flag.get(target.service.key()) or target.service
                warnings.append(self._describe_hashing(service, target))
        return [line for line in warnings if line]

    def _describe_hashing(self, service: Service, target: DrainTarget) -> str:
        from pyipvsadm.commands.predict import read_build  # noqa: PLC0415  # few schedulers need it

        rows = read_services(self._backend, [service], {})
        return describe_drain(
            service,
            rows[0][1] if rows else [],
            {server.key() for server in target.servers},
            self._deletion is not None,
            read_build(self._backend, self._env),
            self._program,
        )

    def _describe_templates(self, service: Service) -> str:
        """Return the warning if persistence keeps sending clients to a server with weight 0."""
        if not (
            service.flags & PERSISTENT
            and self._backend.read_sysctl("expire_quiescent_template") == "0"
        ):
            return ""
        prefix = ""
        netns_name = self._request.ours.get("netns")
        if netns_name is not None:
            from pyipvsadm.netns import format_nsenter  # noqa: PLC0415  # few need it

            prefix = format_nsenter(str(netns_name))
        named = writer.format_selector(service)
        return (
            f"warning: {named} is persistent: clients that come back within {service.timeout} seconds still go to their"
            f" server, at weight 0 too; `{prefix}sysctl net.ipv4.vs.expire_quiescent_template=1' ends that"
        )


def _describe_step(step: Step) -> str:
    assert step.change.service is not None
    if step.change.server is None:
        return writer.format_selector(step.change.service)
    return describe_server(step.change.service, step.change.server)


def _get_weight(step: Step) -> int:
    """Return the weight that a server had before."""
    before = step.undo[0].server
    assert before is not None
    return before.weight
