"""Make trees of Debian packages, once, below .lab.

Owns: how a tree is made and when it is made anew. Must never know: what is in it, or what it is
for.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.lab.boot import LAB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def make_tree(
    name: str,
    suite: str,
    sources: str,
    packages: Sequence[str],
    options: Sequence[str] = (),
    complete: Callable[[Path], None] | None = None,
    contents: Sequence[str] = (),
) -> Path:
    """Return .lab/NAME-SUITE-KEY, a minimal system with packages from sources, lines of
    sources.list. An existing tree is kept while everything that it was made from is the same.

    options: more words for mmdebstrap. complete: finishes the new tree; contents: what it was told
    to put there. Raise RuntimeError with mmdebstrap's last words if it fails.
    """
    made_from = (sources, tuple(packages), tuple(options), tuple(contents))
    key = hashlib.sha256(repr(made_from).encode()).hexdigest()[:12]
    tree = LAB / f"{name}-{suite}-{key}"
    if tree.exists():
        return tree
    LAB.mkdir(exist_ok=True)
    for old in LAB.glob(f"{name}-{suite}-*"):
        shutil.rmtree(old)
    new = tree.with_suffix(".new")
    command = ["unshare", "--mount", "mmdebstrap", "--quiet", "--variant=minbase"]
    command += [f"--include={','.join(packages)}", *options, suite, str(new), "-"]
    done = subprocess.run(
        command, input=sources, text=True, capture_output=True, check=False, timeout=900
    )
    if done.returncode:
        raise RuntimeError(f"mmdebstrap failed:\n{done.stderr[-4000:]}")
    if complete is not None:
        complete(new)
    new.rename(tree)
    return tree
