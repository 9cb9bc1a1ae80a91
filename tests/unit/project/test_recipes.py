"""Test the recipes: which pages name them, and the corner cases of the health check, on an embedded
table with servers of the test's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kernel.recipes import FOLDER, STOP, read
from tests.man.pages import PAGES, section, unescaped

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = sorted(path.stem for path in FOLDER.glob("*.sh"))
PAGE = Path("docs/recipes.md").read_text()


def test_the_page_and_the_manual_page_have_each_recipe_under_its_own_title() -> None:
    titles = {name: read(name).title for name in NAMES}
    rows = re.findall(r"^\| \[(\S+)\.sh\]\(recipes/(\S+)\.sh\) \| (.*) \|$", PAGE, re.MULTILINE)
    assert {name: title for name, link, title in rows if name == link} == titles
    items = section(PAGES["ipvsadm"], "RECIPES").split(".It Pa ")[1:]
    shown = dict(item.split(".El")[0].strip().split("\n", 1) for item in items)
    assert {name: unescaped(text).replace("\n", " ") for name, text in shown.items()} == {
        f"{name}.sh": titles[name] for name in NAMES
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_has_the_form_of_one(name: str) -> None:
    recipe = read(name)
    lines = (FOLDER / f"{name}.sh").read_text().splitlines()
    assert max(map(len, lines)) <= 120
    assert subprocess.run(["sh", "-n", FOLDER / f"{name}.sh"], check=False).returncode == 0
    assert recipe.first in ("", *NAMES)
    if name != "health-check":
        assert recipe.then("")
        # nothing but what stands under a heading is ever run, and no heading is overlooked
        head = lines[: next(number for number, line in enumerate(lines) if line.startswith("###"))]
        rest = [line for line in head if line and not line.startswith("#")]
        assert rest == STOP.splitlines()
        assert len([line for line in lines if line.startswith("###")]) == len(recipe.parts)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "health-check"])
def test_a_recipe_that_is_run_does_nothing(name: str, tmp_path: Path) -> None:
    """The PATH has no program: if the recipe started one, the error would name it."""
    done = subprocess.run(
        ["/bin/sh", FOLDER / f"{name}.sh"],
        cwd=tmp_path,
        env={"PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        ": parts for several machines, to read and to copy: not a script to run\n"
    )
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# --- the health check

CURL = """\
#!/bin/sh
for url; do :; done
echo "$url" >>asked
grep -qF "$url" well
"""


class Checked:
    """Hold a folder with an embedded table, the servers that `curl` is to find well, and the
    requests that it got.
    """

    service = "-t 10.0.0.1:80"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "curl").write_text(CURL)
        (folder / "curl").chmod(0o755)
        self.log, self.asked = folder / "log", folder / "asked"
        self.environ = {
            "PATH": f"{folder}:{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
            "IPVSADM_BACKEND": f"memory:{folder / 'table'}",
            "LOG": str(self.log),
            "STATE": str(folder / "state"),
            "INTERVAL": "0.05",
            "TRIES": "1",
        }
        self.well("10.1.1.1:80", "10.1.1.2:80")

    def well(self, *servers: str) -> None:
        (self.folder / "new").write_text("".join(f"http://{server}/\n" for server in servers))
        (self.folder / "new").rename(self.folder / "well")

    def ipvsadm(self, words: str) -> str:
        command = ["ipvsadm", *words.split()]
        return subprocess.run(
            command, env=self.environ, capture_output=True, text=True, check=True, timeout=30
        ).stdout

    def weights(self) -> dict[str, int]:
        found = re.findall(r" -r (\S+):\d+ .* -w (\d+)", self.ipvsadm("-S -n"))
        return {server.removeprefix("10.1.1."): int(weight) for server, weight in found}

    def events(self) -> list[str]:
        return (
            [line.partition(", ")[2] for line in self.log.read_text().splitlines()]
            if self.log.exists()
            else []
        )

    def rounds(self, number: int = 2) -> None:
        """Wait for this many more rounds."""
        before = self._asked()
        self.until(lambda: self._asked() >= before + number)

    def _asked(self) -> int:
        return self.asked.read_text().count("http://10.1.1.2:") if self.asked.exists() else 0

    def until(self, true: object) -> None:
        assert callable(true)
        deadline = time.monotonic() + 30
        while not true():
            assert time.monotonic() < deadline, (self.weights(), self.events())
            time.sleep(0.02)

    @contextmanager
    def running(self, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        command = ["sh", str(FOLDER / "health-check.sh"), *self.service.split()]
        with (self.folder / "said").open("ab") as said:
            process = subprocess.Popen(
                command, env=self.environ | more, cwd=self.folder, stdout=said, stderr=said
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def checked(tmp_path: Path) -> Checked:
    found = Checked(tmp_path)
    found.ipvsadm("-A -t 10.0.0.1:80 -s wrr")
    found.ipvsadm("-a -t 10.0.0.1:80 -r 10.1.1.1 -w 7 -x 100 -m")
    found.ipvsadm("-a -t 10.0.0.1:80 -r 10.1.1.2 -w 2 -m")
    return found


def test_a_server_goes_and_comes_back_with_all_it_had(checked: Checked) -> None:
    before = checked.ipvsadm("-S -n")
    with checked.running() as check:
        checked.rounds()
        assert checked.events() == []
        checked.well("10.1.1.2:80")
        checked.until(lambda: checked.events() == ["10.1.1.1:80 is gone"])
        assert checked.weights() == {"1": 0, "2": 2}
        checked.rounds()
        checked.well("10.1.1.1:80", "10.1.1.2:80")
        checked.until(lambda: checked.events() == ["10.1.1.1:80 is gone", "10.1.1.1:80 is back"])
        assert checked.ipvsadm("-S -n") == before
        check.terminate()
        assert check.wait(30) == 0
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d, 10\.1\.1\.1:80 is gone",
        checked.log.read_text().splitlines()[0],
    )


def test_a_killed_check_goes_on_from_the_table(checked: Checked) -> None:
    with checked.running():
        checked.well("10.1.1.2:80")
        checked.until(lambda: checked.events() == ["10.1.1.1:80 is gone"])
    checked.well("10.1.1.1:80", "10.1.1.2:80")
    with checked.running():
        checked.until(lambda: checked.weights() == {"1": 7, "2": 2})


def test_services_that_share_a_server_keep_their_own_weights(checked: Checked) -> None:
    """Two checks share one STATE: the server is removed from both services, and comes back to
    both.
    """
    checked.ipvsadm("-A -t 10.0.0.2:80 -s wrr")
    checked.ipvsadm("-a -t 10.0.0.2:80 -r 10.1.1.1 -w 3 -m")
    before = checked.ipvsadm("-S -n")
    with checked.running():
        checked.service = "-t 10.0.0.2:80"
        with checked.running():
            checked.well("10.1.1.2:80")
            checked.until(lambda: checked.events().count("10.1.1.1:80 is gone") == 2)
            checked.well("10.1.1.1:80", "10.1.1.2:80")
            checked.until(lambda: checked.events().count("10.1.1.1:80 is back") == 2)
    assert checked.ipvsadm("-S -n") == before


def test_who_gives_a_weight_decides(checked: Checked) -> None:
    checked.ipvsadm("-e -t 10.0.0.1:80 -r 10.1.1.1 -w 0 --keep")  # for maintenance
    with checked.running():
        checked.rounds(4)
        assert checked.weights() == {"1": 0, "2": 2}
        assert "10.1.1.1" not in checked.asked.read_text()
        checked.ipvsadm("-e -t 10.0.0.1:80 -r 10.1.1.1 -w 5 --keep")
        checked.well("10.1.1.2:80")
        checked.until(lambda: checked.weights() == {"1": 0, "2": 2})
        checked.well("10.1.1.1:80", "10.1.1.2:80")
        checked.until(lambda: checked.weights() == {"1": 5, "2": 2})


def test_it_outlives_what_ipvsadm_refuses(checked: Checked) -> None:
    with checked.running():
        checked.rounds()
        checked.ipvsadm("-C")
        checked.until(lambda: "No such service" in (checked.folder / "said").read_text())
        checked.ipvsadm("-A -t 10.0.0.1:80 -s wrr")
        checked.ipvsadm("-a -t 10.0.0.1:80 -r 10.1.1.2 -w 3 -m")
        checked.well()
        # The script writes its log after ipvsadm has ended.
        checked.until(lambda: checked.events() == ["10.1.1.2:80 is gone"])
        assert checked.weights() == {"2": 0}


def test_so_many_failures_in_a_row(checked: Checked) -> None:
    checked.well("10.1.1.2:80")
    with checked.running(TRIES="2"):
        checked.until(lambda: checked.weights() == {"1": 0, "2": 2})
    assert checked.asked.read_text().count("10.1.1.1") >= 2


def test_a_mark_s_servers_are_asked_at_a_port_that_is_given(checked: Checked) -> None:
    checked.ipvsadm("-A -f 8 -s rr")
    checked.ipvsadm("-a -f 8 -r 10.1.1.2 -g -w 4")
    checked.service = "-f 8"
    checked.well("10.1.1.2:8080")
    with checked.running(PORT="8080"):
        checked.rounds()
        assert checked.events() == []
        checked.well()
        checked.until(lambda: checked.events() == ["10.1.1.2:0 is gone"])
    assert "-a -f 8 -r 10.1.1.2:0 -g -w 0" in checked.ipvsadm("-S -n")


def test_how_it_is_called(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", FOLDER / "health-check.sh"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"usage: \S+health-check.sh -t\|-u\|-f SERVICE\n", done.stderr)
