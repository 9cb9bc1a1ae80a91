"""The Debian package: built, read by lintian, and lived with on a booted Debian (systemd, IPVS, the
reference, ldirectord).
"""
