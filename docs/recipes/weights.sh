# Weights: one server takes three times what the other takes; changed while clients go on
#
# First: nat.sh
# --keep changes what is named and nothing else; without it -e and -E reset the rest.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on the director
ipvsadm -E -t 172.16.100.1:80 -s wrr --keep
ipvsadm -e -t 172.16.100.1:80 -r 192.168.10.8 -w 3 --keep
ipvsadm -e -t 172.16.100.1:80 -r 192.168.10.9 -w 1 --keep

### on the director, to change many at once
ipvsadm-save -n --full -f /etc/ipvsadm.rules
sed -i '/192.168.10.8/s/-w 3/-w 1/; /192.168.10.9/s/-w 1/-w 3/' /etc/ipvsadm.rules
ipvsadm --apply /etc/ipvsadm.rules --dry-run || [ $? = 1 ]    # what would be sent; 1: there is something
ipvsadm --apply /etc/ipvsadm.rules
