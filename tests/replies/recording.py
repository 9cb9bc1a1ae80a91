"""Read and write the replies of kernels, byte for byte, with the reference's listings of the same
tables.

Owns: the form of recorded/KERNEL.json, and what "the same request" is. Must never know: what is
asked (table.py), sockets.

A request is identified by its bytes, with sequence numbers from 0 on. Its answers are the datagrams
in their order, numbered likewise.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cases.recording import Answer

FOLDER = Path(__file__).with_name("recorded")
_SEQ = struct.Struct("=I")
_SEQ_AND_PORT = struct.Struct("=II")
_SIZE = struct.Struct("=I")


def numbered(messages: bytes, add: int) -> bytes:
    """Return messages with `add` added to their sequence numbers, and with port id 0."""
    changed = bytearray(messages)
    at = 0
    while at < len(messages):
        (seq,) = _SEQ.unpack_from(messages, at + 8)
        _SEQ_AND_PORT.pack_into(changed, at + 8, seq + add, 0)
        at += _SIZE.unpack_from(messages, at)[0] + 3 & ~3
    return bytes(changed)


def first_number(messages: bytes) -> int:
    number: int = _SEQ.unpack_from(messages, 8)[0]
    return number


@dataclass
class Table:
    """Hold one table's recording. file: /proc/net/ip_vs. answers: the reference's, to each step.
    exchanges: (request, datagrams), numbered from 0.
    """

    file: bytes = b""
    answers: list[tuple[str, Answer]] = field(default_factory=list)
    exchanges: dict[bytes, list[bytes]] = field(default_factory=dict)


class Trace:
    """Keep what the kernel's backend sends and receives (the argument `trace` of KernelBackend)."""

    def __init__(self) -> None:
        self.exchanges: dict[bytes, list[bytes]] = {}
        self._first = 0
        self._answers: list[bytes] = []

    def __call__(self, way: str, data: bytes) -> None:
        if way == "sent":
            self._first = first_number(data)
            self._answers = self.exchanges[numbered(data, -self._first)] = []
        else:
            self._answers.append(numbered(data, -self._first))


def dump(kernel: str, tables: dict[str, Table]) -> str:
    found: dict[str, Any] = {"kernel": kernel, "tables": {}}
    for name, table in tables.items():
        found["tables"][name] = {
            "file": table.file.decode("ascii").splitlines(keepends=True),
            "reference": [
                {
                    "run": step,
                    "status": each.status,
                    "stdout": each.stdout.splitlines(keepends=True),
                    "stderr": each.stderr,
                }
                for step, each in table.answers
            ],
            "exchanges": {
                sent.hex(): [data.hex() for data in answers]
                for sent, answers in table.exchanges.items()
            },
        }
    return json.dumps(found, indent=0) + "\n"


def load(file: Path) -> dict[str, Table]:
    return {
        name: Table(
            "".join(kept["file"]).encode("ascii"),
            [
                (each["run"], Answer(each["status"], "".join(each["stdout"]), each["stderr"]))
                for each in kept["reference"]
            ],
            {
                bytes.fromhex(sent): list(map(bytes.fromhex, answers))
                for sent, answers in kept["exchanges"].items()
            },
        )
        for name, kept in json.loads(file.read_text())["tables"].items()
    }
