"""Test how a kernel's configuration and release are read."""

from __future__ import annotations

import pytest

from pyipvsadm.scheduling.build import Build, parse_build, parse_counts_total

SH = "CONFIG_IP_VS_SH_TAB_BITS"
MH = "CONFIG_IP_VS_MH_TAB_INDEX"


@pytest.mark.parametrize(
    ("config", "sizes", "assumed"),
    [
        ("", (256, 4093), (SH, MH)),
        (f"{SH}=8\n{MH}=12\n", (256, 4093), ()),
        (f"CONFIG_IP_VS=m\n# {SH} is not set\n{MH}=17\n", (256, 131071), (SH,)),
        (f"{SH}=20\n{MH}=8\n", (1 << 20, 251), ()),
        (f"{SH}=3\n{MH}=18\n", (256, 4093), (SH, MH)),
        (f"{SH}=x\n{MH}=\n", (256, 4093), (SH, MH)),
    ],
)
def test_sizes(config: str, sizes: tuple[int, int], assumed: tuple[str, ...]) -> None:
    build = parse_build(config, "7.3.4", "x86_64", big_endian=False)
    assert ((build.sh_size, build.mh_size), build.assumed) == (sizes, assumed)


@pytest.mark.parametrize(
    ("machine", "bits"),
    [("x86_64", 64), ("aarch64", 64), ("s390x", 64), ("i686", 32), ("armv7l", 32)],
)
def test_machine(machine: str, bits: int) -> None:
    build = parse_build(f"{SH}=9\n{MH}=9", "6.1.1", machine, big_endian=True)
    assert build == Build(9, 9, bits, counts_total=False, big_endian=True)


@pytest.mark.parametrize(
    ("release", "counts"),
    [
        ("6.1.182", False), ("6.1.183-1", True), ("6.12.103", False), ("6.12.104", True),
        ("7.3.4", True), ("7.3", True), ("8.0-rc1", True), ("5.10.0", False), ("4.19", False),
        ("7.2.9", None), ("6.6.200", None), ("6.12", None), ("6.1", None), ("rolling", None), ("6", None),
    ],
)  # fmt: skip
def test_release(release: str, counts: bool | None) -> None:
    assert parse_counts_total(release) is counts
