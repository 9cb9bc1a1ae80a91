"""Test the warnings of hash schedulers, and their figures against the choice for every client."""

from __future__ import annotations

import copy
import re

import pytest

from pyipvsadm.change import moves
from pyipvsadm.model import AF_INET, SCHED1, SCHED2, TCP, Server, Service
from pyipvsadm.scheduling.build import Build
from pyipvsadm.scheduling.choice import FORMER_WEIGHT, Chooser
from pyipvsadm.scheduling.impact import assess_change

BUILD = Build()
VIP = bytes([10, 0, 0, 1])
WEB = "-t 10.0.0.1:80"


def make_service(scheduler: str, flags: int = 0, mark: int = 0) -> Service:
    if mark:
        return Service(AF_INET, fwmark=mark, scheduler=scheduler, flags=flags)
    return Service(AF_INET, TCP, VIP, 80, scheduler=scheduler, flags=flags)


def make_servers(*weights: int) -> list[Server]:
    """Return servers 10.0.0.2, .3 and so on, newest first."""
    return [
        Server(AF_INET, bytes([10, 0, 0, 2 + index]), 80, weight=weight)
        for index, weight in enumerate(weights)
    ][::-1]


def set_weight(servers: list[Server], index: int, weight: int) -> list[Server]:
    """Return copies of the servers, of which one has another weight."""
    copies = copy.deepcopy(servers)
    copies[index].weight = weight
    return copies


def describe(service: Service, servers: list[Server], last: int, deletes: bool = False) -> str:
    """Return the warning for draining 10.0.0.LAST."""
    keys = {server.key() for server in servers if server.addr[-1] == last}
    assert keys
    return moves.describe_drain(service, servers, keys, deletes, BUILD, "ipvsadm --netns blue")


def advise(flag: str) -> str:
    command = f"ipvsadm --netns blue -E {WEB} --keep -b +{flag}"
    return f"; to refuse none, give --fallback too, or first: {command}"


@pytest.mark.parametrize(
    ("scheduler", "flags", "weights", "message"),
    [
        ("sh", 0, (1,) * 4, "25.0% of the hash table is refused, none moves between the other servers"),
        ("sh", SCHED2, (3,) * 4, "10.2% of the hash table is refused, 42.6% moves between the other servers"),
        ("sh", 0, (10,) * 4, "3.1% of the hash table is refused, 51.6% moves between the other servers"),
        ("mh", 0, (1,) * 4, "25.0% of the hash table is refused, none moves between the other servers"),
        ("mh", SCHED2, (10,) * 4, "25.0% of the hash table is refused, none moves between the other servers"),
    ],
)  # fmt: skip
def test_refusals_are_announced_with_the_command_that_avoids_them(
    scheduler: str, flags: int, weights: tuple[int, ...], message: str
) -> None:
    warning = describe(make_service(scheduler, flags), make_servers(*weights), 4)
    end = advise(f"{scheduler}-fallback")
    assert warning == f"warning: {WEB} ({scheduler}): {message}{end}"


@pytest.mark.parametrize("scheduler", ["sh", "mh"])
@pytest.mark.parametrize("weight", [1, 3, 10])
@pytest.mark.parametrize("flags", [0, SCHED1])
def test_the_parts_are_those_of_a_client_in_each_bucket(
    scheduler: str, weight: int, flags: int
) -> None:
    """Clients of a /16 are refused and move as the warning says, give or take 3 % of 2,048."""
    service = make_service(scheduler, flags)
    servers = make_servers(*[weight] * 4)
    drained = set_weight(servers, 1, 0)
    former = [server.weight for server in servers]
    before = Chooser(service, servers, BUILD, former)
    after = Chooser(service, drained, BUILD, former)
    refused = between = 0
    for number in range(0, 1 << 16, 32):
        client = bytes([172, 16, number >> 8, number & 255])
        (old,) = before.choose(client, None).candidates
        new = after.choose(client, None).candidates
        refused += not new
        between += bool(new) and old not in (1, new[0])
    warning = describe(service, servers, 4)
    parts = [float(part) for part in re.findall(r"([\d.]+)%", warning)]
    expected = [100 * count / (1 << 11) for count in (refused, between) if count]
    assert parts == pytest.approx(expected, abs=3.0)
    assert ("no client is refused" in warning) == (not refused and between > 0)


@pytest.mark.parametrize(("scheduler", "part"), [("sh", "50.0%"), ("mh", "0.3%")])
def test_the_deletion_moves_clients_too(scheduler: str, part: str) -> None:
    service, servers = make_service(scheduler), make_servers(1, 1, 1, 1)
    assert f"; after the deletion, {part} has moved between them" in describe(
        service, servers, 4, True
    )
    assert "deletion" not in describe(service, servers, 4)


def test_a_deletion_alone_may_move_clients() -> None:
    """The server has weight 0 already, so that draining changes nothing."""
    warning = describe(make_service("sh"), make_servers(1, 1, 0, 1), 4, deletes=True)
    assert re.fullmatch(
        rf"warning: {WEB} \(sh\): after the deletion, [\d.]+% has moved between them", warning
    )


@pytest.mark.parametrize(
    ("service", "weights"),
    [
        (make_service("mh", SCHED1), (1, 1, 1)),  # its clients go to the others, and no other client moves
        (make_service("sh"), (1, 1, 0)),  # it has no clients
        (make_service("dh"), (1, 1, 0)),  # it has no clients
        (make_service("dh", mark=7), (1, 1, 0)),
    ],
)  # fmt: skip
def test_nothing_is_said_where_no_client_is_concerned(
    service: Service, weights: tuple[int, ...]
) -> None:
    assert describe(service, make_servers(*weights), 4) == ""


def test_the_last_server_takes_all_clients_with_it() -> None:
    for weights in ((1,), (1, 0)):
        warning = describe(make_service("sh"), make_servers(*weights), 2)
        assert warning == (
            f"warning: {WEB} (sh): no other server takes connections: new clients are refused"
        )


def test_the_weights_that_mh_remembers_are_not_known() -> None:
    warning = describe(make_service("mh"), make_servers(0, 1, 1), 4, deletes=True)
    assert warning == (
        f"warning: {WEB} (mh): not known which clients are refused or move: {FORMER_WEIGHT}"
        f"{advise('mh-fallback')}"
    )


def test_weights_before_weight_0_may_be_known() -> None:
    """The table of mh is the same whether the last weight is listed or remembered."""
    before = make_servers(3, 1, 1)
    servers = make_servers(0, 1, 1)
    key = servers[1].key()
    service = make_service("mh")
    warning = moves.describe_drain(service, servers, {key}, False, BUILD, former=before)
    changed = make_servers(0, 0, 1)
    expected = assess_change((service, servers), (service, changed), BUILD, before)
    assert expected is not None
    assert (
        f"(mh): {100 * expected.refused / expected.total:.1f}% of the hash table is refused"
        in warning
    )


def test_under_dh_another_scheduler_is_the_answer() -> None:
    (chosen,) = (  # the others have no client
        last for last in (2, 3, 4) if describe(make_service("dh"), make_servers(1, 1, 1), last)
    )
    assert describe(make_service("dh"), make_servers(1, 1, 1), chosen) == (
        f"warning: {WEB} (dh): all new clients are refused; dh has no fallback; lblc passes over weight 0:"
        f" ipvsadm --netns blue -E {WEB} --keep -s lblc"
    )
    assert describe(make_service("dh", mark=7), make_servers(1, 1, 1), 4) == (
        "warning: -f 7 (dh): 33.6% of the hash table (of the addresses that clients connect to) is refused;"
        " dh has no fallback; lblc passes over weight 0: ipvsadm --netns blue -E -f 7 --keep -s lblc"
    )


def test_what_is_assumed_of_the_kernel_is_named() -> None:
    servers = make_servers(1, 1)
    build = Build(assumed=("CONFIG_IP_VS_SH_TAB_BITS",))
    warning = moves.describe_drain(make_service("sh"), servers, {servers[0].key()}, False, build)
    assert "(assumed: the usual CONFIG_IP_VS_SH_TAB_BITS); to refuse none" in warning
    assert "first: ipvsadm -E " in warning
    other = Build(assumed=("CONFIG_IP_VS_MH_TAB_INDEX",))
    assert "assumed" not in moves.describe_drain(
        make_service("sh"), servers, {servers[0].key()}, False, other
    )


def test_a_ramp_moves_a_part_with_each_step() -> None:
    """Under sh too little weight is one bucket of 256; other schedulers have no table."""
    servers = make_servers(1, 1)
    new = make_servers(1, 1, 1)[:1]
    states = [*new, *set_weight(new, 0, 2)]
    warning = moves.describe_ramp(make_service("sh"), servers, states, BUILD)
    assert re.fullmatch(
        rf"warning: {WEB} \(sh\): each step moves a part of the hash table; by weight:"
        r" 1: \d\d\.\d%, 2: \d\d\.\d%",
        warning,
    )
    assert moves.describe_ramp(make_service("wrr"), servers, states, BUILD) == ""
