"""Select a server for a client, and say what part of the clients each server has.

Owns: which scheduler needs which knowledge. Servers come newest first, as the kernel lists them.
"""

from __future__ import annotations

from itertools import chain

from pyipvsadm.model import SCHED1, SCHED2, Record
from pyipvsadm.scheduling.hashing import fold_address
from pyipvsadm.scheduling.overload import MAYBE, NO, YES, explain_unusable, get_usable
from pyipvsadm.scheduling.tables import (
    fill_dh,
    fill_mh,
    fill_sh,
    get_dh_bucket,
    get_sh_bucket,
    iter_mh_probes,
    iter_sh_probes,
    look_up,
)
from pyipvsadm.scheduling.walks import choose_by_walk, choose_usable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyipvsadm.model import Server, Service
    from pyipvsadm.scheduling.build import Build
    from pyipvsadm.scheduling.tables import Table

WALKS = ("lc", "wlc", "sed", "nq", "fo", "ovf")
# Why the next server of a scheduler cannot be known from outside.
UNKNOWN = {
    "rr": "round robin: it depends on whose turn it is",
    "wrr": "weighted round robin: it depends on whose turn it is",
    "lblc": "lblc: it depends on the kernel's cache of destinations",
    "lblcr": "lblcr: it depends on the kernel's cache of destinations",
    "twos": "twos: it draws at random",
}
FORMER_WEIGHT = (
    "mh: its table keeps the weight that a server had before weight 0, which is not listed"
)
MH_FULL = "mh: there are more servers than entries, and the kernel leaves its table as it was"
# Kinds of distribution.
TABLE = "table"
WEIGHT = "weight"
NEXT = "next"
UNKNOWN_SHARES = "unknown"


class Choice(Record):
    """Hold the servers, by index, that may take a connection: one if it can be known, none if it is
    refused. may_refuse: it may be refused as well. reason: how it was chosen, or why it is refused.
    """

    __slots__ = ("candidates", "may_refuse", "reason")

    def __init__(self, candidates: tuple[int, ...], may_refuse: bool, reason: str) -> None:
        self.candidates = candidates
        self.may_refuse = may_refuse
        self.reason = reason


class Distribution(Record):
    """Hold the part of each server, in their order: counts of `total`.

    kind: TABLE (buckets of a hash table), WEIGHT (turns), NEXT (1 for the servers that may be
    chosen next), UNKNOWN_SHARES. refused: buckets whose clients are refused; spread: buckets whose
    clients go to the other servers (a fallback flag of mh).
    """

    __slots__ = ("counts", "kind", "refused", "spread", "total")

    def __init__(
        self, kind: str, counts: list[int], total: int, refused: int = 0, spread: int = 0
    ) -> None:
        self.kind = kind
        self.counts = counts
        self.total = total
        self.refused = refused
        self.spread = spread


class Chooser:
    """Select servers of one service for many clients: tables are filled once."""

    def __init__(
        self,
        service: Service,
        servers: Sequence[Server],
        build: Build,
        former: Sequence[int] | None = None,
    ) -> None:
        """Take a service and its servers. former: for mh, the latest weight of each server that was
        not 0, where it is known.
        """
        self._scheduler = service.scheduler
        self._servers = servers
        self._build = build
        self._usable = [get_usable(server) for server in servers]
        self._fallback = bool(service.flags & SCHED1)
        self._by_port = bool(service.flags & SCHED2)
        self._table = fill_table(service, servers, build, former)
        self._steady: Choice | None = None  # what does not depend on the client

    def choose(self, client: bytes, port: int | None, destination: bytes = b"") -> Choice:
        """Return the choice for a client's address and port (None: not known), and the address that
        it connects to (b"": not known).
        """
        if self._steady is None:
            if self._table and self._scheduler != "dh" and not (self._by_port and port is None):
                return self._choose_by_hash(
                    fold_address(client) + (port or 0 if self._by_port else 0)
                )
            if self._table and self._scheduler == "dh" and destination:
                bucket = get_dh_bucket(destination)
                return self._look_up(bucket, (bucket,))
            self._steady = self._choose_for_any()
        return self._steady

    def _choose_by_hash(self, value: int) -> Choice:
        if self._scheduler == "sh":
            bucket = get_sh_bucket(value, self._build.sh_bits)
            return self._look_up(
                bucket, iter_sh_probes(bucket, self._build.sh_bits, self._fallback)
            )
        probes = iter_mh_probes(value, self._build, self._fallback)
        bucket = next(probes)
        return self._look_up(bucket, chain((bucket,), probes))

    def _look_up(self, bucket: int, probes: Iterable[int]) -> Choice:
        """Return what the first of the probed buckets with a usable server gives."""
        table = self._table
        assert table is not None
        candidates, may_refuse = look_up(table, probes, self._usable)
        owner = table[bucket]
        detail = f"{self._scheduler}: bucket {bucket} of {len(table)}"
        why = explain_unusable(self._servers[owner])
        if why:
            detail += f" is of a server with {why}"
            if candidates and self._fallback:
                detail += ", fallback to another"
        return Choice(tuple(sorted(candidates)), may_refuse, detail)

    def _choose_for_any(self) -> Choice:
        """Return the choice that is the same for all clients, or all that is known of it."""
        scheduler, servers = self._scheduler, self._servers
        if not servers:
            return Choice((), True, "the service has no real servers")
        if scheduler in WALKS:
            candidates, may_refuse = _merge(
                choose_by_walk(scheduler, servers, counts_total)
                for counts_total in _list_countings(self._build)
            )
        else:
            candidates, may_refuse = choose_usable(servers)
        if scheduler == "none":
            return Choice((), True, "the service has no scheduler")
        if not candidates:
            return Choice((), True, explain_refusal(scheduler, servers))
        if scheduler in WALKS:
            reason = f"{scheduler}: by the connections and weights of now"
        elif scheduler in ("sh", "mh", "dh"):
            reason = self._explain_unknown_bucket()
            may_refuse = may_refuse or (not self._fallback and NO in self._usable)
            may_refuse = may_refuse or MAYBE in self._usable
        else:
            reason = UNKNOWN.get(scheduler, f"the scheduler {scheduler} is not known here")
        if self._usable.count(NO) == len(servers) - 1 and not may_refuse:
            reason = f"{scheduler}: the only server that takes connections"
        return Choice(tuple(sorted(candidates)), may_refuse, reason)

    def _explain_unknown_bucket(self) -> str:
        if self._table is None:
            return FORMER_WEIGHT if len(self._servers) <= self._build.mh_size else MH_FULL
        if self._scheduler == "dh":
            return "dh: it depends on the address that the client connects to"
        return f"{self._scheduler}: it depends on the client's port ({self._scheduler}-port)"


def fill_table(
    service: Service, servers: Sequence[Server], build: Build, former: Sequence[int] | None = None
) -> Table | None:
    """Return the hash table of a service; None if its scheduler has none, if no server is in it, or
    if what it depends on is not known. former: see Chooser.
    """
    if not servers:
        return None
    if service.scheduler == "dh":
        return fill_dh(servers)
    if service.scheduler == "sh":
        return fill_sh(servers, build.sh_size)
    if service.scheduler != "mh" or len(servers) > build.mh_size:
        return None
    weights = [server.weight for server in servers] if former is None else former
    if former is None and not all(weights):
        return None
    return fill_mh(servers, weights, build, service.af) if any(weights) else None


def explain_refusal(scheduler: str, servers: Sequence[Server]) -> str:
    """Return why none of the servers takes a connection."""
    if scheduler == "ovf" and any(get_usable(server) != NO for server in servers):
        return "ovf: every server has more active connections than its weight"
    reasons = {explain_unusable(server) for server in servers}
    if reasons == {"weight 0"}:
        return "all servers have weight 0"
    return "every server has weight 0 or as many connections as its upper threshold"


def get_distribution(
    service: Service,
    servers: Sequence[Server],
    build: Build,
    former: Sequence[int] | None = None,
) -> Distribution:
    """Return the part of new clients that each server gets, as far as the scheduler makes it known.
    former: see Chooser.
    """
    scheduler = service.scheduler
    usable = [get_usable(server) != NO for server in servers]
    if scheduler in ("sh", "mh"):
        table = fill_table(service, servers, build, former)
        if table is not None:
            return _count_table(service, table, usable)
    if scheduler in ("rr", "wrr"):
        counts = [
            (server.weight if scheduler == "wrr" else 1) if takes else 0
            for server, takes in zip(servers, usable)
        ]
        return Distribution(WEIGHT, counts, sum(counts))
    if scheduler in WALKS or scheduler == "dh":
        choice = Chooser(service, servers, build).choose(b"", None, service.addr)
        return Distribution(
            NEXT, [int(index in choice.candidates) for index in range(len(servers))], 1
        )
    return Distribution(UNKNOWN_SHARES, [0] * len(servers), 0)


def _count_table(service: Service, table: Table, usable: Sequence[bool]) -> Distribution:
    """Count the buckets of sh or mh by the server that takes their clients."""
    counts = [0] * len(usable)
    refused = spread = 0
    fallback = bool(service.flags & SCHED1)
    for owner in resolve_table(service, table, usable):
        if owner is not None and owner >= 0:
            counts[owner] += 1
        elif fallback and any(usable):
            spread += 1
        else:
            refused += 1
    return Distribution(TABLE, counts, len(table), refused, spread)


def resolve_table(service: Service, table: Table, usable: Sequence[bool]) -> list[int | None]:
    """Return for each bucket of sh, mh or dh the server that takes its clients; None if they are
    refused, -1 - owner if they go to several other servers (mh's fallback hashes the client anew).
    dh has no flags.
    """
    fallback = bool(service.flags & SCHED1) and service.scheduler != "dh" and any(usable)
    states = [YES if takes else NO for takes in usable]
    resolved: list[int | None] = []
    for bucket, owner in enumerate(table):
        if usable[owner]:
            resolved.append(owner)
        elif not fallback:
            resolved.append(None)
        elif service.scheduler == "mh":
            resolved.append(-1 - owner)
        else:
            bits = len(table).bit_length() - 1
            taken, _ = look_up(table, iter_sh_probes(bucket, bits, fallback=True), states)
            resolved.append(next(iter(taken), None))
    return resolved


def _list_countings(build: Build) -> tuple[bool, ...]:
    return (True, False) if build.counts_total is None else (build.counts_total,)


def _merge(choices: Iterable[tuple[set[int], bool]]) -> tuple[set[int], bool]:
    """Return all that may happen when it is not known which of several cases holds."""
    candidates: set[int] = set()
    may_refuse = False
    for taken, refused in choices:
        candidates |= taken
        may_refuse = may_refuse or refused
    return candidates, may_refuse
