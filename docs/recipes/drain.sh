# Draining: a server leaves when its last connection has ended, and comes back
#
# First: nat.sh
# Its weight is 0 from the start: nothing new comes. The lines that undo it are written first, and kept.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on the director
ipvsadm -e -t 172.16.100.1:80 -r 192.168.10.8 --drain=600 >/run/lvs-undo

### on the director, after the maintenance
sh -e /run/lvs-undo

### on the director, when it goes for good
ipvsadm -d -t 172.16.100.1:80 -r 192.168.10.8 --drain=600
