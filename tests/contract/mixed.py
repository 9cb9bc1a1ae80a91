"""Make the cases of servers whose family is not their service's."""

from __future__ import annotations

import errno

from pyipvsadm.model import BYPASS, GRE, LOCAL, MASQ, ROUTE, TUN_CSUM, TUNNEL, Server
from tests.contract.shorthand import (
    CLEAR,
    Case,
    Held,
    add,
    alter,
    backup,
    delete,
    done,
    mark,
    master,
    named,
    new,
    only,
    other,
    refused,
    remove,
    running,
    server,
    start,
    stop,
    tcp,
)


def mixed_of(label: str, af: int) -> list[Case]:
    """Return the cases of a server of the other family than its service: by tunnel only, and never
    beside a sync daemon.
    """
    web = tcp(af)
    far = server(af=other(af), forward=TUNNEL)
    near = server(2, af=af)
    held = (new(web), add(web, far))
    lo = running(master(maxlen=1472, group="224.0.0.81", port=8848, ttl=1))

    def methods(*chosen: int) -> list[Server]:
        return [server(af=other(af), forward=method) for method in chosen]

    cases = [
        done("mixed: new", add(web, far), only(web, far, near), new(web), add(web, near)),
        done(
            "mixed: new, of a mark", add(mark(5, af), far), only(mark(5, af), far), new(mark(5, af))
        ),
        done("mixed: new, other bits of the method", add(web, methods(0x0A)[0]), only(web, far), new(web)),
        *(
            refused(f"mixed: new, method {given.forward}", errno.EINVAL, add(web, given), new(web))
            for given in methods(MASQ, LOCAL, ROUTE, BYPASS, 5, 7)
        ),
        *(
            refused(f"mixed: edit to method {given.forward}", errno.EINVAL, alter(web, given), *held)
            for given in methods(MASQ, ROUTE)
        ),
        refused("mixed: method before not there", errno.EINVAL, alter(web, methods(MASQ)[0]), new(web)),
        refused("mixed: edit, not there", errno.ENOENT, alter(web, far), new(web)),
        refused("mixed: there already", errno.EEXIST, add(web, far), *held),
        refused(
            "mixed: method before weight", errno.EINVAL, add(web, server(af=other(af), forward=MASQ, weight=-1)), new(web)
        ),
        refused("mixed: weight", errno.ERANGE, add(web, server(af=other(af), forward=TUNNEL, weight=-1)), new(web)),
        done(
            "mixed: edit",
            alter(web, server(af=other(af), forward=TUNNEL, weight=5, tun=(GRE, 0, TUN_CSUM))),
            only(web, server(af=other(af), forward=TUNNEL, weight=5, tun=(GRE, 0, TUN_CSUM))),
            *held,
        ),
        done("mixed: delete", remove(web, methods(MASQ)[0]), only(web), *held),
        *(
            refused(f"mixed: beside the {word}", errno.EINVAL, add(web, far), new(web), start(daemon))
            for word, daemon in (("master", master()), ("backup", backup()))
        ),
        refused("mixed: the daemon before weight", errno.EINVAL,
                add(web, server(af=other(af), forward=TUNNEL, weight=-1)), new(web), start(master())),
        refused("mixed: edit beside a daemon, not there", errno.EINVAL, alter(web, far), new(web), start(master())),
        refused("mixed: delete beside a daemon, not there", errno.ENOENT, remove(web, far), new(web), start(master())),
        done("mixed: after the daemon", add(web, far), only(web, far), new(web), start(master()), stop(master())),
        *(
            refused(f"mixed: no {word} beside it", errno.EINVAL, start(daemon), *held)
            for word, daemon in (
                ("master", master()),
                ("backup", backup()),
                ("daemon, before its interface,", master("eth9")),
                ("daemon, before its state,", master(state=3)),
            )
        ),
        refused("mixed: no daemon beside one of two", errno.EINVAL, start(master()), *held,
                add(web, server(2, af=other(af), forward=TUNNEL)), remove(web, far)),
        done("mixed: a daemon after the server", start(master()), Held(((web, ()),), daemons=lo.daemons),
             *held, remove(web, far)),
        done("mixed: a daemon after the service", start(master()), lo, *held, delete(web)),
        done("mixed: a daemon after flush", start(master()), lo, *held, CLEAR),
        refused("mixed: a daemon after an edit", errno.EINVAL, start(master()), *held, alter(web, far)),
    ]  # fmt: skip
    return named(label, cases)
