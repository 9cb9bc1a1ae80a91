# Draining: remove a server when its last connection has ended, and bring it back
#
# First: nat.sh
# The server gets weight 0 at once, and no new connections. The commands that undo this are written first; keep them.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on the director
ipvsadm -e -t 172.16.100.1:80 -r 192.168.10.8 --drain=600 >/run/lvs-undo

### on the director, after the maintenance
sh -e /run/lvs-undo

### on the director, when it goes for good
ipvsadm -d -t 172.16.100.1:80 -r 192.168.10.8 --drain=600
