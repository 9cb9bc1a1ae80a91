"""Check a real server for one virtual address. Pure.

Owns: the checks, and CHECKS, their order. Must never know: where facts come from, how findings are
shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pyipvsadm.doctor.codes import get_severity
from pyipvsadm.doctor.facts import OUTSIDE, Link, format_conf_path, get_family
from pyipvsadm.doctor.fixes import format_host_prefix, format_shell_command, format_sysctl
from pyipvsadm.errors import Finding
from pyipvsadm.model import AF_INET, AF_INET6, GRE, GUE, IPIP, MASQ, ROUTE, TUNNEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyipvsadm.doctor.facts import Address, Facts

    Check = Callable[["RealServerRole", Facts], Iterator[Finding]]

# rtnetlink's names of what unwraps packets, by tunnel type and inner family; the likelier first.
# GUE comes through fou to these.
_PLAIN = {AF_INET: ("ipip", "ip6tnl"), AF_INET6: ("ip6tnl", "sit")}
TUNNELS = {IPIP: _PLAIN, GUE: _PLAIN, GRE: dict.fromkeys(_PLAIN, ("gre", "ip6gre"))}
# the modules' own: down until somebody wants them
FALLBACK = {"tunl0", "sit0", "ip6tnl0", "gre0", "ip6gre0"}
ARP_IGNORING = {1, 2, 3, 8}  # arp.c: arp_ignore; 4 to 7 are reserved and ignore nothing


@dataclass(frozen=True)
class RealServerRole:
    """Describe the role of this host: a real server for this address by this forwarding method.
    director: the director's address, "" if unknown.
    """

    vip: str
    method: int = ROUTE
    director: str = ""
    tun_type: int = IPIP


def check_address(part: RealServerRole, facts: Facts) -> Iterator[Finding]:
    """Check that the virtual address is configured here, on an interface that answers no ARP, with
    a host prefix.
    """
    if part.method == MASQ:
        return
    vip = part.vip
    holders = [each for each in facts.addresses if each.text == vip and each.link in facts.links]
    if not holders and not facts.is_local(vip) and vip in facts.routes:
        # Silence first: the address must not be answered for on the wire from the moment on at
        # which it is here.
        fixes = tuple(fix for *_, silence in _list_arp_settings(part, facts) for fix in silence)
        yield Finding(
            "real-vip-missing",
            vip,
            f"{vip} is on no interface.",
            (*fixes, f"ip address add {format_host_prefix(vip)} dev lo"),
        )
    for own in holders:
        link = facts.links[own.link]
        full = own.prefix == (128 if own.family == AF_INET6 else 32)
        move = (
            format_shell_command(f"ip address del {vip}/{own.prefix} dev {{link}}", link=own.link),
            format_shell_command(
                f"ip address add {format_host_prefix(vip)} dev {{link}}",
                link=own.link if link.answers_no_arp else "lo",
            ),
        )
        # IPv4 addresses stay, whatever becomes of the interface
        if not link.up and not facts.is_local(vip):
            fix = format_shell_command("ip link set dev {link} up", link=own.link)
            yield Finding(
                "real-vip-interface-down",
                own.link,
                f"{vip} is on {own.link}, which is down.",
                (fix,),
            )
        if not link.answers_no_arp:
            yield Finding(
                "real-vip-on-wire", own.link, f"{vip}/{own.prefix} is on {own.link}.", move
            )
        elif not full:
            yield Finding(
                "real-vip-prefix", own.link, f"{own.link} has it as {vip}/{own.prefix}.", move
            )


def check_arp(part: RealServerRole, facts: Facts) -> Iterator[Finding]:
    """Check that the host does not announce the address, if it has it."""
    if part.method != MASQ and facts.is_local(part.vip):
        for name, bad, fixes in _list_arp_settings(part, facts):
            values = ", ".join(f"{value} on {link}" for link, value in bad.items())
            detail = f"{name} is {values} (the larger of all's and the interface's)."
            yield Finding(f"real-{name.replace('_', '-')}", ", ".join(bad), detail, fixes)


def _list_arp_settings(
    part: RealServerRole, facts: Facts
) -> Iterator[tuple[str, dict[str, int], tuple[str, ...]]]:
    """Yield settings by which the host would speak of the address on a wire, their values by
    interface, and their fixes.

    The kernel goes by the larger of all's and the interface's value. IPv6 answers for an
    interface's own addresses only.
    """
    if get_family(part.vip) != AF_INET:
        return
    for name, good, wanted in (("arp_ignore", ARP_IGNORING, 1), ("arp_announce", {2}, 2)):
        values = [
            (link.name, facts.get_largest(link.name, name)) for link in _list_wires(part, facts)
        ]
        bad = {link: value for link, value in values if value is not None and value not in good}
        if bad:
            # where a value above the wanted one counts, only the interface's own can be the reason
            fixes = [format_sysctl(format_conf_path("all", name), wanted)]
            fixes += [
                format_sysctl(format_conf_path(link, name), wanted)
                for link in bad
                if (facts.get_conf(link, name) or 0) > wanted
            ]
            yield name, bad, tuple(fixes)


def _list_wires(part: RealServerRole, facts: Facts) -> Iterator[Link]:
    """Return the interfaces on which another host may ask for the address. With a tunnel the server
    may be elsewhere: then only those in its network.
    """
    for name in dict.fromkeys(each.link for each in facts.addresses if each.family == AF_INET):
        link = facts.links.get(name)
        if link is not None and link.up and not link.answers_no_arp:
            own = [each for each in facts.addresses if each.link == name and each.text != part.vip]
            if part.method == ROUTE or any(each.contains(part.vip) for each in own):
                yield link


def check_tunnel(part: RealServerRole, facts: Facts) -> Iterator[Finding]:
    """Check for a tunnel interface that is up and whose rp_filter accepts the packets."""
    if part.method != TUNNEL or not facts.links:
        return
    kinds = TUNNELS[part.tun_type][get_family(part.vip)]
    found = [link for link in facts.links.values() if link.kind in kinds]
    if not found:
        own = next(_list_reachable(facts), None)
        detail = f"No interface here is of kind {' or '.join(kinds)}."
        fixes = (
            _format_tunnel_commands(part, own) + _list_tunnel_settings(part, facts, Link("lvs"))
            if own is not None
            else ()
        )
        yield Finding("real-tunnel-missing", part.vip, detail, fixes)
    elif not any(link.up for link in found):
        first = min(found, key=lambda each: (each.name in FALLBACK, kinds.index(each.kind)))
        detail = f"{first.name} is of kind {first.kind}, and is down."
        up = format_shell_command("ip link set dev {link} up", link=first.name)
        settings = _list_tunnel_settings(part, facts, first)
        yield Finding("real-tunnel-down", first.name, detail, (up, *settings))
    for link in found:
        if link.up:
            yield from _reverse_path(part, facts, link)


def _list_tunnel_settings(part: RealServerRole, facts: Facts, link: Link) -> tuple[str, ...]:
    """Return the settings that a tunnel needs besides being up. A tunnel that does not exist yet
    gets those of `default`.
    """
    if link.name not in facts.links:
        default = facts.sysctls.get(format_conf_path("default", "rp_filter"))
        own = {format_conf_path(link.name, "rp_filter"): default} if default is not None else {}
        facts = replace(facts, sysctls=facts.sysctls | own)
    return tuple(fix for each in _reverse_path(part, facts, link) for fix in each.fixes)


def _reverse_path(part: RealServerRole, facts: Facts, link: Link) -> Iterator[Finding]:
    """Return the effective rp_filter (fib_frontend.c: __fib_validate_source); an interface without
    an address has no loose mode.
    """
    value = facts.get_largest(link.name, "rp_filter")
    bare = not any(each.link == link.name and each.family == AF_INET for each in facts.addresses)
    if get_family(part.vip) == AF_INET and (value == 1 or (value == 2 and bare)):
        path = format_conf_path(link.name, "rp_filter")
        fixes: tuple[str, ...] = (format_sysctl(path, 0),)
        if facts.get_conf("all", "rp_filter"):
            fixes = (format_sysctl(path, 2),)
            if bare:
                fixes += (
                    format_shell_command(
                        f"ip address add {format_host_prefix(part.vip)} dev {{link}}",
                        link=link.name,
                    ),
                )
        detail = f"rp_filter of {link.name} is {value} (the larger of all's and its own)"
        detail += "; no IPv4 address is on it." if bare else "."
        yield Finding("real-tunnel-rp-filter", link.name, detail, fixes)


def _list_reachable(facts: Facts) -> Iterator[Address]:
    """Return the addresses to which a director could tunnel."""
    for each in facts.addresses:
        link = facts.links.get(each.link)
        if (
            link is not None
            and link.up
            and not link.answers_no_arp
            and not each.text.startswith("fe80:")
        ):
            yield each


def _format_tunnel_commands(part: RealServerRole, own: Address) -> tuple[str, ...]:
    """Return the commands that make the tunnel's end at this address of ours."""
    inner, outer = get_family(part.vip), own.family
    if part.tun_type == GRE:
        kind = "gre" if outer == AF_INET else "ip6gre"
    elif outer == AF_INET:
        kind = "ipip" if inner == AF_INET else "sit"
    else:
        kind = f"ip6tnl mode {'ipip6' if inner == AF_INET else 'ip6ip6'} remote any"
    listen = ("ip fou add port PORT gue",) if part.tun_type == GUE else ()
    return (*listen, f"ip link add lvs type {kind} local {own.text}", "ip link set dev lvs up")


def check_return_route(part: RealServerRole, facts: Facts) -> Iterator[Finding]:
    """Check that answers leave through the director with NAT, and never otherwise."""
    route = facts.routes.get(OUTSIDE[get_family(part.vip)])
    if route is None:
        return
    director = part.director or "DIRECTOR"
    if part.method == MASQ and route.kind != "unicast":
        yield Finding("real-no-default-route", "default route", f"The kernel's route to networks outside: {route.kind}.",
                      (f"ip route add default via {director}",))  # fmt: skip
    elif part.method == MASQ and part.director and route.gateway != part.director:
        through = (
            f"through {route.gateway} on {route.link}"
            if route.gateway
            else f"straight to {route.link}"
        )
        detail = f"The way to networks outside leads {through}, not through {part.director}."
        yield Finding(
            "real-gateway-not-director",
            "default route",
            detail,
            (f"ip route replace default via {director}",),
        )
    elif part.method != MASQ and part.director and route.gateway == part.director:
        detail = f"The way to networks outside leads through {part.director} on {route.link}."
        yield Finding(
            "real-gateway-is-director",
            "default route",
            detail,
            ("ip route replace default via ROUTER",),
        )


# Silence comes before the address.
CHECKS: tuple[Check, ...] = (check_arp, check_address, check_tunnel, check_return_route)


def examine_real_server(part: RealServerRole, facts: Facts) -> list[Finding]:
    """Return all findings, errors first, otherwise in the order of the checks."""
    found = [finding for check in CHECKS for finding in check(part, facts)]
    return sorted(found, key=get_severity)
