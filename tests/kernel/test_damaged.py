"""Apply files of rules that were damaged or cut short, with --apply on a kernel."""

from __future__ import annotations

import pytest

from pyipvsadm.backends.kernel import KernelBackend
from pyipvsadm.resolver import Resolver
from tests.cases.case import Step
from tests.cases.ours import answer
from tests.contract.damaged import KINDS, check_damaged_files

FILES = 300


@pytest.mark.usefixtures("netns")
def test_a_damaged_file_takes_no_more_than_is_promised() -> None:
    def ask(words: str, text: bytes) -> tuple[int, str]:
        done = answer(Step(tuple(words.split()), text), Resolver(), KernelBackend)
        return done.status, done.stdout

    seen = check_damaged_files(ask, FILES)
    for what, count in sorted(seen.items()):
        print(f"{what}: {count}")
    assert sum(seen.values()) == 2 * FILES
    for kind in KINDS[1:]:
        assert seen[f"{kind}: refused"], kind
