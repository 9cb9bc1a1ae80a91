"""Test plans against a model: random changes make two tables, and a plan brings one to the rules of
the other.

The expected changes are counted independently; their effect is seen on the embedded table.
"""

from __future__ import annotations

import errno
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pyipvsadm import sorting
from pyipvsadm.addresses import format_numeric
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.change import desired, execute, plan, snapshot
from pyipvsadm.change.dry_run import DryRunTable
from pyipvsadm.change.pace import Pace
from pyipvsadm.commands import full_save
from pyipvsadm.errors import OperationError, RefusedError, UsageError
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    DEL_DEST,
    DEL_SERVICE,
    FLUSH,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    SET_CONFIG,
    SET_DEST,
    TCP,
    TUNNEL,
    Change,
    Daemon,
    ProcTable,
    Server,
    Service,
    Timeouts,
)
from pyipvsadm.rules import reader
from tests.contract import strategies
from tests.contract.backends import content, embedded
from tests.unit.fake_environment import FakeEnvironment, overview

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyipvsadm.model import Backend


def table(changes: Iterable[Change]) -> MemoryBackend:
    made = embedded()
    made.apply(changes)
    return made


def text_of(held: MemoryBackend) -> bytes:
    """Return the full save of a table; it holds what the grammar cannot express as comments."""
    found = snapshot.read_table(held)
    found.rows = sorting.sort_table(found.rows)
    return full_save.render_full_save(found, format_numeric, FakeEnvironment()).encode()


def said(held: MemoryBackend) -> tuple[bytes, MemoryBackend]:
    """Return the text of a table and the table that it describes: the same, except for what the
    grammar cannot express.
    """
    text = text_of(held)
    copy = embedded()
    for found in reader.parse_rules(text, FakeEnvironment()):
        assert isinstance(found[1], Change)
        copy.apply([found[1]])
    return text, copy


def parse_table(text: bytes) -> desired.DesiredTable:
    return desired.parse_desired(text, FakeEnvironment())


def entries(held: Backend) -> dict[Any, Any]:
    """Return all configured entries by their keys."""
    found: dict[Any, Any] = {"timeouts": vars_of(held.read_timeouts())}
    for service in held.read_services():
        found[service.key()] = snapshot.get_service_settings(service)
        for server in held.read_servers(service):
            found[service.key(), server.key()] = snapshot.server_settings(server)
    for daemon in held.read_daemons():
        found[daemon.state] = vars_of(daemon)
    return found


def vars_of(record: Timeouts | Daemon) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in record.__slots__)


def read_back(step: plan.Step) -> None:
    """Check that a step's line asks for the step, unless the grammar cannot express an entry that
    another program made.
    """
    change = step.change
    back = reader.parse_rule(1, step.format_rule().split(), FakeEnvironment())
    assert isinstance(back, Change)
    assert back.op == change.op
    for part in ("service", "server"):
        mine, theirs = getattr(change, part), getattr(back, part)
        assert (mine and mine.key()) == (theirs and theirs.key())
    assert back.timeouts == change.timeouts
    assert (back.daemon and back.daemon.state) == (change.daemon and change.daemon.state)


tables = st.builds(table, strategies.changes())


@given(tables, tables)
def test_a_plan_makes_the_table_that_is_wanted_with_the_fewest_changes(
    now: MemoryBackend, other: MemoryBackend
) -> None:
    text, goal = said(other)
    before, after = entries(now), entries(goal)
    if not goal.read_daemons():  # the running daemons are left
        after |= {key: value for key, value in before.items() if isinstance(key, int)}
    try:
        made = plan.make_plan(parse_table(text), snapshot.read_table(now), prune=True)
    except OperationError:
        assert now.read_daemons()
        assert not goal.read_daemons()
        assert any(d.af != s.af for s in goal.read_services() for d in goal.read_servers(s))
        return
    steps = [*made.iter_steps()]
    for step in steps:
        read_back(step)
    assert now.apply([step.change for step in steps]) == []
    assert entries(now) == after
    # Equal entries are not touched, a different entry is sent once. Daemons are stopped and
    # started. Servers go with their service.
    differing = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    restarted = [
        key for key in differing if isinstance(key, int) and key in before and key in after
    ]
    gone = {key for key in before if key not in after and not isinstance(key, int)}
    with_service = [key for key in gone if isinstance(key[0], tuple) and key[0] in gone]
    assert len(steps) == len(differing) + len(restarted) - len(with_service)
    assert made.added == len(after.keys() - before.keys())
    assert made.removed == len(before.keys() - after.keys())
    assert made.changed == len(differing & before.keys() & after.keys())
    assert [
        *plan.make_plan(parse_table(text), snapshot.read_table(now), prune=True).iter_steps()
    ] == []


@given(tables, tables, st.data())
def test_wherever_it_is_cut_off_the_next_plan_converges(
    now: MemoryBackend, other: MemoryBackend, data: st.DataObject
) -> None:
    text, _ = said(other)
    try:
        steps = [
            *plan.make_plan(parse_table(text), snapshot.read_table(now), prune=True).iter_steps()
        ]
    except OperationError:
        assume(False)
    cut = data.draw(st.integers(0, len(steps)))
    assert now.apply([step.change for step in steps[:cut]]) == []
    rest = [*plan.make_plan(parse_table(text), snapshot.read_table(now), prune=True).iter_steps()]
    # one more step if a daemon was stopped and not yet started: it is new then
    assert len(rest) <= len(steps) - cut + 1
    assert now.apply([step.change for step in rest]) == []
    assert [
        *plan.make_plan(parse_table(text), snapshot.read_table(now), prune=True).iter_steps()
    ] == []


@given(tables, tables)
def test_without_prune_what_is_not_named_stays(now: MemoryBackend, other: MemoryBackend) -> None:
    text, goal = said(other)
    before, after = entries(now), entries(goal)
    try:
        made = plan.make_plan(parse_table(text), snapshot.read_table(now))
    except (OperationError, UsageError):
        assume(False)
    now.apply([step.change for step in made.iter_steps()])
    names = {service.key() for service in goal.read_services()}
    of_others = {
        key: value
        for key, value in before.items()
        if isinstance(key, int) or not names & {key, key[0]}
    }
    assert entries(now) == of_others | after
    assert made.left == len(
        [service for service in now.read_services() if service.key() not in names]
    )


class RefusingBackend(MemoryBackend):
    """Refuse the change of that number, counted from 1, and carry out all others."""

    def __init__(self, held: MemoryBackend, at: int) -> None:
        super().__init__(held.interfaces)
        found = snapshot.read_table(held)
        self.load(found.rows, found.timeouts, found.daemons)
        self._at = at

    def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
        refused = []
        for index, change in enumerate(changes):
            self._at -= 1
            refused += (
                [(index, errno.EINVAL)]
                if self._at == 0
                else [(index, number) for _, number in super().apply([change])]
            )
        return refused


@given(tables, tables, st.data())
def test_after_a_refusal_the_rules_are_as_before(
    now: MemoryBackend, other: MemoryBackend, data: st.DataObject
) -> None:
    text, _ = said(other)
    try:
        made = plan.make_plan(parse_table(text), snapshot.read_table(now), prune=True)
    except OperationError:
        assume(False)
    steps = [*made.iter_steps()]
    assume(steps)
    at = data.draw(st.integers(1, len(steps)))
    stubborn = RefusingBackend(now, at)
    outcome = carry_out(made, stubborn)
    assert [step for step, _ in outcome.refused][:1] == [steps[at - 1]]
    assert outcome.not_undone == []
    assert entries(stubborn) == entries(now)


@given(tables)
def test_the_plan_of_a_table_s_own_text_is_empty(held: MemoryBackend) -> None:
    text, goal = said(held)
    assert [
        *plan.make_plan(parse_table(text), snapshot.read_table(goal), prune=True).iter_steps()
    ] == []


@given(tables)
def test_a_full_save_restores_to_the_same_bytes(held: MemoryBackend) -> None:
    text, copy = said(held)
    kept = b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(b"#"))
    assert text_of(copy) == kept
    assert content(copy).services == content(said(copy)[1]).services  # the order of servers too


def carry_out(made: plan.Plan, backend: Any, signalled: Any = lambda: 0) -> execute.Outcome:
    """Execute a plan at once, without a lock."""
    return execute.execute(made, backend, Pace(signalled), nullcontext)


# --- single cases

S = Service(AF_INET, TCP, b"\x0a\0\0\1", 80, scheduler="rr")
A = Server(AF_INET, b"\x0a\0\1\1", 80, 0)
B = Server(AF_INET, b"\x0a\0\1\2", 80, 0)
ADD_S, ADD_A, ADD_B = Change(NEW_SERVICE, S), Change(NEW_DEST, S, A), Change(NEW_DEST, S, B)
S_RULES = b"-A -t 10.0.0.1:80 -s rr\n"
A_RULES = S_RULES + b"-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m\n"


class ChangedByOthersBackend(RefusingBackend):
    """Refuse the change of that number; then another program makes changes of its own."""

    def __init__(
        self, held: MemoryBackend, at: int, others: Iterable[Change], then: int = 0
    ) -> None:
        super().__init__(held, at)
        self._others = [*others]
        self._then = then
        self.calls = 0

    def apply(self, changes: Iterable[Change]) -> list[tuple[int, int]]:
        self.calls += 1
        if self.calls == 2 and self._then:
            return [(0, self._then)]
        refused = super().apply(changes)
        if refused:
            MemoryBackend.apply(self, self._others)
            self._others = []
        return refused


HEAVY = Server(AF_INET, A.addr, 80, 0, 7)


@pytest.mark.parametrize(
    ("before", "text", "at", "others", "stands", "left"),
    [
        pytest.param(
            [], A_RULES + b"-A -f 1\n", 3, [Change(SET_DEST, S, HEAVY)],
            [("-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 1", "another program changed it meanwhile"),
             ("-A -t 10.0.0.1:80 -s rr", "another program added servers to it meanwhile")],
            [ADD_S, Change(NEW_DEST, S, HEAVY)], id="a new server that was edited meanwhile, hence its service",
        ),
        pytest.param(
            [], S_RULES + b"-A -f 1\n", 2, [ADD_B],
            [("-A -t 10.0.0.1:80 -s rr", "another program added servers to it meanwhile")],
            [ADD_S, ADD_B], id="a new service that got a server meanwhile",
        ),
        pytest.param([], S_RULES + b"-A -f 1\n", 2, [Change(FLUSH)], [], [], id="a new service that is gone meanwhile"),
        pytest.param(
            [ADD_S, ADD_A, ADD_B], A_RULES + b"-A -f 1\n", 1, [Change(DEL_SERVICE, S)], [], [], id="nothing was done yet",
        ),
    ],
)  # fmt: skip
def test_only_what_is_still_ours_is_undone(
    before: list[Change],
    text: bytes,
    at: int,
    others: list[Change],
    stands: list[tuple[str, str]],
    left: list[Change],
) -> None:
    meddled = ChangedByOthersBackend(table(before), at, others)
    outcome = carry_out(plan.make_plan(parse_table(text), snapshot.read_table(meddled)), meddled)
    assert [(step.format_rule().rstrip(), why) for step, why in outcome.not_undone] == stands
    assert entries(meddled) == entries(table(left))


def test_a_removed_service_comes_back_with_its_servers_in_their_order() -> None:
    held = table(
        [ADD_S, ADD_B, ADD_A, Change(NEW_SERVICE, Service(AF_INET, fwmark=1, scheduler="rr"))]
    )
    stubborn = RefusingBackend(held, 2)
    outcome = carry_out(
        plan.make_plan(parse_table(b""), snapshot.read_table(held), prune=True), stubborn
    )
    assert (outcome.not_undone, len(outcome.undone)) == ([], 1)
    assert content(stubborn) == content(held)


def test_time_outs_and_daemons_go_back_too() -> None:
    text = MASTER + b"--set 5 0 0\n--start-daemon backup --mcast-interface none9\n"
    held = table(
        [
            Change(SET_CONFIG, timeouts=Timeouts(1, 2, 3)),
            Change(NEW_DAEMON, daemon=Daemon(1, "lo", 7)),
        ]
    )
    before = entries(held)
    made = plan.make_plan(parse_table(text), snapshot.read_table(held), prune=True)
    assert [step.format_rule() for step in made.iter_steps()] == [
        "--set 5 2 3\n",
        "--stop-daemon master\n",
        "--start-daemon master --mcast-interface lo --syncid 0\n",
        "--start-daemon backup --mcast-interface none9 --syncid 0\n",
    ]
    outcome = carry_out(made, held)
    assert [why for _, why in outcome.refused] == ["No such device"]
    assert (outcome.not_undone, len(outcome.undone)) == ([], 3)
    assert entries(held) == before


def test_what_the_undoing_cannot_do_stands() -> None:
    meddled = ChangedByOthersBackend(embedded(), 2, [], then=errno.EPERM)
    outcome = carry_out(
        plan.make_plan(parse_table(S_RULES + b"-A -f 1\n"), snapshot.read_table(meddled)), meddled
    )
    assert [(step.line, why) for step, why in outcome.not_undone] == [
        (1, "Permission denied (you must be root)")
    ]
    assert len(outcome.undone) == 0


def test_what_goes_while_it_is_undone_does_not_stand() -> None:
    meddled = ChangedByOthersBackend(embedded(), 2, [], then=errno.ESRCH)
    outcome = carry_out(
        plan.make_plan(parse_table(S_RULES + b"-A -f 1\n"), snapshot.read_table(meddled)), meddled
    )
    assert outcome.not_undone == []


def test_what_cannot_be_read_again_is_not_undone() -> None:
    class Silent(ChangedByOthersBackend):
        def find_service(self, wanted: Service) -> Service:
            raise OperationError(f"The kernel did not answer about {wanted.port}")

    meddled = Silent(embedded(), 2, [])
    outcome = carry_out(
        plan.make_plan(parse_table(S_RULES + b"-A -f 1\n"), snapshot.read_table(meddled)), meddled
    )
    assert [(step.line, why) for step, why in outcome.not_undone] == [
        (1, "The kernel did not answer about 80")
    ]


class Counting(RefusingBackend):
    """Count what is read, and give the kernel's text, which shows the services with servers."""

    embedded = False
    has_overview = True

    def __init__(self, held: MemoryBackend, at: int) -> None:
        super().__init__(held, at)
        self.reads: Counter[str] = Counter()

    def read_services(self, counters: bool = True) -> list[Service]:
        self.reads["services"] += 1
        return super().read_services(counters)

    def find_service(self, wanted: Service) -> Service:
        self.reads["service"] += 1
        return super().find_service(wanted)

    def read_servers(self, service: Service) -> list[Server]:
        self.reads["destinations"] += 1
        return super().read_servers(service)

    def read_proc_table(self) -> ProcTable | None:  # type: ignore[override]  # the embedded table has none
        if not self.has_overview:
            return None
        self.reads["overview"] += 1
        text = HEAD
        for service in MemoryBackend.read_services(self):
            addr = service.addr.hex().upper().encode()
            text += (
                b"TCP  %s:%04X rr  \n" % (addr, service.port)
                if addr
                else b"FWM  %08X rr  \n" % service.fwmark
            )
            text += b"  -> 0A000101:0050      Masq    1      0          0         \n" * len(
                MemoryBackend.read_servers(self, service)
            )
        return overview(text, [])


HEAD = (
    b"IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n"
    b"  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
)


def many(first: int, count: int, *servers: str) -> bytes:
    found = [f"-t 10.1.0.1:{port}" for port in range(first, first + count)]
    return "".join(
        f"-A {each} -s rr\n" + "".join(f"-a {each} -r {server} -m\n" for server in servers)
        for each in found
    ).encode()


@pytest.mark.parametrize(
    ("held", "text", "reads"),
    [
        pytest.param(many(1, 50), many(101, 3), {"service": 3, "destinations": 3}, id="few in a table: one by one"),
        pytest.param(many(1, 5), many(101, 100), {"services": 1, "overview": 1}, id="many without servers: two readings in all"),
        pytest.param(
            b"", many(101, 100, "10.0.1.1"), {"services": 1, "overview": 1, "destinations": 100}, id="many with servers"
        ),
        pytest.param(
            many(1, 900), many(1001, 100), {"service": 100, "destinations": 100}, id="many, and a table that is far larger"
        ),
        pytest.param(b"", b"".join(b"-A -f %d\n" % mark for mark in range(1, 101)),
                     {"services": 1, "overview": 1, "destinations": 100}, id="marks: the listing does not say their family"),
    ],
)  # fmt: skip
def test_the_undo_reads_only_what_was_touched(
    held: bytes, text: bytes, reads: dict[str, int]
) -> None:
    before = table(
        change
        for _, change in reader.parse_rules(held, FakeEnvironment())
        if isinstance(change, Change)
    )
    made = plan.make_plan(parse_table(text + b"-A -u 10.9.9.9:1\n"), snapshot.read_table(before))
    counting = Counting(before, len([*made.iter_steps()]))
    outcome = carry_out(made, counting)
    assert (outcome.not_undone, len(outcome.undone)) == ([], made.added - 1)
    assert counting.reads == reads
    assert entries(counting) == entries(before)


def test_without_a_listing_of_the_kernel_s_it_reads_one_by_one() -> None:
    made = plan.make_plan(parse_table(many(1, 100) + b"-A -f 1\n"), snapshot.read_table(embedded()))
    counting = Counting(embedded(), 101)
    counting.has_overview = False
    assert len(carry_out(made, counting).undone) == 100
    assert counting.reads == {"services": 1, "destinations": 100}


def test_a_service_that_a_dump_or_the_listing_lacks_is_asked_for() -> None:
    class Skipping(Counting):
        def read_services(self, counters: bool = True) -> list[Service]:
            return super().read_services(counters)[1:]

        def read_proc_table(self) -> ProcTable | None:  # type: ignore[override]
            return overview(HEAD, [])

    made = plan.make_plan(parse_table(many(1, 100) + b"-A -f 1\n"), snapshot.read_table(embedded()))
    counting = Skipping(embedded(), 101)
    assert len(carry_out(made, counting).undone) == 100
    assert counting.reads == {"services": 1, "service": 1, "destinations": 100}


def test_many_servers_are_believed_when_two_readings_agree() -> None:
    class Skipping(Counting):
        def read_servers(self, service: Service) -> list[Server]:
            found = super().read_servers(service)
            return found[1:] if self.reads["destinations"] == 1 else found

    servers = [f"10.0.1.{number}" for number in range(1, 21)]
    made = plan.make_plan(
        parse_table(many(1, 1, *servers) + b"-A -f 1\n"), snapshot.read_table(embedded())
    )
    counting = Skipping(embedded(), 22)
    assert [step.format_rule()[:5] for step, _ in carry_out(made, counting).refused] == ["-A -f"]
    assert counting.reads == {"service": 1, "destinations": 3}
    assert entries(counting) == entries(embedded())


def test_a_service_that_another_program_made_again_is_left() -> None:
    """Its settings are as they were; its servers are not."""
    held = table(
        [ADD_S, ADD_A, ADD_B, Change(NEW_SERVICE, Service(AF_INET, fwmark=1, scheduler="rr"))]
    )
    meddled = ChangedByOthersBackend(held, 2, [ADD_S, ADD_A])
    outcome = carry_out(
        plan.make_plan(parse_table(b""), snapshot.read_table(held), prune=True), meddled
    )
    assert [(step.format_rule(), why) for step, why in outcome.not_undone] == [
        ("-D -t 10.0.0.1:80\n", "another program changed it meanwhile")
    ]
    assert (len(outcome.undone), [server.key() for server in meddled.read_servers(S)]) == (
        0,
        [A.key()],
    )


MIXED6 = Server(AF_INET6, bytes([0xFD, *[0] * 14, 9]), 0, TUNNEL)


@pytest.mark.parametrize(
    ("servers", "at", "reordered"),
    [
        pytest.param([A, B, MIXED6], 3, [], id="the newest"),
        pytest.param([MIXED6, A, B], 3, [S.key()], id="the oldest comes back as the newest"),
        pytest.param([A, MIXED6, B], 2, [], id="what removes it is refused"),
    ],
)
def test_servers_that_come_back_in_another_order_are_told_of(
    servers: list[Server], at: int, reordered: list[Any]
) -> None:
    """If servers of another family are removed, daemons start after the removals: a daemon may be
    refused.
    """
    held = table([ADD_S, *(Change(NEW_DEST, S, server) for server in servers)])
    text = (
        S_RULES
        + b"-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m\n-a -t 10.0.0.1:80 -r 10.0.1.2:80 -m\n-A -f 9\n"
        + MASTER
    )
    made = plan.make_plan(parse_table(text), snapshot.read_table(held))
    assert [step.format_rule().split()[0] for step in made.iter_steps()] == [
        "-A",
        "-d",
        "--start-daemon",
    ]
    stubborn = RefusingBackend(held, at)
    outcome = carry_out(made, stubborn)
    assert (outcome.not_undone, [service.key() for service in outcome.reordered]) == ([], reordered)
    assert entries(stubborn) == entries(held)


def test_a_removal_that_finds_the_thing_gone_is_done_and_not_undone() -> None:
    made = plan.make_plan(parse_table(A_RULES), snapshot.read_table(table([ADD_S, ADD_A, ADD_B])))
    now = table([ADD_S, ADD_A])
    outcome = carry_out(made, now)
    assert (outcome.refused, outcome.not_undone, len(outcome.undone)) == ([], [], 0)
    assert [step.change.op for step in made.iter_steps()] == [DEL_DEST]


def test_a_rehearsal_says_what_is_refused() -> None:
    found = snapshot.read_table(embedded())
    made = plan.make_plan(parse_table(S_RULES), found)
    there = table([ADD_S])
    copy = DryRunTable(there, snapshot.read_table(there))
    assert [(step.line, why) for step, why in execute.try_plan(made, copy).refused] == [
        (1, "Service already exists")
    ]


def test_keep_weights() -> None:
    held = table([ADD_S, Change(NEW_DEST, S, HEAVY)])
    other = b"-a -t 10.0.0.1:80 -r 10.0.1.2:80 -m -w 3\n"
    made = plan.make_plan(
        parse_table(A_RULES + other), snapshot.read_table(held), keep_weights=True
    )
    assert [step.format_rule().rstrip() for step in made.iter_steps()] == [other.decode().rstrip()]
    made = plan.make_plan(
        parse_table(S_RULES + b"-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -x 9\n"),
        snapshot.read_table(held),
        keep_weights=True,
    )
    assert [step.format_rule() for step in made.iter_steps()] == [
        "-e -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 7 -x 9\n"
    ]


def test_only_some_services() -> None:
    held = table([ADD_S, ADD_A, Change(NEW_SERVICE, Service(AF_INET, fwmark=1, scheduler="rr"))])
    text = b"--set 1 2 3\n-A -f 1 -s wrr\n-A -f 2\n" + S_RULES
    made = plan.make_plan(
        parse_table(text), snapshot.read_table(held), prune=True, only=frozenset({S.key()})
    )
    assert [step.format_rule() for step in made.iter_steps()] == [
        "-d -t 10.0.0.1:80 -r 10.0.1.1:80\n"
    ]
    assert made.left == 0
    made = plan.make_plan(
        parse_table(b"--set 1 2 3\n"), snapshot.read_table(held), only=frozenset({S.key()})
    )
    assert (made.left, [*made.iter_steps()]) == (1, [])


MIXED = b"-A -f 1\n-a -f 1 -r [fd00::1]:0 -i\n"
MASTER = b"--start-daemon master --mcast-interface lo\n"


@pytest.mark.parametrize(
    ("before", "text", "kind", "words"),
    [
        (
            b"",
            MIXED + MASTER,
            UsageError,
            "of line 2 whose address family is not its service's and the master sync daemon of line 3 ",
        ),
        (MIXED, MIXED + MASTER, UsageError, "the server of line 2 "),
        (MASTER, MIXED, OperationError, "daemon that runs "),
        (MIXED, MASTER, OperationError, "the server in the table "),
    ],
)  # fmt: skip
def test_daemons_and_servers_of_another_family(
    before: bytes, text: bytes, kind: type[OperationError | UsageError], words: str
) -> None:
    held = table(
        change
        for _, change in reader.parse_rules(before, FakeEnvironment())
        if isinstance(change, Change)
    )
    with pytest.raises((OperationError, UsageError)) as refused:
        plan.make_plan(parse_table(text), snapshot.read_table(held))
    assert type(refused.value) is kind
    assert words in str(refused.value)
    assert str(refused.value).endswith("exclude each other in the kernel; nothing was done")
    assert refused.value.status == (2 if kind is UsageError else 255)


def test_where_such_servers_go_daemons_start_after_that() -> None:
    held = table(
        change
        for _, change in reader.parse_rules(MIXED, FakeEnvironment())
        if isinstance(change, Change)
    )
    steps = [
        *plan.make_plan(parse_table(b"-A -f 1\n" + MASTER), snapshot.read_table(held)).iter_steps()
    ]
    assert [step.format_rule().split()[0] for step in steps] == ["-d", "--start-daemon"]


@pytest.mark.parametrize("role", ["master", "backup"])
def test_a_daemon_whose_message_length_is_not_said_is_left_as_it_runs(role: str) -> None:
    start = MASTER.replace(b"master", role.encode())
    running = start.replace(b"\n", b" --sync-maxlen 1099 --mcast-port 8848\n")
    held = table(
        change
        for _, change in reader.parse_rules(running, FakeEnvironment())
        if isinstance(change, Change)
    )
    for text in (start, running):
        assert [*plan.make_plan(parse_table(text), snapshot.read_table(held)).iter_steps()] == []
    assert (
        len(
            [
                *plan.make_plan(
                    parse_table(running.replace(b"1099", b"1098")), snapshot.read_table(held)
                ).iter_steps()
            ]
        )
        == 2
    )
    steps = [
        *plan.make_plan(
            parse_table(b"#\n" + start.replace(b"\n", b" --syncid 3\n")), snapshot.read_table(held)
        ).iter_steps()
    ]
    assert [(step.line, step.format_rule()) for step in steps] == [
        (2, f"--stop-daemon {role}\n"),
        (2, f"--start-daemon {role} --mcast-interface lo --syncid 3\n"),
    ]


@pytest.mark.parametrize(("prune", "rules"), [(False, []), (True, ["--stop-daemon backup\n"])])
def test_what_is_as_it_should_be_is_left(prune: bool, rules: list[str]) -> None:
    text = MASTER + b"--set 900 0 300\n"
    both = text + MASTER.replace(b"master", b"backup")
    held = table(
        change
        for _, change in reader.parse_rules(both, FakeEnvironment())
        if isinstance(change, Change)
    )
    made = plan.make_plan(parse_table(text), snapshot.read_table(held), prune=prune)
    assert ([step.format_rule() for step in made.iter_steps()], made.unchanged) == (rules, 2)


def test_where_daemons_are_pruned_one_that_is_left_still_excludes_servers() -> None:
    held = table(
        change
        for _, change in reader.parse_rules(MASTER, FakeEnvironment())
        if isinstance(change, Change)
    )
    with pytest.raises(OperationError, match="master sync daemon that runs"):
        plan.make_plan(parse_table(MIXED), snapshot.read_table(held), prune=True)
    with pytest.raises(UsageError, match="master sync daemon of line 3"):
        plan.make_plan(parse_table(MIXED + MASTER), snapshot.read_table(held), prune=True)


def test_readings_that_never_agree() -> None:
    class Growing(MemoryBackend):
        embedded = False

        def read_services(self, counters: bool = True) -> list[Service]:
            self.apply(
                [Change(NEW_SERVICE, Service(AF_INET, fwmark=len(self._held) + 1, scheduler="rr"))]
            )
            return super().read_services(counters)

    with pytest.raises(OperationError, match="kept changing while it was read"):
        snapshot.read_consistent(Growing())


def test_values_may_move_and_what_differs_alone_is_read_again() -> None:
    """A weight that changes at each reading delays nothing; if the servers of one service differ,
    no other service is read again.
    """

    class Busy(Counting):
        def read_servers(self, service: Service) -> list[Server]:
            found = super().read_servers(service)
            moving = self.reads["destinations"]
            for server in found:
                server.weight = moving
            return found[1:] if service.port == 3 and moving < 12 else found

    held = table(
        change
        for _, change in reader.parse_rules(many(1, 10, "10.0.1.1", "10.0.1.2"), FakeEnvironment())
        if isinstance(change, Change)
    )
    busy = Busy(held, 0)
    found = snapshot.read_consistent(busy)
    assert [len(servers) for _, servers in found.rows] == [2] * 10
    assert found.rows[0][1][0].weight == 11  # the weight of the last reading
    assert busy.reads == {"services": 2, "destinations": 10 + 10 + 1}


def test_a_service_that_goes_while_it_is_read_is_none() -> None:
    class Going(Counting):
        def read_servers(self, service: Service) -> list[Server]:
            if self.reads["destinations"] == 2:
                MemoryBackend.apply(self, [Change(DEL_SERVICE, S)])
            return super().read_servers(service)

    other = Service(AF_INET, TCP, S.addr, 81, scheduler="rr")
    going = Going(table([Change(NEW_SERVICE, other), ADD_S, ADD_A]), 0)
    assert [service.key() for service, _ in snapshot.read_consistent(going).rows] == [other.key()]
    refusing = Counting(embedded(), 0)
    with pytest.raises(RefusedError):
        snapshot.read_service(refusing, Service(1, TCP, b"", 80))
    assert snapshot.read_service(refusing, S) is None


def test_servers_that_never_agree() -> None:
    class Flapping(Counting):
        def read_servers(self, service: Service) -> list[Server]:
            found = super().read_servers(service)
            return found[self.reads["destinations"] % 2 :]

    with pytest.raises(
        OperationError, match=r"kept changing while it was read \(10 times\); try again"
    ):
        snapshot.read_consistent(Flapping(table([ADD_S, ADD_A]), 0))


def test_a_reading_that_misses_something_is_not_believed() -> None:
    class Skipping(MemoryBackend):
        embedded = False
        readings = 0

        def read_services(self, counters: bool = True) -> list[Service]:
            self.readings += 1
            return super().read_services(counters)[self.readings == 1 :]

    held = Skipping()
    held.apply([ADD_S, ADD_A])
    assert [service.key() for service, _ in snapshot.read_consistent(held).rows] == [S.key()]
    assert held.readings == 3


def test_an_edit_that_another_program_took_back_needs_no_undo() -> None:
    text = b"-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 7\n-A -f 1\n"
    before = [ADD_S, ADD_A]
    meddled = ChangedByOthersBackend(table(before), 1, [Change(SET_DEST, S, A)])
    made = plan.make_plan(parse_table(text), snapshot.read_table(meddled))
    made.phases.reverse()  # the edit first, then the service that is refused
    meddled._at = 2
    outcome = carry_out(made, meddled)
    assert [step.format_rule() for step, _ in outcome.refused] == ["-A -f 1 -s wlc\n"]
    assert (outcome.undone, outcome.not_undone) == ([], [])
    assert entries(meddled) == entries(table(before))
