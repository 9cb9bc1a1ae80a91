"""Read the facts of the host. No other module of the doctor looks at it, and this one changes
nothing.

Owns: rtnetlink by pyroute2, /proc, the rule counts of the packet filters. Must never know: which
facts are faults.

A fact that cannot be read is left out. No kernel module is loaded: a packet filter that is not
loaded yet is not asked.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from itertools import takewhile
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from pyipvsadm.doctor.facts import (
    OUTSIDE,
    Address,
    Facts,
    Link,
    Route,
    Rule,
    format_conf_path,
    get_family,
)
from pyipvsadm.doctor.probe import probe_servers
from pyipvsadm.errors import OperationError
from pyipvsadm.files import read_if_exists
from pyipvsadm.model import AF_INET, AF_INET6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# uapi/linux/if.h
IFF_UP, IFF_LOOPBACK, IFF_NOARP, IFF_MULTICAST, IFF_LOWER_UP = 0x1, 0x8, 0x80, 0x1000, 0x10000
IFA_F_DEPRECATED = 0x20  # uapi/linux/if_addr.h
KINDS = {
    1: "unicast",
    2: "local",
    3: "broadcast",
    4: "anycast",
    5: "multicast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
}
STATES = {
    0x01: "incomplete",
    0x02: "reachable",
    0x04: "stale",
    0x08: "delay",
    0x10: "probe",
    0x20: "failed",
    0x80: "permanent",
}
SOL_IP, SOL_IPV6 = 0, 41
IPT_SO_GET_INFO = 64  # uapi/linux/netfilter_ipv4/ip_tables.h; IPv6 has the same number
# struct ipt_getinfo: name, valid hooks, entries, underflows, number of entries, size
INFO = struct.Struct("32s13I")

SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv4/vs/conntrack",
    "net/ipv4/vs/snat_reroute",
    "net/ipv4/vs/expire_quiescent_template",
    "net/ipv4/vs/conn_reuse_mode",
    "net/ipv4/vs/conn_lfactor",
    "net/ipv4/vs/run_estimation",
)
OF_LINKS = (
    *(
        (AF_INET, name)
        for name in ("forwarding", "rp_filter", "send_redirects", "arp_ignore", "arp_announce")
    ),
    (AF_INET6, "force_forwarding"),
)

# Debian's rules file, and Red Hat's
BOOT_FILES = (Path("/etc/ipvsadm.rules"), Path("/etc/sysconfig/ipvsadm"))
SELF_NETNS = Path("/proc/self/ns/net")
INIT_NETNS = Path("/proc/1/ns/net")
SYS = Path("/proc/sys")
NET = Path("/proc/net")

_libc = ctypes.CDLL(None, use_errno=True)


class Host:
    """Read the host that this process runs on, in its network namespace."""

    def has_proc(self) -> bool:
        """Return True if /proc is mounted: nearly all that is examined is read there."""
        return NET.exists()

    def has_ipvs(self) -> bool:
        """Return True if the module is loaded."""
        return (NET / "ip_vs").exists()

    def read_boot_file(self) -> tuple[str, bytes] | None:
        """Return the path and the text of the rules file that the distribution's service restores;
        None if there is none, or this is not the network namespace of the first process.
        """
        try:
            if not SELF_NETNS.samefile(INIT_NETNS):
                return None
        except OSError:
            return None
        for path in BOOT_FILES:
            try:
                text = read_if_exists(str(path))
            except OperationError:
                continue
            if text:
                return str(path), text
        return None

    def collect_facts(
        self, ways: Iterable[str], vips: Iterable[str], schedulers: Iterable[str]
    ) -> Facts:
        """Collect the facts. ways: addresses whose routes are needed; vips: addresses whose return
        routes are needed too.
        """
        found = Facts()
        with IPRoute() as route:
            names = _read_links(route, found)
            _read_addresses(route, found, names)
            for address in {*ways, *vips}:
                found.routes[address] = _find_route(route, names, address)
            for vip in vips:
                # An address that is not this host's yet cannot be asked from; the way is the same
                # unless a rule goes by it.
                found.back[vip] = _find_route(
                    route, names, OUTSIDE[get_family(vip)], vip if found.is_local(vip) else ""
                )
            found.rules = list(_read_rules(route))
        paths = [
            *SYSCTLS,
            *(
                format_conf_path(link, name, family)
                for link in ("all", "default", *found.links)
                for family, name in OF_LINKS
            ),
        ]
        found.sysctls = {
            path: value for path in paths if (value := _read_text(SYS / path)) is not None
        }
        found.applications = _read_text(NET / "ip_vs_app")
        found.schedulers = _find_schedulers(schedulers)
        found.filters = _count_filters()
        found.conntrack = _read_conntrack()
        found.release = _parse_release(os.uname().release)
        return found

    def probe_servers(self, found: Facts, servers: list[tuple[str, int]]) -> None:
        """Ask servers, as (address, TCP port or 0), and note what became of each in found."""

        def neighbours() -> dict[str, str]:
            with IPRoute() as route:
                return dict(_read_neighbours(route))

        probe_servers(found, servers, neighbours)


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(errors="surrogateescape").strip()
    except (OSError, ValueError):
        return None


def _read_links(route: IPRoute, found: Facts) -> dict[int, str]:
    """Read all interfaces; return their names by number."""
    names = {}
    for each in route.get_links():
        flags = each["flags"]
        name = os.fsdecode(each.get_attr("IFLA_IFNAME"))  # bytes where it is no UTF-8
        info = each.get_attr("IFLA_LINKINFO")
        names[each["index"]] = name
        found.links[name] = Link(
            name,
            kind=(info.get_attr("IFLA_INFO_KIND") or "") if info else "",
            mtu=each.get_attr("IFLA_MTU") or 0,
            up=bool(flags & IFF_UP),
            carrier=bool(flags & IFF_LOWER_UP),
            loopback=bool(flags & IFF_LOOPBACK),
            noarp=bool(flags & IFF_NOARP),
            multicast=bool(flags & IFF_MULTICAST),
        )
    return names


def _read_addresses(route: IPRoute, found: Facts, names: dict[int, str]) -> None:
    for each in route.get_addr():
        if each["family"] in (AF_INET, AF_INET6):
            text = each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS")
            flags = each.get_attr("IFA_FLAGS") or each["flags"]
            link = names.get(each["index"], "")
            found.addresses.append(
                Address(text, each["prefixlen"], link, bool(flags & IFA_F_DEPRECATED))
            )


def _find_route(route: IPRoute, names: dict[int, str], address: str, source: str = "") -> Route:
    """Return the route that the kernel chooses for its own packets."""
    wanted = {"dst": address, **({"src": source} if source else {})}
    try:
        answer = next(iter(route.route("get", family=get_family(address), **wanted)))
    except NetlinkError as exc:
        # fib_rules and fib_trie answer so for these types, and for no route at all
        return Route({13: "prohibit", 22: "blackhole"}.get(exc.code, "unreachable"))
    metrics = answer.get_attr("RTA_METRICS")
    via = answer.get_attr("RTA_VIA")
    return Route(
        KINDS.get(answer["type"], str(answer["type"])),
        link=names.get(answer.get_attr("RTA_OIF"), ""),
        gateway=answer.get_attr("RTA_GATEWAY") or (via["addr"] if via else ""),
        source=answer.get_attr("RTA_PREFSRC") or "",
        mtu=(metrics.get_attr("RTAX_MTU") or 0) if metrics else 0,
    )


def _read_rules(route: IPRoute) -> Iterator[Rule]:
    """Read the rules by mark or source, with the kinds of routes in their tables."""
    for family in (AF_INET, AF_INET6):
        wanted = []
        for each in route.get_rules(family=family):
            if each["family"] != family:  # without IPv6, the kernel answers with what it has
                continue
            table = each.get_attr("FRA_TABLE") or each["table"]
            mark = each.get_attr("FRA_FWMARK") or 0
            source = each.get_attr("FRA_SRC")
            if mark or source:
                mask = each.get_attr("FRA_FWMASK")
                wanted.append(
                    (
                        table,
                        mark,
                        0xFFFFFFFF if mask is None else mask,
                        f"{source}/{each['src_len']}" if source else "",
                    )
                )
        types: dict[int, list[int]] = {}
        for each in route.get_routes(family=family) if wanted else ():
            types.setdefault(each.get_attr("RTA_TABLE") or each["table"], []).append(each["type"])
        for table, mark, mask, source in wanted:
            there = types.get(table, [])
            yield Rule(family, table, mark, mask, source, brings=2 in there, empty=not there)


def _read_neighbours(route: IPRoute) -> Iterator[tuple[str, str]]:
    for family in (AF_INET, AF_INET6):
        for each in route.get_neighbours(family=family):
            address = each.get_attr("NDA_DST")
            if each["family"] == family and address and each["state"] in STATES:
                yield address, STATES[each["state"]]


def _find_schedulers(names: Iterable[str]) -> set[str] | None:
    """Return those of the names that are loaded or among the kernel's modules; None if that is
    unknown.
    """
    there = {name for name in names if Path(f"/sys/module/ip_vs_{name}").exists()}
    missing = set(names) - there
    if missing:
        release = os.uname().release
        listed = [
            _read_text(Path("/lib/modules", release, file))
            for file in ("modules.dep", "modules.builtin")
        ]
        if None in listed:
            return None
        there |= {
            name for name in missing if any(f"/ip_vs_{name}.ko" in text for text in listed if text)
        }
    return there


def _parse_release(text: str) -> tuple[int, int] | None:
    """Return the first two numbers of a kernel's release, "6.1.0-25-amd64"."""
    major, _, rest = text.partition(".")
    minor = "".join(takewhile(str.isdecimal, rest))
    return (int(major), int(minor)) if major.isdecimal() and minor else None


def _read_conntrack() -> tuple[int, int] | None:
    values = [
        _read_text(SYS / "net/netfilter" / name)
        for name in ("nf_conntrack_count", "nf_conntrack_max")
    ]
    return (
        (int(values[0]), int(values[1]))
        if values[0] is not None and values[1] is not None
        else None
    )


def _count_filters() -> dict[str, int] | None:
    """Count the rules in each table of the packet filters. None if this process may not see them."""
    found: dict[str, int] = {}
    try:
        for program, family, level, names in (
            ("iptables", socket.AF_INET, SOL_IP, "ip_tables_names"),
            ("ip6tables", socket.AF_INET6, SOL_IPV6, "ip6_tables_names"),
        ):
            tables = _read_text(NET / names)
            if tables is None and (NET / names).exists():
                return None
            for table in (tables or "").split():
                found[f"{program} {table}"] = _count_legacy(family, level, table)
        if Path("/sys/module/nf_tables").exists():
            found.update(_count_nftables())
    except (OSError, NetlinkError):
        return None
    return found


def _count_legacy(family: int, level: int, table: str) -> int:
    """Count the rules of an existing table: its entries, less a policy for each chain and the end
    marker.
    """
    info = ctypes.create_string_buffer(INFO.pack(table.encode(), *(0,) * 13), INFO.size)
    size = ctypes.c_uint(INFO.size)
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        # Python's own getsockopt hands nothing in, and the table's name has to go in
        if _libc.getsockopt(sock.fileno(), level, IPT_SO_GET_INFO, info, ctypes.byref(size)) != 0:
            raise OSError(ctypes.get_errno(), table)
    _, hooks, *_, entries, _ = INFO.unpack(info.raw)
    return int(entries) - bin(int(hooks)).count("1") - 1


def _count_nftables() -> dict[str, int]:
    from pyroute2.nftables.main import NFTables  # noqa: PLC0415  # only where nf_tables is loaded

    found: dict[str, int] = {}
    with NFTables(nfgen_family=0) as tables:
        for rule in tables.get_rules():
            name = f"nftables {rule.get_attr('NFTA_RULE_TABLE')}"
            found[name] = found.get(name, 0) + 1
    return found
