"""Render --help from the table of options, with click's formatter.

Owns: the layout of the help and its examples. Must never know: how a command line is parsed or
carried out. Only imported when help is asked for: click costs a start 30 ms.
"""

from __future__ import annotations

import click

from pyipvsadm.grammar.combinations import describe_option, is_allowed_with
from pyipvsadm.grammar.options import (
    COMMAND_GROUPS,
    COMMANDS,
    NONE,
    OPTIONAL,
    OPTIONS,
    SLOTS,
    Command,
    Option,
)
from pyipvsadm.grammar.schedulers import ENGINES, SCHEDULER_FLAGS, SCHEDULERS

WIDTH = 80
# The widest column of names; the help of a wider name starts on the next line.
MARGIN = 36
SELECTOR = "service-address"  # the slot that "SERVICE" stands for

# The most frequent tasks, on the first page: (task, command line).
COMMON_EXAMPLES = (
    ("one service's rates per second", "ipvsadm -L -n -t 10.0.0.1:80 --rate"),
    ("no new connections for a server", "ipvsadm -e -t 10.0.0.1:80 -r 10.0.0.8 -w 0 --keep"),
    ("save all rules", "ipvsadm-save -n -f rules"),
    ("replace the current rules (new connections fail for a moment)", "ipvsadm-restore < rules"),
)

# What ipvsadm 1.31 does not have, on the first page: (how it is typed, what it does).
EXTENSIONS = (
    ("--apply FILE", "change only what differs, all or nothing"),
    ("--dry-run", "with any change: try it on a copy of the table"),
    ("-d ... --drain[=SECONDS]", "delete a server after its connections have ended"),
    ("--doctor", "find mistakes in addresses, routes and sysctls"),
    ("-L --watch, --pretty, --json", "live, formatted and machine-readable listings"),
    ("--netns NAME", "work in another network namespace"),
)

# One or two command lines for a command, by its long name.
EXAMPLES = {
    "add-service": ("-A -t 10.0.0.1:80 -s wrr", "-A -t [2001:db8::1]:443 -s wlc -p 600"),
    "edit-service": ("-E -t 10.0.0.1:80 -s sh -b sh-fallback,sh-port",),
    "delete-service": ("-D -t 10.0.0.1:80", "-D -f 7 -6"),
    "clear": ("-C",),
    "add-server": (
        "-a -t 10.0.0.1:80 -r 10.0.0.8:8080 -m -w 3",
        "-a -f 7 -r 10.0.0.8 -i --tun-type gue --tun-port 6080",
    ),
    "edit-server": ("-e -t 10.0.0.1:80 -r 10.0.0.8:8080 -m -w 0",),
    "delete-server": ("-d -t 10.0.0.1:80 -r 10.0.0.8:8080",),
    "list": ("-L -n -t 10.0.0.1:80 --rate", "-L -n -c"),
    "predict": ("--predict 192.0.2.7 -t 10.0.0.1:80",),
    "zero": ("-Z", "-Z -t 10.0.0.1:80"),
    "save": ("-S -n > rules",),
    "restore": ("-R < rules",),
    "apply": ("--apply rules --dry-run", "--apply rules"),
    "undo": ("--undo --dry-run", "--undo"),
    "history": ("--history",),
    "confirm": ("--confirm --dry-run", "--confirm"),
    "set": ("--set 900 120 300", "--set 0 0 60"),
    "start-daemon": ("--start-daemon master --mcast-interface eth0 --syncid 7",),
    "stop-daemon": ("--stop-daemon master",),
}


def _format_overview(formatter: click.HelpFormatter) -> None:
    formatter.write_usage("ipvsadm", "COMMAND [SERVICE] [OPTIONS]    (the command comes first)")
    formatter.write("Show and change the virtual services of Linux Virtual Server (IPVS).\n")
    ungrouped = list(COMMANDS)
    for title, names in COMMAND_GROUPS:
        rows = [row for row in COMMANDS if row.long in names.split()]
        ungrouped = [row for row in ungrouped if row not in rows]
        _format_section(formatter, title, rows)
    _format_section(formatter, "Other", ungrouped)
    with formatter.section("SERVICE is one of"):
        formatter.write_dl(
            [(_format_names(row), row.help) for row in OPTIONS if row.slot == SELECTOR], MARGIN
        )
    with formatter.section("Not in ipvsadm 1.31"):
        formatter.write_dl(list(EXTENSIONS), MARGIN)
    with formatter.section("Examples"):
        for task, line in COMMON_EXAMPLES:
            formatter.write(f"  # {task}\n  {line}\n")
    formatter.write(
        "\nThe options of a command: ipvsadm COMMAND --help, as in: ipvsadm -a --help\n"
    )


def _format_section(formatter: click.HelpFormatter, title: str, rows: list[Command]) -> None:
    if rows:
        with formatter.section(title):
            formatter.write_dl([(_format_names(row), row.help) for row in rows], MARGIN)


def _format_command_help(row: Command, formatter: click.HelpFormatter) -> None:
    formatter.write_usage("ipvsadm", format_synopsis(row))
    formatter.write(f"{row.help[0].upper()}{row.help[1:]}.\n")
    groups: dict[str, list[Option]] = {}
    for option in OPTIONS:
        if row.long not in ("help", "version") and is_allowed_with(option, row.long):
            groups.setdefault(option.group, []).append(option)
    for group, options in groups.items():
        with formatter.section("SERVICE is one of" if group == "service" else group.capitalize()):
            formatter.write_dl(
                [(_format_names(option), describe_option(option, row.long)) for option in options],
                MARGIN,
            )
    for title, kind, values in (
        ("Schedulers", "scheduler", SCHEDULERS),
        ("Persistence engines", "engine", ENGINES),
    ):
        if any(option.values == kind for options in groups.values() for option in options):
            with formatter.section(title):
                formatter.write_dl(list(values.items()))
    if any(option.values == "flags" for options in groups.values() for option in options):
        with formatter.section("Scheduler flags"):
            formatter.write_text(", ".join(name for name, *_ in SCHEDULER_FLAGS))
    if row.long in EXAMPLES:
        with formatter.section("Examples" if len(EXAMPLES[row.long]) > 1 else "Example"):
            for line in EXAMPLES[row.long]:
                formatter.write(f"  ipvsadm {line}\n")


def format_synopsis(row: Command) -> str:
    """Return the form of a line with this command: its required options, then the optional ones."""
    words = [f"-{row.short}" if row.short else f"--{row.long}"]
    words.append(_format_operands(row))
    for slot in SLOTS:
        if slot.name == SELECTOR:
            if row.long in slot.required:
                words.append("SERVICE")
            elif row.long in slot.optional | slot.exclusive:
                words.append("[SERVICE]..." if row.long in slot.several else "[SERVICE]")
        elif row.long in slot.required:
            option = next(option for option in OPTIONS if option.slot == slot.name)
            words.append(
                f"-{option.short} {option.metavar}"
                if option.short
                else f"--{option.long} {option.metavar}"
            )
    if any(
        option.slot not in ("", SELECTOR) and is_allowed_with(option, row.long)
        for option in OPTIONS
    ):
        words.append("[OPTIONS]")
    return " ".join(filter(None, words))


def _format_names(row: Command | Option) -> str:
    names = f"-{row.short}, --{row.long}" if row.short else f"    --{row.long}"
    if isinstance(row, Command):
        return f"{names} {_format_operands(row)}".rstrip()
    if row.argument == NONE:
        return names
    return f"{names} [{row.metavar}]" if row.argument == OPTIONAL else f"{names} {row.metavar}"


def _format_operands(row: Command) -> str:
    return f"{{{row.operands}}}" if "|" in row.operands else row.operands.upper()


def write_help(formatter: click.HelpFormatter, about: str) -> None:
    """Write the page of the command with the long name `about`, or the overview for ""."""
    row = next((row for row in COMMANDS if row.long == about), None)
    if row is None:
        _format_overview(formatter)
    else:
        _format_command_help(row, formatter)


def format_help(about: str = "") -> str:
    """Return the overview, or the page of the command with this long name."""
    formatter = click.HelpFormatter(width=WIDTH, max_width=WIDTH)
    write_help(formatter, about)
    return formatter.getvalue().rstrip("\n") + "\n"
