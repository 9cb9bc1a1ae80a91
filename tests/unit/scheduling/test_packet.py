"""Test the steps before the scheduler: which service takes a packet, connections, templates,
ports.
"""

from __future__ import annotations

import pytest

from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    BACKUP,
    MASTER,
    PERSISTENT,
    SCTP,
    TCP,
    UDP,
    Server,
    Service,
)
from pyipvsadm.scheduling.build import Build
from pyipvsadm.scheduling.packet import (
    Entry,
    Packet,
    Prediction,
    Predictor,
    Settings,
    find_service,
    get_template_key,
    mask_client,
)

VIP = bytes([10, 1, 1, 1])
CLIENT = bytes([10, 3, 0, 1])
ONE = (AF_INET, bytes([10, 2, 0, 1]), 80)
TWO = (AF_INET, bytes([10, 2, 0, 2]), 80)


def web(**values: object) -> Service:
    return Service(AF_INET, TCP, VIP, 80, **values)  # type: ignore[arg-type]


def to(port: int, protocol: int = TCP) -> Packet:
    return Packet(AF_INET, protocol, VIP, port)


def servers(*ends: tuple[int, bytes, int], weight: int = 1) -> list[Server]:
    return [Server(*end, weight=weight) for end in ends]


@pytest.mark.parametrize(
    ("ports", "packet", "found"),
    [
        ((80,), to(80), 80), ((80,), to(81), None), ((80, 0), to(81), 0), ((80, 0), to(80), 80),
        ((21, 0), to(20), 21), ((21, 0), to(1023), 0), ((21, 0), to(1024), 21), ((21,), to(40000), 21),
        ((21,), to(40000, UDP), None),
    ],
)  # fmt: skip
def test_the_service_of_a_packet(ports: tuple[int, ...], packet: Packet, found: int | None) -> None:
    table = {s.key(): s for s in (Service(AF_INET, TCP, VIP, port) for port in ports)}
    service = find_service(table.get, packet, 1024)
    assert (service and service.port) == found


def test_the_service_of_a_mark() -> None:
    marked = Service(AF_INET, fwmark=7)
    assert find_service({marked.key(): marked}.get, Packet(AF_INET, fwmark=7), 1024) is marked
    assert find_service({marked.key(): marked}.get, Packet(AF_INET6, fwmark=7), 1024) is None


@pytest.mark.parametrize(
    ("service", "packet", "key"),
    [
        (web(), to(80), (TCP, CLIENT, 0, VIP, 80)),
        (Service(AF_INET, TCP, VIP, 21), to(21), (TCP, CLIENT, 0, VIP, 0)),
        (Service(AF_INET, TCP, VIP, 21), to(4000), (TCP, CLIENT, 0, VIP, 0)),
        (Service(AF_INET, TCP, VIP, 0), to(4000), (TCP, CLIENT, 0, VIP, 0)),
        (
            Service(AF_INET, fwmark=7),
            Packet(AF_INET, fwmark=7),
            (0, CLIENT, 0, bytes([0, 0, 0, 7]), 0),
        ),
        (web(netmask=0xFFFFFF00), to(80), (TCP, bytes([10, 3, 0, 0]), 0, VIP, 80)),
    ],
)
def test_template_keys(service: Service, packet: Packet, key: tuple[object, ...]) -> None:
    assert get_template_key(service, packet, CLIENT) == key


def test_template_keys_of_ipv6() -> None:
    service = Service(AF_INET6, fwmark=7, netmask=64)
    client = bytes(range(16))
    assert mask_client(service, client) == bytes(range(8)) + bytes(8)
    assert get_template_key(service, Packet(AF_INET6, fwmark=7), client) == (
        0, bytes(range(8)) + bytes(8), 0, bytes([0, 0, 0, 7]) + bytes(12), 0,
    )  # fmt: skip


def predict(
    service: Service,
    table: list[Server],
    packet: Packet,
    entries: dict[tuple[int, bytes, int, bytes, int], Entry] | None = None,
    settings: Settings | None = None,
    port: int | None = None,
) -> tuple[str, tuple[tuple[int, bytes, int], ...], str]:
    build = Build(counts_total=True)
    found = Predictor(service, table, packet, build, settings, entries).predict(CLIENT, port)
    return found.outcome, found.candidates, found.reason


def test_outcomes() -> None:
    for candidates, may_refuse, outcome in (
        ((), True, "refused"),
        ((ONE,), False, "server"),
        ((ONE,), True, "one_of"),
        ((ONE, TWO), False, "one_of"),
    ):
        assert Prediction(candidates, may_refuse, "").outcome == outcome


LC = web(scheduler="lc")
LC_REASON = "lc: by the connections and weights of now"
FTP_ALONE = (
    "not directed: its service of port 21 takes other ports only with persistence; "
    "the packet stays on this director"
)
ONLY = "lc: the only server that takes connections"


@pytest.mark.parametrize(
    ("service", "table", "packet", "end", "reason"),
    [
        (LC, servers(ONE, TWO), to(80), ONE, LC_REASON),
        (LC, [], to(80), None, "the service has no real servers"),
        (LC, servers((*ONE[:2], 0)), to(80), ONE, ONLY),
        (Service(AF_INET, fwmark=7, scheduler="lc"), servers(ONE), Packet(AF_INET, fwmark=7), ONE, ONLY),
        (Service(AF_INET, fwmark=7, scheduler="lc", flags=PERSISTENT), servers(ONE), Packet(AF_INET, fwmark=7), ONE, ONLY),
        (Service(AF_INET, TCP, VIP, 0, scheduler="lc"), servers(ONE), to(80), None,
         "refused: a service with port 0 needs persistence (-p)"),
        (Service(AF_INET, TCP, VIP, 0, scheduler="lc", flags=PERSISTENT), servers(ONE), to(443), (*ONE[:2], 443), ONLY),
        (Service(AF_INET, TCP, VIP, 21, scheduler="lc"), servers(ONE), to(4000), None,
         FTP_ALONE),
        (Service(AF_INET, TCP, VIP, 21, scheduler="lc", flags=PERSISTENT), servers(ONE), to(4000), (*ONE[:2], 4000), ONLY),
    ],
)  # fmt: skip
def test_without_entries(
    service: Service,
    table: list[Server],
    packet: Packet,
    end: tuple[int, bytes, int] | None,
    reason: str,
) -> None:
    assert predict(service, table, packet) == (
        "server" if end else "refused",
        (end,) if end else (),
        reason,
    )


def test_settings() -> None:
    backup = "not directed: a backup sync daemon runs here, and backup_only is set"
    for settings, reason in (
        (Settings(backup_only=1, role=BACKUP), backup),
        (Settings(backup_only=1, role=MASTER | BACKUP), backup),
        (Settings(backup_only=1, role=MASTER), ONLY),
        (Settings(role=BACKUP), ONLY),
    ):
        assert predict(LC, servers(ONE), to(80), settings=settings)[2] == reason
    marked = Service(AF_INET, fwmark=7, scheduler="lc")
    assert predict(marked, [], Packet(AF_INET, fwmark=7), settings=Settings(cache_bypass=1)) == (
        "refused", (),
        "the service has no real servers; cache_bypass: the packet goes on to its own destination",
    )  # fmt: skip


def test_ftp_data_is_not_scheduled() -> None:
    assert predict(LC, servers(ONE), to(80), port=20) == (
        "refused", (), "not directed: connections from port 20 (FTP data) are never scheduled",
    )  # fmt: skip


EXISTS = "this connection exists (ESTABLISHED, ends in 9 s without packets)"
REMOVED = "this connection exists (ESTABLISHED, ends in 9 s without packets), but its server was removed: "


@pytest.mark.parametrize(
    ("service", "protocol", "state", "end", "weight", "settings", "expected"),
    [
        (LC, TCP, "ESTABLISHED", TWO, 1, Settings(), (TWO, EXISTS)),
        (LC, TCP, "ESTABLISHED", TWO, 0, Settings(), (TWO, EXISTS)),
        (LC, TCP, "TIME_WAIT", TWO, 1, Settings(), (ONE, LC_REASON)),
        (LC, TCP, "CLOSE", TWO, 1, Settings(), (ONE, LC_REASON)),
        (LC, TCP, "TIME_WAIT", TWO, 1, Settings(conn_reuse_mode=0), (TWO, EXISTS.replace("ESTABLISHED", "TIME_WAIT"))),
        (web(scheduler="lc", flags=PERSISTENT), TCP, "TIME_WAIT", TWO, 1, Settings(),
         (TWO, EXISTS.replace("ESTABLISHED", "TIME_WAIT"))),
        (LC, TCP, "ESTABLISHED", TWO, 0, Settings(expire_nodest_conn=1), (None, "all servers have weight 0")),
        (Service(AF_INET, SCTP, VIP, 80, scheduler="lc"), SCTP, "CLOSED", TWO, 1, Settings(), (ONE, LC_REASON)),
        (Service(AF_INET, UDP, VIP, 80, scheduler="lc"), UDP, "UDP", TWO, 1, Settings(),
         (TWO, EXISTS.replace("ESTABLISHED", "UDP"))),
        (LC, TCP, "ESTABLISHED", (AF_INET, bytes(4), 80), 1, Settings(),
         (None, REMOVED + "its packets are dropped until it ends")),
        (LC, TCP, "ESTABLISHED", (AF_INET, bytes(4), 80), 1, Settings(expire_nodest_conn=1),
         (None, REMOVED + "the first packet is dropped, the next one is scheduled anew (expire_nodest_conn)")),
    ],
)  # fmt: skip
def test_connections_that_exist(
    service: Service,
    protocol: int,
    state: str,
    end: tuple[int, bytes, int],
    weight: int,
    settings: Settings,
    expected: tuple[tuple[int, bytes, int] | None, str],
) -> None:
    entries = {(protocol, CLIENT, 4000, VIP, 80): Entry(end, state, 9)}
    table = servers(ONE, TWO, weight=weight)
    packet = to(80, protocol)
    server, reason = expected
    assert predict(service, table, packet, entries, settings, 4000) == (
        "server" if server else "refused", (server,) if server else (), reason,
    )  # fmt: skip
    if weight:  # from another port, and from one that is not known
        for port in (4001, None):
            assert predict(service, table, packet, entries, settings, port)[1:] == (
                (ONE,),
                LC_REASON,
            )


STICKY = web(scheduler="lc", flags=PERSISTENT)
BOUND = "persistence: the client is bound to this server for 9 s more"


@pytest.mark.parametrize(
    ("end", "engine", "two", "settings", "expected"),
    [
        (TWO, "", 1, Settings(), (TWO, BOUND)),
        (TWO, "", 0, Settings(), (TWO, BOUND + ", though it takes no new clients")),
        (TWO, "", 0, Settings(expire_quiescent_template=1), (ONE, ONLY)),
        (TWO, "", 1, Settings(expire_quiescent_template=1), (TWO, BOUND)),
        (TWO, "sip", 1, Settings(), (ONE, LC_REASON)),
        ((AF_INET, bytes(4), 80), "", 1, Settings(), (ONE, LC_REASON)),
        ((*TWO[:2], 0), "", 1, Settings(), (TWO, BOUND)),
    ],
)
def test_templates(
    end: tuple[int, bytes, int],
    engine: str,
    two: int,
    settings: Settings,
    expected: tuple[tuple[int, bytes, int], str],
) -> None:
    entries = {(TCP, CLIENT, 0, VIP, 80): Entry(end, "NONE", 9, engine)}
    table = [*servers(ONE), *servers(TWO, weight=two)]
    assert predict(STICKY, table, to(80), entries, settings) == (
        "server", (expected[0],), expected[1],
    )  # fmt: skip


def test_engines_read_the_packet() -> None:
    service = Service(AF_INET, UDP, VIP, 5060, scheduler="lc", flags=PERSISTENT, pe="sip")
    outcome, ends, reason = predict(service, servers(ONE, TWO), to(5060, UDP))
    assert (outcome, ends) == ("one_of", (ONE, TWO))
    assert reason == "persistence engine sip: it depends on what the packet says"
