"""One Request, one backend, one world: carried out, to an exit status.

Owns: what each command that changes does, and what is said of it. Must never know: netlink, popt, how listings are made.
"""

from __future__ import annotations

from pyipvsadm.errors import Failed, sentence
from pyipvsadm.grammar.parser import Request
from pyipvsadm.model import FLUSH, Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyipvsadm.environment import World
    from pyipvsadm.model import Backend
    from pyipvsadm.rules.reader import Step

REFUSED = 255  # main returns -1


def run(request: Request, backend: Backend, world: World) -> int:
    """Do what was asked. Raises Failed, Refused (a listing of what is not there) and Usage (in rules)."""
    if request.command == "apply":
        from pyipvsadm.commands.apply import apply  # noqa: PLC0415  # only what is asked for is imported

        return apply(request, backend, world)
    if "dry-run" in request.slots:
        request.slots.discard("dry-run")
        return _try_out(backend, world, lambda copy: run(request, copy, world))
    if "drain" in request.ours:
        from pyipvsadm.commands import drain  # noqa: PLC0415

        return drain.drain(request, backend, world)
    if "keep" in request.ours:
        from pyipvsadm.change import merge  # noqa: PLC0415

        return change(merge.change(request, backend), backend, world)
    if request.change is not None:
        return change(request.change, backend, world)
    seconds = request.ours.get("resolve-timeout")
    if isinstance(seconds, int):
        world.names.seconds = seconds
    if request.command == "restore":
        return restore(backend, world)
    from pyipvsadm.commands import listing  # noqa: PLC0415  # commands that change do not pay for it

    if request.command == "save":
        numeric, full = "numeric" in request.slots, "full" in request.slots
        listing.write(world, listing.obeyed_by_none([listing.saved(backend, world, numeric, full)], world))
    else:
        listing.show(request, backend, world)
    return 0


def change(wanted: Change, backend: Backend, world: World) -> int:
    """One change: nothing is said unless it is refused."""
    refused = backend.apply([wanted])
    for _, number in refused:
        world.err(sentence(wanted.op, number))
        if world.error_is_terminal():
            from pyipvsadm.grammar import hints  # noqa: PLC0415  # a person waits longer than a script

            tell(world, hints.of_refusal(wanted, number, backend))
    return REFUSED if refused else 0


def tell(world: World, hints: Iterable[str]) -> None:
    """Write hints, a line each. To a person only: scripts get the reference's text and no more."""
    for hint in hints:
        world.err(f"hint: {hint}")


def _try_out(backend: Backend, world: World, body: Callable[[Backend], int]) -> int:
    """Run body on a copy of the table, and say what was not known of it."""
    from pyipvsadm.change import dry_run, snapshot  # noqa: PLC0415

    copy = dry_run.Rehearsal(backend, snapshot.consistent(backend))
    status = body(copy)
    for line in copy.assumptions():
        world.err(line)
    return status


# --- restoring


def restore(backend: Backend, world: World) -> int:
    """Add the rules from standard input (-R). Return the last line's status.

    From a file or a pipe all lines are read before the first takes effect, and none does when 1.31 would end the run at one
    of them (Usage then says which). From a terminal each line takes effect when it is typed.
    """
    if world.input_is_terminal():
        return _restore_typed(backend, world)
    return _restore_text(world.read_input(), backend, world, clear=False)


def replace_table(backend: Backend, world: World, path: str, is_dry_run: bool) -> int:
    """Clear the table and add the rules of a file, or of standard input for "-" (ipvsadm-restore). Return the last line's status.

    All lines are read and checked before the table is cleared, from a terminal too.
    """
    text = _read_all_typed(world) if path == "-" and world.input_is_terminal() else _read_rules(world, path)
    # The script that is replaced hands the lines on with echo: they end in one line end.
    text = text.rstrip(b"\n") + b"\n"
    if is_dry_run:
        return _try_out(backend, world, lambda copy: _restore_text(text, copy, world, clear=True))
    return _restore_text(text, backend, world, clear=True)


def _read_rules(world: World, path: str) -> bytes:
    return world.read_input() if path == "-" else world.read_file(path)


def _read_all_typed(world: World) -> bytes:
    world.err("reading rules from the terminal: Ctrl-D puts them in the place of the table, Ctrl-C leaves it as it is")
    text = world.read_input()
    # A terminal that hangs up looks like the end of the input to a program that ignores SIGHUP (drivers/tty/tty_io.c:
    # hung_up_tty_read).
    if not world.input_is_terminal():
        raise Failed("the terminal is gone before the end of the rules: nothing was changed")
    return text


def _restore_text(text: bytes, backend: Backend, world: World, clear: bool) -> int:
    from pyipvsadm.rules import reader  # noqa: PLC0415  # only restoring needs it

    try:
        return _apply(_changes(text, world, clear), backend, world)
    except _Mixed:
        return _carry_out([*_cleared(clear), *reader.steps(text, world)], backend, world)


def _cleared(clear: bool) -> list[tuple[int, Change]]:
    return [(0, Change(FLUSH))] if clear else []


class _Mixed(Exception):  # not an error: a file of rules that holds more than changes
    pass


def _changes(text: bytes, world: World, clear: bool) -> Iterator[tuple[int, Change]]:
    """The changes of a text that holds nothing else, each with its line; _Mixed at the first line that is none."""
    from pyipvsadm.rules import reader  # noqa: PLC0415  # only restoring needs it

    yield from _cleared(clear)
    for at, step in reader.steps(text, world):
        if not isinstance(step, Change):
            raise _Mixed
        yield at, step


def _restore_typed(backend: Backend, world: World) -> int:
    from pyipvsadm.rules import reader  # noqa: PLC0415

    status = 0
    at = 0
    text = b""
    for block in world.input_blocks():
        text += block
        while b"\n" in text:
            line, _, text = text.partition(b"\n")
            at += 1
            for _, words in reader.tokenize(line):
                status = _carry_out([(at, reader.line(at, words, world))], backend, world)
    for _, words in reader.tokenize(text):
        status = _carry_out([(at + 1, reader.line(at + 1, words, world))], backend, world)
    return status


def _carry_out(steps: list[tuple[int, Step]], backend: Backend, world: World) -> int:
    """Lines in order, changes that follow each other as one batch."""
    status = 0
    batch: list[tuple[int, Change]] = []
    for at, step in steps:
        if isinstance(step, Change):
            batch.append((at, step))
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
