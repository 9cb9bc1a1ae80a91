"""Make the cases of services: their names, families, netmasks, edits, and the changes that delete
or zero them.
"""

from __future__ import annotations

import errno

from pyipvsadm.model import (
    AF_INET6,
    HASHED,
    ONE_PACKET,
    PERSISTENT,
    SCHED1,
    SCHED2,
    SCHED3,
    SCTP,
    TCP,
    UDP,
    Service,
)
from tests.contract.backends import HZ
from tests.contract.shorthand import (
    CLEAR,
    EMPTY,
    SCHEDULERS,
    U32_MAX,
    Case,
    Held,
    add,
    alter,
    delete,
    done,
    edit,
    gives,
    ip,
    mark,
    mask,
    named,
    new,
    only,
    refused,
    remove,
    server,
    tcp,
    vip,
    zero,
)


def services_of(label: str, af: int) -> list[Case]:
    """Return the cases of NEW_SERVICE, SET_SERVICE, DEL_SERVICE, ZERO, FLUSH in one family."""
    web = tcp(af, scheduler="rr")
    other = tcp(af, 443)
    cases = [
        *(gives(f"scheduler {name}", tcp(af, scheduler=name)) for name in SCHEDULERS),
        *(
            gives(f"protocol {number}", tcp(af, protocol=number))
            for number in (0, 1, TCP, UDP, SCTP, 47, 300, 65535)
        ),
        *(gives(f"port {port}", tcp(af, port)) for port in (0, 65535)),
        *(
            gives(
                f"flags {flags:#x}",
                tcp(af, flags=flags, timeout=300),
                tcp(af, flags=flags | HASHED, timeout=300),
            )
            for flags in (PERSISTENT, ONE_PACKET, SCHED1, SCHED2, SCHED3, 0x3F, 0xFFFFFF00, U32_MAX)
        ),
        gives("persistent with time-out 0", tcp(af, flags=PERSISTENT)),
        gives("time-out without persistence", tcp(af, timeout=60)),
        gives("one packet, UDP", tcp(af, 53, protocol=UDP, flags=ONE_PACKET)),
        # Kept as 32 bits of ticks.
        gives("the longest time-out", tcp(af, timeout=U32_MAX // HZ)),
        gives(
            "a time-out past 32 bits of ticks",
            tcp(af, timeout=U32_MAX // HZ + 1),
            tcp(af, timeout=0),
        ),
        gives("the largest time-out", tcp(af, timeout=U32_MAX), tcp(af, timeout=U32_MAX // HZ - 1)),
        gives(
            "persistence engine",
            tcp(af, 5060, protocol=UDP, flags=PERSISTENT, timeout=60, pe="sip"),
        ),
        gives("persistence engine on TCP without persistence", tcp(af, pe="sip")),
        *(
            refused(f"new service: scheduler {name!r}", number, new(tcp(af, scheduler=name)))
            for name, number in (
                ("", errno.ENOENT),
                ("bogus", errno.ENOENT),
                ("WLC", errno.ENOENT),
                ("wlc ", errno.ENOENT),
                ("twos", errno.ENOENT),  # since 5.11, but Debian builds none for 6.1
                ("n" * 15, errno.ENOENT),
                ("n" * 16, errno.EINVAL),
                ("n" * 17, errno.EINVAL),
                ("\N{LATIN SMALL LETTER E WITH ACUTE}" * 7, errno.ENOENT),  # 14 bytes
                ("\N{LATIN SMALL LETTER E WITH ACUTE}" * 8, errno.EINVAL),
            )
        ),
        *(
            refused(f"new service: persistence engine {name!r}", number, new(tcp(af, pe=name)))
            for name, number in (
                ("bogus", errno.ENOENT),
                ("SIP", errno.ENOENT),
                ("n" * 16, errno.ENOENT),
                ("n" * 17, errno.EINVAL),
            )
        ),
        refused("new service: there already", errno.EEXIST, new(tcp(af)), new(web)),
        refused(
            "new service: there already, before its scheduler",
            errno.EEXIST,
            new(tcp(af, scheduler="?")),
            new(web),
        ),
        refused(
            "new service: there already, before its engine",
            errno.EEXIST,
            new(tcp(af, pe="?")),
            new(web),
        ),
        refused(
            "new service: a long name before there already",
            errno.EINVAL,
            new(tcp(af, scheduler="n" * 16)),
            new(web),
        ),
        refused(
            "new service: a long engine before there already",
            errno.EINVAL,
            new(tcp(af, pe="n" * 17)),
            new(web),
        ),
        done("new service: other port", new(other), Held(((web, ()), (other, ()))), new(web)),
        done(
            "new service: other protocol",
            new(tcp(af, protocol=UDP)),
            Held(((web, ()), (tcp(af, protocol=UDP), ()))),
            new(web),
        ),
        gives("mark", mark(5, af)),
        gives("the largest mark", mark(U32_MAX, af)),
        refused(
            "new service: mark there already",
            errno.EEXIST,
            new(mark(5, af)),
            new(mark(5, af, "rr")),
        ),
        done(
            "new service: other mark",
            new(mark(6, af)),
            Held(((mark(5, af), ()), (mark(6, af), ()))),
            new(mark(5, af)),
        ),
        gives(
            "a mark's address is nothing",
            Service(af, TCP, vip(af), 80, 9, netmask=mask(af)),
            mark(9, af),
        ),
        # SET_SERVICE
        refused("edit service: not there", errno.ESRCH, edit(web)),
        refused(
            "edit service: not there, before its scheduler",
            errno.ESRCH,
            edit(tcp(af, scheduler="?")),
            new(other),
        ),
        refused("edit service: not there, before its engine", errno.ESRCH, edit(tcp(af, pe="?"))),
        refused(
            "edit service: a long name before not there",
            errno.EINVAL,
            edit(tcp(af, scheduler="n" * 16)),
        ),
        refused("edit service: mark not there", errno.ESRCH, edit(mark(5, af)), new(web)),
        *(
            refused(
                f"edit service: scheduler {name!r}", number, edit(tcp(af, scheduler=name)), new(web)
            )
            for name, number in (
                ("", errno.ENOENT),
                ("bogus", errno.ENOENT),
                ("n" * 16, errno.EINVAL),
            )
        ),
        refused(
            "edit service: persistence engine", errno.ENOENT, edit(tcp(af, pe="bogus")), new(web)
        ),
        refused(
            "edit service: scheduler before engine",
            errno.ENOENT,
            edit(tcp(af, scheduler="?", pe="?")),
            new(web),
        ),
        *(
            done(
                f"edit service: scheduler {name}, servers stay",
                edit(tcp(af, scheduler=name)),
                only(tcp(af, scheduler=name), server(2, af=af), server(1, af=af)),
                new(web),
                add(web, server(1, af=af)),
                add(web, server(2, af=af)),
            )
            for name in SCHEDULERS
        ),
        done("edit service: nothing", edit(web), only(web), new(web)),
        done(
            "edit service: from no scheduler", edit(web), only(web), new(tcp(af, scheduler="none"))
        ),
        *(
            done(f"edit service: {what}", edit(after), only(after), new(before))
            for what, before, after in (
                (
                    "flags are replaced",
                    tcp(af, flags=PERSISTENT | SCHED1),
                    tcp(af, flags=ONE_PACKET | SCHED2),
                ),
                ("flags go", tcp(af, flags=0x3D, timeout=9), tcp(af)),
                (
                    "time-out",
                    tcp(af, flags=PERSISTENT, timeout=300),
                    tcp(af, flags=PERSISTENT, timeout=60),
                ),
                ("engine comes", tcp(af), tcp(af, pe="sip")),
                ("engine goes", tcp(af, pe="sip"), tcp(af)),
                ("mark", mark(5, af), mark(5, af, "rr")),
                ("netmask", tcp(af, netmask=24), tcp(af, netmask=32)),
            )
        ),
        # DEL_SERVICE
        refused("delete service: not there", errno.ESRCH, delete(web)),
        refused(
            "delete service: other protocol", errno.ESRCH, delete(tcp(af, protocol=UDP)), new(web)
        ),
        refused("delete service: other port", errno.ESRCH, delete(tcp(af, 81)), new(web)),
        refused("delete service: other mark", errno.ESRCH, delete(mark(6, af)), new(mark(5, af))),
        done(
            "delete service",
            delete(web),
            only(other),
            new(web),
            new(other),
            add(web, server(af=af)),
        ),
        done(
            "delete service: only its name counts",
            delete(tcp(af, scheduler="n" * 16, pe="?")),
            EMPTY,
            new(web),
        ),
        done("delete service: mark", delete(mark(5, af)), only(web), new(web), new(mark(5, af))),
        done(
            "new service: back without its servers",
            new(web),
            only(web),
            new(web),
            add(web, server(af=af)),
            delete(web),
        ),
        # ZERO, FLUSH
        refused("zero: not there", errno.ESRCH, zero(web), new(other)),
        refused("zero: mark not there", errno.ESRCH, zero(mark(5, af)), new(web)),
        done(
            "zero: service",
            zero(web),
            only(web, server(weight=7, af=af)),
            new(web),
            add(web, server(weight=7, af=af)),
        ),
        done("zero: mark", zero(mark(5, af)), only(mark(5, af)), new(mark(5, af))),
        done(
            "flush", CLEAR, EMPTY, new(web), add(web, server(af=af)), new(other), new(mark(5, af))
        ),
    ]
    return named(label, cases)


def families() -> list[Case]:
    """Return the cases of invalid families, and of both families side by side."""
    good = tcp()
    bad = [(f"family {af}", Service(af, TCP, ip("10.1.1.1"), 80)) for af in (0, 1, 7, 65535)]
    cases = [
        case
        for name, service in bad
        for case in (
            refused(f"new service: {name}", errno.EAFNOSUPPORT, new(service)),
            refused(f"edit service: {name}", errno.EAFNOSUPPORT, edit(service), new(good)),
            refused(f"delete service: {name}", errno.EAFNOSUPPORT, delete(service), new(good)),
            refused(f"zero: {name}", errno.EAFNOSUPPORT, zero(service), new(good)),
            refused(
                f"new server: service's {name}",
                errno.EAFNOSUPPORT,
                add(service, server()),
                new(good),
            ),
            refused(
                f"edit server: service's {name}",
                errno.EAFNOSUPPORT,
                alter(service, server()),
                new(good),
            ),
            refused(
                f"delete server: service's {name}",
                errno.EAFNOSUPPORT,
                remove(service, server()),
                new(good),
            ),
        )
    ]
    cases += [
        case
        for af in (1, 7, 65535)
        for given in (server(addr=ip("10.2.0.1"), af=af, weight=-1),)
        for case in (
            refused(
                f"new server: family {af} before weight",
                errno.EAFNOSUPPORT,
                add(good, given),
                new(good),
            ),
            refused(
                f"edit server: family {af} before not there",
                errno.EAFNOSUPPORT,
                alter(good, given),
                new(good),
            ),
            refused(
                f"delete server: family {af} before not there",
                errno.EAFNOSUPPORT,
                remove(good, given),
                new(good),
            ),
        )
    ]
    alien = Service(7, TCP, ip("10.1.1.1"), 80, scheduler="n" * 16)
    unknown = Service(7, fwmark=5, scheduler="?")
    four, six = mark(5), mark(5, AF_INET6)
    return [
        *cases,
        refused("new service: a long name before its family", errno.EINVAL, new(alien)),
        refused(
            "new service: a mark's family before its scheduler", errno.EAFNOSUPPORT, new(unknown)
        ),
        done(
            "new service: one mark in both families",
            new(six),
            Held(((four, ()), (six, ()))),
            new(four),
        ),
        done(
            "delete service: one mark of two families", delete(four), only(six), new(four), new(six)
        ),
        done(
            "new server: one mark of two families",
            add(six, server(af=AF_INET6)),
            Held(((four, ()), (six, (server(af=AF_INET6),)))),
            new(four),
            new(six),
        ),
        refused("edit service: mark of the other family", errno.ESRCH, edit(six), new(four)),
    ]


def netmasks() -> list[Case]:
    """Return the cases of netmasks: IPv4 takes any mask, IPv6 prefix lengths from 1 to 128; they
    are checked after the names.
    """
    four = [
        (f"v4: mask {value:#010x}", tcp(netmask=value))
        for value in (0, 0xFFFFFF00, 0x00FF00FF, 1, 0x80000000)
    ]
    right = [(f"v6: prefix {value}", tcp(AF_INET6, netmask=value)) for value in (1, 64, 127, 128)]
    wrong = [
        *(
            (f"v6: prefix {value}", tcp(AF_INET6, netmask=value))
            for value in (0, 129, 0x40000000, U32_MAX)
        ),
        *(
            (f"v6: a mark's prefix {value}", mark(5, AF_INET6, netmask=value))
            for value in (0, 129, U32_MAX)
        ),
    ]
    six = tcp(AF_INET6)
    six_mark = mark(5, AF_INET6)
    return [
        *(gives(name, service) for name, service in (*four, *right)),
        *(
            done(f"edit service: {name}", edit(service), only(service), new(tcp()))
            for name, service in four
        ),
        *(
            done(f"edit service: {name}", edit(service), only(service), new(six))
            for name, service in right
        ),
        *(refused(f"new service: {name}", errno.EINVAL, new(service)) for name, service in wrong),
        *(
            refused(f"edit service: {name}", errno.EINVAL, edit(service), new(six), new(six_mark))
            for name, service in wrong
        ),
        refused(
            "new service: v6: there already before prefix",
            errno.EEXIST,
            new(tcp(AF_INET6, netmask=0)),
            new(six),
        ),
        refused(
            "edit service: v6: not there before prefix", errno.ESRCH, edit(tcp(AF_INET6, netmask=0))
        ),
        *(
            refused(
                f"{verb.__name__} service: v6: {what} before prefix",
                errno.ENOENT,
                verb(given),
                *setup,
            )
            for verb, setup in ((new, ()), (edit, (new(six),)))
            for what, given in (
                ("scheduler", tcp(AF_INET6, scheduler="?", netmask=0)),
                ("engine", tcp(AF_INET6, pe="?", netmask=0)),
            )
        ),
    ]
