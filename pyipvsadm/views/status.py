"""Render the state of the table as a whole (-L --status): as text, for people, as JSON.

Owns: the lines of /proc/net/ip_vs_status (ip_vs_ctl.c: ip_vs_status_show), the meaning of each
setting, the words. Must never know: backends, streams.

The size of the hash of connections is no limit: it is shown only with the load. Only conn_max
(from Linux 7.2 on) limits their number.
"""

from __future__ import annotations

from typing import NamedTuple

from pyipvsadm.grammar.values import get_daemon_values
from pyipvsadm.model import ROLES
from pyipvsadm.text import escape_undecodable, pluralize, sanitize
from pyipvsadm.views import classic
from pyipvsadm.views.fields import DAEMON_FIELDS, read_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pyipvsadm.model import Daemon, Info
    from pyipvsadm.views.grid import Line, TerminalStyle

# The longest chain that the file counts by itself; longer ones are counted with it.
LONGEST_CHAIN = 7
_LABEL = 22  # columns

# Settings (sysctls below net.ipv4.vs), and the meaning of their values; "": of any other value.
_DEFENCE = {
    "0": "off",
    "1": "off until memory gets short; then {0}",
    "2": "memory is short: {0}",
    "3": "always: {0}",
}
_SETTINGS: dict[str, dict[str, str]] = {
    "conn_reuse_mode": {
        "0": "a client that uses a port again keeps its server, even one of weight 0",
        "1": "a client that uses a port again after TIME_WAIT is scheduled anew",
        "2": "a client that uses a port again after TIME_WAIT or FIN_WAIT is scheduled anew",
        "": "a client that uses a port again is scheduled anew when that is safe",
    },
    "expire_nodest_conn": {
        "0": "packets of connections to a removed server are dropped until it is back or they time out",
        "": "connections to a removed server end at their next packet",
    },
    "expire_quiescent_template": {
        "0": "persistent clients keep a server of weight 0 until they stay away for the whole timeout",
        "": "persistent clients of a server of weight 0 get another one",
    },
    "drop_entry": {
        value: text.format("connections are dropped at random")
        for value, text in _DEFENCE.items()
    },
    "drop_packet": {
        value: text.format("some packets to servers are dropped")
        for value, text in _DEFENCE.items()
    },
    "secure_tcp": {
        value: text.format("TCP connections count as established only after the whole handshake")
        for value, text in _DEFENCE.items()
    },
    "sloppy_tcp": {
        "0": "a TCP connection begins with a SYN",
        "": "any TCP packet may begin a connection, also one in the middle of another director's",
    },
    "conntrack": {
        "0": "the packet filter does not track connections of IPVS: its rules by state and NAT do not see them",
        "": "the packet filter tracks connections of IPVS: its rules by state and NAT see them",
    },
    "run_estimation": {
        "0": "rates stand still, from Linux 6.2 on the counters too",
        "": "rates and counters are kept up to date",
    },
}  # fmt: skip
SETTINGS = tuple(_SETTINGS)
_DEFENCES = ("drop_entry", "drop_packet", "secure_tcp")
CONN_MAX = "conn_max"


class Status(NamedTuple):
    """Hold the state of a table. connections, templates: those of the servers in the table; kernel:
    the lines of /proc/net/ip_vs_status by their names, empty if there is none; settings: the
    sysctls that exist; embedded: the table is one of pyipvsadm, through which no packet passes.
    """

    info: Info
    services: int
    servers: int
    connections: int
    templates: int
    daemons: list[Daemon]
    settings: dict[str, str]
    kernel: dict[str, str]
    embedded: bool = False

    @property
    def entries(self) -> int:
        """Return the number of connections and templates in the hash: the kernel's own, which
        knows those of removed servers too, if it tells.
        """
        count = self._read_count("Conns")
        return self.connections + self.templates if count is None else count

    @property
    def size(self) -> int:
        """Return the buckets of the hash of connections; 0 while the kernel has none (Linux 7.1)."""
        size = self._read_count("Conn buckets")
        return self.info.size if size is None else size

    @property
    def load(self) -> float:
        """Return the entries in a bucket, on average."""
        return self.entries / self.size if self.size else 0.0

    @property
    def maximum(self) -> int | None:
        """Return the most connections that the kernel keeps (conn_max); None if it has no limit."""
        text = self.settings.get(CONN_MAX, "")
        return int(text) if text.isdecimal() else None

    @property
    def estimators(self) -> int | None:
        """Return the counters that the kernel estimates; None if it does not tell."""
        return self._read_count("Stats thread ests")

    @property
    def chains(self) -> dict[int, int]:
        """Return how many buckets have 0, 1, 2 ... entries, as far as the kernel tells; the last
        length stands for longer ones, too.
        """
        names = {0: "Conn buckets empty"}
        names.update(
            (length, f"Conn buckets len-{length}") for length in range(1, LONGEST_CHAIN + 1)
        )
        found = {length: self._read_count(name) for length, name in names.items()}
        return {length: count for length, count in found.items() if count is not None}

    def _read_count(self, name: str) -> int | None:
        """Return the number at the start of a line of the kernel's file."""
        word = self.kernel.get(name, "").partition(" ")[0]
        return int(word) if word.isdecimal() else None


def parse_status_file(text: str) -> dict[str, str]:
    """Return the lines of /proc/net/ip_vs_status: `NAME:<tab>VALUE`."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def describe_setting(name: str, value: str) -> str:
    """Return the meaning of the value of a setting, "" if it is not known."""
    meanings = _SETTINGS[name]
    return meanings.get(value, meanings.get("", ""))


def _list_facts(status: Status, separator: str) -> Iterator[tuple[str, str]]:
    """Yield (label, text) of what is counted. separator: of thousands."""
    if status.embedded:
        yield "Connections", "none: no packet passes through an embedded table"
    else:
        templates = pluralize(status.templates, "persistence template", separator)
        yield "Connections", f"{status.connections:{separator}}, and {templates}"
        yield "Hash of connections", _describe_hash(status, separator)
    if status.maximum is not None:
        share = 100 * status.entries / max(1, status.maximum)
        text = f"{status.maximum:{separator}} (conn_max), of which {share:.1f}% are used"
        yield "Most connections", text
    servers = pluralize(status.servers, "real server", separator)
    yield "Services", f"{status.services:{separator}}, with {servers}"
    if "run_estimation" in status.settings:
        yield "Estimation", _describe_estimation(status, separator)
    yield "Sync daemons", _describe_daemons(status)
    if any(name in status.settings for name in _DEFENCES):
        active = [name for name in _DEFENCES if status.settings.get(name) in ("2", "3")]
        yield "Drops", f"now, by {', '.join(active)}" if active else "none"


def _describe_hash(status: Status, separator: str) -> str:
    if not status.size:
        return "made with the first service"
    text = (
        f"load {status.load:.2f}: entries for each of {status.size:{separator}} buckets;"
        " it holds any number"
    )
    chains = status.chains
    filled = sum(count for length, count in chains.items() if length)
    if filled:
        longest = max(length for length, count in chains.items() if length and count)
        more = " or more" if longest == LONGEST_CHAIN else ""
        text += f"; the longest chain has {longest}{more}"
    return text


def _describe_estimation(status: Status, separator: str) -> str:
    text = "off" if status.settings["run_estimation"] == "0" else "on"
    if status.estimators is not None:
        text += f", {status.estimators:{separator}} estimators"
    return text


def _describe_daemons(status: Status) -> str:
    return "; ".join(
        f"{ROLES.get(each.state, str(each.state))} on {each.interface}, id {each.syncid}"
        for each in status.daemons
    ) or "none"  # fmt: skip


def iter_text(status: Status) -> Iterator[str]:
    """Yield the lines for a pipe: numbers without separators, each fact on one line."""
    yield classic.format_version(status.info).partition(" (")[0] + "\n"
    for label, text in _list_facts(status, ""):
        yield f"{label:{_LABEL}}{text}\n"
    settings = _list_settings(status)
    if settings:
        yield f"{'Setting':27}Value  Meaning\n"
    for name, value, meaning in settings:
        yield f"{name:27}{value:6} {meaning}".rstrip() + "\n"


def _list_settings(status: Status) -> list[tuple[str, str, str]]:
    return [
        (name, status.settings[name], describe_setting(name, status.settings[name]))
        for name in SETTINGS
        if name in status.settings
    ]


def render_status(status: Status, look: TerminalStyle) -> list[Line]:
    """Return the lines for a person: numbers with separators, wrapped at the width."""
    # rich costs a start 50 ms
    from pyipvsadm.views.grid import split_sentence, wrap_words  # noqa: PLC0415

    lines: list[Line] = [[(f"IPVS {classic.format_version_number(status.info)}", "bold")]]
    for label, text in _list_facts(status, ","):
        words = [(f"{label:{_LABEL - 1}}", "dim")]
        words += [(f" {word}", "") for word in sanitize(text).split(" ")]
        lines += wrap_words(words, look.width, _LABEL)
    lines.append([])
    for name, value, meaning in _list_settings(status):
        words = [(f"{name} ", ""), (sanitize(value), "bold")]
        lines += wrap_words(words, look.width, 2)
        if meaning:
            lines += wrap_words([("  ", ""), *split_sentence(meaning, "dim")], look.width, 2)
    return lines if lines[-1] else lines[:-1]


def make_record(status: Status) -> dict[str, Any]:
    """Return the JSON object of a status."""
    record: dict[str, Any] = {
        "version": classic.format_version_number(status.info),
        "embedded": status.embedded,
        "connections": status.connections,
        "templates": status.templates,
        "services": status.services,
        "servers": status.servers,
    }
    if not status.embedded:
        table: dict[str, Any] = {"entries": status.entries, "buckets": status.size}
        if status.size:
            table["load"] = round(status.load, 4)
        if status.chains:
            table["buckets_by_length"] = {str(k): n for k, n in status.chains.items()}
        record["connection_hash"] = table
    if status.maximum is not None:
        record["maximum_connections"] = status.maximum
    if status.estimators is not None:
        record["estimators"] = status.estimators
    record["daemons"] = [
        read_fields(DAEMON_FIELDS, get_daemon_values(each)) for each in status.daemons
    ]
    record["settings"] = [
        {
            "name": name,
            "value": escape_undecodable(value),
            **({"meaning": meaning} if meaning else {}),
        }
        for name, value, meaning in _list_settings(status)
    ]
    return record
