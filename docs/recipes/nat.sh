# NAT: the director translates requests and answers, and can translate ports
#
# Director: eth0 towards the clients, virtual address 172.16.100.1; eth1 towards the servers, 192.168.10.7.
# Real servers: 192.168.10.8 and 192.168.10.9, with any operating system. Clients must not be in their network.
# Each part is for the machines that its heading names.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on the director
ip address replace 172.16.100.1/24 dev eth0
echo net.ipv4.ip_forward=1 >/etc/sysctl.d/60-lvs.conf
sysctl -q -p /etc/sysctl.d/60-lvs.conf
ipvsadm -A -t 172.16.100.1:80 -s rr
ipvsadm -a -t 172.16.100.1:80 -r 192.168.10.8 -m
ipvsadm -a -t 172.16.100.1:80 -r 192.168.10.9:8080 -m

# If one interface serves both networks, add net.ipv4.conf.all.send_redirects=0 and
# net.ipv4.conf.eth0.send_redirects=0 to /etc/sysctl.d/60-lvs.conf. Otherwise the director tells the servers to
# answer the clients directly.

### on each real server
ip route replace default via 192.168.10.7

### on the director: check the set-up
ipvsadm --doctor

### on each real server: check the set-up
ipvsadm --doctor --real-server-for 172.16.100.1 -m --director 192.168.10.7
