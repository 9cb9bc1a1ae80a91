"""Collect all cases by name."""

from __future__ import annotations

from tests.cases import (
    table_combinations,
    table_connections,
    table_daemons,
    table_found,
    table_listing,
    table_options,
    table_recipes,
    table_restore,
    table_servers,
    table_services,
)
from tests.cases.case import Case, read

_TABLES = (
    table_options,
    table_combinations,
    table_services,
    table_servers,
    table_listing,
    table_restore,
    table_daemons,
    table_recipes,
    table_found,
)


def _joined() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for table in _TABLES:
        for name, written in table.CASES.items():
            assert name not in cases, f"two cases are called {name!r}"
            cases[name] = Case(read(written))
    for name, (connections, written) in table_connections.CASES.items():
        cases[name] = Case(read(written), connections)
    return cases


CASES = _joined()
