# At boot: restore rules, addresses and settings
#
# First: direct-routing.sh
# Settings in /etc/sysctl.d are set at boot. The addresses here are for systemd-networkd; ifupdown, NetworkManager and
# others have files of their own. Other settings of the interface stay in the same file.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on the director
service ipvsadm save            # again after each change that you want to keep
[ ! -e /etc/default/ipvsadm ] || sed -i 's/^AUTO=.*/AUTO="true"/' /etc/default/ipvsadm    # Debian's switch
systemctl -q enable ipvsadm
cat >/etc/systemd/network/eth0.network <<END
[Match]
Name=eth0
[Network]
Address=172.16.100.2/24
Address=172.16.100.1/32
END

### on each real server
cat >/etc/systemd/network/lo.network <<END
[Match]
Name=lo
[Network]
Address=172.16.100.1/32
END

# `service ipvsadm save' writes /etc/ipvsadm.rules; at boot the unit restores it with ipvsadm-restore.
# Without the unit: ipvsadm-save -n -f FILE, and ipvsadm-restore <FILE.
