"""Check the kernel's table as a whole: its connections, and the settings that concern all services.
Pure.

Owns: these checks, one small function for each, and from which load on a hash is too small. Must
never know: where facts come from, how findings are shown.
"""

from __future__ import annotations

from pyipvsadm.doctor.fixes import format_sysctl
from pyipvsadm.errors import Finding
from pyipvsadm.text import pluralize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyipvsadm.doctor.facts import DirectorTable, Facts

VS = "net/ipv4/vs"
SUBJECT = "connections"
NEAR = 0.9  # of the limit
# Entries in a bucket, on average, from which on the hash is too small.
LOADED = 4
# The part of the filled buckets, from which on chains of LONG or more entries are too many.
LONG_PART = 0.05
LONG = 7  # the file counts no longer chains
LEAST_LOAD_FACTOR = -8
# Since this release, a packet is dropped only if its tracked connection is an old one (ip_vs.h:
# ip_vs_conn_uses_old_conntrack).
WITHOUT_DELAY = (5, 9)


def check_limit(_: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Compare the connections with conn_max (from Linux 7.2 on)."""
    held = facts.held
    if held is not None and held.maximum and held.entries >= NEAR * held.maximum:
        detail = f"{held.entries} connections and templates are kept, of {held.maximum} at most."
        fix = format_sysctl(f"{VS}/conn_max", 2 * held.maximum)
        yield Finding("connections-near-limit", SUBJECT, detail, (fix,))


def check_load(_: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Compare the connections with the buckets of their hash."""
    held = facts.held
    if held is not None and held.buckets and held.entries >= LOADED * held.buckets:
        detail = (
            f"{held.entries} connections and templates are in {pluralize(held.buckets, 'bucket')}:"
            f" {held.entries / held.buckets:.1f} in each."
        )
        bits = max(8, (held.entries - 1).bit_length())
        fix = f"echo options ip_vs conn_tab_bits={bits} > /etc/modprobe.d/ip_vs.conf"
        yield Finding("connection-hash-small", SUBJECT, detail, (fix,))


def check_chains(_: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Count the long chains, as far as the kernel tells (from Linux 7.1 on)."""
    chains = facts.held.chains if facts.held is not None else {}
    filled = sum(count for length, count in chains.items() if length)
    long = chains.get(LONG, 0)
    if filled and long >= LONG_PART * filled:
        detail = f"{long} of {pluralize(filled, 'chain')} hold {LONG} connections or more."
        factor = facts.sysctls.get(f"{VS}/conn_lfactor", "")
        fixes: tuple[str, ...] = ()
        if factor.lstrip("-").isdecimal() and int(factor) > LEAST_LOAD_FACTOR:
            fixes = (format_sysctl(f"{VS}/conn_lfactor", int(factor) - 1),)
        yield Finding("connection-chains-long", SUBJECT, detail, fixes)


def check_estimation(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Find rates that stand still."""
    if table.services and facts.sysctls.get(f"{VS}/run_estimation") == "0":
        fix = format_sysctl(f"{VS}/run_estimation", 1)
        detail = "net.ipv4.vs.run_estimation is 0."
        yield Finding("estimation-off", "counters", detail, (fix,))


def check_reuse(table: DirectorTable, facts: Facts) -> Iterator[Finding]:
    """Find kernels that drop the first packet of a client that uses a port again (ip_vs_core.c:
    ip_vs_in).
    """
    mode = facts.sysctls.get(f"{VS}/conn_reuse_mode", "0")
    tracked = facts.sysctls.get(f"{VS}/conntrack") == "1"
    if (
        table.services
        and facts.release is not None
        and facts.release < WITHOUT_DELAY
        and mode != "0"
        and tracked
    ):
        release = ".".join(map(str, facts.release))
        detail = f"net.ipv4.vs.conn_reuse_mode is {mode}, net.ipv4.vs.conntrack is 1, and this is Linux {release}."
        fix = format_sysctl(f"{VS}/conn_reuse_mode", 0)
        yield Finding("conn-reuse-delay", SUBJECT, detail, (fix,))
