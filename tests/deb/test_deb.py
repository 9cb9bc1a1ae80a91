"""The package: its files, lintian's report, and the results of the machines (scenario.sh,
orders.sh).
"""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyipvsadm import __version__
from tests.deb.machine import (
    SUITES,
    boot,
    copied,
    missing,
    newer,
    reference,
    results,
    run_unbooted,
    texts,
    tree,
)
from tests.lab.boot import LAB
from tests.needs import need
from tests.older_python import zip_equal
from tests.pages import list_links
from tests.unit.project.test_install import expected

RELEASES = {"12": "bookworm", "13": "trixie"}
OURS = f"ipvsadm v1.31 (pyipvsadm {__version__}, IPVS v1.2.1)\n"
REFERENCE = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n"
TITLE = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
"""
SAVED = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 192.168.10.8:80 -m -w 7\n"
TABLE = f"{TITLE}TCP  10.0.0.1:80 rr\n  -> 192.168.10.8:80              Masq    7      0          0         \n{SAVED}"
BARE = f"{TITLE}TCP  10.0.0.1:80 rr\n-A -t 10.0.0.1:80 -s rr\n"


@pytest.fixture(scope="session")
def package() -> Path:
    need(missing())
    subprocess.run(["make", "--silent", "deb"], check=True, timeout=300, capture_output=True)
    return Path(f"dist/pyipvsadm_{__version__}_all.deb")


def test_the_packages_files(package: Path) -> None:
    lines = subprocess.run(
        ["dpkg-deb", "--contents", package], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    found = {line.split()[5][2:] for line in lines if line[0] != "d"}
    wanted = expected("usr", "usr/lib/python3/dist-packages", "share/zsh/vendor-completions")
    wanted = {f"{path}.gz" if path.endswith((".5", ".8")) else path for path in wanted}
    wanted |= {
        "etc/init.d/ipvsadm",
        "usr/lib/systemd/system/ipvsadm.service",
        "usr/lib/systemd/system/ipvsadm-metrics@.service",
        "usr/lib/systemd/system/ipvsadm-metrics@.timer",
        "usr/share/lintian/overrides/pyipvsadm",
    }
    wanted |= {
        f"usr/share/doc/pyipvsadm/{name}"
        for name in ("README.md", "SECURITY.md", "changelog.gz", "changelog.Debian.gz", "copyright")
    }
    assert found == wanted


def test_links_of_the_installed_pages(package: Path, tmp_path: Path) -> None:
    """Each page has a link from the README, and no link between installed pages is dead; only the
    pages for contributors are not installed.
    """
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path], check=True)
    folder = tmp_path / "usr/share/doc/pyipvsadm"
    pages = sorted(folder.glob("*.md"))
    links = {
        (page.name, link.partition("#")[0])
        for page in pages
        for link in list_links(page)
        if not link.startswith(("https://", "#"))
    }
    missing = {link for page, link in links if not (folder / link).exists()}
    assert missing == {"CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md", "LICENSE"}
    assert {page.name for page in pages} - {
        link for page, link in links if page == "README.md"
    } == {"README.md"}


def test_lintian_has_no_error(package: Path) -> None:
    done = subprocess.run(
        ["lintian", "--fail-on", "error", package],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_second_build_gives_the_same_bytes(package: Path, tmp_path: Path) -> None:
    shutil.copy(package, tmp_path / "first")
    subprocess.run(["make", "--silent", "deb"], check=True, timeout=300, capture_output=True)
    assert package.read_bytes() == (tmp_path / "first").read_bytes()


# The actions on the two packages, in turn: `ours`, and `theirs`, the reference of the suite.
# -12 and -13 are the references of these Debian releases, -next has a higher version.
ORDERS = {
    "theirs-first": ["theirs", "ours", "start", "remove-theirs", "remove-ours"],
    "ours-first": ["ours", "enable", "start", "theirs", "remove-ours"],
    "upgrades": ["theirs", "ours", "start", "ours-next", "theirs-next", "remove-ours"],
    "release-upgrade": [
        "theirs-12",
        "ours",
        "start",
        "theirs-13",
        "remove-theirs",
        "purge-theirs",
        "purge-ours",
    ],
    "purges": ["ours", "theirs", "start", "purge-theirs", "remove-ours", "purge-ours"],
}

# Booting costs minutes: only these orders run on a booted machine, all of them run without a boot.
# The later boots try a purge on a booted machine.
BOOTED = ("theirs-first", "upgrades", "release-upgrade")


def expected_lines(actions: list[str]) -> list[str]:
    """Return the line that each action has to leave: nothing fails, nothing changes, and once the
    service is enabled, the installed package (ours, if both are) restores the rules at boot.
    """
    ours = theirs = enabled = False
    lines = []
    for action in actions:
        verb, _, package = (
            action.rpartition("-")
            if action.startswith(("remove", "purge"))
            else ("", "", action.partition("-")[0])
        )
        ours = not verb if package == "ours" else ours
        theirs = not verb if package == "theirs" else theirs
        enabled = enabled or theirs or action == "enable"
        who = "neither" if not enabled else "ours" if ours else "theirs" if theirs else "neither"
        lines.append(f"{action}: status 0, at boot {who}")
    return lines


class Lives:
    """Run the machines, two at a time, and hold their results."""

    def __init__(self, package: Path, folder: Path) -> None:
        with ThreadPoolExecutor(2) as pool:
            trees = dict(zip_equal(SUITES, pool.map(tree, SUITES)))
            self.first = trees[SUITES[0]]
            debs: dict[str, Path | str] = {
                "ours.deb": package,
                "ours-next.deb": newer(package, folder / "ours"),
            }
            debs |= {
                f"theirs-{number}.deb": reference(trees[suite])
                for number, suite in RELEASES.items()
            }
            orders = {name: f"{name} {' '.join(actions)}\n" for name, actions in ORDERS.items()}
            scenario = pool.submit(self._scenario, package)
            booted, chrooted = {}, {}
            for suite in SUITES:
                theirs = reference(trees[suite])
                lab = debs | {
                    "theirs.deb": theirs,
                    "theirs-next.deb": newer(theirs, folder / suite),
                }
                booted[suite] = pool.submit(
                    self._booted,
                    suite,
                    trees[suite],
                    lab | {"orders": "".join(orders[name] for name in BOOTED)},
                )
                chrooted[suite] = pool.submit(
                    self._chrooted, suite, trees[suite], lab | {"orders": "".join(orders.values())}
                )
            self.scenario, self.scenario_log = scenario.result()
            self.orders = {f"{suite}, booted": each.result() for suite, each in booted.items()}
            self.orders |= {
                f"{suite}, not booted": each.result() for suite, each in chrooted.items()
            }

    def _scenario(self, package: Path) -> tuple[dict[str, tuple[int, str]], str]:
        with copied("scenario", self.first, "scenario.sh", {"pyipvsadm.deb": package}) as root:
            # the steps start it
            (root / "etc/systemd/system/multi-user.target.wants/ldirectord.service").unlink()
            log = boot("scenario", root)
            return results(root), log

    def _booted(self, suite: str, suite_tree: Path, lab: dict[str, Path | str]) -> dict[str, str]:
        with copied(f"{suite}-booted", suite_tree, "orders.sh", lab) as root:
            boot(f"{suite}-booted", root, times=4)
            return texts(root)

    def _chrooted(self, suite: str, suite_tree: Path, lab: dict[str, Path | str]) -> dict[str, str]:
        with copied(suite, suite_tree, "orders.sh", lab) as root:
            log = run_unbooted(root, {"IPVSADM_BACKEND": "memory:/table"})
            (LAB / f"machine-{suite}.log").write_text(log)
            return texts(root)


@pytest.fixture(scope="session")
def lives(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Lives:
    return Lives(package, tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="session")
def life(lives: Lives) -> dict[str, tuple[int, str]]:
    log = lives.scenario_log
    assert lives.scenario.get("end") == (0, ""), (
        f"the machine did not come to the end (.lab/machine-scenario.log):\n{log[-4000:]}"
    )
    return lives.scenario


WAYS = [(f"{suite}, booted", name) for suite in SUITES for name in BOOTED]
WAYS += [(f"{suite}, not booted", name) for suite in SUITES for name in ORDERS]


@pytest.mark.parametrize(("machine", "order"), WAYS)
def test_packages_come_and_go_in_any_order(lives: Lives, machine: str, order: str) -> None:
    assert lives.orders[machine].get(order, "").splitlines() == expected_lines(ORDERS[order])


@pytest.mark.parametrize("boot_number", [2, 3, 4], ids=["both", "ours", "theirs"])
@pytest.mark.parametrize("suite", SUITES)
def test_the_next_boot_restores_the_rules(lives: Lives, suite: str, boot_number: int) -> None:
    assert lives.orders[f"{suite}, booted"].get(f"boot-{boot_number}") == f"{SAVED}active\n"


STEPS: list[tuple[str, int, str]] = [
    ("before-version", 0, REFERENCE),
    ("before-table", 0, TABLE),
    ("installed-table", 0, TABLE),  # packages come and go, the table stays
    ("version", 0, OURS),
    ("aside", 0, REFERENCE),
    ("enabled", 0, "enabled\n"),  # as the reference's script was
    ("verify", 0, ""),
    ("save", 0, "ipvsadm: saved to /etc/ipvsadm.rules\n"),
    ("saved", 0, SAVED),
    ("restart", 0, ""),
    ("restarted", 0, TABLE),
    ("stop", 0, ""),
    ("stopped", 0, TITLE),
    ("start", 0, ""),
    ("started", 0, TABLE),
    ("init-status", 0, TABLE.removesuffix(SAVED)),
    (
        "daemon-running",
        0,
        "master sync daemon (mcast=lo, syncid=0, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n",
    ),
    ("ours-start", 0, ""),
    ("ours-stop", 0, ""),
    ("ours-cleared", 0, TITLE),
    ("removed-version", 0, REFERENCE),
    ("removed-table", 0, BARE),
    ("removed-diversions", 0, ""),
    ("removed-files", 0, ""),
    ("removed-script", 0, "# of my own\n"),
    ("removed-ldirectord", 0, "installed"),
    ("alone-ldirectord", 0, "installed"),
    ("alone-version", 0, OURS),
    ("alone-save", 0, "ipvsadm: saved to /etc/ipvsadm.rules\n"),
    ("alone-start", 0, ""),
    ("alone-table", 0, BARE),
    ("back-version", 0, OURS),
    ("back-aside", 0, REFERENCE),
    ("purged-version", 0, REFERENCE),
    ("purged-diversions", 0, ""),
    ("purged-files", 0, ""),
    ("neither-files", 0, ""),
    ("failed", 0, ""),
]


@pytest.mark.parametrize(("name", "status", "text"), STEPS, ids=[row[0] for row in STEPS])
def test_step(life: dict[str, tuple[int, str]], name: str, status: int, text: str) -> None:
    assert life[name] == (status, text)


@pytest.mark.parametrize(
    "name",
    [
        "install",
        "extras",
        "remove",
        "again",
        "reference-purged",
        "reference-back",
        "purge",
        "neither",
    ],
)
def test_apt_is_content(life: dict[str, tuple[int, str]], name: str) -> None:
    assert life[name][0] == 0, life[name][1]


PARTS = [
    ("help-alone", 0, "--add-service"),
    ("pretty-alone", 1, "this needs the Python package rich"),
    ("help", 0, "--add-service"),
    ("pretty", 0, "10.0.0.1:80"),
    ("watch", 0, "10.0.0.1:80"),
    ("compiled", 0, "cli.cpython-"),
    ("status", 0, "ipvsadm: restored from /etc/ipvsadm.rules"),
    ("service-list", 0, " ipvsadm\n"),
    ("removed-unit", 0, "enabled\n"),
    ("bad-rules", 1, "Job for ipvsadm.service failed"),
    ("bad-rules-status", 3, "line 1: illegal virtual server address"),
]


@pytest.mark.parametrize(("name", "status", "part"), PARTS, ids=[row[0] for row in PARTS])
def test_step_says(life: dict[str, tuple[int, str]], name: str, status: int, part: str) -> None:
    assert life[name][0] == status
    assert part in life[name][1]


def test_only_the_service_is_enabled(life: dict[str, tuple[int, str]]) -> None:
    status, text = life["units"]
    rows = [line.split()[:2] for line in text.splitlines() if line.startswith("ipvsadm")]
    assert (status, rows) == (
        0,
        [
            ["ipvsadm-metrics@.service", "static"],
            ["ipvsadm.service", "enabled"],
            ["ipvsadm-metrics@.timer", "disabled"],
        ],
    )


def test_ldirectord_goes_through_ours_as_through_the_reference(
    life: dict[str, tuple[int, str]],
) -> None:
    for name in ("start", "configured", "quiesced", "returned", "stop", "cleared"):
        assert life[f"ours-{name}"] == life[f"reference-{name}"]
    assert "127.0.0.1:8082 -m -w 3\n" in life["ours-configured"][1]
    assert "127.0.0.1:8082 -m -w 0\n" in life["ours-quiesced"][1]
    assert "127.0.0.1:8082 -m -w 3\n" in life["ours-returned"][1]


def test_reload_applies_the_difference(life: dict[str, tuple[int, str]]) -> None:
    assert life["reload"][0] == 0
    assert life["reloaded"] == (0, TABLE)


def test_the_shells_find_the_completions(life: dict[str, tuple[int, str]]) -> None:
    for name in ("ipvsadm", "ipvsadm-save", "ipvsadm-restore"):
        assert f"-F _ipvsadm {name}\n" in life["bash"][1]
    assert "--version" in life["bash"][1]
    assert life["zsh"] == (0, "_ipvsadm _ipvsadm\n")
    assert "--version" in life["fish"][1]


def test_the_man_pages_are_ours(life: dict[str, tuple[int, str]]) -> None:
    status, text = life["pages"]
    assert status == 0
    assert "pyipvsadm" in text


def test_nothing_ends_in_a_traceback(life: dict[str, tuple[int, str]]) -> None:
    assert [name for name, (_, text) in life.items() if "Traceback" in text] == []
