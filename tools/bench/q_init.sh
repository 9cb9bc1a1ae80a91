#!/bin/busybox sh
# The first process of the Q guest. Everything it has came with the kernel, in memory: nothing of the machine can be touched.
# /bench/task names the checkout's folder, the token and what to run; the verdict goes to the second serial port.

/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TMPDIR=/tmp LANG=C.UTF-8 TERM=dumb COLUMNS=120
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
# Nothing is mounted on /tmp and /run, where the checkout may lie: the root is in memory as it is.
mkdir -p /dev/shm
ln -sf /proc/self/fd /dev/fd
stty -F /dev/ttyS0 -opost 2>/dev/null
stty -F /dev/ttyS1 raw 2>/dev/null
hostname lab
/usr/sbin/modprobe -a ip_vs $(cat /bench/modules)
. /bench/task
cd "$REPO"
/usr/bin/python3 -m tools.bench.guest "$TOKEN" /dev/ttyS1 "$@" </dev/null
echo o >/proc/sysrq-trigger
while :; do sleep 1; done
