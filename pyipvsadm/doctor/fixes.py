"""Commands for people to run, and the words that several findings use. Pure."""

from __future__ import annotations

import copy
from shlex import quote

from pyipvsadm import addresses
from pyipvsadm.doctor.facts import server_name
from pyipvsadm.model import AF_INET6
from pyipvsadm.rules import writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from pyipvsadm.model import Destination, Service


def command(words: str, **names: str) -> str:
    """A shell command in which {name} stands for a word of the host (interfaces have odd names),
    quoted where it is needed.
    """
    return words.format_map({name: quote(word) for name, word in names.items()})


def sysctl(path: str, value: int) -> str:
    """The setting of a value below /proc/sys. sysctl parts a path at dots, which interfaces' names
    may have.
    """
    return f"sysctl -w {quote(path if '.' in path else path.replace('/', '.'))}={value}"


def single(address: str) -> str:
    """ADDRESS/32, for IPv6 ADDRESS/128."""
    return f"{address}/{128 if ':' in address else 32}"


def net(family: int) -> str:
    """IPv4 or IPv6."""
    return "IPv6" if family == AF_INET6 else "IPv4"


def edit_service(service: Service, **values: object) -> str:
    """The command that edits a service to have these values."""
    wanted = copy.copy(service)
    for name, value in values.items():
        setattr(wanted, name, value)
    rule = writer.service_rule(wanted, writer.selector(service, addresses.format_numeric)).strip()
    return "ipvsadm -E" + rule.removeprefix("-A")


def server_command(verb: str, service: Service, server: Destination, **values: object) -> str:
    """The command that adds or edits a server to have these values."""
    wanted = copy.copy(server)
    for name, value in values.items():
        setattr(wanted, name, value)
    options = writer.server_options(
        wanted.forward,
        wanted.weight,
        wanted.tun_type,
        wanted.tun_port.to_bytes(2, "big"),
        wanted.tun_flags,
        wanted.upper,
        wanted.lower,
    )
    return f"ipvsadm {verb} {writer.selector(service, addresses.format_numeric)} -r {server_name(wanted)}{options.rstrip()}"


def count(number: int, noun: str) -> str:
    """1 server, 2 servers."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def some(names: Collection[str]) -> str:
    """Up to three of them."""
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")
