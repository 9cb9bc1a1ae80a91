"""What a shell asks at TAB, `ipvsadm --complete SHELL ...`, and how it likes the answer.

Owns: what each shell sends and reads (completions/ holds the other side), its quoting, where live
values come from. Must never know: what is offered (completion/candidates.py). Never opens netlink:
a kernel that is only asked there for IPVS loads its module.

    bash LEFT RIGHT PIECE   The line left and right of the cursor, and what of the word readline is
    about to replace: for it
                            words end at colons, too. The answer is what goes in PIECE's place,
                            quoted.
    zsh INDEX WORD...       The words without their quotes; of the one at INDEX what is left of the
    cursor. The answer is `+`
                            where the word is meant to go on, else `.`, then WORD:DESCRIPTION, for
                            _describe.
    fish INDEX WORD...      The same question. The answer is WORD, a tab, DESCRIPTION.
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
    """What bash reads. In quotes that are still open nothing needs a backslash."""
    words, quote = split_words(left)
    after = split_words(right)[0]
    if right[:1] not in (" ", "\t"):
        after = after[1:]  # the rest of the word at the cursor
    head = words[-1].removesuffix(split_words(piece)[0][-1])
    found = complete([*words, *after], len(words) - 1, around)
    rest = [word.removeprefix(head) for word, _ in found]
    return rest if quote else [_quote_word(word, _PLAIN | set("[]")) for word in rest]


def format_zsh(found: list[tuple[str, str]]) -> list[str]:
    """What zsh reads."""
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
    """What fish reads; it quotes by itself, and adds no blank to a word that goes on."""
    return [f"{word}\t{about}" for word, about in found]


_ANSWERS = {"zsh": format_zsh, "fish": format_fish}


def split_words(text: str) -> tuple[list[str], str]:
    """The words of a line as bash parts them, and the quote that is open at its end. The last word
    is unfinished, perhaps "".

    Quotes, double quotes and backslashes are known; what expands stays as it is.
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
    """The machine, the user's folders and the backend: a complete.Around."""

    def __init__(self, env: Environment, chosen: Callable[[str | None], str]) -> None:
        self._world = env
        self._chosen = chosen

    def read_rows(self, backend: str | None, place: str | None) -> Rows:
        """The services of a table with their servers; none where it cannot be read, for whatever
        reason.
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
        """The names in a folder; a leading `~/` is the user's home."""
        place = path or "."
        if path[:2] == "~/":
            place = f"{self._world.environ.get('HOME', '')}/{path[2:]}"
        try:
            with os.scandir(place) as entries:
                return [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
        except (OSError, ValueError):
            return []

    def list_interfaces(self, place: str | None) -> list[str]:
        """Those of a network namespace."""

        def found() -> list[str]:
            try:
                return [name for _, name in if_nameindex()]
            except OSError:
                return []

        return self._find_in_netns(place, found)

    def list_namespaces(self) -> list[str]:
        """Those of `ip netns`."""
        from pyipvsadm.netns import list_netns  # noqa: PLC0415

        return list_netns()

    def _find_in_netns(self, place: str | None, find: Callable[[], list[Found]]) -> list[Found]:
        """What is found in that network namespace; nothing where one may not go."""
        if place is None:
            return find()
        try:
            with self._world.enter_netns(place):
                return find()
        except OperationError:
            return []


def read_proc_rows(path: str) -> Rows:
    """The table in the kernel's file (/proc/net/ip_vs; ip_vs_ctl.c: ip_vs_info_seq_show), which
    anybody may read.

    Nothing where there is none: it is there when the module is. What completion has no use for is
    left out. The file does not show a mark's family: it is taken to be that of its servers.
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
