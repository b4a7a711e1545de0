"""The system grants no thread, for a while: nothing is raised, nothing lost that was accepted, and all goes on afterwards."""

from __future__ import annotations

import threading
import time

import pytest

from e2e.harness import PATIENCE, Calls, assert_delivered, eventually
from eventspool import QueueError
from lasting_threads import lasting_threads

THREADS = ["flusher", "sender-0", "processor"]


@pytest.fixture
def refused(monkeypatch):
    """A set of names: no thread of ours with one of them can be started."""
    names: set[str] = set()
    start = threading.Thread.start

    def refuse_or_start(thread):
        if thread.name.removeprefix("eventspool-") in names:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_or_start)
    return names


@pytest.mark.parametrize("name", THREADS)
def test_an_event_is_refused_while_a_thread_is_missing_and_the_next_one_starts_it(
    clients, plane, refused, name
):
    """The refusal does not say that the interpreter is exiting: it is not."""
    client = clients(on_error=(on_error := Calls()))
    refused.add(name)
    assert client.track("u1", "Refused") is None
    assert client.track("u1", "Refused") is None
    refused.clear()
    assert client.track("u1", "E")
    assert_delivered(client, 1)
    assert client.stats().refused == {"starting": 2}
    assert {str(error) for error, _ in on_error.await_calls(2)} == {"no thread can be started now"}
    assert [event["event"] for event in plane.events] == ["E"]


@pytest.mark.rotating
@pytest.mark.parametrize("name", [*THREADS, "listener"])
def test_a_client_that_could_not_start_closes_at_once_and_leaves_no_thread(clients, refused, store, name):
    before = lasting_threads()
    client = clients(persistence=store.opts())
    refused.add(name)
    assert client.track("u1", "E") is None
    began = time.monotonic()
    client.close(timeout=PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2
    eventually(lambda: lasting_threads() <= before, "its threads end")


@pytest.mark.parametrize("name", ["sender-0", "processor"])
@pytest.mark.parametrize("end", ["event", "call", "close"])
def test_a_queue_that_comes_without_its_threads_gets_them_later(clients, plane, refused, store, name, end):
    """Told as an error that the queue is not available now; what memory holds is delivered all the same, once."""
    plane.script({"status": 503})
    client = clients()
    client.track("u1", "E")
    eventually(lambda: plane.stats().requests, "memory holds the event as a job")
    refused.add(name)
    with pytest.raises(QueueError, match="no thread can be started now"):
        client.create_persistence_queue(store.opts())
    refused.clear()
    plane.script()
    if end == "event":
        client.track("u1", "E")
    elif end == "call":
        client.create_persistence_queue(store.opts())
    else:
        client.close()
        clients(persistence=store.opts()).flush(timeout=PATIENCE)
    assert client.flush(timeout=PATIENCE).pending == 0 or end == "close"
    assert plane.wait_for(2 if end == "event" else 1, timeout=PATIENCE)
    assert plane.stats().duplicates == 0


def test_a_missing_thread_is_handed_to_the_callback_of_the_queue(clients, refused, store):
    client = clients()
    refused.add("processor")
    client.create_persistence_queue(store.opts(), callback := Calls())
    [(error,)] = callback.await_calls(1)
    assert isinstance(error, QueueError)
    refused.clear()
    client.track("u1", "E")
    assert_delivered(client, 1)


def test_a_flush_raises_nothing_and_its_callback_is_called_without_a_thread_of_its_own(
    clients, plane, refused, store
):
    client = clients(persistence=store.opts(), flush_interval=3600.0)
    refused.update([*THREADS, "executor", "callbacks"])
    assert client.flush().pending == 0
    refused.clear()
    client.track("u1", "E")
    refused.add("executor")
    client.flush(callback := Calls())
    [(error, result)] = callback.await_calls(1)
    assert (error, result.delivered) == (None, 1)


def test_without_any_more_threads_every_call_still_does_its_work(clients, plane, refused, store):
    """The caller's own thread does it; callbacks run at the latest when the client closes."""
    client = clients(persistence=store.opts(), flush_interval=3600.0)
    client.track("u1", "E")
    assert_delivered(client, 1)
    eventually(lambda: "eventspool-executor" not in {thread.name for thread in threading.enumerate()})
    refused.update(["executor", "callbacks"])
    called = Calls()
    assert client.track("u1", "E", callback=called)
    assert_delivered(client, 2)
    assert client.stats().delivered == 2
    assert client.queue.stats().waiting.jobs == 0
    client.close(timeout=PATIENCE)
    assert [error for error, _ in called.await_calls(1)] == [None]
