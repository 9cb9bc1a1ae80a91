"""Restore rules: -R line by line, ipvsadm-restore after clearing the table.

Owns: what is read and checked before anything is sent, batches, the status of the last line. Must
never know: netlink, popt.

ipvsadm-restore is in the history, and yet it is no plan of steps (change/plan.py). As with 1.31, it
clears the table, and a line that is refused does not stop the others: nothing is ever undone in
between, so no step needs what was before it. The entry of the history holds the table before, as
text, and the lines that are sent, as they were read; what they left behind is worked out when it is
to be undone. So 200,000 rules are sent the fast way, without a record for each.
"""

from __future__ import annotations

from pyipvsadm.commands.modify import run_on_copy
from pyipvsadm.errors import EXIT_REFUSED, OperationError, UsageError, format_error
from pyipvsadm.grammar.parser import Request
from pyipvsadm.model import FLUSH, Change

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyipvsadm.change.journal import Journal
    from pyipvsadm.environment import Environment
    from pyipvsadm.model import Backend
    from pyipvsadm.rules.reader import Step

    # Carry out a line that is no change (a listing among rules): dispatch.run.
    Run = Callable[[Request, Backend, Environment], int]
    ApplyEncoded = Callable[[Iterable[tuple[int, bytes]]], list[tuple[int, int]]]


def run_restore(backend: Backend, env: Environment, run: Run) -> int:
    """Add the rules from standard input (-R). Return the last line's status.

    From a file or a pipe all lines are read before the first takes effect, and none does when 1.31
    would end the run at one of them (UsageError then names it). From a terminal each line takes effect
    when it is typed.
    """
    if env.is_input_terminal():
        return _restore_interactively(backend, env, run)
    return _restore_text(env.read_input(), backend, env, run, clear=False)


def replace_table(
    backend: Backend, env: Environment, run: Run, path: str, options: dict[str, str]
) -> int:
    """Clear the table and add the rules of a file, or of standard input for "-" (ipvsadm-restore).
    Return the last line's status; with --confirm-within, 1 if the change was not confirmed.

    All lines are read and checked before the table is cleared, from a terminal too.
    """
    text = (
        _read_all_typed(env) if path == "-" and env.is_input_terminal() else _read_rules(env, path)
    )
    # The script that is replaced hands the lines on with echo: they end in one line end.
    text = text.rstrip(b"\n") + b"\n"
    if "dry-run" in options:
        return run_on_copy(
            backend, env, lambda copy: _restore_text(text, copy, env, run, clear=True)
        )
    if "confirm-within" in options:
        from pyipvsadm.commands.confirm import Confirmation  # noqa: PLC0415  # few runs need it
        from pyipvsadm.commands.report import format_program  # noqa: PLC0415

        confirmation = Confirmation(
            backend, env, int(options["confirm-within"]), format_program(options)
        )
        journal = confirmation.open_journal("ipvsadm-restore")
        return confirmation.await_end(_restore_recorded(text, backend, env, run, journal))
    if not env.find_history_folder(backend.name):
        return _restore_text(text, backend, env, run, clear=True)
    from pyipvsadm.commands.history import open_journal  # noqa: PLC0415  # -R does without

    recorded = open_journal(backend, env, "ipvsadm-restore")
    assert recorded is not None  # the table has a folder
    return _restore_recorded(text, backend, env, run, recorded)


def _restore_recorded(
    text: bytes, backend: Backend, env: Environment, run: Run, journal: Journal
) -> int:
    from pyipvsadm.change.journal import KEPT, NOT_BEGUN  # noqa: PLC0415  # -R does without

    journal.open_replacement(backend, b"-C\n" + text)
    try:
        status = _restore_text(text, backend, env, run, clear=True)
    except UsageError:
        journal.close(NOT_BEGUN)
        raise
    journal.close(KEPT)
    return status


def _read_rules(env: Environment, path: str) -> bytes:
    return env.read_input() if path == "-" else env.read_file(path)


def _read_all_typed(env: Environment) -> bytes:
    env.write_stderr(
        "reading rules from the terminal: Ctrl-D puts them in the place of the table, Ctrl-C leaves it as it is"
    )
    text = env.read_input()
    # A terminal that hangs up looks like the end of the input to a program that ignores SIGHUP
    # (drivers/tty/tty_io.c: hung_up_tty_read).
    if not env.is_input_terminal():
        raise OperationError(
            "the terminal is gone before the end of the rules: nothing was changed"
        )
    return text


def _restore_text(text: bytes, backend: Backend, env: Environment, run: Run, clear: bool) -> int:
    from pyipvsadm.rules import reader  # noqa: PLC0415  # only restoring needs it

    try:
        # The fast path: the kernel takes bytes, which are made of the text without records.
        if apply_encoded := getattr(backend, "apply_encoded", None):
            return _apply_encoded(text, apply_encoded, env, clear)
        return _apply_batch(_iter_changes(text, env, clear), backend, env)
    except reader.NotOnlyChangesError:
        return _execute_lines(
            [*_flush_step(clear), *reader.parse_rules(text, env)], backend, env, run
        )


def _flush_step(clear: bool) -> list[tuple[int, Change]]:
    return [(0, Change(FLUSH))] if clear else []


def _iter_changes(text: bytes, env: Environment, clear: bool) -> Iterator[tuple[int, Change]]:
    """Yield the changes of a text, each with its line.

    Raises NotOnlyChangesError at the first line that is no change.
    """
    from pyipvsadm.rules import reader  # noqa: PLC0415  # only restoring needs it

    yield from _flush_step(clear)
    for at, step in reader.parse_rules(text, env):
        if not isinstance(step, Change):
            raise reader.NotOnlyChangesError
        yield at, step


def _restore_interactively(backend: Backend, env: Environment, run: Run) -> int:
    from pyipvsadm.rules import reader  # noqa: PLC0415

    status = 0
    at = 0
    text = b""
    for block in env.read_input_blocks():
        text += block
        while b"\n" in text:
            line, _, text = text.partition(b"\n")
            at += 1
            for _, words in reader.tokenize(line):
                status = _execute_lines(
                    [(at, reader.parse_rule(at, words, env))], backend, env, run
                )
    for _, words in reader.tokenize(text):
        status = _execute_lines(
            [(at + 1, reader.parse_rule(at + 1, words, env))], backend, env, run
        )
    return status


def _execute_lines(
    steps: list[tuple[int, Step]], backend: Backend, env: Environment, run: Run
) -> int:
    """Execute lines in order; changes that follow each other are sent as one batch."""
    status = 0
    batch: list[tuple[int, Change]] = []
    for at, step in steps:
        if isinstance(step, Change):
            batch.append((at, step))
            continue
        _apply_batch(batch, backend, env)
        batch = []
        if isinstance(step, Request):
            status = run(step, backend, env)
        else:
            env.write_stderr(f"line {at}: {step}")
            status = EXIT_REFUSED
    return _apply_batch(batch, backend, env) if batch else status


def _record_lines(
    batch: Iterable[tuple[int, Change]], line: Callable[[int], None], op: Callable[[int], None]
) -> Iterator[Change]:
    for at, wanted in batch:
        line(at)
        op(wanted.op)
        yield wanted


def _apply_batch(batch: Iterable[tuple[int, Change]], backend: Backend, env: Environment) -> int:
    """Send a batch, report what was refused; the last one's status."""
    # Changes are encoded as they come and not kept: of 200,000 only this much is remembered.
    lines: list[int] = []
    ops = bytearray()
    refused = backend.apply(_record_lines(batch, lines.append, ops.append))
    return _report_refusals(refused, lines, ops, env)


def _apply_encoded(text: bytes, apply_encoded: ApplyEncoded, env: Environment, clear: bool) -> int:
    """Do the same with a text that holds nothing but changes."""
    from pyipvsadm.rules import fast_encoder  # noqa: PLC0415  # embedded tables do without

    lines: list[int] = []
    ops = bytearray()

    def iter_payloads() -> Iterator[tuple[int, bytes]]:
        if clear:
            lines.append(0)
            ops.append(FLUSH)
            yield FLUSH, b""
        yield from fast_encoder.encode_rules(text, env, lines, ops)

    return _report_refusals(apply_encoded(iter_payloads()), lines, ops, env)


def _report_refusals(
    refused: list[tuple[int, int]], lines: list[int], ops: bytearray, env: Environment
) -> int:
    """Say which lines were refused; return the last line's status."""
    for index, number in refused:
        said = format_error(ops[index], number)
        env.write_stderr(f"line {lines[index]}: {said}" if lines[index] else said)
    return EXIT_REFUSED if refused and refused[-1][0] == len(lines) - 1 else 0
