"""Encode and decode IPVS attributes, sans-I/O.

Owns: the numbers of attributes (uapi ip_vs.h), their layouts, their byte order. Must never know:
sockets, backends, options, how messages are framed (framing.py).

Values are in the machine's byte order, except addresses, the ports of services, servers and
tunnels, and IPv4 netmasks, which are in network order; the port of the sync daemons is in the
machine's. Messages that we send have fixed layouts, one Struct each; messages that we read are
walked, since a newer kernel may add attributes anywhere. Whatever the bytes are, decoding ends:
with a value or a WireError.
"""

from __future__ import annotations

import os
from _socket import htons  # the C module beneath `socket`; this is arithmetic, not I/O
from struct import Struct, error

from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    FORWARD_MASK,
    NEW_DEST,
    NEW_SERVICE,
    NO_STATS,
    SET_DEST,
    SET_SERVICE,
    Change,
    Daemon,
    Info,
    Server,
    Service,
    Timeouts,
)
from pyipvsadm.netlink.framing import Message, WireError, pack_attribute, parse_attributes

# IPVS_CMD_ATTR_*
SERVICE = 1
DEST = 2
DAEMON = 3
TIMEOUT_TCP = 4
TIMEOUT_TCP_FIN = 5
TIMEOUT_UDP = 6

# IPVS_INFO_ATTR_*
INFO_VERSION = 1
INFO_CONN_TAB_SIZE = 2

# IPVS_SVC_ATTR_*
SVC_AF = 1
SVC_PROTOCOL = 2
SVC_ADDR = 3
SVC_PORT = 4
SVC_FWMARK = 5
SVC_SCHED_NAME = 6
SVC_FLAGS = 7
SVC_TIMEOUT = 8
SVC_NETMASK = 9
SVC_STATS = 10
SVC_PE_NAME = 11
SVC_STATS64 = 12

# IPVS_DEST_ATTR_*
DEST_ADDR = 1
DEST_PORT = 2
DEST_FWD_METHOD = 3
DEST_WEIGHT = 4
DEST_U_THRESH = 5
DEST_L_THRESH = 6
DEST_ACTIVE_CONNS = 7
DEST_INACT_CONNS = 8
DEST_PERSIST_CONNS = 9
DEST_STATS = 10
DEST_ADDR_FAMILY = 11
DEST_STATS64 = 12
DEST_TUN_TYPE = 13
DEST_TUN_PORT = 14
DEST_TUN_FLAGS = 15

# IPVS_DAEMON_ATTR_*
DAEMON_STATE = 1
DAEMON_MCAST_IFN = 2
DAEMON_SYNC_ID = 3
DAEMON_SYNC_MAXLEN = 4
DAEMON_MCAST_GROUP = 5
DAEMON_MCAST_GROUP6 = 6
DAEMON_MCAST_PORT = 7
DAEMON_MCAST_TTL = 8


_NLATTR = Struct("=HH")
_U8 = Struct("=B")
_U16 = Struct("=H")
_U32 = Struct("=I")
_U64 = Struct("=Q")
_S32 = Struct("=i")
_NET16 = Struct(">H")
_NET32 = Struct(">I")

CACHE_LIMIT = 1 << 10  # servers, and services without their names, whose bytes an Encoder keeps

# The attributes of a service: the length and type of the nest, then the head (length and type) and
# the value of each attribute, with padding.
_SERVICE_BY_ADDRESS = Struct("=HH4sHxx4sHxx4s16s4sHxx")
_SERVICE_BY_MARK = Struct("=HH4sHxx4sI")
_AF_HEAD = _NLATTR.pack(6, SVC_AF)
_PROTOCOL_HEAD = _NLATTR.pack(6, SVC_PROTOCOL)
_VIP_HEAD = _NLATTR.pack(20, SVC_ADDR)
_VPORT_HEAD = _NLATTR.pack(6, SVC_PORT)
_MARK_HEAD = _NLATTR.pack(8, SVC_FWMARK)
_SERVICE_TAIL = Struct("=HHIIHHIHH4s")

# The attributes of a server: the head (length and type), which never differs, and the value of each
# attribute, with padding.
_DESTINATION_ID = Struct("=8sHxx4s16s4s2sxx")
_DESTINATION = Struct("=8sHxx4s16s4s2sxx4sI4si4sBxxx4s2sxx4sHxx4sI4sI")
_ID_HEAD = _NLATTR.pack(_DESTINATION_ID.size, DEST) + _NLATTR.pack(6, DEST_ADDR_FAMILY)
_FULL_HEAD = _NLATTR.pack(_DESTINATION.size, DEST) + _NLATTR.pack(6, DEST_ADDR_FAMILY)
_ADDR_HEAD = _NLATTR.pack(20, DEST_ADDR)
_PORT_HEAD = _NLATTR.pack(6, DEST_PORT)
_METHOD_HEAD = _NLATTR.pack(8, DEST_FWD_METHOD)
_WEIGHT_HEAD = _NLATTR.pack(8, DEST_WEIGHT)
_TYPE_HEAD = _NLATTR.pack(5, DEST_TUN_TYPE)
_TUNNEL_PORT_HEAD = _NLATTR.pack(6, DEST_TUN_PORT)
_FLAGS_HEAD = _NLATTR.pack(6, DEST_TUN_FLAGS)
_UPPER_HEAD = _NLATTR.pack(8, DEST_U_THRESH)
_LOWER_HEAD = _NLATTR.pack(8, DEST_L_THRESH)

# Where the values stand that rules/fast_encoder.py puts between the rest: from the start of
# encode_service_key and of encode_dest.
SERVICE_MARK_OFFSET = 16
SERVICE_ADDR_OFFSET = 24
SERVICE_PORT_OFFSET = 44
DEST_ADDR_OFFSET = 16
DEST_PORT_OFFSET = 36
DEST_WEIGHT_OFFSET = 52


def _pack_text(kind: int, value: str) -> bytes:
    return pack_attribute(kind, os.fsencode(value) + b"\0")


def encode_service_key(service: Service) -> bytes:
    """Encode the SERVICE attribute with the key of a service (ip_vs_genl_parse_service): family and
    mark, or protocol and address.
    """
    return _encode_service(service, b"")


def _encode_service_settings(service: Service) -> bytes:
    """Encode the settings that adding and editing need besides the key. The flags' mask is all
    ones: they replace the old ones.
    """
    mask = (_NET32 if service.af == AF_INET else _U32).pack(service.netmask)
    names = _pack_text(SVC_SCHED_NAME, service.scheduler)
    if service.pe:
        names += _pack_text(SVC_PE_NAME, service.pe)
    tail = _SERVICE_TAIL.pack(
        12, SVC_FLAGS, service.flags, 0xFFFFFFFF, 8, SVC_TIMEOUT, service.timeout, 8, SVC_NETMASK, mask
    )  # fmt: skip
    return names + tail


def _encode_service(service: Service, settings: bytes) -> bytes:
    if service.fwmark:
        return (
            _SERVICE_BY_MARK.pack(
                _SERVICE_BY_MARK.size + len(settings),
                SERVICE,
                _AF_HEAD,
                service.af,
                _MARK_HEAD,
                service.fwmark,
            )
            + settings
        )
    return _SERVICE_BY_ADDRESS.pack(
        _SERVICE_BY_ADDRESS.size + len(settings), SERVICE, _AF_HEAD, service.af,
        _PROTOCOL_HEAD, service.protocol, _VIP_HEAD, service.addr, _VPORT_HEAD, htons(service.port),
    ) + settings  # fmt: skip


def encode_dest_key(server: Server) -> bytes:
    """Encode the DEST attribute with the key of a real server."""
    return _DESTINATION_ID.pack(
        _ID_HEAD, server.af, _ADDR_HEAD, server.addr, _PORT_HEAD, _NET16.pack(server.port)
    )


def encode_dest(server: Server) -> bytes:
    """Encode the complete DEST attribute. Tunnel options are always included: an edit without them
    would reset them.
    """
    return _DESTINATION.pack(
        _FULL_HEAD, server.af, _ADDR_HEAD, server.addr, _PORT_HEAD, _NET16.pack(server.port),
        _METHOD_HEAD, server.forward, _WEIGHT_HEAD, server.weight,
        _TYPE_HEAD, server.tun_type, _TUNNEL_PORT_HEAD, _NET16.pack(server.tun_port),
        _FLAGS_HEAD, server.tun_flags, _UPPER_HEAD, server.upper, _LOWER_HEAD, server.lower,
    )  # fmt: skip


def encode_daemon(daemon: Daemon) -> bytes:
    """Encode the DAEMON attribute. Zeros are left out, so that the kernel's defaults hold."""
    body = pack_attribute(DAEMON_STATE, _U32.pack(daemon.state)) + _pack_text(
        DAEMON_MCAST_IFN, daemon.interface
    )
    body += pack_attribute(DAEMON_SYNC_ID, _U32.pack(daemon.syncid))
    if daemon.maxlen:
        body += pack_attribute(DAEMON_SYNC_MAXLEN, _U16.pack(daemon.maxlen))
    if daemon.port:
        body += pack_attribute(DAEMON_MCAST_PORT, _U16.pack(daemon.port))
    if daemon.ttl:
        body += pack_attribute(DAEMON_MCAST_TTL, _U8.pack(daemon.ttl))
    if daemon.group:
        body += pack_attribute(
            DAEMON_MCAST_GROUP if len(daemon.group) == 4 else DAEMON_MCAST_GROUP6, daemon.group
        )
    return pack_attribute(DAEMON, body)


def encode_timeouts(timeouts: Timeouts) -> bytes:
    """Encode the three timeouts of SET_CONFIG, in seconds."""
    return b"".join(
        pack_attribute(kind, _U32.pack(value))
        for kind, value in (
            (TIMEOUT_TCP, timeouts.tcp),
            (TIMEOUT_TCP_FIN, timeouts.tcp_fin),
            (TIMEOUT_UDP, timeouts.udp),
        )
    )


# Operations that carry the complete service or server. All others carry only its key.
_WHOLE_SERVICE = (NEW_SERVICE, SET_SERVICE)
_WHOLE_SERVER = (NEW_DEST, SET_DEST)


class Encoder:
    """Encode changes as the bytes after the headers of their requests; the command is change.op.

    It caches the last service, whose servers follow each other in a rule file, and servers that
    recur.
    """

    __slots__ = ("_servers", "_service", "_service_key", "_settings")

    def __init__(self) -> None:
        self._service: Service | None = None
        self._service_key = b""
        # The encoded settings of services, by their values.
        self._settings: dict[tuple[object, ...], bytes] = {}
        # Encoded servers by id() of the record; keeping the record keeps its id from being reused.
        self._servers: dict[int, tuple[Server, bytes]] = {}

    def encode(self, change: Change) -> bytes:
        """Return the attributes of one change."""
        service = change.service
        server = change.server
        if service is None:
            if change.timeouts is not None:
                return encode_timeouts(change.timeouts)
            # ZERO of all services and FLUSH have no attributes.
            return b"" if change.daemon is None else encode_daemon(change.daemon)
        if server is None:
            return (
                _encode_service(service, self._get_settings(service))
                if change.op in _WHOLE_SERVICE
                else encode_service_key(service)
            )
        if service is not self._service:
            self._service = service
            self._service_key = encode_service_key(service)
        if change.op not in _WHOLE_SERVER:
            return self._service_key + encode_dest_key(server)
        cached = self._servers.get(id(server))
        if cached is None:
            if len(self._servers) > CACHE_LIMIT:
                self._servers.clear()
            cached = self._servers[id(server)] = (server, encode_dest(server))
        return self._service_key + cached[1]

    def _get_settings(self, service: Service) -> bytes:
        key = (
            service.scheduler,
            service.flags,
            service.netmask,
            service.timeout,
            service.af,
            service.pe,
        )
        settings = self._settings.get(key)
        if settings is None:
            if len(self._settings) > CACHE_LIMIT:
                self._settings.clear()
            settings = self._settings[key] = _encode_service_settings(service)
        return settings


class _AttributeNest:
    """Read the attributes of a nest by number and type. Raise WireError if one is missing or too
    short.
    """

    __slots__ = ("_name", "_payloads")

    def __init__(self, payloads: dict[int, bytes], kind: int, name: str) -> None:
        if kind not in payloads:
            raise WireError(f"a reply without its {name}")
        self._payloads = parse_attributes(payloads[kind])
        self._name = name

    def get_int(self, layout: Struct, kind: int, default: int | None = None) -> int:
        data = self._payloads.get(kind)
        if data is None:
            if default is None:
                raise WireError(f"{self._name} without attribute {kind}")
            return default
        try:
            value: int = layout.unpack_from(data)[0]
        except error:
            raise WireError(
                f"attribute {kind} of {self._name} has only {len(data)} bytes"
            ) from None
        return value

    def get_bytes(self, kind: int, size: int) -> bytes:
        data = self._payloads.get(kind, b"")
        if len(data) < size:
            raise WireError(f"attribute {kind} of {self._name} has only {len(data)} bytes")
        return data[:size]

    def get_text(self, kind: int) -> str:
        return os.fsdecode(self._payloads.get(kind, b"").partition(b"\0")[0])

    def has_kind(self, kind: int) -> bool:
        return kind in self._payloads

    def read_stats(self, wide: int, narrow: int) -> tuple[int, ...]:
        """Return the ten counters and rates: from the 64-bit attributes, or from the older mix of
        32 and 64 bits (ip_vs_genl_fill_stats); zeros if the record has neither.
        """
        if wide in self._payloads:
            nest = _AttributeNest(self._payloads, wide, "statistics")
            return tuple(nest.get_int(_U64, kind) for kind in range(1, 11))
        if narrow in self._payloads:
            nest = _AttributeNest(self._payloads, narrow, "statistics")
            return tuple(
                nest.get_int(_U64 if kind in (4, 5) else _U32, kind) for kind in range(1, 11)
            )
        return NO_STATS

    def read_address(self, kind: int, family: int) -> bytes:
        """Return an address of the family, 4 or 16 bytes. Raise WireError for any other family."""
        if family not in (AF_INET, AF_INET6):
            raise WireError(f"unknown address family {family}")
        return self.get_bytes(kind, 4 if family == AF_INET else 16)


def read_info(reply: Message) -> Info:
    """Decode the answer to GET_INFO."""
    nest = _AttributeNest({0: reply.body[4:]}, 0, "info")
    return Info(nest.get_int(_U32, INFO_VERSION), nest.get_int(_U32, INFO_CONN_TAB_SIZE))


def read_timeouts(reply: Message) -> Timeouts:
    """Decode the answer to GET_CONFIG. A kernel built without TCP or UDP leaves their timeouts out;
    they are 0 then.
    """
    nest = _AttributeNest({0: reply.body[4:]}, 0, "timeouts")
    return Timeouts(
        *(nest.get_int(_U32, kind, 0) for kind in (TIMEOUT_TCP, TIMEOUT_TCP_FIN, TIMEOUT_UDP))
    )


def read_service(reply: Message) -> Service:
    """Decode a service from an answer to GET_SERVICE (ip_vs_genl_fill_service)."""
    nest = _AttributeNest(reply.parse_attributes(), SERVICE, "service")
    af = nest.get_int(_U16, SVC_AF)
    service = Service(
        af,
        scheduler=nest.get_text(SVC_SCHED_NAME),
        flags=nest.get_int(_U32, SVC_FLAGS),
        timeout=nest.get_int(_U32, SVC_TIMEOUT),
        netmask=nest.get_int(_NET32 if af == AF_INET else _U32, SVC_NETMASK),
        pe=nest.get_text(SVC_PE_NAME),
        stats=nest.read_stats(SVC_STATS64, SVC_STATS),
    )
    if nest.has_kind(SVC_FWMARK):
        service.fwmark = nest.get_int(_U32, SVC_FWMARK)
    else:
        service.protocol = nest.get_int(_U16, SVC_PROTOCOL)
        service.addr = nest.read_address(SVC_ADDR, af)
        service.port = nest.get_int(_NET16, SVC_PORT)
    return service


def read_destination(reply: Message, family: int) -> Server:
    """Decode a real server from an answer to GET_DEST (ip_vs_genl_fill_dest). family: its
    service's, for kernels before 3.18.
    """
    nest = _AttributeNest(reply.parse_attributes(), DEST, "destination")
    af = nest.get_int(_U16, DEST_ADDR_FAMILY, family)
    return Server(
        af,
        nest.read_address(DEST_ADDR, af),
        nest.get_int(_NET16, DEST_PORT),
        nest.get_int(_U32, DEST_FWD_METHOD) & FORWARD_MASK,
        nest.get_int(_S32, DEST_WEIGHT),
        nest.get_int(_U32, DEST_U_THRESH),
        nest.get_int(_U32, DEST_L_THRESH),
        nest.get_int(_U8, DEST_TUN_TYPE, 0),
        nest.get_int(_NET16, DEST_TUN_PORT, 0),
        nest.get_int(_U16, DEST_TUN_FLAGS, 0),
        nest.get_int(_U32, DEST_ACTIVE_CONNS),
        nest.get_int(_U32, DEST_INACT_CONNS),
        nest.get_int(_U32, DEST_PERSIST_CONNS),
        nest.read_stats(DEST_STATS64, DEST_STATS),
    )


def read_daemon(reply: Message) -> Daemon:
    """Decode a sync daemon from an answer to GET_DAEMON (ip_vs_genl_fill_daemon)."""
    nest = _AttributeNest(reply.parse_attributes(), DAEMON, "daemon")
    group = b""
    if nest.has_kind(DAEMON_MCAST_GROUP):
        group = nest.get_bytes(DAEMON_MCAST_GROUP, 4)
    elif nest.has_kind(DAEMON_MCAST_GROUP6):
        group = nest.get_bytes(DAEMON_MCAST_GROUP6, 16)
    return Daemon(
        nest.get_int(_U32, DAEMON_STATE),
        nest.get_text(DAEMON_MCAST_IFN),
        nest.get_int(_U32, DAEMON_SYNC_ID),
        nest.get_int(_U16, DAEMON_SYNC_MAXLEN, 0),
        group,
        nest.get_int(_U16, DAEMON_MCAST_PORT, 0),
        nest.get_int(_U8, DAEMON_MCAST_TTL, 0),
    )
