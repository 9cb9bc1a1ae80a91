"""Define virtual services, real servers, sync daemons and timeouts as values, and the interface of
every backend.

Owns: the records, the kernel's numbers (uapi ip_vs.h), the Backend protocol. Must never know:
netlink messages, rule text, options, how anything is shown.

Addresses are bytes in network order (4 or 16); ports, marks, weights and times (seconds) are ints.
Records are plain classes with slots: importing `dataclasses` would cost every start more than the
work it does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any, Protocol

    Row = tuple[Any, ...]  # (address: bytes, port: bytes, value, ...)

AF_INET = 2
AF_INET6 = 10

TCP = 6
UDP = 17
SCTP = 132
# The names in the kernel's files and in 1.31's listings.
PROTOCOLS = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP"}

# Forwarding methods: IP_VS_CONN_F_MASQ and the following, in the low three bits of a connection's
# flags (IP_VS_CONN_F_FWD_MASK).
MASQ = 0
LOCAL = 1
TUNNEL = 2
ROUTE = 3
BYPASS = 4
FORWARD_MASK = 7

# Flags of a service: IP_VS_SVC_F_*. sh and mh call the first two scheduler flags "fallback" and
# "port".
PERSISTENT = 0x01
# The kernel sets this flag on every service in its table.
HASHED = 0x02
ONE_PACKET = 0x04
SCHED1 = 0x08
SCHED2 = 0x10
SCHED3 = 0x20

# Tunnel types (IP_VS_CONN_F_TUNNEL_TYPE_*) and their checksum flags (IP_VS_TUNNEL_ENCAP_FLAG_*; 0
# is "no checksum").
IPIP = 0
GUE = 1
GRE = 2
TUN_CSUM = 1
TUN_REMCSUM = 2

# Roles of a sync daemon: IP_VS_STATE_*.
MASTER = 1
BACKUP = 2
ROLES = {MASTER: "master", BACKUP: "backup"}

# Operations have the numbers of the IPVS generic netlink commands (IPVS_CMD_*).
NEW_SERVICE = 1
SET_SERVICE = 2
DEL_SERVICE = 3
GET_SERVICE = 4
NEW_DEST = 5
SET_DEST = 6
DEL_DEST = 7
GET_DEST = 8
NEW_DAEMON = 9
DEL_DAEMON = 10
GET_DAEMON = 11
SET_CONFIG = 12
GET_CONFIG = 13
SET_INFO = 14
GET_INFO = 15
ZERO = 16
FLUSH = 17

SETTINGS = "/proc/sys/net/ipv4/vs/"
CONNECTIONS_FILE = "/proc/net/ip_vs_conn"
TABLE_FILE = "/proc/net/ip_vs"

HOST_MASK4 = 0xFFFFFFFF  # persistence by the whole client address (/32)
HOST_PREFIX6 = 128

# (connections, packets in, packets out, bytes in, bytes out, then the same five per second)
NO_STATS = (0,) * 10


class Record:
    """Hold values in named slots; records are compared and shown by them."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # records change; tables are keyed by Service.key()

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self.__slots__)})"


class Service(Record):
    """Hold a virtual service: by protocol, address and port, or by firewall mark (then those three
    are 0, b"", 0).

    netmask: for IPv4 the mask as a number (255.255.255.0 is 0xffffff00), for IPv6 the prefix
    length. timeout: persistence in seconds. flags: PERSISTENT and the others above. pe: persistence
    engine or "".
    """

    __slots__ = (
        "addr", "af", "flags", "fwmark", "netmask", "pe", "port", "protocol", "scheduler", "stats", "timeout",
    )  # fmt: skip

    def __init__(
        self,
        af: int,
        protocol: int = 0,
        addr: bytes = b"",
        port: int = 0,
        fwmark: int = 0,
        scheduler: str = "wlc",
        flags: int = 0,
        timeout: int = 0,
        netmask: int = HOST_MASK4,
        pe: str = "",
        stats: tuple[int, ...] = NO_STATS,
    ) -> None:
        self.af = af
        self.protocol = protocol
        self.addr = addr
        self.port = port
        self.fwmark = fwmark
        self.scheduler = scheduler
        self.flags = flags
        self.timeout = timeout
        self.netmask = netmask
        self.pe = pe
        self.stats = stats

    def key(self) -> tuple[int, int, bytes, int, int]:
        """Return the fields by which the kernel identifies the service (ip_vs_ctl.c:
        __ip_vs_service_find, __ip_vs_svc_fwm_find).
        """
        if self.fwmark:
            return (self.af, 0, b"", 0, self.fwmark)
        return (self.af, self.protocol, self.addr, self.port, 0)


class Server(Record):
    """Hold a real server of a service. tun_flags: TUN_CSUM, TUN_REMCSUM. active, inactive:
    connections; persistent: templates.
    """

    __slots__ = (
        "active", "addr", "af", "forward", "inactive", "lower", "persistent", "port", "stats", "tun_flags",
        "tun_port", "tun_type", "upper", "weight",
    )  # fmt: skip

    def __init__(
        self,
        af: int,
        addr: bytes,
        port: int,
        forward: int = ROUTE,
        weight: int = 1,
        upper: int = 0,
        lower: int = 0,
        tun_type: int = IPIP,
        tun_port: int = 0,
        tun_flags: int = 0,
        active: int = 0,
        inactive: int = 0,
        persistent: int = 0,
        stats: tuple[int, ...] = NO_STATS,
    ) -> None:
        self.af = af
        self.addr = addr
        self.port = port
        self.forward = forward
        self.weight = weight
        self.upper = upper
        self.lower = lower
        self.tun_type = tun_type
        self.tun_port = tun_port
        self.tun_flags = tun_flags
        self.active = active
        self.inactive = inactive
        self.persistent = persistent
        self.stats = stats

    def key(self) -> tuple[int, bytes, int]:
        """Return the fields by which the kernel identifies the server within its service
        (ip_vs_ctl.c: ip_vs_lookup_dest).
        """
        return (self.af, self.addr, self.port)


# Lines of a table that are written at once.
BLOCK_LINES = 1000

# The columns that listings may request of real servers, in the order of the kernel's records
# (ip_vs_ctl.c: ip_vs_genl_fill_dest). totals and rates are the two halves of stats.
COLUMNS = (
    "forward", "weight", "tun_type", "tun_port", "tun_flags", "upper", "lower", "active", "inactive", "persistent",
    "totals", "rates",
)  # fmt: skip


def to_row(server: Server, columns: tuple[str, ...]) -> Row:
    """Return a real server as (address, port, values of the columns); totals and rates are five
    values each.

    Ports, the tunnel's too, are two bytes in network order, so that rows sort as their addresses
    and ports do.
    """
    values: list[Any] = [server.addr, server.port.to_bytes(2, "big")]
    for name in columns:
        if name == "totals":
            values += server.stats[:5]
        elif name == "rates":
            values += server.stats[5:]
        else:
            values.append(
                server.tun_port.to_bytes(2, "big") if name == "tun_port" else getattr(server, name)
            )
    return tuple(values)


def iter_blocks(
    tables: Iterable[tuple[Service, list[Row]]],
) -> Iterator[list[tuple[Service, list[Row]]]]:
    """Group services into blocks of about BLOCK_LINES lines: formatting a block is cheaper, and only
    its text is in memory. An error of `tables` comes after the services that came before it.
    """
    block: list[tuple[Service, list[Row]]] = []
    lines = 0
    try:
        for table in tables:
            block.append(table)
            lines += 1 + len(table[1])
            if lines >= BLOCK_LINES:
                yield block
                block = []
                lines = 0
    except Exception:
        if block:
            yield block
        raise
    if block:
        yield block


def build_server(row: Row) -> Server:
    """Return the real server of a row that has all COLUMNS."""
    (
        addr,
        port,
        forward,
        weight,
        tun_type,
        tun_port,
        tun_flags,
        upper,
        lower,
        active,
        inactive,
        persistent,
    ) = row[:12]
    return Server(
        AF_INET if len(addr) == 4 else AF_INET6, addr, int.from_bytes(port, "big"), forward, weight, upper, lower,
        tun_type, int.from_bytes(tun_port, "big"), tun_flags, active, inactive, persistent, row[12:],
    )  # fmt: skip


class Daemon(Record):
    """Hold a sync daemon. state: MASTER or BACKUP. group: multicast address, 4 or 16 bytes, b"" for
    the kernel's default.

    Zero in maxlen (bytes of UDP payload), port and ttl asks for the kernel's default; the kernel
    never reports zero.
    """

    __slots__ = ("group", "interface", "maxlen", "port", "state", "syncid", "ttl")

    def __init__(
        self,
        state: int,
        interface: str = "",
        syncid: int = 0,
        maxlen: int = 0,
        group: bytes = b"",
        port: int = 0,
        ttl: int = 0,
    ) -> None:
        self.state = state
        self.interface = interface
        self.syncid = syncid
        self.maxlen = maxlen
        self.group = group
        self.port = port
        self.ttl = ttl


class Timeouts(Record):
    """Hold how many seconds a connection is kept: established TCP, TCP after a FIN, UDP. In a
    change, 0 leaves a value as it is.
    """

    __slots__ = ("tcp", "tcp_fin", "udp")

    def __init__(self, tcp: int, tcp_fin: int, udp: int) -> None:
        self.tcp = tcp
        self.tcp_fin = tcp_fin
        self.udp = udp


class Info(Record):
    """Hold the IPVS version (0x010201 is 1.2.1) and the size of the connection table in buckets."""

    __slots__ = ("size", "version")

    def __init__(self, version: int, size: int) -> None:
        self.version = version
        self.size = size


class ProcTable(Record):
    """Hold the text of /proc/net/ip_vs and the records needed to interpret it.

    simple_keys: the services that the text shows completely (by an address, no flags), each as its
    protocol in the machine's byte order, its address and its port in network order (2, 4 or 16, and
    2 bytes). other_services: the rest of the services; their stats need not be current.
    """

    __slots__ = ("other_services", "simple_keys", "text")

    def __init__(
        self,
        text: bytes,
        simple_keys: list[tuple[bytes, bytes, bytes]],
        other_services: list[Service],
    ) -> None:
        self.text = text
        self.simple_keys = simple_keys
        self.other_services = other_services


class Change(Record):
    """Hold one change for a backend: the operation, and the records that it is about.

    ZERO without a service means all of them. SET_CONFIG carries timeouts, NEW_DAEMON and DEL_DAEMON
    a daemon.
    """

    __slots__ = ("daemon", "op", "server", "service", "timeouts")

    def __init__(
        self,
        op: int,
        service: Service | None = None,
        server: Server | None = None,
        daemon: Daemon | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.op = op
        self.service = service
        self.server = server
        self.daemon = daemon
        self.timeouts = timeouts

    @property
    def record(self) -> Service | Server:
        """Return the entry that the change is about: its server if it has one, else its service."""
        record = self.service if self.server is None else self.server
        assert record is not None
        return record


if TYPE_CHECKING:

    class Backend(Protocol):
        """Define a table of virtual services: the kernel's (kernel.KernelBackend) or an embedded
        one (memory.MemoryBackend).

        Reads raise RefusedError (the table refused: operation and errno) or OperationError (it
        could not be asked).

        embedded: the table belongs to pyipvsadm. Other programs may change the kernel's table, and
        the kernel has settings that rules cannot express.

        name: of the table, in the history: "kernel", or "memory:FILE" with an absolute path; "" if
        the table ends with this process.
        """

        embedded: bool
        name: str

        def refresh(self) -> None:
            """Find the table again if it was replaced since it was opened (the module was reloaded,
            the file has changed).

            Raise OperationError if the table cannot be used now; a later refresh may succeed. Do
            not load the module.
            """

        def read_info(self) -> Info:
            """Return the IPVS version and the size of the connection table."""

        def read_services(self, counters: bool = True) -> list[Service]:
            """Return all services, in the table's own order; without counters, their stats need not
            be current.
            """

        def find_service(self, service: Service) -> Service:
            """Return the service with this key. Raise RefusedError (ESRCH) if there is none."""

        def read_servers(self, service: Service) -> list[Server]:
            """Return a service's real servers, newest first; none if the service does not exist
            (ip_vs_ctl.c: ip_vs_genl_dump_dests).
            """

        def iter_rows(
            self, services: Iterable[Service], columns: tuple[str, ...]
        ) -> Iterator[list[Row]]:
            """Yield the servers of one service after the other, as rows (to_row), for listings,
            which need few values of many servers.

            Servers are read when the iterator reaches their service, or a little earlier: the
            kernel's backend reads those of several services at once.
            """

        def read_proc_table(self) -> ProcTable | None:
            """Return the text of /proc/net/ip_vs and the records that it lacks; None if the table
            has no such file.
            """

        def read_sysctl(self, name: str) -> str:
            """Return a setting of IPVS (sysctl net.ipv4.vs.NAME), "" if it does not exist or cannot
            be read.
            """

        def read_status(self) -> str:
            """Return the text of /proc/net/ip_vs_status, "" if the table has no such file."""

        def read_timeouts(self) -> Timeouts:
            """Return the timeouts of connections."""

        def read_daemons(self) -> list[Daemon]:
            """Return the running sync daemons, master first."""

        def iter_connections(self) -> Iterator[bytes]:
            """Yield the lines of /proc/net/ip_vs_conn with their line ends: the heading, then one
            for each connection.
            """

        def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
            """Carry the changes out in order, also those after a refused one, and return (index,
            errno) of each refused one, ascending. Raise OperationError if the results cannot be
            read.

            All changes are read before the first is carried out: if `changes` raises, nothing was
            done. Their records must not be modified meanwhile.
            """

        def lock_table(self) -> AbstractContextManager[None]:
            """Return a lock for a `with`. Entering it waits until no other process holds it.

            The lock is advisory: it does not stop programs that change the table without it.
            """

        def close(self) -> None:
            """Release the socket, file or lock of the backend."""
