"""Run the programs: turn a command line into an exit status.

Owns: signals, the choice of the backend, the programs' names, messages when a run ends early. Must
never know: grammar, netlink, columns. Nothing imports this module.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C module beneath `signal`, which alone costs 4 ms
import gc
import os
import sys

from pyipvsadm import __version__
from pyipvsadm.commands.dispatch import run_request
from pyipvsadm.commands.modify import print_hints
from pyipvsadm.environment import Environment
from pyipvsadm.errors import (
    EXIT_REFUSED,
    LineSkippedError,
    OperationError,
    RefusedError,
    UsageError,
)
from pyipvsadm.grammar.parser import CommandParser, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyipvsadm.grammar.programs import Companion
    from pyipvsadm.model import Backend

BACKEND_VARIABLE = "IPVSADM_BACKEND"
# what some requests import and Debian's package only recommends, as python3-NAME
OPTIONAL_PACKAGES = ("click", "pyroute2", "rich")
# the first word of what a shell asks (completion/shell_protocol.py); no option, for no person types it
COMPLETION_FLAG = "--complete"
# What a command does to the table that it opens.
CHANGES, SAVES, READS = "changes", "saves", "reads"
REFERENCE_VERSION = "1.31"
IPVS_VERSION = "1.2.1"  # the version of the IPVS interface that we speak, as 1.31 says of itself
VERSION = f"v{REFERENCE_VERSION} (pyipvsadm {__version__}, IPVS v{IPVS_VERSION})"


def main(argv: Sequence[str], env: Environment | None = None) -> int:
    """Run `ipvsadm ARGV...` and return the exit status, 0 to 255."""
    return _run_reporting_errors(_run_ipvsadm, argv, env)


def run_save(argv: Sequence[str], env: Environment | None = None) -> int:
    """Run `ipvsadm-save ARGV...` (programs.SAVE): write the table as rules."""
    return _run_reporting_errors(_parse_and_save, argv, env)


def run_restore(argv: Sequence[str], env: Environment | None = None) -> int:
    """Run `ipvsadm-restore ARGV...` (programs.RESTORE): replace the table by rules, which are all
    read and checked before.
    """
    return _run_reporting_errors(_parse_and_restore, argv, env)


def _run_reporting_errors(
    body: Callable[[Sequence[str], Environment], int],
    argv: Sequence[str],
    env: Environment | None,
) -> int:
    if env is None:
        # Like a program in C: a closed pipe and Ctrl-C end the process silently, and a signal that
        # the caller ignores stays ignored. Whether the caller ignores SIGPIPE cannot be known: the
        # interpreter ignores it at its own start.
        _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
        if _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
            _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        env = Environment()
    try:
        return body(argv, env)
    except UsageError as exc:
        _report_error(exc, argv, env)
        if env.is_error_terminal():
            from pyipvsadm.grammar import hints  # noqa: PLC0415  # a person waits longer than a script

            print_hints(env, hints.suggest_for_usage(exc, argv))
        return exc.status
    except LineSkippedError as exc:
        _report_error(exc, argv, env)
        if env.is_error_terminal():
            from pyipvsadm.grammar import hints  # noqa: PLC0415

            print_hints(env, hints.suggest_for_option(exc, exc.command))
        return EXIT_REFUSED
    except OperationError as exc:
        _report_error(exc, argv, env)
        return exc.status
    except RefusedError as exc:  # a service to list that does not exist, or no permission
        _report_error(exc, argv, env)
        return 1
    except ImportError as exc:
        name = (exc.name or "").partition(".")[0]
        if name not in OPTIONAL_PACKAGES:
            raise
        sentence = f"this needs the Python package {name}: {exc}; install it with `apt-get install python3-{name}'"
        _report_error(OperationError(sentence), argv, env)
        return 1
    except OSError as exc:
        _report_error(_describe_failure(exc), argv, env)
        return 1
    except MemoryError:
        env.write_stderr("Memory allocation problem")
        return 1


def _report_error(exc: Exception, argv: Sequence[str], env: Environment) -> None:
    """Print an error, and with --json its document."""
    env.write_stderr(str(exc))
    if "--json" in argv:
        from pyipvsadm.views.json_document import format_error_document  # noqa: PLC0415

        env.write_stdout(format_error_document(exc))


def _describe_failure(exc: OSError) -> OperationError:
    """Describe an OSError that no code expected."""
    return OperationError(
        f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc.strerror or exc)
    )


def _run_ipvsadm(argv: Sequence[str], env: Environment) -> int:
    if not argv:
        return _run_with_backend(env, None, Request("list", set(), [], None, {}))
    if argv[0] == COMPLETION_FLAG:
        from pyipvsadm.completion.shell_protocol import print_candidates  # noqa: PLC0415  # a shell asks, not a plain request

        return print_candidates(argv[1:], env, lambda spec: _choose_backend(env, spec))
    parser = CommandParser(argv, env.names, env.is_posix)
    usage: UsageError | LineSkippedError | None = None
    request = None
    try:
        request = parser.parse_request()
    except UsageError as exc:
        usage = exc
    except LineSkippedError as exc:
        exc.command = parser.asked
        usage = exc
    if request is not None and request.command == "check":
        from pyipvsadm.commands.check import run_check  # noqa: PLC0415  # only what is asked for is imported

        return run_check(request, env)
    if request is not None and request.command in ("help", "version"):
        env.write_stdout(
            _render_help(request) if request.command == "help" else _render_version(request)
        )
        return 0
    backend_spec, netns_name = (parser.ours.get(name) for name in ("backend", "netns"))
    spec = None if backend_spec is None else str(backend_spec)
    # 1.31 opens the table before it reads its arguments: without a table, its message is about
    # that. The doctor needs none.
    carry_out = _run_doctor if parser.asked == "doctor" else _run_with_backend
    try:
        status = _run_in_netns(
            env,
            None if netns_name is None else str(netns_name),
            lambda: carry_out(env, spec, usage or request),
        )
    except (OperationError, OSError) as exc:
        error = exc if isinstance(exc, OperationError) else _describe_failure(exc)
        if request is not None and request.command == "apply" and "dry-run" in request.slots:
            # For this command 1 and 2 mean that there is something to do, or bad input.
            error.status = EXIT_REFUSED
        elif request is not None and request.command == "doctor":
            from pyipvsadm.doctor.report import UNKNOWN  # noqa: PLC0415

            error.status = UNKNOWN  # 1 and 2 mean findings
        raise error from None
    return status


def _render_help(request: Request) -> str:
    from pyipvsadm.grammar.help_layout import format_help  # noqa: PLC0415  # click costs 30 ms

    return format_help(str(request.ours.get("help") or ""))


def _render_version(request: Request) -> str:
    if "json" not in request.slots:
        return f"ipvsadm {VERSION}\n"
    from pyipvsadm.views import json_document  # noqa: PLC0415  # costs more than the start itself

    versions = {"ipvsadm": REFERENCE_VERSION, "pyipvsadm": __version__, "ipvs": IPVS_VERSION}
    return json_document.format_document(version=versions)


def _run_with_backend(
    env: Environment, spec: str | None, wanted: Request | UsageError | LineSkippedError | None
) -> int:
    backend = _open_backend(env, spec)
    try:
        if not isinstance(wanted, Request):
            assert wanted is not None
            raise wanted
        _announce_backend(env, spec, _get_effect(wanted))
        return run_request(wanted, backend, env)
    finally:
        backend.close()


def _run_doctor(
    env: Environment, spec: str | None, wanted: Request | UsageError | LineSkippedError | None
) -> int:
    if not isinstance(wanted, Request):
        assert wanted is not None
        raise wanted
    _announce_backend(env, spec, READS)
    from pyipvsadm.commands.doctor import run_doctor as examine  # noqa: PLC0415  # reads the host with pyroute2, which costs 200 ms

    return examine(wanted, env, _choose_backend(env, spec), lambda: _open_backend(env, spec))


def _choose_backend(env: Environment, spec: str | None) -> str:
    return spec if spec is not None else env.environ.get(BACKEND_VARIABLE) or "kernel"


def _open_backend(env: Environment, spec: str | None) -> Backend:
    return env.open_backend(_choose_backend(env, spec))


def _get_effect(request: Request) -> str:
    """Return what a request does to the table."""
    if "dry-run" in request.slots:
        return READS
    if request.change is not None or request.command in ("restore", "drain", "apply"):
        return CHANGES
    return SAVES if request.command == "save" else READS


def _announce_backend(env: Environment, spec: str | None, effect: str) -> None:
    """Tell root on standard error when a variable, not the command line, leads away from the
    kernel.

    It may have leaked into a shell or a script. What only reads says so to a person: scripts get
    1.31's bytes.
    """
    chosen = _choose_backend(env, None)
    if (
        spec is None
        and env.is_root
        and chosen != "kernel"
        and (effect != READS or env.is_error_terminal())
    ):
        env.write_stderr(
            f"ipvsadm: {BACKEND_VARIABLE}={chosen}: this {effect} the embedded table, not the kernel"
        )


def _parse_and_save(argv: Sequence[str], env: Environment) -> int:
    from pyipvsadm.grammar.programs import SAVE  # noqa: PLC0415  # ipvsadm itself does not pay for it

    return _run_companion(SAVE, SAVES, argv, env, _save_table)


def _parse_and_restore(argv: Sequence[str], env: Environment) -> int:
    from pyipvsadm.grammar.programs import RESTORE  # noqa: PLC0415  # ipvsadm itself does not pay for it

    return _run_companion(RESTORE, CHANGES, argv, env, _replace_table)


def _run_companion(
    program: Companion,
    effect: str,
    argv: Sequence[str],
    env: Environment,
    body: Callable[[Backend, Environment, dict[str, str]], int],
) -> int:
    from pyipvsadm.grammar.programs import format_help, parse_words  # noqa: PLC0415  # ipvsadm itself does not pay for it

    given = parse_words(program, argv)
    if "help" in given:
        env.write_stdout(format_help(program))
        return 0
    if "version" in given:
        env.write_stdout(f"{program.name} {VERSION}\n")
        return 0
    spec = given.get("backend")

    def carry_out() -> int:
        backend = _open_backend(env, spec)
        try:
            _announce_backend(env, spec, READS if "dry-run" in given else effect)
            return body(backend, env, given)
        finally:
            backend.close()

    return _run_in_netns(env, given.get("netns"), carry_out)


def _save_table(backend: Backend, env: Environment, given: dict[str, str]) -> int:
    from pyipvsadm.commands import output, save  # noqa: PLC0415  # the door does not pay for it

    path = given.get("f", "-")
    text = save.render_rules(backend, env, "n" in given, "full" in given, certain=path != "-")
    if path == "-":
        output.write_buffered(env, output.sanitize_for_terminal([text], env))
    else:
        from pyipvsadm.files import replace_file  # noqa: PLC0415

        replace_file(path, text)
    return 0


def _replace_table(backend: Backend, env: Environment, given: dict[str, str]) -> int:
    from pyipvsadm.commands.restore import replace_table  # noqa: PLC0415  # ipvsadm itself does not pay for it

    return replace_table(backend, env, run_request, given.get("f", "-"), "dry-run" in given)


def _run_in_netns(env: Environment, place: str | None, body: Callable[[], int]) -> int:
    """Run the body in the named network namespace (None for the present one) and return its status."""
    if place is None:
        return body()
    with env.enter_netns(place):
        return body()


class _SiteFinder:
    """Run `site` at the first import of an optional package: the installed programs start without
    it (-S), a third sooner.
    """

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        """Find nothing, but complete sys.path for the finders behind this one."""
        if name in OPTIONAL_PACKAGES and "site" not in sys.modules:
            import site  # noqa: PLC0415  # 3 ms

            site.main()


def run_program(program: Callable[[Sequence[str]], int]) -> None:
    """Run one of the programs above on this process's arguments and end it."""
    if sys.flags.no_site:
        sys.meta_path.insert(0, _SiteFinder)
    # Records hold no cycles, and looking for some costs a large table a fifth of its time. It costs
    # the imports as much: the programs do this before they import us, too.
    gc.disable()
    # What we write is written when write returns, so nothing is left to tidy: the interpreter's own
    # end costs milliseconds.
    os._exit(program(sys.argv[1:]))
