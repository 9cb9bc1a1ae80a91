"""Suggest what to do about an error, for a person at a terminal: lines after 1.31's own.

Owns: those lines. Must never know: streams, who reads them. Imported only after an error that a
person sees.
"""

from __future__ import annotations

import difflib
import errno

from pyipvsadm.addresses import format_numeric, parse_endpoint
from pyipvsadm.errors import (
    LineSkippedError,
    OperationError,
    RefusedError,
    UsageError,
    format_error,
)
from pyipvsadm.grammar.options import COMMANDS, OPTIONS, REQUIRED, SLOTS, Command, Option
from pyipvsadm.grammar.parser import TRY_HELP
from pyipvsadm.grammar.popt import PoptScanner, find_command
from pyipvsadm.grammar.schedulers import ENGINES, SCHEDULERS
from pyipvsadm.model import DEL_DEST, MASQ, NEW_DEST, NEW_SERVICE, SCTP, TCP, UDP
from pyipvsadm.resolver import NullResolver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from pyipvsadm.errors import IpvsadmError
    from pyipvsadm.model import Backend, Change, Server, Service

# Of 1: names that are less similar are no typing mistake.
MIN_SIMILARITY = 0.7

# Dashes that look like a hyphen (Unicode: category Pd, and the minus sign).
OTHER_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
# ip_vs_ctl.c: ip_vs_genl_ops (GENL_ADMIN_PERM asks for the capability in the first user namespace).
ONLY_HOST = "root of a container or of another user namespace does not suffice: the kernel asks for the host's CAP_NET_ADMIN"
MAX_NAMED = 3  # services in a hint; of the others it gives only the number
_SELECTORS = {TCP: "-t", UDP: "-u", SCTP: "--sctp-service"}
NAMES = tuple(row.long for row in (*COMMANDS, *OPTIONS))


def suggest_for_error(exc: IpvsadmError, words: Sequence[str], is_root: bool) -> Iterator[str]:
    """Suggest what to do about an error that ended the run. words: the command line."""
    if isinstance(exc, UsageError):
        yield from suggest_for_usage(exc, words)
    elif isinstance(exc, LineSkippedError):
        yield from suggest_for_option(exc, exc.command)
    elif is_root and format_error(0, errno.EPERM) in str(exc):
        yield ONLY_HOST


def suggest_for_usage(exc: UsageError, words: Sequence[str]) -> Iterator[str]:
    """Suggest what to do about a wrong command line."""
    for word in words:
        if word and word[0] in OTHER_DASHES:
            # Word processors and web pages put such a dash in the place of one or two hyphens.
            rest = word.lstrip(OTHER_DASHES + "-")
            yield f"`{word}' starts with a dash that is no hyphen: type {'--' if rest in NAMES else '-'}{rest}"
            return
    named = [word[1:].partition("=")[0] for word in words if word[:1] == "-"]
    for name in named:
        # With one dash too few the word is a cluster of short options: -stats is -s tats.
        if name in NAMES:
            yield f"did you mean --{name}?"
            return
    typed = TypedWords(words)
    if exc.hint:
        yield exc.hint.format_map(typed)
    elif exc.__cause__:
        yield from suggest_for_option(exc.__cause__, "")
    elif str(exc) == TRY_HELP:
        command = words[0] if words and find_command(words[0]) else ""
        yield (
            f"did you mean --{command}?"
            if command
            else "the command comes first, as in: ipvsadm -L -n"
        )
    elif str(exc).startswith(("illegal virtual server address", "illegal real server address")):
        slot = "service-address" if "virtual" in str(exc) else "real-server"
        bad = (value for value in typed.values_of(slot) if not _is_numeric(value))
        yield from _suggest_endpoint(next(bad, ""))


class TypedWords(dict[str, str]):
    """Map slots, options and commands by name to the words that were typed for them; if none was,
    to those that could be.
    """

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self._values: list[tuple[str, str]] = []
        scanner = PoptScanner(words, posix=False)
        long_names = {word.partition("=")[0] for word in words if word[:2] == "--"}
        try:
            while row := scanner.read_option():
                word = format_name(row, long_names)
                for name in {row.long, getattr(row, "slot", "")} - {""}:
                    known = self.get(name, "").split(", ")
                    self[name] = ", ".join(filter(None, dict.fromkeys([*known, word])))
                self._values.append((getattr(row, "slot", ""), scanner.value or ""))
        except LineSkippedError:
            pass  # an unknown option: what follows it is not read

    def values_of(self, slot: str) -> list[str]:
        """Return the arguments of the options that fill a slot."""
        return [value for name, value in self._values if name == slot]

    def __missing__(self, name: str) -> str:
        """Return the words that could be typed."""
        rows = [
            row for row in (*COMMANDS, *OPTIONS) if name in (row.long, getattr(row, "slot", ""))
        ]
        names = [format_name(row) for row in rows]
        if len(rows) == 1 and isinstance(rows[0], Option) and rows[0].argument == REQUIRED:
            return f"{names[0]} {rows[0].metavar}"
        return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def format_name(row: Command | Option, typed: Collection[str] = ()) -> str:
    """Return the short name of an option or a command, the long one if it was typed."""
    long_name = f"--{row.long}"
    return f"-{row.short}" if row.short and long_name not in typed else long_name


def _is_numeric(endpoint: str) -> bool:
    return parse_endpoint(endpoint, TCP, NullResolver()) is not None


def _suggest_endpoint(value: str) -> Iterator[str]:
    """Say which half of HOST:PORT is wrong."""
    host, colon, port = value.rpartition(":")
    if host and _is_numeric(host.strip("[]")):
        yield f"`{port}' is no port: neither a number from 0 to 65535, nor a name in /etc/services"
        return
    if not colon or (":" in host and value[:1] != "["):
        host = value
    if ":" in host:
        yield f"`{host.strip('[]')}' is no IPv6 address"
    elif host.replace(".", "").isdigit():
        yield f"`{host}' is no IPv4 address"
    elif host:
        yield f"no host `{host}' with an address was found"


def suggest_for_option(exc: BaseException, command: str) -> Iterator[str]:
    """Suggest the option that was meant. exc: popt's error (LineSkippedError); command: "" if
    none was given yet.
    """
    word, unknown, _ = str(exc).partition(": unknown option")
    name = word.lstrip("-").partition("=")[0].replace("_", "-").lower()
    if not unknown:
        return
    other_case = next(
        (row for row in (*COMMANDS, *OPTIONS) if f"-{row.short.swapcase()}" == word), None
    )
    if len(word) == 2 and other_case:
        yield f"did you mean -{other_case.short} (--{other_case.long})?"
    if word[:2] != "--" and name not in NAMES:
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


def suggest_for_refusal(
    change: Change, error: int, backend: Backend, is_root: bool
) -> Iterable[str]:
    """Suggest what to do about a change that was refused with this errno."""
    if error == errno.EPERM and is_root:
        return [ONLY_HOST]
    if error == errno.EEXIST and change.op in (NEW_SERVICE, NEW_DEST):
        letter = "e" if change.server else "E"
        return [f"-{letter} changes it; with --keep, settings that are not given stay"]
    if error == errno.ESRCH and change.service:
        return _suggest_services(change.service, backend)
    if error != errno.ENOENT or not change.service:
        return ()
    if change.server:
        return _suggest_ports(change.op, change.service, change.server, backend)
    return _suggest_modules(change.service)


def _suggest_services(requested: Service, backend: Backend) -> Iterator[str]:
    """Suggest the services of the same address at other ports or protocols."""
    try:
        services = backend.read_services(counters=False)
    except (OperationError, RefusedError):
        return
    others = [each for each in services if requested.addr and each.addr == requested.addr]
    if others:
        shown = ", ".join(
            f"{_SELECTORS.get(each.protocol, '')} {format_numeric(each.af, each.addr, each.port)}"
            for each in others[:MAX_NAMED]
        )
        more = f" and {len(others) - MAX_NAMED} more" if len(others) > MAX_NAMED else ""
        yield f"the table has {shown}{more}"


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
