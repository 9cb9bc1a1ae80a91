"""Run pytest on a real kernel with IPVS (Debian's user-mode Linux) and judge what comes back: the
lab.
"""
