# The main job, on the embedded table: what `make try` shows. Nothing of this touches the kernel.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

ipvsadm() {
    command ipvsadm --backend memory:table "$@"
}

show() {
    printf '# %s\n' "$*"
    "$@"
}
show ipvsadm -A -t 172.16.100.1:80 -s rr
show ipvsadm -a -t 172.16.100.1:80 -r 192.168.10.8 -m
show ipvsadm -a -t 172.16.100.1:80 -r 192.168.10.9 -m
show ipvsadm -E -t 172.16.100.1:80 -s wrr
show ipvsadm -L -n

printf "\n# ipvsadm -S -n > rules; sed -i '/10.8/s/-w 1/-w 3/' rules\n"
ipvsadm -S -n > rules
sed -i '/10.8/s/-w 1/-w 3/' rules
printf '# ipvsadm --apply rules --dry-run    (its status is 1: there is something to do)\n'
ipvsadm --apply rules --dry-run || [ $? = 1 ]
show ipvsadm --apply rules
show ipvsadm -L -n --pretty
