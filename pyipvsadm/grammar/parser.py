"""Parse words into a Request, by 1.31's rules. Pure, but for the resolver that it is given.

Owns: the meaning of each word and the rules between them (ipvsadm.c: parse_options,
process_options). Must never know: how words are split into options (popt.py), backends, streams,
exit.

The first option is the command. A method for each slot parses its value into a Service, a Server or
a Daemon. The combinations are checked at the end, in 1.31's order, because the first fault found is
the one reported. The module is longer than others because these methods fill the same records, and
the later ones depend on the earlier (-M on -t, -r on the port of -t).
"""

from __future__ import annotations

from pyipvsadm.addresses import (
    INT_MAX,
    parse_address,
    parse_atoi,
    parse_endpoint,
    parse_leading_int,
    parse_mask,
)
from pyipvsadm.errors import LineSkippedError, UsageError
from pyipvsadm.grammar.combinations import check_list, check_ours, check_slots, check_tunnel
from pyipvsadm.grammar.options import (
    LIST_FILTERS,
    NONE,
    SLOTS,
    STANDALONE_OPTIONS,
    TUNNEL_TYPES,
    Command,
    Option,
)
from pyipvsadm.grammar.popt import PoptScanner
from pyipvsadm.grammar.values import (
    merge_scheduler_flags,
    parse_extension_value,
    parse_in_range,
    parse_scheduler_flags,
    parse_timeout,
    truncate_bytes,
)
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    BACKUP,
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    FLUSH,
    HOST_PREFIX6,
    MASQ,
    MASTER,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
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
    Server,
    Service,
    Timeouts,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import ClassVar

    from pyipvsadm.resolver import Resolver

    Ours = dict[str, int | str | None]

TRY_HELP = "Try `ipvsadm -h' or 'ipvsadm --help' for more information."
# Seconds, if -p has no value (libipvs.h: IPVS_SVC_PERSISTENT_TIMEOUT).
DEFAULT_PERSISTENCE_TIMEOUT = 360

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
_FILE_HINTS = {
    "restore": "rules come from standard input: < FILE; or use --apply FILE, or ipvsadm-restore -f FILE",
    "save": "the rules go to standard output: > FILE; or use ipvsadm-save -f FILE",
}
_PROTOCOLS = {"tcp-service": TCP, "udp-service": UDP, "sctp-service": SCTP}
_METHODS = {"gatewaying": ROUTE, "ipip": TUNNEL, "masquerading": MASQ}


class Request:
    """Hold a parsed request. command: its long name. slots: the filled slots. change: for commands
    that write, else None.

    services: the named ones, in their order. ours: the options and the command that 1.31 lacks, by
    long name, each with its value (a number if the table of options gives limits, None if it has no
    value); "help": the topic of --help. server: the real server that options
    describe, None if none is named; port: None if -r has none. files: those of --check. flags: the scheduler flags as typed;
    `change` has them as bits, unless the scheduler is to be kept.
    """

    __slots__ = (
        "change", "command", "files", "flags", "ours", "port", "server", "services", "slots",
    )  # fmt: skip

    def __init__(
        self,
        command: str,
        slots: set[str],
        services: list[Service],
        change: Change | None,
        ours: Ours,
    ) -> None:
        self.command = command
        self.slots = slots
        self.services = services
        self.change = change
        self.ours = ours
        self.server: Server | None = None
        self.port: int | None = None
        self.flags = ""
        self.files: list[str] = []


class CommandParser:
    """Parse one command line, or one line of rules. `ours` (see Request) and `command` are known
    even if `parse_request` has raised.
    """

    def __init__(self, words: Sequence[str], names: Resolver, posix: bool = False) -> None:
        self._words = PoptScanner(words, posix)
        self._names = names
        self.ours: Ours = {}
        self.command = ""  # set by parse_request
        # The command that has --help in place of its argument.
        self._help_topic = ""
        self._slots: set[str] = set()
        # 1.31 parses into zeroed records: family 0 until an address is read.
        self._service = Service(0, scheduler="")
        self._services = [self._service]
        self._destination = Server(0, b"", 0)
        self._daemon = Daemon(0)
        self._flags = ""
        self._port: int | None = None

    def parse_request(self) -> Request:
        """Parse the whole line. Raise UsageError if the run must end, LineSkippedError for popt's
        errors after the command.
        """
        command = self.command = self._parse_command()
        if command == "help":
            # The next word is the topic; 1.31 does not even read it.
            topics = [word for word in self._words.get_remaining() if word.strip("-")]
            return self._build_help(self._help_topic or "".join(topics[:1]))
        if command == "version":
            # 1.31 does not read the rest.
            if "--json" in self._words.get_remaining():
                self._slots.add("json")
            return Request(command, self._slots, [], None, self.ours)
        if self._parse_options():
            return self._build_help(command)
        timeouts = self._parse_timeouts() if command == "set" else None
        files: list[str] = []
        if command in ("apply", "undo"):
            self._set_operand(command)
        elif command == "check":
            files, self._words.positional[:] = [*self._words.positional], []
        if self._words.positional:
            raise UsageError(
                f"unexpected argument {self._words.positional[0]}",
                hint=_FILE_HINTS.get(command, ""),
            )
        if self._flags and "keep" not in self.ours:
            self._service.flags |= parse_scheduler_flags(
                self._service.scheduler or "wlc", self._flags
            )
        elif self._flags and "scheduler" in self._slots:  # else the present scheduler decides
            merge_scheduler_flags(self._service.scheduler, self._flags, 0)
        check_slots(command, self._slots)
        self._check_combination(command)
        request = self._build_request(command, timeouts)
        request.files = files
        return request

    def _parse_command(self) -> str:
        """Parse the command: the first option that is not allowed anywhere. Return its value if it
        is a daemon's role; one of STANDALONE_OPTIONS may stand alone.
        """
        try:
            row = self._words.read_option()
            while row is not None and isinstance(row, Option) and row.ours:
                self._take_option(row)
                row = self._words.read_option()
        except LineSkippedError as exc:
            # 1.31 does not print popt's message here.
            raise UsageError(TRY_HELP, 255) from exc
        if not isinstance(row, Command):
            standalone = next((name for name in STANDALONE_OPTIONS if name in self.ours), None)
            if standalone is None:
                raise UsageError(TRY_HELP, 255)
            if row is not None:
                self._take_option(row)
            return standalone
        if row.ours:
            self.ours[row.long] = self._words.value
        elif row.argument != NONE:
            if self._words.value in ("--help", "-h"):
                # popt took it for the role.
                self._help_topic = row.long
                return "help"
            self._daemon.state = {"master": MASTER, "backup": BACKUP}.get(
                self._words.value or "", 0
            )
            if not self._daemon.state:
                raise UsageError(
                    "illegal start-daemon parameter specified"
                    if row.long == "start-daemon"
                    else "illegal start_daemon specified",
                    hint=f"as in: ipvsadm --{row.long} master",
                )
        return row.long

    def _parse_options(self) -> bool:
        """Take all options; True at --help, which ours has after a command, too."""
        words = self._words
        while (row := words.read_option()) is not None:
            if row.long == "help":
                return True
            if isinstance(row, Command):
                raise UsageError(
                    f"invalid option `{words.get_bad_option()}'",
                    hint=f"{{{self.command}}} and {{{row.long}}} are two commands: give one",
                )
            self._take_option(row)
        return False

    def _build_help(self, about: str) -> Request:
        return Request(
            "help", self._slots, [], None, {**self.ours, "help": about} if about else self.ours
        )

    def _take_option(self, row: Option) -> None:
        if row.slot:
            if row.slot in self._slots:
                self._repeat_slot(row.slot)
            self._slots.add(row.slot)
        if row.ours or (row.slot in LIST_FILTERS and self.command == "list"):
            self.ours[row.long] = parse_extension_value(row, self._words.value)
            return
        set_value = self._SETTERS.get(row.slot or row.long)
        if set_value is not None:
            set_value(self, row.long, self._words.value or "")

    def _repeat_slot(self, slot: str) -> None:
        several = next(row.several for row in SLOTS if row.name == slot)
        if self.command not in several:
            beside = f" with {{{self.command}}}" if self.command else ""
            raise UsageError(
                f"multiple '{slot}' options specified",
                hint=f"{{{slot}}}: only one is allowed{beside}",
            )
        self._service = Service(0, scheduler="")
        self._services.append(self._service)

    # One method a slot, each given the option's long name and its value.

    def _set_service(self, option: str, value: str) -> None:
        service = self._service
        if option == "fwmark-service":
            mark, rest = parse_leading_int(value)
            # strtol's errno ERANGE and the range of an unsigned int in one (parse_fwmark)
            if rest or not value or not 0 < mark <= 0xFFFFFFFF:
                raise UsageError(f"invalid fwmark value `{value}' specified")
            service.af = AF_INET
            service.protocol = TCP
            service.fwmark = mark
            return
        service.protocol = _PROTOCOLS[option]
        endpoint = parse_endpoint(value, service.protocol, self._names)
        if endpoint is None:
            raise UsageError("illegal virtual server address[:port] specified")
        service.af = endpoint.family
        service.addr = endpoint.addr
        service.port = endpoint.port or 0
        if service.af == AF_INET6:
            service.netmask = HOST_PREFIX6

    def _set_ipv6(self, *_: str) -> None:
        if not self._service.fwmark:
            raise UsageError("-6 must follow -f\n")
        self._service.af = AF_INET6
        self._service.netmask = HOST_PREFIX6

    def _set_scheduler(self, _: str, value: str) -> None:
        self._service.scheduler = truncate_bytes(value, 15)

    def _set_flags(self, _: str, value: str) -> None:
        self._flags = truncate_bytes(value, 127)

    def _set_persistence(self, *_: str) -> None:
        self._service.flags |= PERSISTENT
        value = self._words.value
        self._service.timeout = (
            DEFAULT_PERSISTENCE_TIMEOUT if value is None else parse_timeout(value, 1)
        )

    def _set_netmask(self, _: str, value: str) -> None:
        service = self._service
        if service.af == AF_INET6:
            service.netmask = parse_atoi(value)
            if not 1 <= service.netmask <= HOST_PREFIX6:
                raise UsageError("illegal ipv6 netmask specified")
            return
        mask = parse_mask(value, self._names)
        if mask is None:
            raise UsageError("illegal virtual server persistent mask specified")
        service.netmask = mask

    def _set_engine(self, _: str, value: str) -> None:
        self._service.pe = truncate_bytes(value, 16)

    def _set_ops(self, *_: str) -> None:
        self._service.flags |= ONE_PACKET

    def _set_server(self, _: str, value: str) -> None:
        endpoint = parse_endpoint(value, self._service.protocol, self._names)
        if endpoint is None:
            raise UsageError("illegal real server address[:port] specified")
        self._destination.af = endpoint.family
        self._destination.addr = endpoint.addr
        self._destination.port = self._service.port if endpoint.port is None else endpoint.port
        self._port = endpoint.port

    def _set_method(self, option: str, _: str) -> None:
        self._destination.forward = _METHODS[option]

    def _set_weight(self, _: str, value: str) -> None:
        # 65535 in the sources of 1.31; Debian's package, which is the reference, goes to INT_MAX
        self._destination.weight = parse_in_range(value, 0, INT_MAX, "illegal weight specified")

    def _set_upper(self, _: str, value: str) -> None:
        self._destination.upper = parse_in_range(value, 0, INT_MAX, "illegal u_threshold specified")

    def _set_lower(self, _: str, value: str) -> None:
        self._destination.lower = parse_in_range(value, 0, INT_MAX, "illegal l_threshold specified")

    def _set_tunnel_type(self, _: str, value: str) -> None:
        if value not in TUNNEL_TYPES:
            raise UsageError("illegal tunnel type specified")
        self._destination.tun_type = TUNNEL_TYPES.index(value)

    def _set_tunnel_port(self, _: str, value: str) -> None:
        self._destination.tun_port = parse_in_range(
            value, 1, 65535, "illegal tunnel port specified"
        )

    def _set_checksum(self, option: str, _: str) -> None:
        self._destination.tun_flags |= TUN_CSUM if option == "tun-csum" else TUN_REMCSUM

    def _set_interface(self, _: str, value: str) -> None:
        self._daemon.interface = truncate_bytes(value, 15)

    def _set_syncid(self, _: str, value: str) -> None:
        self._daemon.syncid = parse_in_range(value, 0, 255, "illegal syncid specified")

    def _set_group(self, _: str, value: str) -> None:
        family, version, first = (
            (AF_INET6, 6, (0xFF,)) if ":" in value else (AF_INET, 4, range(0xE0, 0xF0))
        )
        group = parse_address(family, value)
        if group is None or group[0] not in first:
            raise UsageError(f"invalid IPv{version} mcast-group `{value}'")
        self._daemon.group = group

    def _set_group_port(self, _: str, value: str) -> None:
        self._daemon.port = parse_in_range(value, 1, 65535, "illegal mcast-port specified")

    def _set_ttl(self, _: str, value: str) -> None:
        self._daemon.ttl = parse_in_range(value, 1, 255, "illegal mcast-ttl specified")

    def _set_maxlen(self, _: str, value: str) -> None:
        self._daemon.maxlen = parse_in_range(
            value, 1, 65535 - 20 - 8, "illegal sync-maxlen specified"
        )

    def _set_operand(self, command: str) -> None:
        """Take the single bare word of --apply as its FILE, that of --undo as its ID, wherever it
        stands; `-`, or no word, is standard input, or the newest change.
        """
        attached = self.ours[command]
        words = [*([] if attached is None else [str(attached)]), *self._words.positional]
        if len(words) > 1:
            kind = "FILE" if command == "apply" else "ID"
            raise UsageError(f"--{command} takes one {kind}: is it {' or '.join(words)}?")
        self._words.positional.clear()
        self.ours[command] = words[0] if words and words[0] != "-" else None

    def _parse_timeouts(self) -> Timeouts:
        bare = self._words.positional
        if len(bare) < 3:
            raise UsageError(
                "--set option requires 3 timeout values", hint="as in: ipvsadm --set 900 120 300"
            )
        values = [parse_timeout(value, 0) for value in bare[:3]]
        del bare[:3]
        return Timeouts(*values)

    def _check_combination(self, command: str) -> None:
        """Check the rules between options (ipvsadm.c: process_options)."""
        service = self._service
        destination = self._destination
        slots = self._slots
        check_ours(command, slots)
        if "drain" in slots:
            return
        if command in ("add-service", "edit-service"):
            if (
                not service.fwmark
                and not service.port
                and not service.flags & PERSISTENT
                and "keep" not in slots
            ):
                raise UsageError(
                    "Zero port specified for non-persistent service",
                    hint="give a port, or -p for a service of all ports",
                )
            if service.flags & ONE_PACKET and not service.fwmark and service.protocol != UDP:
                raise UsageError("One-Packet Scheduling is only for UDP virtual services")
            service.scheduler = service.scheduler or "wlc"
        elif "keep" in slots:
            pass  # the server is looked up first (change/merge.py)
        elif command == "start-daemon":
            self._daemon.interface = self._daemon.interface or "eth0"
        elif command in ("add-server", "edit-server"):
            if not service.fwmark and destination.forward in (TUNNEL, ROUTE):
                destination.port = service.port
            check_server(service, destination, slots)
        elif command == "list":
            check_list(slots)

    def _build_request(self, command: str, timeouts: Timeouts | None) -> Request:
        services = self._services if "service-address" in self._slots else []
        for named in services:
            if named.fwmark:
                named.protocol = 0
        request = Request(command, self._slots, services, None, self.ours)
        request.server = (
            self._destination if self._slots & {"real-server", "real-server-for"} else None
        )
        request.port = self._port
        request.flags = self._flags
        op = _OPERATIONS.get(command)
        if op is None:
            return request
        service = services[0] if services else None
        if (
            op == ZERO
            and service is not None
            and not (service.fwmark or service.port or any(service.addr))
        ):
            service = None  # libipvs.c: ipvs_zero_service takes the unspecified address for "all"
        request.change = Change(
            op,
            service,
            request.server,
            self._daemon if self._daemon.state else None,
            timeouts,
        )
        return request

    # slot (or option without one) -> what reads its value
    _SETTERS: ClassVar[dict[str, Callable[[CommandParser, str, str], None]]] = {
        "service-address": _set_service,
        "ipv6": _set_ipv6,
        "scheduler": _set_scheduler,
        "sched-flags": _set_flags,
        "persistent": _set_persistence,
        "netmask": _set_netmask,
        "pe": _set_engine,
        "ops": _set_ops,
        "real-server": _set_server,
        "forwarding-method": _set_method,
        "weight": _set_weight,
        "u-threshold": _set_upper,
        "l-threshold": _set_lower,
        "tun-type": _set_tunnel_type,
        "tun-port": _set_tunnel_port,
        "tun-csum": _set_checksum,
        "tun-remcsum": _set_checksum,
        "mcast-interface": _set_interface,
        "syncid": _set_syncid,
        "mcast-group": _set_group,
        "mcast-port": _set_group_port,
        "mcast-ttl": _set_ttl,
        "sync-maxlen": _set_maxlen,
    }


def check_server(service: Service, destination: Server, slots: set[str]) -> None:
    """Check the rules between a server's options; destination: the server that they describe."""
    if destination.af != service.af and destination.forward != TUNNEL:
        raise UsageError("Different address family is allowed only for tunneling servers")
    if destination.forward == TUNNEL:
        check_tunnel(TUNNEL_TYPES[destination.tun_type], slots)
    elif any(slot[:4] == "tun-" for slot in slots):
        raise UsageError("Tunnel options conflict with forward method", hint="they go with -i")
