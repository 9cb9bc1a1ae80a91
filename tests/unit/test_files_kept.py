"""Test what a replaced file keeps, and what must not be replaced like a file: links, devices,
FIFOs, mounts, folders with few permissions.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyipvsadm import cli, files, locks
from pyipvsadm.backends import table_file
from pyipvsadm.backends.table_file import TableFileBackend
from pyipvsadm.errors import OperationError
from tests.unit.fake_environment import FakeEnvironment, apply_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyipvsadm.model import Change

USER = 65534
OTHER = 12345
root = pytest.mark.skipif(os.geteuid() != 0, reason="it takes root")


@contextmanager
def as_user(groups: Sequence[int] = ()) -> Iterator[None]:
    """Run the body as an unprivileged user."""
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(USER)
    os.seteuid(USER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Encode system.posix_acl_access (linux/posix_acl_xattr.h): its version, then tag, permissions
    and id of each entry.
    """
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
# The owner rw, user 12345 rw, the group nothing, at most rw, others nothing: ls shows 0660.
FOR_ONE = acl((1, 6, NOBODY), (2, 6, OTHER), (4, 0, NOBODY), (16, 6, NOBODY), (32, 0, NOBODY))


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """Create a folder that everybody may write to, below folders that everybody may search."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    for above in folder.parents:
        if above.stat().st_mode & 0o005 != 0o005:
            above.chmod(above.stat().st_mode | 0o055)
    return folder


def attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


@root
@pytest.mark.parametrize("mode", [0o640, 0o600, 0o444, 0o666, 0o2755])
def test_a_file_keeps_owner_mode_and_attributes(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "rules"
    path.write_text("old")
    os.chown(path, OTHER, USER)
    path.chmod(mode)
    os.setxattr(path, "user.note", b"mine")
    # a capability belongs to the old bytes
    os.setxattr(path, "security.capability", struct.pack("<5I", 0x02000000, 1, 0, 0, 0))
    files.replace_file(str(path), "new")
    now = path.stat()
    assert (path.read_text(), now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) == (
        "new",
        OTHER,
        USER,
        mode & 0o777,
    )
    assert attributes(path) == {"user.note": b"mine"}
    assert os.listdir(tmp_path) == ["rules"]


@root
def test_a_file_keeps_its_acl(tmp_path: Path) -> None:
    path = tmp_path / "rules"
    path.write_text("old")
    os.setxattr(path, "system.posix_acl_access", FOR_ONE)
    files.replace_file(str(path), "new")
    assert attributes(path) == {"system.posix_acl_access": FOR_ONE}
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


@root
def test_an_acl_of_the_folder_lets_nobody_into_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "rules"
    path.write_text("old")
    path.chmod(0o660)
    os.setxattr(tmp_path, "system.posix_acl_default", FOR_ONE)
    files.replace_file(str(path), "new")
    assert attributes(path) == {}
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


@pytest.mark.parametrize(
    ("failing", "mode", "left"),
    [
        ("fchown", 0o664, 0o604),
        ("fchown", 0o606, 0o600),  # the old group's members had fewer permissions than others
        ("listxattr", 0o664, 0o664),
        ("setxattr", 0o660, 0o600),
        ("removexattr", 0o664, 0o604),
        ("fchmod", 0o664, 0o600),
    ],
)
def test_what_cannot_be_kept_lets_fewer_in(
    failing: str, mode: int, left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rules"
    path.write_text("old")
    if failing == "setxattr":
        os.setxattr(path, "system.posix_acl_access", FOR_ONE)
    path.chmod(mode)

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(f"pyipvsadm.files.os.{failing}", refused)
    files.replace_file(str(path), "new")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", left)


@root
@pytest.mark.parametrize(("groups", "kept"), [([], (USER, 0o604)), ([OTHER], (OTHER, 0o664))])
def test_another_s_file_replaced_by_a_user(
    groups: list[int], kept: tuple[int, int], open_folder: Path
) -> None:
    path = open_folder / "rules"
    path.write_text("old")
    os.chown(path, 0, OTHER)
    path.chmod(0o664)
    with as_user(groups):
        files.replace_file(str(path), "new")
    now = path.stat()
    assert (path.read_text(), now.st_uid, (now.st_gid, stat.S_IMODE(now.st_mode))) == (
        "new",
        USER,
        kept,
    )


# --- names of other things than files


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_and_its_file_stay_one(dangling: bool, tmp_path: Path) -> None:
    file, link = tmp_path / "folder" / "rules", tmp_path / "link"
    file.parent.mkdir()
    if not dangling:
        file.write_text("old")
    link.symlink_to("folder/rules")
    files.replace_file(str(link), "new")
    assert link.is_symlink()
    assert file.read_text() == "new"
    link.unlink()
    link.symlink_to("none/rules")
    with pytest.raises(
        OperationError, match=r"cannot write .*/link -> .*/none/rules: No such file or directory"
    ):
        files.replace_file(str(link), "new")
    link.unlink()
    link.symlink_to("link")
    with pytest.raises(
        OperationError, match=r"cannot write .*/link: Too many levels of symbolic links"
    ):
        files.replace_file(str(link), "new")


@root
def test_a_device_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "null"
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    assert cli.run_save(["-n", "-f", str(path)], FakeEnvironment()) == 0
    assert stat.S_ISCHR(path.stat().st_mode)
    full = tmp_path / "full"
    os.mknod(full, 0o600 | stat.S_IFCHR, os.makedev(1, 7))
    with pytest.raises(OperationError, match=r"cannot write .*/full: No space left on device"):
        files.replace_file(str(full), "text")
    block = tmp_path / "disk"
    os.mknod(block, 0o600 | stat.S_IFBLK, os.makedev(7, 250))
    with pytest.raises(OperationError, match=r"cannot write .*/disk: it is a block device"):
        files.replace_file(str(block), "text")


def test_a_fifo_is_written_to_where_somebody_reads(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(OperationError, match=r"cannot write .*/fifo: no process reads from it"):
        files.replace_file(str(path), "text")
    text = "line\n" * 100_000  # more than a pipe holds
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    got: list[bytes] = []

    def read() -> None:
        os.set_blocking(reading, True)
        while block := os.read(reading, 1 << 16):
            got.append(block)

    with os.fdopen(os.open(path, os.O_WRONLY)):  # the end of the text is not the end of the pipe
        thread = threading.Thread(target=read)
        thread.start()
        files.replace_file(str(path), text)
    thread.join()
    os.close(reading)
    assert b"".join(got).decode() == text
    assert stat.S_ISFIFO(path.stat().st_mode)


@root
def test_a_device_that_cannot_be_opened(open_folder: Path) -> None:
    path = open_folder / "fifo"
    os.mkfifo(path, 0o600)
    with as_user(), pytest.raises(OperationError, match=r"cannot write .*/fifo: Permission denied"):
        files.replace_file(str(path), "text")


def test_a_socket_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        with pytest.raises(OperationError, match=r"cannot write .*/socket: it is a socket"):
            files.replace_file(str(path), "text")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_standard_output_by_a_name_goes_on_where_it_stands(name: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    call = "import sys; from pyipvsadm import files; files.replace_file(sys.argv[1], sys.argv[2])"
    script = f"echo before; {sys.executable} -c '{call}'"
    subprocess.run(
        [
            "/bin/sh",
            "-c",
            f"{{ {script} {tmp_path / name} text; echo; echo after; }} >{tmp_path / 'out'}",
        ],
        check=True,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    assert (tmp_path / "out").read_text() == "before\ntext\nafter\n"


# --- a file that something is mounted on

MOUNTED = "mount --bind {0}/below {0}/rules && exec {1} -c '{2}' {0}/rules"
SAVE = 'import sys\nfrom pyipvsadm import files\nfiles.replace_file(sys.argv[1], "new")'
FULL = """\
import errno, os, sys
from pyipvsadm import files
real = os.ftruncate
def full(*_): raise OSError(errno.ENOSPC, "No space left on device")
os.ftruncate = full
try: files.replace_file(sys.argv[1], "longer than the old one")
except files.OperationError as exc: print(exc)"""
TABLE = """\
import sys
from pyipvsadm.cli import main
sys.exit(main(["--backend", "memory:" + sys.argv[1], "-A", "-f", "1", "-s", "rr"]))"""


def mounted(folder: Path, script: str) -> str:
    (folder / "rules").touch()
    done = subprocess.run(
        [
            "unshare",
            "-m",
            "/bin/sh",
            "-c",
            MOUNTED.format(folder, sys.executable, script.replace("'", '"')),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@root
@pytest.mark.parametrize(
    ("script", "text"),
    [(SAVE, "new"), (TABLE, "# ipvsadm rules, format 1\n--set 900 120 300\n-A -f 1 -s rr\n")],
)
def test_a_file_that_is_mounted_is_written_in_place(script: str, text: str, tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.write_text("# an old one\n")
    node = below.stat().st_ino
    assert mounted(tmp_path, script) == ""
    assert (below.read_text(), below.stat().st_ino) == (text, node)
    assert sorted(os.listdir(tmp_path)) == ["below", "rules"]


@root
def test_a_failure_in_place_names_the_copy(tmp_path: Path) -> None:
    (tmp_path / "below").write_text("the old one")
    said = mounted(tmp_path, FULL).strip()
    start = f"cannot write {tmp_path}/rules: No space left on device; its old content is in "
    assert said.startswith(start)
    copy = Path(said.removeprefix(start))
    assert copy.read_text() == "the old one"
    assert sorted(os.listdir(tmp_path)) == sorted(["below", "rules", copy.name])


def test_no_copy_no_writing_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rules"
    path.write_text("old")

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    real = os.fsync

    def fsync(fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").endswith(".old"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(fd)

    monkeypatch.setattr("pyipvsadm.files.os.rename", busy)
    monkeypatch.setattr("pyipvsadm.files.os.fsync", fsync)
    with pytest.raises(OperationError, match=r"cannot write .*/rules: No space left on device$"):
        files.replace_file(str(path), "new")
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["rules"])


# --- folders that allow little


@root
def test_a_folder_that_may_be_written_and_not_read(open_folder: Path) -> None:
    path = open_folder / "rules"
    open_folder.chmod(0o733)
    with as_user():
        files.replace_file(str(path), "text")
    assert path.read_text() == "text"


@root
def test_a_folder_that_takes_no_new_file(open_folder: Path) -> None:
    path = open_folder / "rules"
    path.write_text("old")
    path.chmod(0o666)
    open_folder.chmod(0o755)
    with (
        as_user(),
        pytest.raises(
            OperationError,
            match=r"cannot write .*/rules: cannot create a file in its directory: Permission denied",
        ),
    ):
        files.replace_file(str(path), "new")
    assert path.read_text() == "old"


@root
def test_a_folder_to_which_one_may_only_add(tmp_path: Path) -> None:
    """The message names the error that stopped it, and says that the new file cannot be removed
    either.
    """
    path = tmp_path / "rules"
    path.write_text("old")
    if subprocess.run(["chattr", "+a", str(tmp_path)], check=False, capture_output=True).returncode:
        pytest.skip("this file system has no such folders")
    try:
        with pytest.raises(OperationError) as failed:
            files.replace_file(str(path), "new")
    finally:
        subprocess.run(["chattr", "-a", str(tmp_path)], check=True)
    (beside,) = (each for each in tmp_path.iterdir() if each != path)
    why = "Operation not permitted"
    assert str(failed.value) == f"cannot write {path}: {why} (cannot remove {beside}: {why})"
    assert path.read_text() == "old"


def test_a_new_file_that_is_gone_is_no_other_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(beside: str, _: str) -> None:
        os.unlink(beside)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("pyipvsadm.files.os.rename", gone)
    with pytest.raises(OperationError, match=r"cannot write .*/rules: Input/output error$"):
        files.replace_file(str(tmp_path / "rules"), "new")


# --- tables


def no_file(folder: Path, kind: str) -> Path:
    path = folder / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "null":
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    elif kind == "folder":
        path.mkdir()
    else:
        no_file(folder, "fifo")
        path.symlink_to("fifo")
    return path


@root
@pytest.mark.parametrize("kind", ["fifo", "null", "folder", "link"])
@pytest.mark.parametrize("words", [["-L", "-n"], ["-A", "-f", "1"]])
def test_no_table_is_kept_in_what_is_no_file(kind: str, words: list[str], tmp_path: Path) -> None:
    path = no_file(tmp_path, kind)
    mode = path.stat().st_mode
    env = FakeEnvironment()
    assert cli.main(["--backend", f"memory:{path}", *words], env) == 1
    assert env.take() == (
        "",
        f"{tmp_path / 'fifo' if kind == 'link' else path} is not a regular file\n",
    )
    assert path.stat().st_mode == mode


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT])
def test_a_fifo_that_takes_the_file_s_place_is_not_waited_for(
    flags: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table"
    path.write_text("")
    real = os.open

    def swapped(name: str, flags: int, mode: int = 0o777) -> int:
        path.unlink()
        os.mkfifo(path)
        return real(name, flags, mode)

    monkeypatch.setattr("pyipvsadm.files.os.open", swapped)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OperationError, match="is not a regular file"):
        files.read_if_exists(str(path)) if flags == os.O_RDONLY else locks.Lock(
            str(path), flags=flags
        ).__enter__()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("dangling", [False, True])
def test_a_table_has_one_content_by_all_its_names(dangling: bool, tmp_path: Path) -> None:
    table, link, further = tmp_path / "t", tmp_path / "l", tmp_path / "m"
    link.symlink_to("t")
    further.symlink_to(link)
    if not dangling:
        apply_all(TableFileBackend(str(table)), ["-A -f 9"])
    for mark, name in enumerate((link, table, further), 1):
        apply_all(TableFileBackend(str(name)), [f"-A -f {mark}"])
    for name in (link, table, further):
        assert [each.fwmark for each in TableFileBackend(str(name)).read_services()] == [
            *[9][dangling:],
            1,
            2,
            3,
        ]
    assert (link.is_symlink(), further.is_symlink(), table.is_symlink()) == (True, True, False)


@pytest.mark.parametrize("block", [0, 30, 1 << 16])
def test_a_table_never_holds_what_it_would_call_damaged(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1.31 drops its own name wherever it stands in a line, so rule text cannot express that an
    interface has this name. Each block of lines is checked.
    """
    monkeypatch.setattr("pyipvsadm.rules.reader.BLOCK", block)
    path = tmp_path / "table"
    apply_all(TableFileBackend(str(path)), ["-A -f 1 -s rr"])
    before = path.read_bytes()
    monkeypatch.setattr("pyipvsadm.backends.memory.has_interface", lambda _: True)
    env = FakeEnvironment()
    words = ["--start-daemon", "master", "--mcast-interface", "ipvsadm"]
    assert cli.main(["--backend", f"memory:{path}", *words], env) == 1
    assert env.stderr.startswith(
        f"{path} cannot store `--start-daemon master --mcast-interface ipvsadm "
    )
    assert env.stderr.endswith("(the file was not changed)\n")
    assert path.read_bytes() == before


def test_a_table_whose_text_reads_as_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table"
    table = TableFileBackend(str(path))
    apply_all(table, ["-A -f 1 -s rr"])
    before = path.read_bytes()
    monkeypatch.setattr(
        "pyipvsadm.rules.writer.format_timeouts", lambda found: f"--set {found.tcp + 1} 120 300\n"
    )
    env = FakeEnvironment()
    assert cli.main(["--backend", f"memory:{path}", "-E", "-f", "1", "-s", "wrr"], env) == 1
    assert env.stderr == (
        f"{path} cannot store `--set 901 120 300': it would be read back as `--set 902 120 300' (the file was not changed)\n"
    )
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [each.scheduler for each in TableFileBackend(str(path)).read_services()] == ["rr"]


def test_only_new_lines_are_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = TableFileBackend(str(tmp_path / "table"))
    apply_all(table, [f"-A -f {mark} -s rr" for mark in range(1, 100)])
    texts: list[bytes] = []
    real = table_file._iter_changes

    def parse(text: bytes) -> Iterator[tuple[int, Change]]:
        texts.append(text)
        return real(text)

    monkeypatch.setattr(table_file, "_iter_changes", parse)
    apply_all(table, ["-A -f 100 -s rr"])
    assert texts[1:] == [b"-A -f 100 -s rr"]


# --- a file that is to be read


@root
def test_a_file_in_a_folder_that_one_may_not_search(open_folder: Path) -> None:
    (open_folder / "rules").write_text("-A -f 1\n")
    open_folder.chmod(0o600)
    with as_user(), pytest.raises(OperationError, match=r"cannot read .*/rules: Permission denied"):
        FakeEnvironment().read_file(str(open_folder / "rules"))


def test_a_file_that_goes_before_it_is_read_is_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rules"
    path.write_text("-A -f 1\n")
    real = os.open

    def gone(name: str, flags: int) -> int:
        path.unlink()
        return real(name, flags)

    monkeypatch.setattr("pyipvsadm.files.os.open", gone)
    with pytest.raises(OperationError, match=r"cannot read .*/rules: No such file or directory"):
        FakeEnvironment().read_file(str(path))
