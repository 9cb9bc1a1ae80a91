"""Probe servers: a TCP connect to each, many at once, within a bounded time.

Owns: the sockets, the time. Must never know: services, the meaning of an answer. Nothing is sent on
a connection; it is closed at once.
"""

from __future__ import annotations

import errno
import os
import resource
import selectors
import socket
import time

from pyipvsadm.doctor.facts import ProbeResult, get_family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyipvsadm.doctor.facts import Facts

CONNECT_TIMEOUT = 1.0  # seconds for an answer
TOTAL_TIMEOUT = 5.0  # seconds for all of them
MAX_SOCKETS = 500  # sockets, where the limit of open files leaves as many
SPARE_FILES = 32  # open files that all else may need meanwhile
SILENT = "no answer"
DISCARD = 9  # RFC 863: where a datagram goes that only has to find the way


def probe_servers(
    found: Facts, servers: list[tuple[str, int]], neighbours: Callable[[], dict[str, str]]
) -> None:
    """Fill found.answers, by (address, TCP port; 0 asks for the neighbour only), and
    found.unprobed.
    """
    waiting = list(dict.fromkeys(servers))
    deadline = time.monotonic() + TOTAL_TIMEOUT
    count = count_sockets_at_once()
    while waiting and time.monotonic() < deadline:
        wave, waiting = waiting[:count], waiting[count:]
        outcomes = _probe_batch(wave, min(CONNECT_TIMEOUT, deadline - time.monotonic()))
        states = neighbours()
        for server in wave:
            route = found.routes.get(server[0])
            hop = route.gateway or server[0] if route is not None else server[0]
            found.answers[server] = ProbeResult(states.get(hop, ""), outcomes[server])
    found.unprobed = len(waiting)


def count_sockets_at_once() -> int:
    """Return how many sockets may be open at a time: at least 1."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return MAX_SOCKETS
    return max(1, min(MAX_SOCKETS, limit - SPARE_FILES))


def _probe_batch(servers: list[tuple[str, int]], seconds: float) -> dict[tuple[str, int], str]:
    """Return the answer of each server: open, refused, or another answer of the system; "" if only
    the route was asked for.
    """
    outcomes = dict.fromkeys(servers, "")
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        try:
            for server in servers:
                _start_connection(selector, server, outcomes)
            while (left := deadline - time.monotonic()) > 0 and selector.get_map():
                for key, _ in selector.select(left):
                    sock, server = key.fileobj, key.data
                    assert isinstance(sock, socket.socket)
                    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if server[1]:
                        outcomes[server] = _describe_outcome(number)
                    selector.unregister(sock)
                    sock.close()
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]  # they are sockets
    return outcomes


def _start_connection(
    selector: selectors.BaseSelector, server: tuple[str, int], outcomes: dict[tuple[str, int], str]
) -> None:
    host, port = server
    family = socket.AF_INET6 if get_family(host) == socket.AF_INET6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if port else socket.SOCK_DGRAM)
    sock.setblocking(False)
    number = sock.connect_ex((host, port or DISCARD))
    if not port and not number:
        number = errno.EINPROGRESS
        try:
            sock.send(b"")
        except OSError as exc:
            number = exc.errno or errno.EIO
    if number in (0, errno.EINPROGRESS):
        outcomes[server] = SILENT if port else ""
        # a datagram is answered by an error at most: what is waited for is the neighbour
        selector.register(sock, selectors.EVENT_WRITE if port else selectors.EVENT_READ, server)
        return
    sock.close()
    if port:
        outcomes[server] = _describe_outcome(number)


def _describe_outcome(number: int) -> str:
    return {0: "open", errno.ECONNREFUSED: "refused"}.get(number) or os.strerror(number)
