# The guest's first process: `/bin/sh init.sh REPO RUN PYTHON PLACES...`. It makes the machine's own files (hostfs) a safe
# place to run tests on, starts the runner (guest.py) and powers off, whatever the runner did.
#
# The root is the real file system of whoever started the lab: it becomes read-only here, except for REPO/.lab.
# What must be writable is a tmpfs. REPO and PLACES (of the interpreter) are bound again where a tmpfs hides them.

repo=$1 run=$2 python=$3
shift 3

export PATH=/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/tmp TMPDIR=/tmp LANG=C.UTF-8 TERM=dumb COLUMNS=120

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/host /dev/pts /dev/shm
mount --bind / /dev/host
for place in /run /tmp /var/tmp; do mount -t tmpfs tmpfs $place; done
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr

for place in "$repo" "$@"; do
    if ! [ -e "$place" ]; then
        mkdir -p "$place"
        mount --bind "/dev/host$place" "$place"
        mount -o remount,bind,ro "$place"
    fi
done
mount --bind "/dev/host$repo/.lab" "$repo/.lab"
mount -o remount,bind,ro /
umount /dev/host

# The same answers to names on every machine.
for file in hosts services nsswitch.conf; do
    [ -e /etc/$file ] && mount --bind "$repo/tests/lab/etc/$file" /etc/$file
done

# Modules: the kernel's helper and the tools under test call /sbin/modprobe, which looks under /lib/modules. That folder
# need not exist and cannot be made on the host, so kmod itself (which modprobe, rmmod and lsmod are links to) is covered.
mkdir -p /run/lib/modules /run/kmod
ln -s "$LAB_MODULES" "/run/lib/modules/$(uname -r)"
cp /usr/bin/kmod /run/kmod/kmod
for name in modprobe rmmod lsmod modinfo insmod depmod; do ln -s kmod /run/kmod/$name; done
cat >/run/kmod/wrapper <<'END'
#!/bin/sh
case ${0##*/} in
modprobe) exec /run/kmod/modprobe -d /run "$@" ;;
*) exec "/run/kmod/${0##*/}" "$@" ;;
esac
END
chmod +x /run/kmod/wrapper
mount --bind /run/kmod/wrapper /usr/bin/kmod

hostname lab
# Most modules come on demand. fou does not; and lblc and lblcr, which keep something per network namespace, can lock the
# kernel for good when they come while a namespace goes: the request holds the mutex of IPVS and waits for the module, the
# module for the end of the namespace, that end for the mutex (ip_vs_ctl.c: ip_vs_dst_event).
modprobe -a ipv6 ip_vs ip_vs_lblc ip_vs_lblcr fou
ip link set lo up

cd "$repo" || echo "lab: no folder $repo"
"$python" -m tests.lab.guest "$run" </dev/null
echo o >/proc/sysrq-trigger
while :; do sleep 1; done
