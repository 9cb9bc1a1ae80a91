"""Define what a case is: command lines that run one after the other, on a table that is empty at
first.

Owns: the shape of a case. Must never know: which program runs it, what that answers
(recorded.json).

A step is written as a line (split as a shell does), as a list of words (for words that a shell
would mangle), or with `run`.
"""

from __future__ import annotations

import shlex
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Step:
    """Describe one run: the words after the program's name, standard input, additions to the
    environment.
    """

    argv: tuple[str, ...]
    stdin: bytes = b""
    program: str = "ipvsadm"
    environ: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the step as a shell command. The recording keeps this text, so that a stale
        recording shows.
        """
        words = [
            *(f"{name}={value}" for name, value in self.environ.items()),
            self.program,
            *self.argv,
        ]
        line = shlex.join(words)
        if len(self.stdin) > 500:  # a checksum shows a change as well as the text would
            return f"{line} <<< {len(self.stdin)} bytes, CRC {zlib.crc32(self.stdin):08x}"
        return f"{line} <<< {self.stdin.decode('latin-1')!r}" if self.stdin else line


@dataclass(frozen=True)
class Case:
    """Hold the steps, and a text that replaces /proc/net/ip_vs_conn while they run (None: the
    kernel's own).
    """

    steps: tuple[Step, ...]
    connections: bytes | None = None


Written = Union[str, list[str], Step]
Cases = dict[str, list[Written]]


def run(
    words: str | Sequence[str],
    stdin: str | bytes = b"",
    program: str = "ipvsadm",
    environ: Mapping[str, str] | None = None,
) -> Step:
    """Return a step that needs more than words."""
    argv = tuple(shlex.split(words) if isinstance(words, str) else words)
    return Step(argv, stdin.encode() if isinstance(stdin, str) else stdin, program, environ or {})


def restore(rules: str | bytes, program: str = "ipvsadm") -> Step:
    """Return a step that reads rules: `ipvsadm -R` or `ipvsadm-restore`."""
    return run("-R" if program == "ipvsadm" else "", rules, program)


def read(written: Sequence[Written]) -> tuple[Step, ...]:
    """Return the steps that are written as words, lines or steps."""
    return tuple(step if isinstance(step, Step) else run(step) for step in written)


# List all that a case leaves in the table, in one run. Not with -S: ours writes more about a server
# than 1.31 does.
LOOK = restore("-L -n --tun-info\n-L -n --thresholds\n-L --timeout\n-L --daemon\n")
