"""One Request, one backend, one world: carried out, to an exit status.

Owns: what each command that changes does, and what is said of it. Must never know: netlink, popt, how listings are made.
"""

from __future__ import annotations

from pyipvsadm import rules
from pyipvsadm.argv import Request
from pyipvsadm.errors import sentence
from pyipvsadm.model import FLUSH, Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyipvsadm.model import Backend
    from pyipvsadm.reading import Step
    from pyipvsadm.world import World

REFUSED = 255  # main returns -1


def run(request: Request, backend: Backend, world: World) -> int:
    """Do what was asked. Raises Failed, Refused (a listing of what is not there) and Usage (in rules)."""
    if request.command == "apply":
        from pyipvsadm.change.apply import apply  # noqa: PLC0415  # only what is asked for is imported

        return apply(request, backend, world)
    if "dry-run" in request.slots:
        return _try_out(request, backend, world)
    if "drain" in request.ours:
        from pyipvsadm.change import drain  # noqa: PLC0415

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
            from pyipvsadm import hints  # noqa: PLC0415  # a person waits longer than a script

            tell(world, hints.of_refusal(wanted, number, backend))
    return REFUSED if refused else 0


def tell(world: World, hints: Iterable[str]) -> None:
    """Write hints, a line each. To a person only: scripts get the reference's text and no more."""
    for hint in hints:
        world.err(f"hint: {hint}")


def _try_out(request: Request, backend: Backend, world: World) -> int:
    """Do what was asked to a copy, and say what was not known of it."""
    from pyipvsadm.change import rehearse, snapshot  # noqa: PLC0415

    copy = rehearse.Rehearsal(backend, snapshot.consistent(backend))
    request.slots.discard("dry-run")
    status = run(request, copy, world)
    for line in copy.assumptions():
        world.err(line)
    return status


# --- restoring


def restore(backend: Backend, world: World, clear: bool = False) -> int:
    """The rules from standard input; clear: after clearing the table (ipvsadm-restore). The status is the last line's.

    From a file or a pipe all lines are read before the first takes effect, and none does when 1.31 would end the run at one
    of them (Usage then says which). From a terminal each line takes effect when it is typed.
    """
    from pyipvsadm import reading  # noqa: PLC0415  # only restoring needs it

    if world.input_is_terminal():
        if clear:
            _apply(_cleared(clear), backend, world)
        return _restore_typed(backend, world)
    text = world.read_input()
    if clear:
        # The script that is replaced hands the lines on with echo: they end in one line end.
        text = text.rstrip(b"\n") + b"\n"
    try:
        return _apply(_changes(text, world, clear), backend, world)
    except _Mixed:
        return _carry_out([*_cleared(clear), *reading.steps(text, world)], backend, world)


def _cleared(clear: bool) -> list[tuple[int, Change]]:
    return [(0, Change(FLUSH))] if clear else []


class _Mixed(Exception):  # not an error: a file of rules that holds more than changes
    pass


def _changes(text: bytes, world: World, clear: bool) -> Iterator[tuple[int, Change]]:
    """The changes of a text that holds nothing else, each with its line; _Mixed at the first line that is none."""
    from pyipvsadm import reading  # noqa: PLC0415  # only restoring needs it

    yield from _cleared(clear)
    for at, step in reading.steps(text, world):
        if not isinstance(step, Change):
            raise _Mixed
        yield at, step


def _restore_typed(backend: Backend, world: World) -> int:
    from pyipvsadm import reading  # noqa: PLC0415

    status = 0
    at = 0
    text = b""
    for block in world.input_blocks():
        text += block
        while b"\n" in text:
            line, _, text = text.partition(b"\n")
            at += 1
            for _, words in rules.lines(line):
                status = _carry_out([(at, reading.line(at, words, world))], backend, world)
    for _, words in rules.lines(text):
        status = _carry_out([(at + 1, reading.line(at + 1, words, world))], backend, world)
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
