"""Test the collection: its module on embedded tables, run by Ansible; and its documentation against
the module's arguments and results.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pyipvsadm import __version__
from pyipvsadm.grammar.options import OPTIONS, SLOTS
from tests.older_python import zip_equal
from tests.playbook import IPVSADM, play
from tests.unit.fake_environment import lines

if TYPE_CHECKING:
    from types import ModuleType

COLLECTION = Path("ansible_collections/pyipvsadm/lvs")
WEB = "-A -t 10.0.0.1:80 -s rr"
SERVER = "-a -t 10.0.0.1:80 -r 192.168.10.8:80 -m -w 1"
RULES = lines(WEB, SERVER)
OLD = lines("-A -t 10.0.0.1:80 -s wlc", "-A -f 7 -s rr")
OTHER = "has no --apply: it is another ipvsadm than pyipvsadm's; name that with `executable'"
NO_PROGRAM = os.strerror(errno.ENOEXEC)
SAID = "this changes the embedded table, not the kernel"


@pytest.fixture(scope="module")
def ipvs_rules() -> ModuleType:
    return load("ipvs_rules")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, COLLECTION / f"plugins/modules/{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- run by Ansible


def test_three_directors(tmp_path: Path) -> None:
    """Check mode shows the changes, a run makes them, a second run finds nothing to do."""
    tables = [tmp_path / name for name in ("one", "two", "three")]
    directors = {
        path.name: {"surroundings": {"IPVSADM_BACKEND": f"memory:{path}"}} for path in tables
    }
    for path in tables:
        path.write_text(OLD)
    task = {"rules": RULES}
    tried = play(tmp_path, directors, task, "--check", "--diff")
    assert (tried.status, tried.counts("changed"), tried.counts("failed")) == (
        0,
        [1, 1, 1],
        [0, 0, 0],
    ), tried.output
    assert tried.output.count(lines(f"+{WEB}", f"+{SERVER}")) == 3
    assert [path.read_text() for path in tables] == [OLD] * 3
    for changed in (1, 0):
        done = play(tmp_path, directors, task)
        assert (done.status, done.counts("changed"), done.counts("failed")) == (
            0,
            [changed] * 3,
            [0, 0, 0],
        ), done.output
        assert all(WEB in path.read_text() and SERVER in path.read_text() for path in tables)


def module(
    tmp_path: Path, module_name: str = "ipvs_rules", /, **arguments: object
) -> dict[str, Any]:
    """Run the module, and return its answer as Ansible gets it from a director."""
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
        COLLECTION / f"plugins/modules/{module_name}.py",
    ]
    environ = {
        "IPVSADM_BACKEND": f"memory:{tmp_path / 'table'}",
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == bool(answer.get("failed"))
    return answer


CHECK: dict[str, object] = {"_ansible_check_mode": True}
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
        (
            {"src": "{}/rules", "keep_weights": True},
            (0, 1, 0, 1, 0),
            ("-A -t 10.0.0.1:80 -s wlc", "-A -f 7 -s wrr"),
        ),
    ],
)
def test_what_is_done_is_told(
    arguments: dict[str, object], counts: tuple[int, ...], after: list[str], tmp_path: Path
) -> None:
    table = tmp_path / "table"
    table.write_text(OLD)
    (tmp_path / "rules").write_text(lines("-A -t 10.0.0.1:80 -s wlc", "-A -f 7 -s wrr"))
    arguments = {
        name: value.format(tmp_path) if isinstance(value, str) else value
        for name, value in arguments.items()
    }
    answer = module(tmp_path, **arguments, **DIFF)
    assert answer["summary"] == dict(zip_equal(COUNTS, counts))
    assert answer["changed"] == bool(sum(counts[:3])) == bool(answer["steps"])
    (diff,) = answer["diff"]
    saved = [sorted(diff[side].splitlines()) for side in ("before", "after")]
    assert saved[0] == sorted(OLD.splitlines())
    assert (saved[0] == saved[1]) == (not answer["changed"])
    if "_ansible_check_mode" not in arguments:
        assert saved[1] == sorted(after)
    assert {line for line in table.read_text().splitlines() if line.startswith("-")} - {
        "--set 900 120 300"
    } == set(after)
    assert "diff" not in module(tmp_path, **arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"rules": f"{RULES}-a -t 10.0.0.1:80 -r 192.168.10.9 -m -w x\n"},
     "rules:3: illegal weight specified: '-a -t 10.0.0.1:80 -r 192.168.10.9 -m -w x'"),
        ({"src": "/no/such/rules"}, "cannot read /no/such/rules: No such file or directory"),
        ({"rules": "# nothing\n"}, "the input has no rule: nothing was done (`allow_empty' accepts an empty input)"),
        ({"rules": RULES + "-A -t 10.0.0.2:80 -s nonsense\n"},
         "line 3: -A -t 10.0.0.2:80 -s nonsense: Scheduler or persistence engine not found"),
        ({"rules": RULES + "-d -t 10.0.0.1:80 -r 192.168.10.9\n", **CHECK},
         "rules:3: only -A, -a, --set and --start-daemon lines describe a table: '-d -t 10.0.0.1:80 -r 192.168.10.9'"),
        ({"rules": RULES + "-A -t 10.0.0.2:80 -s nonsense\n", **CHECK},
         "line 3: -A -t 10.0.0.2:80 -s nonsense: Scheduler or persistence engine not found"),
        ({"rules": RULES, "netns": ".."},
         "`..' is not a network namespace: use NAME (in /run/netns), PID, or PATH (with a slash)"),
        ({}, "one of the following is required: rules, src"),
        ({"rules": RULES, "src": "x"}, "parameters are mutually exclusive: rules|src"),
        ({"rules": RULES, "executable": "/bin/false"}, f"/bin/false {OTHER}"),
        ({"rules": RULES, "executable": "{}/other"}, f"{{}}/other {OTHER} (it said: Try `ipvsadm -h' for more information.)"),
        ({"rules": RULES, "executable": "{}/nothing"},
         f"{{}}/nothing {OTHER} (it said: cannot run {{}}/nothing: {NO_PROGRAM})"),
    ],
)  # fmt: skip
def test_a_failure_says_what_and_changes_nothing(
    arguments: dict[str, Any], said: str, tmp_path: Path
) -> None:
    (tmp_path / "table").write_text(OLD)
    played(tmp_path / "other", """echo "Try \\`ipvsadm -h' for more information." >&2; exit 255""")
    (tmp_path / "nothing").touch(0o755)
    given = {
        name: value.format(tmp_path) if name == "executable" else value
        for name, value in arguments.items()
    }
    answer = module(tmp_path, **given)
    assert (answer["failed"], answer.get("changed", False)) == (True, False)
    assert answer["msg"].removeprefix(
        f"ipvsadm: IPVSADM_BACKEND=memory:{tmp_path}/table: {SAID}\n"
    ) == said.replace("{}", str(tmp_path))
    assert (tmp_path / "table").read_text() == OLD


def played(path: Path, script: str) -> Path:
    """Write an ipvsadm that is a shell script."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


DID = {"line": 1, "rule": WEB}
STANDS = {**DID, "message": "it was changed"}
REPORT = {
    **dict.fromkeys(COUNTS, 1),
    "steps": [DID],
    "refused": [],
    "signal": None,
    "undone": 0,
    "not_undone": [],
    "unchecked": [],
}
ENDS: list[tuple[dict[str, object], int, dict[str, object], bool, bool, str]] = [
    ({}, 0, {}, False, True, ""),
    ({}, 1, CHECK, False, True, ""),
    ({"steps": []}, 0, CHECK, False, False, ""),
    ({"refused": [{"line": None, "rule": SERVER, "message": "No"}], "not_undone": [STANDS]}, 255, {}, True, True,
     f"{SERVER}: No\nnot undone: {WEB}: it was changed"),
    ({"refused": [{"line": 2, "rule": SERVER, "message": "No"}]}, 255, CHECK, True, False, f"line 2: {SERVER}: No"),
    ({"signal": "TERM"}, 143, {}, True, False, "TERM: the table is as before"),
    ({"signal": "TERM", "undone": 2}, 143, {}, True, False, "TERM: the table is as before (2 undone)"),
    ({"signal": "INT", "undone": 2, "not_undone": [STANDS]}, 130, {}, True, True,
     f"INT: 2 of the changes before it were undone, 1 were not\nnot undone: {WEB}: it was changed"),
    ({}, 1, {}, True, False, "{} ended with status 1 and said nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "status", "arguments", "failed", "changed", "said"), ENDS)
def test_the_exit_status_decides(
    changes: dict[str, object],
    status: int,
    arguments: dict[str, object],
    failed: bool,
    changed: bool,
    said: str,
    tmp_path: Path,
) -> None:
    """Shell scripts stand for ipvsadm: signals and half an undo would need exact timing, or another
    program at the same table.
    """
    asked = '[ "$1" = -v ] && { echo pyipvsadm; exit; }'
    script = f"{asked}\ncat <<'END'\n{json.dumps(REPORT | changes)}\nEND\nexit {status}"
    program = played(tmp_path / "played", script)
    answer = module(tmp_path, rules=RULES, executable=str(program), **arguments)
    assert (answer.get("failed", False), answer["changed"]) == (failed, changed)
    assert answer.get("msg", "") == said.format(program)
    assert answer.get("rc", status) == status


def test_a_signal_while_rules_are_sent_fails_the_task(tmp_path: Path) -> None:
    """The real ipvsadm runs; TERM is already pending when it begins to send."""
    sender = (
        "import os, signal, sys\n"
        "from pyipvsadm import cli, environment\n"
        "hold = environment.Environment.block_signals\n"
        "def held(self):\n"
        "    hold(self)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "environment.Environment.block_signals = held\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    (tmp_path / "sender.py").write_text(sender)
    program = played(tmp_path / "ipvsadm", f'exec {sys.executable} {tmp_path}/sender.py "$@"')
    (tmp_path / "table").write_text(OLD)
    answer = module(tmp_path, rules=RULES, executable=str(program))
    assert (answer["failed"], answer["changed"], answer["rc"]) == (True, False, 143)
    assert answer["msg"] == "TERM: the table is as before"
    assert (tmp_path / "table").read_text() == OLD


def test_one_ended_by_a_signal_says_nothing(tmp_path: Path) -> None:
    program = played(tmp_path / "killed", '[ "$1" = -v ] && { echo pyipvsadm; exit; }\nkill -9 $$')
    assert (
        module(tmp_path, rules=RULES, executable=str(program))["msg"]
        == f"{program} was ended by signal 9 and said nothing"
    )


def test_output_comes_whole_however_the_program_ends(
    ipvs_rules: ModuleType, tmp_path: Path
) -> None:
    """Output comes after a silence, and together with the end, where ansible-core's own run_command
    may lose it.
    """
    script = "sleep 1.05; head -c 300000 /dev/zero | tr '\\0' x; printf '\\377' >&2"
    done = ipvs_rules.run([str(played(tmp_path / "late", script))])
    assert done == (0, "x" * 300000, "\\xff")


def test_force_goes_with_or_without_prune(tmp_path: Path) -> None:
    """Force also allows deleting most of a service's servers, which is refused without it."""
    script = f'[ "$1" = -v ] && exec {IPVSADM} -v\necho "$@" >{tmp_path}/words\necho "2 of 3 servers would go" >&2; exit 2'
    program = played(tmp_path / "refuses", script)
    for arguments, options in (
        ({}, "--json"),
        ({"force": True}, "--json --force"),
        ({"prune": True}, "--json --prune"),
    ):
        answer = module(tmp_path, rules=RULES, executable=str(program), **arguments)
        assert (answer["failed"], answer["rc"], answer["msg"]) == (
            True,
            2,
            "2 of 3 servers would go",
        )
        assert (tmp_path / "words").read_text().partition(" --apply=")[0] == options


def test_what_ipvsadm_says_beside_it_is_a_warning(tmp_path: Path) -> None:
    answer = module(tmp_path, rules=RULES)
    warnings = [
        each["event"]["msg"] if isinstance(each, dict) else each
        for each in answer.get("warnings", [])
    ]
    assert all(SAID in each for each in warnings)
    assert answer["changed"]


def test_check_mode_shows_the_rules_that_would_be(tmp_path: Path) -> None:
    (tmp_path / "table").write_text(OLD)
    tried = module(tmp_path, rules=RULES, prune=True, **CHECK, **DIFF)
    done = module(tmp_path, rules=RULES, prune=True, **DIFF)
    assert tried["diff"] == done["diff"]
    assert done["diff"][0]["after"] == RULES


def test_only_the_kernel_knows_a_scheduler(tmp_path: Path) -> None:
    """If an embedded table refuses the rules, the difference is the steps."""
    asks = """case "$*" in -v) echo pyipvsadm;; *memory:*) exit 255;; *-S*) ;; *"""
    program = played(
        tmp_path / "kernel", f"{asks}) cat <<'END'\n{json.dumps(REPORT)}\nEND\n;; esac"
    )
    answer = module(tmp_path, rules=RULES, executable=str(program), **CHECK, **DIFF)
    assert answer["diff"] == [{"prepared": lines(WEB)}]


# --- save


def test_the_rules_are_saved_once(tmp_path: Path) -> None:
    """Check mode compares; the second run finds the file as it should be."""
    path = tmp_path / "ipvsadm.rules"
    task = {"rules": RULES, "save": True, "rules_file": str(path)}
    tried = module(tmp_path, **task, **CHECK, **DIFF)
    assert (tried["changed"], tried["saved"], path.exists()) == (True, True, False)
    assert tried["diff"][1] == {
        "before": "", "after": RULES, "before_header": str(path), "after_header": str(path),
    }  # fmt: skip
    done = module(tmp_path, **task)
    assert (done["changed"], done["saved"], path.read_text()) == (True, True, RULES)
    assert path.stat().st_mode & 0o777 == 0o600
    again = module(tmp_path, **task)
    assert (again["changed"], again["saved"]) == (False, False)
    path.write_text(f"# mine\n{RULES}")
    path.chmod(0o640)
    other = module(tmp_path, **task)
    assert (other["changed"], other["saved"], other["steps"], path.read_text()) == (
        True,
        True,
        [],
        RULES,
    )
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("present", "file", "arguments", "said"),
    [
        (OLD, "", {}, "the table has a service that the rules do not name, and {} would lack it"),
        (OLD + "-A -f 8 -s rr\n", "", {}, "the table has 2 services that the rules do not name, and {} would lack them"),
        ("", "IPVSADM_OPTIONS=''\n", {}, "{} holds something else than rules: it is not replaced"),
        ("", "", {"rules": "-A -t 1\n"}, "rules:1: illegal virtual server address[:port] specified: '-A -t 1'"),
    ],
)  # fmt: skip
def test_a_save_that_is_refused(
    present: str, file: str, arguments: dict[str, object], said: str, tmp_path: Path
) -> None:
    """Neither the table nor the file is changed."""
    path = tmp_path / "ipvsadm.rules"
    path.write_text(file)
    (tmp_path / "table").write_text(present)
    for check in ({}, CHECK):
        answer = module(
            tmp_path,
            **{"rules": RULES, "save": True, "rules_file": str(path), **arguments, **check},
        )
        assert answer["failed"]
        assert said.format(path) in answer["msg"]
        assert ((tmp_path / "table").read_text(), path.read_text()) == (present, file)


def test_other_services_are_no_reason_with_prune(tmp_path: Path) -> None:
    path = tmp_path / "ipvsadm.rules"
    (tmp_path / "table").write_text(OLD)
    assert module(tmp_path, rules=RULES, save=True, prune=True, rules_file=str(path))["saved"]
    assert path.read_text() == RULES


# --- ipvs_info


def test_the_table_is_returned(tmp_path: Path) -> None:
    (tmp_path / "table").write_text(RULES)
    answer = module(tmp_path, "ipvs_info")
    assert not answer["changed"]
    (service,) = answer["table"]["services"]
    assert (service["scheduler"], service["servers"][0]["address"]) == ("rr", "192.168.10.8")
    assert (answer["table"]["timeouts"]["tcp"], answer["table"]["daemons"]) == (900, [])


def test_a_table_of_each_namespace_is_returned(tmp_path: Path) -> None:
    """Entering a namespace needs root: a program stands in for it."""
    document = """{"ipvs": {}, "services": ["'$1'"], "timeouts": {}, "daemons": []}"""
    script = f"while [ $# -gt 1 ]; do shift; done\necho '{document}'"
    program = played(tmp_path / "played", script)
    found = module(tmp_path, "ipvs_info", executable=str(program), netns=["one", "two"])[
        "namespaces"
    ]
    assert {name: table["services"] for name, table in found.items()} == {
        "one": ["one"],
        "two": ["two"],
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"netns": [".."]}, "`..' is not a network namespace"),
        ({"executable": "/bin/false"}, "/bin/false has no --json: it is another ipvsadm"),
    ],
)
def test_a_table_that_cannot_be_read_fails_the_task(
    arguments: dict[str, object], said: str, tmp_path: Path
) -> None:
    answer = module(tmp_path, "ipvs_info", **arguments)
    assert answer["failed"]
    assert said in answer["msg"]


# --- its papers


@pytest.mark.parametrize("name", ["ipvs_info", "ipvs_rules"])
def test_the_documentation_is_of_what_it_takes(name: str) -> None:
    loaded = load(name)
    documented = yaml.safe_load(loaded.DOCUMENTATION)["options"]
    assert {
        option: {key: row[key] for key in ("type", "default", "elements") if key in row}
        for option, row in documented.items()
    } == loaded.argument_spec()
    for task in yaml.safe_load(loaded.EXAMPLES):
        arguments = task.get(f"pyipvsadm.lvs.{name}") or {}
        assert arguments.keys() <= loaded.argument_spec().keys()


@pytest.mark.parametrize(
    ("unfinished", "status", "failed"),
    [
        ([], 0, False),
        ([{"line": None, "rule": "-d X", "message": "1 connection left"}], 1, False),
        ([{"line": None, "rule": "-d X", "message": "1 connection left"}], 130, True),
        ([], 1, True),
    ],
)
def test_servers_that_are_not_drained_do_not_fail_the_task(
    unfinished: list[dict[str, object]], status: int, failed: bool, tmp_path: Path
) -> None:
    drain = {"drain": {"seconds": 9, "servers": [], "unfinished": unfinished}}
    report = json.dumps(REPORT | drain | ({"signal": "INT"} if status > 1 else {}))
    script = f"""[ "$1" = -v ] && {{ echo pyipvsadm; exit; }}
echo "$@" >{tmp_path}/words
cat <<'END'
{report}
END
exit {status}"""
    program = played(tmp_path / "ipvsadm", script)
    answer = module(tmp_path, rules=RULES, executable=str(program), drain=9)
    assert (tmp_path / "words").read_text().startswith("--json --drain=9 --apply=")
    assert answer.get("failed", False) == failed
    names = [f"{step['rule']}: {step['message']}" for step in unfinished]
    assert answer["unfinished"] == names
    if not failed:
        assert [name in str(answer.get("warnings")) for name in names] == [True] * len(names)


def test_a_server_is_drained_and_removed(tmp_path: Path) -> None:
    (tmp_path / "table").write_text(RULES)
    answer = module(tmp_path, rules=WEB, drain=5, force=True)
    assert answer["steps"] == [
        SERVER.replace("-w 1", "-w 0").replace("-a ", "-e "),
        f"-d {SERVER[3:].partition(' -m')[0]}",
    ]
    assert (answer["changed"], answer["unfinished"]) == (True, [])
    assert (tmp_path / "table").read_text().endswith(f"\n{WEB}\n")


def test_the_flags_are_options_of_apply(ipvs_rules: ModuleType) -> None:
    # Each flag is an option of --apply.
    of_apply = {
        row.long
        for row in OPTIONS
        for slot in SLOTS
        if slot.name == row.slot and slot.optional == {"apply"}
    }
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
    assert documented.keys() - {"saved"} == answer.keys() - {
        "changed",
        "invocation",
        "warnings",
        "deprecations",
    }
    assert documented["summary"]["sample"].keys() == answer["summary"].keys()


def test_the_collection_is_of_this_version() -> None:
    papers = yaml.safe_load((COLLECTION / "galaxy.yml").read_text())
    assert (papers["namespace"], papers["name"], papers["version"]) == (
        *COLLECTION.parts[1:],
        __version__,
    )
    assert (COLLECTION / papers["readme"]).exists()
    assert yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text()).keys() == {
        "requires_ansible"
    }
