"""Describe netlink messages in words, attribute by attribute, for IPVSADM_DEBUG=netlink.

Owns: the names of commands and attributes. Must never know: sockets, streams. Numbers and layouts
are those of attributes.py.
"""

from __future__ import annotations

import os

from pyipvsadm import model
from pyipvsadm.netlink import attributes, framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Table = dict[int, tuple[str, Callable[[bytes], str] | str]]


def _format_number(data: bytes, little: bool, signed: bool = False) -> str:
    """Return a number of up to 8 bytes; longer payloads are no numbers, and Python refuses to write
    thousands of digits.
    """
    return (
        str(int.from_bytes(data, "little" if little else "big", signed=signed))
        if len(data) <= 8
        else _format_hex(data)
    )


def _format_host(data: bytes) -> str:
    return _format_number(data, _LITTLE)


def _format_net(data: bytes) -> str:
    return _format_number(data, little=False)


def _format_signed(data: bytes) -> str:
    return _format_number(data, _LITTLE, signed=True)


def _format_hex(data: bytes) -> str:
    return data.hex(" ", -4)


def _format_string(data: bytes) -> str:
    return repr(data.partition(b"\0")[0].decode("utf-8", "backslashreplace"))


_LITTLE = framing.pack_message(1, 0, 0, 0, b"")[4] == 1

_COMMANDS = {
    getattr(model, name): name
    for name in (
        "NEW_SERVICE", "SET_SERVICE", "DEL_SERVICE", "GET_SERVICE", "NEW_DEST", "SET_DEST", "DEL_DEST", "GET_DEST",
        "NEW_DAEMON", "DEL_DAEMON", "GET_DAEMON", "SET_CONFIG", "GET_CONFIG", "SET_INFO", "GET_INFO", "ZERO", "FLUSH",
    )
}  # fmt: skip

_STATS: Table = {
    number: (name, _format_host)
    for number, name in enumerate(
        (
            "CONNS",
            "INPKTS",
            "OUTPKTS",
            "INBYTES",
            "OUTBYTES",
            "CPS",
            "INPPS",
            "OUTPPS",
            "INBPS",
            "OUTBPS",
        ),
        1,
    )
}
# A pad aligns the 64-bit values after it on processors that need that.
_STATS[11] = ("PAD", _format_hex)

# The tables of nested attributes, by the names that other tables use for them.
_NESTS: dict[str, Table] = {
    "SERVICE": {
        attributes.SVC_AF: ("AF", _format_host),
        attributes.SVC_PROTOCOL: ("PROTOCOL", _format_host),
        attributes.SVC_ADDR: ("ADDR", _format_hex),
        attributes.SVC_PORT: ("PORT", _format_net),
        attributes.SVC_FWMARK: ("FWMARK", _format_host),
        attributes.SVC_SCHED_NAME: ("SCHED_NAME", _format_string),
        attributes.SVC_FLAGS: ("FLAGS", _format_hex),
        attributes.SVC_TIMEOUT: ("TIMEOUT", _format_host),
        attributes.SVC_NETMASK: ("NETMASK", _format_hex),
        attributes.SVC_STATS: ("STATS", "STATS"),
        attributes.SVC_PE_NAME: ("PE_NAME", _format_string),
        attributes.SVC_STATS64: ("STATS64", "STATS"),
    },
    "DEST": {
        attributes.DEST_ADDR: ("ADDR", _format_hex),
        attributes.DEST_PORT: ("PORT", _format_net),
        attributes.DEST_FWD_METHOD: ("FWD_METHOD", _format_host),
        attributes.DEST_WEIGHT: ("WEIGHT", _format_signed),
        attributes.DEST_U_THRESH: ("U_THRESH", _format_host),
        attributes.DEST_L_THRESH: ("L_THRESH", _format_host),
        attributes.DEST_ACTIVE_CONNS: ("ACTIVE_CONNS", _format_host),
        attributes.DEST_INACT_CONNS: ("INACT_CONNS", _format_host),
        attributes.DEST_PERSIST_CONNS: ("PERSIST_CONNS", _format_host),
        attributes.DEST_STATS: ("STATS", "STATS"),
        attributes.DEST_ADDR_FAMILY: ("ADDR_FAMILY", _format_host),
        attributes.DEST_STATS64: ("STATS64", "STATS"),
        attributes.DEST_TUN_TYPE: ("TUN_TYPE", _format_host),
        attributes.DEST_TUN_PORT: ("TUN_PORT", _format_net),
        attributes.DEST_TUN_FLAGS: ("TUN_FLAGS", _format_host),
    },
    "DAEMON": {
        attributes.DAEMON_STATE: ("STATE", _format_host),
        attributes.DAEMON_MCAST_IFN: ("MCAST_IFN", _format_string),
        attributes.DAEMON_SYNC_ID: ("SYNC_ID", _format_host),
        attributes.DAEMON_SYNC_MAXLEN: ("SYNC_MAXLEN", _format_host),
        attributes.DAEMON_MCAST_GROUP: ("MCAST_GROUP", _format_hex),
        attributes.DAEMON_MCAST_GROUP6: ("MCAST_GROUP6", _format_hex),
        attributes.DAEMON_MCAST_PORT: ("MCAST_PORT", _format_host),
        attributes.DAEMON_MCAST_TTL: ("MCAST_TTL", _format_host),
    },
    "STATS": _STATS,
}
_COMMAND: Table = {
    attributes.SERVICE: ("SERVICE", "SERVICE"),
    attributes.DEST: ("DEST", "DEST"),
    attributes.DAEMON: ("DAEMON", "DAEMON"),
    attributes.TIMEOUT_TCP: ("TIMEOUT_TCP", _format_host),
    attributes.TIMEOUT_TCP_FIN: ("TIMEOUT_TCP_FIN", _format_host),
    attributes.TIMEOUT_UDP: ("TIMEOUT_UDP", _format_host),
}
_INFO: Table = {
    attributes.INFO_VERSION: ("VERSION", _format_hex),
    attributes.INFO_CONN_TAB_SIZE: ("CONN_TAB_SIZE", _format_host),
}
_CONTROLLER: Table = {
    framing.CTRL_ATTR_FAMILY_ID: ("FAMILY_ID", _format_host),
    framing.CTRL_ATTR_FAMILY_NAME: ("FAMILY_NAME", _format_string),
}
_FLAGS = (
    (framing.NLM_F_REQUEST, "REQUEST"),
    (framing.NLM_F_MULTI, "MULTI"),
    (framing.NLM_F_ACK, "ACK"),
)


def describe_datagram(direction: str, datagram: bytes) -> Iterator[str]:
    """Return the lines for a datagram that was "sent" or "received". Bytes that cannot be parsed
    are shown in hexadecimal.
    """
    try:
        for message in framing.iter_messages(datagram):
            yield from _describe_message(direction, message)
    except framing.WireError as exc:
        yield f"netlink {direction}: {exc}: {_format_hex(datagram)}"


def _describe_message(direction: str, message: framing.Message) -> Iterator[str]:
    head = f"netlink {direction} seq={message.seq}"
    if message.type == framing.NLMSG_ERROR:
        errnum = message.read_errno()
        yield f"{head} ERROR {errnum} ({os.strerror(errnum)})" if errnum else f"{head} ACK"
        return
    if message.type == framing.NLMSG_DONE:
        yield f"{head} DONE {message.read_errno()}"
        return
    flags = [name for bit, name in _FLAGS if message.flags & bit]
    if direction == "sent" and message.flags & framing.NLM_F_DUMP == framing.NLM_F_DUMP:
        flags.append("DUMP")
    if direction == "received" and message.flags & framing.NLM_F_DUMP_INTR:
        flags.append("DUMP_INTR")
    command = message.body[0] if message.body else 0
    if message.type == framing.GENL_ID_CTRL:
        name, table = "controller", _CONTROLLER
    else:
        name = _COMMANDS.get(command, str(command))
        table = _INFO if command == model.SET_INFO else _COMMAND
    yield f"{head} {name} family={message.type} flags={'|'.join(flags) or 0}"
    yield from _describe_attributes(message.parse_attributes(), table, "  ")


def _describe_attributes(payloads: dict[int, bytes], table: Table, indent: str) -> Iterator[str]:
    for kind, data in payloads.items():
        name, formatter = table.get(kind, (f"attribute {kind}", _format_hex))
        if isinstance(formatter, str):
            yield f"{indent}{name}"
            yield from _describe_attributes(
                framing.parse_attributes(data), _NESTS[formatter], indent + "  "
            )
        else:
            yield f"{indent}{name} {formatter(data)}"
