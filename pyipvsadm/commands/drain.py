"""Draining: weight 0, wait until the server has no connection left, then delete what was to be
deleted.

Owns: what counts as left, when to stop, putting weights back, what is said meanwhile. Must never
know: netlink, the grammar, how progress is drawn. Clock, signals and streams are the World's, so
that every path runs in a test without waiting.

How it works. The targets are looked up, the lines that undo it are written to standard output, and
the weights go to 0. Then each second every service is read again: until nothing is left, SECONDS
are over, a signal comes, or somebody else meddled.
"""

from __future__ import annotations

from pyipvsadm import addresses
from pyipvsadm.change.merge import TRIES, copy_record, find_matching, find_server, find_service
from pyipvsadm.change.snapshot import read_rows, read_services
from pyipvsadm.errors import EXIT_REFUSED, SIGNALS, OperationError, RefusedError, format_error
from pyipvsadm.model import DEL_SERVICE, PERSISTENT, SET_DEST, TCP, Change
from pyipvsadm.rules import writer
from pyipvsadm.views.progress import format_connections, open_progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyipvsadm.environment import Environment
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.model import Backend, Server, Service

POLL_INTERVAL = 1.0  # seconds between two looks at the table


class DrainTarget:
    """A service and those of its servers that are drained, as they were before. whole: the service
    is to go, with all it has.
    """

    __slots__ = ("servers", "service", "whole")

    def __init__(self, service: Service, servers: list[Server], whole: bool = False) -> None:
        self.service = service
        self.servers = servers
        self.whole = whole


def count_remaining(service: Service, server: Server, inactive: bool) -> int:
    """How many connections keep this server from being drained.

    TCP: the active ones (the closing ones, that is the inactive, only when asked for). Other
    protocols: active and inactive, as the kernel counts a UDP flow as inactive however lively it is
    (ip_vs_conn.c: ip_vs_bind_dest). A firewall mark may stand for any protocol, and its counts do
    not tell which: both, so that no UDP flow is cut. With persistence, its templates too: while one
    lives, its client's next connection goes to this server.
    """
    count = server.active
    if inactive or service.protocol != TCP:
        count += server.inactive
    if service.flags & PERSISTENT:
        count += server.persistent
    return count


def find_external_change(drained: DrainTarget, seen: Sequence[Server]) -> str:
    """What somebody else did to the servers, "" for nothing."""
    now = {each.key(): each for each in seen}
    for server in drained.servers:
        found = now.pop(server.key(), None)
        if found is None:
            return f"{describe_server(drained.service, server)} is no longer there"
        if found.weight:
            return f"the weight of {describe_server(drained.service, server)} is {found.weight} now"
    if drained.whole and now:
        return f"{describe_server(drained.service, next(iter(now.values())))} was added"
    return ""


def describe_server(service: Service, server: Server) -> str:
    """A server for people: `10.0.0.2:80 of -t 10.0.0.1:80`."""
    endpoint = addresses.format_numeric(server.af, server.addr, server.port)
    return f"{endpoint} of {writer.format_selector(service, addresses.format_numeric)}"


def format_command(
    chosen: str, letter: str, service: Service, server: Server | None = None, more: str = ""
) -> str:
    """An ipvsadm line, with the backend and the network namespace that this one was given."""
    words = f"ipvsadm{chosen} {letter} {writer.format_selector(service, addresses.format_numeric)}"
    if server is not None:
        words += f" -r {addresses.format_numeric(server.af, server.addr, server.port)}"
    return words + more


def run_drain(request: Request, backend: Backend, env: Environment) -> int:
    """Carry out a request with --drain: the exit status. Raises Failed when there is nothing to
    drain.
    """
    chosen = ""
    for option in ("backend", "netns"):
        value = request.ours.get(option)
        if isinstance(value, str):
            from shlex import quote  # noqa: PLC0415  # costs 8 ms, and is seldom needed

            chosen += f" --{option} {quote(value)}"
    return _Draining(request, backend, env, chosen).drain_all(find_targets(request, backend))


def find_targets(request: Request, backend: Backend) -> list[DrainTarget]:
    """What a request is about. Raises Failed when the service or server is not there, or not
    one.
    """
    asked = request.change
    if request.command == "delete-service":
        service = find_service(backend, request.services[0], DEL_SERVICE)
        return [DrainTarget(service, backend.read_servers(service), whole=True)]
    if asked is not None:
        assert asked.server is not None
        service = find_service(backend, request.services[0], asked.op)
        return [DrainTarget(service, [find_server(backend, service, asked.server, request.port)])]
    found = _find_services(request, backend)
    if not found:
        raise OperationError("no service has this real server", EXIT_REFUSED)
    return found


def _find_services(request: Request, backend: Backend) -> list[DrainTarget]:
    """The services, of those that were named if any were, that have the server."""
    assert request.server is not None
    among = [find_service(backend, each, SET_DEST) for each in request.services]
    # A dump leaves out entries when the table changes meanwhile, and one that is not drained would
    # not be missed.
    rows = read_services(backend, among, {}) if among else read_rows(backend)
    found = [
        DrainTarget(service, find_matching(servers, request.server, request.port))
        for service, servers in rows
    ]
    return [each for each in found if each.servers]


class _Draining:
    """One run. `done` are the (service, server as it was) whose weight we have set to 0."""

    def __init__(self, request: Request, backend: Backend, env: Environment, chosen: str) -> None:
        seconds = request.ours["drain"]
        self._seconds = seconds if isinstance(seconds, int) else None
        self._inactive = "drain-inactive" in request.ours
        self._deletes = (
            request.change if request.command in ("delete-server", "delete-service") else None
        )
        self._backend = backend
        self._world = env
        self._chosen = chosen
        self._place = request.ours.get("netns")
        self._done: list[tuple[Service, Server]] = []

    def drain_all(self, found: list[DrainTarget]) -> int:
        """Drain them: the exit status."""
        # Before anything is changed: if the lines cannot be written, nothing is.
        weighty = [
            (each.service, server) for each in found for server in each.servers if server.weight
        ]
        if weighty:
            self._world.write_stdout("".join(f"{self._format_undo(*each)}\n" for each in weighty))
        self._world.block_signals()
        for each in found:
            self._warn_of_hashing(each.service)
        try:
            for service, server in weighty:
                number = self._set_weight(service, server, 0)
                if number:
                    self._world.write_stderr(
                        f"{describe_server(service, server)}: {format_error(SET_DEST, number)}"
                    )
                    self._put_back()
                    return EXIT_REFUSED
                self._done.append((service, server))
            what, count, signal = self._wait_until_drained(found)
            if what:
                self._world.write_stderr(f"{what}: stopped{self._nothing_deleted}")
                self._print_undo_commands()
                return 1
            if signal:
                self._world.write_stderr(
                    f"{SIGNALS[signal]}: {format_connections(count)} left{self._nothing_deleted}"
                )
                self._put_back()
                return 128 + signal
            if count:
                self._report_timeout(found[0], count)
                return 1
        except (OperationError, RefusedError) as no:
            self._world.write_stderr(f"{no}: stopped{self._nothing_deleted}")
            # the table does not answer: what stands is not known, what undoes it is
            for done in weighty:
                self._world.write_stderr(f"to undo: {self._format_undo(*done)}")
            return no.status if isinstance(no, OperationError) else EXIT_REFUSED
        return self._delete_servers(found[0])

    @property
    def _nothing_deleted(self) -> str:
        return ", nothing deleted" if self._deletes else ""

    def _format_undo(self, service: Service, server: Server) -> str:
        return format_command(self._chosen, "-e", service, server, f" --keep -w {server.weight}")

    def _set_weight(self, service: Service, server: Server, weight: int) -> int:
        """Give the server, as it is in `server`, another weight: errno, 0 when that was done."""
        edited = copy_record(server)
        edited.weight = weight
        refused = self._backend.apply([Change(SET_DEST, service, edited)])
        return refused[0][1] if refused else 0

    def _warn_of_hashing(self, service: Service) -> None:
        if (
            service.flags & PERSISTENT
            and self._backend.read_sysctl("expire_quiescent_template") == "0"
        ):
            there = ""
            if self._place is not None:
                from pyipvsadm.netns import format_nsenter  # noqa: PLC0415  # few need it

                there = format_nsenter(str(self._place))
            named = writer.format_selector(service, addresses.format_numeric)
            self._world.write_stderr(
                f"warning: {named} is persistent, and clients that come back within its"
                f" {service.timeout} seconds go on to their server at weight 0 too:"
                f" `{there}sysctl net.ipv4.vs.expire_quiescent_template=1' ends that"
            )

    def _wait_until_drained(self, found: list[DrainTarget]) -> tuple[str, int, int]:
        """Look each second until there is a reason to stop: (what somebody did or "", connections
        left, signal or 0).
        """
        env = self._world
        start = now = env.read_clock()
        end = None if self._seconds is None else start + self._seconds
        progress = open_progress(
            env.write_raw_stderr, env.write_stderr, env.environ, env.is_error_terminal()
        )
        try:
            while True:
                what, count = self._poll(found)
                now = env.read_clock()
                if what or not count or (end is not None and now >= end):
                    return what, count, 0
                progress.show(count, now - start)
                signal = env.wait(POLL_INTERVAL if end is None else min(POLL_INTERVAL, end - now))
                if signal:
                    return "", count, signal
        finally:
            progress.close()

    def _report_timeout(self, drained: DrainTarget, count: int) -> None:
        self._world.write_stderr(
            f"{format_connections(count)} left after {self._seconds} seconds{self._nothing_deleted}"
        )
        self._print_undo_commands()
        if self._deletes:
            letter, server = ("-D", None) if drained.whole else ("-d", drained.servers[0])
            self._world.write_stderr(
                f"to delete it all the same: {format_command(self._chosen, letter, drained.service, server)}"
            )

    def _poll(self, found: list[DrainTarget]) -> tuple[str, int]:
        """(what somebody else has done or "", connections left)."""
        count = 0
        for each in found:
            for _ in range(TRIES):  # what a dump left out is there the next time
                seen = self._backend.read_servers(each.service)
                what = find_external_change(each, seen)
                if not what:
                    break
            if what:
                return what, 0
            ours = {server.key() for server in each.servers}
            count += sum(
                count_remaining(each.service, server, self._inactive)
                for server in seen
                if server.key() in ours
            )
        return "", count

    def _find_present(self, service: Service, server: Server) -> Server | None:
        for _ in range(TRIES):
            for each in self._backend.read_servers(service):
                if each.key() == server.key():
                    return each
        return None

    def _put_back(self) -> None:
        """The weights that we took, where they are still 0; say of each what became of it."""
        for service, server in self._done:
            found = self._find_present(service, server)
            if found is None:
                said = "is no longer there"
            elif found.weight:
                said = f"has the weight {found.weight} from somebody else: left so"
            else:
                number = self._set_weight(service, found, server.weight)
                said = (
                    f"stays at weight 0: {format_error(SET_DEST, number)}"
                    if number
                    else f"has weight {server.weight} again"
                )
            self._world.write_stderr(f"{describe_server(service, server)} {said}")

    def _print_undo_commands(self) -> None:
        """Which servers stand at weight 0 because of us, and the lines that change it."""
        for service, server in self._done:
            found = self._find_present(service, server)
            if found is not None and not found.weight:
                self._world.write_stderr(
                    f"{describe_server(service, server)} stays at weight 0; to undo: {self._format_undo(service, server)}"
                )

    def _delete_servers(self, drained: DrainTarget) -> int:
        if self._deletes is None:
            return 0
        server = None if drained.whole else drained.servers[0]
        refused = self._backend.apply([Change(self._deletes.op, drained.service, server)])
        for _, number in refused:
            self._world.write_stderr(format_error(self._deletes.op, number))
        return EXIT_REFUSED if refused else 0
