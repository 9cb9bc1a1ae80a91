"""What could stand at the cursor of an unfinished command line. Pure but for what it is given to
look around with.

Owns: which commands, options and values are offered, in which order, with which words. Reads the
tables of options.py. Must never know: shells, their quoting, where live values come from
(`Around`).

How it works. The words but the one at the cursor are read by popt's grammar, without looking at
values. That tells whether the word at the cursor is an argument (of which option) or an option, and
what is filled already. An option is offered when it can join what stands there, so that nothing
would have to be taken back; what is demanded and missing comes first. A candidate stands for the
whole word at the cursor. One that ends in `/`, `:`, `,` or `=` is meant to be gone on with.
"""

from __future__ import annotations

from pyipvsadm import sorting
from pyipvsadm.addresses import format_numeric, parse
from pyipvsadm.errors import Skipped, Usage
from pyipvsadm.grammar.combinations import can_join, list_conflict, tunnel_types
from pyipvsadm.grammar.options import (
    COMMANDS,
    ENGINES,
    NONE,
    OPTIONAL,
    OPTIONS,
    SCHEDULER_FLAGS,
    SCHEDULERS,
    SLOTS,
    TUNNEL_TYPES,
    Command,
    Option,
)
from pyipvsadm.grammar.parser import Scanner
from pyipvsadm.grammar.popt import Words, option_of
from pyipvsadm.grammar.programs import COMPANIONS
from pyipvsadm.model import AF_INET6, MASQ, TCP, TUNNEL
from pyipvsadm.resolver import NullResolver
from pyipvsadm.rules.writer import selector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import ClassVar, Protocol

    from pyipvsadm.grammar.programs import Companion
    from pyipvsadm.model import Destination, Service

    Rows = list[tuple[Service, list[Destination]]]
    Candidates = Iterable[tuple[str, str]]

    class Around(Protocol):
        """What completion may ask. Nothing here raises: what cannot be known is empty."""

        def rows(self, backend: str | None, place: str | None) -> Rows:
            """The services of a table, each with its servers. backend, place: as --backend and
            --netns say, or None.
            """

        def folder(self, path: str) -> list[str]:
            """The names in a folder ("" for the current one), those of folders with a slash at
            their end.
            """

        def interfaces(self, place: str | None) -> list[str]:
            """The network interfaces of this network namespace, or of the one that --netns
            names.
            """

        def namespaces(self) -> list[str]:
            """The network namespaces that have names."""


GOES_ON = ("/", ":", ",", "=")
_FORWARDING = {MASQ: "NAT", TUNNEL: "tunnel"}


def complete(words: Sequence[str], cursor: int, around: Around) -> list[tuple[str, str]]:
    """The candidates for words[cursor], of which only what is left of the cursor stands there, each
    with a line about it.

    words: the whole line, the program's name first; cursor may be their number, for a word not
    begun.
    """
    program = words[0].rpartition("/")[2] if words else ""
    prefix = words[cursor] if 0 < cursor < len(words) else ""
    before, after = words[1:cursor], words[cursor + 1 :]
    if program in COMPANIONS:
        return list(
            _Line((), (), around).complete_companion(COMPANIONS[program], before, after, prefix)
        )
    return list(_Line(before, after, around).candidates(prefix))


class _Line:
    """What stands on the line but for the word at the cursor."""

    def __init__(self, before: Sequence[str], after: Sequence[str], around: Around) -> None:
        self._around = around
        self._command: Command | None = None
        self._given: list[tuple[Option, str]] = []
        self._bare: list[str] = []  # words that are no option's, and what was given to --apply
        self._over = "--" in before  # no option is expected any more
        self._waiting = self._read(before)
        self._early = len(self._given)  # of what was given, this much stands before the cursor
        self._begun = self._command is not None
        self._read(after)

    def _read(self, words: Sequence[str]) -> Command | Option | None:
        """Take notice of options; the one whose argument could follow the last word."""
        found = Words(words, posix=False)
        while True:
            try:
                row = found.option()
            except Skipped:  # not understood, and passed over
                continue
            if row is None:
                break
            self._note(row, found.value)
        # that was an option already
        if found.waiting is not None and found.waiting.argument != OPTIONAL:
            self._note(found.waiting, None)
        self._bare += found.bare
        return found.waiting

    def _note(self, row: Command | Option, value: str | None) -> None:
        if isinstance(row, Option):
            self._given.append((row, value or ""))
        elif self._command is None:
            self._command = row
            self._bare += [value] if value else []
        else:  # help, where all ends, or a mistake
            self._over = True

    def candidates(self, prefix: str) -> Candidates:
        """What the word at the cursor could become."""
        waiting = self._waiting
        command = self._command.long if self._command else ""
        if (
            command == "apply"
            and waiting in (None, self._command)
            and not self._over
            and prefix[:1] != "-"
        ):
            if not self._bare:  # its FILE stands anywhere
                yield from _files(prefix, self._around)
        elif waiting is not None and (waiting.argument != OPTIONAL or prefix[:1] != "-"):
            yield from self._values(waiting, prefix)
            if waiting.argument != OPTIONAL:
                return
        if self._over or command == "version":
            return
        if command == "help":
            yield from _starting(prefix, self._topics(prefix))
        elif prefix[:2] == "--" and "=" in prefix:
            name, _, value = prefix[2:].partition("=")
            row = option_of(name)
            if row is not None and row.argument != NONE and self._fits(row):
                yield from self._attached(row, prefix, value)
        elif prefix in ("", "-") or prefix[:2] == "--":
            yield from _starting(prefix, self._options(prefix))
        elif prefix[0] == "-":
            yield from self._cluster(prefix)

    def _topics(self, prefix: str) -> Candidates:
        dashes = "--" if prefix[:1] == "-" else ""
        return [(f"{dashes}{row.long}", row.help) for row in COMMANDS]

    def _options(self, prefix: str) -> Candidates:
        """Commands, or the options that go with the command: short ones only after a dash, when
        they are wanted.
        """
        command = self._command.long if self._command else ""
        demanded = {slot.name for slot in SLOTS if command in slot.required}
        options = sorted(filter(self._fits, OPTIONS), key=lambda row: row.slot not in demanded)
        commands = list(filter(self._fits, COMMANDS))
        rows: list[Command | Option] = [*options, *commands] if command else [*commands, *options]
        if prefix == "-":
            yield from ((f"-{row.short}", row.help) for row in rows if row.short)
        yield from (
            (f"--{row.long}", f"{row.help}, -{row.short}" if row.short else row.help)
            for row in rows
        )

    def _cluster(self, prefix: str) -> Candidates:
        """A word of short options: the argument of its last one when that has begun, else the word
        itself.
        """
        found = Words([prefix], posix=False)
        rows: list[tuple[Command | Option, str]] = []
        try:
            while (row := found.option()) is not None:
                rows.append((row, found.value or ""))
        except Skipped:
            if found.waiting is None:
                return ()
            rows.append((found.waiting, ""))
        for row, value in rows[:-1]:
            if not self._fits(row):
                return ()
            self._note(row, value)
            self._begun = self._command is not None
        row, value = rows[-1]
        if not self._fits(row):
            return ()
        return self._attached(row, prefix, value) if value else [(prefix, row.help)]

    def _attached(self, row: Command | Option, prefix: str, value: str) -> Candidates:
        head = prefix[: len(prefix) - len(value)]
        return [(head + found, about) for found, about in self._values(row, value)]

    def complete_companion(
        self, program: Companion, before: Sequence[str], after: Sequence[str], prefix: str
    ) -> Candidates:
        """Return the options of ipvsadm-save or ipvsadm-restore that are not given, or the values
        of the one at the cursor.
        """
        rows = {f"--{row.long}" if row.long else f"-{row.short}": row for row in program.options}
        waiting = rows.get(before[-1]) if before else None
        if waiting is not None and waiting.argument:
            return self._values(waiting, prefix)
        name, equals, value = prefix.partition("=")
        if equals and name in rows and rows[name].argument:
            return self._attached(rows[name], prefix, value)
        given = {word.partition("=")[0] for word in (*before, *after)}
        return _starting(
            prefix, ((name, row.help) for name, row in rows.items() if name not in given)
        )

    # --- which options fit

    def _slots(self) -> set[str]:
        return {row.slot for row, _ in self._given if row.slot}

    def _long(self, slot: str) -> str:
        """The option that has filled a slot, "" when none has."""
        return next((row.long for row, _ in self._given if row.slot == slot), "")

    def _last(self, option: str) -> str | None:
        """What an option without a slot says, which may be given again."""
        return next((value for row, value in reversed(self._given) if row.long == option), None)

    def _value(self, slot: str) -> str:
        return next((value for row, value in self._given if row.slot == slot), "")

    def _fits(self, row: Command | Option) -> bool:
        """Whether it can join what stands there."""
        if isinstance(row, Command):
            return self._command is None or row.long == "help"
        command = self._command.long if self._command else ""
        if not (self._begun or row.ours):
            return False  # the first option is the command
        slots = self._slots()
        if not can_join(row, command, slots):
            return False
        if not row.slot:
            return (row.long != "ipv6" or self._fits_ipv6()) and all(
                row is not other for other, _ in self._given
            )
        if command == "list":
            return not list_conflict({*slots, row.slot})
        tunnel = {slot for slot in slots if slot[:4] == "tun-"}
        if row.slot == "forwarding-method":
            mixed = len(self._server_family() | {service.af for service in self._services()}) > 1
            return row.long == "ipip" or not (tunnel or mixed)
        if row.slot[:4] == "tun-":
            types = tunnel_types(tunnel | {row.slot})
            fitting = self._value("tun-type") in types if "tun-type" in tunnel else bool(types)
            return fitting and self._long("forwarding-method") in ("", "ipip")
        # One-packet scheduling is for UDP and marks.
        if row.slot == "ops":
            return self._long("service-address") in ("", "udp-service", "fwmark-service")
        if row.slot == "service-address" and "ops" in slots:
            return row.long in ("udp-service", "fwmark-service")
        return True

    def _fits_ipv6(self) -> bool:
        """Only behind a mark; and only a tunnel reaches servers of another family."""
        marked = any(row.long == "fwmark-service" for row, _ in self._given[: self._early])
        return marked and self._reaches(AF_INET6)

    def _reaches(self, family: int) -> bool:
        """Whether the server that is named can serve that family in the way that is named."""
        return self._long("forwarding-method") in ("", "ipip") or self._server_family() <= {family}

    def _server_family(self) -> set[int]:
        """The family of the server that is named, none when there is none or it is a name."""
        found = parse(self._value("real-server"), TCP, NullResolver())
        return {found.family} if found else set()

    # --- values

    def _values(self, row: Command | Option, prefix: str) -> Candidates:
        """What the argument of an option could be."""
        kind = row.operands if isinstance(row, Command) else row.values
        if "|" in kind:
            return _starting(prefix, ((word, "") for word in kind.split("|")))
        if kind in ("file", "[FILE]"):
            return _files(prefix, self._around)
        if kind == "backend" and prefix[:7] == "memory:":
            return [(f"memory:{path}", about) for path, about in _files(prefix[7:], self._around)]
        find = self._KINDS.get(kind)
        return _starting(prefix, find(self, row, prefix)) if find is not None else ()

    def _rows(self) -> Rows:
        """The table, in the order of the listing."""
        rows = self._around.rows(self._last("backend"), self._last("netns"))
        servers = {service.key(): sorting.destinations(found) for service, found in rows}
        return [
            (service, servers[service.key()])
            for service in sorting.services([service for service, _ in rows])
        ]

    def _of_services(self, asked: Command | Option, prefix: str) -> Candidates:
        """Services there are; for a new one their hosts, for there are few with many ports."""
        found = [
            (words[1], service, servers)
            for service, servers in self._rows()
            for words in [selector(service, format_numeric).split(" ")]
            if words[0].lstrip("-") in (asked.long, asked.short)
        ]
        if self._command and self._command.long == "add-service":
            if asked.long == "fwmark-service":
                return []
            hosts = dict.fromkeys(value.rpartition(":")[0] for value, *_ in found)
            return [(f"{host}:", "") for host in hosts if f"{host}:" != prefix]
        named = [value for row, value in self._given if row is asked]
        return [
            (value, f"{service.scheduler}, {len(servers)} server{'s' * (len(servers) != 1)}")
            for value, service, servers in found
            if value not in named and self._reaches(service.af)
        ]

    def _of_servers(self, _: Command | Option, __: str) -> Candidates:
        """The servers of the services that are named; where one is to be added, those of the
        others.
        """
        rows = self._rows()
        keys = {service.key() for service in self._services()}
        inside = [
            server for service, servers in rows if service.key() in keys for server in servers
        ]
        adding = self._command is not None and self._command.long == "add-server"
        if adding:
            have = {server.key() for server in inside}
            families = {key[0] for key in keys}
            mixed = not keys or self._long("forwarding-method") == "ipip"
            shown = [
                server
                for _, servers in rows
                for server in servers
                if server.key() not in have and (mixed or server.af in families)
            ]
        else:
            shown = inside if keys else [server for _, servers in rows for server in servers]
        ends: dict[str, str] = {}
        for server in shown:
            way = _FORWARDING.get(server.forward, "direct")
            ends.setdefault(
                format_numeric(server.af, server.addr, server.port),
                "" if adding else f"{way}, weight {server.weight}",
            )
        return ends.items()

    def _services(self) -> list[Service]:
        """The services that are named, as far as they are numbers."""
        named = [
            (row, value) for row, value in self._given if row.slot == "service-address" and value
        ]
        six = ["-6"] if any(row.long == "ipv6" for row, _ in self._given) else []
        found = []
        for row, value in named:
            try:
                words = [
                    "--zero",
                    f"--{row.long}={value}",
                    *(six if row.long == "fwmark-service" else []),
                ]
                found += Scanner(words, NullResolver()).request().services
            except (Usage, Skipped):
                continue
        return found

    def _of_flags(self, _: Command | Option, prefix: str) -> Candidates:
        """Flags of the scheduler, those behind the last comma; of one that has names of its own,
        these.
        """
        head, comma = prefix.rpartition(",")[:2]
        given = set(head.split(","))
        scheduler = self._value("scheduler")
        own = [
            (name, bit, only) for name, bit, only in SCHEDULER_FLAGS if only == scheduler and only
        ]
        rows = own or [row for row in SCHEDULER_FLAGS if not scheduler or not row[2]]
        taken = {bit for name, bit, _ in rows if name in given}
        return [
            (f"{head}{comma}{name}", f"scheduler {only}" if only else "")
            for name, bit, only in rows
            if bit not in taken
        ]

    def _of_schedulers(self, *_: object) -> Candidates:
        """All, or the one whose flags were given."""
        flags = self._value("sched-flags").split(",")
        owners = [only for name, _, only in SCHEDULER_FLAGS if only and name in flags]
        return [(name, about) for name, about in SCHEDULERS.items() if not owners or name in owners]

    def _of_engines(self, *_: object) -> Candidates:
        return list(ENGINES.items())

    def _of_tunnels(self, *_: object) -> Candidates:
        types = tunnel_types({slot for slot in self._slots() if slot[:4] == "tun-"})
        return [(kind, "") for kind in TUNNEL_TYPES if kind in types]

    def _of_interfaces(self, *_: object) -> Candidates:
        return [(name, "") for name in self._around.interfaces(self._last("netns"))]

    def _of_namespaces(self, _: Command | Option, prefix: str) -> Candidates:
        return _namespaces(prefix, self._around)

    def _of_backends(self, *_: object) -> Candidates:
        return [
            ("kernel", "the kernel's table (default)"),
            ("memory", "an empty table, for this command"),
            ("memory:", "a table in a file"),
        ]

    # kind (Option.values) -> what finds its values
    _KINDS: ClassVar[dict[str, Callable[[_Line, Command | Option, str], Candidates]]] = {
        "service": _of_services,
        "server": _of_servers,
        "scheduler": _of_schedulers,
        "flags": _of_flags,
        "engine": _of_engines,
        "tunnel": _of_tunnels,
        "interface": _of_interfaces,
        "backend": _of_backends,
        "netns": _of_namespaces,
    }


def _starting(prefix: str, found: Candidates) -> Iterator[tuple[str, str]]:
    return (each for each in found if each[0].startswith(prefix))


def _namespaces(prefix: str, around: Around) -> Candidates:
    """Names, and paths once there is a slash."""
    return (
        _files(prefix, around)
        if "/" in prefix
        else _starting(prefix, ((name, "") for name in around.namespaces()))
    )


def _files(prefix: str, around: Around) -> Candidates:
    """The names in the folder that the path leads to so far; hidden ones only when their dot is
    there.
    """
    folder, slash, start = prefix.rpartition("/")
    return [
        (f"{folder}{slash}{name}", "")
        for name in sorted(around.folder(folder + slash))
        if name.startswith(start) and (name[0] != "." or start[:1] == ".")
    ]
