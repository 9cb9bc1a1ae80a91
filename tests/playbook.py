"""Run Ansible on several directors that are all this machine: a playbook of one task, its output,
and its recap.

Owns: the inventory, the environment, the reading of the recap. Must never know: what a task of the
module means.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

REPO = Path(__file__).resolve().parents[1]
IPVSADM = Path(sys.executable).with_name("ipvsadm")
TIMEOUT = 300


@dataclass(frozen=True)
class Run:
    """Hold the result of a playbook. recap: by host, how many tasks were ok, changed, failed ..."""

    status: int
    output: str
    recap: dict[str, dict[str, int]]

    def counts(self, word: str) -> list[int]:
        """Return that count of each host."""
        return [found[word] for found in self.recap.values()]


def play(
    folder: Path,
    directors: Mapping[str, Mapping[str, object]],
    task: Mapping[str, object] | Sequence[dict[str, Any]],
    *options: str,
) -> Run:
    """Run a task of ipvs_rules, or several tasks of any module, on all directors. A director is
    given by its variables.

    A variable `surroundings` is the environment of ipvsadm on that director.
    """
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory, playbook = folder / "inventory.json", folder / "playbook.json"
    inventory.write_text(json.dumps({"all": {"hosts": directors, "vars": variables}}))
    tasks: list[dict[str, Any]] = (
        [{"pyipvsadm.lvs.ipvs_rules": dict(task)}]
        if isinstance(task, Mapping)
        else [dict(each) for each in task]
    )
    for each in tasks:
        for module in [name for name in each if name.startswith("pyipvsadm.lvs.")]:
            each[module] = {"executable": str(IPVSADM), **(each[module] or {})}
            each["environment"] = "{{ surroundings | default({}) }}"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", inventory, *options, playbook],
        cwd=folder,
        env=os.environ
        | {
            "ANSIBLE_COLLECTIONS_PATH": str(REPO),
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_REMOTE_TEMP": str(folder),
            "ANSIBLE_PIPELINING": "1",  # Ansible passes modules by standard input, not as files
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
            "COLUMNS": "1000",
            "LC_ALL": "C.UTF-8",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    rows = re.findall(r"^(\S+) +: (ok=.*)$", done.stdout, re.MULTILINE)
    recap = {
        host: {word: int(count) for word, count in re.findall(r"(\w+)=(\d+)", counts)}
        for host, counts in rows
    }
    assert recap.keys() == directors.keys(), done.stdout
    return Run(done.returncode, done.stdout, recap)
