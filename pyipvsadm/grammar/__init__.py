"""Define the grammar of the command line: options, the parser, legal combinations, help and hints."""
