"""Answer `ipvsadm --complete SHELL ...`, the question that a shell asks at TAB.

Owns: the words that each shell sends and reads (completions/ holds the other side), its quoting,
live values. Must never know: which candidates are offered (candidates.py). Never opens netlink:
merely asking the kernel for IPVS would load its module.

bash LEFT RIGHT PIECE: the line left and right of the cursor, and the part of the word that readline
is about to replace; readline ends words at colons too. The answer is the text for PIECE's place,
quoted.

zsh INDEX WORD...: the words without their quotes; of the one at INDEX the part left of the cursor.
The answer is `+` if the word is meant to be continued, else `.`, then WORD:DESCRIPTION, for
_describe.

fish INDEX WORD...: the same question. The answer is WORD, a tab, DESCRIPTION.
"""

from __future__ import annotations

import os

# the C module beneath `socket`, which alone would cost a start 6 ms
from _socket import if_nameindex

from pyipvsadm.completion.candidates import NO_SPACE_SUFFIXES, complete
from pyipvsadm.errors import OperationError
from pyipvsadm.model import AF_INET, AF_INET6, PROTOCOLS, TABLE_FILE, Server, Service
from pyipvsadm.views.classic import METHODS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from pyipvsadm.completion.candidates import CompletionSource, Rows
    from pyipvsadm.environment import Environment

    Found = TypeVar("Found")

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,=+@%")
_NUMBERS = {name: number for number, name in METHODS.items()}


def print_candidates(
    asked: Sequence[str], env: Environment, chosen: Callable[[str | None], str]
) -> int:
    """Print the candidates: status 0; or 2, without a word, for what no stub of ours sends.

    chosen: what --backend was given (None: nothing) -> the backend that a command would use.
    """
    around = LiveCompletionSource(env, chosen)
    try:
        shell, *rest = asked
        if shell == "bash":
            left, right, piece = rest
            lines = format_bash(left, right, piece, around)
        else:
            index, *words = rest
            lines = _ANSWERS[shell](complete(words, int(index), around))
    except (KeyError, ValueError):
        return 2
    env.write_stdout("".join(f"{line}\n" for line in lines if "\n" not in line))
    return 0


def format_bash(left: str, right: str, piece: str, around: CompletionSource) -> list[str]:
    """Format candidates for bash. Inside open quotes nothing needs a backslash."""
    words, quote = split_words(left)
    after = split_words(right)[0]
    if right[:1] not in (" ", "\t"):
        after = after[1:]  # the rest of the word at the cursor
    head = words[-1].removesuffix(split_words(piece)[0][-1])
    found = complete([*words, *after], len(words) - 1, around)
    rest = [word.removeprefix(head) for word, _ in found]
    return rest if quote else [_quote_word(word, _PLAIN | set("[]")) for word in rest]


def format_zsh(found: list[tuple[str, str]]) -> list[str]:
    """Format candidates for zsh."""
    lines = []
    for word, about in found:
        shown = _quote_word(word, _PLAIN) if word[:2] == "~/" else word
        shown = shown.replace("\\", "\\\\").replace(":", "\\:")
        lines.append(
            ("+" if word.endswith(NO_SPACE_SUFFIXES) else ".")
            + (f"{shown}:{about}" if about else shown)
        )
    return lines


def format_fish(found: list[tuple[str, str]]) -> list[str]:
    """Format candidates for fish, which quotes by itself and adds no blank after a word that is
    continued.
    """
    return [f"{word}\t{about}" for word, about in found]


_ANSWERS = {"zsh": format_zsh, "fish": format_fish}


def split_words(text: str) -> tuple[list[str], str]:
    """Split a line into words as bash does; return them and the quote that is open at its end. The
    last word is unfinished, perhaps "".

    Single quotes, double quotes and backslashes are handled; expansions stay as they are.
    """
    words = [""]
    quote = ""
    begun = False
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if (
            char == "\\"
            and quote != "'"
            and (not quote or text[at : at + 1] in ("\\", '"', "$", "`"))
        ):
            words[-1] += text[at : at + 1]
            at += 1
            begun = True
        elif char in "'\"" and quote in ("", char):
            quote = "" if quote else char
            begun = True
        elif char in " \t\n" and not quote:
            if begun:
                words.append("")
            begun = False
        else:
            words[-1] += char
            begun = True
    return words, quote


def _quote_word(word: str, plain: frozenset[str]) -> str:
    start = "~/" if word[:2] == "~/" else ""
    return start + "".join(
        char if char in plain or char > "\x7f" else f"\\{char}" for char in word[len(start) :]
    )


class LiveCompletionSource:
    """Answer from the machine, the user's folders and the backend; a candidates.CompletionSource."""

    def __init__(self, env: Environment, chosen: Callable[[str | None], str]) -> None:
        self._world = env
        self._chosen = chosen

    def read_rows(self, backend: str | None, place: str | None) -> Rows:
        """Return the services of a table with their servers; none if it cannot be read, for
        whatever reason.
        """
        return self._find_in_netns(place, lambda: self._read_rows(self._chosen(backend)))

    def _read_rows(self, spec: str) -> Rows:
        if spec == "kernel":
            return read_proc_rows(TABLE_FILE)
        path = spec.partition(":")[2]
        if path and not os.path.isfile(path):
            return []  # nothing yet, or what would block
        try:
            table = self._world.open_backend(spec)
        except OperationError:
            return []
        return [(service, table.read_servers(service)) for service in table.read_services()]

    def list_folder(self, path: str) -> list[str]:
        """Return the names in a folder; a leading `~/` is the user's home."""
        place = path or "."
        if path[:2] == "~/":
            place = f"{self._world.environ.get('HOME', '')}/{path[2:]}"
        try:
            with os.scandir(place) as entries:
                return [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
        except (OSError, ValueError):
            return []

    def list_interfaces(self, place: str | None) -> list[str]:
        """List the interfaces of a network namespace."""

        def found() -> list[str]:
            try:
                return [name for _, name in if_nameindex()]
            except OSError:
                return []

        return self._find_in_netns(place, found)

    def list_namespaces(self) -> list[str]:
        """List the namespaces of `ip netns`."""
        from pyipvsadm.netns import list_netns  # noqa: PLC0415

        return list_netns()

    def _find_in_netns(self, place: str | None, find: Callable[[], list[Found]]) -> list[Found]:
        """Return the result of `find` in that network namespace; nothing if it cannot be entered."""
        if place is None:
            return find()
        try:
            with self._world.enter_netns(place):
                return find()
        except OperationError:
            return []


def read_proc_rows(path: str) -> Rows:
    """Read the kernel's table from /proc/net/ip_vs (ip_vs_ctl.c: ip_vs_info_seq_show), which every
    user may read.

    Return nothing if there is no such file: it exists once the module is loaded. Values that
    completion does not use are left out. The file does not show a mark's family, which is assumed
    to be that of its servers.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            lines = file.read().decode("ascii", "replace").split("\n")
    except OSError:
        return []
    rows: Rows = []
    try:
        for words in filter(None, map(str.split, lines[3:])):
            if words[0] == "->":
                family, addr, port = _parse_end(words[1])
                service, servers = rows[-1]
                servers.append(Server(family, addr, port, _NUMBERS[words[2]], int(words[3])))
                if service.fwmark:
                    service.af = family
            elif words[0] == "FWM":
                rows.append((Service(AF_INET, fwmark=int(words[1], 16), scheduler=words[2]), []))
            else:
                family, addr, port = _parse_end(words[1])
                rows.append(
                    (
                        Service(
                            family, _PROTOCOLS.get(words[0], 0), addr, port, scheduler=words[2]
                        ),
                        [],
                    )
                )
    except (ValueError, IndexError, KeyError):  # a kernel that writes it otherwise
        return rows
    return rows


_PROTOCOLS = {name: number for number, name in PROTOCOLS.items()}


def _parse_end(text: str) -> tuple[int, bytes, int]:
    host, _, port = text.rpartition(":")
    family = AF_INET6 if host[0] == "[" else AF_INET
    addr = bytes.fromhex(host.strip("[]").replace(":", ""))
    if len(addr) != (4 if family == AF_INET else 16):
        raise ValueError("no address")
    return family, addr, int(port, 16)
