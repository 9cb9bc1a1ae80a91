"""Show the history of changes (--history), and undo one of them (--undo).

Owns: who makes a change and on which table, which change --undo means, messages and the exit status.
Must never know: the form of the files (change/journal.py), what undoes a change (change/undo.py).
"""

from __future__ import annotations

import os
import time

from pyipvsadm.change.journal import KEPT, OPEN, UNDONE, Journal, identify_table
from pyipvsadm.errors import EXIT_REFUSED, OperationError, RefusedError, UsageError
from pyipvsadm.files import read_file
from pyipvsadm.model import NEW_DEST, NEW_SERVICE
from pyipvsadm.rules import writer
from pyipvsadm.text import escape_undecodable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyipvsadm.change.execute import Outcome
    from pyipvsadm.change.plan import Plan, Step
    from pyipvsadm.change.recorded import Entry
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend

_UNSET_UID = 0xFFFFFFFF  # of a process that no login has started
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def open_journal(
    backend: Backend,
    env: Environment,
    program: str = "ipvsadm",
    deadline: int | None = None,
    undoes: int | None = None,
    written: Callable[[int], None] = lambda _: None,
) -> Journal | None:
    """Return the journal for one change of this table, None if the table has no history.

    deadline: the time (seconds since 1970) at which the change is to be taken back. undoes: the
    number of the entry that the change undoes. written: see Journal.
    """
    folder = env.find_history_folder(backend.name)
    if not folder:
        return None
    header = {
        "time": time.strftime(_TIME, time.gmtime()),
        **identify_table(backend.name),
        "uid": read_login_uid(),
        "terminal": _find_terminal(),
        "program": program,
        "argv": [*env.argv],
        "deadline": deadline,
        "undoes": undoes,
    }
    return Journal(folder, header, env.write_stderr, written)


def read_login_uid() -> int:
    """Return the uid of the user who logged in, under sudo too."""
    try:
        uid = int(read_file("/proc/self/loginuid"))
    except (OperationError, ValueError):
        uid = _UNSET_UID
    return os.getuid() if uid == _UNSET_UID else uid


def _find_terminal() -> str:
    for fd in (0, 1, 2):
        try:
            return os.ttyname(fd).removeprefix("/dev/")
        except OSError:
            continue
    return ""


def run_history(request: Request, backend: Backend, env: Environment) -> int:
    """Print the changes of this table that are kept, the oldest first."""
    entries = read_history(backend, env)
    if "json" in request.slots:
        from pyipvsadm.views.json_document import format_document  # noqa: PLC0415

        env.write_stdout(format_document(history=[_describe_entry(entry) for entry in entries]))
        return 0
    from pyipvsadm.commands.output import sanitize_for_terminal, write_buffered  # noqa: PLC0415

    rows = [("ID", "TIME", "USER", "TERMINAL", "STATE", "COMMAND")]
    rows += [
        (
            str(entry.number),
            _format_local_time(entry),
            find_user_name(entry.header.get("uid")),
            str(entry.header.get("terminal") or "-"),
            _format_state(entry),
            format_command(entry),
        )
        for entry in entries
    ]
    widths = [max(map(len, column)) for column in list(zip(*rows))[:-1]]
    lines = (
        "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths)) + row[-1] + "\n"
        for row in rows
    )
    write_buffered(env, sanitize_for_terminal(lines, env))
    return 0


def read_history(backend: Backend, env: Environment) -> list[Entry]:
    """Return the entries of this table. Raise OperationError if it has no history."""
    from pyipvsadm.change.recorded import read_entries  # noqa: PLC0415  # a change only writes

    folder = env.find_history_folder(backend.name)
    if not folder:
        raise OperationError("this table has no history: IPVSADM_HISTORY=FOLDER gives it one", 2)
    return read_entries(folder, backend.name)


def _describe_entry(entry: Entry) -> dict[str, object]:
    keys = ("time", "uid", "terminal", "table", "netns", "program", "deadline", "undoes")
    return {
        "id": entry.number,
        "state": entry.state,
        **{key: entry.header.get(key) for key in keys},
        "arguments": [escape_undecodable(word) for word in entry.argv],
    }


def _format_local_time(entry: Entry) -> str:
    import calendar  # noqa: PLC0415  # only the listing needs it

    try:
        seconds = calendar.timegm(time.strptime(str(entry.header.get("time")), _TIME))
    except ValueError:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _format_state(entry: Entry) -> str:
    """Return the state, of a change that is not confirmed yet with its deadline."""
    deadline = entry.header.get("deadline")
    if entry.state != OPEN or not isinstance(deadline, int):
        return entry.state
    return f"open until {time.strftime('%H:%M:%S', time.localtime(deadline))}"


def find_user_name(uid: object) -> str:
    """Return the name of a user, or the number if it has none."""
    import pwd  # noqa: PLC0415  # only the listing needs it

    try:
        return pwd.getpwuid(uid).pw_name if isinstance(uid, int) else "-"
    except KeyError:
        return str(uid)


def format_command(entry: Entry) -> str:
    """Return the command line of an entry, quoted for a shell."""
    import shlex  # noqa: PLC0415  # only the listing needs it

    return shlex.join([str(entry.header.get("program")), *entry.argv])


def run_undo(request: Request, backend: Backend, env: Environment) -> int:
    """Undo a change of the history. Return the status of undo_entry."""
    return undo_entry(
        _choose_entry(request, backend, env), backend, env, "dry-run" in request.slots
    )


def undo_entry(entry: Entry, backend: Backend, env: Environment, is_dry_run: bool = False) -> int:
    """Restore what is still as a change left it. Return 0; 1 if other programs have changed some of
    it since; 255 if the kernel refused; 128 + n for signal n.

    Raise UsageError if another command confirms or undoes the change first.
    """
    from pyipvsadm.change.recorded import has_state, read_change  # noqa: PLC0415  # a change only writes
    from pyipvsadm.change.undo import plan_undo  # noqa: PLC0415

    folder = env.find_history_folder(backend.name)
    done, lost = read_change(folder, entry, env)
    try:
        with backend.lock_table():
            if not has_state(folder, entry):
                raise UsageError(
                    f"change {entry.number} is not {entry.state} any more: nothing was done"
                )
            found = plan_undo([*done.iter_steps()], backend)
            plan = found.make_plan()
            left = [f"{_format_rule(step)}: {reason}" for step, reason in found.left]
            left += [f"{line}: no rule says it as it was" for line in lost]
            if is_dry_run:
                from pyipvsadm.commands.report import print_undo_plan  # noqa: PLC0415

                heading = [f"would undo {entry.number}: {format_command(entry)}"]
                return print_undo_plan(env, plan, left, heading)
            outcome = _execute_undo(plan, entry, backend, env)
    except RefusedError as exc:  # a reading
        raise OperationError(str(exc), EXIT_REFUSED) from None
    return _report(plan, outcome, left, entry, env)


def _choose_entry(request: Request, backend: Backend, env: Environment) -> Entry:
    """Return the entry with the requested number, or the newest change that is not undone.

    Raise UsageError if there is none, or if the newest is another user's.
    """
    entries = read_history(backend, env)
    asked = request.ours["undo"]
    if asked is not None:
        for entry in entries:
            if str(entry.number) == asked:
                return entry
        raise UsageError(f"the history has no change {asked}: `ipvsadm --history' lists them")
    boot = identify_table(backend.name)["boot"]
    candidates = [
        entry
        for entry in entries
        if entry.state != UNDONE and not entry.header.get("undoes") and entry.header["boot"] == boot
    ]
    if not candidates:
        raise UsageError("the history has no change of this table that is not undone")
    entry = candidates[-1]
    if entry.header.get("uid") != read_login_uid():
        raise UsageError(
            f"the newest change is not yours but {find_user_name(entry.header.get('uid'))}'s"
            f" ({format_command(entry)}): `ipvsadm --undo {entry.number}' undoes it all the same"
        )
    return entry


def _execute_undo(plan: Plan, entry: Entry, backend: Backend, env: Environment) -> Outcome:
    from contextlib import nullcontext  # noqa: PLC0415

    from pyipvsadm.change.execute import execute  # noqa: PLC0415
    from pyipvsadm.change.pace import Pace  # noqa: PLC0415
    from pyipvsadm.change.recorded import set_state  # noqa: PLC0415

    folder = env.find_history_folder(backend.name)
    env.block_signals()
    # The lock is held already, since the table was read.
    outcome = execute(
        plan,
        backend,
        Pace(lambda: env.wait(0)),
        nullcontext,
        journal=open_journal(backend, env, undoes=entry.number),
    )
    if not (outcome.refused or outcome.signal):
        try:
            set_state(folder, entry, UNDONE)
            # Undoing an undo is doing it again.
            for other in read_history(backend, env):
                if other.number == entry.header.get("undoes") and other.state == UNDONE:
                    set_state(folder, other, KEPT)
        except OperationError as exc:
            env.write_stderr(f"the history still has {entry.number} as {entry.state}: {exc}")
    return outcome


def _report(plan: Plan, outcome: Outcome, left: list[str], entry: Entry, env: Environment) -> int:
    from pyipvsadm.commands.report import print_undo_failure  # noqa: PLC0415

    subject = f"change {entry.number} is not undone; "
    status = print_undo_failure(env, outcome, left, _format_rule, subject)
    if status:
        return status
    if not outcome.done:
        env.write_stderr(f"nothing to undo: the table has nothing of change {entry.number}")
        return 1 if left else 0
    env.write_stderr(
        f"undone {entry.number} ({format_command(entry)}): {plan.added} added, {plan.changed} changed,"
        f" {plan.removed} removed"
    )
    services = _list_reordered(plan)
    if services:
        env.write_stderr(f"servers that came back are the newest now: {', '.join(services)}")
    if entry.header.get("deadline") is not None:
        env.write_stderr("rules come back, connections do not")
    return 1 if left else 0


def _list_reordered(plan: Plan) -> list[str]:
    """Return the services that were there and got servers back: the kernel adds a server before the
    others, and the order is left, because deleting and adding would end connections.
    """
    changes = [step.change for step in plan.iter_steps()]
    new = {
        change.service.key() for change in changes if change.op == NEW_SERVICE and change.service
    }
    return [
        *dict.fromkeys(
            writer.format_selector(change.service)
            for change in changes
            if change.op == NEW_DEST and change.service and change.service.key() not in new
        )
    ]


def _format_rule(step: Step) -> str:
    return step.format_rule().rstrip()
