"""Test the kernel backend against a function that plays the kernel: batches, dumps, lost and
foreign answers, a missing module.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Union

import pytest

from pyipvsadm import model
from pyipvsadm.backends import kernel
from pyipvsadm.backends.kernel import KernelBackend
from pyipvsadm.errors import OperationError, RefusedError
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    HASHED,
    TCP,
    Change,
    Daemon,
    Server,
    Service,
    Timeouts,
)
from pyipvsadm.netlink import attributes, framing
from tests.unit.fake_environment import overview
from tests.unit.netlink.records import FAMILY, destination_record

if TYPE_CHECKING:
    from pathlib import Path

# A request as the kernel sees it: (sequence number, type, flags, command, attributes)
Request = tuple[int, int, int, int, dict[int, bytes]]
# Datagrams in answer to a request; an OSError is raised by the receive.
Answer = Union[bytes, OSError]
Player = Callable[[Request], list[Answer]]


def header(kind: int, flags: int, seq: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, seq, 0) + body


def error(seq: int, number: int) -> bytes:
    return header(framing.NLMSG_ERROR, 0, seq, struct.pack("=i", -number) + bytes(16))


def done(seq: int, number: int = 0) -> bytes:
    return header(framing.NLMSG_DONE, framing.NLM_F_MULTI, seq, struct.pack("=i", -number))


def part(seq: int, payload: bytes, flags: int = framing.NLM_F_MULTI) -> bytes:
    return framing.pack_message(FAMILY, 1, flags, seq, payload)


def info(seq: int) -> bytes:
    values = framing.pack_attribute(1, struct.pack("=I", 0x010201)) + framing.pack_attribute(
        2, struct.pack("=I", 4096)
    )
    return framing.pack_message(FAMILY, model.SET_INFO, 0, seq, values)


def opening(request: Request) -> list[Answer] | None:
    """Answer as every kernel with IPVS does when the backend is opened."""
    seq, kind, flags, command, _ = request
    if kind == framing.GENL_ID_CTRL:
        return [
            framing.pack_message(
                framing.GENL_ID_CTRL,
                1,
                0,
                seq,
                framing.pack_attribute(1, struct.pack("=H", FAMILY)),
            )
        ]
    if command == model.GET_INFO:
        return [info(seq), *([error(seq, 0)] if flags & framing.NLM_F_ACK else [])]
    return None


class Socket:
    """Play a netlink socket: a function answers for the kernel."""

    def __init__(self, play: Player, buffer: int = 212992) -> None:
        self.play = play
        self.buffer = buffer
        self.queue: list[Answer] = []
        self.sends: list[list[Request]] = []
        self.closed = False
        self.waiting: float | None = None  # seconds that a receive waits
        self.late: list[Answer] = []  # answers that come only while a receive waits

    def setsockopt(self, *_: Any) -> None:
        return

    def getsockopt(self, *_: Any) -> int:
        return self.buffer

    def connect(self, address: tuple[int, int]) -> None:
        assert address == (0, 0)  # so that only the kernel can send to it

    def close(self) -> None:
        self.closed = True

    def send(self, data: bytes) -> None:
        requests = [
            (
                message.seq,
                message.type,
                message.flags,
                message.body[0],
                framing.parse_attributes(message.body[4:]),
            )
            for message in framing.iter_messages(data)
        ]
        self.sends.append(requests)
        for request in requests:
            # netlink_rcv_skb: an error always answers, success only when it was asked for
            self.queue += opening(request) or self.play(request)

    def settimeout(self, seconds: float | None) -> None:
        self.waiting = seconds
        self.queue += self.late
        self.late = []

    def recv_into(self, buffer: memoryview, size: int, flags: int) -> int:
        at_once = 0 if self.waiting else _socket.MSG_DONTWAIT
        assert (size, flags, self.waiting in (None, kernel.REPLY_TIMEOUT)) == (
            0,
            _socket.MSG_TRUNC | at_once,
            True,
        )
        if not self.queue:
            if self.waiting:
                raise _socket.timeout("timed out")
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        answer = self.queue.pop(0)
        if isinstance(answer, OSError):
            raise answer
        kept = answer[: len(buffer)]
        buffer[: len(kept)] = kept
        return len(answer)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[KernelBackend, Socket]]:

    def opened(play: Player, **options: Any) -> tuple[KernelBackend, Socket]:
        sock = Socket(play, **options)
        names = {name: getattr(_socket, name) for name in dir(_socket) if name.isupper()}
        monkeypatch.setattr(
            "pyipvsadm.backends.kernel._socket",
            types.SimpleNamespace(**names, socket=lambda *_: sock, timeout=_socket.timeout),
        )
        return KernelBackend(), sock

    return opened


def silent(request: Request) -> list[Answer]:
    """Play a kernel that accepts every request."""
    seq, _, flags, _, _ = request
    return [error(seq, 0)] if flags & framing.NLM_F_ACK else []


def refuses(*commands: tuple[int, int]) -> Player:
    """Return a player of a kernel that answers these commands with these errnos."""
    numbers = dict(commands)

    def play(request: Request) -> list[Answer]:
        seq, _, _, command, _ = request
        return [error(seq, numbers[command])] if command in numbers else silent(request)

    return play


SERVICE = Service(AF_INET, TCP, bytes([10, 0, 0, 1]), 80)
SERVER = Server(AF_INET, bytes([10, 0, 0, 2]), 80)
ADD = Change(model.NEW_SERVICE, SERVICE)
ADD_SERVER = Change(model.NEW_DEST, SERVICE, SERVER)
STOP = Change(model.DEL_DAEMON, daemon=Daemon(model.MASTER))


def test_opening_finds_the_family_and_asks_for_info(connect: Any) -> None:
    table, sock = connect(silent)
    assert table.read_info() == model.Info(0x010201, 4096)
    assert [request[3] for (request,) in sock.sends] == [
        framing.CTRL_CMD_GETFAMILY,
        model.GET_INFO,
    ]
    table.close()
    assert sock.closed


def test_a_batch_is_one_send_and_only_its_last_asks_for_an_answer(connect: Any) -> None:
    table, sock = connect(silent)
    assert table.apply([ADD, ADD_SERVER, ADD_SERVER]) == []
    (batch,) = sock.sends[2:]
    assert [(request[3], bool(request[2] & framing.NLM_F_ACK)) for request in batch] == [
        (model.NEW_SERVICE, False),
        (model.NEW_DEST, False),
        (model.NEW_DEST, True),
    ]


def test_nothing_to_apply_sends_nothing(connect: Any) -> None:
    table, sock = connect(silent)
    assert table.apply([]) == []
    assert len(sock.sends) == 2


def test_an_operation_that_does_not_exist_is_sent_and_refused(connect: Any) -> None:
    table, sock = connect(refuses((0, errno.EOPNOTSUPP)))
    assert table.apply([Change(0), Change(0), ADD]) == [
        (0, errno.EOPNOTSUPP),
        (1, errno.EOPNOTSUPP),
    ]
    assert [request[3] for request in sock.sends[2]] == [0, 0, model.NEW_SERVICE]


def test_each_refusal_is_told_by_its_place(connect: Any) -> None:
    table, _ = connect(refuses((model.NEW_DEST, errno.EEXIST)))
    found = table.apply([ADD, ADD_SERVER, ADD, ADD_SERVER])
    assert found == [(1, errno.EEXIST), (3, errno.EEXIST)]


def test_batches_leave_room_for_an_error_each(connect: Any) -> None:
    table, sock = connect(
        refuses((model.NEW_DEST, errno.ESRCH)), buffer=kernel.RCVBUF_PER_ERROR * 4
    )
    assert table.apply([ADD_SERVER] * 10) == [(at, errno.ESRCH) for at in range(10)]
    assert [len(batch) for batch in sock.sends[2:]] == [4, 4, 2]


def test_a_daemon_stop_whose_answer_is_lost_is_a_stop(connect: Any) -> None:
    def play(request: Request) -> list[Answer]:
        return [] if request[3] == model.DEL_DAEMON else silent(request)

    table, sock = connect(play)
    assert table.apply([ADD, STOP]) == []
    assert [request[3] for request in sock.sends[-1]] == [
        model.NEW_SERVICE,
        model.DEL_DAEMON,
        model.GET_INFO,
    ]


def test_a_daemon_stop_that_is_refused(connect: Any) -> None:
    table, _ = connect(refuses((model.DEL_DAEMON, errno.ESRCH)))
    assert table.apply([STOP]) == [(0, errno.ESRCH)]


def test_what_is_not_found_is_refused_where_ipvs_is_there(connect: Any) -> None:
    table, sock = connect(refuses((model.NEW_SERVICE, errno.ENOENT)))
    assert table.apply([ADD, ADD_SERVER]) == [(0, errno.ENOENT)]
    assert [[request[3] for request in sent] for sent in sock.sends[2:]] == [
        [model.NEW_SERVICE, model.NEW_DEST],
        [model.GET_INFO],
    ]


def test_an_overrun_in_a_later_batch(connect: Any) -> None:
    """The first batch was done; of the second, the program does not know what was refused."""

    def play(request: Request) -> list[Answer]:
        first = len(sock.sends) <= 3
        return (
            silent(request)
            if first
            else [
                error(request[0], errno.EEXIST),
                OSError(errno.ENOBUFS, "No buffer space available"),
            ]
        )

    table, sock = connect(play, buffer=kernel.RCVBUF_PER_ERROR * 4)
    said = (
        "Cannot read the kernel's answer: No buffer space available; "
        "some answers are lost: list the table to see what was done"
    )
    with pytest.raises(OperationError, match=said):
        table.apply([ADD_SERVER] * 10)
    assert [len(batch) for batch in sock.sends[2:]] == [4, 4]


def listing(request: Request) -> list[Answer]:
    seq, _, _, command, attrs = request
    if command == model.GET_SERVICE and request[2] & framing.NLM_F_DUMP:
        service = attributes.Encoder().encode(ADD)
        return [part(seq, service) + part(seq, service), part(seq, service), done(seq)]
    if command == model.GET_SERVICE:
        return [part(seq, attributes.Encoder().encode(ADD), 0)]
    if command == model.GET_DEST:
        assert attributes.SERVICE in attrs
        counts = b"".join(framing.pack_attribute(kind, bytes(4)) for kind in (7, 8, 9))
        return [
            part(
                seq,
                framing.pack_attribute(
                    attributes.DEST, attributes.encode_dest(SERVER)[4:] + counts
                ),
            )
            + done(seq)
        ]
    if command == model.GET_DAEMON:
        return [part(seq, attributes.encode_daemon(Daemon(model.MASTER, "lo", 1))), done(seq)]
    if command == model.GET_CONFIG:
        return [part(seq, attributes.encode_timeouts(Timeouts(900, 120, 300)), 0)]
    return silent(request)


def test_reading(connect: Any) -> None:
    table, _ = connect(listing)
    assert table.read_services() == [SERVICE, SERVICE, SERVICE]
    assert table.find_service(SERVICE) == SERVICE
    assert table.read_proc_table() is None  # no file here
    assert table.read_servers(SERVICE) == [SERVER]
    assert table.read_daemons() == [Daemon(model.MASTER, "lo", 1)]
    assert table.read_timeouts() == Timeouts(900, 120, 300)


def make_servers(port: int, count: int) -> list[Server]:
    """Return as many servers; every fourth service has servers of both families."""
    return [
        Server(AF_INET6, bytes([32, 1, *bytes(12), at >> 8, at & 255]), port, weight=at)
        if port % 4 == 3 and at % 2
        else Server(AF_INET, bytes([10, 1, at >> 8, at & 255]), port, weight=at)
        for at in range(count)
    ]


def make_services(count: int) -> list[Service]:
    return [
        Service(AF_INET, fwmark=port)
        if port % 5 == 2
        else Service(AF_INET, TCP, bytes([10, 0, 0, 1]), port)
        for port in range(1, count + 1)
    ]


INTERRUPTED = framing.NLM_F_MULTI | framing.NLM_F_DUMP_INTR
# How a kernel answers the first request for the servers of the third service: datagrams, as they
# would be for sequence number 0; RECORDS are those of the service.
RECORDS = b"the records"
COMPLETE = [RECORDS, done(0)]
IRREGULAR: list[tuple[str, list[bytes]]] = [
    ("interrupted", [RECORDS, header(framing.NLMSG_DONE, INTERRUPTED, 0, bytes(4))]),
    ("an interrupted record", [destination_record(SERVER, seq=0, flags=INTERRUPTED), done(0)]),
    ("nothing", []),
    ("no end", [RECORDS]),
    ("the end beside the records", [RECORDS + done(0)]),
    ("too large", [bytes(kernel.RECEIVE_SIZE + 1), done(0)]),
    ("an answer to an older request", [done(-1 & 0xFFFFFFFF), RECORDS, done(0)]),
    ("nothing that is known", [bytes(40), done(0)]),
    ("a record of another dump", [destination_record(SERVER, seq=1 << 31), done(0)]),
    ("cut", [destination_record(SERVER, seq=0)[:-4], done(0)]),
]


def number_messages(datagram: bytes, seq: int) -> bytes:
    """Return a datagram of messages with the sequence number added to theirs."""
    data = bytearray(datagram)
    offset = 0
    while offset + 16 <= len(data):
        (size, number) = struct.unpack_from("=I4xI", data, offset)
        struct.pack_into("=I", data, offset + 8, number + seq & 0xFFFFFFFF)
        offset += max(size, 16)
    return bytes(data)


@pytest.mark.parametrize(
    "counts", [[1] * 900, [3, 0, 2, 100, 0], [0] * 3, [1, 2000, 1], [9, 9, 9, 9]]
)
@pytest.mark.parametrize(
    "answer",
    [pytest.param(answer, id=name) for name, answer in [("complete", COMPLETE), *IRREGULAR]],
)
def test_servers_of_many_services(connect: Any, counts: list[int], answer: list[bytes]) -> None:
    services = make_services(len(counts))
    keys = list(map(attributes.encode_service_key, services))
    servers = {key: make_servers(at, count) for at, (key, count) in enumerate(zip(keys, counts))}
    seen: set[bytes] = set()

    def play(request: Request) -> list[Answer]:
        seq, _, flags, command, attrs = request
        assert (command, flags & framing.NLM_F_DUMP) == (model.GET_DEST, framing.NLM_F_DUMP)
        key = framing.pack_attribute(attributes.SERVICE, attrs[attributes.SERVICE])
        records = [destination_record(server, seq=0) for server in servers[key]]
        # netlink_dump: a datagram has at most 32 KiB
        datagrams = [b"".join(records[at : at + 80]) for at in range(0, len(records), 80)]
        datagrams.append(done(0))
        if key not in seen:
            seen.add(key)
            if len(seen) == 3:
                datagrams = [each.replace(RECORDS, b"".join(records[:80])) for each in answer]
        return [number_messages(each, seq) for each in datagrams]

    table, sock = connect(play)
    wanted = [[model.to_row(server, ("weight",)) for server in servers[key]] for key in keys]
    if answer is COMPLETE:
        wanted[2] = wanted[2][:80]
    assert list(table.iter_rows(services, ("weight",))) == wanted
    if answer is COMPLETE:
        assert len(sock.sends) == 2 + len(services)


def test_a_refused_dump_among_many(connect: Any) -> None:
    """Raise the kernel's error when the iterator reaches its service."""

    def play(request: Request) -> list[Answer]:
        seq, attrs = request[0], request[4]
        service = framing.parse_attributes(attrs[attributes.SERVICE])
        if service.get(attributes.SVC_PORT) == struct.pack(">H", 4):
            return [done(seq, errno.EPERM)]
        return [destination_record(SERVER, seq=seq), done(seq)]

    table, _ = connect(play)
    found = table.iter_rows(make_services(6), ("weight",))
    row = model.to_row(SERVER, ("weight",))
    assert [next(found) for _ in range(3)] == [[row]] * 3
    with pytest.raises(RefusedError) as raised:
        next(found)
    assert raised.value.errno == errno.EPERM


def test_the_kernels_own_listing_and_what_it_lacks(
    connect: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "ip_vs"
    file.write_bytes(b"a text")
    monkeypatch.setattr(kernel, "TABLE_FILE", str(file))
    services = [
        Service(AF_INET, TCP, bytes([10, 0, 0, at]), 80, flags=flags)
        for at, flags in ((1, HASHED), (2, 9), (3, HASHED))
    ]
    marked = Service(AF_INET, fwmark=7, flags=HASHED)

    def play(request: Request) -> list[Answer]:
        payloads = [
            attributes.Encoder().encode(Change(model.NEW_SERVICE, each))
            for each in (*services, marked)
        ]
        return [*(part(request[0], payload) for payload in payloads), done(request[0])]

    table, _ = connect(play)
    assert table.read_proc_table() == overview(b"a text", [*services, marked])


def test_a_dump_marked_as_interrupted_is_taken_again(connect: Any) -> None:
    times = []

    def play(request: Request) -> list[Answer]:
        seq = request[0]
        times.append(seq)
        flags = framing.NLM_F_MULTI | (framing.NLM_F_DUMP_INTR if len(times) < 3 else 0)
        return [part(seq, attributes.Encoder().encode(ADD), flags), done(seq)]

    table, _ = connect(play)
    assert table.read_services() == [SERVICE]
    assert len(times) == 3


@pytest.mark.parametrize(("grows", "dumps"), [(True, 3), (False, 1)])
def test_where_tables_grow_a_dump_with_a_service_twice_is_taken_again(
    connect: Any, monkeypatch: pytest.MonkeyPatch, grows: bool, dumps: int
) -> None:
    """The dump was in two orders: a service that is in it twice means that another is missing."""
    marks = [[*range(1, 20), 3], [*range(2, 20), 4, 4], list(range(1, 21))]
    times: list[int] = []
    pauses: list[float] = []

    def play(request: Request) -> list[Answer]:
        seq = request[0]
        found = [
            Change(model.NEW_SERVICE, Service(AF_INET, fwmark=mark)) for mark in marks[len(times)]
        ]
        times.append(seq)
        return [*(part(seq, attributes.Encoder().encode(each)) for each in found), done(seq)]

    monkeypatch.setattr(
        "pyipvsadm.backends.kernel.os.path.exists",
        lambda path: grows and path == kernel.STATUS_FILE,
    )
    monkeypatch.setattr("pyipvsadm.backends.kernel.time.sleep", pauses.append)
    table, _ = connect(play)
    assert [each.fwmark for each in table.read_services()] == marks[dumps - 1]
    assert (len(times), len(pauses)) == (dumps, dumps - 1)


def test_where_every_dump_has_a_service_twice_it_is_given_up(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(request: Request) -> list[Answer]:
        return [
            *(part(request[0], attributes.Encoder().encode(ADD)) for _ in range(20)),
            done(request[0]),
        ]

    monkeypatch.setattr(
        "pyipvsadm.backends.kernel.os.path.exists", lambda path: path == kernel.STATUS_FILE
    )
    monkeypatch.setattr("pyipvsadm.backends.kernel.time.sleep", lambda _: None)
    table, _ = connect(play)
    with pytest.raises(OperationError, match="kept changing"):
        table.read_services()


def test_a_dump_that_is_always_interrupted_is_given_up(connect: Any) -> None:
    def play(request: Request) -> list[Answer]:
        return [header(framing.NLMSG_DONE, framing.NLM_F_DUMP_INTR, request[0], bytes(4))]

    table, sock = connect(play)
    with pytest.raises(OperationError, match="kept changing"):
        table.read_services()
    assert len(sock.sends) == 2 + kernel.MAX_DUMP_TRIES


@pytest.mark.parametrize("end", [error, done])
def test_a_refused_dump(connect: Any, end: Callable[[int, int], bytes]) -> None:
    table, _ = connect(lambda request: [end(request[0], errno.EPERM)])
    with pytest.raises(RefusedError) as refused:
        table.read_services()
    assert (refused.value.errno, str(refused.value)) == (
        errno.EPERM,
        "Permission denied (you must be root)",
    )


def test_a_service_that_is_not_there(connect: Any) -> None:
    table, _ = connect(refuses((model.GET_SERVICE, errno.ESRCH)))
    with pytest.raises(RefusedError, match="No such service"):
        table.find_service(SERVICE)


def strangers(request: Request) -> list[Answer]:
    """Answer correctly, after answers to an earlier request."""
    seq = request[0]
    right = listing(request)
    return [part(seq - 1, b""), error(seq - 1, errno.EPERM), done(seq - 1), *right]


def test_answers_to_others_are_passed_over(connect: Any) -> None:
    table, _ = connect(strangers)
    assert table.read_services() == [SERVICE, SERVICE, SERVICE]
    assert table.find_service(SERVICE) == SERVICE
    assert table.apply([ADD]) == []


BROKEN: list[tuple[str, Answer | None, str]] = [
    ("no answer", None, "did not answer within 10 seconds"),
    (
        "buffer overrun",
        OSError(errno.ENOBUFS, "No buffer space available"),
        "some answers are lost",
    ),
    ("receive error", OSError(errno.EBADF, "Bad file descriptor"), "Bad file descriptor"),
    ("cut header", b"\1\2\3", "^Cannot decode the kernel's answer: a message"),
    (
        "no message of that length",
        header(FAMILY, 0, 1, bytes(4))[:-2],
        "^Cannot decode the kernel's answer: a message",
    ),
    (
        "larger than the buffer",
        bytes(kernel.RECEIVE_SIZE + 1),
        "a datagram of 65537 bytes; at most 65536 were expected",
    ),
]


@pytest.mark.parametrize(("answer", "said"), [pytest.param(a, s, id=name) for name, a, s in BROKEN])
def test_broken_answers_are_sentences(connect: Any, answer: Answer | None, said: str) -> None:
    table, _ = connect(lambda _: [] if answer is None else [answer])
    for ask in (table.read_services, table.read_timeouts, lambda: table.apply([ADD])):
        with pytest.raises(OperationError, match=said):
            ask()


def test_an_answer_that_is_not_there_yet_is_waited_for(connect: Any) -> None:
    table, sock = connect(listing)
    play = sock.play
    sock.play = lambda request: sock.late.extend(play(request)) or []
    for _ in range(2):
        assert table.read_services() == [SERVICE, SERVICE, SERVICE]
        assert (sock.late, sock.waiting) == ([], None)


def test_an_answer_without_its_attributes(connect: Any) -> None:
    table, _ = connect(lambda request: [part(request[0], b""), done(request[0])])
    with pytest.raises(OperationError, match="without its service"):
        table.read_services()


@pytest.mark.parametrize(
    "answer", [header(FAMILY, 0, 1, bytes(4)), header(framing.NLMSG_ERROR, 0, 1, b"")]
)
def test_an_opening_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    """The family comes without its id, the error without its errno."""
    sock = Socket(silent)
    monkeypatch.setattr(sock, "send", lambda _: sock.queue.append(answer))
    monkeypatch.setattr("pyipvsadm.backends.kernel._socket.socket", lambda *_: sock)
    with pytest.raises(OperationError, match="Cannot decode the kernel's answer"):
        KernelBackend()


def test_an_error_without_its_errno(connect: Any) -> None:
    table, _ = connect(lambda request: [header(framing.NLMSG_ERROR, 0, request[0], b"")])
    for ask in (table.read_services, table.read_timeouts, lambda: table.apply([ADD])):
        with pytest.raises(OperationError, match="an error message without its errno"):
            ask()


def test_a_send_that_fails(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table, sock = connect(silent)

    def fail(_: bytes) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(sock, "send", fail)
    with pytest.raises(OperationError, match="Cannot send to the kernel: Operation not permitted"):
        table.apply([ADD])


def test_tracing_shows_both_directions(connect: Any) -> None:
    table, _ = connect(silent)
    seen: list[str] = []
    table._trace = lambda direction, _: seen.append(direction)
    table.apply([ADD])
    assert seen == ["sent", "received"]


def test_no_permission_to_ask_for_info(monkeypatch: pytest.MonkeyPatch) -> None:
    sock = Socket(silent)

    def send(data: bytes) -> None:
        (message,) = framing.iter_messages(data)
        family = opening((message.seq, message.type, 0, 0, {}))
        sock.queue += family or [error(message.seq, errno.EPERM)]

    monkeypatch.setattr(sock, "send", send)
    monkeypatch.setattr("pyipvsadm.backends.kernel._socket.socket", lambda *_: sock)
    with pytest.raises(OperationError) as failed:
        KernelBackend()
    assert failed.value.status == 2
    assert str(failed.value).startswith(
        "Can't initialize ipvs: Permission denied (you must be root)\nAre you sure"
    )


class Absent:
    """Play a kernel where the family appears when the module is loaded, if it `loads`.

    The controller answers `refusal` until then; the old interface answers `number`, 0 if it exists.
    """

    refusal = errno.ENOENT

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, loads: bool, works: bool, number: int
    ) -> None:
        self.commands: list[Any] = []
        self.there = False
        sock = Socket(silent)

        def send(data: bytes) -> None:
            (message,) = framing.iter_messages(data)
            answer = (
                opening((message.seq, message.type, 0, message.body[0], {})) if self.there else None
            )
            sock.queue += answer or [error(message.seq, self.refusal)]

        def spawn(path: str, command: list[str], environ: dict[str, str]) -> int:
            self.commands.append((path, command, environ))
            self.there = loads
            if not works:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory")
            return 1

        def old(*_: Any) -> int:
            if number:
                raise OSError(number, "no")
            return 0

        monkeypatch.setattr(sock, "send", send)
        raw = types.SimpleNamespace(getsockopt=old, close=lambda: None)
        monkeypatch.setattr(
            "pyipvsadm.backends.kernel._socket.socket",
            lambda family, *_: raw if family == AF_INET else sock,
        )
        monkeypatch.setattr("pyipvsadm.backends.kernel.os.posix_spawn", spawn)
        monkeypatch.setattr(
            "pyipvsadm.backends.kernel.os.waitpid", lambda *_: (1, 0 if loads else 256)
        )


def test_a_missing_module_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Absent(monkeypatch, loads=True, works=True, number=0)
    assert KernelBackend().read_info().size == 4096
    assert [command for _, command, _ in absent.commands] == [["/sbin/modprobe", "--", "ip_vs"]]
    assert "MODPROBE_OPTIONS" not in absent.commands[0][2]


@pytest.mark.parametrize("table", ["/no/such/file", "/dev/null"])
def test_refreshed_it_finds_the_module_that_was_loaded_anew_but_loads_none(
    monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    absent = Absent(monkeypatch, loads=True, works=True, number=errno.ENOPROTOOPT)
    opened = KernelBackend()
    absent.there = False
    monkeypatch.setattr("pyipvsadm.backends.kernel.TABLE_FILE", table)
    with pytest.raises(OperationError) as failed:
        opened.refresh()
    assert (failed.value.status, str(failed.value).split("\n")[0]) == (
        2,
        "Can't initialize ipvs: Protocol not available",
    )
    assert len(absent.commands) == 1
    absent.there = True
    opened.refresh()
    assert opened.read_info().size == 4096


def test_a_module_that_goes_while_a_command_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOENT then does not mean a missing scheduler or server."""
    absent = Absent(monkeypatch, loads=True, works=True, number=errno.ENOPROTOOPT)
    table = KernelBackend()
    absent.there = False
    asks: list[Callable[[], object]] = [
        table.read_services, table.read_timeouts, table.read_daemons,
        lambda: table.find_service(SERVICE), lambda: table.read_servers(SERVICE), lambda: table.apply([ADD]),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(
            OperationError, match="Can't initialize ipvs: Protocol not available"
        ) as failed:
            ask()
        assert failed.value.status == 2
    assert len(absent.commands) == 1


@pytest.mark.parametrize(
    ("loads", "works", "number", "said"),
    [
        (False, True, errno.ENOPROTOOPT, "Protocol not available"),
        (False, True, errno.EPERM, "Permission denied (you must be root)"),
        (False, False, errno.ENOPROTOOPT, "Protocol not available"),
        (False, True, 0, "Protocol not available"),  # only the old interface exists
    ],
)
def test_no_module_at_all(
    monkeypatch: pytest.MonkeyPatch, loads: bool, works: bool, number: int, said: str
) -> None:
    absent = Absent(monkeypatch, loads, works, number)
    with pytest.raises(OperationError) as failed:
        KernelBackend()
    assert failed.value.status == 2
    assert str(failed.value) == (
        f"Can't initialize ipvs: {said}\n"
        "Are you sure that IP Virtual Server is built in the kernel or as module?"
    )  # fmt: skip
    assert len(absent.commands) == 1


def test_a_module_that_brings_no_family_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Absent(monkeypatch, loads=False, works=True, number=errno.ENOPROTOOPT)
    monkeypatch.setattr("pyipvsadm.backends.kernel.os.waitpid", lambda *_: (1, 0))
    with pytest.raises(OperationError, match="Protocol not available"):
        KernelBackend()
    assert len(absent.commands) == 1


def test_the_controller_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is another than a missing family: no module is loaded."""
    absent = Absent(monkeypatch, loads=True, works=True, number=0)
    absent.refusal = errno.EPERM
    with pytest.raises(OperationError, match="Permission denied"):
        KernelBackend()
    assert absent.commands == []


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EAFNOSUPPORT, "netlink sockets are not allowed here (Address family not supported by protocol): "),
        (errno.EPERM, "netlink sockets are not allowed here (Operation not permitted): "),
        (errno.EMFILE, "Permission denied (you must be root)\n"),
    ],
)  # fmt: skip
def test_a_sandbox_without_netlink(
    number: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(family: int, *_: Any) -> Any:
        if family != AF_INET:
            raise OSError(number, os.strerror(number))
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("pyipvsadm.backends.kernel._socket.socket", opened)
    with pytest.raises(OperationError) as failed:
        KernelBackend()
    assert failed.value.status == 2
    assert str(failed.value).startswith(f"Can't initialize ipvs: {message}")


def test_a_setting_is_a_files_text_or_nothing(
    connect: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    table, _ = connect(silent)
    monkeypatch.setattr(kernel, "SETTINGS", f"{tmp_path}/")
    (tmp_path / "conn_reuse_mode").write_text("1\n")
    assert (table.read_sysctl("conn_reuse_mode"), table.read_sysctl("none")) == ("1", "")


def test_connections_are_the_files_lines(
    connect: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    table, _ = connect(silent)
    path = tmp_path / "conn"
    path.write_bytes(b"heading\nline\n")
    monkeypatch.setattr(kernel, "CONNECTIONS_FILE", str(path))
    assert list(table.iter_connections()) == [b"heading\n", b"line\n"]
    path.unlink()
    with pytest.raises(OperationError, match="cannot open file"):
        list(table.iter_connections())


def test_sequence_numbers_start_again_before_they_are_full(connect: Any) -> None:
    table, sock = connect(silent)
    table._seq = kernel.MAX_SEQ - 4
    for _ in range(3):
        assert table.apply([ADD] * 3) == []
    seqs = [request[0] for requests in sock.sends for request in requests][2:]
    last = kernel.MAX_SEQ
    assert seqs == [last - 3, last - 2, last - 1, last, last + 1, last + 2, 3, 4, 5]
