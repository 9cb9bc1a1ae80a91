"""Name what the doctor could not check on a director, and where it can be checked.

Owns: the sentences on what cannot be seen from here: real servers, packet filters, what ICMP reaches.
Must never know: how facts are read, which findings there are.
"""

from __future__ import annotations

from pyipvsadm.doctor.director import (
    HEADERS,
    compute_overhead,
    find_failover_agent,
    find_routed_servers,
    group_by_vip,
    is_away,
)
from pyipvsadm.doctor.facts import DirectorTable, get_host, get_vip, list_servers
from pyipvsadm.doctor.fixes import summarize_names
from pyipvsadm.grammar.options import TUNNEL_TYPES
from pyipvsadm.model import AF_INET6, MASQ, ROUTE, TUNNEL
from pyipvsadm.text import pluralize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyipvsadm.doctor.facts import Facts


def list_not_checked(table: DirectorTable, facts: Facts) -> Iterator[str]:
    """Return the facts that may matter and were not evaluated."""
    for name, number in (facts.filters or {}).items():
        if number:
            yield f"{name} has {pluralize(number, 'rule')}; pyipvsadm does not evaluate firewall rules."
    holders = facts.map_holders()
    yield from _list_unseen(table, facts)
    away = [vip for vip in group_by_vip(table) if is_away(vip, facts, holders)]
    if away and (why := find_failover_agent(table, facts)):
        yield (
            f"{summarize_names(away)} {'are' if len(away) > 1 else 'is'} not this host's: right while the other director is"
            f" active ({why} runs here), wrong otherwise."
        )
    if facts.unprobed:
        yield f"{pluralize(facts.unprobed, 'server')} could not be probed in time."
    narrow: dict[tuple[str, int, int, int], set[str]] = {}
    for service, server, _ in find_routed_servers(table, facts, TUNNEL):
        mtu, link = facts.get_path_mtu(get_host(server)), holders.get(get_vip(service))
        if (
            mtu is not None
            and link is not None
            and not link.answers_no_arp
            and link.mtu > mtu - compute_overhead(server)
        ):
            narrow.setdefault(
                (link.name, link.mtu, mtu - compute_overhead(server), service.af), set()
            ).add(get_host(server))
    for (name, size, room, family), hosts in narrow.items():
        yield (
            f"Packets of {size} bytes, which {name} takes, do not fit into the tunnel to {summarize_names(hosts)} ({room}):"
            " clients are told so by ICMP, and whether that reaches them is not known here. Servers that ask for smaller"
            f" packets do without: ip route change default ... advmss {room - HEADERS[family] - 20}."
        )
    wires = set()
    for service, server, route in find_routed_servers(table, facts, MASQ):
        link = holders.get(get_vip(service))
        if server.af == AF_INET6 and link is not None and link.name == route.link:
            wires.add(link.name)
    for name in sorted(wires):
        yield (
            f"Clients and IPv6 NAT servers are both reached through {name}: this host sends redirects, and whether the "
            "servers heed them (net.ipv6.conf.*.accept_redirects) is not known here."
        )


def _list_unseen(table: DirectorTable, facts: Facts) -> Iterator[str]:
    """Return the real servers, which cannot be examined from here, with the command that examines
    one.
    """
    vips = group_by_vip(table)
    own = [each for each in facts.addresses if each.text not in vips]
    groups: dict[tuple[str, str], dict[str, None]] = {}  # (options, director) -> virtual addresses
    hosts: dict[tuple[str, str, str], set[str]] = {}
    for service, server in list_servers(table, MASQ, ROUTE, TUNNEL):
        host = get_host(server)
        route = facts.routes.get(host)
        if route is None or route.kind == "local":
            continue
        source = route.source
        if source in vips or not source:
            source = next(
                (each.text for each in own if each.link == route.link and each.contains(host)), ""
            )
        options = {MASQ: " -m", ROUTE: "", TUNNEL: " -i"}[server.forward]
        if server.forward == TUNNEL and server.tun_type:
            options += f" --tun-type {TUNNEL_TYPES[server.tun_type]}"
        director = f" --director {source}" if source else ""
        vip = get_vip(service) or "VIP"
        groups.setdefault((options, director), {})[vip] = None
        hosts.setdefault((options, director, vip), set()).add(host)
    for (options, director), addresses in groups.items():
        first, *more = addresses
        named = set().union(*(hosts[options, director, vip] for vip in addresses))
        again = f"; then the same for {summarize_names(more)}" if more else ""
        yield (
            f"The real {'servers' if len(named) > 1 else 'server'} {summarize_names(named)}. On each, run{again}:\n"
            f"ipvsadm --doctor --real-server-for {first}{options}{director}"
        )
