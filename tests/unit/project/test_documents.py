"""Test the README and the pages: they are short, linked, and true; each command that they show is
run.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

import pytest
import yaml

from pyipvsadm.cli import main
from pyipvsadm.grammar.options import COMMANDS, OPTIONS
from tests import pages, playbook
from tests.needs import need
from tests.older_python import parse_toml, zip_equal
from tests.unit.commands import test_doctor
from tests.unit.doctor import test_checks

if TYPE_CHECKING:
    from pathlib import Path

REPO = pages.REPO
DOCS = REPO / "docs"
NAMES = [str(page.relative_to(REPO)) for page in pages.PAGES]
of_each_page = pytest.mark.parametrize("name", NAMES)


def test_the_readme_is_short() -> None:
    lines = (REPO / "README.md").read_text().splitlines()
    assert len(lines) <= 160
    architecture = (REPO / "ARCHITECTURE.md").read_text().partition("## Index of options")[0]
    assert len(architecture.splitlines()) <= 180


def test_the_changelog_has_no_feature_twice() -> None:
    text = (REPO / "CHANGELOG.md").read_text()
    added = text.partition("### Added\n")[2].partition("\n### ")[0]
    openings = [" ".join(each.split()[:4]) for each in added.split("\n- ")[1:]]
    assert len(openings) > 20
    assert [each for each in openings if openings.count(each) > 1] == []
    lines = [line for line in text.splitlines() if line]
    assert [line for line in lines if lines.count(line) > 1] == []


def test_the_readme_leads_to_every_page() -> None:
    found = {
        (REPO / link.partition("#")[0]).resolve() for link in pages.list_links(REPO / "README.md")
    }
    assert set(pages.PAGES) - found == {REPO / "README.md"}


@of_each_page
def test_links_lead_somewhere(name: str) -> None:
    page = REPO / name
    for link in pages.list_links(page):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert target.is_relative_to(REPO), link
        assert not anchor or anchor in pages.list_anchors(target), link


@of_each_page
def test_prose_wraps(name: str) -> None:
    """Tables and the lines between fences may be wider."""
    text = re.sub(r"^```.*?^```$", "", (REPO / name).read_text(), flags=re.MULTILINE | re.DOTALL)
    assert [line for line in text.splitlines() if len(line) > 130 and line[0] != "|"] == []


@of_each_page
def test_blocks_are_of_a_known_kind(name: str) -> None:
    """Commands to type are in blocks that are run; a `text` block is for what needs a terminal."""
    languages = [block.language for block in pages.list_blocks(REPO / name)]
    assert set(languages) <= {"console", "pycon", "sh", "text", "yaml"}


KNOWN = {f"--{row.long}" for row in (*COMMANDS, *OPTIONS)} | {"--complete"}
# Options of other programs, by page.
OTHERS = {
    "docs/ansible.md": {"--check", "--diff"},
    "docs/install.md": {"--now", "--list"},
}


@of_each_page
def test_no_page_names_an_option_that_there_is_not(name: str) -> None:
    text = pages._BLOCK.sub("", (REPO / name).read_text())
    named = set(re.findall(r"(?<=`)--[a-z][a-z0-9-]*", text))
    assert named - KNOWN - OTHERS.get(name, set()) == set()


@of_each_page
def test_commands_work(name: str, tmp_path: Path) -> None:
    """Each command is run in order: a session's output is the output shown, other commands end with
    0.
    """
    commands = pages.list_commands(REPO / name)
    if any("jq " in command.text for command in commands):
        need(pages.find_missing("jq"))
    for command, status, output in pages.run_commands(REPO / name, tmp_path):
        if command.output is None:
            # 1: there is something to do
            drift = "--apply" in command.text and "--dry-run" in command.text
            assert status in ((0, 1) if drift else (0,)), (command.text, output)
        else:
            assert output == command.output, f"{command.text}: python -m tools.fill_pages"


@pytest.mark.parametrize(("words", "test", "proof"), pages.ELSEWHERE)
def test_other_commands_are_run_by_other_tests(words: str, test: str, proof: str) -> None:
    assert proof in (REPO / test).read_text()
    commands = [command.text for page in pages.PAGES for command in pages.list_commands(page)]
    reports = "".join(block.text for block in pages.list_blocks(DOCS / "doctor.md"))
    assert any(words in command for command in [*commands, reports]), "no page shows it"


def test_reports_of_the_doctor() -> None:
    """The page's two reports are those of a director and a real server with these faults."""
    director = test_doctor.DoctorEnvironment(test_doctor.sick(), test_checks.HEALTHY["NAT"].rules)
    facts = copy.deepcopy(test_checks.REAL["DR"][1])
    facts.sysctls = {**facts.sysctls, "net/ipv4/conf/all/arp_ignore": "0"}
    real_server = test_doctor.DoctorEnvironment(facts, ipvs=False)
    sessions = [
        block.text
        for block in pages.list_blocks(DOCS / "doctor.md")
        if block.text.startswith("# ipvsadm ")
    ]
    for session, world in zip_equal(sessions, (director, real_server)):
        typed, _, report = session.partition("\n")
        assert main(typed.removeprefix("# ipvsadm ").split(), world) == 2
        assert world.stdout == report


def test_explanations_of_the_doctor() -> None:
    lines = [c.text for c in pages.list_commands(DOCS / "doctor.md") if "--explain" in c.text]
    assert lines
    for line in lines:
        world = test_doctor.DoctorEnvironment()
        assert main(line.split()[1:], world) == 0


def test_the_playbooks(tmp_path: Path) -> None:
    """The page's tasks run on a director that is this machine with an embedded table."""
    blocks = pages.list_blocks(DOCS / "ansible.md")
    first, saving, asking = (
        [task for play in yaml.safe_load(block.text) for task in play["tasks"]]
        for block in blocks
        if block.language == "yaml"
    )
    rules = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 192.168.10.8:80 -m -w 1\n"
    (tmp_path / "lvs.rules.j2").write_text(rules.replace("rr", "{{ scheduler }}"))
    table, saved = tmp_path / "table", tmp_path / "saved"
    table.touch()
    environ = {"IPVSADM_BACKEND": f"memory:{table}"}
    directors = {"one": {"scheduler": "rr", "surroundings": environ}}
    for changed in (1, 0):
        done = playbook.play(tmp_path, directors, first)
        assert (done.status, done.counts("changed")) == (0, [changed]), done.output
    assert rules in table.read_text()
    (tmp_path / "lvs.rules").write_text(rules)
    places = {"src": str(tmp_path / "lvs.rules"), "rules_file": str(saved)}
    saving[0]["pyipvsadm.lvs.ipvs_rules"].update(places)
    for changed in (1, 0):
        done = playbook.play(tmp_path, directors, saving)
        assert (done.status, done.counts("changed")) == (0, [changed]), done.output
    assert saved.read_text() == rules
    done = playbook.play(tmp_path, directors, asking)
    assert (done.status, done.counts("ok")) == (0, [2]), done.output


def test_targets_and_files_that_contributors_are_told_of() -> None:
    text = (REPO / "CONTRIBUTING.md").read_text()
    makefile = (REPO / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):.*?## ", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", text)) | set(
        re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)
    )
    assert named
    assert named - targets == set()
    paths = set(re.findall(r"`((?:tests|tools|docs|pyipvsadm|man)/[\w./-]*)`", text))
    assert paths
    assert [path for path in sorted(paths) if not (REPO / path).exists()] == []


def test_hooks_and_workflow_run_what_contributors_run() -> None:
    hooks = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    makefile = (REPO / "Makefile").read_text()
    for hook in hooks:
        entry = hook["entry"].removeprefix(".venv/bin/").removesuffix(" --force-exclude")
        assert f"$(BIN)/{entry}" in makefile, hook
    workflow = yaml.safe_load((REPO / ".github/workflows/tests.yml").read_text())
    assert [step.get("run") for step in workflow["jobs"]["tests"]["steps"]][-1] == ".ci/run"
    assert (REPO / ".ci/run").stat().st_mode & 0o111


def test_faults_are_reported_to_one_place() -> None:
    """Every document names the same address, whichever it is."""
    project = parse_toml((REPO / "pyproject.toml").read_text())["project"]
    (address,) = [author["email"] for author in project["authors"]]
    home = project["urls"]["Homepage"]
    assert all(url.startswith(home) for url in project["urls"].values())
    control = (REPO / "packaging/debian/control").read_text()
    files = [REPO / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    files += sorted((REPO / "man").iterdir())
    found = {each for file in files for each in re.findall(r"[\w.]+@[\w.]+\w", file.read_text())}
    assert (found, f"<{address}>" in control) == ({address}, True)
