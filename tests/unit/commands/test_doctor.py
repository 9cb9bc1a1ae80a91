"""Test `--doctor` from the command line to its status, on a host made of facts; and the probe's
sockets on loopback.
"""

from __future__ import annotations

import copy
import errno
import json
import os
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.cli import main
from pyipvsadm.doctor import probe
from pyipvsadm.doctor.codes import CODES
from pyipvsadm.doctor.facts import OUTSIDE, Address, Facts, Link, ProbeResult, Route
from pyipvsadm.doctor.fixes import format_shell_command, format_sysctl
from pyipvsadm.doctor.report import render_text
from pyipvsadm.errors import Finding, OperationError
from pyipvsadm.model import AF_INET
from tests.unit.doctor.test_checks import DIRECT, HEALTHY, REAL
from tests.unit.fake_environment import FakeEnvironment, apply_all
from tests.unit.views.test_status import NEW, Newer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pyipvsadm.doctor.host import Host
    from pyipvsadm.model import Backend


class FakeHost:
    """Hold facts that were read already, and note what was requested."""

    def __init__(self, facts: Facts, ipvs: bool = True) -> None:
        self.found = facts
        self.ipvs = ipvs
        self.proc = True
        self.boot: tuple[str, bytes] | None = None
        self.asked: list[set[str]] = []
        self.probed: list[tuple[str, int]] = []

    def has_proc(self) -> bool:
        return self.proc

    def has_ipvs(self) -> bool:
        return self.ipvs

    def read_boot_file(self) -> tuple[str, bytes] | None:
        return self.boot

    def collect_facts(
        self, ways: Iterable[str], vips: Iterable[str], schedulers: Iterable[str]
    ) -> Facts:
        self.asked = [set(ways), set(vips), set(schedulers)]
        return self.found

    def probe_servers(self, found: Facts, servers: list[tuple[str, int]]) -> None:
        self.probed = servers
        found.answers = {server: ProbeResult("reachable", "refused") for server in servers}


class DoctorEnvironment(FakeEnvironment):
    """Hold an environment with such a host."""

    def __init__(
        self, facts: Facts = DIRECT.facts, rules: tuple[str, ...] = (), ipvs: bool = True
    ) -> None:
        super().__init__()
        self.patient = FakeHost(copy.deepcopy(facts), ipvs)
        apply_all(self.table, rules)

    def open_host(self) -> Host:
        return self.patient  # type: ignore[return-value]  # a stand-in


def run(env: FakeEnvironment, words: str) -> tuple[int, str, str]:
    return main(words.split(), env), *env.take()


UNSEEN = """\
Not checked:
  The real servers 172.16.100.7, 172.16.100.8. On each, run:
    # ipvsadm --doctor --real-server-for 172.16.100.1 --director 172.16.100.2

Nothing wrong was found in what was examined.
"""


UNSEEN_NAT = (
    "The real servers 192.168.10.8, 192.168.10.9. On each, run: "
    "ipvsadm --doctor --real-server-for 172.16.100.1 -m --director 192.168.10.7"
)


def test_connections_of_the_whole_table() -> None:
    """The kernel's connections are counted; those of single services, or of an embedded table, are
    not.
    """
    env = DoctorEnvironment()
    env.table = table = Newer()
    table.settings = {**NEW, "conn_max": "5500"}
    apply_all(table, DIRECT.rules)
    status, out, _ = run(env, "--doctor --json")
    assert (status, [each["code"] for each in json.loads(out)["findings"]]) == (
        1,
        ["connections-near-limit"],
    )
    assert run(env, "--doctor -t 172.16.100.1:80")[0] == 0


def test_nothing_wrong() -> None:
    env = DoctorEnvironment(rules=DIRECT.rules)
    assert run(env, "--doctor") == (0, UNSEEN, "")
    assert env.patient.asked == [{"172.16.100.7", "172.16.100.8"}, {"172.16.100.1"}, {"rr"}]
    assert env.patient.probed == []


NAT_OFF = """\
error: eth0: IP forwarding is off, and NAT servers answer here [nat-forwarding-off]
  net.ipv4.conf.eth0.forwarding is 0; 2 NAT servers answer there: 192.168.10.8, 192.168.10.9.
  The servers' answers, addressed to the clients, are dropped here instead of being translated and
  passed on.
    # sysctl -w net.ipv4.ip_forward=1

Not checked:
  iptables filter has 2 rules; pyipvsadm does not evaluate firewall rules.
  The real servers 192.168.10.8, 192.168.10.9. On each, run:
    # ipvsadm --doctor --real-server-for 172.16.100.1 -m --director 192.168.10.7

1 error, 0 warnings.
"""


def sick() -> Facts:
    facts = HEALTHY["NAT"].facts
    return Facts(
        links=facts.links,
        addresses=facts.addresses,
        routes=facts.routes,
        sysctls={**facts.sysctls, "net/ipv4/ip_forward": "0", "net/ipv4/conf/eth0/forwarding": "0"},
        filters={"iptables filter": 2},
    )


def test_a_report() -> None:
    assert run(DoctorEnvironment(sick(), HEALTHY["NAT"].rules), "--doctor") == (2, NAT_OFF, "")


NARROW = """\
{red}error:{off} eth0: IP forwarding is off, and
  NAT servers answer here
  [nat-forwarding-off]
  net.ipv4.conf.eth0.forwarding is 0; 2
  NAT servers answer there:
  192.168.10.8, 192.168.10.9.
  The servers' answers, addressed to the
  clients, are dropped here instead of
  being translated and passed on.
    # sysctl -w net.ipv4.ip_forward=1
"""


@pytest.mark.parametrize(("red", "off"), [("\x1b[1;31m", "\x1b[0m"), ("", "")])
def test_a_report_fits_the_terminal(red: str, off: str) -> None:
    env = DoctorEnvironment(sick(), HEALTHY["NAT"].rules)
    env.shows, env.colours = (40, 24), bool(red)
    paragraph = run(env, "--doctor")[1].split("\n\n")[0]
    assert paragraph + "\n" == NARROW.format(red=red, off=off)


def test_no_word_is_broken_and_wide_terminals_change_nothing() -> None:
    finding = Finding(
        "no-servers", "TCP [2001:db8:100::1234:5678]:80", "It has none: a b.", ("ip x y",)
    )
    heading = "error: TCP [2001:db8:100::1234:5678]:80: the service has no real server [no-servers]"
    narrow = render_text([finding], [], columns=10)
    assert {"[2001:db8:100::1234:5678]:80:", "[no-servers]"} <= set(narrow.split())
    assert "    # ip x y\n" in narrow
    assert render_text([finding], [], columns=300) == render_text([finding], [])
    assert render_text([finding], []).startswith(heading + "\n")


def test_warnings_have_a_colour_of_their_own() -> None:
    found = [Finding("server-full", "x: y", "error: not a heading's", ())]
    lines = render_text(found, [], colours=True).splitlines()
    assert lines[0] == "\x1b[1;33mwarning:\x1b[0m x: y: the server is full [server-full]"
    assert not any("\x1b" in line for line in lines[1:])


BOOT = "/etc/ipvsadm.rules"
SAVED = "\n".join(DIRECT.rules) + "\n"


@pytest.mark.parametrize(
    ("text", "words", "detail"),
    [
        (SAVED, "", ""),
        (SAVED.replace("-g\n", "-g -w 7\n"), "", ""),
        (SAVED.replace("-g\n", "-m\n", 1), "",
         ("Only in the file: -a -t 172.16.100.1:80 -r 172.16.100.7:80 -m -w 1; "
          "only in the table: -a -t 172.16.100.1:80 -r 172.16.100.7:80 -g -w 1.")),
        (SAVED.replace("-s rr", "-s wrr"), "",
         "Only in the file: -A -t 172.16.100.1:80 -s wrr; only in the table: -A -t 172.16.100.1:80 -s rr."),
        (SAVED + "-A -u 172.16.100.1:53 -s rr\n", "", "Only in the file: -A -u 172.16.100.1:53 -s rr."),
        (SAVED + "-A -u 172.16.100.1:53 -s rr\n", " -t 172.16.100.1:80", ""),
        ("no rules\n", "", ""),
        ("# nothing\n", "", ""),
    ],
)  # fmt: skip
def test_the_boot_file_is_compared(text: str, words: str, detail: str) -> None:
    env = DoctorEnvironment(rules=DIRECT.rules)
    env.patient.boot = (BOOT, text.encode())
    status, output, _ = run(env, "--doctor --json" + words)
    found = json.loads(output)["findings"]
    assert status == bool(detail)
    assert [(each["code"], each["subject"], each["detail"], each["fix"]) for each in found] == [
        ("boot-file-differs", BOOT, detail, [f"ipvsadm-save -n -f {BOOT}"])
    ] * bool(detail)


def test_the_boot_file_is_that_of_the_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = pytest.importorskip("pyipvsadm.doctor.host")
    files = tmp_path / "a", tmp_path / "b"
    monkeypatch.setattr(host, "BOOT_FILES", files)
    monkeypatch.setattr(host, "SELF_NETNS", tmp_path)
    monkeypatch.setattr(host, "INIT_NETNS", tmp_path)
    assert host.Host().read_boot_file() is None
    files[0].mkdir()
    files[1].write_text("-C\n")
    assert host.Host().read_boot_file() == (str(files[1]), b"-C\n")
    monkeypatch.setattr(host, "INIT_NETNS", files[0])
    assert host.Host().read_boot_file() is None
    monkeypatch.setattr(host, "INIT_NETNS", tmp_path / "none")
    assert host.Host().read_boot_file() is None


def test_a_report_as_json() -> None:
    status, text, _ = run(DoctorEnvironment(sick(), HEALTHY["NAT"].rules), "--json --doctor")
    told = json.loads(text)
    (finding,) = told["findings"]
    assert (status, told["status"]) == (2, 2)
    assert told["not_checked"] == [
        "iptables filter has 2 rules; pyipvsadm does not evaluate firewall rules.",
        UNSEEN_NAT,
    ]
    assert list(finding) == ["code", "severity", "subject", "title", "detail", "reason", "fix"]
    assert finding["code"] == "nat-forwarding-off"
    assert finding["fix"] == ["sysctl -w net.ipv4.ip_forward=1"]


def test_beside_keepalived_an_address_may_be_the_other_director_s() -> None:
    env = DoctorEnvironment(copy.deepcopy(HEALTHY["backup"].facts), DIRECT.rules)
    assert run(env, "--doctor")[0] == 2
    env.running = {"keepalived"}
    status, text, _ = run(env, "--doctor")
    assert status == 0
    assert "keepalived runs here" in text


def test_what_mends_another_namespace_is_run_there() -> None:
    env = DoctorEnvironment(sick(), HEALTHY["NAT"].rules)
    enter = "    # nsenter --net=/run/netns/blue sysctl -w"
    assert run(env, "--doctor --netns blue") == (2, NAT_OFF.replace("    # sysctl -w", enter), "")
    (finding,) = json.loads(run(env, "--doctor --json --netns 42")[1])["findings"]
    assert finding["fix"] == ["nsenter --net=/proc/42/ns/net sysctl -w net.ipv4.ip_forward=1"]
    assert env.places == ["blue", "", "42", ""]


def test_a_warning_alone() -> None:
    env = DoctorEnvironment(rules=("-A -t 172.16.100.1:80 -s rr -M 255.0.0.0", *DIRECT.rules[1:]))
    status, text, _ = run(env, "--doctor")
    assert status == 1
    assert text.endswith("\n0 errors, 1 warning.\n")


def test_probing_leaves_out_servers_at_weight_0() -> None:
    env = DoctorEnvironment(
        rules=(
            *DIRECT.rules,
            "-a -t 172.16.100.1:80 -r 172.16.100.9 -w 0",
            "-A -f 3",
            "-a -f 3 -r 172.16.100.7",
        )
    )
    status, text, _ = run(env, "--doctor --probe")
    assert status == 2
    assert sorted(env.patient.probed) == [
        ("172.16.100.7", 0),
        ("172.16.100.7", 80),
        ("172.16.100.8", 80),
    ]
    assert text.count("[server-refuses]") == 3


def test_without_the_module_the_table_is_not_opened() -> None:
    env = DoctorEnvironment(ipvs=False)
    status, text, _ = run(env, "--doctor")
    assert (status, env.specs) == (2, [])
    assert "# modprobe ip_vs\n" in text
    assert run(env, "--backend memory --doctor")[0] == 0


def test_a_real_server_needs_no_table() -> None:
    env = DoctorEnvironment(REAL["DR"][1], ipvs=False)
    assert run(env, "--doctor --real-server-for 172.16.100.1 --director 172.16.100.2") == (
        0,
        "Nothing wrong was found.\n",
        "",
    )
    assert env.patient.asked == [{"172.16.100.1", OUTSIDE[AF_INET]}, set(), set()]
    assert env.specs == []
    assert run(env, "--doctor --real-server-for 172.16.100.1 -i")[0] == 2


def test_what_cannot_be_read_is_neither_good_nor_bad() -> None:
    class Locked(DoctorEnvironment):
        def open_backend(self, spec: str) -> Backend:
            raise OperationError(f"no {spec}", 2)

    assert run(Locked(), "--doctor") == (3, "", "no kernel\n")


def test_without_proc_nothing_is_said_of_the_module() -> None:
    for words in ("--doctor", "--doctor --real-server-for 172.16.100.1"):
        env = DoctorEnvironment(ipvs=False)
        env.patient.proc = False
        said = "/proc is not mounted: without it neither the table nor the host can be examined; mount -t proc proc /proc\n"
        assert run(env, words) == (3, "", said)
        assert env.specs == []


class Busy(MemoryBackend):
    """Hold a table with connections."""

    lines: tuple[bytes, ...] | None = ()

    def iter_connections(self) -> Iterator[bytes]:
        if self.lines is None:
            raise OperationError("cannot open file")
        return iter((b"Pro FromIP\n", *self.lines))


def entry(server: str, state: str, expires: int, virtual: str = "AC106401 0050") -> bytes:
    return f"TCP AC10640A 9C40 {virtual} {server} 0050 {state} {expires}\n".encode()


def test_connections_that_stay_in_syn_recv() -> None:
    env = DoctorEnvironment(copy.deepcopy(HEALTHY["DR"].facts))
    env.patient.found.answers = {}
    env.table = table = Busy(interfaces={"eth0"}.__contains__)
    apply_all(table, DIRECT.rules)
    stays = entry("AC106408", "SYN_RECV", 50)
    table.lines = (
        stays,
        stays,
        stays,
        entry("AC106407", "ESTABLISHED", 890),
        entry("AC106407", "SYN_RECV", 59),
    )
    status, text, _ = run(env, "--doctor")
    assert (status, text.count("[server-syn-recv]")) == (1, 1)
    assert "172.16.100.8:80: connections to the server stay in SYN_RECV" in text
    assert "3 of 3 connections to it stay in SYN_RECV." in text
    table.lines = None  # the listing cannot be read
    assert run(env, "--doctor") == (0, UNSEEN, "")


WRONG = [
    ("--doctor -n", 2, "Illegal 'numeric' option with the 'doctor' command\n"),
    ("--doctor -i", 2, "You need to supply the 'real-server-for' option for the 'forwarding-method' option\n"),
    ("--doctor --director 10.0.0.1", 2, "You need to supply the 'real-server-for' option for the 'director' option\n"),
    ("--doctor --probe --real-server-for 10.0.0.1", 2,
     "The option 'probe' conflicts with the 'real-server-for' option in the 'doctor' command\n"),
    ("--doctor --real-server-for 10.0.0.1:80", 2,
     "illegal real-server-for address `10.0.0.1:80': it is an address without a port\n"),
    ("--doctor --real-server-for nowhere", 2, "illegal real-server-for address `nowhere': it is an address without a port\n"),
    ("--doctor --real-server-for 10.0.0.1 --director ::1%", 2,
     "illegal director address `::1%': it is an address without a port\n"),
    ("--doctor --unknown", 255, "--unknown: unknown option\n"),
    ("-L --probe", 2, "Illegal 'probe' option with the 'list' command\n"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "status", "stderr"), WRONG)
def test_a_wrong_request(words: str, status: int, stderr: str) -> None:
    env = DoctorEnvironment()
    assert run(env, words) == (status, "", stderr)


def test_the_doctor_does_not_belong_in_rules() -> None:
    env = FakeEnvironment(b"-A -f 1\n--doctor\n")
    assert run(env, "-R") == (
        2,
        "",
        "line 2: --doctor does not belong in rules: give it on the command line\n",
    )
    assert env.table.read_services() == []


def test_explanations() -> None:
    env = DoctorEnvironment()
    status, text, _ = run(env, "--doctor --explain vip-missing")
    assert status == 0
    assert text.startswith(
        "vip-missing (error): the virtual address is not configured here\n  IPVS only sees"
    )
    status, text, _ = run(env, "--doctor --explain all")
    assert [line.split(" ")[0] for line in text.splitlines() if line[:1].strip()] == [
        row.code for row in CODES
    ]
    env.shows = (50, 24)
    narrow = run(env, "--doctor --explain vip-missing")[1]
    assert max(map(len, narrow.splitlines())) <= 50
    assert all(line.startswith("  ") for line in narrow.splitlines()[1:])
    assert narrow.split() == text[text.index("vip-missing") :].split("\n\n")[0].split()
    status, _, stderr = run(env, "--doctor --explain vip")
    assert status == 2
    assert stderr.startswith("unknown code `vip': it is all, or one of\n  module-missing\n")


@pytest.mark.parametrize("row", CODES, ids=[row.code for row in CODES])
def test_every_code_has_its_sentences(row: tuple[str, ...]) -> None:
    code, severity, title, reason, fix = row
    assert code == code.lower()
    assert severity in ("error", "warning")
    assert title == title.rstrip(".")
    assert reason.endswith(".")
    assert fix.endswith(".")


def test_odd_names_of_interfaces_are_quoted() -> None:
    assert (
        format_shell_command("ip link set dev {link} up", link="a;reboot")
        == "ip link set dev 'a;reboot' up"
    )
    assert (
        format_sysctl("net/ipv4/conf/eth0.7/rp_filter", 2)
        == "sysctl -w net/ipv4/conf/eth0.7/rp_filter=2"
    )
    assert (
        format_sysctl("net/ipv4/conf/$x/rp_filter", 2) == "sysctl -w 'net.ipv4.conf.$x.rp_filter'=2"
    )


def test_names_of_interfaces_do_not_steer_the_terminal() -> None:
    link = Link("\x1b[2J\udcff\u05d0", up=False)
    facts = Facts(
        links={link.name: link},
        addresses=[Address("172.16.100.1", 32, link.name)],
        routes=DIRECT.facts.routes,
    )
    _, text, _ = run(DoctorEnvironment(facts, DIRECT.rules), "--doctor")
    assert "172.16.100.1 is on ?[2J??, which is down.\n" in text
    _, text, _ = run(DoctorEnvironment(facts, DIRECT.rules), "--doctor --json")
    named = link.name.replace("\udcff", "\\xff")
    assert json.loads(text)["findings"][0]["fix"] == [f"ip link set dev '{named}' up"]


# --- the probe


@pytest.fixture
def listening() -> Iterable[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield "127.0.0.1", server.getsockname()[1]


@pytest.fixture
def refusing() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return "127.0.0.1", server.getsockname()[1]


def test_probes(listening: tuple[str, int], refusing: tuple[str, int]) -> None:
    found = Facts(links={"lo": Link("lo")}, routes={"127.0.0.1": Route("local", "lo")})
    way = ("127.0.0.1", 0)
    probe.probe_servers(
        found, [listening, refusing, way, listening], lambda: {"127.0.0.1": "stale"}
    )
    assert found.answers == {
        listening: ProbeResult("stale", "open"),
        refusing: ProbeResult("stale", "refused"),
        way: ProbeResult("stale", ""),
    }
    assert found.unprobed == 0


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue accepts no more: the kernel drops further connections."""
    monkeypatch.setattr(probe, "CONNECT_TIMEOUT", 0.2)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        silent = server.getsockname()
        with socket.create_connection(silent):
            found = Facts()
            probe.probe_servers(found, [silent], dict)
    assert found.answers == {silent: ProbeResult("", probe.SILENT)}


def test_few_files_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer servers are probed at once, and all in the end."""
    monkeypatch.setattr(probe, "CONNECT_TIMEOUT", 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(probe, "SPARE_FILES", opened + 16)
    with socket.socket() as server:
        server.bind(("", 0))
        server.listen(0)
        port = server.getsockname()[1]
        # the queue is full: new connections are not answered
        with socket.create_connection(("127.0.0.1", port)):
            servers = [(f"127.0.0.{number}", port) for number in range(1, 121)]
            found = Facts()
            resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 64, hard))
            try:
                probe.probe_servers(found, servers, dict)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found.answers == dict.fromkeys(servers, ProbeResult("", probe.SILENT))
    assert found.unprobed == 0


@pytest.mark.parametrize(
    ("limit", "count"), [(resource.RLIM_INFINITY, 500), (1024, 500), (200, 168), (33, 1), (20, 1)]
)
def test_how_many_are_asked_at_once(
    limit: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyipvsadm.doctor.probe.resource.getrlimit", lambda _: (limit, limit))
    assert probe.count_sockets_at_once() == count


def test_what_there_is_no_time_for(
    listening: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "TOTAL_TIMEOUT", 0.0)
    found = Facts()
    probe.probe_servers(found, [listening], dict)
    assert (found.answers, found.unprobed) == ({}, 1)


def test_servers_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no route: the system reports it at once."""

    class Nowhere(socket.socket):
        def connect_ex(self, _: object, /) -> int:
            return errno.ENETUNREACH if self.type == socket.SOCK_STREAM else 0

        def send(self, *_: object) -> int:
            raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(socket, "socket", Nowhere)
    found = Facts()
    probe.probe_servers(found, [("192.0.2.1", 80), ("192.0.2.1", 0), ("2001:db8::1", 80)], dict)
    assert found.answers == {
        ("192.0.2.1", 80): ProbeResult("", "Network is unreachable"),
        ("192.0.2.1", 0): ProbeResult("", ""),
        ("2001:db8::1", 80): ProbeResult("", "Network is unreachable"),
    }


def test_the_doctor_looks_at_one_service() -> None:
    env = DoctorEnvironment(
        rules=(*DIRECT.rules, "-A -t 172.16.100.1:81 -s rr", "-A -u 172.16.100.1:53 -s rr")
    )
    assert "[no-servers]" in run(env, "--doctor")[1]
    web = DIRECT.rules[0].split()[2]
    assert run(env, f"--doctor -t {web}") == (0, UNSEEN, "")
    status, out, _ = run(env, f"--doctor -t {web} -t 172.16.100.1:81")
    assert (status, out.count("[no-servers]")) == (2, 1)
    assert run(env, "--doctor -t 172.16.100.1:99") == (3, "", "No such service\n")
    assert run(env, f"--doctor --real-server-for 172.16.100.1 -t {web}") == (
        2,
        "",
        "--real-server-for examines this host: give no service with it\n",
    )
