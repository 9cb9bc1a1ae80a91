"""Programs for developers: bench, fuzzers, mutation, pictures, and the recorders of what tests are
held against.
"""
