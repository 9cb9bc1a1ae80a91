"""Test the listing, line by line as 1.31 prints it (ipvsadm.c: print_title, print_service_entry,
print_largenum, list_*).

Every line is written out, trailing blanks included: they are part of what scripts cut into columns.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm.addresses import format_numeric
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    BACKUP,
    BYPASS,
    GRE,
    GUE,
    HASHED,
    IPIP,
    LOCAL,
    MASQ,
    MASTER,
    ONE_PACKET,
    PERSISTENT,
    ROUTE,
    SCHED1,
    SCHED2,
    SCHED3,
    SCTP,
    TCP,
    TUN_CSUM,
    TUN_REMCSUM,
    TUNNEL,
    UDP,
    Daemon,
    Info,
    Server,
    Service,
    Timeouts,
    to_row,
)
from pyipvsadm.views import classic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyipvsadm.rules.writer import Endpoint

V4 = bytes([10, 0, 0, 1])
R4 = bytes([10, 0, 1, 1])
V6 = bytes.fromhex("20010db8000000000000000000000001")
R6 = bytes.fromhex("20010db8000000000000000000000002")
LONG6 = bytes.fromhex("20010db8111122223333444455556666")

STATS = (1, 20, 300, 4000, 50000, 6, 70, 800, 9000, 10000)
HUGE = (
    99999999,
    100000000,
    999999999,
    1000000000,
    99999999999,
    100000000000,
    100000000,
    5,
    99999999999999,
    100000000000000,
)

WEB = Service(AF_INET, TCP, V4, 80, scheduler="rr", stats=STATS)
SERVER = Server(AF_INET, R4, 80, ROUTE, 1, 100, 50, active=2, inactive=3, persistent=4, stats=STATS)
SERVER6 = Server(
    AF_INET6,
    R6,
    8080,
    TUNNEL,
    5,
    tun_type=GUE,
    tun_port=6080,
    tun_flags=TUN_CSUM,
    active=10,
    stats=HUGE,
)

HEAD = "Prot LocalAddress:Port Scheduler Flags\n"
REMOTE = "  -> RemoteAddress:Port\n"
VIEWS: dict[str, tuple[str, str]] = {
    "": (
        HEAD + "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n",
        (
            "TCP  10.0.0.1:80 rr\n"
            "  -> 10.0.1.1:80                  Route   1      2          3         \n"
            "  -> [2001:db8::2]:8080           Tunnel  5      10         0         \n"
        ),
    ),
    "stats": (
        "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n" + REMOTE,
        (
            "TCP  10.0.0.1:80                         1       20      300     4000    50000\n"
            "  -> 10.0.1.1:80                         1       20      300     4000    50000\n"
            "  -> [2001:db8::2]:8080           99999999  100000K  999999K    1000M   99999M\n"
        ),
    ),
    "stats exact": (
        "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n" + REMOTE,
        (
            "TCP  10.0.0.1:80                         1       20      300     4000    50000\n"
            "  -> 10.0.1.1:80                         1       20      300     4000    50000\n"
            "  -> [2001:db8::2]:8080           99999999 100000000 999999999 1000000000 99999999999\n"
        ),
    ),
    "rate": (
        "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n" + REMOTE,
        # In a server's line, only bytes are scaled.
        (
            "TCP  10.0.0.1:80                         6       70      800     9000    10000\n"
            "  -> 10.0.1.1:80                         6       70      800     9000    10000\n"
            "  -> [2001:db8::2]:8080           100000000000 100000000        5   99999G     100T\n"
        ),
    ),
    "rate exact": (
        "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n" + REMOTE,
        (
            "TCP  10.0.0.1:80                         6       70      800     9000    10000\n"
            "  -> 10.0.1.1:80                         6       70      800     9000    10000\n"
            "  -> [2001:db8::2]:8080           100000000000 100000000        5 99999999999999 100000000000000\n"
        ),
    ),
    "thresholds": (
        "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n" + REMOTE,
        (
            "TCP  10.0.0.1:80 rr\n"
            "  -> 10.0.1.1:80                  100        50         2          3         \n"
            "  -> [2001:db8::2]:8080           0          0          10         0         \n"
        ),
    ),
    "persistent-conn": (
        "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n" + REMOTE,
        (
            "TCP  10.0.0.1:80 rr\n"
            "  -> 10.0.1.1:80                  1         4           2          3         \n"
            "  -> [2001:db8::2]:8080           5         0           10         0         \n"
        ),
    ),
    "tun-info": (
        HEAD
        + "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n",
        (
            "TCP  10.0.0.1:80 rr\n"
            "  -> 10.0.1.1:80                  Route   n/a           1      2          3         \n"
            "  -> [2001:db8::2]:8080           Tunnel  gue:6080:+c   5      10         0         \n"
        ),
    ),
}


def listed(found: Service, servers: list[Server], shown: set[str], endpoint: Endpoint) -> str:
    rows = [to_row(d, classic.list_columns(shown)) for d in servers]
    return classic.Listing(shown, endpoint).format_tables([(found, rows)])


@pytest.mark.parametrize(
    ("shown", "title", "rows"), [(shown, *rest) for shown, rest in VIEWS.items()], ids=VIEWS.keys()
)
def test_views(shown: str, title: str, rows: str) -> None:
    slots = {"numeric", *shown.split()}
    assert classic.format_title(slots) == title
    assert listed(WEB, [SERVER, SERVER6], slots, format_numeric) == rows


# Of several views, the first of these is shown.
ORDER = ("stats", "rate", "thresholds", "persistent-conn", "tun-info")


@pytest.mark.parametrize("first", range(5))
def test_which_of_several_views_is_shown(first: int) -> None:
    slots = {"exact", "nosort", *ORDER[first:]}
    assert classic.view_of(slots) == ORDER[first]
    title, rows = VIEWS[f"{ORDER[first]} exact" if first < 2 else ORDER[first]]
    assert classic.format_title(slots) == title
    assert listed(WEB, [SERVER, SERVER6], slots, format_numeric) == rows


def test_no_view_is_the_plain_one() -> None:
    assert classic.view_of({"numeric", "exact", "nosort", "service-address"}) == ""


def test_servers_stand_in_the_order_in_which_they_come() -> None:
    servers = [Server(AF_INET, bytes([10, 0, 0, last]), 80) for last in (2, 1)]
    assert listed(WEB, servers, set(), format_numeric) == "TCP  10.0.0.1:80 rr\n" + "".join(
        f"  -> 10.0.0.{last}:80                  Route   1      0          0         \n"
        for last in (2, 1)
    )


# --- names of services

SERVICES: list[tuple[Service, str, str]] = [
    # (service, its line, how its line of counters begins)
    (Service(AF_INET, TCP, V4, 80), "TCP  10.0.0.1:80 wlc\n", "TCP  10.0.0.1:80                 "),
    (Service(AF_INET, UDP, V4, 53), "UDP  10.0.0.1:53 wlc\n", "UDP  10.0.0.1:53                 "),
    (Service(AF_INET, SCTP, V4, 9), "SCTP 10.0.0.1:9 wlc\n", "SCTP 10.0.0.1:9                  "),
    (Service(AF_INET, 99, V4, 1), "?    10.0.0.1:1 wlc\n", "?    10.0.0.1:1                  "),
    (
        Service(AF_INET6, TCP, V6, 80, netmask=128),
        "TCP  [2001:db8::1]:80 wlc\n",
        "TCP  [2001:db8::1]:80            ",
    ),
    (
        Service(AF_INET6, TCP, LONG6, 65535, netmask=128),
        "TCP  [2001:db8:1111:2222:3333:4444:5555:6666]:65535 wlc\n",
        "TCP  [2001:db8:1111:2222:3333:4444:5555:6666]:65535",
    ),
    (Service(AF_INET, fwmark=5), "FWM  5 wlc\n", "FWM  5                           "),
    (
        Service(AF_INET6, fwmark=5, netmask=128),
        "FWM  5 IPv6 wlc\n",
        "FWM  5 IPv6                      ",
    ),
    # 1.31: -1
    (
        Service(AF_INET, fwmark=0xFFFFFFFF),
        "FWM  4294967295 wlc\n",
        "FWM  4294967295                  ",
    ),
]


@pytest.mark.parametrize(("found", "line", "columns"), SERVICES)
def test_services(found: Service, line: str, columns: str) -> None:
    assert listed(found, [], set(), format_numeric) == line
    assert (
        listed(found, [], {"stats"}, format_numeric)
        == f"{columns}        0        0        0        0        0\n"
    )


def test_a_mark_has_no_address_to_name() -> None:
    def endpoint(*what: object) -> str:
        raise AssertionError(what)

    assert listed(Service(AF_INET, fwmark=5), [], set(), endpoint) == "FWM  5 wlc\n"


def test_names_are_cut() -> None:
    host = "a-host-with-a-name-that-is-much-longer-than-any-column-of-the-listing.example"

    def endpoint(family: int, _addr: bytes, _port: int, _protocol: int) -> str:
        return f"{host}:http" if family == AF_INET else f"[{host}]:http"

    four, six = Server(AF_INET, R4, 80), Server(AF_INET6, R6, 80)
    # 33 columns of the service with its protocol, 28 of the server; of IPv6, 59 characters
    # (addrport_to_anyname's buffer).
    assert listed(WEB, [four, six], {"nosort"}, endpoint) == (
        f"TCP  {host[:28]} rr\n"
        f"  -> {host[:28]} Route   1      0          0         \n"
        f"  -> [{host[:58]} Route   1      0          0         \n"
    )
    named6 = listed(Service(AF_INET6, TCP, V6, 80, netmask=128), [], {"stats"}, endpoint)
    assert named6 == f"TCP  [{host[:58]}        0        0        0        0        0\n"


def test_an_endpoint_that_just_fits() -> None:
    address = bytes([210, 210, 210, 210])
    found = Service(AF_INET, TCP, address, 65535)
    server = Server(AF_INET, address, 65535, MASQ, 65535, active=4294967295, inactive=4294967295)
    assert listed(found, [server], set(), format_numeric) == (
        "TCP  210.210.210.210:65535 wlc\n  -> 210.210.210.210:65535        Masq    65535  4294967295 4294967295\n"
    )


def test_the_name_is_asked_for_in_the_service_s_protocol() -> None:
    asked = []

    def endpoint(*what: object) -> str:
        asked.append(what)
        return "x"

    listed(Service(AF_INET, UDP, V4, 53), [Server(AF_INET6, R6, 54)], set(), endpoint)
    listed(Service(AF_INET, fwmark=1), [Server(AF_INET, R4, 55)], set(), endpoint)
    assert asked == [(AF_INET, V4, 53, UDP), (AF_INET6, R6, 54, UDP), (AF_INET, R4, 55, 0)]


# --- the columns after the scheduler


def service(
    flags: int = 0,
    scheduler: str = "rr",
    timeout: int = 0,
    netmask: int | None = None,
    pe: str = "",
    af: int = AF_INET,
) -> Service:
    mask = netmask if netmask is not None else 128 if af == AF_INET6 else 0xFFFFFFFF
    return Service(af, TCP, V4 if af == AF_INET else V6, 80, 0, scheduler, flags, timeout, mask, pe)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (service(), ""),
        (service(HASHED), ""),
        (service(PERSISTENT, timeout=360), " persistent 360"),
        (service(PERSISTENT, timeout=4294967295), " persistent 4294967295"),
        (service(PERSISTENT, timeout=60, netmask=0xFFFFFF00), " persistent 60 mask 255.255.255.0"),
        (service(PERSISTENT, timeout=60, netmask=0), " persistent 60 mask 0.0.0.0"),
        (service(PERSISTENT, timeout=60, af=AF_INET6), " persistent 60"),
        (service(PERSISTENT, timeout=60, netmask=64, af=AF_INET6), " persistent 60 mask 64"),
        (service(PERSISTENT, timeout=60, pe="sip"), " persistent 60 pe sip"),
        (
            service(PERSISTENT, timeout=60, netmask=0xFF000000, pe="sip"),
            " persistent 60 mask 255.0.0.0 pe sip",
        ),
        (service(netmask=0xFFFFFF00), ""),
        # without persistence, neither it nor its engine is shown
        (service(timeout=60, pe="sip"), ""),
        (service(ONE_PACKET), " ops"),
        (service(SCHED1), " (flag-1)"),
        (service(SCHED1 | SCHED2 | SCHED3), " (flag-1,flag-2,flag-3)"),
        (service(SCHED1 | SCHED2, "sh"), " (sh-fallback,sh-port)"),
        (service(SCHED2, "mh"), " (mh-port)"),
        (service(SCHED1, "mh"), " (mh-fallback)"),
        (service(SCHED3, "sh"), " ()"),
        (
            service(PERSISTENT | ONE_PACKET | SCHED2, "wlc", 60, 0xFFFF0000, "sip"),
            " (flag-2) persistent 60 mask 255.255.0.0 pe sip ops",
        ),
    ],
)
def test_attributes(found: Service, text: str) -> None:
    assert classic.format_attributes(found) == text
    assert listed(found, [], {"thresholds"}, format_numeric).endswith(
        f":80 {found.scheduler}{text}\n"
    )


# --- counters


@pytest.mark.parametrize(
    ("value", "scaled", "exact"),
    [
        (0, "        0", "        0"),
        (9999999, "  9999999", "  9999999"),
        (99999999, " 99999999", " 99999999"),
        (100000000, "  100000K", " 100000000"),
        (999999999, "  999999K", " 999999999"),
        (1000000000, "    1000M", " 1000000000"),
        (99999999999, "   99999M", " 99999999999"),
        (100000000000, "     100G", " 100000000000"),
        (99999999999999, "   99999G", " 99999999999999"),
        (100000000000000, "     100T", " 100000000000000"),
        (18446744073709551615, "18446744T", " 18446744073709551615"),
    ],
)
def test_counters(value: int, scaled: str, exact: str) -> None:
    assert classic.format_counter(value, exact=False) == scaled
    assert classic.format_counter(value, exact=True) == exact


@given(st.tuples(*[st.integers(0, 10**16) | st.sampled_from(HUGE)] * 5))
def test_a_line_of_counters_has_the_columns_of_each(values: tuple[int, ...]) -> None:
    server = Server(AF_INET, R4, 80, stats=values * 2)
    columns = [classic.format_counter(value, exact=False) for value in values]
    text = listed(WEB, [server, server], {"stats"}, format_numeric)
    assert text.splitlines()[1:] == [f"{'  -> 10.0.1.1:80':33}{''.join(columns)}"] * 2
    text = listed(WEB, [server, server], {"rate"}, format_numeric)
    columns[:3] = [f" {value:8}" for value in values[:3]]
    assert text.splitlines()[1:] == [f"{'  -> 10.0.1.1:80':33}{''.join(columns)}"] * 2


@given(
    st.lists(
        st.lists(st.sampled_from([(0,) * 5, (1, 2, 3, 4, 5), HUGE[:5]]), max_size=5), max_size=5
    ),
    st.sampled_from(sorted(VIEWS)),
)
def test_services_in_one_block_are_as_each_by_itself(
    counters: list[list[tuple[int, ...]]], view: str
) -> None:
    shown = {"numeric", *view.split()}
    columns = classic.list_columns(shown)
    tables = [
        (
            Service(AF_INET, TCP, V4, port, stats=(port,) * 10),
            [
                to_row(Server(AF_INET, R4, 80, MASQ, active=stats[0], stats=stats * 2), columns)
                for stats in servers
            ],
        )
        for port, servers in enumerate(counters)
    ]
    listing = classic.Listing(shown, format_numeric)
    alone = [listing.format_tables([table]) for table in tables]
    assert listing.format_tables(tables) == "".join(alone)


# --- real servers


@pytest.mark.parametrize(
    ("forward", "name"),
    [
        (MASQ, "Masq"),
        (LOCAL, "Local"),
        (TUNNEL, "Tunnel"),
        (ROUTE, "Route"),
        (BYPASS, "4"),
        (7, "7"),
    ],
)
def test_methods(forward: int, name: str) -> None:
    found = Server(AF_INET, R4, 80, forward)
    assert classic.format_method(forward) == name
    assert listed(WEB, [found], set(), format_numeric).splitlines()[1] == (
        f"  -> 10.0.1.1:80                  {name:7} 1      0          0         "
    )


@pytest.mark.parametrize(
    ("forward", "kind", "port", "flags", "text"),
    [
        (ROUTE, GUE, 6080, TUN_CSUM, "n/a"),
        (MASQ, IPIP, 0, 0, "n/a"),
        (TUNNEL, IPIP, 0, 0, "ipip"),
        (TUNNEL, GUE, 6080, 0, "gue:6080:-c"),
        (TUNNEL, GUE, 6080, TUN_CSUM, "gue:6080:+c"),
        (TUNNEL, GUE, 65535, TUN_REMCSUM, "gue:65535:r+c"),
        (TUNNEL, GRE, 0, 0, "gre:-c"),
        (TUNNEL, GRE, 0, TUN_CSUM, "gre:+c"),
        (TUNNEL, GRE, 0, TUN_REMCSUM, "gre:r+c"),
        # A value that this release does not know is shown as its number.
        (TUNNEL, GUE, 6080, 3, "gue:6080:3"),
        (TUNNEL, GUE, 65535, 65535, "gue:65535:65535"),
        (TUNNEL, 3, 0, 0, "3"),
    ],
)
def test_tunnels(forward: int, kind: int, port: int, flags: int, text: str) -> None:
    found = Server(AF_INET, R4, 80, forward, tun_type=kind, tun_port=port, tun_flags=flags)
    assert classic.format_tunnel(forward, kind, port.to_bytes(2, "big"), flags) == text
    assert f" {text:13} 1      0 " in listed(WEB, [found], {"tun-info"}, format_numeric)


# --- the other lists


@pytest.mark.parametrize(
    ("info", "line"),
    [
        (Info(0x010201, 4096), "IP Virtual Server version 1.2.1 (size=4096)\n"),
        (Info(0x0A00FF, 1048576), "IP Virtual Server version 10.0.255 (size=1048576)\n"),
    ],
)
def test_version(info: Info, line: str) -> None:
    assert classic.format_version(info) == line


def test_timeouts() -> None:
    assert (
        classic.format_timeouts(Timeouts(900, 120, 300))
        == "Timeout (tcp tcpfin udp): 900 120 300\n"
    )


@pytest.mark.parametrize(
    ("daemon", "line"),
    [
        (Daemon(MASTER, "eth0"), "master sync daemon (mcast=eth0, syncid=0)\n"),
        (Daemon(BACKUP, "lo", 255), "backup sync daemon (mcast=lo, syncid=255)\n"),
        (
            Daemon(MASTER, "lo", 7, 1472, bytes([224, 0, 0, 81]), 8848, 1),
            "master sync daemon (mcast=lo, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n",
        ),
        (
            Daemon(BACKUP, "lo", 0, 0, bytes.fromhex("ff020000000000000000000000000081"), 8848),
            "backup sync daemon (mcast=lo, syncid=0, group=ff02::81, port=8848)\n",
        ),
        (Daemon(3, "lo"), "3 sync daemon (mcast=lo, syncid=0)\n"),
    ],
)
def test_daemons(daemon: Daemon, line: str) -> None:
    assert list(classic.format_daemons([daemon])) == [line]


def test_a_line_a_daemon() -> None:
    assert list(classic.format_daemons([Daemon(MASTER, "lo"), Daemon(BACKUP, "lo")])) == [
        "master sync daemon (mcast=lo, syncid=0)\n",
        "backup sync daemon (mcast=lo, syncid=0)\n",
    ]
    assert list(classic.format_daemons([])) == []
