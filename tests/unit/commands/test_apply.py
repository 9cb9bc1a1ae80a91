"""Test --apply, --dry-run and -S --full as commands: what they read, refuse and print."""

from __future__ import annotations

import errno
import json
import os
import signal
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from pyipvsadm import cli
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.change.desired import parse_desired
from pyipvsadm.environment import Environment
from pyipvsadm.errors import OperationError, RefusedError, UsageError
from pyipvsadm.model import (
    AF_INET,
    GET_SERVICE,
    LOCAL,
    NEW_DEST,
    NEW_SERVICE,
    SCTP,
    TCP,
    Change,
    Info,
    Server,
    Service,
)
from pyipvsadm.rules.reader import parse_rules
from tests.contract.damaged import KINDS, check_damaged_files
from tests.older_python import zip_equal
from tests.unit.fake_environment import FakeEnvironment, FullWorld, apply_all, lines
from tests.unit.views.test_json_document import valid

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pyipvsadm.change.desired import DesiredTable

BEFORE = (
    "-A -t 10.0.0.1:80 -s rr",
    "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 1",
    "-a -t 10.0.0.1:80 -r 10.0.1.2:80 -m -w 1",
    "-A -u 10.0.0.1:53 -s wrr",
)
WANTED = lines(
    "# the web",
    "-A -t 10.0.0.1:80 -s wrr",
    "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 1",
    "-a -t 10.0.0.1:80 -r 10.0.1.3:80 -m -w 5 -x 9",
    "-A -f 7 -s rr",
)
PLAN = lines(
    "-A -f 7 -s rr",
    "-a -t 10.0.0.1:80 -r 10.0.1.3:80 -m -w 5 -x 9",
    "-E -t 10.0.0.1:80 -s wrr",
    "-d -t 10.0.0.1:80 -r 10.0.1.2:80",
)
DIFFERENCES = PLAN.replace("-s wrr\n", "-s wrr\n#   scheduler rr -> wrr\n")
IMPACT = lines(
    "# -t 10.0.0.1:80: the change of scheduler refuses new connections for a moment, and any client may get another server",
    "# -t 10.0.0.1:80: shares of the turns: 10.0.1.1:80 50.0% -> 16.7%, 10.0.1.2:80 50.0% -> 0.0%, 10.0.1.3:80 0.0% -> 83.3%",
)
SHOWN_PLAN = DIFFERENCES + IMPACT
UNCHECKED = "not checked, for only the kernel can tell: "


class KernelLikeBackend(MemoryBackend):
    """Hold an embedded table that the program takes for a kernel's."""

    embedded = False


class EverySchedulerBackend(KernelLikeBackend):
    """Play a kernel with every scheduler."""

    def has_scheduler(self, name: str) -> bool:
        return bool(name)


def make_env(
    *rules: str, stdin: str = WANTED, table: MemoryBackend | None = None, **options: Any
) -> FakeEnvironment:
    made = FakeEnvironment(stdin=stdin.encode(), table=table, **options)
    apply_all(made.table, rules or BEFORE)
    return made


def run(made: FakeEnvironment, words: str) -> tuple[int, str, str]:
    return (cli.main(words.split(), made), *made.take())


def saved(made: FakeEnvironment) -> str:
    return run(made, "-S -n")[1]


def test_it_brings_the_table_to_the_rules() -> None:
    made = make_env()
    assert run(made, "--apply --dry-run") == (
        1, SHOWN_PLAN, "dry run: 2 added, 1 changed, 1 removed, 1 unchanged, 1 service not in the file\n",
    )  # fmt: skip
    assert saved(made) == lines(*BEFORE)
    assert run(made, "--apply") == (
        0,
        "",
        "2 added, 1 changed, 1 removed, 1 unchanged, 1 service not in the file\n",
    )
    assert saved(made) == lines(*WANTED.splitlines()[1:4], BEFORE[3], "-A -f 7 -s rr")
    assert run(made, "--apply") == (
        0,
        "",
        "0 added, 0 changed, 0 removed, 4 unchanged, 1 service not in the file\n",
    )
    assert run(made, "--apply --dry-run") == (
        0, "", "dry run: 0 added, 0 changed, 0 removed, 4 unchanged, 1 service not in the file\n",
    )  # fmt: skip


def test_the_plan_is_rules_that_restore_takes() -> None:
    made = make_env()
    plan = run(made, "--apply --dry-run --prune")[1]
    other = make_env(stdin=plan)
    assert run(other, "-R") == (0, "", "")
    run(made, "--apply --prune")
    assert saved(other) == saved(made)


def test_a_terminal_shows_the_plan_as_a_difference() -> None:
    made = make_env()
    made.colours = True
    shown = run(made, "--apply --dry-run")[1].splitlines()
    assert [line for line in shown if not line.startswith("#")] == [
        f"\033[{colour}m{line}\033[0m"
        for colour, line in zip_equal((32, 32, 33, 31), PLAN.splitlines())
    ]
    assert [line for line in shown if line.startswith("#")] == [
        "#   scheduler rr -> wrr",
        *IMPACT.splitlines(),
    ]


@pytest.mark.parametrize(
    ("shows", "said"), [((80, 24), "-A -f 1 -s ?[31m?\n"), (None, "-A -f 1 -s \x1b[31m\u202e\n")]
)
def test_the_plan_does_not_steer_a_terminal(shows: tuple[int, int] | None, said: str) -> None:
    made = make_env(table=EverySchedulerBackend(), stdin="-A -f 1 -s \x1b[31m\u202e\n", shows=shows)
    assert run(made, "--apply --dry-run")[:2] == (1, said)


def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rules"
    path.write_text(WANTED)
    made = make_env(stdin="")
    assert run(made, f"--apply {path}")[0] == 0
    assert run(made, f"--apply={path} --dry-run")[0] == 0
    assert run(made, f"--apply --dry-run {path}")[0] == 0
    assert run(made, f"--apply {path}.no") == (
        2,
        "",
        f"cannot read {path}.no: No such file or directory\n",
    )


def test_who_types_the_rules_is_told_how_to_end_them() -> None:
    made = make_env(terminal=True)
    assert run(made, "--apply --dry-run")[2].startswith(
        "rules come from the terminal: end them with Ctrl-D on a line of its own\n"
    )


def test_what_other_services_show_to_be_good_is_not_asked() -> None:
    made = make_env(
        *BEFORE,
        "-A -f 3 -s twos",
        "-a -f 3 -r 10.0.1.3:80 -m",
        table=EverySchedulerBackend(),
        stdin=WANTED + "-A -f 9 -s twos\n",
    )
    assert UNCHECKED not in run(made, "--apply --dry-run")[2]


def test_json() -> None:
    made = make_env()
    status, out, err = run(made, "--apply --json --dry-run")
    assert (status, err) == (1, "")
    found = valid(out)
    assert [step["rule"] for step in found.pop("steps")] == PLAN.splitlines()
    assert found.pop("impact") == {
        "expire_nodest_conn": False,
        "services": [
            {
                "service": "-t 10.0.0.1:80",
                "changes_scheduler": True,
                "connections_of_removed_servers": 0,
                "shares": [
                    {"address": "10.0.1.1", "port": 80, "before": 0.5, "after": 1 / 6},
                    {"address": "10.0.1.2", "port": 80, "before": 0.5, "after": 0},
                    {"address": "10.0.1.3", "port": 80, "before": 0, "after": 5 / 6},
                ],
            }
        ],
        "more_services": 0,
    }
    assert found == {
        "format": 1, "dry_run": True, "added": 2, "changed": 1, "removed": 1, "unchanged": 1, "services_not_in_file": 1,
        "refused": [], "signal": None, "meanwhile": [], "undone": 0, "not_undone": [], "reordered": [], "unchecked": [],
    }  # fmt: skip
    made.stdin = b"-A -f 1\n-A -f 2 -s nonsense\n"
    status, out, err = run(made, "--apply --json")
    assert (status, err) == (255, "")
    assert valid(out)["refused"] == [
        {
            "line": 2,
            "rule": "-A -f 2 -s nonsense",
            "message": "Scheduler or persistence engine not found",
        }
    ]


ONLY = "only -A, -a, --set and --start-daemon lines describe a table"
BAD: list[tuple[str, str, str]] = [
    ("", "", "the input has no rule: nothing was done (--allow-empty accepts an empty input)"),
    ("", "# nothing\n\n", "the input has no rule: nothing was done (--allow-empty accepts an empty input)"),
    ("--prune", "--set 1 2 3\n", "the input has no service: --prune would delete all services (--allow-empty accepts that)"),
    ("", "-A -f 1\n-A -q\n", "line 2: -q: unknown option: '-A -q'"),
    ("", "-A -f 1\n-A -f 0\n", "line 2: invalid fwmark value `0' specified: '-A -f 0'"),
    ("", "-A -f 1\n-h\n", "line 2: --help ends the rules here: none was applied: '-h'"),
    ("", "-A -f 1\n-R\n", f"line 2: {ONLY}: '-R'"),
    ("", "\ufeff-A -f 1\n", "line 1: the file starts with a byte order mark (BOM): save it without: '?-A -f 1'"),
    ("", "-A -f 1\nword\n", f"line 2: {ONLY}: 'word'"),
    ("", "-A -f 1\n-n\n", f"line 2: {ONLY}: '-n'"),
    ("", "-A -f 1\n--sett 1 2 3\n", "line 2: --sett: unknown option: '--sett 1 2 3'"),
    ("", "--apply x\n", "line 1: --apply does not belong in rules: give it on the command line: '--apply x'"),
    ("", "-A -f 1 --dry-run\n", "line 1: --dry-run does not belong in rules: give it on the command line: '-A -f 1 --dry-run'"),
    ("", "-C\n", "line 1: only -A, -a, --set and --start-daemon lines describe a table: '-C'"),
    ("", "-L\n", "line 1: only -A, -a, --set and --start-daemon lines describe a table: '-L'"),
    ("", "-a -f 1 -r 10.0.0.9\n", "line 1: no -A line describes this service: -f 1: '-a -f 1 -r 10.0.0.9'"),
    ("", "-A -f 1\n-A -f 1 -s rr\n", "line 2: contradicts line 1 about the same service: -f 1: '-A -f 1 -s rr'"),
    ("", "-A -f 1\n-a -f 1 -r 10.0.0.9\n-a -f 1 -r 10.0.0.9 -i\n",
     "line 3: contradicts line 2 about the same server: 10.0.0.9:0: '-a -f 1 -r 10.0.0.9 -i'"),
    ("", "--set 1 2 3\n--set 1 2 4\n", "line 2: contradicts line 1 about the same setting: timeouts: '--set 1 2 4'"),
    ("", "--start-daemon master\n--start-daemon master --syncid 1\n",
     "line 2: contradicts line 1 about the same sync daemon: master: '--start-daemon master --syncid 1'"),
    ("", "-A -q\n-A -f 1\n-A -z\n", "line 1: -q: unknown option: '-A -q'\nline 3: -z: unknown option: '-A -z'"),
    ("", "-A -q\n" * 22, "".join(f"line {at}: -q: unknown option: '-A -q'\n" for at in range(1, 21)) + "and 2 more lines"),
    ("-f 9", "-A -f 1\n", "-f 9 is neither in the input nor in the table: nothing was done"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "text", "said"), BAD)
@pytest.mark.parametrize("dry", ["", " --dry-run"])
def test_bad_input_changes_nothing(words: str, text: str, said: str, dry: str) -> None:
    made = make_env(stdin=text)
    assert run(made, f"--apply {words}{dry}") == (2, "", f"{said}\n")
    assert saved(made) == lines(*BEFORE)


SAYS_IT_AGAIN: list[tuple[str, tuple[str, ...]]] = [
    ("-A -f 1\n\n-A -f 1 -s wlc\n", ("line 3: repeats line 1: skipped: '-A -f 1 -s wlc'",)),
    ("-A -f 1\n" + "-a -f 1 -r 10.0.0.9:80 -m\n-a -f 1 -r 10.0.0.9:80 -m -w 1\n",
     ("line 3: repeats line 2: skipped: '-a -f 1 -r 10.0.0.9:80 -m -w 1'",)),
    ("--set 1 2 3\n--set 1 2 3\n", ("line 2: repeats line 1: skipped: '--set 1 2 3'",)),
    ("--start-daemon master\n--start-daemon master\n",
     ("line 2: repeats line 1: skipped: '--start-daemon master'",)),
    ("-A -f 1\n" * 23, (*(f"line {at}: repeats line 1: skipped: '-A -f 1'" for at in range(2, 22)),
                        "and 2 more lines")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), SAYS_IT_AGAIN)
def test_a_line_that_says_the_same_again_is_passed_over(text: str, said: tuple[str, ...]) -> None:
    made, once = FakeEnvironment(), FakeEnvironment()
    assert vars_of(parse_desired(text.encode(), made)) == vars_of(
        parse_desired("".join(dict.fromkeys(text.splitlines(True))).encode(), once)
    )
    assert made.stderr == ""
    assert run(make_env(stdin=text), "--apply --dry-run")[2].startswith(lines(*said))


def vars_of(found: DesiredTable) -> tuple[object, ...]:
    services = [
        (key, wanted.line, wanted.service, wanted.servers) for key, wanted in found.services.items()
    ]
    return (services, found.daemons, found.timeouts)


def test_the_doublet_does_not_stop_an_apply() -> None:
    made = make_env(stdin=WANTED + WANTED)
    status, out, err = run(made, "--apply --json")
    assert (status, json.loads(out)["added"]) == (0, 2)
    assert err.startswith("line 7: repeats line 2: skipped: ")


# (of how many servers, how many stay, how many come): whether it takes --force
MOST = [
    (1, 1, 0, False), (1, 1, 3, False), (1, 0, 0, True), (1, 0, 1, True), (2, 1, 0, False), (2, 0, 0, True), (2, 0, 2, True),
    (3, 2, 0, False), (3, 1, 0, True), (3, 1, 9, True), (4, 2, 0, False), (4, 1, 0, True), (100, 50, 0, False),
    (100, 49, 0, True), (0, 0, 0, False), (0, 0, 2, False),
]  # fmt: skip


def with_servers(mark: int, *servers: int) -> list[str]:
    return [
        f"-A -f {mark} -s rr",
        *(f"-a -f {mark} -r 10.0.{server >> 8}.{server & 255}:80 -m -w 1" for server in servers),
    ]


@pytest.mark.parametrize(("have", "stay", "come", "refused"), MOST)
def test_most_of_a_service_s_servers_go_by_force_only(
    have: int, stay: int, come: int, refused: bool
) -> None:
    before = with_servers(1, *range(1, have + 1))
    made = make_env(
        *before, stdin=lines(*with_servers(1, *range(1, stay + 1), *range(501, 501 + come)))
    )
    said = f"more than half of a service's servers would go ({have - stay} of {have} of -f 1), as with a file cut short"
    status, _, err = run(made, "--apply --dry-run")
    assert status == (1 if have - stay or come else 0)
    assert (
        err.startswith(
            f"{said}; without --force this ends with status 2, and nothing is done\ndry run: "
        )
        == refused
    )
    status, out, err = run(made, "--apply --json")
    if refused:
        message = f"{said}; add --force if you mean it (nothing was done)"
        assert (status, err) == (2, f"{message}\n")
        assert json.loads(out) == {"format": 1, "error": {"code": "usage", "message": message}}
        assert saved(made) == lines(*before)
        assert run(made, "--apply --force --dry-run")[2].startswith("dry run: ")
        assert run(made, "--apply --force")[0] == 0
    else:
        assert (status, err) == (0, "")
    assert saved(made).count("-a ") == stay + come


def test_a_damaged_file_takes_no_more_than_is_promised() -> None:
    made = FakeEnvironment()

    def ask(words: str, text: bytes) -> tuple[int, str]:
        made.stdin = text
        return run(made, words)[:2]

    seen = check_damaged_files(ask, 100)
    assert sum(seen.values()) == 200
    for kind in KINDS[1:]:
        assert seen[f"{kind}: refused"], kind


def test_a_few_services_are_named_and_the_rest_counted() -> None:
    before = [line for mark in range(1, 6) for line in with_servers(mark, 1, 2)]
    left = [line for mark in range(1, 6) for line in with_servers(mark)]
    made = make_env(*before, stdin=lines(*left))
    named = ", ".join(f"2 of 2 of -f {mark}" for mark in (1, 2, 3))
    assert f"({named}, and of 2 more services)" in run(made, "--apply")[2]
    made.stdin = lines(*left[1:], before[0], before[1]).encode()
    assert (
        f"({named.replace('-f 3', '-f 4').replace('-f 2', '-f 3').replace('-f 1', '-f 2')}, and of 1 more service)"
        in (run(made, "--apply")[2])
    )


def test_only_services_that_are_named_are_guarded() -> None:
    """--prune itself says that the other services may be deleted; with services on the command line
    the rest of the table is not examined.
    """
    made = make_env(
        *with_servers(1, 1, 2),
        *with_servers(2, 1, 2),
        stdin=lines(*with_servers(1), *with_servers(2, 1, 2)),
    )
    assert run(made, "--apply -f 2")[0] == 0
    assert run(made, "--apply -f 1")[0] == 2
    made.stdin = lines(*with_servers(1, 1, 2)).encode()
    assert run(made, "--apply --prune")[0] == 0
    assert saved(made) == lines(*with_servers(1, 1, 2))


def test_the_order_of_lines_does_not_matter() -> None:
    found = parse_desired(b"-a -f 1 -r 10.0.0.9\n-A -f 1 -s rr\n", FakeEnvironment())
    ((wanted),) = found.services.values()
    assert (wanted.line, wanted.service.scheduler, len(wanted.servers)) == (2, "rr", 1)


@pytest.mark.parametrize(
    ("words", "text", "left"),
    [
        ("--prune --allow-empty", "", ""),
        ("--prune --allow-empty", "--set 1 2 3\n", ""),
        ("--allow-empty", "", lines(*BEFORE)),
        ("--prune", "-A -f 1 -s rr\n", "-A -f 1 -s rr\n"),
        ("--prune -u 10.0.0.1:53", "-A -f 1 -s rr\n", lines(*BEFORE[:3])),
        ("-t 10.0.0.1:80 -f 7", WANTED + "-A -f 8\n", None),
    ],
)
def test_what_goes(words: str, text: str, left: str | None) -> None:
    made, plain = make_env(stdin=text), make_env()
    assert run(made, f"--apply {words}")[0] == 0
    if left is None:
        run(plain, "--apply")
        left = saved(plain)
    assert saved(made) == left


@pytest.mark.parametrize(
    ("running", "interfaces", "said"),
    [
        ({"keepalived", "bash"}, (), "keepalived is running"),
        ({"ldirectord [10.0"}, (), "ldirectord is running"),
        (
            {"kube-proxy"},
            ("kube-ipvs0",),
            "kube-proxy is running and there is an interface kube-ipvs0",
        ),
        (set(), ("kube-ipvs0",), "there is an interface kube-ipvs0"),
    ],
)
def test_prune_asks_where_a_manager_is(
    running: set[str], interfaces: Iterable[str], said: str
) -> None:
    made = make_env(table=KernelLikeBackend(), stdin="-A -f 1 -s rr\n")
    made.running, made.interfaces = running, set(interfaces)
    said += ": --prune may delete services that are not yours"
    assert run(made, "--apply --prune") == (
        2,
        "",
        f"{said}; add --force if you mean it (nothing was done)\n",
    )
    assert saved(made) == lines(*BEFORE)
    assert run(made, "--apply --prune --dry-run")[2].startswith(
        f"{said}; without --force this ends with status 2, and nothing is done\n"
    )
    assert run(made, "--apply")[0] == 0
    assert run(made, "--apply --prune --force")[0] == 0
    assert saved(made) == "-A -f 1 -s rr\n"


@pytest.mark.parametrize(
    ("table", "running"), [(KernelLikeBackend(), "bash"), (MemoryBackend(), "keepalived")]
)
def test_prune_asks_nobody_where_no_manager_is(table: MemoryBackend, running: str) -> None:
    """The embedded table has no manager."""
    made = make_env(table=table)
    made.running = {running}
    assert run(made, "--apply --prune")[0] == 0


def test_keep_weights() -> None:
    made = make_env(stdin=lines(*BEFORE).replace("-w 1", "-w 9"))
    assert run(made, "--apply --keep-weights")[2] == "0 added, 0 changed, 0 removed, 4 unchanged\n"
    assert run(made, "--apply")[2] == "0 added, 2 changed, 0 removed, 2 unchanged\n"


def test_a_refusal_that_can_be_foreseen_sends_nothing() -> None:
    made = make_env(stdin=WANTED + "-A -f 9 -s nonsense\n")
    said = "line 6: Scheduler or persistence engine not found: '-A -f 9 -s nonsense'\n"
    assert run(made, "--apply --dry-run")[2].startswith(said)
    assert run(made, "--apply") == (255, "", f"{said}refused: the table is as before\n")
    assert saved(made) == lines(*BEFORE)


class Refusing(KernelLikeBackend):
    """Play a kernel that lacks a scheduler."""

    def has_scheduler(self, name: str) -> bool:
        return name != "lack"


def test_a_refusal_by_the_kernel_is_undone() -> None:
    made = make_env(table=Refusing(), stdin=WANTED + "-A -f 9 -s lack\n")
    status, out, err = run(made, "--apply --dry-run")
    assert (status, out) == (1, SHOWN_PLAN.replace("-s rr\n", "-s rr\n-A -f 9 -s lack\n", 1))
    assert err == (
        "dry run: 3 added, 1 changed, 1 removed, 1 unchanged, 1 service not in the file\n"
        f"{UNCHECKED}scheduler lack\n{UNCHECKED}type of address 10.0.1.3\n"
    )
    assert run(made, "--apply") == (
        255, "", lines(
            "line 6: Scheduler or persistence engine not found: '-A -f 9 -s lack'",
            "refused: the table is as before (2 undone)",
        ),
    )  # fmt: skip
    assert saved(made) == lines(*BEFORE)


def test_what_stands_is_said_exactly() -> None:
    class Stuck(Refusing):
        tries = 0

        def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
            self.tries += 1
            return super().apply(changes) if self.tries < 3 else [(0, errno.EPERM)]

    table = Stuck()
    made = make_env("-A -f 1", table=table, stdin="-A -f 1\n-A -f 2\n-A -f 9 -s lack\n")
    table.tries = 1
    assert run(made, "--apply") == (
        255, "", lines(
            "line 3: Scheduler or persistence engine not found: '-A -f 9 -s lack'",
            "not undone: -A -f 2 -s wlc: Permission denied (you must be root)",
            "refused: 0 of the changes before it were undone, 1 were not",
        ),
    )  # fmt: skip


class Raced(KernelLikeBackend):
    """Play a kernel to which other programs send a change before each of our batches."""

    def __init__(self) -> None:
        super().__init__(interfaces={"lo"}.__contains__)
        self.others: list[str] = []

    def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
        if self.others:
            found = [
                change
                for _, change in parse_rules(
                    self.others.pop(0).replace(";", "\n").encode(), FakeEnvironment()
                )
            ]
            assert super().apply(change for change in found if isinstance(change, Change)) == []
        return super().apply(changes)


V = "-t 10.0.0.1:80"
NEW = f"-a {V} -r 10.0.1.3:80 -m -w 5 -x 9"
MADE = "another program made it meanwhile, with the same settings"
OTHERWISE = "another program made it meanwhile, with other settings; it was changed"
REMOVED = "another program removed it meanwhile; it was added again"
SERVICE7 = "-A -f 7 -s rr"
# (other programs' changes before the first batch, [message, line, rule], the summary, the rules
# afterwards)
RACES = [
    pytest.param(NEW, [MADE, 4, NEW], "1 added, 1 changed, 1 removed, 2 unchanged", id="a server, as it should be"),
    pytest.param(
        f"-a {V} -r 10.0.1.3:80 -m -w 7", [OTHERWISE, 4, NEW], "1 added, 2 changed, 1 removed, 1 unchanged", id="a server",
    ),
    pytest.param("-A -f 7 -s rr", [MADE, 5, SERVICE7], "1 added, 1 changed, 1 removed, 2 unchanged", id="a service"),
    pytest.param(
        "-A -f 7 -s wlc;-a -f 7 -r 10.0.1.9 -m", [OTHERWISE, 5, SERVICE7], "1 added, 2 changed, 2 removed, 1 unchanged",
        id="another service",
    ),
    pytest.param(
        f"-D {V}", [REMOVED, 4, NEW], "4 added, 0 changed, 0 removed, 0 unchanged", id="a service goes that gets a server",
    ),
    pytest.param(f"-d {V} -r 10.0.1.2:80", [], "2 added, 1 changed, 1 removed, 1 unchanged", id="what is to go"),
]  # fmt: skip


@pytest.mark.parametrize(("others", "met", "summary"), RACES)
def test_what_another_program_did_just_before_is_read_again(
    others: str, met: list[Any], summary: str
) -> None:
    said = ["line {1}: {0}: '{2}'".format(*met)] if met else []
    table = Raced()
    made = make_env(table=table)
    table.others = [others]
    assert run(made, "--apply") == (0, "", lines(*said, f"{summary}, 1 service not in the file"))
    assert sorted(saved(made).splitlines()) == sorted([*WANTED.splitlines()[1:], BEFORE[3]])
    assert run(made, "--apply --dry-run")[0] == 0


def test_a_server_that_went_before_it_was_edited_is_made_again() -> None:
    table = Raced()
    made = make_env(
        table=table, stdin=lines(*BEFORE).replace("10.0.1.1:80 -m -w 1", "10.0.1.1:80 -m -w 9")
    )
    table.others = [f"-d {V} -r 10.0.1.1:80"]
    assert run(made, "--apply") == (
        0,
        "",
        lines(
            f"line 2: {REMOVED}: '-e {V} -r 10.0.1.1:80 -m -w 9'",
            "1 added, 0 changed, 0 removed, 3 unchanged",
        ),
    )
    assert "10.0.1.1:80 -m -w 9" in saved(made)


def test_a_daemon_that_another_program_started() -> None:
    text = "--start-daemon master --mcast-interface lo --syncid 3\n"
    for others, said in ((text, MADE), (text.replace("3", "4"), OTHERWISE)):
        table = Raced()
        made = make_env("-A -f 1", table=table, stdin=text)
        table.others = [others]
        assert run(made, "--apply") == (
            0, "", lines(f"line 1: {said}: '{text.rstrip()}'",
                         "1 added, 0 changed, 0 removed, 0 unchanged, 1 service not in the file"),
        )  # fmt: skip
        assert [daemon.syncid for daemon in table.read_daemons()] == [3]


def test_json_says_what_another_program_did() -> None:
    table = Raced()
    made = make_env(table=table)
    table.others = [NEW]
    found = json.loads(run(made, "--apply --json")[1])
    assert found["meanwhile"] == [{"line": 4, "rule": NEW, "message": MADE}]
    assert [step["rule"] for step in found["steps"]] == [
        rule for rule in PLAN.splitlines() if rule != NEW
    ]


def test_what_another_program_made_is_not_undone() -> None:
    class Lacking(Raced, Refusing):
        pass

    table = Lacking()
    made = make_env(table=table, stdin=WANTED + "-A -f 9 -s lack\n")
    # the service that the kernel refuses comes in the same phase: nothing is read again
    table.others = [""]
    assert run(made, "--apply")[0] == 255
    assert saved(made) == lines(*BEFORE)
    looks = iter((0, 0, signal.SIGTERM))
    made.meanwhile = lambda _: next(looks)
    made.stdin = WANTED.encode()
    table.others = [NEW]
    assert run(made, "--apply") == (
        143, "", lines(
            f"line 4: {MADE}: '{NEW}'",
            "TERM: nothing of this run is left (2 undone); the changes of another program are",
        ),
    )  # fmt: skip
    assert saved(made) == lines(*BEFORE[:3], NEW, BEFORE[3])


def test_who_is_always_second_gives_up() -> None:
    table = Raced()
    made = make_env(table=table, stdin=lines(*BEFORE, NEW, "-A -f 7 -s rr"))
    table.others = [
        f"-a {V} -r 10.0.1.3:80 -m -w 1",
        *[f"-d {V} -r 10.0.1.3:80", f"-a {V} -r 10.0.1.3:80 -m -w 1"] * 3,
    ]
    assert run(made, "--apply") == (
        255, "", lines(
            f"line 5: {OTHERWISE}: '{NEW}'", *[f"line 5: {REMOVED}: '-e{NEW[2:]}'", f"line 5: {OTHERWISE}: '{NEW}'"] * 2,
            f"line 5: No such destination (another program changes it again and again): '-e{NEW[2:]}'",
            "refused: nothing of this run is left (1 undone); the changes of another program are",
        ),
    )  # fmt: skip
    assert not table.others[1:]
    assert "-f 7" not in saved(made)


def test_what_cannot_be_read_again_is_refused_and_undone() -> None:
    class Deaf(Raced):
        def find_service(self, wanted: Service) -> Service:  # noqa: ARG002
            raise RefusedError(GET_SERVICE, errno.EPERM)

    table = Deaf()
    made = make_env(table=table, stdin=lines(*BEFORE, NEW))
    table.others = [NEW]
    assert run(made, "--apply") == (
        255, "", lines(
            f"line 5: Destination already exists; Permission denied (you must be root): '{NEW}'",
            "refused: the table is as before",
        ),
    )  # fmt: skip


MIXED = ("-A -f 1 -s rr", "-a -f 1 -r [fd00::1]:0 -i -w 1", "-a -f 1 -r 10.0.1.1:0 -m -w 1")


@pytest.mark.parametrize(
    ("services", "said"),
    [(1, "-f 1"), (3, "-f 1, -f 2, -f 3"), (4, "4 services")],
)
def test_another_order_of_servers_is_not_the_table_as_before(services: int, said: str) -> None:
    """Servers of another family are removed before daemons start; if a daemon is then refused, they
    come back at the head.
    """

    class Unreachable(KernelLikeBackend):
        def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
            asked = [*changes]
            return [(0, errno.ENETUNREACH)] if asked and asked[0].daemon else super().apply(asked)

    rules = [
        rule.replace("-f 1", f"-f {mark}") for mark in range(1, services + 1) for rule in MIXED
    ]
    start = "--start-daemon master --mcast-interface lo --syncid 1"
    made = make_env(*rules, table=Unreachable(interfaces={"lo"}.__contains__))
    before = saved(made)
    made.stdin = lines(*(rule for rule in rules if "fd00" not in rule), start).encode()
    assert run(made, "--apply") == (
        255, "", lines(
            f"line {2 * services + 1}: Network is unreachable: '{start}'",
            f"refused: the table is as before but for the order of servers of {said} ({services} undone)",
        ),
    )  # fmt: skip
    assert saved(made) == before  # -S sorts, so that the order does not show
    assert run(made, "-S -n --full")[1].splitlines()[1:4] == [
        MIXED[0],
        MIXED[2],
        f"{MIXED[1]} --tun-type ipip",
    ]
    found = json.loads(run(made, "--apply --json")[1])
    assert found["reordered"] == []  # it already has that order


def test_json_is_unicode_whatever_the_rules_are() -> None:
    made = make_env(table=Refusing())
    made.stdin = b"-A -f 1 -s \xff\xc3\xa4\n-A -f 2 -s lack\n"
    for words in ("--apply --json --dry-run", "--apply --json"):
        status, out, _ = run(made, words)
        assert status in (1, 255)
        assert out.isascii()
        found = json.loads(out)
        assert found["steps"][0]["rule"] == "-A -f 1 -s \\xff\u00e4"
        json.dumps(found, ensure_ascii=False).encode()  # no half of a surrogate pair
    made.stdin = b"-A -f 1 -s \xff\n"
    assert json.loads(run(made, "--apply --json --dry-run")[1])["unchecked"] == [
        f"{UNCHECKED}scheduler \\xff"
    ]


def test_a_table_that_stops_answering() -> None:
    class Silent(KernelLikeBackend):
        def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
            if any(change.service and change.service.fwmark == 7 for change in changes):
                raise OperationError("The kernel did not answer within 10 seconds")
            return super().apply(changes)

    made = make_env("-A -f 1", table=Silent())
    assert run(made, "--apply") == (
        1, "",
        "The kernel did not answer within 10 seconds; what was sent before stands: the same --apply again does the rest\n",
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("phase", "undone"),
    [
        pytest.param(1, "", id="before anything is sent"),
        pytest.param(2, " (2 undone)", id="after the additions"),
        pytest.param(3, " (3 undone)", id="after the edits"),
    ],
)
def test_a_signal_before_the_last_of_it_is_sent_undoes_the_rest(
    number: signal.Signals, phase: int, undone: str
) -> None:
    for words in ("--apply", "--apply --json"):
        made = make_env()
        looks = iter(range(1, 9))
        made.meanwhile = lambda _, looks=looks: number if next(looks) == phase else 0  # type: ignore[misc]
        status, out, err = run(made, words)
        assert status == 128 + number
        assert made.holds_signals
        assert saved(made) == lines(*BEFORE)
        if out:
            found = json.loads(out)
            assert (found["signal"], found["undone"], found["not_undone"]) == (
                number.name[3:],
                phase - 1 + (phase > 1),
                [],
            )
        else:
            assert err == f"{number.name[3:]}: the table is as before{undone}\n"


def test_a_signal_whose_undoing_fails_is_told_with_what_stands() -> None:
    class Stuck(KernelLikeBackend):
        tries = 0

        def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
            self.tries += 1
            return super().apply(changes) if self.tries < 3 else [(0, errno.EPERM)]

    table = Stuck()
    made = make_env("-A -f 1 -s rr", table=table, stdin="-A -f 1 -s wlc\n-A -f 2\n")
    table.tries = 1
    looks = iter((0, signal.SIGTERM))
    made.meanwhile = lambda _: next(looks)
    assert run(made, "--apply") == (
        143, "", lines(
            "not undone: -A -f 2 -s wlc: Permission denied (you must be root)",
            "TERM: 0 of the changes before it were undone, 1 were not",
        ),
    )  # fmt: skip


class Unreadable(KernelLikeBackend):
    def read_daemons(self) -> Any:
        raise RefusedError(GET_SERVICE, errno.EPERM)


@pytest.mark.parametrize("words", ["--apply", "--apply --dry-run"])
def test_a_table_that_cannot_be_read(words: str) -> None:
    made = make_env(table=Unreadable())
    assert run(made, words) == (255, "", "Permission denied (you must be root)\n")


def test_no_table_at_all_is_no_drift(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text("nonsense\n")
    assert run(make_env(), f"--apply --dry-run --backend memory:{path}")[0] == 255
    assert run(make_env(), f"--apply --backend memory:{path}")[0] == 1
    full = FullWorld(stdin=WANTED.encode())
    assert cli.main(["--apply", "--dry-run"], full) == 255


def test_on_a_table_s_file(tmp_path: Path) -> None:
    spec = f"memory:{tmp_path / 'table'}"
    made = make_env(stdin=lines(*BEFORE))
    assert (
        run(made, f"--apply --backend {spec}")[2] == "4 added, 0 changed, 0 removed, 0 unchanged\n"
    )
    assert run(made, f"-S -n --backend {spec}")[1] == lines(*BEFORE)
    made.stdin = b"-A -f 1\n-A -f 9 -s nonsense\n"
    assert run(made, f"--apply --backend {spec}")[0] == 255
    assert run(made, f"-S -n --backend {spec}")[1] == lines(*BEFORE)


def test_the_variable_is_warned_of_where_something_is_changed() -> None:
    made = make_env(environ={"IPVSADM_BACKEND": "memory"}, root=True)
    assert "this changes the embedded table" in run(made, "--apply")[2]
    assert "this changes the embedded table" not in run(made, "--apply --dry-run")[2]


# --- dry runs of the other commands

TRIED: list[tuple[str, str, int, str]] = [
    ("-A -t 10.0.0.1:80", "", 255, "Service already exists\n"),
    ("-A -t 10.0.0.2:80", "", 0, ""),
    ("-A -t 10.0.0.2:80 -s twos", "", 0, f"{UNCHECKED}scheduler twos\n"),
    ("-A -t 10.0.0.2:80 -p --pe mine", "", 0, f"{UNCHECKED}persistence engine mine\n"),
    ("-E -t 10.0.0.2:80", "", 255, "No such service\n"),
    ("-D -t 10.0.0.1:80", "", 0, ""),
    ("-D -t 10.0.0.2:80", "", 255, "No such service\n"),
    ("-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m", "", 255, "Destination already exists\n"),
    ("-a -t 10.0.0.1:80 -r 10.0.1.9:80 -m", "", 0, f"{UNCHECKED}type of address 10.0.1.9\n"),
    ("-a -u 10.0.0.1:53 -r 10.0.1.1:53 -m", "", 0, ""),  # its address exists already
    ("-a -t 10.0.0.1:80 -r 224.0.0.1:80 -m", "", 255,
     "Invalid operation.  Possibly wrong module version, address not unicast, ...\n"),
    ("-e -t 10.0.0.1:80 -r 10.0.1.9:80 -m", "", 255, "No such destination\n"),
    ("-d -t 10.0.0.1:80 -r 10.0.1.1:80", "", 0, ""),
    ("-d -t 10.0.0.2:80 -r 10.0.1.1:80", "", 255, "Service not defined\n"),
    ("-C", "", 0, ""),
    ("-Z", "", 0, ""),
    ("-Z -f 1", "", 255, "No such service\n"),
    ("--set 1 2 3", "", 0, ""),
    ("--start-daemon master --mcast-interface lo", "", 0, f"{UNCHECKED}route for multicast by interface lo\n"),
    ("--start-daemon master --mcast-interface none9", "", 255, "No such device\n"),
    ("--stop-daemon master", "", 255, "No daemon is running\n"),
    ("-R", "-A -f 1\n-A -f 1\n-D -f 2\n-A -f 2\n", 0, "line 2: Service already exists\nline 3: No such service\n"),
    ("-R", "".join(f"-a -t 10.0.0.1:80 -r 10.9.0.{n} -m\n" for n in range(1, 6)), 0,
     f"{UNCHECKED}type of address 10.9.0.1, 10.9.0.2, 10.9.0.3 and 2 more\n"),
    ("-R", "-A -f 1\n-A -t x\n", 2, "line 2: illegal virtual server address[:port] specified\n"),
]  # fmt: skip


# The output of a dry run, by the command or, for -R, by its rules.
WOULD: dict[str, tuple[str, ...]] = {
    "-A -t 10.0.0.2:80": ("would add -A -t 10.0.0.2:80 -s wlc",),
    "-A -t 10.0.0.2:80 -s twos": ("would add -A -t 10.0.0.2:80 -s twos",),
    "-A -t 10.0.0.2:80 -p --pe mine": ("would add -A -t 10.0.0.2:80 -s wlc -p 360 --pe mine",),
    "-D -t 10.0.0.1:80": ("would delete 1 service, 2 servers; 0 active connections",),
    "-a -t 10.0.0.1:80 -r 10.0.1.9:80 -m": (
        "would add -a -t 10.0.0.1:80 -r 10.0.1.9:80 -m -w 1",
        "-t 10.0.0.1:80: shares of the turns: 10.0.1.1:80 50.0% -> 33.3%, 10.0.1.2:80 50.0% -> 33.3%, 10.0.1.9:80 0.0% -> 33.3%",
    ),
    "-a -u 10.0.0.1:53 -r 10.0.1.1:53 -m": ("would add -a -u 10.0.0.1:53 -r 10.0.1.1:53 -m -w 1",),
    "-d -t 10.0.0.1:80 -r 10.0.1.1:80": (
        "would delete 1 server; 0 active connections",
        "-t 10.0.0.1:80: shares of the turns: 10.0.1.1:80 50.0% -> 0.0%, 10.0.1.2:80 50.0% -> 100.0%",
    ),
    "-C": ("would delete 2 services, 2 servers; 0 active connections",),
    "-Z": ("would set the counters of 2 services to zero",),
    "--set 1 2 3": ("tcp timeout 900 s -> 1 s, tcpfin timeout 120 s -> 2 s, udp timeout 300 s -> 3 s",),
    "--start-daemon master --mcast-interface lo": ("would start the master sync daemon",),
    "-A -f 1\n-A -f 1\n-D -f 2\n-A -f 2\n": ("would add 2 services",),
    "".join(f"-a -t 10.0.0.1:80 -r 10.9.0.{n} -m\n" for n in range(1, 6)): (
        "would add 5 servers",
        "-t 10.0.0.1:80: shares of the turns: 10.0.1.1:80 50.0% -> 14.3%, 10.0.1.2:80 50.0% -> 14.3%, "
        + ", ".join(f"10.9.0.{n}:80 0.0% -> 14.3%" for n in range(1, 6)),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("words", "text", "status", "said"), TRIED)
def test_a_dry_run_refuses_what_the_real_run_would_and_changes_nothing(
    words: str, text: str, status: int, said: str
) -> None:
    table = KernelLikeBackend(interfaces={"lo"}.__contains__)
    made = make_env(table=table, stdin=text)
    before = run(made, "-S -n --full")
    would = lines(*(f"dry run: {line}" for line in WOULD.get(words, text and WOULD.get(text, ()))))
    assert run(made, f"{words} --dry-run") == (status, would, said)
    assert run(made, "-S -n --full") == before


def test_a_dry_run_shows_the_kernel_s_own_version() -> None:
    class Sized(KernelLikeBackend):
        def read_info(self) -> Info:
            return Info(0x010201, 99)

    assert "(size=99)" in run(make_env(table=Sized(), stdin="-L -n\n"), "-R --dry-run")[1]


def test_a_dry_run_sees_what_its_own_lines_did() -> None:
    made = make_env(stdin="-A -f 1 -s rr\n-S -n\n-L -n -f 1\n")
    status, out, _ = run(made, "-R --dry-run")
    assert status == 0
    assert "-A -f 1 -s rr\n" in out
    assert saved(made) == lines(*BEFORE)


def test_an_embedded_table_is_known_whole() -> None:
    assert run(make_env(), "-A -f 1 -s twos --dry-run") == (
        255,
        "",
        "Scheduler or persistence engine not found\n",
    )
    rule = "-a -t 10.0.0.1:80 -r 10.0.1.9:80 -m"
    would = lines(*(f"dry run: {line}" for line in WOULD[rule]))
    assert run(make_env(), "-a -t 10.0.0.1:80 -r 10.0.1.9:80 -m --dry-run") == (0, would, "")


def test_a_link_local_server_may_be_the_directors_own() -> None:
    made = make_env("-A -f 1 -6", table=KernelLikeBackend())
    assert run(made, "-a -f 1 -6 -r fe80::1 -m --dry-run") == (
        0,
        "dry run: would add -a -f 1 -6 -r [fe80::1]:0 -m -w 1\n",
        f"{UNCHECKED}type of address fe80::1\n",
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-L --dry-run", "Illegal 'dry-run' option with the 'list' command"),
        ("-S --prune", "Illegal 'prune' option with the 'save' command"),
        ("-L --full", "Illegal 'full' option with the 'list' command"),
        ("--apply x -r 10.0.0.1", "Illegal 'real-server' option with the 'apply' command"),
        ("--apply x y", "--apply takes one FILE: is it x or y?"),
        ("--apply x --dry-run=all", "illegal dry-run specified: `all' is not clients"),
        ("--undo 1 --dry-run=clients", "--dry-run=clients does not go with --undo"),
        ("--undrain -r 10.0.0.8 --dry-run=clients", "--dry-run=clients does not go with --undrain"),
        ("-C --dry-run=", "illegal dry-run specified: `' is not clients"),
        (
            "--drain -r 10.0.1.1:80 --dry-run=clients",
            "--dry-run=clients does not go with --drain: -e with -w and --dry-run=clients counts the clients",
        ),
        ("--apply x --prune --prune", "multiple 'prune' options specified"),
    ],
)
def test_combinations(words: str, said: str) -> None:
    assert run(make_env(), words) == (2, "", f"{said}\n")


# --- full saves

FULL = (
    "--set 900 120 300",
    "--start-daemon backup --mcast-interface lo --syncid 0 --sync-maxlen 1400 --mcast-group ff02::8 --mcast-port 9 --mcast-ttl 1",
    "-A -t 10.0.0.1:80 -s sh -p 60 -M 255.255.255.0 --pe sip -b sh-fallback,sh-port",
    "-a -t 10.0.0.1:80 -r 10.0.1.2:80 -g -w 1 -x 20 -y 10",
    "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -i -w 0 --tun-type gue --tun-port 6080 --tun-csum",
)


def test_a_full_save() -> None:
    made = make_env(*FULL[1:])
    assert run(made, "-S -n --full") == (0, lines(*FULL), "")
    assert (cli.run_save(["-n", "--full"], made), *made.take()) == (0, lines(*FULL), "")


def test_a_full_save_by_name() -> None:
    from tests.unit.fake_environment import FakeNames  # noqa: PLC0415

    names = FakeNames({"web": (AF_INET, bytes([10, 0, 1, 2]))}, {("http", TCP): 80})
    made = make_env("-A -t 10.0.0.1:80 -s rr", "-a -t 10.0.0.1:80 -r 10.0.1.2:80 -m", names=names)
    assert run(made, "-S --full")[1] == lines(
        FULL[0], "-A -t 10.0.0.1:http -s rr", "-a -t 10.0.0.1:http -r web:http -m -w 1"
    )


def test_what_the_grammar_cannot_say_is_named() -> None:
    made = FakeEnvironment()
    odd = Service(AF_INET, 47, b"\x0a\0\0\1", 80, scheduler="rr")
    good = Service(AF_INET, SCTP, b"\x0a\0\0\1", 80, scheduler="rr")
    made.table.apply(
        [
            Change(NEW_SERVICE, odd),
            Change(NEW_DEST, odd, Server(AF_INET, b"\x0a\0\1\1", 80)),
            Change(NEW_SERVICE, good),
            Change(NEW_DEST, good, Server(AF_INET, b"\x0a\0\1\1", 80, LOCAL)),
            Change(NEW_DEST, good, Server(AF_INET, b"\x0a\0\1\2", 80, 5)),
        ]
    )
    status, out, err = run(made, "-S -n --full")
    assert (status, out) == (
        0,
        lines(
            "--set 900 120 300",
            "# -A --xxx-service 10.0.0.1:80 -s rr",
            "# -a --xxx-service 10.0.0.1:80 -r 10.0.1.1:80 -g -w 1",
            "-A --sctp-service 10.0.0.1:80 -s rr",
            "-a --sctp-service 10.0.0.1:80 -r 10.0.1.1:80 -g -w 1",
            "# -a --sctp-service 10.0.0.1:80 -r 10.0.1.2:80 5 -w 1",
        ),
    )
    assert err == lines(
        "not saved as it is: -A --xxx-service 10.0.0.1:80 -s rr: --xxx-service: unknown option",
        "not saved as it is: -a --sctp-service 10.0.0.1:80 -r 10.0.1.1:80 -g -w 1: forward is 1, -R makes it 3",
        "not saved as it is: -a --sctp-service 10.0.0.1:80 -r 10.0.1.2:80 5 -w 1: unexpected argument 5",
    )


def test_a_save_to_a_file_rests_on_two_readings(tmp_path: Path) -> None:
    class Restless(MemoryBackend):
        embedded = False
        readings = 0

        def read_services(self, counters: bool = True) -> list[Service]:
            self.readings += 1
            return super().read_services(counters)[self.readings == 1 :]

    table = Restless()
    made = make_env(table=table)
    table.readings = 0
    assert cli.run_save(["-n", "-f", str(tmp_path / "rules")], made) == 0
    assert (tmp_path / "rules").read_text() == lines(*BEFORE)
    assert table.readings == 3


# --- colours, the machine, statuses


def test_colours_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Environment()
    monkeypatch.setattr(os, "isatty", lambda fd: fd == 1)
    real.environ = {"TERM": "xterm", "NO_COLOR": ""}
    assert real.has_colours()
    for variable in ({}, {"TERM": ""}, {"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}):
        real.environ = variable
        assert not real.has_colours()


def test_programs_and_interfaces_of_this_machine() -> None:
    real = Environment()
    with open("/proc/self/comm") as file:
        assert file.read().strip() in real.list_programs()
    assert real.has_interface("lo")
    assert not real.has_interface("none9")
    with pytest.raises(OperationError, match="cannot read /none9"):
        real.read_file("/none9")


def test_a_usage_is_two_whatever_restore_would_end_with() -> None:
    with pytest.raises(UsageError) as refused:
        parse_desired(b"-v\n", FakeEnvironment())
    assert refused.value.status == 2


@pytest.mark.parametrize("times", [1, 2])
def test_memory_of_a_large_table(tmp_path: Path, times: int) -> None:
    """A service with two servers takes 2,700 to 3,100 bytes, caches included, where the file is
    applied to an empty table, and where it is applied again.
    """
    count = 5000
    vips = [f"10.0.{number >> 8}.{number & 255}:80" for number in range(count)]
    rules = tmp_path / "rules"
    rules.write_text(
        "".join(
            lines(
                f"-A -t {vip} -s wlc",
                f"-a -t {vip} -r 10.1.{number >> 8}.{number & 255}:{8000 + number} -m -w 1",
                f"-a -t {vip} -r 10.2.{number >> 8}.{number & 255}:{8000 + number} -m -w 1",
            )
            for number, vip in enumerate(vips)
        )
    )
    peak = 0
    for _ in range(times):
        tracemalloc.start()
        try:
            words = ["--backend", f"memory:{tmp_path / 'table'}", "--apply", str(rules)]
            assert cli.main(words, FakeEnvironment()) == 0
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 3400 * count
