"""The lab: a real kernel with IPVS (Debian's user-mode Linux) that runs pytest inside, and what it
says about it.
"""
