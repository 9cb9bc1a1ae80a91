"""One Request, one backend, one world: carried out, to an exit status.

Owns: what each command does, and in which order things are read, written and said. Must never know: netlink, popt, columns.
"""

from __future__ import annotations

from pyipvsadm import rules
from pyipvsadm.argv import TRY_HELP, Request, Scanner
from pyipvsadm.endpoint import address_text, endpoint_text
from pyipvsadm.errors import Failed, Skipped, Usage, sentence
from pyipvsadm.model import CONNECTIONS_FILE, FLUSH, Change, Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyipvsadm.connections import Connection
    from pyipvsadm.model import Backend, Destination
    from pyipvsadm.rules import Endpoint
    from pyipvsadm.world import World

REFUSED = 255  # main returns -1
BLOCK = 1 << 16  # characters written at once

Rows = list[tuple[Service, "list[Destination]"]]


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
    if "watch" in request.ours:
        _watch(request, backend, world)
    else:
        write(world, listing(request, backend, world))


def listing(request: Request, backend: Backend, world: World) -> Iterator[str]:
    """What the list command writes, in parts."""
    shown = request.slots
    if "pretty" in shown or (world.environ.get("IPVSADM_PRETTY", "0") not in ("", "0") and world.output_is_terminal()):
        return _pretty(request, backend, world)
    return _classic(request, backend, world)


def _classic(request: Request, backend: Backend, world: World) -> Iterator[str]:
    from pyipvsadm.view import classic  # noqa: PLC0415  # commands that change do not pay for it

    shown = request.slots
    if "connection" in shown:
        yield from _connections(backend, world, shown)
    elif request.services:
        rows = read(request, backend)
        endpoint = naming(rows, world, numeric="numeric" in shown)
        yield classic.title(shown)
        for row in rows:
            yield classic.service(*row, shown, endpoint)
    elif "timeout" in shown:
        yield classic.timeouts(backend.timeouts())
    elif "daemon" in shown:
        yield from classic.daemons(backend.daemons())
    else:
        yield classic.version(backend.info())
        yield from _listing(backend, world, shown)


def read(request: Request, backend: Backend) -> Rows:
    """The services that are asked for with their servers, in the listing's order. Refused: ESRCH when one is not there."""
    from pyipvsadm.view import order  # noqa: PLC0415

    if request.services:
        services = [backend.service(each) for each in request.services]
    else:
        services = backend.services()
        services = services if "nosort" in request.slots else order.services(services)
    return [(each, backend.destinations(each)) for each in services]


def _pretty(request: Request, backend: Backend, world: World) -> Iterator[str]:
    """The listing for people."""
    from pyipvsadm.view import grid, pretty  # noqa: PLC0415  # rich costs a start 50 ms

    shown = request.slots
    look = grid.look(world.environ, world.output_is_terminal(), world.size()[0])
    if "connection" in shown:
        found, endpoint = _found(backend, world, numeric="numeric" in shown)
        lines = pretty.connections(found, endpoint, look, engine="persistent-conn" in shown)
    elif not request.services and "timeout" in shown:
        lines = pretty.timeouts(backend.timeouts(), look)
    elif not request.services and "daemon" in shown:
        lines = pretty.daemons(backend.daemons(), look)
    else:
        rows = read(request, backend)
        groups = [pretty.Group(*row) for row in rows]
        lines = [] if request.services else pretty.title(backend.info(), groups, look)
        lines += pretty.listing(groups, shown, naming(rows, world, numeric="numeric" in shown), look)
    yield grid.text(lines, look)


def _watch(request: Request, backend: Backend, world: World) -> None:
    """The listing again and again."""
    from pyipvsadm.view import grid, live, watch  # noqa: PLC0415

    if "json" in request.ours:
        raise Usage("--watch does not go with --json yet")  # here: a line a read, as watch.blocks writes them
    shown = request.slots
    world.names = watch.Remembered(world.names)
    seconds = request.ours["watch"]
    seconds = seconds if isinstance(seconds, int) else watch.SECONDS
    terminal = world.output_is_terminal()

    def look(width: int) -> grid.Look:
        return grid.look(world.environ, terminal, width)

    def block() -> str:
        backend.refresh()
        return "".join(listing(request, backend, world))

    def rows() -> Rows:
        backend.refresh()
        return read(request, backend)

    if look(0).styled:
        state = live.Live(shown, str(request.ours.get("sort-by") or ""), seconds, look)
        watch.screen(state, rows, lambda found: naming(found, world, "numeric" in shown), world, seconds)
    else:
        watch.blocks(block, world, seconds)


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

    engine = "persistent-conn" in shown
    if "numeric" in shown:
        lines = _lines(backend)
        yield connections.TITLE_ENGINE if engine else connections.TITLE
        yield from map(connections.Numbers(engine).text, lines)
        return
    found, endpoint = _found(backend, world, numeric=False)
    yield connections.TITLE_ENGINE if engine else connections.TITLE
    for each in found:
        yield connections.text(each, endpoint, engine)


def _lines(backend: Backend) -> Iterator[bytes]:
    """The connections' lines without their heading."""
    lines = backend.connections()
    if next(lines, None) is None:
        raise Failed(f"unexpected input from {CONNECTIONS_FILE}")
    return lines


def _found(backend: Backend, world: World, numeric: bool) -> tuple[list[Connection], Endpoint]:
    """All connections, and how to write their addresses."""
    from pyipvsadm import connections  # noqa: PLC0415

    found = list(map(connections.parse, _lines(backend)))
    if numeric:
        return found, rules.numeric
    ends = {end[:2] for each in found for end in (each.client, each.virtual, each.server)}
    return found, _by_name(world, world.names.host_names(ends))


def save(backend: Backend, world: World, numeric: bool) -> None:
    """The save command: the rules on standard output."""
    write(world, [saved(backend, world, numeric)])


def saved(backend: Backend, world: World, numeric: bool) -> str:
    """The rules as text. By name only where -R would read the name back as the same address."""
    from pyipvsadm.view import classic, order  # noqa: PLC0415

    rows = [(each, backend.destinations(each)) for each in order.services(backend.services())]
    endpoint = naming(rows, world, numeric, read_back=True)
    return "".join(classic.rules(service, servers, endpoint) for service, servers in rows)


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
    """Write the parts, many at a time; where they fail to come, those that came are written all the same."""
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
                world.out(text)
    finally:
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
