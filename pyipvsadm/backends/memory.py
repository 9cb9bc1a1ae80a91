"""Hold a table in memory that follows the kernel's rules, with the kernel's errno.

Owns: what a kernel accepts, refuses (and the order of its checks), stores and returns. Must never
know: netlink, rule text, files, options, how anything is shown.

The modelled kernel is MODELLED_KERNEL as Debian builds it: its tick rate is HZ, its modules are
SCHEDULERS and ENGINES. Each rule names the function of net/netfilter/ipvs/ip_vs_ctl.c (or the file)
that it restates. A table without packets lacks some things: counters and connections are zero, so
ZERO only looks for its service, and a server that is removed and added again has no connections of
its former life. Of the machine the table knows its interfaces and no more: not their addresses and
broadcast addresses (those of `lo` aside), not their MTU, not whether one is down (ENETUNREACH).

Values are assumed to fit the fields of the messages that would carry them (ports 16 bits, marks 32,
...), and addresses to have the length of their family: the kernel's backend cannot even encode
others.

The module is longer than others because its checks read the same few dictionaries. `_socket` is the
C module beneath `socket`, whose import would cost every start 6 ms.
"""

from __future__ import annotations

import _socket
import errno

from pyipvsadm.backends.sync_daemon import MTU, MTUS, compute_effective_daemon, copy_daemon
from pyipvsadm.errors import RefusedError
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    BACKUP,
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    FLUSH,
    FORWARD_MASK,
    GET_SERVICE,
    GUE,
    HASHED,
    MASTER,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    SET_CONFIG,
    SET_DEST,
    SET_SERVICE,
    TUNNEL,
    ZERO,
    Daemon,
    Info,
    Server,
    Service,
    Timeouts,
    to_row,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from typing import NoReturn

    from pyipvsadm.model import Change, Row

    _ServiceKey = tuple[int, int, bytes, int, int]
    _ServerKey = tuple[int, bytes, int]
    _Entry = tuple[Service, dict[_ServerKey, Server]]  # a service and its servers, oldest first

# Later kernels of 6.1 LTS behave alike; earlier ones accept an upper threshold above INT_MAX.
MODELLED_KERNEL = "Linux 6.1.183"
VERSION = 0x010201  # 1.2.1
SIZE = 4096  # conn_tab_bits 12
HZ = 250
# Debian builds no "twos".
SCHEDULERS = frozenset(
    {"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"}
)
ENGINES = frozenset({"sip"})
# The entries of mh's table (CONFIG_IP_VS_MH_TAB_INDEX 12), which limit the number of servers.
MH_TABLE = 4093
CONNECTIONS_HEADING = (
    b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
)

_FAMILIES = (AF_INET, AF_INET6)
_INT_MAX = 0x7FFFFFFF
_U32 = 0x100000000
# The longest names, in bytes without the NUL: IP_VS_SCHEDNAME_MAXLEN and IP_VS_IFNAME_MAXLEN count
# the NUL, IP_VS_PENAME_MAXLEN does not.
_SCHEDULER_MAX = 15
_ENGINE_MAX = 16
_INTERFACE_MAX = 15
# The broadcast address of 127.0.0.1/8 on lo.
_LOCAL_BROADCAST = b"\x7f\xff\xff\xff"
_MAPPED = b"\0" * 10 + b"\xff\xff"  # ::ffff:a.b.c.d


def has_interface(name: str) -> bool:
    """Return True if this network namespace has an interface of this name."""
    try:
        _socket.if_nametoindex(name)
    except (OSError, ValueError):  # ValueError: a NUL
        return False
    return True


class _NullLock:
    """Lock nothing: the table is private to this process."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class MemoryBackend:
    """Hold virtual services in memory; a model.Backend.

    interfaces: tells whether an interface exists, for NEW_DAEMON; None asks the machine. It may be
    replaced at any time (to load another machine's daemons, for example). Applying the content,
    oldest first, to an empty table gives the same table. Records are copied both ways, so neither
    side sees changes that the other makes to its own; list_held alone gives the table's own, which
    the table never changes: an edit puts a new record in the place of the old one.
    """

    embedded = True
    name = ""

    def __init__(self, interfaces: Callable[[str], bool] | None = None) -> None:
        self.interfaces = interfaces or has_interface
        self._held: dict[_ServiceKey, _Entry] = {}
        self._timeouts = Timeouts(900, 120, 300)
        self._daemons: dict[int, Daemon] = {}
        # Servers whose family differs from their service's (mixed_address_family_dests).
        self._mixed_count = 0

    def refresh(self) -> None:
        """Do nothing: the table is private to this process."""

    def read_info(self) -> Info:
        """Return version 1.2.1 and the default size of the connection table."""
        return Info(VERSION, SIZE)

    def read_services(self, counters: bool = True) -> list[Service]:  # noqa: ARG002  # they are zero
        """Return all services: those with an address, oldest first, then those with a mark
        (ip_vs_genl_dump_services).
        """
        services = [_copy_service(service) for service, _ in self._held.values()]
        services.sort(key=lambda service: service.fwmark != 0)
        return services

    def find_service(self, service: Service) -> Service:
        """Return the service with this key. Raise RefusedError: ESRCH if it does not exist,
        EAFNOSUPPORT for a family that is neither IPv4 nor IPv6.
        """
        return _copy_service(self._find_service(GET_SERVICE, service)[0])

    def read_servers(self, service: Service) -> list[Server]:
        """Return a service's real servers, newest first; none if the service does not exist
        (ip_vs_genl_dump_dests).
        """
        entry = self._held.get(service.key())
        servers = reversed(entry[1].values()) if entry else iter(())
        return [_copy_server(server, server.af) for server in servers]

    def list_held(self) -> list[tuple[Service, list[Server]]]:
        """Return all services with their servers, as read_services and read_servers do, but the
        table's own records, which are not to be changed: copies of a large table take megabytes.
        """
        rows = [(service, [*servers.values()][::-1]) for service, servers in self._held.values()]
        rows.sort(key=lambda row: row[0].fwmark != 0)
        return rows

    def iter_rows(
        self, services: Iterable[Service], columns: tuple[str, ...]
    ) -> Iterator[list[Row]]:
        """Yield the requested columns of each service's real servers, newest first."""
        for service in services:
            yield [to_row(server, columns) for server in self.read_servers(service)]

    def read_proc_table(self) -> None:
        """Return None: there is no /proc/net/ip_vs for this table."""

    def read_sysctl(self, name: str) -> str:  # noqa: ARG002  # as every backend
        """Return "": this table has no sysctls."""
        return ""

    def read_status(self) -> str:
        """Return "": this table has no hash of connections."""
        return ""

    def read_timeouts(self) -> Timeouts:
        """Return the timeouts in seconds; 900, 120, 300 in a new table (tcp_timeouts and
        udp_timeouts in ip_vs_proto_*.c).
        """
        return Timeouts(self._timeouts.tcp, self._timeouts.tcp_fin, self._timeouts.udp)

    def read_daemons(self) -> list[Daemon]:
        """Return the running daemons, master first, with their effective settings
        (ip_vs_genl_dump_daemons).
        """
        return [
            copy_daemon(self._daemons[state])
            for state in (MASTER, BACKUP)
            if state in self._daemons
        ]

    def iter_connections(self) -> Iterator[bytes]:
        """Yield the heading only: no packet passes through this table (ip_vs_conn.c:
        ip_vs_conn_seq_show).
        """
        return iter((CONNECTIONS_HEADING,))

    def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
        """Carry the changes out in order; return (index, errno) of each refused one, ascending.

        An operation that writes nothing or does not exist is refused with EOPNOTSUPP (genetlink.c:
        genl_family_rcv_msg).
        """
        return self._carry_out(list(changes))

    def _carry_out(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
        refused = []
        for index, change in enumerate(changes):
            carry_out = _OPERATIONS.get(change.op)
            try:
                if carry_out is None:
                    _raise_refusal(change.op, errno.EOPNOTSUPP)
                carry_out(self, change)
            except RefusedError as exc:
                refused.append((index, exc.errno))
        return refused

    def lock_table(self) -> AbstractContextManager[None]:
        """Return a lock that does nothing: the table is private to this process."""
        return _NullLock()

    def close(self) -> None:
        """Do nothing: no resource is held."""

    def load(
        self,
        rows: Iterable[tuple[Service, list[Server]]],
        timeouts: Timeouts,
        daemons: Iterable[Daemon],
    ) -> None:
        """Replace the content by that of another table, servers newest first. Nothing is checked:
        the other table has accepted it.
        """
        self._held = {
            service.key(): (
                _copy_service(service),
                {server.key(): _copy_server(server, server.af) for server in reversed(servers)},
            )
            for service, servers in rows
        }
        self._timeouts = Timeouts(timeouts.tcp, timeouts.tcp_fin, timeouts.udp)
        self._daemons = {daemon.state: copy_daemon(daemon) for daemon in daemons}
        self._mixed_count = sum(
            server.af != service.af
            for service, servers in self._held.values()
            for server in servers.values()
        )

    # A copy of another machine's table overrides these, because it cannot know that machine.

    def has_scheduler(self, name: str) -> bool:
        """Return True if the modelled kernel has this scheduler."""
        return name in SCHEDULERS

    def has_engine(self, name: str) -> bool:
        """Return True if the modelled kernel has this persistence engine."""
        return name in ENGINES

    def is_server_address(self, family: int, addr: bytes) -> bool:
        """Return True if a new server may have this address (ip_vs_new_dest).

        IPv4: neither 0.0.0.0, multicast nor broadcast (fib_frontend.c: inet_addr_type). IPv6:
        unicast and not link-local, which excludes ::, multicast and mapped IPv4 addresses
        (addrconf_core.c: __ipv6_addr_type).
        """
        if family == AF_INET:
            return (
                addr not in (b"\0\0\0\0", b"\xff\xff\xff\xff", _LOCAL_BROADCAST)
                and addr[0] >> 4 != 0xE
            )
        return addr[0] != 0xFF and not is_link_local(addr) and addr[:12] != _MAPPED and any(addr)

    # Each of the following methods carries out one operation or raises RefusedError, with its
    # checks in the kernel's order.

    def _put_service(self, change: Change) -> None:
        """Carry out NEW_SERVICE and SET_SERVICE (ip_vs_genl_parse_service, ip_vs_add_service,
        ip_vs_edit_service).

        An edit replaces everything but servers, counters and position. The existence of the service
        is checked before the names of scheduler and engine.
        """
        op, service = change.op, change.service
        if service is None:
            _raise_refusal(op, errno.EINVAL)
        scheduler, engine = service.scheduler, service.pe
        unknown = scheduler != "none" and not self.has_scheduler(scheduler)
        if (unknown and _count_bytes(scheduler) > _SCHEDULER_MAX) or (
            engine and _count_bytes(engine) > _ENGINE_MAX
        ):
            _raise_refusal(op, errno.EINVAL)
        if service.af not in _FAMILIES:
            _raise_refusal(op, errno.EAFNOSUPPORT)
        key = service.key()
        entry = self._held.get(key)
        if op == NEW_SERVICE and entry:
            _raise_refusal(op, errno.EEXIST)
        if op == SET_SERVICE and not entry:
            _raise_refusal(op, errno.ESRCH)
        if unknown or (engine and not self.has_engine(engine)):
            _raise_refusal(op, errno.ENOENT)
        if service.af == AF_INET6 and not 1 <= service.netmask <= 128:
            _raise_refusal(op, errno.EINVAL)
        # A service with more servers cannot be given mh (ip_vs_mh.c: ip_vs_mh_init_svc). Servers
        # added later are accepted, and mh ignores them.
        if entry and scheduler == "mh" != entry[0].scheduler and len(entry[1]) > MH_TABLE:
            _raise_refusal(op, errno.EINVAL)
        self._held[key] = (_copy_service(service), entry[1] if entry else {})

    def _delete_service(self, change: Change) -> None:
        """Carry out DEL_SERVICE (ip_vs_del_service)."""
        service, servers = self._find_service(change.op, change.service)
        del self._held[service.key()]
        self._mixed_count -= (
            sum(server.af != service.af for server in servers.values()) if self._mixed_count else 0
        )

    def _put_destination(self, change: Change) -> None:
        """Carry out NEW_DEST and SET_DEST (ip_vs_genl_set_cmd, ip_vs_add_dest, ip_vs_edit_dest).

        A new server goes before the others; an edit replaces everything but the position.
        """
        op, server = change.op, change.server
        service, servers = self._find_service(op, change.service)
        family, key = _make_server_key(op, service, server)
        assert server is not None
        # Sync messages cannot carry a server of the other family, and only a tunnel reaches it.
        is_mixed = family != service.af
        if is_mixed and (self._daemons or server.forward & FORWARD_MASK != TUNNEL):
            _raise_refusal(op, errno.EINVAL)
        if server.weight < 0 or server.lower > server.upper:
            _raise_refusal(op, errno.ERANGE)
        if server.upper > _INT_MAX or (server.tun_type == GUE and not server.tun_port):
            _raise_refusal(op, errno.EINVAL)
        if op == SET_DEST:
            if key not in servers:
                _raise_refusal(op, errno.ENOENT)
        else:
            if key in servers:
                _raise_refusal(op, errno.EEXIST)
            if not self.is_server_address(family, server.addr):
                _raise_refusal(op, errno.EINVAL)
            self._mixed_count += is_mixed
        servers[key] = _copy_server(server, family)

    def _delete_server(self, change: Change) -> None:
        """Carry out DEL_DEST (ip_vs_genl_set_cmd, ip_vs_del_dest)."""
        service, servers = self._find_service(change.op, change.service)
        family, key = _make_server_key(change.op, service, change.server)
        if servers.pop(key, None) is None:
            _raise_refusal(change.op, errno.ENOENT)
        self._mixed_count -= family != service.af

    def _add_daemon(self, change: Change) -> None:
        """Carry out NEW_DAEMON (ip_vs_genl_new_daemon, ip_vs_sync.c: start_sync_thread). A length
        out of bounds is adjusted, not refused.
        """
        op, daemon = change.op, change.daemon
        if (
            daemon is None
            or _count_bytes(daemon.interface) > _INTERFACE_MAX
            or not _is_group(daemon.group)
            or self._mixed_count
        ):
            _raise_refusal(op, errno.EINVAL)
        if not self.interfaces(daemon.interface):
            _raise_refusal(op, errno.ENODEV)
        if daemon.state in self._daemons:
            _raise_refusal(op, errno.EEXIST)
        if daemon.state not in (MASTER, BACKUP):
            _raise_refusal(op, errno.EINVAL)
        # make_send_sock connects to the group, and lo has no route to IPv6 groups (addrconf.c:
        # init_loopback).
        if daemon.state == MASTER and len(daemon.group) == 16 and daemon.interface == "lo":
            _raise_refusal(op, errno.ENETUNREACH)
        self._daemons[daemon.state] = compute_effective_daemon(
            daemon, MTUS.get(daemon.interface, MTU)
        )

    def _stop_daemon(self, change: Change) -> None:
        """Carry out DEL_DAEMON (ip_vs_genl_del_daemon, ip_vs_sync.c: stop_sync_thread). If the
        names fit their fields, only the state counts.
        """
        op, daemon = change.op, change.daemon
        if (
            daemon is None
            or _count_bytes(daemon.interface) > _INTERFACE_MAX
            or daemon.state not in (MASTER, BACKUP)
        ):
            _raise_refusal(op, errno.EINVAL)
        if not self._daemons.pop(daemon.state, None):
            _raise_refusal(op, errno.ESRCH)

    def _set_config(self, change: Change) -> None:
        """Carry out SET_CONFIG (ip_vs_set_timeout). 0 leaves a value as it is; a value out of range
        leaves all of them as they are.
        """
        requested, current = change.timeouts or Timeouts(0, 0, 0), self._timeouts
        if not all(
            0 <= seconds <= _INT_MAX // HZ
            for seconds in (requested.tcp, requested.tcp_fin, requested.udp)
        ):
            _raise_refusal(change.op, errno.EINVAL)
        self._timeouts = Timeouts(
            requested.tcp or current.tcp,
            requested.tcp_fin or current.tcp_fin,
            requested.udp or current.udp,
        )

    def _clear_counters(self, change: Change) -> None:
        """Carry out ZERO (ip_vs_zero_all, ip_vs_zero_service). Counters are zero already."""
        if change.service is not None:
            self._find_service(change.op, change.service)

    def _flush_table(self, change: Change) -> None:  # noqa: ARG002  # as all operations
        """Carry out FLUSH (ip_vs_flush). Daemons and timeouts stay."""
        self._held.clear()
        self._mixed_count = 0

    def _find_service(self, op: int, service: Service | None) -> _Entry:
        """Return the service that a request names. Raise RefusedError (EINVAL, EAFNOSUPPORT, ESRCH;
        ip_vs_genl_parse_service).
        """
        if service is None:
            _raise_refusal(op, errno.EINVAL)
        if service.af not in _FAMILIES:
            _raise_refusal(op, errno.EAFNOSUPPORT)
        entry = self._held.get(service.key())
        if entry is None:
            _raise_refusal(op, errno.ESRCH)
        return entry


_OPERATIONS = {
    NEW_SERVICE: MemoryBackend._put_service,  # noqa: SLF001  # the class's own table
    SET_SERVICE: MemoryBackend._put_service,  # noqa: SLF001
    DEL_SERVICE: MemoryBackend._delete_service,  # noqa: SLF001
    NEW_DEST: MemoryBackend._put_destination,  # noqa: SLF001
    SET_DEST: MemoryBackend._put_destination,  # noqa: SLF001
    DEL_DEST: MemoryBackend._delete_server,  # noqa: SLF001
    NEW_DAEMON: MemoryBackend._add_daemon,  # noqa: SLF001
    DEL_DAEMON: MemoryBackend._stop_daemon,  # noqa: SLF001
    SET_CONFIG: MemoryBackend._set_config,  # noqa: SLF001
    ZERO: MemoryBackend._clear_counters,  # noqa: SLF001
    FLUSH: MemoryBackend._flush_table,  # noqa: SLF001
}


def _raise_refusal(op: int, errnum: int) -> NoReturn:
    raise RefusedError(op, errnum)


def _make_server_key(op: int, service: Service, server: Server | None) -> tuple[int, _ServerKey]:
    """Return the family and key of the server that a request names. Raise RefusedError (EINVAL,
    EAFNOSUPPORT; ip_vs_genl_parse_dest).
    """
    if server is None:
        _raise_refusal(op, errno.EINVAL)
    family = server.af or service.af
    if family not in _FAMILIES:
        _raise_refusal(op, errno.EAFNOSUPPORT)
    return family, (family, server.addr, server.port)


def _copy_service(service: Service) -> Service:
    """Return a copy as the kernel keeps it: flagged HASHED, the timeout as ticks that wrap at 32
    bits, and no address beside a mark.
    """
    marked = service.fwmark != 0
    return Service(
        service.af,
        0 if marked else service.protocol,
        b"" if marked else service.addr,
        0 if marked else service.port,
        service.fwmark,
        service.scheduler,
        service.flags | HASHED,
        service.timeout * HZ % _U32 // HZ,
        service.netmask,
        service.pe,
    )


def _copy_server(server: Server, family: int) -> Server:
    """Return a copy as the kernel keeps it: of `forward` only the bits of the forwarding method,
    and no counters.
    """
    return Server(
        family, server.addr, server.port, server.forward & FORWARD_MASK, server.weight,
        server.upper, server.lower, server.tun_type, server.tun_port, server.tun_flags,
    )  # fmt: skip


def _count_bytes(name: str) -> int:
    """Count the bytes of a name in a message (netlink/attributes.py writes UTF-8)."""
    return len(name.encode("utf-8", "surrogateescape"))


def is_link_local(addr: bytes) -> bool:
    """Return True if an IPv6 address is in fe80::/10."""
    return addr[0] == 0xFE and addr[1] & 0xC0 == 0x80


def _is_group(addr: bytes) -> bool:
    """Return True if sync messages may go to the address: multicast, or none for the default."""
    if len(addr) == 4:
        return addr[0] >> 4 == 0xE
    return not addr or (len(addr) == 16 and addr[0] == 0xFF)
