"""Define the command lines of ipvsadm-save and ipvsadm-restore: their options, help and errors.

Owns: one table of options for each program, and the rules by which words are parsed (those of
getopt, without abbreviations). Must never know: what an option does. Imported only if one of the
two programs runs, or is completed.
"""

from __future__ import annotations

from pyipvsadm.errors import OperationError, UsageError
from pyipvsadm.grammar.options import OPTIONS, Option
from pyipvsadm.grammar.values import parse_extension_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_COLUMNS = 79  # of the usage line
_SHARED_OPTIONS = {row.long: row for row in OPTIONS}
_ENDING = (
    Option("help", "h", "", "show this help"),
    Option("version", "v", "", "show the version"),
)


class Companion:
    """Describe a program: its purpose, its options, and the message for a word that is no option."""

    __slots__ = ("about", "example", "name", "options", "stray", "untouched")

    def __init__(
        self,
        name: str,
        about: str,
        options: tuple[Option, ...],
        stray: str,
        untouched: str,
        example: str,
    ) -> None:
        self.name = name
        self.about = about
        self.options = (*options, _SHARED_OPTIONS["backend"], _SHARED_OPTIONS["netns"], *_ENDING)
        self.stray = stray
        self.untouched = untouched
        self.example = example


SAVE = Companion(
    "ipvsadm-save",
    "Write the IPVS table as rules to standard output.",
    (
        Option("", "n", "", "addresses and ports as numbers"),
        Option(
            "",
            "f",
            "",
            "replace FILE, whole or not at all (-: standard output)",
            "FILE",
            values="file",
        ),
        Option("full", "", "", "also save timeouts, sync daemons and every setting of a service"),
    ),
    "to write to a file, give -f FILE or > FILE",
    "nothing was saved",
    "ipvsadm-save -n -f /etc/ipvsadm.rules",
)
RESTORE = Companion(
    "ipvsadm-restore",
    "Replace the IPVS table by rules from standard input. All of them are read and\nchecked before the table is cleared.",
    (
        Option("", "n", "", "no effect: numbers and names are both understood"),
        Option("", "f", "", "read the rules from FILE (-: standard input)", "FILE", values="file"),
        Option("dry-run", "", "", "try the rules on a copy of the table and change nothing"),
        Option(
            "confirm-within",
            "",
            "",
            "undo this after SECONDS, unless it is confirmed",
            "SECONDS",
            limits=_SHARED_OPTIONS["confirm-within"].limits,
        ),
    ),
    "to read rules from a file, give -f FILE or < FILE",
    "nothing was changed",
    "ipvsadm-restore -f /etc/ipvsadm.rules",
)
COMPANIONS = {program.name: program for program in (SAVE, RESTORE)}


def parse_words(program: Companion, words: Sequence[str]) -> dict[str, str]:
    """Return the options given, by long name (short where it has none), each with its argument (""
    where it takes none).

    Raise OperationError, status 2, at the first word that the program does not understand.
    """
    rows = {f"--{row.long}": row for row in program.options if row.long}
    rows |= {f"-{row.short}": row for row in program.options if row.short}
    options: dict[str, str] = {}
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        if word[:1] != "-" or word == "-":
            raise _make_usage_error(program, f"unexpected argument {word}", program.stray)
        if word[:2] == "--":
            name, equals, value = word.partition("=")
        else:
            name, value = word[:2], word[2:]
            equals = value
        row = rows.get(name)
        if row is None:
            raise _make_usage_error(program, f"{name}: unknown option")
        if not row.argument and equals:
            if name[:2] == "--" or value[:1] == "-":
                raise _make_usage_error(program, f"{word}: {name} takes no argument")
            # a cluster, such as -nf FILE
            remaining.insert(0, f"-{value}")
        if row.argument:
            if not equals and remaining and (remaining[0][:1] != "-" or remaining[0] == "-"):
                value = remaining.pop(0)
            if not value:
                raise _make_usage_error(program, f"{name}: missing argument ({row.metavar})")
            if row.limits:
                try:
                    value = str(parse_extension_value(row, value))
                except UsageError:
                    low, high = row.limits
                    raise _make_usage_error(
                        program, f"{name}: `{value}' is no number from {low} to {high}"
                    ) from None
            if (row.long or row.short) in options:
                raise _make_usage_error(program, f"{name}: given twice")
        options[row.long or row.short] = value if row.argument else ""
    return options


def _make_usage_error(program: Companion, message: str, hint: str = "") -> OperationError:
    return OperationError(
        f"{program.name}: {message}; {hint or f'see {program.name} --help'}; {program.untouched}", 2
    )


def format_help(program: Companion) -> str:
    """Return the text of --help."""
    options = [row for row in program.options if row not in _ENDING]
    usage = f"Usage: {program.name}"
    for word in (f"[{_format_names(row)}]" for row in options):
        column = len(usage) - usage.rfind("\n") - 1
        usage += f" {word}" if column + len(word) < _COLUMNS else f"\n    {word}"
    width = max(len(_format_names(row)) for row in program.options) + 2
    rows = "".join(f"  {_format_names(row):<{width}}{row.help}\n" for row in program.options)
    return f"{usage}\n{program.about}\n\n{rows}\nExample:\n  {program.example}\n"


def _format_names(row: Option) -> str:
    names = [f"-{row.short}"] * bool(row.short) + [f"--{row.long}"] * bool(row.long)
    return f"{', '.join(names)} {row.metavar}".rstrip()
