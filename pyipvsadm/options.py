"""THE table of commands and options: data only, each declared once.

Owns: names, arguments, the legal combinations, a line of help. The scanner, --help, completion and the tests read it.
Must never know: how a value is parsed (argv.py), what a request does (run.py).

The combinations are the reference's (ipvsadm.c: commands_v_options, tunnel_types_v_options). Its unit is not the option but
the *slot*: -t, -u, --sctp-service and -f all fill "service-address", which may be filled once. Slots stand in the
reference's order, because that order decides which of several faults is reported.
"""

from __future__ import annotations

# Arguments of an option.
NONE = 0
REQUIRED = 1
OPTIONAL = 2


class Command:
    """A command: `name` is what the reference calls it in messages, `operands` the bare words it takes.

    `ours` marks what 1.31 lacks: such a one does not belong in rules.
    """

    __slots__ = ("argument", "help", "long", "name", "operands", "ours", "short")

    def __init__(
        self, long: str, short: str, text: str, argument: int = NONE, operands: str = "", name: str = "", ours: bool = False
    ) -> None:
        self.long = long
        self.short = short
        self.help = text
        self.argument = argument
        self.operands = operands
        self.name = name or long
        self.ours = ours


class Slot:
    """What an option fills. Commands by long name: `required`, `optional`, `exclusive` (one such slot only); others refuse it.

    `several`: commands under which it may be filled again.
    """

    __slots__ = ("exclusive", "name", "optional", "required", "several")

    def __init__(self, name: str, optional: str = "", required: str = "", exclusive: str = "", several: str = "") -> None:
        self.name = name
        self.optional = frozenset(optional.split())
        self.required = frozenset(required.split())
        self.exclusive = frozenset(exclusive.split())
        self.several = frozenset(several.split())


class Option:
    """An option: its slot ("" for none: then it may be given again), its argument and that argument's name in help.

    `values` says where completion takes candidates from; `group` where help shows it; `ours` marks what 1.31 lacks: such a one
    is handed on as it was given (a number when it has `limits`, the least and the most) and does not belong in rules.
    """

    __slots__ = ("argument", "group", "help", "limits", "long", "metavar", "ours", "short", "slot", "values")

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
    Command("set", "", "set the time-outs of connections, in seconds (0: unchanged)", operands="tcp tcpfin udp"),
    Command("start-daemon", "", "start a sync daemon: master or backup", REQUIRED, operands="master|backup"),
    Command("stop-daemon", "", "stop a sync daemon: master or backup", REQUIRED, operands="master|backup"),
    Command("restore", "R", "read rules from standard input and add them"),
    Command("save", "S", "write the rules to standard output"),
    Command("zero", "Z", "set the counters of a service, or of all, to zero"),
    Command("doctor", "", "find what is wrong around the table, and what mends it; change nothing", ours=True),
    Command("help", "h", "show this text"),
    Command("version", "v", "show the version"),
)

_SERVICE = "add-service edit-service"
_SERVER = "add-server edit-server"
_NAMED = "add-service edit-service delete-service add-server edit-server delete-server"

SLOTS = (
    Slot("numeric", optional="list save"),
    Slot("connection", exclusive="list"),
    Slot("service-address", required=_NAMED, optional="zero", exclusive="list", several="list"),
    Slot("scheduler", optional=_SERVICE),
    Slot("persistent", optional=_SERVICE),
    Slot("netmask", optional=_SERVICE),
    Slot("real-server", required="add-server edit-server delete-server"),
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
    Slot("resolve-timeout", optional="list save"),  # ours
    Slot("json", optional="doctor"),
    Slot("real-server-for", exclusive="doctor"),
    Slot("probe", exclusive="doctor"),
    Slot("explain", exclusive="doctor"),
    Slot("director", optional="doctor"),
)

# Tunnel options by tunnel type, in the reference's order of checks: (slot, types that demand it, that allow one of them).
TUNNEL_SLOTS = (
    ("tun-port", ("gue",), ()),
    ("tun-nocsum", (), ("gue", "gre")),
    ("tun-csum", (), ("gue", "gre")),
    ("tun-remcsum", (), ("gue",)),
)

OPTIONS = (
    Option("tcp-service", "t", "service-address", "TCP service", "HOST[:PORT]", values="service", group="service"),
    Option("udp-service", "u", "service-address", "UDP service", "HOST[:PORT]", values="service", group="service"),
    Option("sctp-service", "", "service-address", "SCTP service", "HOST[:PORT]", values="service", group="service"),
    Option("fwmark-service", "f", "service-address", "firewall mark", "MARK", values="service", group="service"),
    Option("ipv6", "6", "", "the mark's packets are IPv6 (after -f)", group="service"),
    Option("scheduler", "s", "scheduler", "scheduler (default wlc)", "NAME", values="scheduler", group="service options"),
    Option("sched-flags", "b", "sched-flags", "scheduler flags, with commas", "FLAGS", values="flags",
           group="service options"),
    Option("persistent", "p", "persistent", "same server for a client that returns within this time (default 360)",
           "SECONDS", OPTIONAL, group="service options"),
    Option("netmask", "M", "netmask", "clients that persistence takes as one: mask, or IPv6 prefix length", "MASK",
           group="service options"),
    Option("pe", "", "pe", "persistence engine", "NAME", values="engine", group="service options"),
    Option("ops", "o", "ops", "one-packet scheduling (UDP)", group="service options"),
    Option("real-server", "r", "real-server", "the real server", "HOST[:PORT]", values="server", group="server options"),
    Option("gatewaying", "g", "forwarding-method", "direct routing (default)", group="server options"),
    Option("ipip", "i", "forwarding-method", "tunnelling", group="server options"),
    Option("masquerading", "m", "forwarding-method", "masquerading (NAT)", group="server options"),
    Option("weight", "w", "weight", "weight (default 1)", "N", group="server options"),
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
    Option("persistent-conn", "", "persistent-conn", "persistence; with -c: what engines remember", group="list options"),
    Option("tun-info", "", "tun-info", "tunnels", group="list options"),
    Option("nosort", "", "nosort", "in the table's own order", group="list options"),
    Option("sort", "", "", "nothing: sorted is the default", group="list options"),
    Option("resolve-timeout", "", "resolve-timeout", "how long all names together may take (default 2; 0: no names)", "SECONDS",
           group="list options", ours=True, limits=(0, 3600)),
    Option("timeout", "", "timeout", "show the time-outs", group="list options"),
    Option("daemon", "", "daemon", "show the sync daemons", group="list options"),
    Option("mcast-interface", "", "mcast-interface", "interface (default eth0)", "NAME", values="interface",
           group="daemon options"),
    Option("syncid", "", "syncid", "id of this pair, 0 to 255 (default 0)", "ID", group="daemon options"),
    Option("sync-maxlen", "", "sync-maxlen", "bytes in a message, 1 to 65507", "BYTES", group="daemon options"),
    Option("mcast-group", "", "mcast-group", "multicast group, IPv4 or IPv6 (default 224.0.0.81)", "ADDRESS",
           group="daemon options"),
    Option("mcast-port", "", "mcast-port", "UDP port (default 8848)", "PORT", group="daemon options"),
    Option("mcast-ttl", "", "mcast-ttl", "time to live, 1 to 255 (default 1)", "N", group="daemon options"),
    Option("real-server-for", "", "real-server-for", "examine a real server for this virtual address (-g, -i or -m)", "VIP",
           group="doctor options", ours=True),
    Option("director", "", "director", "the director's address in the real server's network", "ADDRESS", group="doctor options",
           ours=True),
    Option("probe", "", "probe", "also ask every server: neighbour and TCP connect", group="doctor options", ours=True),
    Option("explain", "", "explain", "what a finding means (all: every one)", "CODE", group="doctor options", ours=True),
    Option("json", "", "json", "as JSON", group="other options", ours=True),
    Option("backend", "", "", "kernel, memory (empty, for this command) or memory:FILE", "SPEC", values="backend",
           group="other options", ours=True),
)  # fmt: skip

# Scheduler flags: (name, bit, the one scheduler that has it or "").  ipvsadm.c: parse_sched_flags, print_sched_flags.
SCHEDULER_FLAGS = (
    ("flag-1", 0x08, ""),
    ("flag-2", 0x10, ""),
    ("flag-3", 0x20, ""),
    ("sh-fallback", 0x08, "sh"),
    ("sh-port", 0x10, "sh"),
    ("mh-fallback", 0x08, "mh"),
    ("mh-port", 0x10, "mh"),
)

TUNNEL_TYPES = ("ipip", "gue", "gre")
