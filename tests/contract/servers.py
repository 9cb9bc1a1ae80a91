"""Make the cases of real servers: values, order, edits, addresses."""

from __future__ import annotations

import errno

from pyipvsadm.model import (
    BYPASS,
    DEL_DEST,
    GRE,
    GUE,
    IPIP,
    LOCAL,
    MASQ,
    NEW_DEST,
    ROUTE,
    SET_DEST,
    TUN_CSUM,
    TUN_REMCSUM,
    TUNNEL,
    Change,
    Server,
)
from tests.contract.shorthand import (
    INT_MAX,
    SCHEDULERS,
    U32_MAX,
    Case,
    Held,
    add,
    alter,
    done,
    ip,
    mark,
    named,
    new,
    only,
    other,
    refused,
    remove,
    server,
    tcp,
    vip,
)


def servers_of(label: str, af: int) -> list[Case]:
    """Return the cases of NEW_DEST, SET_DEST, DEL_DEST in one family."""
    web = tcp(af)
    one, two, three, four = (server(last, af=af) for last in (1, 2, 3, 4))
    with_one = (new(web), add(web, one))

    def takes(name: str, given: Server, held: Server | None = None) -> Case:
        return done(f"new server: {name}", add(web, given), only(web, held or given), new(web))

    def becomes(name: str, given: Server, held: Server | None = None) -> Case:
        setup = (new(web), add(web, odd), add(web, two))
        return done(
            f"edit server: {name}", alter(web, given), only(web, two, held or given), *setup
        )

    odd = server(af=af, forward=TUNNEL, weight=3, upper=20, lower=10, tun=(GUE, 5555, TUN_REMCSUM))
    values = [
        *(
            (f"method {method}", server(af=af, forward=method), None)
            for method in (MASQ, LOCAL, TUNNEL, ROUTE, BYPASS)
        ),
        *(
            (
                f"method {given:#x} is {held}",
                server(af=af, forward=given),
                server(af=af, forward=held),
            )
            for given, held in ((5, 5), (7, 7), (8, 0), (0x13, 3), (U32_MAX, 7))
        ),
        *(
            (f"weight {weight}", server(af=af, weight=weight), None)
            for weight in (0, 1, 65535, 65536, INT_MAX)
        ),
        *(
            (f"thresholds {upper} {lower}", server(af=af, upper=upper, lower=lower), None)
            for upper, lower in ((10, 0), (10, 5), (10, 10), (INT_MAX, 0), (INT_MAX, INT_MAX))
        ),
        *(
            (f"tunnel {tun}", server(af=af, forward=TUNNEL, tun=tun), None)
            for tun in (
                (IPIP, 0, 0),
                (IPIP, 9999, TUN_CSUM),
                (GUE, 1, 0),
                (GUE, 65535, TUN_CSUM),
                (GUE, 6080, TUN_REMCSUM),
                (GRE, 0, 0),
                (GRE, 0, TUN_CSUM),
                (GRE, 7, TUN_CSUM | TUN_REMCSUM),
                (3, 0, 0),
                (255, 65535, 65535),
            )
        ),
        ("tunnel options of another method", server(af=af, forward=MASQ, tun=(GUE, 6080, 1)), None),
    ]
    wrong = [
        *(
            (f"weight {weight}", errno.ERANGE, server(af=af, weight=weight))
            for weight in (-1, -(2**31))
        ),
        *(
            (f"thresholds {upper} {lower}", errno.ERANGE, server(af=af, upper=upper, lower=lower))
            for upper, lower in ((5, 6), (0, 1), (INT_MAX, U32_MAX), (1, U32_MAX))
        ),
        *(
            (
                f"GUE without port, method {method}",
                errno.EINVAL,
                server(af=af, forward=method, tun=(GUE, 0, 0)),
            )
            for method in (MASQ, LOCAL, TUNNEL, ROUTE)
        ),
        ("weight before GUE without port", errno.ERANGE, server(af=af, weight=-1, tun=(GUE, 0, 0))),
        (
            "thresholds before GUE without port",
            errno.ERANGE,
            server(af=af, lower=1, tun=(GUE, 0, 0)),
        ),
    ]
    unbounded = [
        (f"thresholds {upper} {lower}", server(af=af, upper=upper, lower=lower))
        for upper, lower in ((INT_MAX + 1, 0), (U32_MAX, U32_MAX))
    ]
    cases = [
        *(takes(*value) for value in values),
        *(becomes(*value) for value in values),
        *(
            refused(f"new server: {name}", number, add(web, given), new(web))
            for name, number, given in wrong
        ),
        *(
            refused(f"edit server: {name}", number, alter(web, given), *with_one)
            for name, number, given in wrong
        ),
        *(
            refused(f"new server: {name}", errno.EINVAL, add(web, given), new(web), unbounded=0)
            for name, given in unbounded
        ),
        *(
            refused(f"edit server: {name}", errno.EINVAL, alter(web, given), *with_one, unbounded=0)
            for name, given in unbounded
        ),
        # NEW_DEST
        refused("new server: no service", errno.ESRCH, add(web, one), new(tcp(af, 81))),
        refused(
            "new server: no service, before its weight",
            errno.ESRCH,
            add(web, server(af=af, weight=-1)),
        ),
        refused(
            "new server: no service, before its family",
            errno.ESRCH,
            add(web, server(addr=one.addr, af=7)),
        ),
        refused("new server: no server", errno.EINVAL, Change(NEW_DEST, web), new(web)),
        refused("new server: no service, before no server", errno.ESRCH, Change(NEW_DEST, web)),
        refused("new server: there already", errno.EEXIST, add(web, one), *with_one),
        refused(
            "new server: there already, otherwise",
            errno.EEXIST,
            add(web, server(af=af, forward=MASQ, weight=9)),
            *with_one,
        ),
        refused(
            "new server: weight before there already",
            errno.ERANGE,
            add(web, server(af=af, weight=-1)),
            *with_one,
        ),
        refused(
            "new server: thresholds before there already",
            errno.ERANGE,
            add(web, server(af=af, lower=1)),
            *with_one,
        ),
        refused(
            "new server: GUE before there already",
            errno.EINVAL,
            add(web, server(af=af, tun=(GUE, 0, 0))),
            *with_one,
        ),
        takes("port 0", server(port=0, af=af)),
        takes("another port, direct routing", server(port=8080, af=af)),
        takes("the director itself", server(addr=vip(af), af=af, forward=MASQ)),
        takes("the service's family by default", server(addr=one.addr, af=0), one),
        done(
            "new server: same address, other port",
            add(web, server(port=81, af=af)),
            only(web, server(port=81, af=af), one),
            *with_one,
        ),
        done(
            "new server: newest first",
            add(web, four),
            only(web, four, three, two, one),
            new(web),
            add(web, one),
            add(web, two),
            add(web, three),
        ),
        done(
            "new server: back at the head",
            add(web, one),
            only(web, one, three, two),
            new(web),
            add(web, one),
            add(web, two),
            add(web, three),
            remove(web, one),
        ),
        *(
            done(
                f"new server: scheduler {name}",
                add(tcp(af, scheduler=name), two),
                only(tcp(af, scheduler=name), two, one),
                new(tcp(af, scheduler=name)),
                add(tcp(af, scheduler=name), one),
            )
            for name in SCHEDULERS
        ),
        done(
            "new server: of a mark", add(mark(5, af), one), only(mark(5, af), one), new(mark(5, af))
        ),
        done(
            "new server: the same of two services",
            add(mark(5, af), one),
            Held(((web, (one,)), (mark(5, af), (one,)))),
            *with_one,
            new(mark(5, af)),
        ),
        # SET_DEST
        refused("edit server: no service", errno.ESRCH, alter(web, one)),
        refused("edit server: not there", errno.ENOENT, alter(web, two), *with_one),
        refused(
            "edit server: not there by port",
            errno.ENOENT,
            alter(web, server(port=81, af=af)),
            *with_one,
        ),
        refused("edit server: no server", errno.EINVAL, Change(SET_DEST, web), *with_one),
        refused(
            "edit server: weight before not there",
            errno.ERANGE,
            alter(web, server(2, af=af, weight=-1)),
            *with_one,
        ),
        refused(
            "edit server: GUE before not there",
            errno.EINVAL,
            alter(web, server(2, af=af, tun=(1, 0, 0))),
            *with_one,
        ),
        refused(
            "edit server: there in another service",
            errno.ENOENT,
            alter(mark(5, af), one),
            *with_one,
            new(mark(5, af)),
        ),
        becomes("tunnel options go", server(af=af)),
        done(
            "edit server: keeps its place",
            alter(web, server(2, af=af, weight=9)),
            only(web, three, server(2, af=af, weight=9), one),
            new(web),
            add(web, one),
            add(web, two),
            add(web, three),
        ),
        *(
            done(
                f"edit server: scheduler {name}",
                alter(tcp(af, scheduler=name), server(af=af, weight=0)),
                only(tcp(af, scheduler=name), two, server(af=af, weight=0)),
                new(tcp(af, scheduler=name)),
                add(tcp(af, scheduler=name), one),
                add(tcp(af, scheduler=name), two),
            )
            for name in SCHEDULERS
        ),
        # DEL_DEST
        refused("delete server: no service", errno.ESRCH, remove(web, one)),
        refused("delete server: not there", errno.ENOENT, remove(web, two), *with_one),
        refused(
            "delete server: not there by port",
            errno.ENOENT,
            remove(web, server(port=81, af=af)),
            *with_one,
        ),
        refused("delete server: no server", errno.EINVAL, Change(DEL_DEST, web), *with_one),
        refused(
            "delete server: twice", errno.ENOENT, remove(web, one), *with_one, remove(web, one)
        ),
        refused(
            "delete server: other family",
            errno.ENOENT,
            remove(web, server(af=other(af))),
            *with_one,
        ),
        done("delete server", remove(web, one), only(web, two), *with_one, add(web, two)),
        done(
            "delete server: only its name counts",
            remove(web, server(af=af, weight=-1, lower=9, tun=(GUE, 0, 0))),
            only(web),
            *with_one,
        ),
        done(
            "delete server: the family by default",
            remove(web, server(addr=one.addr, af=0)),
            only(web),
            *with_one,
        ),
        *(
            done(
                f"delete server: scheduler {name}",
                remove(tcp(af, scheduler=name), one),
                only(tcp(af, scheduler=name), two),
                new(tcp(af, scheduler=name)),
                add(tcp(af, scheduler=name), one),
                add(tcp(af, scheduler=name), two),
            )
            for name in SCHEDULERS
        ),
    ]
    return named(label, cases)


def addresses_of(label: str, af: int, fit: str, unfit: str) -> list[Case]:
    """Return the cases of the addresses that a new server may have: they are checked last, and for
    new servers only.
    """
    web = tcp(af)
    cases = [
        *(
            done(
                f"new server at {addr}",
                add(web, server(addr=ip(addr), af=af)),
                only(web, server(addr=ip(addr), af=af)),
                new(web),
            )
            for addr in fit.split()
        ),
        *(
            refused(
                f"new server at {addr}",
                errno.EINVAL,
                add(web, server(addr=ip(addr), af=af)),
                new(web),
            )
            for addr in unfit.split()
        ),
        *(
            refused(
                f"edit server at {addr}",
                errno.ENOENT,
                alter(web, server(addr=ip(addr), af=af)),
                new(web),
            )
            for addr in unfit.split()
        ),
        *(
            refused(f"new server at {addr}: weight first", errno.ERANGE, add(web, given), new(web))
            for addr in unfit.split()[:2]
            for given in (server(addr=ip(addr), af=af, weight=-1),)
        ),
        *(
            done(f"new service at {addr}", new(given), only(given))
            for addr in unfit.split()
            for given in (tcp(af, addr=ip(addr)),)
        ),
    ]
    return named(label, cases)
