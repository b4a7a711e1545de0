"""Every line of docs/guarantees.md names tests that hold it, and they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PAGE = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
NOTES = dict(re.findall(r"^\[\^(\w+)\]: (.*?)(?=^\[\^|\Z)", PAGE, re.MULTILINE | re.DOTALL))
BODY = PAGE.partition("## Tests")[0]
UNTESTED = ["- **Several processes** (`True`): no order."]
"""Lines that promise nothing."""


def claims() -> list[str]:
    """Return the rows of its tables and the items of its lists."""
    rows = [line for line in BODY.splitlines() if line.startswith("| ")]
    items = re.findall(r"^- (?:.+\n)(?:  .+\n)*", BODY, re.MULTILINE)
    headings = {line for line in rows if line.endswith("| |")}
    return [claim for claim in rows + items if claim not in headings]


def test_the_page_names_tests():
    assert len(claims()) > 25
    assert len(re.findall(r"::test_", PAGE)) > 50


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim[2:40])
def test_each_line_says_which_test_holds_it(claim):
    if claim.startswith(tuple(UNTESTED)):
        return
    assert [name for name in re.findall(r"\[\^(\w+)\]", claim) if name in NOTES], claim


@pytest.mark.parametrize("note", NOTES)
def test_each_note_belongs_to_a_line_and_names_a_test(note):
    assert f"[^{note}]" in BODY
    assert "::test_" in NOTES[note]


@pytest.mark.parametrize(("path", "name"), sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE))))
def test_each_test_that_is_named_exists(path, name):
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))

    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_nothing_else_in_it_looks_like_a_test():
    """Such as a name that was broken over two lines, which nobody would check."""
    assert len(re.findall(r"test_\w+", PAGE)) == 2 * len(re.findall(r"`[\w/]*test_\w+\.py::test_\w+`", PAGE))
