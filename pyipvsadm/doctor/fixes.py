"""Format commands for people to run, and words that several findings use. Pure."""

from __future__ import annotations

import copy
from shlex import quote

from pyipvsadm.doctor.facts import format_server
from pyipvsadm.model import AF_INET6
from pyipvsadm.rules import writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from pyipvsadm.model import Server, Service


def format_shell_command(words: str, **names: str) -> str:
    """Return a shell command in which {name} is replaced by a word of the host (an interface may
    have an odd name), quoted if needed.
    """
    return words.format_map({name: quote(word) for name, word in names.items()})


def format_sysctl(path: str, value: int) -> str:
    """Return the command that sets a value below /proc/sys. sysctl splits a path at dots, which
    interface names may contain.
    """
    return f"sysctl -w {quote(path if '.' in path else path.replace('/', '.'))}={value}"


def format_host_prefix(address: str) -> str:
    """Return ADDRESS/32, for IPv6 ADDRESS/128."""
    return f"{address}/{128 if ':' in address else 32}"


def format_family(family: int) -> str:
    """Return "IPv4" or "IPv6"."""
    return "IPv6" if family == AF_INET6 else "IPv4"


def edit_service(service: Service, **values: object) -> str:
    """Return the command that edits a service to have these values."""
    wanted = copy.copy(service)
    for name, value in values.items():
        setattr(wanted, name, value)
    rule = writer.format_service(wanted, writer.format_selector(service)).strip()
    return "ipvsadm -E" + rule.removeprefix("-A")


def format_server_command(verb: str, service: Service, server: Server, **values: object) -> str:
    """Return the command that adds or edits a server to have these values."""
    wanted = copy.copy(server)
    for name, value in values.items():
        setattr(wanted, name, value)
    options = writer.format_server_options(
        wanted.forward,
        wanted.weight,
        wanted.tun_type,
        wanted.tun_port.to_bytes(2, "big"),
        wanted.tun_flags,
        wanted.upper,
        wanted.lower,
    )
    selector = writer.format_selector(service)
    return f"ipvsadm {verb} {selector} -r {format_server(wanted)}{options.rstrip()}"


def summarize_names(names: Collection[str]) -> str:
    """Return up to three of the names, and how many more there are."""
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")
