"""Check what tests need of the machine."""

from __future__ import annotations

import os

import pytest


def need(lack: str) -> None:
    """Return if nothing is lacking (""). Otherwise skip the test; fail it for root and where CI is
    set.

    Root can install what is lacking, and `make test` does; a run of CI that skips tests proves
    nothing.
    """
    if not lack:
        return
    if os.environ.get("CI") or os.geteuid() == 0:
        pytest.fail(lack)
    pytest.skip(lack)
