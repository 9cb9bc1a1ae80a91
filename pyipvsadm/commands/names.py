"""Look up the names of a listing: many at a time, each once, within the time limit.

Owns: which addresses of a table or of connections are looked up, and when. Must never know:
columns, how names are resolved.
"""

from __future__ import annotations

from pyipvsadm import addresses
from pyipvsadm.addresses import format_address, format_endpoint
from pyipvsadm.model import AF_INET, AF_INET6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Row, Server, Service
    from pyipvsadm.rules.writer import Endpoint
    from pyipvsadm.views.connections import Connection
    from pyipvsadm.views.json_document import Entry
    from pyipvsadm.views.json_document import Names as HostNames

    # Services with rows of their servers: the addresses at least.
    Tables = Iterable[tuple[Service, list[Row]]]


LOOKUP_BATCH = 1 << 10  # connections whose names are looked up at once


def attach_names(
    found: Iterable[Connection], env: Environment, numeric: bool
) -> Iterator[tuple[Connection, HostNames | None]]:
    """Yield connections with the formatter that knows their names, a block at a time, so that
    memory does not grow with the listing.
    """
    if numeric:
        yield from ((each, None) for each in found)
        return
    import time  # noqa: PLC0415  # numeric listings need no clock

    deadline = time.monotonic() + env.names.seconds
    hosts: dict[tuple[int, bytes], str] = {}
    asked: set[tuple[int, bytes]] = set()
    names = make_json_resolver(env, hosts)
    rest = iter(found)
    while block := [each for _, each in zip(range(LOOKUP_BATCH), rest)]:
        left = deadline - time.monotonic()
        new = {
            end[:2] for each in block for end in (each.client, each.virtual, each.server)
        } - asked
        if left > 0:
            asked |= new
            hosts.update(env.names.find_host_names(sorted(new), left))
        yield from ((each, names) for each in block)


def resolve_endpoints(tables: Tables, env: Environment, read_back: bool = False) -> Endpoint:
    """Return a formatter of addresses and ports by name. Each address is looked up once, and all of
    them before the first is used.
    """
    import time  # noqa: PLC0415  # listings in numbers need no clock

    deadline = time.monotonic() + env.names.seconds
    names = env.names.find_host_names(sorted(collect_addresses(tables)))
    if read_back:
        names = env.names.filter_reversible(names, max(0.0, deadline - time.monotonic()))
    return format_by_name(env, names)


def resolve_unless_numeric(
    found: Iterable[tuple[Service, list[Server]] | Entry], request: Request, env: Environment
) -> Endpoint:
    """Return the formatter of addresses and ports for a listing of these services."""
    return (
        addresses.format_numeric
        if "numeric" in request.slots
        else resolve_endpoints(list_endpoints(found), env)
    )


def list_endpoints(found: Iterable[tuple[Service, list[Server]] | Entry]) -> Tables:
    """Return the services with their servers' addresses, to be looked up."""
    return ((row[0], [(each.addr,) for each in row[1]]) for row in found)


def collect_addresses(tables: Tables) -> set[tuple[int, bytes]]:
    """Return all addresses of services and servers, as (family, bytes)."""
    ends = set()
    for service, rows in tables:
        if not service.fwmark:
            ends.add((service.af, service.addr))
        ends |= {(AF_INET if len(each[0]) == 4 else AF_INET6, each[0]) for each in rows}
    return ends


def make_json_resolver(env: Environment, hosts: dict[tuple[int, bytes], str]) -> HostNames:
    """Return the function that adds names to JSON: from these hosts' names, and from ports, each
    looked up once.
    """
    ports: dict[tuple[int, int], str | None] = {}

    def names(family: int, addr: bytes, port: int, protocol: int) -> tuple[str | None, str | None]:
        if (port, protocol) not in ports:
            ports[port, protocol] = env.names.find_port_name(port, protocol)
        return hosts.get((family, addr)), ports[port, protocol]

    return names


def format_by_name(env: Environment, hosts: dict[tuple[int, bytes], str]) -> Endpoint:
    """Return how to write endpoints with these hosts' names, and each port's, looked up once."""
    names = make_json_resolver(env, hosts)

    def endpoint(family: int, addr: bytes, port: int, protocol: int) -> str:
        host, service = names(family, addr, port, protocol)
        return format_endpoint(family, host or format_address(family, addr), service or str(port))

    return endpoint
