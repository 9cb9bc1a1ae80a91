"""SELinux allows a unit's /usr/sbin/ipvsadm what docs/install.md says, by Debian's reference
policy. The policy is only queried: no program runs under it.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.deb.machine import sources
from tests.lab.trees import make_tree
from tests.needs import need
from tests.older_python import zip_equal
from tests.rpm.machine import SUITE, find_missing

if TYPE_CHECKING:
    from pathlib import Path

# The allowed (type, class, permission), and {domain that starts the program: domain it runs in}.
Policy = tuple[set[tuple[str, ...]], dict[str, str]]

DOMAIN = "iptables_t"
FOLDER = "etc/selinux/default"
PACKAGES = ("selinux-policy-default", "selinux-utils", "setools")

# (path or type, class, permission, True if it is allowed)
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
    ("iptables_runtime_t", "file", "create", True),  # the type of a new file in /run
    ("var_run_t", "dir", "create", False),
    (DOMAIN, "netlink_generic_socket", "create", False),
    (DOMAIN, "capability", "net_admin", True),
    (DOMAIN, "capability", "sys_admin", False),  # --netns
    ("/var/lib/prometheus/node-exporter", "dir", "add_name", False),
]


# (domain that starts the program, domain in which it runs; "": the same)
STARTS = [("init_t", DOMAIN), ("initrc_t", DOMAIN), ("unconfined_t", "")]
PROGRAM = "/usr/sbin/ipvsadm"
# A script for the tree. Its arguments are the policy, the domain and the program's type. It prints
# as JSON what the domain may do (type, class, permission; without rules that a boolean switches),
# and the domains in which the program runs (domain that starts it, domain it runs in).
QUERY = """
import json, sys, setools
policy, domain, program = sys.argv[1:]
policy = setools.SELinuxPolicy(policy)
allowed = []
for rule in setools.TERuleQuery(policy, ruletype=["allow"], source=domain).results():
    try:
        rule.conditional
    except AttributeError:
        targets = rule.target.expand()
        allowed += [(str(t), str(rule.tclass), p) for t in targets for p in rule.perms]
starts = setools.TERuleQuery(
    policy, ruletype=["type_transition"], target=program, tclass=["process"]
).results()
print(json.dumps([allowed, [(str(rule.source), str(rule.default)) for rule in starts]]))
"""


@pytest.fixture(scope="session")
def tree() -> Path:
    """Return a tree with the policy, compiled, and with the programs that read it."""
    need(find_missing())
    return make_tree("selinux", SUITE, sources(SUITE), PACKAGES)


@pytest.fixture(scope="session")
def types(tree: Path) -> dict[str, str]:
    """Return the SELinux type of each path."""
    paths = [PROGRAM, *(target for target, *_ in ACCESS if target.startswith("/"))]
    contexts = f"/{FOLDER}/contexts/files/file_contexts"
    lines = ask(tree, "matchpathcon", "-n", "-f", contexts, *paths).split()
    return dict(zip_equal(paths, [line.split(":")[2] for line in lines]))


@pytest.fixture(scope="session")
def policy(tree: Path, types: dict[str, str]) -> Policy:
    """Return what the domain may do, and the domains in which the program runs."""
    (file,) = (tree / FOLDER / "policy").iterdir()
    words = (f"/{file.relative_to(tree)}", DOMAIN, types[PROGRAM])
    allowed, starts = json.loads(ask(tree, "/usr/bin/python3", "-c", QUERY, *words))
    return set(map(tuple, allowed)), dict(starts)


def ask(tree: Path, *words: str) -> str:
    done = subprocess.run(
        ["chroot", str(tree), *words], capture_output=True, text=True, check=True, timeout=300
    )
    return done.stdout


@pytest.mark.parametrize(("parent", "domain"), STARTS)
def test_where_it_runs(policy: Policy, parent: str, domain: str) -> None:
    _, starts = policy
    assert starts.get(parent, "") == domain


@pytest.mark.parametrize(("target", "kind", "permission", "may"), ACCESS)
def test_access(
    policy: Policy,
    types: dict[str, str],
    target: str,
    kind: str,
    permission: str,
    may: bool,
) -> None:
    allowed, _ = policy
    assert ((types.get(target, target), kind, permission) in allowed) is may
