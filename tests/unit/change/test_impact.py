"""Test the effect of a plan on clients: the services that it concerns, the words, the JSON."""

from __future__ import annotations

from typing import Any

import pytest

from pyipvsadm.change.clients import ClientCounts
from pyipvsadm.change.impact import (
    PlanImpact,
    ServiceImpact,
    assess_service,
    describe_impact,
    list_concerned,
    make_record,
)
from pyipvsadm.change.plan import Step
from pyipvsadm.model import (
    AF_INET,
    DEL_DEST,
    DEL_SERVICE,
    NEW_DEST,
    NEW_SERVICE,
    SCHED1,
    SCHED2,
    SET_CONFIG,
    SET_DEST,
    SET_SERVICE,
    TCP,
    UDP,
    Change,
    Server,
    Service,
    Timeouts,
)
from pyipvsadm.scheduling.build import Build
from pyipvsadm.scheduling.choice import FORMER_WEIGHT, MH_FULL

BUILD = Build(counts_total=True)


def service(scheduler: str, flags: int = 0, protocol: int = TCP) -> Service:
    return Service(AF_INET, protocol, bytes([10, 0, 0, 1]), 80, scheduler=scheduler, flags=flags)


def servers(*weights: int | None, **values: Any) -> list[Server]:
    """Return servers 1, 2 and on, newest first, without those whose weight is None."""
    return [
        Server(AF_INET, bytes([10, 2, 0, number]), 80, weight=weight, **values)
        for number, weight in enumerate(weights, 1)
        if weight is not None
    ][::-1]


def describe(
    before: tuple[Service, list[Server]],
    after: tuple[Service, list[Server]] | None,
    expires: bool = False,
) -> list[str]:
    found = PlanImpact([assess_service(before, after, BUILD)], 0, expires)
    prefix = "-t 10.0.0.1:80: "
    lines = describe_impact(found)
    assert all(line.startswith(prefix) for line in lines)
    return [line.removeprefix(prefix) for line in lines]


# 256 buckets in turns of 10, from the newest server on; after that in turns of 10 and one of 1.
SHARES_OF_10 = "10.2.0.1:80 23.4% -> 31.2%, 10.2.0.2:80 23.4% -> 0.0%, 10.2.0.3:80 25.8% -> 31.2%, 10.2.0.4:80 27.3% -> 34.4%"
KEPT = "the hash table itself stays: "


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ((service("sh"), servers(1, 1, 1, 1)), (service("sh"), servers(1, 0, 1, 1)), [
            "25.0% of the hash table is refused",
            "shares of the hash table: 10.2.0.2:80 25.0% -> 0.0%",
        ]),
        ((service("sh"), servers(10, 10, 10, 10)), (service("sh"), servers(10, 0, 10, 10)), [
            "3.1% of the hash table is refused, 73.4% moves (50.8% from servers that still take clients)",
            f"shares of the hash table: {SHARES_OF_10}",
        ]),
        ((service("sh"), servers(1, 0)), (service("sh"), servers(1, 1)), [
            "50.0% of the hash table is no longer refused",
            "shares of the hash table: 10.2.0.2:80 0.0% -> 50.0%",
        ]),
        ((service("sh"), servers(1, 0)), (service("sh", SCHED1), servers(1, 0)), [
            f"{KEPT}50.0% of the hash table is no longer refused",
            "shares of the hash table: 10.2.0.1:80 50.0% -> 100.0%",
        ]),
        ((service("sh"), servers(1, 1)), (service("sh", SCHED1), servers(1, 1)),
         [f"{KEPT}no part of the hash table moves or is refused"]),
        ((service("sh"), servers(1, 1)), (service("sh"), servers(1, 1, upper=9)),
         ["no part of the hash table moves or is refused"]),
        ((service("sh"), servers(1, 1)), (service("sh", SCHED2), servers(1, 1)),
         ["sh looks clients up by address and port from now on: any client may get another server"]),
        ((service("mh", SCHED2), servers(1, 1)), (service("mh"), servers(1, 1)),
         ["mh looks clients up by address alone from now on: any client may get another server"]),
        ((service("mh"), servers(1, 1)), (service("mh"), servers(1, 0)), [
            "50.0% of the hash table is refused",
            "shares of the hash table: 10.2.0.2:80 50.0% -> 0.0%",
        ]),
        ((service("mh"), servers(1, 0)), (service("mh"), servers(1, 1)), [
            f"not known which clients are refused or move: {FORMER_WEIGHT}",
            "shares of the hash table: 10.2.0.1:80 ? -> 50.0%, 10.2.0.2:80 ? -> 50.0%",
        ]),
        ((service("dh"), servers(1, 1)), (service("dh"), servers(0, 0)), ["all clients of this address are refused"]),
        ((service("dh"), servers(0, 0)), (service("dh"), servers(1, 1)),
         ["the clients of this address are no longer refused"]),
        ((service("dh"), servers(1, 1)), (service("dh"), servers(1)), ["no client of this address moves or is refused"]),
        ((service("dh"), servers(1, 1)), (service("dh"), servers(None, 1)),
         ["all clients of this address move to another server"]),
        ((service("rr"), servers(1, 1)), (service("rr"), servers(1, 5)), []),
        ((service("rr"), servers(1, 1)), (service("rr"), servers(1, None, 1)),
         ["shares of the turns: 10.2.0.2:80 50.0% -> 0.0%, 10.2.0.3:80 0.0% -> 50.0%"]),
        ((service("rr"), []), (service("rr"), servers(1)), []),
        ((service("sh"), []), (service("sh"), servers(1)), ["100.0% of the hash table is no longer refused"]),
        ((service("wlc"), servers(1)), (service("sh"), servers(1)), [
            "the change of scheduler refuses new connections for a moment, and any client may get another server",
            "shares of the hash table: 10.2.0.1:80 ? -> 100.0%",
        ]),
        ((service("sh"), servers(1)), (service("wlc"), servers(1)),
         ["the change of scheduler refuses new connections for a moment, and any client may get another server"]),
        ((service("wrr"), servers(3, 1)), (service("sh"), servers(1, 1)), [
            "the change of scheduler refuses new connections for a moment, and any client may get another server",
            "shares of the turns, then of the hash table: 10.2.0.1:80 75.0% -> 50.0%, 10.2.0.2:80 25.0% -> 50.0%",
        ]),
        ((service("wlc"), servers(1, 2)), (service("wlc"), servers(2, 1)), []),
        ((service("wlc"), servers(1, 2)), None, []),
    ],
)  # fmt: skip
def test_words(
    before: tuple[Service, list[Server]],
    after: tuple[Service, list[Server]] | None,
    lines: list[str],
) -> None:
    assert describe(before, after) == lines


def test_more_servers_than_entries() -> None:
    many = [Server(AF_INET, number.to_bytes(4, "big"), 80, weight=1) for number in range(4094)]
    (line,) = describe((service("mh"), many), (service("mh"), [*many[1:], many[0]]))
    assert line == f"not known which clients are refused or move: {MH_FULL}"


def test_many_shares_are_cut() -> None:
    (line,) = describe((service("rr"), servers(*[1] * 9)), (service("rr"), servers(*[1] * 10)))
    assert line.count("->") == 8
    assert line.endswith(" and 2 more")


def test_connections_of_removed_servers() -> None:
    before = (service("wlc"), servers(1, 1, active=3, inactive=4))
    after = (service("wlc"), servers(1))
    (line,) = describe(before, after)
    assert line == (
        "3 active connections of removed servers: packets are dropped until the timeout, or until the server is added again"
        " (expire_nodest_conn is 0)"
    )
    assert describe(before, None, expires=True) == [
        "6 active connections of removed servers: ended by the next packet at the latest (expire_nodest_conn is 1)"
    ]


def test_connections_are_those_of_before() -> None:
    """A copy of the table has no connections, and a server over its threshold takes no clients."""
    before = (service("sh"), servers(1, 1, upper=4, active=4))
    assert describe(before, (service("sh"), servers(1, 1, upper=4))) == [
        "no part of the hash table moves or is refused"
    ]
    raised = describe(before, (service("sh"), servers(1, 1, upper=6)))
    assert raised[0] == "100.0% of the hash table is no longer refused"


def change(op: int, kind: Service, server: Server | None = None) -> Change:
    return Change(op, kind, server)


def step(op: int, kind: Service, server: Server | None = None, *undo: Change) -> Step:
    return Step(1, change(op, kind, server), *undo)


@pytest.mark.parametrize(
    ("steps", "concerned"),
    [
        ([Step(1, Change(SET_CONFIG, timeouts=Timeouts(1, 2, 3)))], False),
        ([step(NEW_SERVICE, service("sh")), step(NEW_DEST, service("sh"), servers(1)[0])], False),
        ([step(NEW_DEST, service("sh"), servers(1)[0])], True),
        ([step(SET_DEST, service("rr"), servers(1)[0])], True),
        ([step(SET_DEST, service("wlc"), servers(1)[0])], False),
        ([step(SET_SERVICE, service("wlc"), None, change(SET_SERVICE, service("lc")))], True),
        ([step(SET_SERVICE, service("wlc"), None, change(SET_SERVICE, service("wlc", SCHED1)))], False),
        ([step(SET_SERVICE, service("mh"), None, change(SET_SERVICE, service("mh", SCHED1)))], True),
        ([step(DEL_DEST, service("wlc"), servers(1)[0], change(NEW_DEST, service("wlc"), servers(1)[0]))], False),
        ([step(DEL_DEST, service("wlc"), servers(1)[0], change(NEW_DEST, service("wlc"), servers(1, active=1)[0]))], True),
        ([step(DEL_DEST, service("wlc"), servers(1)[0], change(NEW_DEST, service("wlc"), servers(1, inactive=1)[0]))], False),
        ([step(DEL_SERVICE, service("sh"), None, change(NEW_SERVICE, service("sh")),
               change(NEW_DEST, service("sh"), servers(1)[0]))], False),
        ([step(DEL_SERVICE, service("wlc", protocol=UDP), None, change(NEW_SERVICE, service("wlc")),
               change(NEW_DEST, service("wlc"), servers(1, inactive=1)[0]))], True),
    ],
)  # fmt: skip
def test_services_that_a_plan_concerns(steps: list[Step], concerned: bool) -> None:
    keys = [each.change.service.key() for each in steps if each.change.service is not None]
    assert list_concerned(steps) == (keys[:1] if concerned else [])
    # Each service is listed once.
    assert list_concerned(steps * 2) == list_concerned(steps)


def test_json() -> None:
    before, after = (
        (service("sh"), servers(1, 1, active=5)),
        (service("mh"), servers(1)),
    )
    found = assess_service((service("sh"), servers(1, 1)), (service("sh"), servers(1, 0)), BUILD)
    found.clients = ClientCounts(9, refused=4)
    other = assess_service(before, after, BUILD)
    third = assess_service((service("wlc"), servers(1, active=1)), None, BUILD)
    unknown = assess_service((service("mh"), servers(1, 0)), (service("mh"), servers(1, 1)), BUILD)
    assert unknown.shares is not None
    now = [unknown.shares[1].get_part(server) for server in servers(1, 1)[::-1]]
    assert now == [pytest.approx(0.5, abs=0.001)] * 2
    end = {"address": "10.2.0.1", "port": 80}
    second = {"address": "10.2.0.2", "port": 80}
    base = {"service": "-t 10.0.0.1:80", "changes_scheduler": False}
    assert make_record(PlanImpact([found, other, third, unknown], 3, expires=True)) == {
        "expire_nodest_conn": True,
        "services": [
            base
            | {
                "connections_of_removed_servers": 0,
                "table": {
                    "total": 256, "refused": 128, "moved": 0, "between": 0, "regained": 0,
                },
                "shares": [
                    end | {"before": 0.5, "after": 0.5},
                    second | {"before": 0.5, "after": 0.0},
                ],
                "clients": {"clients": 9, "refused": 4, "elsewhere": 0, "bound": 0, "unknown": 0},
            },
            {
                "service": "-t 10.0.0.1:80",
                "changes_scheduler": True,
                "connections_of_removed_servers": 5,
                "shares": [
                    end | {"before": 0.5, "after": 1.0},
                    second | {"before": 0.5, "after": 0.0},
                ],
            },
            base | {"connections_of_removed_servers": 1},
            base
            | {
                "connections_of_removed_servers": 0,
                "shares": [
                    end | {"before": None, "after": now[0]},
                    second | {"before": None, "after": now[1]},
                ],
            },
        ],
        "more_services": 3,
    }  # fmt: skip


def test_more_services_and_clients() -> None:
    found: ServiceImpact = assess_service((service("wlc"), servers(1)), None, BUILD)
    found.clients = ClientCounts(2, refused=2)
    assert describe_impact(PlanImpact([found], 1, expires=False)) == [
        "-t 10.0.0.1:80: of 2 clients now connected, 2 would be refused",
        "what it does to the clients of 1 more service is not shown",
    ]
