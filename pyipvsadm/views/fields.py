"""List the numeric fields of services and real servers: one row for each.

Owns: each field's JSON key, metric, unit and help text. The JSON Schema is held against it, and
metrics are rendered from it. Must never know: backends, how a document or a metric is written.
"""

from __future__ import annotations

from typing import NamedTuple

GAUGE = "gauge"
COUNTER = "counter"


class Field(NamedTuple):
    """Describe a field. key: in JSON; attribute: of the record (for counters the place in stats);
    metric: its name after ipvs_service_ or ipvs_server_, "" for none; unit: "" for a number.
    """

    key: str
    attribute: str
    metric: str
    kind: str
    unit: str
    help: str


SERVER_FIELDS = (
    Field("weight", "weight", "weight", GAUGE, "", "0: it gets no new connections."),
    Field("active_connections", "active", "active_connections", GAUGE, "", "Those that are established."),
    Field("inactive_connections", "inactive", "inactive_connections", GAUGE, "", "Those in other states."),
    Field("persistent_connections", "persistent", "persistent_connections", GAUGE, "",
          "Templates of persistence that lead here."),
    Field("upper_threshold", "upper", "upper_threshold", GAUGE, "",
          "Connections above which it gets no new ones. Absent: none."),
    Field("lower_threshold", "lower", "lower_threshold", GAUGE, "",
          "Connections below which it gets new ones again. Absent: none."),
)  # fmt: skip

# The first five values of stats, in their order; the next five are the same per second.
COUNTERS = (
    Field("connections", "", "connections_total", COUNTER, "", "Scheduled."),
    Field("packets_in", "", "packets_in_total", COUNTER, "", "From clients."),
    Field("packets_out", "", "packets_out_total", COUNTER, "", "To clients; only of masq does the director see them."),
    Field("bytes_in", "", "bytes_in_total", COUNTER, "bytes", "From clients."),
    Field("bytes_out", "", "bytes_out_total", COUNTER, "bytes", "To clients."),
)  # fmt: skip

TIMEOUTS = (
    Field("tcp", "tcp", "timeout_seconds", GAUGE, "seconds", "Established TCP."),
    Field("tcp_fin", "tcp_fin", "timeout_seconds", GAUGE, "seconds", "TCP after a FIN."),
    Field("udp", "udp", "timeout_seconds", GAUGE, "seconds", "UDP."),
)
