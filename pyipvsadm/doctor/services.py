"""Check the services of a director: servers, schedulers, persistence, ports. Pure.

Owns: these checks, one small function for each. Must never know: where facts come from, how
findings are shown.
"""

from __future__ import annotations

import copy

from pyipvsadm import addresses
from pyipvsadm.doctor.facts import format_pair, format_server, format_service, list_servers
from pyipvsadm.doctor.fixes import (
    edit_service,
    format_server_command,
    format_shell_command,
    format_sysctl,
    summarize_names,
)
from pyipvsadm.errors import Finding
from pyipvsadm.grammar.parser import DEFAULT_PERSISTENCE_TIMEOUT
from pyipvsadm.model import (
    AF_INET6,
    HOST_MASK4,
    HOST_PREFIX6,
    MASQ,
    PERSISTENT,
    ROUTE,
    SCHED1,
    TCP,
    TUNNEL,
)
from pyipvsadm.rules import writer
from pyipvsadm.scheduling.tables import fill_dh, get_dh_bucket
from pyipvsadm.text import pluralize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyipvsadm.doctor.facts import DirectorTable, Facts
    from pyipvsadm.model import Server, Service

FTP_PORT = 21
SH_BUCKETS = 256
QUIESCENT = "net/ipv4/vs/expire_quiescent_template"


def check_scheduler(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Find services without a scheduler, which the kernel reports as "none"."""
    for service, _ in table.services:
        name = service.scheduler
        if name in ("", "none"):
            yield Finding(
                "scheduler-missing",
                format_service(service),
                "Its scheduler is none.",
                (edit_service(service, scheduler="wlc"),),
            )
        elif facts.schedulers is not None and name not in facts.schedulers:
            detail = f"Its scheduler is {name}, and this kernel has no module ip_vs_{name}."
            yield Finding(
                "scheduler-missing",
                format_service(service),
                detail,
                (edit_service(service, scheduler="wlc"),),
            )


def check_servers(table: DirectorTable, _: Facts) -> Iterator[Finding]:
    """Find services without servers, or whose servers all have weight 0."""
    for service, servers in table.services:
        named = writer.format_selector(service)
        if not servers:
            yield Finding(
                "no-servers",
                format_service(service),
                "It has no real server.",
                (f"ipvsadm -a {named} -r SERVER",),
            )
        elif all(not server.weight for server in servers):
            detail = f"Its {pluralize(len(servers), 'server')} {'have' if len(servers) > 1 else 'has'} weight 0."
            yield Finding(
                "all-weights-zero",
                format_service(service),
                detail,
                (format_server_command("-e", service, servers[0], weight=1),),
            )


def check_quiescent(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Find persistent services with a server at weight 0 while the sysctl that would release its
    clients is off (ip_vs_conn.c: ip_vs_check_template).
    """
    if facts.sysctls.get(QUIESCENT) != "0":
        return
    for service, servers in table.services:
        idle = [server for server in servers if not server.weight and server.persistent]
        if service.flags & PERSISTENT and idle:
            held = sum(server.persistent for server in idle)
            detail = (
                f"{', '.join(map(format_server, idle))} at weight 0, {pluralize(held, 'template')} there; "
                "net.ipv4.vs.expire_quiescent_template is 0."
            )
            yield Finding(
                "quiescent-templates",
                format_service(service),
                detail,
                (format_sysctl(QUIESCENT, 1),),
            )


def check_full(table: DirectorTable, _: Facts) -> Iterator[Finding]:
    """Find servers at their upper threshold (ip_vs_conn.c: ip_vs_bind_dest).

    Such a server takes connections again below its lower threshold (by default three quarters of
    the upper one), so an edit must raise both above the present count.
    """
    for service, server in list_servers(table):
        held = server.active + server.inactive
        if server.upper and held >= server.upper:
            detail = f"{pluralize(held, 'connection')} there, of {server.upper} at most (-x)."
            lower = server.lower and max(2 * server.lower, held + 1)
            fix = format_server_command("-e", service, server, upper=2 * held, lower=lower)
            yield Finding("server-full", format_pair(service, server), detail, (fix,))


def check_buckets(table: DirectorTable, _: Facts) -> Iterator[Finding]:
    """Find servers to which sh gives none of its buckets: it fills them in the order of the list,
    with as many for each server as its weight, and at least one (ip_vs_sh.c: ip_vs_sh_reassign).
    """
    for service, servers in table.services:
        if service.scheduler != "sh":
            continue
        filled, starved = 0, []
        for server in servers:
            if server.weight and filled >= SH_BUCKETS:
                starved.append(server)
            filled += max(1, server.weight)
        if starved:
            detail = (
                f"The weights sum to {filled}, and there are {SH_BUCKETS} buckets: none for "
                f"{summarize_names([format_server(server) for server in starved])}."
            )
            yield Finding(
                "sh-starved", format_service(service), detail, _reduce_weights(service, servers)
            )


def _reduce_weights(service: Service, servers: Sequence[Server]) -> tuple[str, ...]:
    """Return the commands that divide all weights until the buckets are enough; none if there are
    more servers than buckets. Weight 0 stays.
    """
    if len(servers) > SH_BUCKETS:
        return ()
    divisor = 2
    while sum(max(1, server.weight // divisor) for server in servers) > SH_BUCKETS:
        divisor += 1 + divisor // 16
    return tuple(
        format_server_command("-e", service, server, weight=max(1, server.weight // divisor))
        for server in servers
        if server.weight > 1
    )


def check_fallback(table: DirectorTable, _: Facts) -> Iterator[Finding]:
    """Find servers at weight 0 whose clients sh, mh or dh refuses while other servers have a weight
    (ip_vs_sh.c: ip_vs_sh_get, ip_vs_mh.c: ip_vs_mh_get, ip_vs_dh.c: ip_vs_dh_schedule).
    """
    for service, servers in table.services:
        idle = [server for server in servers if not server.weight]
        if not idle or len(idle) == len(servers):
            continue
        named = summarize_names([format_server(server) for server in idle])
        if service.scheduler in ("sh", "mh") and not service.flags & SCHED1:
            flag = f"{service.scheduler}-fallback"
            yield Finding(
                "hash-no-fallback",
                format_service(service),
                f"{named} at weight 0, and the flag {flag} is not set.",
                (edit_service(service, flags=service.flags | SCHED1),),
            )
        elif service.scheduler == "dh" and _refuses_address(service, servers):
            yield Finding(
                "dh-quiesced",
                format_service(service),
                f"{named} at weight 0.",
                (edit_service(service, scheduler="lblc"),),
            )


def _refuses_address(service: Service, servers: Sequence[Server]) -> bool:
    """Return True if dh's server of the service's address is at weight 0; for a service by mark,
    which may have many addresses, if any server is.
    """
    if service.fwmark:
        return True
    owner = servers[fill_dh(servers)[get_dh_bucket(service.addr)]]
    return not owner.weight


def check_boot_file(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Find a rules file whose services and servers, weights apart, are not those of the table."""
    if facts.boot_file is None:
        return
    path, rules = facts.boot_file
    saved, present = _list_rules(rules), _list_rules(table)
    parts = [
        f"only in the {where}: {summarize_names(only)}"
        for where, only in (("file", saved - present), ("table", present - saved))
        if only
    ]
    if parts:
        fix = format_shell_command("ipvsadm-save -n -f {path}", path=path)
        detail = "; ".join(parts)
        yield Finding("boot-file-differs", path, f"{detail[0].upper()}{detail[1:]}.", (fix,))


def _list_rules(table: DirectorTable) -> set[str]:
    """Return the rule of each service and server; servers have the same weight."""
    return {
        edit_service(service).replace("ipvsadm -E", "-A", 1) for service, _ in table.services
    } | {
        format_server_command("-a", service, server, weight=1).removeprefix("ipvsadm ")
        for service, server in list_servers(table)
    }


def check_netmask(table: DirectorTable, __: Facts) -> Iterator[Finding]:
    """Find services with -M but without -p."""
    for service, _ in table.services:
        none = HOST_PREFIX6 if service.af == AF_INET6 else HOST_MASK4
        if service.netmask not in (none, 0) and not service.flags & PERSISTENT:
            edit = edit_service(
                service, flags=service.flags | PERSISTENT, timeout=DEFAULT_PERSISTENCE_TIMEOUT
            )
            detail = f"Its netmask is {addresses.format_netmask(service.af, service.netmask)}, and it is not persistent."
            yield Finding("netmask-without-persistence", format_service(service), detail, (edit,))


def check_ftp(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Find FTP services whose data connections are lost: NAT needs the helper (ip_vs_ftp.c), other
    methods need persistence (ip_vs_core.c: ip_vs_schedule).
    """
    for service, servers in table.services:
        if service.protocol != TCP or service.port != FTP_PORT:
            continue
        methods = {server.forward for server in servers}
        helped = any(
            line.split()[:2] == ["TCP", str(FTP_PORT)]
            for line in (facts.applications or "").splitlines()
        )
        if MASQ in methods and facts.applications is not None and not helped:
            detail = (
                "It has servers by NAT, and /proc/net/ip_vs_app shows no helper for TCP port 21."
            )
            yield Finding(
                "ftp-helper-missing", format_service(service), detail, ("modprobe ip_vs_ftp",)
            )
        if methods & {ROUTE, TUNNEL} and not service.flags & PERSISTENT:
            edit = edit_service(
                service, flags=service.flags | PERSISTENT, timeout=DEFAULT_PERSISTENCE_TIMEOUT
            )
            detail = "It has servers by direct routing or tunnelling, and is not persistent."
            yield Finding("ftp-not-persistent", format_service(service), detail, (edit,))


def check_ports(table: DirectorTable, _: Facts) -> Iterator[Finding]:
    """Find servers on another port without NAT. A mark has no port of its own."""
    there = {(service.key(), *server.key()) for service, server in list_servers(table)}
    for service, server in list_servers(table, ROUTE, TUNNEL):
        if not service.fwmark and server.port != service.port:
            again = copy.copy(server)
            again.port = service.port
            fixes: tuple[str, ...] = (f"ipvsadm -d {writer.format_entry(service, server)}",)
            if (service.key(), *again.key()) not in there:
                fixes = (format_server_command("-a", service, again), *fixes)
            detail = f"The server's port is {server.port}, the service's {service.port}."
            yield Finding("port-not-mapped", format_pair(service, server), detail, fixes)
