"""Hold the programs for developers: bench, fuzzers, mutation, pictures, and the recorders of the
files that tests compare with.
"""
