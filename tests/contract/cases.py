"""List the cases: the table before, the change, the answer, the table afterwards.

Functions make the cases if both families, or a row of values, get the same change.
"""

from __future__ import annotations

from pyipvsadm.model import AF_INET, AF_INET6
from tests.contract.daemons import daemons
from tests.contract.mixed import mixed_of
from tests.contract.other_cases import configs, others
from tests.contract.servers import addresses_of, servers_of
from tests.contract.services import families, netmasks, services_of

CASES = [
    *services_of("v4", AF_INET),
    *services_of("v6", AF_INET6),
    *servers_of("v4", AF_INET),
    *servers_of("v6", AF_INET6),
    *mixed_of("v4", AF_INET),
    *mixed_of("v6", AF_INET6),
    *addresses_of(
        "v4",
        AF_INET,
        fit="0.1.2.3 10.2.0.0 10.2.0.255 127.0.0.0 127.0.0.1 127.255.255.254 223.255.255.255 240.0.0.1 255.255.255.254",
        unfit="0.0.0.0 127.255.255.255 224.0.0.0 224.0.0.1 239.255.255.255 255.255.255.255",
    ),
    *addresses_of(
        "v6",
        AF_INET6,
        fit="::1 ::2 ::10.2.0.1 ::fffe:10.2.0.1 64:ff9b::1 2001:db8::1 fc00::1 fe00::1 fe7f::1 fec0::1 feff::1",
        unfit=":: ff00:: ff02::1 ffff::1 ::ffff:10.2.0.1 ::ffff:0.0.0.0 fe80::1 febf::1",
    ),
    *families(),
    *netmasks(),
    *configs(),
    *daemons(),
    *others(),
]
