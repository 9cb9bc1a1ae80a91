"""Draw random changes for property tests: from few names, so that changes meet, and with values at
the edges.

Changes that kernels answer differently are left to the table of cases.
"""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    BACKUP,
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    FLUSH,
    MASTER,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    SET_CONFIG,
    SET_DEST,
    SET_SERVICE,
    TCP,
    UDP,
    ZERO,
    Change,
    Daemon,
    Server,
    Service,
    Timeouts,
)
from tests.contract.backends import NIC, bounds_thresholds
from tests.contract.shorthand import INT_MAX, SCHEDULERS, U32_MAX, ip

T = TypeVar("T")

_OWN = [(AF_INET, ip("10.1.1.1")), (AF_INET6, ip("fd00:1::1"))]
_SERVICES = [
    *((af, protocol, addr, 80, 0) for af, addr in _OWN for protocol in (TCP, UDP)),
    *((af, 0, b"", 0, 5) for af, _ in _OWN),
]
_SERVERS = [
    *((AF_INET, ip(f"10.2.0.{last}"), 80) for last in (1, 2, 3)),
    *((AF_INET6, ip(f"fd00:2::{last}"), 80) for last in (1, 2, 3)),
]
_NO_SERVERS = [
    *((AF_INET, ip(addr), 80) for addr in ("0.0.0.0", "224.0.0.1")),
    *((AF_INET6, ip(addr), 80) for addr in ("::", "fe80::1")),
    (7, ip("10.2.0.1"), 80),
]
_GROUPS = [b"", ip("224.0.0.81"), ip("ff02::81")]


def mostly(usual: list[T], rare: list[T]) -> st.SearchStrategy[T]:
    """Return a strategy that draws from usual, one time in ten from rare: a sequence of refusals
    alone would test little.
    """
    return st.sampled_from(usual * 9 * len(rare) + rare * len(usual))


def _service(
    name: tuple[int, int, bytes, int, int],
    scheduler: str,
    flags: int,
    timeout: int,
    mask: int,
    engine: str,
) -> Service:
    return Service(*name, scheduler, flags, timeout, mask, engine)


def _destination(
    name: tuple[int, bytes, int],
    forward: int,
    weight: int,
    thresholds: tuple[int, int],
    tunnel: tuple[int, int, int],
) -> Server:
    return Server(*name, forward, weight, *thresholds, *tunnel)


services = st.builds(
    _service,
    mostly(_SERVICES, [(7, TCP, ip("10.1.1.1"), 80, 0)]),
    mostly(list(SCHEDULERS), ["", "bogus", "n" * 16]),
    st.sampled_from([0, 1, 4, 0x3F, U32_MAX]),
    st.sampled_from([0, 1, 360, U32_MAX]),
    mostly([1, 64, 128], [0, 129, U32_MAX]),
    mostly(["", "", "sip"], ["bogus", "n" * 17]),
)
destinations = st.builds(
    _destination,
    mostly(_SERVERS, _NO_SERVERS),
    mostly([0, 2, 2, 3], [1, 7, 0x0A]),
    mostly([0, 1, 100], [-1]),
    mostly([(0, 0), (10, 0), (10, 5)], [(5, 6), (0, 1)]),
    mostly([(0, 0, 0), (1, 6080, 1), (2, 0, 2)], [(1, 0, 0), (9, 9, 9)]),
)
daemons = st.builds(
    Daemon,
    mostly([MASTER, BACKUP], [0, 3]),
    mostly(["lo", "lo", NIC], ["eth9", "", "n" * 16]),
    st.sampled_from([0, 1, 300]),
    st.sampled_from([0, 1, 1400, 65535]),
    mostly(_GROUPS, [ip("10.0.0.1"), ip("fe80::1")]),
    st.sampled_from([0, 8849]),
    st.sampled_from([0, 2]),
)
seconds = mostly([0, 1, 300], [2**31, U32_MAX])

# Kinds of changes with their shares: more is added than deleted.
_CHANGES = [
    (6, st.builds(Change, st.just(NEW_SERVICE), services)),
    (2, st.builds(Change, st.just(SET_SERVICE), services)),
    (1, st.builds(Change, st.sampled_from([DEL_SERVICE, ZERO]), services)),
    (9, st.builds(Change, st.just(NEW_DEST), services, destinations)),
    (3, st.builds(Change, st.just(SET_DEST), services, destinations)),
    (2, st.builds(Change, st.just(DEL_DEST), services, destinations)),
    (2, st.builds(Change, st.just(NEW_DAEMON), daemon=daemons)),
    (2, st.builds(Change, st.just(DEL_DAEMON), daemon=daemons)),
    (
        1,
        st.builds(
            Change, st.just(SET_CONFIG), timeouts=st.builds(Timeouts, seconds, seconds, seconds)
        ),
    ),
    (1, st.sampled_from([Change(FLUSH), Change(ZERO)])),
]


# The same over the whole range of each field, except for names and families: any other name or
# family is answered like one of the above.
_u8, _u16, _u32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
_s32 = st.integers(-(2**31), 2**31 - 1)
_addresses = st.sampled_from([(AF_INET, 4), (AF_INET6, 16)]).flatmap(
    lambda kind: st.tuples(st.just(kind[0]), st.binary(min_size=kind[1], max_size=kind[1]))
)
wide_services = st.builds(
    _service,
    st.one_of(
        st.tuples(_addresses, _u16, _u16).map(
            lambda drawn: (drawn[0][0], drawn[1], drawn[0][1], drawn[2], 0)
        ),
        st.tuples(
            st.sampled_from([AF_INET, AF_INET6]),
            st.just(0),
            st.just(b""),
            st.just(0),
            st.integers(1, U32_MAX),
        ),
        st.sampled_from(_SERVICES),
    ),
    st.sampled_from(SCHEDULERS),
    _u32,
    _u32,
    mostly([1, 64, 128], [0, 129]) | _u32,
    st.sampled_from(["", "", "sip"]),
)
# Upper thresholds above INT_MAX are tried only if the table bounds them: kernels before 2026's do
# not, but the embedded table does.
_thresholds = st.deferred(
    lambda: st.integers(0, INT_MAX) | _u32 if bounds_thresholds() else st.integers(0, INT_MAX)
)
wide_destinations = st.builds(
    _destination,
    st.tuples(_addresses, _u16).map(lambda drawn: (*drawn[0], drawn[1]))
    | st.sampled_from(_SERVERS),
    _u32,
    _s32,
    st.tuples(_thresholds, _thresholds),
    st.tuples(_u8, _u16, _u16),
)
wide_daemons = st.builds(
    Daemon,
    st.sampled_from([MASTER, BACKUP]) | _u32,
    st.sampled_from(["lo", NIC]),
    _u32,
    _u16,
    st.sampled_from(_GROUPS),
    _u16,
    _u8,
)
# Changes that none of our commands sends: a part is missing, or the operation does not exist.
odd_changes = st.builds(
    Change,
    st.sampled_from(
        [
            NEW_SERVICE,
            SET_SERVICE,
            DEL_SERVICE,
            NEW_DEST,
            SET_DEST,
            DEL_DEST,
            NEW_DAEMON,
            DEL_DAEMON,
            0,
            18,
            255,
        ]
    ),
) | st.builds(Change, st.sampled_from([NEW_DEST, SET_DEST, DEL_DEST]), services)


def changes() -> st.SearchStrategy[list[Change]]:
    """Return a strategy for sequences of up to 40 changes."""
    kinds = [kind for share, kind in _CHANGES for _ in range(share)]
    # one_of would count each kind once
    one = st.sampled_from(range(len(kinds))).flatmap(lambda at: kinds[at])
    return st.lists(one, max_size=40)
