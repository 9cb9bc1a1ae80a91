"""Check the services of a director: servers, schedulers, persistence, ports. Pure.

Owns: these checks, one small function for each. Must never know: where facts come from, how
findings are shown.
"""

from __future__ import annotations

import copy

from pyipvsadm import addresses
from pyipvsadm.doctor.codes import Finding
from pyipvsadm.doctor.facts import format_pair, format_server, format_service, list_servers
from pyipvsadm.doctor.fixes import edit_service, format_server_command, format_sysctl, pluralize
from pyipvsadm.grammar.parser import DEFAULT_PERSISTENCE_TIMEOUT
from pyipvsadm.model import AF_INET6, HOST_MASK4, HOST_PREFIX6, MASQ, PERSISTENT, ROUTE, TCP, TUNNEL
from pyipvsadm.rules import writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyipvsadm.doctor.facts import DirectorTable, Facts

FTP_PORT = 21
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
            what = f"Its scheduler is {name}, and this kernel has no module ip_vs_{name}."
            yield Finding(
                "scheduler-missing",
                format_service(service),
                what,
                (edit_service(service, scheduler="wlc"),),
            )


def check_servers(table: DirectorTable, _: Facts) -> Iterator[Finding]:
    """Find services without servers, or whose servers all have weight 0."""
    for service, servers in table.services:
        named = writer.format_selector(service, addresses.format_numeric)
        if not servers:
            yield Finding(
                "no-servers",
                format_service(service),
                "It has no real server.",
                (f"ipvsadm -a {named} -r SERVER",),
            )
        elif all(not server.weight for server in servers):
            what = f"Its {pluralize(len(servers), 'server')} {'have' if len(servers) > 1 else 'has'} weight 0."
            yield Finding(
                "all-weights-zero",
                format_service(service),
                what,
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
            what = (
                f"{', '.join(map(format_server, idle))} at weight 0, {pluralize(held, 'template')} there; "
                "net.ipv4.vs.expire_quiescent_template is 0."
            )
            yield Finding(
                "quiescent-templates", format_service(service), what, (format_sysctl(QUIESCENT, 1),)
            )


def check_full(table: DirectorTable, _: Facts) -> Iterator[Finding]:
    """Find servers at their upper threshold (ip_vs_conn.c: ip_vs_bind_dest).

    Such a server takes connections again below its lower threshold (by default three quarters of
    the upper one), so an edit must raise both above the present count.
    """
    for service, server in list_servers(table):
        held = server.active + server.inactive
        if server.upper and held >= server.upper:
            what = f"{pluralize(held, 'connection')} there, of {server.upper} at most (-x)."
            lower = server.lower and max(2 * server.lower, held + 1)
            mend = format_server_command("-e", service, server, upper=2 * held, lower=lower)
            yield Finding("server-full", format_pair(service, server), what, (mend,))


def check_netmask(table: DirectorTable, __: Facts) -> Iterator[Finding]:
    """Find services with -M but without -p."""
    for service, _ in table.services:
        none = HOST_PREFIX6 if service.af == AF_INET6 else HOST_MASK4
        if service.netmask not in (none, 0) and not service.flags & PERSISTENT:
            edit = edit_service(
                service, flags=service.flags | PERSISTENT, timeout=DEFAULT_PERSISTENCE_TIMEOUT
            )
            what = f"Its netmask is {addresses.format_netmask(service.af, service.netmask)}, and it is not persistent."
            yield Finding("netmask-without-persistence", format_service(service), what, (edit,))


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
            what = "It has servers by NAT, and /proc/net/ip_vs_app shows no helper for TCP port 21."
            yield Finding(
                "ftp-helper-missing", format_service(service), what, ("modprobe ip_vs_ftp",)
            )
        if methods & {ROUTE, TUNNEL} and not service.flags & PERSISTENT:
            edit = edit_service(
                service, flags=service.flags | PERSISTENT, timeout=DEFAULT_PERSISTENCE_TIMEOUT
            )
            what = "It has servers by direct routing or tunnelling, and is not persistent."
            yield Finding("ftp-not-persistent", format_service(service), what, (edit,))


def check_ports(table: DirectorTable, _: Facts) -> Iterator[Finding]:
    """Find servers on another port without NAT. A mark has no port of its own."""
    there = {(service.key(), *server.key()) for service, server in list_servers(table)}
    for service, server in list_servers(table, ROUTE, TUNNEL):
        if not service.fwmark and server.port != service.port:
            again = copy.copy(server)
            again.port = service.port
            mends: tuple[str, ...] = (
                f"ipvsadm -d {writer.format_selector(service, addresses.format_numeric)} -r {format_server(server)}",
            )
            if (service.key(), *again.key()) not in there:
                mends = (format_server_command("-a", service, again), *mends)
            what = f"The server's port is {server.port}, the service's {service.port}."
            yield Finding("port-not-mapped", format_pair(service, server), what, mends)
