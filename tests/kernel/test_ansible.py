"""Run Ansible for many directors, on a kernel: three network namespaces are three hosts.

Each answer of the module is tested on embedded tables (tests/unit/test_ansible.py); Ansible is slow
in the guest.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.kernel.netns import REFERENCE, run_ours
from tests.kernel.network import ip
from tests.playbook import play

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIRECTORS = {name: {"netns": name} for name in ("one", "two", "three")}
WEB = "-A -t 10.0.0.1:80 -s rr\n"
SERVER = "-a -t 10.0.0.1:80 -r 127.0.0.2:80 -m -w 1\n"


@pytest.fixture(autouse=True)
def places(netns: None) -> Iterator[None]:  # noqa: ARG001
    """Give each director a service. The namespace that Ansible runs in must stay empty."""
    ip([f"netns add {name}" for name in DIRECTORS])
    try:
        for name in DIRECTORS:
            ip(["link set lo up"], name)
            assert run_ours(["-R"], WEB.encode(), namespace=name).status == 0
        yield
        assert run_ours(["-S", "-n"]).stdout == b""
    finally:
        ip([f"netns del {name}" for name in DIRECTORS])


def tables() -> set[str]:
    """Return the tables of the three directors; a single text if they agree."""
    return {run_ours(["-S", "-n"], namespace=name).stdout.decode() for name in DIRECTORS}


def test_three_namespaces_are_three_directors(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    task = {"src": str(rules), "netns": "{{ netns }}"}
    # A bad line: every host fails with it, and nothing is changed.
    rules.write_text(WEB + SERVER + "-a -t 10.0.0.1:80 -r 127.0.0.3:80 -m -w many\n")
    bad = play(tmp_path, DIRECTORS, task)
    assert (bad.status, bad.counts("failed"), bad.counts("changed")) == (2, [1, 1, 1], [0, 0, 0]), (
        bad.output
    )
    assert len(re.findall(r"msg: .\S+/rules:3:\s+illegal\s+weight\s+specified", bad.output)) == 3, (
        bad.output
    )
    assert tables() == {WEB}
    # Check mode says what would be done, with its lines, and does nothing.
    rules.write_text(WEB + SERVER)
    tried = play(tmp_path, DIRECTORS, task, "--check", "--diff")
    assert (tried.status, tried.counts("changed"), tried.counts("failed")) == (
        0,
        [1, 1, 1],
        [0, 0, 0],
    ), tried.output
    assert tried.output.count(SERVER) == 3
    assert tables() == {WEB}
    # A run does it, and a second run finds nothing to do.
    for changed in (1, 0):
        done = play(tmp_path, DIRECTORS, task)
        assert (done.status, done.counts("changed"), done.counts("failed")) == (
            0,
            [changed] * 3,
            [0, 0, 0],
        ), done.output
        assert tables() == {WEB + SERVER}


def test_the_reference_is_named_as_another_ipvsadm(tmp_path: Path) -> None:
    """The reference knows neither --json nor --apply, and its complaint differs between kernels."""
    task = {"rules": WEB + SERVER, "executable": REFERENCE}
    done = play(tmp_path, {"one": {}}, task)
    assert (done.status, done.counts("failed"), done.counts("changed")) == (2, [1], [0]), (
        done.output
    )
    assert f"{REFERENCE} has no --apply: it is another ipvsadm than pyipvsadm's" in done.output
