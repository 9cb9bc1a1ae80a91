"""--watch: the table again and again, on a terminal in place, elsewhere a block a time.

Owns: when the table is read, what is done about a read that fails. Must never know: descriptors and
signals (terminal.py), backends, what a frame shows (live.py).
"""

from __future__ import annotations

from pyipvsadm.errors import Failed, Refused
from pyipvsadm.resolver import Resolver
from pyipvsadm.views import grid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyipvsadm.environment import World
    from pyipvsadm.terminal import Screen
    from pyipvsadm.views.live import Live, Naming, Rows

SECONDS = 2
# hosts' names; then they are forgotten: clients come and go for as long as it runs
REMEMBERED = 1 << 16


class Remembered(Resolver):
    """A resolver that is asked for each name once, however often the table is shown."""

    def __init__(self, names: Resolver) -> None:
        self._names = names
        self.seconds = names.seconds
        self._hosts: dict[tuple[int, bytes], str | None] = {}
        self._ports: dict[tuple[int, int], str | None] = {}

    def host_names(
        self, addresses: Iterable[tuple[int, bytes]], seconds: float | None = None
    ) -> dict[tuple[int, bytes], str]:
        """The names of addresses; those are asked for that are new."""
        wanted = list(addresses)
        if len(self._hosts) > REMEMBERED:
            self._hosts.clear()
        new = [each for each in wanted if each not in self._hosts]
        if new:
            self._hosts |= dict.fromkeys(new) | self._names.host_names(new, seconds)
        return {each: name for each in wanted if (name := self._hosts[each]) is not None}

    def port_name(self, port: int, protocol: int) -> str | None:
        """The name of a port."""
        key = (port, protocol)
        if key not in self._ports:
            self._ports[key] = self._names.port_name(port, protocol)
        return self._ports[key]


def blocks(block: Callable[[], str], world: World, seconds: int) -> None:
    """Write a block every so many seconds until something ends us.

    The first read fails as a listing does; of a later one that fails, the reason goes to standard
    error.
    """
    world.out(block())
    while not world.wait(seconds):
        try:
            text = block()
        except (Refused, Failed) as no:
            world.err(str(no))
            continue
        world.out(text)


def screen(
    live: Live, read: Callable[[], Rows], naming: Naming, world: World, seconds: int
) -> None:
    """Draw on the terminal until `q`. The first read fails as a listing does; later ones say so on
    the screen.
    """
    live.take(read(), world.clock())

    def draw(terminal: Screen) -> None:
        due = world.clock() + seconds
        while True:
            width, height = world.size()
            look = live.look(width)
            terminal.show(grid.text(live.frame(width, height, naming), look))
            for key in terminal.keys(max(0.0, due - world.clock())):
                if key == "q":
                    return
                live.key(key)
            if world.clock() < due:
                continue
            try:
                rows = read()
            except (Refused, Failed) as no:
                live.failed(str(no))
            else:
                live.take(rows, world.clock())
            due = max(due + seconds, world.clock())  # evenly, as the kernel's counters come

    world.on_screen(draw)
