"""A click command around the scanner: for --help and for click's test runner.

Owns: the layout of the help, made from the table of options. Must never know: the grammar; `parse_args` hands the words to it.
Only imported when help is asked for: click costs a start 30 ms.
"""

from __future__ import annotations

from typing import Any

import click

from pyipvsadm.options import COMMANDS, NONE, OPTIONAL, OPTIONS, Command, Option

USAGE = (
    "-A|E SERVICE [service options]",
    "-D SERVICE",
    "-a|e SERVICE -r HOST[:PORT] [server options]",
    "-d SERVICE -r HOST[:PORT]",
    "-L|l [SERVICE] [list options]",
    "-Z [SERVICE]",
    "-C | -R | -S [-n]",
    "--set TCP TCPFIN UDP",
    "--start-daemon {master|backup} [daemon options]",
    "--stop-daemon {master|backup}",
    "--doctor [doctor options]",
)


class IpvsadmCommand(click.Command):
    """click's shell around our grammar: it passes the words on as they are and shows our table as its help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep click's parser out: the words go to the scanner."""
        ctx.params["words"] = list(args)
        ctx.args = []
        return []

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The forms of a command line."""
        for form in USAGE:
            formatter.write_usage(ctx.command_path, form)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Commands, then options by group."""
        with formatter.section("Commands (the first option)"):
            formatter.write_dl([(_names(row), row.help) for row in COMMANDS])
        groups: dict[str, list[Option]] = {}
        for row in OPTIONS:
            groups.setdefault(row.group, []).append(row)
        for group, rows in groups.items():
            with formatter.section("SERVICE" if group == "service" else group.capitalize()):
                formatter.write_dl([(_names(row), row.help) for row in rows])


def _names(row: Command | Option) -> str:
    names = f"-{row.short}, --{row.long}" if row.short else f"    --{row.long}"
    if isinstance(row, Command):
        return f"{names} {row.operands}".rstrip()
    if row.argument == NONE:
        return names
    return f"{names} [{row.metavar}]" if row.argument == OPTIONAL else f"{names} {row.metavar}"


def _run(words: list[str], **_: Any) -> None:
    from pyipvsadm.cli import main  # noqa: PLC0415  # click's entry is beside the door, not behind it
    from pyipvsadm.world import World  # noqa: PLC0415

    class Echo(World):
        """The real world, but what is written goes through click, which its test runner can read."""

        def out(self, data: str) -> None:
            click.echo(data, nl=False)

        def err(self, line: str) -> None:
            click.echo(line, err=True)

    click.get_current_context().exit(main(words, Echo()))


ipvsadm = IpvsadmCommand(
    "ipvsadm",
    callback=_run,
    help="Show and change the virtual services of Linux Virtual Server (IPVS): the kernel's, or an embedded table's.",
    add_help_option=False,
)


def help_text() -> str:
    """The whole help."""
    with click.Context(ipvsadm, info_name="ipvsadm", terminal_width=100, max_content_width=100) as ctx:
        return ipvsadm.get_help(ctx) + "\n"
