# Weights: one server gets three times the connections of the other; change weights while clients connect
#
# First: nat.sh
# With --keep, only the given values change; without it, -e and -E reset the others.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on the director
ipvsadm -E -t 172.16.100.1:80 -s wrr --keep
ipvsadm -e -t 172.16.100.1:80 -r 192.168.10.8 -w 3 --keep
ipvsadm -e -t 172.16.100.1:80 -r 192.168.10.9 -w 1 --keep

### on the director, to change many at once
ipvsadm-save -n --full -f /etc/ipvsadm.rules
sed -i '/192.168.10.8/s/-w 3/-w 1/; /192.168.10.9/s/-w 1/-w 3/' /etc/ipvsadm.rules
ipvsadm --apply /etc/ipvsadm.rules --dry-run || [ $? = 1 ]    # what would change; 1: something would
ipvsadm --apply /etc/ipvsadm.rules
