"""Measure our ipvsadm and the reference side by side (`make bench`), on two kernels and outside
them.
"""
