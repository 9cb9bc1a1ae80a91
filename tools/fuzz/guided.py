"""Fuzz by coverage: `python -m tools.fuzz.guided [SECONDS [TARGET...]]` lets atheris choose inputs
by the code of ours that they reach.

Owns: how bytes become the input of a target, and seeds. Must never know: what a target does. Each
target runs in a process of its own, which libFuzzer ends. Its findings stay in
.lab/fuzz/TARGET-crash-...: make each a test case.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PLACE = Path(".lab/fuzz")
LONGEST = 400  # bytes of an input
TEXTS = ("connections", "table_file", "rules", "embedded_file", "argv")


def from_bytes(name: str) -> Callable[[bytes], object]:
    """Return a target as a function of bytes: of the text itself, or, for other targets, of the
    bytes that Hypothesis draws from.
    """
    from hypothesis import given  # noqa: PLC0415  # the package must be imported after atheris

    from tools.fuzz import targets  # noqa: PLC0415

    target = targets.TARGETS[name]
    if name == "connections":
        words = ("-Lnc", "-Lc", "-Lnc --persistent-conn", "-Lc --json", "-Lc --pretty")
        return lambda data: target.run(
            (words[data[0] % len(words)] if data else words[0], data[1:])
        )
    if name == "argv":
        return lambda data: target.run(
            [os.fsdecode(word) for word in data.replace(b"\0", b"").split(b"\n")]
        )
    if name in TEXTS:
        return target.run

    def one(drawn: object) -> None:
        target.run(drawn)

    guided: Callable[[bytes], object] = given(target.inputs)(one).hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    return guided


def seeds(name: str) -> list[bytes]:
    """Return valid inputs to begin with."""
    from tools.fuzz import targets  # noqa: PLC0415

    return {
        "connections": [b"\0" + targets.CONNECTIONS[0] + line for line in targets.CONNECTIONS],
        "table_file": [targets.TABLE[0] + line for line in targets.TABLE],
        "argv": [rule.replace(b" ", b"\n") for rule in targets.RULES],
    }.get(name, list(targets.RULES))


def run(name: str, seconds: int) -> None:
    """Fuzz one target. Never returns."""
    import atheris  # noqa: PLC0415  # not among the tests' requirements

    with atheris.instrument_imports(include=["pyipvsadm"]):
        body = from_bytes(name)
    folder = PLACE / name
    folder.mkdir(parents=True, exist_ok=True)
    for at, seed in enumerate(seeds(name)):
        (folder / f"seed-{at}").write_bytes(seed)

    def one(data: bytes) -> Any:
        body(data)

    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-artifact_prefix={PLACE}/{name}-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder)], one)
    atheris.Fuzz()


def main() -> int:
    from tools.fuzz.targets import TARGETS  # noqa: PLC0415

    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    names = sys.argv[2:] or list(TARGETS)
    status = 0
    for name in names:
        command = [
            sys.executable,
            "-c",
            f"from tools.fuzz.guided import run; run({name!r}, {round(seconds / len(names))})",
        ]
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        lines = done.stdout.splitlines()
        if done.returncode:
            status = 1
            print(f"{name}: FAILED\n" + "\n".join(lines[-60:]), flush=True)
        else:
            print(
                f"{name}: {next((line for line in reversed(lines) if 'DONE' in line), 'no input was tried')}",
                flush=True,
            )
    return status


if __name__ == "__main__":
    sys.exit(main())
