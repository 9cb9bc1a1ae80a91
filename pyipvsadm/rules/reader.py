"""Read rule text: lines into words, words into what each line asks for. -R, --apply and tables in
files read it here.

Owns: the reference's tokens (config_stream.c), which lines take the fast path, the error of a line
that ends the run. Must never know: backends, what is done with a line.
"""

from __future__ import annotations

import os

from pyipvsadm.errors import EXIT_REFUSED, LineSkippedError, UsageError
from pyipvsadm.grammar.parser import TRY_HELP, CommandParser, Request
from pyipvsadm.rules.fast_parser import FastRuleParser
from pyipvsadm.rules.writer import FORMAT_HEADER, FORMAT_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from pyipvsadm.model import Change
    from pyipvsadm.resolver import Resolver

    Step = Change | Request | LineSkippedError

    class Context(Protocol):
        """Describe the surroundings on which the meaning of a line depends."""

        names: Resolver

        @property
        def is_posix(self) -> bool:
            """Return True if the first bare word ends the options."""


class NotOnlyChangesError(Exception):
    """Report a line that is no change. No error: such a text is carried out line by line."""


def parse_rules(text: bytes, env: Context) -> Iterator[tuple[int, Step]]:
    """Yield each line's number and its change; for a line that changes nothing its Request, for one
    that popt refuses its LineSkippedError.

    Raise UsageError, with the line's number, if 1.31 would end the run.
    """
    if message := format_version_error(text):
        raise UsageError(f"line 1: {message}")
    fast_parser = FastRuleParser()
    for lineno, words in tokenize(text):
        yield lineno, fast_parser.parse_change(words) or parse_rule(lineno, words, env)


def parse_rule(lineno: int, words: list[str], env: Context) -> Step:
    """Parse one line as parse_rules does."""
    try:
        return parse_words(words, env)
    except UsageError as exc:
        raise UsageError(f"line {lineno}: {exc}", exc.status) from None


def parse_words(words: list[str], env: Context) -> Step:
    """Parse the words of one line. Raise UsageError if 1.31 would end the run."""
    try:
        request = CommandParser(words, env.names, env.is_posix).parse_request()
    except LineSkippedError as exc:
        return exc
    if request.ours:
        raise UsageError(
            f"--{next(iter(request.ours))} does not belong in rules: give it on the command line"
        )
    if request.command == "restore":
        raise UsageError(TRY_HELP, EXIT_REFUSED)
    if request.command in ("help", "version"):
        raise UsageError(f"--{request.command} ends the rules here: none was applied", 0)
    return request.change or request


_BLANKS = bytes.maketrans(b"\t\r", b"  ")


BLOCK = 1 << 18  # bytes of rule text taken apart at once


def tokenize(text: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the words of each line that has any, with its number (from 1).

    As in config_stream_read, blank, tab and CR separate words, the word `ipvsadm` is dropped
    wherever it stands, and a word ends at a NUL. Unlike there, no line is skipped (1.31 forgets a
    last line that ends in two blanks and no line end), and a line whose first word starts with `#`
    is a comment, unless a CR within it could hide a rule.
    """
    lineno = 0
    for block in split_blocks(text):
        has_special = b"\0" in block or b"ipvsadm" in block
        raw = block.split(b"\n") if b"\r" in block and b"#" in block else None
        first = lineno + 1
        for line in os.fsdecode(block.translate(_BLANKS)).split("\n"):
            lineno += 1
            words = line.split(" ")
            if "" in words:
                words = [word for word in words if word]
            if has_special:
                words = [
                    word
                    for word in [word.partition("\0")[0] for word in words]
                    if word != "ipvsadm"
                ]
            if words and (
                words[0][:1] != "#" or (raw and b"\r" in raw[lineno - first].strip(b" \t\r"))
            ):
                yield lineno, words


def split_blocks(text: bytes) -> Iterator[bytes]:
    """Yield the text in blocks of whole lines, without the line end of their last, so that a large
    text is never held twice as words.
    """
    start = 0
    while (end := text.find(b"\n", start + BLOCK)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def format_version_error(text: bytes) -> str:
    """Return the message about line 1 if it names an unknown format version, else ""."""
    end = text.find(b"\n")
    first = (
        text[len(FORMAT_HEADER) : len(text) if end < 0 else end]
        if text.startswith(FORMAT_HEADER.encode())
        else b""
    )
    digits = first.strip()[:9]
    if not digits.isdigit() or int(digits) <= FORMAT_VERSION:
        return ""
    return (
        f"the rules are of format {int(digits)}, but this release only reads format {FORMAT_VERSION}:"
        " use the ipvsadm that wrote them"
    )
