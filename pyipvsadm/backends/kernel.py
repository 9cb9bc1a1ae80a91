"""Read and change the kernel's table through one generic netlink socket, which lives as long as the
process.

Owns: the socket, sequence numbers, timeouts, batches. Must never know: the
meaning of a message's attributes (netlink/attributes.py), how anything is shown.

The kernel handles a request inside send(), so its answers are queued when send returns. A batch of
changes goes out as one send, and only its last message asks for an acknowledgement. A refused
change is answered with an error of its own, whose sequence number tells which change it was; the
others are not answered. When the last answer is there, all are. The module is longer than others
because requests, dumps and batches share the socket. `_socket` is the C module beneath `socket`,
whose import would cost every start 6 ms.
"""

from __future__ import annotations

import _socket
import errno
import os
import time

from pyipvsadm.errors import OperationError, RefusedError
from pyipvsadm.model import (
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
from pyipvsadm.netlink import attributes, framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, NoReturn, TypeVar

    from pyipvsadm.backends.dump_blocks import DumpBlocks
    from pyipvsadm.locks import Lock
    from pyipvsadm.model import Row
    from pyipvsadm.netlink.dump_layout import DumpDecoder

    Value = TypeVar("Value")

AF_NETLINK = 16
NETLINK_GENERIC = 16
SOL_NETLINK = 270
# With this option, an error has no copy of the request.
NETLINK_CAP_ACK = 10
# Seconds to wait for a reply; the kernel needs microseconds.
REPLY_TIMEOUT = 10
# Interrupted dumps before a read fails.
MAX_DUMP_TRIES = 10
KEPT_CHANGING = f"The table kept changing while it was read ({MAX_DUMP_TRIES} times); try again"
# Services that always fit into one datagram (the first one is full after 11).
SERVICES_PER_DATAGRAM = 8
# This file exists since the kernel resizes its tables (Linux 7.1).
STATUS_FILE = "/proc/net/ip_vs_status"
# Sequence numbers start again here: of 32 bits, more than 200 million are left for one batch.
MAX_SEQ = 0xF0000000
# Bytes of the receive buffer; the kernel's largest datagram has 32448 (netlink_dump).
RECEIVE_SIZE = 65536
# Return the size of the datagram even if the buffer is smaller (MSG_TRUNC); do not wait for one.
MSG_TRUNC = 32
RECEIVE_FLAGS = MSG_TRUNC | _socket.MSG_DONTWAIT
# Bytes of the receive buffer that one queued error takes, with NETLINK_CAP_ACK: 768 and 832 were
# measured on Linux 6.1, 896 on 7.2. A kernel that allows the most fragments per packet
# (CONFIG_MAX_SKB_FRAGS 45) needs 28 * 16 bytes more.
RCVBUF_PER_ERROR = 1408


class KernelBackend:
    """Represent the kernel's table in the network namespace of this process.

    Opening it loads the module once, if it is missing. Raise OperationError with status 2 if there
    is no IPVS, or no permission.
    """

    embedded = False
    name = "kernel"

    def __init__(
        self,
        trace: Callable[[str, bytes], None] | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._trace = trace
        # Prints messages about the lock (locks.Lock).
        self._tell = tell
        self._seq = 0
        self._buffer = memoryview(bytearray(RECEIVE_SIZE))
        self._blocks: DumpBlocks | None = None
        try:
            self._socket = _socket.socket(
                AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, NETLINK_GENERIC
            )
        except OSError as exc:
            if exc.errno in (errno.EAFNOSUPPORT, errno.EPERM, errno.EACCES):
                raise OperationError(
                    f"Can't initialize ipvs: netlink sockets are not allowed here ({exc.strerror}): allow AF_NETLINK,"
                    " for a unit of systemd in RestrictAddressFamilies=",
                    2,
                ) from None
            raise make_unavailable_error() from None
        try:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
            # Only the kernel (port id 0) can send to a connected socket (af_netlink.c:
            # netlink_getsockbyportid). connect binds the socket, too.
            self._socket.connect((0, 0))
        except OSError:
            # A sandbox may forbid netlink sockets.
            raise make_unavailable_error() from None
        self._batch = (
            self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF) // RCVBUF_PER_ERROR
        )
        self._family = framing.GENL_ID_CTRL
        self._find_family(load=True)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def refresh(self) -> None:
        """Read version and size again; after a reload of the module, look up its netlink family
        again. Raise OperationError (status 2) while the module is not loaded.
        """
        try:
            self._info = self._request(GET_INFO, attributes.read_info)
        except (RefusedError, OperationError):
            # A lookup of the family by name would make the kernel load the module (genetlink.c:
            # ctrl_getfamily), and refresh must not.
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
        from pyipvsadm.netlink import dumps  # noqa: PLC0415  # changes do without

        reader = dumps.make_service_reader(self._family, counters)
        for attempt in range(MAX_DUMP_TRIES):
            services = self._request_dump(GET_SERVICE, b"", attributes.read_service, reader)
            # From Linux 7.1 on, the order of a table changes between two datagrams if the table is
            # resized: a service that comes twice stands for a service that is missing. The kernel
            # does not mark such a dump as interrupted.
            if not can_grow(services) or len({s.key() for s in services}) == len(services):
                return services
            time.sleep(0.01 * attempt)
        raise OperationError(KEPT_CHANGING)

    def find_service(self, service: Service) -> Service:
        """Return one service. Raise RefusedError (ESRCH) if it does not exist."""
        return self._request(
            GET_SERVICE, attributes.read_service, attributes.encode_service_key(service)
        )

    def read_servers(self, service: Service) -> list[Server]:
        """Return a service's real servers, newest first."""
        (rows,) = self.iter_rows([service], COLUMNS)
        return list(map(build_server, rows))

    def iter_rows(
        self, services: Iterable[Service], columns: tuple[str, ...]
    ) -> Iterator[list[Row]]:
        """Yield the requested columns of each service's real servers, newest first."""
        from pyipvsadm.backends import dump_blocks  # noqa: PLC0415  # changes do without
        from pyipvsadm.netlink import dumps  # noqa: PLC0415

        reader = dumps.make_row_reader(self._family, columns)
        if not self._blocks:
            self._blocks = dump_blocks.DumpBlocks(self._socket, RECEIVE_SIZE, RECEIVE_FLAGS)
        waiting = iter(services)
        block: list[Service] = []
        while not self._trace:
            seq = self._take_seq()
            block, sizes, data = self._blocks.fetch(waiting, self._family, seq)
            rows = None if data is None else reader.decode_dumps(data, sizes, seq)
            if rows is None:
                break  # These and all further services are read one by one.
            if not block:
                return
            yield from rows
        for service in [*block, *waiting]:
            yield self._read_rows(service, columns, reader)

    def _read_rows(
        self, service: Service, columns: tuple[str, ...], reader: DumpDecoder
    ) -> list[Row]:
        def read(reply: framing.Message) -> Row:
            return to_row(attributes.read_destination(reply, service.af), columns)

        return self._request_dump(GET_DEST, attributes.encode_service_key(service), read, reader)

    def read_proc_table(self) -> ProcTable | None:
        """Return /proc/net/ip_vs and the records that it lacks; None if it cannot be read: then
        dumps serve.
        """
        from pyipvsadm.netlink import dumps  # noqa: PLC0415

        text = _read_file(TABLE_FILE)
        if text is None:
            return None
        records: list[Any] = self._request_dump(
            GET_SERVICE, b"", attributes.read_service, dumps.make_proc_reader(self._family)
        )
        other_services = [record for record in records if record.__class__ is Service]
        if other_services:
            records = [record for record in records if record.__class__ is not Service]
        if can_grow(records) and len(set(records)) < len(records):
            return None
        return ProcTable(text, records, other_services)

    def read_sysctl(self, name: str) -> str:
        """Return the text of /proc/sys/net/ipv4/vs/NAME, "" if it cannot be read."""
        return (_read_file(SETTINGS + name) or b"").decode().strip()

    def read_status(self) -> str:
        """Return the text of /proc/net/ip_vs_status, "" before Linux 7.1."""
        return (_read_file(STATUS_FILE) or b"").decode()

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
        """Carry the changes out in order; return (index, errno) of each refused one, ascending.

        All changes are encoded before the first is sent: if `changes` raises, nothing was done.
        """
        encode = attributes.Encoder().encode
        return self.apply_encoded((change.op, encode(change)) for change in changes)

    def apply_encoded(self, payloads: Iterable[tuple[int, bytes]]) -> list[tuple[int, int]]:
        """Carry out changes that are encoded: operations, and the bytes after the headers of their
        requests. Return as apply does.
        """
        # (first sequence number, last sequence number, messages)
        batches: list[tuple[int, int, bytes]] = []
        pack_header = framing.FRAME.pack
        requests: list[bytes] = []
        op = size = 0
        last_op = -1
        before = after = b""
        seq = self._take_seq()
        for op, payload in payloads:
            # Most requests have the operation and the size of the last one.
            if op != last_op or len(payload) != size:
                last_op, size = op, len(payload)
                before, after = framing.split_header(self._family, op, framing.NLM_F_REQUEST, size)
            requests.append(pack_header(before, seq, after) + payload)
            seq += 1
            if len(requests) == self._batch:
                batches.append(self._finish_batch(requests, op, seq))
                seq = batches[-1][1] + 1
                requests.clear()
        if requests:
            batches.append(self._finish_batch(requests, op, seq))
        refused = []
        batch_start = 0
        for first, last, data in batches:
            self._seq = last
            self._send_bytes(data)
            refused += [
                (batch_start + index, errnum)
                for index, errnum in self._collect_refusals(first, last)
            ]
            batch_start += self._batch
        if any(errnum == errno.ENOENT for _, errnum in refused):
            # ENOENT means that a scheduler or server does not exist, or that the module is gone:
            # this request raises if it is gone.
            self._request(GET_INFO, attributes.read_info)
        return refused

    def _finish_batch(self, requests: list[bytes], op: int, seq: int) -> tuple[int, int, bytes]:
        """Return a batch as it is sent: its last message asks for an acknowledgement. seq: the next
        sequence number.
        """
        first = seq - len(requests)
        if op == DEL_DAEMON:
            # The acknowledgement of DEL_DAEMON can get lost: for a daemon that is stopped before
            # its thread first ran the kernel returns EINTR, which netlink does not report
            # (af_netlink.c: netlink_rcv_skb). GET_INFO, sent after it, is always answered.
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
                    # The answer to GET_INFO, or to a request that is no longer waited for.
                    continue
                errnum = self._decode(framing.Message.read_errno, reply)
                if errnum:
                    refused.append((reply.seq - first, errnum))
                if reply.seq == last:
                    return refused

    def _take_seq(self) -> int:
        """Return the next sequence number. Numbers start again before 32 bits are full, early
        enough for the largest batch.
        """
        self._seq = self._seq % MAX_SEQ + 1
        return self._seq

    def _find_family(self, load: bool) -> None:
        self._family = self._request_family(load)
        try:
            self._info = self._request(GET_INFO, attributes.read_info)
        except RefusedError as exc:
            raise make_unavailable_error(exc.errno) from None

    def _request_family(self, load: bool) -> int:
        while True:
            self._send_bytes(framing.pack_family_request(self._take_seq()))
            try:
                return self._decode(framing.read_family, self._read_reply(0))
            except RefusedError as exc:
                if exc.errno != errno.ENOENT:
                    raise make_unavailable_error(exc.errno) from None
            if not load:
                raise make_unavailable_error()
            from pyipvsadm.backends import missing_ipvs  # noqa: PLC0415

            load = False
            if not missing_ipvs.load_module():
                raise make_unavailable_error()

    def _request(
        self, command: int, read: Callable[[framing.Message], Value], payload: bytes = b""
    ) -> Value:
        """Send a request that has one answer, and return it decoded."""
        seq = self._take_seq()
        self._send_bytes(
            framing.pack_message(self._family, command, framing.NLM_F_REQUEST, seq, payload)
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

    def _raise_refusal(self, command: int, errnum: int) -> NoReturn:
        """Raise the error for a refused read. ENOENT means that the netlink family is gone: no IPVS
        read returns it.
        """
        if errnum == errno.ENOENT and command:
            raise make_unavailable_error(errno.ENOPROTOOPT)
        raise RefusedError(command, errnum)

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
            seq = self._take_seq()
            self._send_bytes(
                framing.pack_message(
                    self._family,
                    command,
                    framing.NLM_F_REQUEST | framing.NLM_F_DUMP,
                    seq,
                    payload,
                )
            )
            records = self._read_dump(command, seq, read, reader)
            if records is not None:
                return records
        raise OperationError(KEPT_CHANGING)

    def _read_dump(
        self,
        command: int,
        seq: int,
        read: Callable[[framing.Message], Value],
        reader: DumpDecoder | None,
    ) -> list[Value] | None:
        """Return the decoded records of a dump; None if the kernel marks it as interrupted."""
        records: list[Value] = []
        interrupted = False
        receive = self._receive_datagram
        while True:
            datagram = receive()
            if len(datagram) == framing.DONE and framing.is_dump_end(datagram, seq):
                return None if interrupted else records
            if reader:
                values = reader.decode_values(datagram, seq)
                if values is not None:
                    records += values
                    continue
            for reply in self._iter_messages(datagram):
                if reply.seq != seq:
                    continue
                interrupted = interrupted or bool(reply.flags & framing.NLM_F_DUMP_INTR)
                if reply.type in (framing.NLMSG_ERROR, framing.NLMSG_DONE):
                    errnum = self._decode(framing.Message.read_errno, reply)
                    if errnum:
                        self._raise_refusal(command, errnum)
                    return None if interrupted else records
                records.append(self._decode(read, reply))

    def _decode(self, read: Callable[[framing.Message], Value], reply: framing.Message) -> Value:
        try:
            return read(reply)
        except framing.WireError as exc:
            raise make_malformed_error(exc) from None

    def _send_bytes(self, data: bytes) -> None:
        if self._trace:
            self._trace("sent", data)
        try:
            self._socket.send(data)
        except OSError as exc:
            raise OperationError(f"Cannot send to the kernel: {exc.strerror}") from None

    def _receive_datagram(self) -> memoryview:
        """Return one datagram from the kernel; the next call overwrites it."""
        try:
            # One system call where the answer is there, as it is after send.
            size = self._socket.recv_into(self._buffer, 0, RECEIVE_FLAGS)
        except OSError as exc:
            size = self._wait_for_datagram(exc)
        if size > RECEIVE_SIZE:
            raise OperationError(
                f"The kernel sent a datagram of {size} bytes; at most {RECEIVE_SIZE} were expected"
            )
        data = self._buffer[:size]
        if self._trace:
            self._trace("received", data.tobytes())
        return data

    def _wait_for_datagram(self, exc: OSError) -> int:
        """Return the size of the next datagram, read into the buffer, after a receive without a wait
        has failed. Raise OperationError if none comes.
        """
        if isinstance(exc, BlockingIOError):
            self._socket.settimeout(REPLY_TIMEOUT)
            try:
                return self._socket.recv_into(self._buffer, 0, MSG_TRUNC)
            except OSError as failure:
                exc = failure
            finally:
                self._socket.settimeout(None)
        if isinstance(exc, _socket.timeout):  # TimeoutError from Python 3.10 on
            message = f"The kernel did not answer within {REPLY_TIMEOUT} seconds"
        else:
            message = f"Cannot read the kernel's answer: {exc.strerror}"
        if exc.errno == errno.ENOBUFS:
            message += "; some answers are lost: list the table to see what was done"
        raise OperationError(message) from None

    def _iter_messages(self, datagram: memoryview) -> list[framing.Message]:
        try:
            return list(framing.iter_messages(datagram.tobytes()))
        except framing.WireError as exc:
            raise make_malformed_error(exc) from None


def _read_file(path: str) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return None


def can_grow(records: list[Any]) -> bool:
    """Return True if the table can have grown while this was dumped: from Linux 7.1 on, if several
    datagrams were needed.
    """
    return len(records) >= SERVICES_PER_DATAGRAM and os.path.exists(STATUS_FILE)


def make_malformed_error(exc: framing.WireError) -> OperationError:
    """Return the error for an answer that cannot be decoded."""
    return OperationError(
        f"Cannot decode the kernel's answer: {exc} (IPVSADM_DEBUG=netlink prints it)"
    )


def make_unavailable_error(errnum: int = 0) -> OperationError:
    """Return the error for a kernel without IPVS. 0: ask the interface before netlink for errno."""
    from pyipvsadm.backends import missing_ipvs  # noqa: PLC0415  # nearly always, IPVS is there

    return missing_ipvs.make_error(errnum or missing_ipvs.probe_old_interface())
