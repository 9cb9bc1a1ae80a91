"""Open the table that the contract is tested on: the embedded one on the host, the kernel's in the
lab.

Owns: how either is opened empty, what is compared of them, which rules older kernels do not have.
Must never know: the cases.
"""

from __future__ import annotations

import errno
import os
import subprocess
import time
from contextlib import closing, contextmanager
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from pyipvsadm.backends import memory
from pyipvsadm.model import (
    AF_INET,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    SET_CONFIG,
    TCP,
    Change,
    Daemon,
    Server,
    Service,
    Timeouts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyipvsadm.model import Backend

LAB = os.environ.get("IPVSADM_LAB") == "1"

# An interface like those of real machines: up, 1500 bytes, addresses of both families. See plug_in.
NIC = "net0"

# Ticks a second. The coarse clock (CLOCK_MONOTONIC_COARSE of uapi/linux/time.h) moves once a tick.
HZ = round(1 / time.clock_getres(6)) if LAB else memory.HZ


class Content(NamedTuple):
    """Hold the content of a table. Services are in the order of their keys: the kernel's own order
    is that of its hash.
    """

    services: list[tuple[Service, list[Server]]]
    timeouts: Timeouts
    daemons: list[Daemon]


def content(backend: Backend) -> Content:
    services = sorted(backend.read_services(), key=Service.key)
    return Content(
        [(service, backend.read_servers(service)) for service in services],
        backend.read_timeouts(),
        backend.read_daemons(),
    )


def recipe(held: Content) -> list[Change]:
    """Return changes that give an empty table this content. They add the oldest server first,
    because a new server is put before the others.
    """
    changes = [Change(SET_CONFIG, timeouts=held.timeouts)]
    for service, servers in held.services:
        changes.append(Change(NEW_SERVICE, service))
        changes += [Change(NEW_DEST, service, server) for server in reversed(servers)]
    return changes + [Change(NEW_DAEMON, daemon=daemon) for daemon in held.daemons]


def embedded() -> memory.MemoryBackend:
    """Return an empty embedded table, on a machine that has lo and NIC."""
    return memory.MemoryBackend(lambda name: name in ("lo", NIC))


@contextmanager
def opened() -> Iterator[Backend]:
    """Yield an empty table: in the lab that of a new network namespace, which has lo only."""
    if not LAB:
        yield embedded()
        return
    from pyipvsadm.backends.kernel import KernelBackend  # noqa: PLC0415  # for the lab only
    from tests.kernel.netns import fresh, kept  # noqa: PLC0415

    with kept():
        fresh()
        with closing(KernelBackend()) as kernel:
            yield kernel


@cache
def bounds_thresholds() -> bool:
    """Return True if the table refuses upper thresholds above INT_MAX, as the embedded one does.
    Kernels before 2026's did not.
    """
    web = Service(AF_INET, TCP, bytes([10, 0, 0, 1]), 80)
    server = Server(AF_INET, bytes([10, 0, 0, 2]), 80, upper=1 << 31)
    with opened() as table:
        return table.apply([Change(NEW_SERVICE, web), Change(NEW_DEST, web, server)]) == [
            (1, errno.EINVAL)
        ]


# Cases of changes that older kernels refuse (EINVAL), and the first release that takes them: the
# lowest address of a network is a broadcast address before 5.14 (fib_frontend.c: fib_add_ifaddr).
REFUSED_BEFORE = {"v4: new server at 127.0.0.0": (5, 14)}


def is_kernel_before(*release: int) -> bool:
    """Return True if the table is that of a kernel older than this release."""
    return LAB and tuple(map(int, os.uname().release.split(".")[:2])) < release


def plug_in() -> None:
    """Give the lab's present network namespace its NIC."""
    if LAB:
        lines = (
            f"link add {NIC} type dummy",
            f"address add 10.9.0.1/24 dev {NIC}",
            f"address add fd00:9::1/64 dev {NIC} nodad",
            f"link set {NIC} up",
        )
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), check=True, text=True)


def need_nic(changes: Iterable[Change]) -> bool:
    """Return True if a change names the NIC. A namespace without it is made much faster."""
    return any(change.daemon is not None and change.daemon.interface == NIC for change in changes)
