"""Carry out --predict: which server a client would get, and why.

Owns: what is read of the table and the host, clients as text, text and JSON. Must never know: how
schedulers choose (scheduling/).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from pyipvsadm.addresses import (
    format_address,
    format_numeric,
    format_service_key,
    parse_address,
    parse_int,
)
from pyipvsadm.commands.output import write_buffered
from pyipvsadm.errors import OperationError, UsageError
from pyipvsadm.model import AF_INET, AF_INET6
from pyipvsadm.scheduling.build import Build, find_release, parse_build
from pyipvsadm.scheduling.packet import Entry, Packet, Prediction, Predictor, Settings, find_service
from pyipvsadm.views.connections import parse_connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend, Service
    from pyipvsadm.scheduling.packet import ConnectionKey, End

    Client = tuple[str, bytes, int | None]  # as given, its address, its port

FIRST_PORT_FILE = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


def run_predict(request: Request, backend: Backend, env: Environment) -> int:
    """Say for each client which server it would get. Return 0, or 1 if any of them is refused.

    Raise UsageError (status 2) for a bad client, or if no service takes the packet.
    """
    asked = request.services[0]
    packet = Packet(asked.af, asked.protocol, asked.addr, asked.port, asked.fwmark)
    given = str(request.ours["predict"])
    clients = (
        list(_read_clients(env.read_input(), packet.af))
        if given == "-"
        else [parse_client(given, packet.af)]
    )
    services = {service.key(): service for service in backend.read_services(counters=False)}
    settings = read_settings(backend, env)
    service = find_service(services.get, packet, settings.first_port)
    if service is None:
        name = format_service_key(*asked.key())
        raise UsageError(f"no service takes a packet to {name}")
    build = read_build(backend, env)
    predictor = Predictor(
        service,
        backend.read_servers(service),
        packet,
        build,
        settings,
        _read_entries(backend, packet),
    )
    rows = [(client, predictor.predict(client[1], client[2])) for client in clients]
    if "json" in request.slots:
        from pyipvsadm.views.json_document import format_document  # noqa: PLC0415  # text does without

        predictions = [_make_record(client[0], found) for client, found in rows]
        write_buffered(env, [format_document(predictions=predictions)])
    elif given == "-":
        write_buffered(env, (f"{client[0]} {_format_outcome(found)}\n" for client, found in rows))
    else:
        marked = not packet.fwmark and any(
            each.fwmark and each.af == packet.af for each in services.values()
        )
        env.write_stdout(_format_path(rows[0][0], rows[0][1], service, marked, build))
    return int(any(not found.candidates for _, found in rows))


def parse_client(text: str, af: int) -> Client:
    """Parse ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT of a family. Raise UsageError if it is none."""
    host, port = text, ""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        port = rest[1:]
        if not closed or (rest and rest[0] != ":") or rest == ":":
            host = ""
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        host = host if port else ""
    addr = parse_address(AF_INET6 if ":" in host else AF_INET, host)
    if addr is None:
        raise UsageError(f"illegal client `{text}': it is ADDRESS, or ADDRESS:PORT")
    if len(addr) != (4 if af == AF_INET else 16):
        raise UsageError(
            f"client `{text}' is not of the service's family, IPv{4 if af == AF_INET else 6}"
        )
    if not port:
        return text, addr, None
    number = parse_int(port, 1, 65535)
    if number < 0:
        raise UsageError(f"illegal port of the client `{text}': it is 1 to 65535")
    return text, addr, number


def _read_clients(data: bytes, af: int) -> Iterator[Client]:
    """Yield the clients of standard input, one a line. Raise UsageError that names a bad line."""
    for number, line in enumerate(os.fsdecode(data).split("\n"), 1):
        text = line.strip()
        if text:
            try:
                yield parse_client(text, af)
            except UsageError as exc:
                raise UsageError(f"line {number}: {exc}") from None


def read_build(backend: Backend, env: Environment) -> Build:
    """Return the build of the kernel that has the table; the usual one for an embedded table."""
    if backend.embedded:
        return Build(counts_total=True)
    uname = os.uname()
    try:
        config = os.fsdecode(env.read_file(f"/boot/config-{uname.release}"))
    except OperationError:
        config = ""
    return parse_build(
        config, find_release(uname.release, uname.version), uname.machine, sys.byteorder == "big"
    )


def read_settings(backend: Backend, env: Environment) -> Settings:
    """Return the settings that matter before the scheduler; a kernel's defaults where there are none."""
    settings = Settings()
    if backend.embedded:
        return settings
    for name in (
        "backup_only", "cache_bypass", "conn_reuse_mode", "expire_nodest_conn", "expire_quiescent_template",
    ):  # fmt: skip
        text = backend.read_sysctl(name).strip()
        if text:
            setattr(settings, name, int(text))
    if settings.backup_only:
        for daemon in backend.read_daemons():
            settings.role |= daemon.state
    with suppress(OperationError, ValueError):
        settings.first_port = int(env.read_file(FIRST_PORT_FILE))
    return settings


def _read_entries(backend: Backend, packet: Packet) -> dict[ConnectionKey, Entry]:
    """Return the connections and templates that the packet may belong to."""
    lines = iter(backend.iter_connections())
    next(lines, None)  # the heading
    virtual = b"%08X" % int.from_bytes(packet.addr, "big") if packet.af == AF_INET else b""
    entries = {}
    for line in lines:
        if virtual and not packet.fwmark and virtual not in line:
            continue
        found = parse_connection(line)
        key = (found.number, *found.client[1:], *found.virtual[1:])
        entries[key] = Entry(found.server, found.state, found.expires, found.engine)
    return entries


def _format_outcome(found: Prediction) -> str:
    """Return a prediction in one line: the server, or what is known and why."""
    ends = [format_numeric(*end) for end in found.candidates]
    if found.outcome == "server":
        return ends[0]
    if found.outcome == "refused":
        return f"refused ({found.reason})"
    return f"one of {', '.join(ends)}{' or refused' * found.may_refuse} ({found.reason})"


def _format_path(
    client: Client, found: Prediction, service: Service, marked: bool, build: Build
) -> str:
    """Return the path of one decision, in a few lines."""
    ends = ", ".join(format_numeric(*end) for end in found.candidates)
    result = {"server": ends, "refused": "refused", "one_of": f"one of {ends}"}[found.outcome]
    if found.candidates and found.may_refuse:
        result += ", or refused"
    text = (
        f"{client[0]} -> {result}\n"
        f"  service    {format_service_key(*service.key())}, {service.scheduler}{', if the packet carries no mark' * marked}\n"
        f"  because    {found.reason}\n"
    )
    if build.assumed and service.scheduler in ("sh", "mh"):
        text += f"  assumed    the usual {' and '.join(build.assumed)}\n"
    return text


def _make_record(client: str, found: Prediction) -> dict[str, Any]:
    """Return a prediction as it stands in JSON."""
    record: dict[str, Any] = {"client": client, "outcome": found.outcome}
    ends = [_make_end(end) for end in found.candidates]
    if found.outcome == "server":
        record["server"] = ends[0]
    elif ends:
        record["candidates"] = ends
        record["may_refuse"] = found.may_refuse
    record["reason"] = found.reason
    return record


def _make_end(end: End) -> dict[str, Any]:
    return {"address": format_address(end[0], end[1]), "port": end[2]}
