"""One module per command: a request in, text and an exit status out."""
