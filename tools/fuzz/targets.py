"""Feed untrusted bytes to the readers: each target is a function of drawn input that must end, and
may raise only the project's own errors.

Owns: the inputs of each reader, the environment that it runs in. Must never know: for how long.
Nothing here reaches the machine: the kernel is a function; files and tables are in memory, except a
file in the temporary folder.
"""

from __future__ import annotations

import _socket
import gc
import importlib
import os
import pkgutil
import struct
import sys
import tempfile
import tracemalloc
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from hypothesis import strategies as st

import pyipvsadm
from pyipvsadm import cli, model
from pyipvsadm.backends.kernel import KernelBackend
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.completion import shell_protocol
from pyipvsadm.errors import OperationError
from pyipvsadm.grammar.options import COMMANDS, OPTIONS
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    TCP,
    Change,
    Daemon,
    ProcTable,
    Server,
    Service,
    Timeouts,
)
from pyipvsadm.netlink import attributes, framing
from tests.unit.backends.test_kernel import Socket, header
from tests.unit.fake_environment import FakeEnvironment, overview
from tests.unit.netlink.records import FAMILY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyipvsadm.model import Backend
    from tests.unit.backends.test_kernel import Answer

# Import every module now that the package imports late: otherwise the first input would pay for it,
# and a tool that measures coverage would not see the imports, because lines_of replaces its trace.
for _module in pkgutil.walk_packages(pyipvsadm.__path__, "pyipvsadm."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)

STATUSES = (0, 1, 2, 255)
MOST_LINES = 3_000_000  # of Python, for inputs of a few kilobytes at most: an endless loop
MOST_WAITS = 3

RULES = (
    b"-A -t 10.0.0.1:80 -s sh -b sh-port -p 60 -M 255.255.255.0\n",
    b"-a -t 10.0.0.1:80 -r 10.0.0.2:80 -i -w 3 -x 9 -y 5 --tun-type gue --tun-port 6080 --tun-csum\n",
    b"-A -f 5 -6\n-a -f 5 -6 -r [fd00::1]:0 -g\n",
    b"--set 1 2 3\n",
    b"--start-daemon master --mcast-interface lo --syncid 7 --mcast-group ff02::81\n",
    b"-L -n\n",
    b"-C\n",
    b"-D -f 5 -6\n",
    b"# ipvsadm rules, format 1\n",
)
CONNECTIONS = (
    b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n",
    b"TCP 0A000063 C001 0A000001 0050 0A000002 0050 ESTABLISHED     899\n",
    b"UDP fd00:0:0:0:0:0:0:1 C002 fd00::1 13C4 fd00::2 13C4 UDP              65 sip call-1\n",
)
TABLE = (
    (
        b"IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n"
        b"  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
    ),
    b"TCP  0A000001:0050 wlc  \n",
    b"  -> 0A000002:0050      Masq    1      0          0         \n",
    b"TCP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0050 rr\n",
    b"  -> [fd00:0000:0000:0000:0000:0000:0000:0002]:0050      Route   1      0          0         \n",
    b"FWM  00000005 wlc\n",
)


class EndlessError(Exception):
    """Report more steps, or more memory, than any input of this size may take."""


class _EnoughError(Exception):
    pass


class _FuzzEnvironment(FakeEnvironment):
    """Stand in for the environment: stop a command that repeats, and read no file of
    this machine.
    """

    waits = 0

    def wait(self, seconds: float) -> int:
        self.waits += 1
        if self.waits > MOST_WAITS:
            raise _EnoughError
        return super().wait(seconds)

    def open_backend(self, spec: str) -> Backend:
        return self.table if spec.startswith("memory:") else super().open_backend(spec)

    def read_file(self, path: str) -> bytes:  # noqa: ARG002
        return b"-A -f 7\n"

    def run_on_screen(self, body: object) -> None:  # noqa: ARG002
        raise _EnoughError


class KernelLikeTable(MemoryBackend):
    """Stand in for a kernel's table, with its files."""

    embedded = False
    file = b""
    lines: tuple[bytes, ...] = ()

    def read_proc_table(self) -> ProcTable:  # type: ignore[override]  # the embedded table has none
        return overview(self.file, self.read_services())

    def iter_connections(self) -> Iterator[bytes]:
        return iter(self.lines)


def lines_of(body: Callable[[], object], most: int = MOST_LINES) -> int:
    """Run body and return how many lines of the package ran. Raise EndlessError past `most`."""
    count = 0

    def local(_frame: types.FrameType, event: str, _: object) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if count > most:
                raise EndlessError
        return local

    def entered(frame: types.FrameType, _event: str, _: object) -> Any:
        return local if "/pyipvsadm/" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        body()
    finally:
        sys.settrace(before)
    return count


def memory_of(body: Callable[[], object]) -> tuple[int, int]:
    """Run body and return the most bytes that it held, and how many of them are left
    after its end.
    """
    gc.collect()
    tracemalloc.start()
    try:
        body()
        _, peak = tracemalloc.get_traced_memory()
        gc.collect()
        return peak, tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def _ran(
    words: Sequence[str],
    env: FakeEnvironment,
    program: Callable[[Sequence[str], FakeEnvironment], int] = cli.main,
) -> None:
    try:
        status = program(words, env)
    except _EnoughError:
        return
    assert status in STATUSES, status
    assert "Traceback" not in env.stderr


def filled() -> KernelLikeTable:
    table = KernelLikeTable()
    web, marked = (
        Service(AF_INET, TCP, bytes([10, 0, 0, 1]), 80),
        Service(AF_INET6, fwmark=5, netmask=128),
    )
    server = Server(AF_INET, bytes([10, 0, 0, 2]), 80, model.MASQ)
    assert (
        table.apply(
            [
                Change(model.NEW_SERVICE, web),
                Change(model.NEW_SERVICE, marked),
                Change(model.NEW_DEST, web, server),
            ]
        )
        == []
    )
    return table


# --- netlink


def _valid() -> list[bytes]:
    web = Service(AF_INET, TCP, bytes([10, 0, 0, 1]), 80, pe="sip")
    server = Server(AF_INET6, bytes(16), 80)
    counts = b"".join(framing.pack_attribute(kind, bytes(4)) for kind in (7, 8, 9))
    stats = framing.pack_attribute(
        12, b"".join(framing.pack_attribute(kind, bytes(8)) for kind in range(1, 11))
    )
    service = attributes.Encoder().encode(Change(model.NEW_SERVICE, web))
    return [
        service,
        framing.pack_attribute(attributes.SERVICE, service[4:] + stats),
        framing.pack_attribute(
            attributes.DEST, attributes.encode_dest(server)[4:] + counts + stats
        ),
        attributes.encode_daemon(Daemon(model.MASTER, "lo", 1, 2, bytes(4), 3, 4)),
        attributes.encode_timeouts(Timeouts(1, 2, 3)),
    ]


@st.composite
def _damaged(draw: st.DrawFn, pieces: Sequence[bytes]) -> bytes:
    """Draw valid bytes, then change, cut out or insert some."""
    data = bytearray(draw(st.sampled_from(pieces)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.sampled_from((0, 1, 1, 1, 4)))] = draw(st.binary(max_size=4))
    return bytes(data)


_attributes = st.recursive(
    st.binary(max_size=20),
    lambda inner: st.lists(st.tuples(st.integers(0, 20), inner), max_size=12).map(
        lambda rows: b"".join(framing.pack_attribute(kind, body) for kind, body in rows)
    ),
    max_leaves=20,
)
_bodies = _damaged(_valid()) | _attributes | st.binary(max_size=60)
_kinds = st.sampled_from(
    (FAMILY, FAMILY, FAMILY, framing.NLMSG_DONE, framing.NLMSG_ERROR, framing.GENL_ID_CTRL)
) | st.integers(0, 65535)
_messages = st.tuples(
    _kinds, st.sampled_from((0, 2, 0x10, 0x12)), st.sampled_from((0, 0, 0, 0, -1, 1)), _bodies
)
_datagrams = st.lists(_messages, min_size=1, max_size=4) | st.binary(max_size=80)
ASKED = (
    "-L -n", "-L -n --stats", "-L --daemon", "-L --timeout", "-L --json", "-L -n -t 10.0.0.1:80", "-S -n", "-S --full", "-A -f 1",
    "-D -f 1", "--stop-daemon master",
)  # fmt: skip
_netlink = st.tuples(
    st.sampled_from(ASKED).map(lambda words: [words]),
    st.lists(_datagrams, max_size=6),
    st.booleans(),
    st.binary(max_size=1) | st.just(b""),
)  # fmt: skip


def _datagram(given: object, seq: int) -> bytes:
    if isinstance(given, bytes):
        return given
    assert isinstance(given, list)
    parts = []
    for kind, flags, off, body in given:
        wanted = (
            body
            if kind in (framing.NLMSG_DONE, framing.NLMSG_ERROR)
            else struct.pack("BBH", 1, 1, 0) + body
        )
        parts.append(
            header(kind, flags, (seq + off) & 0xFFFFFFFF, wanted + bytes(-len(wanted) % 4))
        )
    return b"".join(parts)


def kernel(drawn: tuple[list[str], list[object], bool, bytes]) -> None:
    """Run commands while the kernel answers with the drawn datagrams."""
    (words,), datagrams, opens, cut = drawn

    def play(request: tuple[int, int, int, int, dict[int, bytes]]) -> list[Answer]:
        return [_datagram(each, request[0])[len(cut) :] for each in datagrams]

    class Hostile(Socket):
        def send(self, data: bytes) -> None:
            if opens:
                super().send(data)
                return
            for message in framing.iter_messages(data):
                self.queue += play((message.seq, message.type, message.flags, message.body[0], {}))

    sock = Hostile(play)
    names = {name: getattr(_socket, name) for name in dir(_socket) if name.isupper()}
    with (
        mock.patch(
            "pyipvsadm.backends.kernel._socket",
            types.SimpleNamespace(**names, socket=lambda *_: sock, timeout=_socket.timeout),
        ),
        mock.patch("pyipvsadm.backends.missing_ipvs.load_module", return_value=False),
        mock.patch("pyipvsadm.backends.missing_ipvs.probe_old_interface", return_value=92),
        mock.patch("pyipvsadm.backends.kernel.TABLE_FILE", "/nonexistent"),
    ):
        try:
            table = KernelBackend()
        except OperationError:
            return
        _ran(words.split(), _FuzzEnvironment(table=table))


# --- texts


def _texts(pieces: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    piece = st.sampled_from(pieces) | _damaged(pieces) | st.binary(max_size=30)
    return st.lists(piece, max_size=8).map(b"".join)


def connections(drawn: tuple[str, bytes]) -> None:
    """List connections from a drawn /proc/net/ip_vs_conn."""
    words, text = drawn
    table = filled()
    table.lines = tuple(text.splitlines(keepends=True))
    _ran(words.split(), _FuzzEnvironment(table=table))


def table_file(text: bytes) -> None:
    """Read a drawn /proc/net/ip_vs, by the listing and by completion."""
    table = filled()
    table.file = text
    _ran(["-L", "-n"], _FuzzEnvironment(table=table))
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(text)
        shell_protocol.read_proc_rows(file.name)
        with mock.patch("pyipvsadm.completion.shell_protocol.TABLE_FILE", file.name):
            for words in (
                ["-d", "-t", "10.0.0.1:80", "-r", ""],
                ["-D", "-t", ""],
                ["-a", "-f", "5", "-r", ""],
            ):
                _ran(
                    ["--complete", "fish", str(len(words)), "ipvsadm", *words],
                    _FuzzEnvironment(table=table),
                )


def rules(text: bytes) -> None:
    """Read drawn rules, by every command that reads rules."""
    for words in (
        ["-R"],
        ["--apply"],
        ["--apply", "--dry-run", "--prune", "--json"],
        ["-R", "--dry-run"],
    ):
        _ran(words, _FuzzEnvironment(stdin=text, table=filled()))
    _ran([], _FuzzEnvironment(stdin=text, table=filled()), cli.run_restore)


def embedded_file(text: bytes) -> None:
    """Open a drawn file of an embedded table."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/table"
        Path(path).write_bytes(text)
        for words in (["-L", "-n"], ["-A", "-f", "9"], ["-S"]):
            _ran(["--backend", f"memory:{path}", *words], FakeEnvironment())


def argv(words: list[str]) -> None:
    """Run a drawn command line."""
    _ran(words, _FuzzEnvironment(stdin=b"-A -f 9\n", table=filled()))
    _ran(words, _FuzzEnvironment(stdin=b"-A -f 9\n", table=filled(), seen=True))


def completion(drawn: tuple[str, list[str], int]) -> None:
    """Complete a drawn line at a drawn cursor."""
    shell, words, cursor = drawn
    with mock.patch("pyipvsadm.completion.shell_protocol.TABLE_FILE", "/nonexistent"):
        _ran(["--complete", shell, str(cursor), *words], _FuzzEnvironment(table=filled()))


_OPTIONS = [
    *(f"-{row.short}" for row in (*COMMANDS, *OPTIONS) if row.short),
    *(f"--{row.long}" for row in (*COMMANDS, *OPTIONS)),
]
_VALUES = [
    "10.0.0.1:80",
    "[fd00::1]:80",
    "5",
    "0",
    "-1",
    "4294967296",
    "rr",
    "sh-port",
    "gue",
    "master",
    "lo",
    "x",
    "",
    "=",
    "--",
    "-",
]
# No NUL, and no lone surrogates but those that stand for bytes: the system passes no other words.
_raw = st.binary(max_size=20).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))
_words = st.sampled_from(_OPTIONS) | st.sampled_from(_OPTIONS) | st.sampled_from(_VALUES) | _raw
_joined = st.tuples(st.sampled_from(_OPTIONS), st.sampled_from(("=", "", "\n")), _raw).map("".join)
_line = st.lists(_words | _joined, max_size=8)


class Target(NamedTuple):
    run: Callable[..., None]
    inputs: st.SearchStrategy[object]


TARGETS = {
    "netlink": Target(kernel, _netlink),
    "connections": Target(
        connections,
        st.tuples(
            st.sampled_from(("-Lnc", "-Lc", "-Lnc --persistent-conn", "-Lc --json", "-Lnc -t 10.0.0.1:80", "-Lc --pretty")),
            _texts(CONNECTIONS),
        ),
    ),
    "table_file": Target(
        table_file, st.tuples(st.sampled_from((TABLE[0], b"")), _texts(TABLE)).map(lambda drawn: drawn[0] + drawn[1])
    ),
    "rules": Target(rules, _texts(RULES)),
    "embedded_file": Target(embedded_file, _texts(RULES)),
    "argv": Target(argv, _line),
    "completion": Target(
        completion,
        st.tuples(st.sampled_from(("bash", "zsh", "fish", "")), _line.map(lambda words: ["ipvsadm", *words]), st.integers(-1, 9)),
    ),
}  # fmt: skip
