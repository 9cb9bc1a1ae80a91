"""Define one fixture, `backend`: an empty table, embedded on the host, the kernel's in the lab."""

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
    """Let the embedded table count in the ticks of the kernel that it is compared with: some limits
    depend on them.
    """
    monkeypatch.setattr(memory, "HZ", HZ)
