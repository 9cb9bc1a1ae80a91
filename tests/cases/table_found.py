"""List cases that generated command lines have found: each failing example, made small, becomes a
case here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cases.case import Cases

CASES: Cases = {}
