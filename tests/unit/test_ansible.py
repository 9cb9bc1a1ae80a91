"""The collection: its module on embedded tables, run by Ansible; its papers against what the module takes and gives."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pyipvsadm import __version__
from pyipvsadm.options import OPTIONS, SLOTS
from tests.playbook import IPVSADM, play
from tests.unit.worlds import lines

if TYPE_CHECKING:
    from types import ModuleType

COLLECTION = Path("ansible_collections/pyipvsadm/lvs")
WEB = "-A -t 10.0.0.1:80 -s rr"
SERVER = "-a -t 10.0.0.1:80 -r 192.168.10.8:80 -m -w 1"
RULES = lines(WEB, SERVER)
OLD = lines("-A -t 10.0.0.1:80 -s wlc", "-A -f 7 -s rr")
SAID = "this changes the embedded table, not the kernel"


@pytest.fixture(scope="module")
def ipvs_rules() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ipvs_rules", COLLECTION / "plugins/modules/ipvs_rules.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- run by Ansible


def test_three_directors(tmp_path: Path) -> None:
    """Check mode tells what would be done, a run does it, a second one finds nothing to do."""
    tables = [tmp_path / name for name in ("one", "two", "three")]
    directors = {path.name: {"surroundings": {"IPVSADM_BACKEND": f"memory:{path}"}} for path in tables}
    for path in tables:
        path.write_text(OLD)
    task = {"rules": RULES}
    tried = play(tmp_path, directors, task, "--check", "--diff")
    assert (tried.status, tried.counts("changed"), tried.counts("failed")) == (0, [1, 1, 1], [0, 0, 0]), tried.output
    assert tried.output.count(lines(SERVER, "-E -t 10.0.0.1:80 -s rr")) == 3
    assert [path.read_text() for path in tables] == [OLD] * 3
    for changed in (1, 0):
        done = play(tmp_path, directors, task)
        assert (done.status, done.counts("changed"), done.counts("failed")) == (0, [changed] * 3, [0, 0, 0]), done.output
        assert all(WEB in path.read_text() and SERVER in path.read_text() for path in tables)


def module(tmp_path: Path, **arguments: object) -> dict[str, Any]:
    """The module's own answer, as Ansible gets it from a director."""
    script = (
        "import json, runpy, sys\n"
        "from ansible.module_utils import basic\n"
        "basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = sys.argv.pop(1).encode(), 'legacy'\n"
        "runpy.run_path(sys.argv[1], run_name='__main__')\n"
    )
    given = {"executable": str(IPVSADM), "_ansible_remote_tmp": str(tmp_path), **arguments}
    command: list[str | Path] = [
        sys.executable,
        "-c",
        script,
        json.dumps({"ANSIBLE_MODULE_ARGS": given}),
        COLLECTION / "plugins/modules/ipvs_rules.py",
    ]
    environ = {"IPVSADM_BACKEND": f"memory:{tmp_path / 'table'}", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == bool(answer.get("failed"))
    return answer


CHECK = {"_ansible_check_mode": True}
DIFF = {"_ansible_diff": True}
COUNTS = ("added", "changed", "removed", "unchanged", "services_not_in_file")


@pytest.mark.parametrize(
    ("arguments", "counts", "after"),
    [
        ({"rules": RULES}, (1, 1, 0, 0, 1), (WEB, SERVER, "-A -f 7 -s rr")),
        ({"rules": OLD}, (0, 0, 0, 2, 0), OLD.splitlines()),
        ({"rules": RULES, **CHECK}, (1, 1, 0, 0, 1), OLD.splitlines()),
        ({"rules": RULES, "prune": True}, (1, 1, 1, 0, 0), (WEB, SERVER)),
        ({"rules": "", "allow_empty": True}, (0, 0, 0, 0, 2), OLD.splitlines()),
        ({"rules": "", "allow_empty": True, "prune": True, "force": True}, (0, 0, 2, 0, 0), ()),
        ({"src": "{}/rules", "keep_weights": True}, (0, 1, 0, 1, 0), ("-A -t 10.0.0.1:80 -s wlc", "-A -f 7 -s wrr")),
    ],
)
def test_what_is_done_is_told(arguments: dict[str, object], counts: tuple[int, ...], after: list[str], tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.write_text(OLD)
    (tmp_path / "rules").write_text(lines("-A -t 10.0.0.1:80 -s wlc", "-A -f 7 -s wrr"))
    arguments = {name: value.format(tmp_path) if isinstance(value, str) else value for name, value in arguments.items()}
    answer = module(tmp_path, **arguments, **DIFF)
    assert answer["summary"] == dict(zip(COUNTS, counts, strict=True))
    assert answer["changed"] == bool(sum(counts[:3])) == bool(answer["steps"])
    assert answer["diff"] == {"prepared": lines(*answer["steps"])}
    assert {line for line in table.read_text().splitlines() if line.startswith("-")} - {"--set 900 120 300"} == set(after)
    assert "diff" not in module(tmp_path, **arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"rules": f"{RULES}-a -t 10.0.0.1:80 -r 192.168.10.9 -m -w x\n"}, "line 3: illegal weight specified"),
        ({"src": "/no/such/rules"}, "cannot read /no/such/rules: No such file or directory"),
        ({"rules": "# nothing\n"}, "there is no rule in the input: nothing was done (--allow-empty takes it for what it says)"),
        ({"rules": RULES + "-A -t 10.0.0.2:80 -s nonsense\n"},
         "line 3: -A -t 10.0.0.2:80 -s nonsense: Scheduler or persistence engine not found"),
        ({"rules": RULES + "-d -t 10.0.0.1:80 -r 192.168.10.9\n", **CHECK},
         "line 3: only -A, -a, --set and --start-daemon lines describe a table"),
        ({"rules": RULES + "-A -t 10.0.0.2:80 -s nonsense\n", **CHECK},
         "line 3: -A -t 10.0.0.2:80 -s nonsense: Scheduler or persistence engine not found"),
        ({"rules": RULES, "netns": ".."},
         "`..' is no network namespace: it is NAME (a file of /run/netns), PID, or PATH (with a slash)"),
        ({}, "one of the following is required: rules, src"),
        ({"rules": RULES, "src": "x"}, "parameters are mutually exclusive: rules|src"),
        ({"rules": RULES, "executable": "/bin/false"}, "/bin/false ended with status 1 and said nothing"),
        ({"rules": RULES, "executable": "{}/other"},
         "{}/other has no --apply: it is another ipvsadm than pyipvsadm's; name that with `executable'"),
    ],
)  # fmt: skip
def test_a_failure_says_what_and_changes_nothing(arguments: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "table").write_text(OLD)
    other = tmp_path / "other"
    other.write_text('#!/bin/sh\necho "--apply: unknown option" >&2\nexit 255\n')
    other.chmod(0o755)
    given = {name: value.format(tmp_path) if name == "executable" else value for name, value in arguments.items()}
    answer = module(tmp_path, **given)
    assert (answer["failed"], answer.get("changed", False)) == (True, False)
    assert answer["msg"].removeprefix(f"ipvsadm: IPVSADM_BACKEND=memory:{tmp_path}/table: {SAID}\n") == said.format(tmp_path)
    assert (tmp_path / "table").read_text() == OLD


def test_what_stands_after_a_refusal_is_a_change(ipvs_rules: ModuleType, tmp_path: Path) -> None:
    """An ipvsadm that could not undo all: only with somebody else at the same table, so it is played."""
    told = {
        **dict.fromkeys(COUNTS, 1),
        "steps": [{"line": 1, "rule": WEB}],
        "refused": [{"line": None, "rule": SERVER, "message": "No"}],
        "stands": [{"line": 1, "rule": WEB, "message": "it was changed"}],
        "unchecked": [],
    }
    played = tmp_path / "played"
    played.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(told)}\nEND\nexit 255\n")
    played.chmod(0o755)
    answer = module(tmp_path, rules=RULES, executable=str(played))
    assert (answer["failed"], answer["changed"], answer["rc"]) == (True, True, 255)
    assert answer["msg"] == f"{SERVER}: No\nnot undone, it stands: {WEB}: it was changed"
    assert ipvs_rules.SUMMARY == COUNTS


def test_what_ipvsadm_says_beside_it_is_a_warning(tmp_path: Path) -> None:
    answer = module(tmp_path, rules=RULES)
    warnings = [each["event"]["msg"] if isinstance(each, dict) else each for each in answer.get("warnings", [])]
    assert all(SAID in each for each in warnings)
    assert answer["changed"]


# --- its papers


def test_the_documentation_is_of_what_it_takes(ipvs_rules: ModuleType) -> None:
    documented = yaml.safe_load(ipvs_rules.DOCUMENTATION)["options"]
    taken = ipvs_rules.argument_spec()
    assert {name: {key: row[key] for key in ("type", "default") if key in row} for name, row in documented.items()} == taken
    # Each flag is an option of --apply.
    of_apply = {row.long for row in OPTIONS for slot in SLOTS if slot.name == row.slot and slot.optional == {"apply"}}
    assert {name.replace("_", "-") for name in ipvs_rules.FLAGS} == of_apply


def test_the_examples_are_tasks_that_it_takes(ipvs_rules: ModuleType, tmp_path: Path) -> None:
    tasks = yaml.safe_load(ipvs_rules.EXAMPLES)
    for task in tasks:
        arguments = task["pyipvsadm.lvs.ipvs_rules"]
        assert arguments.keys() <= ipvs_rules.argument_spec().keys()
        assert task["name"]
    assert module(tmp_path, **tasks[0]["pyipvsadm.lvs.ipvs_rules"])["summary"]["added"] == 3


def test_what_is_documented_is_returned(ipvs_rules: ModuleType, tmp_path: Path) -> None:
    documented = yaml.safe_load(ipvs_rules.RETURN)
    answer = module(tmp_path, rules=RULES)
    assert documented.keys() == answer.keys() - {"changed", "invocation", "warnings", "deprecations"}
    assert documented["summary"]["sample"].keys() == answer["summary"].keys()


def test_the_collection_is_of_this_version() -> None:
    papers = yaml.safe_load((COLLECTION / "galaxy.yml").read_text())
    assert (papers["namespace"], papers["name"], papers["version"]) == (*COLLECTION.parts[1:], __version__)
    assert (COLLECTION / papers["readme"]).exists()
    assert yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text()).keys() == {"requires_ansible"}
