"""Check that the work of a command grows in proportion to the table: executed lines of ours are
counted, not seconds, on embedded tables of distinct servers, in many services and in one.
"""

from __future__ import annotations

import contextlib
import errno
from itertools import compress
from typing import TYPE_CHECKING

import pytest

from pyipvsadm import cli
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.change import desired
from pyipvsadm.change.execute import execute
from pyipvsadm.change.pace import Pace
from pyipvsadm.change.plan import make_plan
from pyipvsadm.change.snapshot import read_consistent
from tests.unit.fake_environment import FakeEnvironment, FakeScreen
from tools.bench import rows
from tools.fuzz.targets import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyipvsadm.model import Change

BASE = 25  # services, or servers of one
TIMES = 4
COMMON = "10.255.255.255:80"  # a server of all services
TERMINAL = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}

COMMANDS = {
    "list": "-L -n",
    "list by name": "-L",
    "stats": "-L -n --stats",
    "pretty": "-L -n --pretty",
    "JSON": "-L -n --json",
    "a selection": f"-L -n --real-server {COMMON}",
    "save": "-S -n",
    "save in full": "-S -n --full",
    "watch": "-L -n --watch",
    "apply the same": "--apply - --prune",
    "dry run": "--apply - --prune --dry-run",
    "dry run of other weights": "--apply - --prune --dry-run",
    "clear by a file": "--apply - --prune --allow-empty",
    "check": "--check -",
    "check, by the grammar": "--check -",
    "restore, by the grammar": "-R",
    "drain a server of all": f"--drain -r {COMMON}",
    "complete a service": "--complete fish 3 ipvsadm -D -t ?",
    "complete a server": "--complete fish 6 ipvsadm -d -t 10.1.0.0:80 -r ?",
}


def make_text(times: int, many: bool) -> str:
    """Return rules of `times` services, or of one with as many servers."""
    text = rows.make_rules(rows.DISTINCT, *((times, 1) if many else (1, times)))
    services = [line.split()[2] for line in text.splitlines() if line.startswith("-A")]
    return text + "".join(f"-a -t {service} -r {COMMON} -m -w 1\n" for service in services)


def count_lines(words: list[str], text: str, status: set[int], then: str) -> int:
    """Restore a text, then run a command that reads another one."""
    env = FakeEnvironment(text.encode(), environ={"IPVSADM_BACKEND": "memory"})
    assert cli.main(["-R"], env) == 0
    env.stdin = then.encode()
    if "--allow-empty" in words:
        env.stdin = b""
    if "-R" in words:
        assert cli.main(["-C"], env) == 0
    if "--watch" in words:
        env.environ, env.shows, env.screen = TERMINAL, (80, 50), FakeScreen(env, [None, ["q"]])
    ended = []
    count = lines_of(lambda: ended.append(cli.main(words, env)))
    assert set(ended) <= status, env.stderr
    return count


@pytest.mark.parametrize("many", [True, False], ids=["services", "servers of one"])
@pytest.mark.parametrize("command", COMMANDS)
def test_work_grows_with_the_table_and_no_faster(command: str, many: bool) -> None:
    words = ["" if word == "?" else word for word in COMMANDS[command].split()]
    status = {0, 1} if command.startswith("dry run") else {0}
    # The first run imports, and works out what is needed once.
    counts = []
    for times in (1, BASE, BASE * TIMES):
        text = then = make_text(times, many)
        if command == "dry run of other weights":
            # A dry run compares the tables of hashing schedulers, for a few services.
            text = text.replace("-s wlc", "-s sh")
            then = text.replace("-w 1", "-w 2")
            assert then != text
        elif "grammar" in command:
            # The fast paths know no long options.
            then = text.replace(" -m", " --masquerading").replace(" -s ", " --scheduler ")
        counts.append(count_lines(words, text, status, then))
    _, small, large = counts
    # Sorting takes a little more than in proportion.
    assert large <= small * TIMES * 1.2 + 500, (small, large)


class RefusingBackend(MemoryBackend):
    """Refuse the service of mark 1, after everything else of a plan."""

    def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
        changes = list(changes)
        wanted = [not (change.service and change.service.fwmark) for change in changes]
        refused = [(index, errno.EPERM) for index, keep in enumerate(wanted) if not keep]
        assert not super().apply(compress(changes, wanted))
        return refused


@pytest.mark.parametrize("many", [True, False], ids=["services", "servers of one"])
def test_the_work_of_undoing_grows_with_the_plan_and_no_faster(many: bool) -> None:
    def count(times: int) -> int:
        backend = RefusingBackend()
        text = f"{make_text(times, many)}-A -f 1 -s rr\n".encode()
        wanted = desired.parse_desired(text, FakeEnvironment())
        plan = make_plan(wanted, read_consistent(backend))
        outcomes = []
        lines = lines_of(
            lambda: outcomes.append(execute(plan, backend, Pace(), contextlib.nullcontext))
        )
        assert (len(outcomes[0].refused), outcomes[0].not_undone) == (1, [])
        assert len(outcomes[0].undone) == plan.added - 1
        assert backend.read_services() == []
        return lines

    _, small, large = (count(times) for times in (1, BASE, BASE * TIMES))
    assert large <= small * TIMES * 1.2 + 500, (small, large)
