"""A queue file per test, and processes that work on it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from eventspool._backends.sqlite.backend import SQLiteBackend
from eventspool._config import Ordering, SQLiteOpts

PROGRAM = Path(__file__).parent / "programs/stories.py"


class Clock:
    """Stands still until a test moves it."""

    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "queue.db"


@pytest.fixture
def make(path):
    """Make opened handles on the test's file."""
    made = []

    def factory(*, queue_name="q", synchronous="full", opened=True, **options):
        defaults = {"ordering": Ordering.NONE, "max_jobs": 1_000_000, "max_bytes": 1 << 30}
        opts = SQLiteOpts(path=str(path), synchronous=synchronous)
        backend = SQLiteBackend(opts, queue_name=queue_name, prefix="p", **{**defaults, **options})
        made.append(backend)
        if opened:
            backend.open()
        return backend

    yield factory
    for backend in made:
        backend.close()


@pytest.fixture
def backend(make):
    return make()


@pytest.fixture
def spawn(path):
    """Start a process that plays *story* on the test's file; its output is text."""
    started = []

    def start(story, *arguments):
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), story, str(path), *map(str, arguments)],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
