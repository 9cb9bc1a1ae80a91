"""Test the Debian package: built, read by lintian, and used on a booted Debian (systemd, IPVS, the
reference, ldirectord).
"""
