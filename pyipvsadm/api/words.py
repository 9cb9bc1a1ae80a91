"""Write the arguments of the Python interface as words of the command line.

Owns: which option sets which field of a record. Must never know: what a value may be (the grammar
says so, with the same messages as on a command line), how a change is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

from pyipvsadm.api.records import Server, Service
from pyipvsadm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Address, IPv6Address

    IP = Union[str, IPv4Address, IPv6Address]
    # How calls name a service: a record; (protocol, address), also with a port; ("mark", number).
    ServiceKey = Union[
        Service, tuple[str, Union[IP, int]], tuple[str, Union[IP, int], Union[int, None]]
    ]
    ServerKey = Union[Server, IP, tuple[IP, int]]

SELECTORS = {"tcp": "tcp-service", "udp": "udp-service", "sctp": "sctp-service"}
# The kinds of a service by firewall mark, IPv4 and IPv6, with the word that says so.
MARKS = {"mark": (), "mark6": ("-6",)}
_FORWARDING = {"masq": "-m", "route": "-g", "tunnel": "-i", "local": "-g"}
_OPTIONS = {
    "scheduler": "scheduler",
    "persistence_timeout": "persistent",
    "persistence_netmask": "netmask",
    "persistence_prefix_length": "netmask",
    "persistence_engine": "pe",
    "weight": "weight",
    "upper_threshold": "u-threshold",
    "lower_threshold": "l-threshold",
    "interface": "mcast-interface",
    "sync_id": "syncid",
    "maximum_length": "sync-maxlen",
    "multicast_group": "mcast-group",
    "multicast_port": "mcast-port",
    "multicast_ttl": "mcast-ttl",
}


def format_endpoint(address: IP | int, port: int | None) -> str:
    """Return HOST:PORT, [IPV6]:PORT, or the address alone; an address that is text may hold the
    port already.
    """
    host = str(address)
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def list_service_words(service: ServiceKey) -> list[str]:
    """Return the words that name a service. Raise UsageError for an unknown protocol."""
    if isinstance(service, Service):
        if service.firewall_mark is not None:
            kind = "mark6" if service.family == "ipv6" else "mark"
            return list_service_words((kind, service.firewall_mark))
        service = (str(service.protocol), str(service.address), service.port or 0)
    protocol, address, *rest = service
    if protocol in MARKS:
        return [f"--fwmark-service={address}", *MARKS[protocol]]
    if protocol not in SELECTORS:
        kinds = ", ".join([*SELECTORS, *MARKS])
        raise UsageError(f"unknown kind of service {protocol!r}: it is one of {kinds}")
    endpoint = format_endpoint(address, rest[0] if rest else None)
    return [f"--{SELECTORS[protocol]}={endpoint}"]


def list_server_words(server: ServerKey) -> list[str]:
    """Return the words that name a real server."""
    if isinstance(server, Server):
        server = (server.address, server.port)
    address, port = server if isinstance(server, tuple) else (server, None)
    return [f"--real-server={format_endpoint(address, port)}"]


def list_setting_words(settings: Mapping[str, Any]) -> list[str]:
    """Return the words that set fields to these values. None, and False of a flag, set nothing."""
    words: list[str] = []
    for name, value in settings.items():
        if name in _OPTIONS and value is not None:
            words.append(f"--{_OPTIONS[name]}={value}")
    if settings.get("one_packet"):
        words.append("-o")
    flags: Iterable[str] = settings.get("scheduler_flags") or ()
    if flags:
        words.append(f"--sched-flags={','.join(flags)}")
    forwarding = settings.get("forwarding")
    if forwarding is not None:
        if forwarding not in _FORWARDING:
            raise UsageError(
                f"unknown forwarding method {forwarding!r}: it is one of {', '.join(_FORWARDING)}"
            )
        words.append(_FORWARDING[forwarding])
    tunnel = settings.get("tunnel")
    if tunnel is not None:
        words.append(f"--tun-type={tunnel.type}")
        if tunnel.port is not None:
            words.append(f"--tun-port={tunnel.port}")
        if tunnel.type != "ipip":
            words += ["--tun-csum"] * tunnel.checksum
            words += ["--tun-remcsum"] * tunnel.remote_checksum
            if not (tunnel.checksum or tunnel.remote_checksum):
                words.append("--tun-nocsum")
    return words
