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

say() {
    echo "ipvsadm: $*"
}

# The Debian package ipvsadm starts, stops and restarts the service of this name when it comes and goes, through systemd mostly,
# which does not hand on its environment. What runs goes on running.
case ${1-} in
start | stop | restart | try-restart | reload | force-reload | load)
    if [ "${DPKG_MAINTSCRIPT_PACKAGE-}" = ipvsadm ] || grep -qsz '^DPKG_MAINTSCRIPT_PACKAGE=ipvsadm$' /proc/[0-9]*/environ; then
        say "everything is left as it is: the package ipvsadm comes or goes"
        exit 0
    fi
    ;;
esac

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
settings=@SETTINGS_FILE@
rules=@RULES_FILE@

# Print what the file of settings assigns, a line each. It runs in a shell of its own: `set -e', `exit' and the like end only
# that. Carriage returns, which an editor elsewhere has left, are dropped.
assigned() {
    (
        DAEMON=none IFACE=eth0 SYNCID=0 SAVE_ON_STOP=@SAVE_ON_STOP@ KEEP_WEIGHTS=no
        case $settings in */default/*) AUTO='' ;; *) AUTO=true ;; esac
        trap 'printf "%s\n" "$AUTO" "$DAEMON" "$IFACE" "$SYNCID" "$SAVE_ON_STOP" "$KEEP_WEIGHTS" >&3' EXIT
        eval "$1"
    ) 3>&1 >&2
}

# Debian's file of settings, below /etc/default, has a switch of its own: where the file is, nothing is touched unless it says
# AUTO="true".
AUTO=true
DAEMON=none
IFACE=eth0
SYNCID=0
SAVE_ON_STOP=@SAVE_ON_STOP@
KEEP_WEIGHTS=no
if [ -f "$settings" ]; then
    text=$(tr -d '\r' <"$settings") || exit 6
    if ! printf '%s\n' "$text" | sh -n; then
        say "cannot read $settings: it is no shell script" >&2
        exit 6
    fi
    {
        read -r AUTO
        read -r DAEMON
        read -r IFACE
        read -r SYNCID
        read -r SAVE_ON_STOP
        read -r KEEP_WEIGHTS
    } <<END
$(assigned "$text")
END
fi

case $KEEP_WEIGHTS in
yes | no | '') ;;
*)
    say "KEEP_WEIGHTS=$KEEP_WEIGHTS in $settings: it is yes or no" >&2
    exit 6
    ;;
esac
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
    if [ ! -f "$rules" ]; then
        say "cannot restore from $rules: it is no regular file; nothing was changed" >&2
        return 1
    fi
    errors=$("$program-restore" <"$rules" 2>&1)
    status=$?
    [ -z "$errors" ] || printf '%s\n' "$errors" >&2
    # The status of -R is that of the last line.
    case $status in
    0 | 255) ;;
    *)
        say "cannot restore from $rules: nothing was changed" >&2
        return $status
        ;;
    esac
    if [ $status = 255 ] || printf '%s\n' "$errors" | grep -q '^line [0-9]*: '; then
        say "not every line of $rules took effect: they are named above" >&2
    else
        say "restored from $rules"
    fi
}

start() {
    failed=0
    if automatic; then
        load || failed=$?
    fi
    for role in $roles; do
        if running=$("$program" -L --daemon | grep "^$role sync daemon "); then
            say "left as it is: $running"
            continue
        fi
        "$program" --start-daemon "$role" --mcast-interface "$IFACE" --syncid "${SYNCID:-0}" || failed=1
    done
    return "$failed"
}

# Whether the file of rules is not there, or holds rules only: a file of settings, which has another line somewhere, stays.
may_replace() {
    [ -e "$rules" ] || return 0
    if [ ! -f "$rules" ]; then
        say "cannot save to $rules: it is no regular file" >&2
        return 1
    fi
    line=$(sed -n '/^[[:space:]]*\([-#]\|$\)/!{=;q}' "$rules") || return
    [ -n "$line" ] || return 0
    say "cannot save to $rules: line $line is no rule; move the file away if it is not needed" >&2
    return 1
}

# Whether what runs is there to stay: a change that waits to be confirmed may be taken back, and is no rule for the next boot.
confirmed() {
    waiting=$("$program" --confirm --dry-run 2>/dev/null) || return 0
    say "nothing is saved: a change is not confirmed yet, ${waiting#dry run: would keep }; ipvsadm --confirm or --undo ends that" >&2
    return 1
}

# What adds services by itself, at work or at the next boot. Its services are no rules to restore.
find_manager() {
    for manager in keepalived ldirectord; do
        if grep -qsx "$manager" /proc/[0-9]*/comm ||
            { [ -d /run/systemd/system ] && systemctl --quiet is-enabled "$manager.service" 2>/dev/null; }; then
            echo $manager
            return
        fi
    done
}

# Write what runs to the file of rules, where the package has it so (Red Hat) and no setting says otherwise. The shell writes:
# SELinux may let it, and not the program. Fails when what runs would be lost.
save_before_stop() {
    [ "$SAVE_ON_STOP" = yes ] || return 0
    confirmed || return
    text=$("$program-save" -n) || return
    manager=$(find_manager)
    if [ -z "$text" ]; then
        say "nothing is saved: the table is empty"
    elif [ -n "$manager" ]; then
        say "nothing is saved: $manager manages the table (\`service ipvsadm save' saves it all the same)"
    elif [ -f "$rules" ] && [ "$(cat "$rules")" = "$text" ]; then
        say "nothing is to save: $rules has the same rules"
    else
        may_replace && keep_copies && write_rules || return
        say "saved to $rules"
        printf '%s\n' "$text" | sed -n 's/.* -w 0$/ipvsadm: saved with weight 0, it gets no new connections: &/p'
    fi
}

# The last five files of rules, NAME.1 is the newest.
keep_copies() {
    [ -s "$rules" ] || return 0
    for number in 4 3 2 1; do
        if [ -f "$rules.$number" ]; then mv -f "$rules.$number" "$rules.$((number + 1))" || return; fi
    done
    cp --preserve=all "$rules" "$rules.1"
}

# Put $text in the place of the file of rules: whole or not at all.
write_rules() {
    place=$(readlink -f "$rules") && new=$(mktemp "$place.XXXXXX") || return
    if [ -f "$place" ]; then cp --attributes-only --preserve=all "$place" "$new"; fi &&
        printf '%s\n' "$text" >"$new" && sync "$new" && mv -fT "$new" "$place" && return
    say "cannot write $rules: it is as it was" >&2
    rm -f "$new"
    return 1
}

# What is not there need not be stopped: it is said and no failure.
stop() {
    [ "$AUTO" != true ] || save_before_stop || return
    for role in $roles; do
        "$program" --stop-daemon "$role" || :
    done
    if automatic; then
        "$program" -C
    fi
}

save() {
    confirmed && may_replace || return
    "$program-save" -n -f "$rules" || return
    say "saved to $rules"
    [ "$AUTO" = true ] || say "they are not restored at boot: AUTO is not \"true\" in $settings"
}

# Name the rules of the file that the table lacks: refused at the start, or removed since. Nothing is changed.
name_lacking() {
    [ "$AUTO" = true ] && [ -f "$rules" ] || return 0
    lacking=$("$program" --apply "$rules" --keep-weights --dry-run 2>/dev/null | grep '^-[Aa] ') || return 0
    say "these rules of $rules are not in the table:"
    printf '%s\n' "$lacking"
}

# Show the table. As LSB has it: 0 when it holds anything or a sync daemon runs, 3 when there is neither, 4 when it cannot be told.
status() {
    "$program" -L -n | awk '{ print } END { exit NR > 3 ? 0 : NR ? 3 : 4 }'
    status=$?
    [ $status != 0 ] || name_lacking
    [ $status = 3 ] || return $status
    running=$("$program" -L --daemon) || return 4
    [ -n "$running" ] || return 3
    printf '%s\n' "$running"
}

case ${1-} in
start) start ;;
stop) stop ;;
restart | try-restart)
    stop && start
    ;;
reload | force-reload)
    if automatic; then
        case $KEEP_WEIGHTS in
        yes) "$program" --apply "$rules" --prune --keep-weights ;;
        *) "$program" --apply "$rules" --prune ;;
        esac
    fi
    ;;
load) load ;;
save) save ;;
status) status ;;
rate) "$program" -L -n --rate ;;
*)
    echo "Usage: $0 {start|stop|restart|try-restart|reload|force-reload|status|rate|load|save}" >&2
    exit 2
    ;;
esac
