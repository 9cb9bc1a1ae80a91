"""Split a list of words as popt does: options, their values, bare words.

Owns: popt's grammar (popt.c: poptGetNextOpt): clusters, attached and `=` values, optional values,
`--`, no abbreviations. Must never know: what an option means.
"""

from __future__ import annotations

from pyipvsadm.errors import LineSkippedError
from pyipvsadm.grammar.options import ATTACHED, COMMANDS, NONE, OPTIONAL, OPTIONS, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_LONG: dict[str, Command | Option] = {row.long: row for row in (*COMMANDS, *OPTIONS)}
_SHORT: dict[str, Command | Option] = {row.short: row for row in (*COMMANDS, *OPTIONS) if row.short}
_SHORT["l"] = _LONG["list"]
_SUBSTITUTE = "!#:+"  # popt puts the next bare word in its place (popt.c: expandNextArg)


def find_command(word: str) -> Command | None:
    """Return the command that a word names: -a, --add-server or add-server."""
    name = word.removeprefix("--")
    row = _SHORT.get(word[1:]) if word[:1] == "-" and name == word else _LONG.get(name)
    return row if isinstance(row, Command) else None


def find_option(name: str) -> Command | Option | None:
    """Return the command or option with this long name."""
    return _LONG.get(name)


class PoptScanner:
    """Scan a list of words as popt does: options in order, bare words aside."""

    __slots__ = (
        "_cluster",
        "_letter",
        "_next",
        "_posix",
        "_rest",
        "_substitute",
        "_used",
        "_words",
        "awaiting_argument",
        "positional",
        "value",
    )

    def __init__(self, words: Sequence[str], posix: bool) -> None:
        self._words = words
        self._posix = posix  # POSIXLY_CORRECT: the first bare word ends the options
        self._next = 0
        self._cluster = ""  # a word of short options that has unread letters
        self._letter = 0  # the index of the next one
        self._rest = False
        self._used: set[int] = set()  # words that a substitution has taken
        self._substitute = 0  # no word before this index can be taken
        self.positional: list[str] = []
        self.value: str | None = None  # the argument of the option returned last
        # The option at the end of the words, if its argument could follow.
        self.awaiting_argument: Command | Option | None = None

    def get_bad_option(self) -> str:
        """Return the faulty word (poptBadOption): the last one taken, whole."""
        return self._words[self._next - 1] if self._next else "ipvsadm"

    def read_option(self) -> Command | Option | None:
        """Return the next option, None after the last. Raise LineSkippedError with popt's message."""
        attached: str | None = None
        if not self._cluster:
            word = self._find_option_word()
            if word is None:
                return None
            if word[1] == "-":
                name, equals, attached = word[2:].partition("=")
                row = _LONG.get(name)
                if not equals:
                    attached = None
            else:
                self._cluster, self._letter = word, 1
        if self._cluster:
            row = _SHORT.get(self._cluster[self._letter])
            self._letter += 1
            if self._letter == len(self._cluster):
                self._cluster = ""
        if row is None:
            raise LineSkippedError(f"{self.get_bad_option()}: unknown option")
        if row.argument == NONE:
            if attached is not None or (self._cluster and self._cluster[self._letter] == "="):
                raise LineSkippedError(f"{self.get_bad_option()}: option does not take an argument")
            self.value = None
        elif row.argument == ATTACHED:
            self.value = attached
        else:
            self.value = self._take_argument(attached, row)
        return row

    def get_remaining(self) -> list[str]:
        """Return the words that are not scanned yet."""
        return list(self._words[self._next :])

    def _find_option_word(self) -> str | None:
        while self._next < len(self._words):
            word = self._words[self._next]
            self._next += 1
            if self._next - 1 in self._used:
                continue
            if self._rest or word[:1] != "-" or word == "-":
                self._rest = self._rest or self._posix
                self.positional.append(word)
            elif word == "--":
                self._rest = True
            else:
                return word
        return None

    def _take_argument(self, attached: str | None, row: Command | Option) -> str | None:
        optional = row.argument == OPTIONAL
        if attached is not None:
            value = attached
        elif self._cluster:
            value = self._cluster[self._letter :].removeprefix("=")
            self._cluster = ""
        elif self._next == len(self._words):
            self.awaiting_argument = row
            if not optional:
                raise LineSkippedError(f"{self.get_bad_option()}: missing argument")
            return None
        elif optional and self._words[self._next][:1] == "-":
            return None
        else:
            value = self._words[self._next]
            self._next += 1
        return self._substitute_words(value) if _SUBSTITUTE in value else value

    def _substitute_words(self, value: str) -> str:
        for index in range(max(self._next, self._substitute), len(self._words)):
            self._substitute = index + 1
            if self._words[index][:1] != "-":
                self._used.add(index)
                return value.replace(_SUBSTITUTE, self._words[index])
        # popt loops for ever here.
        return value
