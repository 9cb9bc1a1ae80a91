"""One Request, one backend, one world: carried out, to an exit status.

Owns: what each command does, and in which order things are read, written and said. Must never know: netlink, popt, columns.
"""

from __future__ import annotations

from pyipvsadm import rules
from pyipvsadm.argv import TRY_HELP, Request, Scanner
from pyipvsadm.endpoint import address_text, endpoint_text
from pyipvsadm.errors import Failed, Skipped, Usage, sentence
from pyipvsadm.model import AF_INET, AF_INET6, CONNECTIONS_FILE, FLUSH, Change
from pyipvsadm.options import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyipvsadm.model import Backend, Row, Service
    from pyipvsadm.rules import Endpoint
    from pyipvsadm.world import World

REFUSED = 255  # main returns -1
BLOCK = 1 << 16  # characters written at once


def run(request: Request, backend: Backend, world: World) -> int:
    """Do what was asked. Raises Failed, Refused (a listing of what is not there) and Usage (in rules)."""
    if request.change is not None:
        return change(request.change, backend, world)
    seconds = request.ours.get("resolve-timeout")
    if isinstance(seconds, int):
        world.names.seconds = seconds
    if request.command == "restore":
        return restore(backend, world)
    if request.command == "save":
        save(backend, world, numeric="numeric" in request.slots)
    else:
        show(request, backend, world)
    return 0


def change(wanted: Change, backend: Backend, world: World) -> int:
    """One change: nothing is said unless it is refused."""
    refused = backend.apply([wanted])
    for _, number in refused:
        world.err(sentence(wanted.op, number))
    return REFUSED if refused else 0


# --- listing


def show(request: Request, backend: Backend, world: World) -> None:
    """The list command."""
    from pyipvsadm.view import classic  # noqa: PLC0415  # commands that change do not pay for it

    shown = request.slots
    if "connection" in shown:
        write(world, _connections(backend, world, shown))
    elif request.services:
        write(world, _listed(backend, list(map(backend.service, request.services)), world, shown))
    elif "timeout" in shown:
        world.out(classic.timeouts(backend.timeouts()))
    elif "daemon" in shown:
        write(world, classic.daemons(backend.daemons()))
    else:
        world.out(classic.version(backend.info()))
        write(world, _listing(backend, world, shown))


def _listing(backend: Backend, world: World, shown: set[str]) -> Iterable[str]:
    """The whole table: for the plain view in numbers from the kernel's own listing, where that will do."""
    from pyipvsadm.view import classic, order  # noqa: PLC0415

    sort = "nosort" not in shown
    services = backend.services(counters=bool(shown & {"stats", "rate"}))
    if sort:
        services = order.services(services)
    if "numeric" in shown and not classic.view_of(shown):
        text = backend.table_file()
        if text:
            from pyipvsadm.view import procfs  # noqa: PLC0415

            parts = procfs.listing(services, text, sort)
            if parts is not None:
                return [classic.title(shown), *parts]
    return _listed(backend, services, world, shown)


def _listed(backend: Backend, services: list[Service], world: World, shown: set[str]) -> Iterator[str]:
    """The title, then each service with its servers."""
    from pyipvsadm.view import classic  # noqa: PLC0415

    columns = classic.columns(shown)
    tables: Iterable[tuple[Service, list[Row]]] = zip(services, backend.rows(services, columns), strict=True)
    endpoint: Endpoint = rules.numeric
    if "numeric" not in shown:
        tables = list(tables)
        endpoint = naming(tables, world)
    listing = classic.Listing(shown, endpoint)
    yield classic.title(shown)
    for service, rows in tables:
        yield listing.service(service, rows)


def _connections(backend: Backend, world: World, shown: set[str]) -> Iterator[str]:
    from pyipvsadm import connections  # noqa: PLC0415

    lines = backend.connections()
    if next(lines, None) is None:
        raise Failed(f"unexpected input from {CONNECTIONS_FILE}")
    engine = "persistent-conn" in shown
    yield connections.TITLE_ENGINE if engine else connections.TITLE
    if "numeric" in shown:
        yield from map(connections.Numbers(engine).text, lines)
        return
    found = list(map(connections.parse, lines))
    ends = {end[:2] for each in found for end in (each.client, each.virtual, each.server)}
    endpoint = _by_name(world, world.names.host_names(ends))
    for each in found:
        yield connections.text(each, endpoint, engine)


def save(backend: Backend, world: World, numeric: bool) -> None:
    """The save command: the rules on standard output."""
    write(world, [saved(backend, world, numeric)])


def saved(backend: Backend, world: World, numeric: bool) -> str:
    """The rules as text. By name only where -R would read the name back as the same address."""
    from pyipvsadm.view import order  # noqa: PLC0415

    columns = rules.ServerRules.COLUMNS
    services = order.services(backend.services(counters=False))
    tables = [(each, order.servers(rows)) for each, rows in zip(services, backend.rows(services, columns), strict=True)]
    endpoint = rules.numeric if numeric else naming(tables, world, read_back=True)
    servers = rules.ServerRules(endpoint)
    parts = []
    for service, rows in tables:
        named = rules.selector(service, endpoint)
        parts.append(rules.service_rule(service, named))
        parts.append(servers.text(service, named, rows))
    return "".join(parts)


def naming(tables: Iterable[tuple[Service, list[Row]]], world: World, read_back: bool = False) -> Endpoint:
    """How to write addresses and ports by name, every address looked up once and all of them before."""
    ends = set()
    for service, rows in tables:
        if not service.fwmark:
            ends.add((service.af, service.addr))
        ends |= {(AF_INET if len(row[0]) == 4 else AF_INET6, row[0]) for row in rows}
    import time  # noqa: PLC0415  # listings in numbers need no clock

    deadline = time.monotonic() + world.names.seconds
    names = world.names.host_names(sorted(ends))
    if read_back:
        names = world.names.readable(names, max(0.0, deadline - time.monotonic()))
    return _by_name(world, names)


def _by_name(world: World, hosts: dict[tuple[int, bytes], str]) -> Endpoint:
    ports: dict[tuple[int, int], str] = {}

    def endpoint(family: int, addr: bytes, port: int, protocol: int) -> str:
        host = hosts.get((family, addr)) or address_text(family, addr)
        if (port, protocol) not in ports:
            ports[port, protocol] = world.names.port_name(port, protocol) or str(port)
        return endpoint_text(family, host, ports[port, protocol])

    return endpoint


def write(world: World, parts: Iterable[str]) -> None:
    """Write the parts, many at a time."""
    waiting: list[str] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size > BLOCK:
            world.out("".join(waiting))
            waiting.clear()
            size = 0
    if waiting:
        world.out("".join(waiting))


# --- restoring


def restore(backend: Backend, world: World, clear: bool = False) -> int:
    """The rules from standard input; clear: after clearing the table (ipvsadm-restore). The status is the last line's.

    From a file or a pipe all lines are read before the first takes effect, and none does when 1.31 would end the run at one
    of them (Usage then says which). From a terminal each line takes effect when it is typed.
    """
    if world.input_is_terminal():
        if clear:
            _carry_out([(0, Change(FLUSH))], backend, world)
        return _restore_typed(backend, world)
    text = world.read_input()
    if clear:
        # The script that is replaced hands the lines on with echo: they end in one line end.
        text = text.rstrip(b"\n") + b"\n"
    try:
        return _apply(_changes(text, world, clear), backend, world)
    except _Mixed:
        steps: list[tuple[int, Request | Change | Skipped]] = [(0, Change(FLUSH))] if clear else []
        steps += [(at, _line(at, words, world)) for at, words in rules.lines(text)]
        return _carry_out(steps, backend, world)


class _Mixed(Exception):  # not an error: a file of rules that holds more than changes
    pass


def _changes(text: bytes, world: World, clear: bool) -> Iterator[tuple[int, Change]]:
    """The changes of a text that holds nothing else, each with its line; _Mixed at the first line that is none."""
    from pyipvsadm.quick import Rules  # noqa: PLC0415  # only restoring needs it

    plain = Rules()
    if clear:
        yield 0, Change(FLUSH)
    for at, words in rules.lines(text):
        wanted = plain.change(words)
        if wanted is None:
            step = _line(at, words, world)
            if isinstance(step, Skipped) or step.change is None:
                raise _Mixed
            wanted = step.change
        yield at, wanted


def _restore_typed(backend: Backend, world: World) -> int:
    status = 0
    at = 0
    text = b""
    for block in world.input_blocks():
        text += block
        while b"\n" in text:
            line, _, text = text.partition(b"\n")
            at += 1
            for _, words in rules.lines(line):
                status = _carry_out([(at, _line(at, words, world))], backend, world)
    for _, words in rules.lines(text):
        status = _carry_out([(at + 1, _line(at + 1, words, world))], backend, world)
    return status


def _line(at: int, words: list[str], world: World) -> Request | Skipped:
    """What a line of rules asks for. Raises Usage, with the line's number, where 1.31 would end the run."""
    scanner = Scanner(words, world.names, world.is_posix)
    try:
        request = scanner.request()
        if request.ours:
            raise Usage(f"--{next(iter(request.ours))} does not belong in rules: give it on the command line")
        if request.command == "restore":
            raise Usage(TRY_HELP, REFUSED)
        if next(row.ours for row in COMMANDS if row.long == request.command):
            raise Usage(f"--{request.command} does not belong in rules: give it on the command line")
        if request.command in ("help", "version"):
            raise Usage(f"--{request.command} ends the rules here: none was applied", 0)
    except Skipped as bad:
        return bad
    except Usage as bad:
        raise Usage(f"line {at}: {bad}", bad.status) from None
    return request


def _carry_out(steps: list[tuple[int, Request | Change | Skipped]], backend: Backend, world: World) -> int:
    """Lines in order, changes that follow each other as one batch."""
    status = 0
    batch: list[tuple[int, Change]] = []
    for at, step in steps:
        wanted = step.change if isinstance(step, Request) else step
        if isinstance(wanted, Change):
            batch.append((at, wanted))
            continue
        _apply(batch, backend, world)
        batch = []
        if isinstance(step, Request):
            status = run(step, backend, world)
        else:
            world.err(f"line {at}: {step}")
            status = REFUSED
    return _apply(batch, backend, world) if batch else status


def _noted(batch: Iterable[tuple[int, Change]], line: Callable[[int], None], op: Callable[[int], None]) -> Iterator[Change]:
    for at, wanted in batch:
        line(at)
        op(wanted.op)
        yield wanted


def _apply(batch: Iterable[tuple[int, Change]], backend: Backend, world: World) -> int:
    """Send a batch, report what was refused; the last one's status."""
    # Changes are encoded as they come and not kept: of 200,000 only this much is remembered.
    lines: list[int] = []
    ops = bytearray()
    refused = backend.apply(_noted(batch, lines.append, ops.append))
    for index, number in refused:
        said = sentence(ops[index], number)
        world.err(f"line {lines[index]}: {said}" if lines[index] else said)
    return REFUSED if refused and refused[-1][0] == len(lines) - 1 else 0
