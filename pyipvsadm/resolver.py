"""Resolve names of hosts and ports to numbers and back, within a time limit.

Owns: the C library's resolver, concurrent lookups. Must never know: how an endpoint is written,
callers.
"""

from __future__ import annotations

import _socket  # the C module beneath `socket`, which alone would cost a start 6 ms
import os

from pyipvsadm.model import AF_INET, SCTP, TCP, UDP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable
    from typing import TypeVar

    Key = TypeVar("Key", bound=Hashable)
    Answer = TypeVar("Answer")


PROTOCOL_NAMES = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}


class Resolver:
    """Resolve names through the C library, as 1.31 does.

    A single lookup may hang as long as the resolver does; find_host_names bounds that.
    """

    # The time limit for all names of a listing, and the number of concurrent lookups.
    seconds: float = 2.0
    workers = 32

    def find_host(self, name: str) -> bytes | None:
        """Return the first IPv4 address of a host name (gethostbyname), 4 bytes."""
        # Python resolves "" to 0.0.0.0 and "<broadcast>" to 255.255.255.255. Given bytes, it does
        # not apply IDNA.
        if not name or name[0] == "<" or "\0" in name:
            return None
        try:
            return _socket.inet_aton(_socket.gethostbyname_ex(os.fsencode(name))[2][0])  # type: ignore[arg-type]  # takes bytes
        except (OSError, ValueError, IndexError):
            return None

    def find_port(self, name: str, protocol: int) -> int | None:
        """Return the port of a service name (getservbyname) in this protocol."""
        try:
            return _socket.getservbyname(name, PROTOCOL_NAMES[protocol])
        except (KeyError, OSError, ValueError):
            return None

    def find_port_name(self, port: int, protocol: int) -> str | None:
        """Return the name of a port (getservbyport) in this protocol."""
        try:
            return _socket.getservbyport(port, PROTOCOL_NAMES[protocol])
        except (KeyError, OSError):
            return None

    def find_host_name(self, family: int, addr: bytes) -> str | None:
        """Return the name of an address (gethostbyaddr); None if it has no name, or one that is not
        printable.
        """
        try:
            name: str = _socket.gethostbyaddr(_socket.inet_ntop(family, addr))[0]
        except (OSError, ValueError):
            return None
        return name if name and name.isprintable() else None

    def find_host_names(
        self, addresses: Iterable[tuple[int, bytes]], seconds: float | None = None
    ) -> dict[tuple[int, bytes], str]:
        """Return {(family, address): name} of the addresses whose name is found within the seconds
        (by default those of the resolver); each is looked up once.
        """
        limit = self.seconds if seconds is None else seconds
        return map_concurrently(
            lambda address: self.find_host_name(*address), addresses, self.workers, limit
        )

    def filter_reversible(
        self, names: dict[tuple[int, bytes], str], seconds: float
    ) -> dict[tuple[int, bytes], str]:
        """Keep names that resolve back to the same IPv4 address and have no character with a
        meaning in rules, so that -R can read them.

        A name that was not looked up within the seconds is dropped.
        """
        candidates = [
            (address, name)
            for address, name in names.items()
            if address[0] == AF_INET and not name.isdigit() and not any(c in name for c in " :[#")
        ]
        same = map_concurrently(
            lambda pair: self.find_host(pair[1]) == pair[0][1] or None,
            candidates,
            self.workers,
            seconds,
        )
        return dict(same.keys())


class NullResolver(Resolver):
    """Resolve nothing: for text in which a name would be damage, and for callers that must not
    wait.
    """

    def find_host(self, name: str) -> bytes | None:  # noqa: ARG002
        """Return None."""
        return None

    def find_port(self, name: str, protocol: int) -> int | None:  # noqa: ARG002
        """Return None."""
        return None


def map_concurrently(
    look_up: Callable[[Key], Answer | None], keys: Iterable[Key], workers: int, seconds: float
) -> dict[Key, Answer]:
    """Call `look_up` once for every key, at most `workers` at a time; return {key: answer} of the
    answers that came in time.

    Threads that still wait are abandoned: they hold no lock, and end with the process.
    """
    import _thread  # noqa: PLC0415  # numeric listings need no threads
    import time  # noqa: PLC0415

    waiting = list(dict.fromkeys(keys))
    answers: dict[Key, Answer] = {}
    thread_count = min(workers, len(waiting))
    if not thread_count:
        return answers
    remaining = [len(waiting)]
    lock = _thread.allocate_lock()
    done = _thread.allocate_lock()
    done.acquire()
    deadline = time.monotonic() + seconds

    def work() -> None:
        while True:
            with lock:
                if not waiting or time.monotonic() > deadline:
                    return
                key = waiting.pop()
            answer = look_up(key)
            with lock:
                if answer is not None:
                    answers[key] = answer
                remaining[0] -= 1
                if not remaining[0]:
                    done.release()

    started = 0
    try:
        while started < thread_count:
            _thread.start_new_thread(work, ())
            started += 1
    except RuntimeError:
        # No more threads can be started: go on with those that run, or with no answers.
        pass
    if started:
        done.acquire(timeout=seconds)
    with lock:
        return dict(answers)
