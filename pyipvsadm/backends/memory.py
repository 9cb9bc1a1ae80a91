"""The embedded table: the kernel's rules with the kernel's errno, in memory.

Owns: what a kernel accepts, refuses (and in which order it looks), stores and gives back.
Must never know: netlink, rule text, files, options, how anything is shown.

The kernel modelled is MODELS as Debian builds it: its tick rate is HZ, its modules SCHEDULERS and
ENGINES. Each rule names the function of net/netfilter/ipvs/ip_vs_ctl.c (or the file) that it
restates. What a table without packets cannot have is not here: counters and connections are zero,
so ZERO only looks for its service, and a removed server that comes back finds nothing of its former
life. Of the machine it knows which interfaces there are, and no more: not which addresses and
broadcast addresses they hold (those of `lo` aside), nor their MTU, nor that one is down
(ENETUNREACH).

Values are taken to fit the fields of the messages that would carry them (ports 16 bits, marks 32,
...) and addresses to have the length of their family: the kernel's backend cannot even encode
others.

`_socket` is the C module beneath `socket`, which alone would cost a start 6 ms.
"""

from __future__ import annotations

import _socket
import errno

from pyipvsadm.errors import Refused
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
    Destination,
    Info,
    Service,
    Timeouts,
    row,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from typing import NoReturn

    from pyipvsadm.model import Change, Row

    _ServiceKey = tuple[int, int, bytes, int, int]
    _ServerKey = tuple[int, bytes, int]
    _Held = tuple[Service, dict[_ServerKey, Destination]]  # a service and its servers, oldest first

# and later ones of 6.1 LTS; earlier ones accept an upper threshold above INT_MAX
MODELS = "Linux 6.1.183"
VERSION = 0x010201  # 1.2.1
SIZE = 4096  # conn_tab_bits 12
HZ = 250
# Debian builds no "twos".
SCHEDULERS = frozenset(
    {"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"}
)
ENGINES = frozenset({"sip"})
# entries of mh's table (CONFIG_IP_VS_MH_TAB_INDEX 12), hence the most servers it takes
MH_TABLE = 4093
CONNECTIONS_HEADING = (
    b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
)

_FAMILIES = (AF_INET, AF_INET6)
_INT_MAX = 0x7FFFFFFF
_U32 = 0x100000000
_SCHEDULER_MAX = 15  # bytes without the NUL: IP_VS_SCHEDNAME_MAXLEN counts it,
_ENGINE_MAX = 16  # IP_VS_PENAME_MAXLEN does not,
_INTERFACE_MAX = 15  # IP_VS_IFNAME_MAXLEN does
_LOCAL_BROADCAST = b"\x7f\xff\xff\xff"  # of 127.0.0.1/8 on lo
_MAPPED = b"\0" * 10 + b"\xff\xff"  # ::ffff:a.b.c.d
_GROUP = b"\xe0\0\0\x51"  # 224.0.0.81
_PORT = 8848
_TTL = 1
_MTU = 1500
_MTUS = {"lo": 65536}
_PACKET_MAX = 0xFFFF


def interface_exists(name: str) -> bool:
    """Whether this machine (its network namespace) has an interface of that name."""
    try:
        _socket.if_nametoindex(name)
    except (OSError, ValueError):  # ValueError: a NUL
        return False
    return True


class _Alone:
    """What `alone` gives where there is nobody to keep out."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class Table:
    """A table of virtual services in memory: a model.Backend.

    interfaces: whether there is an interface of a name, for NEW_DAEMON; None asks the machine. It
    may be replaced at any time (to load the daemons of another machine, for one). What the table
    holds, applied oldest first to an empty table, gives the same table. Records are copied both
    ways: neither side sees what the other does to its own.
    """

    embedded = True

    def __init__(self, interfaces: Callable[[str], bool] | None = None) -> None:
        self.interfaces = interfaces or interface_exists
        self._held: dict[_ServiceKey, _Held] = {}
        self._timeouts = Timeouts(900, 120, 300)
        self._daemons: dict[int, Daemon] = {}
        self._mixed = 0  # servers whose family is not their service's (mixed_address_family_dests)

    def refresh(self) -> None:
        """Nothing: nobody else has this table."""

    def info(self) -> Info:
        """1.2.1, and the size that the connection table has by default."""
        return Info(VERSION, SIZE)

    def services(self, counters: bool = True) -> list[Service]:  # noqa: ARG002  # they are zero
        """All services: those with an address, oldest first, then those with a mark
        (ip_vs_genl_dump_services).
        """
        found = [_service(service) for service, _ in self._held.values()]
        found.sort(key=_is_marked)
        return found

    def service(self, wanted: Service) -> Service:
        """The service with wanted's key. Refused: ESRCH without one, EAFNOSUPPORT for neither IPv4
        nor IPv6.
        """
        return _service(self._find(GET_SERVICE, wanted)[0])

    def destinations(self, service: Service) -> list[Destination]:
        """Its real servers, newest first; none when it is not there (ip_vs_genl_dump_dests)."""
        held = self._held.get(service.key())
        return (
            [_destination(server, server.af) for server in reversed(held[1].values())]
            if held
            else []
        )

    def rows(self, services: Iterable[Service], columns: tuple[str, ...]) -> Iterator[list[Row]]:
        """Some values of each one's real servers, newest first."""
        for service in services:
            yield [row(server, columns) for server in self.destinations(service)]

    def overview(self) -> None:
        """There is no listing but ours."""

    def setting(self, name: str) -> str:  # noqa: ARG002  # as every backend
        """There are none."""
        return ""

    def timeouts(self) -> Timeouts:
        """In seconds; 900, 120, 300 in a new table (tcp_timeouts and udp_timeouts of
        ip_vs_proto_*.c).
        """
        return Timeouts(self._timeouts.tcp, self._timeouts.tcp_fin, self._timeouts.udp)

    def daemons(self) -> list[Daemon]:
        """The running ones, master first, with the values in force (ip_vs_genl_dump_daemons)."""
        return [
            _daemon(self._daemons[state]) for state in (MASTER, BACKUP) if state in self._daemons
        ]

    def connections(self) -> Iterator[bytes]:
        """The heading alone: nothing passes through this table (ip_vs_conn.c:
        ip_vs_conn_seq_show).
        """
        return iter((CONNECTIONS_HEADING,))

    def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
        """Carry the changes out in order; (index, errno) of each refused one, ascending.

        EOPNOTSUPP answers operations that write nothing or do not exist (genetlink.c:
        genl_family_rcv_msg).
        """
        refused = []
        for index, change in enumerate(list(changes)):
            carry_out = _OPERATIONS.get(change.op)
            try:
                if carry_out is None:
                    _refuse(change.op, errno.EOPNOTSUPP)
                carry_out(self, change)
            except Refused as answer:
                refused.append((index, answer.errno))
        return refused

    def alone(self) -> AbstractContextManager[None]:
        """There is nobody else."""
        return _Alone()

    def close(self) -> None:
        """Nothing is held open."""

    def hold(
        self,
        rows: Iterable[tuple[Service, list[Destination]]],
        timeouts: Timeouts,
        daemons: Iterable[Daemon],
    ) -> None:
        """Hold what another table does, servers newest first, unchecked: that it is there shows
        that it can be.
        """
        self._held = {
            service.key(): (
                _service(service),
                {server.key(): _destination(server, server.af) for server in reversed(servers)},
            )
            for service, servers in rows
        }
        self._timeouts = Timeouts(timeouts.tcp, timeouts.tcp_fin, timeouts.udp)
        self._daemons = {daemon.state: _daemon(daemon) for daemon in daemons}
        self._mixed = sum(
            server.af != service.af
            for service, servers in self._held.values()
            for server in servers.values()
        )

    # What this machine has, and a copy of another's table does not know.

    def has_scheduler(self, name: str) -> bool:
        """Whether there is a scheduler of that name."""
        return name in SCHEDULERS

    def has_engine(self, name: str) -> bool:
        """Whether there is a persistence engine of that name."""
        return name in ENGINES

    def is_server_address(self, family: int, addr: bytes) -> bool:
        """Whether a new server may have that address (ip_vs_new_dest).

        IPv4: neither 0.0.0.0, multicast nor broadcast (fib_frontend.c: inet_addr_type). IPv6:
        unicast and not link-local, which neither ::, multicast nor a mapped IPv4 address is
        (addrconf_core.c: __ipv6_addr_type).
        """
        if family == AF_INET:
            return (
                addr not in (b"\0\0\0\0", b"\xff\xff\xff\xff", _LOCAL_BROADCAST)
                and addr[0] >> 4 != 0xE
            )
        return addr[0] != 0xFF and not is_link_local(addr) and addr[:12] != _MAPPED and any(addr)

    # Each of what follows carries out one operation or raises Refused, looking at things in the
    # kernel's order.

    def _put_service(self, change: Change) -> None:
        """NEW_SERVICE, SET_SERVICE: ip_vs_genl_parse_service, ip_vs_add_service,
        ip_vs_edit_service.

        An edit replaces all but servers, counters and place. Whether the service is there matters
        before its names do.
        """
        op, wanted = change.op, change.service
        if wanted is None:
            _refuse(op, errno.EINVAL)
        scheduler, engine = wanted.scheduler, wanted.pe
        unknown = scheduler != "none" and not self.has_scheduler(scheduler)
        if (unknown and _length(scheduler) > _SCHEDULER_MAX) or (
            engine and _length(engine) > _ENGINE_MAX
        ):
            _refuse(op, errno.EINVAL)
        if wanted.af not in _FAMILIES:
            _refuse(op, errno.EAFNOSUPPORT)
        key = wanted.key()
        held = self._held.get(key)
        if op == NEW_SERVICE and held:
            _refuse(op, errno.EEXIST)
        if op == SET_SERVICE and not held:
            _refuse(op, errno.ESRCH)
        if unknown or (engine and not self.has_engine(engine)):
            _refuse(op, errno.ENOENT)
        if wanted.af == AF_INET6 and not 1 <= wanted.netmask <= 128:
            _refuse(op, errno.EINVAL)
        # ip_vs_mh.c: ip_vs_mh_init_svc. With more servers it cannot begin; those added later it
        # leaves out.
        if held and scheduler == "mh" != held[0].scheduler and len(held[1]) > MH_TABLE:
            _refuse(op, errno.EINVAL)
        self._held[key] = (_service(wanted), held[1] if held else {})

    def _del_service(self, change: Change) -> None:
        """DEL_SERVICE: ip_vs_del_service."""
        service, servers = self._find(change.op, change.service)
        del self._held[service.key()]
        self._mixed -= (
            sum(server.af != service.af for server in servers.values()) if self._mixed else 0
        )

    def _put_destination(self, change: Change) -> None:
        """NEW_DEST, SET_DEST: ip_vs_genl_set_cmd, ip_vs_add_dest, ip_vs_edit_dest.

        A new one stands before the others; an edit keeps the place and replaces everything else.
        """
        op, wanted = change.op, change.destination
        service, servers = self._find(op, change.service)
        family, key = _server_key(op, service, wanted)
        assert wanted is not None
        # Sync messages cannot carry a server of the other family, and only a tunnel reaches it.
        mixed = family != service.af
        if mixed and (self._daemons or wanted.forward & FORWARD_MASK != TUNNEL):
            _refuse(op, errno.EINVAL)
        if wanted.weight < 0 or wanted.lower > wanted.upper:
            _refuse(op, errno.ERANGE)
        if wanted.upper > _INT_MAX or (wanted.tun_type == GUE and not wanted.tun_port):
            _refuse(op, errno.EINVAL)
        if op == SET_DEST:
            if key not in servers:
                _refuse(op, errno.ENOENT)
        else:
            if key in servers:
                _refuse(op, errno.EEXIST)
            if not self.is_server_address(family, wanted.addr):
                _refuse(op, errno.EINVAL)
            self._mixed += mixed
        servers[key] = _destination(wanted, family)

    def _del_destination(self, change: Change) -> None:
        """DEL_DEST: ip_vs_genl_set_cmd, ip_vs_del_dest."""
        service, servers = self._find(change.op, change.service)
        family, key = _server_key(change.op, service, change.destination)
        if servers.pop(key, None) is None:
            _refuse(change.op, errno.ENOENT)
        self._mixed -= family != service.af

    def _new_daemon(self, change: Change) -> None:
        """NEW_DAEMON: ip_vs_genl_new_daemon, ip_vs_sync.c: start_sync_thread. A bad length is
        bounded, not refused.
        """
        op, wanted = change.op, change.daemon
        if (
            wanted is None
            or _length(wanted.interface) > _INTERFACE_MAX
            or not _is_group(wanted.group)
            or self._mixed
        ):
            _refuse(op, errno.EINVAL)
        if not self.interfaces(wanted.interface):
            _refuse(op, errno.ENODEV)
        if wanted.state in self._daemons:
            _refuse(op, errno.EEXIST)
        if wanted.state not in (MASTER, BACKUP):
            _refuse(op, errno.EINVAL)
        # make_send_sock connects; a loopback has no route to IPv6 groups (addrconf.c:
        # init_loopback).
        if wanted.state == MASTER and len(wanted.group) == 16 and wanted.interface == "lo":
            _refuse(op, errno.ENETUNREACH)
        self._daemons[wanted.state] = daemon_in_force(wanted, _MTUS.get(wanted.interface, _MTU))

    def _del_daemon(self, change: Change) -> None:
        """DEL_DAEMON: ip_vs_genl_del_daemon, ip_vs_sync.c: stop_sync_thread. Of names that fit,
        only the state counts.
        """
        op, wanted = change.op, change.daemon
        if (
            wanted is None
            or _length(wanted.interface) > _INTERFACE_MAX
            or wanted.state not in (MASTER, BACKUP)
        ):
            _refuse(op, errno.EINVAL)
        if not self._daemons.pop(wanted.state, None):
            _refuse(op, errno.ESRCH)

    def _set_config(self, change: Change) -> None:
        """SET_CONFIG: ip_vs_set_timeout. 0 leaves a value as it is; one out of range leaves all as
        they are.
        """
        given, kept = change.timeouts or Timeouts(0, 0, 0), self._timeouts
        if not all(
            0 <= seconds <= _INT_MAX // HZ for seconds in (given.tcp, given.tcp_fin, given.udp)
        ):
            _refuse(change.op, errno.EINVAL)
        self._timeouts = Timeouts(
            given.tcp or kept.tcp, given.tcp_fin or kept.tcp_fin, given.udp or kept.udp
        )

    def _zero(self, change: Change) -> None:
        """ZERO: ip_vs_zero_all, ip_vs_zero_service. Counters are zero already."""
        if change.service is not None:
            self._find(change.op, change.service)

    def _flush(self, change: Change) -> None:  # noqa: ARG002  # as all operations
        """FLUSH: ip_vs_flush. Daemons and time-outs stay."""
        self._held.clear()
        self._mixed = 0

    def _find(self, op: int, service: Service | None) -> _Held:
        """The service that a request names. Refused: EINVAL, EAFNOSUPPORT, ESRCH
        (ip_vs_genl_parse_service).
        """
        if service is None:
            _refuse(op, errno.EINVAL)
        if service.af not in _FAMILIES:
            _refuse(op, errno.EAFNOSUPPORT)
        held = self._held.get(service.key())
        if held is None:
            _refuse(op, errno.ESRCH)
        return held


_OPERATIONS = {
    NEW_SERVICE: Table._put_service,  # noqa: SLF001  # the class's own table
    SET_SERVICE: Table._put_service,  # noqa: SLF001
    DEL_SERVICE: Table._del_service,  # noqa: SLF001
    NEW_DEST: Table._put_destination,  # noqa: SLF001
    SET_DEST: Table._put_destination,  # noqa: SLF001
    DEL_DEST: Table._del_destination,  # noqa: SLF001
    NEW_DAEMON: Table._new_daemon,  # noqa: SLF001
    DEL_DAEMON: Table._del_daemon,  # noqa: SLF001
    SET_CONFIG: Table._set_config,  # noqa: SLF001
    ZERO: Table._zero,  # noqa: SLF001
    FLUSH: Table._flush,  # noqa: SLF001
}


def _refuse(op: int, number: int) -> NoReturn:
    raise Refused(op, number)


def _server_key(op: int, service: Service, wanted: Destination | None) -> tuple[int, _ServerKey]:
    """The family and key of the server that a request names. Refused: EINVAL, EAFNOSUPPORT
    (ip_vs_genl_parse_dest).
    """
    if wanted is None:
        _refuse(op, errno.EINVAL)
    family = wanted.af or service.af
    if family not in _FAMILIES:
        _refuse(op, errno.EAFNOSUPPORT)
    return family, (family, wanted.addr, wanted.port)


def _service(given: Service) -> Service:
    """A copy as the kernel keeps it: marked HASHED, the time-out in ticks of 32 bits, a mark
    instead of an address.
    """
    marked = given.fwmark != 0
    return Service(
        given.af,
        0 if marked else given.protocol,
        b"" if marked else given.addr,
        0 if marked else given.port,
        given.fwmark,
        given.scheduler,
        given.flags | HASHED,
        given.timeout * HZ % _U32 // HZ,
        given.netmask,
        given.pe,
    )


def _destination(given: Destination, family: int) -> Destination:
    """A copy as the kernel keeps it: of all bits of the method, those that name one; nothing
    counted.
    """
    return Destination(
        family,
        given.addr,
        given.port,
        given.forward & FORWARD_MASK,
        given.weight,
        given.upper,
        given.lower,
        given.tun_type,
        given.tun_port,
        given.tun_flags,
    )


def _daemon(given: Daemon) -> Daemon:
    return Daemon(
        given.state, given.interface, given.syncid, given.maxlen, given.group, given.port, given.ttl
    )


def daemon_in_force(given: Daemon, mtu: int) -> Daemon:
    """What a daemon runs with (ip_vs_sync.c: start_sync_thread). mtu: the interface's, which bounds
    what a backup receives.
    """
    daemon = _daemon(given)
    backup = daemon.state == BACKUP
    headers = 48 if len(daemon.group) == 16 else 28  # IP and UDP
    daemon.maxlen = (
        max(daemon.maxlen, 1024 if backup else 1)
        if daemon.maxlen
        else (max(mtu, _MTU) if backup else _MTU) - headers
    )
    daemon.maxlen = min(daemon.maxlen, _PACKET_MAX - headers)
    daemon.group = daemon.group or _GROUP
    daemon.port = daemon.port or _PORT
    daemon.ttl = daemon.ttl or _TTL
    return daemon


def _is_marked(service: Service) -> bool:
    return service.fwmark != 0


def _length(name: str) -> int:
    """Bytes of a name in a message (netlink/codec.py writes them in UTF-8)."""
    return len(name.encode("utf-8", "surrogateescape"))


def is_link_local(addr: bytes) -> bool:
    """Whether an IPv6 address is in fe80::/10."""
    return addr[0] == 0xFE and addr[1] & 0xC0 == 0x80


def _is_group(addr: bytes) -> bool:
    """Whether sync messages may go there: a multicast address, or none for the default."""
    if len(addr) == 4:
        return addr[0] >> 4 == 0xE
    return not addr or (len(addr) == 16 and addr[0] == 0xFF)
