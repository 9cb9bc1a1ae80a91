"""Make a file in a guest: `python -m MODULE inside` writes it below LAB_DIR, the only place in the
guest that the host shares.
"""

from __future__ import annotations

import shlex
import sys

from tests.lab.boot import LAB, REPO, Task, boot, missing
from tests.lab.verdict import judge


def made(module: str, name: str) -> str:
    """Run the module in a guest, show its console meanwhile, and return the text that it wrote to
    LAB_DIR/name. Exit the program if there is none.
    """
    if lack := missing():
        print(lack, file=sys.stderr)
        sys.exit(69)  # EX_UNAVAILABLE
    file = LAB / name
    file.unlink(missing_ok=True)
    command = shlex.join(["env", f"PYTHONPATH={REPO}", sys.executable, "-m", module, "inside"])
    verdict = judge(
        boot(
            Task(name="record", command=command),
            lambda piece: sys.stdout.write(piece.decode(errors="replace")),
        )
    )
    print(f"record: {verdict}", file=sys.stderr)
    if verdict.exit_status() or not file.exists():
        sys.exit(verdict.exit_status() or 70)  # EX_SOFTWARE
    text = file.read_text()
    file.unlink()
    return text
