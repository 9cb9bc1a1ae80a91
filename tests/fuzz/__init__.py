"""Hostile bytes for every reader: targets.py says which, `python -m tests.fuzz` tries them for as long as is wanted."""
