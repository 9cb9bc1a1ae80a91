# The main job, on the embedded table: what `make try` shows. Nothing of this touches the kernel.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

ipvsadm() {
    command ipvsadm --backend "memory:$folder/table" "$@"
}

show() {
    printf '\n# %s\n' "$*"
    "$@"
}
show ipvsadm -A -t 172.16.100.1:80 -s rr
show ipvsadm -a -t 172.16.100.1:80 -r 192.168.10.8 -m
show ipvsadm -a -t 172.16.100.1:80 -r 192.168.10.9 -m
show ipvsadm -E -t 172.16.100.1:80 -s wrr
show ipvsadm -e -t 172.16.100.1:80 -r 192.168.10.8 -m -w 3
show ipvsadm -L -n
printf '\n# ipvsadm -S -n > rules; ipvsadm -C; ipvsadm -R < rules\n'
ipvsadm -S -n > "$folder/rules"
ipvsadm -C
ipvsadm -R < "$folder/rules"
show ipvsadm -S -n
