"""Read and change the kernel's table through one generic netlink socket, which lives as long as the
process.

Owns: the socket, sequence numbers, timeouts, batches, loading the module. Must never know: the
meaning of a message's attributes (netlink/attributes.py), how anything is shown.

The kernel handles a request inside send(), so its answers are queued when send returns. A batch of
changes goes out as one send, and only its last message asks for an acknowledgement. A refused
change is answered with an error of its own, whose sequence number tells which change it was; the
others are not answered. When the last answer is there, all are. `_socket` is the C module beneath
`socket`, whose import would cost every start 6 ms.
"""

from __future__ import annotations

import _socket
import errno
import os
import time

from pyipvsadm.errors import OperationError, RefusedError, format_error
from pyipvsadm.model import (
    AF_INET,
    COLUMNS,
    CONNECTIONS_FILE,
    DEL_DAEMON,
    GET_CONFIG,
    GET_DAEMON,
    GET_DEST,
    GET_INFO,
    GET_SERVICE,
    SETTINGS,
    TABLE_FILE,
    Change,
    Daemon,
    Info,
    ProcTable,
    Server,
    Service,
    Timeouts,
    build_server,
    to_row,
)
from pyipvsadm.netlink import attributes, dumps, framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, NoReturn, TypeVar

    from pyipvsadm.locks import Lock
    from pyipvsadm.model import Row
    from pyipvsadm.netlink.dump_layout import DumpDecoder

    Value = TypeVar("Value")

AF_NETLINK = 16
NETLINK_GENERIC = 16
SOL_NETLINK = 270
NETLINK_CAP_ACK = 10  # errors come without a copy of the request
IP_VS_SO_GET_INFO = 64 + 1024 + 64 + 1  # the interface before netlink, asked only for its errno

MODPROBE = "/sbin/modprobe"
REPLY_TIMEOUT = 10  # seconds a reply may take; the kernel needs microseconds
MAX_DUMP_TRIES = 10  # dumps that were interrupted before we give up
KEPT_CHANGING = f"The table kept changing while it was read ({MAX_DUMP_TRIES} times); try again"
SERVICES_PER_DATAGRAM = 8  # services that surely come in one datagram (11 fill the first)
STATUS_FILE = "/proc/net/ip_vs_status"  # came with the tables that grow
RECEIVE_SIZE = 65536  # bytes; the kernel's largest datagram is 32448 (netlink_dump)
MSG_TRUNC = 32  # receive tells a datagram's own size, whatever the buffer's
# Bytes of the receive buffer that one queued error takes, with NETLINK_CAP_ACK: 768 and 832 were
# measured on 6.1, 896 on 7.2; a kernel built for the most fragments a packet (CONFIG_MAX_SKB_FRAGS
# 45) adds 28 of 16.
RCVBUF_PER_ERROR = 1408


class KernelBackend:
    """Represent the kernel's table in the network namespace of this process.

    Opening it loads the module once, if it is missing. Raise OperationError with status 2 if there
    is no IPVS, or no permission.
    """

    embedded = False

    def __init__(
        self,
        trace: Callable[[str, bytes], None] | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._trace = trace
        self._tell = tell  # of its lock (files.Lock)
        self._seq = 0
        self._buffer = memoryview(bytearray(RECEIVE_SIZE))
        try:
            self._socket = _socket.socket(
                AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, NETLINK_GENERIC
            )
            self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
            # Connected, only the kernel (port id 0) can send to us: af_netlink.c,
            # netlink_getsockbyportid. This binds as well.
            self._socket.connect((0, 0))
        except OSError:  # a sandbox without netlink
            raise make_unavailable_error(probe_old_interface()) from None
        self._batch = (
            self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF) // RCVBUF_PER_ERROR
        )
        self._family = framing.GENL_ID_CTRL
        self._find_family(load=True)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def refresh(self) -> None:
        """Ask for the information again; after a reload of the module, for the family. Failed
        (status 2) while there is none.
        """
        try:
            self._info = self._request(GET_INFO, attributes.read_info)
        except (RefusedError, OperationError):
            # Who asks for a family by its name has the kernel load the module for it (genetlink.c:
            # ctrl_getfamily).
            if not os.path.exists(TABLE_FILE):
                raise make_unavailable_error(errno.ENOPROTOOPT) from None
            self._find_family(load=False)

    def lock_table(self) -> Lock:
        """Return the lock of this network namespace."""
        from pyipvsadm import locks  # noqa: PLC0415  # most requests need none

        return locks.lock_namespace(self._tell, "another ipvsadm is changing the kernel's table")

    def read_info(self) -> Info:
        """Return the version and the size of the connection table, as they were when the backend
        was opened (from Linux 7.1 on, a table grows).
        """
        return self._info

    def read_services(self, counters: bool = True) -> list[Service]:
        """Return all services, in the order of the kernel's hash tables."""
        reader = dumps.make_service_reader(self._family, counters)
        for again in range(MAX_DUMP_TRIES):
            found = self._request_dump(GET_SERVICE, b"", attributes.read_service, reader)
            # From 7.1 on, a table that is given another size while it is dumped is in another order
            # from one datagram to the next: a service that comes twice stands for one that is
            # missing. The kernel does not mark such a dump.
            if not can_grow(found) or len({each.key() for each in found}) == len(found):
                return found
            time.sleep(0.01 * again)
        raise OperationError(KEPT_CHANGING)

    def find_service(self, wanted: Service) -> Service:
        """Return one service. Raise RefusedError (ESRCH) if it does not exist."""
        return self._request(
            GET_SERVICE, attributes.read_service, attributes.encode_service_key(wanted)
        )

    def read_servers(self, service: Service) -> list[Server]:
        """Return a service's real servers, newest first."""
        (rows,) = self.iter_rows([service], COLUMNS)
        return list(map(build_server, rows))

    def iter_rows(
        self, services: Iterable[Service], columns: tuple[str, ...]
    ) -> Iterator[list[Row]]:
        """Yield the requested columns of each service's real servers, newest first."""
        family = AF_INET

        def read(reply: framing.Message) -> Row:
            return to_row(attributes.read_destination(reply, family), columns)

        reader = dumps.make_row_reader(self._family, columns)
        for service in services:
            family = service.af
            yield self._request_dump(GET_DEST, attributes.encode_service_key(service), read, reader)

    def read_proc_table(self) -> ProcTable | None:
        """Return /proc/net/ip_vs and the records that it lacks; None if it cannot be read: then
        dumps serve.
        """
        try:
            with open(TABLE_FILE, "rb", buffering=0) as file:
                text = file.read()
        except OSError:
            return None
        found: list[Any] = self._request_dump(
            GET_SERVICE, b"", attributes.read_service, dumps.make_proc_reader(self._family)
        )
        others = [each for each in found if each.__class__ is Service]
        plain = [each for each in found if each.__class__ is not Service] if others else found
        return (
            None
            if can_grow(plain) and len(set(plain)) < len(plain)
            else ProcTable(text, plain, others)
        )

    def read_sysctl(self, name: str) -> str:
        """Return the text of /proc/sys/net/ipv4/vs/NAME, "" if it cannot be read."""
        try:
            with open(SETTINGS + name, "rb", buffering=0) as file:
                return file.read().decode().strip()
        except OSError:
            return ""

    def read_timeouts(self) -> Timeouts:
        """Return the timeouts, in seconds."""
        return self._request(GET_CONFIG, attributes.read_timeouts)

    def read_daemons(self) -> list[Daemon]:
        """Return the running sync daemons, master first."""
        return self._request_dump(GET_DAEMON, b"", attributes.read_daemon)

    def iter_connections(self) -> Iterator[bytes]:
        """Yield the lines of /proc/net/ip_vs_conn, its heading first. Raise OperationError (status
        1) if it cannot be read.
        """
        try:
            # Each read has the kernel walk from the table's start to where the last one ended
            # (ip_vs_conn.c: ip_vs_conn_array). It gives a page at a time; by default Python would
            # ask for a quarter of that.
            with open(CONNECTIONS_FILE, "rb", buffering=RECEIVE_SIZE) as file:
                yield from file
        except OSError:
            raise OperationError(f"cannot open file {CONNECTIONS_FILE}") from None

    def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
        """Carry the changes out in order; (index, errno) of each that was refused.

        All are encoded before the first is sent: when `changes` raises, nothing was done.
        """
        batches: list[tuple[int, int, bytes]] = []  # first and last sequence number, messages
        encode = attributes.Encoder().encode
        message = framing.pack_message
        family = self._family
        waiting: list[bytes] = []
        op = 0
        seq = self._seq + 1
        for change in changes:
            op = change.op
            waiting.append(message(family, op, framing.NLM_F_REQUEST, seq, encode(change)))
            seq += 1
            if len(waiting) == self._batch:
                batches.append(self._finish_batch(waiting, op, seq))
                seq = batches[-1][1] + 1
                waiting.clear()
        if waiting:
            batches.append(self._finish_batch(waiting, op, seq))
        refused = []
        place = 0
        for first, last, data in batches:
            self._seq = last
            self._send_bytes(data)
            refused += [(place + at, number) for at, number in self._collect_refusals(first, last)]
            place += self._batch
        if any(number == errno.ENOENT for _, number in refused):
            self._request(
                GET_INFO, attributes.read_info
            )  # no scheduler or server of that name, or no IPVS?
        return refused

    def _finish_batch(self, requests: list[bytes], op: int, seq: int) -> tuple[int, int, bytes]:
        """Return a batch as it is sent: its last message asks for an acknowledgement. seq: the next
        sequence number.
        """
        first = seq - len(requests)
        if op == DEL_DAEMON:
            # Its acknowledgement can get lost: a daemon stopped before its thread first ran answers
            # EINTR, and netlink is silent on that (af_netlink.c: netlink_rcv_skb). Something after
            # it always answers.
            requests.append(
                framing.pack_message(self._family, GET_INFO, framing.NLM_F_REQUEST, seq, b"")
            )
            seq += 1
        requests[-1] = framing.add_ack(requests[-1])
        return first, seq - 1, b"".join(requests)

    def _collect_refusals(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return (index in the batch, errno) of each refused change."""
        refused = []
        while True:
            for reply in self._iter_messages(self._receive_datagram()):
                if reply.type != framing.NLMSG_ERROR or not first <= reply.seq <= last:
                    continue  # the answer of GET_INFO, or to something we no longer wait for
                number = self._decode(framing.Message.read_errno, reply)
                if number:
                    refused.append((reply.seq - first, number))
                if reply.seq == last:
                    return refused

    def _find_family(self, load: bool) -> None:
        self._family = self._request_family(load)
        try:
            self._info = self._request(GET_INFO, attributes.read_info)
        except RefusedError as no:
            raise make_unavailable_error(no.errno) from None

    def _request_family(self, load: bool) -> int:
        while True:
            self._seq += 1
            self._send_bytes(framing.get_family(self._seq))
            try:
                return self._decode(framing.read_family, self._read_reply(0))
            except RefusedError as no:
                if no.errno != errno.ENOENT:
                    raise make_unavailable_error(no.errno) from None
            if not load or not load_module():
                raise make_unavailable_error(probe_old_interface())
            load = False

    def _request(
        self, command: int, read: Callable[[framing.Message], Value], payload: bytes = b""
    ) -> Value:
        """Send a request that has one answer, and return it decoded."""
        self._seq += 1
        self._send_bytes(
            framing.pack_message(self._family, command, framing.NLM_F_REQUEST, self._seq, payload)
        )
        return self._decode(read, self._read_reply(command))

    def _read_reply(self, command: int) -> framing.Message:
        while True:
            for reply in self._iter_messages(self._receive_datagram()):
                if reply.seq != self._seq:
                    continue
                if reply.type == framing.NLMSG_ERROR:
                    self._raise_refusal(command, self._decode(framing.Message.read_errno, reply))
                return reply

    def _raise_refusal(self, command: int, number: int) -> NoReturn:
        """Raise the error for a refused question. ENOENT means that the netlink family is gone: no
        IPVS question is answered so.
        """
        if number == errno.ENOENT and command:
            raise make_unavailable_error(errno.ENOPROTOOPT)
        raise RefusedError(command, number)

    def _request_dump(
        self,
        command: int,
        payload: bytes,
        read: Callable[[framing.Message], Value],
        reader: DumpDecoder | None = None,
    ) -> list[Value]:
        """Send a request that has many answers; repeat it if the kernel says that the table changed
        meanwhile.
        """
        for _ in range(MAX_DUMP_TRIES):
            self._seq = seq = self._seq + 1
            self._send_bytes(
                framing.pack_message(
                    self._family,
                    command,
                    framing.NLM_F_REQUEST | framing.NLM_F_DUMP,
                    seq,
                    payload,
                )
            )
            found = self._read_dump(command, seq, read, reader)
            if found is not None:
                return found
        raise OperationError(KEPT_CHANGING)

    def _read_dump(
        self,
        command: int,
        seq: int,
        read: Callable[[framing.Message], Value],
        reader: DumpDecoder | None,
    ) -> list[Value] | None:
        """Return the decoded records of a dump; None if the kernel marks it as interrupted."""
        found: list[Value] = []
        interrupted = False
        receive = self._receive_datagram
        while True:
            datagram = receive()
            if len(datagram) == framing.DONE and framing.is_dump_end(datagram, seq):
                return None if interrupted else found
            if reader:
                some = reader.decode_values(datagram, seq)
                if some is not None:
                    found += some
                    continue
            for reply in self._iter_messages(datagram):
                if reply.seq != seq:
                    continue
                interrupted = interrupted or bool(reply.flags & framing.NLM_F_DUMP_INTR)
                if reply.type in (framing.NLMSG_ERROR, framing.NLMSG_DONE):
                    number = self._decode(framing.Message.read_errno, reply)
                    if number:
                        self._raise_refusal(command, number)
                    return None if interrupted else found
                found.append(self._decode(read, reply))

    def _decode(self, read: Callable[[framing.Message], Value], reply: framing.Message) -> Value:
        try:
            return read(reply)
        except framing.WireError as bad:
            raise make_malformed_error(bad) from None

    def _send_bytes(self, data: bytes) -> None:
        if self._trace:
            self._trace("sent", data)
        try:
            self._socket.send(data)
        except OSError as no:
            raise OperationError(f"Cannot send to the kernel: {no.strerror}") from None

    def _receive_datagram(self) -> memoryview:
        """Return one datagram from the kernel; the next call overwrites it."""
        try:
            size = self._receive_size()
        except _socket.timeout:
            raise OperationError(
                f"The kernel did not answer within {REPLY_TIMEOUT} seconds"
            ) from None
        except OSError as no:
            hint = (
                "; some answers are lost: list the table to see what was done"
                if no.errno == errno.ENOBUFS
                else ""
            )
            raise OperationError(f"Cannot read the kernel's answer: {no.strerror}{hint}") from None
        if size > RECEIVE_SIZE:
            raise OperationError(
                f"The kernel sent {size} bytes at once, where {RECEIVE_SIZE} were expected"
            )
        data = self._buffer[:size]
        if self._trace:
            self._trace("received", data.tobytes())
        return data

    def _receive_size(self) -> int:
        """Return the size of a datagram read into the buffer: by one system call where the answer
        is there, as it is after send. Raises _socket.timeout (TimeoutError from Python 3.10 on) when none comes.
        """
        try:
            return self._socket.recv_into(self._buffer, 0, MSG_TRUNC | _socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._socket.settimeout(REPLY_TIMEOUT)
        try:
            return self._socket.recv_into(self._buffer, 0, MSG_TRUNC)
        finally:
            self._socket.settimeout(None)

    def _iter_messages(self, datagram: memoryview) -> list[framing.Message]:
        try:
            return list(framing.iter_messages(datagram.tobytes()))
        except framing.WireError as bad:
            raise make_malformed_error(bad) from None


def can_grow(found: list[Any]) -> bool:
    """Return True if the table can have grown while this was dumped: from Linux 7.1 on, if several
    datagrams were needed.
    """
    return len(found) >= SERVICES_PER_DATAGRAM and os.path.exists(STATUS_FILE)


def make_malformed_error(bad: framing.WireError) -> OperationError:
    """Return the error for bytes that are no answer."""
    return OperationError(
        f"The kernel's answer cannot be read: {bad} (IPVSADM_DEBUG=netlink shows it)"
    )


def make_unavailable_error(number: int) -> OperationError:
    """Return the error with 1.31's message for a kernel without IPVS (ipvsadm.c: main)."""
    return OperationError(
        f"Can't initialize ipvs: {format_error(0, number)}\n"
        "Are you sure that IP Virtual Server is built in the kernel or as module?",
        2,
    )


def load_module() -> bool:
    """Load ip_vs, as the reference does but without what our environment might tell modprobe
    (MODPROBE_OPTIONS).
    """
    command = [MODPROBE, "--", "ip_vs"]
    try:
        child = os.posix_spawn(MODPROBE, command, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    except OSError:
        return False
    return os.waitpid(child, 0)[1] == 0


def probe_old_interface() -> int:
    """Return the errno that the interface before netlink gives if the family is missing; 1.31's
    message comes from it.

    EPERM without CAP_NET_RAW, ENOPROTOOPT without the module (libipvs.c: ipvs_init).
    """
    try:
        old = _socket.socket(AF_INET, _socket.SOCK_RAW, _socket.IPPROTO_RAW)
        try:
            old.getsockopt(_socket.IPPROTO_IP, IP_VS_SO_GET_INFO, 12)
        finally:
            old.close()
    except OSError as no:
        return no.errno or errno.ENOPROTOOPT
    return errno.ENOPROTOOPT
