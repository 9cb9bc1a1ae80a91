"""Test the package for Red Hat and its kin: built, read by rpmlint, and used on a booted tree."""
