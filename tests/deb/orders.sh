# What happens when both packages come and go, as root: `/bin/sh orders.sh` in a booted tree (the table is the kernel's), or with
# IPVSADM_BACKEND=memory:/table in one that is not booted (its service is run by the scripts of init). /lab holds the packages and
# the orders. /lab/results/NAME.out gets a line an action: its status, and what is not as it was. test_deb.py judges.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive TERM=dumb LANG=C.UTF-8
exec </dev/null
mkdir -p /lab/results
cd /

service='-A -t 10.0.0.1:80 -s rr'
server='-a -t 10.0.0.1:80 -r 192.168.10.8:80 -m -w 7'

# The kernel's table is read by a copy of the reference that no package touches.
table() {
    if [ -n "$IPVSADM_BACKEND" ]; then grep -s '10.0.0.1:80' /table; else /lab/reference -S -n; fi
}

# What the administrator has: rules that run, and are saved, and Debian's switch. A purge of ipvsadm deletes the files.
furnish() {
    printf 'AUTO="true"\n' >/etc/default/ipvsadm
    printf '%s\n' "$service" "$server" >/etc/ipvsadm.rules
}

# Whose unit or script is run at the next boot.
boots() {
    [ -x /usr/sbin/ipvsadm ] || return
    if [ -e /usr/lib/systemd/system/ipvsadm.service ]; then
        ls /etc/systemd/system/*.wants/ipvsadm.service >/dev/null 2>&1 || return 1
        grep -q pyipvsadm /usr/lib/systemd/system/ipvsadm.service && echo ours || echo theirs
    else
        [ -x /etc/init.d/ipvsadm ] && ls /etc/rc3.d/S??ipvsadm >/dev/null 2>&1 && echo theirs
    fi
}

act() {
    case $1 in
    ours | ours-next | theirs | theirs-12 | theirs-13 | theirs-next) dpkg --force-confold -i /lab/$1.deb ;;
    remove-ours) dpkg --force-depends -r pyipvsadm ;;
    remove-theirs) dpkg --force-depends -r ipvsadm ;;
    purge-ours) dpkg --force-depends -P pyipvsadm ;;
    purge-theirs) dpkg --force-depends -P ipvsadm ;;
    enable) systemctl enable ipvsadm ;;
    start) /etc/init.d/ipvsadm start ;;
    esac
}

has_ours() {
    [ "$(dpkg-query --show --showformat '${db:Status-Status}' pyipvsadm 2>/dev/null)" = installed ]
}

# Go through the actions of an order; the table is looked at where ours is there before or after.
order() {
    name=$1
    shift
    dpkg --force-depends -P pyipvsadm ipvsadm >/dev/null 2>&1
    furnish
    if [ -n "$IPVSADM_BACKEND" ]; then
        printf '%s\n' "$service" "$server" >/table
    else
        printf '%s\n' -C "$service" "$server" | while read -r line; do /lab/reference $line; done
    fi
    for action; do
        echo "== $(cut -d ' ' -f 1 /proc/uptime) $name: $action"
        had=no
        has_ours && had=yes
        act $action >/lab/output 2>&1
        told="$action: status $?"
        has_ours && had=yes
        [ $had = no ] || [ "$(table)" = "$(printf '%s\n' "$service" "$server")" ] || told="$told, the table is another"
        furnish
        # Of files that are the administrator's only what is missing counts.
        files=$(dpkg --verify ipvsadm 2>/dev/null; dpkg --verify pyipvsadm 2>/dev/null)
        files=$(printf '%s' "$files" | grep -v '^??5?????? c /etc/')
        [ -z "$files" ] || told="$told, files: $files"
        if has_ours; then
            /etc/init.d/ipvsadm status >/dev/null 2>&1 || told="$told, /etc/init.d/ipvsadm status $?"
        fi
        echo "$told, at boot $(boots || echo neither)" >>/lab/results/$name.out
        case $told in *": status 0") ;; *) cat /lab/output ;; esac
    done
}

phase=$(cat /lab/phase 2>/dev/null || echo 1)
echo $((phase + 1)) >/lab/phase
if [ $phase = 1 ]; then
    cp /usr/sbin/ipvsadm /lab/reference
    while read -r line; do
        [ -z "$line" ] || order $line
    done </lab/orders
    [ -n "$IPVSADM_BACKEND" ] || order boots ours enable theirs
else
    table >/lab/results/boot-$phase.out
    systemctl is-active ipvsadm >>/lab/results/boot-$phase.out
    case $phase in
    2) dpkg --force-depends -P ipvsadm ;;
    3) dpkg --force-confold -i /lab/theirs.deb && dpkg --force-depends -r pyipvsadm ;;
    esac >/lab/output 2>&1 || cat /lab/output
    furnish
fi
: >/lab/results/end-$phase.out
