"""Compare the manual pages with what they describe: the table of options, the help, the variables
that the code reads, the README.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
from pathlib import Path

import pytest

from pyipvsadm import environment, locks, model
from pyipvsadm.grammar.help_layout import format_synopsis
from pyipvsadm.grammar.options import (
    ATTACHED,
    COMMANDS,
    NONE,
    OPTIONAL,
    OPTIONS,
    SORT_KEYS,
    TUNNEL_TYPES,
    Command,
    Option,
)
from pyipvsadm.grammar.schedulers import ENGINES, SCHEDULER_FLAGS, SCHEDULERS
from pyipvsadm.views import fields
from tests.man.pages import PAGES, literals, plain, section, text, unescaped
from tests.older_python import zip_equal
from tools import man_differences

REPO = Path(__file__).parents[3]
JSON_PAGE = (REPO / "docs" / "json.md").read_text()
MAIN = PAGES["ipvsadm"]
ROWS: tuple[Command | Option, ...] = (*COMMANDS, *OPTIONS)


SEVERITIES = ("Errors", "Warnings")  # over the doctor's codes


def heading(row: Command | Option) -> str:
    """Return the line that the page has above its text about a row."""
    names = ", ".join([f"-{row.short}"] * bool(row.short) + [f"--{row.long}"])
    argument = row.operands if isinstance(row, Command) else row.metavar
    if isinstance(row, Option) and row.argument == OPTIONAL:
        argument = f"[{argument}]"
    if isinstance(row, Option) and row.argument == ATTACHED:
        return f"{names}[={argument}]"
    return f"{names} {argument}".rstrip()


def items(source: str) -> list[str]:
    return [plain(line) for line in source.splitlines() if line.startswith(".It ")]


def test_every_command_and_option_has_its_place_and_there_are_no_others() -> None:
    titles = ["DESCRIPTION", "COMMANDS", "OPTIONS", "DOCTOR"]
    found = [item for title in titles for item in items(section(MAIN, title))]
    assert sorted(set(found) - set(SEVERITIES)) == sorted(map(heading, ROWS))
    # headings rely on this
    assert all(bool(row.metavar) == (row.argument != NONE) for row in OPTIONS)


def test_the_synopsis_is_what_help_says() -> None:
    forms = re.split(r"^\.Nm$", section(MAIN, "SYNOPSIS"), flags=re.MULTILINE)[1:]
    assert sorted(text(each.strip()).replace("\n", " ") for each in forms) == sorted(
        map(format_synopsis, COMMANDS)
    )


KNOWN = (
    {f"--{row.long}" for row in ROWS}
    | {f"-{row.short}" for row in ROWS if row.short}
    | {"-l", "-Ln", "--complete"}
    | {"--now"}  # of systemctl: the page says not to give it
)


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_no_page_names_an_option_that_there_is_not(page: str) -> None:
    """Exceptions are examples, which run, and formats of lists and dates."""
    spoken = re.sub(r"^\.Bd.*?^\.Ed$|^\.(Bl|Dd) .*?$", "", page, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"(?<![\w-])--?[a-zA-Z0-9][a-zA-Z0-9-]*", text(spoken)))
    assert named
    assert named - KNOWN == set()


def test_schedulers_their_flags_engines_and_other_words() -> None:
    found = items(section(MAIN, "SCHEDULERS"))
    assert sorted(found) == sorted([*SCHEDULERS, *(name for name, _, _ in SCHEDULER_FLAGS)])
    assert set(ENGINES) <= set(items(section(MAIN, "PERSISTENCE")))
    options = text(section(MAIN, "OPTIONS"))
    assert [
        word for word in (*TUNNEL_TYPES, *SORT_KEYS) if not re.search(rf"\b{word}\b", options)
    ] == []


def test_the_codes_of_the_doctor() -> None:
    codes = importlib.import_module("pyipvsadm.doctor.codes")
    for title, severity in zip_equal(SEVERITIES, (codes.ERROR, codes.WARNING)):
        listed = section(MAIN, "DOCTOR").split(f".It {title}\n")[1].split(".It ")[0]
        expected = [row.code for row in codes.CODES if row.severity == severity]
        assert re.findall(r"^\.Cm (\S+)", listed, re.MULTILINE) == expected


def test_the_variables_that_are_read() -> None:
    code = "".join(path.read_text() for path in (REPO / "pyipvsadm").rglob("*.py"))
    read = set(re.findall(r'environ(?:\.get\(|\[)"([A-Z_]+)"', code)) | set(
        re.findall(r'"([A-Z_]+)" in self\.environ', code)
    )
    read |= set(re.findall(r'^BACKEND_VARIABLE = "([A-Z_]+)"', code, re.MULTILINE))
    assert "NO_COLOR" in read
    # HOME is completion's, for ~/
    assert sorted(items(section(MAIN, "ENVIRONMENT"))) == sorted(read - {"HOME"})


def test_the_files() -> None:
    assert sorted(items(section(MAIN, "FILES"))) == sorted(
        [
            model.TABLE_FILE,
            model.CONNECTIONS_FILE,
            model.SETTINGS,
            locks.NAMESPACE_LOCK,
            environment.HISTORY_FOLDER,
            "/etc/ipvsadm.rules",
            "/etc/sysconfig/ipvsadm",
            "/etc/default/ipvsadm",
            "/etc/sysconfig/pyipvsadm",
        ]
    )
    (schema,) = (REPO / "pyipvsadm" / "schema").iterdir()
    assert str(schema.relative_to(REPO)) in section(MAIN, "JSON")


def test_differences_are_the_page_s() -> None:
    page = (REPO / "docs" / "differences.md").read_text()
    assert man_differences.renew(MAIN, page) == MAIN, "run python -m tools.man_differences"
    found = section(MAIN, "DIFFERENCES FROM 1.31").split(".It\n")[1:]
    expected = [item.replace("`", "") for item in man_differences.list_items(page)]
    assert [unescaped(item.partition("\n.El")[0]).split() for item in found] == [
        item.split() for item in expected
    ]


def test_the_verbs_of_the_service() -> None:
    """The page names each verb of the script, except for synonyms."""
    script = (REPO / "packaging" / "systemd" / "service.sh").read_text()
    (usage,) = re.findall(r"Usage: \$0 \{(.*)\}", script)
    others = {"try-restart", "force-reload"}
    assert set(items(section(MAIN, "SERVICE"))) == set(usage.split("|")) - others


def test_diagnostics_are_messages_that_there_are() -> None:
    """Each diagnostic is 1.31's sentence, ours, or the C library's for an errno that has no
    sentence.
    """
    named = re.findall(r'^\.It "(.*)"$', section(MAIN, "DIAGNOSTICS"), re.MULTILINE)
    code = "".join(path.read_text() for path in (REPO / "pyipvsadm").rglob("*.py"))
    code += os.strerror(errno.ERANGE)
    assert named
    assert [
        each for each in named if each.removeprefix("Can't initialize ipvs: ") not in code
    ] == []


def test_the_fields_of_json() -> None:
    """The page names the fields of each record, and no other field."""
    listed = re.split(r"^\.It Li ", section(MAIN, "JSON"), flags=re.MULTILINE)[1:]
    found = {
        item.split()[0]: set(re.findall(r"^\.Li (\w+)", item, re.MULTILINE)) for item in listed
    }
    end, names = ({field.key for field in part} for part in (fields.END_FIELDS, fields.NAME_FIELDS))
    expected = {
        "format": set(),
        "ipvs": {"version", "connection_table_size"},
        "services": {"servers"},
        "servers": end,
        "tunnel": set(),
        "stats": {"rate"},
        "timeouts": set(),
        "daemons": set(),
        "connections": end | names,  # names stand in the paragraph that follows the list
    }
    for name, tables in (
        ("services", (*fields.SERVICE_KEY_FIELDS, *fields.SERVICE_FIELDS)),
        ("servers", fields.SERVER_FIELDS),
        ("tunnel", fields.TUNNEL_FIELDS),
        ("stats", fields.COUNTERS),
        ("timeouts", fields.TIMEOUTS),
        ("daemons", fields.DAEMON_FIELDS),
        ("connections", fields.CONNECTION_FIELDS),
    ):
        expected[name] |= {field.key for field in tables}
    assert found == expected


def test_the_examples_of_jq_are_the_page_s() -> None:
    (block,) = literals(section(MAIN, "JSON"))
    expected = [
        line for line in JSON_PAGE.splitlines() if line.startswith("ipvsadm") and "| jq " in line
    ]
    assert block.split() == " ".join(expected).split()
