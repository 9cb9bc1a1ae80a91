"""Load the module of IPVS, and say why there is no IPVS.

Owns: modprobe, the message of a kernel without IPVS. Must never know: netlink.
"""

from __future__ import annotations

import _socket
import errno
import os

from pyipvsadm.errors import OperationError, format_error
from pyipvsadm.model import AF_INET

MODPROBE = "/sbin/modprobe"
# A socket option of the interface before netlink; only its errno is used.
IP_VS_SO_GET_INFO = 64 + 1024 + 64 + 1


def make_error(errnum: int) -> OperationError:
    """Return the error with 1.31's message for a kernel without IPVS (ipvsadm.c: main)."""
    return OperationError(
        f"Can't initialize ipvs: {format_error(0, errnum)}\n"
        "Are you sure that IP Virtual Server is built in the kernel or as module?",
        2,
    )


def load_module() -> bool:
    """Load ip_vs as 1.31 does, but with an environment of our own: MODPROBE_OPTIONS must not reach
    modprobe. Return True if it was loaded.
    """
    command = [MODPROBE, "--", "ip_vs"]
    try:
        child = os.posix_spawn(MODPROBE, command, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    except OSError:
        return False
    return os.waitpid(child, 0)[1] == 0


def probe_old_interface() -> int:
    """Return the errno that the interface before netlink gives if the family is missing; 1.31's
    message comes from it.

    EPERM without CAP_NET_RAW, ENOPROTOOPT without the module (libipvs.c: ipvs_init).
    """
    try:
        raw_socket = _socket.socket(AF_INET, _socket.SOCK_RAW, _socket.IPPROTO_RAW)
        try:
            raw_socket.getsockopt(_socket.IPPROTO_IP, IP_VS_SO_GET_INFO, 12)
        finally:
            raw_socket.close()
    except OSError as exc:
        return exc.errno or errno.ENOPROTOOPT
    return errno.ENOPROTOOPT
