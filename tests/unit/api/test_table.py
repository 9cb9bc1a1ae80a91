"""Test the Python interface on embedded tables: what each call sends, returns and raises."""

from __future__ import annotations

import contextlib
import doctest
import errno
import functools
import ipaddress
import json
import threading
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import pyipvsadm
from pyipvsadm import api, cli
from pyipvsadm.api import Counters, Result, Server, Service, Table, Timeouts, Tunnel, records
from pyipvsadm.api import table as table_module
from pyipvsadm.api.environment import ProgramEnvironment
from pyipvsadm.api.records import End
from pyipvsadm.api.table import UNCHANGED
from pyipvsadm.api.words import list_server_words, list_service_words, list_setting_words
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.environment import Environment
from pyipvsadm.errors import UsageError
from pyipvsadm.grammar.parser import CommandParser
from pyipvsadm.grammar.schedulers import SCHEDULER_FLAGS
from pyipvsadm.resolver import NullResolver
from tests import pages
from tests.unit.api import program
from tests.unit.fake_environment import FakeEnvironment, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEMA = json.loads((Path(pyipvsadm.__file__).parent / "schema" / "ipvsadm-1.json").read_text())
WEB = ("tcp", "10.0.0.1:80")
SERVER = "192.168.10.8:8080"


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    with pyipvsadm.open(f"memory:{tmp_path / 'table'}") as opened:
        yield opened


def read_rules(tmp_path: Path) -> list[str]:
    """Return the table as -S -n writes it."""
    env = FakeEnvironment()
    status = cli.main(["--backend", f"memory:{tmp_path / 'table'}", "-S", "-n"], env)
    assert status == 0
    return env.take()[0].splitlines()


V4 = ipaddress.ip_address("10.0.0.1")
REAL = ipaddress.ip_address("192.168.10.8")
V6 = ipaddress.ip_address("2001:db8::1")
CALLS: list[tuple[list[Callable[[Table], object]], tuple[str, ...]]] = [
    ([lambda t: t.add_service(*WEB)], ("-A -t 10.0.0.1:80 -s wlc",)),
    (
        [lambda t: t.add_service("udp", V4, 53, scheduler="rr", one_packet=True)],
        ("-A -u 10.0.0.1:53 -s rr -o",),
    ),
    (
        [
            lambda t: t.add_service(
                "sctp", V6, 80, scheduler="sh", scheduler_flags=["sh-port", "sh-fallback"],
                persistence_timeout=60, persistence_prefix_length=64,
            ),
        ],
        ("-A --sctp-service [2001:db8::1]:80 -s sh -p 60 -M 64 -b sh-fallback,sh-port",),
    ),
    (
        [lambda t: t.add_service("mark", 7, persistence_timeout=300, persistence_netmask="255.255.255.0")],
        ("-A -f 7 -s wlc -p 300 -M 255.255.255.0",),
    ),
    ([lambda t: t.add_service("mark6", 7)], ("-A -f 7 -6 -s wlc",)),
    (
        [
            lambda t: t.add_service("udp", "10.0.0.1:5060", persistence_timeout=5, persistence_engine="sip"),
            lambda t: t.edit_service(
                ("udp", "10.0.0.1:5060"), persistence_timeout=None, persistence_engine=None
            ),
        ],
        ("-A -u 10.0.0.1:5060 -s wlc",),
    ),
    (
        [
            lambda t: t.add_service(*WEB, scheduler="sh", scheduler_flags=["sh-port"]),
            lambda t: t.edit_service(WEB, persistence_timeout=9),
        ],
        ("-A -t 10.0.0.1:80 -s sh -p 9 -b sh-port",),
    ),
    (
        [
            lambda t: t.add_service(*WEB, scheduler="sh", scheduler_flags=["sh-port"]),
            lambda t: t.edit_service(t.service(*WEB), scheduler="mh"),
        ],
        ("-A -t 10.0.0.1:80 -s mh",),
    ),
    ([lambda t: t.add_service(*WEB), lambda t: t.delete_service(WEB)], ()),
    ([lambda t: t.add_service(*WEB), lambda t: t.add_service("mark", 1), lambda t: t.clear()], ()),
    (
        [
            lambda t: t.add_service(*WEB),
            lambda t: t.add_server(WEB, (REAL, 8080), forwarding="masq", weight=3),
            lambda t: t.add_server(WEB, "192.168.10.9", upper_threshold=9, lower_threshold=5),
            lambda t: t.add_server(
                WEB, "[2001:db8::9]:80", forwarding="tunnel", tunnel=Tunnel("gue", 6080, checksum=True)
            ),
            lambda t: t.add_server(WEB, "192.168.10.10:80", forwarding="tunnel", tunnel=Tunnel("gre")),
        ],
        (
            "-A -t 10.0.0.1:80 -s wlc",
            "-a -t 10.0.0.1:80 -r 192.168.10.8:8080 -m -w 3",
            "-a -t 10.0.0.1:80 -r 192.168.10.9:80 -g -w 1 -x 9 -y 5",
            "-a -t 10.0.0.1:80 -r 192.168.10.10:80 -i -w 1 --tun-type gre --tun-nocsum",
            "-a -t 10.0.0.1:80 -r [2001:db8::9]:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
        ),
    ),
    (
        [
            lambda t: t.add_service(*WEB),
            lambda t: t.add_server(
                WEB, "192.168.10.8", forwarding="tunnel", tunnel=Tunnel("gue", 1, remote_checksum=True),
                upper_threshold=9,
            ),
            lambda t: t.edit_server(WEB, "192.168.10.8", forwarding="masq", upper_threshold=None),
        ],
        ("-A -t 10.0.0.1:80 -s wlc", "-a -t 10.0.0.1:80 -r 192.168.10.8:80 -m -w 1"),
    ),
    (
        [
            lambda t: t.add_service(*WEB),
            lambda t: t.add_server(WEB, SERVER, forwarding="masq", weight=2, upper_threshold=9),
            lambda t: t.edit_server(WEB, t.servers(WEB)[0], weight=0),
        ],
        ("-A -t 10.0.0.1:80 -s wlc", "-a -t 10.0.0.1:80 -r 192.168.10.8:8080 -m -w 0 -x 9"),
    ),
    (
        [
            lambda t: t.add_service(*WEB),
            lambda t: t.add_server(WEB, SERVER, forwarding="masq"),
            lambda t: t.delete_server(WEB, SERVER),
        ],
        ("-A -t 10.0.0.1:80 -s wlc",),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("calls", "rules"), CALLS)
def test_calls_make_rules(
    calls: list[Callable[[Table], object]], rules: tuple[str, ...], table: Table, tmp_path: Path
) -> None:
    for call in calls:
        call(table)
    assert read_rules(tmp_path) == list(rules)


REFUSALS: list[tuple[Callable[[Table], object], type[Exception], int, str]] = [
    (lambda t: t.service("tcp", "10.9.9.9:80"), api.RefusedError, errno.ESRCH, "No such service"),
    (lambda t: t.servers(("mark", 9)), api.RefusedError, errno.ESRCH, "No such service"),
    (lambda t: t.add_service(*WEB), api.RefusedError, errno.EEXIST, "Service already exists"),
    (lambda t: t.edit_server(WEB, "1.1.1.1:1", weight=1), api.RefusedError, errno.ENOENT, "No such destination"),
    (lambda t: t.delete_server(WEB, "1.1.1.1:1"), api.RefusedError, errno.ENOENT, "No such destination"),
    (lambda t: t.add_server(WEB, "x", weight=-1), UsageError, 0, "illegal real server address"),
    (lambda t: t.add_server(WEB, "1.1.1.1", weight=-1), UsageError, 0, "illegal weight specified"),
    (lambda t: t.add_server(WEB, "1.1.1.1", forwarding="nat"), UsageError, 0, "unknown forwarding method 'nat'"),
    (lambda t: t.add_service("tcp", "10.0.0.1"), UsageError, 0, "Zero port specified"),
    (lambda t: t.add_service("icmp", "10.0.0.1:1"), UsageError, 0, "unknown kind of service 'icmp'"),
    (lambda t: t.add_service(*WEB, scheduler="rr\0"), UsageError, 0, "NUL"),
    (lambda t: t.add_service("mark", 0), UsageError, 0, "invalid fwmark value `0'"),
    (lambda t: t.edit_service(WEB, persistence_timeout=0), UsageError, 0, "invalid timeout value `0'"),
    (lambda t: t.set_timeouts(tcp=-1), UsageError, 0, "-1: unknown option"),
    (lambda t: t.stop_daemon("none"), UsageError, 0, "illegal start_daemon"),  # type: ignore[arg-type]
    (lambda t: t.predict("x", WEB), UsageError, 0, "illegal client `x'"),
    (lambda t: t.predict("1.1.1.1", ("udp", "10.0.0.1:1")), UsageError, 0, "no service takes a packet"),
    (lambda t: t.apply(""), UsageError, 0, "the input has no rule"),
    (lambda t: t.apply("-A -t 1\nx"), api.RulesError, 0, "line 2: "),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "number", "message"), REFUSALS)
def test_errors(
    call: Callable[[Table], object],
    kind: type[Exception],
    number: int,
    message: str,
    table: Table,
    tmp_path: Path,
) -> None:
    """Errors name their reason, share one base, and leave the table as it is."""
    table.add_service(*WEB)
    with pytest.raises(pyipvsadm.IpvsadmError) as raised:
        call(table)
    assert type(raised.value) is kind
    assert message in str(raised.value)
    assert getattr(raised.value, "errno", 0) == number
    assert read_rules(tmp_path) == ["-A -t 10.0.0.1:80 -s wlc"]


def test_services_and_servers_are_sorted_as_in_listings(table: Table) -> None:
    for number in (3, 1, 2):
        table.add_service("tcp", f"10.0.0.{number}:80")
    table.add_service("mark", 1)
    for number in (9, 7, 8):
        table.add_server(("tcp", "10.0.0.1:80"), f"192.168.10.{number}:80")
    assert [(each.address, each.firewall_mark) for each in table.services()] == [
        ("10.0.0.1", None), ("10.0.0.2", None), ("10.0.0.3", None), (None, 1),
    ]  # fmt: skip
    assert [each.address for each in table.servers(("tcp", "10.0.0.1:80"))] == [
        "192.168.10.7", "192.168.10.8", "192.168.10.9",
    ]  # fmt: skip


def test_timeouts_and_daemons(table: Table) -> None:
    table.set_timeouts(tcp=100, udp=7)
    assert table.timeouts() == Timeouts(100, 120, 7)
    table.start_daemon(
        "backup", "lo", sync_id=3, maximum_length=1400, multicast_group=ipaddress.ip_address("224.0.0.9"),
        multicast_port=9000, multicast_ttl=2,
    )  # fmt: skip
    assert table.daemons() == [api.Daemon("backup", "lo", 3, 1400, "224.0.0.9", 9000, 2)]
    table.stop_daemon("backup")
    assert table.daemons() == []


class Tracked(MemoryBackend):
    """Hold a table with one connection and one template."""

    def iter_connections(self) -> Iterator[bytes]:
        yield b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
        yield b"TCP CB007105 8235 0A000001 0050 C0A80A08 1F90 ESTABLISHED     890\n"
        yield b"UDP CB007105 0000 0A000001 13C4 C0A80A08 13C4 NONE             30 sip abc\n"


def test_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Environment, "open_backend", lambda *_: Tracked())
    with pyipvsadm.open() as table:
        first, second = table.connections()
        assert first == api.Connection(
            "tcp", "ESTABLISHED", 890, End("ipv4", "203.0.113.5", 33333), End("ipv4", "10.0.0.1", 80),
            End("ipv4", "192.168.10.8", 8080),
        )  # fmt: skip
        assert (second.client.port, second.persistence_engine, second.persistence_data) == (
            0,
            "sip",
            "abc",
        )
        # In another namespace all lines are read at once: the program is back in its own by then.
        monkeypatch.setattr(table, "_netns", "blue")
        monkeypatch.setattr(Environment, "enter_netns", lambda *_: contextlib.nullcontext())
        assert list(table.connections()) == [first, second]


def test_the_environment_of_the_program_is_left_alone() -> None:
    """No stream, signal or variable of the program is used."""
    env = ProgramEnvironment()
    env.write_raw_stderr("a bar")
    env.block_signals()
    assert (env.environ, env.messages, env.output) == ({}, [], "")
    assert not any([env.is_input_terminal(), env.is_error_terminal(), env.is_output_terminal()])
    assert repr(UNCHANGED) == "UNCHANGED"


def test_records_compare_by_settings() -> None:
    one, other = (
        Server("ipv4", "10.0.0.2", 80, stats=Counters(n), active_connections=n) for n in (1, 2)
    )
    assert one == other
    assert {one: 1}[other] == 1
    assert one != Server("ipv4", "10.0.0.2", 80, weight=2)
    with pytest.raises(AttributeError):
        one.weight = 2  # type: ignore[misc]


def test_apply(table: Table, tmp_path: Path) -> None:
    rules = lines("-A -t 10.0.0.1:80 -s rr", "-a -t 10.0.0.1:80 -r 192.168.10.8:80 -m -w 1")
    planned = table.plan(rules)
    assert (planned.dry_run, planned.added, [step.line for step in planned.steps]) == (
        True,
        2,
        [1, 2],
    )
    assert read_rules(tmp_path) == []
    done = table.apply(rules)
    assert (done.dry_run, done.added, done.steps) == (False, 2, planned.steps)
    assert table.apply(rules + rules).messages == (
        "line 3: repeats line 1: skipped: '-A -t 10.0.0.1:80 -s rr'",
        "line 4: repeats line 2: skipped: '-a -t 10.0.0.1:80 -r 192.168.10.8:80 -m -w 1'",
    )
    table.edit_server(WEB, "192.168.10.8:80", weight=5)
    assert table.apply(rules, keep_weights=True).steps == ()
    assert table.apply("", prune=True, allow_empty=True, force=True).removed == 2
    assert read_rules(tmp_path) == []


def test_a_refused_apply_is_undone_and_raised(table: Table, tmp_path: Path) -> None:
    rules = lines("-A -t 10.0.0.1:80 -s rr", "-A -t 10.0.0.2:80 -s nosuch")
    with pytest.raises(
        pyipvsadm.ApplyError, match=r"line 2: -A -t 10\.0\.0\.2:80 -s nosuch: "
    ) as raised:
        table.apply(rules)
    assert [step.line for step in raised.value.result.refused] == [2]
    assert read_rules(tmp_path) == []


def test_a_closed_table_of_a_namespace_needs_the_main_thread() -> None:
    errors = []

    def body() -> None:
        with pytest.raises(UsageError, match="only the main thread"):
            pyipvsadm.open(netns="none")
        errors.append(1)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert errors == [1]
    with pytest.raises(pyipvsadm.OperationError, match="cannot open the network namespace"):
        pyipvsadm.open(netns="no-such-namespace")


def test_history_and_undo(tmp_path: Path) -> None:
    """Calls of apply() and undo() are in the history; what others changed since is left."""
    rules = lines("-A -t 10.0.0.1:80 -s rr", "-a -t 10.0.0.1:80 -r 192.168.10.8:80 -m -w 1")
    backend, history = f"memory:{tmp_path / 'table'}", str(tmp_path / "history")
    with pyipvsadm.open(backend, history=history) as table:
        table.apply(rules)
        table.apply(rules.replace("-w 1", "-w 2").replace("rr", "wrr"))
        table.edit_server(WEB, "192.168.10.8:80", weight=9)
        assert [(entry.id, entry.state, entry.arguments) for entry in table.history()] == [
            (1, "kept", ("--apply", "--json")),
            (2, "kept", ("--apply", "--json")),
        ]
        tried = table.undo(dry_run=True)
        assert not tried.complete
        assert tried.messages[0] == "dry run: would undo 2: ipvsadm --apply --json"
        left = table.undo()
        assert not left.complete
        assert any("another program set its weight to 9" in message for message in left.messages)
        assert read_rules(tmp_path) == [
            "-A -t 10.0.0.1:80 -s rr", "-a -t 10.0.0.1:80 -r 192.168.10.8:80 -m -w 9",
        ]  # fmt: skip
        table.edit_server(WEB, "192.168.10.8:80", weight=1)
        assert table.undo(1).complete
        assert table.services() == []
        with pytest.raises(UsageError, match="the history has no change 77"):
            table.undo(77)
    with (
        pyipvsadm.open(backend) as table,
        pytest.raises(pyipvsadm.OperationError, match="no history"),
    ):
        table.history()


def test_an_undo_that_the_table_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, history = f"memory:{tmp_path / 'table'}", str(tmp_path / "history")
    with pyipvsadm.open(backend, history=history) as table:
        table.apply("-A -t 10.0.0.1:80 -s rr\n")
        monkeypatch.setattr(
            MemoryBackend, "apply", lambda _, changes: [(0, errno.EPERM) for _ in changes]
        )
        with pytest.raises(pyipvsadm.OperationError, match="Permission denied"):
            table.undo()


# --- the records and the documents


@pytest.mark.parametrize(
    ("kind", "name", "absent"),
    [
        (Service, "service", {"servers", "host_name", "port_name", "shares"}),
        (Server, "server", {"host_name", "port_name", "share"}),
        (Counters, "stats", set()),
        (Timeouts, "timeouts", set()),
        (api.Daemon, "daemon", set()),
        (api.Connection, "connection", {"format"}),
        (records.End, "end", {"host_name", "port_name"}),
    ],
)
def test_records_have_the_fields_of_the_documents(kind: Any, name: str, absent: set[str]) -> None:
    properties = SCHEMA["$defs"][name]["properties"]
    properties = properties.get("timeouts", {}).get("properties") or properties
    assert {each.name for each in fields(kind)} == properties.keys() - absent


OWN_SERVICES = st.builds(
    lambda kind, port, mark, scheduler, flags, timeout, engine: Service(
        **kind,
        **({"firewall_mark": mark} if "protocol" not in kind else {"port": port}),
        scheduler=scheduler,
        scheduler_flags=tuple(
            name for name, _, only in SCHEDULER_FLAGS if name in flags and only == scheduler
        ),
        persistence_timeout=timeout,
        persistence_engine=engine,
    ),
    st.sampled_from(
        [
            {"family": "ipv4"},
            {"family": "ipv6"},
            {"family": "ipv4", "protocol": "udp", "address": "10.0.0.1"},
            {"family": "ipv6", "protocol": "tcp", "address": "2001:db8::1"},
        ]
    ),
    st.integers(1, 65535),
    st.integers(1, 2**32 - 1),
    st.sampled_from(["wlc", "sh", "mh"]),
    st.sets(st.sampled_from([name for name, _, _ in SCHEDULER_FLAGS])),
    st.none() | st.integers(1, 86400),
    st.none() | st.just("sip"),
)


def parse(words: list[str]) -> Any:
    return CommandParser(words, NullResolver()).parse_request().change


@given(OWN_SERVICES)
def test_words_of_a_service_are_read_back(service: Service) -> None:
    settings = {each.name: getattr(service, each.name) for each in fields(service)}
    words = ["--add-service", *list_service_words(service), *list_setting_words(settings)]
    assert table_module._build_service(parse(words).service) == service


TUNNELS = st.none() | st.builds(
    lambda kind, port, checksum: Tunnel(
        kind, port if kind == "gue" else None, checksum=checksum and kind != "ipip"
    ),
    st.sampled_from(["ipip", "gue", "gre"]),
    st.integers(1, 65535),
    st.booleans(),
)


@given(
    st.builds(
        lambda end, port, weight, upper, tunnel: Server(
            end[0], end[1], port, "tunnel" if tunnel else "masq", weight, upper, None, tunnel
        ),
        st.sampled_from([("ipv4", "10.0.0.2"), ("ipv6", "2001:db8::2")]),
        st.integers(0, 65535),
        st.integers(0, 2**31 - 1),
        st.none() | st.integers(1, 2**31 - 1),
        TUNNELS,
    )
)
def test_words_of_a_server_are_read_back(server: Server) -> None:
    """By tunnels, a server has its service's port."""
    assume(server.tunnel is None or server.port)
    service = ("tcp", "10.0.0.1" if server.family == "ipv4" else "2001:db8::1", server.port or 80)
    settings = {each.name: getattr(server, each.name) for each in fields(server)}
    words = ["--add-server", *list_service_words(service), *list_server_words(server)]
    change = parse([*words, *list_setting_words(settings)])
    assert table_module._build_server(change.server) == server


def test_a_later_document_may_have_more_fields() -> None:
    assert records.build_record(
        Timeouts, {"tcp": 1, "tcp_fin": 2, "udp": 3, "quic": 4}
    ) == Timeouts(1, 2, 3)


# --- the package's door, and the page


def test_the_package_exports_the_interface() -> None:
    assert set(pyipvsadm.__all__) <= set(dir(pyipvsadm))
    for name in pyipvsadm.__all__:
        assert getattr(pyipvsadm, name) is getattr(api, name)
    assert set(api.__all__) == set(pyipvsadm.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        pyipvsadm.nothing  # noqa: B018


def test_every_record_is_frozen() -> None:
    kinds = [
        each for each in vars(records).values() if isinstance(each, type) and is_dataclass(each)
    ]
    assert Result in kinds
    for kind in kinds:
        assert kind.__dataclass_params__.frozen, kind  # type: ignore[attr-defined]


def test_the_examples_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example gives the output that the page shows; open() opens an embedded table here."""
    monkeypatch.setattr(
        api,
        "open",
        functools.partial(Table, f"memory:{tmp_path / 'table'}", history=str(tmp_path / "history")),
    )
    assert run_examples() > 15


def run_examples() -> int:
    """Run the examples of docs/python.md, and return how many there are."""
    text = "\n".join(
        block.text
        for block in pages.list_blocks(pages.REPO / "docs/python.md")
        if block.language == "pycon"
    )
    example = doctest.DocTestParser().get_doctest(text, {}, "python.md", None, 0)
    problems: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    outcome = runner.run(example, out=problems.append)
    assert not outcome.failed, "".join(problems)
    return outcome.attempted


def test_a_typed_program(tmp_path: Path) -> None:
    assert program.run(f"memory:{tmp_path / 'table'}") == [
        "4", "-A -t 10.0.0.2:80 -s rr", "one_of", "[1, 0, 0]", "tcp 10.0.0.1:80 0", "tcp 900 s",
    ]  # fmt: skip
