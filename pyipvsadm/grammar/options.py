"""Declare every command and option, each once: data only.

Owns: names, arguments, the legal combinations, a line of help. The parser, --help, completion and
tests read it. Must never know: how a value is parsed (grammar/parser.py), what a request does
(commands/dispatch.py).

The combinations are 1.31's (ipvsadm.c: commands_v_options, tunnel_types_v_options). Its unit is not
the option but the *slot*: -t, -u, --sctp-service and -f all fill "service-address", which may be
filled once. Slots stand in 1.31's order, because that order decides which of several faults is
reported.
"""

from __future__ import annotations

# Arguments of an option.
NONE = 0
REQUIRED = 1
OPTIONAL = 2
ATTACHED = 3  # optional, and only behind a "=": the next word may be an operand


class Command:
    """Declare a command. name: as 1.31 calls it in messages; operands: the bare words it takes.

    `ours` marks a command that 1.31 lacks; its argument is passed on like that of an option that
    1.31 lacks.
    """

    __slots__ = ("argument", "help", "long", "name", "operands", "ours", "short")

    def __init__(
        self,
        long: str,
        short: str,
        text: str,
        argument: int = NONE,
        operands: str = "",
        name: str = "",
        ours: bool = False,
    ) -> None:
        self.long = long
        self.short = short
        self.help = text
        self.argument = argument
        self.operands = operands
        self.name = name or long
        self.ours = ours


class Slot:
    """Declare a slot, which options fill. Commands, by long name, under which it is `required`,
    `optional` or `exclusive` (one such slot only); other commands refuse it.

    `several`: commands under which it may be filled again.
    """

    __slots__ = ("exclusive", "name", "optional", "required", "several")

    def __init__(
        self,
        name: str,
        optional: str = "",
        required: str = "",
        exclusive: str = "",
        several: str = "",
    ) -> None:
        self.name = name
        self.optional = frozenset(optional.split())
        self.required = frozenset(required.split())
        self.exclusive = frozenset(exclusive.split())
        self.several = frozenset(several.split())


class Option:
    """Declare an option: its slot ("" for none: then it may be repeated), its argument and that
    argument's name in help.

    `values` tells completion where candidates come from: a kind that completion/candidates.py
    knows, or the words themselves with `|` between them. `group`: the section of help. `ours` marks
    an option that 1.31 lacks: it is passed on as typed (as a number if it has `limits`, the least
    and the most) and is not allowed in rules.
    """

    __slots__ = (
        "argument",
        "group",
        "help",
        "limits",
        "long",
        "metavar",
        "ours",
        "short",
        "slot",
        "values",
    )

    def __init__(
        self,
        long: str,
        short: str,
        slot: str,
        text: str,
        metavar: str = "",
        argument: int = NONE,
        values: str = "",
        group: str = "",
        ours: bool = False,
        limits: tuple[int, int] | None = None,
    ) -> None:
        self.long = long
        self.short = short
        self.slot = slot
        self.help = text
        self.metavar = metavar
        self.argument = REQUIRED if metavar and argument == NONE else argument
        self.values = values
        self.group = group
        self.ours = ours
        self.limits = limits


COMMANDS = (
    Command("add-service", "A", "add a virtual service"),
    Command("edit-service", "E", "change a virtual service"),
    Command("delete-service", "D", "delete a virtual service and its real servers"),
    Command("clear", "C", "delete all virtual services", name="flush"),
    Command("list", "L", "list the table (also -l, and ipvsadm alone)"),
    Command("add-server", "a", "add a real server to a virtual service"),
    Command("delete-server", "d", "delete a real server"),
    Command("edit-server", "e", "change a real server"),
    Command("undrain", "", "give a drained server its former weights back", ours=True),
    Command("set", "", "set timeouts in seconds (0: unchanged)", operands="tcp tcpfin udp"),
    Command("start-daemon", "", "start a sync daemon", REQUIRED, operands="master|backup"),
    Command("stop-daemon", "", "stop a sync daemon", REQUIRED, operands="master|backup"),
    Command("restore", "R", "read rules from standard input and add them"),
    Command("save", "S", "write the rules to standard output"),
    Command("apply", "", "make the table match FILE (default: standard input)",
            OPTIONAL, operands="[FILE]", ours=True),
    Command("check", "", "check rule files; needs no root and no kernel",
            operands="[FILE ...]", ours=True),
    Command("undo", "", "undo the newest change of --history, or change ID",
            OPTIONAL, operands="[ID]", ours=True),
    Command("history", "", "list the changes that --undo can undo", ours=True),
    Command("confirm", "", "keep the change that --confirm-within would take back", ours=True),
    Command("zero", "Z", "set the counters of a service, or of all, to zero"),
    Command("predict", "", "say which server a client gets (-: from stdin)", REQUIRED,
            operands="CLIENT[:PORT]", ours=True),
    Command("doctor", "", "find mistakes on the host; changes nothing", ours=True),
    Command("help", "h", "show help: of a command, option or concept", operands="[TOPIC]"),
    Command("version", "v", "show the version"),
)  # fmt: skip

# Where help shows a command, in its order; one that is not named here comes last, under "Other".
COMMAND_GROUPS = (
    ("Virtual services", "add-service edit-service delete-service clear"),
    ("Real servers", "add-server edit-server delete-server undrain"),
    ("Listing and counters", "list zero predict doctor"),
    ("Rules as text, history of changes", "save restore apply check undo history confirm"),
    ("Timeouts and sync daemons", "set start-daemon stop-daemon"),
    ("Help", "help version"),
)

_SERVICE = "add-service edit-service"
_SERVER = "add-server edit-server"
_NAMED = "add-service edit-service delete-service add-server edit-server delete-server"
_CHANGING = f"{_NAMED} clear set start-daemon stop-daemon restore apply undo confirm zero"

SLOTS = (
    Slot("numeric", optional="list save"),
    Slot("connection", exclusive="list"),
    Slot(
        "service-address",
        required=f"{_NAMED} predict",
        optional="zero drain undrain apply doctor",
        exclusive="list",
        several="list drain undrain apply doctor",
    ),
    Slot("scheduler", optional=f"{_SERVICE} list"),
    Slot("persistent", optional=_SERVICE),
    Slot("netmask", optional=_SERVICE),
    Slot(
        "real-server",
        required="add-server edit-server delete-server drain undrain",
        optional="list",
    ),
    Slot("forwarding-method", optional=f"{_SERVER} doctor"),
    Slot("weight", optional=_SERVER),
    Slot("u-threshold", optional=_SERVER),
    Slot("l-threshold", optional=_SERVER),
    Slot("mcast-interface", optional="start-daemon"),
    Slot("timeout", exclusive="list"),
    Slot("daemon", exclusive="list"),
    Slot("stats", optional="list"),
    Slot("rate", optional="list"),
    Slot("thresholds", optional="list"),
    Slot("persistent-conn", optional="list"),
    Slot("nosort", optional="list"),
    Slot("syncid", optional="list start-daemon stop-daemon"),
    Slot("exact", optional="list"),
    Slot("ops", optional=_SERVICE),
    Slot("pe", optional=_SERVICE),
    Slot("sched-flags", optional=_SERVICE),
    Slot("mcast-group", optional="start-daemon"),
    Slot("mcast-port", optional="start-daemon"),
    Slot("mcast-ttl", optional="start-daemon"),
    Slot("sync-maxlen", optional="start-daemon"),
    Slot("tun-info", optional="list"),
    Slot("tun-type", optional=f"{_SERVER} doctor"),
    Slot("tun-port", optional=_SERVER),
    Slot("tun-nocsum", optional=_SERVER),
    Slot("tun-csum", optional=_SERVER),
    Slot("tun-remcsum", optional=_SERVER),
    Slot("resolve-timeout", optional="list save"),  # ours, and all that follow
    Slot("json", optional="list version apply check history predict doctor"),
    Slot("empty", optional="list"),
    Slot("quiesced", optional="list"),
    Slot("client", optional="list"),
    Slot("keep", optional="edit-service edit-server"),
    Slot("drain", optional="delete-service edit-server delete-server drain apply"),
    Slot("drain-inactive", optional="delete-service edit-server delete-server drain apply"),
    Slot("by", optional="list"),
    Slot("fallback", optional="edit-server delete-server drain"),
    Slot("clear-fallback", optional="edit-server"),
    Slot("ramp", optional=_SERVER),
    Slot("pretty", optional="list"),
    Slot("shares", optional="list"),
    Slot("watch", optional="list"),
    Slot("sort-by", optional="list"),
    Slot("status", optional="list"),
    Slot("metrics", optional="list"),
    Slot("output", optional="list"),
    Slot("full", optional="save"),
    Slot("dry-run", optional=f"{_CHANGING} drain undrain"),
    Slot("prune", optional="apply"),
    Slot("force", optional="apply"),
    Slot("allow-empty", optional="apply"),
    Slot("keep-weights", optional="apply"),
    Slot("confirm-within", optional="apply clear"),
    Slot("real-server-for", exclusive="doctor"),
    Slot("probe", exclusive="doctor"),
    Slot("explain", exclusive="doctor"),
    Slot("director", optional="doctor"),
)

# Exclusive slots that go together all the same: the connections of a service.
ALLOWED_PAIRS = frozenset({("connection", "service-address")})

# What selects rows of a listing. As options of `list` all of them are ours.
LIST_FILTERS = frozenset({"scheduler", "real-server", "empty", "quiesced", "client"})

# Options of ours for `list`, each with what it does not go with there.
LIST_EXCLUSIONS = {
    "scheduler": ("connection", "timeout", "daemon"),
    "real-server": ("timeout", "daemon", "empty"),
    "empty": ("connection", "timeout", "daemon", "quiesced"),
    "quiesced": ("connection", "timeout", "daemon"),
    "by": ("persistent-conn", "nosort", "watch"),
    "pretty": ("json",),
    "shares": (
        "connection", "timeout", "daemon", "stats", "rate", "thresholds", "persistent-conn", "tun-info", "watch",
    ),
    "watch": ("connection", "timeout", "daemon"),
    "status": (
        "connection", "service-address", "timeout", "daemon", "stats", "rate", "thresholds", "persistent-conn", "tun-info",
        "nosort", "exact", *sorted(LIST_FILTERS), "shares", "watch", "metrics",
    ),
    "metrics": ("connection", "timeout", "daemon", "json", "pretty", "watch", "shares"),
}  # fmt: skip

# Slots that the list command refuses together, one of the left with one of the right (ipvsadm.c:
# process_options).
LIST_CONFLICTS = (
    ({"connection", "timeout", "daemon"}, {"stats", "rate", "thresholds"}),
    ({"timeout", "daemon"}, {"persistent-conn"}),
)

# Commands that an option without a slot is offered with, where not all: it is refused with none.
UNSLOTTED_COMMANDS = {
    "ipv6": frozenset(f"{_NAMED} list zero undrain apply predict doctor".split()),
    "sort": frozenset({"list"}),
}

# Slots that are nothing without another, and those that are nothing with the doctor.
REQUIRES = {
    "client": "connection",
    "by": "connection",
    "sort-by": "watch",
    "output": "metrics",
    "drain-inactive": "drain",
    "fallback": "drain",
    "clear-fallback": "keep",
    "ramp": "weight",
    "director": "real-server-for",
}
DOCTOR_NEEDS = {"forwarding-method": "real-server-for", "tun-type": "real-server-for"}

# Tunnel options by tunnel type, in the reference's order of checks: (slot, types that demand it,
# that allow one of them).
TUNNEL_SLOTS = (
    ("tun-port", ("gue",), ()),
    ("tun-nocsum", (), ("gue", "gre")),
    ("tun-csum", (), ("gue", "gre")),
    ("tun-remcsum", (), ("gue",)),
)

# What --sort-by takes. The first letter of each is its key in --watch.
SORT_KEYS = ("connections", "rate", "weight")
# What --by takes, one or several.
GROUP_KEYS = ("client", "server", "service", "state", "protocol")

OPTIONS = (
    Option("tcp-service", "t", "service-address", "TCP service", "HOST[:PORT]", values="service", group="service"),
    Option("udp-service", "u", "service-address", "UDP service", "HOST[:PORT]", values="service", group="service"),
    Option("sctp-service", "", "service-address", "SCTP service", "HOST[:PORT]", values="service", group="service"),
    Option("fwmark-service", "f", "service-address", "firewall mark", "MARK", values="service", group="service"),
    Option("ipv6", "6", "", "the mark's packets are IPv6 (after -f)", group="service"),
    Option("scheduler", "s", "scheduler", "scheduler (default wlc)", "NAME", values="scheduler", group="service options"),
    Option("sched-flags", "b", "sched-flags", "scheduler flags, separated by commas", "FLAGS", values="flags",
           group="service options"),
    Option("persistent", "p", "persistent", "same server for a client that returns within this time (default 360)",
           "SECONDS", OPTIONAL, group="service options"),
    Option("netmask", "M", "netmask", "group clients by this netmask (or IPv6 prefix length) for persistence", "MASK",
           group="service options"),
    Option("pe", "", "pe", "persistence engine", "NAME", values="engine", group="service options"),
    Option("ops", "o", "ops", "one-packet scheduling (UDP)", group="service options"),
    Option("real-server", "r", "real-server", "the real server", "HOST[:PORT]",
           values="server", group="server options"),
    Option("gatewaying", "g", "forwarding-method", "direct routing (default)", group="server options"),
    Option("ipip", "i", "forwarding-method", "tunnelling", group="server options"),
    Option("masquerading", "m", "forwarding-method", "masquerading (NAT)", group="server options"),
    Option("weight", "w", "weight", "weight (default 1; 0: no new connections)", "N", group="server options"),
    Option("u-threshold", "x", "u-threshold", "upper threshold of connections (0: none)", "N", group="server options"),
    Option("l-threshold", "y", "l-threshold", "lower threshold of connections", "N", group="server options"),
    Option("tun-type", "", "tun-type", "ipip (default), gue or gre", "TYPE", values="tunnel", group="server options"),
    Option("tun-port", "", "tun-port", "destination port of the tunnel (gue)", "PORT", group="server options"),
    Option("tun-nocsum", "", "tun-nocsum", "tunnel without checksums", group="server options"),
    Option("tun-csum", "", "tun-csum", "tunnel with checksums", group="server options"),
    Option("tun-remcsum", "", "tun-remcsum", "tunnel with remote checksums (gue)", group="server options"),
    Option("numeric", "n", "numeric", "addresses and ports as numbers", group="list options"),
    Option("connection", "c", "connection", "list connections", group="list options"),
    Option("stats", "", "stats", "counters", group="list options"),
    Option("rate", "", "rate", "rates per second", group="list options"),
    Option("exact", "X", "exact", "counters in full", group="list options"),
    Option("thresholds", "", "thresholds", "thresholds of connections", group="list options"),
    Option("persistent-conn", "", "persistent-conn", "number of persistence templates; with -c: data of engines",
           group="list options"),
    Option("tun-info", "", "tun-info", "tunnels", group="list options"),
    Option("nosort", "", "nosort", "do not sort: the order of the table", group="list options"),
    Option("sort", "", "", "no effect; output is sorted by default", group="list options"),
    Option("resolve-timeout", "", "resolve-timeout", "time limit for all name lookups together (default 2; 0: no names)",
           "SECONDS", group="list options", ours=True, limits=(0, 3600)),
    Option("json", "", "json", "print JSON", group="other options", ours=True),
    Option("empty", "", "empty", "only services without real servers", group="list options", ours=True),
    Option("quiesced", "", "quiesced", "only real servers of weight 0", group="list options", ours=True),
    Option("client", "", "client", "with -c: only connections of these clients", "ADDRESS[/LENGTH]", group="list options",
           ours=True),
    Option("by", "", "by", "with -c: count connections by client, server, service, state or protocol, largest group first",
           "KEY[,KEY]", values="|".join(GROUP_KEYS), group="list options", ours=True),
    Option("pretty", "", "pretty", "formatted table with units and bars; addresses are never truncated "
           "(IPVSADM_PRETTY=1: default on a terminal)",
           group="list options", ours=True),
    Option("shares", "", "shares", "share of new clients that each server gets, as far as the scheduler decides it",
           group="list options", ours=True),
    Option("watch", "", "watch", "refresh every SECONDS (default 2); full screen on a terminal, q quits",
           "SECONDS", OPTIONAL, group="list options", ours=True, limits=(1, 3600)),
    Option("sort-by", "", "sort-by", "with --watch: sort by connections, rate or weight, largest first", "KEY",
           values="|".join(SORT_KEYS), group="list options", ours=True),
    Option("status", "", "status", "connections, load of their hash, estimation, sync daemons, and what each setting means",
           group="list options", ours=True),
    Option("metrics", "", "metrics", "Prometheus metrics; services: without real servers", "services", OPTIONAL,
           group="list options", ours=True),
    Option("output", "", "output", "with --metrics: write them to FILE", "FILE", group="list options", ours=True),
    Option("timeout", "", "timeout", "show the timeouts", group="list options"),
    Option("daemon", "", "daemon", "show the sync daemons", group="list options"),
    Option("mcast-interface", "", "mcast-interface", "interface (default eth0)", "NAME", values="interface",
           group="daemon options"),
    Option("syncid", "", "syncid", "id of this pair, 0 to 255 (default 0)", "ID", group="daemon options"),
    Option("sync-maxlen", "", "sync-maxlen", "bytes in a message, 1 to 65507", "BYTES", group="daemon options"),
    Option("mcast-group", "", "mcast-group", "multicast group, IPv4 or IPv6 (default 224.0.0.81)", "ADDRESS",
           group="daemon options"),
    Option("mcast-port", "", "mcast-port", "UDP port (default 8848)", "PORT", group="daemon options"),
    Option("mcast-ttl", "", "mcast-ttl", "time to live, 1 to 255 (default 1)", "N", group="daemon options"),
    Option("keep", "", "keep", "leave settings that are not given as they are", group="options of changes", ours=True),
    Option("drain", "", "drain", "set weight 0, wait for connections to end; as a command with -r: in all services",
           "SECONDS", OPTIONAL, group="options of changes", ours=True, limits=(0, 86400 * 31)),
    Option("drain-inactive", "", "drain-inactive", "also wait for inactive TCP connections", group="options of changes",
           ours=True),
    Option("fallback", "", "fallback", "with --drain under sh and mh: other servers take over the clients",
           group="options of changes", ours=True),
    Option("clear-fallback", "", "clear-fallback", "clear the flag that --fallback set, if no server has weight 0",
           group="options of changes", ours=True),
    Option("ramp", "", "ramp", "with -w: raise the weight in steps over this time (wrr, wlc, sed, sh, mh)", "SECONDS",
           group="options of changes", ours=True, limits=(1, 86400)),
    Option("prune", "", "prune", "delete services (and stop daemons) that FILE does not name", group="apply options",
           ours=True),
    Option("force", "", "force", "prune even if keepalived, ldirectord or kube-proxy is running; "
           "remove most servers of a service",
           group="apply options", ours=True),
    Option("allow-empty", "", "allow-empty", "accept a file without rules (with --prune: deletes everything)",
           group="apply options", ours=True),
    Option("keep-weights", "", "keep-weights", "servers that exist keep their weights", group="apply options", ours=True),
    Option("confirm-within", "", "confirm-within", "take the change back after SECONDS unless it is confirmed (--confirm)",
           "SECONDS", group="options of changes", ours=True, limits=(1, 86400)),
    Option("full", "", "full", "also save timeouts, sync daemons and every setting of a service", group="other options",
           ours=True),
    Option("dry-run", "", "dry-run", "try the change on a copy of the table and send nothing; "
           "=clients: also count the connected clients that it concerns",
           "clients", ATTACHED, values="clients", group="other options", ours=True),
    Option("real-server-for", "", "real-server-for", "examine a real server for this virtual address (-g, -i or -m)", "VIP",
           group="doctor options", ours=True),
    Option("director", "", "director", "the director's address in the real server's network", "ADDRESS", group="doctor options",
           ours=True),
    Option("probe", "", "probe", "also probe every server: ARP or neighbour discovery, TCP connect",
           group="doctor options", ours=True),
    Option("explain", "", "explain", "explain a finding (all: every finding)", "CODE", group="doctor options", ours=True),
    Option("color", "", "", "colours: auto (on terminals; default), always, never", "WHEN", values="auto|always|never",
           group="other options", ours=True),
    Option("backend", "", "", "kernel, memory (empty, for this command) or memory:FILE", "SPEC", values="backend",
           group="other options", ours=True),
    Option("netns", "", "", "work in this network namespace: NAME (of `ip netns'), PID or PATH", "NAME", values="netns",
           group="other options", ours=True),
)  # fmt: skip

# Help that one command has for an option: by (command, option), in place of the option's own text.
COMMAND_HELP = {
    ("list", "scheduler"): "only services using this scheduler",
    ("list", "real-server"): "only services and connections of this real server",
    ("list", "json"): "print every detail as JSON (with -c: one connection per line)",
    ("apply", "json"): "print the changes as JSON",
    ("apply", "drain"): "set weight 0, wait this long for connections, then remove servers",
    ("check", "json"): "print the result as JSON",
    ("history", "json"): "print the changes as JSON",
    ("doctor", "json"): "print the findings as JSON",
    ("delete-service", "drain"): "set weight 0, wait for connections to end, then delete the service",
    ("delete-server", "drain"): "set weight 0, wait for connections to end, then delete the server",
    ("edit-server", "drain"): "set weight 0, then wait for connections to end",
}  # fmt: skip

# Options of ours that are the command themselves when none is given.
STANDALONE_OPTIONS = ("drain",)


TUNNEL_TYPES = ("ipip", "gue", "gre")
