"""Complete command lines for shells: words and a cursor in, candidates out."""
