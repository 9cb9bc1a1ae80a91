"""The package for Red Hat and its kin: its files, rpmlint's report, and the results of the machine
(tests/deb/swap.sh, rest.sh).
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pyipvsadm import __version__
from tests.deb.machine import boot, copied, reference, texts, tree
from tests.needs import need
from tests.rpm.machine import (
    BASE,
    THEIRS,
    build_newer,
    build_rpm,
    find_missing,
    install,
    make_machine,
    make_repository,
)
from tests.unit.project.test_install import expected

ACTIONS = ("swap-to-ours", "upgrade", "swap-to-theirs", "swap-to-ours")
REPOSITORY = """\
[lab]
name=lab
baseurl=file:///lab/repository
gpgcheck=0
"""


@pytest.fixture(scope="session")
def package() -> Path:
    need(find_missing())
    subprocess.run(["make", "--silent", "rpm"], check=True, timeout=300, capture_output=True)
    return Path(f"dist/pyipvsadm-{__version__}-1.noarch.rpm").resolve()


def query(package: Path, *words: str) -> list[str]:
    return subprocess.run(
        ["rpm", "-qp", *words, package], check=True, capture_output=True, text=True
    ).stdout.splitlines()


def test_the_packages_files(package: Path) -> None:
    form = "[%{FILENAMES} %{FILEMODES:perms} %{FILEFLAGS:fflags}\n]"
    rows = [line.split() for line in query(package, "--queryformat", form)]
    folders = {path for path, mode, *_ in rows if mode[0] == "d"}
    found = {path for path, mode, *_ in rows if mode[0] != "d"}
    wanted = expected("usr", "usr/lib/pyipvsadm", "share/zsh/site-functions")
    wanted = {f"/{path}.gz" if "/share/man/" in path else f"/{path}" for path in wanted}
    wanted |= {
        "/usr/lib/systemd/system/ipvsadm.service",
        "/usr/lib/systemd/system/ipvsadm-metrics@.service",
        "/usr/lib/systemd/system/ipvsadm-metrics@.timer",
        "/usr/libexec/initscripts/legacy-actions/ipvsadm/save",
        "/usr/share/licenses/pyipvsadm/LICENSE",
        "/usr/share/doc/pyipvsadm/README.md",
        "/usr/share/doc/pyipvsadm/CHANGELOG.md",
    }
    assert found == wanted
    code = {path.rpartition("/")[0] for path in found if path.endswith(".py") and "/lib/" in path}
    assert {path for path in folders if path.endswith("/__pycache__")} == {
        f"{folder}/__pycache__" for folder in code
    }
    ghosts = {path for path, _, *flags in rows if flags == ["g"]}
    assert ghosts == {path for path in folders if path.endswith("/__pycache__")}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--provides", "ipvsadm = 1.31"),
        ("--conflicts", "ipvsadm"),
        ("--requires", "python3 >= 3.9"),
        ("--recommends", "python3-rich"),
    ],
)
def test_what_it_says_of_others(package: Path, words: str, line: str) -> None:
    assert line in query(package, words)


def test_rpmlint_has_no_error(package: Path) -> None:
    command: list[str | Path] = [
        "rpmlint",
        "--config",
        "packaging/rpm/rpmlint.toml",
        package,
        "packaging/rpm/pyipvsadm.spec",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, " 0 errors" in done.stdout) == (0, True), done.stdout


def test_a_second_build_gives_the_same_bytes(package: Path, tmp_path: Path) -> None:
    shutil.copy(package, tmp_path / "first")
    subprocess.run(["make", "--silent", "rpm"], check=True, timeout=300, capture_output=True)
    assert package.read_bytes() == (tmp_path / "first").read_bytes()


@pytest.fixture(scope="session")
def life(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the text of each result, after two boots."""
    folder = tmp_path_factory.mktemp("rpm")
    deb = reference(tree("bookworm"))
    subprocess.run(["dpkg-deb", "--extract", deb, folder / "deb"], check=True, timeout=60)
    programs = folder / "deb/sbin"
    repository = folder / "repository"
    theirs = build_rpm(THEIRS, folder / "theirs", programs)
    make_repository([package, theirs, build_rpm(BASE, folder / "base")], repository)
    lab: dict[str, Path | str] = {
        "actions": "".join(f"{action}\n" for action in ACTIONS),
        "reference": programs / "ipvsadm",
        "connection.py": Path("tests/deb/connection.py"),
        "rest.sh": Path(__file__).with_name("rest.sh"),
        "ours-next.rpm": build_newer(package, folder / "next"),
    }
    with copied("rpm", make_machine(), "swap.sh", lab) as root:
        shutil.copytree(repository, root / "lab/repository")
        # As on Red Hat: a unit that no preset names is disabled when its package is installed.
        (root / "etc/systemd/system-preset").mkdir(parents=True, exist_ok=True)
        (root / "etc/systemd/system-preset/99-default.preset").write_text("disable *\n")
        install(root, repository, ["lab-base", "ipvsadm"])
        (root / "etc/yum.repos.d").mkdir(parents=True, exist_ok=True)
        (root / "etc/yum.repos.d/lab.repo").write_text(REPOSITORY)
        log = boot("rpm", root, times=2)
        found = texts(root)
    assert {"end-1", "end-2"} <= found.keys(), f"it did not come to the end:\n{log[-4000:]}"
    return found


def test_the_machine_has_20_rules_and_a_connection(life: dict[str, str]) -> None:
    assert (life["rules"].strip(), life["connected"]) == ("20", "connected\n")


def test_one_package_in_the_place_of_the_other_and_back(life: dict[str, str]) -> None:
    assert life["swap"].splitlines() == [
        f"{action}: status 0, enabled, {'theirs' if action == 'swap-to-theirs' else 'pyipvsadm'}"
        for action in ACTIONS
    ]


EXTRA = "-A -f 88 -s rr\n"
SEEN = [
    ("save", "ipvsadm: saved to /etc/sysconfig/ipvsadm\nstatus 0\n"),
    ("saved", "1\nstatus 0\n"),
    ("stop", "status 0\n"),
    ("stopped", "status 0\n"),
    ("stop-saved", "status 0\n"),
    ("copy", "1\nstatus 0\n"),
    ("start", "status 0\n"),
    ("started", "status 0\n"),
    ("compiled", "1\nstatus 0\n"),
    ("verify", "status 0\n"),
    ("boot-active", "active\nstatus 0\n"),
    ("remove", "status 0\n"),
]


@pytest.mark.parametrize(("name", "text"), SEEN, ids=[name for name, _ in SEEN])
def test_step(life: dict[str, str], name: str, text: str) -> None:
    assert life[name] == text


def test_what_is_saved_with_weight_0_is_named_in_the_journal(life: dict[str, str]) -> None:
    lines = life["journal"].splitlines()
    start = "ipvsadm: saved with weight 0, it gets no new connections: -a -t 172.16.0.1:80 -r "
    named = [line.removeprefix(start).split()[0] for line in lines if line.startswith(start)]
    assert named == [f"192.168.10.{last}:8080" for last in (3, 4, 5, 6)]
    assert "ipvsadm: saved to /etc/sysconfig/ipvsadm" in lines


def test_the_next_boot_restores_what_the_shutdown_saved(life: dict[str, str]) -> None:
    assert (len(life["boot"].splitlines()), EXTRA in life["boot"]) == (22, True)


def test_a_swap_leaves_nothing_behind(life: dict[str, str]) -> None:
    lines = life["left-over"].splitlines()
    assert [line for line in lines if "No such file" not in line] == ["status 2"]


def test_a_removal_leaves_the_table_and_nothing_else(life: dict[str, str]) -> None:
    assert life["removed-table"] == life["boot"]
    lines = life["removed-files"].splitlines()
    assert [line for line in lines if "No such file" not in line] == ["status 1"]
