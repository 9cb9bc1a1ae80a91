"""The loop of --watch in a world without a terminal or a clock, and what it writes where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyipvsadm import cli
from pyipvsadm.argv import Request
from pyipvsadm.errors import Failed, Usage
from pyipvsadm.memory import Table
from pyipvsadm.model import AF_INET, AF_INET6, TCP
from pyipvsadm.run import show
from pyipvsadm.view.watch import Remembered
from tests.unit.worlds import FakeNames, FakeScreen, FakeWorld, apply_all

if TYPE_CHECKING:
    from collections.abc import Callable

RULES = ("-A -t 10.0.0.1:80 -s rr", "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m")
TERMINAL = {"TERM": "xterm", "LANG": "C.UTF-8", "NO_COLOR": "1"}


class Gone(Table):
    """A table that cannot be read while `gone` says why."""

    gone = ""

    def refresh(self) -> None:
        if self.gone:
            raise Failed(self.gone)


def world_with_rules(**options: object) -> FakeWorld:
    world = FakeWorld(table=Gone(lambda _: True), **options)  # type: ignore[arg-type]
    apply_all(world.table, RULES)
    return world


def run(world: FakeWorld, words: str) -> tuple[int, str, str]:
    return (cli.main(words.split(), world), *world.take())


def watched(words: str, *steps: list[str] | Callable[[], object] | None, world: FakeWorld | None = None) -> list[str]:
    world = world or world_with_rules(environ=TERMINAL, shows=(80, 12))
    screen = world.screen = FakeScreen(world, list(steps))
    assert run(world, words) == (0, "", "")
    assert not screen.steps
    return screen.frames


def test_it_draws_until_q() -> None:
    frames = watched("-L -n --watch", None, ["r"], None, ["x", "q"])
    assert len(frames) == 4
    assert "every 2 s, by address" in frames[0]
    assert "10.0.0.2:80" in frames[0]
    assert "by rate" in frames[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-L -n --watch=7", "every 7 s, by address"),
        ("-L -n --watch 7 --sort-by weight", "every 7 s, by weight"),
        ("-L -n --watch --nosort", "every 2 s, by nothing"),
    ],
)
def test_how_often_and_in_which_order(words: str, said: str) -> None:
    assert said in watched(words, ["q"])[0]


def test_the_table_goes_and_comes_again() -> None:
    world = world_with_rules(environ=TERMINAL, shows=(80, 12))
    table = world.table
    assert isinstance(table, Gone)

    def unload() -> None:
        table.gone = "no IPVS"

    def load() -> None:
        table.gone = ""
        apply_all(table, ("-C",))

    frames = watched("-L -n --watch", unload, load, ["q"], world=world)
    assert ("trying again" in frames[0], "no IPVS; trying again" in frames[1]) == (False, True)
    assert "10.0.0.2:80" in frames[1]
    assert "No virtual services." in frames[2]


def test_the_window_is_measured_at_each_drawing() -> None:
    world = world_with_rules(environ=TERMINAL, shows=(80, 12))

    def shrink() -> None:
        world.shows = (60, 8)

    frames = watched("-L -n --watch", shrink, ["q"], world=world)
    assert [frame.count("\n") for frame in frames] == [12, 8]


def test_a_service_that_is_not_there_at_the_start_is_an_error() -> None:
    assert run(world_with_rules(environ=TERMINAL, shows=(80, 12)), "-L -t 10.9.9.9:80 --watch") == (1, "", "No such service\n")


def test_a_named_service_that_vanishes_is_told() -> None:
    world = world_with_rules(environ=TERMINAL, shows=(80, 12))
    frames = watched("-L -n --watch -t 10.0.0.1:80", lambda: apply_all(world.table, ("-C",)), ["q"], world=world)
    assert "No such service; trying again" in frames[1]


def test_names_are_looked_up_once() -> None:
    class Counting(FakeNames):
        asked: list[tuple[int, bytes]]

        def host_names(self, addresses: object) -> dict[tuple[int, bytes], str]:
            new = list(addresses)  # type: ignore[call-overload]
            self.asked += new
            return super().host_names(new)

    names = Counting({"web": (AF_INET, bytes([10, 0, 0, 2]))}, {("http", TCP): 80})
    names.asked = []
    world = world_with_rules(environ=TERMINAL, shows=(80, 12), names=names)
    add = "-a -t 10.0.0.1:80 -r 10.0.0.3:80 -m"
    frames = watched("-L --watch", None, lambda: apply_all(world.table, (add,)), ["q"], world=world)
    assert "web:http" in frames[0]
    assert "10.0.0.3:http" in frames[2]
    assert sorted(names.asked) == [(AF_INET, bytes([10, 0, 0, last])) for last in (1, 2, 3)]


def test_remembered_names_are_those_asked_for() -> None:
    names = Remembered(FakeNames({"six": (AF_INET6, bytes(16))}))
    assert names.host_names([(AF_INET6, bytes(16)), (AF_INET, bytes(4))]) == {(AF_INET6, bytes(16)): "six"}
    assert names.host_names([(AF_INET, bytes(4))]) == {}
    assert (names.port_name(80, TCP), names.port_name(80, TCP)) == (None, None)


CLASSIC = "".join(
    f"{line}\n"
    for line in (
        "IP Virtual Server version 1.2.1 (size=4096)",
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
        "TCP  10.0.0.1:80 rr",
        "  -> 10.0.0.2:80                  Masq    1      0          0         ",
    )
)


@pytest.mark.parametrize("options", [{}, {"shows": (80, 12), "environ": {"TERM": "dumb"}}])
def test_without_a_terminal_it_writes_blocks(options: dict[str, object]) -> None:
    world = world_with_rules(**options)
    world.waits = 2
    assert run(world, "-L -n --watch=5") == (0, f"{CLASSIC}\f" * 3, "")
    assert world.now == 115.0


def test_a_block_that_cannot_be_read_is_told_and_the_next_is_tried() -> None:
    world = world_with_rules()
    table = world.table
    assert isinstance(table, Gone)
    world.waits = 2

    def trouble() -> None:
        table.gone = "" if table.gone else "no IPVS"

    world.meanwhile = trouble
    assert run(world, "-L -n --watch -t 10.0.0.1:80")[1:] == (f"{CLASSIC.partition(chr(10))[2]}\f" * 2, "no IPVS\n")


def test_json_is_not_there_yet() -> None:
    with pytest.raises(Usage, match="--watch does not go with --json yet"):
        show(Request("list", set(), [], None, {"watch": 2, "json": None}), Table(), FakeWorld())


def test_blocks_of_the_pretty_listing() -> None:
    status, stdout, stderr = run(world_with_rules(), "-L -n --watch --pretty")
    assert (status, stdout[:4], stdout[-1], stderr) == (0, "IPVS", "\f", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-L --watch=0", "illegal watch specified"),
        ("-L --watch=3601", "illegal watch specified"),
        ("-L --watch=0.5", "illegal watch specified"),
        ("-L --watch=x", "illegal watch specified"),
        ("-L --watch -c", "--watch shows services: it does not go with --connection, --timeout or --daemon"),
        ("-L --watch --timeout", "--watch shows services: it does not go with --connection, --timeout or --daemon"),
        ("-L --sort-by rate", "--sort-by sorts what --watch shows: give both"),
        ("-L --watch --sort-by size", "illegal sort-by specified: it is connections, rate or weight"),
        ("-S --watch", "Illegal 'watch' option with the 'save' command"),
        ("-C --pretty", "Illegal 'pretty' option with the 'flush' command"),
    ],
)
def test_what_does_not_go_together(words: str, said: str) -> None:
    assert run(world_with_rules(), words) == (2, "", f"{said}\n")
