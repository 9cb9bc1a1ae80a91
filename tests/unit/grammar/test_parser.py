"""Test the parser: the record that each word fills, every message with its status, and which of
several errors is reported.

The table of combinations is compared with a second transcription of the reference's matrix
(ipvsadm.c: commands_v_options, tunnel_types_v_options). No name is looked up: `Book` stands for the
resolver.
"""

from __future__ import annotations

from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm.errors import LineSkippedError, UsageError
from pyipvsadm.grammar.combinations import check_slots, check_tunnel
from pyipvsadm.grammar.parser import TRY_HELP, CommandParser, Request
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    BACKUP,
    DEL_DAEMON,
    DEL_DEST,
    DEL_SERVICE,
    FLUSH,
    GRE,
    GUE,
    MASQ,
    MASTER,
    NEW_DAEMON,
    NEW_DEST,
    NEW_SERVICE,
    ONE_PACKET,
    PERSISTENT,
    ROUTE,
    SCHED1,
    SCHED2,
    SCHED3,
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
from pyipvsadm.resolver import Resolver
from tests.older_python import zip_equal

V4 = bytes([10, 0, 0, 1])
R4 = bytes([10, 0, 1, 1])
V6 = bytes.fromhex("20010db8000000000000000000000001")
R6 = bytes.fromhex("20010db8000000000000000000000002")
WWW = bytes([10, 9, 9, 9])


class Book(Resolver):
    """Resolve one host and two services."""

    def find_host(self, name: str) -> bytes | None:
        return {"www": WWW}.get(name)

    def find_port(self, name: str, protocol: int) -> int | None:
        return {("http", TCP): 80, ("sip", UDP): 5060}.get((name, protocol))


def scan(line: str | list[str], posix: bool = False) -> Request:
    return CommandParser(
        line.split() if isinstance(line, str) else line, Book(), posix
    ).parse_request()


def changed(line: str | list[str]) -> Change:
    change = scan(line).change
    assert change is not None
    return change


def service_of(line: str | list[str]) -> Service:
    service = changed(line).service
    assert service is not None
    return service


def server_of(line: str | list[str]) -> Server:
    server = changed(line).server
    assert server is not None
    return server


def fault(line: str | list[str], posix: bool = False) -> tuple[str, int]:
    with pytest.raises(UsageError) as caught:
        scan(line, posix)
    return str(caught.value), caught.value.status


# --- commands

PLAIN = Service(AF_INET, TCP, V4, 80)
NAMED = Service(AF_INET, TCP, V4, 80, scheduler="")
SERVER = Server(AF_INET, R4, 80)

CHANGES: dict[str, Change] = {
    "-A -t 10.0.0.1:80": Change(NEW_SERVICE, PLAIN),
    "-At 10.0.0.1:80": Change(NEW_SERVICE, PLAIN),
    "--add-service --tcp-service=10.0.0.1:80": Change(NEW_SERVICE, PLAIN),
    "-E -t 10.0.0.1:80": Change(SET_SERVICE, PLAIN),
    "-D -t 10.0.0.1:80": Change(DEL_SERVICE, NAMED),
    "-C": Change(FLUSH),
    "-Z": Change(ZERO),
    "-Z -t 10.0.0.1:80": Change(ZERO, NAMED),
    "-Z -f 5": Change(ZERO, Service(AF_INET, fwmark=5, scheduler="")),
    "-Z -t 0.0.0.0": Change(ZERO),  # the unspecified address stands for all
    "-Z -u [::]:0": Change(ZERO),
    "-Z -t 0.0.0.0:80": Change(ZERO, Service(AF_INET, TCP, bytes(4), 80, scheduler="")),
    "-a -t 10.0.0.1:80 -r 10.0.1.1": Change(NEW_DEST, NAMED, SERVER),
    "-e -t 10.0.0.1:80 -r 10.0.1.1": Change(SET_DEST, NAMED, SERVER),
    "-d -t 10.0.0.1:80 -r 10.0.1.1:8080": Change(DEL_DEST, NAMED, Server(AF_INET, R4, 8080)),
    "--set 900 120 300": Change(SET_CONFIG, timeouts=Timeouts(900, 120, 300)),
    "--set 0 0 0": Change(SET_CONFIG, timeouts=Timeouts(0, 0, 0)),
    "--set -- +1 007 2678400": Change(SET_CONFIG, timeouts=Timeouts(1, 7, 2678400)),
    "--start-daemon master": Change(NEW_DAEMON, daemon=Daemon(MASTER, "eth0")),
    "--start-daemon=backup": Change(NEW_DAEMON, daemon=Daemon(BACKUP, "eth0")),
    "--stop-daemon master": Change(DEL_DAEMON, daemon=Daemon(MASTER)),
    "--stop-daemon backup --syncid 7": Change(DEL_DAEMON, daemon=Daemon(BACKUP, syncid=7)),
}


@pytest.mark.parametrize(("line", "change"), CHANGES.items(), ids=CHANGES.keys())
def test_changes(line: str, change: Change) -> None:
    assert scan(line).change == change


@pytest.mark.parametrize(
    ("line", "command", "slots"),
    [
        ("-L", "list", set()),
        ("-l", "list", set()),
        ("-Lnc", "list", {"numeric", "connection"}),
        ("--list --stats --exact --sort --sort", "list", {"stats", "exact"}),
        ("-S -n", "save", {"numeric"}),
        ("-R", "restore", set()),
        ("-h", "help", set()),
        ("-v", "version", set()),
        ("--help --bogus -t", "help", set()),  # the words that follow are not even read
        ("-vz", "version", set()),
        ("-v --json", "version", {"json"}),
        ("--json -v --bogus", "version", {"json"}),
    ],
)
def test_requests_that_change_nothing(line: str, command: str, slots: set[str]) -> None:
    request = scan(line)
    assert (request.command, request.slots, request.services, request.change) == (
        command,
        slots,
        [],
        None,
    )


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("-L -t 10.0.0.1:80", [(AF_INET, TCP, V4, 80, 0)]),
        ("-L -u [2001:db8::1]:53", [(AF_INET6, UDP, V6, 53, 0)]),
        ("-L -f 7", [(AF_INET, 0, b"", 0, 7)]),
        ("-L -f 7 -6", [(AF_INET6, 0, b"", 0, 7)]),
        (
            "-L -f 7 -t 10.0.0.1:80 -f 8 -6",
            [(AF_INET, 0, b"", 0, 7), (AF_INET, TCP, V4, 80, 0), (AF_INET6, 0, b"", 0, 8)],
        ),
    ],
)
def test_the_services_to_list(line: str, keys: list[tuple[int, int, bytes, int, int]]) -> None:
    request = scan(line)
    assert [service.key() for service in request.services] == keys
    assert {service.scheduler for service in request.services} == {""}  # not named
    assert request.change is None


# --- values of a service

SERVICES: dict[str, Service] = {
    "-A -u 10.0.0.1:53": Service(AF_INET, UDP, V4, 53),
    "-A --sctp-service 10.0.0.1:80": Service(AF_INET, SCTP, V4, 80),
    "-A -t www:http": Service(AF_INET, TCP, WWW, 80),
    "-A -u www:sip": Service(AF_INET, UDP, WWW, 5060),
    "-A -t [2001:db8::1]:80": Service(AF_INET6, TCP, V6, 80, netmask=128),
    "-A -f 1": Service(AF_INET, fwmark=1),
    "-A -f +007": Service(AF_INET, fwmark=7),
    "-A -f 4294967295": Service(AF_INET, fwmark=0xFFFFFFFF),
    "-A -f 1 -6": Service(AF_INET6, fwmark=1, netmask=128),
    "-A -f 1 -66": Service(AF_INET6, fwmark=1, netmask=128),
    "-A -t 10.0.0.1:80 -s rr": Service(AF_INET, TCP, V4, 80, scheduler="rr"),
    "-A -t 10.0.0.1:80 -s 1234567890123456": Service(AF_INET, TCP, V4, 80, scheduler="123456789012345"),
    "-A -t 10.0.0.1 -p": Service(AF_INET, TCP, V4, 0, flags=PERSISTENT, timeout=360),
    "-A -p -t 10.0.0.1:80": Service(AF_INET, TCP, V4, 80, flags=PERSISTENT, timeout=360),
    "-A -t 10.0.0.1:80 -p 1": Service(AF_INET, TCP, V4, 80, flags=PERSISTENT, timeout=1),
    "-A -t 10.0.0.1:80 -p2678400": Service(AF_INET, TCP, V4, 80, flags=PERSISTENT, timeout=2678400),
    "-A -t 10.0.0.1:80 -M 255.255.255.0": Service(AF_INET, TCP, V4, 80, netmask=0xFFFFFF00),
    "-A -M 255.0.0.0 -t 10.0.0.1:80": Service(AF_INET, TCP, V4, 80, netmask=0xFF000000),
    "-A -t 10.0.0.1:80 -M www": Service(AF_INET, TCP, V4, 80, netmask=0x0A090909),
    "-A -t [2001:db8::1]:80 -M 64": Service(AF_INET6, TCP, V6, 80, netmask=64),
    "-A -t [2001:db8::1]:80 -M 64bits": Service(AF_INET6, TCP, V6, 80, netmask=64),
    "-A -t [2001:db8::1]:80 -M 4294967424": Service(AF_INET6, TCP, V6, 80, netmask=128),
    # not IPv6 yet when -M is read
    "-A -M 255.0.0.0 -t [2001:db8::1]:80": Service(AF_INET6, TCP, V6, 80, netmask=128),
    "-A -f 1 -6 -M 1": Service(AF_INET6, fwmark=1, netmask=1),
    "-A -f 1 -M 0.0.0.0 -6": Service(AF_INET6, fwmark=1, netmask=128),
    "-A -u 10.0.0.1:53 --pe sip": Service(AF_INET, UDP, V4, 53, pe="sip"),
    "-A -u 10.0.0.1:53 --pe 12345678901234567": Service(AF_INET, UDP, V4, 53, pe="1234567890123456"),
    "-A -u 10.0.0.1:53 -o": Service(AF_INET, UDP, V4, 53, flags=ONE_PACKET),
    "-A -u 10.0.0.1:53 -p 5 -o": Service(AF_INET, UDP, V4, 53, flags=PERSISTENT | ONE_PACKET, timeout=5),
    "-A -u 10.0.0.1:53 -o -p 5": Service(AF_INET, UDP, V4, 53, flags=PERSISTENT | ONE_PACKET, timeout=5),
    "-A -f 5 --ops": Service(AF_INET, fwmark=5, flags=ONE_PACKET),
    "-A -t 10.0.0.1:80 -b flag-1": Service(AF_INET, TCP, V4, 80, flags=SCHED1),
    "-A -t 10.0.0.1:80 -b flag-1,flag-2,flag-3": Service(AF_INET, TCP, V4, 80, flags=SCHED1 | SCHED2 | SCHED3),
    "-A -t 10.0.0.1:80 -b ,flag-3,,flag-1,": Service(AF_INET, TCP, V4, 80, flags=SCHED1 | SCHED3),
    "-A -t 10.0.0.1:80 -b sh-fallback,sh-port -s sh": Service(AF_INET, TCP, V4, 80, 0, "sh", SCHED1 | SCHED2),
    "-A -t 10.0.0.1:80 -s mh -b mh-fallback,mh-port": Service(AF_INET, TCP, V4, 80, 0, "mh", SCHED1 | SCHED2),
    "-A -t 10.0.0.1:80 -s sh -b flag-2": Service(AF_INET, TCP, V4, 80, 0, "sh", SCHED2),
}  # fmt: skip


@pytest.mark.parametrize(("line", "service"), SERVICES.items(), ids=SERVICES.keys())
def test_services(line: str, service: Service) -> None:
    assert service_of(line) == service


def test_empty_values_of_a_service() -> None:
    assert service_of(["-A", "-t", "10.0.0.1:80", "-s", "", "-b", "", "--pe", ""]) == PLAIN


@pytest.mark.parametrize(
    ("option", "size"), [("-s", 15), ("--pe", 16)], ids=["scheduler", "engine"]
)
def test_names_are_cut_by_bytes(option: str, size: int) -> None:
    # 1.31 has room for so many bytes (strncpy); half a character is a byte that is none.
    found = service_of(
        [
            "-A",
            "-t",
            "10.0.0.1:80",
            option,
            "x" * (size - 1) + "\N{LATIN SMALL LETTER E WITH ACUTE}",
        ]
    )
    assert (found.scheduler if option == "-s" else found.pe) == "x" * (size - 1) + "\udcc3"


def test_scheduler_flags_are_cut_at_127_bytes() -> None:
    line = ["-A", "-t", "10.0.0.1:80", "-b"]
    # 127 bytes
    assert service_of([*line, "flag-1," * 17 + "," * 2 + "flag-2"]).flags == SCHED1 | SCHED2
    assert fault([*line, "flag-1," * 17 + "," * 3 + "flag-2"]) == (
        "invalid scheduler flag `flag-'",
        2,
    )


# --- values of a real server

SERVERS: dict[str, Server] = {
    # The service's port if none is given, and always except with -m or a mark.
    "-a -t 10.0.0.1:80 -r 10.0.1.1": Server(AF_INET, R4, 80),
    "-a -t 10.0.0.1:80 -r 10.0.1.1:8080": Server(AF_INET, R4, 80),
    "-a -t 10.0.0.1:80 -r 10.0.1.1:8080 -g": Server(AF_INET, R4, 80),
    "-a -t 10.0.0.1:80 -r 10.0.1.1:8080 -i": Server(AF_INET, R4, 80, TUNNEL),
    "-a -t 10.0.0.1:80 -r 10.0.1.1:8080 -m": Server(AF_INET, R4, 8080, MASQ),
    "-a -t 10.0.0.1:80 -r 10.0.1.1 -m": Server(AF_INET, R4, 80, MASQ),
    # no service yet when -r is read
    "-a -r 10.0.1.1 -m -t 10.0.0.1:80": Server(AF_INET, R4, 0, MASQ),
    "-a -r 10.0.1.1 -t 10.0.0.1:80": Server(AF_INET, R4, 80),
    "-d -r 10.0.1.1 -t 10.0.0.1:80": Server(AF_INET, R4, 0),
    "-a -f 1 -r 10.0.1.1:8080": Server(AF_INET, R4, 8080),
    "-a -f 1 -r 10.0.1.1:8080 -i": Server(AF_INET, R4, 8080, TUNNEL),
    "-a -f 1 -r 10.0.1.1:http": Server(AF_INET, R4, 80),  # a mark's protocol is TCP
    "-a -t 10.0.0.1:80 -r www:http -m": Server(AF_INET, WWW, 80, MASQ),
    "-a -t [2001:db8::1]:80 -r [2001:db8::2]:80": Server(AF_INET6, R6, 80),
    "-a -t [2001:db8::1]:80 -r 2001:db8::2 -m": Server(AF_INET6, R6, 80, MASQ),
    "-a -f 1 -6 -r 2001:db8::2": Server(AF_INET6, R6, 0),
    "-a -t 10.0.0.1:80 -r 2001:db8::2 -i": Server(AF_INET6, R6, 80, TUNNEL),
    "-a -t [2001:db8::1]:80 -r 10.0.1.1 -i": Server(AF_INET, R4, 80, TUNNEL),
    "-a -t 10.0.0.1:80 -r 10.0.1.1 -w 0": Server(AF_INET, R4, 80, weight=0),
    "-a -t 10.0.0.1:80 -r 10.0.1.1 -w 2147483647": Server(AF_INET, R4, 80, weight=2147483647),
    "-a -t 10.0.0.1:80 -r 10.0.1.1 -x 2147483647 -y 2147483647": Server(
        AF_INET, R4, 80, upper=2147483647, lower=2147483647
    ),
    "-a -t 10.0.0.1:80 -r 10.0.1.1 -x 0 -y 0": Server(AF_INET, R4, 80),
    "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type ipip": Server(AF_INET, R4, 80, TUNNEL),
    "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gue --tun-port 6080": Server(
        AF_INET, R4, 80, TUNNEL, tun_type=GUE, tun_port=6080
    ),
    "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gue --tun-port 1 --tun-nocsum": Server(
        AF_INET, R4, 80, TUNNEL, tun_type=GUE, tun_port=1
    ),
    "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gue --tun-port 65535 --tun-csum": Server(
        AF_INET, R4, 80, TUNNEL, tun_type=GUE, tun_port=65535, tun_flags=TUN_CSUM
    ),
    "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gue --tun-port 1 --tun-remcsum": Server(
        AF_INET, R4, 80, TUNNEL, tun_type=GUE, tun_port=1, tun_flags=TUN_REMCSUM
    ),
    "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gre --tun-csum": Server(
        AF_INET, R4, 80, TUNNEL, tun_type=GRE, tun_flags=TUN_CSUM
    ),
}  # fmt: skip


@pytest.mark.parametrize(("line", "server"), SERVERS.items(), ids=SERVERS.keys())
def test_servers(line: str, server: Server) -> None:
    assert server_of(line) == server


# --- values of a daemon

DAEMONS: dict[str, Daemon] = {
    "--mcast-interface lo": Daemon(MASTER, "lo"),
    "--mcast-interface=": Daemon(MASTER, "eth0"),
    "--mcast-interface 1234567890123456": Daemon(MASTER, "123456789012345"),
    "--syncid 0": Daemon(MASTER, "eth0"),
    "--syncid 255": Daemon(MASTER, "eth0", 255),
    "--sync-maxlen 1": Daemon(MASTER, "eth0", maxlen=1),
    "--sync-maxlen 65507": Daemon(MASTER, "eth0", maxlen=65507),
    "--mcast-group 224.0.0.0": Daemon(MASTER, "eth0", group=bytes([224, 0, 0, 0])),
    "--mcast-group 239.255.255.255": Daemon(MASTER, "eth0", group=bytes([239, 255, 255, 255])),
    "--mcast-group ff02::81": Daemon(
        MASTER, "eth0", group=bytes.fromhex("ff020000000000000000000000000081")
    ),
    "--mcast-port 1": Daemon(MASTER, "eth0", port=1),
    "--mcast-port 65535": Daemon(MASTER, "eth0", port=65535),
    "--mcast-ttl 1": Daemon(MASTER, "eth0", ttl=1),
    "--mcast-ttl 255": Daemon(MASTER, "eth0", ttl=255),
}


@pytest.mark.parametrize(("options", "daemon"), DAEMONS.items(), ids=DAEMONS.keys())
def test_daemons(options: str, daemon: Daemon) -> None:
    assert changed(f"--start-daemon master {options}").daemon == daemon


# --- every message

V = "-A -t 10.0.0.1:80"
S = "-a -t 10.0.0.1:80 -r 10.0.1.1"
D = "--start-daemon backup"
BAD_SERVICE = "illegal virtual server address[:port] specified"
BAD_SERVER = "illegal real server address[:port] specified"

FAULTS: list[tuple[str | list[str], str]] = [
    ("--start-daemon both", "illegal start-daemon parameter specified"),
    ("--start-daemon=", "illegal start-daemon parameter specified"),
    ("--stop-daemon Master", "illegal start_daemon specified"),
    ("-A -D", "invalid option `-D'"),
    ("-AD", "invalid option `-AD'"),
    ("-A -t 10.0.0.1:80 --stop-daemon backup", "invalid option `backup'"),
    ("-A -t 10.0.0.1:80 --stop-daemon=backup", "invalid option `--stop-daemon=backup'"),
    ("-L -L", "invalid option `-L'"),
    ("-A -v", "invalid option `-v'"),
    ("-A -t 10.0.0.1:80 -t 10.0.0.1:80", "multiple 'service-address' options specified"),
    ("-A -t 10.0.0.1:80 -f 1", "multiple 'service-address' options specified"),
    ("-a -m -i", "multiple 'forwarding-method' options specified"),
    ("-L -nn", "multiple 'numeric' options specified"),
    ("-L --sort --nosort --nosort", "multiple 'nosort' options specified"),
    ("-A -t nowhere:80", BAD_SERVICE),
    ("-A -t 80", BAD_SERVICE),
    ("-A -u 10.0.0.1:http", BAD_SERVICE),
    ("-A --sctp-service 10.0.0.1:65536", BAD_SERVICE),
    (["-A", "-t", ""], BAD_SERVICE),
    (["-A", "-t", "\udcff:80"], BAD_SERVICE),
    (["-A", "-t", "a\0b"], BAD_SERVICE),
    ("-A -f 0", "invalid fwmark value `0' specified"),
    ("-A -f -1", "invalid fwmark value `-1' specified"),
    ("-A -f 4294967296", "invalid fwmark value `4294967296' specified"),
    ("-A -f 9223372036854775808", "invalid fwmark value `9223372036854775808' specified"),
    ("-A -f -9223372036854775809", "invalid fwmark value `-9223372036854775809' specified"),
    ("-A -f 1x", "invalid fwmark value `1x' specified"),
    (["-A", "-f", ""], "invalid fwmark value `' specified"),
    (["-A", "-f", " "], "invalid fwmark value ` ' specified"),
    ("-A -t 10.0.0.1:80 -6", "-6 must follow -f\n"),
    ("-A -6 -f 1", "-6 must follow -f\n"),
    (f"{V} -p 0", "invalid timeout value `0' specified"),
    (f"{V} -p 2678401", "invalid timeout value `2678401' specified"),
    (f"{V} -p 5m", "invalid timeout value `5m' specified"),
    (f"{V} -pob", "invalid timeout value `ob' specified"),  # -p takes the rest of its word
    ([*V.split(), "-p", ""], "invalid timeout value `' specified"),
    (f"{V} -p 9" + "9" * 5000, "invalid timeout value `9" + "9" * 5000 + "' specified"),
    (f"{V} -M 255.255.255.256", "illegal virtual server persistent mask specified"),
    (f"{V} -M nowhere", "illegal virtual server persistent mask specified"),
    ("-A -t [2001:db8::1]:80 -M 0", "illegal ipv6 netmask specified"),
    ("-A -t [2001:db8::1]:80 -M 129", "illegal ipv6 netmask specified"),
    ("-A -t [2001:db8::1]:80 -M -1", "illegal ipv6 netmask specified"),
    ("-A -t [2001:db8::1]:80 -M ffff::", "illegal ipv6 netmask specified"),
    (f"{V} -b flag-4", "invalid scheduler flag `flag-4'"),
    (f"{V} -b flag-1,bogus", "invalid scheduler flag `bogus'"),
    (f"{V} -b ,", "invalid scheduler flag `,'"),  # 1.31 crashes
    (f"{V} -b sh-port", "incompatible scheduler flag `sh-port'"),
    (f"{V} -s mh -b sh-fallback", "incompatible scheduler flag `sh-fallback'"),
    (f"{V} -s sh -b mh-port", "incompatible scheduler flag `mh-port'"),
    (f"{V} -s sh -b flag-1,mh-fallback", "incompatible scheduler flag `mh-fallback'"),
    ("-a -t 10.0.0.1:80 -r nowhere", BAD_SERVER),
    ("-a -t 10.0.0.1:80 -r 10.0.1.1:sip", BAD_SERVER),
    # no protocol yet in which a port has a name
    ("-a -r 10.0.1.1:http -t 10.0.0.1:80", BAD_SERVER),
    (f"{S} -w -1", "illegal weight specified"),
    (f"{S} -w 2147483648", "illegal weight specified"),
    (f"{S} -w 1.5", "illegal weight specified"),
    (f"{S} -x -1", "illegal u_threshold specified"),
    (f"{S} -x 2147483648", "illegal u_threshold specified"),
    (f"{S} -y x", "illegal l_threshold specified"),
    (f"{S} -y 2147483648", "illegal l_threshold specified"),
    (f"{S} -i --tun-type sit", "illegal tunnel type specified"),
    (f"{S} -i --tun-type=", "illegal tunnel type specified"),
    (f"{S} -i --tun-type gue --tun-port 0", "illegal tunnel port specified"),
    (f"{S} -i --tun-type gue --tun-port 65536", "illegal tunnel port specified"),
    (f"{D} --syncid 256", "illegal syncid specified"),
    (f"{D} --syncid -1", "illegal syncid specified"),
    (f"{D} --sync-maxlen 0", "illegal sync-maxlen specified"),
    (f"{D} --sync-maxlen 65508", "illegal sync-maxlen specified"),
    (f"{D} --mcast-group 223.255.255.255", "invalid IPv4 mcast-group `223.255.255.255'"),
    (f"{D} --mcast-group 240.0.0.0", "invalid IPv4 mcast-group `240.0.0.0'"),
    (f"{D} --mcast-group 224.1", "invalid IPv4 mcast-group `224.1'"),
    (f"{D} --mcast-group www", "invalid IPv4 mcast-group `www'"),
    (f"{D} --mcast-group fe80::1", "invalid IPv6 mcast-group `fe80::1'"),
    (f"{D} --mcast-group 224.0.0.81:8848", "invalid IPv6 mcast-group `224.0.0.81:8848'"),
    (f"{D} --mcast-port 0", "illegal mcast-port specified"),
    (f"{D} --mcast-port 65536", "illegal mcast-port specified"),
    (f"{D} --mcast-ttl 0", "illegal mcast-ttl specified"),
    (f"{D} --mcast-ttl 256", "illegal mcast-ttl specified"),
    ("--set", "--set option requires 3 timeout values"),
    ("--set 1 2", "--set option requires 3 timeout values"),
    ("--set x 1 2678401", "invalid timeout value `x' specified"),
    ("--set 1 2678401 x", "invalid timeout value `2678401' specified"),
    ("--set -- 1 2 -3", "invalid timeout value `-3' specified"),
    ("--set 1 2 3 4", "unexpected argument 4"),
    ("-L extra", "unexpected argument extra"),
    ("extra -L more", "unexpected argument extra"),
    (["-C", ""], "unexpected argument "),
    ("-C -", "unexpected argument -"),
    ("-C -- -n", "unexpected argument -n"),
    ("-A -t 10.0.0.1", "Zero port specified for non-persistent service"),
    ("-E -u 10.0.0.1:0", "Zero port specified for non-persistent service"),
    (f"{V} -o", "One-Packet Scheduling is only for UDP virtual services"),
    ("-E --sctp-service 10.0.0.1:80 -o", "One-Packet Scheduling is only for UDP virtual services"),
    ("-a -t 10.0.0.1:80 -r 2001:db8::2", "Different address family is allowed only for tunneling servers"),
    ("-e -t 10.0.0.1:80 -r 2001:db8::2 -m", "Different address family is allowed only for tunneling servers"),
    ("-a -f 1 -r 2001:db8::2", "Different address family is allowed only for tunneling servers"),
    (f"{S} --tun-type ipip", "Tunnel options conflict with forward method"),
    (f"{S} -m --tun-port 6080", "Tunnel options conflict with forward method"),
    (f"{S} -g --tun-nocsum", "Tunnel options conflict with forward method"),
    (f"{S} --tun-csum", "Tunnel options conflict with forward method"),
    (f"{S} --tun-remcsum", "Tunnel options conflict with forward method"),
    ("-L -c --stats", "options conflicts in the list command"),
    ("-L --timeout --rate", "options conflicts in the list command"),
    ("-L --daemon --thresholds", "options conflicts in the list command"),
    ("-L --timeout --persistent-conn", "options conflicts in the list command"),
    ("-L --daemon --persistent-conn", "options conflicts in the list command"),
    ("-L -s rr -c", "The option 'scheduler' conflicts with the 'connection' option in the 'list' command"),
    ("-L -s rr -s rr", "multiple 'scheduler' options specified"),
    ("-L -r 10.0.1.1 --empty", "The option 'real-server' conflicts with the 'empty' option in the 'list' command"),
    ("-L --empty --quiesced", "The option 'empty' conflicts with the 'quiesced' option in the 'list' command"),
    ("-L --empty --timeout", "The option 'empty' conflicts with the 'timeout' option in the 'list' command"),
    ("-L --quiesced --daemon", "The option 'quiesced' conflicts with the 'daemon' option in the 'list' command"),
    ("-L --client 10.0.0.1", "You need to supply the 'connection' option for the 'client' option"),
    ("-A -t 10.0.0.1:80 --json", "Illegal 'json' option with the 'add-service' command"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message"), FAULTS)
def test_faults(line: str | list[str], message: str) -> None:
    assert fault(line) == (message, 2)


@pytest.mark.parametrize(
    "line",
    [
        "-L -c --persistent-conn",
        "-L -c --tun-info --exact --nosort",
        "-L --timeout --tun-info -n",
        "-L -t 10.0.0.1:80 --stats --rate --thresholds --persistent-conn --tun-info",
        "-L -c -t 10.0.0.1:80 -u 10.0.0.1:53 -r 10.0.1.1 --client 10.0.0.0/8 --json",
        "-L -t 10.0.0.1:80 -s rr -r 10.0.1.1 --quiesced --stats --json",
        "-L -s rr --empty",
        "-L --timeout --json",
    ],
)
def test_what_may_be_listed_together(line: str) -> None:
    assert scan(line).command == "list"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "word",
        "-n",
        "-t 10.0.0.1:80 -A",  # the command comes first
        "--bogus",
        "-z",
        "--add-service=x",
        "--start-daemon",
        "--",
        "-- -L",
        "-t",
    ],
)
def test_without_a_command(line: str) -> None:
    assert fault(line) == (TRY_HELP, 255)
    assert TRY_HELP == "Try `ipvsadm -h' or 'ipvsadm --help' for more information."


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-A -t", "-t: missing argument"),
        ("-A -z", "-z: unknown option"),
        ("-Az", "-Az: unknown option"),
        ("-L --numeric=1", "--numeric=1: option does not take an argument"),
        ("-A -t 10.0.0.1:80 --bogus", "--bogus: unknown option"),
    ],
)
def test_what_a_restore_survives(line: str, message: str) -> None:
    with pytest.raises(LineSkippedError) as caught:
        scan(line)
    assert str(caught.value) == message


# (words, the first fault, and by it the order of checks): words left to right, popt's, time-outs,
# bare words, scheduler flags, the table of combinations in its own order, the rules between
# options.
ORDER: list[tuple[str, str]] = [
    ("-A -w x -t nowhere", "illegal weight specified"),
    ("-A -t nowhere -w x", BAD_SERVICE),
    ("-A -t 10.0.0.1:80 -t nowhere", "multiple 'service-address' options specified"),
    ("-D -w 2147483648", "illegal weight specified"),  # a bad value before an illegal option
    ("--set -n x", "--set option requires 3 timeout values"),
    ("--set x 2 3 4", "invalid timeout value `x' specified"),
    ("-A word -b bogus", "unexpected argument word"),
    ("-D -b bogus", "invalid scheduler flag `bogus'"),
    ("-D -b flag-1 -n", "Illegal 'numeric' option with the 'delete-service' command"),
    ("-D -s rr", "You need to supply the 'service-address' option for the 'delete-service' command"),
    ("-D -s rr -n -t 10.0.0.1:80", "Illegal 'numeric' option with the 'delete-service' command"),
    ("-a -w 1", "You need to supply the 'service-address' option for the 'add-server' command"),
    ("-a -t 10.0.0.1:80 -s rr", "Illegal 'scheduler' option with the 'add-server' command"),
    ("-a -t 10.0.0.1:80 -o", "You need to supply the 'real-server' option for the 'add-server' command"),
    ("-A -t 10.0.0.1 -o -w 1", "Illegal 'weight' option with the 'add-service' command"),
    ("-A -t 10.0.0.1 -o", "Zero port specified for non-persistent service"),
    ("-a -t 10.0.0.1:80 -r 2001:db8::2 --tun-csum", "Different address family is allowed only for tunneling servers"),
    (f"{S} --tun-type gue", "Tunnel options conflict with forward method"),
    ("-L -c --timeout --stats", "The option 'timeout' conflicts with the 'connection' option in the 'list' command"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message"), ORDER)
def test_the_first_fault_is_reported(line: str, message: str) -> None:
    assert fault(line) == (message, 2)


def test_popt_comes_before_what_is_checked_at_the_end() -> None:
    with pytest.raises(LineSkippedError, match=r"^-z: unknown option$"):
        scan("-D word -b bogus -z")
    assert fault("-D -t nowhere -z") == (BAD_SERVICE, 2)


def test_posixly_correct() -> None:
    assert fault("-A bare -t 10.0.0.1:80", posix=True) == ("unexpected argument bare", 2)
    assert fault("bare -A", posix=True) == (TRY_HELP, 255)
    assert scan("-A -t 10.0.0.1:80", posix=True).change == Change(NEW_SERVICE, PLAIN)


# --- our own options


@pytest.mark.parametrize(
    ("line", "backend"),
    [
        ("-L", None),
        ("--backend memory -L", "memory"),
        ("--backend=memory:/tmp/x -L -n", "memory:/tmp/x"),
        ("-L --backend memory", "memory"),
        ("--backend kernel -L --backend=", ""),  # given again, the last one counts
    ],
)
def test_backend(line: str, backend: str | None) -> None:
    scanner = CommandParser(line.split(), Book())
    assert scanner.parse_request().command == "list"
    assert scanner.ours.get("backend") == backend


@pytest.mark.parametrize(
    "line",
    [
        "--backend memory -A -t nowhere",
        "--backend memory",
        "--backend memory -n",
        "--backend memory -A -z",
    ],
)
def test_the_backend_is_known_after_a_fault(line: str) -> None:
    scanner = CommandParser(line.split(), Book())
    with pytest.raises((UsageError, LineSkippedError)):
        scanner.parse_request()
    assert scanner.ours == {"backend": "memory"}


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("-L -n", {}),
        ("-L --resolve-timeout 0", {"resolve-timeout": 0}),
        (
            "--resolve-timeout=3600 -L --backend memory",
            {"resolve-timeout": 3600, "backend": "memory"},
        ),
        ("-L -s rr -r 10.0.1.1:http", {"scheduler": "rr", "real-server": "10.0.1.1:http"}),
        ("--json --quiesced -L", {"json": None, "quiesced": None}),
        ("-Lc --client 10.0.0.0/8", {"client": "10.0.0.0/8"}),
        ("-A -t 10.0.0.1:80 -s rr", {}),
    ],
)
def test_what_the_reference_lacks_is_handed_on(
    line: str, ours: dict[str, int | str | None]
) -> None:
    assert scan(line).ours == ours


# --- the table of combinations: the reference's matrix, a row for each command, a character for
# each kind of option

KINDS = (
    "numeric", "connection", "service-address", "scheduler", "persistent", "netmask", "real-server", "forwarding-method",
    "weight", "u-threshold", "l-threshold", "mcast-interface", "timeout", "daemon", "stats", "rate", "thresholds",
    "persistent-conn", "nosort", "syncid", "exact", "ops", "pe", "sched-flags", "mcast-group", "mcast-port", "mcast-ttl",
    "sync-maxlen", "tun-info", "tun-type", "tun-port", "tun-nocsum", "tun-csum", "tun-remcsum",
)  # fmt: skip

# `+` demanded, `x` refused, `1` one such at a time, `.` allowed. (the name in messages, the
# command's own name, the row)
MATRIX = [
    ("add-service", "add-service", "xx+...xxxxxxxxxxxxxxx...xxxxxxxxxx"),
    ("edit-service", "edit-service", "xx+...xxxxxxxxxxxxxxx...xxxxxxxxxx"),
    ("delete-service", "delete-service", "xx+xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("flush", "clear", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("list", "list", ".11.xx.xxxxx11.......xxxxxxx.xxxxx"),  # -s and -r select: 1.31 refuses them
    ("add-server", "add-server", "xx+xxx+....xxxxxxxxxxxxxxxxxx....."),
    ("delete-server", "delete-server", "xx+xxx+xxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("edit-server", "edit-server", "xx+xxx+....xxxxxxxxxxxxxxxxxx....."),
    ("set", "set", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("start-daemon", "start-daemon", "xxxxxxxxxxx.xxxxxxx.xxxx....xxxxxx"),
    ("stop-daemon", "stop-daemon", "xxxxxxxxxxxxxxxxxxx.xxxxxxxxxxxxxx"),
    ("restore", "restore", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("save", "save", ".xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ("zero", "zero", "xx.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
]


def expected(
    name: str, row: str, kinds: tuple[str, ...], supplied: set[str], what: str
) -> str | None:
    """Return the message of the first error in a row, found as the reference does."""
    last = ""
    for kind, mark in zip_equal(kinds, row):
        if kind not in supplied:
            if mark == "+":
                return f"You need to supply the '{kind}' option for the '{name}' {what}"
        elif mark == "x":
            return f"Illegal '{kind}' option with the '{name}' {what}"
        elif mark == "1":
            # ours: the connections of a service
            if last and (last, kind) != ("connection", "service-address"):
                return (
                    f"The option '{kind}' conflicts with the '{last}' option in the '{name}' {what}"
                )
            last = kind
    return None


def complaint(command: str, supplied: set[str]) -> str | None:
    try:
        check_slots(command, supplied)
    except UsageError as exc:
        return str(exc)
    return None


def test_the_matrix_is_whole() -> None:
    assert (len(MATRIX), len(KINDS)) == (14, 34)
    assert {len(row) for _, _, row in MATRIX} == {34}


@pytest.mark.parametrize(("name", "command", "row"), MATRIX, ids=[name for name, _, _ in MATRIX])
def test_combinations(name: str, command: str, row: str) -> None:
    """Every set of up to two kinds is tried beside the required options, with all of those or one
    of them missing.
    """
    demanded = [kind for kind, mark in zip_equal(KINDS, row) if mark == "+"]
    bases = [set(demanded), *({*demanded} - {missing} for missing in demanded)]
    wrong = []
    for base in bases:
        for size in range(3):
            for more in combinations(KINDS, size):
                supplied = base | set(more)
                wanted = expected(name, row, KINDS, supplied, "command")
                if complaint(command, supplied) != wanted:
                    wrong.append((sorted(supplied), wanted))
    assert wrong == []


@given(st.sampled_from(MATRIX), st.sets(st.sampled_from(KINDS)))
def test_any_combination(row: tuple[str, str, str], supplied: set[str]) -> None:
    assert complaint(row[1], supplied) == expected(row[0], row[2], KINDS, supplied, "command")


TUNNEL_KINDS = ("tun-port", "tun-nocsum", "tun-csum", "tun-remcsum")


@pytest.mark.parametrize(("kind", "row"), [("ipip", "xxxx"), ("gue", "+111"), ("gre", "x11x")])
def test_tunnel_combinations(kind: str, row: str) -> None:
    for size in range(5):
        for chosen in combinations(TUNNEL_KINDS, size):
            found = None
            try:
                check_tunnel(kind, {*chosen, "real-server"})
            except UsageError as exc:
                found = str(exc)
            assert found == expected(kind, row, TUNNEL_KINDS, set(chosen), "tunnel type"), chosen


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--tun-type gue", "You need to supply the 'tun-port' option for the 'gue' tunnel type"),
        ("--tun-port 6080", "Illegal 'tun-port' option with the 'ipip' tunnel type"),
        ("--tun-type gre --tun-remcsum", "Illegal 'tun-remcsum' option with the 'gre' tunnel type"),
        ("--tun-type gre --tun-csum --tun-nocsum",
         "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gre' tunnel type"),
    ],
)  # fmt: skip
def test_tunnels_are_checked(options: str, message: str) -> None:
    assert fault(f"{S} -i {options}") == (message, 2)


def test_options_of_a_service_in_any_order() -> None:
    parts = ("-t 10.0.0.1:80", "-s rr", "-p 60", "-M 255.255.255.0", "-b flag-1")
    wanted = Service(AF_INET, TCP, V4, 80, 0, "rr", PERSISTENT | SCHED1, 60, 0xFFFFFF00)
    for order in permutations(parts):
        assert service_of(f"-A {' '.join(order)}") == wanted, order


def test_defaults_of_a_server() -> None:
    server = server_of(S)
    assert (server.forward, server.weight, server.upper, server.lower) == (ROUTE, 1, 0, 0)
    assert (server.tun_type, server.tun_port, server.tun_flags) == (0, 0, 0)


# --- any words

ODD = st.text(
    st.one_of(
        st.characters(codec="utf-8"), st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
    ),
    max_size=20,
)
OPTION = st.sampled_from(
    [f"-{letter}" for letter in "AEDCLlZaedRStufspMrmigwxyncX6ob"]
    + [f"--{kind}" for kind in (*KINDS, "backend")]
)
VALUE = st.sampled_from(
    [
        "10.0.0.1:80",
        "[2001:db8::1]:80",
        "10.0.1.1",
        "2001:db8::2",
        "1",
        "80",
        "0",
        "master",
        "rr",
        "sh-port",
        "gue",
        "a\0b",
        "!#:+",
    ]
)


@given(st.lists(st.one_of(OPTION, VALUE, ODD), max_size=10), st.booleans())
def test_any_words_end_in_a_request_or_a_fault(words: list[str], posix: bool) -> None:
    scanner = CommandParser(words, Book(), posix)
    try:
        found: object = scanner.parse_request()
    except (UsageError, LineSkippedError) as exc:
        found = exc
        assert str(exc)  # noqa: PT017  # either way is right
    assert isinstance(found, (Request, UsageError, LineSkippedError))


# Options of a listing. Each is tried beside each option of REFUSED, which holds the refused pairs.
BESIDE = {
    "connection": "-c",
    "timeout": "--timeout",
    "daemon": "--daemon",
    "json": "--json",
    "empty": "--empty",
    "quiesced": "--quiesced",
}
REFUSED = {
    ("scheduler", "-s rr"): {"connection", "timeout", "daemon"},
    ("real-server", "-r 10.0.0.2"): {"timeout", "daemon", "empty"},
    ("empty", "--empty"): {"connection", "timeout", "daemon", "quiesced", "empty"},
    ("quiesced", "--quiesced"): {"connection", "timeout", "daemon", "empty", "quiesced"},
    ("client", "-c --client 10.9.0.0/16"): {"connection", "timeout", "daemon", "empty", "quiesced"},
    ("pretty", "--pretty"): {"json"},
    ("watch", "--watch"): {"connection", "timeout", "daemon"},
}


@pytest.mark.parametrize(("slot", "words"), REFUSED)
@pytest.mark.parametrize("other", BESIDE)
def test_what_a_selection_goes_with(slot: str, words: str, other: str) -> None:
    if other not in REFUSED[slot, words]:
        assert scan(f"-L {words} {BESIDE[other]}").slots >= {slot, other}
        return
    said, status = fault(f"-L {words} {BESIDE[other]}")
    assert status == 2
    if slot != "client":  # most of them do not go with the option that `client` requires
        expected = (
            {f"multiple '{slot}' options specified"}
            if slot == other
            else {
                f"The option '{a}' conflicts with the '{b}' option in the 'list' command"
                for a, b in ((slot, other), (other, slot))
            }
        )
        assert said in expected


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("--apply", None),
        ("--apply --prune", None),
        ("--apply -", None),
        ("--apply=-", None),
        ("--apply --prune -", None),
        ("--apply rules", "rules"),
        ("--apply=rules", "rules"),
        ("--apply rules --prune", "rules"),
        ("--apply --prune rules", "rules"),
        ("--apply --dry-run rules --json", "rules"),
        ("--json --apply -t 10.0.0.1:80 rules", "rules"),
        ("--apply -- --rules", "--rules"),
    ],
)
def test_the_file_of_apply_stands_anywhere(words: str, file: str | None) -> None:
    assert scan(words).ours["apply"] == file


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--apply a b", "--apply takes one FILE: is it a or b?"),
        ("--apply=a --prune b", "--apply takes one FILE: is it a or b?"),
        ("--apply --prune a b c", "--apply takes one FILE: is it a or b or c?"),
        ("--apply - a", "--apply takes one FILE: is it - or a?"),
    ],
)
def test_apply_takes_one_file(words: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        scan(words)
    assert (str(refused.value), refused.value.status) == (said, 2)
