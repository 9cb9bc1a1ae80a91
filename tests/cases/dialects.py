"""The two references that there are, both called 1.31: Debian 12's, whose answers are recorded.json,
and that of Debian 13 (1:1.31-5, upstream's of January 2025). Ours speaks the newer.

Owns: the table of what differs. Must never know: where ours differs from both (differences.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cases.recording import Answer

# What the older writes to standard error, and what the newer writes instead.
MESSAGES = {"-6 used before -f\n": "-6 must follow -f\n"}


def translate(answer: Answer) -> Answer:
    """The newer's answer, where the older has given this one."""
    text = answer.stderr
    for older, newer in MESSAGES.items():
        text = text.replace(older, newer)
    return replace(answer, stderr=text)
