"""What surrounds a run: streams, environment, resolver, the opening of a backend. Tests put their own in its place.

Owns: file descriptors 0, 1 and 2, the environment. Must never know: what a request means.

Streams are plain descriptors: what is written is on its way when write returns, and a failure is seen.
"""

from __future__ import annotations

import errno
import os

from pyipvsadm.endpoint import Names
from pyipvsadm.errors import Failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyipvsadm.doctor.host import Host
    from pyipvsadm.model import Backend


class World:
    """The real one."""

    def __init__(self) -> None:
        self.environ: Mapping[str, str] = os.environ
        self.names = Names()
        self.is_root = os.geteuid() == 0
        # A descriptor that was closed when we started would be given to the next file or socket we open, and that would
        # get our output: hold its place, and remember.
        self._closed = [fd for fd in (0, 1, 2) if not _is_open(fd)]
        for _ in self._closed:
            try:
                os.open("/dev/null", os.O_RDWR)
            except OSError:
                break  # no /dev: what is opened next is the one file or socket of the backend

    @property
    def is_posix(self) -> bool:
        """Whether the first bare word ends the options (popt.c: poptGetContext)."""
        return "POSIXLY_CORRECT" in self.environ or "POSIX_ME_HARDER" in self.environ

    def out(self, data: str) -> None:
        """Write to standard output, all of it. Failed when that is not possible."""
        try:
            if 1 in self._closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            _write(1, data)
        except OSError as no:
            raise Failed(f"cannot write to standard output: {no.strerror}") from None

    def err(self, line: str) -> None:
        """Write a line to standard error; where that fails there is nobody to tell."""
        try:
            if 2 not in self._closed:
                _write(2, line + "\n")
        except OSError:
            pass

    def read_input(self) -> bytes:
        """All of standard input."""
        return b"".join(self.input_blocks())

    def input_blocks(self) -> Iterator[bytes]:
        """Standard input as it comes: from a terminal, a line at a time."""
        try:
            if 0 in self._closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            while block := os.read(0, 1 << 20):
                yield block
        except OSError as no:
            raise Failed(f"cannot read standard input: {no.strerror}") from None

    def input_is_terminal(self) -> bool:
        """Whether a person types the input."""
        return 0 not in self._closed and os.isatty(0)

    def backend(self, spec: str) -> Backend:
        """Open what spec names: "kernel", "memory" or "memory:FILE"."""
        if spec == "kernel":
            from pyipvsadm.kernel import Kernel  # noqa: PLC0415  # only what is used is imported

            trace = None
            if self.environ.get("IPVSADM_DEBUG") == "netlink":
                from pyipvsadm.trace import describe  # noqa: PLC0415

                def trace(direction: str, data: bytes) -> None:
                    for line in describe(direction, data):
                        self.err(line)

            return Kernel(trace)
        kind, colon, path = spec.partition(":")
        if kind == "memory" and not colon:
            from pyipvsadm.memory import Table  # noqa: PLC0415

            return Table()
        if kind == "memory" and path:
            from pyipvsadm.tablefile import FileTable  # noqa: PLC0415

            return FileTable(path)
        raise Failed(f"unknown backend `{spec}': it is kernel, memory or memory:FILE", 2)

    def host(self) -> Host:
        """The machine around the table, for the doctor to look at."""
        from pyipvsadm.doctor.host import Host  # noqa: PLC0415  # pyroute2 costs 200 ms

        return Host()


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _write(fd: int, text: str) -> None:
    data = memoryview(os.fsencode(text))
    while data:
        data = data[os.write(fd, data) :]
