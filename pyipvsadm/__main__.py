"""`python -m pyipvsadm`."""

from pyipvsadm.cli import entry, main

if __name__ == "__main__":
    entry(main)
