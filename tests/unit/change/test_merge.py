"""Test edits that keep the settings that are not given: which server is meant, what stays, and that
an edit with all settings is a plain edit.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyipvsadm import cli
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.change import merge
from pyipvsadm.errors import RefusedError
from pyipvsadm.grammar.parser import CommandParser
from pyipvsadm.model import GET_SERVICE, SET_DEST, Change, Server, Service
from pyipvsadm.rules import writer
from tests.older_python import zip_equal
from tests.unit.fake_environment import FakeEnvironment, FakeNames, apply_all, lines

if TYPE_CHECKING:
    from pyipvsadm.model import Backend

START = (
    "-A -t 10.0.0.1:80 -s sh -p 60 -M 255.255.255.0 -b sh-port",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 3 -x 10 -y 5",
    "-a -t 10.0.0.1:80 -r 10.0.0.3:80 -g -w 1",
    "-a -t 10.0.0.1:80 -r 10.0.0.3:81 -m -w 1",
    "-a -t 10.0.0.1:80 -r 10.0.0.4:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
    "-a -t 10.0.0.1:80 -r [fd00::4]:80 -i -w 1 --tun-type ipip",
    "-A -u 10.0.0.1:53 -s rr --pe sip -o",
    "-A -f 8 -s wlc",
    "-a -f 8 -r 10.0.0.2:0 -g -w 1",
)


def save(table: Backend) -> list[str]:
    """Return the table's rules in numbers, without timeouts."""
    return "".join(writer.dump_table(table)).splitlines()[2:]


def edited(command: str) -> tuple[int, str, set[tuple[str, str]]]:
    """Run an edit. Return its status, its messages, and each rule that it changed, before and
    after.
    """
    env = FakeEnvironment()
    apply_all(env.table, START)
    before = save(env.table)
    status = cli.main(command.split(), env)
    return (
        status,
        env.stderr,
        {pair for pair in zip_equal(before, save(env.table)) if pair[0] != pair[1]},
    )


T = "-t 10.0.0.1:80"
NAT = f"-a {T} -r 10.0.0.2:8080"
GUE = f"-a {T} -r 10.0.0.4:80"
MASK = "-M 255.255.255.0"


@pytest.mark.parametrize(
    ("command", "before", "after"),
    [
        (f"-e {T} -r 10.0.0.2 --keep -w 0", f"{NAT} -m -w 3 -x 10 -y 5", f"{NAT} -m -w 0 -x 10 -y 5"),
        (f"-e {T} -r 10.0.0.2:8080 -x 20 --keep", f"{NAT} -m -w 3 -x 10 -y 5", f"{NAT} -m -w 3 -x 20 -y 5"),
        (f"-e {T} -r 10.0.0.2 -i --keep", f"{NAT} -m -w 3 -x 10 -y 5", f"{NAT} -i -w 3 -x 10 -y 5 --tun-type ipip"),
        (f"-e {T} -r 10.0.0.4 -w 9 --keep", f"{GUE} -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
         f"{GUE} -i -w 9 --tun-type gue --tun-port 6080 --tun-csum"),
        (f"-e {T} -r 10.0.0.4 --tun-nocsum --keep", f"{GUE} -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
         f"{GUE} -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum"),
        (f"-e {T} -r 10.0.0.4 --tun-port 7 --keep", f"{GUE} -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
         f"{GUE} -i -w 1 --tun-type gue --tun-port 7 --tun-csum"),
        (f"-e {T} -r 10.0.0.4 --tun-type gre --keep", f"{GUE} -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
         f"{GUE} -i -w 1 --tun-type gre --tun-nocsum"),
        (f"-e {T} -r 10.0.0.4 -m --keep", f"{GUE} -i -w 1 --tun-type gue --tun-port 6080 --tun-csum", f"{GUE} -m -w 1"),
        (f"-e {T} -r [fd00::4]:80 -w 2 --keep", f"-a {T} -r [fd00::4]:80 -i -w 1 --tun-type ipip",
         f"-a {T} -r [fd00::4]:80 -i -w 2 --tun-type ipip"),
        ("-e -f 8 -r 10.0.0.2 -w 2 --keep", "-a -f 8 -r 10.0.0.2:0 -g -w 1", "-a -f 8 -r 10.0.0.2:0 -g -w 2"),
        (f"-E {T} --keep -s mh", f"-A {T} -s sh -p 60 {MASK} -b sh-port", f"-A {T} -s mh -p 60 {MASK} -b mh-port"),
        (f"-E {T} --keep -b sh-fallback", f"-A {T} -s sh -p 60 {MASK} -b sh-port",
         f"-A {T} -s sh -p 60 {MASK} -b sh-fallback"),
        (f"-E {T} --keep -b +sh-fallback", f"-A {T} -s sh -p 60 {MASK} -b sh-port",
         f"-A {T} -s sh -p 60 {MASK} -b sh-fallback,sh-port"),
        (f"-E {T} --keep -b -sh-port", f"-A {T} -s sh -p 60 {MASK} -b sh-port", f"-A {T} -s sh -p 60 {MASK}"),
        (f"-E {T} --keep -b +flag-3,-flag-2,", f"-A {T} -s sh -p 60 {MASK} -b sh-port",
         f"-A {T} -s sh -p 60 {MASK} -b flag-3"),
        (f"-E {T} --keep -s mh -b +mh-fallback", f"-A {T} -s sh -p 60 {MASK} -b sh-port",
         f"-A {T} -s mh -p 60 {MASK} -b mh-fallback,mh-port"),
        (f"-E {T} --keep -s mh -b mh-port,mh-fallback", f"-A {T} -s sh -p 60 {MASK} -b sh-port",
         f"-A {T} -s mh -p 60 {MASK} -b mh-fallback,mh-port"),
        (f"-E {T} --keep -p 90", f"-A {T} -s sh -p 60 {MASK} -b sh-port", f"-A {T} -s sh -p 90 {MASK} -b sh-port"),
        (f"-E {T} --keep -M 255.255.0.0", f"-A {T} -s sh -p 60 {MASK} -b sh-port",
         f"-A {T} -s sh -p 60 -M 255.255.0.0 -b sh-port"),
        ("-E -u 10.0.0.1:53 --keep -s wrr", "-A -u 10.0.0.1:53 -s rr --pe sip -o", "-A -u 10.0.0.1:53 -s wrr --pe sip -o"),
        ("-E -f 8 --keep -o --pe sip", "-A -f 8 -s wlc", "-A -f 8 -s wlc --pe sip -o"),
    ],
)  # fmt: skip
def test_what_is_not_given_stays(command: str, before: str, after: str) -> None:
    assert edited(command) == (0, "", {(before, after)})


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (
            f"-e {T} -r 10.0.0.3 --keep -w 2",
            2,
            "which real server is meant? Give one with its port: 10.0.0.3:80, 10.0.0.3:81",
        ),
        (f"-e {T} -r 10.0.0.2:80 --keep -w 2", 255, "No such destination: there is 10.0.0.2:8080"),
        (f"-e {T} -r 10.0.0.9 --keep -w 2", 255, "No such destination"),
        ("-e -t 10.0.0.9:80 -r 10.0.0.9 --keep -w 2", 255, "Service not defined"),
        ("-E -t 10.0.0.9:80 --keep", 255, "No such service"),
        (f"-E {T} --keep -b mh-port", 2, "incompatible scheduler flag `mh-port'"),
        (f"-E {T} --keep -b +mh-port", 2, "incompatible scheduler flag `mh-port'"),
        (f"-E {T} --keep -b +", 2, "invalid scheduler flag `'"),
        (f"-E {T} --keep -s mh -b +sh-port", 2, "incompatible scheduler flag `sh-port'"),
        (f"-E {T} -s sh -b +sh-port", 2, "invalid scheduler flag `+sh-port'"),
        (
            f"-E {T} --keep -b +sh-fallback,sh-port",
            2,
            "scheduler flag `sh-port' has no + or -, and others have: give all of them one, or none",
        ),
        (
            f"-e {T} -r 10.0.0.2 --keep --tun-type gre",
            2,
            "Tunnel options conflict with forward method",
        ),
        (
            f"-e {T} -r 10.0.0.4 --keep -m --tun-type gre",
            2,
            "Tunnel options conflict with forward method",
        ),
        (
            f"-e {T} -r 10.0.0.2 --keep -i --tun-type gue",
            2,
            "You need to supply the 'tun-port' option for the 'gue' tunnel type",
        ),
        (
            f"-e {T} -r [fd00::4]:80 --keep -m",
            2,
            "Different address family is allowed only for tunneling servers",
        ),
        (f"-e {T} -r 10.0.0.2 --keep -y 11", 255, "Numerical result out of range"),
        (f"-a {T} -r 10.0.0.2 --keep", 2, "Illegal 'keep' option with the 'add-server' command"),
    ],
)
def test_what_does_not_go_changes_nothing(command: str, status: int, said: str) -> None:
    assert edited(command) == (status, lines(said), set())


def test_a_service_without_port_and_persistence_is_not_sent() -> None:
    # 1.31 cannot make one; another program can
    with pytest.raises(Exception, match="Zero port specified for non-persistent service"):
        merge.merge_service(Service(2, 6, bytes(4)), Service(2), set(), "")


def test_a_tunnel_type_of_a_newer_kernel_is_kept() -> None:
    of = Service(2, 6, bytes(4), 80)
    present = Server(2, bytes(4), 80, 2, 1, tun_type=9, tun_port=1)
    assert merge.merge_server(of, present, Server(2, bytes(4), 80, weight=5), {"weight"}) == Server(
        2, bytes(4), 80, 2, 5, tun_type=9, tun_port=1
    )


def test_a_refusal_of_another_kind_is_not_taken_for_an_absence() -> None:
    class Closed(MemoryBackend):
        def find_service(self, wanted: Service) -> Service:  # noqa: ARG002
            raise RefusedError(GET_SERVICE, errno.EPERM)

    with pytest.raises(RefusedError, match="Permission denied"):
        merge.find_service(Closed(), Service(2), SET_DEST)


def test_a_server_that_one_dump_left_out_is_found() -> None:
    class Skipping(MemoryBackend):
        dumps = 0

        def read_servers(self, service: Service) -> list[Server]:
            self.dumps += 1
            return [] if self.dumps < merge.TRIES else super().read_servers(service)

    table = Skipping()
    apply_all(table, START[:2])
    (service,) = table.read_services()
    found = merge.find_server(table, service, Server(2, bytes([10, 0, 0, 2]), 0), None)
    assert (found.port, table.dumps) == (8080, merge.TRIES)


methods = st.one_of(
    st.sampled_from(["-g", "-m", "-i --tun-type ipip"]),
    st.builds("-i --tun-type {} {}".format, st.sampled_from(["gre", "gue --tun-port 5", "gue --tun-port 6"]),
              st.sampled_from(["--tun-nocsum", "--tun-csum"])),
)  # fmt: skip
servers = st.builds(
    "{} -w {} -x {} -y {}".format, methods, st.integers(0, 9), st.integers(5, 9), st.integers(0, 5)
)
services = st.builds(
    "-s {} -p {} -M {} --pe sip -o -b {}".format,
    st.sampled_from(["rr", "sh", "mh"]),
    st.integers(1, 9),
    st.sampled_from(["255.0.0.0", "255.255.255.255"]),
    st.sampled_from(["flag-1", "flag-2", "flag-1,flag-2"]),
)
S, R = "-u 10.0.0.1:80", "-r 10.0.0.2:80"


def after(service: str, server: str, command: str) -> tuple[list[str], Change]:
    """Return the rules after an edit of that service and server, and the change that was
    requested.
    """
    table = MemoryBackend()
    for words in (f"-A {S} {service}", f"-a {S} {R} {server}"):
        asked = CommandParser(words.split(), FakeNames()).parse_request().change
        assert asked is not None
        assert table.apply([asked]) == []
    request = CommandParser(command.split(), FakeNames()).parse_request()
    asked = merge.merge_edit(request, table) if "keep" in request.ours else request.change
    assert asked is not None
    assert table.apply([asked]) == []
    return save(table), asked


@given(services, servers, services, servers)
def test_all_given_is_a_plain_edit_and_none_given_changes_nothing(
    s: str, r: str, new_s: str, new_r: str
) -> None:
    start = [f"-A {S} {s}", f"-a {S} {R} {r}"]
    for edit in (f"-e {S} {R} {new_r}", f"-E {S} {new_s}"):
        assert after(s, r, f"{edit} --keep")[0] == after(s, r, edit)[0]
    for edit in (f"-e {S} {R}", f"-E {S}"):
        table = MemoryBackend()
        apply_all(table, start)
        assert after(s, r, f"{edit} --keep")[0] == save(table)
