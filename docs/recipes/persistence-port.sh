# Persistence for one service: a client that returns to it gets the same server (TLS sessions)
#
# First: direct-routing.sh
# Only this service is persistent: a client keeps its server for 600 seconds after its last new connection.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on the director
ipvsadm -A -t 172.16.100.1:443 -s rr -p 600
ipvsadm -a -t 172.16.100.1:443 -r 172.16.100.7 -g
ipvsadm -a -t 172.16.100.1:443 -r 172.16.100.8 -g

# For clients with several addresses (behind proxies), -M 255.255.255.0 counts a network as one client.
# ipvsadm -L -n --persistent-conn      the number of clients of each server
# ipvsadm -L -n -c                     also the template of each client: its port is 0
