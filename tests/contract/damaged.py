"""Damage files of rules in their last line, or cut them at a line end, and check what --apply makes
of them.

Owns: how the files are made (from a fixed seed), and what is promised of them. Must never know:
which backend answers.

The promise: no line is passed over, and without --force no service that the file names loses more
than half of its servers. A cut file may be a valid file with fewer servers, which is then applied:
check_damaged_files counts how often, so that this is not hidden.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # Words and standard input -> status and standard output.
    Ask = Callable[[str, bytes], tuple[int, str]]
    Servers = dict[str, set[str]]

SEED = 1310
ENDS = ("", " ", "  ", "\t\t", " \r", "\r\r", "\0", "\0\0\0", "  \0", " \t\r ", " " * 5000)
OTHERS = b"0123456789 .:-abc\t\r\0\f\xff"
ENDING, CUT, ZEROS, GARBLED, SHORT = KINDS = ("ending", "cut", "zeros", "garbled", "short")


def whole_file(chance: random.Random) -> list[str]:
    """Return the lines of a table: one to five services, each with up to nine servers."""
    lines = []
    for at in chance.sample(range(1, 200), chance.randint(1, 5)):
        host = f"[2001:db8::{at:x}]:80" if at % 3 == 0 else f"10.0.0.{at}:80"
        named = f"-f {at}" if at % 5 == 0 else f"{'-u' if at % 7 == 0 else '-t'} {host}"
        lines.append(f"-A {named} -s {chance.choice(('rr', 'wrr', 'wlc'))}")
        for server in chance.sample(range(1, 255), chance.randint(0, 9)):
            place = (
                f"[2001:db8:1::{server:x}]:8080"
                if at % 3 == 0 and at % 5
                else f"10.1.0.{server}:8080"
            )
            lines.append(f"-a {named} -r {place} -m -w {chance.randint(0, 1000)}")
    return lines


def damage(kind: str, lines: list[str], chance: random.Random) -> bytes:
    """Return the file of these lines, damaged."""
    text, last = "".join(f"{line}\n" for line in lines[:-1]).encode(), lines[-1].encode()
    at = chance.randrange(len(last))
    if kind == ENDING:
        return text + last + chance.choice(ENDS).encode()
    if kind == CUT:
        return text + last[:at]
    if kind == ZEROS:
        return text + last[:at] + bytes(len(last) - at)
    if kind == GARBLED:
        return (
            text
            + last[:at]
            + bytes([chance.choice(OTHERS)])
            + last[at + 1 :]
            + chance.choice((b"\n", b""))
        )
    short = "\n".join(lines[: chance.randint(1, max(1, len(lines) - 1))])
    return (short + chance.choice(("\n", ""))).encode()


def damaged_files(count: int) -> Iterator[tuple[str, list[str], bytes]]:
    """Yield the kind of damage, the lines of the intact file, the damaged file."""
    chance = random.Random(SEED)
    for at in range(count):
        lines = whole_file(chance)
        kind = KINDS[at % len(KINDS)]
        yield kind, lines, damage(kind, lines, chance)


def servers_of(text: str) -> Servers:
    """Return the servers of each service that rules name."""
    found: Servers = {}
    for line in text.splitlines():
        command, _, rest = line.partition(" ")
        named = rest.partition(" -s " if command == "-A" else " -r ")[0]
        found.setdefault(named, set())
        if command == "-a":
            found[named].add(rest.partition(" -r ")[2].split()[0])
    return found


def check_damaged_files(ask: Ask, count: int) -> Counter[str]:
    """Apply each damaged file to the table of its intact file. Return how many were refused, took
    servers away or took nothing away, by kind and option.
    """
    seen: Counter[str] = Counter()
    for kind, lines, text in damaged_files(count):
        for option in ("", " --prune"):
            whole = "".join(f"{line}\n" for line in lines)
            assert ask("-C", b"")[0] == 0
            assert ask("-R", whole.encode())[0] == 0
            before = servers_of(ask("-S -n", b"")[1])
            assert before == servers_of(whole)
            status, _ = ask(f"--apply{option}", text)
            after = servers_of(ask("-S -n", b"")[1])
            lost = check_promise(kind, option, lines, status, before, after, text)
            seen[
                f"{kind}{option}: {'refused' if status else 'takes servers away' if lost else 'takes nothing away'}"
            ] += 1
    return seen


def check_promise(
    kind: str,
    option: str,
    lines: list[str],
    status: int,
    before: Servers,
    after: Servers,
    text: bytes,
) -> set[str]:
    """Check the promise for one file, and return the servers that the services that are left have
    lost.
    """
    what = (kind, option, lines, text, status, after)
    if status:
        assert (status in {2, 255}, after) == (True, before), what
    if not option:
        assert after.keys() >= before.keys(), what
    lost: set[str] = set()
    for named in before.keys() & after.keys():
        gone = before[named] - after[named]
        assert 2 * len(gone) <= len(before[named]), what
        lost |= {f"{named} {server}" for server in gone}
    if kind == ENDING:
        assert after == before, what
    elif kind != SHORT:  # at most the server that the damaged line names
        assert len(lost) <= 1, what
        assert all(server.split()[-1] in lines[-1] for server in lost), what
    return lost
