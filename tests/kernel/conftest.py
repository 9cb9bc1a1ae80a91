"""Hold the fixtures of the tests in the guest. On the host these tests are not collected: they
would change the machine's own IPVS.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.kernel import netns as namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator

GUEST = os.environ.get("IPVSADM_LAB") == "1"
REMEDY = "tests/kernel runs inside the lab: python -m tests.lab -- tests/kernel"

collect_ignore_glob = [] if GUEST else ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not GUEST:
        terminalreporter.write_line(REMEDY)


@pytest.fixture(autouse=True)
def _in_the_guest() -> None:
    """Fail if a test runs outside the guest: a file that is named on the command line is collected
    all the same.
    """
    assert GUEST, REMEDY


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """Restore the signal mask and the action of SIGPIPE after each test. Code that blocks signals
    (Environment.block_signals) does so until its process ends; here one process runs all tests and
    starts their children.
    """
    held, pipe = signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.getsignal(signal.SIGPIPE)
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, held)
    signal.signal(signal.SIGPIPE, pipe)


@pytest.fixture
def netns(_in_the_guest: None) -> Iterator[None]:
    """Enter a network namespace of the test's own: an empty IPVS table, lo up and nothing else."""
    with namespaces.kept():
        namespaces.fresh()
        yield
