"""Test the lock of --apply on a kernel: which processes can take it, and where it is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.kernel.netns import run_ours

RULES = b"-A -f 1 -s rr\n"
USER = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
ADMINISTRATOR = [*USER, "--inh-caps", "+net_admin", "--ambient-caps", "+net_admin"]
READ_ONLY = ["unshare", "-m", "/bin/sh", "-c", 'mount -t tmpfs -o ro none /run && exec "$@"', "sh"]
UNWRITTEN = "this change is not in the history (/proc/h): No such file or directory\n"
HOLD = "import fcntl, sys; fcntl.flock(open('/proc/sys/net/ipv4/tcp_fastopen_key'), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def run(before: list[str], program: list[str]) -> tuple[int, str]:
    done = subprocess.run(
        [*before, sys.executable, *program],
        input=RULES,
        capture_output=True,
        timeout=120,
        check=False,
        env=os.environ | {"IPVSADM_HISTORY": "/proc/h"},  # which cannot be made
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.usefixtures("netns")
@pytest.mark.parametrize("before", [ADMINISTRATOR, READ_ONLY], ids=["by a user", "/run read-only"])
def test_apply_needs_no_folder_for_its_lock(before: list[str]) -> None:
    assert run(before, ["-m", "pyipvsadm", "--apply"]) == (
        0,
        f"{UNWRITTEN}1 added, 0 changed, 0 removed, 0 unchanged\n",
    )
    assert run_ours(["-S", "-n"]).stdout == RULES


@pytest.mark.usefixtures("netns")
def test_who_may_not_change_the_table_cannot_take_its_lock() -> None:
    assert run(ADMINISTRATOR, ["-c", HOLD]) == (0, "")
    status, said = run(USER, ["-c", HOLD])
    assert status == 1
    assert "PermissionError" in said
