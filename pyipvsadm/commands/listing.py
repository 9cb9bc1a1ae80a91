"""What the list and save commands read, and which view shows it.

Owns: in which order things are read and written, what is selected, when names are looked up. Must
never know: netlink, columns.
"""

from __future__ import annotations

from pyipvsadm import addresses, sorting
from pyipvsadm.commands.output import sanitize_for_terminal, write_buffered
from pyipvsadm.errors import Failed
from pyipvsadm.grammar.options import SELECTING
from pyipvsadm.model import CONNECTIONS_FILE, row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyipvsadm.commands.selection import Selection
    from pyipvsadm.environment import World
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend, Destination, Row, Service
    from pyipvsadm.rules.writer import Endpoint
    from pyipvsadm.views.connections import Connection

    Tables = Iterable[tuple[Service, list[Row]]]  # rows: their addresses at least


def show(request: Request, backend: Backend, world: World) -> None:
    """The list command."""
    if "watch" in request.ours:
        _watch(request, backend, world)
    else:
        write_buffered(world, listed(request, backend, world))


def listed(request: Request, backend: Backend, world: World) -> Iterable[str]:
    """What the list command writes, in parts."""
    wanted = selected(request, backend, world)
    if "json" in request.slots:
        return _json(request, backend, world, wanted)
    asked = world.environ.get("IPVSADM_PRETTY", "0") not in ("", "0")
    if "pretty" in request.slots or (asked and world.output_is_terminal()):
        return _pretty(request, backend, world, wanted)
    return sanitize_for_terminal(_classic(request, backend, world, wanted), world)


def _classic(
    request: Request, backend: Backend, world: World, wanted: Selection | None
) -> Iterator[str]:
    from pyipvsadm.views import classic  # noqa: PLC0415  # saving does without

    shown = request.slots
    if "connection" in shown:
        yield from _connections(_connection_lines(backend, wanted), world, shown)
    elif "timeout" in shown:
        yield classic.timeouts(backend.timeouts())
    elif "daemon" in shown:
        yield from classic.daemons(backend.daemons())
    else:
        if not request.services:
            yield classic.version(backend.info())
        yield from _listing(request, backend, world, wanted)


def _pretty(
    request: Request, backend: Backend, world: World, wanted: Selection | None
) -> Iterator[str]:
    """The listing for people."""
    from pyipvsadm.commands.names import resolve_unless_numeric  # noqa: PLC0415  # listings in numbers do without
    from pyipvsadm.views import grid, pretty  # noqa: PLC0415  # rich costs a start 50 ms

    shown = request.slots
    look = grid.look(world.environ, world.output_is_terminal(), world.size()[0])
    if "connection" in shown:
        found, endpoint = _found(
            _connection_lines(backend, wanted), world, numeric="numeric" in shown
        )
        lines = pretty.connections(found, endpoint, look, engine="persistent-conn" in shown)
    elif "timeout" in shown:
        lines = pretty.timeouts(backend.timeouts(), look)
    elif "daemon" in shown:
        lines = pretty.daemons(backend.daemons(), look)
    else:
        rows = list(table(request, backend, wanted))
        groups = [pretty.Group(*row) for row in rows]
        lines = [] if request.services else pretty.title(backend.info(), groups, look)
        lines += pretty.listing(groups, shown, resolve_unless_numeric(rows, request, world), look)
    yield grid.text(lines, look)


def _watch(request: Request, backend: Backend, world: World) -> None:
    """The listing again and again."""
    from pyipvsadm.commands import names, watch  # noqa: PLC0415
    from pyipvsadm.views import grid, live  # noqa: PLC0415

    shown = request.slots
    world.names = watch.Remembered(world.names)
    seconds = request.ours["watch"]
    seconds = seconds if isinstance(seconds, int) else watch.SECONDS
    terminal = world.output_is_terminal()

    def look(width: int) -> grid.Look:
        return grid.look(world.environ, terminal, width)

    def block() -> str:
        backend.refresh()
        text = "".join(listed(request, backend, world))
        if "json" not in shown:
            return text + "\f"
        return text if "connection" in shown else text.replace("\n", "") + "\n"  # a document a line

    def rows() -> list[tuple[Service, list[Destination]]]:
        backend.refresh()
        return list(table(request, backend, selected(request, backend, world)))

    if look(0).styled and "json" not in shown:
        state = live.Live(shown, str(request.ours.get("sort-by") or ""), seconds, look)
        watch.screen(
            state,
            rows,
            lambda found: names.resolve_unless_numeric(found, request, world),
            world,
            seconds,
        )
    else:
        watch.blocks(block, world, seconds)


def selected(request: Request, backend: Backend, world: World) -> Selection | None:
    """What is selected, None for all. Raises Usage."""
    of_services = "connection" in request.slots and request.services
    if SELECTING.isdisjoint(request.ours) and not of_services:
        return None
    from pyipvsadm.commands import selection  # noqa: PLC0415  # plain listings do not pay for it

    wanted = selection.read(request, world.names)
    if wanted.scheduler:
        wanted.check(backend.services())
    return wanted


def _services(request: Request, backend: Backend, counters: bool) -> list[Service]:
    """The services that a request lists, in its order. Refused when one that was named is not
    there.
    """
    if request.services:
        return list(map(backend.service, request.services))
    found = backend.services(counters=counters)
    return found if "nosort" in request.slots else sorting.services(found)


def table(
    request: Request, backend: Backend, wanted: Selection | None
) -> Iterable[tuple[Service, list[Destination]]]:
    """The services that a request lists, in its order, each read with its servers when its turn
    comes.

    Refused here when one that was named is not there.
    """
    rows = (
        (each, backend.destinations(each)) for each in _services(request, backend, counters=True)
    )
    return wanted.rows(rows) if wanted else rows


def _json(
    request: Request, backend: Backend, world: World, wanted: Selection | None
) -> Iterable[str]:
    """Whatever is listed, as JSON."""
    from pyipvsadm.views import json_document  # noqa: PLC0415  # costs more than a start

    shown = request.slots
    if "connection" in shown:
        from pyipvsadm.commands.names import attach_names  # noqa: PLC0415
        from pyipvsadm.views.connections import parse  # noqa: PLC0415

        found = map(parse, _connection_lines(backend, wanted))
        return (
            json_document.connection(each, names)
            for each, names in attach_names(found, world, "numeric" in shown)
        )
    if "timeout" in shown:
        return [json_document.timeouts(backend.timeouts())]
    if "daemon" in shown:
        return [json_document.daemons(backend.daemons())]
    rows = table(request, backend, wanted)
    names = None
    if "numeric" not in shown:
        from pyipvsadm.commands.names import collect_addresses, json_names, list_endpoints  # noqa: PLC0415

        rows = held = list(rows)
        names = json_names(
            world, world.names.host_names(sorted(collect_addresses(list_endpoints(held))))
        )
    return json_document.table(backend.info(), rows, names, "nosort" not in shown)


def _listing(
    request: Request, backend: Backend, world: World, wanted: Selection | None
) -> Iterable[str]:
    """Services and servers: all of them in the plain view in numbers from the kernel's own listing,
    where that will do.
    """
    from pyipvsadm.views import classic  # noqa: PLC0415

    shown = request.slots
    columns = classic.columns(shown)
    if wanted:
        return _listed(
            (
                (service, [row(each, columns) for each in servers])
                for service, servers in table(request, backend, wanted)
            ),
            world,
            shown,
        )
    if "numeric" in shown and not classic.view_of(shown) and not request.services:
        overview = backend.overview()
        if overview:
            from pyipvsadm.views import procfs  # noqa: PLC0415

            parts = procfs.listing(overview, "nosort" not in shown)
            if parts is not None:
                return [classic.title(shown), "".join(parts)]
    services = _services(request, backend, counters=bool(shown & {"stats", "rate"}))
    return _listed(zip(services, backend.rows(services, columns), strict=True), world, shown)


def _listed(tables: Tables, world: World, shown: set[str]) -> Iterator[str]:
    """The title, then each service with its servers."""
    from pyipvsadm.views import classic  # noqa: PLC0415

    endpoint: Endpoint = addresses.format_numeric
    if "numeric" not in shown:
        from pyipvsadm.commands.names import resolve_endpoints  # noqa: PLC0415

        tables = list(tables)
        endpoint = resolve_endpoints(tables, world)
    listing = classic.Listing(shown, endpoint)
    yield classic.title(shown)
    for service, rows in tables:
        yield listing.service(service, rows)


def _connection_lines(backend: Backend, wanted: Selection | None) -> Iterator[bytes]:
    """The lines of the connections that are selected."""
    lines = backend.connections()
    if next(lines, None) is None:
        raise Failed(f"unexpected input from {CONNECTIONS_FILE}")
    if wanted is None:
        return lines
    from pyipvsadm.views.connections import parse  # noqa: PLC0415

    return (line for line in lines if wanted.connection(parse(line)))


def _connections(lines: Iterator[bytes], world: World, shown: set[str]) -> Iterator[str]:
    from pyipvsadm.views import connections  # noqa: PLC0415

    engine = "persistent-conn" in shown
    yield connections.TITLE_ENGINE if engine else connections.TITLE
    if "numeric" in shown:
        yield from map(connections.Numbers(engine).text, lines)
        return
    found, endpoint = _found(lines, world, numeric=False)
    for each in found:
        yield connections.text(each, endpoint, engine)


def _found(
    lines: Iterator[bytes], world: World, numeric: bool
) -> tuple[list[Connection], Endpoint]:
    """All of these connections, and how to write their addresses."""
    from pyipvsadm.views import connections  # noqa: PLC0415

    found = list(map(connections.parse, lines))
    if numeric:
        return found, addresses.format_numeric
    from pyipvsadm.commands.names import format_by_name  # noqa: PLC0415

    ends = {end[:2] for each in found for end in (each.client, each.virtual, each.server)}
    return found, format_by_name(world, world.names.host_names(ends))
