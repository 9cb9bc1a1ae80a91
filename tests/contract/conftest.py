"""One fixture, `backend`: an empty table of the kind that this run is about."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from pyipvsadm import memory
from tests.contract.backends import HZ, LAB, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyipvsadm.model import Backend


@pytest.fixture(scope="session", autouse=True)
def _modules_of_every_namespace() -> None:
    """Load the two schedulers that keep something per network namespace before the first namespace goes.

    Loaded on demand, by NEW_SERVICE, they can lock the kernel for good: the request holds the mutex of IPVS and waits for
    the module, the module for the end of a namespace, that end (ip_vs_ctl.c: ip_vs_dst_event) for the mutex.
    """
    if LAB:
        subprocess.run(["modprobe", "-a", "ip_vs_lblc", "ip_vs_lblcr"], check=True)


@pytest.fixture
def backend() -> Iterator[Backend]:
    with opened() as table:
        yield table


@pytest.fixture(autouse=True)
def _same_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded table beside the kernel's counts in that kernel's ticks: some limits follow from them."""
    monkeypatch.setattr(memory, "HZ", HZ)
