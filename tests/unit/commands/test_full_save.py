"""Test a complete save of names that are no UTF-8: their bytes come back."""

from __future__ import annotations

from pyipvsadm import cli
from pyipvsadm.backends.memory import MemoryBackend
from tests.unit.fake_environment import FakeEnvironment, apply_all

MASTER = "--start-daemon master --mcast-interface eth\udcff --syncid 7"


def test_the_bytes_of_an_interface_come_back() -> None:
    table = MemoryBackend(interfaces={"eth\udcff"}.__contains__)
    apply_all(table, [MASTER])
    env = FakeEnvironment(table=table)
    assert cli.main(["--backend", "memory", "-S", "-n", "--full"], env) == 0
    text, stderr = env.take()
    assert stderr == ""
    assert MASTER in text
