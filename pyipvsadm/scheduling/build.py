"""Describe the running kernel's build as far as scheduling depends on it.

Owns: the sizes of hash tables, which are build options, and the counting of connections, which
depends on the release.
"""

from __future__ import annotations

from pyipvsadm.model import Record

# ip_vs_mh.c: primes, by CONFIG_IP_VS_MH_TAB_INDEX from 8 on
PRIMES = (251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071)

# Branches of stable kernels, and the first release of each that counts active connections in the
# total, too (kernel commits "ipvs: totalconns" of 2026; mainline has them in 7.3).
COUNTS_TOTAL_SINCE = {(6, 1): 183, (6, 12): 104}
COUNTS_TOTAL_MAINLINE = (7, 3)


class Build(Record):
    """Hold what scheduling depends on. sh_bits, mh_index: CONFIG_IP_VS_SH_TAB_BITS and
    CONFIG_IP_VS_MH_TAB_INDEX. counts_total: whether active connections are part of the total in
    the overhead of lc and wlc, None if the release does not say. assumed: the build options that
    were not read.
    """

    __slots__ = ("assumed", "big_endian", "bits", "counts_total", "mh_index", "sh_bits")

    def __init__(
        self,
        sh_bits: int = 8,
        mh_index: int = 12,
        bits: int = 64,
        counts_total: bool | None = None,
        big_endian: bool = False,
        assumed: tuple[str, ...] = (),
    ) -> None:
        self.sh_bits = sh_bits
        self.mh_index = mh_index
        self.bits = bits
        self.counts_total = counts_total
        self.big_endian = big_endian
        self.assumed = assumed

    @property
    def sh_size(self) -> int:
        """Return the number of buckets of sh (ip_vs_sh.c: IP_VS_SH_TAB_SIZE)."""
        return 1 << self.sh_bits

    @property
    def mh_size(self) -> int:
        """Return the number of entries of mh's table (ip_vs_mh.c: IP_VS_MH_TAB_SIZE)."""
        return PRIMES[self.mh_index - 8]


def parse_build(config: str, release: str, machine: str, big_endian: bool) -> Build:
    """Return the build that a kernel's configuration file ("" if there is none), a text with its
    release (such as "6.1.176-1") and its machine (such as "x86_64") describe.
    """
    options = {
        name: value
        for name, equals, value in (line.partition("=") for line in config.split("\n"))
        if equals and name.startswith("CONFIG_IP_VS_")
    }
    values = {"CONFIG_IP_VS_SH_TAB_BITS": 8, "CONFIG_IP_VS_MH_TAB_INDEX": 12}
    limits = {"CONFIG_IP_VS_SH_TAB_BITS": (4, 20), "CONFIG_IP_VS_MH_TAB_INDEX": (8, 17)}  # Kconfig
    assumed = []
    for name, (low, high) in limits.items():
        text = options.get(name, "")
        if text.isdecimal() and low <= int(text) <= high:
            values[name] = int(text)
        else:
            assumed.append(name)
    wide = "64" in machine or machine in ("alpha", "s390x")
    return Build(
        values["CONFIG_IP_VS_SH_TAB_BITS"],
        values["CONFIG_IP_VS_MH_TAB_INDEX"],
        64 if wide else 32,
        parse_counts_total(release),
        big_endian,
        tuple(assumed),
    )


def find_release(release: str, version: str) -> str:
    """Return the release with its stable number, of uname's two texts: Debian's own names stay the
    same for a whole branch, and the version tells ("#1 SMP Debian 6.1.76-1").
    """
    words = version.split()
    if "Debian" in words[:-1]:
        return words[words.index("Debian") + 1]
    return release


def parse_counts_total(release: str) -> bool | None:
    """Return Build.counts_total of a release: the first three numbers in the text, None if it does
    not say.
    """
    numbers = []
    for part in release.replace("-", ".").split(".")[:3]:
        if not part.isdecimal():
            break
        numbers.append(int(part))
    if len(numbers) < 2:
        return None
    branch = (numbers[0], numbers[1])
    if branch >= COUNTS_TOTAL_MAINLINE:
        return True
    if branch in COUNTS_TOTAL_SINCE and len(numbers) == 3:
        return numbers[2] >= COUNTS_TOTAL_SINCE[branch]
    # 7.1 and 7.2 may have been given the change in stable releases.
    return False if branch < (6, 1) else None
