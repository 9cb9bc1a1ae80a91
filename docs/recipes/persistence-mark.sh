# Persistence by firewall mark: a client has one server for some ports, and no others
#
# First: direct-routing.sh
# The packet filter marks the packets that belong together, and the service has that mark. A mark takes precedence
# over an address.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on the director
iptables -t mangle -A PREROUTING -i eth0 -d 172.16.100.1 -p tcp --dport 80 -j MARK --set-mark 8
iptables -t mangle -A PREROUTING -i eth0 -d 172.16.100.1 -p tcp --dport 443 -j MARK --set-mark 8
ipvsadm -A -f 8 -s rr -p 600
ipvsadm -a -f 8 -r 172.16.100.7 -g
ipvsadm -a -f 8 -r 172.16.100.8 -g

# The same by nftables, in /etc/nftables.conf:
#   table ip lvs {
#       chain services {
#           type filter hook prerouting priority mangle
#           iifname eth0 ip daddr 172.16.100.1 tcp dport { 80, 443 } meta mark set 8
#       }
#   }
