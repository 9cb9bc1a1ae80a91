"""Parse rule text into the table that it describes.

Owns: which lines describe a table, and when two lines contradict each other. Must never know: what
the present table holds.
"""

from __future__ import annotations

from pyipvsadm import addresses
from pyipvsadm.errors import LineSkippedError, UsageError
from pyipvsadm.model import NEW_DAEMON, NEW_DEST, NEW_SERVICE, SET_CONFIG, Change
from pyipvsadm.rules import reader, writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.model import Daemon, Server, Service, Timeouts
    from pyipvsadm.rules.reader import Context

    ServiceKey = tuple[int, int, bytes, int, int]
    ServerKey = tuple[int, bytes, int]


class DesiredService:
    """Hold a service with the number of its -A line, and its servers with the numbers of theirs."""

    __slots__ = ("line", "servers", "service")

    def __init__(self, line: int, service: Service) -> None:
        self.line = line  # 0 until its -A line is read
        self.service = service
        self.servers: dict[ServerKey, tuple[int, Server]] = {}


class DesiredTable:
    """Hold the table that rule text describes. Entries share records: do not change them."""

    __slots__ = ("daemons", "repeated", "services", "timeouts")

    def __init__(self) -> None:
        self.services: dict[ServiceKey, DesiredService] = {}
        self.daemons: dict[int, tuple[int, Daemon]] = {}
        self.timeouts: tuple[int, Timeouts] | None = None
        # a description of each line that says again what another has said
        self.repeated: list[str] = []

    def is_empty(self) -> bool:
        """Return True if the text has no rule at all."""
        return not (self.services or self.daemons or self.timeouts)


def parse_desired(text: bytes, context: Context) -> DesiredTable:
    """Return the table that rule text describes. The order of lines does not matter.

    A line that repeats an earlier one is skipped and described in `repeated`. Raise UsageError
    (status 2) if the text is not rules, or if two lines contradict each other.
    """
    found = DesiredTable()
    try:
        for at, step in reader.parse_rules(text, context):
            if isinstance(step, LineSkippedError):
                raise UsageError(f"line {at}: {step}")
            twice = _add_line(found, at, step if isinstance(step, Change) else Change(0))
            if twice:
                found.repeated.append(twice)
    except UsageError as exc:
        raise UsageError(str(exc)) from None  # whatever -R would end with
    for wanted in found.services.values():
        if not wanted.line:
            at = min(line for line, _ in wanted.servers.values())
            raise UsageError(
                f"line {at}: no -A line describes this service: {writer.format_selector(wanted.service, addresses.format_numeric)}"
            )
    return found


def _add_line(found: DesiredTable, at: int, change: Change) -> str:
    """Add one line to the table. Return a description of it if it repeats an earlier line, else ""."""
    service, server, daemon, timeouts = (
        change.service,
        change.server,
        change.daemon,
        change.timeouts,
    )
    if change.op == NEW_DEST and service is not None and server is not None:
        key = service.key()
        wanted = found.services.get(key)
        if wanted is None:
            wanted = found.services[key] = DesiredService(0, service)
        name = server.key()
        if name in wanted.servers:
            first, other = wanted.servers[name]
            return _report_duplicate(
                first, at, "server", addresses.format_numeric(*name), other == server
            )
        wanted.servers[name] = (at, server)
    elif change.op == NEW_SERVICE and service is not None:
        key = service.key()
        wanted = found.services.get(key)
        if wanted is None:
            found.services[key] = DesiredService(at, service)
        elif wanted.line:
            return _report_duplicate(
                wanted.line,
                at,
                "service",
                writer.format_selector(service, addresses.format_numeric),
                wanted.service == service,
            )
        else:
            wanted.line, wanted.service = at, service
    elif change.op == NEW_DAEMON and daemon is not None:
        if daemon.state in found.daemons:
            first, running = found.daemons[daemon.state]
            return _report_duplicate(
                first, at, "sync daemon", writer.ROLES[daemon.state], running == daemon
            )
        found.daemons[daemon.state] = (at, daemon)
    elif change.op == SET_CONFIG and timeouts is not None:
        if found.timeouts:
            first, given = found.timeouts
            return _report_duplicate(first, at, "setting", "the time-outs", given == timeouts)
        found.timeouts = (at, timeouts)
    else:
        raise UsageError(f"line {at}: only -A, -a, --set and --start-daemon lines describe a table")
    return ""


def _report_duplicate(first: int, second: int, kind: str, name: str, same: bool) -> str:
    """Return a description of a repeated line. Raise UsageError if the two lines contradict each
    other.
    """
    if same:
        return f"lines {first} and {second} name the same {kind}: {name}: the second is passed over"
    raise UsageError(
        f"lines {first} and {second} contradict each other about the same {kind}: {name}"
    )
