"""Represent the kernel's schedulers as pure functions: which server takes a client, and what part of
the clients each server has.

Owns: the arithmetic of net/netfilter/ipvs, held against recorded sequences and real packets. What
cannot be known from outside (cursors, caches) is answered with all servers that it may be. Must
never know: backends, options, how anything is shown.
"""
