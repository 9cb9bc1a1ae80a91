"""One Request, one backend, one world: carried out, to an exit status.

Owns: what each command that changes does, and what is said of it. Must never know: netlink, popt, how listings are made.
"""

from __future__ import annotations

from pyipvsadm import rules
from pyipvsadm.argv import TRY_HELP, Request, Scanner
from pyipvsadm.errors import Skipped, Usage, sentence
from pyipvsadm.model import FLUSH, Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyipvsadm.model import Backend
    from pyipvsadm.world import World

REFUSED = 255  # main returns -1


def run(request: Request, backend: Backend, world: World) -> int:
    """Do what was asked. Raises Failed, Refused (a listing of what is not there) and Usage (in rules)."""
    if "drain" in request.ours:
        from pyipvsadm.change import drain  # noqa: PLC0415  # only what is asked for is imported

        return drain.drain(request, backend, world)
    if "keep" in request.ours:
        from pyipvsadm.change import keep  # noqa: PLC0415

        return change(keep.change(request, backend), backend, world)
    if request.change is not None:
        return change(request.change, backend, world)
    seconds = request.ours.get("resolve-timeout")
    if isinstance(seconds, int):
        world.names.seconds = seconds
    if request.command == "restore":
        return restore(backend, world)
    from pyipvsadm import listing  # noqa: PLC0415  # commands that change do not pay for it

    if request.command == "save":
        listing.write(world, [listing.saved(backend, world, numeric="numeric" in request.slots)])
    else:
        listing.show(request, backend, world)
    return 0


def change(wanted: Change, backend: Backend, world: World) -> int:
    """One change: nothing is said unless it is refused."""
    refused = backend.apply([wanted])
    for _, number in refused:
        world.err(sentence(wanted.op, number))
        if world.error_is_terminal():
            from pyipvsadm import hints  # noqa: PLC0415  # a person waits longer than a script

            tell(world, hints.of_refusal(wanted, number, backend))
    return REFUSED if refused else 0


def tell(world: World, hints: Iterable[str]) -> None:
    """Write hints, a line each. To a person only: scripts get the reference's text and no more."""
    for hint in hints:
        world.err(f"hint: {hint}")


# --- restoring


def restore(backend: Backend, world: World, clear: bool = False) -> int:
    """The rules from standard input; clear: after clearing the table (ipvsadm-restore). The status is the last line's.

    From a file or a pipe all lines are read before the first takes effect, and none does when 1.31 would end the run at one
    of them (Usage then says which). From a terminal each line takes effect when it is typed.
    """
    if world.input_is_terminal():
        if clear:
            _carry_out([(0, Change(FLUSH))], backend, world)
        return _restore_typed(backend, world)
    text = world.read_input()
    if clear:
        # The script that is replaced hands the lines on with echo: they end in one line end.
        text = text.rstrip(b"\n") + b"\n"
    try:
        return _apply(_changes(text, world, clear), backend, world)
    except _Mixed:
        steps: list[tuple[int, Request | Change | Skipped]] = [(0, Change(FLUSH))] if clear else []
        steps += [(at, _line(at, words, world)) for at, words in rules.lines(text)]
        return _carry_out(steps, backend, world)


class _Mixed(Exception):  # not an error: a file of rules that holds more than changes
    pass


def _changes(text: bytes, world: World, clear: bool) -> Iterator[tuple[int, Change]]:
    """The changes of a text that holds nothing else, each with its line; _Mixed at the first line that is none."""
    from pyipvsadm.quick import Rules  # noqa: PLC0415  # only restoring needs it

    plain = Rules()
    if clear:
        yield 0, Change(FLUSH)
    for at, words in rules.lines(text):
        wanted = plain.change(words)
        if wanted is None:
            step = _line(at, words, world)
            if isinstance(step, Skipped) or step.change is None:
                raise _Mixed
            wanted = step.change
        yield at, wanted


def _restore_typed(backend: Backend, world: World) -> int:
    status = 0
    at = 0
    text = b""
    for block in world.input_blocks():
        text += block
        while b"\n" in text:
            line, _, text = text.partition(b"\n")
            at += 1
            for _, words in rules.lines(line):
                status = _carry_out([(at, _line(at, words, world))], backend, world)
    for _, words in rules.lines(text):
        status = _carry_out([(at + 1, _line(at + 1, words, world))], backend, world)
    return status


def _line(at: int, words: list[str], world: World) -> Request | Skipped:
    """What a line of rules asks for. Raises Usage, with the line's number, where 1.31 would end the run."""
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
    return request


def _carry_out(steps: list[tuple[int, Request | Change | Skipped]], backend: Backend, world: World) -> int:
    """Lines in order, changes that follow each other as one batch."""
    status = 0
    batch: list[tuple[int, Change]] = []
    for at, step in steps:
        wanted = step.change if isinstance(step, Request) else step
        if isinstance(wanted, Change):
            batch.append((at, wanted))
            continue
        _apply(batch, backend, world)
        batch = []
        if isinstance(step, Request):
            status = run(step, backend, world)
        else:
            world.err(f"line {at}: {step}")
            status = REFUSED
    return _apply(batch, backend, world) if batch else status


def _noted(batch: Iterable[tuple[int, Change]], line: Callable[[int], None], op: Callable[[int], None]) -> Iterator[Change]:
    for at, wanted in batch:
        line(at)
        op(wanted.op)
        yield wanted


def _apply(batch: Iterable[tuple[int, Change]], backend: Backend, world: World) -> int:
    """Send a batch, report what was refused; the last one's status."""
    # Changes are encoded as they come and not kept: of 200,000 only this much is remembered.
    lines: list[int] = []
    ops = bytearray()
    refused = backend.apply(_noted(batch, lines.append, ops.append))
    for index, number in refused:
        said = sentence(ops[index], number)
        world.err(f"line {lines[index]}: {said}" if lines[index] else said)
    return REFUSED if refused and refused[-1][0] == len(lines) - 1 else 0
