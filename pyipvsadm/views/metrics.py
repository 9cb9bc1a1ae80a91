"""Render metrics in the Prometheus text format 0.0.4, which node_exporter's textfile collector reads
too.

Owns: the names of metrics and labels, the format. Must never know: backends, where the text goes.
No `# UNIT`, no info type, no timestamps: these belong to OpenMetrics, and the collector refuses
them.
"""

from __future__ import annotations

from pyipvsadm.addresses import format_address
from pyipvsadm.grammar.values import format_scheduler_flags, get_daemon_values
from pyipvsadm.model import ONE_PACKET, PERSISTENT
from pyipvsadm.scheduling.overload import YES, get_overload
from pyipvsadm.text import escape_undecodable
from pyipvsadm.views import classic, fields
from pyipvsadm.views.fields import COUNTERS, read_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pyipvsadm.model import Daemon, Info, Server, Service, Timeouts
    from pyipvsadm.views.fields import Field

    Samples = list[tuple[str, int]]  # labels, value

_HELP = {
    "service_info": "A virtual service; its settings are labels.",
    "server_info": "A real server of a service; its settings are labels.",
    "service_servers": "Real servers of a service.",
    "server_full": "1 if a real server is at its upper threshold.",
    "server_quiesced": "1 if a real server has weight 0.",
    "sync_daemon_info": "A running sync daemon; its settings are labels.",
    "timeout_seconds": "How long a connection is kept.",
    "connection_table_size": "Buckets of the connection table.",
    "estimation_enabled": "1 if the kernel computes rates.",
}
# the labels of a service, each with the key of its field
_SERVICE_LABELS = {
    "protocol": "protocol", "address": "address", "port": "port", "mark": "firewall_mark", "family": "family",
}  # fmt: skip
GAUGE = "gauge"


class Metrics:
    """Collect what is to be shown, and render it metric by metric, as the format demands. Samples
    are made when their metric is rendered: a large table has hundreds of thousands.
    """

    def __init__(self, netns: str) -> None:
        self._base = f'netns="{_escape(netns)}"'
        # Each with its labels.
        self._services: list[tuple[str, Service, int]] = []
        self._servers: list[tuple[str, Server]] = []
        self._settings: list[tuple[str, Samples]] = []

    def add_table(
        self, rows: Iterable[tuple[Service, list[Server]]], has_servers: bool = True
    ) -> None:
        """Add services, and unless `has_servers` is false the counters of each real server."""
        for service, servers in rows:
            labels = f"{self._base},{_format_service_labels(service)}"
            self._services.append((labels, service, len(servers)))
            if has_servers:
                self._servers += [(_add_server_labels(labels, each), each) for each in servers]

    def add_settings(
        self, info: Info, timeouts: Timeouts, daemons: Iterable[Daemon], estimation: str
    ) -> None:
        """Add what concerns the table as a whole. estimation: the sysctl run_estimation, "" if the
        kernel has none.
        """
        base = self._base
        self._settings += [
            ("connection_table_size", [(base, info.size)]),
            (
                "timeout_seconds",
                [(f'{base},state="{each.key}"', each.read(timeouts)) for each in fields.TIMEOUTS],
            ),
            (
                "sync_daemon_info",
                [(f"{base},{_format_labels(_get_daemon(each))}", 1) for each in daemons],
            ),
        ]
        if estimation:
            self._settings.append(("estimation_enabled", [(base, int(estimation != "0"))]))

    def render(self) -> Iterator[str]:
        """Yield the text, a metric at a time; one without samples is left out."""
        services, servers = self._services, self._servers
        yield from _render(
            "service_info",
            [
                (f"{labels},{_format_labels(_get_settings(each))}", 1)
                for labels, each, _ in services
            ],
        )
        yield from _render("service_servers", [(labels, count) for labels, _, count in services])
        for index, field in enumerate(COUNTERS):
            samples = [(labels, each.stats[index]) for labels, each, _ in services]
            yield from _render(f"service_{field.metric}", samples, field)
        yield from _render("server_info", [(_add_method(*each), 1) for each in servers])
        for field in fields.SERVER_FIELDS:
            if field.metric:
                samples = [
                    (labels, value)
                    for labels, server in servers
                    if (value := field.read(server)) is not None
                ]
                yield from _render(f"server_{field.metric}", samples, field)
        yield from _render(
            "server_full", [(labels, int(get_overload(each) == YES)) for labels, each in servers]
        )
        yield from _render(
            "server_quiesced", [(labels, int(not each.weight)) for labels, each in servers]
        )
        for index, field in enumerate(COUNTERS):
            samples = [(labels, each.stats[index]) for labels, each in servers]
            yield from _render(f"server_{field.metric}", samples, field)
        for name, values in self._settings:
            yield from _render(name, values)


def _render(name: str, samples: Samples, field: Field | None = None) -> Iterator[str]:
    """Yield the lines of one metric; field: None for a gauge of 1 or 0, or of a setting."""
    if samples:
        text, kind = (field.help, field.kind) if field else (_HELP[name], "gauge")
        yield f"# HELP ipvs_{name} {text}\n# TYPE ipvs_{name} {kind}\n"
        yield "".join([f"ipvs_{name}{{{labels}}} {value}\n" for labels, value in samples])


def _add_server_labels(labels: str, server: Server) -> str:
    address = format_address(server.af, server.addr)
    return f'{labels},server_address="{address}",server_port="{server.port}"'


def _add_method(labels: str, server: Server) -> str:
    method = classic.format_method(server.forward).lower()
    return f'{labels},method="{_escape(method)}"'


def _get_daemon(daemon: Daemon) -> dict[str, object]:
    return read_fields(fields.DAEMON_FIELDS[:3], get_daemon_values(daemon))


def _format_service_labels(service: Service) -> str:
    """Return the labels that identify a service: empty ones where it has no such value."""
    values = read_fields(fields.SERVICE_KEY_FIELDS, service)
    return _format_labels({name: values.get(key, "") for name, key in _SERVICE_LABELS.items()})


def _get_settings(service: Service) -> dict[str, str]:
    persistence = service.timeout if service.flags & PERSISTENT else ""
    return {
        "scheduler": service.scheduler,
        "flags": format_scheduler_flags(service) or "",
        "persistence_seconds": str(persistence),
        "one_packet": str(int(bool(service.flags & ONE_PACKET))),
    }


def _format_labels(values: Mapping[str, object]) -> str:
    return ",".join(f'{name}="{_escape(str(value))}"' for name, value in values.items())


def _escape(value: str) -> str:
    text = escape_undecodable(value)
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
