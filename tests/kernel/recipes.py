"""Read the recipes (docs/recipes) as the tests need them.

Owns: the form of a recipe's file. Must never know: what a recipe is to bring about
(test_recipes.py).

A file is shell for people to read and to copy from. Its first line is its title; `# First:
OTHER.sh` names the recipe that must be followed before it; `### on the director` or `### on each
real server` stands over the commands to type on that host and, after a comma, says when, if not at
once. The commands under `: check the set-up` find nothing wrong afterwards. STOP stands before the
first of these headings: run as a script, a recipe changes nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tests.older_python import zip_equal

FOLDER = Path(__file__).parents[2] / "docs" / "recipes"
ROLES = {"the director": ("director",), "each real server": ("one", "two")}
WELL = "check the set-up"
STOP = """\
echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2
"""

_HEADING = re.compile(r"^### on (the director|each real server)(?:[,:] (.*))?$", re.MULTILINE)


class Part(NamedTuple):
    """Hold a part of a recipe. hosts: those to run it on, one after the other; when: "" at once."""

    hosts: tuple[str, ...]
    when: str
    text: str


class Recipe(NamedTuple):
    """Hold a recipe. first: the recipe to follow before it, "" if there is none. A recipe that is a
    program has no parts.
    """

    title: str
    first: str
    parts: tuple[Part, ...]

    def then(self, when: str) -> list[Part]:
        """Return the parts for that time."""
        found = [part for part in self.parts if part.when == when]
        assert found, when
        return found


def read(name: str) -> Recipe:
    """Read the recipe in NAME.sh."""
    text = (FOLDER / f"{name}.sh").read_text()
    title = next(line for line in text.splitlines() if not line.startswith("#!")).removeprefix("# ")
    head, *rest = _HEADING.split(text)
    first = re.search(r"^# First: (\S+)\.sh$", head, re.MULTILINE)
    parts = (
        Part(ROLES[role], when or "", body)
        for role, when, body in zip_equal(rest[0::3], rest[1::3], rest[2::3])
    )
    return Recipe(title, first[1] if first else "", tuple(parts))
