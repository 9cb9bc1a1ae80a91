"""Test the program as a process: streams that are closed, full or broken, garbage in every place,
and the modules that a start imports.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "pyipvsadm"]


def run(
    words: list[bytes] | list[str],
    stdin: bytes = b"",
    backend: str = "memory",
) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        [*PROGRAM, *words],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
        env=os.environ | {"IPVSADM_BACKEND": backend, "PYTHONPATH": os.getcwd()},
    )
    return done.returncode, done.stdout, done.stderr


def shell(script: str) -> tuple[int, bytes, bytes]:
    """Run a shell script in which $P is the program on an empty embedded table."""
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        capture_output=True,
        timeout=60,
        check=False,
        env=os.environ
        | {"P": f"{sys.executable} -m pyipvsadm --backend memory", "PYTHONPATH": os.getcwd()},
    )
    return done.returncode, done.stdout, done.stderr


STREAMS: list[tuple[str, str, int, bytes]] = [
    ("output closed", "$P -L >&-", 1, b"cannot write to standard output: Bad file descriptor\n"),
    (
        "output full",
        "$P -L >/dev/full",
        1,
        b"cannot write to standard output: No space left on device\n",
    ),
    (
        "output read-only",
        "$P -L >&- 1</dev/null",
        1,
        b"cannot write to standard output: Bad file descriptor\n",
    ),
    ("input closed", "$P -R <&-", 1, b"cannot read standard input: Bad file descriptor\n"),
    (
        "input write-only",
        "$P -R 0>/dev/null",
        1,
        b"cannot read standard input: Bad file descriptor\n",
    ),
    ("errors closed", "$P -q 2>&-", 255, b""),
    ("errors full", "$P -q 2>/dev/full", 255, b""),
    ("all closed", "exec <&- >&- 2>&-; $P -L", 1, b""),
]


@pytest.mark.parametrize(
    ("script", "status", "stderr"), [pytest.param(*row[1:], id=row[0]) for row in STREAMS]
)
def test_streams(script: str, status: int, stderr: bytes) -> None:
    assert shell(script) == (status, b"", stderr)


def test_a_closed_pipe_ends_it_silently_by_signal() -> None:
    rules = "".join(f"-A -f {mark}\n-L -n\n" for mark in range(1, 400))
    done = subprocess.run(
        ["/bin/bash", "-c", '$P -R | head -1; echo "${PIPESTATUS[0]}"'],
        input=rules.encode(),
        capture_output=True,
        timeout=60,
        check=False,
        env=os.environ
        | {"P": f"{sys.executable} -m pyipvsadm --backend memory", "PYTHONPATH": os.getcwd()},
    )
    assert done.stderr == b""
    assert done.stdout.splitlines()[1:] == [str(128 + signal.SIGPIPE).encode()]


HOLDS = """
from pyipvsadm.environment import Environment
world = Environment()
world.block_signals()
world.write_stdout(f"{world.wait(0.001)}\\n")
world.write_stdout(f"{world.wait(30)}\\n")
world.write_stderr("written to a pipe that nobody reads")
world.write_stdout("alive\\n")
"""


@pytest.mark.parametrize(
    ("ignored", "sent", "taken"),
    [
        ("", [signal.SIGHUP], signal.SIGHUP),
        ("", [signal.SIGTERM], signal.SIGTERM),
        ("HUP", [signal.SIGHUP, signal.SIGTERM], signal.SIGTERM),  # as under nohup
        ("INT", [signal.SIGINT, signal.SIGTERM], signal.SIGTERM),  # as behind `&' in a script
    ],
)
def test_signals_that_are_held_come_where_it_waits(
    ignored: str, sent: list[signal.Signals], taken: signal.Signals
) -> None:
    child = subprocess.Popen(
        [
            "/bin/sh",
            "-c",
            f'{f"trap {chr(39) * 2} {ignored}; " if ignored else ""}exec {sys.executable} -c "$HOLDS"',
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.getcwd(), "HOLDS": HOLDS},
    )
    assert child.stdout
    assert child.stderr
    child.stderr.close()
    assert child.stdout.readline() == b"0\n"
    for number in sent:
        child.send_signal(number)
    assert child.stdout.read().split() == [str(int(taken)).encode(), b"alive"]
    child.stdout.close()
    assert child.wait(60) == 0


def test_an_interrupt_ends_it_silently_by_signal() -> None:
    child = subprocess.Popen(
        [*PROGRAM, "--backend", "memory", "-R"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    assert child.stdin
    # the program has read a part of this before we go on: its start is over
    child.stdin.write(b"-L\n" * (1 << 18))
    child.stdin.flush()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (-signal.SIGINT, b"", b"")


GARBAGE: list[tuple[str, bytes]] = [
    ("NUL", b"-A -t 10.0.0.1:80\0 -s r\0r\n"),
    ("only NUL", b"\0" * 1000),
    ("invalid UTF-8", b"-A -t \xff\xfe:80\n"),
    ("UTF-16", "-A -f 1\n".encode("utf-16")),
    ("binary", bytes(range(256)) * 10),
    ("10 MB line", b"-A -t " + b"1" * 10_000_000 + b":80\n"),
    ("10 MB of options", b"-A" + b" -n" * 3_000_000 + b"\n"),
    ("numbers without end", b"-A -f " + b"9" * 100_000 + b"\n"),
    ("a number in every place", b"--set 99999999999999999999 -1 0x10\n"),
    ("surrogates in UTF-8", b"-A -t \xed\xa0\x80:80\n"),
    ("substitution", b"-A -t !#:+ -n\n"),
    ("a lone comma", b"-A -f 1 -b ,\n"),
]


@pytest.mark.parametrize("stdin", [pytest.param(text, id=name) for name, text in GARBAGE])
def test_garbage_in_rules(stdin: bytes) -> None:
    status, stdout, stderr = run(["-R"], stdin)
    assert status in (0, 2, 255)
    assert stdout == b""
    assert b"Traceback" not in stderr
    assert stderr.count(b"\n") <= 2 + len(stdin) // 100_000
    assert (status == 0) == (b"line " not in stderr)


@pytest.mark.parametrize(
    "words",
    [
        [b"\xff\xfe"],
        [b"-A", b"-t", b"\xff:80"],
        [b"-A", b"-s", b"\xff" * 100, b"-f", b"1"],
        [b"-A", b"-f", b"9" * 100_000],
        [b"-" * 100_000],
        [b"-L", b"-" + b"n" * 100_000],
        [b""],
        [b"-A", b"-t", b""],
        [b"-C", b"--backend", b"memory:\xff/\xfe"],
    ],
)
def test_garbage_on_the_command_line(words: list[bytes]) -> None:
    status, _, stderr = run(words)
    assert status in (1, 2, 255)
    assert stderr.endswith(b"\n")
    assert b"Traceback" not in stderr


def test_words_of_the_user_come_back_as_they_were() -> None:
    status, _, stderr = run([b"-L", b"--\xff\xfe"])
    assert (status, stderr) == (255, b"--\xff\xfe: unknown option\n")


HANGS = """
import _socket, sys, threading
from pyipvsadm.cli import main, run_program
_socket.gethostbyaddr = lambda _: threading.Event().wait()
run_program(main)
"""


@pytest.mark.parametrize("words", [["-L"], ["-S"], ["-L", "--pretty"], ["-L", "--json"]])
def test_a_resolver_that_hangs_costs_the_names_and_no_more(
    words: list[str], tmp_path: Path
) -> None:
    table = tmp_path / "table"
    table.write_text("-A -t 10.0.0.1:80 -s wlc\n")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            HANGS,
            "--backend",
            f"memory:{table}",
            "--resolve-timeout",
            "1",
            *words,
        ],
        capture_output=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"10.0.0.1" in done.stdout


def test_an_unreadable_table_file(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    path.symlink_to(path)
    status, stdout, stderr = run(["-L"], backend=f"memory:{path}")
    assert (status, stdout) == (1, b"")
    assert stderr == f"cannot read {path}: Too many levels of symbolic links\n".encode()


def test_no_permission() -> None:
    """The user nobody has no kernel's table, whatever the reason."""
    # The checkout may be in root's folder, which the user nobody cannot read: make a copy.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        shutil.copytree("pyipvsadm", f"{folder}/pyipvsadm")
        become = (
            "import os, sys; os.geteuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534))"
        )
        script = f"{become}; sys.path.insert(0, {folder!r}); from pyipvsadm.cli import main; sys.exit(main(['-L']))"
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", script], capture_output=True, timeout=60, check=False
        )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().splitlines()[-2:] == [  # modprobe may write lines before these
        "Can't initialize ipvs: Permission denied (you must be root)",
        "Are you sure that IP Virtual Server is built in the kernel or as module?",
    ]


# The modules that a plain request may import, beside those that the interpreter has loaded by
# itself. gc is part of the interpreter and costs nothing; __future__ comes with the annotations,
# which are never evaluated.
STANDARD = {
    "__future__",
    "gc",
    "sys",
    "os",
    "_socket",
    "struct",
    "_struct",
    "errno",
    "fcntl",
    "time",
    "_signal",
}
ALWAYS = {
    "",
    ".addresses",
    ".cli",
    ".commands",
    ".commands.dispatch",
    ".environment",
    ".errors",
    ".grammar",
    ".grammar.combinations",
    ".grammar.options",
    ".grammar.parser",
    ".grammar.popt",
    ".grammar.values",
    ".model",
    ".resolver",
}
RULES = {".rules", ".rules.fast_parser", ".rules.reader", ".rules.writer"}
BACKENDS = {
    "memory": {".backends", ".backends.memory", ".backends.sync_daemon"},
    "memory:{}/table": {
        ".backends",
        ".backends.memory",
        ".backends.sync_daemon",
        ".backends.table_file",
        ".files",
        *RULES,
    },
    "kernel": {
        ".backends",
        ".backends.kernel",
        ".backends.missing_ipvs",  # only here, where there is no IPVS
        ".netlink",
        ".netlink.attributes",
        ".netlink.framing",
    },
}
WRITTEN = {".commands.output", ".sorting"}
REQUESTS: list[tuple[list[str], set[str]]] = [
    (["-L", "-n"], WRITTEN | {".commands.listing", ".views", ".views.classic", ".views.procfs"}),
    (["-A", "-t", "10.0.0.1:80"], {".commands.modify"}),
    (["-R"], {".commands.modify", ".commands.restore", ".rules.fast_encoder", *RULES}),
    (
        ["-S", "-n"],
        WRITTEN | {".commands.names", ".commands.save", ".rules", ".rules.writer"},
    ),
    (["-q"], set()),
    (["-v"], set()),
]


def named(modules: set[str]) -> set[str]:
    return {f"pyipvsadm{name}" for name in modules}


@pytest.mark.parametrize(("words", "also"), REQUESTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_plain_request_imports(
    words: list[str], also: set[str], backend: str, tmp_path: Path
) -> None:
    script = (
        "import os, sys; before = set(sys.modules); sys.path.insert(0, sys.argv.pop(1))\n"
        "from pyipvsadm.cli import main, run_program\n"
        "os._exit = lambda _: print(*sorted(set(sys.modules) - before), file=sys.stderr)\n"
        "run_program(main)"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-IS",
            "-c",
            script,
            os.getcwd(),
            "--backend",
            backend.format(tmp_path),
            *words,
        ],
        input=b"-A -f 1\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    imported = set(done.stderr.decode().splitlines()[-1].split())
    opened = BACKENDS[backend] if words != ["-v"] else set()
    if backend.startswith("memory:") and words[0] in ("-A", "-R"):
        opened = opened | {".locks"}  # a table in a file is locked while it changes
    assert imported - STANDARD - named(ALWAYS | also | opened) == set()
    assert ("pyipvsadm.backends.kernel" in imported) == (backend == "kernel" and words != ["-v"])


def test_what_may_be_imported_is_there() -> None:
    """A name that no module has any more would allow nothing, although it seems to."""
    allowed = ALWAYS.union(*BACKENDS.values(), *(also for _, also in REQUESTS))
    assert {name for name in named(allowed) if importlib.util.find_spec(name) is None} == set()


LAUNCHED = """
import sys
sys.addaudithook(lambda event, args: event == "import" and args[0] == "site" and sys.stderr.write("site\\n"))
sys.path.append(sys.argv.pop(1))
from pyipvsadm.cli import main, run_program
run_program(main)
"""


@pytest.mark.parametrize(
    ("words", "runs"),
    [(["-L", "--pretty"], True), (["--help"], False), (["-L"], False), (["-A", "-f", "1"], False)],
)
def test_site_runs_where_a_package_is_needed(words: list[str], runs: bool) -> None:
    """The installed programs start without site; rich is found in its folders."""
    done = subprocess.run(
        [sys.executable, "-IS", "-c", LAUNCHED, os.getcwd(), "--backend", "memory", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "site\n" if runs else "")
    assert done.stdout.startswith("Usage: ") == ("--help" in words)


# As the programs are run, but a signal comes with the first import that is ours.
EARLY = """
import os, sys
class Finder:
    @staticmethod
    def find_spec(name, *_):
        if name in ("gc", "pyipvsadm"):
            os.kill(os.getpid(), 2)
sys.meta_path.insert(0, Finder)
program = sys.argv[1]
sys.argv[:2] = [program]
sys.path.append(os.environ["CHECKOUT"])
exec(compile(open(program).read(), program, "exec"))
"""


@pytest.mark.parametrize(
    ("handler", "status"), [(signal.SIG_DFL, -signal.SIGINT), (signal.SIG_IGN, 0)]
)
@pytest.mark.parametrize("program", ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"])
def test_an_interrupt_before_our_first_import(
    program: str, handler: signal.Handlers, status: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-IS", "-c", EARLY, f"pyipvsadm/programs/{program}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
        env=os.environ | {"CHECKOUT": os.getcwd(), "IPVSADM_BACKEND": "memory"},
    )
    said = [line for line in done.stderr.splitlines() if b"embedded table" not in line]
    assert (done.returncode, said) == (status, [])


def test_a_package_that_is_missing_is_named() -> None:
    """Without site-packages rich is missing. A missing package that is not an extra of ours is
    reported as a fault of the installation.
    """
    script = "import sys; sys.path.insert(0, sys.argv.pop(1)); from pyipvsadm.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        script,
        os.getcwd(),
        "-L",
        "--pretty",
        "--backend",
        "memory",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = "this needs the Python package rich: No module named 'rich'; install it with `apt-get install python3-rich'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_the_installed_programs(tmp_path: Path) -> None:
    """`pip install` puts three launchers beside the interpreter, which import only our package."""
    folder = Path(sysconfig.get_path("scripts"))
    table = f"memory:{tmp_path / 'table'}"

    def call(program: str, *words: str, stdin: bytes = b"") -> tuple[int, bytes]:
        done = subprocess.run(
            [folder / program, *words],
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
            env=os.environ | {"IPVSADM_BACKEND": table},
        )
        return done.returncode, done.stdout

    assert call("ipvsadm", "-A", "-f", "1") == (0, b"")
    assert call("ipvsadm-save", "-n") == (0, b"-A -f 1 -s wlc\n")
    assert call("ipvsadm-restore", stdin=b"# saved\n-A -f 2\n") == (0, b"")
    assert call("ipvsadm", "-Sn") == (0, b"-A -f 2 -s wlc\n")
    for program in ("ipvsadm", "ipvsadm-save", "ipvsadm-restore"):
        ours = Path("pyipvsadm/programs", program).read_text().splitlines()
        assert (folder / program).read_text().splitlines()[1:] == ours[1:]
        imports = [line for line in ours if line.startswith(("import", "from"))]
        assert imports[:2] == ["import _signal", "import gc"]
        assert [line.partition(" import ")[0] for line in imports[2:]] == ["from pyipvsadm.cli"]
