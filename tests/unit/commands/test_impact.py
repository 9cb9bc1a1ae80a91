"""Test the effects on clients that dry runs print: what is read, and how much is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyipvsadm.cli import main
from tests.unit.commands.test_predict import FakeKernel
from tests.unit.fake_environment import FakeEnvironment, apply_all, lines
from tests.unit.views.test_json_document import valid

if TYPE_CHECKING:
    from pyipvsadm.model import Server, Service

RULES = (
    "-A -t 10.0.0.1:80 -s sh",
    "-a -t 10.0.0.1:80 -r 10.2.0.1:80 -m",
    "-a -t 10.0.0.1:80 -r 10.2.0.2:80 -m",
    "-a -t 10.0.0.1:80 -r 10.2.0.3:80 -m",
    "-A -t 10.0.0.2:80 -s wlc",
    "-a -t 10.0.0.2:80 -r 10.2.0.1:80 -m",
    "-A -t 10.0.0.2:0 -s rr -p 60",
    "-a -t 10.0.0.2:0 -r 10.2.0.9:0 -m",
)
# Under sh, the clients 10.3.0.1, .2 and .5 have the servers 3, 2 and 1.
CONNECTIONS = b"""\
TCP 0A030001 9C40 0A000001 0050 0A020003 0050 ESTABLISHED     800
TCP 0A030002 9C40 0A000001 0050 0A020002 0050 ESTABLISHED     800
TCP 0A030005 9C40 0A000001 0050 0A020001 0050 ESTABLISHED     800
TCP 0A030007 9C40 0A000002 0050 0A020001 0050 ESTABLISHED     800
"""
TABLE = "-t 10.0.0.1:80: 33.2% of the hash table is refused"
SHARES = "-t 10.0.0.1:80: shares of the hash table: 10.2.0.2:80 33.2% -> 0.0%"
COUNTS = "-t 10.0.0.1:80: of 3 clients now connected, 1 would be refused"


class BusyKernel(FakeKernel):
    """Give each server two active connections."""

    def read_servers(self, service: Service) -> list[Server]:
        servers = super().read_servers(service)
        for server in servers:
            server.active = 2
        return servers


def make_env(stdin: str = "", **sysctls: str) -> FakeEnvironment:
    kernel = BusyKernel(CONNECTIONS, **sysctls)
    apply_all(kernel, RULES)
    return FakeEnvironment(stdin.encode(), table=kernel)


def run(env: FakeEnvironment, words: str) -> tuple[int, str]:
    status = main(words.split(), env)
    return status, env.take()[0]


def test_one_change() -> None:
    words = "-e -t 10.0.0.1:80 -r 10.2.0.2:80 --keep -w 0 --dry-run"
    expected = ["-t 10.0.0.1:80 -r 10.2.0.2:80: weight 1 -> 0", TABLE, SHARES]
    assert run(make_env(), words) == (0, lines(*(f"dry run: {line}" for line in expected)))
    assert run(make_env(), f"{words}=clients") == (
        0,
        lines(*(f"dry run: {line}" for line in [*expected, COUNTS])),
    )


def test_apply() -> None:
    text = lines(*RULES[:2], f"{RULES[2]} -w 0", RULES[3])
    for option, counts in (("", []), ("=clients", [COUNTS])):
        status, out = run(make_env(text), f"--apply --dry-run{option}")
        assert status == 1
        assert [line[2:] for line in out.splitlines() if line.startswith("# ")] == [
            "  weight 1 -> 0",
            TABLE,
            SHARES,
            *counts,
        ]
    impact = valid(run(make_env(text), "--apply --dry-run=clients --json")[1])["impact"]
    (service,) = impact["services"]
    assert service["table"] == {
        "total": 256, "refused": 85, "moved": 0, "between": 0, "regained": 0,
    }  # fmt: skip
    assert service["clients"] == {
        "clients": 3, "refused": 1, "elsewhere": 0, "bound": 0, "unknown": 0,
    }  # fmt: skip
    assert "clients" not in valid(run(make_env(text), "--apply --dry-run --json")[1])["impact"]


def test_a_refused_plan_has_no_impact() -> None:
    text = lines(*RULES[:2], "-A -t 10.0.0.9:80 -s rr", "-a -t 10.0.0.9:80 -r 224.0.0.1:80 -m")
    status, out = run(make_env(text), "--apply --force --dry-run --json")
    assert status == 255
    assert "impact" not in valid(out)


@pytest.mark.parametrize(
    ("setting", "fate"),
    [
        ("", "packets are dropped until the timeout, or until the server is added again (expire_nodest_conn is 0)"),
        ("1", "ended by the next packet at the latest (expire_nodest_conn is 1)"),
    ],
)  # fmt: skip
def test_connections_of_a_deleted_service(setting: str, fate: str) -> None:
    """The clients go to the service with port 0."""
    env = make_env(expire_nodest_conn=setting)
    status, out = run(env, "-D -t 10.0.0.2:80 --dry-run=clients")
    assert (status, out) == (
        0,
        lines(
            "dry run: would delete 1 service, 1 server; 2 active connections",
            f"dry run: -t 10.0.0.2:80: 2 active connections of removed servers: {fate}",
            "dry run: -t 10.0.0.2:80: of 1 client now connected, 1 would go to another server",
        ),
    )


def test_the_service_that_takes_clients_over_may_go_too() -> None:
    status, out = run(make_env(), "-C --dry-run=clients")
    assert status == 0
    assert "-t 10.0.0.2:80: of 1 client now connected, 1 would be refused\n" in out
    # Or change, or be new.
    text = lines("-D -t 10.0.0.2:80", "-d -t 10.0.0.2:0 -r 10.2.0.9")
    assert (
        "of 1 client now connected, 1 would be refused\n"
        in run(make_env(text), "-R --dry-run=clients")[1]
    )


def test_many_services() -> None:
    many = [f"10.1.0.{number}:80" for number in range(22)]
    text = lines(
        *(line for name in many for line in (f"-A -t {name} -s rr", f"-a -t {name} -r 10.2.0.1 -m"))
    )
    env = make_env(text)
    assert run(env, "-R")[0] == 0
    env.stdin = lines(*(f"-a -t {name} -r 10.2.0.2 -m" for name in many)).encode()
    shown = run(env, "-R --dry-run")[1].splitlines()
    assert sum("shares of the turns" in line for line in shown) == 20
    assert shown[-1] == "dry run: what it does to the clients of 2 more services is not shown"


def test_schedulers_that_tell_nothing() -> None:
    words = "-e -t 10.0.0.2:80 -r 10.2.0.1:80 --keep -w 5 --dry-run=clients"
    assert run(make_env(), words) == (
        0,
        "dry run: -t 10.0.0.2:80 -r 10.2.0.1:80: weight 1 -> 5\n",
    )
