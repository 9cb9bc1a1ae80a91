"""The measurements behind `make bench`: our ipvsadm and the reference side by side, on two kernels
and outside them.
"""
