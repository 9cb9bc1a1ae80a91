"""Which options go together: what was given, held against the tables of combinations.

Owns: the order in which faults are found, and their words. Must never know: values, what a request does.
"""

from __future__ import annotations

from pyipvsadm.errors import Usage
from pyipvsadm.options import COMMANDS, SELECTING, SLOTS, TOGETHER, TUNNEL_SLOTS


def check_slots(command: str, slots: set[str]) -> None:
    """Hold what was given against the table of combinations (generic_opt_check)."""
    name = next((row.name for row in COMMANDS if row.long == command), command)
    exclusive = ""
    for slot in SLOTS:
        if slot.name not in slots:
            if command in slot.required:
                raise Usage(f"You need to supply the '{slot.name}' option for the '{name}' command")
        elif command in slot.exclusive:
            if exclusive and (exclusive, slot.name) not in TOGETHER:
                raise Usage(f"The option '{slot.name}' conflicts with the '{exclusive}' option in the '{name}' command")
            exclusive = slot.name
        elif command not in slot.optional and command not in slot.required:
            raise Usage(f"Illegal '{slot.name}' option with the '{name}' command")


def check_selection(slots: set[str]) -> None:
    """Hold what selects rows of a listing against what is listed."""
    for slot, others in SELECTING.items():
        for other in others:
            if slot in slots and other in slots:
                raise Usage(f"The option '{slot}' conflicts with the '{other}' option in the 'list' command")
    if "client" in slots and "connection" not in slots:
        raise Usage("You need to supply the 'connection' option for the 'client' option")


def check_tunnel(kind: str, slots: set[str]) -> None:
    """Hold tunnel options against the tunnel type (tunnel_opt_check)."""
    exclusive = ""
    for slot, demanded, alternative in TUNNEL_SLOTS:
        if slot not in slots:
            if kind in demanded:
                raise Usage(f"You need to supply the '{slot}' option for the '{kind}' tunnel type")
        elif kind in alternative:
            if exclusive:
                raise Usage(f"The option '{slot}' conflicts with the '{exclusive}' option in the '{kind}' tunnel type")
            exclusive = slot
        elif kind not in demanded:
            raise Usage(f"Illegal '{slot}' option with the '{kind}' tunnel type")
