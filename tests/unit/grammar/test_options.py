"""Compare the table of options with the reference's names and numbers, and with itself.

Which combinations are legal is tested in test_parser.py, beside the rules about them.
"""

from __future__ import annotations

import pytest

from pyipvsadm.grammar.combinations import is_allowed_with
from pyipvsadm.grammar.options import (
    COMMANDS,
    NONE,
    OPTIONAL,
    OPTIONS,
    REQUIRED,
    SLOTS,
    STANDALONE_OPTIONS,
    TUNNEL_SLOTS,
    TUNNEL_TYPES,
    Option,
)
from pyipvsadm.grammar.schedulers import SCHEDULER_FLAGS
from pyipvsadm.model import SCHED1, SCHED2, SCHED3

# 1.31's options (ipvsadm.c: options_table) with the slot that each fills (optnames): (long, short,
# argument, slot).
REFERENCE = [
    ("tcp-service", "t", REQUIRED, "service-address"),
    ("udp-service", "u", REQUIRED, "service-address"),
    ("sctp-service", "", REQUIRED, "service-address"),
    ("fwmark-service", "f", REQUIRED, "service-address"),
    ("scheduler", "s", REQUIRED, "scheduler"),
    ("persistent", "p", OPTIONAL, "persistent"),
    ("netmask", "M", REQUIRED, "netmask"),
    ("real-server", "r", REQUIRED, "real-server"),
    ("masquerading", "m", NONE, "forwarding-method"),
    ("ipip", "i", NONE, "forwarding-method"),
    ("gatewaying", "g", NONE, "forwarding-method"),
    ("weight", "w", REQUIRED, "weight"),
    ("u-threshold", "x", REQUIRED, "u-threshold"),
    ("l-threshold", "y", REQUIRED, "l-threshold"),
    ("numeric", "n", NONE, "numeric"),
    ("connection", "c", NONE, "connection"),
    ("mcast-interface", "", REQUIRED, "mcast-interface"),
    ("syncid", "", REQUIRED, "syncid"),
    ("timeout", "", NONE, "timeout"),
    ("daemon", "", NONE, "daemon"),
    ("stats", "", NONE, "stats"),
    ("rate", "", NONE, "rate"),
    ("thresholds", "", NONE, "thresholds"),
    ("persistent-conn", "", NONE, "persistent-conn"),
    ("nosort", "", NONE, "nosort"),
    ("sort", "", NONE, ""),
    ("exact", "X", NONE, "exact"),
    ("ipv6", "6", NONE, ""),
    ("ops", "o", NONE, "ops"),
    ("pe", "", REQUIRED, "pe"),
    ("sched-flags", "b", REQUIRED, "sched-flags"),
    ("mcast-group", "", REQUIRED, "mcast-group"),
    ("mcast-port", "", REQUIRED, "mcast-port"),
    ("mcast-ttl", "", REQUIRED, "mcast-ttl"),
    ("sync-maxlen", "", REQUIRED, "sync-maxlen"),
    ("tun-info", "", NONE, "tun-info"),
    ("tun-type", "", REQUIRED, "tun-type"),
    ("tun-port", "", REQUIRED, "tun-port"),
    ("tun-nocsum", "", NONE, "tun-nocsum"),
    ("tun-csum", "", NONE, "tun-csum"),
    ("tun-remcsum", "", NONE, "tun-remcsum"),
]

# (long, short, argument, the name in messages)
COMMANDS_OF_REFERENCE = [
    ("add-service", "A", NONE, "add-service"),
    ("edit-service", "E", NONE, "edit-service"),
    ("delete-service", "D", NONE, "delete-service"),
    ("clear", "C", NONE, "flush"),
    ("list", "L", NONE, "list"),
    ("zero", "Z", NONE, "zero"),
    ("add-server", "a", NONE, "add-server"),
    ("edit-server", "e", NONE, "edit-server"),
    ("delete-server", "d", NONE, "delete-server"),
    ("set", "", NONE, "set"),
    ("help", "h", NONE, "help"),
    ("version", "v", NONE, "version"),
    ("restore", "R", NONE, "restore"),
    ("save", "S", NONE, "save"),
    ("start-daemon", "", REQUIRED, "start-daemon"),
    ("stop-daemon", "", REQUIRED, "stop-daemon"),
]


def test_options_are_the_reference_s() -> None:
    ours = [(row.long, row.short, row.argument, row.slot) for row in OPTIONS if not row.ours]
    assert sorted(ours) == sorted(REFERENCE)


def test_commands_are_the_reference_s() -> None:
    theirs = [(row.long, row.short, row.argument, row.name) for row in COMMANDS if not row.ours]
    assert sorted(theirs) == sorted(COMMANDS_OF_REFERENCE)


def test_no_name_is_taken_twice() -> None:
    rows = (*COMMANDS, *OPTIONS)
    names = [row.long for row in rows]
    assert len(set(names)) == len(names)
    letters = [row.short for row in rows if row.short] + ["l"]  # -l is another letter of --list
    assert len(set(letters)) == len(letters)


def test_a_command_goes_by_a_name_that_is_no_option_s_of_ours() -> None:
    taken = {long for long, *_ in REFERENCE} | {long for long, *_ in COMMANDS_OF_REFERENCE}
    assert taken.isdisjoint(row.long for row in (*COMMANDS, *OPTIONS) if row.ours)


def test_every_slot_is_filled_by_an_option() -> None:
    assert {row.slot for row in OPTIONS if row.slot} == {slot.name for slot in SLOTS}


def test_slots_name_commands_that_there_are() -> None:
    # A misspelt command would be refused the option without a word.
    commands = {row.long for row in COMMANDS} | set(STANDALONE_OPTIONS)
    for slot in SLOTS:
        named = [*slot.required, *slot.optional, *slot.exclusive]
        assert set(named) <= commands, slot.name
        assert len(set(named)) == len(named), slot.name


def test_tunnel_slots_are_slots() -> None:
    names = {slot.name for slot in SLOTS}
    for slot, demanded, alternative in TUNNEL_SLOTS:
        assert slot in names
        assert {*demanded, *alternative} <= set(TUNNEL_TYPES)


@pytest.mark.parametrize("row", OPTIONS, ids=[row.long for row in OPTIONS])
def test_an_option_with_an_argument_names_it_in_the_help(row: Option) -> None:
    assert bool(row.metavar) == (row.argument != NONE)
    assert row.help
    assert row.group
    # completion has nothing to offer after an option without one
    assert not row.values or row.argument != NONE


def test_scheduler_flags() -> None:
    assert SCHEDULER_FLAGS == (
        ("flag-1", SCHED1, ""),
        ("flag-2", SCHED2, ""),
        ("flag-3", SCHED3, ""),
        ("sh-fallback", SCHED1, "sh"),
        ("sh-port", SCHED2, "sh"),
        ("mh-fallback", SCHED1, "mh"),
        ("mh-port", SCHED2, "mh"),
    )


def test_tunnel_types_stand_at_their_numbers() -> None:
    assert TUNNEL_TYPES == ("ipip", "gue", "gre")


def test_a_group_of_help_has_several_options() -> None:
    """A group of one option would be laid out unlike the rest of the help."""
    groups = [row.group for row in OPTIONS]
    assert {group for group in groups if groups.count(group) < 3} == set()


def test_a_mark_may_be_one_of_ipv6_wherever_there_is_one() -> None:
    of = {
        row.long: {command.long for command in COMMANDS if is_allowed_with(row, command.long)}
        for row in OPTIONS
    }
    assert of["ipv6"] == of["fwmark-service"]


def test_a_dry_run_goes_with_all_that_changes_something() -> None:
    row = next(row for row in OPTIONS if row.long == "dry-run")
    assert {each.long for each in COMMANDS if not is_allowed_with(row, each.long)} == {
        "list",
        "save",
        "check",
        "history",
        "predict",
        "doctor",
        "help",
        "version",
    }
