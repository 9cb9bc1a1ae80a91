"""Scan the list of servers as the schedulers do that compare weights and connections, or take turns.

Owns: lc, wlc, sed, nq, fo, ovf; of rr, wrr and the others, which servers may be next. Servers come
newest first, as the kernel lists them, and are named by their index.
"""

from __future__ import annotations

from pyipvsadm.scheduling.overload import NO, YES, get_usable

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
