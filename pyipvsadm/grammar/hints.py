"""Suggest what to do about an error, for a person at a terminal: lines after 1.31's own.

Owns: those lines. Must never know: streams, who reads them. Imported only after an error that a
person sees.
"""

from __future__ import annotations

import difflib
import errno

from pyipvsadm.addresses import format_numeric
from pyipvsadm.errors import LineSkippedError, OperationError, RefusedError, UsageError
from pyipvsadm.grammar.options import COMMANDS, OPTIONS, SLOTS
from pyipvsadm.grammar.parser import TRY_HELP
from pyipvsadm.grammar.schedulers import ENGINES, SCHEDULERS
from pyipvsadm.model import DEL_DEST, MASQ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyipvsadm.errors import IpvsadmError
    from pyipvsadm.model import Backend, Change, Server, Service

# Of 1: names that are less similar are no typing mistake.
MIN_SIMILARITY = 0.7

NAMES = tuple(row.long for row in (*COMMANDS, *OPTIONS))


def suggest_for_error(exc: IpvsadmError, words: Sequence[str]) -> Iterator[str]:
    """Suggest what to do about an error that ended the run. words: the command line."""
    if isinstance(exc, UsageError):
        yield from suggest_for_usage(exc, words)
    elif isinstance(exc, LineSkippedError):
        yield from suggest_for_option(exc, exc.command)


def suggest_for_usage(exc: UsageError, words: Sequence[str]) -> Iterator[str]:
    """Suggest what to do about a wrong command line."""
    named = [word[1:].partition("=")[0] for word in words if word[:1] == "-"]
    for name in named:
        # With one dash too few the word is a cluster of short options: -stats is -s tats.
        if name in NAMES:
            yield f"did you mean --{name}?"
            return
    if exc.__cause__:
        yield from suggest_for_option(exc.__cause__, "")
    elif str(exc) == TRY_HELP:
        yield "the command comes first, as in: ipvsadm -L -n"


def suggest_for_option(exc: BaseException, command: str) -> Iterator[str]:
    """Suggest the option that was meant. exc: popt's error (LineSkippedError); command: "" if
    none was given yet.
    """
    word, unknown, _ = str(exc).partition(": unknown option")
    name = word.lstrip("-").partition("=")[0].replace("_", "-").lower()
    if not unknown or (word[:2] != "--" and name not in NAMES):
        # One letter is as similar to any other letter.
        return
    closest = find_closest(name, NAMES, list_options_for(command))
    if closest:
        yield f"did you mean --{closest}?"


def list_options_for(command: str) -> list[str]:
    """Return the long names of the options of a command; the commands if none was given yet."""
    if not command:
        return [row.long for row in COMMANDS]
    slots = {
        slot.name for slot in SLOTS if command in slot.optional | slot.required | slot.exclusive
    }
    return [row.long for row in OPTIONS if row.slot in slots or not row.slot]


def find_closest(name: str, names: Iterable[str], better: Sequence[str] = ()) -> str:
    """Return the name that is most similar, "" if none is. A name among `better` need not be quite
    as similar.
    """

    def likeness(candidate: str) -> float:
        begins = len(name) > 2 and candidate.startswith(name)
        return (
            begins
            + difflib.SequenceMatcher(None, name, candidate).ratio()
            + 0.1 * (candidate in better)
        )

    closest = max(names, key=likeness)
    return closest if likeness(closest) >= MIN_SIMILARITY else ""


def suggest_for_refusal(change: Change, error: int, backend: Backend) -> Iterable[str]:
    """Suggest what to do about a change that was refused with this errno."""
    if error != errno.ENOENT or not change.service:
        return ()
    if change.server:
        return _suggest_ports(change.op, change.service, change.server, backend)
    return _suggest_modules(change.service)


def _suggest_modules(service: Service) -> Iterator[str]:
    """Suggest modules: ENOENT does not say whether the scheduler or the engine is missing, so hint
    at both.
    """
    scheduler, engine = service.scheduler, service.pe
    if scheduler not in SCHEDULERS:
        near = find_closest(scheduler, SCHEDULERS)
        yield (f"did you mean -s {near}? " if near else "") + f"schedulers: {' '.join(SCHEDULERS)}"
    if engine and engine not in ENGINES:
        yield f"persistence engines: {' '.join(ENGINES)}"
    yield "each is a module of the kernel; what its loading says: modprobe " + " ".join(
        [f"ip_vs_{scheduler}", *([f"ip_vs_pe_{engine}"] if engine else [])]
    )


def _suggest_ports(op: int, service: Service, requested: Server, backend: Backend) -> Iterator[str]:
    """Suggest the same address at another port: -g and -i take the service's port whatever is
    typed, and so does -r without one.
    """
    try:
        servers = backend.read_servers(service)
    except (OperationError, RefusedError):
        return
    others = [
        server for server in servers if (server.af, server.addr) == (requested.af, requested.addr)
    ]
    if not others:
        return
    endpoints = ", ".join(
        sorted(format_numeric(server.af, server.addr, server.port) for server in others)
    )
    if op == DEL_DEST:
        yield f"the service has {endpoints}: give the port with -r"
    elif all(server.forward == MASQ for server in others) and requested.forward != MASQ:
        yield f"the service has {endpoints} (-m): give -m too, or --keep, which leaves what is not given as it is"
    else:
        yield f"the service has {endpoints}: give the port with -r, and its forwarding method or --keep"
