# Completion of ipvsadm, ipvsadm-save and ipvsadm-restore for fish. What is offered, the program itself knows.

function __ipvsadm_complete
    # The words before the one at the cursor; what is behind it, fish does not tell.
    set -l words (commandline -opc)
    while string match -q '*=*' -- $words[1]
        set -e words[1]
    end
    set -l current (commandline -ct)
    set current (string unescape -- $current; or echo $current)
    # ipvsadm answers for its companions, too: they do not take words for questions.
    set -l program (string replace -r -- '-(save|restore)$' '' $words[1])
    $program --complete fish (count $words) $words "$current" 2>/dev/null
end

complete -c ipvsadm -c ipvsadm-save -c ipvsadm-restore -f -k -a '(__ipvsadm_complete)'
