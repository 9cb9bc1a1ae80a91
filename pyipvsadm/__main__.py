"""`python -m pyipvsadm`."""

from pyipvsadm.cli import main, run_program

if __name__ == "__main__":
    run_program(main)
