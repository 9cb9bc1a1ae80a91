"""The door: from a command line to an exit status.

Owns: signals, the choice of the backend, the programs' names, what is said when a run ends early.
Must never know: grammar, netlink, columns. Nothing imports this module.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C module beneath `signal`, which alone costs 4 ms
import gc
import os
import sys

from pyipvsadm import __version__
from pyipvsadm.commands.dispatch import run
from pyipvsadm.commands.modify import print_hints
from pyipvsadm.environment import World
from pyipvsadm.errors import EXIT_REFUSED, Failed, Refused, Skipped, Usage
from pyipvsadm.grammar.parser import Request, Scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyipvsadm.grammar.programs import Companion
    from pyipvsadm.model import Backend

VARIABLE = "IPVSADM_BACKEND"
# what some requests import and Debian's package only recommends, as python3-NAME
EXTRAS = ("click", "pyroute2", "rich")
# the first word of what a shell asks (completion/shells.py); no option, for no person types it
ASK = "--complete"
# What a command does to the table that it opens.
CHANGES, SAVES, READS = "changes", "saves", "reads"
REFERENCE = "1.31"
INTERFACE = "1.2.1"  # the version of the IPVS interface that we speak, as 1.31 says of itself
VERSION = f"v{REFERENCE} (pyipvsadm {__version__}, IPVS v{INTERFACE})"


def main(argv: Sequence[str], world: World | None = None) -> int:
    """`ipvsadm ARGV...`: the exit status, 0 to 255."""
    return _guarded(_main, argv, world)


def main_save(argv: Sequence[str], world: World | None = None) -> int:
    """`ipvsadm-save ARGV...` (programs.SAVE): write the table as rules."""
    return _guarded(_save, argv, world)


def main_restore(argv: Sequence[str], world: World | None = None) -> int:
    """`ipvsadm-restore ARGV...` (programs.RESTORE): put rules in the place of the table, all read
    and checked before.
    """
    return _guarded(_restore, argv, world)


def _guarded(
    body: Callable[[Sequence[str], World], int], argv: Sequence[str], world: World | None
) -> int:
    if world is None:
        # Like a program in C: a closed pipe and Ctrl-C end the process silently, and a signal that
        # the caller ignores stays ignored. Whether the caller ignores SIGPIPE cannot be known: the
        # interpreter ignores it at its own start.
        _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
        if _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
            _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        world = World()
    try:
        return body(argv, world)
    except Usage as bad:
        world.err(str(bad))
        if world.error_is_terminal():
            from pyipvsadm.grammar import hints  # noqa: PLC0415  # a person waits longer than a script

            print_hints(world, hints.of_usage(bad, argv))
        return bad.status
    except Failed as no:
        world.err(str(no))
        return no.status
    except Refused as no:  # a listing of what is not there, or not ours to see
        world.err(str(no))
        return 1
    except ImportError as no:
        name = (no.name or "").partition(".")[0]
        if name not in EXTRAS:
            raise
        world.err(
            f"this needs the Python package {name}: {no}; install it with `apt-get install python3-{name}'"
        )
        return 1
    except OSError as exc:
        world.err(str(_failure(exc)))
        return 1
    except MemoryError:
        world.err("Memory allocation problem")
        return 1


def _failure(exc: OSError) -> Failed:
    """Say what the system refused to code that did not expect it."""
    return Failed(f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc.strerror or exc))


def _main(argv: Sequence[str], world: World) -> int:
    if not argv:
        return _with_backend(world, None, Request("list", set(), [], None, {}))
    if argv[0] == ASK:
        from pyipvsadm.completion.shells import answer  # noqa: PLC0415  # a shell asks, not a plain request

        return answer(argv[1:], world, lambda spec: _chosen(world, spec))
    scanner = Scanner(argv, world.names, world.is_posix)
    bad: Usage | Skipped | None = None
    request = None
    try:
        request = scanner.request()
    except (Usage, Skipped) as fault:
        bad = fault
    if request is not None:
        if request.command == "help":
            from pyipvsadm.grammar.help import help_text  # noqa: PLC0415  # click costs 30 ms

            about = request.ours.get("help")
            world.out(help_text(str(about) if about else ""))
            return 0
        if request.command == "version":
            if "json" in request.slots:
                from pyipvsadm.views import json_document  # noqa: PLC0415  # costs more than the start itself

                world.out(
                    json_document.document(
                        version={"ipvsadm": REFERENCE, "pyipvsadm": __version__, "ipvs": INTERFACE}
                    )
                )
            else:
                world.out(f"ipvsadm {VERSION}\n")
            return 0
    given, place = (scanner.ours.get(name) for name in ("backend", "netns"))
    spec = None if given is None else str(given)
    # The reference opens the table before it reads its arguments: without one, that is what it
    # says. The doctor needs none.
    carry_out = _doctor if scanner.asked == "doctor" else _with_backend
    try:
        status = _there(
            world,
            None if place is None else str(place),
            lambda: carry_out(world, spec, bad or request),
        )
    except (Failed, OSError) as exc:
        no = exc if isinstance(exc, Failed) else _failure(exc)
        if request is not None and request.command == "apply" and "dry-run" in request.slots:
            # 1 and 2 say something else of this one: that there is something to do, or bad input
            no.status = EXIT_REFUSED
        elif request is not None and request.command == "doctor":
            from pyipvsadm.doctor.report import UNKNOWN  # noqa: PLC0415

            no.status = UNKNOWN  # as 1 and 2 say that something was found
        raise no from None
    if isinstance(bad, Skipped) and world.error_is_terminal():
        from pyipvsadm.grammar import hints  # noqa: PLC0415  # a person waits longer than a script

        print_hints(world, hints.of_option(bad, scanner.asked))
    return status


def _with_backend(world: World, spec: str | None, wanted: Request | Usage | Skipped | None) -> int:
    backend = _open(world, spec)
    try:
        if isinstance(wanted, Usage):
            raise wanted
        if not isinstance(wanted, Request):
            world.err(str(wanted))
            return EXIT_REFUSED
        _announce_backend(world, spec, _effect_of(wanted))
        return run(wanted, backend, world)
    finally:
        backend.close()


def _doctor(world: World, spec: str | None, wanted: Request | Usage | Skipped | None) -> int:
    if isinstance(wanted, Usage):
        raise wanted
    if not isinstance(wanted, Request):
        world.err(str(wanted))
        return EXIT_REFUSED
    _announce_backend(world, spec, READS)
    from pyipvsadm.commands.doctor import run as examine  # noqa: PLC0415  # reads the host with pyroute2, which costs 200 ms

    return examine(wanted, world, _chosen(world, spec), lambda: _open(world, spec))


def _chosen(world: World, spec: str | None) -> str:
    return spec if spec is not None else world.environ.get(VARIABLE) or "kernel"


def _open(world: World, spec: str | None) -> Backend:
    return world.backend(_chosen(world, spec))


def _effect_of(request: Request) -> str:
    """Return what a request does to the table."""
    if "dry-run" in request.slots:
        return READS
    if request.change is not None or request.command in ("restore", "drain", "apply"):
        return CHANGES
    return SAVES if request.command == "save" else READS


def _announce_backend(world: World, spec: str | None, effect: str) -> None:
    """Tell root on standard error when a variable, not the command line, leads away from the
    kernel.

    It may have leaked into a shell or a script. What only reads says so to a person: scripts get
    1.31's bytes.
    """
    chosen = _chosen(world, None)
    if (
        spec is None
        and world.is_root
        and chosen != "kernel"
        and (effect != READS or world.error_is_terminal())
    ):
        world.err(f"ipvsadm: {VARIABLE}={chosen}: this {effect} the embedded table, not the kernel")


def _save(argv: Sequence[str], world: World) -> int:
    from pyipvsadm.grammar.programs import SAVE  # noqa: PLC0415  # ipvsadm itself does not pay for it

    return _run_companion(SAVE, SAVES, argv, world, _save_table)


def _restore(argv: Sequence[str], world: World) -> int:
    from pyipvsadm.grammar.programs import RESTORE  # noqa: PLC0415  # ipvsadm itself does not pay for it

    return _run_companion(RESTORE, CHANGES, argv, world, _replace_table)


def _run_companion(
    program: Companion,
    effect: str,
    argv: Sequence[str],
    world: World,
    body: Callable[[Backend, World, dict[str, str]], int],
) -> int:
    from pyipvsadm.grammar.programs import format_help, parse_words  # noqa: PLC0415  # ipvsadm itself does not pay for it

    given = parse_words(program, argv)
    if "help" in given:
        world.out(format_help(program))
        return 0
    if "version" in given:
        world.out(f"{program.name} {VERSION}\n")
        return 0
    spec = given.get("backend")

    def carry_out() -> int:
        backend = _open(world, spec)
        try:
            _announce_backend(world, spec, READS if "dry-run" in given else effect)
            return body(backend, world, given)
        finally:
            backend.close()

    return _there(world, given.get("netns"), carry_out)


def _save_table(backend: Backend, world: World, given: dict[str, str]) -> int:
    from pyipvsadm.commands import output, save  # noqa: PLC0415  # the door does not pay for it

    path = given.get("f", "-")
    text = save.render_rules(backend, world, "n" in given, "full" in given, certain=path != "-")
    if path == "-":
        output.write_buffered(world, output.sanitize_for_terminal([text], world))
    else:
        from pyipvsadm.files import replace  # noqa: PLC0415

        replace(path, text)
    return 0


def _replace_table(backend: Backend, world: World, given: dict[str, str]) -> int:
    from pyipvsadm.commands.restore import replace_table  # noqa: PLC0415  # ipvsadm itself does not pay for it

    return replace_table(backend, world, run, given.get("f", "-"), "dry-run" in given)


def _there(world: World, place: str | None, body: Callable[[], int]) -> int:
    """The body's status; place: the network namespace that it is to be in, None for ours."""
    if place is None:
        return body()
    with world.inside(place):
        return body()


class _SiteFinder:
    """Run `site` at the first import of an optional package: the installed programs start without
    it (-S), a third sooner.
    """

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Find nothing, but complete sys.path for the finders behind this one."""
        if name in EXTRAS and "site" not in sys.modules:
            import site  # noqa: PLC0415  # 3 ms

            site.main()


def entry(program: Callable[[Sequence[str]], int]) -> None:
    """Run one of the programs above on this process's arguments and end it."""
    if sys.flags.no_site:
        sys.meta_path.insert(0, _SiteFinder)
    # Records hold no cycles, and looking for some costs a large table a fifth of its time. It costs
    # the imports as much: the programs do this before they import us, too.
    gc.disable()
    # What we write is written when write returns, so nothing is left to tidy: the interpreter's own
    # end costs milliseconds.
    os._exit(program(sys.argv[1:]))
