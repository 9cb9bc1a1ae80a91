"""Write the index from each option to the files that carry it out: `python -m tools.option_index`
renews it in ARCHITECTURE.md.

Owns: which file carries out which option. The names come from the table of options; a test fails
when the index is stale.
"""

from __future__ import annotations

from pathlib import Path

from pyipvsadm.grammar.options import COMMANDS, OPTIONS

REPO = Path(__file__).resolve().parents[1]
PAGE = REPO / "ARCHITECTURE.md"
BEGIN, END = "<!-- index of options: begin -->\n", "<!-- index of options: end -->\n"

_MODIFY = "commands/modify"
_COMMANDS = {
    "list": "commands/listing",
    "restore": "commands/restore",
    "save": "commands/save",
    "apply": "commands/apply",
    "check": "commands/check",
    "undrain": "commands/undrain change/undo change/recorded",
    "undo": "commands/history change/undo change/recorded",
    "history": "commands/history change/journal",
    "confirm": "commands/confirm",
    "predict": "commands/predict scheduling/packet",
    "doctor": "commands/doctor",
    "help": "grammar/help_layout",
    "version": "cli",
}
_RULE = "grammar/parser netlink/attributes rules/writer"
_VIEW = "commands/listing views/classic"
_CONFIRM = "commands/apply"
# By the long name. Options that are not named here describe a service, a real server or a sync
# daemon: they go from the parser into the record, the message and the rule.
_OPTIONS = {
    "numeric": "commands/names",
    "connection": "commands/listing views/connections",
    "stats": _VIEW,
    "rate": _VIEW,
    "exact": "views/classic",
    "thresholds": _VIEW,
    "persistent-conn": "views/classic views/connections",
    "tun-info": "views/classic",
    "nosort": "commands/listing",
    "sort": "grammar/options",
    "resolve-timeout": "commands/dispatch resolver",
    "json": "views/json_document commands/apply doctor/report",
    "empty": "commands/selection",
    "quiesced": "commands/selection",
    "client": "commands/selection",
    "by": "commands/connection_groups views/connection_groups",
    "pretty": "views/pretty",
    "shares": "views/shares scheduling/choice",
    "watch": "commands/watch views/live",
    "sort-by": "views/live",
    "status": "commands/status views/status",
    "metrics": "commands/metrics views/metrics views/fields",
    "output": "commands/metrics files",
    "timeout": "commands/listing views/classic",
    "daemon": "commands/listing views/classic",
    "color": "cli views/figures",
    "keep": "change/merge",
    "drain": "commands/drain commands/apply_drain change/pace views/progress",
    "drain-inactive": "change/pace",
    "fallback": "commands/fallback change/moves",
    "clear-fallback": "commands/fallback",
    "ramp": "commands/ramp change/ramp change/pace",
    "prune": "commands/apply change/plan",
    "force": _CONFIRM,
    "allow-empty": _CONFIRM,
    "keep-weights": "commands/apply change/plan",
    "confirm-within": "commands/confirm change/journal",
    "full": "commands/full_save",
    "dry-run": "commands/modify change/dry_run",
    "real-server-for": "commands/doctor doctor/real_server",
    "director": "commands/doctor doctor/real_server",
    "probe": "commands/doctor doctor/probe",
    "explain": "commands/doctor doctor/codes",
    "backend": "environment",
    "netns": "netns cli",
}


def list_rows() -> list[tuple[str, list[str]]]:
    """Return each command and option as it is typed, with the modules that carry it out."""
    rows = []
    for row in (*COMMANDS, *OPTIONS):
        typed = f"`-{row.short}`, `--{row.long}`" if row.short else f"`--{row.long}`"
        modules = (
            _COMMANDS.get(row.long, _MODIFY) if row in COMMANDS else _OPTIONS.get(row.long, _RULE)
        )
        rows.append((typed, [f"{module}.py" for module in modules.split()]))
    return rows


def render_index() -> str:
    """Return the index as a Markdown table."""
    lines = [f"| {typed} | {', '.join(files)} |\n" for typed, files in list_rows()]
    return "".join(["| option | files below pyipvsadm/ |\n", "| --- | --- |\n", *lines])


def renew(page: str) -> str:
    """Return the page with a fresh index between its marks."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + render_index() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(renew(PAGE.read_text()))
