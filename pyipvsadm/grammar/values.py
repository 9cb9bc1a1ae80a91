"""Parse values by 1.31's rules: numbers within limits, times, scheduler flags.

Owns: the value of a text, and the message for a text that has none. Must never know: the option it
belongs to, requests.
"""

from __future__ import annotations

import os

from pyipvsadm.addresses import format_address, parse_int
from pyipvsadm.errors import UsageError
from pyipvsadm.grammar.options import ATTACHED
from pyipvsadm.model import AF_INET, AF_INET6, ROLES, SCHED1, SCHED2, SCHED3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.grammar.options import Option
    from pyipvsadm.model import Daemon, Service

_ALL_FLAGS = SCHED1 | SCHED2 | SCHED3

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MAX_TIMEOUT = 86400 * 31


def parse_extension_value(row: Option, value: str | None) -> int | str | None:
    """Parse the value of an option that 1.31 lacks, by its row in the table: a time in seconds, a
    word, or None without a value. Raise UsageError if the option does not take this value.
    """
    if value is None:
        return None
    message = f"illegal {row.long} specified: "
    if row.limits is not None:
        low, high = row.limits
        message += f"`{value}' is no number from {low} to {high}"
        unit = _UNITS.get(value[-1:], 0) if row.metavar == "SECONDS" else 0
        if not unit:
            return parse_in_range(value, low, high, message)
        return parse_in_range(value[:-1], -(-low // unit), high // unit, message) * unit
    allowed = row.values.split("|") if "|" in row.values or row.argument == ATTACHED else None
    if allowed:
        # The metavar KEY[,KEY] stands for several of them.
        several = "," in row.metavar
        words = value.split(",") if several else [value]
        for word in words:
            if word not in allowed:
                names = f"none of {', '.join(allowed)}" if len(allowed) > 1 else f"not {allowed[0]}"
                raise UsageError(f"{message}`{word}' is {names}")
            if words.count(word) > 1:
                raise UsageError(f"{message}`{word}' stands {words.count(word)} times")
    return value


def truncate_bytes(text: str, size: int) -> str:
    """Cut a text to its first `size` bytes, as strncpy does."""
    return text if len(text) * 4 <= size else os.fsdecode(os.fsencode(text)[:size])


def parse_in_range(text: str, low: int, high: int, message: str) -> int:
    """Parse a number from low to high. Raise UsageError with the message if it is none."""
    value = parse_int(text, low, high)
    if value == -1:
        raise UsageError(message)
    return value


def parse_timeout(text: str, low: int) -> int:
    """Parse seconds from low to 31 days (parse_timeout)."""
    return parse_in_range(text, low, MAX_TIMEOUT, f"invalid timeout value `{text}' specified")


def merge_scheduler_flags(scheduler: str, text: str, present: int) -> int:
    """Return scheduler flags as bits: those of the text, or with + or - before every name, the
    present ones with these added or removed.
    """
    names = [name for name in text.split(",") if name]
    if not any(name[0] in "+-" for name in names):
        return parse_scheduler_flags(scheduler, text)
    for name in names:
        if name[0] not in "+-":
            raise UsageError(
                f"scheduler flag `{name}' has no + or -, and others have: give all of them one, or none"
            )
        bit = parse_scheduler_flags(scheduler, name[1:])
        present = present | bit if name[0] == "+" else present & ~bit
    return present


def parse_scheduler_flags(scheduler: str, text: str) -> int:
    """Parse names with commas into bits, for this scheduler (parse_sched_flags). A lone comma
    crashes 1.31; here it is no flag.
    """
    from pyipvsadm.grammar.schedulers import SCHEDULER_FLAGS  # noqa: PLC0415  # few requests have flags

    flags = 0
    names = [name for name in text.split(",") if name]
    for name in names or [text]:
        matches = [(bit, only) for flag, bit, only in SCHEDULER_FLAGS if flag == name]
        if not matches:
            known = ", ".join(flag for flag, *_ in SCHEDULER_FLAGS)
            raise UsageError(f"invalid scheduler flag `{name}'", hint=f"flags: {known}")
        bit, only = matches[0]
        if only and only != scheduler:
            raise UsageError(
                f"incompatible scheduler flag `{name}'", hint=f"it goes with -s {only}"
            )
        flags |= bit
    return flags


def format_scheduler_flags(service: Service, full: bool = False) -> str | None:
    """Return the names of a service's scheduler flags with commas, None if it has none. sh and mh
    have names of their own, none for the third, which 1.31 leaves out. full: name it flag-3.
    """
    if not service.flags & _ALL_FLAGS:
        return None
    from pyipvsadm.grammar.schedulers import SCHEDULER_FLAGS  # noqa: PLC0415  # few services have flags

    own = service.scheduler if service.scheduler in ("sh", "mh") else ""
    names = {
        bit: name
        for name, bit, only in SCHEDULER_FLAGS  # the names of one scheduler come last
        if only == own or (full and not only)
    }
    return ",".join([name for bit, name in names.items() if service.flags & bit])


def get_daemon_values(daemon: Daemon) -> dict[str, int | str]:
    """Return the values of a sync daemon that exist, as text or number: role, interface and syncid,
    and of maxlen, group, port and ttl those that the kernel reported.
    """
    family = AF_INET if len(daemon.group) == 4 else AF_INET6
    values: dict[str, int | str] = {
        "role": ROLES.get(daemon.state) or str(daemon.state),
        "interface": daemon.interface,
        "syncid": daemon.syncid,
    }
    reported = {
        "maxlen": daemon.maxlen,
        "group": daemon.group and format_address(family, daemon.group),
        "port": daemon.port,
        "ttl": daemon.ttl,
    }
    return values | {name: value for name, value in reported.items() if value}
