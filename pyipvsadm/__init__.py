"""Hold the version of pyipvsadm, an ipvsadm for Linux Virtual Server. This file imports nothing,
because every start would pay for it.
"""

__version__ = "0.1.0"
