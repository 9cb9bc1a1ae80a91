"""Check a director: its table and the facts of its host in, findings out. Pure.

Owns: the checks, one small function for each, and CHECKS, their order. Must never know: where facts
come from, how findings are shown. A check claims nothing about facts that were not read: an absent
fact gives no finding. The module is longer than others because there are many checks, all of one
form.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from ipaddress import ip_address, ip_network

from pyipvsadm.doctor import kernel_table, services
from pyipvsadm.doctor.answers import check_handshakes, check_probes
from pyipvsadm.doctor.codes import get_severity
from pyipvsadm.doctor.facts import (
    Address,
    DirectorTable,
    format_conf_path,
    format_pair,
    format_service,
    get_family,
    get_host,
    get_vip,
    list_servers,
)
from pyipvsadm.doctor.fixes import (
    format_family,
    format_host_prefix,
    format_server_command,
    format_shell_command,
    format_sysctl,
    summarize_names,
)
from pyipvsadm.errors import Finding
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    BACKUP,
    GRE,
    GUE,
    MASQ,
    MASTER,
    ROLES,
    ROUTE,
    TUN_CSUM,
    TUN_REMCSUM,
    TUNNEL,
)
from pyipvsadm.text import pluralize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pyipvsadm.doctor.facts import Facts, Link, Route
    from pyipvsadm.model import Server, Service

    Check = Callable[[DirectorTable, Facts], Iterator[Finding]]

HEADERS = {AF_INET: 20, AF_INET6: 40}
# bytes that every link carries (RFC 791, RFC 8200); ip_vs_xmit.c holds to them
LEAST = {AF_INET: 68, AF_INET6: 1280}
UNREACHABLE = ("unreachable", "blackhole", "prohibit")


def find_routed_servers(
    table: DirectorTable, facts: Facts, *methods: int
) -> Iterator[tuple[Service, Server, Route]]:
    """Return the servers with these forwarding methods that are reached through an interface."""
    for service, server in list_servers(table, *methods):
        route = facts.routes.get(get_host(server))
        if route is not None and route.kind == "unicast":
            yield service, server, route


# --- the way in


def group_by_vip(table: DirectorTable) -> dict[str, list[Service]]:
    """Return the services of each virtual address, by its text."""
    found: dict[str, list[Service]] = {}
    for service, _ in table.services:
        if vip := get_vip(service):
            found.setdefault(vip, []).append(service)
    return found


def is_away(vip: str, facts: Facts, holders: Mapping[str, Link]) -> bool:
    """Return True if the address is known not to belong to this host."""
    route = facts.routes.get(vip)
    return vip not in holders and route is not None and route.kind != "local"


def find_failover_agent(table: DirectorTable, facts: Facts) -> str:
    """Return the program that moves addresses at a failover, "" if there is none."""
    if BACKUP in table.daemons:
        return "a backup sync daemon"
    return "keepalived" if any(name.startswith("keepalived") for name in facts.programs) else ""


def check_vips(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Check that each virtual address belongs to this host, or comes with a failover."""
    holders = facts.map_holders()
    missing: dict[str, str] = {}  # virtual address -> the interface to have it
    wires = [each.name for each in facts.links.values() if each.up and not each.answers_no_arp]
    standing_by = find_failover_agent(table, facts)
    for vip in group_by_vip(table):
        link = holders.get(vip)
        # an address of an interface that is down stays this host's (IPv4), and may be asked for by
        # another one
        if link is not None and not link.answers_no_arp and not (link.up and link.carrier):
            detail = f"{vip} is on {link.name}, which is {'up, but has no carrier' if link.up else 'down'}."
            fixes = (
                ()
                if link.up
                else (format_shell_command("ip link set dev {link} up", link=link.name),)
            )
            yield Finding("vip-interface-down", vip, detail, fixes)
        elif is_away(vip, facts, holders) and not standing_by:
            missing[vip] = facts.routes[vip].link or (wires[0] if wires else "DEVICE")
    followers = _list_followups(table, facts, missing) if missing else {}
    for vip, where in missing.items():
        detail = f"{vip} is on no interface, and no route of type local has it."
        add = format_shell_command(
            "ip address add {vip} dev {link}", vip=format_host_prefix(vip), link=where
        )
        yield Finding("vip-missing", vip, detail, (*followers.get(where, ()), add))


def _list_followups(
    table: DirectorTable, facts: Facts, missing: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Return, by interface, what else is to be set once it has the addresses that are missing: no
    other finding follows then.
    """
    added = [Address(vip, 128 if ":" in vip else 32, link) for vip, link in missing.items()]
    after = replace(facts, addresses=[*facts.addresses, *added])
    found: dict[str, tuple[str, ...]] = {}
    for check in (reverse_path, check_redirects):
        before = [each.text for each in check(table, facts)]
        for each in check(table, after):
            if each.text not in before:
                found[each.text] = found.get(each.text, ()) + each.fixes
    return found


def check_marks(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Check that packets with a mark reach this host, and that a rule can have set the mark."""
    families = {each.family for each in facts.addresses if _is_global(each.text)}
    for service, _ in table.services:
        if not service.fwmark:
            continue
        name = format_service(service)
        ruled = [each for each in facts.rules if each.family == service.af and each.mark]
        ruled = [each for each in ruled if service.fwmark & each.mask == each.mark & each.mask]
        local = (
            "ip -6 route add local default dev lo table"
            if service.af == AF_INET6
            else "ip route add local default dev lo table"
        )
        if any(rule.brings for rule in ruled):
            pass
        elif empty := [rule for rule in ruled if rule.empty]:
            detail = (
                f"A rule sends mark {service.fwmark} to table {empty[0].table}, which is empty."
            )
            yield Finding("mark-table-empty", name, detail, (f"{local} {empty[0].table}",))
        elif service.af not in families and facts.links:
            family = format_family(service.af)
            detail = (
                f"No {family} address but loopback's is here, and no rule leads mark {service.fwmark}"
                " to a route of type local."
            )
            rule = f"ip{' -6' if service.af == AF_INET6 else ''} rule add fwmark {service.fwmark} lookup 100"
            yield Finding("mark-not-local", name, detail, (rule, f"{local} 100"))
        if facts.filters is not None and not any(facts.filters.values()):
            table6 = "ip6tables" if service.af == AF_INET6 else "iptables"
            fix = f"{table6} -t mangle -A PREROUTING -d VIP -p tcp --dport PORT -j MARK --set-mark {service.fwmark}"
            yield Finding("mark-unset", name, "No iptables or nftables rule exists here.", (fix,))


def _is_global(address: str) -> bool:
    return not address.startswith(("127.", "fe80:")) and address != "::1"


def reverse_path(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Find a strict rp_filter on interfaces where clients come in that would be answered through
    another one (fib_frontend.c: fib_validate_source).
    """
    holders = facts.map_holders()
    for vip in group_by_vip(table):
        link = holders.get(vip)
        back = facts.back.get(vip)
        if (
            link is None
            or link.answers_no_arp
            or back is None
            or back.kind != "unicast"
            or back.link == link.name
        ):
            continue
        if facts.get_largest(link.name, "rp_filter") == 1 and get_family(vip) == AF_INET:
            detail = (
                f"{vip} is on {link.name}, whose rp_filter is 1 (the larger of all's and its own); "
                f"the way back to clients outside leads through {back.link}."
            )
            yield Finding(
                "rp-filter",
                link.name,
                detail,
                (format_sysctl(format_conf_path(link.name, "rp_filter"), 2),),
            )


# --- the way to the servers


def check_routes(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Find servers without a route, and with direct routing those behind a gateway."""
    seen = set()
    networks = facts.list_networks()
    behind: list[tuple[Service, Server, Route]] = []
    for service, server in list_servers(table):
        host = get_host(server)
        route = facts.routes.get(host)
        if route is None:
            continue
        if route.kind in UNREACHABLE and host not in seen:
            seen.add(host)
            yield Finding(
                "server-no-route",
                host,
                f"The kernel's route to {host}: {route.kind}.",
                (f"ip route add {format_host_prefix(host)} dev DEVICE",),
            )
        elif server.forward == ROUTE and route.kind == "unicast" and route.gateway:
            behind.append((service, server, route))
    # A server that no network of ours holds is to be reached through a tunnel: what that would lack
    # comes first.
    tunnelled = [(service, _make_tunnelled(server)) for service, server, _ in behind]
    lacking: dict[str, tuple[str, ...]] = {}
    for finding in check_tunnels(
        DirectorTable([(service, [server]) for service, server in tunnelled]), facts
    ):
        lacking[finding.text] = lacking.get(finding.text, ()) + finding.fixes
    for (service, server, route), (_, other) in zip(behind, tunnelled):
        host, name = get_host(server), format_pair(service, server)
        beside = [link for link, network in networks if ip_address(host) in network]
        if beside:
            fixes: tuple[str, ...] = (
                format_shell_command(
                    "ip route replace {host} dev {link}",
                    host=format_host_prefix(host),
                    link=beside[0],
                ),
            )
        else:
            fixes = (*lacking.get(name, ()), format_server_command("-e", service, other))
        yield Finding(
            "dr-behind-gateway",
            name,
            f"The way to it leads through {route.gateway} on {route.link}.",
            fixes,
        )


def _make_tunnelled(server: Server) -> Server:
    """Return the same server by a tunnel."""
    other = copy.copy(server)
    other.forward = TUNNEL
    return other


def check_forwarding(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Check that answers of NAT servers are forwarded by the interface they come in through
    (IN_DEV_FORWARD).

    IPv6 goes by the value of `all`, since Linux 6.17 also by the interface's force_forwarding
    (ip6_output.c: ip6_forward).
    """
    links: dict[tuple[int, str], set[str]] = {}
    for _, server, route in find_routed_servers(table, facts, MASQ):
        forced = server.af == AF_INET6 and facts.get_conf(
            route.link, "force_forwarding", family=AF_INET6
        )
        if not forced:
            where = route.link if server.af == AF_INET else "all"
            links.setdefault((server.af, where), set()).add(get_host(server))
    for (family, link), hosts in links.items():
        if facts.get_conf(link, "forwarding", family=family) == 0:
            path = format_conf_path(link, "forwarding", family)
            verb = "answer" if len(hosts) > 1 else "answers"
            servers = (
                f"{pluralize(len(hosts), 'NAT server')} {verb} there: {summarize_names(hosts)}"
            )
            detail = f"{path.replace('/', '.')} is 0; {servers}."
            whole = family == AF_INET and facts.sysctls.get("net/ipv4/ip_forward") == "0"
            yield Finding(
                "nat-forwarding-off",
                link,
                detail,
                (format_sysctl("net/ipv4/ip_forward" if whole else path, 1),),
            )


def check_clients_on_server_link(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Find NAT services whose virtual address is in the network of their servers: clients of that
    network are answered past the director.
    """
    conntrack = facts.sysctls.get("net/ipv4/vs/conntrack")
    if _may_snat(facts):
        return
    found: dict[tuple[str, str, str], set[str]] = {}
    networks = facts.list_networks()
    for service, server, route in find_routed_servers(table, facts, MASQ):
        vip, host = get_vip(service), get_host(server)
        for link, network in networks:
            on_link = vip and not route.gateway and link == route.link
            if on_link and ip_address(host) in network and ip_address(vip) in network:
                found.setdefault((vip, str(network), link), set()).add(host)
    for (vip, around, link), hosts in found.items():
        detail = f"{vip} and {summarize_names(hosts)} are in {around} on {link}"
        detail += f"; net.ipv4.vs.conntrack is {conntrack}." if conntrack is not None else "."
        fixes: tuple[str, ...] = (
            () if conntrack == "1" else (format_sysctl("net/ipv4/vs/conntrack", 1),)
        )
        if not facts.may_translate():
            program = "ip6tables" if ":" in around else "iptables"
            fixes += (f"{program} -t nat -A POSTROUTING -s {around} -d {around} -j MASQUERADE",)
        yield Finding("nat-clients-beside-servers", vip, detail, fixes)


def _may_snat(facts: Facts) -> bool:
    """Return True if IPVS's packets pass rules that may translate their source to this host."""
    return facts.may_translate() and facts.sysctls.get("net/ipv4/vs/conntrack") == "1"


def check_redirects(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Find interfaces that send redirects: `all` or the interface's own value is enough
    (IN_DEV_TX_REDIRECTS). IPv6 has no such value.
    """
    wires = set()
    holders = facts.map_holders()
    for service, server, route in find_routed_servers(table, facts, MASQ):
        link = holders.get(get_vip(service))
        if link is not None and link.name == route.link and server.af == AF_INET:
            wires.add(link.name)
    for name in sorted(wires):
        on = [each for each in ("all", name) if facts.get_conf(each, "send_redirects")]
        if on and not _may_snat(facts):
            paths = [format_conf_path(each, "send_redirects") for each in on]
            detail = f"Clients and NAT servers are both reached through {name}; send_redirects is on for {' and '.join(on)}."
            yield Finding(
                "send-redirects", name, detail, tuple(format_sysctl(path, 0) for path in paths)
            )


def check_reroute(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Find vs/snat_reroute 0 with routing rules by source (ip_vs_core.c: ip_vs_route_me_harder)."""
    if facts.sysctls.get("net/ipv4/vs/snat_reroute") != "0":
        return
    translated = {get_vip(service) for service, _ in list_servers(table, MASQ)} - {""}
    for rule in facts.rules:
        if not rule.source:
            continue
        for vip in sorted(translated):
            if get_family(vip) == rule.family and ip_address(vip) in ip_network(
                rule.source, strict=False
            ):
                detail = f"net.ipv4.vs.snat_reroute is 0, and a rule sends what comes from {rule.source} to table {rule.table}."
                yield Finding(
                    "snat-reroute-off", vip, detail, (format_sysctl("net/ipv4/vs/snat_reroute", 1),)
                )


def _get_min_mtu(service: Service, server: Server) -> int:
    return max(LEAST[server.af], LEAST[service.af])


def compute_overhead(server: Server) -> int:
    """Return the bytes that the tunnel adds to a packet (ip_vs_xmit.c: __ip_vs_get_out_rt)."""
    size = HEADERS[server.af]
    if server.tun_type == GUE:
        size += 8 + 4 + (8 if server.tun_flags & TUN_REMCSUM else 0)
    elif server.tun_type == GRE:
        size += 8 if server.tun_flags & TUN_CSUM else 4
    return size


def check_tunnels(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Check the MTU within each tunnel, and its source address."""
    ways = [*find_routed_servers(table, facts, TUNNEL)]
    vips = group_by_vip(table)
    addresses = {each.text: each for each in reversed(facts.addresses)}
    # Of each interface and family an address that is no service's: from another virtual one a
    # tunnel would do no better.
    others = {
        (each.link, each.family): each.text
        for each in reversed(facts.addresses)
        if each.text not in vips and _is_global(each.text)
    }
    # Servers share routes and interfaces: what widens the way to one leaves room for all.
    needs: dict[str, int] = {}
    for service, server, route in ways:
        way = get_host(server) if route.mtu else route.link
        needs[way] = max(
            needs.get(way, 0), _get_min_mtu(service, server) + compute_overhead(server)
        )
    for service, server, route in ways:
        host = get_host(server)
        mtu = facts.get_path_mtu(host)
        least = _get_min_mtu(service, server)
        vip = get_vip(service)
        own = addresses.get(vip) if route.source == vip else None
        source = (
            ""
            if own is None or server.af != AF_INET
            else f" src {others.get((route.link, server.af), 'ADDRESS')}"
        )
        narrow = mtu is not None and mtu - compute_overhead(server) < least
        size = f" mtu {needs[host] if narrow else route.mtu}" if route.mtu else ""
        if mtu is not None and narrow:
            left = mtu - compute_overhead(server)
            detail = f"The way to it through {route.link} takes {mtu} bytes; the tunnel leaves {left}, {least} are needed."
            fix = format_shell_command("ip link set dev {link} mtu ", link=route.link) + str(
                needs[host if route.mtu else route.link]
            )
            if route.mtu:
                fix = f"{_format_route_command(route, host)}{source}{size}"
            yield Finding("tunnel-mtu", format_pair(service, server), detail, (fix,))
        if own is not None:
            if server.af == AF_INET:
                fixes: tuple[str, ...] = (f"{_format_route_command(route, host)}{source}{size}",)
            else:
                fixes = _format_deprecation(vip, own)
            yield Finding(
                "tunnel-from-vip",
                format_pair(service, server),
                f"Packets to it would come from {vip}.",
                fixes,
            )


def _format_deprecation(vip: str, own: Address) -> tuple[str, str]:
    """Return the commands that keep an IPv6 address from being a source. It is added anew: IPVS
    remembers the source until the routes change.
    """
    address = f"{vip}/{own.prefix} dev {{link}}"
    return (
        format_shell_command(f"ip -6 address del {address}", link=own.link),
        format_shell_command(f"ip -6 address add {address} nodad preferred_lft 0", link=own.link),
    )


def _format_route_command(route: Route, host: str) -> str:
    """Return the command that gives this host a route of its own."""
    via = f" via {route.gateway}" if route.gateway else ""
    return format_shell_command(
        f"ip route replace {format_host_prefix(host)}{via} dev {{link}}", link=route.link
    )


def check_conntrack(_: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Compare nf_conntrack's count with its limit."""
    if facts.conntrack is not None and facts.conntrack[0] >= facts.conntrack[1] > 0:
        entries, most = facts.conntrack
        detail = f"{entries} connections are tracked, of {most} at most."
        yield Finding(
            "conntrack-full",
            "nf_conntrack",
            detail,
            (format_sysctl("net/netfilter/nf_conntrack_max", 2 * most),),
        )


# --- sync daemons


def check_daemons(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Check the interfaces of the sync daemons, and that the active director sends its connections."""
    holders = facts.map_holders()
    for state, (name, syncid) in table.daemons.items():
        role = ROLES.get(state, str(state))
        link = facts.links.get(name)
        if facts.links and (link is None or not (link.up and link.carrier)):
            why = "is not there" if link is None else "has no carrier" if link.up else "is down"
            fixes: tuple[str, ...] = ()
            if link is not None and not link.up:
                fixes = (format_shell_command("ip link set dev {link} up", link=name),)
                if not link.multicast:
                    fixes += (
                        format_shell_command("ip link set dev {link} multicast on", link=name),
                    )
            yield Finding(
                "sync-interface-down", f"sync {role}", f"Its interface {name} {why}.", fixes
            )
        elif link is not None and not link.multicast:
            fix = format_shell_command("ip link set dev {link} multicast on", link=name)
            yield Finding(
                "sync-no-multicast",
                f"sync {role}",
                f"Its interface {name} has multicast off.",
                (fix,),
            )
        if state == BACKUP and MASTER not in table.daemons:
            held = [
                vip
                for vip in group_by_vip(table)
                if (on := holders.get(vip)) is not None and on.up and not on.answers_no_arp
            ]
            if held:
                verb = "are" if len(held) > 1 else "is"
                detail = f"{summarize_names(held)} {verb} on an interface here, and only the backup daemon runs."
                fix = format_shell_command(
                    f"ipvsadm --start-daemon master --mcast-interface {{link}} --syncid {syncid}",
                    link=name,
                )
                yield Finding("sync-backup-holds-vip", f"sync {role}", detail, (fix,))


# --- what a probe found


# --- what the connections show


# --- what was read, but cannot be judged from here


CHECKS: tuple[Check, ...] = (
    services.check_scheduler, services.check_servers, check_vips, check_marks, reverse_path,
    check_routes, check_forwarding, check_clients_on_server_link, check_redirects, check_reroute,
    services.check_ports, check_tunnels, check_conntrack, kernel_table.check_limit,
    kernel_table.check_load, kernel_table.check_chains, kernel_table.check_estimation,
    kernel_table.check_reuse, services.check_quiescent, services.check_full,
    services.check_buckets, services.check_fallback, services.check_boot_file, services.check_netmask, services.check_ftp,
    check_daemons, check_probes, check_handshakes,
)  # fmt: skip


def examine_director(table: DirectorTable, facts: Facts) -> list[Finding]:
    """Return all findings, errors first, otherwise in the order of the checks."""
    found = [finding for check in CHECKS for finding in check(table, facts)]
    return sorted(found, key=get_severity)
