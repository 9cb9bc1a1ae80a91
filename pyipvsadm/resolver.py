"""Resolve names of hosts and ports to numbers and back, within a time limit.

Owns: the C library's resolver, many look-ups at once. Must never know: how an endpoint is written,
who asks.
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
    """The machine's resolver: the C library's, as the reference asks it.

    One look-up at a time may hang for as long as the resolver likes; host_names bounds that.
    """

    # One deadline for all names of a listing, and how many look-ups run at once.
    seconds: float = 2.0
    workers = 32

    def find_host(self, name: str) -> bytes | None:
        """The first IPv4 address of a host name (gethostbyname), 4 bytes."""
        # Python takes "" for 0.0.0.0 and "<broadcast>" for 255.255.255.255; as bytes, it leaves
        # IDNA alone.
        if not name or name[0] == "<" or "\0" in name:
            return None
        try:
            return _socket.inet_aton(_socket.gethostbyname_ex(os.fsencode(name))[2][0])  # type: ignore[arg-type]  # takes bytes
        except (OSError, ValueError, IndexError):
            return None

    def find_port(self, name: str, protocol: int) -> int | None:
        """The port of a service name (getservbyname) in that protocol."""
        try:
            return _socket.getservbyname(name, PROTOCOL_NAMES[protocol])
        except (KeyError, OSError, ValueError):
            return None

    def find_port_name(self, port: int, protocol: int) -> str | None:
        """The name of a port (getservbyport) in that protocol."""
        try:
            return _socket.getservbyport(port, PROTOCOL_NAMES[protocol])
        except (KeyError, OSError):
            return None

    def find_host_name(self, family: int, addr: bytes) -> str | None:
        """The name of an address (gethostbyaddr), None when it has none fit to be shown."""
        try:
            name: str = _socket.gethostbyaddr(_socket.inet_ntop(family, addr))[0]
        except (OSError, ValueError):
            return None
        return name if name and name.isprintable() else None

    def find_host_names(
        self, addresses: Iterable[tuple[int, bytes]], seconds: float | None = None
    ) -> dict[tuple[int, bytes], str]:
        """The names of many addresses, those that answer within the seconds (ours by default); each
        is asked for once.
        """
        within = self.seconds if seconds is None else seconds
        return map_concurrently(
            lambda address: self.find_host_name(*address), addresses, self.workers, within
        )

    def filter_reversible(
        self, names: dict[tuple[int, bytes], str], seconds: float
    ) -> dict[tuple[int, bytes], str]:
        """Of names, those from which -R would get the same address again: IPv4, no odd characters,
        the same address back.

        What was not looked up within the seconds is not among them.
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
    """No resolver: for text that is numbers, in which a name is damage, and where nothing may
    wait.
    """

    def find_host(self, name: str) -> bytes | None:  # noqa: ARG002
        """None."""
        return None

    def find_port(self, name: str, protocol: int) -> int | None:  # noqa: ARG002
        """None."""
        return None


def map_concurrently(
    ask: Callable[[Key], Answer | None], keys: Iterable[Key], workers: int, seconds: float
) -> dict[Key, Answer]:
    """Ask for every key once, at most `workers` at a time; {key: answer} of those that came in
    time.

    Threads still waiting after that are left behind: they hold nothing, and end with the process.
    """
    import _thread  # noqa: PLC0415  # numeric listings need no threads
    import time  # noqa: PLC0415

    waiting = list(dict.fromkeys(keys))
    answers: dict[Key, Answer] = {}
    wanted = min(workers, len(waiting))
    if not wanted:
        return answers
    left = [len(waiting)]
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
            answer = ask(key)
            with lock:
                if answer is not None:
                    answers[key] = answer
                left[0] -= 1
                if not left[0]:
                    done.release()

    running = 0
    try:
        while running < wanted:
            _thread.start_new_thread(work, ())
            running += 1
    except RuntimeError:  # the machine has no more threads for us: fewer do, or none
        pass
    if running:
        done.acquire(timeout=seconds)
    with lock:
        return dict(answers)
