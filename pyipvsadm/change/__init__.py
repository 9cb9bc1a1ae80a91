"""Changes that are more than one message: the difference of two tables, carried out and undone; a
trial; draining.
"""
