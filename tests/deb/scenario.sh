# What happens on the machine, as root, once it has booted: `/bin/sh scenario.sh`. Each step leaves what it printed and its
# status in /lab/results, for test_deb.py to judge; the last one is `end`. /lab holds the package.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive TERM=dumb LANG=C.UTF-8 PAGER=cat SYSTEMD_COLORS=0
exec </dev/null
mkdir -p /lab/results /lab/www
cd /
apt="apt-get -y -q -o Dpkg::Use-Pty=0"

step() {
    name=$1
    shift
    echo "== $(cut -d ' ' -f 1 /proc/uptime) $name: $*"
    "$@" >/lab/results/$name.out 2>&1
    echo $? >/lab/results/$name.status
}

table() {
    /sbin/ipvsadm -L -n
    /sbin/ipvsadm -S -n
}

serve() {
    python3 -m http.server --bind 127.0.0.1 --directory /lab/www $1 >/dev/null 2>&1 &
}

# Until the table holds so many lines like this; half a minute at most, what it holds then is recorded and judged.
until_table() {
    tries=0
    while [ "$(/sbin/ipvsadm -S -n | grep -c -e "$1")" != "$2" ] && [ $tries -lt 60 ]; do
        sleep 0.5
        tries=$((tries + 1))
    done
}

# ldirectord from its start to its stop: it configures, quiesces a server that dies, takes it back, and clears up.
direct() {
    serve 8081
    steady=$!
    serve 8082
    failing=$!
    step $1-start service ldirectord start
    until_table '-w [53]$' 2
    step $1-configured table
    kill $failing
    until_table '-w 0$' 1
    step $1-quiesced table
    serve 8082
    failing=$!
    until_table '-w 0$' 0
    step $1-returned table
    step $1-stop service ldirectord stop
    until_table '10.99.0.1' 0
    step $1-cleared table
    kill $steady $failing
}

echo alive >/lab/www/index.html
cat >/etc/ha.d/ldirectord.cf <<'END'
checktimeout=3
checkinterval=1
autoreload=no
quiescent=yes
virtual=10.99.0.1:80
        real=127.0.0.1:8081 masq 5
        real=127.0.0.1:8082 masq 3
        service=http
        request="index.html"
        receive="alive"
        scheduler=wlc
        persistent=600
        protocol=tcp
        checktype=negotiate
END
sed -i 's/^AUTO=.*/AUTO="true"/' /etc/default/ipvsadm

# --- before: the reference alone, its script edited by the administrator
echo '# of my own' >>/etc/init.d/ipvsadm
step before-version /sbin/ipvsadm -v
direct reference
ipvsadm -A -t 10.0.0.1:80 -s rr
ipvsadm -a -t 10.0.0.1:80 -r 192.168.10.8:80 -m -w 7
step before-table table

# --- ours beside it
step install $apt install --no-install-recommends /lab/pyipvsadm.deb
step installed-table table
step version /sbin/ipvsadm -v
step aside /sbin/ipvsadm.distrib -v
step compiled ls /usr/lib/python3/dist-packages/pyipvsadm/__pycache__
step enabled systemctl is-enabled ipvsadm
step help-alone ipvsadm --help
step pretty-alone ipvsadm -L -n --pretty
step verify dpkg --verify pyipvsadm
step save service ipvsadm save
step saved cat /etc/ipvsadm.rules
ipvsadm -C
ipvsadm -A -f 9
step restart service ipvsadm restart
step restarted table
step status service ipvsadm status
ipvsadm -A -f 9
step reload service ipvsadm reload
step reloaded table
step stop service ipvsadm stop
step stopped table
step start service ipvsadm start
step started table
step init-status /etc/init.d/ipvsadm status
step service-list service --status-all
step units systemctl list-unit-files --no-pager 'ipvsadm*'
step daemon sh -c "sed -i 's/^DAEMON=.*/DAEMON=\"master\"/; s/^IFACE=.*/IFACE=\"lo\"/' /etc/default/ipvsadm && service ipvsadm restart"
step daemon-running ipvsadm -L --daemon
step bad-rules sh -c 'echo "-A -t nonsense" >/etc/ipvsadm.rules && service ipvsadm restart'
step bad-rules-status service ipvsadm status
ipvsadm -C
direct ours
step pages sh -c 'for each in ipvsadm ipvsadm-save ipvsadm-restore; do man $each || exit; done'
step bash bash -c '. /usr/share/bash-completion/bash_completion
for each in ipvsadm ipvsadm-save ipvsadm-restore; do _completion_loader $each; complete -p $each; done
COMP_LINE="ipvsadm --vers" COMP_POINT=14; _ipvsadm ipvsadm --vers; echo $COMPREPLY'
step zsh zsh -fc 'autoload -U compinit; compinit -u -d /tmp/zcompdump; echo $_comps[ipvsadm] $_comps[ipvsadm-save]'
step fish fish -c 'complete -C "ipvsadm --vers"'
step extras $apt install python3-click python3-pyroute2 python3-rich
step help ipvsadm --help
ipvsadm -A -t 10.0.0.1:80 -s rr
step pretty ipvsadm -L -n --pretty
step watch sh -c 'timeout 60 ipvsadm -L -n --watch=1 | head -4'

# --- and back
step remove $apt remove pyipvsadm
step removed-version /sbin/ipvsadm -v
step removed-table table
step removed-diversions dpkg-divert --list '*ipvsadm*'
step removed-files find / -xdev -path /lab -prune -o \( -name '*ipvsadm*distrib*' -o -name 'pyipvsadm' \) -print
step removed-script tail -1 /etc/init.d/ipvsadm
step removed-unit systemctl is-enabled ipvsadm
step removed-verify dpkg --verify ipvsadm
step removed-ldirectord dpkg-query --show --showformat '${db:Status-Status}' ldirectord

# --- ours alone, then the reference comes to it
sed -i '$d' /etc/init.d/ipvsadm
step again $apt install /lab/pyipvsadm.deb
step reference-purged $apt purge ipvsadm
step alone-ldirectord dpkg-query --show --showformat '${db:Status-Status}' ldirectord
step alone-version /sbin/ipvsadm -v
step alone-save service ipvsadm save
step alone-start service ipvsadm restart
step alone-table table
# The rules that we saved are no conffile that dpkg knows: it keeps them only when it is told to, or asks.
step reference-back $apt -o Dpkg::Options::=--force-confold install ipvsadm
step back-version /sbin/ipvsadm -v
step back-aside /sbin/ipvsadm.distrib -v
step purge $apt purge pyipvsadm
step purged-version /sbin/ipvsadm -v
step purged-diversions dpkg-divert --list '*ipvsadm*'
step purged-files find / -xdev -path /lab -prune -o \( -name '*ipvsadm*distrib*' -o -name 'pyipvsadm' \) -print

# --- and neither
$apt install /lab/pyipvsadm.deb
$apt purge ipvsadm
step neither $apt purge pyipvsadm
step neither-files find / -xdev -path /lab -prune -o -name '*ipvsadm*' ! -name '*.deb' ! -path '/var/*' ! -path '/run/*' ! -path '/proc/*' ! -path '/sys/*' -print
step failed systemctl --failed --no-legend
step end true
