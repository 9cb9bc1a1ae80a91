"""Write the output of each session into the README and the pages: `python -m tools.fill_pages`.

Owns: the way back from what a command printed to the page. Look at the difference before you commit
it: a page is not right because a program wrote it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests import pages


def fill_page(page: Path, folder: Path) -> str:
    """Return a page's text with what its commands print now."""
    results = iter(pages.run_commands(page, folder))

    def fill(command: pages.Command) -> str:
        """Return a command as it was typed, and its present output."""
        typed = "$ " + command.text.replace("\n", "\n> ") + "\n"
        output = next(results)[2] if pages.is_run(command.text) else command.output
        return typed + (output or "")

    text = page.read_text()
    for block in pages.list_blocks(page):
        if block.language == "sh":
            for command in pages.split_script(block.text):
                if pages.is_run(command.text):
                    next(results)
        elif block.language == "console" and block.text.startswith("$ "):
            filled = "".join(fill(command) for command in pages.split_session(block.text))
            text = text.replace(f"```console\n{block.text}```", f"```console\n{filled}```", 1)
    return text


def main() -> None:
    """Fill all pages."""
    for page in pages.PAGES:
        with tempfile.TemporaryDirectory() as folder:
            text = fill_page(page, Path(folder))
        if text != page.read_text():
            page.write_text(text)
            print(page)


if __name__ == "__main__":
    main()
