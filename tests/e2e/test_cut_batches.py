"""Whose event it was, through a client: the right callback hears of it, whoever cut the batch and delivered the rest."""

from __future__ import annotations

import pytest

from e2e.harness import PATIENCE, Calls, Store, eventually, new_queue_name
from shares import taking_turns

OPTS = {"is_multi_processor": True, "job_opts": {"backoff_initial": 0.05, "backoff_max": 30.0}}


@pytest.fixture(params=taking_turns("sqlite", "redis"))
def store(request, tmp_path):
    """A queue on a file or a server that holds no other."""
    if request.param == "sqlite":
        return Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name())
    return Store("redis", request.getfixturevalue("redis_server").url, new_queue_name())


def track(client, callback, *events):
    """Track an event of each user under a name, in one batch, and return name -> message id."""
    ids = {name: client.track(user, name, callback=callback) for user, name in events}
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    return ids


def reasons(callback, ids):
    """Return what each event's callback heard: its reason, or None."""
    heard = callback.outcomes()
    return {name: heard[message_id] and heard[message_id].reason for name, message_id in ids.items()}


EVENTS = (("gone", "a"), ("kept", "b"), ("gone", "c"), ("kept", "d"), ("kept", "e"))


def test_the_refused_one_of_those_that_an_erasure_left_is_named(clients, plane, store):
    """By the process that tracked them, which delivers the rest itself."""
    callback, on_error = Calls(), Calls()
    plane.script({"status": 503, "next": 1}, {"event": "d", "reject": "events"})
    opts = {**OPTS, "job_opts": {"backoff_initial": 30.0, "backoff_max": 30.0}}
    client = clients(persistence=store.opts(**opts), flush_at=5, on_error=on_error)
    ids = track(client, callback, *EVENTS)
    assert eventually(lambda: client.queue.stats().delayed.jobs == 1)
    assert client.queue.erase("gone").events == 2
    client.queue.retry_now()
    assert client.flush(timeout=PATIENCE).pending == 0
    callback.await_calls(5)
    assert reasons(callback, ids) == {"a": "purged", "b": None, "c": "purged", "d": "rejected", "e": None}
    stats = client.stats()
    assert (stats.delivered, stats.failed, stats.lost) == (2, 1, 2)
    assert eventually(lambda: len(on_error) == 2)
    told = {error.reason: [event["event"] for event in events] for error, events in on_error}
    assert told == {"rejected": ["d"], "purged": []}


@pytest.mark.parametrize("refused", ["d", None])
def test_a_process_that_others_deliver_for_hears_the_same(clients, plane, store, refused):
    callback = Calls()
    producer = clients(persistence=store.opts(**OPTS), process=False, flush_at=5)
    ids = track(producer, callback, *EVENTS)
    with store.open() as queue:
        assert queue.erase("gone").events == 2
    if refused:
        plane.script({"event": refused, "reject": "events"})
    clients(persistence=store.opts(**OPTS)).flush()
    assert producer.flush(timeout=PATIENCE).pending == 0
    callback.await_calls(5)
    heard = {"a": "purged", "b": None, "c": "purged", "d": refused and "rejected", "e": None}
    assert reasons(callback, ids) == heard
    assert producer.stats().lost_reasons == {"purged": 2}


def test_a_producer_whose_jobs_were_moved_hears_that_and_not_that_they_were_delivered(clients, plane, store):
    callback = Calls()
    producer = clients(persistence=store.opts(**OPTS), process=False, flush_at=5)
    ids = track(producer, callback, *EVENTS)
    with store.open() as queue:
        queue._backend.pass_on([job.id for job in queue.jobs("waiting")])
        stats = queue.stats()
        assert (stats.accepted_events, stats.moved_events, stats.delivered_events) == (5, 5, 0)
    assert producer.flush(timeout=PATIENCE).pending == 0
    callback.await_calls(5)
    assert set(reasons(callback, ids).values()) == {"moved"}
    assert producer.stats().delivered == 0
