"""One fixture, `backend`: an empty table of the kind that this run is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyipvsadm.backends import memory
from tests.contract.backends import HZ, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyipvsadm.model import Backend


@pytest.fixture
def backend() -> Iterator[Backend]:
    with opened() as table:
        yield table


@pytest.fixture(autouse=True)
def _same_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded table beside the kernel's counts in that kernel's ticks: some limits follow from
    them.
    """
    monkeypatch.setattr(memory, "HZ", HZ)
