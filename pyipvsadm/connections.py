"""/proc/net/ip_vs_conn: its lines into values, values into the reference's lines (ipvsadm.c: print_conn, list_conn).

Owns: that file's columns (ip_vs_conn.c: ip_vs_conn_seq_show) and the listing of connections. Must never know: backends,
resolvers, streams.
"""

from __future__ import annotations

import os

from pyipvsadm.endpoint import pton
from pyipvsadm.errors import Failed
from pyipvsadm.model import AF_INET, AF_INET6, CONNECTIONS_FILE, SCTP, TCP, UDP, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.rules import Endpoint

_PROTOCOLS = {"TCP": TCP, "UDP": UDP, "SCTP": SCTP}

TITLE = "IPVS connection entries\npro expire state       source             virtual            destination\n"
TITLE_ENGINE = (
    "IPVS connection entries\n"
    "pro expire state       source             virtual            destination        pe name          pe_data\n"
)


class Connection(Record):
    """A connection or a template. Ends are (family, address, port); expires in seconds; engine, data: "" without one."""

    __slots__ = ("client", "data", "engine", "expires", "number", "protocol", "server", "state", "virtual")

    def __init__(
        self,
        protocol: str,
        client: tuple[int, bytes, int],
        virtual: tuple[int, bytes, int],
        server: tuple[int, bytes, int],
        state: str,
        expires: int,
        engine: str = "",
        data: str = "",
    ) -> None:
        self.protocol = protocol
        self.number = _PROTOCOLS.get(protocol, 0)  # in which ports have names
        self.client = client
        self.virtual = virtual
        self.server = server
        self.state = state
        self.expires = expires
        self.engine = engine
        self.data = data


def _end(address: str, port: str) -> tuple[int, bytes, int]:
    number = int(port, 16) & 0xFFFF
    if ":" not in address and "." not in address:
        return AF_INET, (int(address, 16) & 0xFFFFFFFF).to_bytes(4, "big"), number
    family = AF_INET6 if ":" in address else AF_INET
    addr = pton(family, address)
    if addr is None:
        raise ValueError(address)
    return family, addr, number


def parse(line: bytes) -> Connection:
    """A connection from its line; Failed when it is none."""
    # Of bytes, split() takes isspace()'s blanks; of text, it would part an engine's data at any blank of Unicode.
    words = os.fsdecode(b" ".join(line.split())).split(" ")
    try:
        protocol, client, client_port, virtual, virtual_port, server, server_port, state, expires = words[:9]
        engine, data = words[9:11] if len(words) > 10 else ("", "")
        return Connection(
            protocol,
            _end(client, client_port),
            _end(virtual, virtual_port),
            _end(server, server_port),
            state,
            int(expires),
            engine,
            data,
        )
    except ValueError:
        raise Failed(f"unexpected input from {CONNECTIONS_FILE}: {line[:80]!r}") from None


def text(found: Connection, endpoint: Endpoint, engine: bool) -> str:
    """Its line in the listing; engine: with what a persistence engine remembers of it."""
    client, virtual, server = (
        endpoint(family, addr, port, found.number)[:59] for family, addr, port in (found.client, found.virtual, found.server)
    )
    expires = f"{found.expires // 60:02}:{found.expires % 60:02}"
    line = f"{found.protocol:3} {expires:6} {found.state:11} {client:18} {virtual:18} "
    if engine and found.engine:
        return f"{line}{server:16} {found.engine:18} {found.data}\n"
    return f"{line}{server}\n"
