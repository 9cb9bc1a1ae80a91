"""Check which options go together, by the tables of combinations.

Owns: the order in which faults are found, and their messages. Must never know: values, what a
request does.
"""

from __future__ import annotations

from pyipvsadm.errors import UsageError
from pyipvsadm.grammar.options import (
    ALLOWED_PAIRS,
    COMMAND_HELP,
    COMMANDS,
    DOCTOR_NEEDS,
    LIST_CONFLICTS,
    LIST_EXCLUSIONS,
    REQUIRES,
    SLOTS,
    TUNNEL_SLOTS,
    TUNNEL_TYPES,
    UNSLOTTED_COMMANDS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.grammar.options import Option


def check_slots(command: str, slots: set[str]) -> None:
    """Hold what was given against the table of combinations (generic_opt_check)."""
    name = next((row.name for row in COMMANDS if row.long == command), command)
    exclusive = ""
    for slot in SLOTS:
        if slot.name not in slots:
            if command in slot.required:
                raise UsageError(
                    f"You need to supply the '{slot.name}' option for the '{name}' command",
                    hint=f"{{{command}}} needs {{{slot.name}}}",
                )
        elif command in slot.exclusive:
            if exclusive and (exclusive, slot.name) not in ALLOWED_PAIRS:
                raise UsageError(
                    f"The option '{slot.name}' conflicts with the '{exclusive}' option in the '{name}' command",
                    hint=_exclude(slot.name, exclusive),
                )
            exclusive = slot.name
        elif command not in slot.optional and command not in slot.required:
            raise UsageError(
                f"Illegal '{slot.name}' option with the '{name}' command",
                hint=_exclude(slot.name, command),
            )


def _exclude(one: str, other: str) -> str:
    """Return the hint that two options, or an option and a command, do not go together."""
    return f"{{{one}}} does not go with {{{other}}}"


def check_ours(command: str, slots: set[str]) -> None:
    """Hold options that 1.31 lacks against what they are given with."""
    for slot, other in {**REQUIRES, **(DOCTOR_NEEDS if command == "doctor" else {})}.items():
        if slot in slots and other not in slots:
            raise UsageError(
                f"You need to supply the '{other}' option for the '{slot}' option",
                hint=f"{{{slot}}} needs {{{other}}}",
            )
    if "drain" in slots:
        # Draining changes only the weight.
        check_slots("drain", slots - {"service-address"} | {"real-server"})
    if command == "list":
        for slot, others in LIST_EXCLUSIONS.items():
            for other in others:
                if slot in slots and other in slots:
                    raise UsageError(
                        f"The option '{slot}' conflicts with the '{other}' option in the 'list' command",
                        hint=_exclude(slot, other),
                    )


def check_tunnel(kind: str, slots: set[str]) -> None:
    """Hold tunnel options against the tunnel type (tunnel_opt_check)."""
    exclusive = ""
    for slot, demanded, alternative in TUNNEL_SLOTS:
        if slot not in slots:
            if kind in demanded:
                raise UsageError(
                    f"You need to supply the '{slot}' option for the '{kind}' tunnel type",
                    hint=f"--tun-type {kind} needs {{{slot}}}",
                )
        elif kind in alternative:
            if exclusive:
                raise UsageError(
                    f"The option '{slot}' conflicts with the '{exclusive}' option in the '{kind}' tunnel type",
                    hint=_exclude(slot, exclusive),
                )
            exclusive = slot
        elif kind not in demanded:
            raise UsageError(
                f"Illegal '{slot}' option with the '{kind}' tunnel type",
                hint=f"{{{slot}}} does not go with --tun-type {kind}",
            )


def is_allowed_with(option: Option, command: str) -> bool:
    """Return True if the option may be given with the command."""
    if not option.slot:
        return command in UNSLOTTED_COMMANDS.get(option.long, (command,))
    slot = next(slot for slot in SLOTS if slot.name == option.slot)
    return command in slot.required | slot.optional | slot.exclusive


def describe_option(option: Option, command: str) -> str:
    """Return the line of help that the option has with the command ("" for no command yet)."""
    return COMMAND_HELP.get((command, option.long), option.help)


def check_list(slots: set[str]) -> None:
    """Hold the options of the list command against each other (process_options)."""
    for left, right in LIST_CONFLICTS:
        if slots & left and slots & right:
            raise UsageError(
                "options conflicts in the list command",
                hint=_exclude(min(slots & left), min(slots & right)),
            )


def can_join(option: Option, command: str, slots: set[str]) -> bool:
    """Return True if the option can be added to the filled slots without removing one."""
    if not is_allowed_with(option, command):
        return False
    if not option.slot:
        return True
    slot = next(row for row in SLOTS if row.name == option.slot)
    if slot.name in slots and command not in slot.several:
        return False
    filled = [
        row.name for row in SLOTS if command in row.exclusive and (row.name in slots or row is slot)
    ]
    if len(filled) > 1 and tuple(filled) not in ALLOWED_PAIRS:
        return False
    try:
        check_ours(command, {*slots, slot.name})
        if command == "list":
            check_list({*slots, slot.name})
    except UsageError:
        return False
    return True


def get_tunnel_types(slots: set[str]) -> list[str]:
    """Return the tunnel types that allow these tunnel options; they may require others."""
    types = []
    for kind in TUNNEL_TYPES:
        try:
            check_tunnel(
                kind, slots | {slot for slot, demanded, _ in TUNNEL_SLOTS if kind in demanded}
            )
        except UsageError:
            continue
        types.append(kind)
    return types
