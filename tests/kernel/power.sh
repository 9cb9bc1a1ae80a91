#!/bin/sh
# The power switch of the two nodes of a test, as heartbeat asks one (external STONITH plugin: the
# action and the node are arguments) and as Pacemaker does (fence agent: lines of NAME=VALUE on
# standard input). Each request to cut a node off is written to FOLDER/requests, with the node that
# asks; it succeeds once FOLDER/off.NODE is there, which the test makes.
folder=@POWER@

cut_off() {
    echo "$(uname -n) $1 $2" >>"$folder/requests"
    until [ -e "$folder/off.$2" ]; do sleep 0.2; done
    exit 0
}

if [ $# = 0 ]; then
    while IFS='=' read -r name value; do
        case $name in
        action) action=$value ;;
        nodename | port | plug) node=$value ;;
        esac
    done
    case $action in
    off | reboot) cut_off "$action" "$node" ;;
    on | monitor | status) exit 0 ;;
    metadata | '')
        cat <<'END'
<?xml version="1.0"?>
<resource-agent name="fence_power" shortdesc="Fence agent for the power switch of a test">
  <longdesc>Ask the test to cut a node off.</longdesc>
  <parameters>
    <parameter name="action" required="1"><content type="string" default="off"/></parameter>
    <parameter name="port" required="0"><content type="string"/></parameter>
  </parameters>
  <actions>
    <action name="on"/><action name="off"/><action name="reboot"/><action name="monitor"/>
    <action name="status"/><action name="metadata"/>
  </actions>
</resource-agent>
END
        exit 0
        ;;
    esac
    exit 1
fi

case $1 in
gethosts) echo "node1.name node2.name" | tr ' ' '\n' ;;
reset | off) cut_off "$1" "$2" ;;
on | status) ;;
getconfignames) echo hostlist ;;
getinfo-*) echo "the power switch of a test" ;;
*) exit 1 ;;
esac
