"""A Request for the doctor, carried out: to an exit status.

Owns: what is read for which question, and in which order. Must never know: netlink, single checks,
how text is laid out. Nothing here is imported unless the doctor was asked for.
"""

from __future__ import annotations

from pyipvsadm.addresses import address_text, parse
from pyipvsadm.doctor import answers, director, real_server, report, unchecked
from pyipvsadm.doctor.codes import BY_CODE, CODES, Finding, explained
from pyipvsadm.doctor.facts import OUTSIDE, Table, family_of, host_of, vip_of
from pyipvsadm.errors import Failed, Refused, Usage
from pyipvsadm.model import TCP
from pyipvsadm.netns import entering
from pyipvsadm.views.connections import tally_handshakes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyipvsadm.doctor.facts import Facts, Pair
    from pyipvsadm.environment import World
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend

KERNEL = "kernel"


def run(request: Request, world: World, spec: str, opened: Callable[[], Backend]) -> int:
    """Examine a director, or with --real-server-for a real server. opened: opens the backend that
    spec names.

    The status is 0, 1 or 2 by the worst finding, 3 when what is needed could not be read. What
    mends a finding of another network namespace is a command to be run there.
    """
    ours = request.ours
    if "explain" in ours:
        return _explain(str(ours["explain"]), world)
    part = None
    if "real-server-for" in ours:
        director_ = _address(world, "director", ours["director"]) if "director" in ours else ""
        server = request.server
        assert server is not None  # a command that changes nothing has one
        vip = _address(world, "real-server-for", ours["real-server-for"])
        part = real_server.Part(vip, server.forward, director_, server.tun_type)
    try:
        if not world.host().has_proc():
            raise Failed(
                "/proc is not mounted: without it neither the table nor the host can be examined; mount -t proc proc /proc"
            )
        if part is not None:
            facts = world.host().facts([part.vip, OUTSIDE[family_of(part.vip)]], [], [])
            findings = real_server.examine(part, facts)
            aside: list[str] = []
        else:
            findings, aside = _director(world, spec, opened, probe="probe" in ours)
    except (Failed, Refused) as no:
        raise Failed(str(no), report.UNKNOWN) from None
    if "netns" in ours:
        enter = entering(str(ours["netns"]))
        findings = [
            each._replace(mends=tuple(enter + mend for mend in each.mends)) for each in findings
        ]
    world.out((report.as_json if "json" in ours else report.text)(findings, aside))
    return report.status(findings)


def _director(
    world: World, spec: str, opened: Callable[[], Backend], *, probe: bool
) -> tuple[list[Finding], list[str]]:
    host = world.host()
    if spec == KERNEL and not host.has_ipvs():  # opening the table would load the module
        return [
            Finding(
                "module-missing", "this host", "There is no /proc/net/ip_vs.", ("modprobe ip_vs",)
            )
        ], []
    backend = opened()
    try:
        table = Table(
            [
                (service, backend.destinations(service))
                for service in backend.services(counters=False)
            ],
            {each.state: (each.interface, each.syncid) for each in backend.daemons()},
        )
        handshakes = _handshakes(backend)
    finally:
        backend.close()
    servers = [(service, server) for service, servers in table.services for server in servers]
    facts: Facts = host.facts(
        {host_of(server) for _, server in servers},
        {vip_of(service) for service, _ in table.services} - {""},
        {service.scheduler for service, _ in table.services} - {"", "none"},
    )
    facts.programs = world.programs()
    facts.handshakes = handshakes
    if probe:
        host.probe(
            facts,
            [
                (host_of(server), answers.probe_port(service, server))
                for service, server in servers
                if server.weight
            ],
        )
    return director.examine(table, facts), list(unchecked.not_judged(table, facts))


def _handshakes(backend: Backend) -> dict[Pair, tuple[int, int]]:
    """Count the connections that stay in SYN_RECV; none where the kernel's listing cannot be
    read.
    """
    try:
        lines = backend.connections()
        next(lines, None)
        return tally_handshakes(lines)
    except Failed:
        return {}


def _address(world: World, option: str, value: object) -> str:
    found = parse(str(value), TCP, world.names)
    if found is None or found.port is not None:
        raise Usage(f"illegal {option} address `{value}': it is an address without a port")
    return address_text(found.family, found.addr)


def _explain(code: str, world: World) -> int:
    if code == "all":
        world.out("\n".join(map(explained, CODES)))
    elif code in BY_CODE:
        world.out(explained(BY_CODE[code]))
    else:
        raise Usage(
            f"unknown code `{code}': it is all, or one of\n  "
            + "\n  ".join(row.code for row in CODES)
        )
    return 0
