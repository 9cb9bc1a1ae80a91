# One package in the place of the other and back, on a director at work, as root: `/bin/sh swap.sh` in a booted tree. /lab holds
# the packages, the actions, a line each, and the reference's program, which no package touches. The director has 20 rules, which
# are saved and restored at boot, and an open connection over it. /lab/results/swap.out gets a line an action: its status, and
# what is not as it was. test_deb.py and tests/rpm judge.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive TERM=dumb LANG=C.UTF-8
exec </dev/null
mkdir -p /lab/results
cd /
rules_file=/etc/ipvsadm.rules
[ -d /etc/yum.repos.d ] && rules_file=/etc/sysconfig/ipvsadm

table() {
    /lab/reference -S -n
}

# Client, director (this machine) and real server, and 20 rules; the connection goes to the one server with a weight.
furnish() {
    for host in client real; do
        ip netns add $host
        ip link add name to-$host type veth peer name eth0 netns $host
        ip link set to-$host up
        ip -n $host link set eth0 up
        ip -n $host link set lo up
    done
    ip address add 172.16.0.1/24 dev to-client
    ip address add 192.168.10.1/24 dev to-real
    ip -n client address add 172.16.0.2/24 dev eth0
    ip -n real address add 192.168.10.2/24 dev eth0
    ip -n real route add default via 192.168.10.1
    echo 1 >/proc/sys/net/ipv4/ip_forward
    {
        echo '-A -t 172.16.0.1:80 -s rr'
        echo '-a -t 172.16.0.1:80 -r 192.168.10.2:8080 -m -w 1'
        for last in 3 4 5 6; do echo "-a -t 172.16.0.1:80 -r 192.168.10.$last:8080 -m -w 0"; done
        for service in '-t 10.0.0.2:80' '-u 10.0.0.3:53' '-f 7'; do
            echo "-A $service -s wlc"
            for last in 2 3 4 5; do
                [ "$service$last" = '-f 75' ] || echo "-a $service -r 192.168.20.$last -m -w $last"
            done
        done
    } | sed '/-[tu]/s/\(-r 192.168.20[^ ]*\)/\1:80/; /:53/s/:80/:53/' >/lab/rules
    while read -r line; do /lab/reference $line; done </lab/rules
    table >/lab/before
    cp /lab/before $rules_file
    [ ! -d /etc/default ] || [ -d /etc/yum.repos.d ] || printf 'AUTO="true"\n' >/etc/default/ipvsadm
    systemctl enable ipvsadm
    systemctl start ipvsadm
}

connect() {
    ip netns exec real python3 /lab/connection.py serve 192.168.10.2 8080 &
    sleep 3
    ip netns exec client python3 /lab/connection.py ask 172.16.0.1 80 /lab/echoes &
    client=$!
    sleep 5
}

# Whether the connection that was opened at the start still carries data both ways.
connected() {
    before=$(cat /lab/echoes)
    sleep 3
    kill -0 $client 2>/dev/null && [ "$(cat /lab/echoes)" -gt "$before" ]
}

act() {
    case $1 in
    ours | ours-again | theirs) dpkg --force-confold -i "/lab/${1%-again}.deb" ;;
    remove-ours) dpkg --force-depends -r pyipvsadm ;;
    remove-theirs) dpkg --force-depends -r ipvsadm ;;
    swap-to-ours) dnf --quiet --assumeyes --releasever=9 --setopt=install_weak_deps=0 swap ipvsadm pyipvsadm ;;
    swap-to-theirs) dnf --quiet --assumeyes --releasever=9 swap pyipvsadm ipvsadm ;;
    upgrade) rpm -U /lab/ours-next.rpm ;;
    esac
}

phase=$(cat /lab/phase 2>/dev/null || echo 1)
echo $((phase + 1)) >/lab/phase
if [ $phase = 1 ]; then
    furnish >/lab/output 2>&1 || cat /lab/output
    wc -l </lab/before >/lab/results/rules.out
    connect
    connected && echo connected >/lab/results/connected.out
    while read -r action; do
        echo "== $(cut -d ' ' -f 1 /proc/uptime) $action"
        act $action >/lab/output 2>&1
        told="$action: status $?"
        table | cmp -s - /lab/before || told="$told, the table is another"
        cmp -s $rules_file /lab/before || told="$told, the saved rules are others"
        connected || told="$told, the connection is broken"
        told="$told, $(systemctl is-enabled ipvsadm 2>/dev/null || echo not enabled), $(ipvsadm -v 2>&1 | grep -o pyipvsadm || echo theirs)"
        echo "$told" >>/lab/results/swap.out
        cat /lab/output
    done </lab/actions
    [ ! -f /lab/rest.sh ] || . /lab/rest.sh
elif [ -f /lab/rest.sh ]; then
    . /lab/rest.sh
fi
: >/lab/results/end-$phase.out
