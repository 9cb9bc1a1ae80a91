"""Render --help from the table of options.

Owns: the layout of the help, its examples, which topics there are. Must never know: how a command
line is parsed or carried out. Only imported when help is asked for.
"""

from __future__ import annotations

import textwrap

from pyipvsadm.errors import UsageError
from pyipvsadm.grammar.combinations import describe_option, is_allowed_with
from pyipvsadm.grammar.options import (
    ATTACHED,
    COMMAND_GROUPS,
    COMMAND_HELP,
    COMMANDS,
    NONE,
    OPTIONAL,
    OPTIONS,
    SLOTS,
    Command,
    Option,
)
from pyipvsadm.grammar.popt import find_command
from pyipvsadm.grammar.schedulers import ENGINES, SCHEDULER_FLAGS, SCHEDULERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH = 80  # of text that goes to no terminal
MAX_WIDTH = 100  # on a wider terminal
MIN_WIDTH = 20  # of a column of text, however narrow the terminal is
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
    ("--apply FILE", "change only what differs; undone if one fails"),
    ("--dry-run", "say what a command would change; send nothing"),
    ("-d ... --drain[=SECONDS]", "delete a server after its connections have ended"),
    ("-L --watch, --pretty, --json", "live, formatted and machine-readable listings"),
    ("-L --status, --metrics", "how full the table is; Prometheus metrics"),
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


# Topics that are no command and no option: title, and rows of (name, text) or a paragraph.
CONCEPTS: dict[str, tuple[str, Sequence[tuple[str, str]] | str]] = {
    "schedulers": ("Schedulers (-s)", tuple(SCHEDULERS.items())),
    "flags": ("Scheduler flags (-b), separated by commas", ", ".join(name for name, *_ in SCHEDULER_FLAGS)),
    "engines": ("Persistence engines (--pe)", tuple(ENGINES.items())),
    "forwarding": ("Forwarding methods of a real server", (
        ("-g", "direct routing: the server has the virtual address and answers the client itself"),
        ("-i", "tunnelling: like -g, through a tunnel; the server may be in any network"),
        ("-m", "masquerading (NAT): answers go through this host; ports may differ"),
    )),
    "marks": ("Firewall marks (-f)", (
        ("service", "takes the packets that have the mark: for example several ports of an address as one service"),
        ("set a mark", "iptables -t mangle -A PREROUTING -d 10.0.0.1 -p tcp -m multiport --dports 80,443 -j MARK --set-mark 7"),
    )),
    "rules": ("Rules files", (
        ("lines", "one command a line, as on a command line without the program's name: -A, -a, --set, --start-daemon"),
        ("#", "a line that starts with # is a comment"),
        ("write", "ipvsadm-save -n, or ipvsadm -S -n; with --full also timeouts, daemons and the order of servers"),
        ("check", "ipvsadm --check FILE"),
        ("read", "ipvsadm --apply FILE changes what differs; ipvsadm-restore clears the table first; ipvsadm -R adds"),
    )),
    "statuses": ("Exit statuses", (
        ("0", "done, or nothing to do"),
        ("1", "a listed service does not exist, a file or stream failed, or a drain, ramp or undo was not finished"),
        ("2", "the command line or a rules file is wrong, or IPVS is not available"),
        ("255", "the kernel refused, or an option is unknown"),
        ("128 + n", "ended by signal n"),
        ("--apply", "with --dry-run: 0 nothing to do, 1 something to do, 2 a bad file, 255 it would be refused"),
        ("--doctor", "0 nothing found, 1 warnings, 2 errors, 3 the table or the host could not be read"),
    )),
    "environment": ("Environment variables", (
        ("IPVSADM_BACKEND", "the table for all commands, as with --backend"),
        ("IPVSADM_HISTORY", "the folder of the history; an embedded table in a file has a history only with it"),
        ("IPVSADM_PRETTY", "not 0: -L on a terminal implies --pretty"),
        ("IPVSADM_DEBUG", "netlink: show every message to and from the kernel"),
        ("NO_COLOR", "not empty: no colours, as with --color=never"),
        ("POSIXLY_CORRECT", "set: the first word without a dash ends the options"),
    )),
}  # fmt: skip
LIST_OF_TOPICS = "topics"


class _Page:
    """Collect the lines of a page of some width."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._lines: list[str] = []

    def add_line(self, line: str = "") -> None:
        """Add a line as it is."""
        self._lines.append(line)

    def add_text(self, text: str, indent: str = "") -> None:
        """Add a paragraph."""
        self._lines += _wrap(text, self._width - len(indent), indent)

    def add_section(self, title: str, rows: Iterable[tuple[str, str]] | str) -> None:
        """Add a heading, and a paragraph or two columns below it; nothing if there are no rows."""
        rows = rows if isinstance(rows, str) else list(rows)
        if not rows:
            return
        self._lines += ["", f"{title}:"]
        if isinstance(rows, str):
            self.add_text(rows, "  ")
            return
        column = min(max(len(name) for name, _ in rows), MARGIN, max(self._width // 2, 1)) + 4
        for name, text in rows:
            first, *others = _wrap(text, self._width - column, " " * column) or [""]
            fits = len(name) + 4 <= column
            self._lines += (
                [f"  {name:<{column - 2}}{first.lstrip()}".rstrip()]
                if fits
                else [f"  {name}", first]
            )
            self._lines += others

    def format(self) -> str:
        """Return the page."""
        return "\n".join(self._lines) + "\n"


def _wrap(text: str, width: int, indent: str) -> list[str]:
    """Return a paragraph as lines. A word that is longer than a line is kept whole."""
    width = max(width, MIN_WIDTH) + len(indent)
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _format_overview(page: _Page) -> None:
    page.add_line("Usage: ipvsadm COMMAND [SERVICE] [OPTIONS]    (the command comes first)")
    page.add_text("Show and change the virtual services of Linux Virtual Server (IPVS).")
    ungrouped = list(COMMANDS)
    for title, names in COMMAND_GROUPS:
        rows = [row for row in COMMANDS if row.long in names.split()]
        ungrouped = [row for row in ungrouped if row not in rows]
        page.add_section(title, _describe_rows(rows))
    page.add_section("Other", _describe_rows(ungrouped))
    page.add_section(
        "SERVICE is one of", _describe_rows(row for row in OPTIONS if row.slot == SELECTOR)
    )
    page.add_section("Not in ipvsadm 1.31", EXTENSIONS)
    page.add_line()
    page.add_line("Examples:")
    for task, line in COMMON_EXAMPLES:
        page.add_line(f"  # {task}")
        page.add_line(f"  {line}")
    page.add_line()
    page.add_text(
        f"More: ipvsadm -a --help, ipvsadm --help drain; all topics: ipvsadm --help {LIST_OF_TOPICS}"
    )


def _describe_rows(rows: Iterable[Command | Option]) -> list[tuple[str, str]]:
    return [(_format_names(row), row.help) for row in rows]


def _format_command_help(row: Command, page: _Page) -> None:
    page.add_line(f"Usage: ipvsadm {format_synopsis(row)}")
    page.add_text(_format_sentence(row.help))
    groups: dict[str, list[Option]] = {}
    for option in OPTIONS:
        if row.long not in ("help", "version") and is_allowed_with(option, row.long):
            groups.setdefault(option.group, []).append(option)
    for group, options in groups.items():
        page.add_section(
            "SERVICE is one of" if group == "service" else group.capitalize(),
            [(_format_names(option), describe_option(option, row.long)) for option in options],
        )
    values = {option.values for options in groups.values() for option in options}
    for title, kind, rows in (
        ("Schedulers", "scheduler", CONCEPTS["schedulers"][1]),
        ("Persistence engines", "engine", CONCEPTS["engines"][1]),
        ("Scheduler flags", "flags", CONCEPTS["flags"][1]),
    ):
        if kind in values:
            page.add_section(title, rows)
    if row.long in EXAMPLES:
        page.add_line()
        page.add_line("Examples:" if len(EXAMPLES[row.long]) > 1 else "Example:")
        for line in EXAMPLES[row.long]:
            page.add_line(f"  ipvsadm {line}")


def _format_option_help(row: Option, page: _Page) -> None:
    page.add_line(f"Usage: ipvsadm COMMAND ... {_format_names(row).strip()}")
    page.add_text(_format_sentence(row.help))
    commands = [
        command
        for command in COMMANDS
        if command.long not in ("help", "version") and is_allowed_with(row, command.long)
    ]
    page.add_section("Goes with", ", ".join(_format_short(command) for command in commands))
    page.add_section(
        "With these commands",
        [
            (_format_short(command), COMMAND_HELP[command.long, row.long])
            for command in commands
            if (command.long, row.long) in COMMAND_HELP
        ],
    )
    concept = {"scheduler": "schedulers", "engine": "engines", "flags": "flags"}.get(row.values)
    if concept:
        page.add_section(*CONCEPTS[concept])
    elif "|" in row.values:
        page.add_section(row.metavar, ", ".join(row.values.split("|")))
    if row.limits:
        unit = "; a unit may follow: 90s, 10m, 2h, 1d" if row.metavar == "SECONDS" else ""
        page.add_section(row.metavar, f"{row.limits[0]} to {row.limits[1]}{unit}")


def _format_topics(page: _Page) -> None:
    page.add_line("Usage: ipvsadm --help TOPIC")
    page.add_section("Concepts", [(name, title) for name, (title, _) in CONCEPTS.items()])
    page.add_section("Commands", ", ".join(row.long for row in COMMANDS))
    page.add_section("Options", ", ".join(row.long for row in OPTIONS))


def _format_sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _format_short(row: Command) -> str:
    return f"-{row.short}" if row.short else f"--{row.long}"


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
    if row.argument == ATTACHED:
        return f"{names}[={row.metavar}]"
    return f"{names} [{row.metavar}]" if row.argument == OPTIONAL else f"{names} {row.metavar}"


def _format_operands(row: Command) -> str:
    return f"{{{row.operands}}}" if "|" in row.operands else row.operands.upper()


def _find_row(topic: str) -> Command | Option | None:
    """Return the command or option of a topic: -w, --weight or weight."""
    name = topic.removeprefix("--")
    return next(
        (
            row
            for row in (*COMMANDS, *OPTIONS)
            if name == row.long or (row.short and topic == f"-{row.short}")
        ),
        find_command(topic),
    )


def format_help(topic: str = "", width: int = WIDTH) -> str:
    """Return the page about a command, an option or a concept; for "" the overview.

    width: of the terminal. Raise UsageError if no topic has that name.
    """
    page = _Page(min(width, MAX_WIDTH))
    row = _find_row(topic) if topic else None
    name = topic.lstrip("-").lower()
    if not topic:
        _format_overview(page)
    elif isinstance(row, Command):
        _format_command_help(row, page)
    elif row is not None:
        _format_option_help(row, page)
    elif name in CONCEPTS:
        title, rows = CONCEPTS[name]
        page.add_line(f"Usage: ipvsadm --help {name}")
        page.add_section(title, rows)
    elif name == LIST_OF_TOPICS:
        _format_topics(page)
    else:
        from pyipvsadm.grammar.hints import find_closest  # noqa: PLC0415  # only after a mistake

        closest = find_closest(name, [*(row.long for row in (*COMMANDS, *OPTIONS)), *CONCEPTS])
        raise UsageError(
            f"no help about {topic}: {f'did you mean {closest}? ' if closest else ''}"
            f"ipvsadm --help {LIST_OF_TOPICS} lists all topics"
        )
    return page.format()
