"""Tell which servers take new connections.

Owns: weight 0 and the overload flag, which a listing does not show.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.model import Server

# Whether a scheduler takes a server. MAYBE: that depends on what happened before.
NO = 0
YES = 1
MAYBE = 2


def get_overload(server: Server) -> int:
    """Return YES if the server is over its upper threshold, MAYBE between the thresholds
    (ip_vs_ctl.c: __ip_vs_update_dest; ip_vs_conn.c: ip_vs_bind_dest, ip_vs_unbind_dest).

    The flag is set when connections reach the upper threshold and cleared when they fall below the
    lower one (or three quarters of the upper one); between both it stays as it is. Kernels before
    6.1.183, 6.12.104 and 7.3 do not look at it again when thresholds are lowered.
    """
    if not server.upper:
        return NO
    total = server.active + server.inactive
    if total >= server.upper:
        return YES
    return NO if total < (server.lower or server.upper - server.upper // 4) else MAYBE


def get_usable(server: Server) -> int:
    """Return whether the schedulers take the server for a new connection: it has a weight, and is
    not over its threshold.
    """
    if server.weight <= 0:
        return NO
    return (YES, NO, MAYBE)[get_overload(server)]


def explain_unusable(server: Server) -> str:
    """Return why a server is not, or may not be, taken; "" if it is."""
    if server.weight <= 0:
        return "weight 0"
    if not server.upper or (state := get_overload(server)) == NO:
        return ""
    total = server.active + server.inactive
    if state == YES:
        return f"{total} connections, upper threshold {server.upper}"
    return f"{total} connections: full if it had {server.upper} before"
