"""Predict the way of the first packet of a client through IPVS: service, connection, template, scheduler.

Owns: what comes before the scheduler. Must never know: how the table and the connections are read.
"""

from __future__ import annotations

from pyipvsadm.model import (
    AF_INET,
    BACKUP,
    PERSISTENT,
    SCTP,
    TCP,
    UDP,
    Record,
)
from pyipvsadm.scheduling.choice import Chooser
from pyipvsadm.scheduling.overload import NO, get_usable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyipvsadm.model import Server, Service
    from pyipvsadm.scheduling.build import Build

    # (protocol, client, its port, virtual address, its port), as the kernel finds a connection
    # (ip_vs_conn.c: ip_vs_conn_hashkey_param)
    ConnectionKey = tuple[int, bytes, int, bytes, int]
    End = tuple[int, bytes, int]  # family, address, port

FTP_PORT = 21
FTP_DATA_PORT = 20
_REUSED = {TCP: ("TIME_WAIT", "CLOSE"), SCTP: ("CLOSED",)}


class Packet(Record):
    """Hold what a client's packet is sent to: protocol, address and port, or a firewall mark (then
    the rest is 0 and b"").
    """

    __slots__ = ("addr", "af", "fwmark", "port", "protocol")

    def __init__(
        self, af: int, protocol: int = 0, addr: bytes = b"", port: int = 0, fwmark: int = 0
    ) -> None:
        self.af = af
        self.protocol = protocol
        self.addr = addr
        self.port = port
        self.fwmark = fwmark


class Entry(Record):
    """Hold a connection, or a template, that exists: its server's end, its state, and after how
    many seconds it ends. engine: it belongs to a persistence engine.
    """

    __slots__ = ("engine", "expires", "server", "state")

    def __init__(self, server: End, state: str, expires: int, engine: str = "") -> None:
        self.server = server
        self.state = state
        self.expires = expires
        self.engine = engine


class Settings(Record):
    """Hold the settings that matter before the scheduler (sysctl net.ipv4.vs). first_port: the
    first port that is not privileged (net.ipv4.ip_unprivileged_port_start). role: of the sync
    daemons that run (MASTER, BACKUP, both, 0).
    """

    __slots__ = (
        "backup_only", "cache_bypass", "conn_reuse_mode", "expire_nodest_conn", "expire_quiescent_template",
        "first_port", "role",
    )  # fmt: skip

    def __init__(
        self,
        conn_reuse_mode: int = 1,
        expire_nodest_conn: int = 0,
        expire_quiescent_template: int = 0,
        cache_bypass: int = 0,
        backup_only: int = 0,
        first_port: int = 1024,
        role: int = 0,
    ) -> None:
        self.conn_reuse_mode = conn_reuse_mode
        self.expire_nodest_conn = expire_nodest_conn
        self.expire_quiescent_template = expire_quiescent_template
        self.cache_bypass = cache_bypass
        self.backup_only = backup_only
        self.first_port = first_port
        self.role = role


class Prediction(Record):
    """Hold the servers that may get the connection, each (family, address, port): one if that can be
    known, none if it is refused. may_refuse: it may be refused as well. reason: one sentence.
    bound: a persistence template decides.
    """

    __slots__ = ("bound", "candidates", "may_refuse", "reason")

    def __init__(
        self, candidates: tuple[End, ...], may_refuse: bool, reason: str, bound: bool = False
    ) -> None:
        self.candidates = candidates
        self.may_refuse = may_refuse
        self.reason = reason
        self.bound = bound

    @property
    def outcome(self) -> str:
        """Return "server", "refused" or "one_of"."""
        if not self.candidates:
            return "refused"
        return "one_of" if len(self.candidates) > 1 or self.may_refuse else "server"


def find_service(
    find: Callable[[tuple[int, int, bytes, int, int]], Service | None],
    packet: Packet,
    first_port: int,
) -> Service | None:
    """Return the service that takes the packet, None if none does (ip_vs_ctl.c:
    ip_vs_service_find). find: gives the service of a key (Service.key()), or None.

    First the mark, then address and port, for TCP a service of FTP at the address if the port may
    be one of its data, then port 0.
    """
    if packet.fwmark:
        return find((packet.af, 0, b"", 0, packet.fwmark))
    ports = [packet.port]
    if packet.protocol == TCP and (packet.port == FTP_DATA_PORT or packet.port >= first_port):
        ports.append(FTP_PORT)
    for port in (*ports, 0):
        service = find((packet.af, packet.protocol, packet.addr, port, 0))
        if service is not None:
            return service
    return None


def get_template_key(service: Service, packet: Packet, client: bytes) -> ConnectionKey:
    """Return the key of the client's persistence template (ip_vs_core.c: ip_vs_sched_persist)."""
    network = mask_client(service, client)
    if service.fwmark:
        mark = service.fwmark.to_bytes(4, "big")
        return (0, network, 0, mark if service.af == AF_INET else mark + bytes(12), 0)
    port = packet.port if packet.port == service.port != FTP_PORT else 0
    return (packet.protocol, network, 0, packet.addr, port)


def mask_client(service: Service, client: bytes) -> bytes:
    """Return the network that persistence takes for the client: the service's netmask, for IPv6 a
    prefix length.
    """
    mask = service.netmask if len(client) == 4 else (1 << 128) - (1 << 128 - service.netmask)
    return (int.from_bytes(client, "big") & mask).to_bytes(len(client), "big")


class Predictor:
    """Predict for many clients of one service what happens to a new connection."""

    def __init__(
        self,
        service: Service,
        servers: Sequence[Server],
        packet: Packet,
        build: Build,
        settings: Settings | None = None,
        entries: Mapping[ConnectionKey, Entry] | None = None,
        former: Sequence[int] | None = None,
    ) -> None:
        """Take the service that the packet finds, and its servers, newest first. entries: the
        connections and templates that exist. former: see Chooser.
        """
        self._service = service
        self._servers = {server.key(): server for server in servers}
        self._ends = [self._get_end(server, packet) for server in servers]
        self._packet = packet
        self._settings = settings or Settings()
        self._entries = entries or {}
        self._chooser = Chooser(service, servers, build, former)
        self._refusal = self._find_refusal()
        self._engine = service.pe and service.flags & PERSISTENT and packet.protocol == UDP

    def _get_end(self, server: Server, packet: Packet) -> End:
        """Return a server's end of a connection: port 0 stands for the packet's, as does the port
        of a server that persistence found for another port (ip_vs_core.c: ip_vs_schedule,
        ip_vs_sched_persist).
        """
        persistent = self._service.flags & PERSISTENT
        if not server.port or (persistent and packet.port != self._service.port and packet.port):
            return (server.af, server.addr, packet.port)
        return (server.af, server.addr, server.port)

    def _find_refusal(self) -> str:
        """Return why a packet to this service is refused, whoever sends it; "" if it is not so."""
        service, packet, settings = self._service, self._packet, self._settings
        if settings.backup_only and settings.role & BACKUP:
            return "not directed: a backup sync daemon runs here, and backup_only is set"
        if not service.flags & PERSISTENT and not service.fwmark and packet.port != service.port:
            if service.port:
                return (
                    f"not directed: its service of port {service.port} takes other ports only with persistence; "
                    "the packet stays on this director"
                )
            return "refused: a service with port 0 needs persistence (-p)"
        return ""

    def predict(self, client: bytes, port: int | None) -> Prediction:
        """Return what happens to a new connection of a client: its address, and its port (None: any
        new one).
        """
        packet = self._packet
        if self._refusal:
            return Prediction((), True, self._refusal)
        if port is not None:
            entry = self._entries.get((packet.protocol, client, port, packet.addr, packet.port))
            if entry is not None and not packet.fwmark and not self._is_reused(entry):
                return self._follow_connection(entry)
        if port == FTP_DATA_PORT:
            return Prediction(
                (), True, "not directed: connections from port 20 (FTP data) are never scheduled"
            )
        if self._service.flags & PERSISTENT:
            found = self._follow_template(client)
            if found is not None:
                return found
        choice = self._chooser.choose(client, port, packet.addr)
        reason = choice.reason
        if self._engine:
            ends = tuple(self._ends)
            return Prediction(
                ends,
                True,
                f"persistence engine {self._service.pe}: it depends on what the packet says",
            )
        if not choice.candidates and self._settings.cache_bypass and self._service.fwmark:
            reason += "; cache_bypass: the packet goes on to its own destination"
        return Prediction(
            tuple(self._ends[index] for index in choice.candidates), choice.may_refuse, reason
        )

    def _is_reused(self, entry: Entry) -> bool:
        """Return whether the first packet of a new connection makes the kernel forget the one of
        the same ports (ip_vs_core.c: ip_vs_in, is_new_conn_expected).
        """
        settings = self._settings
        if not settings.conn_reuse_mode or self._packet.protocol == UDP:
            return False
        server = self._servers.get(entry.server)
        if settings.expire_nodest_conn and server is not None and not server.weight:
            return True
        if self._service.flags & PERSISTENT:
            return False
        return entry.state in _REUSED.get(self._packet.protocol, ())

    def _follow_connection(self, entry: Entry) -> Prediction:
        """Return what happens to a packet of a connection that exists (ip_vs_core.c: ip_vs_in)."""
        left = f"{entry.state}, ends in {entry.expires} s without packets"
        if self._holds(entry.server):
            return Prediction((entry.server,), False, f"this connection exists ({left})")
        after = (
            "the first packet is dropped, the next one is scheduled anew (expire_nodest_conn)"
            if self._settings.expire_nodest_conn
            else "its packets are dropped until it ends"
        )
        return Prediction(
            (), True, f"this connection exists ({left}), but its server was removed: {after}"
        )

    def _holds(self, end: End) -> bool:
        """Return whether the end of a connection is that of a server of the service."""
        return end in self._ends or end in self._servers

    def _follow_template(self, client: bytes) -> Prediction | None:
        """Return what a template decides, None if there is none in force (ip_vs_conn.c:
        ip_vs_check_template).
        """
        packet = self._packet
        entry = self._entries.get(get_template_key(self._service, packet, client))
        if entry is None or entry.engine:
            return None
        family, addr, port = entry.server
        server = self._servers.get(entry.server) or next(
            (
                each
                for each in self._servers.values()
                if (each.af, each.addr) == (family, addr) and not port
            ),
            None,
        )
        if server is None:
            return None
        if self._settings.expire_quiescent_template and not server.weight:
            return None
        reason = f"persistence: the client is bound to this server for {entry.expires} s more"
        if get_usable(server) == NO:
            reason += ", though it takes no new clients"
        return Prediction((self._get_end(server, packet),), False, reason, bound=True)
