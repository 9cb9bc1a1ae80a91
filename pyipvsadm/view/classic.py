"""The reference's listing, byte for byte, trailing blanks included (ipvsadm.c: print_title, print_service_entry, list_*).

Owns: columns, widths, scaling, truncation. Must never know: backends, where names come from, streams.

`shown` is the set of slots of the request ("stats", "rate", ...); `endpoint` gives HOST:PORT, by name or in numbers.
"""

from __future__ import annotations

from pyipvsadm.endpoint import address_text
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    GRE,
    GUE,
    HASHED,
    IPIP,
    LOCAL,
    MASQ,
    ONE_PACKET,
    PERSISTENT,
    PROTOCOLS,
    ROUTE,
    TUNNEL,
)
from pyipvsadm.options import TUNNEL_TYPES
from pyipvsadm.rules import ROLES, destination_rule, mask_text, scheduler_flags, selector, service_rule
from pyipvsadm.view import order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyipvsadm.model import Daemon, Destination, Info, Service, Timeouts
    from pyipvsadm.rules import Endpoint

    Shown = frozenset[str] | set[str]

METHODS = {MASQ: "Masq", LOCAL: "Local", TUNNEL: "Tunnel", ROUTE: "Route"}
_CHECKSUMS = {0: "-c", 1: "+c", 2: "r+c"}

_TITLES = {
    "stats": "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n",
    "rate": "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n",
    "thresholds": "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n",
    "persistent-conn": "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n",
}
_TITLE_FLAGS = "Prot LocalAddress:Port Scheduler Flags\n"
_SERVER = "  -> RemoteAddress:Port\n"
_SERVER_PLAIN = "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
_SERVER_TUNNEL = "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"

SCALED = 100_000_000  # the least number that is shown with a unit

# Which of several views is shown (print_title's order).
_VIEWS = ("stats", "rate", "thresholds", "persistent-conn", "tun-info")


def version(info: Info) -> str:
    """The first line of a whole listing."""
    return f"IP Virtual Server version {version_number(info)} (size={info.size})\n"


def version_number(info: Info) -> str:
    """0x010201 is 1.2.1."""
    number = info.version
    return f"{number >> 16}.{number >> 8 & 255}.{number & 255}"


def view_of(shown: Shown) -> str:
    """The view that is shown, "" for the plain one."""
    for view in _VIEWS:
        if view in shown:
            return view
    return ""


def title(shown: Shown) -> str:
    """The two lines of headings."""
    view = view_of(shown)
    if view in _TITLES:
        return _TITLES[view] + _SERVER
    return _TITLE_FLAGS + (_SERVER_TUNNEL if view else _SERVER_PLAIN)


def service(found: Service, servers: list[Destination], shown: Shown, endpoint: Endpoint) -> str:
    """A service and its servers, sorted unless shown has "nosort"."""
    view = view_of(shown)
    exact = "exact" in shown
    if view in ("stats", "rate"):
        half = found.stats[:5] if view == "stats" else found.stats[5:]
        parts = [f"{_name(found, endpoint):33}{counters(half, exact)}\n"]
    else:
        parts = [heading(found, endpoint)]
    if "nosort" not in shown:
        servers = order.destinations(servers)
    protocol = found.protocol
    row = _ROWS[view]
    for d in servers:
        host = endpoint(d.af, d.addr, d.port, protocol)[: 59 if d.af == AF_INET6 else 28]
        parts.append(row(host, d, exact))
    return "".join(parts)


def heading(found: Service, endpoint: Endpoint) -> str:
    """A service's line in the views without counters."""
    return f"{_name(found, endpoint)} {found.scheduler}{attributes(found)}\n"


def _name(found: Service, endpoint: Endpoint) -> str:
    if found.fwmark:
        return f"FWM  {found.fwmark} IPv6" if found.af == AF_INET6 else f"FWM  {found.fwmark}"
    name = f"{PROTOCOLS.get(found.protocol, '?'):4} {endpoint(found.af, found.addr, found.port, found.protocol)[:59]}"
    return name if found.af == AF_INET6 else name[:33]


def attributes(found: Service) -> str:
    """What follows the scheduler's name."""
    if not found.flags & ~HASHED:
        return ""
    text = ""
    flags = scheduler_flags(found)
    if flags is not None:
        text += f" ({flags})"
    if found.flags & PERSISTENT:
        text += f" persistent {found.timeout}"
        mask = mask_text(found)
        if mask:
            text += f" mask {mask}"
        if found.pe:
            text += f" pe {found.pe}"
    if found.flags & ONE_PACKET:
        text += " ops"
    return text


def counters(values: tuple[int, ...], exact: bool) -> str:
    """Five of them; most are small."""
    if max(values) < SCALED and not exact:
        return "%9d%9d%9d%9d%9d" % values  # noqa: UP031  # half the cost of an f-string over their names
    return "".join([large(value, exact) for value in values])


def large(value: int, exact: bool) -> str:
    """A counter in 9 columns with its unit, or in full with a blank before it (print_largenum)."""
    if exact:
        text = str(value)
        return f"{text:>9}" if len(text) <= 8 else f" {text}"
    if value < SCALED:
        return f"{value:9}"
    if value < 1_000_000_000:
        return f"{value // 1000:8}K"
    if value < 100_000_000_000:
        return f"{value // 1_000_000:8}M"
    if value < 100_000_000_000_000:
        return f"{value // 1_000_000_000:8}G"
    return f"{value // 1_000_000_000_000:8}T"


def method(d: Destination) -> str:
    """The forwarding method's name, of one unknown its number."""
    return METHODS.get(d.forward) or str(d.forward)


def tunnel(d: Destination) -> str:
    """The tunnel of a server (fwd_tun_info), what is unknown of it in numbers."""
    if d.forward != TUNNEL:
        return "n/a"
    if d.tun_type >= len(TUNNEL_TYPES):
        return str(d.tun_type)
    name = TUNNEL_TYPES[d.tun_type]
    sums = _CHECKSUMS.get(d.tun_flags, str(d.tun_flags))
    # The reference has 15 columns for it (snprintf into 16 bytes).
    return {IPIP: name, GUE: f"{name}:{d.tun_port}:{sums}", GRE: f"{name}:{sums}"}[d.tun_type][:15]


def _plain(host: str, d: Destination, _: bool) -> str:
    return f"  -> {host:28} {method(d):7} {d.weight:<6} {d.active:<10} {d.inactive:<10}\n"


def _stats(host: str, d: Destination, exact: bool) -> str:
    return f"  -> {host:28}{counters(d.stats[:5], exact)}\n"


def _rate(host: str, d: Destination, exact: bool) -> str:
    cps, inpps, outpps, inbps, outbps = d.stats[5:]
    return f"  -> {host:28} {cps:8} {inpps:8} {outpps:8}{large(inbps, exact)}{large(outbps, exact)}\n"


def _thresholds(host: str, d: Destination, _: bool) -> str:
    return f"  -> {host:28} {d.upper:<10} {d.lower:<10} {d.active:<10} {d.inactive:<10}\n"


def _persistent(host: str, d: Destination, _: bool) -> str:
    return f"  -> {host:28} {d.weight:<9} {d.persistent:<11} {d.active:<10} {d.inactive:<10}\n"


def _tunnels(host: str, d: Destination, _: bool) -> str:
    return f"  -> {host:28} {method(d):7} {tunnel(d):13} {d.weight:<6} {d.active:<10} {d.inactive:<10}\n"


_ROWS: dict[str, Callable[[str, Destination, bool], str]] = {
    "": _plain,
    "stats": _stats,
    "rate": _rate,
    "thresholds": _thresholds,
    "persistent-conn": _persistent,
    "tun-info": _tunnels,
}


def rules(found: Service, servers: list[Destination], endpoint: Endpoint) -> str:
    """A service and its servers as -S writes them, sorted."""
    named = selector(found, endpoint)
    parts = [service_rule(found, named)]
    parts += [destination_rule(d, named, endpoint(d.af, d.addr, d.port, found.protocol)) for d in order.destinations(servers)]
    return "".join(parts)


def timeouts(found: Timeouts) -> str:
    """The line of --timeout."""
    return f"Timeout (tcp tcpfin udp): {found.tcp} {found.tcp_fin} {found.udp}\n"


def daemons(found: Iterable[Daemon]) -> Iterator[str]:
    """A line a running sync daemon (list_daemon)."""
    for d in found:
        role = ROLES.get(d.state)
        text = f"{role or d.state} sync daemon (mcast={d.interface}, syncid={d.syncid}"
        if d.maxlen:
            text += f", maxlen={d.maxlen}"
        if d.group:
            text += f", group={address_text(AF_INET if len(d.group) == 4 else AF_INET6, d.group)}"
        if d.port:
            text += f", port={d.port}"
        if d.ttl:
            text += f", ttl={d.ttl}"
        yield text + ")\n"
