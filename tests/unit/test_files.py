"""Test files that are replaced whole, their lock, and the embedded table in a file."""

from __future__ import annotations

import _thread
import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyipvsadm import files, locks, model
from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.backends.table_file import TableFileBackend
from pyipvsadm.errors import OperationError
from pyipvsadm.model import AF_INET, TCP, Change, Server, Service
from pyipvsadm.rules import reader, writer
from tests.unit.fake_environment import FakeEnvironment, apply_all, lines

if TYPE_CHECKING:
    from pathlib import Path


def test_replace_and_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert files.read_if_exists(str(path)) == b""
    with pytest.raises(OperationError, match=r"cannot read .*: No such file or directory"):
        files.read_file(str(path))
    files.replace_file(str(path), "one\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    files.replace_file(str(path), "two\udcff\n")
    assert files.read_file(str(path)) == files.read_if_exists(str(path)) == b"two\xff\n"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_replace_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files.replace_file("file", "text")
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_failed_replace_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"pyipvsadm.files.os.{call}", fail)
    with pytest.raises(OperationError, match=r"cannot write .*/file: No space left on device"):
        files.replace_file(str(path), "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_does_not_sync_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(fd)

    monkeypatch.setattr("pyipvsadm.files.os.fsync", fsync)
    files.replace_file(str(tmp_path / "file"), "text")
    assert (tmp_path / "file").read_text() == "text"


def test_replace_does_not_write_through_a_planted_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that an earlier process has left does not stop it either: it tries other names, a
    limited number of times.
    """
    path, victim = tmp_path / "file", tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "file.00000000.new").symlink_to(victim)
    names = [bytes(4), bytes(4), b"\1\1\1\1"]
    monkeypatch.setattr("pyipvsadm.files.os.urandom", lambda _: names.pop(0))
    files.replace_file(str(path), "text")
    assert (path.read_text(), victim.read_text(), names) == ("text", "precious", [])
    monkeypatch.setattr("pyipvsadm.files.os.urandom", bytes)
    with pytest.raises(OperationError, match=r"cannot write .*/file: File exists"):
        files.replace_file(str(path), "more")
    assert (path.read_text(), victim.read_text()) == ("text", "precious")


@pytest.mark.parametrize(
    ("path", "replaced", "locked"),
    [
        (
            "{}/no/file",
            "cannot write .*: No such file or directory",
            "cannot write .*: No such file or directory",
        ),
        ("{}", "it is a directory", "is not a regular file"),
        ("{}/new/", "No such file or directory", "Is a directory"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(
    tmp_path: Path, path: str, replaced: str, locked: str
) -> None:
    name = path.format(tmp_path)
    with pytest.raises(OperationError, match=replaced):
        files.replace_file(name, "")
    with pytest.raises(OperationError, match=locked), locks.Lock(name):
        pass


def test_a_folder_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="Is a directory"):
        files.read_file(str(tmp_path))


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pyipvsadm.files.os.open", refused)
    with pytest.raises(OperationError, match="Permission denied"):
        files.read_file(str(tmp_path / "file"))


class Holder:
    """Run another process that holds the lock of a file, or of this namespace."""

    def __init__(self, path: Path | None) -> None:
        made = "locks.lock_namespace(print, '')" if path is None else f"locks.Lock({str(path)!r})"
        script = (
            f"from pyipvsadm import locks\nwith {made}:\n    print('held', flush=True)\n    input()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.getcwd()},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"held\n"
        self.pid = self._process.pid

    def let_go(self) -> None:
        """End the process."""
        self._process.communicate(b"\n")


@pytest.mark.parametrize("what", ["a file", "a namespace"])
def test_who_comes_second_waits_and_says_for_whom(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "NOTICE_DELAY", 0.0)
    path = tmp_path / "file" if what == "a file" else None
    holder = Holder(path)
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        holder.let_go()

    with (
        locks.lock_namespace(tell, "busy") if path is None else locks.Lock(str(path), tell, "busy")
    ):
        assert told == [f"busy (process {holder.pid}): waiting until it ends"]
    with locks.lock_namespace(tell, "busy") if path is None else locks.Lock(str(path), tell):
        assert len(told) == 1


@pytest.mark.parametrize("threads", [True, False])
def test_a_short_wait_is_no_matter(
    threads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No message comes for a short wait; none for a long one either if the user may start no more
    threads.
    """
    holder = Holder(tmp_path / "file")
    real = fcntl.flock

    def flock(fd: int, how: int) -> None:
        if how == fcntl.LOCK_EX:
            holder.let_go()
        real(fd, how)

    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("pyipvsadm.locks.fcntl.flock", flock)
    monkeypatch.setattr(locks, "NOTICE_DELAY", 600.0 if threads else 0.0)
    if not threads:
        monkeypatch.setattr("pyipvsadm.locks._thread.start_new_thread", refused)
    with locks.Lock(str(tmp_path / "file"), pytest.fail):
        pass


def test_an_interrupt_ends_the_waiting(tmp_path: Path) -> None:
    holder = Holder(tmp_path / "table")
    waiting = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pyipvsadm",
            "--backend",
            f"memory:{tmp_path / 'table'}",
            "-A",
            "-f",
            "1",
        ],
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    assert waiting.stderr is not None
    said = waiting.stderr.readline().decode()
    assert said.endswith(
        f"is being changed by another command (process {holder.pid}): waiting until it ends\n"
    )
    waiting.send_signal(signal.SIGINT)
    assert waiting.communicate()[1] == b""
    assert waiting.returncode == -signal.SIGINT
    holder.let_go()
    assert (tmp_path / "table").read_bytes() == b""


def test_an_exception_ends_the_waiting_and_a_holder_that_cannot_be_found_is_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "NOTICE_DELAY", 0.0)
    said = _thread.allocate_lock()
    said.acquire()
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        said.release()

    def flock(_: int, how: int) -> None:
        if how != fcntl.LOCK_EX:
            raise BlockingIOError(errno.EAGAIN, "busy")
        said.acquire()
        raise KeyboardInterrupt

    def refused(_: str) -> bytes:
        raise OperationError("no /proc")

    monkeypatch.setattr("pyipvsadm.locks.fcntl.flock", flock)
    monkeypatch.setattr(locks, "read_file", refused)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt), locks.Lock(str(tmp_path / "file"), tell, "busy"):
        pass
    assert told == ["busy: waiting until it ends"]
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("path", "why"),
    [("{}/none", "No such file or directory"), ("{}/loop", "Too many levels of symbolic links")],
)
def test_without_a_lock_of_the_namespace_it_goes_on(
    path: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setattr(locks, "NAMESPACE_LOCK", path.format(tmp_path))
    told: list[str] = []
    with locks.lock_namespace(told.append, "busy"):
        assert told == [
            f"cannot lock {path.format(tmp_path)}: {why}; do not run another ipvsadm at the same time"
        ]


def test_the_lock_is_on_the_file_that_is_there_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that waited for a file that was replaced meanwhile must not hold the lock of the
    old one.
    """
    path = tmp_path / "file"
    real = fcntl.flock
    times = []

    def flock(fd: int, how: int) -> None:
        real(fd, how)
        times.append(fd)
        if len(times) == 1:
            files.replace_file(str(path), "new")
        elif len(times) == 2:
            path.unlink()

    monkeypatch.setattr("pyipvsadm.locks.fcntl.flock", flock)
    with locks.Lock(str(path)):
        assert len(times) == 3
        assert path.exists()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("pyipvsadm.locks.fcntl.flock", flock)
    with (
        pytest.raises(OperationError, match=r"cannot lock .*No locks available"),
        locks.Lock(str(tmp_path / "file")),
    ):
        pass


# --- the embedded table in a file

RULES = (
    "--set 100 200 300",
    "--start-daemon backup --mcast-interface lo --syncid 7 --mcast-group ff02::81",
    "-A -t 10.0.0.1:80 -s sh -b sh-port -M 255.255.255.0",
    "-a -t 10.0.0.1:80 -r 10.0.0.4:8080 -m -w 3 -x 10 -y 5",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -i --tun-type gue --tun-port 6080 --tun-csum",
    "-A -f 4294967295 -6 -p 30 -M 64",
    "-a -f 4294967295 -6 -r [2001:db8::2]:0 -g -w 0",
    "-A -u 10.0.0.1:5060 -p --pe sip -o",
    "-A --sctp-service [2001:db8::1]:9 -s mh -b mh-fallback,mh-port",
)
TEXT = lines(
    "# ipvsadm rules, format 1",
    "--set 100 200 300",
    "--start-daemon backup --mcast-interface lo --syncid 7 --sync-maxlen 65487 --mcast-group ff02::81 --mcast-port 8848"
    " --mcast-ttl 1",
    "-A -t 10.0.0.1:80 -s sh -M 255.255.255.0 -b sh-port",
    "-a -t 10.0.0.1:80 -r 10.0.0.4:8080 -m -w 3 -x 10 -y 5",
    "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
    "-A -u 10.0.0.1:5060 -s wlc -p 360 --pe sip -o",
    "-A --sctp-service [2001:db8::1]:9 -s mh -b mh-fallback,mh-port",
    "-A -f 4294967295 -6 -s wlc -p 30 -M 64",
    "-a -f 4294967295 -6 -r [2001:db8::2]:0 -g -w 0",
)


def contents(table: Any) -> tuple[Any, ...]:
    services = table.read_services()
    return (
        table.read_timeouts(),
        table.read_daemons(),
        services,
        [table.read_servers(each) for each in services],
    )


def test_the_file_is_rule_text_that_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "table"
    table = TableFileBackend(str(path))
    apply_all(table, RULES)
    assert path.read_text() == TEXT
    assert contents(TableFileBackend(str(path))) == contents(table)
    newest_first = [
        each.port
        for each in TableFileBackend(str(path)).read_servers(
            Service(AF_INET, TCP, bytes([10, 0, 0, 1]), 80)
        )
    ]
    assert newest_first == [80, 8080]


def test_reading_makes_no_file(tmp_path: Path) -> None:
    assert TableFileBackend(str(tmp_path / "table")).read_services() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", ["", "  ", "\t\t", " \r", " \r\n"])
def test_a_last_line_written_by_hand_counts(tmp_path: Path, end: str) -> None:
    path = tmp_path / "table"
    path.write_bytes(f"-A -f 1 -s wlc\n-A -f 2 -s wlc{end}".encode())
    assert [service.fwmark for service in TableFileBackend(str(path)).read_services()] == [1, 2]


def test_a_refused_change_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text("-A -f 1 -s wlc # by hand\n".replace(" # by hand", "") + "# by hand\n")
    before = path.read_text()
    table = TableFileBackend(str(path))
    assert table.apply([Change(model.NEW_SERVICE, Service(AF_INET, fwmark=1))]) == [
        (0, errno.EEXIST)
    ]
    assert path.read_text() == before


def test_two_commands_that_opened_the_file_both_take_effect(tmp_path: Path) -> None:
    path = str(tmp_path / "table")
    first, second = TableFileBackend(path), TableFileBackend(path)
    apply_all(first, ["-A -f 1"])
    apply_all(second, ["-A -f 2"])
    assert [each.fwmark for each in TableFileBackend(path).read_services()] == [1, 2]


def test_refreshed_it_is_what_the_file_is_now(tmp_path: Path) -> None:
    path = tmp_path / "table"
    table = TableFileBackend(str(path))
    table.refresh()
    assert table.read_services() == []
    path.write_text("-A -f 1\n")
    assert table.read_services() == []
    table.refresh()
    assert [each.fwmark for each in table.read_services()] == [1]
    path.write_text("nonsense\n")
    for _ in range(2):  # a damaged file is read again each time
        with pytest.raises(OperationError, match="this is not a rule"):
            table.refresh()
    path.unlink()
    table.refresh()
    assert table.read_services() == []


def test_a_file_that_did_not_change_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table"
    path.write_text("-A -f 1\n")
    table = TableFileBackend(str(path))
    monkeypatch.setattr("pyipvsadm.files.read_if_exists", pytest.fail)
    table.refresh()
    assert [each.fwmark for each in table.read_services()] == [1]


def test_alone_with_a_file_nobody_sees_half_of_what_is_done(tmp_path: Path) -> None:
    path = str(tmp_path / "table")
    first, second = TableFileBackend(path), TableFileBackend(path)
    apply_all(second, ["-A -f 1"])
    with first.lock_table():
        assert [each.fwmark for each in first.read_services()] == [1]  # what the file holds now
        apply_all(first, ["-A -f 2"])
        apply_all(first, ["-A -f 3"])
        assert [each.fwmark for each in TableFileBackend(path).read_services()] == [1]
        with open(path, "rb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert [each.fwmark for each in TableFileBackend(path).read_services()] == [1, 2, 3]


def test_alone_with_a_file_an_exception_stores_nothing(tmp_path: Path) -> None:
    path = tmp_path / "table"
    table = TableFileBackend(str(path))

    def broken() -> None:
        with table.lock_table():
            apply_all(table, ["-A -f 2"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert path.read_text() == ""  # the lock has made it
    path.write_text("nonsense\n")
    with pytest.raises(OperationError, match="this is not a rule"), table.lock_table():
        pass
    path.unlink()
    apply_all(table, ["-A -f 1"])  # the lock is free again


def test_nobody_is_kept_out_of_a_table_in_memory() -> None:
    table = MemoryBackend()
    with table.lock_table(), table.lock_table():
        apply_all(table, ["-A -f 1"])


def test_a_file_that_is_removed_is_an_empty_table_again(tmp_path: Path) -> None:
    path = tmp_path / "table"
    table = TableFileBackend(str(path))
    apply_all(table, RULES)
    path.unlink()
    apply_all(table, ["-A -f 1"])
    assert path.read_text() == lines(
        "# ipvsadm rules, format 1", "--set 900 120 300", "-A -f 1 -s wlc"
    )


DAMAGED: list[tuple[str, bytes, str]] = [
    ("a stray word", b"-A -f 1\nnonsense\n", "line 2: this is not a rule"),
    ("an unknown option", b"-A -f 1 --nope\n", "line 1: --nope: unknown option"),
    ("a bad value", b"\n-A -f 0\n", "line 2: invalid fwmark value `0' specified"),
    ("a name", b"-A -t localhost:http\n", "line 1: illegal virtual server address"),
    ("a rule twice", b"-A -f 1\n-A -f 1\n", "line 2: Service already exists"),
    ("a server without its service", b"-a -f 1 -r 10.0.0.1\n", "line 1: Service not defined"),
    ("a listing", b"-L\n", "line 1: list is not allowed in a table file"),
    (
        "a command that takes away",
        b"-A -f 1\n-C\n",
        "line 2: clear is not allowed in a table file",
    ),
    ("binary", bytes(range(256)), "line 1: this is not a rule"),
]


@pytest.mark.parametrize(("text", "said"), [pytest.param(t, s, id=name) for name, t, s in DAMAGED])
def test_a_damaged_file_is_told_with_its_line_and_left_as_it_is(
    tmp_path: Path, text: bytes, said: str
) -> None:
    path = tmp_path / "table"
    path.write_bytes(text)
    env = FakeEnvironment()
    from pyipvsadm.cli import main  # noqa: PLC0415

    assert main(["--backend", f"memory:{path}", "-C"], env) == 1
    assert env.stderr.startswith(f"{path}: {said}")
    assert env.stderr.endswith("(the file was not changed)\n")
    assert path.read_bytes() == text


def test_a_daemon_of_another_machine_does_not_damage_the_file(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text("--start-daemon master --mcast-interface no-such-0\n")
    table = TableFileBackend(str(path))
    assert [each.interface for each in table.read_daemons()] == ["no-such-0"]
    backup = model.Daemon(model.BACKUP, "no-such-0")
    assert table.apply([Change(model.NEW_DAEMON, daemon=backup)]) == [(0, errno.ENODEV)]


marks = st.integers(1, 3)
octets = st.integers(1, 3)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((model.NEW_SERVICE, model.NEW_DEST, model.DEL_DEST)), marks, octets
        ),
        max_size=20,
    )
)
def test_the_text_of_any_table_gives_that_table(steps: list[tuple[int, int, int]]) -> None:
    table = MemoryBackend()
    for op, mark, octet in steps:
        server = (
            None
            if op == model.NEW_SERVICE
            else Server(AF_INET, bytes([10, 0, 0, octet]), octet, model.MASQ)
        )
        table.apply([Change(op, Service(AF_INET, fwmark=mark), server)])
    copy = MemoryBackend()
    apply_all(
        copy,
        [
            " ".join(words)
            for _, words in reader.tokenize("".join(writer.dump_table(table)).encode())
        ],
    )
    assert contents(copy) == contents(table)
