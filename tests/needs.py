"""What tests need of the machine."""

from __future__ import annotations

import os

import pytest


def need(lack: str) -> None:
    """Go on where nothing is lacking (""). What is, is a skip on a desk, and a failure for root and
    where CI is set.

    Root can install it, and `make test` does; a run of CI that skips shows nothing.
    """
    if not lack:
        return
    if os.environ.get("CI") or os.geteuid() == 0:
        pytest.fail(lack)
    pytest.skip(lack)
