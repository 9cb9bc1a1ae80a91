"""The pictures of the README and the text snapshots of the tests: a fixed table with played
numbers, drawn.
"""
