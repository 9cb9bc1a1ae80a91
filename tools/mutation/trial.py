"""Run the trials: find out whether a test fails when a module has a fault.

Owns: processes, the order of tests, when a trial has taken too long. Must never know: how faults
are made, which are known.

Each trial is a fork, so that nothing of it stays. A fault in a function is put into a process that
has collected the tests already, and only the tests that run that function are tried. A fault in a
table is in place before the package is imported, and all tests are tried. The test that found the
last fault comes first. The package's caches are filled before a fault in a function is put in: a
cache needs tests of its own. A trial that takes ten times the processor's time of all tests hangs:
this counts as found, too.
"""

from __future__ import annotations

import os
import resource
import sys
import traceback
from collections import defaultdict
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.util import spec_from_loader
from textwrap import indent
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from importlib.machinery import ModuleSpec
    from types import CodeType, FrameType, ModuleType

    from tools.mutation.mutants import Mutant

FOUND, LIVED = "found", "lived"
HUNG = "hung"  # or died: the fork used up its processor's time or its memory, and said nothing
BROKEN = "the tests fail without a fault"
OPTIONS = [
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:faulthandler",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
]


def trials(mutants: Iterable[Mutant], tests: list[str]) -> Iterator[tuple[Mutant, str]]:
    """Yield each mutant with FOUND, LIVED or HUNG. Raise RuntimeError if the tests fail without a
    fault.
    """
    # One example that fails is enough: no shrinking, no explanation.
    settings.register_profile(
        "mutation",
        phases=(Phase.explicit, Phase.generate),
        deadline=None,
        database=None,
        derandomize=True,
    )
    settings.load_profile("mutation")
    inside = [each for each in mutants if each.function]
    tables = [each for each in mutants if each.source]
    yield from zip(inside, _answers(lambda say: _session(tests, _Warm(inside, say))))
    yield from zip(tables, _answers(lambda say: _cold(tables, tests, say)))


def _answers(body: Callable[[Callable[[str], None]], None]) -> Iterator[str]:
    """Yield the lines that body writes in a fork of this process. Raise RuntimeError with any line
    that is no result.
    """
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(read)
            body(lambda line: (os.write(write, f"{line}\n".encode()), None)[1])
        except BaseException:  # noqa: BLE001  # the fork must not go on as a copy of its parent
            os.write(write, traceback.format_exc().replace("\n", "; ").encode() + b"\n")
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as lines:
        for line in lines:
            if line.strip() not in (FOUND, LIVED, HUNG):
                raise RuntimeError(line.strip())
            yield line.strip()
    os.waitpid(pid, 0)


def _session(tests: list[str], plugin: object) -> None:
    sys.stdout.flush()
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    pytest.main([*OPTIONS, *tests], plugins=[plugin])


class _Plugin:
    """Run the tests of a session until one fails. Tests that found a fault before come first
    (`_sorted`).
    """

    def __init__(self) -> None:
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.failed = self.failed or report.failed

    def first_failure(self, items: list[pytest.Item]) -> str:
        """Return the name of the first test that fails; "" if none does."""
        for at, item in enumerate(items):
            item.config.hook.pytest_runtest_protocol(
                item=item, nextitem=items[at + 1] if at + 1 < len(items) else None
            )
            if self.failed:
                return item.nodeid
        return ""


def _sorted(items: Iterable[pytest.Item], killers: dict[str, int]) -> list[pytest.Item]:
    return sorted(items, key=lambda item: -killers.get(item.nodeid, 0))


def _fork(body: Callable[[], str], seconds: float) -> str:
    """Return what body returns in a fork of at most so many seconds of the processor; HUNG if they
    are over or the fork dies. Raise RuntimeError if the trial itself fails.
    """
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            limit = int(seconds) + 2
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            os.write(write, b"=" + body().encode())
        except (KeyboardInterrupt, SystemExit):  # raised by the mutant: it has left pytest
            os.write(write, b"=left")
        except BaseException:  # noqa: BLE001  # a fault of the trial itself is no finding
            os.write(write, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as line:
        said = line.read()
    os.waitpid(pid, 0)
    if said and said[0] != "=":
        raise RuntimeError(said)
    return said[1:] or (HUNG if not said else "")


def _word(killer: str) -> str:
    return HUNG if killer == HUNG else FOUND if killer else LIVED


class _Warm(_Plugin):
    """Try faults in functions."""

    def __init__(self, mutants: list[Mutant], say: Callable[[str], None]) -> None:
        super().__init__()
        self.mutants = mutants
        self.say = say

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        reached = self._reached(session.items)
        if self.failed:
            self.say(BROKEN)
            return True
        limit = 10 * (resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)
        killers: dict[str, int] = {}
        for at, mutant in enumerate(self.mutants):
            items = _sorted(reached[mutant.module, mutant.where], killers)
            try:
                killer = _fork(partial(self._trial, mutant, items), limit) if items else ""
            except RuntimeError as exc:  # reported here: pytest would swallow it
                self.say(str(exc).replace("\n", "; "))
                return True
            killers[killer] = at + 1
            self.say(_word(killer))
        return True

    def _trial(self, mutant: Mutant, items: list[pytest.Item]) -> str:
        return _put(mutant) or self.first_failure(items)

    def _reached(self, items: list[pytest.Item]) -> dict[tuple[str, str], list[pytest.Item]]:
        """Return for each function the tests that run it."""
        found: dict[tuple[str, str], list[pytest.Item]] = defaultdict(list)
        files = {_module(each.module).__file__: each.module for each in self.mutants}
        for at, item in enumerate(items):
            seen: set[CodeType] = set()

            def called(frame: FrameType, event: str, _: object, seen: set[CodeType] = seen) -> None:
                if event == "call":
                    seen.add(frame.f_code)

            sys.setprofile(called)
            item.config.hook.pytest_runtest_protocol(
                item=item, nextitem=items[at + 1] if at + 1 < len(items) else None
            )
            sys.setprofile(None)
            for key in {
                (files[c.co_filename], c.co_qualname.partition(".<locals>")[0])  # type: ignore[attr-defined]  # Python 3.11
                for c in seen
                if c.co_filename in files
            }:
                found[key].append(item)
        return found


def _module(name: str) -> ModuleType:
    return sys.modules["pyipvsadm." + name.replace("/", ".")]


def _put(mutant: Mutant) -> str:
    """Give the function the mutant's code, wherever it is referred to already. Return "import" if
    the code cannot be executed, otherwise "".
    """
    module = _module(mutant.module)
    target: Any = module
    for part in mutant.where.split("."):
        target = getattr(target, part)
    made: dict[str, Any] = {}
    name = mutant.where.rpartition(".")[2]
    # Within a function with a variable __class__: super() in a method looks for it.
    code = f"from __future__ import annotations\ndef _made(__class__):\n{indent(mutant.function, '    ')}\n    return {name}\n"
    try:
        exec(compile(code, module.__file__ or "", "exec"), module.__dict__, made)
        function = made["_made"](object)
    except Exception:  # noqa: BLE001  # a default that cannot be made ends every run
        return "import"
    target.__code__ = function.__code__
    target.__defaults__ = function.__defaults__
    target.__kwdefaults__ = function.__kwdefaults__
    return ""


def _cold(mutants: list[Mutant], tests: list[str], say: Callable[[str], None]) -> None:
    """Try faults in tables."""
    killers: dict[str, int] = {}
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    if mutants and _fork(lambda: _imported(None, tests, killers), 600):
        say(BROKEN)
        return
    limit = 10 * (resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    for at, mutant in enumerate(mutants):
        killer = _fork(partial(_imported, mutant, tests, killers), limit)
        killers[killer] = at + 1
        file = killer.partition("::")[0]
        killers[file] = killers.get(file, 0) + 1
        say(_word(killer))


def _imported(mutant: Mutant | None, tests: list[str], killers: dict[str, int]) -> str:
    if mutant:
        sys.meta_path.insert(0, _Finder(mutant))
    for each in sorted(tests, key=lambda file: -killers.get(file, 0)):
        plugin = _Cold(f"{each}::", killers)
        _session([each], plugin)
        if plugin.killer:
            return plugin.killer
    return ""


class _Cold(_Plugin):
    def __init__(self, file: str, killers: dict[str, int]) -> None:
        super().__init__()
        self.killers = killers
        self.killer = file  # stays so if the file cannot be collected

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if not self.failed:  # in the collection: then the tests cannot even be imported
            self.killer = self.first_failure(_sorted(session.items, self.killers))
        return True


class _Finder(MetaPathFinder, Loader):
    """Import the mutant's source in the place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self.name = "pyipvsadm." + mutant.module.replace("/", ".")
        self.source = mutant.source

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        return spec_from_loader(name, self) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, f"mutant of {self.name}", "exec"), module.__dict__)
