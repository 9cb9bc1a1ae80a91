"""Provide what the tests need and older Pythons lack: zip that fails if lengths differ (3.10), and
TOML (3.11).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest installs tomli on these versions
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

parse_toml = tomllib.loads


def zip_equal(*columns: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Return zip(strict=True), on whole lists."""
    lists = [list(column) for column in columns]
    assert len({len(each) for each in lists}) <= 1, [len(each) for each in lists]
    return zip(*lists)
