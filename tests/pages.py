"""Read the Markdown pages as tests do: fenced blocks, commands, links, headings.

Owns: the form of a page. A `console` block is a session: lines that begin with "$ " are typed, what
follows is the exact output. An `sh` block is typed as it stands, a command a line. Both run in bash,
a page's blocks one after the other, on an embedded table. A comment `<!-- file: NAME` gives a file
that is there before; the file `table` is the table.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pyipvsadm.commands import history
from tests.older_python import zip_equal

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).parents[1]
PAGES = sorted([*REPO.glob("*.md"), *REPO.glob("docs/*.md")])

_BLOCK = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^<!-- file: (\S+)\n(.*?)^-->$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
# The notice that only root gets when IPVSADM_BACKEND names the table.
_NOTICE = re.compile(r"^ipvsadm(-save)?: IPVSADM_BACKEND=.* the embedded table.*\n", re.MULTILINE)
# Times that the history prints, and the one time that all pages show instead.
_TIME = re.compile(r"\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\b")
_TIME_OF_PAGES = "2026-11-28 09:50:01"
# The deadline of a change that waits to be confirmed.
_DEADLINE = re.compile(r"\b(at|until) \d\d:\d\d:\d\d\b")
# A live view ends after 1.5 seconds, and a pipe from it ends, too. The file `other` is the table of
# every machine that ssh reaches.
_PROLOGUE = """\
exec 2>&1
set -o pipefail
ipvsadm() {
    case " $* " in
    *" --watch"*) timeout 1.5 ipvsadm "$@" || [ $? = 124 ] ;;
    *) command ipvsadm "$@" ;;
    esac
}
ssh() {
    shift
    IPVSADM_BACKEND=memory:other "$@"
}
"""

# Commands that need a kernel, root, other machines or a shell of their own: what they begin with or
# contain, the test that runs them, and the words by which it does.
ELSEWHERE = (
    ("ipvsadm --doctor", "tests/unit/project/test_documents.py", "def test_reports_of_the_doctor"),
    ("--netns ", "tests/kernel/test_netns.py", "--netns"),
    ("--start-daemon ", "tests/kernel/test_failover.py", "FAILOVER"),
    ("--stop-daemon ", "tests/kernel/test_failover.py", "FAILOVER"),
    ("ip address add ", "tests/kernel/test_failover.py", "FAILOVER"),
    ("arping ", "tests/kernel/test_failover.py", "FAILOVER"),
    ("cibadmin ", "tests/kernel/test_cluster.py", "cibadmin --replace"),
    ("crm_resource ", "tests/kernel/test_cluster.py", "crm_resource --resource addresses --move"),
    ("crm_mon ", "tests/kernel/test_cluster.py", "crm_mon"),
    ("sysctl -w net.ipv4.vs.", "tests/unit/doctor/test_checks.py", "sysctl -w net.ipv4.vs."),
    ("cp completions/", "tests/shells/terminal.py", "completions"),
    ("ansible-doc ", "tests/unit/project/test_package.py", "ansible-doc"),
    ("service ipvsadm ", "tests/unit/project/test_install.py", "libexec/pyipvsadm/service"),
    ("systemctl ", "tests/deb/scenario.sh", "systemctl"),
    ("dpkg-divert ", "tests/deb/scenario.sh", "dpkg-divert"),
    ("apt remove ", "tests/deb/scenario.sh", "remove"),
    ("apt install ", "tests/deb/scenario.sh", "install"),
    ("make deb", "tests/deb/test_deb.py", '"deb"'),
    ("pip install ", "tests/unit/project/test_package.py", '"install"'),
    ("dnf swap ", "tests/deb/swap.sh", "dnf"),
    ("pipx install ", "tests/unit/project/test_package.py", '"install"'),
    ("/share/bash-completion/", "tests/unit/project/test_package.py", "completions/ipvsadm.bash"),
    ("/share/zsh/", "tests/unit/project/test_package.py", "zsh/site-functions"),
    ("/share/fish/", "tests/unit/project/test_package.py", "fish/vendor_completions.d"),
    ("make try", "tests/man/test_man.py", "try.sh"),
    ("make ", "Makefile", ".PHONY: "),
    (".venv/bin/ruff ", "Makefile", "ruff check"),
    (".venv/bin/python -m pytest ", "Makefile", "-m pytest"),
    (".venv/bin/python -m tests.lab ", "Makefile", "-m tests.lab"),
    ("env -i /usr/bin/python3 ", "tests/unit/project/test_security.py", '"-I"'),
)


class Block(NamedTuple):
    """Hold a fenced block of a page."""

    language: str
    text: str


class Command(NamedTuple):
    """Hold a command of a page. output: None if the page does not show it."""

    text: str
    output: str | None


def list_blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    return [Block(*found) for found in _BLOCK.findall(page.read_text())]


def list_files(page: Path) -> dict[str, str]:
    """Return the files that a page's commands find, by name."""
    return dict(_FILE.findall(page.read_text()))


def list_links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures, outside of fenced blocks."""
    return _LINK.findall(_BLOCK.sub("", page.read_text()))


def list_anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as a forge makes them."""
    headings = _HEADING.findall(_BLOCK.sub("", page.read_text()))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def split_session(text: str) -> Iterator[Command]:
    """Yield the commands of a `console` block with their outputs."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        length = 1
        while length < len(lines) and lines[length].startswith("> "):
            length += 1
        typed = lines[0] + "".join(line.removeprefix("> ") for line in lines[1:length])
        yield Command(typed.rstrip("\n"), "".join(lines[length:]))


def split_script(text: str) -> list[Command]:
    """Return the commands of an `sh` block, a line each."""
    lines = text.replace("\\\n", "").splitlines()
    return [Command(line, None) for line in lines if line and not line.startswith("#")]


def list_commands(page: Path) -> list[Command]:
    """Return the commands of a page in order."""
    found: list[Command] = []
    for block in list_blocks(page):
        if block.language == "console":
            found += split_session(block.text)
        elif block.language == "sh":
            found += split_script(block.text)
    return found


def is_run(command: str) -> bool:
    """Return True if run_commands can run a command that a page shows."""
    return not any(words in command for words, _, _ in ELSEWHERE)


def run_commands(page: Path, folder: Path) -> list[tuple[Command, int, str]]:
    """Run the commands of a page that can be run here, in one shell. Return each one's status and
    output.
    """
    for name, text in list_files(page).items():
        (folder / name).write_text(text)
    commands = [command for command in list_commands(page) if is_run(command.text)]
    script = _PROLOGUE + "".join(
        f"{command.text}\nprintf '\\001%s\\002' $?\n" for command in commands
    )
    environ = {
        "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
        "IPVSADM_BACKEND": "memory:table",
        "IPVSADM_HISTORY": "history",
        "LC_ALL": "C.UTF-8",
        "HOME": str(folder),
    }
    done = subprocess.run(
        ["bash"],
        input=script,
        env=environ,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
        start_new_session=True,  # no command can ask at the terminal of the tests
    )
    results = re.findall(r"(.*?)\001(\d+)\002", done.stdout, re.DOTALL)
    assert len(results) == len(commands), done.stdout
    return [
        (command, int(status), _hide_surroundings(output))
        for command, (output, status) in zip_equal(commands, results)
    ]


def _hide_surroundings(output: str) -> str:
    """Return an output as every user sees it at every time."""
    output = _TIME.sub(_TIME_OF_PAGES, _NOTICE.sub("", output))
    output = _DEADLINE.sub(r"\1 09:51:01", output)
    name = history.find_user_name(history.read_login_uid())
    width = max(len(name), len("USER"))
    for word, shown in (("USER", "USER"), (name, "root")):
        output = output.replace(f"{word:<{width}}  ", f"{shown}  ")
    return output


def find_missing(program: str) -> str:
    """Return a sentence if a program is missing, "" if it is there."""
    return "" if shutil.which(program) else f"no {program} here: apt-get install {program}"
