# Direct routing: the servers answer the clients themselves
#
# All on one network: director 172.16.100.2, virtual address 172.16.100.1, real servers 172.16.100.7 and 172.16.100.8,
# whose default route does not lead through the director. Ports cannot be translated.
# Each part is for the machines that its heading names; begin with the servers.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on each real server
# The server gets the virtual address, but must neither answer ARP for it nor announce it. These settings come first.
cat >/etc/sysctl.d/60-lvs.conf <<END
net.ipv4.conf.all.arp_ignore=1
net.ipv4.conf.all.arp_announce=2
END
sysctl -q -p /etc/sysctl.d/60-lvs.conf
ip address replace 172.16.100.1/32 dev lo

### on the director
ip address replace 172.16.100.1/32 dev eth0
ipvsadm -A -t 172.16.100.1:80 -s wlc
ipvsadm -a -t 172.16.100.1:80 -r 172.16.100.7 -g -w 2
ipvsadm -a -t 172.16.100.1:80 -r 172.16.100.8 -g -w 1

### on the director: check the set-up
ipvsadm --doctor

### on each real server: check the set-up
ipvsadm --doctor --real-server-for 172.16.100.1 --director 172.16.100.2
