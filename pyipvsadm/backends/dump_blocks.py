"""Read the real servers of many services, one dump after the other.

Owns: the order of system calls of a block of dumps. Must never know: what a record means.

This is the fast way beside KernelBackend._request_dump, for tables with thousands of services:
nothing is decoded between two system calls, and the records of a whole block are decoded at once.
The requests of a block share a sequence number, because the kernel queues all answers inside send().
A block that is anything but complete dumps has no records, and is then read the other way, which
also says what is wrong.
"""

from __future__ import annotations

import _socket

from pyipvsadm.model import GET_DEST
from pyipvsadm.netlink import attributes, framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyipvsadm.model import Service

# Bytes of records after which a block ends: about 350 records, so that memory does not grow with
# the table.
BLOCK_SIZE = 1 << 17
# With the first flag, a receive returns the size of the datagram even if the buffer is smaller.
RECEIVE_FLAGS = 32 | _socket.MSG_DONTWAIT


class DumpBlocks:
    """Read blocks of dumps into one buffer. receive_size: the bytes of the largest datagram."""

    def __init__(self, socket: _socket.socket, receive_size: int) -> None:
        self._socket = socket
        self._receive_size = receive_size
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
        buffer, limit = self._buffer, self._receive_size
        send, receive = self._socket.send, self._socket.recv_into
        flags = framing.NLM_F_REQUEST | framing.NLM_F_DUMP
        end = 0
        try:
            for service in waiting:
                services.append(service)
                key = attributes.encode_service_key(service)
                send(framing.pack_message(family, GET_DEST, flags, seq, key))
                start = end
                while (size := receive(buffer[end:], 0, RECEIVE_FLAGS)) != framing.DONE:
                    if size > limit:
                        return services, sizes, None
                    end += size
                    if end + limit > len(buffer):
                        buffer = self._enlarge_buffer(end)
                if not framing.is_dump_end(buffer[end : end + framing.DONE], seq):
                    return services, sizes, None
                sizes.append(end - start)
                if end > BLOCK_SIZE:
                    break
        except OSError:
            return services, sizes, None
        return services, sizes, bytes(buffer[:end])

    def _enlarge_buffer(self, used: int) -> memoryview:
        """Return a buffer of twice the size with the same bytes in it, for a service with thousands
        of servers.
        """
        larger = bytearray(2 * len(self._buffer))
        larger[:used] = self._buffer[:used]
        self._buffer = memoryview(larger)
        return self._buffer
