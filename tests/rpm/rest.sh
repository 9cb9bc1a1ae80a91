# What the service does on Red Hat's machine, after the swaps: read by swap.sh in both boots. /lab/results/NAME.out gets what was
# seen; test_rpm.py judges.

see() {
    name=$1
    shift
    "$@" >/lab/results/$name.out 2>&1
    echo "status $?" >>/lab/results/$name.out
}

journal() {
    journalctl --quiet --no-pager --output cat --unit ipvsadm.service --since "@$since" | grep '^ipvsadm: '
}

if [ $phase = 1 ]; then
    # `service ipvsadm save`, as Red Hat's service runs it.
    /lab/reference -A -f 99 -s rr
    see save env -i PATH="$PATH" TERM="$TERM" /usr/libexec/initscripts/legacy-actions/ipvsadm/save
    see saved grep -c '^-A -f 99 ' /etc/sysconfig/ipvsadm
    since=$(date +%s)
    /lab/reference -D -f 99
    see stop systemctl stop ipvsadm
    see stopped table
    see stop-saved cmp /etc/sysconfig/ipvsadm /lab/before
    see copy grep -c '^-A -f 99 ' /etc/sysconfig/ipvsadm.1
    see journal journal
    see start systemctl start ipvsadm
    see started sh -c '/lab/reference -S -n | cmp - /lab/before'
    see left-over ls -d /run/systemd/system/ipvsadm.service.d /var/lib/rpm-state/pyipvsadm
    see compiled sh -c 'ls /usr/lib/pyipvsadm/pyipvsadm/__pycache__ | grep -c cli.cpython-'
    see verify rpm -V pyipvsadm
    # What the shutdown saves, the next boot restores. The lab's unit would cut the power at once.
    /lab/reference -A -f 88 -s rr
    systemctl disable keepalived ldirectord 2>/dev/null
    mkdir -p /run/systemd/system/lab.service.d
    printf '[Service]\nExecStopPost=\n' >/run/systemd/system/lab.service.d/power.conf
    systemctl daemon-reload
    : >/lab/results/end-1.out
    systemctl poweroff
    sleep 300
else
    see boot table
    see boot-active systemctl is-active ipvsadm
    # Removed altogether, it leaves the table, and nothing else.
    # Debian's rpm warns of itself.
    see remove sh -c 'rpm -e pyipvsadm 2>/dev/null'
    see removed-table table
    see removed-files find /usr/lib/pyipvsadm /usr/libexec/pyipvsadm /usr/libexec/initscripts /usr/share/doc/pyipvsadm /var/lib/rpm-state/pyipvsadm \
        /run/systemd/system/ipvsadm.service.d /etc/systemd/system/multi-user.target.wants/ipvsadm.service -maxdepth 0
fi
