"""List where ours may answer differently from the reference, and what exactly it answers instead.

An entry that no longer differs from the recording, or from which ours differs, fails its test. Any
answer that is not named here is the same, byte for byte. docs/differences.md lists the kinds for
users; a reason here names the kind in words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import starmap
from typing import TYPE_CHECKING

from pyipvsadm.grammar import programs
from pyipvsadm.grammar.help_layout import format_help
from pyipvsadm.grammar.programs import SAVE
from tests.cases import recording

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# The places where an entry holds. On the kernel, the reference makes the listings at the end.
EVERYWHERE = ""
EMBEDDED = "embedded"
KERNEL = "kernel"


@dataclass(frozen=True)
class Difference:
    """Hold what ours answers instead; None: as recorded. lines: single lines of standard output
    that differ.
    """

    reason: str
    status: int | None = None
    stdout: str | None = None
    stderr: str | None = None
    lines: Mapping[str, str] = field(default_factory=dict)
    only: str = EVERYWHERE


THRESHOLDS = "-S keeps thresholds"
WHOLE = (
    "-R finds a line that would end the run before anything is applied, and says which line it is"
)
NUMBERED = "-R says which line it is that was refused or has an unknown option"
COMMENT = "-R takes lines that start with # for comments"
LAST = "-R takes a last line that ends in blanks and no line end"
MARK = "a firewall mark above 2^31-1 is printed as it is"
ORDER = "addresses without an order that the reference defines are sorted by number"
NAMES = "-S by name never cuts a name, and writes a number where -R could not read the name back"
WORDS = "help is in our own words"
SELECTING = "-L selects by scheduler and real server, -L -c by service, which the reference refuses"
WORD = "ipvsadm-save and ipvsadm-restore refuse words that they do not know"
CLUSTER = "ipvsadm-save takes options in one word"
HELP = "--help after a command shows that command alone"

TRY_HELP = "Try `ipvsadm -h' or 'ipvsadm --help' for more information."
ADDRESS = "illegal virtual server address[:port] specified"

SIZE = "(size=4096)"  # of the connection table; from Linux 7.1 on it starts smaller and grows
VERSION = f"IP Virtual Server version 1.2.1 {SIZE}\n"
PLAIN = f"""{VERSION}Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
"""
TUNNELS = f"""{VERSION}Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn
"""
LIMITS = f"{VERSION}Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  -> RemoteAddress:Port\n"
TIMEOUTS = "Timeout (tcp tcpfin udp): 900 120 300\n"

# (case, number of the step from 1)
STEPS: dict[tuple[str, int], Difference] = {}

# case: the listing at the end
TABLES: dict[str, Difference] = {}


def _numbered(case: str, step: int, *refused: tuple[int, str], reason: str = NUMBERED) -> None:
    STEPS[case, step] = Difference(reason, stderr=_said(refused))


def _said(refused: Iterable[tuple[int, str]]) -> str:
    return "".join(starmap("line {}: {}\n".format, refused))


def _lines(reason: str, case: str, *steps: int, lines: Mapping[str, str]) -> None:
    ends = {f"{was}\n": f"{now}\n" for was, now in lines.items()}
    STEPS.update({(case, step): Difference(reason, lines=ends) for step in steps})


def _table(
    case: str,
    reason: str,
    services: Iterable[str] = (),
    servers: Iterable[str] = (),
    only: str = EVERYWHERE,
) -> None:
    """Add the listing that ours leaves at the end of a case. Servers are masqueraded, and belong to
    the last service; everything else is as in an empty table.
    """
    heads = [f"{service}\n" for service in services]
    tunnels = [
        f"  -> {server:28} Masq    n/a           1      0          0         \n"
        for server in servers
    ]
    limits = [
        f"  -> {server:28} 0          0          0          0         \n" for server in servers
    ]
    left = [TUNNELS, *heads, *tunnels, LIMITS, *heads, *limits, TIMEOUTS]
    TABLES[case] = Difference(reason, stdout="".join(left), only=only)


# --- restoring: a fault that ends the run. Ours applies nothing; the reference has applied the
# lines before.

for _case, _line, _message in (
    ("-R inside", 2, TRY_HELP),
    ("--restore inside", 2, TRY_HELP),
    ("-R with an option inside", 2, "Illegal 'numeric' option with the 'restore' command"),
    ("a bad value inside", 2, "illegal weight specified"),
    ("a bad address inside", 2, ADDRESS),
    ("a bad combination inside", 2, "Illegal 'weight' option with the 'add-service' command"),
    (
        "what a command demands is missing inside",
        2,
        "You need to supply the 'real-server' option for the 'add-server' command",
    ),
    ("a stray word inside", 2, TRY_HELP),
    ("a stray word behind a rule", 2, "unexpected argument junk"),
    ("no command inside", 2, TRY_HELP),
    ("an unknown option first inside", 2, TRY_HELP),
    ("a second command inside", 2, "invalid option `-D'"),
    ("tunnel options without a tunnel inside", 2, "Tunnel options conflict with forward method"),
    ("a port that is missing inside", 2, "Zero port specified for non-persistent service"),
    ("conflicts of the list command inside", 2, "options conflicts in the list command"),
    ("the fault is on the last line", 2, ADDRESS),
    ("more faults than one", 4, ADDRESS),
):
    _numbered(f"restore: {_case}", 1, (_line, _message), reason=WHOLE)
    _table(f"restore: {_case}", WHOLE)

STEPS["restore: a listing, then a fault", 1] = Difference(
    WHOLE, stdout="", stderr=_said([(3, ADDRESS)])
)
_table("restore: a listing, then a fault", WHOLE)
STEPS["restore: -h inside", 1] = Difference(
    f"{WHOLE}; {WORDS}",
    stdout="",
    stderr=_said([(2, "--help ends the rules here: none was applied")]),
)
_table("restore: -h inside", WHOLE)

# In these, the fault comes before the first line that the reference applies.
_numbered("restore: the fault is on the first line", 1, (1, ADDRESS), reason=WHOLE)
_numbered("restore: CR LF", 4, (1, "invalid option `-A'"), reason=WHOLE)
_numbered("restore: other white space is not", 1, (1, ADDRESS), reason=WHOLE)
_numbered("restore: other white space is not", 2, (1, ADDRESS), reason=WHOLE)
_numbered(
    "restore: the word ipvsadm with more about it",
    1,
    (1, "unexpected argument /sbin/ipvsadm"),
    reason=WHOLE,
)
_numbered("restore: comments", 3, (1, "unexpected argument #"), reason=WHOLE)
_numbered("restore: comments", 4, (1, "unexpected argument #comment"), reason=WHOLE)
_numbered("restore: quotes are not", 1, (1, ADDRESS), reason=WHOLE)
_numbered("restore: bytes that are no text", 1, (1, ADDRESS), reason=WHOLE)
_numbered("restore: a NUL alone is an empty word", 1, (1, "unexpected argument "), reason=WHOLE)
_numbered("restore: NULs elsewhere", 3, (2, TRY_HELP), reason=WHOLE)
_table("restore: NULs elsewhere", WHOLE, ["TCP  10.0.0.1:80 rr", "TCP  10.0.0.1:81 wlc"])
_numbered("restore: only --", 1, (1, TRY_HELP), reason=WHOLE)
_numbered(
    "restore: a long token that is a bad value",
    1,
    (1, f"invalid fwmark value `{'9' * 4000}' specified"),
    reason=WHOLE,
)

# ipvsadm-restore: the reference has cleared the table and applied the first line.
_numbered("ipvsadm-restore: a bad line", 2, (2, ADDRESS), reason=WHOLE)
_table(
    "ipvsadm-restore: a bad line",
    WHOLE,
    ["TCP  10.0.0.1:80 rr"],
    ["10.0.1.1:80"],
)

# --- restoring: lines that are refused, and the rest is applied

_numbered(
    "restore: adds to what is there",
    2,
    (1, "Service already exists"),
    (2, "Destination already exists"),
)
_numbered("restore: the word ipvsadm", 5, (1, "-s: missing argument"))
_numbered("restore: quotes are not", 2, (1, "Scheduler or persistence engine not found"))
_numbered("restore: long tokens and lines", 1, (1, "Scheduler or persistence engine not found"))
_numbered(
    "restore: an unknown option of bytes that are no text", 1, (1, "--caf\xe9: unknown option")
)
_numbered("restore: lines the table refuses", 1, (2, "Service already exists"))
_numbered(
    "restore: lines the table refuses",
    3,
    (1, "Service not defined"),
    (3, "No such service"),
    (5, "No such service"),
)
_numbered(
    "restore: lines the table refuses",
    5,
    (2, "Scheduler or persistence engine not found"),
    (3, "Numerical result out of range"),
)
_numbered("restore: lines the table refuses", 7, (2, "No such destination"))
_numbered("restore: lines the table refuses", 9, (1, "No daemon is running"), (2, "No such device"))
_numbered("restore: a line with an unknown option", 1, (2, "--bogus: unknown option"))
_numbered("restore: a line with an unknown option", 3, (2, "-q: unknown option"))
_numbered("restore: a line with an unknown option", 5, (2, "-t: missing argument"))
_numbered(
    "restore: a line with an unknown option", 7, (2, "-n=5: option does not take an argument")
)
_numbered("restore: a line with an unknown option", 9, (2, "--bogus: unknown option"))
_numbered("restore: a line with an unknown option", 11, (2, "--bogus: unknown option"))
_numbered("ipvsadm-restore: a line the table refuses", 2, (2, "Service already exists"))
_numbered("ipvsadm-restore: a line the table refuses", 3, (2, "Service already exists"))

# --- restoring: comments, at which the reference ends

for _step in (1, 2, 5):
    STEPS["restore: comments", _step] = Difference(COMMENT, status=0, stderr="")
_table(
    "restore: comments",
    COMMENT,
    ["TCP  10.0.0.1:80 rr", "TCP  10.0.0.1:81 rr", "TCP  10.0.0.1:82 rr", "TCP  10.0.0.1:85 rr"],
)
STEPS["ipvsadm-restore: a comment that is indented", 2] = Difference(COMMENT, status=0, stderr="")
_table(
    "ipvsadm-restore: a comment that is indented",
    COMMENT,
    ["TCP  10.0.0.2:80 rr", "TCP  10.0.0.3:80 rr"],
)

# --- restoring: a last line that the reference has read and forgets

for _step in (2, 6):  # one blank, which the reference takes too
    _numbered("restore: no final line end behind blanks", _step, (1, "Service already exists"))
for _step in (3, 4, 5, 7):
    STEPS["restore: no final line end behind blanks", _step] = Difference(
        LAST, status=0, stderr=_said([(1, "Service already exists")])
    )
_table(
    "restore: no final line end behind blanks",
    LAST,
    ["TCP  10.0.0.1:80 rr"],
    [f"10.0.1.{_server}:80" for _server in range(1, 8)],
)

# --- saving

_EVERYTHING = {
    "-a -t 10.0.0.1:443 -r 10.0.0.11:8443 -m -w 0": "-a -t 10.0.0.1:443 -r 10.0.0.11:8443 -m -w 0 -x 2000 -y 1000",
    "-a -t 10.0.0.1:443 -r 10.0.0.99:443 -m -w 3": "-a -t 10.0.0.1:443 -r 10.0.0.99:443 -m -w 3 -x 2147483647",
}
_LONG = "a-real-server-with-a-name-far-longer-than-any-listing-allows.rack-17.example.com"
_CUT = _LONG[:59]
_EVERYTHING_BY_NAME = {
    "-a -t vip.example.com:https -r web1.example.com:8443 -m -w 0": (
        "-a -t vip.example.com:https -r web1.example.com:8443 -m -w 0 -x 2000 -y 1000"
    ),
    f"-a -t vip.example.com:https -r {_CUT} -m -w 3": f"-a -t vip.example.com:https -r {_LONG}:https -m -w 3 -x 2147483647",
    "-A -t [six.example.com]:http -s mh -p 90 -M 64 -b mh-port": "-A -t [2001:db8::1]:http -s mh -p 90 -M 64 -b mh-port",
    "-a -t [six.example.com]:http -r web2.example.com:http -i -w 1 --tun-type ipip": (
        "-a -t [2001:db8::1]:http -r web2.example.com:http -i -w 1 --tun-type ipip"
    ),
    "-a -t [six.example.com]:http -r [web1-six.example.com]:http -g -w 1": (
        "-a -t [2001:db8::1]:http -r [2001:db8::11]:http -g -w 1"
    ),
    "-a -t [six.example.com]:http -r [another-server-with-a-name-far-longer-than-any-listing-all -m -w 1": (
        "-a -t [2001:db8::1]:http -r [2001:db8::99]:8080 -m -w 1"
    ),
    "-a -f 7 -6 -r [web1-six.example.com]:0 -i -w 1 --tun-type gue --tun-port 65535 --tun-remcsum": (
        "-a -f 7 -6 -r [2001:db8::11]:0 -i -w 1 --tun-type gue --tun-port 65535 --tun-remcsum"
    ),
}

_lines(
    THRESHOLDS,
    "combinations: save with every option",
    3,
    lines={
        "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -g -w 3": "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -g -w 3 -x 20 -y 10"
    },
)
_lines(
    THRESHOLDS,
    "servers: thresholds in what is saved",
    6,
    lines={
        "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 1": "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 1 -x 20 -y 10",
        "-a -t 10.0.0.1:80 -r 10.0.1.2:80 -i -w 1 --tun-type ipip": (
            "-a -t 10.0.0.1:80 -r 10.0.1.2:80 -i -w 1 -x 30 --tun-type ipip"
        ),
        "-a -t 10.0.0.1:80 -r 10.0.1.3:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum": (
            "-a -t 10.0.0.1:80 -r 10.0.1.3:80 -i -w 1 -x 40 -y 5 --tun-type gue --tun-port 6080 --tun-nocsum"
        ),
    },
)
_lines(
    THRESHOLDS,
    "list: wide numbers",
    12,
    lines={
        "-a -t 255.255.255.255:65535 -r 255.255.255.254:65535 -m -w 65535": (
            "-a -t 255.255.255.255:65535 -r 255.255.255.254:65535 -m -w 65535 -x 2147483647 -y 2147483647"
        ),
    },
)
_lines(THRESHOLDS, "list: everything by name", 10, lines=_EVERYTHING)
_lines(THRESHOLDS, "restore: everything, saved and restored again", 2, lines=_EVERYTHING)
_lines(THRESHOLDS, "ipvsadm-save", 2, 4, lines=_EVERYTHING)
_lines(f"{THRESHOLDS}; {NAMES}", "list: everything by name", 9, lines=_EVERYTHING_BY_NAME)
_lines(f"{THRESHOLDS}; {NAMES}", "ipvsadm-save", 3, lines=_EVERYTHING_BY_NAME)
_lines(
    NAMES,
    "save: names that are too long",
    3,
    lines={
        f"-A -t {_CUT} -s rr": f"-A -t {_LONG}:http -s rr",
        f"-a -t {_CUT} -r {_CUT} -m -w 1": f"-a -t {_LONG}:http -r {_LONG}:8080 -m -w 1",
    },
)
_lines(
    NAMES,
    "save: IPv6 names",
    3,
    lines={
        "-A -t [six.example.com]:http -s rr": "-A -t [2001:db8::1]:http -s rr",
        "-a -t [six.example.com]:http -r [web1-six.example.com]:http -g -w 1": (
            "-a -t [2001:db8::1]:http -r [2001:db8::11]:http -g -w 1"
        ),
    },
)
_lines(
    NAMES,
    "restore: words in the order of -S",
    2,
    lines={
        "-a -f 5 -6 -r [web1-six.example.com]:0 -g -w 1": "-a -f 5 -6 -r [2001:db8::11]:0 -g -w 1"
    },
)
_UNKNOWN = "ipvsadm-save: {}; {}; nothing was saved\n"
for _step in (5, 6):  # file, -n file
    STEPS["ipvsadm-save", _step] = Difference(
        WORD,
        status=2,
        stdout="",
        stderr=_UNKNOWN.format(
            "unexpected argument file", "to write to a file, give -f FILE or > FILE"
        ),
    )
for _step in (7, 10):  # -x, -n -x
    STEPS["ipvsadm-save", _step] = Difference(
        WORD, status=2, stderr=_UNKNOWN.format("-x: unknown option", "see ipvsadm-save --help")
    )
# -nn: as -n, which the reference answers in its step 2.
_NUMERIC = recording.load()["ipvsadm-save"].steps[1][1].stdout.splitlines()
STEPS["ipvsadm-save", 9] = Difference(
    CLUSTER,
    status=0,
    stdout="".join(f"{_EVERYTHING.get(line, line)}\n" for line in _NUMERIC),
    stderr="",
)
STEPS["ipvsadm-save", 8] = Difference(WORDS, status=0, stdout=programs.format_help(SAVE), stderr="")

# --- help

for _step in (9, 10, 11):  # -L -h, -Lh, -L --help
    STEPS["second command", _step] = Difference(
        HELP, status=0, stdout=format_help("list"), stderr=""
    )

# --- selecting

_LISTED = f"TCP  vip.example.com:http rr persistent 60\n  -> {'10.0.1.1:http':28} Route   3      0          {0:<10}\n"
_CONNECTIONS = "IPVS connection entries\npro expire state       source             virtual            destination\n"
STEPS["combinations: list with every option", 6] = Difference(
    SELECTING, status=0, stdout=PLAIN + _LISTED, stderr=""
)
STEPS["combinations: list with every option", 9] = Difference(
    SELECTING, status=0, stdout=PLAIN, stderr=""
)
for _step in (3, 6):
    STEPS["combinations: one thing to list at a time", _step] = Difference(
        SELECTING, status=0, stdout=_CONNECTIONS, stderr=""
    )
STEPS["combinations: one thing to list at a time", 15] = Difference(
    SELECTING,
    stderr="The option 'timeout' conflicts with the 'service-address' option in the 'list' command\n",
)

# --- marks

_MARKS = "marks: above 2^31-1"
_lines(MARK, _MARKS, 5, lines={"FWM  -1 rr": "FWM  4294967295 rr"})
_lines(
    MARK,
    _MARKS,
    6,
    lines={
        f"{'FWM  -1':33}        0        0        0        0        0": (
            f"{'FWM  4294967295':33}        0        0        0        0        0"
        ),
    },
)
_lines(MARK, _MARKS, 7, lines={"FWM  -1 IPv6 rr": "FWM  4294967295 IPv6 rr"})
_lines(
    MARK,
    _MARKS,
    9,
    lines={
        "-A -f -2147483648 -s rr": "-A -f 2147483648 -s rr",
        "-A -f -1 -s rr": "-A -f 4294967295 -s rr",
        "-a -f -1 -r 10.0.1.1:0 -m -w 1": "-a -f 4294967295 -r 10.0.1.1:0 -m -w 1",
    },
)
_table(_MARKS, MARK, ["FWM  2147483648 rr", "FWM  4294967295 rr"], ["10.0.1.1:0"], EMBEDDED)

# --- order

for _case, _addresses in (
    ("sort: servers that are half the space apart", "10.0.0.1 138.0.0.1"),
    ("sort: servers without a gap, ascending", "10.0.0.1 100.0.0.1 200.0.0.1"),
    (
        "sort: servers without a gap, many",
        "10.0.0.1 30.0.0.1 60.0.0.1 110.0.0.1 130.0.0.1 160.0.0.1 210.0.0.1 250.0.0.1",
    ),
):
    _ends = [f"{_address}:80" for _address in _addresses.split()]
    _at = len(_ends) + 2
    STEPS[_case, _at] = Difference(
        ORDER,
        stdout=f"{PLAIN}TCP  10.0.0.1:80 rr\n"
        + "".join(f"  -> {_end:28} Masq    1      0          0         \n" for _end in _ends),
    )
    STEPS[_case, _at + 2] = Difference(
        ORDER,
        stdout="-A -t 10.0.0.1:80 -s rr\n"
        + "".join(f"-a -t 10.0.0.1:80 -r {_end} -m -w 1\n" for _end in _ends),
    )
    _table(_case, ORDER, ["TCP  10.0.0.1:80 rr"], _ends, EMBEDDED)
