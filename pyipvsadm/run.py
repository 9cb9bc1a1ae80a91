"""One Request, one backend, one world: carried out, to an exit status.

Owns: what each command does, and in which order things are read, written and said. Must never know: netlink, popt, columns.
"""

from __future__ import annotations

from pyipvsadm import rules
from pyipvsadm.argv import Request
from pyipvsadm.endpoint import address_text, endpoint_text
from pyipvsadm.errors import Failed, sentence
from pyipvsadm.model import CONNECTIONS_FILE, FLUSH, Change, Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyipvsadm.model import Backend, Destination
    from pyipvsadm.reading import Step
    from pyipvsadm.rules import Endpoint
    from pyipvsadm.world import World

REFUSED = 255  # main returns -1
BLOCK = 1 << 16  # characters written at once

Rows = list[tuple[Service, "list[Destination]"]]


def run(request: Request, backend: Backend, world: World) -> int:
    """Do what was asked. Raises Failed, Refused (a listing of what is not there) and Usage (in rules)."""
    if request.command == "apply":
        from pyipvsadm.change.apply import apply  # noqa: PLC0415  # commands of 1.31 do not pay for it

        return apply(request, backend, world)
    if "dry-run" in request.slots:
        return _try_out(request, backend, world)
    if request.change is not None:
        return change(request.change, backend, world)
    seconds = request.ours.get("resolve-timeout")
    if isinstance(seconds, int):
        world.names.seconds = seconds
    if request.command == "restore":
        return restore(backend, world)
    if request.command == "save":
        write(world, [saved(backend, world, "numeric" in request.slots, "full" in request.slots)])
    else:
        show(request, backend, world)
    return 0


def change(wanted: Change, backend: Backend, world: World) -> int:
    """One change: nothing is said unless it is refused."""
    refused = backend.apply([wanted])
    for _, number in refused:
        world.err(sentence(wanted.op, number))
    return REFUSED if refused else 0


def _try_out(request: Request, backend: Backend, world: World) -> int:
    """Do what was asked to a copy, and say what was not known of it."""
    from pyipvsadm.change import rehearse, snapshot  # noqa: PLC0415

    copy = rehearse.Rehearsal(backend, snapshot.consistent(backend))
    asked = Request(request.command, request.slots - {"dry-run"}, request.services, request.change, request.ours)
    status = run(asked, copy, world)
    for line in copy.assumptions():
        world.err(line)
    return status


# --- listing


def show(request: Request, backend: Backend, world: World) -> None:
    """The list command."""
    from pyipvsadm.view import classic  # noqa: PLC0415  # commands that change do not pay for it

    shown = request.slots
    if "connection" in shown:
        write(world, _connections(backend, world, shown))
    elif request.services:
        rows = [(found, backend.destinations(found)) for found in map(backend.service, request.services)]
        endpoint = naming(rows, world, numeric="numeric" in shown)
        write(world, [classic.title(shown), *(classic.service(*row, shown, endpoint) for row in rows)])
    elif "timeout" in shown:
        world.out(classic.timeouts(backend.timeouts()))
    elif "daemon" in shown:
        write(world, classic.daemons(backend.daemons()))
    else:
        world.out(classic.version(backend.info()))
        write(world, _listing(backend, world, shown))


def _listing(backend: Backend, world: World, shown: set[str]) -> Iterator[str]:
    """The whole table: for the plain view in numbers from the kernel's own listing, where that will do."""
    from pyipvsadm.view import classic, order  # noqa: PLC0415

    sort = "nosort" not in shown
    services = backend.services()
    yield classic.title(shown)
    if "numeric" in shown and not classic.view_of(shown):
        text = backend.table_file()
        if text:
            from pyipvsadm.view import procfs  # noqa: PLC0415

            parts = procfs.listing(services, text, sort)
            if parts is not None:
                yield from parts
                return
    rows = [(each, backend.destinations(each)) for each in (order.services(services) if sort else services)]
    endpoint = naming(rows, world, numeric="numeric" in shown)
    for service, servers in rows:
        yield classic.service(service, servers, shown, endpoint)


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


def saved(backend: Backend, world: World, numeric: bool, full: bool = False, certain: bool = False) -> str:
    """The rules as text. By name only where -R would read the name back as the same address.

    full: with time-outs and daemons, and certain. certain: nothing is missing because the table changed meanwhile.
    """
    from pyipvsadm.view import classic, order  # noqa: PLC0415

    if full or certain:
        from pyipvsadm.change import save, snapshot  # noqa: PLC0415  # the plain save does not pay for it

        found = snapshot.consistent(backend)
        if full:
            return save.text(found, naming(found.rows, world, numeric, read_back=True), world)
        servers = {service.key(): members for service, members in found.rows}
        rows = [(each, servers[each.key()]) for each in order.services([service for service, _ in found.rows])]
    else:
        rows = [(each, backend.destinations(each)) for each in order.services(backend.services())]
    endpoint = naming(rows, world, numeric, read_back=True)
    return "".join(classic.rules(service, members, endpoint) for service, members in rows)


def naming(rows: Rows, world: World, numeric: bool, read_back: bool = False) -> Endpoint:
    """How to write addresses and ports: in numbers, or by name, every address looked up once and all of them before."""
    if numeric:
        return rules.numeric
    ends = {(s.af, s.addr) for s, _ in rows if not s.fwmark} | {(d.af, d.addr) for _, servers in rows for d in servers}
    import time  # noqa: PLC0415  # numeric listings need no clock

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
    from pyipvsadm import reading  # noqa: PLC0415  # only restoring needs it

    if world.input_is_terminal():
        if clear:
            _apply(_cleared(clear), backend, world)
        return _restore_typed(backend, world)
    text = world.read_input()
    if clear:
        # The script that is replaced hands the lines on with echo: they end in one line end.
        text = text.rstrip(b"\n") + b"\n"
    try:
        return _apply(_changes(text, world, clear), backend, world)
    except _Mixed:
        return _carry_out([*_cleared(clear), *reading.steps(text, world)], backend, world)


def _cleared(clear: bool) -> list[tuple[int, Change]]:
    return [(0, Change(FLUSH))] if clear else []


class _Mixed(Exception):  # not an error: a file of rules that holds more than changes
    pass


def _changes(text: bytes, world: World, clear: bool) -> Iterator[tuple[int, Change]]:
    """The changes of a text that holds nothing else, each with its line; _Mixed at the first line that is none."""
    from pyipvsadm import reading  # noqa: PLC0415  # only restoring needs it

    yield from _cleared(clear)
    for at, step in reading.steps(text, world):
        if not isinstance(step, Change):
            raise _Mixed
        yield at, step


def _restore_typed(backend: Backend, world: World) -> int:
    from pyipvsadm import reading  # noqa: PLC0415

    status = 0
    at = 0
    text = b""
    for block in world.input_blocks():
        text += block
        while b"\n" in text:
            line, _, text = text.partition(b"\n")
            at += 1
            for _, words in rules.lines(line):
                status = _carry_out([(at, reading.line(at, words, world))], backend, world)
    for _, words in rules.lines(text):
        status = _carry_out([(at + 1, reading.line(at + 1, words, world))], backend, world)
    return status


def _carry_out(steps: list[tuple[int, Step]], backend: Backend, world: World) -> int:
    """Lines in order, changes that follow each other as one batch."""
    status = 0
    batch: list[tuple[int, Change]] = []
    for at, step in steps:
        if isinstance(step, Change):
            batch.append((at, step))
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
