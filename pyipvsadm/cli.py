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
from pyipvsadm.environment import Environment
from pyipvsadm.errors import (
    EXIT_REFUSED,
    IpvsadmError,
    LineSkippedError,
    OperationError,
    UsageError,
)
from pyipvsadm.grammar.parser import CommandParser, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyipvsadm.grammar.programs import Companion
    from pyipvsadm.model import Backend

BACKEND_VARIABLE = "IPVSADM_BACKEND"
# Packages that some requests import. Debian's package only recommends them, as python3-NAME.
OPTIONAL_PACKAGES = ("pyroute2", "rich")
# The first word of a request from a shell's completion (completion/shell_protocol.py). It is not in
# the table of options, because users do not type it.
COMPLETION_FLAG = "--complete"
# The effects of a command on the table that it opens; the words stand in a message.
CHANGES, SAVES, READS = "changes", "saves", "reads"
REFERENCE_VERSION = "1.31"
# The version of the IPVS interface, which 1.31 prints as well.
IPVS_VERSION = "1.2.1"
VERSION = f"v{REFERENCE_VERSION} (pyipvsadm {__version__}, IPVS v{IPVS_VERSION})"


def main(argv: Sequence[str], env: Environment | None = None) -> int:
    """Run `ipvsadm ARGV...` and return the exit status, 0 to 255."""
    return _run_reporting_errors(_run_ipvsadm, argv, env)


def run_save(argv: Sequence[str], env: Environment | None = None) -> int:
    """Run `ipvsadm-save ARGV...` (programs.SAVE): write the table as rules."""
    return _run_reporting_errors(_parse_and_save, argv, env)


def run_restore(argv: Sequence[str], env: Environment | None = None) -> int:
    """Run `ipvsadm-restore ARGV...` (programs.RESTORE): read and check all rules, then replace the
    table by them.
    """
    return _run_reporting_errors(_parse_and_restore, argv, env)


def _run_reporting_errors(
    body: Callable[[Sequence[str], Environment], int],
    argv: Sequence[str],
    env: Environment | None,
) -> int:
    if env is None:
        # As in a C program, a closed pipe and Ctrl-C end the process without a message, and SIGINT
        # stays ignored if the caller ignores it. For SIGPIPE the caller's choice is unknown: the
        # interpreter ignores it from its start.
        _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
        if _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
            _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        env = Environment()
    env.argv = argv
    error: IpvsadmError
    try:
        return body(argv, env)
    except IpvsadmError as exc:
        error = exc
    except ImportError as exc:
        name = (exc.name or "").partition(".")[0]
        if name not in OPTIONAL_PACKAGES:
            raise
        error = OperationError(
            f"this needs the Python package {name}: {exc}; install it with `apt-get install python3-{name}'"
        )
    except OSError as exc:
        error = _describe_failure(exc)
    except MemoryError:
        error = OperationError("Memory allocation problem")
    _report_error(error, argv, env)
    return error.status


def _report_error(error: IpvsadmError, argv: Sequence[str], env: Environment) -> None:
    """Print an error; to a person at a terminal, hints too; with --json, its document."""
    env.write_stderr(str(error))
    if env.is_error_terminal():
        from pyipvsadm.commands.report import print_hints  # noqa: PLC0415  # a person waits longer than a script
        from pyipvsadm.grammar.hints import suggest_for_error  # noqa: PLC0415

        print_hints(env, suggest_for_error(error, argv, env.is_root))
    if "--json" in argv:
        from pyipvsadm.views.json_document import format_error_document  # noqa: PLC0415

        env.write_stdout(format_error_document(error.list_findings()))


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
        exc.command = parser.command
        usage = exc
    if "color" in parser.ours:
        _choose_colours(str(parser.ours["color"]), env)
    if request is not None and request.command == "check":
        from pyipvsadm.commands.check import run_check  # noqa: PLC0415  # only what is asked for is imported

        return run_check(request, env)
    if request is not None and request.command in ("help", "version"):
        env.write_stdout(
            _render_help(request, env) if request.command == "help" else _render_version(request)
        )
        return 0
    backend_spec, netns_name = (parser.ours.get(name) for name in ("backend", "netns"))
    if usage is not None and backend_spec is None:
        backend_spec = _find_backend(argv)
    spec = None if backend_spec is None else str(backend_spec)
    # 1.31 opens the table before it reads its arguments: without a table, its message is about
    # that. The doctor and --check need none.
    carry_out = _run_doctor if parser.command in ("doctor", "check") else _run_with_backend
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


def _find_backend(argv: Sequence[str]) -> str | None:
    """Return the table that a command line names after the word at which the parser stopped: the
    error of that word must not become one about the kernel.
    """
    for index, word in enumerate(argv):
        if word == "--backend" and index + 1 < len(argv):
            return argv[index + 1]
        if word.startswith("--backend="):
            return word.partition("=")[2]
    return None


def _choose_colours(when: str, env: Environment) -> None:
    """Carry out --color: auto, always or never."""
    env.always_has_colours = when == "always"
    if when == "never":
        env.environ = {**env.environ, "NO_COLOR": "1"}


def _render_help(request: Request, env: Environment) -> str:
    from pyipvsadm.grammar.help_layout import WIDTH, format_help  # noqa: PLC0415  # only what is asked for is imported

    width = env.get_size()[0] if env.is_output_terminal() else WIDTH
    return format_help(str(request.ours.get("help") or ""), width)


def _render_version(request: Request) -> str:
    if "json" not in request.slots:
        return f"ipvsadm {VERSION}\n"
    from pyipvsadm.views import json_document  # noqa: PLC0415  # costs more than the start itself

    versions = {"ipvsadm": REFERENCE_VERSION, "pyipvsadm": __version__, "ipvs": IPVS_VERSION}
    return json_document.format_document(version=versions)


def _run_with_backend(
    env: Environment, spec: str | None, parsed: Request | UsageError | LineSkippedError | None
) -> int:
    backend = _open_backend(env, spec)
    try:
        if not isinstance(parsed, Request):
            assert parsed is not None
            raise parsed
        _announce_backend(env, spec, _get_effect(parsed))
        return run_request(parsed, backend, env)
    finally:
        backend.close()


def _run_doctor(
    env: Environment, spec: str | None, parsed: Request | UsageError | LineSkippedError | None
) -> int:
    if not isinstance(parsed, Request):
        assert parsed is not None
        raise parsed
    _announce_backend(env, spec, READS)
    from pyipvsadm.commands.doctor import run_doctor as examine  # noqa: PLC0415  # reads the host with pyroute2, which costs 200 ms

    return examine(parsed, env, _choose_backend(env, spec), lambda: _open_backend(env, spec))


def _choose_backend(env: Environment, spec: str | None) -> str:
    return spec if spec is not None else env.environ.get(BACKEND_VARIABLE) or "kernel"


def _open_backend(env: Environment, spec: str | None) -> Backend:
    return env.open_backend(_choose_backend(env, spec))


def _get_effect(request: Request) -> str:
    """Return what a request does to the table."""
    if "dry-run" in request.slots:
        return READS
    if request.change is not None or request.command in (
        "restore",
        "drain",
        "undrain",
        "apply",
        "undo",
    ):
        return CHANGES
    return SAVES if request.command == "save" else READS


def _announce_backend(env: Environment, spec: str | None, effect: str) -> None:
    """Warn root if a variable, not the command line, chooses a table other than the kernel's: it
    may be set by mistake in a shell or a script.

    A command that only reads warns on a terminal only, so that scripts see the bytes of 1.31.
    """
    variable_spec = _choose_backend(env, None)
    if (
        spec is None
        and env.is_root
        and variable_spec != "kernel"
        and (effect != READS or env.is_error_terminal())
    ):
        env.write_stderr(
            f"ipvsadm: {BACKEND_VARIABLE}={variable_spec}: this {effect} the embedded table, not the kernel"
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

    options = parse_words(program, argv)
    if "help" in options:
        env.write_stdout(format_help(program))
        return 0
    if "version" in options:
        env.write_stdout(f"{program.name} {VERSION}\n")
        return 0
    spec = options.get("backend")

    def carry_out() -> int:
        backend = _open_backend(env, spec)
        try:
            _announce_backend(env, spec, READS if "dry-run" in options else effect)
            return body(backend, env, options)
        finally:
            backend.close()

    return _run_in_netns(env, options.get("netns"), carry_out)


def _save_table(backend: Backend, env: Environment, options: dict[str, str]) -> int:
    from pyipvsadm.commands import output, save  # noqa: PLC0415  # ipvsadm itself does not pay for it

    path = options.get("f", "-")
    text = save.render_rules(backend, env, "n" in options, "full" in options, certain=path != "-")
    if path == "-":
        output.write_buffered(env, output.sanitize_for_terminal([text], env))
    else:
        from pyipvsadm.files import replace_file  # noqa: PLC0415

        replace_file(path, text)
    return 0


def _replace_table(backend: Backend, env: Environment, options: dict[str, str]) -> int:
    from pyipvsadm.commands.restore import replace_table  # noqa: PLC0415  # ipvsadm itself does not pay for it

    return replace_table(backend, env, run_request, options.get("f", "-"), options)


def _run_in_netns(env: Environment, netns_name: str | None, body: Callable[[], int]) -> int:
    """Run the body in the named network namespace (None: the present one); return its status."""
    if netns_name is None:
        return body()
    with env.enter_netns(netns_name):
        return body()


class _SiteFinder:
    """Run `site` at the first import of an optional package. The installed programs start without
    `site` (-S), which makes their start a third faster.
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
    # Records form no cycles, and the search for cycles takes a fifth of the time of a large table,
    # and as much of the imports. The installed programs therefore disable it before they import
    # this module.
    gc.disable()
    # All output is written when write returns, so nothing has to be cleaned up. The interpreter's
    # own exit would take milliseconds.
    os._exit(program(sys.argv[1:]))
