"""Run ipvsadm on a director, for the modules of this collection.

Owns: starting the program, and the message if it is another ipvsadm or says nothing. Must never
know: what a module asks of it.
"""

from __future__ import annotations

import json
import subprocess  # nosec B404  # see run()
from typing import Any


def run(command: list[str]) -> tuple[int, str, str]:
    """Run a command to its end; return its status (-N: ended by signal N) and all that it wrote.

    AnsibleModule.run_command can lose what a program wrote in the moment in which it ended: it
    stops reading once a wait of a second brought nothing and the program has ended by then.
    """
    try:
        # No shell reads the command.
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603  # nosec B603
    except OSError as exc:
        return 127, "", f"cannot run {command[0]}: {exc.strerror}"
    return (
        done.returncode,
        done.stdout.decode(errors="backslashreplace"),
        done.stderr.decode(errors="backslashreplace"),
    )


def parse_document(out: str, field: str) -> dict[str, Any] | None:
    """Return the JSON document that a command wrote; None if the output is none, or lacks the
    field.
    """
    try:
        document = json.loads(out)
    except ValueError:
        return None
    return document if isinstance(document, dict) and field in document else None


def explain_silence(program: str, status: int, err: str, option: str) -> str:
    """Return the message for a command that wrote no document.

    The program is asked for its version: ipvsadm 1.31 complains of an option or of the kernel,
    which says little of the reason. option: one that 1.31 lacks.
    """
    message = err.strip()
    if "pyipvsadm" not in run([program, "-v"])[1]:
        tail = f" (it said: {message})" if message else ""
        return (
            f"{program} has no {option}: it is another ipvsadm than pyipvsadm's;"
            f" name that with `executable'{tail}"
        )
    if message:
        return message
    ended = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"{program} {ended} and said nothing"
