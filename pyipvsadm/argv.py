"""Words to a Request, by the reference's rules. Pure but for the names it is given to resolve.

Owns: the meaning of each word and the rules between them (ipvsadm.c: parse_options, process_options).
Must never know: how words are parted into options (popt.py), backends, streams, exit.

How it works. The first option is the command. A method per slot reads each value into a Service, a Destination or a Daemon.
The combinations are checked at the end, in the reference's order, because the first fault found is the one reported.
"""

from __future__ import annotations

import os

from pyipvsadm.endpoint import INT_MAX, atoi, number, parse, parse_mask, pton, strtol
from pyipvsadm.errors import Skipped, Usage
from pyipvsadm.legal import check_slots, check_tunnel
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    BACKUP,
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    FLUSH,
    MASQ,
    MASTER,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    NO_MASK6,
    ONE_PACKET,
    PERSISTENT,
    ROUTE,
    SCTP,
    SET_CONFIG,
    SET_DEST,
    SET_SERVICE,
    TCP,
    TUN_CSUM,
    TUN_REMCSUM,
    TUNNEL,
    UDP,
    ZERO,
    Change,
    Daemon,
    Destination,
    Service,
    Timeouts,
)
from pyipvsadm.options import NONE, SCHEDULER_FLAGS, SLOTS, TUNNEL_TYPES, Command, Option
from pyipvsadm.popt import Words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import ClassVar

    from pyipvsadm.endpoint import Names

    Ours = dict[str, int | str | None]

TRY_HELP = "Try `ipvsadm -h' or 'ipvsadm --help' for more information."
MAX_TIMEOUT = 86400 * 31
PERSISTENCE = 360  # seconds, when -p has no value (libipvs.h: IPVS_SVC_PERSISTENT_TIMEOUT)

_OPERATIONS = {
    "add-service": NEW_SERVICE,
    "edit-service": SET_SERVICE,
    "delete-service": DEL_SERVICE,
    "add-server": NEW_DEST,
    "edit-server": SET_DEST,
    "delete-server": DEL_DEST,
    "clear": FLUSH,
    "zero": ZERO,
    "set": SET_CONFIG,
    "start-daemon": NEW_DAEMON,
    "stop-daemon": DEL_DAEMON,
}
_PROTOCOLS = {"tcp-service": TCP, "udp-service": UDP, "sctp-service": SCTP}
_METHODS = {"gatewaying": ROUTE, "ipip": TUNNEL, "masquerading": MASQ}


class Request:
    """What was asked. command: its long name. slots: what was given. change: for commands that write, else None.

    services: those that were named, in their order. ours: the options that 1.31 lacks, by long name, each with its value
    (a number where the table of options gives it limits, None when it has none). server: what options said of a real server.
    """

    __slots__ = ("change", "command", "ours", "server", "services", "slots")

    def __init__(
        self,
        command: str,
        slots: set[str],
        services: list[Service],
        change: Change | None,
        ours: Ours,
        server: Destination | None = None,
    ) -> None:
        self.command = command
        self.slots = slots
        self.services = services
        self.change = change
        self.ours = ours
        self.server = server


class Scanner:
    """One command line, or one line of rules.

    `ours` (see Request) and `asked`, the command, are known even when `request` has raised.
    """

    def __init__(self, words: Sequence[str], names: Names, posix: bool = False) -> None:
        self._words = Words(words, posix)
        self._names = names
        self.ours: Ours = {}
        self.asked = ""
        self._slots: set[str] = set()
        # The reference parses into zeroed records: family 0 until an address is read.
        self._service = Service(0, scheduler="")
        self._services = [self._service]
        self._destination = Destination(0, b"", 0)
        self._daemon = Daemon(0)
        self._flags = ""

    def request(self) -> Request:
        """Read it all. Raises Usage for what ends the run, Skipped for popt's errors after the command."""
        command = self.asked = self._command()
        if command in ("help", "version"):  # what follows is not even read
            return Request(command, self._slots, [], None, self.ours)
        self._options()
        timeouts = self._timeouts() if command == "set" else None
        if self._words.bare:
            raise Usage(f"unexpected argument {self._words.bare[0]}")
        if self._flags:
            self._service.flags |= scheduler_flags(self._service.scheduler or "wlc", self._flags)
        check_slots(command, self._slots)
        self._check(command)
        return self._finished(command, timeouts)

    def _command(self) -> str:
        """The first option but for ours that go anywhere; its value when it is a daemon's role."""
        try:
            row = self._words.option()
            while row is not None and isinstance(row, Option) and row.ours:
                self._take(row)
                row = self._words.option()
        except Skipped:
            row = None
        if not isinstance(row, Command):
            raise Usage(TRY_HELP, 255)
        if row.argument != NONE:
            self._daemon.state = {"master": MASTER, "backup": BACKUP}.get(self._words.value or "", 0)
            if not self._daemon.state:
                raise Usage(
                    "illegal start-daemon parameter specified" if row.long == "start-daemon" else "illegal start_daemon specified"
                )
        return row.long

    def _options(self) -> None:
        words = self._words
        while (row := words.option()) is not None:
            if isinstance(row, Command):
                raise Usage(f"invalid option `{words.bad()}'")
            self._take(row)

    def _take(self, row: Option) -> None:
        if row.slot:
            if row.slot in self._slots:
                self._again(row.slot)
            self._slots.add(row.slot)
        if row.ours:
            value = self._words.value
            if value is not None and row.limits is not None:
                self.ours[row.long] = within(value, *row.limits, f"illegal {row.long} specified")
            else:
                self.ours[row.long] = value
            return
        take = self._TAKERS.get(row.slot or row.long)
        if take is not None:
            take(self, row.long, self._words.value or "")

    def _again(self, slot: str) -> None:
        several = next(row.several for row in SLOTS if row.name == slot)
        if self.asked not in several:
            raise Usage(f"multiple '{slot}' options specified")
        self._service = Service(0, scheduler="")
        self._services.append(self._service)

    # One method a slot, each given the option's long name and its value.

    def _take_service(self, option: str, value: str) -> None:
        service = self._service
        if option == "fwmark-service":
            mark, rest = strtol(value)
            # strtol's errno ERANGE and the range of an unsigned int in one (parse_fwmark)
            if rest or not value or not 0 < mark <= 0xFFFFFFFF:
                raise Usage(f"invalid fwmark value `{value}' specified")
            service.af = AF_INET
            service.protocol = TCP
            service.fwmark = mark
            return
        service.protocol = _PROTOCOLS[option]
        found = parse(value, service.protocol, self._names)
        if found is None:
            raise Usage("illegal virtual server address[:port] specified")
        service.af = found.family
        service.addr = found.addr
        service.port = found.port or 0
        if service.af == AF_INET6:
            service.netmask = NO_MASK6

    def _take_ipv6(self, *_: str) -> None:
        if not self._service.fwmark:
            raise Usage("-6 used before -f\n")
        self._service.af = AF_INET6
        self._service.netmask = NO_MASK6

    def _take_scheduler(self, _: str, value: str) -> None:
        self._service.scheduler = _cut(value, 15)

    def _take_flags(self, _: str, value: str) -> None:
        self._flags = _cut(value, 127)

    def _take_persistence(self, *_: str) -> None:
        self._service.flags |= PERSISTENT
        value = self._words.value
        self._service.timeout = PERSISTENCE if value is None else timeout(value, 1)

    def _take_netmask(self, _: str, value: str) -> None:
        service = self._service
        if service.af == AF_INET6:
            service.netmask = atoi(value)
            if not 1 <= service.netmask <= NO_MASK6:
                raise Usage("illegal ipv6 netmask specified")
            return
        mask = parse_mask(value, self._names)
        if mask is None:
            raise Usage("illegal virtual server persistent mask specified")
        service.netmask = mask

    def _take_engine(self, _: str, value: str) -> None:
        self._service.pe = _cut(value, 16)

    def _take_ops(self, *_: str) -> None:
        self._service.flags |= ONE_PACKET

    def _take_server(self, _: str, value: str) -> None:
        found = parse(value, self._service.protocol, self._names)
        if found is None:
            raise Usage("illegal real server address[:port] specified")
        self._destination.af = found.family
        self._destination.addr = found.addr
        self._destination.port = self._service.port if found.port is None else found.port

    def _take_method(self, option: str, _: str) -> None:
        self._destination.forward = _METHODS[option]

    def _take_weight(self, _: str, value: str) -> None:
        # 65535 in the sources of 1.31; Debian's package, which is the reference, goes to INT_MAX
        self._destination.weight = within(value, 0, INT_MAX, "illegal weight specified")

    def _take_upper(self, _: str, value: str) -> None:
        self._destination.upper = within(value, 0, INT_MAX, "illegal u_threshold specified")

    def _take_lower(self, _: str, value: str) -> None:
        self._destination.lower = within(value, 0, INT_MAX, "illegal l_threshold specified")

    def _take_tunnel_type(self, _: str, value: str) -> None:
        if value not in TUNNEL_TYPES:
            raise Usage("illegal tunnel type specified")
        self._destination.tun_type = TUNNEL_TYPES.index(value)

    def _take_tunnel_port(self, _: str, value: str) -> None:
        self._destination.tun_port = within(value, 1, 65535, "illegal tunnel port specified")

    def _take_checksum(self, option: str, _: str) -> None:
        self._destination.tun_flags |= TUN_CSUM if option == "tun-csum" else TUN_REMCSUM

    def _take_interface(self, _: str, value: str) -> None:
        self._daemon.interface = _cut(value, 15)

    def _take_syncid(self, _: str, value: str) -> None:
        self._daemon.syncid = within(value, 0, 255, "illegal syncid specified")

    def _take_group(self, _: str, value: str) -> None:
        family, number_, first = (AF_INET6, 6, (0xFF,)) if ":" in value else (AF_INET, 4, range(0xE0, 0xF0))
        group = pton(family, value)
        if group is None or group[0] not in first:
            raise Usage(f"invalid IPv{number_} mcast-group `{value}'")
        self._daemon.group = group

    def _take_group_port(self, _: str, value: str) -> None:
        self._daemon.port = within(value, 1, 65535, "illegal mcast-port specified")

    def _take_ttl(self, _: str, value: str) -> None:
        self._daemon.ttl = within(value, 1, 255, "illegal mcast-ttl specified")

    def _take_maxlen(self, _: str, value: str) -> None:
        self._daemon.maxlen = within(value, 1, 65535 - 20 - 8, "illegal sync-maxlen specified")

    def _timeouts(self) -> Timeouts:
        bare = self._words.bare
        if len(bare) < 3:
            raise Usage("--set option requires 3 timeout values")
        values = [timeout(value, 0) for value in bare[:3]]
        del bare[:3]
        return Timeouts(*values)

    def _check(self, command: str) -> None:
        """The rules between options (ipvsadm.c: process_options)."""
        service = self._service
        destination = self._destination
        slots = self._slots
        if command in ("add-service", "edit-service"):
            if not service.fwmark and not service.port and not service.flags & PERSISTENT:
                raise Usage("Zero port specified for non-persistent service")
            if service.flags & ONE_PACKET and not service.fwmark and service.protocol != UDP:
                raise Usage("One-Packet Scheduling is only for UDP virtual services")
            service.scheduler = service.scheduler or "wlc"
        elif command == "start-daemon":
            self._daemon.interface = self._daemon.interface or "eth0"
        elif command in ("add-server", "edit-server"):
            if not service.fwmark and destination.forward in (TUNNEL, ROUTE):
                destination.port = service.port
            if destination.af != service.af and destination.forward != TUNNEL:
                raise Usage("Different address family is allowed only for tunneling servers")
            if destination.forward != TUNNEL and any(slot[:4] == "tun-" for slot in slots):
                raise Usage("Tunnel options conflict with forward method")
            check_tunnel(TUNNEL_TYPES[destination.tun_type], slots)
        elif command == "doctor" and slots & {"forwarding-method", "tun-type", "director"} and "real-server-for" not in slots:
            raise Usage("-g, -i, -m, --tun-type and --director go with --real-server-for")
        elif command == "list" and (
            (slots & {"connection", "timeout", "daemon"} and slots & {"stats", "rate", "thresholds"})
            or (slots & {"timeout", "daemon"} and "persistent-conn" in slots)
        ):
            raise Usage("options conflicts in the list command")

    def _finished(self, command: str, timeouts: Timeouts | None) -> Request:
        services = self._services if "service-address" in self._slots else []
        for each in services:
            if each.fwmark:
                each.protocol = 0
        op = _OPERATIONS.get(command)
        if op is None:
            return Request(command, self._slots, services, None, self.ours, self._destination)
        service = services[0] if services else None
        if op == ZERO and service is not None and not (service.fwmark or service.port or any(service.addr)):
            service = None  # libipvs.c: ipvs_zero_service takes the unspecified address for "all"
        change = Change(
            op,
            service,
            self._destination if "real-server" in self._slots else None,
            self._daemon if self._daemon.state else None,
            timeouts,
        )
        return Request(command, self._slots, services, change, self.ours)

    # slot (or option without one) -> what reads its value
    _TAKERS: ClassVar[dict[str, Callable[[Scanner, str, str], None]]] = {
        "service-address": _take_service,
        "ipv6": _take_ipv6,
        "scheduler": _take_scheduler,
        "sched-flags": _take_flags,
        "persistent": _take_persistence,
        "netmask": _take_netmask,
        "pe": _take_engine,
        "ops": _take_ops,
        "real-server": _take_server,
        "forwarding-method": _take_method,
        "weight": _take_weight,
        "u-threshold": _take_upper,
        "l-threshold": _take_lower,
        "tun-type": _take_tunnel_type,
        "tun-port": _take_tunnel_port,
        "tun-csum": _take_checksum,
        "tun-remcsum": _take_checksum,
        "mcast-interface": _take_interface,
        "syncid": _take_syncid,
        "mcast-group": _take_group,
        "mcast-port": _take_group_port,
        "mcast-ttl": _take_ttl,
        "sync-maxlen": _take_maxlen,
    }


def _cut(text: str, size: int) -> str:
    """The first `size` bytes, as strncpy keeps them."""
    return text if len(text) * 4 <= size else os.fsdecode(os.fsencode(text)[:size])


def within(text: str, low: int, high: int, message: str) -> int:
    """A number from low to high, else Usage with the message."""
    value = number(text, low, high)
    if value == -1:
        raise Usage(message)
    return value


def timeout(text: str, low: int) -> int:
    """Seconds from low to 31 days (parse_timeout)."""
    return within(text, low, MAX_TIMEOUT, f"invalid timeout value `{text}' specified")


def scheduler_flags(scheduler: str, text: str) -> int:
    """Names with commas to bits, for that scheduler (parse_sched_flags). A lone comma crashes 1.31; here it is no flag."""
    flags = 0
    names = [name for name in text.split(",") if name]
    for name in names or [text]:
        found = [(bit, only) for flag, bit, only in SCHEDULER_FLAGS if flag == name]
        if not found:
            raise Usage(f"invalid scheduler flag `{name}'")
        bit, only = found[0]
        if only and only != scheduler:
            raise Usage(f"incompatible scheduler flag `{name}'")
        flags |= bit
    return flags
