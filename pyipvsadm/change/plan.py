"""Plan the fewest changes that turn the present table into the desired one, in a safe order. Pure.

Owns: which entries are equal, which are edited, the order of steps, how each step is undone. Must
never know: backends, how a plan is printed.

The order: new services and servers, then edits, then sync daemons, then removals. Whatever the
kernel may refuse comes before anything is lost, and a plan that was cut off leaves a smaller
difference. Services and servers are edited, never deleted and added again. The kernel does not
allow sync daemons beside servers whose address family is not their service's, the one exception:
if a plan removes such servers, daemons start after that; if it adds such servers, daemons stop
before that.
"""

from __future__ import annotations

from pyipvsadm.backends.sync_daemon import compute_effective_daemon
from pyipvsadm.change.journal import format_table
from pyipvsadm.change.merge import copy_record
from pyipvsadm.change.snapshot import (
    get_service_settings,
    read_all_servers,
    read_service,
    server_settings,
)
from pyipvsadm.errors import EXIT_REFUSED, OperationError, UsageError
from pyipvsadm.model import (
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    FLUSH,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    ROLES,
    SET_CONFIG,
    SET_DEST,
    SET_SERVICE,
    Change,
    Server,
    Timeouts,
)
from pyipvsadm.rules.writer import change_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyipvsadm.change.desired import DesiredService, DesiredTable, ServerKey, ServiceKey
    from pyipvsadm.change.pace import DrainTarget
    from pyipvsadm.change.snapshot import Snapshot
    from pyipvsadm.model import Backend, Daemon, Service

# A rule of what was before says how the entry was added.
_ADDING = {SET_SERVICE: NEW_SERVICE, SET_DEST: NEW_DEST}
_REMOVALS = (DEL_SERVICE, DEL_DEST)
# The operation that undoes an addition.
REMOVAL_OF = {NEW_SERVICE: DEL_SERVICE, NEW_DEST: DEL_DEST, NEW_DAEMON: DEL_DAEMON}


class Step:
    """Hold a change, the number of the line that asks for it (0 for none), and the changes that
    undo it, in order. The removal that undoes an addition is not given: it is made when it is asked
    for, because a plan may add 100,000 servers.
    """

    __slots__ = ("_undo", "change", "line")

    def __init__(self, line: int, change: Change, *undo: Change) -> None:
        self.line = line
        self.change = change
        self._undo: Sequence[Change] = undo

    @property
    def undo(self) -> Sequence[Change]:
        """Return the changes that undo this one, in order."""
        change = self.change
        if self._undo or change.op not in REMOVAL_OF:
            return self._undo
        return (Change(REMOVAL_OF[change.op], change.service, change.server, change.daemon),)

    def format_rule(self) -> str:
        """Return the step as a line that -R accepts."""
        return change_rule(self.change)


class DrainStep(Step):
    """Hold a step that sets the weight of a server to 0 because the server is drained. If a later
    step removes the server, it is that step that counts.
    """

    __slots__ = ()


def change_key(change: Change) -> tuple[object, ...]:
    """Return what names the thing that a change is about."""
    if change.daemon is not None:
        return (change.daemon.state,)
    if change.service is None:
        return ("time-outs",)
    return (
        change.service.key()
        if change.server is None
        else (change.service.key(), change.server.key())
    )


def _get_subject(step: Step) -> ServiceKey | None:
    return None if step.change.service is None else step.change.service.key()


class Plan:
    """Hold steps in phases: if a step of one phase is refused, the next phase must not begin.

    added, changed, removed, unchanged: counts of services, servers, daemons and the timeouts. left:
    how many services the table has that the text does not name. held: how many services the table
    has. orders: for each service that loses servers, the keys of its servers before, newest first.
    before: the rules that the plan replaces, if its steps do not say them (-C has one step).
    """

    __slots__ = (
        "added", "before", "changed", "held", "left", "orders", "phases", "removed", "unchanged",
    )  # fmt: skip

    def __init__(self, held: int = 0) -> None:
        self.phases: list[list[Step]] = []
        self.added = self.changed = self.removed = self.unchanged = self.left = 0
        self.held = held
        self.orders: dict[ServiceKey, list[ServerKey]] = {}
        self.before = ""

    def iter_steps(self, end: int | None = None) -> Iterator[Step]:
        """Yield all steps in order, or those of the phases before the index `end`."""
        for phase in self.phases[:end]:
            yield from phase

    def format_before(self, end: int | None = None) -> str:
        """Return the rules of the entries that the plan touches, as they are before it. end: look
        at the phases before this index only.
        """
        lines: dict[object, str] = {}
        # The last step first: of an entry that two steps change, the first step knows what was
        # before; and of servers that are removed, the oldest comes first, as in a file of rules.
        for step in reversed([*self.iter_steps(end)]):
            for change in step.undo:
                op = _ADDING.get(change.op, change.op)
                if op in (NEW_SERVICE, NEW_DEST, NEW_DAEMON, SET_CONFIG):
                    lines[change_key(change)] = change_rule(
                        Change(op, change.service, change.server, change.daemon, change.timeouts)
                    )
        return self.before + "".join(lines.values())

    def replace_remaining(self, index: int, overtaken: Sequence[Step], newer: Plan) -> None:
        """Replace the remaining steps of the services that `newer` is about by the steps of
        `newer`.

        overtaken: steps of the phase `index`, which has been sent, that were refused because
        another program changed the table first. `newer` is about their services, and about the
        daemons if one of them is a daemon's.
        """
        asked = self.added + self.changed + self.unchanged  # each thing in the text is one of these
        subjects = {_get_subject(step) for step in overtaken}
        gone = set(map(id, overtaken))
        kept, dropped = [], [*overtaken]
        for phase in self.phases[index + 1 :]:
            kept.append([step for step in phase if _get_subject(step) not in subjects])
            dropped += [step for step in phase if _get_subject(step) in subjects]
        self.phases[index] = [step for step in self.phases[index] if id(step) not in gone]
        self.phases[index + 1 :] = [*newer.phases, *filter(None, kept)]
        for steps, sign in ((dropped, -1), ([*newer.iter_steps()], 1)):
            for step in steps:
                self.count_step(step, sign)
        self.unchanged = asked - self.added - self.changed
        self.orders |= newer.orders

    def has_removals(self, index: int) -> bool:
        """Return True if a step of the phase removes a service or a server."""
        return any(step.change.op in _REMOVALS for step in self.phases[index])

    def postpone_removals(self, index: int) -> None:
        """Move the phase with this index into the last phase of removals."""
        last = max(at for at in range(len(self.phases)) if self.has_removals(at))
        if last > index:
            self.phases[last] = self.phases[index] + self.phases[last]
            self.phases[index] = []

    def count_step(self, step: Step, sign: int) -> None:
        """Count services and servers. Daemons stay counted as they were: they were asked for, and
        they run.
        """
        if isinstance(step, DrainStep):
            return
        if step.change.op in (NEW_SERVICE, NEW_DEST):
            self.added += sign
        elif step.change.op in (SET_SERVICE, SET_DEST):
            self.changed += sign
        elif step.change.op == DEL_DEST:
            self.removed += sign


def make_plan(
    wanted: DesiredTable,
    present: Snapshot,
    prune: bool = False,
    keep_weights: bool = False,
    only: frozenset[ServiceKey] | None = None,
    daemons: bool = False,
) -> Plan:
    """Return the plan that turns `present` into `wanted`.

    prune: remove services that are not desired, and daemons if others are desired or `wanted` is
    complete. keep_weights:
    keep the weights of servers that exist. only: compare and change only these services, and with
    `daemons` the daemons. Raise OperationError (255), or UsageError (2) if the text alone is at
    fault, if daemons and servers would exclude each other.
    """
    return _PlanBuilder(
        wanted, present, prune, keep_weights, only, daemons or only is None
    ).build_plan()


def make_drain_plan(targets: Sequence[DrainTarget], deletion: Change | None) -> Plan:
    """Return the plan that sets the targets' weights to 0 and then, in a second phase, makes the
    deletion, if any. The pace waits before the second phase.
    """
    plan = Plan()
    removal: list[Step] = []
    if deletion is not None:
        removal = [
            Step(0, deletion, *_list_additions(target.service, target.servers, target.whole))
            for target in targets
        ]
    plan.phases = [
        _make_drain_steps(
            (target.service, server) for target in targets for server in target.servers
        ),
        removal,
    ]
    return plan


def add_draining(plan: Plan) -> None:
    """Add a phase before the removals: it sets the weight of each server to 0 that they remove. The
    pace waits before the removals.
    """
    for index in range(len(plan.phases)):
        if plan.has_removals(index):
            removed = [pair for step in plan.phases[index] for pair in list_removed(step)]
            plan.phases.insert(index, _make_drain_steps(removed))
            return


def list_removed(step: Step) -> list[tuple[Service, Server]]:
    """Return the servers that a step removes, each with its service, as they were before."""
    if step.change.op not in _REMOVALS:
        return []
    return [
        (change.service, change.server)
        for change in step.undo
        if change.service is not None and change.server is not None
    ]


def _make_drain_steps(servers: Iterable[tuple[Service, Server]]) -> list[Step]:
    """Return the steps that set weights to 0: none for a server that has it."""
    steps: list[Step] = []
    for service, server in servers:
        if server.weight:
            drained = copy_record(server)
            drained.weight = 0
            steps.append(
                DrainStep(0, Change(SET_DEST, service, drained), Change(SET_DEST, service, server))
            )
    return steps


def make_change_plan(change: Change, backend: Backend) -> Plan:
    """Return the plan of one command (-A -E -D -a -e -d -C): a step that can be undone if the entry
    is as the command expects it. Otherwise the table refuses the command.
    """
    plan = Plan()
    plan.phases = [[Step(0, change, *_find_undo(change, backend))]]
    if change.op == FLUSH:
        plan.before = format_table(backend)
    return plan


def _find_undo(change: Change, backend: Backend) -> list[Change]:
    service, server = change.service, change.server
    if service is None or change.op in REMOVAL_OF:
        return []
    present = read_service(backend, service)
    if present is None:
        return []
    if change.op == SET_SERVICE:
        return [Change(SET_SERVICE, present)]
    servers = read_all_servers(backend, present)
    if server is None:
        return _list_additions(present, servers, whole=True)
    op = SET_DEST if change.op == SET_DEST else NEW_DEST
    return [Change(op, present, each) for each in servers if each.key() == server.key()]


def _list_additions(service: Service, servers: list[Server], whole: bool) -> list[Change]:
    """Return the changes that add servers, newest first, again: with their service if `whole`."""
    back = [Change(NEW_DEST, service, server) for server in reversed(servers)]
    return [Change(NEW_SERVICE, service), *back] if whole else back


class _PlanBuilder:
    def __init__(
        self,
        wanted: DesiredTable,
        present: Snapshot,
        prune: bool,
        keep_weights: bool,
        only: frozenset[ServiceKey] | None,
        daemons: bool,
    ) -> None:
        self._wanted = wanted
        self._present = present
        self._prune = prune
        self._keep_weights = keep_weights
        self._only = only
        self._with_daemons = daemons
        self._found = Plan(len(present.rows))
        self._first: list[Step] = []  # time-outs, new services with their servers
        self._more: list[Step] = []  # new servers of services that are there
        self._edits: list[Step] = []
        self._fewer: list[Step] = []
        self._gone: list[Step] = []
        self._mixed_now = False  # whether servers of another family are there
        # the line of one that will be; 0: it is there already and no line names it
        self._mixed_then = -1

    def build_plan(self) -> Plan:
        services = {
            key: each
            for key, each in self._wanted.services.items()
            if self._only is None or key in self._only
        }
        if self._only is None:
            self._plan_timeouts()
        for service, servers in self._present.rows:
            self._mixed_now = self._mixed_now or any(server.af != service.af for server in servers)
            key = service.key()
            each = services.pop(key, None)
            if each is not None:
                self._compare_service(service, servers, each)
            elif self._prune and (self._only is None or key in self._only):
                self._remove_service(service, servers)
            else:
                self._leave_service(service, servers)
        for each in services.values():
            self._add_service(each)
        daemons = self._plan_daemons() if self._with_daemons else []
        self._check_daemon_conflict()
        additions, removals = self._first + self._more, self._fewer + self._gone
        if self._mixed_then >= 0:  # then no daemon will run: there are only stops
            phases = [daemons, additions, self._edits, removals]
        elif self._mixed_now:
            phases = [additions, self._edits, removals, daemons]
        else:
            phases = [additions, self._edits, daemons, removals]
        self._found.phases = [phase for phase in phases if phase]
        return self._found

    def _plan_timeouts(self) -> None:
        if self._wanted.timeouts is None:
            return
        line, given = self._wanted.timeouts
        now = self._present.timeouts
        # 0 leaves as it is
        after = Timeouts(given.tcp or now.tcp, given.tcp_fin or now.tcp_fin, given.udp or now.udp)
        if after == now:
            self._found.unchanged += 1
        else:
            self._found.changed += 1
            self._first.append(
                Step(line, Change(SET_CONFIG, timeouts=after), Change(SET_CONFIG, timeouts=now))
            )

    def _add_service(self, each: DesiredService) -> None:
        self._first.append(Step(each.line, Change(NEW_SERVICE, each.service)))
        self._found.added += 1
        for line, server in each.servers.values():
            self._add_server(self._first, each.service, line, server)

    def _add_server(self, steps: list[Step], service: Service, line: int, server: Server) -> None:
        steps.append(Step(line, Change(NEW_DEST, service, server)))
        self._found.added += 1
        if server.af != service.af:
            self._mixed_then = line

    def _compare_service(
        self, service: Service, servers: list[Server], each: DesiredService
    ) -> None:
        """Plan the edits of a service that exists and is desired."""
        if get_service_settings(service) == get_service_settings(each.service):
            self._found.unchanged += 1
        else:
            self._found.changed += 1
            self._edits.append(
                Step(each.line, Change(SET_SERVICE, each.service), Change(SET_SERVICE, service))
            )
        missing = dict(each.servers)
        for server in servers:
            line, target = missing.pop(server.key(), (0, None))
            if target is None:
                self._found.removed += 1
                self._found.orders[service.key()] = [each.key() for each in servers]
                self._fewer.append(
                    Step(0, Change(DEL_DEST, service, server), Change(NEW_DEST, service, server))
                )
                continue
            if server.af != service.af:
                self._mixed_then = line
            if self._keep_weights and target.weight != server.weight:
                target = copy_record(target)
                target.weight = server.weight
            if server_settings(server) == server_settings(target):
                self._found.unchanged += 1
            else:
                self._found.changed += 1
                self._edits.append(
                    Step(line, Change(SET_DEST, service, target), Change(SET_DEST, service, server))
                )
        for line, server in missing.values():
            self._add_server(self._more, service, line, server)

    def _remove_service(self, service: Service, servers: list[Server]) -> None:
        """Plan the removal of a service; the kernel removes its servers with it."""
        undo = _list_additions(service, servers, whole=True)
        self._gone.append(Step(0, Change(DEL_SERVICE, service), *undo))
        self._found.removed += 1 + len(servers)

    def _leave_service(self, service: Service, servers: list[Server]) -> None:
        if self._only is None or service.key() in self._only:
            self._found.left += 1
        if any(server.af != service.af for server in servers):
            self._mixed_then = max(self._mixed_then, 0)

    def _plan_daemons(self) -> list[Step]:
        """Return the steps for the daemons; none if the text, unless it is complete, names no daemon."""
        steps: list[Step] = []
        if not self._names_daemons():
            return steps
        running = {daemon.state: daemon for daemon in self._present.daemons}
        for state, (line, given) in self._wanted.daemons.items():
            now = running.pop(state, None)
            if now is None:
                self._found.added += 1
            elif compute_running_daemon(given, now) == now:
                self._found.unchanged += 1
                continue
            else:
                self._found.changed += 1
                steps.append(_make_stop_step(line, now))
            steps.append(Step(line, Change(NEW_DAEMON, daemon=given)))
        if self._prune:
            self._found.removed += len(running)
            steps = [_make_stop_step(0, daemon) for daemon in running.values()] + steps
        return steps

    def _names_daemons(self) -> bool:
        """Return True if the text says which daemons are desired."""
        return bool(self._wanted.daemons) or self._wanted.complete

    def _check_daemon_conflict(self) -> None:
        """Refuse what cannot be: it would stand in the way after something was sent."""
        wanted = self._wanted.daemons.values() if self._with_daemons else []
        running = [(line, daemon) for line, daemon in wanted]
        if not (self._with_daemons and self._names_daemons() and self._prune):
            named = {daemon.state for _, daemon in running}
            running += [
                (0, daemon) for daemon in self._present.daemons if daemon.state not in named
            ]
        if self._mixed_then < 0 or not running:
            return
        line, daemon = running[0]
        server = f"of line {self._mixed_then}" if self._mixed_then else "in the table"
        where = f"of line {line}" if line else "that runs"
        said = (
            f"the server {server} whose address family is not its service's and the {ROLES[daemon.state]} sync daemon {where} "
            "exclude each other in the kernel; nothing was done"
        )
        raise UsageError(said) if line and self._mixed_then else OperationError(said, EXIT_REFUSED)


def compute_running_daemon(given: Daemon, now: Daemon) -> Daemon:
    """Return the settings with which the kernel runs a daemon that was asked for like this. The
    message length, if it is not given, comes from the interface: as in `now`.
    """
    found = compute_effective_daemon(given, 0)
    if not given.maxlen:
        found.maxlen = now.maxlen
    return found


def _make_stop_step(line: int, daemon: Daemon) -> Step:
    return Step(line, Change(DEL_DAEMON, daemon=daemon), Change(NEW_DAEMON, daemon=daemon))
