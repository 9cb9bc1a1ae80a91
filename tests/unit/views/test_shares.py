"""Test -L --shares: as text, for people, as JSON, and with filters."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from pyipvsadm.backends.memory import MemoryBackend
from pyipvsadm.cli import main
from pyipvsadm.model import AF_INET, Server, Service
from pyipvsadm.scheduling.build import Build
from pyipvsadm.views.shares import Shares, format_percentage
from tests.unit.fake_environment import FakeEnvironment, apply_all
from tests.unit.views.test_json_document import SCHEMA

RULES = (
    "-A -t 10.0.0.1:80 -s sh",
    "-a -t 10.0.0.1:80 -r 192.168.10.8:80 -m -w 3",
    "-a -t 10.0.0.1:80 -r 192.168.10.9:80 -m -w 0",
    "-A -t 10.0.0.2:80 -s wrr",
    "-a -t 10.0.0.2:80 -r 192.168.10.8:80 -m -w 3",
    "-a -t 10.0.0.2:80 -r 192.168.10.9:80 -m -w 1",
    "-A -t 10.0.0.3:80 -s fo",
    "-a -t 10.0.0.3:80 -r 192.168.10.8:80 -m -w 3",
    "-a -t 10.0.0.3:80 -r 192.168.10.9:80 -m -w 1",
    "-A -t 10.0.0.4:80 -s lblc",
    "-a -t 10.0.0.4:80 -r 192.168.10.8:80 -m",
    "-A -t 10.0.0.5:80 -s mh -b mh-fallback",
    "-A -t 10.0.0.6:80 -s wrr",
    "-a -t 10.0.0.6:80 -r 192.168.10.8:80 -m -w 0",
)
SH = """\
TCP  10.0.0.1:80 sh: of the hash table, 25.0% refused
  -> 192.168.10.8:80              3      75.0%
  -> 192.168.10.9:80              0      0.0%
"""
TITLE = """\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Weight Share
"""


def run(words: str) -> tuple[int, str, str]:
    table = MemoryBackend()
    apply_all(table, RULES)
    env = FakeEnvironment(table=table)
    status = main(["--backend", "memory", *words.split()], env)
    return (status, *env.take())


def test_text() -> None:
    version = run("-L -n")[1].split("\n")[0] + "\n"
    assert run("-L -n --shares") == (
        0,
        f"""{version}{TITLE}{SH}\
TCP  10.0.0.2:80 wrr: of the turns
  -> 192.168.10.8:80              3      75.0%
  -> 192.168.10.9:80              1      25.0%
TCP  10.0.0.3:80 fo: who is next
  -> 192.168.10.8:80              3      next
  -> 192.168.10.9:80              1      -
TCP  10.0.0.4:80 lblc: not known
  -> 192.168.10.8:80              1      ?
TCP  10.0.0.5:80 mh (mh-fallback): not known
TCP  10.0.0.6:80 wrr: of the turns
  -> 192.168.10.8:80              0      0.0%
""",
        "",
    )


def test_filters_and_order() -> None:
    """The part of a server does not depend on which others are shown."""
    rest = SH.replace("  -> 192.168.10.8:80              3      75.0%\n", "")
    words = "-L -n --shares -t 10.0.0.1:80"
    assert run(f"{words} --quiesced")[1] == TITLE + rest
    head, one, two = SH.splitlines(keepends=True)
    assert run(f"{words} --nosort")[1] == TITLE + head + two + one


def test_json() -> None:
    _, text, _ = run("-L -n --shares --json")
    document = json.loads(text)
    Draft202012Validator(SCHEMA).validate(document)
    assert [
        (each["shares"], [server.get("share") for server in each["servers"]])
        for each in document["services"]
    ] == [
        ({"of": "table", "total": 256, "refused": 64, "spread": 0}, [192, 0]),
        ({"of": "weight", "total": 4}, [3, 1]),
        ({"of": "next"}, [1, 0]),
        ({"of": "unknown"}, [None]),
        ({"of": "unknown"}, []),
        ({"of": "weight", "total": 0}, [0]),
    ]
    plain = json.loads(run("-L -n --json")[1])
    assert not any("shares" in each for each in plain["services"])


def test_for_people() -> None:
    _, text, _ = run("-L -n --shares --pretty -t 10.0.0.1:80 -t 10.0.0.3:80")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "TCP 10.0.0.1:80 sh of the hash table, 25.0% refused" in lines
    assert any(line.startswith("192.168.10.9:80 0 quiesced 0.0%") for line in lines)
    assert any(line.startswith("192.168.10.8:80 3") and "75.0%" in line for line in lines)
    assert any(line.startswith("192.168.10.8:80 3") and line.endswith("next") for line in lines)


def test_several_that_may_be_next() -> None:
    servers = [Server(AF_INET, bytes([10, 0, 0, at]), 80, upper=4, active=3) for at in (1, 2)]
    found = Shares(Service(AF_INET, scheduler="lc"), servers, Build(counts_total=True))
    assert [found.format_part(server) for server in servers] == ["may be next"] * 2
    # a server that was not there when the shares were computed
    assert found.format_part(Server(AF_INET, bytes(4), 80)) == "-"


def test_a_fallback_of_mh() -> None:
    servers = [Server(AF_INET, bytes([10, 0, 0, at]), 80, upper=1, active=at - 1) for at in (1, 2)]
    found = Shares(Service(AF_INET, scheduler="mh", flags=8), servers, Build())
    assert found.format_remark() == "of the hash table, 50.0% spread over the others"


@pytest.mark.parametrize("other", ["-c", "--timeout", "--daemon", "--stats", "--rate", "--watch"])
def test_what_it_does_not_go_with(other: str) -> None:
    assert run(f"-L --shares {other}")[0] == 2


@pytest.mark.parametrize(
    ("count", "total", "text"),
    [
        (0, 256, "0.0%"),
        (1, 100_000, "less than 0.1%"),
        (64, 256, "25.0%"),
        (99_999, 100_000, "more than 99.9%"),
        (256, 256, "100.0%"),
    ],
)
def test_only_a_whole_is_100_percent(count: int, total: int, text: str) -> None:
    assert format_percentage(count, total) == text
