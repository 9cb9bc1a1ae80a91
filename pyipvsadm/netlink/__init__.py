"""Generic netlink messages of IPVS: bytes to records and back. No socket."""
