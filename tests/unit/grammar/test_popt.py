"""Test popt's grammar: which words are options, which are their values, which are positional, and
which word an error names.

Expected values follow popt 1.19 (popt.c: poptGetNextOpt, expandNextArg, poptBadOption).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm.errors import LineSkippedError
from pyipvsadm.grammar.popt import PoptScanner

Read = list[tuple[str, "str | None"]]


def read(words: list[str], posix: bool = False) -> tuple[Read, list[str]]:
    """Return all options as (long name, value), and the positional words."""
    scanned = PoptScanner(words, posix)
    found = []
    while (row := scanned.read_option()) is not None:
        found.append((row.long, scanned.value))
    return found, scanned.positional


# (words, options with their values, positional words)
GRAMMAR: dict[str, tuple[list[str], Read, list[str]]] = {
    "nothing": ([], [], []),
    "a long option": (["--list"], [("list", None)], []),
    "short options apart": (["-L", "-n"], [("list", None), ("numeric", None)], []),
    "the other letter of list": (["-l"], [("list", None)], []),
    "a cluster": (["-Lnc"], [("list", None), ("numeric", None), ("connection", None)], []),
    "a value after a cluster": (["-At", "V"], [("add-service", None), ("tcp-service", "V")], []),
    "a value within a cluster": (["-AtV", "-n"], [("add-service", None), ("tcp-service", "V"), ("numeric", None)], []),
    "letters of options in an attached value": (["-tnnn"], [("tcp-service", "nnn")], []),
    "= after a letter": (["-t=V"], [("tcp-service", "V")], []),
    "only the first = is dropped": (["-t==V"], [("tcp-service", "=V")], []),
    "= and nothing": (["-t="], [("tcp-service", "")], []),
    "= after a name": (["--tcp-service=V"], [("tcp-service", "V")], []),
    "a second = is the value's": (["--tcp-service=a=b"], [("tcp-service", "a=b")], []),
    "a name, = and nothing": (["--tcp-service="], [("tcp-service", "")], []),
    "a value of its own": (["--tcp-service", "V"], [("tcp-service", "V")], []),
    "an empty value": (["-t", ""], [("tcp-service", "")], []),
    "a value that looks like an option": (["-t", "-n"], [("tcp-service", "-n")], []),
    "a value that ends options elsewhere": (["-t", "--", "-n"], [("tcp-service", "--"), ("numeric", None)], []),
    "a value that is a dash": (["-t", "-"], [("tcp-service", "-")], []),
    "an optional value": (["-p", "5"], [("persistent", "5")], []),
    "an optional value by name": (["--persistent", "5"], [("persistent", "5")], []),
    "an optional value, attached": (["-p5"], [("persistent", "5")], []),
    "an optional value, attached with =": (["-p=5"], [("persistent", "5")], []),
    "an optional value, by name with =": (["--persistent=5"], [("persistent", "5")], []),
    "an optional value, empty": (["-p", ""], [("persistent", "")], []),
    "an optional value, by name, empty": (["--persistent="], [("persistent", "")], []),
    "an optional value left out at the end": (["-p"], [("persistent", None)], []),
    "an optional value left out before an option": (["-p", "-n"], [("persistent", None), ("numeric", None)], []),
    "an optional value left out before --": (["-p", "--", "5"], [("persistent", None)], ["5"]),
    "an optional value is not a dash": (["-p", "-"], [("persistent", None)], ["-"]),
    "an optional value is not negative": (["-p", "-6"], [("persistent", None), ("ipv6", None)], []),
    "a given value may start with a dash": (["--persistent=-5"], [("persistent", "-5")], []),
    "no value is left over from the option before": (["-t", "V", "-n"], [("tcp-service", "V"), ("numeric", None)], []),
    "bare words anywhere": (["a", "-L", "b", "-n", "c"], [("list", None), ("numeric", None)], ["a", "b", "c"]),
    "an empty word is bare": (["", "-n"], [("numeric", None)], [""]),
    "a dash is bare": (["-", "-n"], [("numeric", None)], ["-"]),
    "-- ends options": (["-n", "--", "-c", "--", "-"], [("numeric", None)], ["-c", "--", "-"]),
    "one dash makes letters of a name": (["-list"], [("list", None), ("ipip", None), ("scheduler", "t")], []),
    "an option again": (["-n", "-n", "-t", "1", "-t", "2"],
                        [("numeric", None), ("numeric", None), ("tcp-service", "1"), ("tcp-service", "2")], []),
    "a substitution takes the next bare word": (["-t", "!#:+", "V", "-n"], [("tcp-service", "V"), ("numeric", None)], []),
    "a substitution passes options by": (["-t", "!#:+", "-n", "V"], [("tcp-service", "V"), ("numeric", None)], []),
    "a substitution within a value": (["-t", "a!#:+b", "V"], [("tcp-service", "aVb")], []),
    "one word for all of a value's": (["-t", "!#:+,!#:+", "V", "W"], [("tcp-service", "V,V")], ["W"]),
    "a substitution in an attached value": (["-t!#:+", "V"], [("tcp-service", "V")], []),
    "a substitution after =": (["--tcp-service=!#:+", "V"], [("tcp-service", "V")], []),
    "a mark may be put in, and be the next value": (["-t", "!#:+", "-s", "!#:+", "V", "W"],
                                                    [("tcp-service", "!#:+"), ("scheduler", "V")], ["W"]),
    "a word is substituted once": (["-t", "!#:+", "-s=!#:+", "V", "W"], [("tcp-service", "V"), ("scheduler", "W")], []),
    "what is put in is not looked at": (["-t", "!#:+", "!#:+"], [("tcp-service", "!#:+")], []),
    "a word put in is still the next option's value": (["-t=!#:+", "-s", "V"], [("tcp-service", "V"), ("scheduler", "V")], []),
    "an empty word is put in": (["-t", "a!#:+b", ""], [("tcp-service", "ab")], []),
    "no word to put in": (["-t", "!#:+"], [("tcp-service", "!#:+")], []),
    "no word to put in but options": (["-t", "!#:+", "-n"], [("tcp-service", "!#:+"), ("numeric", None)], []),
    "part of the mark is none": (["-t", "!#:", "V"], [("tcp-service", "!#:")], ["V"]),
}  # fmt: skip


@pytest.mark.parametrize(("words", "options", "bare"), GRAMMAR.values(), ids=GRAMMAR.keys())
def test_grammar(words: list[str], options: Read, bare: list[str]) -> None:
    assert read(words) == (options, bare)


POSIX: dict[str, tuple[list[str], Read, list[str]]] = {
    "the first bare word ends options": (["-n", "a", "-c"], [("numeric", None)], ["a", "-c"]),
    "so does a dash": (["-n", "-", "-c"], [("numeric", None)], ["-", "-c"]),
    "an option's value is not bare": (
        ["-t", "V", "-n", "a"],
        [("tcp-service", "V"), ("numeric", None)],
        ["a"],
    ),
    "--": (["--", "-c"], [], ["-c"]),
}


@pytest.mark.parametrize(("words", "options", "bare"), POSIX.values(), ids=POSIX.keys())
def test_posixly_correct(words: list[str], options: Read, bare: list[str]) -> None:
    assert read(words, posix=True) == (options, bare)


# (words, the message): the word at fault is the last one taken, whole
FAULTS: dict[str, tuple[list[str], str]] = {
    "unknown letter": (["-L", "-z"], "-z: unknown option"),
    "unknown letter in a cluster": (["-Lnz"], "-Lnz: unknown option"),
    "unknown name": (["--bogus"], "--bogus: unknown option"),
    "unknown name with a value": (["--bogus=5"], "--bogus=5: unknown option"),
    "names are not abbreviated": (["--tcp-serv", "V"], "--tcp-serv: unknown option"),
    "no third dash": (["---list"], "---list: unknown option"),
    "no name": (["--=V"], "--=V: unknown option"),
    "= is no letter": (["-="], "-=: unknown option"),
    "a letter outside ASCII": (
        ["-\N{LATIN SMALL LETTER E WITH ACUTE}"],
        "-\N{LATIN SMALL LETTER E WITH ACUTE}: unknown option",
    ),
    "names are case-sensitive": (["--LIST"], "--LIST: unknown option"),
    "no value": (["-L", "-t"], "-t: missing argument"),
    "no value after a cluster": (["-At"], "-At: missing argument"),
    "no value after a name": (["--weight"], "--weight: missing argument"),
    "the last word though a value": (["-t", "V", "-w"], "-w: missing argument"),
    "an unwanted value": (["--numeric=5"], "--numeric=5: option does not take an argument"),
    "an unwanted empty value": (["--numeric="], "--numeric=: option does not take an argument"),
    "an unwanted value after a letter": (["-n=5"], "-n=5: option does not take an argument"),
    "an unwanted value in a cluster": (["-Ln="], "-Ln=: option does not take an argument"),
    "a command's unwanted value": (["--list=x"], "--list=x: option does not take an argument"),
}


@pytest.mark.parametrize(("words", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_faults(words: list[str], message: str) -> None:
    with pytest.raises(LineSkippedError) as caught:
        read(words)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("words", "options", "named"),
    [
        ([], 0, "ipvsadm"),  # argv[0]
        (["-A", "-t", "V"], 1, "-A"),
        (["-A", "-t", "V"], 2, "V"),  # a value was taken after its option
        (["-A", "bare", "-n"], 2, "-n"),
        (["-Ln"], 2, "-Ln"),
    ],
)
def test_the_word_named(words: list[str], options: int, named: str) -> None:
    scanned = PoptScanner(words, posix=False)
    for _ in range(options):
        assert scanned.read_option() is not None
    assert scanned.get_bad_option() == named


WORDS = st.one_of(
    st.sampled_from(
        [
            "-",
            "--",
            "",
            "-t",
            "-p",
            "-n",
            "-Ln",
            "--tcp-service",
            "--persistent=",
            "!#:+",
            "-t=!#:+",
            "V",
            "-=",
        ]
    ),
    st.text(max_size=6),
)


@given(st.lists(WORDS, max_size=8), st.booleans())
def test_any_words_end(words: list[str], posix: bool) -> None:
    scanned = PoptScanner(words, posix)
    fault = None
    found = 0
    try:
        while scanned.read_option() is not None:
            found += 1
    except LineSkippedError as exc:
        fault = str(exc)
    assert found <= sum(len(word) for word in words)  # no word has more options than characters
    assert fault is None or fault.startswith(f"{scanned.get_bad_option()}: ")
    assert all(word in words for word in scanned.positional)


class CountedWord(str):
    """Count the characters that are copied out of a word."""

    __slots__ = ()
    copied = 0

    def __getitem__(self, index: Any) -> CountedWord:
        part = super().__getitem__(index)
        CountedWord.copied += len(part)
        return CountedWord(part)


@pytest.mark.parametrize("word", ["-{}", "-A{}", "-{}=V", "-6t{}"])
def test_a_cluster_is_copied_once(word: str) -> None:
    counts = []
    for times in (100, 1000):
        CountedWord.copied = 0
        with suppress(LineSkippedError):  # 6 takes no argument
            read([CountedWord(word.format("6" * times)), "x"])
        counts.append(CountedWord.copied)
    assert counts[0] * 8 <= counts[1] <= counts[0] * 11
