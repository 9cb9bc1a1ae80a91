"""Scan the list of servers as the schedulers do that compare weights and connections, or take turns.

Owns: lc, wlc, sed, nq, fo, ovf, rr, wrr. Servers come newest first, as the kernel lists them, and
are named by their index.
"""

from __future__ import annotations

from math import gcd

from pyipvsadm.model import Record
from pyipvsadm.scheduling.overload import NO, YES, get_overload, get_usable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyipvsadm.model import Server

    Better = Callable[[Server, Server], bool]  # (best so far, server): the second replaces it


def get_overhead(server: Server, counts_total: bool) -> int:
    """Return the load of a server for lc and wlc (ip_vs.h: ip_vs_dest_conn_overhead)."""
    total = server.inactive + (server.active if counts_total else 0)
    return 256 * server.active + total


def _get_delay(server: Server) -> int:
    """Return the expected delay (ip_vs_sed.c: ip_vs_sed_dest_overhead, ip_vs_nq.c alike)."""
    return server.active + 1


def _is_less(load: Callable[[Server], int]) -> Better:
    """Return the comparison of load / weight by products (ip_vs_wlc.c, ip_vs_sed.c, ip_vs_nq.c)."""
    return lambda best, server: load(best) * server.weight > load(server) * best.weight


def choose_by_walk(
    scheduler: str, servers: Sequence[Server], counts_total: bool
) -> tuple[set[int], bool]:
    """Return the servers that lc, wlc, sed, nq, fo or ovf may take next, and whether it may refuse.

    One server, unless it is not known whether some are over their thresholds: then every best of
    the walk that one of these cases leads to.
    """
    load: Callable[[Server], int] = lambda server: get_overhead(server, counts_total)  # noqa: E731
    better: Better = {
        # ip_vs_lc.c: ip_vs_lc_schedule
        "lc": lambda best, server: load(server) < load(best),
        # ip_vs_wlc.c: ip_vs_wlc_schedule
        "wlc": _is_less(load),
        # ip_vs_sed.c: ip_vs_sed_schedule
        "sed": _is_less(_get_delay),
        # ip_vs_nq.c: ip_vs_nq_schedule
        "nq": _is_less(_get_delay),
        # ip_vs_fo.c: ip_vs_fo_schedule
        "fo": lambda best, server: server.weight > best.weight,
        # ip_vs_ovf.c: ip_vs_ovf_schedule
        "ovf": lambda best, server: server.weight > best.weight,
    }[scheduler]
    bests: set[int | None] = {None}
    final: set[int] = set()
    for index, server in enumerate(servers):
        usable = get_usable(server)
        if usable == NO or (scheduler == "ovf" and server.active > server.weight):
            continue
        if scheduler == "nq" and not server.active:  # never queue: an idle server ends the walk
            final.add(index)
            if usable == YES:
                return final, False
            continue
        reached: set[int | None] = {
            index if best is None or better(servers[best], server) else best for best in bests
        }
        bests = reached if usable == YES else bests | reached
    return final | {best for best in bests if best is not None}, None in bests


def choose_usable(servers: Sequence[Server]) -> tuple[set[int], bool]:
    """Return the servers that a scheduler with an unknown cursor, cache or draw may take next, and
    whether it may refuse: every server that takes connections.
    """
    usable = [get_usable(server) for server in servers]
    return {index for index, state in enumerate(usable) if state != NO}, YES not in usable


def next_in_turn(servers: Sequence[Server], last: int) -> int | None:
    """Return the server after `last`, -1 for none yet, that takes connections; None if none does
    (ip_vs_rr.c: ip_vs_rr_schedule).
    """
    count = len(servers)
    for step in range(1, count + 2):
        # The head of the list stands between the last server and the first one.
        index = (last + 1 + step) % (count + 1) - 1
        if index >= 0 and get_usable(servers[index]) == YES:
            return index
    return None


class WeightedCursor(Record):
    """Hold what wrr remembers (ip_vs_wrr.c: struct ip_vs_wrr_mark). last: the server taken last,
    -1 for the head of the list; current: the weight that is asked for now.
    """

    __slots__ = ("current", "last")

    def __init__(self, last: int = -1, current: int = 0) -> None:
        self.last = last
        self.current = current


def get_weight_steps(servers: Sequence[Server]) -> tuple[int, int]:
    """Return the greatest weight that wrr asks for, and by how much it goes down (ip_vs_wrr.c:
    ip_vs_wrr_max_weight, ip_vs_wrr_gcd_weight).
    """
    weights = [server.weight for server in servers if server.weight > 0]
    step = gcd(*weights) or 1
    return max(weights, default=0) - (step - 1), step


def reset_cursor(servers: Sequence[Server], cursor: WeightedCursor) -> WeightedCursor:
    """Return wrr's cursor after a server was added, edited or deleted; a new one where `current` is
    0 (ip_vs_wrr.c: ip_vs_wrr_dest_changed).
    """
    greatest, step = get_weight_steps(servers)
    current = cursor.current
    if current > greatest or not current:
        current = greatest
    elif step > 1:
        current = current // step * step + 1
    return WeightedCursor(-1, current)


def next_by_weight(
    servers: Sequence[Server], cursor: WeightedCursor
) -> tuple[int | None, WeightedCursor]:
    """Return the server that wrr takes next, None if it refuses, and its cursor afterwards
    (ip_vs_wrr.c: ip_vs_wrr_schedule).
    """
    greatest, step = get_weight_steps(servers)
    start = index = cursor.last
    current = cursor.current
    if not greatest:
        return None, cursor
    last_pass = restarted = False
    stop = -1
    while True:
        while index + 1 < len(servers):
            index += 1
            if get_overload(servers[index]) == NO and servers[index].weight >= current:
                return index, WeightedCursor(index, current)
            if index == stop:
                return None, WeightedCursor(index, current)
        index = -1
        current -= step
        if current <= 0:
            current = greatest
            if last_pass or start == -1:
                return None, WeightedCursor(-1, current)
            restarted = True
        last_pass = current <= step
        if last_pass and restarted and start != -1:
            stop = start
