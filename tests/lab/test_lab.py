"""Run the tests that need a kernel, from the host: one guest for each entry of PLAN, as many side
by side as there are processors (at least two), and one test for the verdict on each.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab import boot as booting
from tests.lab import newer
from tests.lab.boot import MEASURED, Task, boot, missing, surroundings
from tests.lab.verdict import PASSED, judge, tail
from tests.needs import need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.verdict import Left

# The test files that have a guest of their own. They take long: they start hundreds of processes,
# wait for connections or deadlines, or examine machines that do not answer. All other tests run in
# one more guest, which takes longest and starts first.
KERNEL = "tests/kernel"
APART = {
    "doctor": ["test_doctor.py"],
    "changes": [
        "test_confirm.py",
        "test_drain.py",
        "test_history.py",
        "test_ramp.py",
        "test_undo.py",
    ],
    "clusters": [
        "test_recipes.py",
        "test_failover.py",
        "test_keepalived.py",
        "test_netns.py",
        "test_ansible.py",
    ],
    "managers": ["test_cluster.py"],
    "reference": ["test_reference.py"],
}
PLAN = {
    "traffic": [
        KERNEL,
        "tests/contract",
        *(f"--ignore={KERNEL}/{file}" for files in APART.values() for file in files),
    ],
    **{name: [f"{KERNEL}/{file}" for file in files] for name, files in APART.items()},
}


@pytest.fixture(scope="session")
def guests(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Left]]]:
    """Yield the guests of the tests that were selected, started together."""
    selected = {item.name for item in request.session.items}
    need(missing())
    stop = threading.Event()
    timeout = 3600 if MEASURED[0] in os.environ else 1800
    # One guest for each processor: if two share one, packets are late, and tests of networks may
    # fail.
    with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        try:
            yield {
                name: pool.submit(
                    boot,
                    Task(name=name, pytest=["--durations=5", *arguments], timeout=timeout),
                    stopped=stop.is_set,
                )
                for name, arguments in PLAN.items()
                if f"test_guest[{name}]" in selected
            }
        finally:
            stop.set()


@pytest.mark.parametrize("name", PLAN)
def test_guest(guests: dict[str, Future[Left]], name: str) -> None:
    left = guests[name].result()
    verdict = judge(left)
    print(f"guest {name}: {verdict}")
    if verdict.kind != PASSED:
        pytest.fail(
            f"guest {name}: {verdict} (whole console: .lab/{name}.log)\n{tail(left.log)}",
            pytrace=False,
        )


def test_what_is_missing_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_KERNEL", "/no/such/kernel")
    assert "user-mode-linux" in missing()
    assert "apt-get install user-mode-linux" in missing()


def test_what_a_processor_with_more_registers_needs_is_made_on_any(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(booting, "LAB", tmp_path)
    monkeypatch.setattr(booting, "has_more_registers", lambda: True)
    for _ in range(2):  # built at first, then reused
        assert surroundings() == {"LD_PRELOAD": str(tmp_path / "registers.so")}
    ctypes.CDLL(str(tmp_path / "registers.so"))
    assert [path.name for path in tmp_path.iterdir()] == ["registers.so"]
    monkeypatch.setattr(booting, "has_more_registers", lambda: False)
    assert surroundings() == {}


def test_a_kernel_that_asks_for_another_loader(tmp_path: Path) -> None:
    loader = tmp_path / "loader"
    loader.symlink_to(Path("/lib64", newer.LOADER))
    program = tmp_path / "true"
    program.write_bytes(newer.with_loader(Path("/bin/true").read_bytes(), str(loader)))
    program.chmod(0o755)
    assert subprocess.run([program], check=False).returncode == 0
    loader.unlink()
    with pytest.raises(FileNotFoundError):
        subprocess.run([program], check=False)
