"""Provide short names to write changes and cases with.

Owns: short names for records and changes, Case, Held. Must never know: a case, or which table it is
tested on.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    BACKUP,
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    FLUSH,
    HOST_MASK4,
    HOST_PREFIX6,
    IPIP,
    MASTER,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    ROUTE,
    SET_CONFIG,
    SET_DEST,
    SET_SERVICE,
    TCP,
    ZERO,
    Change,
    Daemon,
    Server,
    Service,
    Timeouts,
)

INT_MAX = 2**31 - 1
U32_MAX = 2**32 - 1
SCHEDULERS = (
    "rr",
    "wrr",
    "lc",
    "wlc",
    "lblc",
    "lblcr",
    "dh",
    "sh",
    "sed",
    "nq",
    "fo",
    "ovf",
    "mh",
    "none",
)
DEFAULT_TIMEOUTS = (900, 120, 300)


# Addresses are those of the two test networks unless a case is about addresses.


def ip(text: str) -> bytes:
    return socket.inet_pton(AF_INET6 if ":" in text else AF_INET, text)


def vip(af: int) -> bytes:
    return ip("10.1.1.1" if af == AF_INET else "fd00:1::1")


def mask(af: int) -> int:
    return HOST_MASK4 if af == AF_INET else HOST_PREFIX6


def tcp(
    af: int = AF_INET,
    port: int = 80,
    *,
    addr: bytes | None = None,
    protocol: int = TCP,
    scheduler: str = "wlc",
    flags: int = 0,
    timeout: int = 0,
    netmask: int | None = None,
    pe: str = "",
) -> Service:
    return Service(
        af,
        protocol,
        vip(af) if addr is None else addr,
        port,
        0,
        scheduler,
        flags,
        timeout,
        mask(af) if netmask is None else netmask,
        pe,
    )


def mark(
    number: int, af: int = AF_INET, scheduler: str = "wlc", netmask: int | None = None
) -> Service:
    return Service(
        af, fwmark=number, scheduler=scheduler, netmask=mask(af) if netmask is None else netmask
    )


def server(
    last: int = 1,
    port: int = 80,
    af: int = AF_INET,
    *,
    addr: bytes | None = None,
    forward: int = ROUTE,
    weight: int = 1,
    upper: int = 0,
    lower: int = 0,
    tun: tuple[int, int, int] = (IPIP, 0, 0),
) -> Server:
    own = ip(f"10.2.0.{last}" if af == AF_INET else f"fd00:2::{last}")
    return Server(af, own if addr is None else addr, port, forward, weight, upper, lower, *tun)


def master(
    interface: str = "lo",
    syncid: int = 0,
    maxlen: int = 0,
    group: str = "",
    port: int = 0,
    ttl: int = 0,
    state: int = MASTER,
) -> Daemon:
    return Daemon(state, interface, syncid, maxlen, ip(group) if group else b"", port, ttl)


def backup(interface: str = "lo", maxlen: int = 0, group: str = "", port: int = 0) -> Daemon:
    return master(interface, 0, maxlen, group, port, state=BACKUP)


def new(service: Service) -> Change:
    return Change(NEW_SERVICE, service)


def edit(service: Service) -> Change:
    return Change(SET_SERVICE, service)


def delete(service: Service) -> Change:
    return Change(DEL_SERVICE, service)


def add(service: Service, destination: Server) -> Change:
    return Change(NEW_DEST, service, destination)


def alter(service: Service, destination: Server) -> Change:
    return Change(SET_DEST, service, destination)


def remove(service: Service, destination: Server) -> Change:
    return Change(DEL_DEST, service, destination)


def start(daemon: Daemon) -> Change:
    return Change(NEW_DAEMON, daemon=daemon)


def stop(daemon: Daemon) -> Change:
    return Change(DEL_DAEMON, daemon=daemon)


def config(tcp_seconds: int = 0, tcp_fin: int = 0, udp: int = 0) -> Change:
    return Change(SET_CONFIG, timeouts=Timeouts(tcp_seconds, tcp_fin, udp))


def zero(service: Service | None = None) -> Change:
    return Change(ZERO, service)


CLEAR = Change(FLUSH)

Row = tuple[Service, tuple[Server, ...]]


@dataclass(frozen=True)
class Held:
    """Hold the content of a table: services with their servers, newest first; timeouts; daemons,
    master first.
    """

    rows: tuple[Row, ...] = ()
    timeouts: tuple[int, int, int] = DEFAULT_TIMEOUTS
    daemons: tuple[Daemon, ...] = ()


EMPTY = Held()


def only(service: Service, *servers: Server) -> Held:
    """Return a table with one service and these servers, newest first."""
    return Held(((service, servers),))


def running(*daemons: Daemon) -> Held:
    return Held(daemons=daemons)


@dataclass(frozen=True)
class Case:
    """Describe one case: after `setup`, `change` is answered with `errno` (then nothing has
    changed) or the table holds `after`.

    unbounded: the answer of kernels that do not bound upper thresholds
    (backends.bounds_thresholds), if it differs.
    """

    name: str
    setup: tuple[Change, ...]
    change: Change
    errno: int = 0
    after: Held | None = None
    unbounded: int | None = None


def refused(
    name: str, number: int, change: Change, *setup: Change, unbounded: int | None = None
) -> Case:
    return Case(name, setup, change, number, unbounded=unbounded)


def done(name: str, change: Change, after: Held, *setup: Change) -> Case:
    return Case(name, setup, change, 0, after)


def gives(name: str, service: Service, held: Service | None = None) -> Case:
    """Return the case that adds this service to an empty table; held: the service as the table
    keeps it, if that differs.
    """
    return done(f"new service: {name}", new(service), only(held or service))


def other(af: int) -> int:
    return AF_INET6 if af == AF_INET else AF_INET


def named(label: str, cases: list[Case]) -> list[Case]:
    return [
        Case(f"{label}: {c.name}", c.setup, c.change, c.errno, c.after, c.unbounded) for c in cases
    ]
