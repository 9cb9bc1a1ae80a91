"""Count the connections of /proc/net/ip_vs_conn in groups (-L -c --by), and render the counts.

Owns: the keys of groups, how lines are counted, the columns. Must never know: backends, where
names come from, streams.

The file is read once, and only the groups are kept, so that memory does not grow with the number
of connections in a group. Persistence templates are counted apart: they are no connections.
"""

from __future__ import annotations

from itertools import islice
from operator import attrgetter, itemgetter
from os import fsdecode
from struct import Struct
from typing import NamedTuple

from pyipvsadm.model import PROTOCOLS, TCP
from pyipvsadm.text import escape_undecodable, pluralize, sanitize
from pyipvsadm.views.connections import (
    IP,
    LAYOUT_BLANKS,
    LAYOUT_SIZE,
    TEMPLATE_STATES,
    format_mark,
    make_malformed_error,
    parse_end,
    read_mark,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from pyipvsadm.rules.writer import Endpoint
    from pyipvsadm.views.grid import Line, TerminalStyle
    from pyipvsadm.views.json_document import Names

    Fields = tuple[bytes, ...]

# The fields of a line: protocol, client, its port, virtual service, server, state. Those of IPv4
# without an engine's data stand in fixed columns, as in views/connections.py.
_FIELDS = Struct("3sx8sx4sx13sx13sx11sx7sx")
_CLIENT_PORT, _STATE = 2, 5
# By key: the fields that make a group.
_INDEXES = {"client": (1,), "server": (4,), "service": (0, 3), "state": (5,), "protocol": (0,)}
_HEADINGS = {
    "client": "Client", "server": "Real server", "service": "Service", "state": "State", "protocol": "Protocol",
}  # fmt: skip
_BATCH = 512  # lines taken at once
_NUMBERS = {name: number for number, name in PROTOCOLS.items()}


class Group(NamedTuple):
    """Hold a group: its fields as the file has them, and what was counted. Values are parsed when
    they are shown, since there may be many groups.
    """

    fields: Fields
    connections: int
    templates: int


def count_groups(lines: Iterable[bytes], keys: Sequence[str]) -> list[Group]:
    """Count the lines of the file, its heading left out, by these keys; the largest group first.

    Raise OperationError at a line without nine words; parse_values, if a value of a group cannot be
    read. The other values of a line in fixed columns are not examined.
    """
    indexes = [index for key in keys for index in _INDEXES[key]]
    pick: Callable[[Fields], Any] = itemgetter(*indexes)
    every: dict[Any, int] = {}
    templates: dict[Any, int] = {}
    lines = iter(lines)
    while batch := list(islice(lines, _BATCH)):
        records = _split_batch(batch) or list(map(_split_line, batch))
        for key in map(pick, records):
            every[key] = every.get(key, 0) + 1
        for key in map(pick, filter(_is_template, records)):
            templates[key] = templates.get(key, 0) + 1
    single = len(indexes) == 1
    groups = [
        Group((key,) if single else key, count - templates.get(key, 0), templates.get(key, 0))
        for key, count in every.items()
    ]
    # Sorting by one member after the other makes no keys, which would take more than the groups.
    for name in ("fields", "templates", "connections"):
        groups.sort(key=attrgetter(name), reverse=name != "fields")
    return groups


def _split_batch(lines: list[bytes]) -> list[Fields]:
    """Return the fields of lines that all stand in the fixed columns, else nothing."""
    block = b"".join(lines)
    count = len(lines)
    if len(block) != count * LAYOUT_SIZE or block[LAYOUT_SIZE - 1 :: LAYOUT_SIZE] != b"\n" * count:
        return []
    if any(block[place::LAYOUT_SIZE] != b" " * count for place in LAYOUT_BLANKS):
        return []
    return list(_FIELDS.iter_unpack(block))


def _split_line(line: bytes) -> Fields:
    words = line.split()
    if len(words) < 9:  # an engine and its data may follow
        raise make_malformed_error(line)
    protocol, client, port, virtual, virtual_port, server, server_port, state = words[:8]
    return (
        protocol.ljust(3), client, port, b" ".join((virtual, virtual_port)), b" ".join((server, server_port)),
        state.ljust(11),
    )  # fmt: skip


def _is_template(fields: Fields) -> bool:
    return fields[_CLIENT_PORT] == b"0000" and fields[_STATE].strip() in TEMPLATE_STATES


def parse_values(group: Group, keys: Sequence[str]) -> tuple[list[Any], int]:
    """Return the values of a group, in the order of the keys, and the number of the protocol in
    which ports have names.

    client: (family, address, 0); server: (family, address, port); service: (protocol, family,
    address, port); state, protocol: text.
    """
    rest = iter(group.fields)
    values = [_parse_value(key, rest) for key in keys]
    return values, _find_number(values, keys)


def _parse_value(key: str, fields: Iterator[bytes]) -> Any:
    """Return the value of a group from its fields."""
    text = fsdecode(next(fields).strip())
    if key in ("state", "protocol"):
        return text
    protocol = text
    end = fsdecode(next(fields)) if key == "service" else text
    try:
        address, port = end.split() if key != "client" else (end, "0")
        parsed = parse_end(address, port)
    except (ValueError, OverflowError):
        raise make_malformed_error(end.encode("utf-8", "surrogateescape")) from None
    return (protocol, *parsed) if key == "service" else parsed


def _find_number(values: Sequence[Any], keys: Sequence[str]) -> int:
    """Return the number of the group's protocol; TCP if no key tells it."""
    for key, value in zip(keys, values):
        if key in ("service", "protocol"):
            return _NUMBERS.get(value[0] if key == "service" else value, 0)
    return TCP


def collect_addresses(groups: Iterable[Group], keys: Sequence[str]) -> set[tuple[int, bytes]]:
    """Return the addresses of groups, to be looked up."""
    ends = set()
    for group in groups:
        for key, value in zip(keys, parse_values(group, keys)[0]):
            if key in ("client", "server"):
                ends.add(value[:2])
            elif key == "service" and value[0] != IP:
                ends.add(value[1:3])
    return ends


def _format_value(key: str, value: Any, number: int, endpoint: Endpoint) -> str:
    if key in ("state", "protocol"):
        return str(value)
    if key == "service":
        protocol, family, addr, port = value
        if protocol == IP:
            return format_mark(family, read_mark(addr))
        return f"{protocol} {endpoint(family, addr, port, number)}"
    family, addr, port = value
    text = endpoint(family, addr, port, number)
    return text[: text.rindex(":")].strip("[]") if key == "client" else text


def _format_values(group: Group, keys: Sequence[str], endpoint: Endpoint) -> list[str]:
    values, number = parse_values(group, keys)
    return [_format_value(key, value, number, endpoint) for key, value in zip(keys, values)]


def iter_text(groups: Sequence[Group], keys: Sequence[str], endpoint: Endpoint) -> Iterator[str]:
    """Yield the lines of the counts: numbers first, as `uniq -c` has them."""
    headings = [_HEADINGS[key] for key in keys]
    widths = [len(heading) for heading in headings]
    if len(keys) > 1:
        for group in groups:
            cells = _format_values(group, keys, endpoint)
            widths = [max(width, len(cell)) for width, cell in zip(widths, cells)]
    widths[-1] = 0

    def join(cells: list[str]) -> str:
        return "  ".join([cell.ljust(width) for cell, width in zip(cells, widths)])

    yield f"{'Connections':>11} {'Templates':>9}  {join(headings)}\n"
    for group in groups:
        text = join(_format_values(group, keys, endpoint))
        yield f"{group.connections:>11} {group.templates:>9}  {text}\n"


def render_groups(
    groups: Sequence[Group], keys: Sequence[str], endpoint: Endpoint, look: TerminalStyle
) -> list[Line]:
    """Return the lines of the counts for a person, each with a bar of its share."""
    # rich costs a start 50 ms
    from pyipvsadm.views import pretty  # noqa: PLC0415
    from pyipvsadm.views.grid import Cell, Column, Row, wrap_words  # noqa: PLC0415

    connections = sum(group.connections for group in groups)
    templates = sum(group.templates for group in groups)
    if not groups:
        return [[("No connections.", "")]]
    words = [(pluralize(connections, "connection", ","), pretty.SERVICE)]
    if templates:
        words.append((f"  {pluralize(templates, 'persistence template', ',')}", ""))
    words.append((f"  in {pluralize(len(groups), 'group', ',')}", ""))
    columns = [Column("Connections"), Column("Share", bars=True)]
    columns += [Column("Templates")] if templates else []
    rows: list[Row | None] = [None]
    for group in groups:
        names = map(sanitize, _format_values(group, keys, endpoint))
        cells = [
            Cell(f"{group.connections:,}"),
            pretty.draw_share(group.connections, connections, pretty.LOADS),
        ]
        cells += [Cell(f"{group.templates:,}")] if templates else []
        rows.append(Row("  ".join(names), cells))
    title = ", ".join(_HEADINGS[key] for key in keys)
    return [*wrap_words(words, look.width, 2), *pretty.draw_rows(columns, rows, look, title)]


def iter_document(
    groups: Sequence[Group], keys: Sequence[str], names: Names | None
) -> Iterator[str]:
    """Yield the JSON document of the counts in pieces, one line for each group."""
    # costs more than a start
    from pyipvsadm.views import json_document as document  # noqa: PLC0415

    head = {
        "by": list(keys),
        "connections": sum(group.connections for group in groups),
        "templates": sum(group.templates for group in groups),
    }
    records = (_make_record(group, keys, names) for group in groups)
    return document.iter_document(head, "groups", records)


def _make_record(group: Group, keys: Sequence[str], names: Names | None) -> dict[str, Any]:
    record: dict[str, Any] = {"connections": group.connections, "templates": group.templates}
    values, number = parse_values(group, keys)
    for key, value in zip(keys, values):
        record[key] = _make_value(key, value, number, names)
    return record


def _make_value(key: str, value: Any, number: int, names: Names | None) -> Any:
    from pyipvsadm.views.json_document import make_end  # noqa: PLC0415

    if key == "state":
        return escape_undecodable(value)
    if key == "protocol":
        return escape_undecodable(value).lower()
    if key == "service":
        protocol, *end = value
        record = make_end(tuple(end), number, names)
        if protocol == IP:
            return {"family": record["family"], "firewall_mark": read_mark(value[2])}
        return {"protocol": escape_undecodable(protocol).lower(), **record}
    record = make_end(value, number, names)
    if key == "client":
        del record["port"]
        record.pop("port_name", None)
    return record
