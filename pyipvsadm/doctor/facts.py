"""Hold what the doctor has read: plain records, and the questions that several checks ask of them.

Owns: the shapes. Must never know: where a fact comes from (host.py), what is wrong (director.py,
real_server.py).

Addresses are texts as inet_ntop writes them. A sysctl is named by its path below /proc/sys; one
that could not be read is absent, and no check may claim anything about it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from pyipvsadm.addresses import format_address, format_numeric, format_service_key
from pyipvsadm.model import AF_INET, AF_INET6, Server, Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Network, IPv6Network

    Pair = tuple[tuple[int, bytes, int], ...]  # virtual and server, each (family, address, port)

# Of networks for documentation (RFC 5737, RFC 3849): only a default route leads there.
OUTSIDE = {AF_INET: "203.0.113.1", AF_INET6: "2001:db8:ffff::1"}


@dataclass(frozen=True)
class Link:
    """Describe an interface. kind: rtnetlink's name of the driver ("" for hardware). carrier:
    whether the wire has a signal.
    """

    name: str
    kind: str = ""
    mtu: int = 1500
    up: bool = True
    carrier: bool = True
    loopback: bool = False
    noarp: bool = False
    multicast: bool = True

    @property
    def answers_no_arp(self) -> bool:
        """Return True if no host on a wire learns the interface's addresses."""
        return self.loopback or self.noarp


@dataclass(frozen=True)
class Address:
    """Describe an address of this host."""

    text: str
    prefix: int
    link: str
    deprecated: bool = False

    @property
    def family(self) -> int:
        """Return AF_INET or AF_INET6."""
        return get_family(self.text)

    def contains(self, other: str) -> bool:
        """Return True if the other address is in this address's network."""
        return get_family(other) == self.family and ip_address(other) in ip_network(
            f"{self.text}/{self.prefix}", strict=False
        )


@dataclass(frozen=True)
class Route:
    """Hold the kernel's answer to `ip route get`. kind: "unicast", "local" or another of ip-route's
    types; gateway is "" for a neighbour on the link.
    """

    kind: str
    link: str = ""
    gateway: str = ""
    source: str = ""
    mtu: int = 0  # of the way, 0 where only the link's counts


@dataclass(frozen=True)
class Rule:
    """Describe a routing rule with a mark, a source or both. brings: its table has a route of type
    local; empty: it has no route.
    """

    family: int
    table: int
    mark: int = 0
    mask: int = 0xFFFFFFFF
    source: str = ""  # ADDRESS/PREFIX
    brings: bool = False
    empty: bool = False


@dataclass(frozen=True)
class ProbeResult:
    """Hold the result of a probe. neighbour: the kernel's state of the next hop, "" if unknown.

    tcp: "open", "refused", another answer of the system, or "" if nothing was asked.
    """

    neighbour: str = ""
    tcp: str = ""


@dataclass(frozen=True)
class HeldConnections:
    """Count what the kernel's hash of connections holds. entries: connections and templates;
    buckets: its size, 0 if unknown; maximum: conn_max, None if there is no limit; chains: buckets
    by their number of entries, empty if the kernel does not tell.
    """

    entries: int
    buckets: int = 0
    maximum: int | None = None
    chains: dict[int, int] = field(default_factory=dict)


@dataclass
class Facts:
    """Hold the facts of the host. None stands for a fact that could not be read."""

    links: dict[str, Link] = field(default_factory=dict)
    addresses: list[Address] = field(default_factory=list)
    routes: dict[str, Route] = field(default_factory=dict)  # by address asked for
    back: dict[str, Route] = field(default_factory=dict)  # by VIP: from it to OUTSIDE
    rules: list[Rule] = field(default_factory=list)
    sysctls: dict[str, str] = field(default_factory=dict)
    applications: str | None = None  # /proc/net/ip_vs_app
    schedulers: set[str] | None = None  # that are loaded or can be
    filters: dict[str, int] | None = None  # "iptables mangle" -> rules
    conntrack: tuple[int, int] | None = None  # entries, and the most there may be
    answers: dict[tuple[str, int], ProbeResult] = field(
        default_factory=dict
    )  # (address, TCP port or 0)
    # TCP connections: that stay in SYN_RECV, and all
    handshakes: dict[Pair, tuple[int, int]] = field(default_factory=dict)
    # the rules file of the distribution's service: its path and its rules; None: not known
    boot_file: tuple[str, DirectorTable] | None = None
    held: HeldConnections | None = None  # None: not the kernel's table, or only some services
    release: tuple[int, int] | None = None  # of the kernel: (6, 1)
    unprobed: int = 0  # servers for which there was no time
    # that run in this network namespace: the first 15 bytes of their names
    programs: set[str] = field(default_factory=set)

    def is_local(self, address: str) -> bool:
        """Return True if packets to the address are for this host."""
        return self.routes.get(address, Route("")).kind == "local"

    def map_holders(self) -> dict[str, Link]:
        """Return the interface of each address of this host: for a check to make once, however many
        addresses it asks for.
        """
        return {
            each.text: self.links[each.link]
            for each in reversed(self.addresses)
            if each.link in self.links
        }

    def list_networks(self) -> list[tuple[str, IPv4Network | IPv6Network]]:
        """Return (interface, network) of this host's addresses, each once; without those that are a
        network of their own.
        """
        found = {
            (each.link, f"{each.text}/{each.prefix}"): each
            for each in self.addresses
            if each.prefix < _get_whole_network(each.family)
        }
        return [*dict.fromkeys((link, ip_network(text, strict=False)) for link, text in found)]

    def get_conf(self, link: str, name: str, *, family: int = AF_INET) -> int | None:
        """Return an interface's own value."""
        value = self.sysctls.get(format_conf_path(link, name, family))
        return int(value) if value is not None else None

    def get_largest(self, link: str, name: str) -> int | None:
        """Return the larger of `all` and the interface's value: the kernel goes by it for most
        settings (IN_DEV_MAXCONF).
        """
        own, every = self.get_conf(link, name), self.get_conf("all", name)
        return None if own is None or every is None else max(own, every)

    def get_path_mtu(self, address: str) -> int | None:
        """Return the size of the largest packet that reaches the address in one piece."""
        route = self.routes.get(address)
        if route is None or route.kind != "unicast" or route.link not in self.links:
            return None
        return route.mtu or self.links[route.link].mtu

    def may_translate(self) -> bool:
        """Return True if the packet filter has rules that may rewrite packets that leave this host."""
        return any(
            count and ("nat" in name or name.startswith("nftables"))
            for name, count in (self.filters or {}).items()
        )


@dataclass
class DirectorTable:
    """Hold the services with their servers, and the states of the sync daemons."""

    services: list[tuple[Service, list[Server]]] = field(default_factory=list)
    # state -> (interface, syncid)
    daemons: dict[int, tuple[str, int]] = field(default_factory=dict)


def _get_whole_network(family: int) -> int:
    return 128 if family == AF_INET6 else 32


def get_family(address: str) -> int:
    """Return AF_INET or AF_INET6."""
    return AF_INET6 if ":" in address else AF_INET


def format_conf_path(link: str, name: str, family: int = AF_INET) -> str:
    """Return the path of an interface's sysctl."""
    return f"net/ipv{6 if family == AF_INET6 else 4}/conf/{link}/{name}"


def get_vip(service: Service) -> str:
    """Return the service's address; "" for a service by mark."""
    return "" if service.fwmark else format_address(service.af, service.addr)


def get_host(server: Server) -> str:
    """Return the server's address."""
    return format_address(server.af, server.addr)


def format_service(service: Service) -> str:
    """Return a service's name as listings show it: TCP 10.0.0.1:80."""
    return format_service_key(*service.key())


def format_server(server: Server) -> str:
    """Return a server's name: HOST:PORT."""
    return format_numeric(server.af, server.addr, server.port)


def list_servers(table: DirectorTable, *methods: int) -> Iterator[tuple[Service, Server]]:
    """Yield each server with its service; only those with these methods, if any are named."""
    for service, servers in table.services:
        for server in servers:
            if not methods or server.forward in methods:
                yield service, server


def format_pair(service: Service, server: Server) -> str:
    """Return the name of a server of a service."""
    return f"{format_service(service)} -> {format_server(server)}"
