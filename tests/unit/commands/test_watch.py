"""Test the loop of --watch with a fake terminal and clock, and its output without a terminal."""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from pyipvsadm import cli
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.commands import watch
from pyipvsadm.commands.watch import CachingResolver
from pyipvsadm.errors import OperationError
from pyipvsadm.model import AF_INET, AF_INET6, TCP
from tests.unit.fake_environment import FakeEnvironment, FakeNames, FakeScreen, apply_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RULES = ("-A -t 10.0.0.1:80 -s rr", "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m")
TERMINAL = {"TERM": "xterm", "LANG": "C.UTF-8", "NO_COLOR": "1"}


class Gone(MemoryBackend):
    """Hold a table that cannot be read while `gone` holds the reason."""

    gone = ""

    def refresh(self) -> None:
        if self.gone:
            raise OperationError(self.gone)


def world_with_rules(**options: object) -> FakeEnvironment:
    env = FakeEnvironment(table=Gone(lambda _: True), **options)  # type: ignore[arg-type]
    apply_all(env.table, RULES)
    return env


def ends(after: int) -> Callable[[float], int]:
    """Return a wait that passes this many times; the next one returns signal 1."""
    left = [0] * after
    return lambda _: left.pop() if left else 1


def run(env: FakeEnvironment, words: str) -> tuple[int, str, str]:
    return (cli.main(words.split(), env), *env.take())


def watched(
    words: str, *steps: list[str] | Callable[[], object] | None, env: FakeEnvironment | None = None
) -> list[str]:
    env = env or world_with_rules(environ=TERMINAL, shows=(80, 12))
    screen = env.screen = FakeScreen(env, list(steps))
    assert run(env, words) == (0, "", "")
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
    env = world_with_rules(environ=TERMINAL, shows=(80, 12))
    table = env.table
    assert isinstance(table, Gone)

    def unload() -> None:
        table.gone = "no IPVS"

    def load() -> None:
        table.gone = ""
        apply_all(table, ("-C",))

    frames = watched("-L -n --watch", unload, load, ["q"], env=env)
    assert ("trying again" in frames[0], "no IPVS; trying again" in frames[1]) == (False, True)
    assert "10.0.0.2:80" in frames[1]
    assert "No virtual services." in frames[2]


def test_the_window_is_measured_at_each_drawing() -> None:
    env = world_with_rules(environ=TERMINAL, shows=(80, 12))

    def shrink() -> None:
        env.shows = (60, 8)

    frames = watched("-L -n --watch", shrink, ["q"], env=env)
    assert [frame.count("\n") for frame in frames] == [12, 8]


def test_a_service_that_is_not_there_at_the_start_is_an_error() -> None:
    assert run(world_with_rules(environ=TERMINAL, shows=(80, 12)), "-L -t 10.9.9.9:80 --watch") == (
        1,
        "",
        "No such service\n",
    )


def test_a_named_service_that_vanishes_is_told() -> None:
    env = world_with_rules(environ=TERMINAL, shows=(80, 12))
    frames = watched(
        "-L -n --watch -t 10.0.0.1:80", lambda: apply_all(env.table, ("-C",)), ["q"], env=env
    )
    assert "No such service; trying again" in frames[1]


def test_names_are_looked_up_once() -> None:
    class Counting(FakeNames):
        asked: list[tuple[int, bytes]]

        def find_host_names(
            self, addresses: Iterable[tuple[int, bytes]], seconds: float | None = None
        ) -> dict[tuple[int, bytes], str]:
            new = list(addresses)
            self.asked += new
            return super().find_host_names(new, seconds)

    names = Counting({"web": (AF_INET, bytes([10, 0, 0, 2]))}, {("http", TCP): 80})
    names.asked = []
    env = world_with_rules(environ=TERMINAL, shows=(80, 12), names=names)
    add = "-a -t 10.0.0.1:80 -r 10.0.0.3:80 -m"
    frames = watched("-L --watch", None, lambda: apply_all(env.table, (add,)), ["q"], env=env)
    assert "web:http" in frames[0]
    assert "10.0.0.3:http" in frames[2]
    assert sorted(names.asked) == [(AF_INET, bytes([10, 0, 0, last])) for last in (1, 2, 3)]


def test_remembered_names_are_those_asked_for() -> None:
    names = CachingResolver(FakeNames({"six": (AF_INET6, bytes(16))}))
    assert names.find_host_names([(AF_INET6, bytes(16)), (AF_INET, bytes(4))]) == {
        (AF_INET6, bytes(16)): "six"
    }
    assert names.find_host_names([(AF_INET, bytes(4))]) == {}
    assert (names.find_port_name(80, TCP), names.find_port_name(80, TCP)) == (None, None)


def test_not_all_names_are_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "CACHE_LIMIT", 2)
    names = CachingResolver(FakeNames({"six": (AF_INET6, bytes(16))}))
    for last in range(9):
        both = [(AF_INET6, bytes(16)), (AF_INET, bytes([10, 0, 0, last]))]
        assert names.find_host_names(both) == {(AF_INET6, bytes(16)): "six"}
    assert len(names._hosts) <= 4


@pytest.mark.parametrize(
    "words", ["-L --watch", "-L --watch --pretty", "-L --watch --json", "-L --watch --stats"]
)
@pytest.mark.parametrize("environ", [TERMINAL, {}])
def test_watching_for_ever_takes_no_more_memory(words: str, environ: dict[str, str]) -> None:
    """The program runs without the collector of cycles (cli.run_program)."""
    env = world_with_rules(environ=environ, shows=(80, 12) if environ else None)
    env.write_stdout = lambda _: None  # type: ignore[assignment,method-assign]
    held: list[int] = []

    def seen() -> bool:
        held.append(tracemalloc.get_traced_memory()[0])
        return len(held) == 200

    class Endless(FakeScreen):
        def show(self, text: str) -> None:
            pass

        def read_keys(self, seconds: float) -> list[str]:
            self.env.now += seconds
            return ["q"] if seen() else []

    env.screen = Endless(env, [])
    env.meanwhile = lambda _: int(seen())
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        assert cli.main(words.split(), env) == 0
    finally:
        tracemalloc.stop()
        if collects:
            gc.enable()
    assert held[-1] - held[99] < 20_000, held[::20]  # a frame takes some 30,000


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
    env = world_with_rules(**options)
    env.meanwhile = ends(after=2)
    assert run(env, "-L -n --watch=5") == (0, f"{CLASSIC}\f" * 3, "")
    assert env.now == 15


def test_a_block_that_cannot_be_read_is_told_and_the_next_is_tried() -> None:
    env = world_with_rules()
    table = env.table
    assert isinstance(table, Gone)
    end = ends(after=2)

    def trouble(now: float) -> int:
        table.gone = "" if table.gone else "no IPVS"
        return end(now)

    env.meanwhile = trouble
    assert run(env, "-L -n --watch -t 10.0.0.1:80")[1:] == (
        f"{CLASSIC.partition(chr(10))[2]}\f" * 2,
        "no IPVS\n",
    )


def test_as_json_it_writes_a_document_a_line() -> None:
    env = world_with_rules()
    env.meanwhile = ends(after=2)
    status, text, _ = run(env, "-L -n --watch --json")
    found = [json.loads(line) for line in text.splitlines()]
    assert (status, len(found), found[0]) == (0, 3, found[2])
    assert found[0]["services"][0]["address"] == "10.0.0.1"
    assert run(world_with_rules(), "-L -n --json")[1].replace("\n", "") == text.splitlines()[0]


def test_blocks_of_the_pretty_listing() -> None:
    env = world_with_rules()
    env.meanwhile = ends(after=0)
    status, stdout, stderr = run(env, "-L -n --watch --pretty")
    assert (status, stdout[:4], stdout[-1], stderr) == (0, "IPVS", "\f", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-L --watch=0", "illegal watch specified: `0' is no number from 1 to 3600"),
        ("-L --watch=3601", "illegal watch specified: `3601' is no number from 1 to 3600"),
        ("-L --watch=0.5", "illegal watch specified: `0.5' is no number from 1 to 3600"),
        ("-L --watch=x", "illegal watch specified: `x' is no number from 1 to 3600"),
        (
            "-L --watch -c",
            "The option 'watch' conflicts with the 'connection' option in the 'list' command",
        ),
        (
            "-L --watch --timeout",
            "The option 'watch' conflicts with the 'timeout' option in the 'list' command",
        ),
        (
            "-L --pretty --json",
            "The option 'pretty' conflicts with the 'json' option in the 'list' command",
        ),
        ("-L --sort-by rate", "You need to supply the 'watch' option for the 'sort-by' option"),
        (
            "-L --watch --sort-by size",
            "illegal sort-by specified: `size' is none of connections, rate, weight",
        ),
        ("-S --watch", "Illegal 'watch' option with the 'save' command"),
        ("-C --pretty", "Illegal 'pretty' option with the 'flush' command"),
    ],
)
def test_what_does_not_go_together(words: str, said: str) -> None:
    status, out, err = run(world_with_rules(), words)
    assert (status, err) == (2, f"{said}\n")
    error = {"code": "usage", "message": said}
    assert out == (f"{json.dumps({'format': 1, 'error': error})}\n" if "--json" in words else "")
