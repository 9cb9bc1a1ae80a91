"""Draw the pictures of the README and the text snapshots of the tests: a fixed table with invented
numbers.
"""
