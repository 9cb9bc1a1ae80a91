"""Texts to values, by the reference's rules: numbers within limits, times, flags of schedulers.

Owns: what a text is worth and what is said of one that is not. Must never know: which option it
stood behind, requests.
"""

from __future__ import annotations

import os

from pyipvsadm.addresses import parse_int
from pyipvsadm.errors import UsageError
from pyipvsadm.grammar.options import OPTIONAL, SCHEDULER_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.grammar.options import Option

MAX_TIMEOUT = 86400 * 31


def parse_extension_value(row: Option, value: str | None) -> int | str | None:
    """The value of an option of ours, held against its row."""
    said = f"illegal {row.long} specified"
    if value is not None and row.limits is not None:
        if row.argument == OPTIONAL:  # it may be a word that stands there for another reason
            said += f": `{value}' is no number from {row.limits[0]} to {row.limits[1]}"
        return parse_in_range(value, *row.limits, said)
    if "|" in row.values and value not in row.values.split("|"):
        raise UsageError(f"{said}: it is {' or '.join(row.values.split('|'))}")
    return value


def truncate_bytes(text: str, size: int) -> str:
    """The first `size` bytes, as strncpy keeps them."""
    return text if len(text) * 4 <= size else os.fsdecode(os.fsencode(text)[:size])


def parse_in_range(text: str, low: int, high: int, message: str) -> int:
    """A number from low to high, else Usage with the message."""
    value = parse_int(text, low, high)
    if value == -1:
        raise UsageError(message)
    return value


def parse_timeout(text: str, low: int) -> int:
    """Seconds from low to 31 days (parse_timeout)."""
    return parse_in_range(text, low, MAX_TIMEOUT, f"invalid timeout value `{text}' specified")


def parse_scheduler_flags(scheduler: str, text: str) -> int:
    """Names with commas to bits, for that scheduler (parse_sched_flags). A lone comma crashes 1.31;
    here it is no flag.
    """
    flags = 0
    names = [name for name in text.split(",") if name]
    for name in names or [text]:
        found = [(bit, only) for flag, bit, only in SCHEDULER_FLAGS if flag == name]
        if not found:
            raise UsageError(f"invalid scheduler flag `{name}'")
        bit, only = found[0]
        if only and only != scheduler:
            raise UsageError(f"incompatible scheduler flag `{name}'")
        flags |= bit
    return flags
