"""Wrap the program as a click command, for click's test runner and for programs that embed it.

Owns: passing the words from click to the program. Must never know: the grammar; the program's own
parser reads the words.
"""

from __future__ import annotations

from typing import Any

import click

from pyipvsadm.cli import main
from pyipvsadm.environment import Environment
from pyipvsadm.grammar.help_layout import format_help


class IpvsadmCommand(click.Command):
    """Pass the words of a click command on unchanged, and show the program's own help.

    ctx.obj: the long name of the command that the help is about, "" for all.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Accept all words: click's parser takes no part."""
        ctx.params["words"] = list(args)
        ctx.args = []
        return []

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the page of one command, or the overview."""
        formatter.write(format_help(ctx.obj or ""))


def _run_words(words: list[str], **_: Any) -> None:
    class Echo(Environment):
        """Write through click, so that its test runner sees the output."""

        def write_stdout(self, data: str) -> None:
            click.echo(data, nl=False)

        def write_stderr(self, line: str) -> None:
            click.echo(line, err=True)

    click.get_current_context().exit(main(words, Echo()))


ipvsadm = IpvsadmCommand(
    "ipvsadm",
    callback=_run_words,
    add_help_option=False,
)
