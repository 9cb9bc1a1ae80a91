"""Feed hostile bytes to every reader: targets.py lists the readers, `python -m tools.fuzz` tries
them for a given time.
"""
