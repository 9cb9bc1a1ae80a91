"""Carry out one request on one backend and return its exit status.

Owns: which module carries out which command; only that one is imported. Must never know: netlink,
popt, what a command does.
"""

from __future__ import annotations

from pyipvsadm.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend


def run_request(request: Request, backend: Backend, env: Environment) -> int:
    """Carry out a request and return the exit status. Raise OperationError; RefusedError if a
    listed service does not exist; UsageError for bad rules.
    """
    if (
        request.command in ("apply", "confirm", "undo", "history", "undrain")
        or "ramp" in request.ours
        or "drain" in request.ours
    ):
        return _run_planned(request, backend, env)
    if "dry-run" in request.slots:
        from pyipvsadm.commands.modify import run_on_copy  # noqa: PLC0415  # only what is asked for is imported

        request.slots.discard("dry-run")
        request.ours.pop("confirm-within", None)  # a copy needs no confirmation
        return run_on_copy(
            backend,
            env,
            lambda copy: run_request(request, copy, env),
            request.change,
            with_clients=request.ours.get("dry-run") == "clients",
        )
    if request.change is not None:
        return _run_change(request, backend, env)
    return _run_query(request, backend, env)


def _run_planned(request: Request, backend: Backend, env: Environment) -> int:
    """Carry out a request that has its own dry run, or a history to show.

    Raise UsageError for --dry-run=clients, unless the request is --apply.
    """
    if request.command == "apply":
        from pyipvsadm.commands.apply import run_apply  # noqa: PLC0415

        return run_apply(request, backend, env)
    if request.ours.get("dry-run") is not None:
        weight = next((name for name in ("drain", "ramp") if name in request.ours), "")
        advice = ": -e with -w and --dry-run=clients counts the clients" if weight else ""
        raise UsageError(
            f"--dry-run=clients does not go with --{weight or request.command}{advice}"
        )
    if request.command in ("history", "undo"):
        from pyipvsadm.commands import history  # noqa: PLC0415

        run = history.run_undo if request.command == "undo" else history.run_history
        return run(request, backend, env)
    if request.command == "confirm":
        from pyipvsadm.commands.confirm import run_confirm  # noqa: PLC0415

        return run_confirm(request, backend, env)
    if request.command == "undrain":
        from pyipvsadm.commands.undrain import run_undrain  # noqa: PLC0415

        return run_undrain(request, backend, env)
    if "ramp" in request.ours:
        from pyipvsadm.commands.ramp import run_ramp  # noqa: PLC0415

        return run_ramp(request, backend, env)
    from pyipvsadm.commands.drain import run_drain  # noqa: PLC0415

    return run_drain(request, backend, env)


def _run_change(request: Request, backend: Backend, env: Environment) -> int:
    """Carry out one change, with --keep merged into what the table has."""
    from pyipvsadm.commands.modify import apply_change, apply_with_confirmation  # noqa: PLC0415

    change = request.change
    assert change is not None
    if "keep" in request.ours:
        from pyipvsadm.change.merge import merge_edit  # noqa: PLC0415

        change = merge_edit(request, backend)
    if "confirm-within" in request.ours:
        return apply_with_confirmation(request, change, backend, env)
    status = apply_change(change, backend, env, request.ours)
    if "clear-fallback" in request.ours and not status:
        from pyipvsadm.commands.fallback import print_clearing  # noqa: PLC0415

        return print_clearing(request, change, backend, env)
    return status


def _run_query(request: Request, backend: Backend, env: Environment) -> int:
    """Carry out a request that reads the table, or -R."""
    seconds = request.ours.get("resolve-timeout")
    if isinstance(seconds, int):
        env.names.seconds = seconds
    if request.command == "predict":
        from pyipvsadm.commands.predict import run_predict  # noqa: PLC0415

        return run_predict(request, backend, env)
    if request.command == "restore":
        from pyipvsadm.commands.restore import run_restore  # noqa: PLC0415

        return run_restore(backend, env, run_request)
    if request.command == "save":
        from pyipvsadm.commands import output, save  # noqa: PLC0415

        numeric, full = "numeric" in request.slots, "full" in request.slots
        output.write_buffered(
            env,
            output.sanitize_for_terminal([save.render_rules(backend, env, numeric, full)], env),
        )
    else:
        from pyipvsadm.commands import listing  # noqa: PLC0415

        listing.run_list(request, backend, env)
    return 0
