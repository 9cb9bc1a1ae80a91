# Persistence for all ports: a client has one server for all ports of the virtual address (port 0)
#
# First: direct-routing.sh
# A service with a port takes precedence over the one for all ports, so the service for port 80 is deleted.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on the director
ipvsadm -D -t 172.16.100.1:80
ipvsadm -A -t 172.16.100.1:0 -s rr -p 600
ipvsadm -a -t 172.16.100.1:0 -r 172.16.100.7:0 -g
ipvsadm -a -t 172.16.100.1:0 -r 172.16.100.8:0 -g

# All TCP connections to this address now go to the servers, ssh too: log in with the director's own address.
