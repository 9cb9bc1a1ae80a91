"""Test `make install` and the script behind the service, on an embedded table in a folder of their
own; and the advice for packagers.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from pyipvsadm import __version__
from pyipvsadm.cli import OPTIONAL_PACKAGES
from pyipvsadm.grammar.options import COMMANDS
from tests.older_python import parse_toml

PROGRAMS = ("ipvsadm", "ipvsadm-save", "ipvsadm-restore")
RULES = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 192.168.10.8:80 -m -w 1\n"
OTHER = "-A -f 7 -s wlc\n"
# Settings, as SUSE has them in /etc/sysconfig/ipvsadm.
SUSE = '## Type: string\n\nIPVSADM_OPTIONS=""\n'
REFUSED = f"-D -f 9\n{RULES}"  # the table refuses the first line; the other rules take effect


def make(target: str, root: Path, *variables: str) -> set[str]:
    """Run the target, and return the files below root, as paths relative to it."""
    subprocess.run(
        ["make", "--silent", target, *variables], check=True, timeout=120, capture_output=True
    )
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if not path.is_dir() and "__pycache__" not in path.parts
    }


def expected(prefix: str, python: str, zsh: str) -> set[str]:
    """Return the files to be installed, as the source tree has them."""
    found = {path for path in Path("pyipvsadm").rglob("*") if path.is_file()}
    modules = {
        f"{python}/{path}" for path in found if not {"programs", "__pycache__"} & set(path.parts)
    }
    files = {f"{prefix}/sbin/{name}" for name in PROGRAMS} | {
        f"{prefix}/share/man/man{page.suffix[1:]}/{page.name}" for page in Path("man").iterdir()
    }
    files |= {
        f"{prefix}/share/doc/pyipvsadm/{page.relative_to('docs')}"
        for page in Path("docs").rglob("*")
        if page.is_file() and page.name != "try.sh"
    }
    if Path("completions").exists():
        files |= {f"{prefix}/share/bash-completion/completions/{name}" for name in PROGRAMS}
        files |= {f"{prefix}/share/fish/vendor_completions.d/{name}.fish" for name in PROGRAMS}
        files |= {f"{prefix}/{zsh}/_ipvsadm"}
    files |= {
        f"{prefix}/share/ansible/collections/{path}"
        for path in Path("ansible_collections").rglob("*.*")
        if path.suffix != ".pyc"
    }
    return modules | files | {f"{prefix}/libexec/pyipvsadm/service"}


METRICS = ("ipvsadm-metrics@.service", "ipvsadm-metrics@.timer")


def test_make_install_and_uninstall(tmp_path: Path) -> None:
    found = make("install", tmp_path, f"DESTDIR={tmp_path}")
    unit = "usr/local/lib/systemd/system/ipvsadm.service"
    units = {unit, *(unit.replace("ipvsadm.service", name) for name in METRICS)}
    files = expected("usr/local", "usr/local/lib/pyipvsadm", "share/zsh/site-functions")
    assert found == files | units
    for name in PROGRAMS:
        lines = (tmp_path / "usr/local/sbin" / name).read_text().splitlines()
        assert lines[:2] == ["#!/usr/bin/python3 -IS", "import _signal"]
        assert lines[-4] == 'import sys; sys.path.append("/usr/local/lib/pyipvsadm")'
    for path in (*units, "usr/local/libexec/pyipvsadm/service"):
        assert not re.search(r"@[A-Z]+@", (tmp_path / path).read_text())
    assert (
        "ExecStart=/bin/sh /usr/local/libexec/pyipvsadm/service start"
        in (tmp_path / unit).read_text()
    )
    assert make("uninstall", tmp_path, f"DESTDIR={tmp_path}") == set()
    assert not list(tmp_path.rglob("*pyipvsadm*"))


def test_make_install_as_a_package_does(tmp_path: Path) -> None:
    make(
        "install",
        tmp_path,
        f"DESTDIR={tmp_path}",
        "PREFIX=/usr",
        "PYTHONDIR=/usr/lib/python3/dist-packages",
        "COMPILE=",
    )
    lines = (tmp_path / "usr/sbin/ipvsadm").read_text().splitlines()
    assert lines[0] == "#!/usr/bin/python3 -IS"
    # -S: the interpreter does not look there
    assert 'import sys; sys.path.append("/usr/lib/python3/dist-packages")' in lines
    assert not list(tmp_path.rglob("__pycache__"))


def test_make_install_replaces_links_and_takes_any_destdir(tmp_path: Path) -> None:
    tool = tmp_path / "the C tool"
    tool.write_text("kept")
    root = tmp_path / "a 'quoted' root"
    (root / "usr/local/sbin").mkdir(parents=True)
    (root / "usr/local/sbin/ipvsadm").symlink_to(tool)
    make("install", root, f"DESTDIR={root}")
    assert tool.read_text() == "kept"
    assert not (root / "usr/local/sbin/ipvsadm").is_symlink()
    assert not [
        path for path in root.rglob("*") if path.stat().st_mode & 0o022 or path.suffix == ".new"
    ]
    assert make("uninstall", root, f"DESTDIR={root}") == set()
    assert tool.read_text() == "kept"


@pytest.mark.parametrize("target", ["install", "uninstall"])
@pytest.mark.parametrize(
    "variable",
    [
        "PREFIX=rel",
        "PREFIX={}/a x",
        "PYTHONDIR=lib",
        "SBINDIR=/s;x",
        "INTERPRETER=python3",
        "RULES_FILE=rules",
        "SAVE_ON_STOP=maybe",
    ],
)
def test_make_refuses_other_folders(target: str, variable: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("kept")
    words = ["make", "--silent", target, variable.format(tmp_path), f"DESTDIR={tmp_path}"]
    done = subprocess.run(words, check=False, timeout=120, capture_output=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_versions_and_extras_stand_in_one_voice() -> None:
    changelog = Path("packaging/debian/changelog").read_text()
    assert re.findall(r"\Apyipvsadm \((.*?)\)", changelog) == [__version__]
    spec = Path("packaging/rpm/pyipvsadm.spec").read_text()
    assert re.findall(r"^Version: (.*)$", spec, re.MULTILINE) == [__version__]
    assert f" - {__version__}-1\n" in spec
    assert (
        re.findall(r"^## (\S+)", Path("CHANGELOG.md").read_text(), re.MULTILINE)[0] == __version__
    )
    project = parse_toml(Path("pyproject.toml").read_text())["project"]
    # click is for programs that import click_command.py.
    assert sorted(re.split("[>=]", each)[0] for each in project["dependencies"]) == [
        "click",
        *OPTIONAL_PACKAGES,
    ]
    (recommends,) = re.findall(
        "^Recommends: (.*)$", Path("packaging/debian/control").read_text(), re.MULTILINE
    )
    assert recommends == ", ".join(f"python3-{name}" for name in OPTIONAL_PACKAGES)
    assert f"\nRecommends: {recommends.replace(',', '')}\n" in spec


def test_the_oldest_python_is_the_same_in_all_places() -> None:
    project = parse_toml(Path("pyproject.toml").read_text())
    assert project["project"]["requires-python"] == ">=3.9"
    assert project["tool"]["ruff"]["target-version"] == "py39"
    # the oldest that mypy knows by now
    assert project["tool"]["mypy"]["python_version"] == "3.10"
    assert "python3 (>= 3.9)" in Path("packaging/debian/control").read_text()
    assert "\nRequires: python3 >= 3.9\n" in Path("packaging/rpm/pyipvsadm.spec").read_text()


def test_nothing_is_written_as_python_3_9_does_not_read_it() -> None:
    """The test finds what neither ruff nor mypy sees; `make test-pythons` would find it, but
    later.
    """
    for path in (*Path("pyipvsadm").rglob("*.py"), *Path("tests").rglob("*.py")):
        tree = ast.parse(path.read_text(), path, feature_version=(3, 9))
        strict = [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) == "zip"
            and any(word.arg == "strict" for word in node.keywords)
        ]
        assert strict == [], f"{path}: zip(strict=) came with 3.10 (tests: zip_equal)"


class Machine:
    """Hold an installation with an /etc and an embedded table of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.etc = root / "etc"
        self.table = root / "table"
        (self.etc / "default").mkdir(parents=True, exist_ok=True)
        (self.etc / "sysconfig").mkdir(exist_ok=True)

    def call(self, verb: str, environment: dict[str, str] | None = None) -> tuple[int, str, str]:
        done = subprocess.run(
            ["/bin/sh", self.root / "libexec/pyipvsadm/service", verb],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"IPVSADM_BACKEND": f"memory:{self.table}"} | (environment or {}),
        )
        spoken = [
            line
            for line in done.stderr.splitlines()
            if "the embedded table, not the kernel" not in line
        ]
        return done.returncode, done.stdout, "".join(f"{line}\n" for line in spoken)

    def holds(self) -> str:
        return self.table.read_text() if self.table.exists() else ""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("installed")
    make("install", root, f"PREFIX={root}", f"SYSCONFDIR={root}/etc")
    return root


@pytest.fixture
def machine(installed: Path) -> Machine:
    return clean(Machine(installed))


def clean(machine: Machine) -> Machine:
    for folder in (machine.etc / "default", machine.etc / "sysconfig", machine.etc):
        for path in folder.iterdir():
            if path.is_file():
                path.unlink()
    machine.table.unlink(missing_ok=True)
    return machine


def test_start_restores_and_stop_clears(machine: Machine) -> None:
    (machine.etc / "ipvsadm.rules").write_text("# saved\n" + RULES)
    machine.table.write_text(OTHER)
    assert machine.call("start") == (0, f"ipvsadm: restored from {machine.etc}/ipvsadm.rules\n", "")
    assert RULES.splitlines()[1] in machine.holds()
    assert "-f 7" not in machine.holds()
    status, shown, _ = machine.call("status")
    assert (status, shown.count("10.0.0.1:80")) == (0, 1)
    assert machine.call("stop") == (0, "", "")
    assert "-A" not in machine.holds()
    assert machine.call("restart")[0] == 0
    assert "-A -t 10.0.0.1:80" in machine.holds()


@pytest.mark.parametrize("verb", ["start", "load"])
@pytest.mark.parametrize("rules", [REFUSED, RULES + "-D -f 9\n"], ids=["first line", "last line"])
def test_start_is_best_effort_and_says_so(machine: Machine, verb: str, rules: str) -> None:
    path = machine.etc / "ipvsadm.rules"
    path.write_text(rules)
    refused = rules.splitlines().index("-D -f 9") + 1
    assert machine.call(verb) == (
        0,
        "",
        f"line {refused}: No such service\nipvsadm: not every line of {path} took effect: they are named above\n",
    )
    assert "-A -t 10.0.0.1:80" in machine.holds()


@pytest.mark.parametrize(
    ("table", "lacking"),
    [
        (RULES, []),
        (RULES.replace("-w 1", "-w 0"), []),
        (RULES + OTHER, []),
        (RULES.splitlines(keepends=True)[0], RULES.splitlines()[1:]),
        (OTHER, RULES.splitlines()),
    ],
    ids=["as in the file", "drained", "more", "a server less", "a service less"],
)
def test_status_names_rules_that_are_not_in_force(
    machine: Machine, table: str, lacking: list[str]
) -> None:
    path = machine.etc / "ipvsadm.rules"
    path.write_text(RULES)
    machine.table.write_text(table)
    status, out, err = machine.call("status")
    heading = f"ipvsadm: these rules of {path} are not in the table:"
    shown = out.partition(heading)[2].split("\n")[1:-1] if heading in out else []
    assert (status, shown, err) == (0, lacking, "")
    (machine.etc / "default/ipvsadm").write_text("AUTO=false\n")
    assert heading not in machine.call("status")[1]


@pytest.mark.parametrize("verb", ["start", "load"])
def test_bad_input_changes_nothing(machine: Machine, verb: str) -> None:
    path = machine.etc / "ipvsadm.rules"
    path.write_text(RULES + "-a -t 10.0.0.1:80 -r 192.168.10.9 -w x\n")
    machine.table.write_text(OTHER)
    status, out, err = machine.call(verb)
    assert (status, out) == (2, "")
    assert err.startswith("line 3: ")
    assert err.endswith(f"ipvsadm: cannot restore from {path}: nothing was changed\n")
    assert machine.holds() == OTHER


@pytest.mark.parametrize("verb", ["start", "load"])
def test_without_rules_nothing_is_cleared(machine: Machine, verb: str) -> None:
    machine.table.write_text(OTHER)
    status, out, err = machine.call(verb)
    assert (status, err) == (0, "")
    assert f"{machine.etc}/ipvsadm.rules is not there" in out
    assert machine.holds() == OTHER


def test_save_is_numeric_and_goes_to_the_file_of_the_build_alone(machine: Machine) -> None:
    machine.table.write_text(RULES)
    rules, settings = machine.etc / "ipvsadm.rules", machine.etc / "sysconfig/ipvsadm"
    settings.write_text(SUSE)
    assert machine.call("save") == (0, f"ipvsadm: saved to {rules}\n", "")
    assert (rules.read_text(), settings.read_text()) == (RULES, SUSE)
    rules.unlink()
    assert machine.call("start")[1].startswith(f"ipvsadm: no rules are restored: {rules} ")


@pytest.fixture(scope="module")
def installed_for_red_hat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("redhat")
    make(
        "install",
        root,
        f"PREFIX={root}",
        f"RULES_FILE={root}/etc/sysconfig/ipvsadm",
        f"SETTINGS_FILE={root}/etc/sysconfig/pyipvsadm",
        "SAVE_ON_STOP=yes",
    )
    return root


def test_the_programs_read_the_settings_of_the_service(installed_for_red_hat: Path) -> None:
    root = installed_for_red_hat
    (module,) = root.glob("**/pyipvsadm/environment.py")
    lines = [line for line in module.read_text().splitlines() if line.startswith("SETTINGS_FILE")]
    assert lines == [f'SETTINGS_FILE = "{root}/etc/sysconfig/pyipvsadm"']


@pytest.fixture
def redhat(installed_for_red_hat: Path) -> Machine:
    return clean(Machine(installed_for_red_hat))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", None),
        ("# mine\n\n \t\n", None),
        (f"# saved\n{OTHER}", None),
        (SUSE, 3),
        ("-A -f 7 -s wlc\nKEY=value\n", 2),
        ("-A -f 7 -s wlc", None),
        ("IPVSADM=yes", 1),
    ],
)
@pytest.mark.parametrize("verb", ["save", "stop"])
def test_a_file_that_holds_something_else_is_never_replaced(
    redhat: Machine, verb: str, text: str, line: int | None
) -> None:
    path = redhat.etc / "sysconfig/ipvsadm"
    path.write_text(text)
    redhat.table.write_text(RULES)
    status, _, err = redhat.call(verb)
    if line:
        assert (status, err) == (
            1,
            f"ipvsadm: cannot save to {path}: line {line} is no rule; move the file away if it is not needed\n",
        )
        assert (path.read_text(), redhat.holds()) == (text, RULES)
    else:
        assert (status, err, path.read_text()) == (0, "", RULES)


def test_stop_saves_what_runs_and_keeps_five(redhat: Machine) -> None:
    path = redhat.etc / "sysconfig/ipvsadm"
    path.touch(mode=0o640)
    for number in range(1, 9):
        redhat.table.write_text(f"-A -f {number} -s rr\n")
        assert redhat.call("stop") == (0, f"ipvsadm: saved to {path}\n", "")
        assert "-A" not in redhat.holds()
    assert path.read_text() == "-A -f 8 -s rr\n"
    assert path.stat().st_mode & 0o777 == 0o640
    kept = {each.name: each.read_text() for each in path.parent.iterdir() if each != path}
    assert kept == {f"ipvsadm.{back}": f"-A -f {8 - back} -s rr\n" for back in range(1, 6)}
    redhat.table.write_text("-A -f 8 -s rr\n")
    same = f"ipvsadm: nothing is to save: {path} has the same rules\n"
    assert redhat.call("stop") == (0, same, "")
    assert (path.parent / "ipvsadm.1").read_text() == "-A -f 7 -s rr\n"


def test_stop_names_what_is_saved_with_weight_0(redhat: Machine) -> None:
    zero = RULES.replace("-w 1", "-w 0")
    redhat.table.write_text(zero)
    status, out, _ = redhat.call("restart")
    path = redhat.etc / "sysconfig/ipvsadm"
    said = f"ipvsadm: saved with weight 0, it gets no new connections: {zero.splitlines()[1]}\n"
    assert (status, out) == (
        0,
        f"ipvsadm: saved to {path}\n{said}ipvsadm: restored from {path}\n",
    )
    assert zero.splitlines()[1] in redhat.holds()


def test_an_empty_table_replaces_no_rules(redhat: Machine) -> None:
    path = redhat.etc / "sysconfig/ipvsadm"
    path.write_text(RULES)
    assert redhat.call("stop") == (0, "ipvsadm: nothing is saved: the table is empty\n", "")
    assert path.read_text() == RULES


@pytest.mark.parametrize("manager", ["keepalived", "ldirectord"])
def test_what_another_program_manages_replaces_no_rules(redhat: Machine, manager: str) -> None:
    path = redhat.etc / "sysconfig/ipvsadm"
    path.write_text(OTHER)
    redhat.table.write_text(RULES)
    program = redhat.root / manager
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as running:
        status, out, err = redhat.call("stop")
        running.kill()
    said = f"nothing is saved: {manager} manages the table (`service ipvsadm save' saves it all the same)"
    assert (status, out, err) == (0, f"ipvsadm: {said}\n", "")
    assert path.read_text() == OTHER


def test_a_save_that_fails_stops_nothing(redhat: Machine) -> None:
    path = redhat.etc / "sysconfig/ipvsadm"
    path.mkdir()
    redhat.table.write_text(RULES)
    try:
        for verb in ("stop", "restart"):
            status, out, err = redhat.call(verb)
            assert (status, out) == (1, "")
            assert err == f"ipvsadm: cannot save to {path}: it is no regular file\n"
    finally:
        path.rmdir()
    assert redhat.holds() == RULES
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("verb", ["save", "stop", "restart"])
@pytest.mark.parametrize("state", ["open", "kept"])
def test_what_is_not_confirmed_yet_is_not_saved(
    verb: str, state: str, redhat: Machine, tmp_path: Path
) -> None:
    path = redhat.etc / "sysconfig/ipvsadm"
    path.write_text(OTHER)
    redhat.table.write_text(RULES)
    head = {
        "boot": "", "netns": "", "table": f"memory:{redhat.table}", "uid": 0, "deadline": 1,
        "program": "ipvsadm", "argv": ["--apply", "web", "--confirm-within=60"],
    }  # fmt: skip
    (tmp_path / f"3.{state}").write_text(f"# {json.dumps(head)}\n# sent:\n")
    status, _, err = redhat.call(verb, {"IPVSADM_HISTORY": str(tmp_path)})
    if state == "kept":
        assert (status, err) == (0, "")
        assert path.read_text() == RULES
        return
    assert (status, err) == (
        1,
        (
            "ipvsadm: nothing is saved: a change is not confirmed yet, 3: ipvsadm --apply web --confirm-within=60;"
            " ipvsadm --confirm or --undo ends that\n"
        ),
    )
    assert (path.read_text(), redhat.holds()) == (OTHER, RULES)


@pytest.mark.parametrize(
    ("settings", "saves", "starts"),
    [
        ("SAVE_ON_STOP=no\n", False, True),
        ("SAVE_ON_STOP=yes\n", True, True),
        ("# no word\n", True, True),
        ("AUTO=false\n", False, False),
    ],
)
def test_red_hats_settings(redhat: Machine, settings: str, *, saves: bool, starts: bool) -> None:
    (redhat.etc / "sysconfig/pyipvsadm").write_text(settings)
    # Red Hat ships this file, and no program has read it since EL 7.
    (redhat.etc / "sysconfig/ipvsadm-config").write_text("SAVE_ON_STOP=no\n")
    path = redhat.etc / "sysconfig/ipvsadm"
    path.write_text(OTHER)
    redhat.table.write_text(RULES)
    assert redhat.call("stop")[0] == 0
    assert path.read_text() == (RULES if saves else OTHER)
    redhat.table.write_text("")
    assert redhat.call("start")[0] == 0
    assert ("-A" in redhat.holds()) == starts


def test_a_save_that_fails_leaves_the_file(machine: Machine) -> None:
    path = machine.etc / "ipvsadm.rules"
    path.write_text(RULES)
    machine.table.write_text("no rule\n")
    status, out, err = machine.call("save")
    assert (status != 0, out) == (True, "")
    assert err
    assert path.read_text() == RULES
    assert [each.name for each in machine.etc.iterdir() if each.is_file()] == ["ipvsadm.rules"]


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "reload"])
@pytest.mark.parametrize("settings", ['AUTO="false"\n', "# AUTO is not said\n"])
def test_debians_switch_is_honoured(machine: Machine, verb: str, settings: str) -> None:
    (machine.etc / "default/ipvsadm").write_text(settings)
    (machine.etc / "ipvsadm.rules").write_text(RULES)
    machine.table.write_text(OTHER)
    status, out, err = machine.call(verb)
    assert (status, err) == (0, "")
    assert f'AUTO is not "true" in {machine.etc}/default/ipvsadm' in out
    assert machine.holds() == OTHER


@pytest.mark.parametrize(
    ("settings", "roles"),
    [
        ('DAEMON="master"\nIFACE="lo"\nSYNCID="5"\n', [("master", "lo", 5)]),
        ('DAEMON=both\nIFACE="lo"\n', [("master", "lo", 0), ("backup", "lo", 0)]),
        ('AUTO="true"\nDAEMON="none"\n', []),
    ],
)
def test_sync_daemons(machine: Machine, settings: str, roles: list[tuple[str, str, int]]) -> None:
    (machine.etc / "default/ipvsadm").write_text(settings)
    assert machine.call("start")[0] == 0
    started = re.findall(
        r"--start-daemon (\w+) --mcast-interface (\w+) --syncid (\d+)", machine.holds()
    )
    assert [(role, interface, int(number)) for role, interface, number in started] == roles
    # an already running daemon is reported and is no failure
    again, out, err = machine.call("start")
    assert (again, re.findall("left as it is: (\\w+) sync daemon", out), err) == (
        0,
        [role for role, _, _ in roles],
        "",
    )
    assert machine.call("stop")[0] == 0
    assert "--start-daemon" not in machine.holds()
    status, _, err = machine.call("stop")  # a missing daemon is reported and is no failure
    assert (status, err.count("No daemon is running")) == (0, len(roles))


@pytest.mark.parametrize(
    ("settings", "saved_rules_start"),
    [
        ('AUTO="true"\r\nDAEMON="none"\r\n', True),
        ("AUTO=false\r\nDAEMON=none\r\n", False),
        ("set -e\nAUTO=true\nDAEMON=none\n", True),
        ("AUTO=true\nset -e\nfalse\nAUTO=false\n", True),
        ("AUTO=true\nexit 0\n", True),
        ("AUTO=true; PATH=/nowhere; program=/nowhere; rules=/nowhere\n", True),
        ("set -u -f\nAUTO=true\n", True),
        ("AUTO=true\ntrap 'exit 9' EXIT INT\n", False),  # then its assignments are not known
    ],
)
def test_settings_say_no_more_than_their_values(
    machine: Machine, settings: str, *, saved_rules_start: bool
) -> None:
    (machine.etc / "default/ipvsadm").write_bytes(settings.encode())
    # one line fails: -e would end the script there
    (machine.etc / "ipvsadm.rules").write_text(REFUSED)
    assert machine.call("start")[0] == 0
    assert ("-A -t 10.0.0.1:80" in machine.holds()) == saved_rules_start
    assert machine.call("stop")[0] == 0


def test_settings_that_are_no_shell_script(machine: Machine) -> None:
    path = machine.etc / "default/ipvsadm"
    path.write_text('AUTO="true\n')
    machine.table.write_text(OTHER)
    for verb in ("start", "stop"):
        status, out, err = machine.call(verb)
        assert (status, out) == (6, "")
        assert err.endswith(f"ipvsadm: cannot read {path}: it is no shell script\n")
    assert machine.holds() == OTHER


def test_rules_that_are_no_file(machine: Machine) -> None:
    rules = machine.etc / "ipvsadm.rules"
    rules.mkdir()
    machine.table.write_text(OTHER)
    try:
        said = machine.call("start")
    finally:
        rules.rmdir()
    assert said == (
        1,
        "",
        f"ipvsadm: cannot restore from {rules}: it is no regular file; nothing was changed\n",
    )
    assert machine.holds() == OTHER


@pytest.mark.parametrize("own", [True, False], ids=["its own environment", "another process's"])
@pytest.mark.parametrize(
    "verb", ["start", "stop", "restart", "try-restart", "reload", "force-reload", "load"]
)
def test_the_other_package_comes_and_goes(machine: Machine, verb: str, *, own: bool) -> None:
    # not even a fault there fails a removal
    (machine.etc / "default/ipvsadm").write_text("AUTO=true\nDAEMON=slave\n")
    (machine.etc / "ipvsadm.rules").write_text(RULES)
    machine.table.write_text(OTHER)
    script = {"DPKG_MAINTSCRIPT_PACKAGE": "ipvsadm"}
    said = (0, "ipvsadm: everything is left as it is: the package ipvsadm comes or goes\n", "")
    if own:
        assert machine.call(verb, script) == said
    else:
        with subprocess.Popen(["sleep", "60"], env=os.environ | script) as sleeping:
            environ = Path(f"/proc/{sleeping.pid}/environ")
            while b"DPKG_MAINTSCRIPT_PACKAGE" not in environ.read_bytes():
                time.sleep(0.01)  # it is still the test's own until the program runs
            assert machine.call(verb) == said
            sleeping.kill()
    assert machine.holds() == OTHER
    assert machine.call(verb)[0] == 6


@pytest.mark.parametrize(
    ("table", "status"),
    [
        ("", 3),
        (RULES, 0),
        ("-A -f 7 -s wlc\n", 0),
        ("--start-daemon master --mcast-interface lo --syncid 0\n", 0),
        ("no rule\n", 4),
    ],
)
def test_status_is_that_of_lsb(machine: Machine, table: str, status: int) -> None:
    machine.table.write_text(table)
    found, out, _ = machine.call("status")
    assert (found, "IP Virtual Server" in out, "master sync daemon" in out) == (
        status,
        status != 4,
        "daemon" in table,
    )


def test_save_says_that_the_rules_are_not_for_the_boot(machine: Machine) -> None:
    settings, rules = machine.etc / "default/ipvsadm", machine.etc / "ipvsadm.rules"
    settings.write_text("AUTO=false\n")
    assert machine.call("save") == (
        0,
        f'ipvsadm: saved to {rules}\nipvsadm: they are not restored at boot: AUTO is not "true" in {settings}\n',
        "",
    )


def test_a_daemon_that_is_none(machine: Machine) -> None:
    (machine.etc / "default/ipvsadm").write_text("AUTO=true\nDAEMON=slave\n")
    machine.table.write_text(OTHER)
    path = machine.etc / "default/ipvsadm"
    for verb in ("start", "stop"):
        assert machine.call(verb) == (
            6,
            "",
            f"ipvsadm: DAEMON=slave in {path}: it is none, master, backup or both\n",
        )
    assert machine.holds() == OTHER


def test_reload_applies_the_difference(machine: Machine) -> None:
    with_apply = any(row.long == "apply" for row in COMMANDS)
    (machine.etc / "ipvsadm.rules").write_text(RULES)
    machine.table.write_text(OTHER + RULES)
    assert (machine.call("reload")[0] == 0) == with_apply
    assert ("-f 7" in machine.holds(), "192.168.10.8" in machine.holds()) == (not with_apply, True)
    (machine.etc / "ipvsadm.rules").write_text("-A -t nonsense\n")
    before = machine.holds()
    assert machine.call("reload")[0] != 0
    assert machine.holds() == before


@pytest.mark.parametrize(
    ("settings", "weight"),
    [("AUTO=true\nKEEP_WEIGHTS=yes\n", 0), ("KEEP_WEIGHTS=no\nAUTO=true\n", 1)],
)
def test_reload_keeps_weights_where_told(machine: Machine, settings: str, weight: int) -> None:
    (machine.etc / "default/ipvsadm").write_text(settings)
    (machine.etc / "ipvsadm.rules").write_text(RULES)
    machine.table.write_text(OTHER + RULES.replace("-w 1", "-w 0"))
    assert machine.call("reload")[0] == 0
    assert f"192.168.10.8:80 -m -w {weight}" in machine.holds()
    assert "-f 7" not in machine.holds()


def test_keep_weights_that_is_neither_yes_nor_no(machine: Machine) -> None:
    path = machine.etc / "default/ipvsadm"
    path.write_text("AUTO=true\nKEEP_WEIGHTS=true\n")
    machine.table.write_text(OTHER)
    for verb in ("start", "stop", "reload"):
        assert machine.call(verb) == (
            6,
            "",
            f"ipvsadm: KEEP_WEIGHTS=true in {path}: it is yes or no\n",
        )
    assert machine.holds() == OTHER


def test_other_words(machine: Machine) -> None:
    status, out, err = machine.call("frobnicate")
    assert (status, out) == (2, "")
    assert err.startswith("Usage: ")
    assert machine.call("rate")[0] == 0
