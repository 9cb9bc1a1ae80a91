# Persistence for each port: a client that returns to the same service gets the same server (TLS sessions)
#
# First: direct-routing.sh
# Only this service holds its clients, each for 600 seconds after its last new connection.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on the director
ipvsadm -A -t 172.16.100.1:443 -s rr -p 600
ipvsadm -a -t 172.16.100.1:443 -r 172.16.100.7 -g
ipvsadm -a -t 172.16.100.1:443 -r 172.16.100.8 -g

# A client with several addresses (behind many proxies): -M 255.255.255.0 takes a network for one client.
# ipvsadm -L -n --persistent-conn      how many clients are held, by server
# ipvsadm -L -n -c                     each one's template: its port is 0
