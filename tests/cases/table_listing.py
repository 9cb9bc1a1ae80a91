"""List cases of listing and saving: formats, names, and order."""

from __future__ import annotations

from tests.cases.case import Cases, Written, restore

# One of each thing that a listing shows.
EVERYTHING = """\
-A -t 10.0.0.1:80 -s wlc -p 300 -M 255.255.255.0
-a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 1
-a -t 10.0.0.1:80 -r 10.0.0.12:80 -i -w 65535
-A -t 10.0.0.1:443 -s sh -b sh-port,sh-fallback
-a -t 10.0.0.1:443 -r 10.0.0.11:8443 -m -w 0 -x 2000 -y 1000
-a -t 10.0.0.1:443 -r 10.0.0.99:443 -m -w 3 -x 2147483647
-A -u 10.0.0.1:53 -s rr -o
-a -u 10.0.0.1:53 -r 10.0.0.11:53 -i --tun-type gue --tun-port 6080 --tun-csum
-a -u 10.0.0.1:53 -r 10.0.0.12:53 -i --tun-type gre
-A -u 10.0.0.1:5060 -s rr -p 60 --pe sip
-A --sctp-service 10.0.0.1:3565 -s lc
-a --sctp-service 10.0.0.1:3565 -r 10.0.0.11:3565 -m
-A -t [2001:db8::1]:80 -s mh -b mh-port -p 90 -M 64
-a -t [2001:db8::1]:80 -r [2001:db8::11]:80 -g
-a -t [2001:db8::1]:80 -r [2001:db8::99]:8080 -m
-a -t [2001:db8::1]:80 -r 10.0.0.12:80 -i
-A -u [2001:db8:1111:2222:3333:4444:5555:6666]:65535 -s rr
-a -u [2001:db8:1111:2222:3333:4444:5555:6666]:65535 -r [2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535 -m -w 10000
-A -f 7 -s nq
-a -f 7 -r 10.0.0.11:0 -g
-A -f 7 -6 -s rr -p 360
-a -f 7 -6 -r [2001:db8::11]:0 -i --tun-type gue --tun-port 65535 --tun-remcsum
-A -t 255.255.255.255:65535 -s lblcr
-a -t 255.255.255.255:65535 -r 255.255.255.254:65535 -m -w 65535
"""

FORMATS = ("", "--stats", "--rate", "--thresholds", "--persistent-conn", "--tun-info", "--stats --exact", "--rate --exact",
           "--exact", "--nosort --sort", "--syncid 5", "--stats --rate", "--rate --thresholds",
           "--thresholds --persistent-conn", "--persistent-conn --tun-info", "--stats --tun-info")  # fmt: skip

SERVICES = ("-t 10.0.0.1:443", "-u 10.0.0.1:53", "--sctp-service 10.0.0.1:3565", "-t [2001:db8::1]:80", "-f 7", "-f 7 -6",
            "-t vip:http", "-u 10.0.0.1:5060")  # fmt: skip


def servers(*addresses: str, method: str = "-m", service: str = "-t 10.0.0.1:80") -> list[Written]:
    """Return steps that add servers in this order and list them: in the table's order the last is
    the first.
    """
    return [
        f"-A {service} -s rr",
        *(f"-a {service} -r {address} {method}" for address in addresses),
        "-L -n",
        "-L -n --nosort",
        "-S -n",
    ]


def services(*named: str) -> list[Written]:
    return [*(f"-A {service} -s rr" for service in named), "-L -n", "-L -n --stats", "-S -n"]


CASES: Cases = {
    "list: an empty table": [
        "",
        "-L",
        "-L -n",
        "-S",
        "-S -n",
        *(f"-L -n {how}" for how in FORMATS[1:]),
        "-L -c",
        "-L -c -n --persistent-conn",
        "-L -c --tun-info --nosort --exact",
    ],
    "list: everything in numbers": [restore(EVERYTHING), *(f"-L -n {how}".rstrip() for how in FORMATS if "nosort" not in how)],
    "list: everything by name": [
        restore(EVERYTHING), "", *(f"-L {how}".rstrip() for how in FORMATS[:6]), "-S", "-S -n", "-l",
    ],
    "list: one service": [
        restore(EVERYTHING),
        *(f"-L -n {service}" for service in SERVICES),
        *(f"-L {service}" for service in SERVICES),
        *(f"-L -n {how} {SERVICES[0]}".replace("  ", " ") for how in FORMATS),
        "-L -n --nosort -t [2001:db8::1]:80",
    ],
    "list: one service that is not there": [
        restore(EVERYTHING),
        "-L -n -t 10.0.0.1:81",
        "-L -u 10.0.0.1:80",
        "-L -n --stats -t 10.0.0.1:81",
        "-L -n -t 10.0.0.1",
        "-L -n -t 10.0.0.1:0",
        "-L -n -f 8",
        "-L -n -f 8 -6",
        "-L -n -t [2001:db8::2]:80",
        "-L -n -t junk",
        "-L -n -t 10.0.0.1:junk",
        "-L -n -f 0",
        "-L -n --sctp-service [::1]",
    ],
    "list: conflicts": [
        "-L -c --stats",
        "-L -c --rate",
        "-L -c --thresholds",
        "-L -c --persistent-conn",
        "-L -c --exact",
        "-L --timeout --stats",
        "-L --timeout --rate",
        "-L --timeout --thresholds",
        "-L --timeout --persistent-conn",
        "-L --timeout --nosort",
        "-L --daemon --stats",
        "-L --daemon --rate",
        "-L --daemon --thresholds",
        "-L --daemon --persistent-conn",
        "-L --daemon --tun-info",
        "-L -c --timeout --stats",
        "-L -n --stats --rate --thresholds",
        "-L -t 10.0.0.1:80 --timeout",
    ],
    "list: names that are too long": [
        "-A -t 10.0.0.99:80 -s rr",
        "-a -t 10.0.0.99:80 -r 10.0.0.99:8080 -m",
        "-a -t 10.0.0.99:80 -r 10.0.0.11:80 -m",
        "-L",
        "-L --stats",
        "-L -t 10.0.0.99:80",
        "-L -n",
    ],
    "list: IPv6 names that are too long": [
        "-A -t [2001:db8::99]:80 -s rr",
        "-a -t [2001:db8::99]:80 -r [2001:db8::99]:8080 -m",
        "-L",
        "-L --rate",
        "-L -n",
    ],
    "save: names that are too long": [
        "-A -t 10.0.0.99:80 -s rr",
        "-a -t 10.0.0.99:80 -r 10.0.0.99:8080 -m",
        "-S",
        "-S -n",
    ],
    "save: IPv6 names": [
        "-A -t [2001:db8::1]:80 -s rr",
        "-a -t [2001:db8::1]:80 -r [2001:db8::11]:80",
        "-S",
        "-S -n",
    ],
    "list: wide numbers": [
        "-A -t 255.255.255.255:65535 -s lblcr -p 2678400 -M 255.255.255.128 -b flag-1,flag-2,flag-3",
        "-a -t 255.255.255.255:65535 -r 255.255.255.254:65535 -m -w 65535 -x 2147483647 -y 2147483647",
        "-A -u [ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 -s lblcr -p 2678400 -M 127",
        ("-a -u [ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 -r [2fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 -i"
        " --tun-type gue --tun-port 65535 --tun-remcsum -w 65535"),
        "-A -f 2147483647 -6 -s rr",
        "-L -n",
        "-L",
        "-L -n --stats",
        "-L -n --thresholds",
        "-L -n --persistent-conn",
        "-L -n --tun-info",
        "-S -n",
    ],
    "sort: services by protocol, family and mark": services(
        "-f 2", "--sctp-service [fd00::1]:80", "-u [fd00::1]:80", "-t [fd00::1]:80", "-f 1 -6", "-f 2147483647", "-f 1",
        "--sctp-service 10.0.0.1:80", "-u 10.0.0.1:80", "-t 10.0.0.1:80", "-t 10.0.0.1:8080", "-t 10.0.0.1:79",
        "-t 9.0.0.1:90",
    ),
    "sort: services by address, within half the space": services(
        "-t 10.0.0.2:80", "-t 10.0.0.1:80", "-t 127.255.255.255:80", "-t 1.2.3.4:80", "-t 100.0.0.1:80",
    ),
    "sort: services by address, on both sides of the middle": services(
        "-t 128.0.0.1:80", "-t 127.0.0.1:80", "-t 172.16.0.1:80", "-t 100.0.0.1:80", "-t 192.168.0.1:80",
    ),
    "sort: services by address, further apart than half the space": services(
        "-t 10.0.0.1:80", "-t 192.168.0.1:80", "-t 10.0.0.1:79", "-t 172.16.0.1:80", "-t 192.168.0.1:81",
    ),
    "sort: services by IPv6 address": services(
        "-t [fd00::2]:80", "-t [fd00::1]:80", "-t [fd00::1:0:0:0]:80", "-t [fd00:0:1::]:80", "-t [fc00::1]:80",
        "-t [fd00::1]:79", "-t [fe80::1]:80",
    ),
    "sort: services by IPv6 address, further apart than half the space": services(
        "-t [::1]:80", "-t [fd00::1]:80", "-t [2001:db8::1]:80",
    ),
    "sort: services by IPv6 address, a later word": services(
        "-t [fd00::ffff:0:0:0]:80", "-t [fd00::1:0:0:0]:80", "-t [fd00::ffff:0:1]:80", "-t [fd00::1:0:1]:80",
    ),
    "sort: servers by address and port": servers(
        "10.0.1.2", "10.0.1.1:90", "10.0.1.1:80", "10.0.1.1:65535", "10.0.0.255", "10.0.1.3", "9.255.0.1",
    ),
    "sort: servers on both sides of the middle": servers(
        "128.0.0.1", "127.0.0.1", "172.16.0.1", "100.0.0.1", "192.168.0.1",
    ),
    "sort: servers further apart than half the space": servers(
        "10.0.1.1", "192.168.1.1", "192.168.1.2", "172.16.0.1", "10.0.1.2",
    ),
    "sort: servers that are half the space apart": servers("10.0.0.1", "138.0.0.1"),
    "sort: servers half the space and one apart": servers("10.0.0.1", "138.0.0.2"),
    "sort: servers without a gap, ascending": servers("10.0.0.1", "100.0.0.1", "200.0.0.1"),
    "sort: servers without a gap, descending": servers("200.0.0.1", "100.0.0.1", "10.0.0.1"),
    "sort: servers without a gap, many": servers(
        "10.0.0.1", "60.0.0.1", "110.0.0.1", "160.0.0.1", "210.0.0.1", "250.0.0.1", "30.0.0.1", "130.0.0.1",
    ),
    "sort: IPv6 servers": servers(
        "[fd00::2]:80", "[fd00::1]:80", "[2001:db8::1]:80", "[2001:db8::1]:79", "[::1]:80", "[2fff::1]:80",
        service="-t [fd00::1]:80",
    ),
    "sort: servers of both families": servers(
        "fd00::2", "10.0.0.1", "fd00::1", "192.168.0.1", "2001:db8::1", "10.0.0.2", method="-i",
    ),
}  # fmt: skip
