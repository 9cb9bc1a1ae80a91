"""Measure a listing by name with a slow or silent resolver: `python -m tools.bench.names KIND
OUTPUT` writes the results as JSON.

Owns: a name server on loopback, in a network namespace and with an /etc of its own, so that the C
library's resolver asks it and no packet leaves the machine. Must never know: bars. The table is an
embedded one: no kernel module is needed. Root only.
"""

from __future__ import annotations

import ctypes
import heapq
import json
import select
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.kernel import netns
from tools.bench import rows
from tools.bench.install import OURS
from tools.bench.measure import ENVIRONMENT, run

CLONE_NEWNS = 0x00020000  # uapi/linux/sched.h
MS_BIND, MS_REC, MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18  # uapi/linux/mount.h
SERVERS = 1_000
DELAYS = {"slow": 0.05, "silent": None}  # seconds to an answer; None: no answer

# The files of /etc that the loader, the interpreter and the resolver read.
ETC = ("ld.so.cache", "services", "protocols", "host.conf", "gai.conf")

_libc = ctypes.CDLL(None, use_errno=True)


def answer(query: bytes) -> bytes:
    """Return the answer to a query for the name of an address (RFC 1035, 4.1):
    host-10-0-0-1.example for 10.0.0.1.
    """
    at = 12
    labels = []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]])
        at += 1 + query[at]
    question = query[12 : at + 5]  # with the root, the type and the class
    host = b"host-" + b"-".join(reversed(labels[:4]))
    name = bytes([len(host)]) + host + b"\7example\0"
    head = query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0)
    return head + question + struct.pack(">HHHIH", 0xC00C, 12, 1, 60, len(name)) + name


def serve(sock: socket.socket, delay: float | None) -> None:
    """Answer each question after the delay, however many wait; none if the delay is None."""
    waiting: list[tuple[float, int, bytes, tuple[str, int]]] = []
    number = 0
    while True:
        pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        if select.select([sock], [], [], pause)[0]:
            query, client = sock.recvfrom(2048)
            number += 1
            if delay is not None:
                heapq.heappush(waiting, (time.monotonic() + delay, number, answer(query), client))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, reply, client = heapq.heappop(waiting)
            sock.sendto(reply, client)


def private_etc(folder: Path) -> None:
    """Give this process and its children an /etc that names the server."""
    for name in ETC:
        if Path("/etc", name).is_file():
            shutil.copy2(Path("/etc", name), folder / name)
    for place in Path("/etc").glob("python3*"):
        shutil.copytree(place, folder / place.name)
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (folder / "nsswitch.conf").write_text("hosts: dns\nservices: files\nprotocols: files\n")
    netns._check("unshare", _libc.unshare(CLONE_NEWNS))
    netns._check("mount", _libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    netns._check("mount", _libc.mount(str(folder).encode(), b"/etc", None, MS_BIND, None))


def measured(kind: str, folder: Path) -> dict[str, object]:
    netns.fresh()
    (folder / "etc").mkdir()
    private_etc(folder / "etc")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 53))
    threading.Thread(target=serve, args=(sock, DELAYS[kind]), daemon=True).start()
    rules, table, out = (folder / name for name in ("rules", "table", "out"))
    rules.write_text(rows.make_rules(rows.SHARED, 1, SERVERS))
    environment = ENVIRONMENT | {"IPVSADM_BACKEND": f"memory:{table}"}
    # To root, ipvsadm warns on standard error that the table is not the kernel's: not shown here.
    run(
        ["/bin/sh", "-c", '"$@" 2>/dev/null', "sh", OURS, "-R"], str(rules), environment=environment
    )
    seconds = run([OURS, "-L"], stdout=str(out), environment=environment).seconds
    text = out.read_text()
    return {
        "seconds": seconds,
        "servers": text.count("  -> ") - 1,
        "named": text.count("  -> host-"),
    }


def main(kind: str, output: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = measured(kind, Path(folder))
    Path(output).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
