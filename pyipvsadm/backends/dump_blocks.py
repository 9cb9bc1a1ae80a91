"""Read the real servers of many services, one dump after the other.

Owns: the order of system calls of a block of dumps. Must never know: what a record means.

This is the fast way beside KernelBackend._request_dump, for tables with thousands of services:
nothing is decoded between two system calls, and the records of a whole block are decoded at once.
Each dump is read to its end before the next one is requested, so that one sequence number serves a
block. A block that is anything but complete dumps has no records, and is then read the other way,
which also says what is wrong.
"""

from __future__ import annotations

from pyipvsadm.model import GET_DEST
from pyipvsadm.netlink import attributes, framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator

    from pyipvsadm.model import Service

# Bytes of records after which a block ends: about 350 records, so that memory does not grow with
# the table.
BLOCK_SIZE = 1 << 17


class DumpBlocks:
    """Read blocks of dumps into one buffer. receive_size: the bytes of the largest datagram. flags:
    of each receive, which must return the size of a datagram that is larger, and must not wait.
    """

    def __init__(self, socket: _socket.socket, receive_size: int, flags: int) -> None:
        self._socket = socket
        self._receive_size = receive_size
        self._flags = flags
        self._buffer = memoryview(bytearray(BLOCK_SIZE + receive_size))

    def fetch(
        self, waiting: Iterator[Service], family: int, seq: int
    ) -> tuple[list[Service], list[int], bytes | None]:
        """Take services until their dumps fill a block. Return the services, the bytes of each
        one's dump, and all their records; None instead of the records if a dump is not complete.

        family: the id of the IPVS family.
        """
        services: list[Service] = []
        sizes: list[int] = []
        buffer, limit, receive_flags = self._buffer, self._receive_size, self._flags
        send, receive = self._socket.send, self._socket.recv_into
        flags = framing.NLM_F_REQUEST | framing.NLM_F_DUMP
        end = 0
        for service in waiting:
            services.append(service)
            key = attributes.encode_service_key(service)
            start = end
            try:
                send(framing.pack_message(family, GET_DEST, flags, seq, key))
                while True:
                    size = receive(buffer[end:], 0, receive_flags)
                    if size == framing.DONE and framing.is_dump_end(buffer[end : end + size], seq):
                        break
                    if size > limit:
                        return services, sizes, None
                    end += size
                    if end + limit > len(buffer):
                        buffer = self._enlarge_buffer(end)
            except OSError:
                # After anything but the expected end, nothing is left to receive.
                return services, sizes, None
            sizes.append(end - start)
            if end > BLOCK_SIZE:
                break
        return services, sizes, bytes(buffer[:end])

    def _enlarge_buffer(self, used: int) -> memoryview:
        """Return a buffer of twice the size with the same bytes in it, for a service with thousands
        of servers.
        """
        larger = bytearray(2 * len(self._buffer))
        larger[:used] = self._buffer[:used]
        self._buffer = memoryview(larger)
        return self._buffer
