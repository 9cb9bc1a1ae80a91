"""What can be wrong with the services of a director by themselves: their servers, schedulers,
persistence, ports. Pure.

Owns: these checks, one small function each. Must never know: where facts come from, how findings
are shown.
"""

from __future__ import annotations

import copy

from pyipvsadm import addresses
from pyipvsadm.doctor.codes import Finding
from pyipvsadm.doctor.facts import pair_name, server_name, servers_of, service_name
from pyipvsadm.doctor.fixes import count, edit_service, server_command, sysctl
from pyipvsadm.grammar.parser import PERSISTENCE
from pyipvsadm.model import AF_INET6, MASQ, NO_MASK4, NO_MASK6, PERSISTENT, ROUTE, TCP, TUNNEL
from pyipvsadm.rules import writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyipvsadm.doctor.facts import Facts, Table

FTP_PORT = 21
QUIESCENT = "net/ipv4/vs/expire_quiescent_template"


def no_scheduler(table: Table, facts: Facts) -> Iterator[Finding]:
    """The kernel reports "none" for a service that nothing is bound to."""
    for service, _ in table.services:
        name = service.scheduler
        if name in ("", "none"):
            yield Finding(
                "scheduler-missing",
                service_name(service),
                "Its scheduler is none.",
                (edit_service(service, scheduler="wlc"),),
            )
        elif facts.schedulers is not None and name not in facts.schedulers:
            what = f"Its scheduler is {name}, and this kernel has no module ip_vs_{name}."
            yield Finding(
                "scheduler-missing",
                service_name(service),
                what,
                (edit_service(service, scheduler="wlc"),),
            )


def no_servers(table: Table, _: Facts) -> Iterator[Finding]:
    """Services without servers, and with none that takes connections."""
    for service, servers in table.services:
        named = writer.selector(service, addresses.format_numeric)
        if not servers:
            yield Finding(
                "no-servers",
                service_name(service),
                "It has no real server.",
                (f"ipvsadm -a {named} -r SERVER",),
            )
        elif all(not server.weight for server in servers):
            what = f"Its {count(len(servers), 'server')} {'have' if len(servers) > 1 else 'has'} weight 0."
            yield Finding(
                "all-weights-zero",
                service_name(service),
                what,
                (server_command("-e", service, servers[0], weight=1),),
            )


def quiescent(table: Table, facts: Facts) -> Iterator[Finding]:
    """Persistence, a server at weight 0, and the sysctl that would let its clients go
    (ip_vs_conn.c: ip_vs_check_template).
    """
    if facts.sysctls.get(QUIESCENT) != "0":
        return
    for service, servers in table.services:
        idle = [server for server in servers if not server.weight and server.persistent]
        if service.flags & PERSISTENT and idle:
            held = sum(server.persistent for server in idle)
            what = (
                f"{', '.join(map(server_name, idle))} at weight 0, {count(held, 'template')} there; "
                "net.ipv4.vs.expire_quiescent_template is 0."
            )
            yield Finding(
                "quiescent-templates", service_name(service), what, (sysctl(QUIESCENT, 1),)
            )


def full(table: Table, _: Facts) -> Iterator[Finding]:
    """Servers that have reached their upper threshold (ip_vs_conn.c: ip_vs_bind_dest).

    A server that was full takes connections again below its lower threshold (by default three
    quarters of the upper one): an edit has to raise both above what is there.
    """
    for service, server in servers_of(table):
        held = server.active + server.inactive
        if server.upper and held >= server.upper:
            what = f"{count(held, 'connection')} there, of {server.upper} at most (-x)."
            lower = server.lower and max(2 * server.lower, held + 1)
            mend = server_command("-e", service, server, upper=2 * held, lower=lower)
            yield Finding("server-full", pair_name(service, server), what, (mend,))


def netmask(table: Table, __: Facts) -> Iterator[Finding]:
    """-M without -p."""
    for service, _ in table.services:
        none = NO_MASK6 if service.af == AF_INET6 else NO_MASK4
        if service.netmask not in (none, 0) and not service.flags & PERSISTENT:
            edit = edit_service(service, flags=service.flags | PERSISTENT, timeout=PERSISTENCE)
            what = f"Its netmask is {writer.mask_text(service)}, and it is not persistent."
            yield Finding("netmask-without-persistence", service_name(service), what, (edit,))


def ftp(table: Table, facts: Facts) -> Iterator[Finding]:
    """FTP's second connections: by the helper for NAT (ip_vs_ftp.c), by persistence otherwise
    (ip_vs_core.c: ip_vs_schedule).
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
                "ftp-helper-missing", service_name(service), what, ("modprobe ip_vs_ftp",)
            )
        if methods & {ROUTE, TUNNEL} and not service.flags & PERSISTENT:
            edit = edit_service(service, flags=service.flags | PERSISTENT, timeout=PERSISTENCE)
            what = "It has servers by direct routing or tunnelling, and is not persistent."
            yield Finding("ftp-not-persistent", service_name(service), what, (edit,))


def ports(table: Table, _: Facts) -> Iterator[Finding]:
    """Another port without NAT. A mark has no port of its own."""
    there = {(service.key(), *server.key()) for service, server in servers_of(table)}
    for service, server in servers_of(table, ROUTE, TUNNEL):
        if not service.fwmark and server.port != service.port:
            again = copy.copy(server)
            again.port = service.port
            mends: tuple[str, ...] = (
                f"ipvsadm -d {writer.selector(service, addresses.format_numeric)} -r {server_name(server)}",
            )
            if (service.key(), *again.key()) not in there:
                mends = (server_command("-a", service, again), *mends)
            what = f"The server's port is {server.port}, the service's {service.port}."
            yield Finding("port-not-mapped", pair_name(service, server), what, mends)
