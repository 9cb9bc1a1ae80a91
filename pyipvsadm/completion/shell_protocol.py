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
_METHOD_NUMBERS = {name: number for number, name in METHODS.items()}


def print_candidates(
    arguments: Sequence[str], env: Environment, choose_backend: Callable[[str | None], str]
) -> int:
    """Print the candidates: status 0; or 2, without a word, for what no stub of ours sends.

    choose_backend: the value of --backend (None: not given) -> the backend that a command would
    use.
    """
    source = LiveCompletionSource(env, choose_backend)
    try:
        shell, *rest = arguments
        if shell == "bash":
            left, right, piece = rest
            lines = format_bash(left, right, piece, source)
        else:
            index, *words = rest
            lines = _FORMATTERS[shell](complete(words, int(index), source))
    except (KeyError, ValueError):
        return 2
    env.write_stdout("".join(f"{line}\n" for line in lines if "\n" not in line))
    return 0


def format_bash(left: str, right: str, piece: str, source: CompletionSource) -> list[str]:
    """Format candidates for bash. Inside open quotes nothing needs a backslash."""
    words, quote = split_words(left)
    after = split_words(right)[0]
    if right[:1] not in (" ", "\t"):
        after = after[1:]  # the rest of the word at the cursor
    head = words[-1].removesuffix(split_words(piece)[0][-1])
    candidates = complete([*words, *after], len(words) - 1, source)
    rest = [word.removeprefix(head) for word, _ in candidates]
    return rest if quote else [_quote_word(word, _PLAIN | set("[]")) for word in rest]


def format_zsh(candidates: list[tuple[str, str]]) -> list[str]:
    """Format candidates for zsh."""
    lines = []
    for word, about in candidates:
        quoted = _quote_word(word, _PLAIN) if word[:2] == "~/" else word
        quoted = quoted.replace("\\", "\\\\").replace(":", "\\:")
        lines.append(
            ("+" if word.endswith(NO_SPACE_SUFFIXES) else ".")
            + (f"{quoted}:{about}" if about else quoted)
        )
    return lines


def format_fish(candidates: list[tuple[str, str]]) -> list[str]:
    """Format candidates for fish, which quotes by itself and adds no blank after a word that is
    continued.
    """
    return [f"{word}\t{about}" for word, about in candidates]


_FORMATTERS = {"zsh": format_zsh, "fish": format_fish}


def split_words(text: str) -> tuple[list[str], str]:
    """Split a line into words as bash does; return them and the quote that is open at its end. The
    last word is unfinished, perhaps "".

    Single quotes, double quotes and backslashes are handled; expansions stay as they are.
    """
    words = [""]
    quote = ""
    begun = False
    index = 0
    while index < len(text):
        char = text[index]
        index += 1
        if (
            char == "\\"
            and quote != "'"
            and (not quote or text[index : index + 1] in ("\\", '"', "$", "`"))
        ):
            words[-1] += text[index : index + 1]
            index += 1
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

    def __init__(self, env: Environment, choose_backend: Callable[[str | None], str]) -> None:
        self._env = env
        self._choose_backend = choose_backend

    def read_rows(self, backend: str | None, netns: str | None) -> Rows:
        """Return the services of a table with their servers; none if it cannot be read, for
        whatever reason.
        """
        return self._find_in_netns(netns, lambda: self._read_rows(self._choose_backend(backend)))

    def _read_rows(self, spec: str) -> Rows:
        if spec == "kernel":
            return read_proc_rows(TABLE_FILE)
        path = spec.partition(":")[2]
        if path and not os.path.isfile(path):
            # There is no file yet, or reading it could block (a FIFO).
            return []
        try:
            table = self._env.open_backend(spec)
        except OperationError:
            return []
        return [(service, table.read_servers(service)) for service in table.read_services()]

    def list_folder(self, path: str) -> list[str]:
        """Return the names in a folder; a leading `~/` is the user's home."""
        folder = path or "."
        if path[:2] == "~/":
            folder = f"{self._env.environ.get('HOME', '')}/{path[2:]}"
        try:
            with os.scandir(folder) as entries:
                return [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
        except (OSError, ValueError):
            return []

    def list_interfaces(self, netns: str | None) -> list[str]:
        """List the interfaces of a network namespace."""

        def list_names() -> list[str]:
            try:
                return [name for _, name in if_nameindex()]
            except OSError:
                return []

        return self._find_in_netns(netns, list_names)

    def list_namespaces(self) -> list[str]:
        """List the namespaces of `ip netns`."""
        from pyipvsadm.netns import list_netns  # noqa: PLC0415

        return list_netns()

    def list_changes(self, backend: str | None, netns: str | None) -> list[tuple[str, str]]:
        """List the changes that are not undone, the newest first; none if they cannot be read."""
        spec = self._choose_backend(backend)

        def list_entries() -> list[tuple[str, str]]:
            from pyipvsadm.change.recorded import read_entries  # noqa: PLC0415

            path = spec.partition(":")[2]
            if path and not os.path.isfile(path):
                return []
            name = spec if spec == "kernel" else self._env.open_backend(spec).name
            folder = self._env.find_history_folder(name)
            entries = read_entries(folder, name) if folder else []
            return [
                (str(entry.number), " ".join([str(entry.header.get("program")), *entry.argv]))
                for entry in reversed(entries)
                if entry.state != "undone"
            ]

        try:
            return self._find_in_netns(netns, list_entries)
        except OperationError:
            return []

    def _find_in_netns(self, netns: str | None, find: Callable[[], list[Found]]) -> list[Found]:
        """Return the result of `find` in that network namespace; nothing if it cannot be entered."""
        if netns is None:
            return find()
        try:
            with self._env.enter_netns(netns):
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
                family, addr, port = _parse_endpoint(words[1])
                service, servers = rows[-1]
                servers.append(Server(family, addr, port, _METHOD_NUMBERS[words[2]], int(words[3])))
                if service.fwmark:
                    service.af = family
            elif words[0] == "FWM":
                rows.append((Service(AF_INET, fwmark=int(words[1], 16), scheduler=words[2]), []))
            else:
                family, addr, port = _parse_endpoint(words[1])
                rows.append(
                    (
                        Service(
                            family, _PROTOCOLS.get(words[0], 0), addr, port, scheduler=words[2]
                        ),
                        [],
                    )
                )
    except (ValueError, IndexError, KeyError):
        # This kernel writes another format: complete with the rows up to here.
        return rows
    return rows


_PROTOCOLS = {name: number for number, name in PROTOCOLS.items()}


def _parse_endpoint(text: str) -> tuple[int, bytes, int]:
    host, _, port = text.rpartition(":")
    family = AF_INET6 if host[0] == "[" else AF_INET
    addr = bytes.fromhex(host.strip("[]").replace(":", ""))
    if len(addr) != (4 if family == AF_INET else 16):
        raise ValueError("not an address")
    return family, addr, int(port, 16)
