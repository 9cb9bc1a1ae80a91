"""Read and change the tables of Linux Virtual Server from Python.

    import pyipvsadm

    with pyipvsadm.open() as table:
        table.add_service("tcp", "10.0.0.1:80", scheduler="wrr")
        table.add_server(("tcp", "10.0.0.1:80"), "192.168.10.8:80", forwarding="masq", weight=3)
        for service in table.services():
            print(service.address, [server.weight for server in table.servers(service)])

Owns: the public names; programs take them from `pyipvsadm`. Must never know: how a method works.
Nothing of the package imports it.
"""

from __future__ import annotations

from pyipvsadm.api.records import (
    Connection,
    Counters,
    Daemon,
    Entry,
    Prediction,
    Result,
    Server,
    Service,
    Step,
    Timeouts,
    Tunnel,
    UndoResult,
)
from pyipvsadm.api.table import ApplyError, Table
from pyipvsadm.errors import IpvsadmError, OperationError, RefusedError, RulesError, UsageError

__all__ = [
    "ApplyError", "Connection", "Counters", "Daemon", "Entry", "IpvsadmError", "OperationError", "Prediction", "RefusedError",
    "Result", "RulesError", "Server", "Service", "Step", "Table", "Timeouts", "Tunnel", "UndoResult", "UsageError",
    "open",
]  # fmt: skip

# A table is opened by its class; `pyipvsadm.open` reads as the open() of other modules does.
open = Table  # noqa: A001
