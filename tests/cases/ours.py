"""Run our programs on a case, in this process: their entry points, with an environment whose
streams are in memory.

Owns: that environment, names from a hosts and a services file. Must never know: which backend, what
was expected.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyipvsadm import cli
from pyipvsadm.addresses import parse_address, parse_ipv4
from pyipvsadm.environment import Environment
from pyipvsadm.model import AF_INET, AF_INET6
from pyipvsadm.resolver import PROTOCOL_NAMES, Resolver
from tests.cases.case import LOOK, Step
from tests.cases.recording import Answer, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyipvsadm.model import Backend

ETC = Path(__file__).resolve().parents[1] / "lab" / "etc"
LOOPBACK6 = b"\0" * 15 + b"\1"
PROGRAMS = {"ipvsadm": cli.main, "ipvsadm-save": cli.run_save, "ipvsadm-restore": cli.run_restore}


class FileNames(Resolver):
    """Resolve the names of the lab without the lab: the first line that fits, as the C library
    reads these files.
    """

    def __init__(self, folder: Path = ETC) -> None:
        self._hosts = [(_address(words[0]), words[1:]) for words in _words(folder / "hosts")]
        self._ports = [
            (int(port), protocol, [name, *more])
            for name, number, *more in _words(folder / "services")
            for port, _, protocol in [number.partition("/")]
        ]

    def find_host(self, name: str) -> bytes | None:
        for (family, addr), names in self._hosts:
            # For an IPv4 lookup, the C library reads ::1 as 127.0.0.1.
            if (family == AF_INET or addr == LOOPBACK6) and name.lower() in map(str.lower, names):
                return addr if family == AF_INET else b"\x7f\0\0\1"
        return None

    def find_host_name(self, family: int, addr: bytes) -> str | None:
        return next((names[0] for known, names in self._hosts if known == (family, addr)), None)

    def find_port(self, name: str, protocol: int) -> int | None:
        wanted = PROTOCOL_NAMES.get(protocol)
        return next(
            (port for port, kind, names in self._ports if kind == wanted and name in names), None
        )

    def find_port_name(self, port: int, protocol: int) -> str | None:
        wanted = (port, PROTOCOL_NAMES.get(protocol))
        return next(
            (names[0] for known, kind, names in self._ports if (known, kind) == wanted), None
        )


def _words(file: Path) -> Iterator[list[str]]:
    return (
        words for line in file.read_text().splitlines() if (words := line.partition("#")[0].split())
    )


def _address(written: str) -> tuple[int, bytes]:
    addr = parse_ipv4(written)
    return (
        (AF_INET, addr) if addr is not None else (AF_INET6, parse_address(AF_INET6, written) or b"")
    )


class Captured(Environment):
    """Replace the environment: streams in memory, names and backends as given."""

    def __init__(self, step: Step, names: Resolver, backend: Callable[[], Backend]) -> None:
        super().__init__()
        self.environ = step.environ
        self.names = names
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._stdin = step.stdin
        self._backend = backend

    def write_stdout(self, data: str) -> None:
        self.stdout.append(data)

    def write_stderr(self, line: str) -> None:
        self.stderr.append(f"{line}\n")

    def read_input_blocks(self) -> Iterator[bytes]:
        yield self._stdin

    def is_input_terminal(self) -> bool:
        return False

    def find_history_folder(self, table: str) -> str:
        """Return "": the history of the machine is left alone."""
        del table
        return ""

    def open_backend(self, spec: str) -> Backend:
        assert spec == "kernel", spec
        return self._backend()


def answer(step: Step, names: Resolver, backend: Callable[[], Backend]) -> Answer:
    """Run one step on the table that `backend` opens, and return the answer."""
    env = Captured(step, names, backend)
    status = PROGRAMS[step.program](step.argv, env)
    return Answer(status, _bytes(env.stdout), _bytes(env.stderr))


def look(names: Resolver, backend: Callable[[], Backend]) -> str:
    """Return the listing of everything in a table."""
    seen = answer(LOOK, names, backend)
    assert (seen.status, seen.stderr) == (0, ""), f"{LOOK}: {seen}"
    return seen.stdout


def _bytes(pieces: list[str]) -> str:
    return text("".join(pieces).encode("utf-8", "surrogateescape"))
