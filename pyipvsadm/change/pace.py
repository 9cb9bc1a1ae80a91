"""Decide when the phases of a plan are sent: at once, or when connections have ended.

Owns: which connections keep a server from being drained, when waiting ends, changes by other
programs that end it. Must never know: how a plan is sent or undone, how progress is drawn. Clock,
signals and progress are passed in, so that every path runs in a test without waiting.

The module is longer than others because draining, removing and ramping share how connections are
counted and how changes by other programs are found.
"""

from __future__ import annotations

from pyipvsadm import addresses
from pyipvsadm.change.merge import TRIES
from pyipvsadm.change.plan import DrainStep, list_removed
from pyipvsadm.change.snapshot import (
    SERVER_SETTINGS,
    get_service_settings,
    read_service,
    server_settings,
)
from pyipvsadm.errors import SIGNALS
from pyipvsadm.model import PERSISTENT, TCP, Record
from pyipvsadm.rules import writer
from pyipvsadm.views.progress import format_remaining

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pyipvsadm.change.plan import Plan, Step
    from pyipvsadm.model import Backend, Server, Service
    from pyipvsadm.views.progress import Progress

POLL_INTERVAL = 1.0  # seconds between two readings of the table


class Pace:
    """Send each phase at once, unless a signal has come.

    signalled: returns the number of a signal that has come, or 0.
    """

    def __init__(self, signalled: Callable[[], int] = lambda: 0) -> None:
        self._signalled = signalled

    def wait(self, index: int) -> tuple[int, str]:
        """Wait until the phase with this index may be sent. Return (signal or 0, why the plan is
        to stop or "").
        """
        del index
        return self._signalled(), ""

    def is_ready(self, index: int) -> bool:
        """Return True if the phase may be sent still, now that the lock is held."""
        del index
        return True

    def waits(self, index: int) -> bool:
        """Return True if the phase is sent after a wait for connections."""
        del index
        return False

    def undoes(self, index: int) -> bool:
        """Return True if a refusal in this phase undoes the steps before it."""
        del index
        return True

    def list_kept(self, done: Sequence[Step]) -> list[Step]:
        """Return the steps that stay if a signal stops the plan now; the others are undone."""
        del done
        return []


class DrainTarget:
    """Hold a service and those of its servers that are drained, as they were before.

    whole: the service is to be deleted with all of its servers.
    """

    __slots__ = ("servers", "service", "whole")

    def __init__(self, service: Service, servers: list[Server], whole: bool = False) -> None:
        self.service = service
        self.servers = servers
        self.whole = whole


class Remaining(Record):
    """Hold how many connections and templates keep servers from being drained."""

    __slots__ = ("connections", "templates")

    def __init__(self, connections: int = 0, templates: int = 0) -> None:
        self.connections = connections
        self.templates = templates

    def __bool__(self) -> bool:
        return bool(self.connections or self.templates)

    def __str__(self) -> str:
        return format_remaining(self.connections, self.templates)


class DrainPace(Pace):
    """Wait before the second phase until the targets have no connection left.

    remaining: how many connections and templates were left when the table was last read; none if
    another program changed the targets. waited: how many seconds the waiting took so far.
    """

    def __init__(
        self,
        backend: Backend,
        targets: Sequence[DrainTarget],
        inactive: bool,
        seconds: float | None,
        clock: Callable[[], float],
        sleep: Callable[[float], int],
        open_progress: Callable[[], Progress],
    ) -> None:
        super().__init__()
        self._backend = backend
        self._targets = targets
        self._inactive = inactive
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._open_progress = open_progress
        self.remaining = Remaining()
        self.waited = 0.0
        self._start: float | None = None

    def wait(self, index: int) -> tuple[int, str]:
        """Read the table each second until no connection is left, the time is over, a signal comes
        or another program changes the targets.
        """
        if not index:
            return 0, ""
        now = self._clock()
        if self._start is None:  # a client that comes at the last moment begins no new wait
            self._start = now
        start = self._start
        end = None if self._seconds is None else start + self._seconds
        progress = self._open_progress()
        try:
            while True:
                change = self._poll()
                now = self._clock()
                self.waited = now - start
                if change or not self.remaining:
                    return 0, change
                if end is not None and now >= end:
                    return 0, f"{self.remaining} left after {self._seconds} seconds"
                progress.show(self.remaining.connections, self.remaining.templates, self.waited)
                signal = self._sleep(
                    POLL_INTERVAL if end is None else min(POLL_INTERVAL, end - now)
                )
                if signal:
                    return signal, ""
        finally:
            progress.close()

    def is_ready(self, index: int) -> bool:
        """Return True if the targets have no connection still: a client may have come meanwhile."""
        return not index or not (self._poll() or self.remaining)

    def waits(self, index: int) -> bool:
        """Return True for the second phase."""
        return bool(index)

    def undoes(self, index: int) -> bool:
        """Return True for the weights; after a refused deletion the servers stay drained."""
        return not index

    def _poll(self) -> str:
        """Count the connections left, and return what another program changed ("" for nothing)."""
        self.remaining = Remaining()
        counts: list[Remaining] = []
        for target in self._targets:
            change = ""
            servers: list[Server] = []
            for _ in range(TRIES):  # an entry that one dump left out is in the next
                servers = self._backend.read_servers(target.service)
                change = find_external_change(target, servers)
                if not change:
                    break
            if change:
                return change
            keys = {server.key() for server in target.servers}
            counts += [
                count_remaining(target.service, server, self._inactive)
                for server in servers
                if server.key() in keys
            ]
        self.remaining = sum_remaining(counts)
        return ""


class RemovalPace(DrainPace):
    """Wait before the removals of a plan (plan.add_draining) until their servers have no connection
    left or the time is over; then drop the removals whose servers are not drained, or that another
    program has changed since the plan was made.

    After the wait has begun, new servers of the plan may have connections: a signal takes back the
    weights alone, a refusal nothing.

    unfinished: each step that was dropped, with the reason. release: called before the wait; it
    releases the lock that is held since the table was read.
    """

    def __init__(
        self,
        plan: Plan,
        backend: Backend,
        inactive: bool,
        seconds: float,
        clock: Callable[[], float],
        sleep: Callable[[float], int],
        open_progress: Callable[[], Progress],
        release: Callable[[], None],
    ) -> None:
        super().__init__(backend, (), inactive, seconds, clock, sleep, open_progress)
        self._signalled = lambda: sleep(0)
        self._plan = plan
        self._release = release
        self._removals: list[Step] = []
        self._reasons: dict[int, str] = {}  # by the identity of a step: why it must not be sent
        self._gone: set[int] = set()  # steps whose entries another program has removed
        self._is_over = False
        self._is_settled = False
        self.unfinished: list[tuple[Step, str]] = []

    @property
    def has_waited(self) -> bool:
        """Return True once the waiting has begun."""
        return self._start is not None

    def wait(self, index: int) -> tuple[int, str]:
        """Wait before the removals. Ignore signals after them: the plan is almost done."""
        if self._is_settled:
            return 0, ""
        if self.waits(index):
            self._plan.postpone_removals(index)
        if not self.waits(index):
            return self._signalled(), ""
        self._release()
        self._removals = self._plan.phases[index]
        signal, stopped = super().wait(index)
        self._is_over = bool(stopped)
        return signal, ""

    def waits(self, index: int) -> bool:
        """Return True for a phase of removals."""
        return self._plan.has_removals(index)

    def is_ready(self, index: int) -> bool:
        """Compare the servers again, now that the lock is held, and drop the removals that must not
        be sent. Return False if a client has come and the time is not over.
        """
        if not self.waits(index):
            return True
        self._poll()
        if self.remaining and not self._is_over:
            return False
        self._drop_removals(index)
        self._is_settled = True
        return True

    def undoes(self, index: int) -> bool:
        """Return False after the wait."""
        del index
        return not self.has_waited

    def list_kept(self, done: Sequence[Step]) -> list[Step]:
        """Return all steps but the weights, if the wait has begun."""
        return [step for step in done if self.has_waited and not isinstance(step, DrainStep)]

    def _poll(self) -> str:
        """Count the connections of each removal, and compare its servers with those of the plan."""
        self._reasons = {}
        self._gone = set()
        by_service: dict[object, list[Step]] = {}
        for step in self._removals:
            service = step.change.service
            assert service is not None
            by_service.setdefault(service.key(), []).append(step)
        total = []
        for steps in by_service.values():
            total += self._compare_removals(steps)
        self.remaining = sum_remaining(total)
        return ""

    def _compare_removals(self, steps: Sequence[Step]) -> list[Remaining]:
        """Return what is left of the servers that these removals of one service concern."""
        wanted = steps[0].change.service
        assert wanted is not None
        service: Service | None = None
        servers: list[Server] = []
        for _ in range(TRIES):  # an entry that one dump left out is in the next
            service = read_service(self._backend, wanted)
            servers = [] if service is None else self._backend.read_servers(service)
            changes = [find_removal_change(step, service, servers) for step in steps]
            if not any(changes):
                break
        present = {server.key(): server for server in servers}
        counts = []
        for step, change in zip(steps, changes):
            server = step.change.server
            if service is None or (server is not None and server.key() not in present):
                self._gone.add(id(step))
            elif change:
                self._reasons[id(step)] = f"{change}: not removed"
            else:
                left = [
                    (removed, count_remaining(service, present[removed.key()], self._inactive))
                    for _, removed in list_removed(step)
                ]
                names = [
                    f"{addresses.format_numeric(*removed.key())}: {count}"
                    if server is None
                    else str(count)
                    for removed, count in left
                    if count
                ]
                counts += [count for _, count in left]
                if names:
                    self._reasons[id(step)] = (
                        f"{', '.join(names)} left after {self._seconds} seconds; weight 0, not removed"
                    )
        return counts

    def _drop_removals(self, index: int) -> None:
        """Take the removals that must not be sent out of the plan, and phases that need them."""
        phases = self._plan.phases
        kept = []
        for step in phases[index]:
            reason = self._reasons.get(id(step))
            if reason:
                self.unfinished.append((step, reason))
            elif id(step) not in self._gone:
                kept.append(step)
                continue
            self._plan.removed -= len(step.undo)
        phases[index] = kept
        mixed = [
            step
            for step, _ in self.unfinished
            if any(server.af != service.af for service, server in list_removed(step))
        ]
        if mixed:
            self.unfinished += [
                (step, "not done while servers of another address family are in the table")
                for phase in phases[index + 1 :]
                for step in phase
            ]
            del phases[index + 1 :]


class RampPace(Pace):
    """Send the phases evenly over a time, the first at once and the last at its end; stop when a
    signal comes, or when another program changes the server.

    states: the server as each phase leaves it. report: called after each phase but the last, with
    its index and the seconds until the next. signal: the signal that stopped the ramp, or 0.
    """

    def __init__(
        self,
        backend: Backend,
        service: Service,
        states: Sequence[Server],
        seconds: float,
        clock: Callable[[], float],
        sleep: Callable[[float], int],
        report: Callable[[int, float], None],
    ) -> None:
        super().__init__()
        self._backend = backend
        self._service = service
        self._states = states
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._report = report
        self._start = 0.0
        self._reported = 0
        self.signal = 0

    def wait(self, index: int) -> tuple[int, str]:
        """Wait until the phase is due, and look at the server each second meanwhile."""
        if not index:
            self._start = self._clock()
            return 0, ""
        due = self._start + self._seconds * index / (len(self._states) - 1)
        if self._reported < index:
            self._reported = index
            self._report(index - 1, max(0.0, due - self._clock()))
        while True:
            change = self._find_change(index)
            rest = due - self._clock()
            if change or rest <= 0:
                return 0, change
            self.signal = self._sleep(min(POLL_INTERVAL, rest))
            if self.signal:
                return 0, SIGNALS[self.signal]

    def is_ready(self, index: int) -> bool:
        """Return True if no other program has changed the server since the phase before."""
        return not index or not self._find_change(index)

    def undoes(self, index: int) -> bool:
        """Return False: a ramp stops where it is."""
        del index
        return False

    def _find_change(self, index: int) -> str:
        """Return what another program changed since the phase before this one, "" for nothing."""
        state = self._states[index - 1]
        name = describe_server(self._service, state)
        for _ in range(TRIES):  # an entry that one dump left out is in the next
            for server in self._backend.read_servers(self._service):
                if server.key() != state.key():
                    continue
                if server_settings(server) == server_settings(state):
                    return ""
                if server.weight != state.weight:
                    return f"the weight of {name} is {server.weight} now"
                return f"another program changed {name}"
        return f"{name} is no longer there"


def sum_remaining(counts: Iterable[Remaining]) -> Remaining:
    """Return the sums of connections and of templates."""
    total = Remaining()
    for count in counts:
        total.connections += count.connections
        total.templates += count.templates
    return total


def count_remaining(service: Service, server: Server, inactive: bool) -> Remaining:
    """Return how many connections and templates keep this server from being drained.

    TCP: the active ones; the inactive (closing) ones only if `inactive`. Other protocols: active
    and inactive, because the kernel counts a UDP flow as inactive however busy it is
    (ip_vs_conn.c: ip_vs_bind_dest). A firewall mark may stand for any protocol, and its counts do
    not tell which: both, so that no UDP flow is cut. With persistence its templates count too:
    while one lives, the next connection of its client goes to this server.
    """
    return Remaining(
        server.active + (server.inactive if inactive or service.protocol != TCP else 0),
        server.persistent if service.flags & PERSISTENT else 0,
    )


def find_removal_change(step: Step, service: Service | None, present: Sequence[Server]) -> str:
    """Return what another program changed about the entries that a step removes, "" for nothing.

    service, present: as they are now. The weight of the servers is 0, all else as the plan found it.
    """
    removed = list_removed(step)
    wanted = step.change.service
    assert wanted is not None
    if service is None:
        return f"{writer.format_selector(wanted)} is no longer there"
    is_whole = step.change.server is None
    if is_whole and get_service_settings(service) != get_service_settings(wanted):
        return f"another program changed {writer.format_selector(wanted)}"
    target = DrainTarget(wanted, [server for _, server in removed], is_whole)
    change = find_external_change(target, present)
    if change:
        return change
    before = {server.key(): server for server in target.servers}
    for server in present:
        earlier = before.get(server.key())
        if earlier is not None and get_other_settings(earlier) != get_other_settings(server):
            return f"another program changed {describe_server(wanted, server)}"
    return ""


def get_other_settings(server: Server) -> tuple[object, ...]:
    """Return the settings of a server but for its weight."""
    return tuple(getattr(server, name) for name in SERVER_SETTINGS if name != "weight")


def find_external_change(target: DrainTarget, present: Sequence[Server]) -> str:
    """Return what another program changed about the servers, "" for nothing."""
    by_key = {server.key(): server for server in present}
    for server in target.servers:
        current = by_key.pop(server.key(), None)
        if current is None:
            return f"{describe_server(target.service, server)} is no longer there"
        if current.weight:
            return (
                f"the weight of {describe_server(target.service, server)} is {current.weight} now"
            )
    if target.whole and by_key:
        return f"{describe_server(target.service, next(iter(by_key.values())))} was added"
    return ""


def describe_server(service: Service, server: Server) -> str:
    """Return a server's name for people: `10.0.0.2:80 of -t 10.0.0.1:80`."""
    endpoint = addresses.format_numeric(server.af, server.addr, server.port)
    return f"{endpoint} of {writer.format_selector(service)}"
