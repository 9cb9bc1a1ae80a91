"""Carry out commands, one module for each: a request in, text and an exit status out."""
