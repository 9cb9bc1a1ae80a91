r"""Render JSON documents (format 1). They hold all fields, whichever view was asked for.

Owns: the shapes of documents; views/fields.py has the fields. pyipvsadm/schema/ipvsadm-1.json
describes them, and a test holds the two together. Must never know: backends, where names come from,
streams.

A value that does not exist is absent: no null, no zero that means "none". Texts are ASCII with
escapes. A byte from the kernel or the resolver that is not UTF-8 becomes the four characters \xHH,
because strict readers refuse the half of a surrogate pair that Python would write. Counters have 64
bits.
"""

from __future__ import annotations

import json

from pyipvsadm.grammar.values import get_daemon_values
from pyipvsadm.model import Server
from pyipvsadm.text import escape_undecodable
from pyipvsadm.views import classic, fields
from pyipvsadm.views.fields import read_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from pyipvsadm.errors import Finding
    from pyipvsadm.model import Daemon, Info, Service, Timeouts
    from pyipvsadm.views.connections import Connection
    from pyipvsadm.views.fields import Field
    from pyipvsadm.views.shares import Shares

    # services with their servers, and for --shares their shares
    Entry = tuple[Service, list[Server], Shares | None]
    # (family, address, port, protocol) -> the names of host and port, None where there is none
    Names = Callable[[int, bytes, int, int], tuple[str | None, str | None]]

FORMAT = 1

# No value holds itself, so nobody has to look for that.
_encode = json.JSONEncoder(separators=(", ", ": "), check_circular=False).encode


def format_document(**values: Any) -> str:
    """Return a document on one line."""
    return _encode({"format": FORMAT, **values}) + "\n"


def iter_document(head: dict[str, Any], name: str, records: Iterable[Any]) -> Iterator[str]:
    """Yield a document in pieces: the members of head, then a list, one line for each record."""
    yield format_document(**head).removesuffix("}\n") + f', "{name}": ['
    between = "\n"
    for record in records:
        yield between + _encode(record)
        between = ",\n"
    yield "\n]}\n"


def iter_table(info: Info, entries: Iterable[Entry], names: Names | None) -> Iterator[str]:
    """Return the document of services with their servers in pieces, one line for each service.
    names: None for numbers only.
    """
    ipvs = {"version": classic.format_version_number(info), "connection_table_size": info.size}
    return iter_document({"ipvs": ipvs}, "services", (_make_entry(each, names) for each in entries))


def _make_entry(entry: Entry, names: Names | None) -> dict[str, Any]:
    """Return a service with its servers and, if they are asked for, its shares."""
    service, servers, shares = entry
    made = _make_service(service, servers, names)
    if shares:
        _add_shares(made, servers, shares)
    return made


def _make_service(found: Service, servers: list[Server], names: Names | None) -> dict[str, Any]:
    made = _make_end(found, fields.SERVICE_KEY_FIELDS, found.protocol, names)
    made |= read_fields(fields.SERVICE_FIELDS, found)
    made["servers"] = [
        _make_end(each, fields.END_FIELDS, found.protocol, names)
        | read_fields(fields.SERVER_FIELDS, each)
        for each in servers
    ]
    return made


def _add_shares(made: dict[str, Any], servers: list[Server], shares: Shares) -> None:
    """Add the shares of new clients to a service and its servers."""
    made["shares"] = shares.make_record()
    for server, record in zip(servers, made["servers"]):
        count = shares.get_count(server)
        if count is not None:
            record["share"] = count


def _make_end(
    found: Service | Server, key_fields: Iterable[Field], protocol: int, names: Names | None
) -> dict[str, Any]:
    """Return the fields that name a service, a server or an end of a connection, and the names of
    its address and port.
    """
    made = read_fields(key_fields, found)
    if names and found.addr:
        made |= read_fields(fields.NAME_FIELDS, names(found.af, found.addr, found.port, protocol))
    return made


def make_timeouts(found: Timeouts) -> str:
    """Return the document of the timeouts of connections, in seconds."""
    return format_document(timeouts=read_fields(fields.TIMEOUTS, found))


def make_daemons(found: Iterable[Daemon]) -> str:
    """Return the document of the running sync daemons."""
    return format_document(
        daemons=[read_fields(fields.DAEMON_FIELDS, get_daemon_values(each)) for each in found]
    )


def make_end(end: tuple[int, bytes, int], number: int, names: Names | None) -> dict[str, Any]:
    """Return an end of a connection; number: the protocol in which its port has a name."""
    return _make_end(Server(*end), fields.END_FIELDS, number, names)


def make_connection(found: Connection, names: Names | None) -> str:
    """Return the document of one connection or persistence template."""
    made = read_fields(fields.CONNECTION_FIELDS, found)
    for name in ("client", "virtual", "server"):
        made[name] = make_end(made[name], found.number, names)
    return format_document(**made)


def format_error_document(findings: Iterable[Finding]) -> str:
    """Return the document of a command that failed: its error, and all of them if there are more
    than one (the bad lines of a rules file).
    """
    errors = make_errors(findings)
    several = {"errors": errors} if len(errors) > 1 else {}
    return format_document(error=errors[0], **several)


def make_errors(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return findings as JSON objects, each with the fields that it has."""
    return [
        {
            name: escape_undecodable(value) if isinstance(value, str) else value
            for name in ("code", "file", "line", "text", "message", "errno")
            if (value := getattr(each, name))
        }
        for each in findings
    ]
