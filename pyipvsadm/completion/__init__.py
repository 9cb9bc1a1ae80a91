"""Completion for shells: words and a cursor in, candidates out."""
