"""The package: what is in it, what lintian says, and what happened on the machine, step by step (scenario.sh)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pyipvsadm import __version__
from tests.deb.machine import live, missing
from tests.needs import need
from tests.unit.test_install import expected

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
    lines = subprocess.run(["dpkg-deb", "--contents", package], check=True, capture_output=True, text=True).stdout.splitlines()
    found = {line.split()[5][2:] for line in lines if line[0] != "d"}
    wanted = expected("usr", "usr/lib/python3/dist-packages", "share/zsh/vendor-completions")
    wanted = {f"{path}.gz" if path.endswith(".8") else path for path in wanted}
    wanted |= {"etc/init.d/ipvsadm", "lib/systemd/system/ipvsadm.service", "usr/share/lintian/overrides/pyipvsadm"}
    wanted |= {f"usr/share/doc/pyipvsadm/{name}" for name in ("README.md.gz", "changelog.gz", "changelog.Debian.gz", "copyright")}
    assert found == wanted


def test_lintian_has_no_error(package: Path) -> None:
    done = subprocess.run(["lintian", "--fail-on", "error", package], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout


def test_a_second_build_gives_the_same_bytes(package: Path, tmp_path: Path) -> None:
    shutil.copy(package, tmp_path / "first")
    subprocess.run(["make", "--silent", "deb"], check=True, timeout=300, capture_output=True)
    assert package.read_bytes() == (tmp_path / "first").read_bytes()


@pytest.fixture(scope="session")
def life(package: Path) -> dict[str, tuple[int, str]]:
    results, log = live(package)
    assert results.get("end") == (0, ""), f"the machine did not come to the end (.lab/machine.log):\n{log[-4000:]}"
    return results


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
    ("daemon-running", 0, "master sync daemon (mcast=lo, syncid=0, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n"),
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
    "name", ["install", "extras", "remove", "again", "reference-purged", "reference-back", "purge", "neither"]
)
def test_apt_is_content(life: dict[str, tuple[int, str]], name: str) -> None:
    assert life[name][0] == 0, life[name][1]


PARTS = [
    ("help-alone", 1, "this needs the Python package click"),
    ("pretty-alone", 1, "this needs the Python package rich"),
    ("help", 0, "--add-service"),
    ("pretty", 0, "10.0.0.1:80"),
    ("watch", 0, "10.0.0.1:80"),
    ("compiled", 0, "cli.cpython-"),
    ("status", 0, "ipvsadm: restored from /etc/ipvsadm.rules"),
    ("units", 0, "ipvsadm.service enabled"),
    ("service-list", 0, " ipvsadm\n"),
    ("removed-unit", 0, "enabled\n"),
    ("bad-rules", 1, "Job for ipvsadm.service failed"),
    ("bad-rules-status", 3, "line 1: illegal virtual server address"),
]


@pytest.mark.parametrize(("name", "status", "part"), PARTS, ids=[row[0] for row in PARTS])
def test_step_says(life: dict[str, tuple[int, str]], name: str, status: int, part: str) -> None:
    assert life[name][0] == status
    assert part in life[name][1]


def test_ldirectord_goes_through_ours_as_through_the_reference(life: dict[str, tuple[int, str]]) -> None:
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
