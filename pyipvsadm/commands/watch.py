"""Show the table repeatedly (--watch): in place on a terminal, block after block elsewhere.

Owns: when the table is read, what happens after a failed reading. Must never know: file descriptors
and signals (terminal.py), backends, what a frame shows (views/live.py).
"""

from __future__ import annotations

from pyipvsadm.errors import OperationError, RefusedError
from pyipvsadm.resolver import Resolver
from pyipvsadm.views import grid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyipvsadm.environment import Environment
    from pyipvsadm.terminal import Screen
    from pyipvsadm.views.live import Live, Naming, Rows

DEFAULT_INTERVAL = 2
# hosts' names; then they are forgotten: clients come and go for as long as it runs
CACHE_LIMIT = 1 << 16


class CachingResolver(Resolver):
    """Look each name up once, however often the table is shown."""

    def __init__(self, names: Resolver) -> None:
        self._names = names
        self.seconds = names.seconds
        self._hosts: dict[tuple[int, bytes], str | None] = {}
        self._ports: dict[tuple[int, int], str | None] = {}

    def find_host_names(
        self, addresses: Iterable[tuple[int, bytes]], seconds: float | None = None
    ) -> dict[tuple[int, bytes], str]:
        """Return the names of addresses; look up only new addresses."""
        wanted = list(addresses)
        if len(self._hosts) > CACHE_LIMIT:
            self._hosts.clear()
        new = [each for each in wanted if each not in self._hosts]
        if new:
            self._hosts |= dict.fromkeys(new) | self._names.find_host_names(new, seconds)
        return {each: name for each in wanted if (name := self._hosts[each]) is not None}

    def find_port_name(self, port: int, protocol: int) -> str | None:
        """Return the name of a port."""
        key = (port, protocol)
        if key not in self._ports:
            self._ports[key] = self._names.find_port_name(port, protocol)
        return self._ports[key]


def watch_pipe(block: Callable[[], str], env: Environment, seconds: int) -> None:
    """Write a block every so many seconds until something ends us.

    The first read fails as a listing does; of a later one that fails, the reason goes to standard
    error.
    """
    env.write_stdout(block())
    while not env.wait(seconds):
        try:
            text = block()
        except (RefusedError, OperationError) as exc:
            env.write_stderr(str(exc))
            continue
        env.write_stdout(text)


def watch_terminal(
    live: Live, read: Callable[[], Rows], naming: Naming, env: Environment, seconds: int
) -> None:
    """Draw on the terminal until `q`. The first read fails as a listing does; later ones say so on
    the screen.
    """
    live.add_snapshot(read(), env.read_clock())

    def draw(terminal: Screen) -> None:
        due = env.read_clock() + seconds
        while True:
            width, height = env.get_size()
            look = live.look(width)
            terminal.show(grid.render_text(live.render_frame(width, height, naming), look))
            for key in terminal.read_keys(max(0.0, due - env.read_clock())):
                if key == "q":
                    return
                live.handle_key(key)
            if env.read_clock() < due:
                continue
            try:
                rows = read()
            except (RefusedError, OperationError) as exc:
                live.set_error(str(exc))
            else:
                live.add_snapshot(rows, env.read_clock())
            due = max(due + seconds, env.read_clock())  # evenly, as the kernel's counters come

    env.run_on_screen(draw)
