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
    """Collect samples, and render them metric by metric, as the format demands."""

    def __init__(self, netns: str) -> None:
        self._base = f'netns="{_escape(netns)}"'
        self._samples: dict[str, list[str]] = {}
        self._heads: dict[str, str] = {}

    def add_table(
        self, rows: Iterable[tuple[Service, list[Server]]], has_servers: bool = True
    ) -> None:
        """Add services, and unless `has_servers` is false the counters of each real server."""
        for service, servers in rows:
            labels = f"{self._base},{_format_service_labels(service)}"
            self._add(
                "service_info", GAUGE, f"{labels},{_format_labels(_get_settings(service))}", 1
            )
            self._add("service_servers", GAUGE, labels, len(servers))
            for field, value in zip(COUNTERS, service.stats):
                self._add(f"service_{field.metric}", field.kind, labels, value, field.help)
            if has_servers:
                for server in servers:
                    self._add_server(labels, server)

    def _add_server(self, service_labels: str, server: Server) -> None:
        labels = (
            f'{service_labels},server_address="{format_address(server.af, server.addr)}",'
            f'server_port="{server.port}"'
        )
        method = classic.format_method(server.forward).lower()
        self._add("server_info", GAUGE, f'{labels},method="{_escape(method)}"', 1)
        for field in fields.SERVER_FIELDS:
            value = field.read(server) if field.metric else None
            if value is not None:
                self._add(f"server_{field.metric}", field.kind, labels, value, field.help)
        self._add("server_full", GAUGE, labels, int(get_overload(server) == YES))
        self._add("server_quiesced", GAUGE, labels, int(not server.weight))
        for field, value in zip(COUNTERS, server.stats):
            self._add(f"server_{field.metric}", field.kind, labels, value, field.help)

    def add_settings(
        self, info: Info, timeouts: Timeouts, daemons: Iterable[Daemon], estimation: str
    ) -> None:
        """Add what concerns the table as a whole. estimation: the sysctl run_estimation, "" if the
        kernel has none.
        """
        self._add("connection_table_size", GAUGE, self._base, info.size)
        for field in fields.TIMEOUTS:
            labels = f'{self._base},state="{field.key}"'
            self._add(field.metric, field.kind, labels, field.read(timeouts))
        for daemon in daemons:
            values = read_fields(fields.DAEMON_FIELDS[:3], get_daemon_values(daemon))
            self._add("sync_daemon_info", GAUGE, f"{self._base},{_format_labels(values)}", 1)
        if estimation:
            self._add("estimation_enabled", GAUGE, self._base, int(estimation != "0"))

    def _add(self, name: str, kind: str, labels: str, value: int, text: str = "") -> None:
        name = f"ipvs_{name}"
        samples = self._samples.get(name)
        if samples is None:
            samples = self._samples[name] = []
            text = text or _HELP[name.removeprefix("ipvs_")]
            self._heads[name] = f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
        samples.append(f"{name}{{{labels}}} {value}\n")

    def render(self) -> Iterator[str]:
        """Yield the text, a metric at a time."""
        for name, samples in self._samples.items():
            yield self._heads[name]
            yield "".join(samples)


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
