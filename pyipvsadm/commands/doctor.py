"""Carry out --doctor.

Owns: what is read for which question, and in which order. Must never know: netlink, single checks,
how text is laid out. Imported only if the doctor is asked for.
"""

from __future__ import annotations

from pyipvsadm.addresses import format_address, parse_endpoint
from pyipvsadm.change.desired import parse_desired
from pyipvsadm.commands.status import read_status
from pyipvsadm.doctor import answers, director, real_server, report, unchecked
from pyipvsadm.doctor.codes import BY_CODE, CODES
from pyipvsadm.doctor.facts import (
    OUTSIDE,
    DirectorTable,
    HeldConnections,
    get_family,
    get_host,
    get_vip,
)
from pyipvsadm.errors import Finding, OperationError, RefusedError, UsageError
from pyipvsadm.model import TCP
from pyipvsadm.netns import format_nsenter
from pyipvsadm.views.connections import count_handshakes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyipvsadm.doctor.facts import Facts, Pair
    from pyipvsadm.doctor.host import Host
    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend

KERNEL = "kernel"


def run_doctor(request: Request, env: Environment, spec: str, opened: Callable[[], Backend]) -> int:
    """Examine a director, or those of its services that are named, or with --real-server-for a
    real server. opened: opens the backend that spec names.

    The status is 0, 1 or 2 by the worst finding, 3 when what is needed could not be read. What
    fixes a finding of another network namespace is a command to be run there.
    """
    ours = request.ours
    if "explain" in ours:
        return _explain_code(str(ours["explain"]), env)
    part = None
    if "real-server-for" in ours and request.services:
        raise UsageError("--real-server-for examines this host: give no service with it")
    if "real-server-for" in ours:
        director_ = _parse_address(env, "director", ours["director"]) if "director" in ours else ""
        server = request.server
        assert server is not None  # a command that changes nothing has one
        vip = _parse_address(env, "real-server-for", ours["real-server-for"])
        part = real_server.RealServerRole(vip, server.forward, director_, server.tun_type)
    try:
        if not env.open_host().has_proc():
            raise OperationError(
                "/proc is not mounted: without it neither the table nor the host can be examined; mount -t proc proc /proc"
            )
        if part is not None:
            facts = env.open_host().collect_facts([part.vip, OUTSIDE[get_family(part.vip)]], [], [])
            findings = real_server.examine_real_server(part, facts)
            aside: list[str] = []
        else:
            findings, aside = _examine_director(request, env, spec, opened)
    except (OperationError, RefusedError) as exc:
        raise OperationError(str(exc), report.UNKNOWN) from None
    if "netns" in ours:
        enter = format_nsenter(str(ours["netns"]))
        findings = [
            Finding(each.code, each.text, each.message, tuple(enter + fix for fix in each.fixes))
            for each in findings
        ]
    if "json" in ours:
        env.write_stdout(report.render_json(findings, aside))
    else:
        columns = _get_columns(env)
        env.write_stdout(report.render_text(findings, aside, columns, env.has_colours()))
    return report.get_status(findings)


def _examine_director(
    request: Request, env: Environment, spec: str, opened: Callable[[], Backend]
) -> tuple[list[Finding], list[str]]:
    """Examine the services of the table, or only those that the request names."""
    host = env.open_host()
    if spec == KERNEL and not host.has_ipvs():  # opening the table would load the module
        return [
            Finding(
                "module-missing", "this host", "There is no /proc/net/ip_vs.", ("modprobe ip_vs",)
            )
        ], []
    backend = opened()
    try:
        table = DirectorTable(
            [
                (service, backend.read_servers(service))
                for service in (
                    [backend.find_service(service) for service in request.services]
                    or backend.read_services(counters=False)
                )
            ],
            {each.state: (each.interface, each.syncid) for each in backend.read_daemons()},
        )
        handshakes = _count_handshakes(backend)
        held = None if request.services or backend.embedded else _count_held(backend)
    finally:
        backend.close()
    servers = [(service, server) for service, servers in table.services for server in servers]
    facts: Facts = host.collect_facts(
        {get_host(server) for _, server in servers},
        {get_vip(service) for service, _ in table.services} - {""},
        {service.scheduler for service, _ in table.services} - {"", "none"},
    )
    facts.programs = env.list_programs()
    if spec == KERNEL and "netns" not in request.ours and not request.services:
        facts.boot_file = _read_boot_file(host, env)
    facts.handshakes = handshakes
    facts.held = held
    if "probe" in request.ours:
        host.probe_servers(
            facts,
            [
                (get_host(server), answers.probe_port(service, server))
                for service, server in servers
                if server.weight
            ],
        )
    return director.examine_director(table, facts), list(unchecked.list_not_checked(table, facts))


def _read_boot_file(host: Host, env: Environment) -> tuple[str, DirectorTable] | None:
    """Read the rules file of the distribution's service; None if there is none with rules."""
    found = host.read_boot_file()
    if found is None:
        return None
    path, text = found
    try:
        desired = parse_desired(text, env, path)
    except (UsageError, OperationError):
        return None
    if not desired.services:
        return None
    return path, DirectorTable(
        [
            (each.service, [server for _, server in each.servers.values()])
            for each in desired.services.values()
        ]
    )


def _count_held(backend: Backend) -> HeldConnections:
    status = read_status(backend)
    return HeldConnections(status.entries, status.size, status.maximum, status.chains)


def _count_handshakes(backend: Backend) -> dict[Pair, tuple[int, int]]:
    """Count the connections that stay in SYN_RECV; none where the kernel's listing cannot be
    read.
    """
    try:
        lines = backend.iter_connections()
        next(lines, None)
        return count_handshakes(lines)
    except OperationError:
        return {}


def _parse_address(env: Environment, option: str, value: object) -> str:
    found = parse_endpoint(str(value), TCP, env.names)
    if found is None or found.port is not None:
        raise UsageError(f"illegal {option} address `{value}': it is an address without a port")
    return format_address(found.family, found.addr)


def _get_columns(env: Environment) -> int:
    """Return the width of the terminal, 0 if standard output is none."""
    return env.get_size()[0] if env.is_output_terminal() else 0


def _explain_code(code: str, env: Environment) -> int:
    if code == "all" or code in BY_CODE:
        rows = CODES if code == "all" else (BY_CODE[code],)
        columns = _get_columns(env)
        env.write_stdout("\n".join(report.render_explanation(row, columns) for row in rows))
    else:
        raise UsageError(
            f"unknown code `{code}': it is all, or one of\n  "
            + "\n  ".join(row.code for row in CODES)
        )
    return 0
