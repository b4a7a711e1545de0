"""
An interpreter that starts no daemon threads, as an isolated subinterpreter since Python 3.12: the constructor of such a
thread raises. Event methods refuse, the others work, and nothing is raised into the host.
"""

from __future__ import annotations

import sys

import pytest

from e2e.harness import run_python

CALLS = """
import eventspool
told = []
for options in ({}, {"on_error": lambda error, events: told.append(error.reason)}):
    for persistence in (None, store):
        client = eventspool.Client(key, data_plane_url=url, persistence=persistence, **options)
        assert client.track("u1", "E") is None
        assert client.identify("u1", callback=lambda *_: None) is None
        assert client.track("u1", None) is None
        flushed = client.flush(timeout=5)
        assert (flushed.delivered, flushed.failed, flushed.pending) == (0, 0, 0), flushed
        assert client.flush(lambda *_: None, timeout=5) is None
        stats = client.stats()
        assert (stats.accepted, stats.lost, sum(stats.refused.values())) == (0, 0, 3), stats
        client.close(5)
        client.close(5)
durable = eventspool.Client(key, data_plane_url=url, persistence=store, durability="persisted")
assert durable.track("u1", "E") is None
assert durable.queue.stats().waiting.jobs == 0
durable.close(5)
late = eventspool.Client(key, data_plane_url=url)
try:
    late.create_persistence_queue(store)
except eventspool.QueueError:
    pass
late.close(5)
assert set(told) <= {"starting", "invalid"}, told
"""

SIMULATED = """
import sys, threading
url, key, store = sys.argv[1:]
made = threading.Thread.__init__
def refuse(self, *args, daemon=None, **kwargs):
    if daemon:
        raise RuntimeError("daemon threads are disabled in this (sub)interpreter")
    made(self, *args, daemon=daemon, **kwargs)
threading.Thread.__init__ = refuse
"""

ISOLATED = """
import os, sys
if sys.version_info >= (3, 13):
    import _interpreters as interpreters
else:
    import _xxsubinterpreters as interpreters
def run(code):
    interpreter = interpreters.create() if sys.version_info < (3, 13) else interpreters.create("isolated")
    prepare = f"import sys; sys.path[:] = {sys.path!r}; url, key, store = {sys.argv[1:]!r}\\n"
    if sys.version_info >= (3, 13):
        error = interpreters.exec(interpreter, prepare + code)
        assert error is None, error.formatted
    else:
        interpreters.run_string(interpreter, prepare + code)
"""


def test_nothing_is_raised_where_no_daemon_thread_can_be_made(plane, tmp_path):
    run_python(SIMULATED + CALLS, plane.url, plane.write_key, f"sqlite:///{tmp_path}/queue.db")
    assert plane.stats().requests == 0


@pytest.mark.skipif(sys.version_info < (3, 12), reason="this Python has no isolated interpreters")
def test_nothing_is_raised_in_an_isolated_interpreter(plane, tmp_path):
    """
    Extensions that are not made for it are not there: the client does without orjson, isal and uuid_utils.

    The interpreter is left open: where one ends that has imported sqlite3 or hashlib, Python 3.12.1 itself aborts.
    """
    code = f"{ISOLATED}\nrun({CALLS!r})\nos._exit(0)"
    run_python(code, plane.url, plane.write_key, f"sqlite:///{tmp_path}/queue.db", measured=False)
    assert plane.stats().requests == 0
