"""Carry out --apply: read rules, change the table to match them, print a summary.

Owns: what is read and checked before anything is sent, the guards, the messages. Must never know:
how a plan is made (change/plan.py) or executed (change/execute.py).
"""

from __future__ import annotations

from pyipvsadm.change import desired, plan
from pyipvsadm.change.describe import (
    count_raised,
    count_removed,
    describe_difference,
)
from pyipvsadm.change.dry_run import DryRunTable
from pyipvsadm.change.execute import execute, try_plan
from pyipvsadm.change.impact import describe_impact, make_record
from pyipvsadm.change.pace import Pace
from pyipvsadm.change.plan import Plan
from pyipvsadm.change.snapshot import Snapshot, read_consistent, read_service, read_services
from pyipvsadm.commands.apply_drain import NOT_FINISHED, HeldLock, RemovalDrain, parse_seconds
from pyipvsadm.commands.history import open_journal
from pyipvsadm.commands.impact import assess_plan
from pyipvsadm.commands.report import (
    make_refusals,
    print_findings,
    print_not_undone,
    read_typed_rules,
)
from pyipvsadm.errors import EXIT_REFUSED, SIGNALS, OperationError, RefusedError, UsageError
from pyipvsadm.model import DEL_DAEMON, DEL_DEST, DEL_SERVICE, NEW_DAEMON, NEW_DEST, NEW_SERVICE
from pyipvsadm.rules import writer
from pyipvsadm.text import format_json, pluralize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyipvsadm.change.desired import DesiredTable
    from pyipvsadm.change.execute import Outcome
    from pyipvsadm.change.impact import PlanImpact
    from pyipvsadm.change.plan import Step
    from pyipvsadm.commands.confirm import Confirmation
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend, Service

DRIFT = 1
# of the summary for machines: within it fields may be added, none goes or changes its meaning
FORMAT = 1

# they may write more than their name into comm: ldirectord does
LVS_MANAGERS = ("keepalived", "ldirectord", "kube-proxy")
KUBE = "kube-ipvs0"
MAX_NAMED = 3  # services in a message; of the others it gives only the number

_COLOURS = {
    NEW_SERVICE: 32,
    NEW_DEST: 32,
    NEW_DAEMON: 32,
    DEL_SERVICE: 31,
    DEL_DEST: 31,
    DEL_DAEMON: 31,
}
_EDITED = 33


def run_apply(request: Request, backend: Backend, env: Environment) -> int:
    """Make the table match the rules. Return 0; 255 if a change was refused; 128 + n if signal n
    stopped it.

    With --dry-run nothing is sent, and the status is 0 if there is nothing to do, 1 if there is.
    With --drain it is 1 if servers were not removed, since they were not drained in time.
    Raise UsageError (status 2) for bad input.
    """
    seconds = parse_seconds(request)
    try:
        text = _read_rules(request, env)
        confirmation = _start_confirmation(request, backend, env)
        wanted = desired.parse_desired(text, env, str(request.ours["apply"] or ""))
        del text  # of large tables it takes megabytes
        print_findings(env, wanted.repeated)
        _check_not_empty(request, wanted)
        if "prune" in request.slots and "force" not in request.slots and not backend.embedded:
            _refuse_beside_managers(request, env)
        if "dry-run" in request.slots:
            return _ApplyRun(request, wanted, backend, env, seconds).try_out()
        with HeldLock(backend) as lock:
            run = _ApplyRun(request, wanted, backend, env, seconds)
            del wanted  # as above: the run keeps it if it may need it again
            outcome = run.carry_out(lock, confirmation)
        status = run.report(outcome)
        return confirmation.await_end(status) if confirmation else status
    except RefusedError as exc:  # a reading
        raise OperationError(str(exc), EXIT_REFUSED) from None


def _start_confirmation(
    request: Request, backend: Backend, env: Environment
) -> Confirmation | None:
    if "confirm-within" not in request.ours:
        return None
    from pyipvsadm.commands.confirm import start_confirmation  # noqa: PLC0415  # few runs need it

    return start_confirmation(request, backend, env)


def _read_rules(request: Request, env: Environment) -> bytes:
    path = request.ours["apply"]
    if path is None:
        return read_typed_rules(env)
    try:
        return env.read_file(str(path))
    except OperationError as exc:
        raise UsageError(str(exc)) from None


def _check_not_empty(request: Request, wanted: DesiredTable) -> None:
    """Raise UsageError if the input has no rule: that is more often a broken generator than an
    intention.
    """
    if wanted.is_empty() and "allow-empty" not in request.slots:
        raise UsageError(
            "the input has no rule: nothing was done (--allow-empty accepts an empty input)"
        )


def _refuse_beside_managers(request: Request, env: Environment) -> None:
    """Require --force if a program that manages IPVS is running: services that FILE does not name
    may be its own.
    """
    programs = env.list_programs()
    here = [
        f"{name} is running"
        for name in LVS_MANAGERS
        if any(program.startswith(name) for program in programs)
    ]
    if env.has_interface(KUBE):
        here.append(f"there is an interface {KUBE}")
    if not here:
        return
    _require_force(
        f"{' and '.join(here)}: --prune may delete services that are not yours", request, env
    )


def _guard_servers(
    request: Request, wanted: DesiredTable, present: Snapshot, env: Environment
) -> None:
    """Require --force if a service that FILE names would lose more than half of its servers: that
    is more often a file cut short than an intention.

    Servers that are added in their place do not count. Of one or two servers, only the loss of all
    counts.
    """
    fewer = [
        f"{gone} of {count} of {writer.format_selector(service)}"
        for service, gone, count in _iter_losses(request, wanted, present)
        if 2 * gone > count
    ]
    if not fewer:
        return
    more = len(fewer) - MAX_NAMED
    said = ", ".join(fewer[:MAX_NAMED]) + (
        f", and of {pluralize(more, 'more service')}" if more > 0 else ""
    )
    _require_force(
        f"more than half of a service's servers would go ({said}), as with a file cut short",
        request,
        env,
    )


def _guard_last_line(
    request: Request, wanted: DesiredTable, present: Snapshot, env: Environment
) -> None:
    """Require --force if the last line has no line end and a service that FILE names would lose a
    server: the file may have been cut within that line.
    """
    if wanted.ends_in_line:
        return
    for service, _, _ in _iter_losses(request, wanted, present):
        selector = writer.format_selector(service)
        _require_force(
            f"the last line has no line end, as in a file cut short, and {selector} would lose servers",
            request,
            env,
        )
        return


def _iter_losses(
    request: Request, wanted: DesiredTable, present: Snapshot
) -> Iterator[tuple[Service, int, int]]:
    """Yield each service that FILE names and that would lose servers: how many, of how many."""
    asked = {service.key() for service in request.services}
    for service, servers in present.rows:
        key = service.key()
        named = wanted.services.get(key)
        if named is None or (asked and key not in asked):
            continue
        gone = sum(server.key() not in named.servers for server in servers)
        if gone:
            yield service, gone, len(servers)


def _require_force(said: str, request: Request, env: Environment) -> None:
    """Raise UsageError (status 2) with this message; a dry run prints it and goes on."""
    if "dry-run" not in request.slots:
        raise UsageError(f"{said}; add --force if you mean it (nothing was done)")
    env.write_stderr(f"{said}; without --force this ends with status 2, and nothing is done")


class _ApplyRun:
    def __init__(
        self,
        request: Request,
        wanted: DesiredTable,
        backend: Backend,
        env: Environment,
        seconds: int | None = None,
    ) -> None:
        self._request = request
        self._backend = backend
        self._env = env
        self._impact: PlanImpact | None = None
        self._present = read_consistent(backend)
        only = (
            frozenset(service.key() for service in request.services) if request.services else None
        )
        for service in request.services:
            key = service.key()
            if key not in wanted.services and all(
                key != present.key() for present, _ in self._present.rows
            ):
                named = writer.format_selector(service)
                raise UsageError(
                    f"{named} is neither in the input nor in the table: nothing was done"
                )
        slots = request.slots
        if (
            self._present.rows
            and not wanted.services
            and "prune" in slots
            and "allow-empty" not in slots
        ):
            raise UsageError(
                "the input has no service: --prune would delete all services (--allow-empty accepts that)"
            )
        if "force" not in slots:
            _guard_servers(request, wanted, self._present, env)
            _guard_last_line(request, wanted, self._present, env)
        self._plan = plan.make_plan(
            wanted, self._present, "prune" in slots, "keep-weights" in slots, only
        )
        self._drain: RemovalDrain | None = None
        if seconds is not None:
            plan.add_draining(self._plan)
            self._drain = RemovalDrain(request, seconds, self._plan, backend, env)
        # Nobody else changes an embedded table, unless we wait without its lock.
        self._wanted = None if backend.embedded and not self._drain else wanted

    def try_out(self) -> int:
        """Print the plan, the steps of it that would be refused, and what it does to clients."""
        copy = self._copy_table()
        outcome = try_plan(self._plan, copy)
        if not outcome.refused:
            self._impact = assess_plan(
                self._plan,
                self._present,
                copy,
                self._backend,
                self._env,
                self._request.ours.get("dry-run") == "clients",
            )
            if self._drain:
                self._drain.print_warnings(self._copy_table())
                for service in self._impact.services:  # their connections are waited for
                    service.connections = 0
        steps = [*self._plan.iter_steps()]
        if "json" not in self._request.slots:
            coloured = self._env.has_colours()
            safe = _sanitize_rule if self._env.is_output_terminal() else str
            for step in steps:
                line = _format_step(step.change.op, safe(step.format_rule()), coloured)
                difference = describe_difference(step)
                comment = safe(f"#   {difference}\n") if difference else ""
                self._env.write_stdout(line + comment)
            if self._impact is not None:
                lines = describe_impact(self._impact)
                lines += self._drain.describe_plan() if self._drain else []
                self._env.write_stdout("".join(f"# {line}\n" for line in lines))
        self._print_report(outcome, [*copy.list_assumptions()])
        return EXIT_REFUSED if outcome.refused else DRIFT if steps else 0

    def carry_out(self, lock: HeldLock, confirmation: Confirmation | None) -> Outcome:
        """Send the plan, unless a copy of the table refuses some of it. lock: held since the table
        was read.
        """
        outcome = try_plan(self._plan, self._copy_table())
        if outcome.refused:
            return outcome
        if self._drain:
            self._drain.print_warnings(self._copy_table())
        self._env.block_signals()
        at_once = Pace(lambda: self._env.wait(0))
        try:
            return execute(
                self._plan,
                self._backend,
                self._drain.make_pace(lock.release) if self._drain else at_once,
                lock.lock_phase,
                None if self._wanted is None else self._plan_again,
                confirmation.open_journal()
                if confirmation
                else open_journal(self._backend, self._env),
            )
        except OperationError as exc:
            raise OperationError(
                f"{exc}; what was sent before stands: the same --apply again does the rest",
                exc.status,
            ) from None

    def _plan_again(self, overtaken: list[Step]) -> Plan:
        """Read what other programs have changed meanwhile again, and plan that anew."""
        assert self._wanted is not None
        backend, slots = self._backend, self._request.slots
        services = {
            change.service.key(): change.service
            for change in (step.change for step in overtaken)
            if change.service
        }
        found = [read_service(backend, service) for service in services.values()]
        rows = read_services(backend, [service for service in found if service is not None], {})
        present = Snapshot(rows, backend.read_timeouts(), backend.read_daemons())
        daemons = any(step.change.daemon for step in overtaken)
        newer = plan.make_plan(
            self._wanted,
            present,
            "prune" in slots,
            "keep-weights" in slots,
            frozenset(services),
            daemons,
        )
        if self._drain:
            plan.add_draining(newer)
        return newer

    def _copy_table(self) -> DryRunTable:
        """Return a copy of the services that the plan changes: a plan is mostly small compared with
        the table.
        """
        touched = {
            step.change.service.key()
            for step in self._plan.iter_steps()
            if step.change.service is not None
        }
        return DryRunTable(self._backend, self._present, touched)

    def report(self, outcome: Outcome) -> int:
        """Print what was done, and return the exit status."""
        self._print_report(outcome)
        if self._drain and "json" not in self._request.slots:
            self._drain.print_unfinished()
        if outcome.signal or outcome.refused:
            return 128 + outcome.signal if outcome.signal else EXIT_REFUSED
        return NOT_FINISHED if self._drain and self._drain.list_unfinished() else 0

    def _print_report(self, outcome: Outcome, unchecked: Sequence[str] = ()) -> None:
        if "json" in self._request.slots:
            impact = None if self._impact is None else make_record(self._impact)
            self._env.write_stdout(
                _render_json(
                    self._plan,
                    outcome,
                    "dry-run" in self._request.slots,
                    unchecked,
                    impact,
                    self._drain,
                )
            )
            return
        file = str(self._request.ours["apply"] or "")
        for steps in (outcome.meanwhile, outcome.refused):
            print_findings(self._env, make_refusals(steps, file))
        print_not_undone(self._env, outcome, lambda step: step.format_rule().rstrip())
        self._env.write_stderr(self._format_summary(outcome))
        for line in unchecked:
            self._env.write_stderr(line)

    def _format_summary(self, outcome: Outcome) -> str:
        plan = self._plan
        is_dry_run = "dry-run" in self._request.slots
        reason = SIGNALS[outcome.signal] if outcome.signal else "refused"
        if outcome.not_undone:
            return f"{reason}: {len(outcome.undone)} of the changes before it were undone, {len(outcome.not_undone)} were not"
        ended = self._drain.describe_outcome(outcome) if self._drain else ""
        if ended:
            return ended
        if outcome.signal or (outcome.refused and not is_dry_run):
            undone = f" ({len(outcome.undone)} undone)" if outcome.undone else ""
            if outcome.meanwhile:
                return f"{reason}: nothing of this run is left{undone}; the changes of another program are"
            if outcome.reordered:
                services = _count_services(outcome.reordered)
                return f"{reason}: the table is as before but for the order of servers of {services}{undone}"
            return f"{reason}: the table is as before{undone}"
        if outcome.refused:
            return "dry run: would be refused: nothing would be done"
        summary = f"{plan.added} added, {plan.changed} changed, {plan.removed} removed, {plan.unchanged} unchanged"
        if plan.left:
            summary += f", {pluralize(plan.left, 'service')} not in the file"
        connections = count_removed(plan.iter_steps())[2]
        if self._drain:
            summary += self._drain.describe_wait()
        elif connections:
            verb = "have" if is_dry_run else "had"
            summary += f"; the removed servers {verb} {pluralize(connections, 'active connection')}"
        raised = count_raised(plan.iter_steps())
        if raised:
            verb = "raises" if is_dry_run else "raised"
            summary += f"; {verb} {pluralize(raised, 'quiesced server')}"
        return f"{'dry run: ' if is_dry_run else ''}{summary}"


def _count_services(services: list[Service]) -> str:
    if len(services) > MAX_NAMED:
        return f"{len(services)} services"
    return ", ".join(writer.format_selector(service) for service in services)


def _format_step(op: int, rule: str, coloured: bool) -> str:
    return f"\033[{_COLOURS.get(op, _EDITED)}m{rule.rstrip()}\033[0m\n" if coloured else rule


def _sanitize_rule(rule: str) -> str:
    from pyipvsadm.text import sanitize  # noqa: PLC0415  # only a terminal would obey what the file says

    return sanitize(rule.rstrip("\n")) + "\n"


def _count_done(plan: Plan, outcome: Outcome, is_dry_run: bool) -> dict[str, int]:
    """Return how many entries the run added, changed and removed: of a plan that was stopped, those
    whose steps were not undone.
    """
    if is_dry_run or not (outcome.refused or outcome.signal):
        return {"added": plan.added, "changed": plan.changed, "removed": plan.removed}
    standing = Plan()
    for step in [*outcome.kept, *(step for step, _ in outcome.not_undone)]:
        standing.count_step(step, 1)
    return {"added": standing.added, "changed": standing.changed, "removed": standing.removed}


def _render_json(
    made: Plan,
    outcome: Outcome,
    tried: bool,
    unchecked: Sequence[str],
    impact: dict[str, object] | None,
    drain: RemovalDrain | None,
) -> str:
    def entry(step: Step, message: str | None = None) -> dict[str, object]:
        found: dict[str, object] = {"line": step.line or None, "rule": step.format_rule().rstrip()}
        return found | {"message": message} if message else found

    found: dict[str, object] = {
        "format": FORMAT,
        "dry_run": tried,
        **_count_done(made, outcome, tried),
        "unchanged": made.unchanged,
        "services_not_in_file": made.left,
        "steps": [entry(step) for step in made.iter_steps()],
        "refused": [entry(*each) for each in outcome.refused],
        "signal": SIGNALS.get(outcome.signal),
        "meanwhile": [entry(*each) for each in outcome.meanwhile],
        "undone": len(outcome.undone),
        "not_undone": [entry(*each) for each in outcome.not_undone],
        "reordered": [writer.format_selector(service) for service in outcome.reordered],
        "unchecked": [*unchecked],
    }
    if drain is not None:
        found["drain"] = drain.make_record() | {
            "unfinished": [entry(*each) for each in drain.list_unfinished()]
        }
    if impact is not None:
        found["impact"] = impact
    return format_json(found)
