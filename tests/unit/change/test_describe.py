"""Test the description of a plan's steps in words."""

from __future__ import annotations

from typing import Any

import pytest

from pyipvsadm.change.describe import (
    MAX_EDITS,
    count_removed,
    describe_difference,
    describe_plan,
    describe_removal,
)
from pyipvsadm.change.plan import Plan, Step
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    GRE,
    MASQ,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    ONE_PACKET,
    PERSISTENT,
    SCHED1,
    SET_CONFIG,
    SET_DEST,
    SET_SERVICE,
    TCP,
    TUNNEL,
    UDP,
    Change,
    Daemon,
    Server,
    Service,
    Timeouts,
)

VIP = bytes([10, 0, 0, 1])
WEB = Service(AF_INET, TCP, VIP, 80, scheduler="rr")


def server(last: int = 1, **values: Any) -> Server:
    return Server(AF_INET, bytes([10, 0, 1, last]), 80, **{"forward": MASQ, **values})


def edit_server(**after: Any) -> Step:
    before = server(weight=3, upper=1000)
    changed = server(**{"weight": 3, "upper": 1000, **after})
    return Step(1, Change(SET_DEST, WEB, changed), Change(SET_DEST, WEB, before))


def edit_service(before: dict[str, Any], after: dict[str, Any]) -> Step:
    old, new = (
        Service(**{"af": AF_INET, "protocol": TCP, "addr": VIP, "port": 80, **values})
        for values in (before, after)
    )
    return Step(1, Change(SET_SERVICE, new), Change(SET_SERVICE, old))


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (edit_server(weight=4, upper=0), "weight 3 -> 4, upper threshold 1000 -> none"),
        (edit_server(forward=TUNNEL, tun_type=GRE), "forwarding method NAT -> tunnel, tunnel type 0 -> 2"),
        (edit_server(forward=7), "forwarding method NAT -> 7"),
        (edit_service({"scheduler": "rr"}, {"scheduler": "wrr"}), "scheduler rr -> wrr"),
        (edit_service({}, {"flags": PERSISTENT, "timeout": 60}), "timeout none -> 60 s, netmask none -> 255.255.255.255"),
        (edit_service({"af": AF_INET6, "addr": bytes(16), "flags": PERSISTENT, "timeout": 60, "netmask": 128},
                      {"af": AF_INET6, "addr": bytes(16), "flags": PERSISTENT, "timeout": 60, "netmask": 64}),
         "netmask 128 -> 64"),
        (edit_service({"scheduler": "sh"}, {"scheduler": "sh", "flags": SCHED1 | ONE_PACKET}),
         "flags none -> one-packet,sh-fallback"),
        (edit_service({}, {"pe": "sip"}), "persistence engine none -> sip"),
        (Step(0, Change(SET_CONFIG, timeouts=Timeouts(100, 120, 30)), Change(SET_CONFIG, timeouts=Timeouts(900, 120, 300))),
         "tcp timeout 900 s -> 100 s, udp timeout 300 s -> 30 s"),
        (Step(0, Change(NEW_SERVICE, WEB), Change(DEL_SERVICE, WEB)), ""),
    ],
)  # fmt: skip
def test_old_and_new_values(step: Step, text: str) -> None:
    assert describe_difference(step) == text


def remove(service: Service, *servers: Server) -> Step:
    back = [Change(NEW_DEST, service, each) for each in servers]
    return Step(0, Change(DEL_SERVICE, service), Change(NEW_SERVICE, service), *back)


def remove_server(service: Service, gone: Server) -> Step:
    return Step(0, Change(DEL_DEST, service, gone), Change(NEW_DEST, service, gone))


def test_what_a_removal_concerns() -> None:
    dns = Service(AF_INET, UDP, VIP, 53)
    steps = [
        remove(WEB, server(active=3, inactive=100), server(2, active=4)),
        remove_server(dns, server(active=1, inactive=2)),
        edit_server(weight=4),
    ]
    assert count_removed(steps) == (1, 3, 10)
    assert describe_removal(1, 3, 10) == "1 service, 3 servers; 10 active connections"
    assert describe_removal(0, 1, 1) == "1 server; 1 active connection"
    assert describe_removal(0, 0, 0) == ""


def add(service: Service, new: Server | None = None) -> Step:
    op, back = (NEW_SERVICE, DEL_SERVICE) if new is None else (NEW_DEST, DEL_DEST)
    return Step(1, Change(op, service, new), Change(back, service, new))


RAISED = Step(1, Change(SET_DEST, WEB, server(weight=2)), Change(SET_DEST, WEB, server(weight=0)))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], []),
        ([add(WEB)], ["would add -A -t 10.0.0.1:80 -s rr"]),
        ([add(WEB), add(WEB, server()), add(WEB, server(2))], ["would add 1 service, 2 servers"]),
        ([add(WEB, server()), add(WEB, server(2))], ["would add 2 servers"]),
        ([RAISED], ["-t 10.0.0.1:80 -r 10.0.1.1:80: weight 0 -> 2", "would raise 1 quiesced server"]),
        ([edit_service({"scheduler": "rr"}, {"scheduler": "wrr"})], ["-t 10.0.0.1:80: scheduler rr -> wrr"]),
        ([edit_server(weight=4)] * (MAX_EDITS + 2),
         ["-t 10.0.0.1:80 -r 10.0.1.1:80: weight 3 -> 4"] * MAX_EDITS + ["2 more edits"]),
        ([remove_server(WEB, server())], ["would delete 1 server; 0 active connections"]),
        ([Step(1, Change(NEW_DAEMON, daemon=Daemon(1)), Change(DEL_DAEMON, daemon=Daemon(1))),
          Step(1, Change(DEL_DAEMON, daemon=Daemon(2)), Change(NEW_DAEMON, daemon=Daemon(2)))],
         ["would start the master sync daemon", "would stop the backup sync daemon"]),
    ],
)  # fmt: skip
def test_a_plan_in_a_few_lines(steps: list[Step], expected: list[str]) -> None:
    plan = Plan()
    plan.phases = [steps]
    assert describe_plan(plan) == expected
