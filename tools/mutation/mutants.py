"""Make the faults: one change of one module each, by mutmut's operators and, in tables, by some of
our own.

Owns: what is changed. Must never know: how tests are run, which fault is expected to live.

mutmut leaves alone the code that runs when a module is imported: the tables. In these each entry is
dropped, each number, flag, byte order and word is changed and, where a text has several words, each
is dropped. Lines of help are prose: they stay.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libcst as cst
from mutmut.mutation.mutators import mutation_operators

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).resolve().parents[2] / "pyipvsadm"
PROSE = {"Command": 2, "Option": 3}  # which argument is a line of help
EXPLAINED = {"SCHEDULERS", "ENGINES"}  # names to explanations, which are prose
TITLED = {"COMMAND_GROUPS"}  # entries of a title, which is prose, and a tuple under it
# modules whose functions make the rows of tables at import, and are never called again
AT_IMPORT = {"grammar/options"}
INSTEAD = {"OPTIONAL": "REQUIRED", "REQUIRED": "OPTIONAL", "True": "False", "False": "True"}
# In the format of a Struct: another byte order, or sign. Values of 16 bits are lengths, kinds and
# families, all small: their sign makes no difference.
LAYOUT = {"=": ">", ">": "<", **{code: code.swapcase() for code in "bBiIqQ"}}


@dataclass(frozen=True)
class Mutant:
    """Describe a module with a fault. where: the function or the table. function: the function's
    code, if the fault is in a function; source: the module's code, if it is in a table or in a
    function that makes tables at import.
    """

    module: str
    where: str
    change: str
    function: str = ""
    source: str = ""

    @property
    def name(self) -> str:
        return f"{self.where}: {self.change}"


def mutants(module: str) -> Iterator[Mutant]:
    """Yield all faults of a module (`change/plan`: change/plan.py), in the order of its text."""
    tree = cst.parse_module((PACKAGE / f"{module}.py").read_text())
    for statement in tree.body:
        inner = statement.body.body if isinstance(statement, cst.ClassDef) else [statement]
        prefix = f"{statement.name.value}." if isinstance(statement, cst.ClassDef) else ""
        for each in inner:
            if isinstance(each, cst.FunctionDef) and not each.decorators:
                where = prefix + each.name.value
                if module in AT_IMPORT:
                    for old, new in _in_code(each):
                        after = tree.deep_replace(old, new).code
                        yield Mutant(module, where, _difference(tree.code, after), source=after)
                else:
                    yield from _of_function(module, where, each.with_changes(leading_lines=()))
            elif isinstance(each, cst.SimpleStatementLine) and isinstance(
                each.body[0], cst.Assign | cst.AnnAssign
            ):
                yield from _of_table(module, tree, each)


def _of_function(module: str, where: str, function: Any) -> Iterator[Mutant]:
    blank = cst.Module([])
    before = blank.code_for_node(function)
    for old, new in _in_code(function):
        after = blank.code_for_node(function.deep_replace(old, new))
        yield Mutant(module, where, _difference(before, after), function=after)


def _of_table(module: str, tree: Any, statement: Any) -> Iterator[Mutant]:
    assign = statement.body[0]
    name = (assign.targets[0].target if isinstance(assign, cst.Assign) else assign.target).value
    if name in ("TYPE_CHECKING", "__slots__") or assign.value is None:
        return
    value = assign.value
    entries = (
        value.elements if isinstance(value, cst.Tuple | cst.Dict) and statement in tree.body else []
    )
    if not entries:
        for old, new in _in_table(value):
            after = tree.deep_replace(old, new).code
            yield Mutant(module, name, _difference(tree.code, after), source=after)
        return
    # Entry by entry: writing out a whole table for each of its words takes long.
    at = tree.code.index(tree.code_for_node(statement))
    for part in (statement, *entries):
        before = tree.code_for_node(part)
        at = tree.code.index(before, at)
        head, tail = tree.code[:at], tree.code[at + len(before) :]
        inner = part.value.elements[1] if name in TITLED and part is not statement else part
        for old, new in (
            _without_an_entry(value) if part is statement else _in_table(inner, name in EXPLAINED)
        ):
            after = tree.code_for_node(part.deep_replace(old, new))
            yield Mutant(module, name, _difference(before, after), source=head + after + tail)
        at += 0 if part is statement else len(before)


def _in_code(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (node, changed node) for a function and everything in it."""
    if isinstance(node, cst.Annotation):
        return
    if (
        isinstance(node, cst.Call)
        and isinstance(node.func, cst.Name)
        and node.func.value in ("len", "isinstance")
    ):
        return  # mutmut leaves these calls alone
    for kind, operator in mutation_operators:
        if isinstance(node, kind):
            yield from ((node, changed) for changed in operator(node))
    for child in node.children:
        yield from _in_code(child)


def _in_table(node: Any, prose: bool = False, whole: bool = False) -> Iterator[tuple[Any, Any]]:
    """Yield (node, changed node) for the value of a table and everything in it. whole: a text is
    not a list of words.
    """
    called = (
        node.func.value if isinstance(node, cst.Call) and isinstance(node.func, cst.Name) else ""
    )
    if isinstance(node, cst.Tuple | cst.List | cst.Set | cst.Dict):
        yield from _without_an_entry(node)
    elif isinstance(node, cst.Name) and node.value in INSTEAD:
        yield node, node.with_changes(value=INSTEAD[node.value])
    elif isinstance(node, cst.Integer):
        yield node, cst.Integer(str(node.evaluated_value + 1))
    elif isinstance(node, cst.SimpleString) and not prose:
        for text in _texts(node.raw_value, whole):
            yield node, node.with_changes(value=f"{node.prefix}{node.quote}{text}{node.quote}")
    elif isinstance(node, cst.FormattedStringText):
        for text in _texts(node.value, whole):
            yield node, node.with_changes(value=text)
    elif isinstance(node, cst.FormattedStringExpression):
        yield node, cst.FormattedStringText("")
    elif called == "Struct":
        code = node.args[0].value
        for at, letter in enumerate(code.raw_value):
            for instead in [LAYOUT[letter]] if letter in LAYOUT else [""] if letter == "x" else []:
                yield (
                    code,
                    code.with_changes(
                        value=f'"{code.raw_value[:at]}{instead}{code.raw_value[at + 1 :]}"'
                    ),
                )
        return
    for at, child in enumerate(node.args if called else node.children):
        explains = (prose and child is not getattr(node, "key", None)) or PROSE.get(called) == at
        yield from _in_table(child, explains, whole or called in PROSE)


def _without_an_entry(node: Any) -> Iterator[tuple[Any, Any]]:
    for at in range(len(node.elements)):
        rest = [*node.elements[:at], *node.elements[at + 1 :]]
        if len(rest) == 1 and isinstance(node, cst.Tuple):
            rest[0] = rest[0].with_changes(comma=cst.Comma())
        if rest or not isinstance(node, cst.Set):
            yield node, node.with_changes(elements=rest)


def _texts(text: str, whole: bool) -> Iterator[str]:
    words = [text] if whole else text.split(" ")
    for at, word in enumerate(words):
        if word:
            yield " ".join([*words[:at], f"{word}X", *words[at + 1 :]])
        if word and len(words) > 1:
            yield " ".join([*words[:at], *words[at + 1 :]])


def _difference(before: str, after: str) -> str:
    """Return the lines that differ: `old -> new`."""
    old, new = before.splitlines(), after.splitlines()
    parts = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return "; ".join(
        f"{_joined(old[a:b])} -> {_joined(new[c:d])}" for tag, a, b, c, d in parts if tag != "equal"
    )


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)
