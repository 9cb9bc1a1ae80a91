"""pyipvsadm: an ipvsadm for Linux Virtual Server. This file owns the version and imports nothing:
every start pays for it.
"""

__version__ = "0.1.0"
