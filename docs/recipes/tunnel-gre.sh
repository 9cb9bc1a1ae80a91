# Tunnelling (gre): like ipip, for networks that let only GRE through
#
# Director 172.16.100.2, virtual address 172.16.100.1. Real servers 192.0.2.7 and 198.51.100.8, which answer the clients
# themselves, each by its own router (it must let packets from the virtual address out). Ports cannot be translated.
# Each part is for the machines that its heading names; begin with the servers. There must be room for 24 bytes more
# in each packet.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on each real server
modprobe ip_gre
ip link set gre0 up
# Requests come from the tunnel, but answers leave elsewhere: the check of reverse paths must be off.
cat >/etc/sysctl.d/60-lvs.conf <<END
net.ipv4.conf.all.rp_filter=0
net.ipv4.conf.gre0.rp_filter=0
END
sysctl -q -p /etc/sysctl.d/60-lvs.conf
ip address replace 172.16.100.1/32 dev lo
# A server in the director's own network must also not answer ARP for this address: see direct-routing.sh.

### on the director
ip address replace 172.16.100.1/32 dev eth0
ipvsadm -A -t 172.16.100.1:80 -s rr
ipvsadm -a -t 172.16.100.1:80 -r 192.0.2.7 -i --tun-type gre
ipvsadm -a -t 172.16.100.1:80 -r 198.51.100.8 -i --tun-type gre

### on the director: check the set-up
ipvsadm --doctor

### on each real server: check the set-up
ipvsadm --doctor --real-server-for 172.16.100.1 -i --tun-type gre
