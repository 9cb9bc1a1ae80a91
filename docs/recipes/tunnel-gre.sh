# Tunnelling (gre): as ipip, where only GRE gets through
#
# Director 172.16.100.2, virtual address 172.16.100.1. Real servers 192.0.2.7 and 198.51.100.8, which answer the clients
# themselves, each by its own router (it must let packets from the virtual address out). Ports cannot be translated.
# Each part is for the machines that are named over it; begin with the servers. There must be room for 24 bytes more
# in each packet.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on each real server
modprobe ip_gre
ip link set gre0 up
# Requests come out of the tunnel, answers go another way: no check of reverse paths.
cat >/etc/sysctl.d/60-lvs.conf <<END
net.ipv4.conf.all.rp_filter=0
net.ipv4.conf.gre0.rp_filter=0
END
sysctl -q -p /etc/sysctl.d/60-lvs.conf
ip address replace 172.16.100.1/32 dev lo
# In the director's own network it must be silent about that address, too: see direct-routing.sh.

### on the director
ip address replace 172.16.100.1/32 dev eth0
ipvsadm -A -t 172.16.100.1:80 -s rr
ipvsadm -a -t 172.16.100.1:80 -r 192.0.2.7 -i --tun-type gre
ipvsadm -a -t 172.16.100.1:80 -r 198.51.100.8 -i --tun-type gre

### on the director: is all well?
ipvsadm --doctor

### on each real server: is all well?
ipvsadm --doctor --real-server-for 172.16.100.1 -i --tun-type gre
