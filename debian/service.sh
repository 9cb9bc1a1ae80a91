#!/bin/sh
# What starts, stops, reloads and saves the rules of IPVS: behind the systemd unit, and as /etc/init.d/ipvsadm for
# `service ipvsadm save` and for machines without systemd. Words in @ are filled in by `make install`.
#
### BEGIN INIT INFO
# Provides:          ipvsadm
# Required-Start:    $network $remote_fs
# Required-Stop:     $network $remote_fs
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: rules of IPVS (Linux Virtual Server)
# Description:       Restores the saved rules and starts the sync daemons.
### END INIT INFO

# Whoever calls it as an init script means the unit: systemd has to know what was started. It calls us by another name.
case $0 in
/etc/init.d/*)
    if [ -d /run/systemd/system ]; then
        case ${1-} in
        start | stop | restart | try-restart | reload | force-reload) exec systemctl "$1" ipvsadm.service ;;
        esac
    fi
    ;;
esac

PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
program=@SBINDIR@/ipvsadm
settings=@SYSCONFDIR@/default/ipvsadm
rules=@SYSCONFDIR@/ipvsadm.rules
redhat_rules=@SYSCONFDIR@/sysconfig/ipvsadm

say() {
    echo "ipvsadm: $*"
}

# Debian's file of settings has a switch of its own: where the file is, nothing is touched unless it says AUTO="true".
AUTO=true
DAEMON=none
IFACE=eth0
SYNCID=0
if [ -f "$settings" ]; then
    AUTO=
    # shellcheck source=/dev/null
    . "$settings"
fi
if [ ! -e "$rules" ] && [ -e "$redhat_rules" ]; then
    rules=$redhat_rules
fi

case $DAEMON in
master | backup) roles=$DAEMON ;;
both) roles="master backup" ;;
none | '') roles= ;;
*)
    say "DAEMON=$DAEMON in $settings: it is none, master, backup or both" >&2
    exit 6
    ;;
esac

# Whether the rules are ours to change; says so where they are not.
automatic() {
    [ "$AUTO" = true ] && return
    say "the rules are left as they are: AUTO is not \"true\" in $settings"
    return 1
}

# Best effort, as -R is: it has named each line that was refused; the others stand.
load() {
    if [ ! -e "$rules" ]; then
        say "no rules are restored: $rules is not there (\`service ipvsadm save' writes it)"
        return 0
    fi
    "$program-restore" <"$rules"
    status=$?
    case $status in
    0) say "restored from $rules" ;;
    255) say "not every line of $rules took effect: they are named above" >&2 ;;
    *)
        say "cannot restore from $rules: nothing was changed" >&2
        return $status
        ;;
    esac
}

start() {
    failed=0
    if automatic; then
        load || failed=$?
    fi
    for role in $roles; do
        "$program" --start-daemon "$role" --mcast-interface "$IFACE" --syncid "${SYNCID:-0}" || failed=1
    done
    return "$failed"
}

# What is not there need not be stopped: it is said and no failure.
stop() {
    for role in $roles; do
        "$program" --stop-daemon "$role" || :
    done
    if automatic; then
        "$program" -C
    fi
}

case ${1-} in
start) start ;;
stop) stop ;;
restart | try-restart)
    stop
    start
    ;;
reload | force-reload)
    if automatic; then
        "$program" --apply "$rules" --prune
    fi
    ;;
load) load ;;
save) "$program-save" -n -f "$rules" && say "saved to $rules" ;;
status) "$program" -L -n ;;
rate) "$program" -L -n --rate ;;
*)
    echo "Usage: $0 {start|stop|restart|try-restart|reload|force-reload|status|rate|load|save}" >&2
    exit 2
    ;;
esac
