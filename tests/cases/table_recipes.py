"""List cases that administrators run: set-ups of tutorials and boot scripts, and the commands that
health checkers call in a loop.
"""

from __future__ import annotations

from tests.cases.case import Cases, restore, run

CASES: Cases = {
    "recipe: NAT": [
        "-A 172.16.100.1:80 -s rr",
        "-A -t 172.16.100.1:80 -s rr",
        "-a -t 172.16.100.1:80 -r 192.168.10.8 -m",
        "-a -t 172.16.100.1:80 -r 192.168.10.9 -m",
        "-L -n",
        "-S",
        "-E -t 172.16.100.1:80 -s wrr",
        "-e -t 172.16.100.1:80 -r 192.168.10.8 -m -w 3",
        "-e -t 172.16.100.1:80 -r 192.168.10.9 -m -w 1",
        "-L -n",
        "-L -n --stats",
        "-Ln --rate",
        "-L -c",
        "-L --timeout",
        "-S -n",
    ],
    "recipe: direct routing": [
        "-C",
        "-A -t 172.16.100.1:80 -s wlc",
        "-a -t 172.16.100.1:80 -r 172.16.100.7 -g -w 2",
        "-a -t 172.16.100.1:80 -r 172.16.100.8 -g -w 1",
        "-L -n",
        "-Ln",
    ],
    "recipe: a boot script's start, status, stop": [
        "-C",
        "-Z",
        "-A -t 172.16.100.1:80 -s wlc",
        "-a -t 172.16.100.1:80 -r 172.16.100.7 -g -w 2",
        "-a -t 172.16.100.1:80 -r 172.16.100.8 -g -w 5",
        "-L -n",
        "-C",
        "-L -n",
    ],
    "recipe: a health check adds and deletes": [
        "-A -t 192.168.10.3:80 -s rr",
        "-a -t 192.168.10.3:80 -r 192.168.10.7:80 -g -w 2",
        "-a -t 192.168.10.3:80 -r 192.168.10.8:80 -g -w 1",
        "-L -n",
        "-d -t 192.168.10.3:80 -r 192.168.10.7:80",
        "-d -t 192.168.10.3:80 -r 192.168.10.7:80",
        "-a -t 192.168.10.3:80 -r 127.0.0.1:80 -g",
        "-d -t 192.168.10.3:80 -r 192.168.10.8:80",
        "-L -n",
        "-a -t 192.168.10.3:80 -r 192.168.10.7:80 -g -w 2",
        "-a -t 192.168.10.3:80 -r 192.168.10.7:80 -g -w 2",
        "-d -t 192.168.10.3:80 -r 127.0.0.1:80",
        "-L -n",
    ],
    "recipe: persistence per port, per client and by mark": [
        "-A -t 192.168.10.3:443 -s rr -p 600",
        "-a -t 192.168.10.3:443 -r 192.168.10.7 -g",
        "-A -t 192.168.10.3:0 -s rr -p 600",
        "-a -t 192.168.10.3:0 -r 192.168.10.7 -g -w 2",
        "-A -f 8 -s rr",
        "-a -f 8 -r 192.168.10.7 -g -w 2",
        "-a -f 8 -r 192.168.10.8 -g -w 5",
        "-E -f 8 -s rr -p 300",
        "-L -n",
        "-L -n --persistent-conn",
        "-S -n",
    ],
    "recipe: tunnelling": [
        "-A -t 10.0.0.1:80 -s sh",
        "-a -t 10.0.0.1:80 -r 203.0.113.7 -i",
        "-a -t 10.0.0.1:80 -r 203.0.113.8 -i -w 3",
        "-L -n",
    ],
    "recipe: a director with its backup": [
        "--set 900 120 300",
        "--start-daemon master --mcast-interface lo --syncid 10",
        "--start-daemon backup --mcast-interface lo --syncid 10",
        "-L --daemon",
        "-L --timeout",
    ],
    "recipe: taking a server out gently": [
        "-A -t 10.0.0.1:80 -s wlc",
        "-a -t 10.0.0.1:80 -r 10.0.0.11 -m -w 100",
        "-a -t 10.0.0.1:80 -r 10.0.0.12 -m -w 100",
        "-e -t 10.0.0.1:80 -r 10.0.0.11 -m -w 0",
        "-L -n -t 10.0.0.1:80",
        "-d -t 10.0.0.1:80 -r 10.0.0.11",
        "-L -n -t 10.0.0.1:80",
    ],
    "recipe: saved by name, flushed and restored": [
        "-A -t vip:http -s rr",
        "-a -t vip:http -r web1:http -g -w 2",
        "-a -t vip:http -r web2:http -g",
        run("", program="ipvsadm-save"),
        "-C",
        restore(
            "-A -t vip.example.com:http -s rr\n-a -t vip.example.com:http -r web1.example.com:http -g -w 2\n"
            "-a -t vip.example.com:http -r web2.example.com:http -g -w 1\n",
            "ipvsadm-restore",
        ),
        "-L",
    ],
    "recipe: a file of a scheduler's rules, one command a line": [
        restore(
            "ipvsadm -C\nipvsadm -A -t 10.0.0.1:80 -s wlc -p 360\nipvsadm -a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 1\n"
            "ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.12:80 -g -w 1\n"
        ),
        "-L -n",
    ],
}
