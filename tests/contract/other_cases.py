"""Make the cases of timeouts, and of requests about no service."""

from __future__ import annotations

import errno

from pyipvsadm.model import (
    AF_INET6,
    DEL_DEST,
    DEL_SERVICE,
    GET_DAEMON,
    GET_DEST,
    NEW_DEST,
    NEW_SERVICE,
    ONE_PACKET,
    SET_CONFIG,
    SET_DEST,
    SET_INFO,
    SET_SERVICE,
    UDP,
    Change,
)
from tests.contract.backends import HZ
from tests.contract.shorthand import (
    CLEAR,
    DEFAULT_TIMEOUTS,
    EMPTY,
    INT_MAX,
    U32_MAX,
    Case,
    Held,
    add,
    config,
    done,
    mark,
    new,
    refused,
    server,
    tcp,
    zero,
)


def configs() -> list[Case]:
    """Return the cases of SET_CONFIG: seconds; 0 leaves a timeout as it is; INT_MAX
    ticks at most.
    """
    most = INT_MAX // HZ
    good = [
        ((1, 2, 3), (1, 2, 3)),
        ((0, 0, 0), DEFAULT_TIMEOUTS),
        ((7200, 0, 0), (7200, 120, 300)),
        ((0, 30, 0), (900, 30, 300)),
        ((0, 0, 10), (900, 120, 10)),
        ((most, most, most), (most, most, most)),
    ]
    bad = [
        tuple(value if place == at else 60 for place in range(3))
        for at in range(3)
        for value in (most + 1, INT_MAX, INT_MAX + 1, U32_MAX)
    ]
    web = tcp()
    return [
        *(done(f"config {given}", config(*given), Held(timeouts=after)) for given, after in good),
        *(
            refused(f"config {given}", errno.EINVAL, config(*given), config(1, 2, 3))
            for given in bad
        ),
        done("config: once more", config(0, 4, 0), Held(timeouts=(1, 4, 3)), config(1, 2, 3)),
        done("config: services stay", config(5, 6, 7), Held(((web, ()),), (5, 6, 7)), new(web)),
        done("config: no values", Change(SET_CONFIG), Held(timeouts=(1, 2, 3)), config(1, 2, 3)),
    ]


def others() -> list[Case]:
    """Return the cases of changes to all services, of operations that lack a part, and of
    operations that change no table.
    """
    web, dns, marked = tcp(), tcp(AF_INET6, 53, protocol=UDP, flags=ONE_PACKET), mark(1)
    two = (new(web), new(dns), new(marked), add(web, server()), add(marked, server()))
    kept = Held(((web, (server(),)), (dns, ()), (marked, (server(),))))
    return [
        done("zero: nothing there", zero(), EMPTY),
        done("zero: all", zero(), kept, *two),
        done("flush: nothing there", CLEAR, EMPTY),
        done("flush: all", CLEAR, EMPTY, *two),
        *(
            refused(f"operation {op} without a service", errno.EINVAL, Change(op), new(web))
            for op in (NEW_SERVICE, SET_SERVICE, DEL_SERVICE, NEW_DEST, SET_DEST, DEL_DEST)
        ),
        *(  # of a service, these operations read only its key
            refused(
                f"operation {op} without a server, names that do not fit",
                errno.ESRCH,
                Change(op, tcp(pe="n" * 17)),
            )
            for op in (NEW_DEST, SET_DEST)
        ),
        *(
            refused(f"operation {op} writes nothing", errno.EOPNOTSUPP, Change(op), new(web))
            for op in (0, GET_DEST, GET_DAEMON, SET_INFO, 18, 255)
        ),
    ]
