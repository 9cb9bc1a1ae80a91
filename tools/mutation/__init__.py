"""Test the tests: run them on the program with one small fault at a time. A test has to notice each
fault.
"""
