"""Compute the order in which rr and wrr take servers, from a known cursor.

The kernel does not show its cursor, so the program itself has no use for this: it says which
servers may be next, and each server's share of the turns. Tests compare both with these sequences,
and these sequences with recorded ones and with the kernel.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

from pyipvsadm.model import Record
from pyipvsadm.scheduling.overload import NO, YES, get_overload, get_usable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyipvsadm.model import Server


def next_in_turn(servers: Sequence[Server], last: int) -> int | None:
    """Return the index of the next server after `last` (-1: none yet) that takes connections; None
    if none does (ip_vs_rr.c: ip_vs_rr_schedule).
    """
    count = len(servers)
    for step in range(1, count + 2):
        # The head of the list stands between the last server and the first one.
        index = (last + 1 + step) % (count + 1) - 1
        if index >= 0 and get_usable(servers[index]) == YES:
            return index
    return None


class WeightedCursor(Record):
    """Hold what wrr remembers (ip_vs_wrr.c: struct ip_vs_wrr_mark). last: the server taken last, -1
    for the head of the list; current: the weight that a server needs now to be taken.
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
    """Return wrr's cursor after a server was added, edited or deleted; a new one if `current` is 0
    (ip_vs_wrr.c: ip_vs_wrr_dest_changed).
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
    """Return the index of the server that wrr takes next, None if it refuses, and its cursor
    afterwards (ip_vs_wrr.c: ip_vs_wrr_schedule).
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
