"""Encode rule lines straight into the bytes that the kernel is sent: the fast path of -R.

Owns: which lines it encodes: services and real servers as -S writes them, in numbers. Must never
know: what an option means, sockets.

How it works. Only three things of a line are read here: address, port (or the mark) and weight. What
its other words make of them is learnt from the definition: rules/reader.py parses and
netlink/attributes.py encodes the first line with these words, and the bytes around those three are
kept. A line that does not fit goes that way whole. A property test holds both ways together.
"""

from __future__ import annotations

import os
from _socket import htons, inet_pton  # the C module beneath `socket`; this is arithmetic, not I/O
from struct import Struct
from sys import byteorder

from pyipvsadm.errors import UsageError
from pyipvsadm.model import (
    AF_INET,
    AF_INET6,
    MASQ,
    NEW_DEST,
    NEW_SERVICE,
    TCP,
    UDP,
    Change,
    Service,
)
from pyipvsadm.netlink.attributes import (
    DEST_ADDR_OFFSET,
    DEST_PORT_OFFSET,
    DEST_WEIGHT_OFFSET,
    SERVICE_ADDR_OFFSET,
    SERVICE_MARK_OFFSET,
    SERVICE_PORT_OFFSET,
    Encoder,
    encode_dest,
    encode_service_key,
)
from pyipvsadm.rules.reader import (
    NotOnlyChangesError,
    format_version_error,
    parse_rule,
    split_blocks,
    tokenize,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyipvsadm.rules.reader import Context

    # Of a server: whether its port is its own (else the service's), what packs the bytes, and those
    # before its address, before its port, before its weight and after that; with a weight, those
    # before its port and all after it.
    _Learnt = tuple[bool, Callable[..., bytes], bytes, bytes, bytes, bytes]
    _Weighted = tuple[bool, Callable[..., bytes], bytes, bytes, bytes]

CACHE_LIMIT = 1 << 12  # words of lines; then they are forgotten

# The words that may stand beside numbers in what is learnt: what they do depends on the protocol,
# the families and the mark, and on nothing else of the line.
_WORDS = frozenset(
    """
    -s -p -M -o -b -m -g -i -w -x -y --pe --tun-type --tun-port --tun-nocsum --tun-csum --tun-remcsum
    rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos sip ipip gue gre
    flag-1 flag-2 flag-3 sh-fallback sh-port mh-fallback mh-port
    """.split()  # noqa: SIM905  # words read better without quotes
)


def encode_rules(
    text: bytes, env: Context, lines: list[int], ops: bytearray
) -> Iterator[tuple[int, bytes]]:
    """Yield (operation, payload) of each change that a text asks for, as rules/reader.py and
    netlink/attributes.py would make them. Append its line to `lines`, its operation to `ops`.

    Raise NotOnlyChangesError, and UsageError if 1.31 would end the run.
    """
    if message := format_version_error(text):
        raise UsageError(f"line 1: {message}")
    encoder = RuleEncoder(env)
    lineno = 0
    for block in split_blocks(text):
        for line in os.fsdecode(block).split("\n"):
            lineno += 1
            found = encoder.encode_line(line)
            if found is not None:
                lines.append(lineno)
                ops.append(found[0])
                yield found
                continue
            for _, words in tokenize(os.fsencode(line)):
                # Tabs, more blanks or the word `ipvsadm` do not keep a line from the fast path.
                found = encoder.encode_line(" ".join(words)) or encoder.encode_words(lineno, words)
                lines.append(lineno)
                ops.append(found[0])
                yield found


class RuleEncoder:
    """Encode lines, and keep what was learnt of them."""

    def __init__(self, env: Context) -> None:
        self._env = env
        self._encode = Encoder().encode
        # (option, family, other words) -> the first bytes of an -A line's payload, and those after
        # the service's name
        self._services: dict[tuple[str, int, str], tuple[bytes, bytes]] = {}
        # (option, family) -> (server's family, method, other words) -> what is kept of a server
        self._servers: dict[tuple[str, int], dict[tuple[int, str, str], _Learnt]] = {}
        # (option, family) -> server's family -> all words after its address -> the same, weighted
        self._weighted: dict[tuple[str, int], dict[int, dict[str, _Weighted]]] = {}
        # of the service that the last lines were about
        self._option = self._name = self._head = ""
        self._key = b""
        self._family = 0
        self._port = 0  # in network order
        self._learnt: dict[tuple[int, str, str], _Learnt] = {}
        self._known: dict[int, dict[str, _Weighted]] = {}

    def encode_words(self, lineno: int, words: list[str]) -> tuple[int, bytes]:
        """Encode a line by the definition."""
        change = parse_rule(lineno, words, self._env)
        if not isinstance(change, Change):
            raise NotOnlyChangesError
        return change.op, self._encode(change)

    def encode_line(self, line: str) -> tuple[int, bytes] | None:
        """Encode a line of the plain shape; None for another."""
        if not line.isascii():  # isdigit() knows other digits
            return None
        head, _, tail = line.partition(" -r ")
        if head != self._head:
            words = head.split(" ", 2)
            if words[0] == "-A":
                return self._encode_service(line)
            if words[0] != "-a" or len(words) != 3 or not self._select(*words[1:]):
                return None
        server, _, rest = tail.partition(" ")
        try:
            if server[0] == "[":
                family = AF_INET6
                host, _, port = server[1:].partition("]:")
            else:
                family = AF_INET
                host, _, port = server.partition(":")
            addr = inet_pton(family, host)
        except (OSError, ValueError, IndexError):
            return None
        if not port.isdigit() or len(port) > 5 or (number := int(port)) > 65535:
            return None
        known = self._known[family].get(rest) or self._learn_weight(line, family, rest)
        if known is None:
            return None
        own, pack, before, before_port, after = known
        number = htons(number) if own else self._port
        return NEW_DEST, pack(self._key, before, addr, before_port, number, after)

    def _encode_service(self, line: str) -> tuple[int, bytes] | None:
        words = line.split(" ", 3)
        if len(words) != 4:
            return None
        _, option, name, rest = words
        if rest[:3] == "-6 ":
            name, rest = f"{name} -6", rest[3:]
        if (name != self._name or option != self._option) and not self._select(option, name):
            return None
        key = (option, self._family, rest)
        learnt = self._services.get(key) or self._learn_service(line, key)
        if learnt is None:
            return None
        head, settings = learnt
        return NEW_SERVICE, head + self._key[len(head) :] + settings

    def _select(self, option: str, name: str) -> bool:
        """Encode what names a service. Return False when it is not named by a plain address and
        port or by a mark.
        """
        self._name = self._head = ""
        if option == "-f":
            mark, _, rest = name.partition(" ")
            if not mark.isdigit() or len(mark) > 9 or rest not in ("", "-6") or not int(mark):
                return False
            self._family = AF_INET6 if rest else AF_INET
            self._port = 0
            self._key = _MARK_KEYS[self._family] + int(mark).to_bytes(4, byteorder)
        else:
            found = _parse_endpoint(name)
            if found is None or option not in _PROTOCOLS:
                return False
            self._family, addr, port = found
            before, between, after = _KEYS[option, self._family]
            self._key = b"".join((before, addr, between, port.to_bytes(2, "big"), after))
            self._port = htons(port)
        self._option = option
        self._name = name
        self._head = f"-a {option} {name}"
        key = (option, self._family)
        self._learnt = self._servers.setdefault(key, {})
        self._known = self._weighted.setdefault(key, {AF_INET: {}, AF_INET6: {}})
        return True

    def _learn_service(self, line: str, key: tuple[str, int, str]) -> tuple[bytes, bytes] | None:
        change = self._parse_line(line, key[-1])
        if change is None or change.op != NEW_SERVICE:
            return None
        payload = self._encode(change)
        if len(self._services) > CACHE_LIMIT:
            self._services.clear()
        learnt = self._services[key] = (payload[:4], payload[len(self._key) :])
        return learnt

    def _learn_weight(self, line: str, family: int, rest: str) -> _Weighted | None:
        """Return what is kept of a server with this weight."""
        words = rest.split(" ", 3)
        if len(words) < 3 or words[1] != "-w" or not words[2].isdigit() or len(words[2]) > 5:
            return None
        key = (family, words[0], "".join(words[3:]))
        learnt = self._learnt.get(key) or self._learn_server(line, key)
        if learnt is None:
            return None
        own, pack, before, before_port, before_weight, after = learnt
        known = self._known[family]
        if len(known) > CACHE_LIMIT:
            known.clear()
        weight = int(words[2]).to_bytes(4, byteorder)
        known[rest] = own, pack, before, before_port, before_weight + weight + after
        return known[rest]

    def _learn_server(self, line: str, key: tuple[int, str, str]) -> _Learnt | None:
        change = self._parse_line(line, f"{key[1]} {key[2]}".rstrip(" "))
        if change is None or change.op != NEW_DEST or change.server is None:
            return None
        server = change.server
        payload = encode_dest(server)
        head = payload[:DEST_ADDR_OFFSET]
        before_port = payload[DEST_ADDR_OFFSET + len(server.addr) : DEST_PORT_OFFSET]
        before_weight = payload[DEST_PORT_OFFSET + 2 : DEST_WEIGHT_OFFSET]
        after = payload[DEST_WEIGHT_OFFSET + 4 :]
        layout = Struct(
            f"={len(self._key)}s{len(head)}s{len(server.addr)}s{len(before_port)}sH"
            f"{len(before_weight) + 4 + len(after)}s"
        )
        if len(self._learnt) > CACHE_LIMIT:
            self._learnt.clear()
        own = self._option == "-f" or server.forward == MASQ
        learnt = (own, layout.pack, head, before_port, before_weight, after)
        self._learnt[key] = learnt
        return learnt

    def _parse_line(self, line: str, rest: str) -> Change | None:
        """Parse a line by the definition. Return None where the rest may change what it names."""
        if not all(word.isdigit() or word in _WORDS for word in rest.split(" ")):
            return None
        try:
            change = parse_rule(0, line.split(" "), self._env)
        except UsageError:
            return None
        return change if isinstance(change, Change) else None


def _parse_endpoint(text: str) -> tuple[int, bytes, int] | None:
    """Parse HOST:PORT in plain numbers: family, address, port from 1. None for another form."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or len(port) > 5 or not 0 < int(port) < 65536:
        return None
    try:
        if host[:1] == "[" and host[-1:] == "]":
            return AF_INET6, inet_pton(AF_INET6, host[1:-1]), int(port)
        return AF_INET, inet_pton(AF_INET, host), int(port)
    except (OSError, ValueError):
        return None


def _split_key(protocol: int, family: int) -> tuple[bytes, bytes, bytes]:
    """Return what stands before, between and after a service's address and port."""
    addr = bytes(_SIZES[family])
    key = encode_service_key(Service(family, protocol, addr))
    return (
        key[:SERVICE_ADDR_OFFSET],
        key[SERVICE_ADDR_OFFSET + len(addr) : SERVICE_PORT_OFFSET],
        key[SERVICE_PORT_OFFSET + 2 :],
    )


_SIZES = {AF_INET: 4, AF_INET6: 16}
_PROTOCOLS = {"-t": TCP, "-u": UDP}
_KEYS = {
    (option, family): _split_key(protocol, family)
    for option, protocol in _PROTOCOLS.items()
    for family in _SIZES
}
_MARK_KEYS = {
    family: encode_service_key(Service(family, fwmark=1))[:SERVICE_MARK_OFFSET] for family in _SIZES
}
