"""Carry out -L: read the table, sort it, render it in the requested view.

Owns: the order in which the table is read and written, selection, when names are looked up. Must
never know: netlink, columns.
"""

from __future__ import annotations

from pyipvsadm import addresses, sorting
from pyipvsadm.commands.output import sanitize_for_terminal, write_buffered
from pyipvsadm.errors import OperationError
from pyipvsadm.grammar.options import LIST_FILTERS
from pyipvsadm.model import CONNECTIONS_FILE, to_row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyipvsadm.commands.selection import Selection
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend, Row, Server, Service
    from pyipvsadm.rules.writer import Endpoint
    from pyipvsadm.views.connections import Connection
    from pyipvsadm.views.shares import Shares

    Tables = Iterable[tuple[Service, list[Row]]]  # rows: their addresses at least


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
    asked = env.environ.get("IPVSADM_PRETTY", "0") not in ("", "0")
    if "pretty" in request.slots or (asked and env.is_output_terminal()):
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
            return
        yield from _render_listing(request, backend, env, wanted)


def _render_pretty(
    request: Request, backend: Backend, env: Environment, wanted: Selection | None
) -> Iterator[str]:
    """Yield the formatted tables of --pretty."""
    from pyipvsadm.commands.names import resolve_unless_numeric  # noqa: PLC0415  # listings in numbers do without
    from pyipvsadm.views import grid, pretty  # noqa: PLC0415  # rich costs a start 50 ms

    shown = request.slots
    look = grid.choose_style(env.environ, env.is_output_terminal(), env.get_size()[0])
    if "connection" in shown:
        found, endpoint = _parse_connections(
            _iter_connection_lines(backend, wanted), env, numeric="numeric" in shown
        )
        lines = pretty.render_connections(found, endpoint, look, engine="persistent-conn" in shown)
    elif "timeout" in shown:
        lines = pretty.render_timeouts(backend.read_timeouts(), look)
    elif "daemon" in shown:
        lines = pretty.render_daemons(backend.read_daemons(), look)
    else:
        rows = list(read_table(request, backend, wanted))
        groups = [pretty.ServiceGroup(*row) for row in rows]
        if "shares" in shown:
            find_shares = _make_share_finder(backend, env, wanted)
            for group in groups:
                group.shares = find_shares(group.service, group.servers)
        lines = [] if request.services else pretty.render_title(backend.read_info(), groups, look)
        lines += pretty.render_listing(
            groups, shown, resolve_unless_numeric(rows, request, env), look
        )
    yield grid.render_text(lines, look)


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
        return list(read_table(request, backend, resolve_selection(request, backend, env)))

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


def _read_services(request: Request, backend: Backend, counters: bool) -> list[Service]:
    """Return the services that a request lists, in its order. Raise RefusedError if a named one
    does not exist.
    """
    if request.services:
        return list(map(backend.find_service, request.services))
    found = backend.read_services(counters=counters)
    return found if "nosort" in request.slots else sorting.sort_services(found)


def read_table(
    request: Request, backend: Backend, wanted: Selection | None
) -> Iterable[tuple[Service, list[Server]]]:
    """Yield the services that a request lists, in its order, each with its servers, which are read
    when its turn comes.

    Raise RefusedError at once if a named service does not exist.
    """
    rows = (
        (each, backend.read_servers(each))
        for each in _read_services(request, backend, counters=True)
    )
    return wanted.filter_rows(rows) if wanted else rows


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
    rows = read_table(request, backend, wanted)
    names = None
    if "numeric" not in shown:
        from pyipvsadm.commands.names import collect_addresses, list_endpoints, make_json_resolver  # noqa: PLC0415

        rows = held = list(rows)
        names = make_json_resolver(
            env, env.names.find_host_names(sorted(collect_addresses(list_endpoints(held))))
        )
    find_shares = _make_share_finder(backend, env, wanted) if "shares" in shown else None
    return json_document.iter_table(
        backend.read_info(), rows, names, "nosort" not in shown, find_shares
    )


def _render_listing(
    request: Request, backend: Backend, env: Environment, wanted: Selection | None
) -> Iterable[str]:
    """Yield services and servers. The plain numeric view of all services comes from /proc/net/ip_vs
    if that shows all of it.
    """
    from pyipvsadm.views import classic  # noqa: PLC0415

    shown = request.slots
    columns = classic.list_columns(shown)
    if wanted:
        return _render_services(
            (
                (service, [to_row(each, columns) for each in servers])
                for service, servers in read_table(request, backend, wanted)
            ),
            env,
            shown,
        )
    if "numeric" in shown and not classic.view_of(shown) and not request.services:
        overview = backend.read_proc_table()
        if overview:
            from pyipvsadm.views import procfs  # noqa: PLC0415

            parts = procfs.render_listing(overview, "nosort" not in shown)
            if parts is not None:
                return [classic.format_title(shown), "".join(parts)]
    services = _read_services(request, backend, counters=bool(shown & {"stats", "rate"}))
    return _render_services(zip(services, backend.iter_rows(services, columns)), env, shown)


def _render_shares(
    request: Request, backend: Backend, env: Environment, wanted: Selection | None
) -> Iterator[str]:
    """Yield services and servers with the part of new clients that each server gets."""
    from pyipvsadm.commands.names import resolve_unless_numeric  # noqa: PLC0415
    from pyipvsadm.views import shares  # noqa: PLC0415  # few listings ask for it

    find_shares = _make_share_finder(backend, env, wanted)
    rows = list(read_table(request, backend, wanted))
    endpoint = resolve_unless_numeric(rows, request, env)
    yield shares.TITLE
    for service, servers in rows:
        listed = servers if "nosort" in request.slots else sorting.sort_servers(servers)
        yield shares.format_service(service, listed, find_shares(service, servers), endpoint)


def _make_share_finder(
    backend: Backend, env: Environment, wanted: Selection | None
) -> Callable[[Service, list[Server]], Shares]:
    """Return what finds the shares of a service; of the servers that were read, if no filter has
    left some out.
    """
    from pyipvsadm.commands.predict import read_build  # noqa: PLC0415
    from pyipvsadm.views.shares import Shares  # noqa: PLC0415

    build = read_build(backend, env)
    return lambda service, servers: Shares(
        service, backend.read_servers(service) if wanted else servers, build
    )


def _render_services(tables: Tables, env: Environment, shown: set[str]) -> Iterator[str]:
    """Yield the title, then each service with its servers."""
    from pyipvsadm.views import classic  # noqa: PLC0415

    endpoint: Endpoint = addresses.format_numeric
    if "numeric" not in shown:
        from pyipvsadm.commands.names import resolve_endpoints  # noqa: PLC0415

        tables = list(tables)
        endpoint = resolve_endpoints(tables, env)
    listing = classic.Listing(shown, endpoint)
    yield classic.format_title(shown)
    for service, rows in tables:
        yield listing.format_service(service, rows)


def _iter_connection_lines(backend: Backend, wanted: Selection | None) -> Iterator[bytes]:
    """Yield the lines of the selected connections."""
    lines = backend.iter_connections()
    if next(lines, None) is None:
        raise OperationError(f"unexpected input from {CONNECTIONS_FILE}")
    if wanted is None:
        return lines
    from pyipvsadm.views.connections import parse_connection  # noqa: PLC0415

    return (line for line in lines if wanted.match_connection(parse_connection(line)))


def _render_connections(lines: Iterator[bytes], env: Environment, shown: set[str]) -> Iterator[str]:
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
    lines: Iterator[bytes], env: Environment, numeric: bool
) -> tuple[list[Connection], Endpoint]:
    """Return all of these connections, and the formatter of their addresses."""
    from pyipvsadm.views import connections  # noqa: PLC0415

    found = list(map(connections.parse_connection, lines))
    if numeric:
        return found, addresses.format_numeric
    from pyipvsadm.commands.names import format_by_name  # noqa: PLC0415

    ends = {end[:2] for each in found for end in (each.client, each.virtual, each.server)}
    return found, format_by_name(env, env.names.find_host_names(ends))
