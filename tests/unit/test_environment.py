"""Test the real environment: its behaviour where the machine lacks something."""

from __future__ import annotations

import errno
import os
import syslog
import time
from typing import TYPE_CHECKING, NoReturn

import pytest

from pyipvsadm import environment
from pyipvsadm.environment import Environment
from pyipvsadm.errors import OperationError

if TYPE_CHECKING:
    from pathlib import Path


def refused(*_: object) -> NoReturn:
    raise OSError(errno.ENOENT, "No such file or directory")


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all three streams look closed since the start."""
    monkeypatch.setattr(environment, "_is_open", lambda _: False)


@pytest.mark.usefixtures("closed")
def test_the_place_of_a_closed_stream_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[object, ...]] = []
    monkeypatch.setattr("pyipvsadm.environment.os.open", lambda *words: opened.append(words))
    Environment()
    assert opened == [("/dev/null", os.O_RDWR)] * 3


@pytest.mark.usefixtures("closed")
def test_without_dev_a_closed_stream_is_closed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pyipvsadm.environment.os.open", refused)
    made = Environment()
    monkeypatch.undo()
    made.write_stderr("nobody reads it")
    with pytest.raises(
        OperationError, match="cannot write to standard output: Bad file descriptor"
    ):
        made.write_stdout("nor this")
    with pytest.raises(OperationError, match="cannot read standard input: Bad file descriptor"):
        made.read_input()


@pytest.mark.parametrize(
    ("text", "all_recorded"),
    [
        ("", False),
        ("AUTO=true\nJOURNAL=all\n", True),
        ("  JOURNAL=all  # every command\r\n", True),
        ("JOURNAL='all'\n", True),
        ('JOURNAL="all"', True),
        ("# JOURNAL=all\n", False),
        ("JOURNAL=allow\n", False),
        ("MY_JOURNAL=all\n", False),
        ("JOURNAL=all\nJOURNAL=some\n", False),
    ],
)
def test_the_settings_say_if_simple_commands_are_recorded(
    text: str, all_recorded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings").write_text(text)
    monkeypatch.setattr(environment, "SETTINGS_FILE", str(tmp_path / "settings"))
    assert Environment().records_all() == all_recorded


def test_without_settings_simple_commands_are_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (tmp_path / "none", tmp_path):
        monkeypatch.setattr(environment, "SETTINGS_FILE", str(path))
        assert not Environment().records_all()


def test_without_proc_no_program_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyipvsadm.environment.os.listdir", refused)
    assert Environment().list_programs() == set()


def test_a_program_that_ends_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    # process 0 does not exist
    monkeypatch.setattr(
        "pyipvsadm.environment.os.listdir", lambda _: ["self", "0", str(os.getpid())]
    )
    with open("/proc/self/comm") as file:
        assert Environment().list_programs() == {file.read().strip()}


def test_it_waits_as_long_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert Environment().wait(2.5) == 0
    assert slept == [2.5]


def test_what_is_written_goes_to_the_system_s_log_too(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    logged: list[object] = []
    monkeypatch.setattr("syslog.openlog", lambda *words: logged.append(words))
    monkeypatch.setattr("syslog.syslog", lambda *words: logged.append(words))
    env = Environment()
    env.write_stderr("before")
    env.open_syslog()
    env.write_stderr("100 %s")
    assert capfd.readouterr().err == "before\n100 %s\n"
    assert logged == [
        ("ipvsadm", syslog.LOG_PID, syslog.LOG_DAEMON),
        (syslog.LOG_WARNING, "100 %s"),
    ]
