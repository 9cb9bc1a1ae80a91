"""List cases of -R, ipvsadm-restore and ipvsadm-save: how they read and write text."""

from __future__ import annotations

from tests.cases.case import Cases, restore, run
from tests.cases.table_listing import EVERYTHING

RULES = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m\n"
BEFORE = "-A -t 10.0.0.1:80 -s rr\n"
AFTER = "\n-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m\n"

CASES: Cases = {
    "restore: rules": [restore(RULES), "-L -n"],
    "restore: everything, saved and restored again": [
        restore(EVERYTHING),
        "-S -n",
        "-C",
        restore(EVERYTHING),
    ],
    "restore: nothing": [
        restore(""),
        restore("\n"),
        restore("\n\n\n"),
        restore("   "),
        restore(" \t \n"),
        restore("\r\n"),
        restore("\r"),
        restore(" "),
        restore("\n \n "),
        restore("ipvsadm\n"),
        restore("ipvsadm"),
        restore("ipvsadm ipvsadm\n ipvsadm\n"),
    ],
    "restore: adds to what is there": [
        restore(RULES),
        restore(RULES),
        restore("-A -t 10.0.0.2:80 -s rr\n"),
        "-L -n",
    ],
    "restore: blank lines and blanks": [
        restore("\n\n-A -t 10.0.0.1:80 -s rr\n\n \n\t\n-A -t 10.0.0.1:81 -s rr\n\n"),
        restore("   -A   -t    10.0.0.1:82    -s rr   \n"),
        restore("\t-A\t-t\t10.0.0.1:83\t-s\trr\t\n"),
        restore(" \t -A \t -t 10.0.0.1:84 -s rr \t \n\n   -A -t 10.0.0.1:85 -s rr"),
    ],
    "restore: CR LF": [
        restore("-A -t 10.0.0.1:80 -s rr\r\n-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 5\r\n"),
        restore("-A -t 10.0.0.1:81 -s rr\r\n\r\n-A -t 10.0.0.1:82 -s rr\r\n"),
        restore("-A\r-t 10.0.0.1:83\r-s rr\r\r\n"),
        restore("-A -t 10.0.0.1:84 -s rr\r-A -t 10.0.0.1:85 -s rr\n"),
    ],
    "restore: other white space is not": [
        restore("-A -t 10.0.0.1:80\v-s\frr\n"),
        restore("-A -t 10.0.0.1:80\v -s rr\n"),
    ],
    "restore: no final line end": [
        restore("-A -t 10.0.0.1:80 -s rr"),
        restore("-A -t 10.0.0.1:81 -s rr\n-A -t 10.0.0.1:82 -s rr"),
        restore("-A -t 10.0.0.1:83 -s rr "),
        restore("-A -t 10.0.0.1:84 -s rr  "),
        restore("-A -t 10.0.0.1:85 -s rr\t\t"),
        restore("-A -t 10.0.0.1:86 -s rr\r"),
        restore("-A -t 10.0.0.1:87 -s rr   \n-A -t 10.0.0.1:88 -s rr   "),
        restore("-C"),
    ],
    "restore: no final line end behind blanks": [
        restore(f"-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.1.{at}:80 -m{end}")
        for at, end in enumerate(("", " ", "  ", "\t\t", " \r", "\r", "\t \t"), 1)
    ],
    "restore: the word ipvsadm": [
        restore("ipvsadm -A -t 10.0.0.1:80 -s rr\n"),
        restore("  ipvsadm   -A -t 10.0.0.1:81 -s rr\n"),
        restore("-A -t 10.0.0.1:82 -s rr ipvsadm\n"),
        restore("-A ipvsadm -t 10.0.0.1:83 ipvsadm -s ipvsadm rr\n"),
        restore("-A -t 10.0.0.1:84 -s ipvsadm\n"),
    ],
    "restore: the word ipvsadm with more about it": [
        restore("/sbin/ipvsadm -A -t 10.0.0.1:80 -s rr\n")
    ],
    "restore: comments": [
        restore("# a comment\n-A -t 10.0.0.1:80 -s rr\n"),
        restore("-A -t 10.0.0.1:81 -s rr\n#comment\n-A -t 10.0.0.1:82 -s rr\n"),
        restore("-A -t 10.0.0.1:83 -s rr # comment\n"),
        restore("-A -t 10.0.0.1:84 -s rr #comment\n"),
        restore("-A -t 10.0.0.1:85 -s rr\n  # indented\n"),
    ],
    "restore: quotes are not": [
        restore('-A -t "10.0.0.1:80" -s rr\n'),
        restore("-A -t 10.0.0.1:80 -s 'rr'\n"),
    ],
    "restore: commands of every kind": [
        restore(
            "-A -t 10.0.0.1:80 -s rr\n-L -n\n-a -t 10.0.0.1:80 -r 10.0.1.1 -w 3\n-L -n\n-S -n\n-Z\n"
            "-e -t 10.0.0.1:80 -r 10.0.1.1 -w 4\n-S\n-E -t 10.0.0.1:80 -s wrr\n-L -n -t 10.0.0.1:80\n"
            "-d -t 10.0.0.1:80 -r 10.0.1.1\n-L -n --stats\n-D -t 10.0.0.1:80\n--set 10 20 30\n-L --timeout\n-L -c\n"
        ),
        restore("-A -f 5 -s rr\n-C\n-A -f 6 -s rr\n"),
        restore("--start-daemon backup --mcast-interface lo\n-L --daemon\n"),
        restore("--stop-daemon backup\n-L --daemon\n"),
    ],
    "restore: lines the table refuses": [
        restore(f"-A -t 10.0.0.1:80 -s rr\n-A -t 10.0.0.1:80 -s rr{AFTER}"),
        "-C",
        restore(
            f"-a -t 10.0.0.1:80 -r 10.0.1.2\n{BEFORE}-D -t 10.0.0.1:81{AFTER}-Z -t 10.0.0.1:82\n"
        ),
        "-C",
        restore(f"{BEFORE}-A -t 10.0.0.1:81 -s bogus\n-a -t 10.0.0.1:80 -r 10.0.1.1 -x 1 -y 2\n"),
        "-C",
        restore(f"{BEFORE}-d -t 10.0.0.1:80 -r 10.0.1.1{AFTER}"),
        "-C",
        restore("--stop-daemon master\n--start-daemon master\n"),
    ],
    "restore: a line with an unknown option": [
        restore(f"{BEFORE}--clear --bogus{AFTER}"),
        "-C",
        restore(f"{BEFORE}-A -t 10.0.0.1:81 -q -s rr{AFTER}"),
        "-C",
        restore(f"{BEFORE}-A -t{AFTER}"),
        "-C",
        restore(f"{BEFORE}-C -n=5{AFTER}"),
        "-C",
        restore(f"{BEFORE}-A -t 10.0.0.1:81 --bogus\n"),
        "-C",
        restore(f"{BEFORE}-A -t 10.0.0.1:81 --bogus"),
    ],
    "restore: -R inside": [restore(f"{BEFORE}-R{AFTER}")],
    "restore: --restore inside": [restore(f"{BEFORE}--restore{AFTER}")],
    "restore: -R with an option inside": [restore(f"{BEFORE}-R -n{AFTER}")],
    "restore: -h inside": [restore(f"{BEFORE}-h{AFTER}")],
    "restore: a bad value inside": [
        restore(f"{BEFORE}-a -t 10.0.0.1:80 -r 10.0.1.2 -w 2147483648{AFTER}")
    ],
    "restore: a bad address inside": [restore(f"{BEFORE}-A -t junk -s rr{AFTER}")],
    "restore: a bad combination inside": [restore(f"{BEFORE}-A -t 10.0.0.1:81 -s rr -w 5{AFTER}")],
    "restore: what a command demands is missing inside": [
        restore(f"{BEFORE}-a -t 10.0.0.1:80{AFTER}")
    ],
    "restore: a stray word inside": [restore(f"{BEFORE}junk{AFTER}")],
    "restore: a stray word behind a rule": [
        restore(f"{BEFORE}-A -t 10.0.0.1:81 -s rr junk{AFTER}")
    ],
    "restore: no command inside": [restore(f"{BEFORE}-t 10.0.0.1:80 -A{AFTER}")],
    "restore: an unknown option first inside": [restore(f"{BEFORE}--bogus{AFTER}")],
    "restore: a second command inside": [restore(f"{BEFORE}-A -t 10.0.0.1:81 -D{AFTER}")],
    "restore: tunnel options without a tunnel inside": [
        restore(f"{BEFORE}-a -t 10.0.0.1:80 -r 10.0.1.2 --tun-csum{AFTER}")
    ],
    "restore: a port that is missing inside": [restore(f"{BEFORE}-A -t 10.0.0.1 -s rr{AFTER}")],
    "restore: a service that is not there is listed": [
        restore(f"{BEFORE}-L -n -t 10.0.0.1:81{AFTER}")
    ],
    "restore: conflicts of the list command inside": [
        restore(f"{BEFORE}-L --timeout --stats{AFTER}")
    ],
    "restore: the fault is on the first line": [restore(f"-A -t junk\n{BEFORE}")],
    "restore: the fault is on the last line": [restore(f"{BEFORE}-A -t junk")],
    "restore: more faults than one": [
        restore(f"{BEFORE}-A -q -t 10.0.0.2:80\n-A -t 10.0.0.1:80 -s rr\n-A -t junk\n-A junk\n")
    ],
    "restore: a listing, then a fault": [restore(f"{BEFORE}-L -n\n-A -t junk\n")],
    "restore: options of the command itself": [
        run("-R -n", RULES),
        run("-R junk", RULES),
        run("-R --bogus", RULES),
        run("-R -R", RULES),
        run("-R=", RULES),
        run("-R --", RULES),
        run("-RR", RULES),
    ],
    "restore: long tokens and lines": [
        restore(f"-A -t 10.0.0.1:80 -s {'x' * 1000}\n"),
        restore(f"-A -t 10.0.0.1:80 -s rr{' ' * 10000}-p{' ' * 5000}60\n"),
        restore("-A -t 10.0.0.1:81 -s rr" + " --sort" * 2000 + "\n"),
        restore(f"-A -t 10.0.0.1:82 -s rr -p {'0' * 4000}7\n"),
        restore("\n" * 5000 + "-A -t 10.0.0.1:83 -s rr" + "\n" * 5000),
    ],
    "restore: a long token that is a bad value": [restore(f"-A -f {'9' * 4000}\n")],
    "restore: bytes that are no text": [restore(b"-A -t caf\xe9:80 -s rr\n")],
    "restore: an unknown option of bytes that are no text": [
        restore(b"-A --caf\xe9\n-A -t 10.0.0.1:80 -s rr\n")
    ],
    "restore: a NUL ends a word": [
        restore(b"-A -t 10.0.0.1:80\0junk -s rr\n-A -t 10.0.0.1:81 -s rr\0 -p\n")
    ],
    "restore: a NUL alone is an empty word": [restore(b"-A -t 10.0.0.1:80 -s rr \0\n")],
    "restore: NULs elsewhere": [
        restore(b"ipvsadm\0x -A -t 10.0.0.1:80 -s rr\n"),
        restore(b"-A\0x -t 10.0.0.1:81 -s \0rr\n-L -n\n"),
        restore(b"-A -t 10.0.0.1:82 -s rr\n\0"),
    ],
    "restore: only --": [restore("--\n")],
    "restore: -- ends the options of a line": [
        restore("-A -t 10.0.0.1:80 -s rr --\n-C --\n-A -t 10.0.0.1:81 -s rr\n")
    ],
    "restore: blanks at the end": [
        restore("-A -t 10.0.0.1:80 -s rr\n  "),
        restore("-A -t 10.0.0.1:81 -s rr\n \r\n\t"),
    ],
    "restore: words in the order of -S": [
        restore(
            "-A -t vip.example.com:http -s rr\n-a -t vip.example.com:http -r web1.example.com:http -g -w 1\n"
            "-A -f 5 -6 -s rr -p 360\n-a -f 5 -6 -r [2001:db8::11]:0 -g -w 1\n"
        ),
        "-S",
    ],
    "restore: many rules": [
        restore(
            "".join(f"-A -t 10.1.{at // 250}.{at % 250 + 1}:80 -s rr\n" for at in range(40))
            + "".join(
                f"-a -t 10.1.{at // 250}.{at % 250 + 1}:80 -r 10.2.0.{server}:80 -m -w {server}\n"
                for at in range(40)
                for server in range(1, 4)
            )
        ),
        "-S -n",
    ],
    "ipvsadm-restore": [
        restore(RULES, "ipvsadm-restore"),
        restore(RULES, "ipvsadm-restore"),
        restore("-A -t 10.0.0.2:80 -s rr", "ipvsadm-restore"),
        restore(
            "# comment\n-A -t 10.0.0.3:80 -s rr\n#-A -t 10.0.0.4:80 -s rr\n", "ipvsadm-restore"
        ),
        restore("\n\n  -A -t 10.0.0.5:80 -s rr  \n\n", "ipvsadm-restore"),
        restore("-A -t 10.0.0.6:80 -s rr\r\n", "ipvsadm-restore"),
        restore("", "ipvsadm-restore"),
    ],
    "ipvsadm-restore: a line the table refuses": [
        restore(RULES, "ipvsadm-restore"),
        restore(
            "-A -t 10.0.0.2:80 -s rr\n-A -t 10.0.0.2:80 -s rr\n-A -t 10.0.0.3:80 -s rr\n",
            "ipvsadm-restore",
        ),
        restore("-A -t 10.0.0.2:80 -s rr\n-A -t 10.0.0.2:80 -s rr\n", "ipvsadm-restore"),
    ],
    "ipvsadm-restore: a bad line": [
        restore(RULES, "ipvsadm-restore"),
        restore("-A -t 10.0.0.2:80 -s rr\n-A -t junk\n", "ipvsadm-restore"),
    ],
    "ipvsadm-restore: a comment that is indented": [
        restore(RULES, "ipvsadm-restore"),
        restore(
            "-A -t 10.0.0.2:80 -s rr\n # comment\n-A -t 10.0.0.3:80 -s rr\n", "ipvsadm-restore"
        ),
    ],
    "ipvsadm-save": [
        restore(EVERYTHING),
        run("-n", program="ipvsadm-save"),
        run("", program="ipvsadm-save"),
        run("-n -n", program="ipvsadm-save"),
        run("file", program="ipvsadm-save"),
        run("-n file", program="ipvsadm-save"),
        run("-x", program="ipvsadm-save"),
        run("--help", program="ipvsadm-save"),
        run("-nn", program="ipvsadm-save"),
        run("-n -x", program="ipvsadm-save"),
    ],
}
