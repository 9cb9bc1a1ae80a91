#!/bin/sh
# Health checks by a loop: a server that fails gets weight 0, and its own weight when it works again
#
#   health-check.sh -t 172.16.100.1:80        a service, as for ipvsadm: -t or -u HOST:PORT, -f MARK
#
# Servers and weights are those in the table. The weight of a server that failed is kept under STATE, and survives a
# restart of this script or of the machine. A server that you gave weight 0 is left alone.
# With persistence, set net.ipv4.vs.expire_quiescent_template=1; otherwise its clients still go to a server of weight 0.
# As a unit of systemd, after `install -m 755 health-check.sh /usr/local/sbin':
#   [Service]
#   ExecStart=/usr/local/sbin/health-check.sh -t 172.16.100.1:80
#   Restart=always
#   [Install]
#   WantedBy=multi-user.target

INTERVAL=${INTERVAL:-5} # seconds between two rounds
TRIES=${TRIES:-3}       # a server is gone after so many failures in a row, a second apart
PORT=${PORT:-}          # the port to check, if not the server's (needed for marks: their servers have none)
LOG=${LOG:-/var/log/ipvsmonitor.log}
STATE=${STATE:-/var/lib/ipvsmonitor}

# Succeed if the server at this address and port works. Replace this by a check that fits your service.
check() {
    curl -gfs -o /dev/null --connect-timeout 1 --max-time 3 "http://$1:$2/"
}

ask() {
    check "${1%:*}" "${PORT:-${1##*:}}"
}

well() {
    try=1
    until ask "$1"; do
        [ "$try" -lt "$TRIES" ] || return 1
        try=$((try + 1))
        sleep 1
    done
}

say() {
    echo "$(date '+%F %T'), $*" >>"$LOG"
}

weigh() {
    ipvsadm -e "$option" "$service" -r "$1" -w "$2" --keep
}

# Check a server; its weight in the table is given. If ipvsadm refuses, it says why, and the next round tries again.
look() {
    kept=$STATE/$option$service/$1 # a server may be in several services
    if [ "$2" -gt 0 ]; then
        rm -f "$kept" # somebody gave it a weight: that counts
        well "$1" && return
        echo "$2" >"$kept" || return
        if weigh "$1" 0; then say "$1 is gone"; else rm -f "$kept"; fi
    elif [ -s "$kept" ] && ask "$1" && weigh "$1" "$(cat "$kept")"; then
        rm -f "$kept"
        say "$1 is back"
    fi
}

# Check all servers at once: the others do not wait for one that does not answer.
round() {
    ipvsadm -L -n "$option" "$service" | {
        while read -r arrow server _ weight _; do
            [ "$arrow" = '->' ] && [ "$weight" != Weight ] && look "$server" "$weight" &
        done
        wait
    }
}

[ $# = 2 ] || { echo "usage: $0 -t|-u|-f SERVICE" >&2 && exit 2; }
option=$1 service=$2
mkdir -p "$STATE/$option$service" || exit
ended=
trap 'ended=1' TERM INT
while [ -z "$ended" ]; do
    round &
    sleep "$INTERVAL" &
    wait # a signal ends it
done
kill $! 2>/dev/null
wait # for the round that has begun: nothing changes after the end
