"""Test `--netns` without a kernel's help: what a word stands for, what is refused, entering and
leaving, which commands pass it on.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyipvsadm import cli, netns
from pyipvsadm.errors import OperationError
from pyipvsadm.grammar.options import COMMANDS
from pyipvsadm.netns import EnteredNetns, format_nsenter, get_netns_path
from tests.unit.fake_environment import FakeEnvironment, FakeNames, lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

IS_NONE = "is not a network namespace: use NAME (in /run/netns), PID, or PATH (with a slash)"


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("blue", "/run/netns/blue"),
        ("a b", "/run/netns/a b"),
        ("...", "/run/netns/..."),
        ("-n", "/run/netns/-n"),
        ("\udcff", "/run/netns/\udcff"),
        ("1x", "/run/netns/1x"),
        ("\u0661", "/run/netns/\u0661"),  # a digit elsewhere
        ("1", "/proc/1/ns/net"),
        ("0042", "/proc/0042/ns/net"),
        ("/run/docker/netns/ingress_sbox", "/run/docker/netns/ingress_sbox"),
        ("./7", "./7"),
        ("../netns", "../netns"),
    ],
)
def test_what_a_word_stands_for(place: str, path: str) -> None:
    assert get_netns_path(place) == path


@pytest.mark.parametrize("place", ["", ".", "..", "\0", "blue\0", "/run/netns/blue\0", "..\0/"])
def test_a_name_does_not_lead_out_of_its_folder(place: str) -> None:
    with pytest.raises(OperationError) as refused:
        get_netns_path(place)
    assert (str(refused.value), refused.value.status) == (f"`{place}' {IS_NONE}", 2)


def test_what_a_person_runs_there() -> None:
    assert format_nsenter("blue") == "nsenter --net=/run/netns/blue "
    assert format_nsenter("/tmp/a b") == "nsenter --net='/tmp/a b' "


def test_files_that_are_none(tmp_path: Path) -> None:
    """Only regular files are opened at all: a pipe would wait, a device might act. The kernel
    judges the rest.
    """
    pipe, loop = tmp_path / "pipe", tmp_path / "loop"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    for path, said in (
        (pipe, f"{pipe} is not a network namespace"),
        (tmp_path, f"{tmp_path} is not a network namespace"),
        (Path("/dev/null"), "/dev/null is not a network namespace"),
        (loop, f"cannot open the network namespace {loop}: Too many levels of symbolic links"),
        (
            tmp_path / "gone",
            f"cannot open the network namespace {tmp_path}/gone: No such file or directory",
        ),
        (
            Path("/proc/4194305/ns/net"),
            "cannot open the network namespace /proc/4194305/ns/net: No such file or directory",
        ),
    ):
        with pytest.raises(OperationError) as refused, EnteredNetns(str(path), FakeEnvironment()):
            pass
        assert (str(refused.value), refused.value.status) == (said, 2)


def test_a_fifo_that_takes_the_place_of_a_namespace_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The FIFO may come before the file is examined or after it: the file that was examined is the
    file that is opened.
    """
    path = tmp_path / "sandbox"
    path.touch()
    node = path.stat().st_ino
    real = os.open
    opened = []

    def swapped(name: str, flags: int) -> int:
        fd = real(name, flags)
        opened.append(os.fstat(fd).st_ino)
        if name == str(path):
            path.unlink()
            os.mkfifo(path)
        return fd

    monkeypatch.setattr("pyipvsadm.netns.os.open", swapped)
    file = netns._NetnsFile(str(path))
    assert os.fstat(file.fd).st_ino == node
    assert opened == [node, node]
    with pytest.raises(OperationError, match="is not a network namespace"):
        netns._NetnsFile(str(path))
    assert len(opened) == 3


class Kernel:
    """Play setns: note where a thread goes."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, refuse: Callable[[str], int] = lambda _: 0
    ) -> None:
        self.went: list[str] = []
        self.refuse = refuse
        monkeypatch.setattr(netns, "_call_setns", self.setns)

    def setns(self, fd: int) -> None:
        where = "home" if os.fstat(fd).st_ino == os.stat(netns.SELF_NETNS).st_ino else "there"
        number = self.refuse(where)
        if number:
            raise OSError(number, os.strerror(number))
        self.went.append(where)


@pytest.fixture
def place(tmp_path: Path) -> str:
    (tmp_path / "sandbox").touch()
    return str(tmp_path / "sandbox")


def test_there_and_back(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    env = FakeEnvironment(names=FakeNames({"web": (2, bytes([10, 0, 0, 1]))}, {("http", 6): 80}))
    names = env.names
    names.seconds = 7.0
    with EnteredNetns(place, env):
        assert kernel.went == ["there"]
        assert env.names.seconds == 7.0
        assert env.names.find_port("http", 6) == 80
        assert env.names.find_port_name(80, 6) == "http"
        assert kernel.went == ["there"]  # a port's name is looked up in a file
        assert env.names.find_host("web") == bytes([10, 0, 0, 1])
        assert kernel.went == ["there", "home", "there"]
        assert env.names.find_host_names([(2, bytes([10, 0, 0, 1])), (2, bytes(4))]) == {
            (2, bytes([10, 0, 0, 1])): "web"
        }
        assert sorted(kernel.went[3:]) == ["home", "home", "there", "there"]
    assert (kernel.went[-1], env.names) == ("home", names)
    with pytest.raises(KeyError), EnteredNetns(place, env):
        raise KeyError
    assert (kernel.went[-1], env.names) == ("home", names)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EINVAL, "{} is not a network namespace"),
        (
            errno.EPERM,
            "cannot enter the network namespace {}: Operation not permitted (you must be root)",
        ),
        (errno.ENOMEM, "cannot enter the network namespace {}: Cannot allocate memory"),
    ],
)
def test_what_the_kernel_refuses(
    number: int, said: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Kernel(monkeypatch, lambda _: number)
    with pytest.raises(OperationError) as refused, EnteredNetns(place, FakeEnvironment()):
        pass
    assert str(refused.value) == said.format(place)


def test_without_a_way_back_names_have_no_answer(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(monkeypatch, lambda where: errno.EPERM if where == "home" else 0)
    env = FakeEnvironment(names=FakeNames({"web": (2, bytes(4))}))
    with EnteredNetns(place, env):
        assert env.names.find_host("web") is None
        assert env.names.find_host_name(2, bytes(4)) is None
    assert kernel.went == ["there"]


def test_names_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "NETNS_DIR", str(tmp_path))
    for name in ("green", "blue"):
        (tmp_path / name).touch()
    assert netns.list_netns() == ["blue", "green"]
    monkeypatch.setattr(netns, "NETNS_DIR", str(tmp_path / "gone"))
    assert netns.list_netns() == []


# --- which commands pass it on

LINES = {
    "set": "--set 1 2 3",
    "start-daemon": "--start-daemon master --mcast-interface lo",
    "stop-daemon": "--stop-daemon master",
    "predict": "--predict 10.0.0.1 -f 7",
}


@pytest.mark.parametrize("row", COMMANDS, ids=[row.long for row in COMMANDS])
def test_every_command_goes_there_and_comes_back(
    row: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = getattr(row, "long", "")
    words = LINES.get(name, f"--{name}").split()
    if name == "doctor":
        monkeypatch.setattr(
            FakeEnvironment, "open_host", lambda _: (_ for _ in ()).throw(OperationError("no host"))
        )
    for line in (
        ["--netns", "blue", *words],
        [*words, "--netns=blue"],
        [*words, "--netns", "green", "--netns", "blue"],
    ):
        env = FakeEnvironment()
        cli.main(line, env)
        assert env.places == ([] if name in ("check", "help", "version") else ["blue", ""]), line


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("-L", 2),
        ("-A -t nonsense", 2),
        ("-L --nope", 2),
        ("--apply", 2),
        ("--apply --dry-run", 255),
        ("--doctor", 3),
    ],
)
def test_one_that_cannot_be_entered(words: str, status: int) -> None:
    env = FakeEnvironment()
    assert cli.main(["--netns", "gone", *words.split()], env) == status
    assert (env.take(), env.specs) == (("", "cannot open the network namespace\n"), [])


@pytest.mark.parametrize(
    "words", [["--netns", "blue"], ["--netns=blue"], ["-n", "--netns", "blue"]]
)
def test_saving_and_restoring(words: Sequence[str]) -> None:
    env = FakeEnvironment(b"-A -f 1\n")
    assert cli.run_restore(words, env) == 0
    assert cli.run_save(words, env) == 0
    assert env.take() == (lines("-A -f 1 -s wlc"), "")
    assert env.places == ["blue", ""] * 2


def test_saving_and_restoring_what_is_not_there() -> None:
    for program in (cli.run_save, cli.run_restore):
        env = FakeEnvironment()
        assert program(["--netns", "gone"], env) == 2
        assert program(["--netns"], env) == 2
        gone, missing = env.take()[1].splitlines()
        assert gone == "cannot open the network namespace"
        assert ": --netns: missing argument (NAME); " in missing
        assert env.specs == []


def test_it_does_not_belong_in_rules() -> None:
    env = FakeEnvironment(b"-A -f 1\n-A -f 2 --netns blue\n")
    assert cli.main(["-R"], env) == 2
    assert env.stderr == "line 2: --netns does not belong in rules: give it on the command line\n"
