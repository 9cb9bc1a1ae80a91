"""Restore rules: -R line by line, ipvsadm-restore after clearing the table.

Owns: what is read and checked before anything is sent, batches, the status of the last line. Must
never know: netlink, popt.
"""

from __future__ import annotations

from pyipvsadm.commands.modify import run_on_copy
from pyipvsadm.errors import EXIT_REFUSED, Failed, sentence
from pyipvsadm.grammar.parser import Request
from pyipvsadm.model import FLUSH, Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyipvsadm.environment import World
    from pyipvsadm.model import Backend
    from pyipvsadm.rules.reader import Step

    # Carry out a line that is no change (a listing among rules): dispatch.run.
    Run = Callable[[Request, Backend, World], int]


def restore(backend: Backend, world: World, run: Run) -> int:
    """Add the rules from standard input (-R). Return the last line's status.

    From a file or a pipe all lines are read before the first takes effect, and none does when 1.31
    would end the run at one of them (Usage then says which). From a terminal each line takes effect
    when it is typed.
    """
    if world.input_is_terminal():
        return _restore_interactively(backend, world, run)
    return _restore_text(world.read_input(), backend, world, run, clear=False)


def replace_table(backend: Backend, world: World, run: Run, path: str, is_dry_run: bool) -> int:
    """Clear the table and add the rules of a file, or of standard input for "-" (ipvsadm-restore).
    Return the last line's status.

    All lines are read and checked before the table is cleared, from a terminal too.
    """
    text = (
        _read_all_typed(world)
        if path == "-" and world.input_is_terminal()
        else _read_rules(world, path)
    )
    # The script that is replaced hands the lines on with echo: they end in one line end.
    text = text.rstrip(b"\n") + b"\n"
    if is_dry_run:
        return run_on_copy(
            backend, world, lambda copy: _restore_text(text, copy, world, run, clear=True)
        )
    return _restore_text(text, backend, world, run, clear=True)


def _read_rules(world: World, path: str) -> bytes:
    return world.read_input() if path == "-" else world.read_file(path)


def _read_all_typed(world: World) -> bytes:
    world.err(
        "reading rules from the terminal: Ctrl-D puts them in the place of the table, Ctrl-C leaves it as it is"
    )
    text = world.read_input()
    # A terminal that hangs up looks like the end of the input to a program that ignores SIGHUP
    # (drivers/tty/tty_io.c: hung_up_tty_read).
    if not world.input_is_terminal():
        raise Failed("the terminal is gone before the end of the rules: nothing was changed")
    return text


def _restore_text(text: bytes, backend: Backend, world: World, run: Run, clear: bool) -> int:
    from pyipvsadm.rules import reader  # noqa: PLC0415  # only restoring needs it

    try:
        return _apply_batch(_changes(text, world, clear), backend, world)
    except _NotOnlyChangesError:
        return _execute_lines(
            [*_flush_step(clear), *reader.steps(text, world)], backend, world, run
        )


def _flush_step(clear: bool) -> list[tuple[int, Change]]:
    return [(0, Change(FLUSH))] if clear else []


class _NotOnlyChangesError(Exception):  # not an error: a file of rules that holds more than changes
    pass


def _changes(text: bytes, world: World, clear: bool) -> Iterator[tuple[int, Change]]:
    """Yield the changes of a text, each with its line.

    Raises _NotOnlyChangesError at the first line that is no change.
    """
    from pyipvsadm.rules import reader  # noqa: PLC0415  # only restoring needs it

    yield from _flush_step(clear)
    for at, step in reader.steps(text, world):
        if not isinstance(step, Change):
            raise _NotOnlyChangesError
        yield at, step


def _restore_interactively(backend: Backend, world: World, run: Run) -> int:
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
                status = _execute_lines([(at, reader.line(at, words, world))], backend, world, run)
    for _, words in reader.tokenize(text):
        status = _execute_lines([(at + 1, reader.line(at + 1, words, world))], backend, world, run)
    return status


def _execute_lines(steps: list[tuple[int, Step]], backend: Backend, world: World, run: Run) -> int:
    """Lines in order, changes that follow each other as one batch."""
    status = 0
    batch: list[tuple[int, Change]] = []
    for at, step in steps:
        if isinstance(step, Change):
            batch.append((at, step))
            continue
        _apply_batch(batch, backend, world)
        batch = []
        if isinstance(step, Request):
            status = run(step, backend, world)
        else:
            world.err(f"line {at}: {step}")
            status = EXIT_REFUSED
    return _apply_batch(batch, backend, world) if batch else status


def _record_lines(
    batch: Iterable[tuple[int, Change]], line: Callable[[int], None], op: Callable[[int], None]
) -> Iterator[Change]:
    for at, wanted in batch:
        line(at)
        op(wanted.op)
        yield wanted


def _apply_batch(batch: Iterable[tuple[int, Change]], backend: Backend, world: World) -> int:
    """Send a batch, report what was refused; the last one's status."""
    # Changes are encoded as they come and not kept: of 200,000 only this much is remembered.
    lines: list[int] = []
    ops = bytearray()
    refused = backend.apply(_record_lines(batch, lines.append, ops.append))
    for index, number in refused:
        said = sentence(ops[index], number)
        world.err(f"line {lines[index]}: {said}" if lines[index] else said)
    return EXIT_REFUSED if refused and refused[-1][0] == len(lines) - 1 else 0
