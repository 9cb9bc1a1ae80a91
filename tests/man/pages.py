"""Read the manual pages as tests need them: sections, examples, and macros of mdoc as plain text
(those that our pages use).
"""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "man"
FILES = {path.stem: path for path in sorted(FOLDER.glob("*.[58]"))}
PAGES = {name: path.read_text() for name, path in FILES.items()}

_ESCAPES = {"\\-": "-", "\\e": "\\", "\\(aq": "'", "\\fB": "", "\\fP": "", "\\&": ""}
_OPENS = {
    "Op": ("[", "]"),
    "Brq": ("{", "}"),
    "Pq": ("(", ")"),
    "Ql": ("", ""),
    "D1": ("", ""),
    "Oo": ("[", ""),
    "Oc": ("]", ""),
}


def unescaped(line: str) -> str:
    """Return a line of text without the escapes of roff."""
    return re.sub(r"\\(-|e|\(aq|fB|fP|&)", lambda found: _ESCAPES[found[0]], line)


def plain(line: str) -> str:
    """Return a line of macros as mandoc shows it: `.It Fl p , Fl -persistent Op Ar SECONDS` is `-p,
    --persistent [SECONDS]`.
    """
    said, end, glued, flag = "", "", True, False
    for word in line.removeprefix(".").split():
        if word in ("It", "Nm", "Ar", "Cm", "Li", "Ev", "Pa", "Sx", "Va", "Em", "Xr"):
            flag = False
        elif word == "Fl":
            flag = True
        elif word == "Ns":
            glued = True
        elif word in _OPENS:
            said += ("" if glued or word == "Oc" else " ") + _OPENS[word][0]
            end = _OPENS[word][1] + end
            glued = word != "Oc"
            flag = False
        else:
            said += (
                ("" if glued or word in ",.;:)" else " ")
                + ("-" if flag and word not in ",.;:)" else "")
                + unescaped(word)
            )
            glued = word == "("
    return said + end


def text(page: str) -> str:
    """Return all lines of a page, with plain text instead of macros."""
    return "\n".join(
        plain(line) if line.startswith(".") else unescaped(line) for line in page.splitlines()
    )


def section(page: str, title: str) -> str:
    """Return the source of a section, without its heading."""
    return page.split(f".Sh {title}\n", 1)[1].split("\n.Sh ", 1)[0]


def literals(source: str) -> list[str]:
    """Return the blocks of shell commands in a source, as they are typed."""
    return [
        unescaped(block)
        for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", source, re.MULTILINE | re.DOTALL)
    ]
