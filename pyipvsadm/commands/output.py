"""Write output in blocks, made safe for a terminal.

Owns: the size of a block. Must never know: what is written.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request


BLOCK = 1 << 16  # characters written at once


def sanitize_for_terminal(parts: Iterable[str], env: Environment) -> Iterable[str]:
    """Replace control characters in the parts if standard output is a terminal.

    Packets of clients choose some of the text (the Call-ID of SIP, which a persistence engine
    keeps), and authors of table files the rest.
    """
    if not env.is_output_terminal():
        return parts
    from pyipvsadm.text import sanitize  # noqa: PLC0415  # a pipe gets the bytes as they are

    return ("\n".join(map(sanitize, part.split("\n"))) for part in parts)


def is_pretty(request: Request, env: Environment) -> bool:
    """Return True if a listing is to be formatted for people: by --pretty, or on a terminal by
    IPVSADM_PRETTY, if rich is installed.
    """
    if "pretty" in request.slots:
        return True
    if env.environ.get("IPVSADM_PRETTY", "0") in ("", "0") or not env.is_output_terminal():
        return False
    try:
        import rich  # noqa: F401, PLC0415  # its parts, which cost 50 ms, come with the view
    except ImportError:
        return False
    return True


def show_connections_read(lines: Iterable[bytes], env: Environment) -> Iterable[bytes]:
    """Return the lines; on a terminal, say on standard error how many came if that takes long.

    Before December 2024, kernels take quadratic time to list connections (ip_vs_conn.c:
    ip_vs_conn_array).
    """
    if not env.is_error_terminal():
        return lines
    from pyipvsadm.views.progress import show_reading  # noqa: PLC0415  # a pipe does without

    return show_reading(lines, env.write_raw_stderr, env.read_clock)


def write_buffered(env: Environment, parts: Iterable[str]) -> None:
    """Write the parts, many at a time; where they fail to come, those that came are written all the
    same.
    """
    waiting: list[str] = []
    size = 0
    try:
        for part in parts:
            waiting.append(part)
            size += len(part)
            if size > BLOCK:
                text = "".join(waiting)
                waiting.clear()
                size = 0
                env.write_stdout(text)
    finally:
        if waiting:
            env.write_stdout("".join(waiting))
