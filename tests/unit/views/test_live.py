"""Test what --watch shows: rates between snapshots, history, sorting, scrolling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm.addresses import format_numeric
from pyipvsadm.model import AF_INET, TCP, Server, Service
from pyipvsadm.views import grid
from pyipvsadm.views.live import Live, compute_rates
from tests.older_python import zip_equal

if TYPE_CHECKING:
    from pyipvsadm.rules.writer import Endpoint
    from pyipvsadm.views.live import Rows

COUNTER = st.integers(0, 2**64 - 1)
COUNTERS = st.lists(COUNTER, min_size=5, max_size=5)


@pytest.mark.parametrize(
    ("before", "after", "elapsed", "expected"),
    [
        ([0, 0, 0, 0, 0], [2, 4, 6, 8, 10], 2.0, [1, 2, 3, 4, 5]),
        ([5, 5, 5, 5, 5], [5, 5, 5, 5, 5], 2.0, [0, 0, 0, 0, 0]),
        ([100, 9, 9, 9, 9], [4, 9, 9, 9, 9], 2.0, [2, 4.5, 4.5, 4.5, 4.5]),  # set to zero meanwhile
        ([2**64 - 9, 0, 0, 0, 0], [2**64 - 1, 0, 0, 0, 0], 0.5, [16, 0, 0, 0, 0]),
    ],
)
def test_rates(before: list[int], after: list[int], elapsed: float, expected: list[float]) -> None:
    assert compute_rates(before, after, elapsed) == expected


@given(COUNTERS, COUNTERS, st.floats(0.001, 3600))
def test_no_rate_is_negative(before: list[int], after: list[int], elapsed: float) -> None:
    found = compute_rates(before, after, elapsed)
    assert all(value >= 0 for value in found)
    assert all(value <= new / elapsed for value, new in zip_equal(found, after))


def service(port: int, conns: int = 0, estimate: int = 0) -> Service:
    return Service(
        AF_INET, TCP, bytes([10, 0, 0, 1]), port, stats=(conns, 0, 0, 0, 0, estimate, 0, 0, 0, 0)
    )


def server(number: int, weight: int = 1, active: int = 0, conns: int = 0) -> Server:
    return Server(
        AF_INET,
        bytes([10, 0, 0, number]),
        80,
        weight=weight,
        active=active,
        stats=(conns, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    )


def live(sort: str = "", shown: set[str] | None = None) -> Live:
    return Live(shown or set(), sort, 2, grid.TerminalStyle)


def frame(state: Live, width: int = 120, height: int = 24) -> list[str]:
    lines = state.render_frame(width, height, lambda _: format_numeric)
    assert len(lines) == height or height < 4
    return grid.render_text(lines, grid.TerminalStyle(width)).split("\n")


def conns(state: Live) -> str:
    """Return the rate of connections that is shown for the first service."""
    found = next(line for line in frame(state) if line.startswith("TCP"))
    return found.split()[5]


def test_the_first_rate_is_the_kernel_s_then_ours() -> None:
    state = live()
    state.add_snapshot([(service(80, 100, 7), [server(1)])], 10.0)
    assert conns(state) == "7"
    state.add_snapshot([(service(80, 150, 7), [server(1)])], 12.0)
    assert conns(state) == "25"
    state.add_snapshot([(service(80, 10, 7), [server(1)])], 14.0)  # zeroed
    assert conns(state) == "5"


def test_of_odd_seconds_the_rate_is_over_two_reads() -> None:
    """The kernel updates its counters every two seconds: if they are read every second, they change
    at every second reading.
    """
    state = Live(set(), "", 1, grid.TerminalStyle)
    shown = []
    for at, counted in enumerate((0, 0, 20, 20, 40, 40)):
        state.add_snapshot([(service(80, counted, 7), [server(1)])], float(at))
        shown.append(conns(state))
    assert shown == ["7", "7", "10", "10", "10", "10"]


def test_a_clock_that_stands_still_gives_no_rate() -> None:
    state = live()
    state.add_snapshot([(service(80, 100, 7), [server(1)])], 10.0)
    state.add_snapshot([(service(80, 150, 8), [server(1)])], 10.0)
    assert conns(state) == "8"


def test_services_that_go_and_come_again() -> None:
    state = live()
    state.add_snapshot([(service(80, 100), [server(1)]), (service(81), [])], 0.0)
    state.add_snapshot([(service(81), [])], 2.0)
    assert "1 service, 0 real servers" in frame(state)[0]
    state.add_snapshot([], 4.0)
    assert "No virtual services." in frame(state)
    state.add_snapshot([(service(80, 6, 3), [server(1)])], 6.0)
    assert conns(state) == "3"
    state.add_snapshot([(service(80, 8, 3), [server(1)])], 8.0)
    assert conns(state) == "1"


def test_a_failed_read_keeps_what_was_read_and_says_so() -> None:
    state = live()
    state.add_snapshot([(service(80), [server(1)])], 0.0)
    state.set_error("Can't initialize ipvs: \x1b[2J\nmore")
    found = frame(state, 60)
    assert found[2] == "Can't initialize ipvs: ?[2J; trying again"
    assert any("10.0.0.1:80" in line for line in found)
    state.add_snapshot([(service(80), [server(1)])], 9.0)
    assert not any("trying" in line for line in frame(state))


def test_the_last_minute() -> None:
    state = live()
    for at in range(0, 90, 2):
        state.add_snapshot(
            [(service(80, 0 if at < 60 else 50 if at < 70 else 100), [server(1)])], float(at)
        )
    row = next(line for line in frame(state, 200) if line.startswith("TCP"))
    # Now is 88: cells of 2 s each, those that end at 60 and at 70 saw 50 new connections.
    # Behind the curve stands its maximum.
    assert row.split()[-2:] == ["▁" * 15 + "█" + "▁" * 4 + "█" + "▁" * 9, "25"]


ROWS = [
    (service(80, 0), [server(1, weight=1, active=5), server(2, weight=3, active=1)]),
    (service(81, 0), [server(3, weight=9, active=2)]),
    (service(82, 0), [server(4, weight=2, active=50)]),
]
AFTER = [
    (
        service(80, 40),
        [server(1, weight=1, active=5, conns=10), server(2, weight=3, active=1, conns=30)],
    ),
    (service(81, 60), [server(3, weight=9, active=2, conns=60)]),
    (service(82, 20), [server(4, weight=2, active=50, conns=20)]),
]

ORDERS = {
    "": ["80", "1", "2", "81", "3", "82", "4"],
    "connections": ["82", "4", "80", "1", "2", "81", "3"],
    "rate": ["81", "3", "80", "2", "1", "82", "4"],
    "weight": ["81", "3", "80", "2", "1", "82", "4"],
}


def order_of(state: Live) -> list[str]:
    found = [line.split() for line in frame(state)[3:]]
    names = [
        (words[1].split(":")[1] if words[0] == "TCP" else words[0][7:-3])
        for words in found
        if words
    ]
    return names[:7]


@pytest.mark.parametrize(("sort", "expected"), ORDERS.items())
def test_sorting(sort: str, expected: list[str]) -> None:
    state = live(sort)
    state.add_snapshot(ROWS, 0.0)
    state.add_snapshot(AFTER, 2.0)
    assert order_of(state) == expected
    by_key = live()
    by_key.add_snapshot(ROWS, 0.0)
    by_key.add_snapshot(AFTER, 2.0)
    by_key.handle_key(sort[:1] or "x")
    assert order_of(by_key) == expected


def test_servers_stand_in_the_order_in_which_they_come() -> None:
    state = live()
    state.add_snapshot([(service(80), [server(2), server(1)])], 0.0)
    assert order_of(state)[1:3] == ["2", "1"]


def test_scrolling() -> None:
    state = live()
    state.add_snapshot([(service(port), [server(1), server(2)]) for port in range(1, 11)], 0.0)

    def seen() -> str:
        return frame(state, 80, 10)[-2].split("  ")[0]

    assert seen() == "1-6 of 30 rows"
    for key, expected in (
        ("down", "2-7 of 30 rows"),
        ("up", "1-6 of 30 rows"),
        ("up", "1-6 of 30 rows"),
        ("page down", "6-11 of 30 rows"),
        ("end", "25-30 of 30 rows"),
        ("down", "25-30 of 30 rows"),
        ("page up", "20-25 of 30 rows"),
        ("home", "1-6 of 30 rows"),
        ("end", "25-30 of 30 rows"),
        ("c", "1-6 of 30 rows"),
    ):
        state.handle_key(key)
        assert seen() == expected, key


def test_a_table_that_shrinks_under_the_window() -> None:
    state = live()
    state.add_snapshot([(service(port), [server(1)]) for port in range(1, 50)], 0.0)
    state.handle_key("end")
    frame(state, 80, 10)
    state.add_snapshot([(service(1), [server(1)])], 2.0)
    assert sum("TCP 10.0.0.1:1" in line for line in frame(state, 80, 10)) == 1


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("width", [1, 20, 60])
def test_windows_of_any_size(width: int, height: int) -> None:
    state = live()
    state.add_snapshot([(service(port), [server(1), server(2)]) for port in range(1, 11)], 0.0)
    assert 0 < len(state.render_frame(width, height, lambda _: format_numeric)) <= height


def test_only_what_is_seen_is_named() -> None:
    state = live()
    state.add_snapshot([(service(port), [server(1), server(2)]) for port in range(1, 1001)], 0.0)
    asked: list[int] = []

    def naming(rows: Rows) -> Endpoint:
        asked.append(len(rows))
        return format_numeric

    state.render_frame(80, 24, naming)
    assert len(asked) == 1
    assert asked[0] <= 24


@pytest.mark.parametrize("view", ["stats", "thresholds", "persistent-conn", "tun-info"])
def test_other_views(view: str) -> None:
    state = live(shown={view, "exact"})
    state.add_snapshot(AFTER, 0.0)
    assert any("10.0.0.4:80" in line for line in frame(state))


def test_full_servers_are_marked_in_every_view() -> None:
    full = server(1, active=9)
    full.upper = 9
    quiesced = server(2, weight=0, active=9)
    quiesced.upper = 10
    for view in ("", "stats", "rate", "thresholds", "persistent-conn", "tun-info"):
        state = live(shown={view} - {""})
        state.add_snapshot([(service(80), [full, quiesced])], 0.0)
        (marked,) = [line for line in frame(state) if "full" in line]
        assert marked.startswith("  10.0.0.1:80 full ")


@pytest.mark.parametrize("key", ["h", "?"])
def test_keys_are_shown(key: str) -> None:
    state = live()
    state.add_snapshot([(service(80), [server(1)])], 0.0)
    table = frame(state, 60, 20)
    assert table[-2] == "q quit  h keys  c r w sort  arrows scroll"
    state.handle_key(key)
    shown = frame(state, 60, 20)
    assert shown[0] == "Keys of ipvsadm --watch"
    assert "  q             quit" in shown
    assert any(line.startswith("  full ") for line in shown)
    assert shown[-2] == "any key: back to the table"
    assert max(map(len, shown)) <= 60
    state.handle_key(key)
    assert frame(state, 60, 20) == table
    state.handle_key(key)
    state.handle_key("r")
    assert frame(state, 60, 20)[0].startswith("ipvsadm  every 2 s, by rate")


def test_the_footer_fits_while_rows_are_hidden() -> None:
    state = live()
    state.add_snapshot([(service(80), [server(n) for n in range(1, 200)])], 0.0)
    assert frame(state, 60, 20)[-2] == "1-15 of 200 rows  q quit  h keys  c r w sort  arrows scroll"


def test_large_numbers_of_the_heading_have_separators() -> None:
    state = live()
    state.add_snapshot([(service(80), [server(1, active=4901)])], 0.0)
    assert frame(state)[0].endswith("1 service, 1 real server, 4,901 connections")
