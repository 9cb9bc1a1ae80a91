"""Compute the settings with which the kernel runs a sync daemon. Pure.

Owns: the defaults and bounds of ip_vs_sync.c, and the usual MTUs. Must never know: tables, sockets.
"""

from __future__ import annotations

from pyipvsadm.model import BACKUP, Daemon

_GROUP = b"\xe0\0\0\x51"  # 224.0.0.81
_PORT = 8848
_TTL = 1
_PACKET_MAX = 0xFFFF
# Of an interface whose MTU is not known, and of those whose MTU is.
MTU = 1500
MTUS = {"lo": 65536}


def copy_daemon(daemon: Daemon) -> Daemon:
    """Return a new record with the same values."""
    return Daemon(
        daemon.state, daemon.interface, daemon.syncid, daemon.maxlen, daemon.group, daemon.port,
        daemon.ttl,
    )  # fmt: skip


def compute_effective_daemon(requested: Daemon, mtu: int) -> Daemon:
    """Return the settings with which a daemon runs (ip_vs_sync.c: start_sync_thread). mtu: the
    interface's, which bounds the messages that a backup receives.
    """
    daemon = copy_daemon(requested)
    is_backup = daemon.state == BACKUP
    headers = 48 if len(daemon.group) == 16 else 28  # IP and UDP
    daemon.maxlen = (
        max(daemon.maxlen, 1024 if is_backup else 1)
        if daemon.maxlen
        else (max(mtu, MTU) if is_backup else MTU) - headers
    )
    daemon.maxlen = min(daemon.maxlen, _PACKET_MAX - headers)
    daemon.group = daemon.group or _GROUP
    daemon.port = daemon.port or _PORT
    daemon.ttl = daemon.ttl or _TTL
    return daemon
