"""Compare the table of fields with the JSON Schema and the columns: a field that is added in one
place only fails here, in test_json_document (documents against the schema) or in test_man.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pyipvsadm.model import AF_INET, Server, Service, Timeouts
from pyipvsadm.views import fields, live, pretty
from tests.unit.views.test_json_document import SCHEMA

if TYPE_CHECKING:
    from pyipvsadm.views.fields import Field

DEFINITIONS = SCHEMA["$defs"]
SERVICE = (*fields.SERVICE_KEY_FIELDS, *fields.SERVICE_FIELDS)
# definition -> its fields, and the keys that belong to no single record
TABLES: dict[str, tuple[tuple[Field, ...], set[str]]] = {
    "service": ((*SERVICE, *fields.NAME_FIELDS), {"servers", "shares"}),
    "server": ((*fields.END_FIELDS, *fields.NAME_FIELDS, *fields.SERVER_FIELDS), {"share"}),
    "tunnel": (fields.TUNNEL_FIELDS, set()),
    "stats": (fields.COUNTERS, set()),
    "timeouts": (fields.TIMEOUTS, set()),
    "daemon": (fields.DAEMON_FIELDS, set()),
    "connection": (fields.CONNECTION_FIELDS, {"format"}),
    "end": ((*fields.END_FIELDS, *fields.NAME_FIELDS), set()),
}
INNER = {"tunnel": "server", "timeouts": "timeouts"}
ALL = [field for table, _ in TABLES.values() for field in table]


def definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DEFINITIONS[INNER.get(name, name)]
    return found["properties"][name] if name in INNER else found


def resolve(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = DEFINITIONS[row["$ref"].rpartition("/")[2]] if "$ref" in row else row
    return found


@pytest.mark.parametrize("name", TABLES)
def test_the_schema_is_the_table(name: str) -> None:
    table, others = TABLES[name]
    rows = {
        key: resolve(row)
        for key, row in definition(name)["properties"].items()
        if key not in others
    }
    assert {field.key: (field.type, field.help) for field in table} == {
        key: (row.get("type", "string"), row["description"]) for key, row in rows.items()
    }
    required = {field.key for field in table if not field.optional}
    if name == "service":
        required -= {"address", "port"}  # a service with a firewall mark has neither
    assert required == set(definition(name)["required"]) - others


def test_rates_are_the_counters() -> None:
    rate, stats = (DEFINITIONS[name]["properties"] for name in ("rate", "stats"))
    assert list(rate) == list(stats) == [field.key for field in fields.COUNTERS]


def test_the_counters_are_the_first_half_of_stats() -> None:
    assert [field.read(range(10, 20)) for field in fields.COUNTERS] == list(range(10, 15))


def test_a_metric_ends_with_its_unit() -> None:
    metrics = [field for field in ALL if field.metric]
    assert {field.kind for field in metrics} == {"gauge", "counter"}
    for field in metrics:
        assert field.type == "integer"
        assert field.unit in field.metric
        assert (field.kind == "counter") == (field in fields.COUNTERS)
        assert "\n" not in field.help


# Columns that show no field, but a value derived from several.
DERIVED = {"", "Share", "Used", "New clients", "Last minute, max"}


def test_columns_are_headed_by_the_table() -> None:
    columns = [
        *live._COLUMNS,
        *(column for view in pretty.VIEWS.values() for column in view.columns),
    ]
    heads = {f"{column.top}\n{column.bottom}".rstrip("\n").removesuffix("/s") for column in columns}
    assert heads - set(fields.HEADINGS.values()) == DERIVED


def test_every_heading_is_of_one_field() -> None:
    named = [
        field for field in dict.fromkeys(ALL) if field.heading and field not in fields.TIMEOUTS
    ]
    assert {field.key: field.heading for field in named} == fields.HEADINGS
    assert len(named) == len(fields.HEADINGS)


@pytest.mark.parametrize(
    ("table", "record", "expected"),
    [
        (fields.TIMEOUTS, Timeouts(1, 2, 3), {"tcp": 1, "tcp_fin": 2, "udp": 3}),
        (fields.SERVICE_KEY_FIELDS, Service(AF_INET, fwmark=7), {"family": "ipv4", "firewall_mark": 7}),
        (fields.TUNNEL_FIELDS, Server(AF_INET, bytes(4), 80), {"type": "ipip"}),
        (fields.NAME_FIELDS, (None, None), {}),
        (fields.NAME_FIELDS, ("\udcff", "http"), {"host_name": r"\xff", "port_name": "http"}),
    ],
)  # fmt: skip
def test_a_field_that_does_not_apply_is_absent(
    table: tuple[Field, ...], record: object, expected: dict[str, object]
) -> None:
    assert fields.read_fields(table, record) == expected
