"""Say what is measured: tables, rows and their bars. Data, and the texts made from it.

Owns: the names of rows, what each runs, how good it has to be. Must never know: how anything is run
or timed.

Tables come in three kinds. In `shared`, all services have the same real servers, one weight and one
method. In `distinct`, each real server has an address and a port of its own. `mixed` is what grows
over the years: methods, weights from 0 to 100, thresholds, persistence, marks, a third of it IPv6,
and (in the Q guest) counters as after months of traffic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

RESTORE = "restore"
LIST = "list"
CONNECTIONS = "connections"
LOOP = "loop"

SHARED, DISTINCT, MIXED = TABLES = ("shared", "distinct", "mixed")

CONNECTION_COUNT = 200_000
LOOP_COUNT = 50

HEADING = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"


@dataclass(frozen=True)
class Row:
    """Describe one line of the result.

    table: its kind. shape: services x servers of each. things: how many rules, entries or commands.
    bar, aim: times as fast as the reference, whole processes in the Q guest; 0: none.
    """

    name: str
    kind: str
    table: str
    shape: tuple[int, int]
    argv: tuple[str, ...]
    things: int
    bar: float = 0
    aim: float = 0

    def format_work(self) -> str:
        """Format what is run on which size of table, for people."""
        services, servers = self.shape
        words = "ipvsadm " + " ".join(self.argv)
        if self.kind == CONNECTIONS:
            return f"{words}, {self.things:,} connections"
        if self.kind == LOOP:
            return f"{self.things} x ipvsadm -A ... in a loop"
        return f"{words}, {services:,} x {servers:,}" + (
            f" ({self.things:,} rules)" if self.kind == RESTORE else ""
        )


def _restore(table: str, services: int, servers: int, bar: float, aim: float) -> Row:
    things = services * (servers + 1)
    name = f"restore-{services}x{servers}-{table}"
    return Row(name, RESTORE, table, (services, servers), ("-R",), things, bar, aim)


def _list(table: str, services: int, servers: int, words: str, bar: float, aim: float) -> Row:
    argv = tuple(words.split())
    view = {"-S -n": "save", "-L -n": "list"}.get(words, argv[-1].strip("-"))
    name = f"{view}-{services}x{servers}-{table}"
    things = services * (servers + 1)
    return Row(name, LIST, table, (services, servers), argv, things, bar, aim)


_VIEWS = ("-L -n", "-S -n", "-L -n --stats", "-L -n --rate", "-L -n --thresholds")
_SMALL_SHAPES = ((100, 100), (1_000, 10), (1, 5_000))


def _tables(table: str) -> Iterator[Row]:
    for shape in ((100, 100), (1_000, 10), (10_000, 1)):
        yield _restore(table, *shape, 4, 6)
    yield _list(table, 10_000, 1, "-L -n", 5, 0)
    for words in _VIEWS[1:4]:
        yield _list(table, 10_000, 1, words, 1.5, 0)
    for shape in _SMALL_SHAPES:
        for words in _VIEWS:
            yield _list(table, *shape, words, 1, 1.5)


LARGE = _restore(DISTINCT, 100_000, 1, 0, 0)
ROWS = (
    *(row for table in TABLES for row in _tables(table)),
    Row(
        CONNECTIONS,
        CONNECTIONS,
        DISTINCT,
        (0, 0),
        ("-L", "-n", "-c"),
        CONNECTION_COUNT,
        0.8,
    ),
    LARGE,
    Row(LOOP, LOOP, SHARED, (LOOP_COUNT, 0), ("-A",), LOOP_COUNT),
)
SMALL = f"restore-10000x1-{DISTINCT}"  # a rule of LARGE is compared with a rule of this row
PER_RULE = 1.5  # times the time of a rule of SMALL
PEAK = 100 * 1024  # KiB, of LARGE
CONNECTIONS_GROWTH = 30 * 1024  # KiB over an empty listing
START = 0.005  # seconds a command on an empty embedded table may take over the interpreter's start
NAMES = 3.0  # seconds a listing by name may take


def make_rules(table: str, services: int, servers: int) -> str:
    """Return the rules of a table of one of the three kinds, in the plain form of -S -n."""
    rule = {SHARED: _shared, DISTINCT: _distinct, MIXED: _mixed}[table]
    return "".join(line for number in range(services) for line in rule(number, servers))


def _shared(number: int, servers: int) -> Iterator[str]:
    service = f"-t 10.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}:80"
    yield f"-A {service} -s wlc\n"
    for index in range(1, servers + 1):
        yield f"-a {service} -r 192.168.{index >> 8}.{index & 255}:8080 -m -w 1\n"


def _distinct(number: int, servers: int) -> Iterator[str]:
    service = f"-t 10.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}:80"
    yield f"-A {service} -s wlc\n"
    for index in range(number * servers, (number + 1) * servers):
        yield f"-a {service} -r {_address(index)}:{1024 + index % 60_000} -m -w 1\n"


def _address(index: int) -> str:
    """Return an address of 172.16.0.0/12 that no lower index has."""
    return f"172.{16 + (index >> 16)}.{index >> 8 & 255}.{index & 255}"


def _mixed(number: int, servers: int) -> Iterator[str]:
    has_ipv6 = number % 3 == 2
    marked = number % 10 == 7
    method = ("-m", "-g", "-i")[number // 3 % 3]
    host = f"[2001:db8:1::{number + 1:x}]" if has_ipv6 else f"10.1.{number >> 8}.{number & 255}"
    port = 0 if marked else (80, 443, 8080, 53)[number % 4]
    by_mark = f"-f {number + 1}" + (" -6" if has_ipv6 else "")
    service = by_mark if marked else f"{'-u' if port == 53 else '-t'} {host}:{port}"
    persistence = f" -p {300 + number % 7 * 60}" if number % 4 == 1 else ""
    yield f"-A {service} -s {('rr', 'wrr', 'lc', 'wlc')[number // 4 % 4]}{persistence}\n"
    for index in range(number * servers, (number + 1) * servers):
        address = f"[2001:db8:2::{index + 1:x}]" if has_ipv6 else _address(index)
        own = 1024 + index % 60_000 if method == "-m" else port
        limits = " -x 2000 -y 1500" if index % 5 == 3 else ""
        tunnel = " --tun-type ipip" if method == "-i" else ""
        yield f"-a {service} -r {address}:{own} {method} -w {index * 37 % 101}{limits}{tunnel}\n"


def make_connections(count: int) -> str:
    """Return a file like /proc/net/ip_vs_conn (ip_vs_conn.c: ip_vs_conn_seq_show): TCP with some
    UDP, each of another client, 50 virtual services.
    """
    parts = [HEADING]
    for index in range(count):
        protocol, state = (
            ("UDP", "UDP")
            if index % 10 == 9
            else ("TCP", ("ESTABLISHED", "FIN_WAIT", "TIME_WAIT")[index % 3])
        )
        client, port = 0x0B000000 + index * 83, 1024 + index * 7 % 60000
        parts.append(
            f"{protocol:3} {client:08X} {port:04X} {0x0A010000 + index % 50:08X} 0050 "
            f"{0xC0A80001 + index % 500:08X} 1F90 {state:11} {index % 900:7}\n"
        )
    return "".join(parts)
