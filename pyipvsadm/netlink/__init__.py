"""Encode and decode the generic netlink messages of IPVS. No socket."""
