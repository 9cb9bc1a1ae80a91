"""The grammar of the command line: options, the parser, what may stand together, help and hints."""
