"""Netlink messages in words, attribute by attribute: what IPVSADM_DEBUG=netlink prints.

Owns: the names of commands and attributes. Must never know: sockets, streams. Numbers and layouts are wire.py's.
"""

from __future__ import annotations

import os

from pyipvsadm import model, netlink, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Table = dict[int, tuple[str, Callable[[bytes], str] | str]]


def _number(data: bytes, little: bool, signed: bool = False) -> str:
    """A number of up to 8 bytes; more is no number, and Python refuses to write thousands of digits."""
    return str(int.from_bytes(data, "little" if little else "big", signed=signed)) if len(data) <= 8 else _hex(data)


def _host(data: bytes) -> str:
    return _number(data, _LITTLE)


def _net(data: bytes) -> str:
    return _number(data, little=False)


def _signed(data: bytes) -> str:
    return _number(data, _LITTLE, signed=True)


def _hex(data: bytes) -> str:
    return data.hex(" ", -4)


def _string(data: bytes) -> str:
    return repr(data.partition(b"\0")[0].decode("utf-8", "backslashreplace"))


_LITTLE = netlink.message(1, 0, 0, 0, b"")[4] == 1

_COMMANDS = {
    getattr(model, name): name
    for name in (
        "NEW_SERVICE", "SET_SERVICE", "DEL_SERVICE", "GET_SERVICE", "NEW_DEST", "SET_DEST", "DEL_DEST", "GET_DEST",
        "NEW_DAEMON", "DEL_DAEMON", "GET_DAEMON", "SET_CONFIG", "GET_CONFIG", "SET_INFO", "GET_INFO", "ZERO", "FLUSH",
    )
}  # fmt: skip

_STATS: Table = {
    at: (name, _host)
    for at, name in enumerate(
        ("CONNS", "INPKTS", "OUTPKTS", "INBYTES", "OUTBYTES", "CPS", "INPPS", "OUTPPS", "INBPS", "OUTBPS"), 1
    )
}
_STATS[11] = ("PAD", _hex)  # aligns the 64-bit values after it on machines that want that

# The nests a table of attributes leads to, by name.
_NESTS: dict[str, Table] = {
    "SERVICE": {
        wire.SVC_AF: ("AF", _host),
        wire.SVC_PROTOCOL: ("PROTOCOL", _host),
        wire.SVC_ADDR: ("ADDR", _hex),
        wire.SVC_PORT: ("PORT", _net),
        wire.SVC_FWMARK: ("FWMARK", _host),
        wire.SVC_SCHED_NAME: ("SCHED_NAME", _string),
        wire.SVC_FLAGS: ("FLAGS", _hex),
        wire.SVC_TIMEOUT: ("TIMEOUT", _host),
        wire.SVC_NETMASK: ("NETMASK", _hex),
        wire.SVC_STATS: ("STATS", "STATS"),
        wire.SVC_PE_NAME: ("PE_NAME", _string),
        wire.SVC_STATS64: ("STATS64", "STATS"),
    },
    "DEST": {
        wire.DEST_ADDR: ("ADDR", _hex),
        wire.DEST_PORT: ("PORT", _net),
        wire.DEST_FWD_METHOD: ("FWD_METHOD", _host),
        wire.DEST_WEIGHT: ("WEIGHT", _signed),
        wire.DEST_U_THRESH: ("U_THRESH", _host),
        wire.DEST_L_THRESH: ("L_THRESH", _host),
        wire.DEST_ACTIVE_CONNS: ("ACTIVE_CONNS", _host),
        wire.DEST_INACT_CONNS: ("INACT_CONNS", _host),
        wire.DEST_PERSIST_CONNS: ("PERSIST_CONNS", _host),
        wire.DEST_STATS: ("STATS", "STATS"),
        wire.DEST_ADDR_FAMILY: ("ADDR_FAMILY", _host),
        wire.DEST_STATS64: ("STATS64", "STATS"),
        wire.DEST_TUN_TYPE: ("TUN_TYPE", _host),
        wire.DEST_TUN_PORT: ("TUN_PORT", _net),
        wire.DEST_TUN_FLAGS: ("TUN_FLAGS", _host),
    },
    "DAEMON": {
        wire.DAEMON_STATE: ("STATE", _host),
        wire.DAEMON_MCAST_IFN: ("MCAST_IFN", _string),
        wire.DAEMON_SYNC_ID: ("SYNC_ID", _host),
        wire.DAEMON_SYNC_MAXLEN: ("SYNC_MAXLEN", _host),
        wire.DAEMON_MCAST_GROUP: ("MCAST_GROUP", _hex),
        wire.DAEMON_MCAST_GROUP6: ("MCAST_GROUP6", _hex),
        wire.DAEMON_MCAST_PORT: ("MCAST_PORT", _host),
        wire.DAEMON_MCAST_TTL: ("MCAST_TTL", _host),
    },
    "STATS": _STATS,
}
_COMMAND: Table = {
    wire.SERVICE: ("SERVICE", "SERVICE"),
    wire.DEST: ("DEST", "DEST"),
    wire.DAEMON: ("DAEMON", "DAEMON"),
    wire.TIMEOUT_TCP: ("TIMEOUT_TCP", _host),
    wire.TIMEOUT_TCP_FIN: ("TIMEOUT_TCP_FIN", _host),
    wire.TIMEOUT_UDP: ("TIMEOUT_UDP", _host),
}
_INFO: Table = {wire.INFO_VERSION: ("VERSION", _hex), wire.INFO_CONN_TAB_SIZE: ("CONN_TAB_SIZE", _host)}
_CONTROLLER: Table = {
    netlink.CTRL_ATTR_FAMILY_ID: ("FAMILY_ID", _host),
    netlink.CTRL_ATTR_FAMILY_NAME: ("FAMILY_NAME", _string),
}
_FLAGS = ((netlink.NLM_F_REQUEST, "REQUEST"), (netlink.NLM_F_MULTI, "MULTI"), (netlink.NLM_F_ACK, "ACK"))


def describe(direction: str, datagram: bytes) -> Iterator[str]:
    """The lines for a datagram that was "sent" or "received". What cannot be read is shown in hexadecimal."""
    try:
        for message in netlink.messages(datagram):
            yield from _message(direction, message)
    except netlink.WireError as bad:
        yield f"netlink {direction}: {bad}: {_hex(datagram)}"


def _message(direction: str, message: netlink.Message) -> Iterator[str]:
    head = f"netlink {direction} seq={message.seq}"
    if message.type == netlink.NLMSG_ERROR:
        number = message.errno()
        yield f"{head} ERROR {number} ({os.strerror(number)})" if number else f"{head} ACK"
        return
    if message.type == netlink.NLMSG_DONE:
        yield f"{head} DONE {message.errno()}"
        return
    flags = [name for bit, name in _FLAGS if message.flags & bit]
    if direction == "sent" and message.flags & netlink.NLM_F_DUMP == netlink.NLM_F_DUMP:
        flags.append("DUMP")
    if direction == "received" and message.flags & netlink.NLM_F_DUMP_INTR:
        flags.append("DUMP_INTR")
    command = message.body[0] if message.body else 0
    if message.type == netlink.GENL_ID_CTRL:
        name, table = "controller", _CONTROLLER
    else:
        name = _COMMANDS.get(command, str(command))
        table = _INFO if command == model.SET_INFO else _COMMAND
    yield f"{head} {name} family={message.type} flags={'|'.join(flags) or 0}"
    yield from _attributes(message.attributes(), table, "  ")


def _attributes(found: dict[int, bytes], table: Table, indent: str) -> Iterator[str]:
    for kind, data in found.items():
        name, shown = table.get(kind, (f"attribute {kind}", _hex))
        if isinstance(shown, str):
            yield f"{indent}{name}"
            yield from _attributes(netlink.attributes(data), _NESTS[shown], indent + "  ")
        else:
            yield f"{indent}{name} {shown(data)}"
