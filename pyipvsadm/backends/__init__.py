"""Hold the tables that commands work on: the kernel's, one in memory, one in a file."""
