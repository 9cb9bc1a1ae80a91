"""Write the list of docs/differences.md into man/ipvsadm.8: `python -m tools.man_differences`.

Owns: the page's list as mdoc. The page is the only source; a test fails when the man page's section
is stale.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
PAGE = REPO / "docs" / "differences.md"
MAN = REPO / "man" / "ipvsadm.8"
TITLE = ".Sh DIFFERENCES FROM 1.31\n"
WIDTH = 80  # columns of a source line, as elsewhere in the man pages


def list_items(page: str) -> list[str]:
    """Return the items of the page's numbered list, each as one line of Markdown."""
    return [" ".join(item.split()) for item in re.split(r"^\d+\. ", page, flags=re.MULTILINE)[1:]]


def format_item(item: str) -> str:
    """Return an item as lines of roff: a sentence begins a line, code is bold."""
    roff = re.sub(r"`([^`]*)`", lambda code: f"\\fB{_escape(code[1])}\\fP", item)
    sentences = re.split(r"(?<=\.) (?=[A-Z0-9\\])", roff)
    lines = [
        line
        for sentence in sentences
        for line in textwrap.wrap(sentence, WIDTH, break_long_words=False, break_on_hyphens=False)
    ]
    return "\n".join(f"\\&{line}" if line[:1] in ".'" else line for line in lines)


def _escape(code: str) -> str:
    """Return code so that roff shows its hyphens and backslashes as they are."""
    return code.replace("\\", "\\e").replace("-", "\\-")


def format_section(page: str) -> str:
    """Return the section of the man page."""
    items = "".join(f".It\n{format_item(item)}\n" for item in list_items(page))
    return (
        f"{TITLE}Scripts see the same bytes and the same exit statuses as with 1.31, except\n"
        f"for the differences in this list.\nThe list is complete.\n.Bl -enum -offset 2n\n{items}.El\n"
    )


def renew(man: str, page: str) -> str:
    """Return the man page with its section made from the page."""
    head, _, rest = man.partition(TITLE)
    _, section, tail = rest.partition("\n.Sh ")
    return head + format_section(page) + (section + tail).removeprefix("\n")


def main() -> None:
    """Renew the section in the man page."""
    MAN.write_text(renew(MAN.read_text(), PAGE.read_text()))


if __name__ == "__main__":
    main()
