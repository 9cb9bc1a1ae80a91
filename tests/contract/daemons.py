"""Make the cases of sync daemons, on lo (65536 bytes, no route to IPv6 groups) and on an interface
like those of real machines.
"""

from __future__ import annotations

import errno

from pyipvsadm.model import BACKUP, DEL_DAEMON, MASTER, NEW_DAEMON, Change, Daemon
from tests.contract.backends import NIC
from tests.contract.shorthand import (
    CLEAR,
    EMPTY,
    INT_MAX,
    U32_MAX,
    Case,
    Held,
    add,
    backup,
    config,
    done,
    master,
    new,
    refused,
    running,
    server,
    start,
    stop,
    tcp,
)

V4 = "224.0.0.81"
V6 = "ff02::81"


def ran(given: Daemon, maxlen: int) -> Daemon:
    """Return the daemon that runs after a request for `given`: defaults replace 0, and maxlen is
    the length of its messages.
    """
    group = given.group or master(group=V4).group
    return Daemon(
        given.state,
        given.interface,
        given.syncid,
        maxlen,
        group,
        given.port or 8848,
        given.ttl or 1,
    )


def daemons() -> list[Case]:
    """Return the cases of NEW_DAEMON and DEL_DAEMON, and of what these leave alone."""
    # (state, interface, group, {length requested: length that results})
    lengths = [
        (
            MASTER,
            "lo",
            V4,
            {0: 1472, 1: 1, 500: 500, 1500: 1500, 65507: 65507, 65508: 65507, 65535: 65507},
        ),
        (
            BACKUP,
            "lo",
            V4,
            {0: 65507, 1: 1024, 1023: 1024, 1024: 1024, 1400: 1400, 65507: 65507, 65535: 65507},
        ),
        (BACKUP, "lo", V6, {0: 65487, 1: 1024, 65487: 65487, 65488: 65487}),
        (MASTER, NIC, V4, {0: 1472, 9000: 9000}),
        (BACKUP, NIC, V4, {0: 1472, 9000: 9000}),
        (MASTER, NIC, V6, {0: 1452, 1: 1, 65487: 65487, 65488: 65487, 65535: 65487}),
        (BACKUP, NIC, V6, {0: 1452, 1: 1024}),
    ]
    starts = [
        ("master", master(), 1472),
        ("backup", backup(), 65507),
        *(
            (
                f"{'master' if state == MASTER else 'backup'} on {name} to {group}, length {asked}",
                given,
                held,
            )
            for state, name, group, pairs in lengths
            for asked, held in pairs.items()
            for given in (master(name, maxlen=asked, group=group, state=state),)
        ),
        *(
            (f"sync id {syncid}", master(syncid=syncid), 1472)
            for syncid in (1, 255, 300, INT_MAX, U32_MAX)
        ),
        *(
            (f"group {group}", master(group=group), 1472)
            for group in ("224.0.0.1", "239.255.255.255")
        ),
        *((f"group {group}", master(NIC, group=group), 1452) for group in ("ff02::1", "ff05::1:3")),
        *((f"port {port}", backup(port=port), 65507) for port in (1, 8849, 65535)),
        *((f"ttl {ttl}", master(ttl=ttl), 1472) for ttl in (1, 2, 255)),
        ("everything", master(NIC, 7, 1000, "ff02::99", 9999, 3), 1000),
    ]
    bad = [
        ("no interface", errno.ENODEV, master("eth9")),
        ("interface without a name", errno.ENODEV, master("")),
        ("interface, other case", errno.ENODEV, master("LO")),
        ("interface of 15 bytes", errno.ENODEV, master("n" * 15)),
        ("interface of 16 bytes", errno.EINVAL, master("n" * 16)),
        *((f"state {state}", errno.EINVAL, master(state=state)) for state in (0, 3, 4, U32_MAX)),
        ("interface before state", errno.ENODEV, master("eth9", state=3)),
        *(
            (f"group {group}", errno.EINVAL, master(group=group))
            for group in [
                "10.0.0.1",
                "0.0.0.0",
                "223.255.255.255",
                "240.0.0.1",
                "255.255.255.255",
                "::",
                "::1",
                "fe80::1",
                "fd00::1",
            ]
        ),
        ("group before interface", errno.EINVAL, master("eth9", group="10.0.0.1")),
        ("master on lo to an IPv6 group", errno.ENETUNREACH, master(group=V6)),
        ("state before the way to the group", errno.EINVAL, master(group=V6, state=3)),
    ]
    one, two = ran(master(), 1472), ran(backup(), 65507)
    both = (start(master()), start(backup()))
    web = tcp()
    return [
        *(
            done(f"daemon: {name}", start(given), running(ran(given, held)))
            for name, given, held in starts
        ),
        *(refused(f"daemon: {name}", number, start(given)) for name, number, given in bad),
        refused("daemon: none given", errno.EINVAL, Change(NEW_DAEMON)),
        refused("daemon: master runs", errno.EEXIST, start(master()), start(master())),
        refused(
            "daemon: master runs, otherwise",
            errno.EEXIST,
            start(master(syncid=7, group=V6)),
            start(master()),
        ),
        refused("daemon: backup runs", errno.EEXIST, start(backup()), *both),
        refused(
            "daemon: interface before runs", errno.ENODEV, start(master("eth9")), start(master())
        ),
        refused(
            "daemon: group before runs",
            errno.EINVAL,
            start(master(group="10.0.0.1")),
            start(master()),
        ),
        done("daemon: both, master first", start(master()), running(one, two), start(backup())),
        done("daemon: both, backup second", start(backup()), running(one, two), start(master())),
        done(
            "daemon: two groups and interfaces",
            start(backup(group=V6)),
            running(ran(master(NIC), 1472), ran(backup(group=V6), 65487)),
            start(master(NIC)),
        ),
        done(
            "daemon: services stay", start(master()), Held(((web, ()),), daemons=(one,)), new(web)
        ),
        refused("stop: none given", errno.EINVAL, Change(DEL_DAEMON)),
        refused("stop: interface of 16 bytes", errno.EINVAL, stop(master("n" * 16)), *both),
        refused("stop: no master", errno.ESRCH, stop(master())),
        refused("stop: no backup", errno.ESRCH, stop(backup()), start(master())),
        *(
            refused(f"stop: state {state}", errno.EINVAL, stop(master(state=state)), *both)
            for state in (0, 3, 4, U32_MAX)
        ),
        done("stop: master", stop(master()), running(two), *both),
        done("stop: backup", stop(backup()), running(one), *both),
        *(
            done(
                f"stop: only the state counts, {word}", stop(other), EMPTY, start(master(syncid=1))
            )
            for word, other in (
                ("no interface", master("eth9", syncid=9)),
                ("no name", master("")),
                ("no group", master(group="10.0.0.1", maxlen=1, port=1, ttl=255)),
            )
        ),
        refused("stop: twice", errno.ESRCH, stop(master()), start(master()), stop(master())),
        done(
            "daemon: again after a stop",
            start(master(syncid=2, maxlen=900)),
            running(ran(master(syncid=2), 900)),
            start(master(syncid=1)),
            stop(master()),
        ),
        done(
            "flush: daemons and time-outs stay",
            CLEAR,
            Held((), (1, 2, 3), (one, two)),
            *both,
            config(1, 2, 3),
            new(web),
            add(web, server()),
        ),
    ]
