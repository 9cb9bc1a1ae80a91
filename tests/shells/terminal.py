"""Run a shell on a pseudo-terminal: type to it, read what appears, and read its command line after
TAB.

Owns: the three shells' start (no files of the user's, our stub loaded, a key that prints the
command line), bounded waits. Must never know: what completes to what.

A shell handles its keys one after the other, so its output for the key after TAB comes after
everything that TAB has done.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

STUBS = Path(__file__).resolve().parents[2] / "completions"
TIMEOUT = 30.0
COLUMNS = 160
ROWS = 100
READY = "READY>"
LINE = "<LINE>"
END = "<END>"
KILL = "\x05\x15"  # C-e, C-u: the line is emptied
BACK = "\x02"  # C-b: one character to the left
SHOW = "\x14"  # C-t: the line is printed between marks

# The command that starts a shell, and the first lines that are typed to it. They put the marks
# together from parts, so that the typed lines themselves do not show a mark.
SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        [
            "bind 'set enable-bracketed-paste off'; bind 'set show-all-if-ambiguous on'; bind 'set completion-query-items 0'",
            "bind 'set page-completions off'; bind 'set bell-style none'",
            """bind -x '"\\C-t": printf "\\n<%s%s>%s<%s>\\n" LI NE "$READLINE_LINE" END'""",
            f"source '{STUBS}/ipvsadm.bash'",
            'PS1="REA""DY>"; PS2=""',
        ],
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        [
            "unsetopt prompt_sp list_ambiguous; zle_bracketed_paste=(); KEYTIMEOUT=1; LISTMAX=1000; setopt no_beep",
            f"fpath=('{STUBS}' $fpath); autoload -Uz compinit; compinit -D -u",
            'show() { print -r -- ""; print -r -- "<LI""NE>$BUFFER<E""ND>"; zle reset-prompt }; zle -N show',
            'bindkey -e; bindkey "^T" show; bindkey "^U" kill-whole-line; PS1="REA""DY>"; RPS1=""; PS2=""',
        ],
    ),
    "fish": (
        ["fish", "--no-config", "-i"],
        [
            "set -g fish_greeting; set -g fish_autosuggestion_enabled 0; set -g fish_color_command normal",
            "bind \\ct 'printf \"\\n<%s%s>%s<%s>\\n\" LI NE (commandline) END; commandline -f repaint'",
            "bind \\cu 'commandline \"\"'",
            f"source '{STUBS}/ipvsadm.fish'",
            "function fish_prompt; printf 'REA%s' 'DY>'; end; function fish_right_prompt; end",
        ],
    ),
}
_ESCAPES = re.compile(
    r"\x1b(\[[0-9;?<=>]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][A-Z0-9]|[=>78cDMEH])|\x0f|\x0e"
)


class Shell:
    """Run one shell, which is ready to be typed to."""

    def __init__(self, name: str, environ: Mapping[str, str], folder: str) -> None:
        words, told = SHELLS[name]
        self.name = name
        self._seen = ""
        self._failed = ""
        pid, fd = pty.fork()
        if not pid:
            try:
                os.chdir(folder)
                os.execvpe(words[0], words, dict(environ))
            finally:
                os._exit(127)
        self._pid = pid
        self._fd = fd
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        for line in told:
            self._send(f"{line}\r")
        self.wait(READY)

    def close(self) -> None:
        """Close the terminal and kill the shell."""
        os.close(self._fd)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def complete(self, line: str, *shown: str) -> tuple[str, str]:
        """Type a line, and TAB where `^` is (else at its end). Return (what appears then, what is
        on the command line).

        shown: texts that must appear before the command line is asked for.
        """
        assert not self._failed, f"not tried, because {self._failed}"
        left, _, right = line.partition("^")
        self._seen = ""
        self._send(left + right + BACK * len(right) + "\t")
        for text in shown:
            self.wait(text)
        self._send(SHOW)
        self.wait(END)
        appeared, _, rest = self._seen.partition(LINE)
        # The next line is typed to a clean prompt.
        self._seen = ""
        self._send(KILL + SHOW)
        self.wait(LINE + END)
        return appeared, rest.partition(END)[0].replace("\r\n", "")

    def wait(self, text: str) -> None:
        """Wait until the text has appeared. Raise AssertionError if it does not within TIMEOUT
        seconds, or if the shell ends.
        """
        deadline = time.monotonic() + TIMEOUT
        while text not in self._seen:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                self._fail(f"did not show {text!r} within {TIMEOUT} seconds, but")
            self._receive()

    def _fail(self, how: str) -> NoReturn:
        self._failed = f"{self.name} {how}: {self._seen!r}"
        raise AssertionError(self._failed)

    def _receive(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except OSError as exc:  # EIO: no process has the other end open any more
            if exc.errno != errno.EIO:
                raise
            data = b""
        if not data:
            self._fail("has ended")
        self._seen = _ESCAPES.sub("", self._seen + data.decode("utf-8", "replace"))

    def _send(self, text: str) -> None:
        os.write(self._fd, text.encode())
