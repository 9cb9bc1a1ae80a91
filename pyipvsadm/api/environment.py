"""Replace the process environment while a program uses the Python interface.

Owns: keeping messages and output for the caller instead of writing them. Must never know: requests.
"""

from __future__ import annotations

from pyipvsadm.environment import Environment
from pyipvsadm.resolver import Resolver


class ProgramEnvironment(Environment):
    """Collect what commands write. No stream, variable or signal of the program is touched.

    input: what a command reads as its standard input. output, messages: what it wrote to standard
    output and standard error. history: the folder of the history, None for that of the kernel's
    table.
    """

    def __init__(self, history: str | None = None) -> None:
        # Variables of the program's user change nothing here.
        self.environ = {} if history is None else {"IPVSADM_HISTORY": history}
        self.names = Resolver()
        self._blocked_signals = []
        self.input = b""
        self.output = ""
        self.messages: list[str] = []

    def write_stdout(self, data: str) -> None:
        """Keep text of standard output."""
        self.output += data

    def write_stderr(self, line: str) -> None:
        """Keep a message."""
        self.messages.append(line)

    def write_raw_stderr(self, text: str) -> None:
        """Drop what is drawn for a person, such as progress."""

    def read_input(self) -> bytes:
        """Return the input that the caller has given."""
        return self.input

    def is_input_terminal(self) -> bool:
        """Return False: the input is the caller's."""
        return False

    def is_error_terminal(self) -> bool:
        """Return False: no person reads the messages."""
        return False

    def is_output_terminal(self) -> bool:
        """Return False: the output is kept."""
        return False

    def block_signals(self) -> None:
        """Leave the program's signals alone."""
