"""List the candidates for the cursor of an unfinished command line. Pure, but for the source that
it asks.

Owns: which commands, options and values are offered, in which order, with which descriptions; reads
the tables of options.py. Must never know: shells, their quoting, where live values come from
(`CompletionSource`).

All words but the one at the cursor are parsed by popt's grammar, without looking at values. That
tells whether the word at the cursor is an argument (of which option) or an option, and which slots
are filled. An option is offered if it can join the present words, so that none of them has to be
removed; required slots that are empty come first. A candidate replaces the whole word at the
cursor. One that ends in `/`, `:`, `,` or `=` is meant to be continued.

The module is longer than others because all candidates depend on the same parsed words.
"""

from __future__ import annotations

from pyipvsadm import sorting
from pyipvsadm.addresses import format_numeric, parse_endpoint
from pyipvsadm.errors import LineSkippedError, UsageError
from pyipvsadm.grammar.combinations import (
    can_join,
    describe_option,
    get_tunnel_types,
)
from pyipvsadm.grammar.options import (
    ATTACHED,
    COMMANDS,
    NONE,
    OPTIONAL,
    OPTIONS,
    SLOTS,
    TUNNEL_TYPES,
    Command,
    Option,
)
from pyipvsadm.grammar.parser import CommandParser
from pyipvsadm.grammar.popt import PoptScanner, find_option
from pyipvsadm.grammar.programs import COMPANIONS
from pyipvsadm.grammar.schedulers import ENGINES, SCHEDULER_FLAGS, SCHEDULERS
from pyipvsadm.model import AF_INET6, MASQ, TCP, TUNNEL
from pyipvsadm.resolver import NullResolver
from pyipvsadm.rules.writer import format_selector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import ClassVar, Protocol

    from pyipvsadm.grammar.programs import Companion
    from pyipvsadm.model import Server, Service

    Rows = list[tuple[Service, list[Server]]]
    Candidates = Iterable[tuple[str, str]]

    class CompletionSource(Protocol):
        """Answer the questions of completion. No method raises: unknown values are empty."""

        def read_rows(self, backend: str | None, netns: str | None) -> Rows:
            """Return the services of a table, each with its servers. backend, netns: the values of
            --backend and --netns, or None.
            """

        def list_folder(self, path: str) -> list[str]:
            """Return the names in a folder ("" for the current one), those of folders with a slash
            at the end.
            """

        def list_interfaces(self, netns: str | None) -> list[str]:
            """Return the interfaces of this network namespace, or of the one that --netns names."""

        def list_namespaces(self) -> list[str]:
            """Return the network namespaces that have names."""

        def list_changes(self, backend: str | None, netns: str | None) -> list[tuple[str, str]]:
            """Return the changes of a table's history, the newest first: numbers and commands."""


NO_SPACE_SUFFIXES = ("/", ":", ",", "=")
_FORWARDING = {MASQ: "NAT", TUNNEL: "tunnel"}


def complete(words: Sequence[str], cursor: int, source: CompletionSource) -> list[tuple[str, str]]:
    """Return the candidates for words[cursor], each with a description. That word holds only the
    part left of the cursor.

    words: the whole line, the program's name first; cursor may be their number, for a word that has
    not begun.
    """
    program = words[0].rpartition("/")[2] if words else ""
    prefix = words[cursor] if 0 < cursor < len(words) else ""
    before, after = words[1:cursor], words[cursor + 1 :]
    if program in COMPANIONS:
        return list(
            _Line((), (), source).complete_companion(COMPANIONS[program], before, after, prefix)
        )
    return list(_Line(before, after, source).list_candidates(prefix))


class _Line:
    """Hold the parsed words of the line, except the one at the cursor."""

    def __init__(
        self, before: Sequence[str], after: Sequence[str], source: CompletionSource
    ) -> None:
        self._source = source
        self._command: Command | None = None
        self._given: list[tuple[Option, str]] = []
        self._positional: list[str] = []  # bare words, and the value of --apply
        self._options_ended = "--" in before  # no option is expected any more
        self._awaiting_argument = self._read_options(before)
        # The number of given options that stand before the cursor.
        self._given_before_cursor = len(self._given)
        self._has_command = self._command is not None
        self._read_options(after)

    def _read_options(self, words: Sequence[str]) -> Command | Option | None:
        """Note the options. Return the one whose argument could follow the last word."""
        scanner = PoptScanner(words, posix=False)
        while True:
            try:
                row = scanner.read_option()
            except LineSkippedError:
                # An unknown option is ignored.
                continue
            if row is None:
                break
            self._note_option(row, scanner.value)
        # An option without its required argument counts as given.
        if scanner.awaiting_argument is not None and scanner.awaiting_argument.argument != OPTIONAL:
            self._note_option(scanner.awaiting_argument, None)
        self._positional += scanner.positional
        return scanner.awaiting_argument

    def _note_option(self, row: Command | Option, value: str | None) -> None:
        if isinstance(row, Option):
            self._given.append((row, value or ""))
        elif self._command is None:
            self._command = row
            self._positional += [value] if value else []
        else:
            # --help, which ends the line, or a mistake.
            self._options_ended = True

    def list_candidates(self, prefix: str) -> Candidates:
        """Return the words that the one at the cursor could become."""
        waiting = self._awaiting_argument
        command = self._command.long if self._command else ""
        if (
            command == "apply"
            and waiting in (None, self._command)
            and not self._options_ended
            and prefix[:1] != "-"
        ):
            # Its FILE may stand anywhere.
            if not self._positional:
                yield from _complete_file(prefix, self._source)
        elif command == "undo" and not self._options_ended and prefix[:1] != "-":
            if not self._positional:
                changes = self._source.list_changes(
                    self._get_last("backend"), self._get_last("netns")
                )
                yield from _filter_by_prefix(prefix, changes)
        elif command == "check" and not self._options_ended and prefix[:1] != "-":
            yield from _complete_file(prefix, self._source)
        elif waiting is not None and (waiting.argument != OPTIONAL or prefix[:1] != "-"):
            yield from self._complete_value(waiting, prefix)
            if waiting.argument != OPTIONAL:
                return
        if self._options_ended or command == "version":
            return
        if command == "help":
            yield from _filter_by_prefix(prefix, self._complete_topic(prefix))
        elif prefix[:2] == "--" and "=" in prefix:
            name, _, value = prefix[2:].partition("=")
            row = find_option(name)
            if row is not None and row.argument != NONE and self._can_join(row):
                yield from self._complete_attached(row, prefix, value)
        elif prefix in ("", "-") or prefix[:2] == "--":
            yield from _filter_by_prefix(prefix, self._complete_option(prefix))
        elif prefix[0] == "-":
            yield from self._complete_cluster(prefix)

    def _complete_topic(self, prefix: str) -> Candidates:
        rows = [(row.long, row.help) for row in (*COMMANDS, *OPTIONS)]
        if prefix[:1] == "-":
            return [(f"--{name}", text) for name, text in rows]
        from pyipvsadm.grammar.help_layout import CONCEPTS  # noqa: PLC0415  # few lines ask for it

        return [*((name, title) for name, (title, _) in CONCEPTS.items()), *rows]

    def _complete_option(self, prefix: str) -> Candidates:
        """Complete commands, or the options that go with the command; short ones only after a dash."""
        command = self._command.long if self._command else ""
        demanded = {slot.name for slot in SLOTS if command in slot.required}
        options = sorted(filter(self._can_join, OPTIONS), key=lambda row: row.slot not in demanded)
        commands = list(filter(self._can_join, COMMANDS))
        rows: list[Command | Option] = [*options, *commands] if command else [*commands, *options]
        if prefix == "-":
            yield from ((f"-{row.short}", self._describe(row)) for row in rows if row.short)
        yield from (
            (f"--{row.long}", self._describe(row) + (f", -{row.short}" if row.short else ""))
            for row in rows
        )

    def _describe(self, row: Command | Option) -> str:
        """Return the line of help of a command, or of an option with the command of this line."""
        if isinstance(row, Command):
            return row.help
        return describe_option(row, self._command.long if self._command else "")

    def _complete_cluster(self, prefix: str) -> Candidates:
        """Complete a word of short options: the argument of its last one if that has begun, else
        the word itself.
        """
        scanner = PoptScanner([prefix], posix=False)
        rows: list[tuple[Command | Option, str]] = []
        try:
            while (row := scanner.read_option()) is not None:
                rows.append((row, scanner.value or ""))
        except LineSkippedError:
            if scanner.awaiting_argument is None:
                return ()
            rows.append((scanner.awaiting_argument, ""))
        for row, value in rows[:-1]:
            if not self._can_join(row):
                return ()
            self._note_option(row, value)
            self._has_command = self._command is not None
        row, value = rows[-1]
        if not self._can_join(row):
            return ()
        return (
            self._complete_attached(row, prefix, value)
            if value
            else [(prefix, self._describe(row))]
        )

    def _complete_attached(self, row: Command | Option, prefix: str, value: str) -> Candidates:
        head = prefix[: len(prefix) - len(value)]
        return [(head + candidate, about) for candidate, about in self._complete_value(row, value)]

    def complete_companion(
        self, program: Companion, before: Sequence[str], after: Sequence[str], prefix: str
    ) -> Candidates:
        """Return the options of ipvsadm-save or ipvsadm-restore that are not given, or the values
        of the one at the cursor.
        """
        rows = {f"--{row.long}" if row.long else f"-{row.short}": row for row in program.options}
        waiting = rows.get(before[-1]) if before else None
        if waiting is not None and waiting.argument:
            return self._complete_value(waiting, prefix)
        name, equals, value = prefix.partition("=")
        if equals and name in rows and rows[name].argument:
            return self._complete_attached(rows[name], prefix, value)
        present = {word.partition("=")[0] for word in (*before, *after)}
        return _filter_by_prefix(
            prefix, ((name, row.help) for name, row in rows.items() if name not in present)
        )

    # --- which options fit

    def _get_slots(self) -> set[str]:
        return {row.slot for row, _ in self._given if row.slot}

    def _find_option(self, slot: str) -> str:
        """Return the option that has filled a slot, "" if none has."""
        return next((row.long for row, _ in self._given if row.slot == slot), "")

    def _get_last(self, option: str) -> str | None:
        """Return the last value of an option without a slot, which may be repeated."""
        return next((value for row, value in reversed(self._given) if row.long == option), None)

    def _get_value(self, slot: str) -> str:
        return next((value for row, value in self._given if row.slot == slot), "")

    def _can_join(self, row: Command | Option) -> bool:
        """Return True if the option can join the present words."""
        if isinstance(row, Command):
            return self._command is None or row.long == "help"
        command = self._command.long if self._command else ""
        if not (self._has_command or row.ours):
            # The first option is the command.
            return False
        slots = self._get_slots()
        if not can_join(row, command, slots):
            return False
        if not row.slot:
            return (row.long != "ipv6" or self._can_take_ipv6()) and all(
                row is not other for other, _ in self._given
            )
        tunnel = {slot for slot in slots if slot[:4] == "tun-"}
        if row.slot == "forwarding-method":
            mixed = (
                len(self._get_server_family() | {service.af for service in self._find_services()})
                > 1
            )
            return row.long == "ipip" or not (tunnel or mixed)
        if row.slot[:4] == "tun-":
            types = get_tunnel_types(tunnel | {row.slot})
            fitting = self._get_value("tun-type") in types if "tun-type" in tunnel else bool(types)
            return fitting and self._find_option("forwarding-method") in ("", "ipip")
        # One-packet scheduling is for UDP and marks.
        if row.slot == "ops":
            return self._find_option("service-address") in ("", "udp-service", "fwmark-service")
        if row.slot == "service-address" and "ops" in slots:
            return row.long in ("udp-service", "fwmark-service")
        return True

    def _can_take_ipv6(self) -> bool:
        """Return True if -6 can join: only after a mark, and only a tunnel reaches servers of
        another family.
        """
        marked = any(
            row.long == "fwmark-service" for row, _ in self._given[: self._given_before_cursor]
        )
        return marked and self._can_serve_family(AF_INET6)

    def _can_serve_family(self, family: int) -> bool:
        """Return True if the named server can serve this family by the named method."""
        return self._find_option("forwarding-method") in (
            "",
            "ipip",
        ) or self._get_server_family() <= {family}

    def _get_server_family(self) -> set[int]:
        """Return the family of the named server, None if there is none or it is a name."""
        endpoint = parse_endpoint(self._get_value("real-server"), TCP, NullResolver())
        return {endpoint.family} if endpoint else set()

    # --- values

    def _complete_value(self, row: Command | Option, prefix: str) -> Candidates:
        """Complete the argument of an option."""
        kind = row.operands if isinstance(row, Command) else row.values
        if "|" in kind or row.argument == ATTACHED:
            return _filter_by_prefix(prefix, ((word, "") for word in kind.split("|")))
        if kind in ("file", "[FILE]"):
            return _complete_file(prefix, self._source)
        if kind == "backend" and prefix[:7] == "memory:":
            return [
                (f"memory:{path}", about)
                for path, about in _complete_file(prefix[7:], self._source)
            ]
        find = self._KINDS.get(kind)
        return _filter_by_prefix(prefix, find(self, row, prefix)) if find is not None else ()

    def _read_rows(self) -> Rows:
        """Return the table, in the order of the listing."""
        rows = self._source.read_rows(self._get_last("backend"), self._get_last("netns"))
        return [
            (service, sorting.sort_servers(servers))
            for service, servers in sorting.sort_table(rows)
        ]

    def _complete_service(self, option: Command | Option, prefix: str) -> Candidates:
        """Complete existing services; for a new one their hosts, which are few and have many ports."""
        matches = [
            (words[1], service, servers)
            for service, servers in self._read_rows()
            for words in [format_selector(service).split(" ")]
            if words[0].lstrip("-") in (option.long, option.short)
        ]
        if self._command and self._command.long == "add-service":
            if option.long == "fwmark-service":
                return []
            hosts = dict.fromkeys(value.rpartition(":")[0] for value, *_ in matches)
            return [(f"{host}:", "") for host in hosts if f"{host}:" != prefix]
        named = [value for row, value in self._given if row is option]
        return [
            (value, f"{service.scheduler}, {len(servers)} server{'s' * (len(servers) != 1)}")
            for value, service, servers in matches
            if value not in named and self._can_serve_family(service.af)
        ]

    def _complete_server(self, _: Command | Option, __: str) -> Candidates:
        """Complete the servers of the named services; for a new server, those of the other
        services.
        """
        rows = self._read_rows()
        keys = {service.key() for service in self._find_services()}
        present = [
            server for service, servers in rows if service.key() in keys for server in servers
        ]
        adding = self._command is not None and self._command.long == "add-server"
        if adding:
            present_keys = {server.key() for server in present}
            families = {key[0] for key in keys}
            mixed = not keys or self._find_option("forwarding-method") == "ipip"
            offered = [
                server
                for _, servers in rows
                for server in servers
                if server.key() not in present_keys and (mixed or server.af in families)
            ]
        else:
            offered = present if keys else [server for _, servers in rows for server in servers]
        endpoints: dict[str, str] = {}
        for server in offered:
            method = _FORWARDING.get(server.forward, "direct")
            endpoints.setdefault(
                format_numeric(server.af, server.addr, server.port),
                "" if adding else f"{method}, weight {server.weight}",
            )
        return endpoints.items()

    def _find_services(self) -> list[Service]:
        """Return the named services, as far as they are numeric."""
        named = [
            (row, value) for row, value in self._given if row.slot == "service-address" and value
        ]
        ipv6 = ["-6"] if any(row.long == "ipv6" for row, _ in self._given) else []
        services = []
        for row, value in named:
            try:
                words = [
                    "--zero",
                    f"--{row.long}={value}",
                    *(ipv6 if row.long == "fwmark-service" else []),
                ]
                services += CommandParser(words, NullResolver()).parse_request().services
            except (UsageError, LineSkippedError):
                continue
        return services

    def _complete_flags(self, _: Command | Option, prefix: str) -> Candidates:
        """Complete scheduler flags after the last comma, by the scheduler's own names if it has
        any.
        """
        head, comma, tail = prefix.rpartition(",")
        sign = tail[:1] if tail[:1] in ("+", "-") else ""  # added or removed, with --keep
        present = {name.lstrip("+-") for name in head.split(",")}
        scheduler = self._get_value("scheduler")
        own = [
            (name, bit, only) for name, bit, only in SCHEDULER_FLAGS if only == scheduler and only
        ]
        rows = own or [row for row in SCHEDULER_FLAGS if not scheduler or not row[2]]
        taken = {bit for name, bit, _ in rows if name in present}
        return [
            (f"{head}{comma}{sign}{name}", f"scheduler {only}" if only else "")
            for name, bit, only in rows
            if bit not in taken
        ]

    def _complete_scheduler(self, *_: object) -> Candidates:
        """Complete all schedulers, or the one whose flags were given."""
        flags = [name.lstrip("+-") for name in self._get_value("sched-flags").split(",")]
        owners = [only for name, _, only in SCHEDULER_FLAGS if only and name in flags]
        return [(name, about) for name, about in SCHEDULERS.items() if not owners or name in owners]

    def _complete_engine(self, *_: object) -> Candidates:
        return list(ENGINES.items())

    def _complete_tunnel(self, *_: object) -> Candidates:
        types = get_tunnel_types({slot for slot in self._get_slots() if slot[:4] == "tun-"})
        return [(kind, "") for kind in TUNNEL_TYPES if kind in types]

    def _complete_interface(self, *_: object) -> Candidates:
        return [(name, "") for name in self._source.list_interfaces(self._get_last("netns"))]

    def _complete_namespace(self, _: Command | Option, prefix: str) -> Candidates:
        return _complete_namespace_path(prefix, self._source)

    def _complete_backend(self, *_: object) -> Candidates:
        return [
            ("kernel", "the kernel's table (default)"),
            ("memory", "an empty table, for this command"),
            ("memory:", "a table in a file"),
        ]

    # kind (Option.values) -> what finds its values
    _KINDS: ClassVar[dict[str, Callable[[_Line, Command | Option, str], Candidates]]] = {
        "service": _complete_service,
        "server": _complete_server,
        "scheduler": _complete_scheduler,
        "flags": _complete_flags,
        "engine": _complete_engine,
        "tunnel": _complete_tunnel,
        "interface": _complete_interface,
        "backend": _complete_backend,
        "netns": _complete_namespace,
    }


def _filter_by_prefix(prefix: str, candidates: Candidates) -> Iterator[tuple[str, str]]:
    return (candidate for candidate in candidates if candidate[0].startswith(prefix))


def _complete_namespace_path(prefix: str, source: CompletionSource) -> Candidates:
    """Complete names of namespaces, and paths if the prefix has a slash."""
    return (
        _complete_file(prefix, source)
        if "/" in prefix
        else _filter_by_prefix(prefix, ((name, "") for name in source.list_namespaces()))
    )


def _complete_file(prefix: str, source: CompletionSource) -> Candidates:
    """Complete file names in the folder of the prefix; hidden ones only if the dot is typed."""
    folder, slash, start = prefix.rpartition("/")
    return [
        (f"{folder}{slash}{name}", "")
        for name in sorted(source.list_folder(folder + slash))
        if name.startswith(start) and (name[0] != "." or start[:1] == ".")
    ]
