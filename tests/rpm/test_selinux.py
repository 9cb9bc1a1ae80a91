"""What SELinux lets a unit's /usr/sbin/ipvsadm do, by Debian's reference policy: docs/install.md
says the same. The policy is asked, nothing is run under it.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.deb.machine import sources
from tests.lab.trees import make_tree
from tests.needs import need
from tests.rpm.machine import SUITE, find_missing

if TYPE_CHECKING:
    from pathlib import Path

DOMAIN = "iptables_t"
FOLDER = "etc/selinux/default"
PACKAGES = ("selinux-policy-default", "selinux-utils", "setools")

# (path or type, class, what would be done with it, whether it may be)
ACCESS = [
    ("/usr/bin/python3.11", "file", "execute_no_trans", True),
    ("/usr/lib/pyipvsadm/pyipvsadm/cli.py", "file", "read", True),
    ("/usr/lib/pyipvsadm/pyipvsadm/cli.py", "file", "write", False),
    ("/etc/sysconfig/ipvsadm", "file", "read", True),
    ("/etc/sysconfig/ipvsadm", "file", "write", False),
    ("/etc/sysconfig/ipvsadm", "file", "unlink", False),
    ("proc_net_t", "file", "read", True),  # /proc/net/ip_vs
    ("sysctl_net_t", "file", "read", False),  # below /proc/sys/net
    ("/var/lib/ipvsadm", "dir", "add_name", False),
    ("/var/lib/ipvsadm", "file", "read", False),
    ("/var/lib/ipvsadm", "file", "write", False),
    ("var_run_t", "dir", "add_name", True),  # a file in /run
    ("iptables_runtime_t", "file", "create", True),  # is made of this type
    ("var_run_t", "dir", "create", False),
    (DOMAIN, "netlink_generic_socket", "create", False),
    (DOMAIN, "capability", "net_admin", True),
]


@pytest.fixture(scope="session")
def tree() -> Path:
    """A tree with the policy, compiled, and with the programs that read it."""
    need(find_missing())
    return make_tree("selinux", SUITE, sources(SUITE), PACKAGES)


def ask(tree: Path, *words: str) -> str:
    done = subprocess.run(
        ["chroot", str(tree), *words], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def find_type(tree: Path, path: str) -> str:
    contexts = f"/{FOLDER}/contexts/files/file_contexts"
    return ask(tree, "matchpathcon", "-n", "-f", contexts, path).split(":")[2]


def find_policy(tree: Path) -> str:
    (policy,) = (tree / FOLDER / "policy").iterdir()
    return f"/{policy.relative_to(tree)}"


@pytest.mark.parametrize("parent", ["init_t", "initrc_t"])
def test_a_unit_starts_it_in_its_domain(tree: Path, parent: str) -> None:
    target = find_type(tree, "/usr/sbin/ipvsadm")
    words = ("-T", "-s", parent, "-t", target, "-c", "process", find_policy(tree))
    assert ask(tree, "sesearch", *words).split()[-1] == f"{DOMAIN};"


@pytest.mark.parametrize(("target", "kind", "permission", "allowed"), ACCESS)
def test_access(tree: Path, target: str, kind: str, permission: str, allowed: bool) -> None:
    if target.startswith("/"):
        target = find_type(tree, target)
    words = ("-A", "-s", DOMAIN, "-t", target, "-c", kind, "-p", permission, find_policy(tree))
    rules = ask(tree, "sesearch", *words)
    # A rule that a boolean switches names it in brackets.
    assert bool(re.search(r"^allow [^[]*$", rules, re.MULTILINE)) is allowed, rules
