"""Hostile bytes for every reader: targets.py says which, `python -m tools.fuzz` tries them for as
long as is wanted.
"""
