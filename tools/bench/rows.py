"""What is measured: tables, rows and their bars. Data, and the texts made from it.

Owns: the names of rows, what each runs, how good it has to be. Must never know: how anything is run
or timed.
"""

from __future__ import annotations

from dataclasses import dataclass

RESTORE = "restore"
LIST = "list"
CONNECTIONS = "connections"
LOOP = "loop"

CONNECTION_COUNT = 200_000
LOOP_COUNT = 50

HEADING = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"


@dataclass(frozen=True)
class Row:
    """One line of the result.

    shape: services x servers of each. things: what is done (rules, entries). bar, aim: times as
    fast as the reference, in the Q guest; 0: none. past_start: ours counts from where `python3 -I
    -c pass` would have ended.
    """

    name: str
    kind: str
    shape: tuple[int, int]
    argv: tuple[str, ...]
    things: int
    bar: float = 0
    aim: float = 0
    past_start: bool = False

    def work(self) -> str:
        """For people."""
        services, servers = self.shape
        words = "ipvsadm " + " ".join(self.argv)
        if self.kind == CONNECTIONS:
            return f"{words}, {self.things:,} connections"
        if self.kind == LOOP:
            return f"{self.things} x ipvsadm -A ... in a loop"
        return f"{words}, {services:,} x {servers:,}" + (
            f" ({self.things:,} rules)" if self.kind == RESTORE else ""
        )


def _restore(services: int, servers: int, bar: float, aim: float) -> Row:
    things = services * (servers + 1)
    return Row(
        f"restore-{services}x{servers}", RESTORE, (services, servers), ("-R",), things, bar, aim
    )


def _list(services: int, servers: int, words: str, bar: float, aim: float, past_start: bool) -> Row:
    argv = tuple(words.split())
    name = {"-S -n": "save", "-L -n": "list"}.get(words, argv[-1].strip("-"))
    return Row(
        f"{name}-{services}x{servers}",
        LIST,
        (services, servers),
        argv,
        services * (servers + 1),
        bar,
        aim,
        past_start=past_start,
    )


_VIEWS = ("-S -n", "-L -n --stats", "-L -n --rate", "-L -n --thresholds")
LARGE = _restore(100_000, 1, 0, 0)
ROWS = (
    _restore(100, 100, 4, 6),
    _restore(10_000, 1, 3.5, 5),
    _list(10_000, 1, "-L -n", 4, 6, past_start=False),
    _list(10_000, 1, "-S -n", 1.3, 1.8, past_start=False),
    _list(10_000, 1, "-L -n --stats", 1.3, 1.8, past_start=False),
    _list(100, 100, "-L -n", 1.3, 1.5, past_start=True),
    _list(1_000, 10, "-L -n", 1.3, 1.5, past_start=True),
    _list(1, 5_000, "-L -n", 0, 0, past_start=True),
    *(
        _list(*shape, words, 1, 0, past_start=True)
        for shape in ((100, 100), (1_000, 10), (1, 5_000))
        for words in _VIEWS
    ),
    Row(
        "connections",
        CONNECTIONS,
        (0, 0),
        ("-L", "-n", "-c"),
        CONNECTION_COUNT,
        0.5,
        1,
        past_start=True,
    ),
    LARGE,
    Row("loop", LOOP, (LOOP_COUNT, 0), ("-A",), LOOP_COUNT),
)
SMALL = "restore-10000x1"  # what a rule of LARGE is held against
PER_RULE = 1.5  # times the time of a rule there
PEAK = 100 * 1024  # KiB, of LARGE
CONNECTIONS_GROWTH = 30 * 1024  # KiB over an empty listing
START = 0.005  # seconds a command on an empty embedded table takes over the interpreter's start
NAMES = 3.0  # seconds a listing by name may take


def rules(services: int, servers: int) -> str:
    """The rules of a table, of the plain shape that -S -n writes, in its order."""
    parts = []
    for number in range(services):
        named = f"-t 10.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}:80"
        parts.append(f"-A {named} -s wlc\n")
        parts += [
            f"-a {named} -r 192.168.{at >> 8}.{at & 255}:8080 -m -w 1\n"
            for at in range(1, servers + 1)
        ]
    return "".join(parts)


def connections(count: int) -> str:
    """A file like /proc/net/ip_vs_conn (ip_vs_conn.c: ip_vs_conn_seq_show): TCP with some UDP, 50
    virtual services.
    """
    parts = [HEADING]
    for at in range(count):
        protocol, state = (
            ("UDP", "UDP")
            if at % 10 == 9
            else ("TCP", ("ESTABLISHED", "FIN_WAIT", "TIME_WAIT")[at % 3])
        )
        client, port = 0xAC100000 + at // 7, 1024 + at % 60000
        parts.append(
            f"{protocol:3} {client:08X} {port:04X} {0x0A010000 + at % 50:08X} 0050 "
            f"{0xC0A80001 + at % 500:08X} 1F90 {state:11} {at % 900:7}\n"
        )
    return "".join(parts)
