"""
Calls of every kind where no daemon thread can be made: ``no_daemon_threads.py simulated|isolated|here URL KEY STORE-URL``.

``isolated`` runs this very file in an isolated subinterpreter, as ``here``.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading


def make_calls(url, key, store):
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
    with contextlib.suppress(eventspool.QueueError):
        late.create_persistence_queue(store)
    late.close(5)
    assert set(told) <= {"starting", "invalid"}, told


def simulate():
    """Have the constructor of a daemon thread raise, as it does in such an interpreter."""
    made = threading.Thread.__init__

    def refuse(self, *args, daemon=None, **kwargs):
        if daemon:
            raise RuntimeError("daemon threads are disabled in this (sub)interpreter")
        made(self, *args, daemon=daemon, **kwargs)

    threading.Thread.__init__ = refuse


def isolate(arguments):
    """
    Make the calls in an isolated subinterpreter.

    It is left open: where one ends that has imported sqlite3 or hashlib, Python 3.12.1 itself aborts.
    """
    prepare = (
        f"import runpy, sys; sys.path[:] = {sys.path!r}; sys.argv[:] = {[__file__, 'here', *arguments]!r}\n"
    )
    code = f"{prepare}runpy.run_path({__file__!r}, run_name='__main__')"
    if sys.version_info >= (3, 13):
        import _interpreters as interpreters

        error = interpreters.exec(interpreters.create("isolated"), code)
        assert error is None, error.formatted
    else:
        import _xxsubinterpreters as interpreters

        interpreters.run_string(interpreters.create(), code)
    os._exit(0)


if __name__ == "__main__":
    where, *arguments = sys.argv[1:]
    if where == "isolated":
        isolate(arguments)
    if where == "simulated":
        simulate()
    make_calls(*arguments)
