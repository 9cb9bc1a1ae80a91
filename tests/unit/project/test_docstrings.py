"""Check that docstrings open with an imperative verb: modules, classes and functions, of the
package and of the Ansible collection; classes and functions of the tools and of the code that
supports tests. A test states a rule.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [
    *sorted((ROOT / "pyipvsadm").rglob("*.py")),
    *sorted((ROOT / "ansible_collections").rglob("*.py")),
]
SUPPORT = [
    *sorted((ROOT / "tools").rglob("*.py")),
    *sorted((ROOT / "tests").rglob("*.py")),
]
# A new verb may be added; a noun, a pronoun or "Whether" is no verb.
VERBS = frozenset(
    """
    Accept Add Allow Amend Answer Append Apply Ask Attach Boot Build Cache Call Carry Change Check Choose Clear
    Close Collect Compare Compile Complete Compute Confirm Convert Copy Count Create Cut Decide Declare Decode
    Define Delete Describe Do Drain Draw Drop Edit Encode End Enter Examine Execute Expand Explain Extract Fail
    Fetch Fill Filter Find Finish Fit Flush Follow Format Free Fuzz Generate Give Group Handle Hash Have Hold Import
    Install Join Keep Kill Leave Let List Load Lock Look Make Map Mark Match Measure Merge Mount Move Name Note Open
    Order Pack Parse Pass Place Plan Play Predict Print Probe Provide Pull Put Raise Read Record Redirect Refuse
    Reject Release Remove Rename Render Renew Replace Report Represent Require Reset Resolve Restate Restore Return
    Round Run Say Scan Select Send Serve Set Show Skip Sort Split Stand Start Stay Stop Store Suggest Sum Sync Take
    Tell Try Turn Type Undo Unload Update Use Wait Walk Warn Weigh Wrap Write Yield
    """.split()  # noqa: SIM905  # words read better without quotes
)


def find_other_openings(text: str, are_tests: bool = False) -> list[str]:
    """Return the docstrings of a module that open with another word. are_tests: leave out those of
    the module itself and of tests.
    """
    nodes = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and not (are_tests and getattr(node, "name", "test_").startswith("test_"))
    ]
    docstrings = [docstring for node in nodes if (docstring := ast.get_docstring(node))]
    return [
        docstring
        for docstring in docstrings
        if docstring.split(None, 1)[0].strip(".,:;") not in VERBS
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_open_with_a_verb(path: Path) -> None:
    assert find_other_openings(path.read_text()) == []


@pytest.mark.parametrize("path", SUPPORT, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_of_supporting_code_do(path: Path) -> None:
    assert find_other_openings(path.read_text(), are_tests=True) == []


@pytest.mark.parametrize(
    ("docstring", "good"),
    [
        ("Return the table.", True),
        ("What the table holds.", False),
        ("Whether it is so.", False),
        ("Returns the table.", False),
        ("The table.", False),
    ],
)
def test_another_opening_is_found(docstring: str, good: bool) -> None:
    for form in ('"""{}"""', 'class A:\n    """{}"""', 'def f():\n    """{}"""'):
        assert find_other_openings(form.format(docstring)) == ([] if good else [docstring])
