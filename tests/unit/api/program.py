"""Use the Python interface, and nothing else of the package, in a program. `make lint` checks it as
users' type checkers check theirs (mypy --strict).
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pyipvsadm

if TYPE_CHECKING:
    from collections.abc import Iterable


def balance(table: pyipvsadm.Table, weights: dict[str, int]) -> list[pyipvsadm.Server]:
    """Make a service's servers have these weights; return those that were changed."""
    address = ipaddress.ip_address("10.0.0.1")
    try:
        service: pyipvsadm.Service = table.service("tcp", address, 80)
    except pyipvsadm.RefusedError:
        service = table.add_service("tcp", address, 80, scheduler="wrr", persistence_timeout=60)
    present: dict[str, pyipvsadm.Server] = {each.address: each for each in table.servers(service)}
    changed: list[pyipvsadm.Server] = []
    for host, weight in weights.items():
        if host not in present:
            table.add_server(service, (host, 80), forwarding="masq", weight=weight)
        elif present[host].weight != weight:
            changed.append(table.edit_server(service, present[host], weight=weight))
    return changed


def describe(services: Iterable[pyipvsadm.Service], timeouts: pyipvsadm.Timeouts) -> list[str]:
    """Return a line for each service, and one for the timeouts."""
    rows = [
        f"{each.protocol} {each.address}:{each.port} {each.stats.connections}" for each in services
    ]
    return [*rows, f"tcp {timeouts.tcp} s"]


def run(backend: str) -> list[str]:
    """Use every kind of call once."""
    with pyipvsadm.open(backend) as table:
        balance(table, {"192.168.10.8": 1, "192.168.10.9": 1})
        changed = balance(table, {"192.168.10.8": 1, "192.168.10.9": 4})
        plan: pyipvsadm.Result = table.plan("-A -t 10.0.0.2:80 -s rr")
        steps: list[str] = [step.rule for step in plan.steps]
        prediction = table.predict("203.0.113.1", changed_service(table))
        counts = [len(table.services()), len(list(table.connections())), len(table.daemons())]
        weights = [str(server.weight) for server in changed]
        lines = describe(table.services(), table.timeouts())
        return [*weights, *steps, prediction.outcome, str(counts), *lines]


def changed_service(table: pyipvsadm.Table) -> tuple[str, str]:
    """Return the name of the first service."""
    first = table.services()[0]
    return str(first.protocol), f"{first.address}:{first.port}"
