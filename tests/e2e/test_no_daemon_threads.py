"""
An interpreter that starts no daemon threads, as an isolated subinterpreter since Python 3.12: the constructor of such a
thread raises. Event methods refuse, the others work, and nothing is raised into the host.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from e2e.harness import run_python

PROGRAM = Path(__file__).parent / "programs/no_daemon_threads.py"


def test_nothing_is_raised_where_no_daemon_thread_can_be_made(plane, tmp_path):
    run_python(PROGRAM, "simulated", plane.url, plane.write_key, f"sqlite:///{tmp_path}/queue.db")
    assert plane.stats().requests == 0


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this Python has no isolated interpreters")
def test_nothing_is_raised_in_an_isolated_interpreter(plane, tmp_path):
    """Extensions that are not made for it are not there: the client does without orjson, isal and uuid_utils."""
    store = f"sqlite:///{tmp_path}/queue.db"
    run_python(PROGRAM, "isolated", plane.url, plane.write_key, store, measured=False)
    assert plane.stats().requests == 0
