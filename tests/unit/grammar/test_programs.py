"""Test the command lines of ipvsadm-save and ipvsadm-restore."""

from __future__ import annotations

import pytest

from pyipvsadm.errors import OperationError
from pyipvsadm.grammar.programs import (
    COMPANIONS,
    RESTORE,
    SAVE,
    Companion,
    format_help,
    parse_words,
)

GIVEN: list[tuple[Companion, str, dict[str, str]]] = [
    (SAVE, "", {}),
    (SAVE, "-n", {"n": ""}),
    (SAVE, "-n -n", {"n": ""}),
    (SAVE, "-nn", {"n": ""}),
    (SAVE, "-f rules --full", {"f": "rules", "full": ""}),
    (SAVE, "-frules", {"f": "rules"}),
    (SAVE, "-nf rules", {"n": "", "f": "rules"}),
    (SAVE, "-nfrules -hv", {"n": "", "f": "rules", "help": "", "version": ""}),
    (SAVE, "-f -", {"f": "-"}),
    (SAVE, "-f-", {"f": "-"}),
    (SAVE, "-f ./-n", {"f": "./-n"}),
    (
        SAVE,
        "--backend memory:a=b --netns=/run/netns/a=b",
        {"backend": "memory:a=b", "netns": "/run/netns/a=b"},
    ),
    (RESTORE, "-n --dry-run --backend=memory", {"n": "", "dry-run": "", "backend": "memory"}),
    (RESTORE, "--confirm-within 60", {"confirm-within": "60"}),
    (RESTORE, "--confirm-within=2m", {"confirm-within": "120"}),
    (RESTORE, "--help", {"help": ""}),
    (RESTORE, "--version", {"version": ""}),
]


@pytest.mark.parametrize(("program", "words", "given"), GIVEN)
def test_words_that_are_understood(program: Companion, words: str, given: dict[str, str]) -> None:
    assert parse_words(program, words.split()) == given


REFUSED: list[tuple[Companion, list[str], str]] = [
    (SAVE, ["rules"], "unexpected argument rules; to write to a file, give -f FILE or > FILE"),
    (
        RESTORE,
        ["rules"],
        "unexpected argument rules; to read rules from a file, give -f FILE or < FILE",
    ),
    (
        RESTORE,
        ["-n", "-"],
        "unexpected argument -; to read rules from a file, give -f FILE or < FILE",
    ),
    (RESTORE, [""], "unexpected argument ; to read rules from a file, give -f FILE or < FILE"),
    (SAVE, ["-x"], "-x: unknown option; see ipvsadm-save --help"),
    (SAVE, ["-nx"], "-x: unknown option; see ipvsadm-save --help"),
    (SAVE, ["--"], "--: unknown option; see ipvsadm-save --help"),
    (SAVE, ["--dry-run"], "--dry-run: unknown option; see ipvsadm-save --help"),
    (RESTORE, ["--full"], "--full: unknown option; see ipvsadm-restore --help"),
    (RESTORE, ["--back=memory"], "--back: unknown option; see ipvsadm-restore --help"),
    (SAVE, ["--full=yes"], "--full=yes: --full takes no argument; see ipvsadm-save --help"),
    (SAVE, ["-n-full"], "-n-full: -n takes no argument; see ipvsadm-save --help"),
    (SAVE, ["-f"], "-f: missing argument (FILE); see ipvsadm-save --help"),
    (SAVE, ["-f", ""], "-f: missing argument (FILE); see ipvsadm-save --help"),
    (SAVE, ["-f", "-n"], "-f: missing argument (FILE); see ipvsadm-save --help"),
    (SAVE, ["--netns="], "--netns: missing argument (NAME); see ipvsadm-save --help"),
    (
        RESTORE,
        ["--backend", "--dry-run"],
        "--backend: missing argument (SPEC); see ipvsadm-restore --help",
    ),
    *(
        (
            RESTORE,
            ["--confirm-within", value],
            f"--confirm-within: `{value}' is no number from 1 to 86400; see ipvsadm-restore --help",
        )
        for value in ("0", "86401", "x", "2d")
    ),
    (RESTORE, ["-f", "a", "-fb"], "-f: given twice; see ipvsadm-restore --help"),
]


@pytest.mark.parametrize(("program", "words", "said"), REFUSED)
def test_words_that_are_not_understood(program: Companion, words: list[str], said: str) -> None:
    with pytest.raises(OperationError) as exc_info:
        parse_words(program, words)
    assert str(exc_info.value) == f"{program.name}: {said}; {program.untouched}"
    assert exc_info.value.status == 2


@pytest.mark.parametrize("program", COMPANIONS.values(), ids=COMPANIONS)
def test_help_names_every_option_and_fits(program: Companion) -> None:
    shown = format_help(program).splitlines()
    assert [line for line in shown if len(line) > 100] == []
    for row in program.options:
        name = f"--{row.long}" if row.long else f"-{row.short}"
        assert [
            line for line in shown if line.endswith(row.help) and name in line.split(row.help)[0]
        ]
    example = shown[-1].split()
    assert parse_words(COMPANIONS[example[0]], example[1:])
