# Health checks by ldirectord: it adds the service, and gives servers that fail weight 0
#
# First: direct-routing.sh
# From then on ldirectord manages the service: it makes it match its file, and removes it when it is stopped.

echo "$0: parts for several machines, to read and to copy: not a script to run" >&2
exit 2

### on the director
cat >/etc/ha.d/ldirectord.cf <<END
checkinterval=5
checktimeout=3
quiescent=yes
virtual=172.16.100.1:80
        real=172.16.100.7:80 gate 2
        real=172.16.100.8:80 gate 1
        service=http
        checktype=negotiate
        request="/"
        scheduler=wlc
        protocol=tcp
END
sed -i 's:^.*CONFIG_FILE=.*:CONFIG_FILE=/etc/ha.d/ldirectord.cf:' /etc/default/ldirectord
service ldirectord start

# quiescent=no removes a server that fails, and with it the persistence of its clients. See /var/log/ldirectord.log.
