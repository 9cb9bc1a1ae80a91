"""Parse the lines of /proc/net/ip_vs_conn, and format them as 1.31 does (ipvsadm.c: print_conn,
list_conn).

Owns: the columns of that file (ip_vs_conn.c: ip_vs_conn_seq_show) and the listing of connections.
Must never know: backends, resolvers, streams.
"""

from __future__ import annotations

import os
from _socket import inet_ntop  # the C module beneath `socket`; this is formatting, not I/O
from itertools import islice
from struct import Struct

from pyipvsadm.addresses import TextCache, format_numeric, format_service_key, parse_address
from pyipvsadm.errors import OperationError
from pyipvsadm.model import AF_INET, AF_INET6, CONNECTIONS_FILE, PROTOCOLS, Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Literal

    from pyipvsadm.rules.writer import Endpoint

_PROTOCOLS = {name: number for number, name in PROTOCOLS.items()}

CACHE_LIMIT = 1 << 14  # texts
BIG: Literal["big"] = (
    "big"  # the byte order; an f-string in an f-string has no third kind of quotes
)
_LONGEST = 20  # digits of the seconds: the kernel prints an unsigned long

# Seconds from which on a timer has run out: the longest timeout has 31 days.
EXPIRED = 1 << 31
# The layout of a line of IPv4 without an engine: protocol, client, its port, virtual service with
# server, state with time; and the columns of the blanks between all of its words.
_LAYOUT = Struct("3sx8sx4sx27sx19sx")
LAYOUT_SIZE = _LAYOUT.size
LAYOUT_BLANKS = (3, 12, 17, 26, 31, 40, 45, 57)
_BATCH = 512  # lines taken at once

SYN_RECV_SECONDS = 60
# seconds after which an answer is late: a client asks again after one second, and after two more
HANDSHAKE = 3
# states of persistence templates (ip_vs_proto.c: ip_vs_state_name)
TEMPLATE_STATES = (b"NONE", b"ASSURED")
# The protocol of the templates of a firewall mark.
IP = "IP"

TITLE = "IPVS connection entries\npro expire state       source             virtual            destination\n"
TITLE_ENGINE = (
    "IPVS connection entries\n"
    "pro expire state       source             virtual            destination        pe name          pe_data\n"
)


class Connection(Record):
    """Hold a connection or a persistence template. Ends are (family, address, port); expires is in
    seconds; engine and data are "" without an engine.
    """

    __slots__ = (
        "client",
        "data",
        "engine",
        "expires",
        "number",
        "protocol",
        "server",
        "state",
        "virtual",
    )

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

    @property
    def is_template(self) -> bool:
        """Return True for a persistence template: it leads a client's next connections to the
        server, and has no client port.
        """
        return not self.client[2] and os.fsencode(self.state) in TEMPLATE_STATES

    @property
    def mark(self) -> int:
        """Return the firewall mark of a template, 0 if it has none."""
        return read_mark(self.virtual[1]) if self.protocol == IP else 0


def read_mark(addr: bytes) -> int:
    """Return the firewall mark that stands in the virtual address of a template of the protocol IP
    (ip_vs_core.c: ip_vs_sched_persist).
    """
    return int.from_bytes(addr[:4], BIG)


def format_mark(family: int, mark: int) -> str:
    """Return the name of a service by firewall mark, as other listings show it."""
    return format_service_key(family, 0, b"", 0, mark)


def parse_end(address: str, port: str) -> tuple[int, bytes, int]:
    """Parse an address and a port of the file. Raise ValueError if they are none."""
    number = int(port, 16) & 0xFFFF
    if ":" not in address and "." not in address:
        return AF_INET, (int(address, 16) & 0xFFFFFFFF).to_bytes(4, "big"), number
    family = AF_INET6 if ":" in address else AF_INET
    addr = parse_address(family, address)
    if addr is None:
        raise ValueError(address)
    return family, addr, number


def make_malformed_error(line: bytes) -> OperationError:
    """Return the error for a line, or a part of one, that is no connection's."""
    return OperationError(f"unexpected input from {CONNECTIONS_FILE}: {line[:80]!r}")


def parse_connection(line: bytes) -> Connection:
    """Parse one line. Raise OperationError if it is no connection."""
    # Of bytes, split() takes isspace()'s blanks; of text, it would part an engine's data at any
    # blank of Unicode.
    words = os.fsdecode(b" ".join(line.split())).split(" ")
    try:
        (
            protocol,
            client,
            client_port,
            virtual,
            virtual_port,
            server,
            server_port,
            state,
            expires,
        ) = words[:9]
        if len(expires) > _LONGEST:
            raise ValueError
        engine, data = words[9:11] if len(words) > 10 else ("", "")
        return Connection(
            protocol,
            parse_end(client, client_port),
            parse_end(virtual, virtual_port),
            parse_end(server, server_port),
            state,
            _get_remaining(expires),
            engine,
            data,
        )
    except ValueError:
        raise make_malformed_error(line) from None


def count_handshakes(
    lines: Iterable[bytes],
) -> dict[tuple[tuple[int, bytes, int], ...], tuple[int, int]]:
    """Count the TCP connections of the file, its heading left out, by (virtual, server): how many
    stay in SYN_RECV, and all.

    One stays there when its timer (60 s, set anew by each packet; ip_vs_proto_tcp.c: tcp_timeouts)
    has run for HANDSHAKE seconds: an answer would have moved it on. Failed when a line is none of
    the file's.
    """
    counts: dict[tuple[bytes, ...], list[int]] = {}
    samples: dict[tuple[bytes, ...], bytes] = {}
    for line in lines:
        words = line.split()
        if words[:1] != [b"TCP"] or b"".join(words[7:8]) in TEMPLATE_STATES:
            continue
        key = tuple(words[3:7])
        if key not in counts:
            counts[key] = [0, 0]
            samples[key] = line
        counts[key][0] += (
            words[7:8] == [b"SYN_RECV"]
            and parse_connection(line).expires <= SYN_RECV_SECONDS - HANDSHAKE
        )
        counts[key][1] += 1
    found = {key: parse_connection(line) for key, line in samples.items()}
    return {
        (found[key].virtual, found[key].server): (stay, every)
        for key, (stay, every) in counts.items()
    }


class NumericFormatter:
    """Turn lines of the file into lines of the listing in numbers, past the records.

    Lines of IPv4 without an engine have one layout (ip_vs_conn.c: ip_vs_conn_seq_show) and are taken
    many at a time, others word by word. Virtual services, servers and times are few and remembered,
    clients are not. What is not a plain line of nine words is parsed: that is the definition.
    """

    def __init__(self, engine: bool) -> None:
        self._engine = engine
        # slices of lines of one layout
        self._protocols = TextCache(_format_protocol, CACHE_LIMIT)
        self._routes = TextCache(_format_route, CACHE_LIMIT)
        self._states = TextCache(_format_state, CACHE_LIMIT)
        # words of other lines
        self._ends = TextCache(_format_end, CACHE_LIMIT)
        self._times = TextCache(_format_remaining, CACHE_LIMIT)
        self._words = TextCache(_pad_word, CACHE_LIMIT)

    def format_lines(self, lines: Iterable[bytes]) -> Iterator[str]:
        """Yield the listing's text, some lines at a time. Raise OperationError at a line that is no
        connection.
        """
        lines = iter(lines)
        while batch := list(islice(lines, _BATCH)):
            text = self._format_batch(batch)
            if text is None:
                yield from map(self.format_line, batch)
            else:
                yield text

    def _format_batch(self, lines: list[bytes]) -> str | None:
        """Return the text of lines of the one layout, None when one of them has another."""
        count = len(lines)
        if {len(line) for line in lines} != {_LAYOUT.size}:
            return None
        block = b"".join(lines)
        size = _LAYOUT.size
        if block[size - 1 :: size] != b"\n" * count or any(
            block[place::size] != b" " * count for place in LAYOUT_BLANKS
        ):
            return None
        protocols, routes, states = self._protocols, self._routes, self._states
        try:
            return "".join(
                [
                    f"{protocols[protocol]}{states[state]}"
                    f"{f'{inet_ntop(AF_INET, int(client, 16).to_bytes(4, BIG))}:{int(port, 16) & 65535}':18}"
                    f"{routes[route]}"
                    for protocol, client, port, route, state in _LAYOUT.iter_unpack(block)
                ]
            )
        except (ValueError, OverflowError):
            return None

    def format_line(self, line: bytes) -> str:
        """Return the listing's line. Raise OperationError if the file's line is no connection."""
        try:
            protocol, client, port, virtual, virtual_port, server, server_port, state, expires = (
                line.split()
            )
            if len(client) == 8:
                source = f"{inet_ntop(AF_INET, int(client, 16).to_bytes(4, 'big'))}:{int(port, 16) & 0xFFFF}"
            else:
                source = format_numeric(*parse_end(os.fsdecode(client), os.fsdecode(port)))
            return (
                f"{self._words[protocol, 3]} {self._times[expires]} {self._words[state, 11]} {source:18} "
                f"{self._ends[virtual, virtual_port]:18} {self._ends[server, server_port]}\n"
            )
        except (ValueError, OverflowError):  # not nine words, not numbers
            return format_connection(parse_connection(line), format_numeric, self._engine)


def _format_end(end: tuple[bytes, bytes]) -> str:
    address, port = end
    return format_numeric(*parse_end(os.fsdecode(address), os.fsdecode(port)))


def _format_remaining(expires: bytes) -> str:
    return f"{_format_time(_get_remaining(expires)):6}"


def _pad_word(key: tuple[bytes, int]) -> str:
    """Return a word, as wide as the number beside it or wider."""
    word, width = key
    return f"{os.fsdecode(word):<{width}}"


def _format_protocol(data: bytes) -> str:
    (word,) = data.split()
    return f"{os.fsdecode(word):3} "


def _format_route(data: bytes) -> str:
    """Return " 10.1.0.1:80        192.168.0.1:8080" and a line end for 0A010001 0050 C0A80001 1F90."""
    virtual, virtual_port, server, server_port = map(os.fsdecode, data.split())
    return (
        f" {format_numeric(*parse_end(virtual, virtual_port)):18} "
        f"{format_numeric(*parse_end(server, server_port))}\n"
    )


def _format_state(data: bytes) -> str:
    state, expires = data.split()
    return f"{_format_time(int(expires)):6} {os.fsdecode(state):11} "


def _get_remaining(expires: str | bytes) -> int:
    """Return the seconds until a connection expires. A timer that has run out shows as a huge
    number, because the kernel subtracts unsigned (ip_vs_conn.c: ip_vs_conn_seq_show): 0.
    """
    seconds = int(expires)
    return 0 if seconds >= EXPIRED else seconds


def _format_time(seconds: int) -> str:
    return f"{seconds // 60:02}:{seconds % 60:02}"


def format_connection(found: Connection, endpoint: Endpoint, engine: bool) -> str:
    """Return a connection's line of the listing. engine: with the data that a persistence engine
    keeps.
    """
    client, virtual, server = (
        endpoint(family, addr, port, found.number)[:59]
        for family, addr, port in (found.client, found.virtual, found.server)
    )
    line = f"{found.protocol:3} {_format_time(found.expires):6} {found.state:11} {client:18} {virtual:18} "
    if engine and found.engine:
        return f"{line}{server:16} {found.engine:18} {found.data}\n"
    return f"{line}{server}\n"
