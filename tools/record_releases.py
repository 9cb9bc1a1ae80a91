"""Record what a release promises, in files: `python -m tools.record_releases NAME` records today's
answers in a new folder of that name.

Owns: which files are written, and by which commands. Must never know: what later releases may add
(unit/project/test_releases.py). A folder holds the file of an embedded table (`table`), the output
of each command of WRITTEN on it, a report of the doctor, and the exit statuses of commands on it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyipvsadm import cli
from pyipvsadm.backends.table_file import TableFileBackend
from pyipvsadm.doctor.codes import CODES
from pyipvsadm.doctor.report import render_json
from pyipvsadm.errors import Finding
from pyipvsadm.rules import writer
from tests.unit.fake_environment import FakeEnvironment, apply_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HERE = Path(__file__).parents[1] / "tests" / "releases"

TABLE = (
    "--set 100 200 300",
    "--start-daemon master --mcast-interface lo --syncid 7 --sync-maxlen 1400 --mcast-group 224.0.0.90 --mcast-port 88",
    "--start-daemon backup --mcast-interface lo --syncid 9 --mcast-group ff02::81",
    "-A -t 10.0.0.1:80 -s sh -p 60 -M 255.255.255.0 -b sh-port,sh-fallback",
    "-a -t 10.0.0.1:80 -r 10.0.1.4:8080 -m -w 3 -x 10 -y 5",
    "-a -t 10.0.0.1:80 -r 10.0.1.2:80 -i --tun-type gue --tun-port 6080 --tun-csum",
    "-a -t 10.0.0.1:80 -r 10.0.1.3:80 -i --tun-type gre --tun-nocsum",
    "-a -t 10.0.0.1:80 -r 10.0.1.5:80 -i",
    "-A -u 10.0.0.1:5060 -p --pe sip -o",
    "-A --sctp-service [2001:db8::1]:9 -s mh -b mh-fallback,mh-port",
    "-a --sctp-service [2001:db8::1]:9 -r [2001:db8::2]:9 -g -w 0",
    "-A -t 10.0.0.2:0 -s none -p 30",
    "-A -f 1 -s rr",
    "-a -f 1 -r 10.0.1.2:0 -g -w 65535",
    "-A -f 4294967295 -6 -p 30 -M 64 -s lblc -b flag-3",
    "-a -f 4294967295 -6 -r [2001:db8::2]:0 -g -w 2",
)
CHANGED = "-A -f 1 -s wlc\n-a -f 1 -r 10.0.1.3:0 -g -w 1\n"
WRITTEN = {
    "saved": "-S -n",
    "saved-full": "-S -n --full",
    "listing.json": "-L -n --json",
    "time-outs.json": "-L --timeout --json",
    "daemons.json": "-L --daemon --json",
    "connections.json": "-L -n -c --json",
    "version.json": "-v --json",
    "apply.json": "--apply --dry-run --json",
}
CONNECTIONS = (
    b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n",
    b"TCP 0A000063 C001 0A000001 0050 0A000104 1F90 ESTABLISHED     899\n",
    b"UDP 0A000063 C002 0A000001 13C4 0A000102 13C4 UDP              65 sip call-1\n",
    b"SCTP 2001:db8::63 C003 2001:db8::1 0009 2001:db8::2 0009 ESTABLISHED     899\n",
)
COMMANDS = (
    "-A -f 2", "-A -f 1", "-A -f 0", "-A", "-A -f 2 -s nonesuch", "-E -f 2", "-D -f 2", "-a -f 1 -r 10.0.1.9",
    "-a -f 1 -r 10.0.1.2", "-a -f 2 -r 10.0.1.9", "-e -f 1 -r 10.0.1.2", "-e -f 1 -r 10.0.1.9", "-d -f 1 -r 10.0.1.2",
    "-d -f 1 -r 10.0.1.9", "-C", "-Z", "-Z -f 2", "--set 1 2 3", "--set 1", "--start-daemon master --mcast-interface lo",
    "--stop-daemon backup", "--start-daemon master --mcast-interface nonesuch", "-L", "-L -n", "-L -f 2", "-L -n -c",
    "-L --timeout", "-L --daemon", "-S -n", "-R", "--apply", "--apply --force", "--apply --dry-run", "--apply /nonexistent", "-v",
    "--help", "-A --help", "-q", "-L --nope", "-L word", "", "-L --backend nonesuch", "-e -f 1 -r 10.0.1.9 -w 1 --keep",
    "-d -f 1 -r 10.0.1.2 --drain=0", "--drain -r 10.9.9.9", "-A -f 1 --dry-run", "-A -f 2 --dry-run", "-L --json -n",
    "--doctor --explain all", "--doctor --explain nonesuch",
)  # fmt: skip


class Table(TableFileBackend):
    """Hold a table that is never stored, on a machine that has lo, with connections."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.interfaces = {"lo"}.__contains__

    def iter_connections(self) -> Iterator[bytes]:
        return iter(CONNECTIONS)

    def lock_table(self) -> Any:
        return super(TableFileBackend, self).lock_table()

    def apply(self, changes: Any) -> list[tuple[int, int]]:
        return super(TableFileBackend, self).apply(changes)


def answer(path: Path, words: str) -> tuple[int, str]:
    """Return status and output of a command on the table in that file."""
    env = FakeEnvironment(stdin=CHANGED.encode(), table=Table(path))
    return cli.main(words.split(), env), env.stdout


def written(path: Path) -> dict[str, str]:
    """Return the outputs for the table in that file, by the name of the file that keeps them."""
    found = {name: answer(path, words)[1] for name, words in WRITTEN.items()}
    found["doctor.json"] = render_json(
        [Finding(CODES[0].code, "eth0", "detail", ("command",))], ["not checked"]
    )
    return found


def statuses(path: Path, commands: Iterable[str]) -> str:
    """Return a line for each command: its status on that table, and its words."""
    return "".join(f"{answer(path, words)[0]} {words}".rstrip() + "\n" for words in commands)


def record(name: str) -> None:
    folder = HERE / name
    folder.mkdir()
    table = TableFileBackend(str(folder / "table"))
    apply_all(table, TABLE)
    (folder / "table").write_text("".join(writer.dump_table(table)))
    for file, text in written(folder / "table").items():
        (folder / file).write_text(text)
    (folder / "statuses").write_text(statuses(folder / "table", COMMANDS))


if __name__ == "__main__":
    record(sys.argv[1])
