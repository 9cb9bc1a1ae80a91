"""List what the doctor can find: data only, each code once.

Owns: codes (stable: scripts go by them), severities, titles, and the sentences on why a fault
matters and how it is fixed. Reports, --explain and the man page are made from this table. Must
never know: how a fault is found (director.py, real_server.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pyipvsadm.errors import Finding

ERROR = "error"
WARNING = "warning"
STATUS = {WARNING: 1, ERROR: 2}


class Code(NamedTuple):
    """Describe one kind of finding. reason: one sentence, shown with each finding. fix: what helps,
    beyond the command shown with the finding.
    """

    code: str
    severity: str
    title: str
    reason: str
    fix: str


CODES = (
    Code("module-missing", ERROR, "IPVS is not in this kernel",
         "Without the module there is no table, and nothing is balanced.",
         "Load ip_vs, and have it loaded at boot (/etc/modules-load.d)."),
    Code("scheduler-missing", ERROR, "the service has no scheduler",
         "A service without a scheduler has no way to choose a server: every new connection is refused.",
         "Load the module of the scheduler, or edit the service (-E) to have one that is there."),
    Code("no-servers", ERROR, "the service has no real server",
         "Every new connection to the service is refused.",
         "Add a server (-a), or delete the service (-D)."),
    Code("all-weights-zero", ERROR, "all servers of the service have weight 0",
         "Weight 0 takes no new connections: every new client is refused.",
         "Give at least one server a weight (-e ... -w)."),
    Code("vip-missing", ERROR, "the virtual address is not configured here",
         "IPVS only sees packets that are for this host: requests for the address pass it by, or never come here.",
         "Add the address to the interface that faces the clients. Said, but not judged, where a backup sync daemon or"
         " keepalived runs: there the address comes with the failover."),
    Code("vip-interface-down", ERROR, "the interface of the virtual address is down",
         "No request for the address can come in through it.",
         "Bring the interface up; without a carrier, look at the cable or the switch."),
    Code("mark-not-local", ERROR, "no address and no route brings a mark's packets in",
         "A mark does not route: IPVS only sees marked packets that are for this host, and none can be.",
         "Add the virtual addresses to an interface, or send the mark's packets to a table with a route of type local."),
    Code("mark-table-empty", WARNING, "a routing rule for a mark leads to an empty table",
         "The rule does nothing: marked packets are routed as all others, and are seen by IPVS only if their address is "
         "this host's.",
         "Put the route of type local into the rule's table."),
    Code("mark-unset", WARNING, "nothing in the packet filter sets a mark",
         "The service takes packets with its mark only, and no iptables or nftables rule exists here that could give it "
         "to them.",
         "Mark the packets in the mangle table's PREROUTING chain. Marks that tc or BPF programs set are not seen by the"
         " doctor."),
    Code("nat-forwarding-off", ERROR, "IP forwarding is off, and NAT servers answer here",
         "The servers' answers, addressed to the clients, are dropped here instead of being translated and passed on.",
         "Turn forwarding on; IPv4 goes by the interface that answers come in through, IPv6 by `all`."),
    Code("nat-clients-beside-servers", WARNING, "clients in the servers' own network would be answered past the director",
         "A server answers a client in its own network directly, from an address that the client never asked: the "
         "connection fails.",
         "Let the director translate the source as well (vs/conntrack 1 and a rule in the nat table), or put the servers"
         " into a network without clients. Not looked at when both are there: what the rules match is not read."),
    Code("send-redirects", WARNING, "the director sends redirects to NAT servers",
         "Clients and servers share this wire: a server that is told so by a redirect answers the clients directly, past"
         " the translation.",
         "Turn send_redirects off for the interface and for `all`: the kernel sends when either is on. Servers that have "
         "heeded a redirect forget it with `ip route flush cache`."),
    Code("snat-reroute-off", WARNING, "translated answers are not routed by their new source",
         "A routing rule chooses the way by the virtual address, but answers leave by the way chosen for the server's "
         "address.",
         "Set vs/snat_reroute to 1, its default."),
    Code("server-no-route", ERROR, "there is no route to the server",
         "What is scheduled to the server is lost, or the client gets an error.",
         "Add a route, or an address in the server's network."),
    Code("dr-behind-gateway", ERROR, "the direct-routing server is behind a gateway",
         "Direct routing changes only the hardware address: the gateway gets packets for the virtual address and sends "
         "them back, or anywhere but to the server.",
         "Use tunnelling (-i) or NAT (-m) for this server, or route to it directly when it is on this wire."),
    Code("port-not-mapped", ERROR, "direct routing or tunnelling to another port",
         "Only NAT changes ports: the server gets the packets at the service's port, where it may not listen.",
         "Give the server the service's port, or use NAT (-m)."),
    Code("tunnel-mtu", ERROR, "the way to a tunnelled server is too narrow",
         "IPv6 needs 1280 bytes within the tunnel (IPv4 68), and the kernel does not send through less.",
         "Raise the MTU of the link and of the route."),
    Code("tunnel-from-vip", ERROR, "a tunnel starts at the virtual address",
         "The server has that address itself and drops packets that come from it.",
         "Choose another source: by the route's `src` for IPv4; for IPv6 by making the virtual address deprecated."),
    Code("rp-filter", WARNING, "rp_filter drops requests on a virtual address's interface",
         "The way back to clients outside leads through another interface, and a strict rp_filter (1) drops what comes "
         "in where it would not go out.",
         "Set the interface's rp_filter to 2 (loose): the larger of `all` and the interface's value counts."),
    Code("conntrack-full", ERROR, "the table of tracked connections is full",
         "The kernel drops the packets of every new connection that it cannot track.",
         "Raise net.netfilter.nf_conntrack_max, or do not track the cluster's packets (NOTRACK in the raw table)."),
    Code("connections-near-limit", WARNING, "the connections are close to their limit",
         "Beyond net.ipv4.vs.conn_max, the kernel makes no new connection.",
         "Raise net.ipv4.vs.conn_max if there is memory for it: `ipvsadm -L -c --by=client` shows who holds the connections."),
    Code("connection-hash-small", WARNING, "the hash of connections is small for what it holds",
         "For each packet the kernel goes through a chain of connections, and these have become long. The size is no limit.",
         "Give the module more bits; it takes them when it is loaded the next time, at the latest after a reboot. From Linux 7.1"
         " on the hash grows by itself, up to so many bits."),
    Code("connection-chains-long", WARNING, "many chains in the hash of connections are long",
         "For each packet the kernel goes through a chain of connections.",
         "Lower net.ipv4.vs.conn_lfactor, so that the hash grows earlier; see `ipvsadm -L --status`."),
    Code("estimation-off", WARNING, "the kernel does not compute rates",
         "--rate and what monitoring reads from it stand still. From Linux 6.2 on the counters stand still as well, and with"
         " them --stats and --watch.",
         "Set vs/run_estimation to 1, its default."),
    Code("conn-reuse-delay", WARNING, "clients that use a port again wait for a second",
         "Before Linux 5.9, the first packet of such a connection is dropped where connections are tracked: the client repeats"
         " it after a second.",
         "Use Linux 5.9 or later. Or set vs/conn_reuse_mode to 0: then such a client keeps its server, even one of weight 0."
         " Or set vs/conntrack to 0, if no rule of the packet filter needs it."),
    Code("quiescent-templates", WARNING, "servers at weight 0 keep their persistent clients",
         "Clients with a persistence template go on being sent to a server at weight 0 until they stay away for the "
         "whole timeout.",
         "Set vs/expire_quiescent_template to 1."),
    Code("server-full", WARNING, "the server is full",
         "From its upper threshold on a server gets no new connections, also of its persistent clients, until enough have ended.",
         "Add a server, or raise the threshold (-e ... -x) if the server can bear more."),
    Code("sh-starved", WARNING, "source hashing leaves servers without clients",
         "sh hands its 256 buckets to the servers in the order of the list, as many to each as its weight: none is left for"
         " the last.",
         "Give the servers smaller weights of the same ratio, or use the scheduler mh, which divides its table by weight."),
    Code("hash-no-fallback", WARNING, "clients of a server at weight 0 are refused",
         "sh and mh choose a server by the client's address, whatever its weight is now: without the fallback flag, the "
         "clients of a server at weight 0 get no other one.",
         "Set sh-fallback or mh-fallback (-b), or delete the server. `ipvsadm -L --shares' shows the part of the hash table, "
         "--predict the server of a client."),
    Code("dh-quiesced", WARNING, "dh gives clients to a server at weight 0, and refuses them",
         "dh chooses a server by the address that the client connects to, whatever its weight: all clients of an address have "
         "the same server, and while that is at weight 0 they get no other one.",
         "Give the service another scheduler, or delete the server: lblc keeps an address with one server too, and passes over "
         "weight 0."),
    Code("boot-file-differs", WARNING, "the rules file that is restored at boot differs from the table",
         "After a reboot the rules of the file are in force. Weights are not compared.",
         "Save the table, or make it match the file (--apply FILE --dry-run shows what that changes)."),
    Code("server-syn-recv", WARNING, "connections to the server stay in SYN_RECV",
         "Clients ask, and no answer of theirs comes back here: the server's answers do not reach them. A flood of SYNs, which "
         "nobody means to go on with, looks the same.",
         "Run the doctor on the server (--real-server-for): it may lack the virtual address, its default route may avoid the "
         "director (NAT), or a packet filter drops the answers. Until then give it weight 0."),
    Code("netmask-without-persistence", WARNING, "a netmask (-M) without persistence (-p)",
         "The netmask says which clients persistence takes as one; without -p it does nothing.",
         "Edit the service (-E) with -p, or without -M."),
    Code("ftp-helper-missing", WARNING, "FTP by NAT without the helper",
         "Within FTP, servers name their own addresses; only ip_vs_ftp rewrites them, so that transfers reach the "
         "service.",
         "Load ip_vs_ftp, and have it loaded at boot (/etc/modules-load.d)."),
    Code("ftp-not-persistent", WARNING, "FTP by direct routing or tunnelling without persistence",
         "A transfer's connection goes to a port of its own: only persistence (-p) sends it to the server that waits for"
         " it.",
         "Edit the service (-E) with -p."),
    Code("sync-interface-down", ERROR, "the sync daemon's interface is down",
         "No connections are handed to the other director, or taken from it: a failover breaks them all.",
         "Bring the interface up, or start the daemon anew on another one."),
    Code("sync-no-multicast", WARNING, "the sync daemon's interface has multicast off",
         "Connections are handed over by multicast, and with the flag off it is up to the driver whether any comes in.",
         "Turn the interface's multicast on."),
    Code("sync-backup-holds-vip", WARNING, "an active director runs only the backup sync daemon",
         "It holds a virtual address, but does not hand its connections over: the next failover breaks them.",
         "Start the master daemon here (both may run); keepalived does so with lvs_sync_daemon."),
    Code("server-no-neighbour", ERROR, "no ARP or NDP reply from the real server (--probe)",
         "What is scheduled to the server is lost.",
         "Look after the server; until then give it weight 0."),
    Code("server-silent", ERROR, "the server does not answer a connect (--probe)",
         "What is scheduled to the server hangs until the client gives up.",
         "Look after the server, or a packet filter before it; until then give it weight 0."),
    Code("server-refuses", ERROR, "a server refuses connections (--probe)",
         "What is scheduled to the server is refused. A server of direct routing or tunnelling that listens on the "
         "virtual address only refuses the probe, which goes to its own address, as well.",
         "Start the service on the server; until then give it weight 0."),
    Code("real-vip-missing", ERROR, "the real server lacks the virtual address",
         "Packets come with the virtual address as their destination: without it the server drops or forwards them.",
         "Add the address to lo or to a dummy interface, as a single address."),
    Code("real-vip-interface-down", ERROR, "the interface of the real server's virtual address is down",
         "The address is not this host's while it is down: an interface that goes down takes IPv6 addresses with it.",
         "Bring the interface up, or put the address on lo."),
    Code("real-vip-on-wire", ERROR, "the real server's virtual address is on an interface to the wire",
         "The server answers for the address there: clients and routers send to it, past the director.",
         "Move the address to lo or to a dummy interface."),
    Code("real-vip-prefix", ERROR, "the real server's virtual address brings its whole network",
         "With a shorter prefix than a single address's, the network around it is taken for local: clients and routers "
         "in it are out of reach.",
         "Use prefix length 32, for IPv6 128."),
    Code("real-arp-ignore", ERROR, "the real server answers ARP for the virtual address",
         "Clients and routers on its wire may take the server for the director and send everything to it.",
         "Set arp_ignore to 1 (the larger of `all` and the interface's value counts)."),
    Code("real-arp-announce", WARNING, "the real server names the virtual address in its own ARP requests",
         "Who hears such a request takes the server for the holder of the address, and sends to it, past the director.",
         "Set arp_announce to 2 (the larger of `all` and the interface's value counts)."),
    Code("real-tunnel-missing", ERROR, "the real server has no tunnel interface",
         "Packets come wrapped, and nothing here unwraps them.",
         "Add an interface of the director's tunnel type (--tun-type): ipip, gre, or for gue ipip with `ip fou add port "
         "PORT gue`."),
    Code("real-tunnel-down", ERROR, "the real server's tunnel interface is down",
         "Packets come wrapped, and an interface that is down unwraps none.",
         "Bring the interface up."),
    Code("real-tunnel-rp-filter", ERROR, "rp_filter drops what comes out of the tunnel",
         "The way back to the client is not through the tunnel: a strict rp_filter (1) drops what comes in where it "
         "would not go out, a loose one (2) too where the interface has no IPv4 address.",
         "Turn rp_filter off for the tunnel interface; where `all` must stay on, set the interface's to 2 and give it the "
         "virtual address."),
    Code("real-no-default-route", ERROR, "the NAT real server has no default route",
         "Answers must go back through the director, and have no way to clients outside this network.",
         "Add a default route through the director's address in this network."),
    Code("real-gateway-not-director", ERROR, "the default route of the NAT real server avoids the director",
         "Answers that do not pass the director keep the server's address, which the client never asked: the connection "
         "fails.",
         "Route through the director's address (the one given by --director)."),
    Code("real-gateway-is-director", ERROR, "the real server's default route leads through the director",
         "With direct routing and tunnelling answers come from the virtual address, and the director drops packets that "
         "come from an address of its own.",
         "Route through the network's router instead."),
)  # fmt: skip

BY_CODE = {row.code: row for row in CODES}


def get_severity(finding: Finding) -> str:
    """Return ERROR or WARNING, by the finding's code."""
    return BY_CODE[finding.code].severity


def format_explanation(row: Code) -> str:
    """Return the paragraph that explains a code."""
    return f"{row.code} ({row.severity}): {row.title}\n  {row.reason}\n  {row.fix}\n"
