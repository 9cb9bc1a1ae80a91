"""Carry out -L: read the table, sort it, render it in the requested view.

Owns: the order in which the table is read and written, selection, when names are looked up. Must
never know: netlink, columns.

A listing takes three steps: read the services, and the servers of each, a block of services at a
time; sort; render. Views render in the order in which rows arrive. Only views/procfs.py sorts, because on that
path the kernel's text is rendered without ever becoming records.
"""

from __future__ import annotations

from pyipvsadm import addresses, sorting
from pyipvsadm.commands.output import (
    is_pretty,
    sanitize_for_terminal,
    show_connections_read,
    write_buffered,
)
from pyipvsadm.errors import OperationError
from pyipvsadm.grammar.options import LIST_FILTERS
from pyipvsadm.model import CONNECTIONS_FILE, iter_blocks, to_row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from pyipvsadm.commands.selection import Selection
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend, Row, Server, Service
    from pyipvsadm.rules.writer import Endpoint
    from pyipvsadm.views.connections import Connection
    from pyipvsadm.views.grid import Line
    from pyipvsadm.views.json_document import Entry

    Item = TypeVar("Item")


def run_list(request: Request, backend: Backend, env: Environment) -> None:
    """Carry out the list command."""
    if "metrics" in request.ours:
        from pyipvsadm.commands.metrics import run_metrics  # noqa: PLC0415  # only what is asked for is imported

        selection = resolve_selection(request, backend, env)
        run_metrics(request, backend, env, read_table(request, backend, selection))
    elif "status" in request.ours:
        from pyipvsadm.commands.status import run_status  # noqa: PLC0415

        run_status(request, backend, env)
    elif "by" in request.ours:
        from pyipvsadm.commands.connection_groups import run_groups  # noqa: PLC0415

        selection = resolve_selection(request, backend, env)
        run_groups(request, env, _iter_connection_lines(backend, selection))
    elif "watch" in request.ours:
        _run_watch(request, backend, env)
    else:
        write_buffered(env, render(request, backend, env))


def render(request: Request, backend: Backend, env: Environment) -> Iterable[str]:
    """Yield the text of a listing, in parts."""
    wanted = resolve_selection(request, backend, env)
    if "json" in request.slots:
        return _render_json(request, backend, env, wanted)
    if is_pretty(request, env):
        return _render_pretty(request, backend, env, wanted)
    return sanitize_for_terminal(_render_classic(request, backend, env, wanted), env)


def _render_classic(
    request: Request, backend: Backend, env: Environment, wanted: Selection | None
) -> Iterator[str]:
    from pyipvsadm.views import classic  # noqa: PLC0415  # saving does without

    shown = request.slots
    if "connection" in shown:
        yield from _render_connections(_iter_connection_lines(backend, wanted), env, shown)
    elif "timeout" in shown:
        yield classic.format_timeouts(backend.read_timeouts())
    elif "daemon" in shown:
        yield from classic.format_daemons(backend.read_daemons())
    else:
        if not request.services:
            yield classic.format_version(backend.read_info())
        if "shares" in shown:
            yield from _render_shares(request, backend, env, wanted)
        elif (text := _render_proc_table(request, backend, wanted)) is not None:
            yield classic.format_title(shown)
            yield text
        else:
            yield from _render_rows(request, backend, env, wanted)


def _render_pretty(
    request: Request, backend: Backend, env: Environment, wanted: Selection | None
) -> Iterator[str]:
    """Yield the formatted tables of --pretty."""
    from pyipvsadm.commands.names import resolve_unless_numeric  # noqa: PLC0415  # listings in numbers do without
    from pyipvsadm.views import grid, pretty  # noqa: PLC0415  # rich costs a start 50 ms

    shown = request.slots
    lines: Iterable[Line]
    look = grid.choose_style(
        env.environ, env.is_output_terminal(), env.get_size()[0], env.always_has_colours
    )
    if "connection" in shown:
        read = show_connections_read(_iter_connection_lines(backend, wanted), env)
        found, endpoint = _parse_connections(read, env, numeric="numeric" in shown)
        lines = pretty.render_connections(found, endpoint, look, engine="persistent-conn" in shown)
    elif "timeout" in shown:
        lines = pretty.render_timeouts(backend.read_timeouts(), look)
    elif "daemon" in shown:
        lines = pretty.render_daemons(backend.read_daemons(), look)
    else:
        entries = list(_read_entries(request, backend, env, wanted))
        groups = [pretty.ServiceGroup(*entry) for entry in entries]
        endpoint = resolve_unless_numeric(entries, request, env)
        if not request.services:
            title = pretty.render_title(backend.read_info(), groups, look)
            yield grid.render_text(title, look)
        lines = pretty.render_listing(groups, shown, endpoint, look)
    yield from grid.iter_text(lines, look)


def _run_watch(request: Request, backend: Backend, env: Environment) -> None:
    """Show the listing repeatedly (--watch)."""
    from pyipvsadm.commands import names, watch  # noqa: PLC0415
    from pyipvsadm.views import grid, live  # noqa: PLC0415

    shown = request.slots
    env.names = watch.CachingResolver(env.names)
    seconds = request.ours["watch"]
    seconds = seconds if isinstance(seconds, int) else watch.DEFAULT_INTERVAL
    terminal = env.is_output_terminal()

    def look(width: int) -> grid.TerminalStyle:
        return grid.choose_style(env.environ, terminal, width)

    def block() -> str:
        backend.refresh()
        text = "".join(render(request, backend, env))
        if "json" not in shown:
            return text + "\f"
        return text if "connection" in shown else text.replace("\n", "") + "\n"  # a document a line

    def rows() -> list[tuple[Service, list[Server]]]:
        backend.refresh()
        selection = resolve_selection(request, backend, env)
        return [
            (service, servers)
            for service, servers, _ in _read_entries(request, backend, env, selection)
        ]

    if look(0).styled and "json" not in shown:
        state = live.Live(shown, str(request.ours.get("sort-by") or ""), seconds, look)
        watch.watch_terminal(
            state,
            rows,
            lambda found: names.resolve_unless_numeric(found, request, env),
            env,
            seconds,
        )
    else:
        watch.watch_pipe(block, env, seconds)


def resolve_selection(request: Request, backend: Backend, env: Environment) -> Selection | None:
    """Return the filters of a request, None if it has none. Raise UsageError for filters that
    cannot match.
    """
    of_services = "connection" in request.slots and request.services
    if LIST_FILTERS.isdisjoint(request.ours) and not of_services:
        return None
    from pyipvsadm.commands import selection  # noqa: PLC0415  # plain listings do not pay for it

    wanted = selection.parse_selection(request, env.names)
    if wanted.scheduler:
        wanted.check_known(backend.read_services())
    return wanted


def _read_services(request: Request, backend: Backend, counters: bool = True) -> list[Service]:
    """Return the services that a request lists, in its order. Raise RefusedError if a named one
    does not exist.
    """
    if request.services:
        return list(map(backend.find_service, request.services))
    return _choose_order(request, sorting.sort_services)(backend.read_services(counters=counters))


def read_table(
    request: Request, backend: Backend, wanted: Selection | None
) -> Iterable[tuple[Service, list[Server]]]:
    """Yield the services that a request lists, in its order, each with its servers in the order of
    the table, which are read when its turn comes.

    Raise RefusedError at once if a named service does not exist.
    """
    rows = ((each, backend.read_servers(each)) for each in _read_services(request, backend))
    return wanted.filter_rows(rows) if wanted else rows


def _choose_order(
    request: Request, sort: Callable[[list[Item]], list[Item]]
) -> Callable[[list[Item]], list[Item]]:
    """Return the function that sorts what was read: for --nosort, it keeps the order."""
    return sort if "nosort" not in request.slots else lambda items: items


def _read_entries(
    request: Request, backend: Backend, env: Environment, wanted: Selection | None
) -> Iterable[Entry]:
    """Read and sort: yield services with their servers and, for --shares, their shares, each when
    its turn comes. Shares depend on all servers and their order in the table: they come first.
    """
    rows = read_table(request, backend, wanted)
    sort = _choose_order(request, sorting.sort_servers)
    if "shares" not in request.slots:
        return ((service, sort(servers), None) for service, servers in rows)
    from pyipvsadm.commands.predict import read_build  # noqa: PLC0415  # few listings ask for it
    from pyipvsadm.views.shares import Shares  # noqa: PLC0415

    build = read_build(backend, env)
    return (
        (
            service,
            sort(servers),
            Shares(service, backend.read_servers(service) if wanted else servers, build),
        )
        for service, servers in rows
    )


def _render_json(
    request: Request, backend: Backend, env: Environment, wanted: Selection | None
) -> Iterable[str]:
    """Yield the listing as JSON."""
    from pyipvsadm.views import json_document  # noqa: PLC0415  # costs more than a start

    shown = request.slots
    if "connection" in shown:
        from pyipvsadm.commands.names import attach_names  # noqa: PLC0415
        from pyipvsadm.views.connections import parse_connection  # noqa: PLC0415

        found = map(parse_connection, _iter_connection_lines(backend, wanted))
        return (
            json_document.make_connection(each, names)
            for each, names in attach_names(found, env, "numeric" in shown)
        )
    if "timeout" in shown:
        return [json_document.make_timeouts(backend.read_timeouts())]
    if "daemon" in shown:
        return [json_document.make_daemons(backend.read_daemons())]
    entries = _read_entries(request, backend, env, wanted)
    names = None
    if "numeric" not in shown:
        from pyipvsadm.commands.names import collect_addresses, list_endpoints, make_json_resolver  # noqa: PLC0415

        entries = held = list(entries)
        names = make_json_resolver(
            env, env.names.find_host_names(sorted(collect_addresses(list_endpoints(held))))
        )
    return json_document.iter_table(backend.read_info(), entries, names)


def _render_proc_table(request: Request, backend: Backend, wanted: Selection | None) -> str | None:
    """Return the services and servers of the plain numeric view, from /proc/net/ip_vs; None if
    another view is asked for, or the file does not show all of it.
    """
    from pyipvsadm.views import classic  # noqa: PLC0415

    shown = request.slots
    if wanted or request.services or "numeric" not in shown or classic.view_of(shown):
        return None
    overview = backend.read_proc_table()
    if not overview:
        return None
    from pyipvsadm.views import procfs  # noqa: PLC0415

    parts = procfs.render_listing(overview, "nosort" not in shown)
    return None if parts is None else "".join(parts)


def _render_rows(
    request: Request, backend: Backend, env: Environment, wanted: Selection | None
) -> Iterator[str]:
    """Yield the title, then each service with its servers."""
    from pyipvsadm.views import classic  # noqa: PLC0415

    shown = request.slots
    columns = classic.list_columns(shown)
    tables: Iterable[tuple[Service, list[Row]]]
    if wanted:
        tables = (
            (service, [to_row(each, columns) for each in servers])
            for service, servers in read_table(request, backend, wanted)
        )
    else:
        services = _read_services(request, backend, counters=bool(shown & {"stats", "rate"}))
        tables = zip(services, backend.iter_rows(services, columns))
    sort = _choose_order(request, sorting.sort_rows)
    tables = ((service, sort(rows)) for service, rows in tables)
    endpoint: Endpoint = addresses.format_numeric
    if "numeric" not in shown:
        from pyipvsadm.commands.names import resolve_endpoints  # noqa: PLC0415

        tables = list(tables)
        endpoint = resolve_endpoints(tables, env)
    listing = classic.Listing(shown, endpoint)
    yield classic.format_title(shown)
    yield from map(listing.format_tables, iter_blocks(tables))


def _render_shares(
    request: Request, backend: Backend, env: Environment, wanted: Selection | None
) -> Iterator[str]:
    """Yield services and servers with the part of new clients that each server gets."""
    from pyipvsadm.commands.names import resolve_unless_numeric  # noqa: PLC0415
    from pyipvsadm.views import shares  # noqa: PLC0415  # few listings ask for it

    entries = _read_entries(request, backend, env, wanted)
    if "numeric" not in request.slots:
        entries = list(entries)
    endpoint = resolve_unless_numeric(entries, request, env)
    yield shares.TITLE
    for service, servers, found in entries:
        assert found is not None
        yield shares.format_service(service, servers, found, endpoint)


def _iter_connection_lines(backend: Backend, wanted: Selection | None) -> Iterator[bytes]:
    """Yield the lines of the selected connections."""
    lines = backend.iter_connections()
    if next(lines, None) is None:
        raise OperationError(f"unexpected input from {CONNECTIONS_FILE}")
    if wanted is None:
        return lines
    from pyipvsadm.views.connections import parse_connection  # noqa: PLC0415

    return (line for line in lines if wanted.match_connection(parse_connection(line)))


def _render_connections(lines: Iterable[bytes], env: Environment, shown: set[str]) -> Iterator[str]:
    from pyipvsadm.views import connections  # noqa: PLC0415

    engine = "persistent-conn" in shown
    yield connections.TITLE_ENGINE if engine else connections.TITLE
    if "numeric" in shown:
        yield from connections.NumericFormatter(engine).format_lines(lines)
        return
    found, endpoint = _parse_connections(lines, env, numeric=False)
    for each in found:
        yield connections.format_connection(each, endpoint, engine)


def _parse_connections(
    lines: Iterable[bytes], env: Environment, numeric: bool
) -> tuple[list[Connection], Endpoint]:
    """Return all of these connections, and the formatter of their addresses."""
    from pyipvsadm.views import connections  # noqa: PLC0415

    found = list(map(connections.parse_connection, lines))
    if numeric:
        return found, addresses.format_numeric
    from pyipvsadm.commands.names import format_by_name  # noqa: PLC0415

    ends = {end[:2] for each in found for end in (each.client, each.virtual, each.server)}
    return found, format_by_name(env, env.names.find_host_names(ends))
