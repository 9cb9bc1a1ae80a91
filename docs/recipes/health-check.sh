#!/bin/sh
# Health checks by a loop: a server that fails gets weight 0, and its own weight when it is back
#
#   health-check.sh -t 172.16.100.1:80        a service as ipvsadm names it: -t or -u HOST:PORT, -f MARK
#
# Servers and weights are those in the table. The weight of a server that is out is kept under STATE: neither a restart
# of this script nor one of the machine loses it. A server that somebody else gave weight 0 is left alone.
# With persistence: sysctl net.ipv4.vs.expire_quiescent_template=1, or its clients go on to a server at weight 0.
# As a unit of systemd, after `install -m 755 health-check.sh /usr/local/sbin':
#   [Service]
#   ExecStart=/usr/local/sbin/health-check.sh -t 172.16.100.1:80
#   Restart=always
#   [Install]
#   WantedBy=multi-user.target

INTERVAL=${INTERVAL:-5} # seconds between two rounds
TRIES=${TRIES:-3}       # failures in a row, a second apart, and the server is gone
PORT=${PORT:-}          # where to ask, if not at the server's port (it has none where the service is a mark)
LOG=${LOG:-/var/log/ipvsmonitor.log}
STATE=${STATE:-/var/lib/ipvsmonitor}

# Whether the server at this address and port is well. Replace it by what that means for your service.
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

# A server and its weight in the table. When ipvsadm refuses, it says why, and the next round tries again.
look() {
    kept=$STATE/$option$service/$1 # a server may be in several services
    if [ "$2" -gt 0 ]; then
        rm -f "$kept" # whoever gave it a weight has decided
        well "$1" && return
        echo "$2" >"$kept" || return
        if weigh "$1" 0; then say "$1 is gone"; else rm -f "$kept"; fi
    elif [ -s "$kept" ] && ask "$1" && weigh "$1" "$(cat "$kept")"; then
        rm -f "$kept"
        say "$1 is back"
    fi
}

# All servers at once: one that does not answer keeps no other waiting.
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
    wait # which a signal ends
done
kill $! 2>/dev/null
wait # for the round that was begun: nothing is changed after the end
