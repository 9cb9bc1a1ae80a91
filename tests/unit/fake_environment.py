"""Provide an environment without streams: it keeps output, reads given input, and looks names up in
dictionaries.
"""

from __future__ import annotations

from contextlib import contextmanager
from sys import byteorder
from typing import TYPE_CHECKING

from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.environment import Environment
from pyipvsadm.errors import OperationError
from pyipvsadm.model import HASHED, ProcTable
from pyipvsadm.resolver import Resolver
from pyipvsadm.terminal import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pyipvsadm.model import Backend, Service


def overview(text: bytes, services: Iterable[Service]) -> ProcTable:
    """Return the text and the services in the form in which the kernel's backend passes on its file
    and a dump.
    """
    found = ProcTable(text, [], [])
    for s in services:
        if s.fwmark or s.flags & ~HASHED:
            found.other_services.append(s)
        else:
            found.simple_keys.append(
                (s.protocol.to_bytes(2, byteorder), s.addr, s.port.to_bytes(2, "big"))
            )
    return found


class FakeNames(Resolver):
    """Resolve these hosts and services, and no others."""

    def __init__(
        self, hosts: Mapping[str, tuple[int, bytes]] = {}, ports: Mapping[tuple[str, int], int] = {}
    ) -> None:
        self.hosts = hosts
        self.ports = ports

    def find_host(self, name: str) -> bytes | None:
        family, addr = self.hosts.get(name, (0, None))
        return addr if family == 2 else None

    def find_port(self, name: str, protocol: int) -> int | None:
        return self.ports.get((name, protocol))

    def find_port_name(self, port: int, protocol: int) -> str | None:
        return next(
            (
                name
                for (name, kind), number in self.ports.items()
                if (number, kind) == (port, protocol)
            ),
            None,
        )

    def find_host_name(self, family: int, addr: bytes) -> str | None:
        return next((name for name, found in self.hosts.items() if found == (family, addr)), None)


class FakeEnvironment(Environment):
    """Hold streams as strings, and one table for all runs in this environment."""

    is_root = False

    def __init__(
        self,
        stdin: bytes = b"",
        environ: Mapping[str, str] = {},
        table: Backend | None = None,
        names: Resolver | None = None,
        terminal: bool = False,
        root: bool = False,
        seen: bool = False,
        shows: tuple[int, int] | None = None,
    ) -> None:
        self.stdin = stdin
        self.environ = environ
        self.names = names or FakeNames()
        self.is_root = root
        self.terminal = terminal
        self.seen = seen
        self.table = table or MemoryBackend(interfaces={"lo"}.__contains__)
        self.shows = shows  # columns and lines, where the output is a terminal
        self.screen: Screen | None = None
        self.specs: list[str] = []
        self.colours = False
        self.running: set[str] = set()
        self.interfaces: set[str] = set()
        self.places: list[str] = []  # network namespaces entered, "" for coming back
        self.stdout = ""
        self.stderr = ""
        # The clock, and what happens while it runs: meanwhile is called with the time after each
        # wait, and gives a signal or 0.
        self.now = 0.0
        self.meanwhile: Callable[[float], int] = lambda _: 0
        self.holds_signals = False

    def write_stdout(self, data: str) -> None:
        self.stdout += data

    def write_raw_stderr(self, text: str) -> None:
        self.stderr += text

    def find_history_folder(self, table: str) -> str:
        """Return the folder of the history only if a variable names it: the history of the machine
        is left alone.
        """
        return super().find_history_folder(table) if "IPVSADM_HISTORY" in self.environ else ""

    def block_signals(self) -> None:
        self.holds_signals = True

    def wait(self, seconds: float) -> int:
        assert seconds >= 0
        self.now += seconds
        return self.meanwhile(self.now)

    def read_input_blocks(self) -> Iterator[bytes]:
        yield from self.stdin.splitlines(keepends=True) if self.terminal else (self.stdin,)

    def is_input_terminal(self) -> bool:
        return self.terminal

    def is_error_terminal(self) -> bool:
        return self.seen

    def is_output_terminal(self) -> bool:
        return self.shows is not None

    def get_size(self) -> tuple[int, int]:
        return self.shows or (80, 24)

    def read_clock(self) -> float:
        return self.now

    def run_on_screen(self, body: Callable[[Screen], None]) -> None:
        assert self.screen is not None
        body(self.screen)

    def has_colours(self) -> bool:
        return self.colours

    def list_programs(self) -> set[str]:
        return self.running

    def has_interface(self, name: str) -> bool:
        return name in self.interfaces

    @contextmanager
    def enter_netns(self, place: str) -> Iterator[None]:  # type: ignore[override]  # one that goes nowhere
        if place == "gone":
            raise OperationError("cannot open the network namespace", 2)
        self.places.append(place)
        try:
            yield
        finally:
            self.places.append("")

    def open_backend(self, spec: str) -> Backend:
        self.specs.append(spec)
        if spec not in ("kernel", "memory"):
            return super().open_backend(spec)
        return self.table

    def take(self) -> tuple[str, str]:
        """Return the output since the last call: (stdout, stderr)."""
        taken = (self.stdout, self.stderr)
        self.stdout = self.stderr = ""
        return taken


class FakeScreen(Screen):
    """Play the user: each wait for keys takes a step, which may be keys, nothing (the time is up),
    or a change.
    """

    def __init__(
        self, env: FakeEnvironment, steps: list[list[str] | Callable[[], object] | None]
    ) -> None:
        self.env = env
        self.steps = steps
        self.frames: list[str] = []

    def show(self, text: str) -> None:
        self.frames.append(text)

    def read_keys(self, seconds: float) -> list[str]:
        step = self.steps.pop(0)
        if isinstance(step, list):
            return step
        if step is not None:
            step()
        self.env.now += seconds
        return []


class FullWorld(FakeEnvironment):
    """Refuse all standard output, as a full disk does."""

    def write_stdout(self, data: str) -> None:
        raise OperationError(
            f"cannot write to standard output: No space left on device ({len(data)} characters)"
        )


def lines(*rows: str) -> str:
    """Return rows in the form of a stream."""
    return "".join(f"{row}\n" for row in rows)


def apply_all(table: Backend, rows: Iterable[str]) -> None:
    """Apply rules to a table, none of which may be refused."""
    from pyipvsadm.cli import main  # noqa: PLC0415  # cli is the door; only tests come back through it

    for row in rows:
        env = FakeEnvironment(table=table)
        assert (main(row.split(), env), env.stderr) == (0, ""), row
