"""Drain the servers that --apply removes: the pace, the warnings beforehand, the words of both.

Owns: what --apply says about draining, in text and JSON. Must never know: how a plan is made or sent,
when a server is drained (change/pace.py).
"""

from __future__ import annotations

from contextlib import ExitStack, nullcontext

from pyipvsadm import addresses
from pyipvsadm.change.moves import describe_drain
from pyipvsadm.change.pace import RemovalPace, count_remaining, describe_server
from pyipvsadm.change.plan import DrainStep, list_removed
from pyipvsadm.change.snapshot import read_service
from pyipvsadm.commands.drain import describe_templates
from pyipvsadm.errors import SIGNALS, UsageError
from pyipvsadm.model import DEL_DEST
from pyipvsadm.rules import writer
from pyipvsadm.scheduling.impact import HASHING
from pyipvsadm.text import pluralize
from pyipvsadm.views.progress import open_progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pyipvsadm.change.desired import ServerKey, ServiceKey
    from pyipvsadm.change.execute import Outcome
    from pyipvsadm.change.pace import Remaining
    from pyipvsadm.change.plan import Plan, Step
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend, Server, Service

NOT_FINISHED = 1


def parse_seconds(request: Request) -> int | None:
    """Return the seconds of --drain, None without it. Raise UsageError if it has no number, or if
    the change is to be confirmed.
    """
    if "drain" not in request.ours:
        return None
    seconds = request.ours["drain"]
    if not isinstance(seconds, int):
        raise UsageError(
            "--drain needs a number of seconds with --apply, as in --drain=90 or --drain=10m:"
            " nothing was done"
        )
    if "confirm-within" in request.ours:
        raise UsageError(
            "--confirm-within does not go with --drain: the connections of servers that were"
            " drained would not come back with them; nothing was done"
        )
    return seconds


class HeldLock:
    """Hold the lock of a table until `release`; then each phase takes it anew."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._held = ExitStack()
        self._is_held = False

    def __enter__(self) -> HeldLock:  # noqa: PYI034  # Self comes with Python 3.11
        self._held.enter_context(self._backend.lock_table())
        self._is_held = True
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.__exit__(*exception)  # type: ignore[arg-type]

    def release(self) -> None:
        """Release the lock, if it is still held."""
        self._is_held = False
        self._held.close()

    def lock_phase(self) -> AbstractContextManager[None]:
        """Return the lock for a phase: none is needed as long as the table's is held."""
        return nullcontext() if self._is_held else self._backend.lock_table()


class RemovalDrain:
    """Drain the servers that one plan removes. plan: with add_draining."""

    def __init__(
        self, request: Request, seconds: int, plan: Plan, backend: Backend, env: Environment
    ) -> None:
        self._request = request
        self._seconds = seconds
        self._inactive = "drain-inactive" in request.ours
        self._plan = plan
        self._backend = backend
        self._env = env
        self._servers = [
            (service, server, count_remaining(service, server, self._inactive))
            for step in plan.iter_steps()
            for service, server in list_removed(step)
        ]
        self.pace: RemovalPace | None = None

    def make_pace(self, release: Callable[[], None]) -> RemovalPace:
        """Return the pace of the plan. release: releases the lock before the wait."""
        env = self._env
        is_text = "json" not in self._request.slots
        self.pace = RemovalPace(
            self._plan,
            self._backend,
            self._inactive,
            self._seconds,
            env.read_clock,
            env.wait,
            lambda: open_progress(
                env.write_raw_stderr,
                env.write_stderr if is_text else lambda _: None,
                env.environ,
                is_text and env.is_error_terminal(),
                self._seconds,
            ),
            release,
        )
        return self.pace

    def print_warnings(self, copy: Backend) -> None:
        """Warn of clients that weight 0 refuses or moves, and of templates. copy: a table with the
        services that the plan changes, as they are before it.
        """
        phases = self._plan.phases
        first = next((at for at in range(len(phases)) if self._plan.has_removals(at)), 0)
        former = {service.key(): copy.read_servers(service) for service in copy.read_services()}
        copy.apply(
            step.change for step in self._plan.iter_steps(first) if not isinstance(step, DrainStep)
        )
        keys: dict[ServiceKey, set[ServerKey]] = {}
        services: dict[ServiceKey, Service] = {}
        for step in self._plan.iter_steps():
            for service, server in list_removed(step):
                services[service.key()] = service
                if step.change.op == DEL_DEST:
                    keys.setdefault(service.key(), set()).add(server.key())
        for key, service in services.items():
            after = read_service(copy, service)
            lines = [describe_templates(self._request, service, self._backend)]
            if after is not None and key in keys and after.scheduler in HASHING:
                lines.append(self._describe_hashing(after, copy, keys[key], former[key]))
            for line in filter(None, lines):
                self._env.write_stderr(line)

    def _describe_hashing(
        self,
        service: Service,
        copy: Backend,
        keys: set[ServerKey],
        former: list[Server],
    ) -> str:
        from pyipvsadm.commands.predict import read_build  # noqa: PLC0415  # few schedulers need it

        return describe_drain(
            service,
            copy.read_servers(service),
            keys,
            deletes=True,
            build=read_build(self._backend, self._env),
            in_file=True,
            former=former,
        )

    def describe_plan(self) -> list[str]:
        """Return which servers a dry run would drain, and how many connections each has."""
        return [
            f"would wait up to {self._seconds} seconds for {describe_server(service, server)}: {count}"
            for service, server, count in self._servers
        ]

    def describe_outcome(self, outcome: Outcome) -> str:
        """Return the summary if a signal or a refusal ended the plan after the wait began, else ""."""
        if self.pace is None or not self.pace.has_waited:
            return ""
        kept = pluralize(len(outcome.kept), "other change")
        if outcome.signal:
            undone = pluralize(len(outcome.undone), "weight")
            return (
                f"{SIGNALS[outcome.signal]}: {self.pace.remaining} left, nothing removed, {undone} put"
                f" back; {kept} made before the wait stay"
            )
        if outcome.refused:
            return f"refused: {pluralize(len(outcome.kept), 'change')} made before it stay"
        return ""

    def describe_wait(self) -> str:
        """Return the end of the summary."""
        if self.pace is None or not self.pace.has_waited:
            return ""
        text = f"; waited {self.pace.waited:.0f} s for connections"
        count = len(self.pace.unfinished)
        return f"{text}, {count} not removed" if count else text

    def list_unfinished(self) -> list[tuple[Step, str]]:
        """Return the removals that were not made, each with the reason."""
        return self.pace.unfinished if self.pace else []

    def print_unfinished(self) -> None:
        """Print the removals that were not made, and how to make them all the same."""
        if not self.list_unfinished():
            return
        for step, reason in self.list_unfinished():
            self._env.write_stderr(f"not finished: {step.format_rule().rstrip()}: {reason}")
        self._env.write_stderr(
            "the same --apply again goes on; without --drain it removes them at once"
        )

    def make_record(self) -> dict[str, object]:
        """Return what JSON says of the draining."""
        return {
            "seconds": self._seconds,
            "servers": [
                _make_server_record(service, server, count)
                for service, server, count in self._servers
            ],
        }


def _make_server_record(service: Service, server: Server, count: Remaining) -> dict[str, object]:
    return {
        "service": writer.format_selector(service),
        "address": addresses.format_address(server.af, server.addr),
        "port": server.port,
        "connections": count.connections,
        "templates": count.templates,
    }
