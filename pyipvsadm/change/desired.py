"""Parse rule text into the table that it describes.

Owns: which lines describe a table, and when two lines contradict each other. Must never know: what
the present table holds.
"""

from __future__ import annotations

import os

from pyipvsadm import addresses
from pyipvsadm.errors import Finding, LineSkippedError, RulesError, UsageError
from pyipvsadm.grammar.parser import TRY_HELP
from pyipvsadm.model import NEW_DAEMON, NEW_DEST, NEW_SERVICE, ROLES, SET_CONFIG, Change
from pyipvsadm.rules import reader, writer
from pyipvsadm.rules.fast_parser import FastRuleParser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.change.snapshot import Snapshot
    from pyipvsadm.model import Daemon, Server, Service, Timeouts
    from pyipvsadm.rules.reader import Context

    ServiceKey = tuple[int, int, bytes, int, int]
    ServerKey = tuple[int, bytes, int]


BYTE_ORDER_MARK = "\ufeff"
ONLY_ENTRIES = "only -A, -a, --set and --start-daemon lines describe a table"
MAX_QUOTED = 120  # characters of a bad line in a message


class DesiredService:
    """Hold a service with the number of its -A line, and its servers with the numbers of theirs."""

    __slots__ = ("line", "servers", "service")

    def __init__(self, line: int, service: Service) -> None:
        self.line = line  # 0 until its -A line is read
        self.service = service
        self.servers: dict[ServerKey, tuple[int, Server]] = {}


class DesiredTable:
    """Hold the table that rule text describes. Entries share records: do not change them."""

    __slots__ = ("complete", "daemons", "ends_in_line", "repeated", "services", "timeouts")

    def __init__(self) -> None:
        self.services: dict[ServiceKey, DesiredService] = {}
        self.daemons: dict[int, tuple[int, Daemon]] = {}
        self.timeouts: tuple[int, Timeouts] | None = None
        self.repeated: list[Finding] = []  # the lines that repeat an earlier one
        # Whether a daemon that is not named is not desired either, even if none is named.
        self.complete = False
        self.ends_in_line = True  # whether the last line has its line end

    def is_empty(self) -> bool:
        """Return True if the text has no rule at all."""
        return not (self.services or self.daemons or self.timeouts)


def parse_desired(text: bytes, context: Context, file: str = "") -> DesiredTable:
    """Return the table that rule text describes. The order of lines does not matter.

    A line that repeats an earlier one is skipped and stands in `repeated`. file: the name for
    findings, "" for standard input. Raise RulesError (status 2) with all bad lines: those that are
    no rules, and those that contradict an earlier one.
    """
    table = DesiredTable()
    if reason := reader.format_version_error(text):
        raise RulesError(_make_findings("rules", [(1, reason)], text, file))
    table.ends_in_line = not text or text.rstrip(b" \t\r\0")[-1:] in (b"", b"\n")
    bad: list[tuple[int, str]] = []
    repeated: list[tuple[int, str]] = []
    parser = FastRuleParser()
    for lineno, words in reader.tokenize(text):
        try:
            step = parser.parse_change(words) or reader.parse_words(words, context)
            if isinstance(step, LineSkippedError):
                bad.append((lineno, str(step)))
                continue
            first = _add_line(table, lineno, step if isinstance(step, Change) else Change(0))
            if first:
                repeated.append((lineno, f"repeats line {first}: skipped"))
        except UsageError as exc:
            bad.append((lineno, _explain_error(exc, words[0])))
    if not bad:
        for wanted in table.services.values():
            if not wanted.line:
                lineno = min(line for line, _ in wanted.servers.values())
                selector = writer.format_selector(wanted.service)
                bad.append((lineno, f"no -A line describes this service: {selector}"))
    if bad:
        raise RulesError(_make_findings("rules", sorted(bad), text, file))
    table.repeated = _make_findings("repeated", repeated, text, file)
    return table


def describe_snapshot(present: Snapshot) -> DesiredTable:
    """Return the content of a table as the table that is desired. Its entries have line 1."""
    table = DesiredTable()
    table.complete = True
    for service, servers in present.rows:
        wanted = table.services[service.key()] = DesiredService(1, service)
        # Oldest first, as the lines of a file would be.
        wanted.servers = {server.key(): (1, server) for server in reversed(servers)}
    table.timeouts = (1, present.timeouts)
    table.daemons = {daemon.state: (1, daemon) for daemon in present.daemons}
    return table


def _explain_error(exc: UsageError, word: str) -> str:
    """Return the message for a bad line with this first word: 1.31's advice to try --help is of no
    use in a file.
    """
    if word[:1] == BYTE_ORDER_MARK:
        return "the file starts with a byte order mark (BOM): save it without"
    if str(exc) != TRY_HELP:
        return str(exc)
    return str(exc.__cause__ or ONLY_ENTRIES)


def _make_findings(
    code: str, messages: list[tuple[int, str]], text: bytes, file: str
) -> list[Finding]:
    """Return a finding for each (line number, message), with that line of the text."""
    lines = text.split(b"\n") if messages else []
    return [
        Finding(code, _quote_line(lines[lineno - 1]), message, file=file, line=lineno)
        for lineno, message in messages
    ]


def _quote_line(line: bytes) -> str:
    """Return a line as text for a message: without line end, control characters replaced."""
    from pyipvsadm.text import escape_undecodable, sanitize  # noqa: PLC0415  # only after an error

    quoted = sanitize(escape_undecodable(os.fsdecode(line.strip(b" \t\r\n\0"))))
    return quoted if len(quoted) <= MAX_QUOTED else f"{quoted[: MAX_QUOTED - 3]}..."


def _add_line(found: DesiredTable, at: int, change: Change) -> int:
    """Add one line to the table. Return the number of the line that it repeats, 0 if it is new."""
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
            return _compare_lines(first, "server", addresses.format_numeric(*name), other == server)
        wanted.servers[name] = (at, server)
    elif change.op == NEW_SERVICE and service is not None:
        key = service.key()
        wanted = found.services.get(key)
        if wanted is None:
            found.services[key] = DesiredService(at, service)
        elif wanted.line:
            return _compare_lines(
                wanted.line,
                "service",
                writer.format_selector(service),
                wanted.service == service,
            )
        else:
            wanted.line, wanted.service = at, service
    elif change.op == NEW_DAEMON and daemon is not None:
        if daemon.state in found.daemons:
            first, running = found.daemons[daemon.state]
            return _compare_lines(first, "sync daemon", ROLES[daemon.state], running == daemon)
        found.daemons[daemon.state] = (at, daemon)
    elif change.op == SET_CONFIG and timeouts is not None:
        if found.timeouts:
            first, given = found.timeouts
            return _compare_lines(first, "setting", "timeouts", given == timeouts)
        found.timeouts = (at, timeouts)
    else:
        raise UsageError(ONLY_ENTRIES)
    return 0


def _compare_lines(first: int, kind: str, name: str, same: bool) -> int:
    """Return the number of the first of two lines about the same thing. Raise UsageError if they
    contradict each other.
    """
    if same:
        return first
    raise UsageError(f"contradicts line {first} about the same {kind}: {name}")
