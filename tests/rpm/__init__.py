"""The package for Red Hat and its kin: built, read by rpmlint, and lived with on a booted tree."""
