"""Render findings as text and as JSON, and compute the exit status. Pure.

Must never know: how a fault was found.
"""

from __future__ import annotations

import textwrap

from pyipvsadm.doctor.codes import (
    BY_CODE,
    ERROR,
    STATUS,
    WARNING,
    Code,
    format_explanation,
    get_severity,
)
from pyipvsadm.text import format_json, pluralize, sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyipvsadm.errors import Finding

WIDTH = 100
# ECMA-48: bold red, bold yellow
COLOURS = {ERROR: "\x1b[1;31m", WARNING: "\x1b[1;33m"}
RESET = "\x1b[0m"
# of the report for programs: within it fields may be added, none goes or changes its meaning
FORMAT = 1
UNKNOWN = 3  # what could not be read: the number that monitoring systems give to it


def get_status(findings: Sequence[Finding]) -> int:
    """Return the exit status for the worst finding: 0 none, 1 a warning, 2 an error."""
    return max((STATUS[get_severity(each)] for each in findings), default=0)


def render_text(
    findings: Sequence[Finding],
    not_checked: Sequence[str],
    columns: int = 0,
    colours: bool = False,
) -> str:
    """Return the report for people: a paragraph for each finding, the facts that were not checked,
    and a last line that sums up. Control characters are replaced.

    columns: of the terminal; 0 if there is none: then the headings are not wrapped. Words, codes
    and commands stay whole in a narrow terminal too. colours: show severities in colour.
    """
    width = min(columns, WIDTH) or WIDTH
    parts = []
    for each in findings:
        heading = f"{get_severity(each)}: {each.text}: {BY_CODE[each.code].title} [{each.code}]"
        parts.append((_wrap(heading, width, "", "  ") if columns else heading) + "\n")
        parts += [
            _wrap_sentence(sentence, width)
            for sentence in (each.message, BY_CODE[each.code].reason)
        ]
        parts += [f"    # {fix}\n" for fix in each.fixes]
        parts.append("\n")
    if not_checked:
        parts.append("Not checked:\n")
        for line in not_checked:
            sentence, *commands = line.split("\n")
            parts += [
                _wrap_sentence(sentence, width),
                *(f"    # {command}\n" for command in commands),
            ]
        parts.append("\n")
    counts = [
        sum(get_severity(each) == severity for each in findings) for severity in (ERROR, WARNING)
    ]
    if any(counts):
        parts.append(f"{pluralize(counts[0], 'error')}, {pluralize(counts[1], 'warning')}.\n")
    else:
        parts.append(f"Nothing wrong was found{' in what was examined' if not_checked else ''}.\n")
    lines = [sanitize(line) for line in "".join(parts).split("\n")]
    return "\n".join(map(_colour_severity, lines) if colours else lines)


def render_explanation(row: Code, columns: int) -> str:
    """Return the paragraph that explains a code. columns: of the terminal, by which it is wrapped; 0
    if there is none.
    """
    text = format_explanation(row)
    if not columns:
        return text
    width = min(columns, WIDTH)
    heading, *sentences = text.splitlines()
    parts = [_wrap(heading, width, "", "  ") + "\n"]
    return "".join(parts + [_wrap_sentence(sentence.strip(), width) for sentence in sentences])


def render_json(findings: Sequence[Finding], not_checked: Sequence[str]) -> str:
    """Return the report for programs: one object, with a list of findings and one of the facts that
    were not checked.
    """
    rows = [
        {
            "code": each.code,
            "severity": get_severity(each),
            "subject": each.text,
            "title": BY_CODE[each.code].title,
            "detail": each.message,
            "reason": BY_CODE[each.code].reason,
            "fix": list(each.fixes),
        }
        for each in findings
    ]
    document = {
        "format": FORMAT,
        "findings": rows,
        "not_checked": [line.replace("\n", " ") for line in not_checked],
        "status": get_status(findings),
    }
    return format_json(document)


def _wrap_sentence(sentence: str, width: int) -> str:
    return _wrap(sentence, width, "  ", "  ") + "\n"


def _wrap(text: str, width: int, first: str, rest: str) -> str:
    """Wrap between words only: an address or a code that is longer than a line is kept whole."""
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _colour_severity(line: str) -> str:
    """Put the severity that a heading starts with into its colour."""
    severity, colon, rest = line.partition(":")
    if not colon or severity not in COLOURS:
        return line
    return f"{COLOURS[severity]}{severity}:{RESET}{rest}"
