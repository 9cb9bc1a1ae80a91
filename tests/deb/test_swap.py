"""The Debian package replaces the reference and is replaced by it, on a booted director at work: 20
rules and an open connection (swap.sh).
"""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyipvsadm import __version__
from tests.deb.machine import SUITES, boot, copied, missing, reference, texts, tree
from tests.needs import need

# The program that is the command `ipvsadm` after each action.
ACTIONS = {
    "ours": "pyipvsadm",
    "remove-theirs": "pyipvsadm",
    "theirs": "pyipvsadm",
    "remove-ours": "theirs",
    "ours-again": "pyipvsadm",
}


@pytest.fixture(scope="session")
def swaps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Return the text of each result, by suite."""
    need(missing())
    subprocess.run(["make", "--silent", "deb"], check=True, timeout=300, capture_output=True)
    folder = tmp_path_factory.mktemp("swap")
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(SUITES, pool.map(lambda suite: swap(suite, folder / suite), SUITES)))


def swap(suite: str, folder: Path) -> dict[str, str]:
    theirs = reference(tree(suite))
    subprocess.run(["dpkg-deb", "--extract", theirs, folder], check=True, timeout=60)
    (program,) = [*folder.glob("sbin/ipvsadm"), *folder.glob("usr/sbin/ipvsadm")]
    lab: dict[str, Path | str] = {
        "actions": "".join(f"{action}\n" for action in ACTIONS),
        "ours.deb": Path(f"dist/pyipvsadm_{__version__}_all.deb"),
        "theirs.deb": theirs,
        "reference": program,
        "connection.py": Path(__file__).with_name("connection.py"),
    }
    with copied(f"{suite}-swap", tree(suite), "swap.sh", lab) as root:
        log = boot(f"{suite}-swap", root)
        found = texts(root)
    assert "end-1" in found, f"it did not come to the end:\n{log[-4000:]}"
    return found


@pytest.mark.parametrize("suite", SUITES)
def test_one_package_in_the_place_of_the_other_and_back(
    swaps: dict[str, dict[str, str]], suite: str
) -> None:
    found = swaps[suite]
    assert (found["rules"].strip(), found["connected"]) == ("20", "connected\n")
    assert found["swap"].splitlines() == [
        f"{action}: status 0, enabled, {who}" for action, who in ACTIONS.items()
    ]
