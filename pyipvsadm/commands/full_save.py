"""Render a complete save, and report the settings that a rule cannot express.

Owns: which lines -R reads back as the entries they come from. Must never know: where the text goes.
"""

from __future__ import annotations

import os

from pyipvsadm import addresses
from pyipvsadm.errors import LineSkippedError, UsageError
from pyipvsadm.model import HASHED, Change, Record, Service
from pyipvsadm.rules import reader, writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.change.snapshot import Snapshot
    from pyipvsadm.environment import Environment
    from pyipvsadm.rules.writer import Endpoint

# What a record holds beside its rule.
_COUNTED = {"stats", "active", "inactive", "persistent"}
_PARTS = ("service", "server", "daemon", "timeouts")


def render_full_save(found: Snapshot, endpoint: Endpoint, env: Environment) -> str:
    """Return the whole table as rules: services in the order of the snapshot, the servers of each
    with the oldest first, as schedulers see them.

    A line that -R would refuse becomes a comment, and with a service its servers, so that the
    others can be restored. Each such line, and each value that would not come back, is reported on
    standard error.
    """
    lines, named_lines = (
        writer.iter_full_rules(found.rows, found.timeouts, found.daemons, text)
        for text in (addresses.format_numeric, endpoint)
    )
    parts = []
    outside: Service | None = None  # what cannot be said; nor can its servers
    for (change, numbers), (_, line) in zip(lines, named_lines):
        lost = None
        if change.server is None or change.service is not outside:
            lost = _find_round_trip_loss(change, numbers, env)
            if lost:
                env.write_stderr(f"not saved as it is: {numbers.rstrip()}: {lost[0]}")
            if lost and lost[1] and change.server is None:
                outside = change.service
        parts.append(
            f"# {line}" if change.service is outside is not None or (lost and lost[1]) else line
        )
    return "".join(parts)


def _find_round_trip_loss(change: Change, line: str, env: Environment) -> tuple[str, bool] | None:
    """Return (the setting that the line does not express, whether -R refuses the line); None if the
    line expresses everything.
    """
    try:
        ((_, back),) = reader.parse_rules(os.fsencode(line), env)
    except UsageError as exc:
        return (str(exc).removeprefix("line 1: "), True)
    if isinstance(back, LineSkippedError):
        return (str(back), True)
    assert isinstance(back, Change)
    for part in _PARTS:
        mine, theirs = getattr(change, part), getattr(back, part)
        if part == "service" and change.server is not None:
            continue  # there it only names
        for name in mine.__slots__ if isinstance(mine, Record) else ():
            if name not in _COUNTED and _make_comparable(mine, name) != _make_comparable(
                theirs, name
            ):
                return (
                    f"{name} is {_make_comparable(mine, name)}, -R makes it {_make_comparable(theirs, name)}",
                    False,
                )
    return None


def _make_comparable(record: Record, name: str) -> object:
    value = getattr(record, name)
    return value & ~HASHED if name == "flags" and isinstance(record, Service) else value
