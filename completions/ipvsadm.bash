# Completion of ipvsadm, ipvsadm-save and ipvsadm-restore for bash 4.4 and later. What is offered, the program itself knows.

_ipvsadm() {
    # ipvsadm answers for its companions, too: they do not take words for questions.
    local program=${1/#\~\//$HOME/}
    program=${program%-save}
    program=${program%-restore}
    mapfile -t COMPREPLY < <("$program" --complete bash "${COMP_LINE:0:COMP_POINT}" "${COMP_LINE:COMP_POINT}" "$2" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[/:,=] ]]; then
        compopt -o nospace
    fi
}

complete -o nosort -F _ipvsadm ipvsadm ipvsadm-save ipvsadm-restore
