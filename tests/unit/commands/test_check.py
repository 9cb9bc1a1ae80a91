"""Test the check of rule files, and errors as JSON documents."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

import pyipvsadm
from pyipvsadm import cli
from tests.unit.fake_environment import FakeEnvironment, lines

SCHEMA = json.loads((Path(pyipvsadm.__file__).parent / "schema" / "ipvsadm-1.json").read_text())
GOOD = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m\n"
LATER = "the rules are of format 9, but this release only reads format 1: use the ipvsadm that wrote them"
MASTER = "--start-daemon master --mcast-interface none9\n"


def run(words: list[str], stdin: str = "") -> tuple[int, str, str]:
    env = FakeEnvironment(stdin=stdin.encode())
    env.open_backend = None  # type: ignore[assignment]  # no table is opened
    return (cli.main(words, env), *env.take())


CASES: list[tuple[str, str, int, list[str]]] = [
    ("good", GOOD, 0, []),
    ("of another machine", MASTER, 0, []),
    ("no line end", GOOD.rstrip(), 0, []),
    ("repeated", GOOD + GOOD, 0, [
        "3: repeats line 1: skipped: '-A -t 10.0.0.1:80 -s rr'",
        "4: repeats line 2: skipped: '-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m'",
    ]),
    ("repeated more often than is shown", "-A -f 1\n" * 22, 0, [
        *(f"{at}: repeats line 1: skipped: '-A -f 1'" for at in range(2, 22)), "and 1 more line",
    ]),
    ("empty", "# nothing\n", 2, ["no rule in the file"]),
    ("four bad lines", "-A -t 10.0.0.1:80 -s nonsense\n-A -q\n-A -f x\n-L\n", 2, [
        "2: -q: unknown option: '-A -q'",
        "3: invalid fwmark value `x' specified: '-A -f x'",
        "4: only -A, -a, --set and --start-daemon lines describe a table: '-L'",
    ]),
    ("refused", "-A -f 1 -s nonsense\n-A -f 2 -s rr\n-A -f 3 -s wrong\n", 2, [
        "1: Scheduler or persistence engine not found: '-A -f 1 -s nonsense'",
        "3: Scheduler or persistence engine not found: '-A -f 3 -s wrong'",
    ]),
    ("a later format", "# ipvsadm rules, format 9\n", 2, [
        f"1: {LATER}: '# ipvsadm rules, format 9'",
    ]),
    ("what a terminal would obey", "-A -f 1\x1b[2J\n", 2, ["1: invalid fwmark value `1\x1b[2J' specified: '-A -f 1?[2J'"]),
    ("a long line", f"-A -f {'x' * 200}\n", 2, [f"1: invalid fwmark value `{'x' * 200}' specified: '-A -f {'x' * 111}...'"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "status", "expected"), [pytest.param(*case[1:], id=case[0]) for case in CASES]
)
def test_a_file_is_checked(
    text: str, status: int, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lvs.rules").write_text(text)
    messages = [
        f"lvs.rules:{line}"
        if line[:1].isdigit()
        else line
        if line[:3] == "and"
        else f"lvs.rules: {line}"
        for line in expected
    ]
    assert run(["--check", "lvs.rules"]) == (status, "", lines(*messages))
    found = json.loads(run(["--check", "lvs.rules", "--json"])[1])
    jsonschema.validate(found, SCHEMA)
    assert bool(found["files"][0]["errors"]) == bool(status)


@pytest.mark.parametrize("words", ["--check --apply", "--check -t 10.0.0.1:80", "--check --nope"])
def test_a_wrong_command_line_opens_no_table(words: str) -> None:
    status, out, err = run(words.split())
    assert (status, out) == (255 if "nope" in words else 2, "")
    assert "ipvs" not in err


def test_who_types_the_rules_is_told_how_to_end_them() -> None:
    env = FakeEnvironment(stdin=GOOD.encode(), terminal=True)
    assert cli.main(["--check"], env) == 0
    assert env.stderr == "rules come from the terminal: end them with Ctrl-D on a line of its own\n"


def test_several_files_and_standard_input(tmp_path: Path) -> None:
    (tmp_path / "good").write_text(GOOD)
    (tmp_path / "bad").write_text("-A -q\n")
    names = [str(tmp_path / "good"), str(tmp_path / "bad"), "-", str(tmp_path / "none")]
    status, out, err = run(["--check", "--json", *names], stdin=GOOD + "-A -f 1\n-X\n")
    found = json.loads(out)
    jsonschema.validate(found, SCHEMA)
    assert status == 2
    assert [(file["file"], file["services"], file["servers"]) for file in found["files"]] == [
        (names[0], 1, 1), (names[1], 0, 0), ("-", 0, 0), (names[3], 0, 0),
    ]  # fmt: skip
    assert [[error["code"] for error in file["errors"]] for file in found["files"]] == [
        [], ["rules"], ["rules"], ["failed"],
    ]  # fmt: skip
    assert found["files"][1]["errors"] == [
        {"code": "rules", "file": names[1], "line": 1, "text": "-A -q", "message": "-q: unknown option"}
    ]  # fmt: skip
    assert err.splitlines()[-1].startswith(f"{names[3]}: ") or names[3] in err
    assert run(["--check"], stdin=GOOD) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "stdin", "status", "error"),
    [
        ("-L -q --json", "", 255, {"code": "usage", "message": "-q: unknown option"}),
        ("-L --nonsense --json", "", 255, {"code": "usage", "message": "--nonsense: unknown option"}),
        ("-L -t 10.0.0.1:80 --json", "", 1, {"code": "refused", "message": "No such service", "errno": 3}),
        ("--apply --json", "-A -f 1\n-A -q\n", 2,
         {"code": "rules", "line": 2, "text": "-A -q", "message": "-q: unknown option"}),
        ("--apply /nonexistent/file --json", "", 2,
         {"code": "usage", "message": "cannot read /nonexistent/file: No such file or directory"}),
        ("-L --json --pretty", "", 2,
         {"code": "usage", "message": "The option 'pretty' conflicts with the 'json' option in the 'list' command"}),
    ],
)  # fmt: skip
def test_an_error_is_a_document_too(
    words: str, stdin: str, status: int, error: dict[str, object]
) -> None:
    env = FakeEnvironment(stdin=stdin.encode())
    got = cli.main(words.split(), env)
    out, err = env.take()
    found = json.loads(out)
    jsonschema.validate(found, SCHEMA)
    assert (got, found) == (status, {"format": 1, "error": error})
    assert str(error["message"]) in err


def test_several_errors_are_all_in_the_document() -> None:
    env = FakeEnvironment(stdin=b"-A -q\n-A -z\n")
    assert cli.main(["--apply", "--json"], env) == 2
    found = json.loads(env.take()[0])
    jsonschema.validate(found, SCHEMA)
    assert [error["line"] for error in found["errors"]] == [1, 2]
    assert found["error"] == found["errors"][0]
