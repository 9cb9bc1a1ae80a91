"""Read the recorded answers of kernels (tests/replies/recorded) by both ways of decoding: the
reference's own listings come out.
"""

from __future__ import annotations

import _socket
import types
from typing import TYPE_CHECKING, Any

import pytest

from pyipvsadm.backends.kernel import KernelBackend
from pyipvsadm.netlink import dump_layout
from tests.cases import ours
from tests.cases.recording import Answer
from tests.older_python import zip_equal
from tests.replies import recording, table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cases.case import Step

KERNELS = sorted(file.stem for file in recording.FOLDER.glob("*.json"))
RECORDED = {kernel: recording.load(recording.FOLDER / f"{kernel}.json") for kernel in KERNELS}
TABLES = [(kernel, name) for kernel in KERNELS for name in table.STEPS]
# The three sources of a listing: whole datagrams at once (dumps.py), attribute by attribute
# (netlink/attributes.py), /proc/net/ip_vs.
QUICK, WALK, FILE = WAYS = ("quick", "walk", "file")


class Replay:
    """Play a netlink socket from a recording."""

    def __init__(self, exchanges: dict[bytes, list[bytes]]) -> None:
        self.exchanges = exchanges
        self.queue: list[bytes] = []

    def setsockopt(self, *_: Any) -> None:
        return

    def getsockopt(self, *_: Any) -> int:
        return 212992

    def connect(self, _address: tuple[int, int]) -> None:
        return

    def close(self) -> None:
        return

    def send(self, data: bytes) -> None:
        first = recording.first_number(data)
        sent = recording.numbered(data, -first)
        assert sent in self.exchanges, (
            f"never asked of that kernel (make record-replies): {sent.hex()}"
        )
        self.queue += [recording.numbered(answer, first) for answer in self.exchanges[sent]]

    def recv_into(self, buffer: memoryview, _size: int, _flags: int) -> int:
        data = self.queue.pop(0)
        buffer[: len(data)] = data
        return len(data)


@pytest.fixture
def replayed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[recording.Table, str], KernelBackend]:
    """Return a function that opens a kernel backend on a recording, which it reads in one of
    WAYS.
    """
    monkeypatch.setattr("pyipvsadm.backends.missing_ipvs.load_module", lambda: False)
    methods = {
        name: getattr(dump_layout.DumpDecoder, name) for name in ("decode_values", "decode_dumps")
    }
    file = tmp_path / "ip_vs"

    def require_values(name: str) -> Callable[..., list[Any]]:
        def decode(*args: Any) -> list[Any]:
            found: list[Any] | None = methods[name](*args)
            assert found is not None, f"left to the walk: {args}"
            return found

        return decode

    def opened(recorded: recording.Table, way: str) -> KernelBackend:
        sock = Replay(recorded.exchanges)
        names = {name: getattr(_socket, name) for name in dir(_socket) if name.isupper()}
        monkeypatch.setattr(
            "pyipvsadm.backends.kernel._socket",
            types.SimpleNamespace(**names, socket=lambda *_: sock),
        )
        for name in methods:
            monkeypatch.setattr(
                dump_layout.DumpDecoder,
                name,
                (lambda *_: None) if way == WALK else require_values(name),
            )
        if way == FILE:
            file.write_bytes(recorded.file)
        # the other ways find no file
        monkeypatch.setattr("pyipvsadm.backends.kernel.TABLE_FILE", str(file))
        return KernelBackend()

    return opened


def run(step: Step, kernel: KernelBackend) -> Answer:
    return ours.answer(step, ours.FileNames(), lambda: kernel)


def test_there_are_recordings_of_a_fixed_and_of_a_growing_table() -> None:
    assert {b"(size=4096)" in RECORDED[kernel]["empty"].file for kernel in KERNELS} == {True, False}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kernel", "name"), TABLES)
def test_the_listings_are_the_references(replayed: Any, kernel: str, name: str, way: str) -> None:
    recorded = RECORDED[kernel][name]
    steps = table.STEPS[name]
    assert [str(step) for step in steps] == [step for step, _ in recorded.answers], (
        "recorded otherwise: make record-replies"
    )
    for step, (_, right) in zip_equal(steps, recorded.answers):
        found = run(step, replayed(recorded, way))
        if step.stdin:  # ours names the line
            stderr = "".join(NUMBERED[line] for line in right.stderr.splitlines())
            right = Answer(right.status, right.stdout, stderr)  # noqa: PLW2901
        assert found == right, step


NUMBERED = {
    "Service already exists": "line 1: Service already exists\n",
    "Service not defined": "line 2: Service not defined\n",
    "No such service": "line 3: No such service\n",
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_both_ways_give_the_same_records(replayed: Any, kernel: str) -> None:
    recorded = RECORDED[kernel]["full"]
    found = []
    for way in (QUICK, WALK):
        opened = replayed(recorded, way)
        services = opened.read_services()
        found.append([(service, opened.read_servers(service)) for service in services])
    assert found[0] == found[1]
    services = [service for service, _ in found[0]]
    assert len(services) == table.RULES.count("-A ")
    assert sum(len(servers) for _, servers in found[0]) == table.RULES.count("-a ")
    # Every kind of service was recorded.
    assert {(service.af, bool(service.fwmark), bool(service.pe)) for service in services} == {
        (2, False, False), (10, False, False), (2, True, False), (10, True, False), (2, False, True),
    }  # fmt: skip
    assert {service.stats[0] for service in services} >= {0, *table.DATAGRAMS.values()}
    assert any(service.stats[5] for service in services)
    servers = [server for _, group in found[0] for server in group]
    assert {server.tun_type for server in servers} == {0, 1, 2}
    assert sum(server.active for server in servers) == len(table.CLIENTS)
    assert sum(server.persistent for server in servers) == 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_some_answers_come_in_several_datagrams(kernel: str) -> None:
    exchanges = [
        answers for each in RECORDED[kernel].values() for answers in each.exchanges.values()
    ]
    assert max(map(len, exchanges)) > 2
