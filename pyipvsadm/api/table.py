"""Read and change a table of virtual services from Python.

Owns: the methods of a table, and how their arguments become a request. Must never know: the grammar
(grammar/parser.py), which checks them as it checks a command line, and how a change is sent.

The module is longer than others because a table has so many methods; each is a few lines.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from contextlib import nullcontext
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from pyipvsadm import model
from pyipvsadm.api.environment import ProgramEnvironment
from pyipvsadm.api.records import (
    Connection,
    Daemon,
    Entry,
    Prediction,
    Result,
    Server,
    Service,
    Timeouts,
    UndoResult,
    build_record,
)
from pyipvsadm.api.words import (
    format_endpoint,
    list_server_words,
    list_service_words,
    list_setting_words,
)
from pyipvsadm.commands.dispatch import run_request
from pyipvsadm.errors import (
    IpvsadmError,
    LineSkippedError,
    OperationError,
    RefusedError,
    UsageError,
)
from pyipvsadm.grammar.parser import CommandParser
from pyipvsadm.grammar.values import get_daemon_values
from pyipvsadm.sorting import sort_servers, sort_services
from pyipvsadm.views.connections import parse_connection
from pyipvsadm.views.fields import (
    CONNECTION_FIELDS,
    DAEMON_FIELDS,
    END_FIELDS,
    SERVER_FIELDS,
    SERVICE_FIELDS,
    SERVICE_KEY_FIELDS,
    TIMEOUTS,
    read_fields,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import Final, Literal

    from pyipvsadm.api.records import Tunnel
    from pyipvsadm.api.words import IP, ServerKey, ServiceKey
    from pyipvsadm.grammar.parser import Request
    from pyipvsadm.views.connections import Connection as FileConnection

    Role = Literal["master", "backup"]


class Unchanged:
    """Serve as the default of an edit's arguments: the setting stays as it is."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged()


class ApplyError(IpvsadmError):
    """Report that the table refused a change while rules were applied. The changes before it were
    undone; `result` says which were not.

    result: as apply() returns it otherwise, with the steps that were refused.
    """

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


class Table:
    """Hold an open table; use it in a `with`, which closes it. One thread at a time may use a
    table: give each thread its own.

    Arguments are what the command line takes, and are checked by the same rules, with the same
    messages. An address is text (also a host name) or an object of `ipaddress`; text may hold the
    port: "10.0.0.1:80", "[2001:db8::1]:80". A service is a Service, ("tcp", "10.0.0.1:80"), ("tcp",
    address, port), or ("mark", 7); "mark6" stands for a mark's IPv6 packets. A server is a Server, an
    address, or (address, port); without a port, it has the service's.

    Every method raises UsageError for an invalid argument, RefusedError with the kernel's
    errno if the table refuses, and OperationError if the table cannot be asked.
    """

    def __init__(
        self, backend: str = "kernel", netns: str | None = None, history: str | None = None
    ) -> None:
        """Open the table: "kernel", "memory" or "memory:FILE"; netns: the network namespace, as
        `--netns` takes it. history: the folder of the history; without it, that of the kernel's
        table, and none for an embedded one.
        """
        if netns is not None and threading.current_thread() is not threading.main_thread():
            raise UsageError("only the main thread can open a table of another network namespace")
        self._env = ProgramEnvironment(history)
        self._netns = netns
        with self._enter():
            self._backend = self._env.open_backend(backend)

    def __enter__(self) -> Table:  # noqa: PYI034  # typing has no Self before Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the table; a second call does nothing."""
        self._backend.close()

    # Reading

    def services(self) -> list[Service]:
        """Return all services, sorted as `ipvsadm -L` sorts them."""
        with self._enter():
            return list(map(_build_service, sort_services(self._backend.read_services())))

    def service(self, protocol: str, address: IP | int, port: int | None = None) -> Service:
        """Return one service: service("tcp", "10.0.0.1:80"), service("mark", 7). Raise RefusedError
        (ESRCH) if it does not exist.
        """
        return self._find_service((protocol, address, port))

    def servers(self, service: ServiceKey) -> list[Server]:
        """Return the real servers of a service, sorted as `ipvsadm -L` sorts them. Raise
        RefusedError (ESRCH) if the service does not exist.
        """
        with self._enter():
            found = self._backend.find_service(self._parse_service(service))
            return list(map(_build_server, sort_servers(self._backend.read_servers(found))))

    def timeouts(self) -> Timeouts:
        """Return how long connections are kept."""
        with self._enter():
            return build_record(Timeouts, read_fields(TIMEOUTS, self._backend.read_timeouts()))

    def daemons(self) -> list[Daemon]:
        """Return the sync daemons that run, the master first."""
        with self._enter():
            return list(map(_build_daemon, self._backend.read_daemons()))

    def connections(self) -> Iterator[Connection]:
        """Yield the connections and persistence templates that the kernel tracks. They are read
        while the iterator runs; with a network namespace, all at once.
        """
        with self._enter():
            lines = self._backend.iter_connections()
            if self._netns is not None:
                lines = iter(list(lines))
        next(lines, None)  # the heading
        for line in lines:
            yield _build_connection(parse_connection(line))

    # Services

    def add_service(
        self,
        protocol: str,
        address: IP | int,
        port: int | None = None,
        *,
        scheduler: str | None = None,
        scheduler_flags: Iterable[str] = (),
        persistence_timeout: int | None = None,
        persistence_netmask: str | None = None,
        persistence_prefix_length: int | None = None,
        persistence_engine: str | None = None,
        one_packet: bool = False,
    ) -> Service:
        """Add a service and return it, as it is in the table then. Without a scheduler, it is wlc."""
        settings = {
            "scheduler": scheduler,
            "scheduler_flags": scheduler_flags,
            "persistence_timeout": persistence_timeout,
            "persistence_netmask": persistence_netmask,
            "persistence_prefix_length": persistence_prefix_length,
            "persistence_engine": persistence_engine,
            "one_packet": one_packet,
        }
        key = (protocol, address, port)
        self._change(["--add-service", *list_service_words(key), *list_setting_words(settings)])
        return self._find_service(key)

    def edit_service(
        self,
        service: ServiceKey,
        *,
        scheduler: str | Unchanged = UNCHANGED,
        scheduler_flags: Iterable[str] | Unchanged = UNCHANGED,
        persistence_timeout: int | Unchanged | None = UNCHANGED,
        persistence_netmask: str | Unchanged | None = UNCHANGED,
        persistence_prefix_length: int | Unchanged | None = UNCHANGED,
        persistence_engine: str | Unchanged | None = UNCHANGED,
        one_packet: bool | Unchanged = UNCHANGED,
    ) -> Service:
        """Change the given settings of a service and return it; the others stay as they are in the
        table, and None takes a setting away. Another scheduler begins without flags.
        """
        given = {
            "scheduler": scheduler,
            "scheduler_flags": scheduler_flags,
            "persistence_timeout": persistence_timeout,
            "persistence_netmask": persistence_netmask,
            "persistence_prefix_length": persistence_prefix_length,
            "persistence_engine": persistence_engine,
            "one_packet": one_packet,
        }
        present = self._find_service(service)
        dropped = {"scheduler_flags": ()} if scheduler not in (UNCHANGED, present.scheduler) else {}
        settings = _merge_settings(present, dropped, given)
        self._change(
            ["--edit-service", *list_service_words(service), *list_setting_words(settings)]
        )
        return self._find_service(service)

    def delete_service(self, service: ServiceKey) -> None:
        """Delete a service and its real servers."""
        self._change(["--delete-service", *list_service_words(service)])

    def clear(self) -> None:
        """Delete all services."""
        self._change(["--clear"])

    def zero(self, service: ServiceKey | None = None) -> None:
        """Set the counters of a service to zero, or those of all services."""
        self._change(["--zero", *([] if service is None else list_service_words(service))])

    # Servers

    def add_server(
        self,
        service: ServiceKey,
        server: ServerKey,
        *,
        weight: int | None = None,
        forwarding: str | None = None,
        upper_threshold: int | None = None,
        lower_threshold: int | None = None,
        tunnel: Tunnel | None = None,
    ) -> None:
        """Add a real server to a service. Without a weight it has 1, without a forwarding method
        "route". By "route" and "tunnel" it has the service's port, whatever its own says.
        """
        settings = {
            "weight": weight,
            "forwarding": forwarding,
            "upper_threshold": upper_threshold,
            "lower_threshold": lower_threshold,
            "tunnel": tunnel,
        }
        words = [*list_service_words(service), *list_server_words(server)]
        self._change(["--add-server", *words, *list_setting_words(settings)])

    def edit_server(
        self,
        service: ServiceKey,
        server: ServerKey,
        *,
        weight: int | Unchanged = UNCHANGED,
        forwarding: str | Unchanged = UNCHANGED,
        upper_threshold: int | Unchanged | None = UNCHANGED,
        lower_threshold: int | Unchanged | None = UNCHANGED,
        tunnel: Tunnel | Unchanged | None = UNCHANGED,
    ) -> Server:
        """Change the given settings of a real server and return it; the others stay as they are in
        the table, and None takes a threshold away.
        """
        given = {
            "weight": weight,
            "forwarding": forwarding,
            "upper_threshold": upper_threshold,
            "lower_threshold": lower_threshold,
            "tunnel": tunnel,
        }
        present = self._find_server(service, server)
        dropped = {"tunnel": None} if forwarding not in (UNCHANGED, "tunnel") else {}
        settings = _merge_settings(present, dropped, given)
        words = [*list_service_words(service), *list_server_words(present)]
        self._change(["--edit-server", *words, *list_setting_words(settings)])
        return self._find_server(service, present)

    def delete_server(self, service: ServiceKey, server: ServerKey) -> None:
        """Delete a real server. The sysctl expire_nodest_conn decides whether its connections end at
        the next packet or at their timeout.
        """
        self._change(["--delete-server", *list_service_words(service), *list_server_words(server)])

    # Timeouts and sync daemons

    def set_timeouts(self, *, tcp: int = 0, tcp_fin: int = 0, udp: int = 0) -> None:
        """Set how long connections are kept, in seconds; 0 leaves a timeout as it is."""
        self._change(["--set", str(tcp), str(tcp_fin), str(udp)])

    def start_daemon(
        self,
        role: Role,
        interface: str,
        *,
        sync_id: int | None = None,
        maximum_length: int | None = None,
        multicast_group: IP | None = None,
        multicast_port: int | None = None,
        multicast_ttl: int | None = None,
    ) -> None:
        """Start a sync daemon."""
        settings = {
            "interface": interface,
            "sync_id": sync_id,
            "maximum_length": maximum_length,
            "multicast_group": multicast_group,
            "multicast_port": multicast_port,
            "multicast_ttl": multicast_ttl,
        }
        self._change([f"--start-daemon={role}", *list_setting_words(settings)])

    def stop_daemon(self, role: Role) -> None:
        """Stop a sync daemon."""
        self._change([f"--stop-daemon={role}"])

    # Rules and predictions

    def plan(
        self,
        rules: str,
        *,
        prune: bool = False,
        keep_weights: bool = False,
        force: bool = False,
        allow_empty: bool = False,
    ) -> Result:
        """Return what apply() would do, and send nothing."""
        return self.apply(
            rules,
            prune=prune,
            keep_weights=keep_weights,
            force=force,
            allow_empty=allow_empty,
            dry_run=True,
        )

    def apply(
        self,
        rules: str,
        *,
        prune: bool = False,
        keep_weights: bool = False,
        force: bool = False,
        allow_empty: bool = False,
        dry_run: bool = False,
    ) -> Result:
        """Make the table match rules, as `ipvsadm --apply` does with these options, and return what
        was done.

        Raise RulesError with all bad lines, and UsageError if a rule of --apply forbids the change:
        nothing was done then. Raise ApplyError if the table refuses a change: the changes before it
        were undone.
        """
        chosen = {
            "prune": prune,
            "keep-weights": keep_weights,
            "force": force,
            "allow-empty": allow_empty,
            "dry-run": dry_run,
        }
        words = [f"--{name}" for name, is_set in chosen.items() if is_set]
        document, messages = self._run(["--apply", "--json", *words], rules)
        result = replace(build_record(Result, document), messages=messages)
        if result.refused:
            first = result.refused[0]
            where = f"line {first.line}: " if first.line else ""
            raise ApplyError(f"{where}{first.rule}: {first.message}", result)
        return result

    def history(self) -> list[Entry]:
        """Return the changes of this table that undo() can take back, the oldest first: those of
        apply() and undo(), and those of commands.
        """
        document, _ = self._run(["--history", "--json"])
        return [build_record(Entry, entry) for entry in document["history"]]

    def undo(self, entry: int | None = None, *, dry_run: bool = False) -> UndoResult:
        """Take a change back, as `ipvsadm --undo` does: the one with this id, or this user's newest
        that is not undone. Raise UsageError if the history has none, OperationError if the table
        refuses: the table is as before then.
        """
        words = ["--undo" if entry is None else f"--undo={entry}", *(["--dry-run"] * dry_run)]
        status, output, messages = self._carry_out(words)
        if status > 1:
            raise OperationError("\n".join(messages), status)
        return UndoResult(status == 0, (*output.splitlines(), *messages))

    def predict(self, client: IP | tuple[IP, int], service: ServiceKey) -> Prediction:
        """Return which server a client would get, as `ipvsadm --predict` says. client: an address,
        or (address, port).
        """
        address, port = client if isinstance(client, tuple) else (client, None)
        end = format_endpoint(address, port)
        words = ["--json", f"--predict={end}", *list_service_words(service)]
        document, _ = self._run(words)
        (prediction,) = document["predictions"]
        return build_record(Prediction, prediction)

    # What the methods share

    def _enter(self) -> AbstractContextManager[None]:
        """Return a `with` in which this thread is in the table's network namespace."""
        return nullcontext() if self._netns is None else self._env.enter_netns(self._netns)

    def _parse(self, words: list[str]) -> Request:
        """Parse words as a command line. Raise UsageError for an invalid value."""
        for word in words:
            if "\0" in word:  # no command line has one
                raise UsageError(f"{word!r} holds a NUL character")
        try:
            return CommandParser(words, self._env.names).parse_request()
        except LineSkippedError as exc:
            raise UsageError(str(exc)) from None

    def _parse_service(self, service: ServiceKey) -> model.Service:
        return self._parse(["--zero", *list_service_words(service)]).services[0]

    def _change(self, words: list[str]) -> None:
        """Send the change of a command line. Raise RefusedError if the table refuses it."""
        with self._enter():
            change = self._parse(words).change
            assert change is not None
            for _, errnum in self._backend.apply([change]):
                raise RefusedError(change.op, errnum)

    def _carry_out(self, words: list[str], text: str = "") -> tuple[int, str, tuple[str, ...]]:
        """Carry out a command with this standard input; return its status, output and messages."""
        env = self._env
        env.input, env.output, env.messages, env.argv = os.fsencode(text), "", [], words
        with self._enter():
            status = run_request(self._parse(words), self._backend, env)
        return status, env.output, tuple("\n".join(env.messages).splitlines())

    def _run(self, words: list[str], text: str = "") -> tuple[dict[str, Any], tuple[str, ...]]:
        """Carry out a command that prints JSON; return its document and its messages."""
        _, output, messages = self._carry_out(words, text)
        return json.loads(output), messages

    def _find_service(self, service: ServiceKey) -> Service:
        with self._enter():
            return _build_service(self._backend.find_service(self._parse_service(service)))

    def _find_server(self, service: ServiceKey, server: ServerKey) -> Server:
        """Return a server of a service. Raise RefusedError (ESRCH, ENOENT) if there is none."""
        with self._enter():
            words = ["--delete-server", *list_service_words(service), *list_server_words(server)]
            change = self._parse(words).change
            assert change is not None
            assert change.service is not None
            assert change.server is not None
            found = self._backend.find_service(change.service)
            for each in self._backend.read_servers(found):
                if each.key() == change.server.key():
                    return _build_server(each)
            raise RefusedError(change.op, errno.ENOENT)


def _merge_settings(present: Service | Server, *newer: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields of a record as they are after an edit."""
    settings = {each.name: getattr(present, each.name) for each in fields(present)}
    for given in newer:
        settings.update((name, value) for name, value in given.items() if value is not UNCHANGED)
    return settings


# The fields are those of the JSON documents.


def _build_service(found: model.Service) -> Service:
    return build_record(Service, read_fields((*SERVICE_KEY_FIELDS, *SERVICE_FIELDS), found))


def _build_server(found: model.Server) -> Server:
    return build_record(Server, read_fields((*END_FIELDS, *SERVER_FIELDS), found))


def _build_daemon(found: model.Daemon) -> Daemon:
    return build_record(Daemon, read_fields(DAEMON_FIELDS, get_daemon_values(found)))


def _build_connection(found: FileConnection) -> Connection:
    document = read_fields(CONNECTION_FIELDS, found)
    for name in ("client", "virtual", "server"):
        document[name] = read_fields(END_FIELDS, model.Server(*document[name]))
    return build_record(Connection, document)
