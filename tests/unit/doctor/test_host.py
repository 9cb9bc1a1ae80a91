"""Test how the doctor reads the host. This machine need not have what is read: folders and answers
are given.
"""

from __future__ import annotations

import os
import socket
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pyipvsadm.doctor import host
from pyipvsadm.doctor.facts import Facts
from pyipvsadm.doctor.host import SOL_IP, Host
from pyipvsadm.model import AF_INET, AF_INET6

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

RELEASE = os.uname().release


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """Redirect all reads of /proc, /sys and /lib to a folder. Return a function that writes a file
    into it.
    """

    def write(path: str, text: str) -> None:
        file = tmp_path / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    monkeypatch.setattr(host, "NET", tmp_path / "proc/net")
    monkeypatch.setattr(host, "SYS", tmp_path / "proc/sys")
    monkeypatch.setattr(host, "Path", lambda *parts: tmp_path / str(Path(*parts)).lstrip("/"))
    return write


class Answer(dict[str, Any]):
    """Hold a message of pyroute2's: fields, and attributes by name."""

    def __init__(self, attributes: dict[str, Any], **fields: Any) -> None:
        super().__init__(fields)
        self.attributes = attributes

    def get_attr(self, name: str) -> Any:
        return self.attributes.get(name)


def test_whether_the_module_is_there(root: Callable[[str, str], None]) -> None:
    assert not Host().has_ipvs()
    assert not Host().has_proc()
    root("/proc/net/ip_vs", "")
    assert Host().has_ipvs()
    assert Host().has_proc()


def test_addresses_of_other_families_are_passed_over() -> None:
    given = [
        Answer({}, family=socket.AF_PACKET, prefixlen=0, index=1, flags=0),
        Answer(
            {"IFA_LOCAL": "10.0.0.1", "IFA_ADDRESS": "10.0.0.9", "IFA_FLAGS": 0x20},
            family=AF_INET,
            prefixlen=32,
            index=2,
            flags=0,
        ),
        Answer({"IFA_ADDRESS": "fd00::1"}, family=AF_INET6, prefixlen=64, index=3, flags=0x20),
    ]
    found = Facts()
    route: Any = types.SimpleNamespace(get_addr=lambda: given)
    host._read_addresses(route, found, {2: "eth0"})
    assert [(each.text, each.prefix, each.link, each.deprecated) for each in found.addresses] == [
        ("10.0.0.1", 32, "eth0", True),
        ("fd00::1", 64, "", True),
    ]


def test_rules_of_the_other_family_are_not_taken_twice() -> None:
    """A kernel without IPv6 answers with its IPv4 rules if it is asked for those of IPv6."""
    rule = Answer({"FRA_FWMARK": 7}, family=AF_INET, table=100, src_len=0)
    route: Any = types.SimpleNamespace(
        get_rules=lambda **_: [rule],
        get_routes=lambda **_: [Answer({}, table=100, type=2)],
    )
    (found,) = host._read_rules(route)
    assert (found.family, found.table, found.mark, found.mask, found.brings, found.empty) == (
        AF_INET,
        100,
        7,
        0xFFFFFFFF,
        True,
        False,
    )


def test_schedulers_are_loaded_or_known_to_the_folder_of_modules(
    root: Callable[[str, str], None],
) -> None:
    root("/sys/module/ip_vs_rr/version", "")
    assert host._find_schedulers(["rr"]) == {"rr"}
    # no list of modules: the schedulers cannot be known
    assert host._find_schedulers(["rr", "wlc"]) is None
    root(
        f"/lib/modules/{RELEASE}/modules.dep",
        "kernel/net/netfilter/ipvs/ip_vs_wlc.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz",
    )
    assert host._find_schedulers(["wlc"]) is None
    root(f"/lib/modules/{RELEASE}/modules.builtin", "kernel/net/netfilter/ipvs/ip_vs_sh.ko")
    assert host._find_schedulers(["rr", "wlc", "sh", "nq", "w"]) == {"rr", "wlc", "sh"}


@pytest.mark.parametrize(
    ("text", "release"),
    [("6.1.0-25-amd64", (6, 1)), ("5.10.209+", (5, 10)), ("7.3-rc1", (7, 3)), ("odd", None), ("6.x", None), ("v6.1", None)],
)  # fmt: skip
def test_releases(text: str, release: tuple[int, int] | None) -> None:
    assert host._parse_release(text) == release


def test_tracked_connections(root: Callable[[str, str], None]) -> None:
    root("/proc/sys/net/netfilter/nf_conntrack_count", "3\n")
    assert host._read_conntrack() is None
    root("/proc/sys/net/netfilter/nf_conntrack_max", "65536\n")
    assert host._read_conntrack() == (3, 65536)


def test_filters_of_each_table(
    root: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert host._count_filters() == {}
    asked: list[tuple[int, int, str]] = []

    def two(*words: Any) -> int:
        asked.append(words)
        return 2

    monkeypatch.setattr(host, "_count_legacy", two)
    root("/proc/net/ip_tables_names", "nat\nfilter\n")
    root("/proc/net/ip6_tables_names", "mangle\n")
    assert host._count_filters() == {"iptables nat": 2, "iptables filter": 2, "ip6tables mangle": 2}
    assert asked == [
        (socket.AF_INET, 0, "nat"),
        (socket.AF_INET, 0, "filter"),
        (socket.AF_INET6, 41, "mangle"),
    ]


def test_filters_that_are_not_ours_to_see(root: Callable[[str, str], None]) -> None:
    root("/proc/net/ip_tables_names/it", "cannot be read: it is a folder")
    assert host._count_filters() is None


def test_a_table_that_the_kernel_does_not_tell(root: Callable[[str, str], None]) -> None:
    """The real kernel is asked: the table does not exist, or we may not ask for it."""
    root("/proc/net/ip_tables_names", "nonesuch\n")
    with pytest.raises(OSError, match=r"nonesuch|Operation not permitted"):
        host._count_legacy(socket.AF_INET, SOL_IP, "nonesuch")
    assert host._count_filters() is None


def test_rules_of_nftables(
    root: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tables:
        def __init__(self, nfgen_family: int) -> None:
            assert nfgen_family == 0  # AF_UNSPEC: all families

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def get_rules(self) -> list[Answer]:
            return [Answer({"NFTA_RULE_TABLE": name}) for name in ("web", "nat", "web")]

    made: Any = types.ModuleType("pyroute2.nftables.main")
    made.NFTables = Tables
    monkeypatch.setitem(sys.modules, "pyroute2.nftables.main", made)
    assert host._count_filters() == {}  # the module is not loaded: nothing is asked
    root("/sys/module/nf_tables/version", "")
    assert host._count_filters() == {"nftables web": 2, "nftables nat": 1}
