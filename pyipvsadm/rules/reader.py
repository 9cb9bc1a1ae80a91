"""Rule text to what each line asks for: what -R carries out line by line and --apply takes as a table.

Owns: which lines are read quickly and which by the scanner, and what is said of a line that ends the run.
Must never know: backends, what is done with a line.
"""

from __future__ import annotations

from pyipvsadm.errors import Skipped, Usage
from pyipvsadm.grammar.parser import TRY_HELP, Request, Scanner
from pyipvsadm.rules import writer
from pyipvsadm.rules.fast_parser import Rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyipvsadm.environment import World
    from pyipvsadm.model import Change

    Step = Change | Request | Skipped

REFUSED = 255  # main returns -1


def steps(text: bytes, world: World) -> Iterator[tuple[int, Step]]:
    """Each line's number and its change; of a line that changes nothing the Request, of one that popt refuses the Skipped.

    Raises Usage, with the line's number, where 1.31 would end the run.
    """
    if said := writer.newer(text):
        raise Usage(said)
    plain = Rules()
    for at, words in writer.lines(text):
        yield at, plain.change(words) or line(at, words, world)


def line(at: int, words: list[str], world: World) -> Step:
    """The same of one line."""
    scanner = Scanner(words, world.names, world.is_posix)
    try:
        request = scanner.request()
        if request.ours:
            raise Usage(f"--{next(iter(request.ours))} does not belong in rules: give it on the command line")
        if request.command == "restore":
            raise Usage(TRY_HELP, REFUSED)
        if request.command in ("help", "version"):
            raise Usage(f"--{request.command} ends the rules here: none was applied", 0)
    except Skipped as bad:
        return bad
    except Usage as bad:
        raise Usage(f"line {at}: {bad}", bad.status) from None
    return request.change or request
