"""Carry out one request on one backend and return its exit status.

Owns: which module carries out which command; only that one is imported. Must never know: netlink,
popt, what a command does.
"""

from __future__ import annotations

from pyipvsadm.commands.modify import apply_change, run_on_copy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.environment import World
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend


def run(request: Request, backend: Backend, world: World) -> int:
    """Do what was asked. Raises Failed, Refused (a listing of what is not there) and Usage (in
    rules).
    """
    if request.command == "apply":
        from pyipvsadm.commands.apply import apply  # noqa: PLC0415  # only what is asked for is imported

        return apply(request, backend, world)
    if "dry-run" in request.slots:
        request.slots.discard("dry-run")
        return run_on_copy(backend, world, lambda copy: run(request, copy, world))
    if "drain" in request.ours:
        from pyipvsadm.commands import drain  # noqa: PLC0415

        return drain.drain(request, backend, world)
    if "keep" in request.ours:
        from pyipvsadm.change import merge  # noqa: PLC0415

        return apply_change(merge.change(request, backend), backend, world)
    if request.change is not None:
        return apply_change(request.change, backend, world)
    seconds = request.ours.get("resolve-timeout")
    if isinstance(seconds, int):
        world.names.seconds = seconds
    if request.command == "restore":
        from pyipvsadm.commands.restore import restore  # noqa: PLC0415

        return restore(backend, world, run)
    if request.command == "save":
        from pyipvsadm.commands import output, save  # noqa: PLC0415

        numeric, full = "numeric" in request.slots, "full" in request.slots
        output.write_buffered(
            world,
            output.sanitize_for_terminal([save.render_rules(backend, world, numeric, full)], world),
        )
    else:
        from pyipvsadm.commands import listing  # noqa: PLC0415

        listing.show(request, backend, world)
    return 0
