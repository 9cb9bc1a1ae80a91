# Persistence for each client: all ports of the virtual address lead one client to one server (port 0)
#
# First: direct-routing.sh
# A service with a port of its own comes before the one for all ports: port 80's goes.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on the director
ipvsadm -D -t 172.16.100.1:80
ipvsadm -A -t 172.16.100.1:0 -s rr -p 600
ipvsadm -a -t 172.16.100.1:0 -r 172.16.100.7:0 -g
ipvsadm -a -t 172.16.100.1:0 -r 172.16.100.8:0 -g

# All TCP for that address now goes to the servers, ssh as well: log in by the director's own address.
