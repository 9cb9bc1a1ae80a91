"""Check answers: those to a probe, and those that the connection table shows.

Owns: findings about servers that do not answer, and the commands that take them out of service.
Must never know: how servers are asked.
"""

from __future__ import annotations

from pyipvsadm.doctor import services
from pyipvsadm.doctor.facts import DirectorTable, format_pair, format_server, get_host
from pyipvsadm.doctor.fixes import format_server_command, format_sysctl
from pyipvsadm.errors import Finding
from pyipvsadm.model import PERSISTENT, TCP
from pyipvsadm.text import pluralize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pyipvsadm.doctor.facts import Facts, ProbeResult
    from pyipvsadm.model import Server, Service


def check_probes(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Find servers that should take connections and did not answer the probe."""
    for service, servers in table.services:
        asked = [
            (server, facts.answers.get((get_host(server), probe_port(service, server))))
            for server in servers
        ]
        bad = [
            server
            for server, answer in asked
            if server.weight and answer is not None and not _is_well(answer)
        ]
        for server, answer in asked:
            if server in bad and answer is not None:
                yield _explain_probe(
                    service, server, answer, take_out(service, server, bad, servers, facts)
                )


def _is_well(answer: ProbeResult) -> bool:
    return answer.neighbour not in ("failed", "incomplete") and answer.tcp in ("", "open")


def _explain_probe(
    service: Service, server: Server, answer: ProbeResult, fixes: tuple[str, ...]
) -> Finding:
    if answer.neighbour in ("failed", "incomplete"):
        detail = f"The kernel's neighbour entry on the way to it: {answer.neighbour}."
        return Finding("server-no-neighbour", format_pair(service, server), detail, fixes)
    if answer.tcp == "refused":
        return Finding(
            "server-refuses",
            format_pair(service, server),
            f"{format_server(server)} refused a connection.",
            fixes,
        )
    detail = f"A connect to {format_server(server)}, given a second: {answer.tcp}."
    return Finding("server-silent", format_pair(service, server), detail, fixes)


def take_out(
    service: Service,
    server: Server,
    bad: Collection[Server],
    servers: Collection[Server],
    facts: Facts,
) -> tuple[str, ...]:
    """Return the commands that give a bad server weight 0: none where no other one would take its
    clients.

    With persistence its clients are let go as well, which templates would hold back otherwise.
    """
    if not any(each.weight and each not in bad for each in servers):
        return ()
    edit = format_server_command("-e", service, server, weight=0)
    held = (
        service.flags & PERSISTENT
        and server.persistent
        and facts.sysctls.get(services.QUIESCENT) == "0"
    )
    return (format_sysctl(services.QUIESCENT, 1), edit) if held else (edit,)


def check_handshakes(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Find servers with more than half of their TCP connections in SYN_RECV."""
    exact = {_format_end(service) for service, _ in table.services if service.port}
    # of services by mark, or of all ports
    others: dict[tuple[int, bytes], list[tuple[int, int]]] = {}
    for (virtual, real), counts in facts.handshakes.items():
        if virtual not in exact:
            others.setdefault(real[:2], []).append(counts)
    for service, servers in table.services:
        found = []
        for server in servers:
            if service.port:
                rows = [
                    facts.handshakes.get(
                        (_format_end(service), (server.af, server.addr, server.port)), (0, 0)
                    )
                ]
            else:
                rows = others.get((server.af, server.addr), [])
            stay, every = sum(row[0] for row in rows), sum(row[1] for row in rows)
            if server.weight and 2 * stay > every:
                found.append((server, stay, every))
        bad = [server for server, *_ in found]
        for server, stay, every in found:
            detail = f"{stay} of {pluralize(every, 'connection')} to it {'stay' if every > 1 else 'stays'} in SYN_RECV."
            fixes = take_out(service, server, bad, servers, facts)
            yield Finding("server-syn-recv", format_pair(service, server), detail, fixes)


def _format_end(service: Service) -> tuple[int, bytes, int]:
    return service.af, service.addr, service.port


def probe_port(service: Service, server: Server) -> int:
    """Return the TCP port to probe; 0 if there is none: then only the neighbour entry is read."""
    return server.port if service.protocol == TCP else 0
