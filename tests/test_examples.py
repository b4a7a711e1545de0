"""How many lines of the examples are there because of eventspool, besides the events themselves; and that they run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
MOST = {"aws_lambda": 2, "celery_app": 1, "django": 6, "fastapi": 3, "flask": 2}
"""Example -> the most lines. An example that is not named here has no bound yet, which is a mistake."""
PROGRAMS = Path(__file__).parent / "integrations" / "programs"
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
def test_few_lines_are_there_because_of_eventspool_and_they_are_marked(example):
    files = read_lines(example)
    setup = [line for lines in files for line in lines if is_setup(line, lines)]
    marked = [line for lines in files for line in lines if line.endswith("# +")]

    assert 1 <= len(setup) <= len(marked) <= MOST[example], (setup, marked)


@pytest.mark.parametrize("example", ["aws_lambda", "celery_app"])
def test_an_example_runs(example):
    """Those of the web frameworks run under their servers: tests/integrations."""
    program = PROGRAMS / f"{example}_example.py"
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--noconftest",  # which takes the write key out of the environment
            "-c",
            os.devnull,
            str(program),
        ],
        cwd=EXAMPLES / example,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES / example), "EVENTSPOOL_WRITE_KEY": "test"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert "1 passed" in done.stdout, done.stdout + done.stderr
