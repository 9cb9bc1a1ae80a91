"""Make text safe for a terminal, or for JSON, and put numbers and nouns together.

Owns: the characters that a terminal must not get, how bytes that are no UTF-8 are written, and
plurals. Must never know: where the text comes from.
"""

from __future__ import annotations

# Letters that run from right to left also reorder the digits beside them. The control characters
# for the direction are not printable anyway.
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})


def sanitize(text: str) -> str:
    """Replace control characters, and characters that change the direction of text, by `?`."""
    if text.isascii() and text.isprintable():
        return text
    import unicodedata  # noqa: PLC0415  # few texts need it

    return "".join(
        c if c.isprintable() and unicodedata.bidirectional(c) not in _RIGHT_TO_LEFT else "?"
        for c in text
    )


def escape_undecodable(value: str) -> str:
    r"""Return the text for a JSON document: a byte that is no UTF-8 is written as \xHH."""
    return (
        value
        if value.isascii()
        else value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    )


def format_json(document: object) -> str:
    """Return a document as indented JSON, with escape_undecodable for all of its texts."""
    import json  # noqa: PLC0415  # 7 ms

    return json.dumps(_escape_all(document), indent=2) + "\n"


def _escape_all(value: object) -> object:
    if isinstance(value, dict):
        return {name: _escape_all(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_escape_all(each) for each in value]
    return escape_undecodable(value) if isinstance(value, str) else value


def pluralize(number: int, noun: str, separator: str = "") -> str:
    """Return a number with its noun: 1 server, 2 servers. separator: `,` for 4,901 servers."""
    return f"{number:{separator}} {noun}{'' if number == 1 else 's'}"
