"""Check the layers of the package: imports of every module run downwards, without cycles."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[3] / "pyipvsadm"

# From the top: a folder or module may import those of later lines, and within its own folder. Not
# its neighbours on its line.
LAYERS = (
    {"__main__", "click_command"},
    {"cli", "api"},
    {"commands", "completion"},
    {"environment", "change"},
    {"backends", "doctor", "views"},
    {"rules"},
    {"grammar", "scheduling"},
    {"locks"},
    {"addresses", "netns", "files", "text", "terminal"},
    {"netlink", "resolver", "sorting", "errors"},
    {"model"},
    {"__init__"},
)
# Modules on one line that are used by another on it.
WITHIN = {("resolver", "errors"), ("netlink", "errors")}


def find_modules() -> dict[str, Path]:
    """Return the dotted name below the package and the path of each module."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }


MODULES = find_modules()


def read_imports(text: str, typing: bool) -> set[str]:
    """Return the modules of the package that a text imports anywhere; typing: also those for type
    checkers only.
    """
    tree = ast.parse(text)
    skipped: set[ast.AST] = set()
    if not typing:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                skipped |= set(ast.walk(node))
    found = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{name.name}" for name in node.names}
    below = {
        name.removeprefix("pyipvsadm").removeprefix(".")
        for name in found
        if name.split(".")[0] == "pyipvsadm"
    }
    return {name if name in MODULES else name.rpartition(".")[0] or "__init__" for name in below}


def unit(module: str) -> str:
    """Return the folder of a module, or the module where it stands alone."""
    return module.partition(".")[0]


def find_upward_imports(module: str, imports: set[str]) -> list[str]:
    """Return the imports that do not lead to a lower line of LAYERS."""
    rank = {name: index for index, layer in enumerate(LAYERS) for name in layer}
    return sorted(
        target
        for target in imports
        if unit(target) != unit(module)
        and (unit(module), unit(target)) not in WITHIN
        and rank[unit(target)] <= rank[unit(module)]
    )


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_run_downwards(module: str) -> None:
    if module in ("", "__init__"):
        return
    assert find_upward_imports(module, read_imports(MODULES[module].read_text(), typing=True)) == []


def test_every_module_is_in_a_layer() -> None:
    assert {unit(name or "__init__") for name in MODULES} == set().union(*LAYERS)


def test_an_upward_import_is_found() -> None:
    assert find_upward_imports(
        "netlink.attributes",
        read_imports("def f():\n    from pyipvsadm.commands import save\n", typing=False),
    ) == ["commands.save"]
    assert find_upward_imports("views.grid", {"backends.memory"}) == ["backends.memory"]


def test_no_modules_import_each_other() -> None:
    graph = {
        name: read_imports(path.read_text(), typing=False) - {name}
        for name, path in MODULES.items()
        if name
    }
    with pytest.raises(CycleError):
        TopologicalSorter({**graph, "model": {"cli"}}).prepare()
    TopologicalSorter(graph).prepare()


# The sizes that a reader can hold in mind: lines of a module, lines of a function without its
# docstring, modules beside the folders.
MAX_MODULE, MAX_FUNCTION, MAX_FLAT = 550, 60, 15


def find_oversized(text: str) -> list[str]:
    """Return what is too large in the text of a module."""
    found = []
    lines = text.count("\n")
    if lines > MAX_MODULE:
        found.append(f"the module has {lines} lines")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = ast.get_docstring(node, clean=False)
            assert node.end_lineno is not None
            size = node.end_lineno - node.lineno + 1 - len((docstring or "").splitlines())
            if size > MAX_FUNCTION:
                found.append(f"{node.name} has {size} lines")
    return found


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_modules_and_functions_are_small(path: Path) -> None:
    assert find_oversized(path.read_text()) == []


def test_few_modules_stand_beside_the_folders() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= MAX_FLAT


@pytest.mark.parametrize(
    ("body", "found"),
    [(58, []), (59, []), (60, ["f has 61 lines"]), (550, ["the module has 552 lines", "f has 551 lines"])],
)  # fmt: skip
def test_a_size_beyond_the_limit_is_found(body: int, found: list[str]) -> None:
    assert find_oversized("\ndef f():\n" + "    pass\n" * body) == found
    assert find_oversized('\ndef f():\n    """Pass."""\n' + "    pass\n" * body) == [
        line.replace("552", "553") for line in found
    ]
