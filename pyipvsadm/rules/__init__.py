"""Rules as text: the reader of -R and --apply, the writer of -S."""
