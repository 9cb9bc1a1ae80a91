"""Test values: seconds with a unit."""

from __future__ import annotations

import pytest

from pyipvsadm.errors import UsageError
from pyipvsadm.grammar.options import Option
from pyipvsadm.grammar.popt import find_option
from pyipvsadm.grammar.values import parse_extension_value

SECONDS = {
    "0": 0,
    "90": 90,
    "90s": 90,
    "10m": 600,
    "2h": 7200,
    "31d": 2678400,
}
NO_SECONDS = (
    "",
    "m",
    "-1m",
    "1.5m",
    "10 m",
    "10M",
    "10mm",
    "32d",
    "99999999999999999999d",
    "1w",
    "10m5s",
)


def parse(option: str, value: str) -> object:
    row = find_option(option)
    assert isinstance(row, Option)
    return parse_extension_value(row, value)


@pytest.mark.parametrize("text", SECONDS)
def test_seconds_may_have_a_unit(text: str) -> None:
    assert parse("drain", text) == SECONDS[text]


@pytest.mark.parametrize("text", NO_SECONDS)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse("drain", text)
    assert str(caught.value) == (
        f"illegal drain specified: `{text}' is no number from 0 to 2678400"
    )


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("color", "blue", "`blue' is none of auto, always, never"),
        ("by", "state,port", "`port' is none of client, server, service, state, protocol"),
        ("by", "", "`' is none of client, server, service, state, protocol"),
        ("by", "client,state,client", "`client' stands 2 times"),
        ("sort-by", "rate,weight", "`rate,weight' is none of connections, rate, weight"),
        ("dry-run", "all", "`all' is not clients"),
        ("ramp", "0", "`0' is no number from 1 to 86400"),
    ],
)
def test_a_message_names_the_wrong_word(option: str, value: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(option, value)
    assert str(caught.value) == f"illegal {option} specified: {reason}"


def test_the_limits_hold_with_a_unit() -> None:
    assert parse("watch", "60m") == 3600
    with pytest.raises(UsageError):
        parse("watch", "61m")
    with pytest.raises(UsageError):
        parse("watch", "0m")
