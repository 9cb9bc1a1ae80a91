"""Combine every command with every option, every missing option, every pair that excludes itself,
every set of tunnel options.

The cases are built from one word for each option, not from the program's own table: the recording
shows what is legal.
"""

from __future__ import annotations

from itertools import combinations, permutations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cases.case import Cases, Written

# Each command with the words that it needs, and with no other options.
COMMANDS = {
    "add-service": "-A -t 10.0.0.1:80",
    "edit-service": "-E -t 10.0.0.1:80",
    "delete-service": "-D -t 10.0.0.1:81",
    "clear": "-C",
    "list": "-L",
    "add-server": "-a -t 10.0.0.1:80 -r 10.0.1.1",
    "delete-server": "-d -t 10.0.0.1:80 -r 10.0.1.9",
    "edit-server": "-e -t 10.0.0.1:80 -r 10.0.1.1",
    "set": "--set 10 20 30",
    "start-daemon": "--start-daemon backup --mcast-interface lo",
    "stop-daemon": "--stop-daemon backup",
    "restore": "-R",
    "save": "-S",
    "zero": "-Z",
}

# One word for each of the reference's 34 kinds of option, and -6, which has none.
OPTIONS = (
    "-n", "-c", "-t 10.0.0.1:80", "-s rr", "-p 300", "-M 255.255.255.0", "-r 10.0.1.2", "-g", "-w 5", "-x 20", "-y 0",
    "--mcast-interface lo", "--timeout", "--daemon", "--stats", "--rate", "--thresholds", "--persistent-conn", "--nosort",
    "--syncid 5", "--exact", "-o", "--pe sip", "-b flag-1", "--mcast-group 224.0.0.81", "--mcast-port 8848",
    "--mcast-ttl 2", "--sync-maxlen 1400", "--tun-info", "--tun-type ipip", "--tun-port 6080", "--tun-nocsum",
    "--tun-csum", "--tun-remcsum", "-6",
)  # fmt: skip

# Commands that lack an option or argument that they need.
INCOMPLETE = (
    "-A", "-A -s rr", "-A -p", "-A -n", "-E", "-E -s wlc", "-D", "-D -n", "-D -s rr",
    "-a", "-a -t 10.0.0.1:80", "-a -r 10.0.1.1", "-a -m", "-a -w 5", "-a -f 5", "-a -n",
    "-e", "-e -t 10.0.0.1:80", "-e -r 10.0.1.1", "-e -u 10.0.0.1:80 -w 3",
    "-d", "-d -t 10.0.0.1:80", "-d -r 10.0.1.1", "-d -t 10.0.0.1:80 -m",
    "--set", "--set 1", "--set 1 2", "--start-daemon", "--stop-daemon",
)  # fmt: skip

EXCLUSIVE = ("-c", "-t 10.0.0.1:80", "--timeout", "--daemon")

# What may be listed, and in which format: some of these together are a conflict that the
# reference's table of combinations does not know.
LISTED = ("", "-c", "--timeout", "--daemon", "-t 10.0.0.1:80")
FORMATS = (
    "--stats",
    "--rate",
    "--thresholds",
    "--persistent-conn",
    "--tun-info",
    "--nosort",
    "--exact",
    "-n",
)

TUNNEL_OPTIONS = ("--tun-port 6080", "--tun-nocsum", "--tun-csum", "--tun-remcsum")

START: tuple[Written, ...] = (
    "-A -t 10.0.0.1:80 -s rr -p 60",
    "-a -t 10.0.0.1:80 -r 10.0.1.1 -g -w 3 -x 20 -y 10",
)


def every_option(command: str) -> list[Written]:
    return [*START, *(f"{command} {option}" for option in OPTIONS)]


def tunnels(kind: str) -> list[Written]:
    """Return a step for every subset of tunnel options. Each server has an address of its own, so
    that accepted servers stay in the table.
    """
    chosen = [
        subset
        for size in range(len(TUNNEL_OPTIONS) + 1)
        for subset in combinations(TUNNEL_OPTIONS, size)
    ]
    return [
        START[0],
        *(
            f"-a -t 10.0.0.1:80 -r 10.0.1.{at} {' '.join([kind, *subset])}".rstrip()
            for at, subset in enumerate(chosen, 1)
        ),
        "-L -n --tun-info",
    ]


CASES: Cases = {
    **{
        f"combinations: {name} with every option": every_option(command)
        for name, command in COMMANDS.items()
    },
    "combinations: what a command demands": [*INCOMPLETE],
    "combinations: one thing to list at a time": [
        *START,
        *(f"-L {first} {second}" for first, second in permutations(EXCLUSIVE, 2)),
        "-L -c --timeout --daemon -t 10.0.0.1:80",
    ],
    "combinations: what to list and how": [
        *START,
        *(f"-L -n {what} {how}".replace("  ", " ") for what in LISTED for how in FORMATS[:-2]),
    ],
    "combinations: how to list, by pairs": [
        *START,
        *(f"-L {first} {second}" for first, second in combinations(FORMATS, 2)),
        "-L -n --stats --rate --thresholds --persistent-conn --tun-info --nosort --exact",
    ],
    **{
        f"tunnels: every set of options, {kind}": tunnels(f"-i --tun-type {kind}")
        for kind in ("ipip", "gue", "gre")
    },
    "tunnels: every set of options, no type": tunnels("-i"),
    "tunnels: only with -i": [
        START[0],
        *(
            f"-a -t 10.0.0.1:80 -r 10.0.1.1 {forward} {option}".replace("  ", " ")
            for forward in ("", "-g", "-m")
            for option in (
                "--tun-type ipip",
                "--tun-type gue",
                "--tun-port 6080",
                *TUNNEL_OPTIONS[1:],
            )
        ),
    ],
    "tunnels: edit": [
        START[0],
        "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gue --tun-port 6080 --tun-csum",
        "-L -n --tun-info",
        "-e -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gre",
        "-L -n --tun-info",
        "-e -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gue --tun-port 6081",
        "-L -n --tun-info",
        "-e -t 10.0.0.1:80 -r 10.0.1.1 -w 5",
        "-L -n --tun-info",
        "-e -t 10.0.0.1:80 -r 10.0.1.1 --tun-type gue",
        "-e -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gue",
        "-e -t 10.0.0.1:80 -r 10.0.1.1 -i",
        "-L -n --tun-info",
    ],
    "tunnels: values": [
        START[0],
        "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type bogus",
        "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type GUE --tun-port 1",
        "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gue --tun-port 0",
        "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gue --tun-port 65536",
        "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gue --tun-port -1",
        "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gue --tun-port 6080x",
        "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gue --tun-port http",
        "-a -t 10.0.0.1:80 -r 10.0.1.1 -i --tun-type gue --tun-port 65535",
        "-a -t 10.0.0.1:80 -r 10.0.1.2 -i --tun-type gue --tun-port 1",
        "-a -t 10.0.0.1:80 -r 10.0.1.3 -i --tun-type gue --tun-port 65535 --tun-remcsum",
        "-L -n --tun-info",
        "-L --tun-info",
        "-S -n",
    ],
}
