"""Render findings as text and as JSON, and compute the exit status. Pure.

Must never know: how a fault was found.
"""

from __future__ import annotations

import json
import textwrap

from pyipvsadm.doctor.codes import BY_CODE, ERROR, STATUS, WARNING
from pyipvsadm.text import escape_undecodable as as_text
from pyipvsadm.text import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyipvsadm.doctor.codes import Finding

WIDTH = 100
# of the report for programs: within it fields may be added, none goes or changes its meaning
FORMAT = 1
UNKNOWN = 3  # what could not be read: the number that monitoring systems give to it


def get_status(findings: Sequence[Finding]) -> int:
    """Return the exit status for the worst finding: 0 none, 1 a warning, 2 an error."""
    return max((STATUS[each.severity] for each in findings), default=0)


def render_text(findings: Sequence[Finding], not_checked: Sequence[str]) -> str:
    """Return the report for people: a paragraph for each finding, the facts that were not checked,
    and a last line that sums up. Control characters are replaced.
    """
    parts = []
    for each in findings:
        parts.append(f"{each.severity}: {each.subject}: {BY_CODE[each.code].title} [{each.code}]\n")
        parts += [_wrap_sentence(sentence) for sentence in (each.detail, BY_CODE[each.code].reason)]
        parts += [f"    # {fix}\n" for fix in each.fixes]
        parts.append("\n")
    if not_checked:
        parts.append("Not checked:\n")
        for line in not_checked:
            sentence, *commands = line.split("\n")
            parts += [_wrap_sentence(sentence), *(f"    # {command}\n" for command in commands)]
        parts.append("\n")
    counts = [sum(each.severity == severity for each in findings) for severity in (ERROR, WARNING)]
    if any(counts):
        parts.append(f"{_count_noun(counts[0], 'error')}, {_count_noun(counts[1], 'warning')}.\n")
    else:
        parts.append(f"Nothing wrong was found{' in what was examined' if not_checked else ''}.\n")
    return "\n".join(map(sanitize, "".join(parts).split("\n")))


def render_json(findings: Sequence[Finding], not_checked: Sequence[str]) -> str:
    """Return the report for programs: one object, with a list of findings and one of the facts that
    were not checked.
    """
    rows = [
        {
            "code": each.code,
            "severity": each.severity,
            "subject": each.subject,
            "title": BY_CODE[each.code].title,
            "detail": each.detail,
            "reason": BY_CODE[each.code].reason,
            "fix": list(each.fixes),
        }
        for each in findings
    ]
    found: dict[str, object] = {
        "format": FORMAT,
        "findings": rows,
        "not_checked": [line.replace("\n", " ") for line in not_checked],
    }
    found["status"] = get_status(findings)
    return json.dumps(_make_readable(found), indent=2) + "\n"


def _make_readable(value: object) -> object:
    r"""Write bytes that are no UTF-8 as \xHH: of half a surrogate pair other programs read
    nothing.
    """
    if isinstance(value, dict):
        return {name: _make_readable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_make_readable(each) for each in value]
    return as_text(value) if isinstance(value, str) else value


def _wrap_sentence(sentence: str) -> str:
    return (
        textwrap.fill(
            sentence, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
        )
        + "\n"
    )


def _count_noun(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
