"""How many lines of the examples are there because of eventspool, besides the events themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
MOST = {"aws_lambda": 2, "celery_app": 1}
"""Example -> the most lines. An example that is not named here has no bound yet, which is a mistake."""
_CALL = re.compile(r"\b(track|identify|page|screen|group|alias)\(")
_IMPORT = re.compile(r"^(import eventspool|from eventspool)")


def read_lines(example):
    """Return the lines of code of *example*, file by file."""
    return [
        path.read_text(encoding="utf-8").splitlines() for path in sorted((EXAMPLES / example).rglob("*.py"))
    ]


def is_setup(line, lines):
    """Return whether *line* is there because of eventspool: not an event, and not the import that the file's events need."""
    if "eventspool" not in line or _CALL.search(line):
        return False
    if _IMPORT.match(line):
        return not any(_CALL.search(other) for other in lines)
    return not line.lstrip().startswith('"""')


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_few_lines_are_there_because_of_eventspool(example):
    files = read_lines(example)
    setup = [line for lines in files for line in lines if is_setup(line, lines)]

    assert 1 <= len(setup) <= MOST[example], setup


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_these_lines_are_marked_and_no_others(example):
    for lines in read_lines(example):
        assert [line for line in lines if line.endswith("# +")] == [
            line for line in lines if is_setup(line, lines)
        ]
