"""How good the tests are: the program with one small fault after the other, each of which a test
has to notice.
"""
