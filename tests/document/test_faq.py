"""The document's FAQ: "How to ensure that all my events in the queue are processed?" """

from __future__ import annotations

import threading

from e2e.harness import PATIENCE, Calls
from eventspool import FlushResult

LONG = 3600.0


def test_flush_with_a_callback_ensures_that_all_events_are_processed(clients, plane, redis_store):
    """ "client.flush(function(err, batch){ console.log('Flushing done') })": called when all are delivered, not before."""
    plane.script({"latency": 0.2})
    client = clients(persistence=redis_store.opts(), flush_at=10_000, flush_interval=LONG)
    ids = [client.track("u1", "E", {"n": n}) for n in range(100)]
    seen = []
    done = threading.Event()

    def flushed(error, result):
        seen.append((error, result, plane.unique_ids()))
        done.set()

    assert client.flush(flushed) is None
    assert not done.is_set(), "with a callback, flush() returns at once"
    assert done.wait(PATIENCE)
    [(error, result, arrived)] = seen
    assert error is None
    assert result == FlushResult(delivered=100, failed=0, pending=0)
    assert arrived == ids


def test_flush_without_a_callback_blocks_until_all_events_are_processed(clients, plane, redis_store):
    """The same as a plain call, as Python's users expect it."""
    client = clients(persistence=redis_store.opts(), flush_at=10_000, flush_interval=LONG)
    ids = [client.track("u1", "E", {"n": n}) for n in range(100)]
    assert client.flush() == FlushResult(delivered=100, failed=0, pending=0)
    assert plane.unique_ids() == ids


def test_flush_covers_events_that_wait_for_a_retry(clients, plane, redis_store):
    """Processed means settled: an event between two attempts is waited for, too."""
    plane.script({"status": 503, "next": 4})
    client = clients(persistence=redis_store.opts())
    client.track("u1", "E")
    assert client.flush(timeout=PATIENCE) == FlushResult(delivered=1)
    assert plane.stats().statuses == {"503": 4, "200": 1}


def test_flush_says_how_many_events_were_given_up(clients, plane, redis_store):
    """Processed may also mean given up; the result tells the two apart."""
    plane.script({"reject": "events", "event": "Bad"})
    client = clients(persistence=redis_store.opts(), flush_at=10_000, flush_interval=LONG)
    for name in ("Good", "Bad", "Good"):
        client.track("u1", name)
    callback = Calls()
    client.flush(callback)
    assert callback.await_calls(1) == [(None, FlushResult(delivered=2, failed=1, pending=0))]


def test_flush_with_nothing_to_process_is_done_at_once(clients, plane, redis_store):
    """The callback fires also when there was nothing to wait for."""
    client, callback = clients(persistence=redis_store.opts()), Calls()
    client.flush(callback)
    assert callback.await_calls(1) == [(None, FlushResult())]
    assert plane.stats().requests == 0
