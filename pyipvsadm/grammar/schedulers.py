"""List schedulers, persistence engines and scheduler flags: data only.

Parser, help, completion, hints and the writer of rules read it.
"""

from __future__ import annotations

# Schedulers and persistence engines to choose from (net/netfilter/ipvs/Kconfig): modules ip_vs_NAME
# and ip_vs_pe_NAME. The kernel decides by name what there is.
SCHEDULERS = {
    "rr": "round robin",
    "wrr": "weighted round robin",
    "lc": "least connections",
    "wlc": "weighted least connections (default)",
    "lblc": "locality-based least connections",
    "lblcr": "locality-based least connections with replication",
    "dh": "destination hashing",
    "sh": "source hashing",
    "sed": "shortest expected delay",
    "nq": "never queue",
    "fo": "weighted failover",
    "ovf": "weighted overflow",
    "mh": "Maglev hashing",
    "twos": "the better of two at random",
}


ENGINES = {"sip": "by the Call-ID of SIP"}


# Scheduler flags: (name, bit, the one scheduler that has it or "").  ipvsadm.c: parse_sched_flags,
# print_sched_flags.
SCHEDULER_FLAGS = (
    ("flag-1", 0x08, ""),
    ("flag-2", 0x10, ""),
    ("flag-3", 0x20, ""),
    ("sh-fallback", 0x08, "sh"),
    ("sh-port", 0x10, "sh"),
    ("mh-fallback", 0x08, "mh"),
    ("mh-port", 0x10, "mh"),
)
