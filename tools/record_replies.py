"""Record a kernel's replies: `python -m tools.record_replies` boots a guest and writes
recorded/KERNEL.json, its answers to the commands of table.py.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from contextlib import closing
from pathlib import Path

from tests.replies import recording, table

MADE = "replies.json"


def inside() -> None:
    """Record the replies in the guest."""
    from pyipvsadm.backends.kernel import KernelBackend  # noqa: PLC0415
    from pyipvsadm.resolver import Resolver  # noqa: PLC0415  # system calls for the guest only
    from tests.cases import ours, reference  # noqa: PLC0415
    from tests.kernel import netns  # noqa: PLC0415

    def asked(name: str) -> recording.Table:
        trace = recording.Trace()
        found = recording.Table(Path("/proc/net/ip_vs").read_bytes(), [], trace.exchanges)
        for step in table.STEPS[name]:
            ours.answer(step, Resolver(), lambda: Dumping(trace))
            found.answers.append((str(step), reference.answer(step)))
        assert Path("/proc/net/ip_vs").read_bytes() == found.file, "the table has changed meanwhile"
        return found

    class Dumping(KernelBackend):
        """Read everything by messages."""

        def read_proc_table(self) -> None:
            """Return None: then the listing asks for dumps."""

    tables = {}
    with netns.kept():
        netns.fresh()
        tables["empty"] = asked("empty")
        table.set_up()
        with closing(KernelBackend()) as kernel:
            assert netns.run_ours(["-R"], table.RULES.encode()) == netns.Result(0, b"", b"")
            for _ in table.traffic(kernel):
                tables["full"] = asked("full")
        netns.fresh()
        for line in table.DAEMONS:
            assert netns.run_ours(line.split()) == netns.Result(0, b"", b"")
        tables["daemons"] = asked("daemons")
    (Path(os.environ["LAB_DIR"]) / MADE).write_text(recording.dump(platform.release(), tables))


if __name__ == "__main__":
    if sys.argv[1:] == ["inside"]:
        inside()
    else:
        from tests.lab.make_file import made  # not in the guest

        text = made("tools.record_replies", MADE)
        (recording.FOLDER / f"{json.loads(text)['kernel']}.json").write_text(text)
