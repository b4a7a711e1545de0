"""A queue that somebody purges, empties, deletes or restores without its data: its events are lost, and said to be."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import redis

from e2e.harness import PATIENCE, Calls, Store, eventually, new_queue_name
from eventspool import DeliveryError, QueueOpts
from eventspool._backends import create_backend
from eventspool._contract.tools import claim_soon, fail, ids_of
from shares import taking_turns


@pytest.fixture(params=taking_turns("sqlite", "redis"))
def store(request, tmp_path):
    """A queue on a file or a server that holds no other."""
    if request.param == "sqlite":
        return Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name())
    return Store("redis", request.getfixturevalue("redis_server").url, new_queue_name())


def track(client, callback, number=5):
    ids = [client.track("u1", "E", callback=callback) for _ in range(number)]
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    return ids


def delete(path):
    for file in sorted(path.parent.glob(f"{path.name}*"), reverse=True):  # the log before its file
        file.unlink(missing_ok=True)


def empty(store):
    """Do what an operator should not."""
    if store.kind == "sqlite":
        delete(Path(store.url.removeprefix("sqlite:///")))
    else:
        with closing(redis.Redis.from_url(store.url)) as raw:
            raw.flushall()


def test_a_producer_hears_that_its_events_are_lost_with_their_queue(clients, plane, store, caplog):
    """They are not stored any more, which otherwise means that somebody has delivered them."""
    callback, on_error = Calls(), Calls()
    opts = store.opts(is_multi_processor=True)
    producer = clients(persistence=opts, process=False, on_error=on_error)
    lost = track(producer, callback)
    empty(store)
    assert producer.flush(timeout=PATIENCE).pending == 0
    callback.await_calls(5)
    outcomes = callback.outcomes()
    assert outcomes.keys() == set(lost)
    assert all(isinstance(error, DeliveryError) and error.reason == "lost" for error in outcomes.values())
    assert {error.reason for error, _ in eventually(lambda: on_error)} == {"lost"}
    stats = producer.stats()
    assert (stats.lost, stats.delivered, stats.failed, stats.persisted) == (5, 0, 0, 0)
    assert eventually(lambda: "5 events that it held are lost" in caplog.text)
    assert plane.unique_ids() == []


@pytest.mark.parametrize(
    ("state", "whose"), [("waiting", None), ("waiting", "u1"), ("failed", None)], ids=str
)
def test_a_producer_hears_that_its_events_were_purged(clients, plane, store, caplog, state, whose):
    callback, on_error = Calls(), Calls()
    opts = store.opts(is_multi_processor=True)
    producer = clients(persistence=opts, process=False, on_error=on_error)
    if state == "waiting":
        purged = track(producer, callback)
    else:  # nobody waits, so that the producer does not hear of the failure before that of the purge
        track(producer, None)
        bury_everything(opts)
    with store.open() as queue:
        assert (queue.erase(whose, state).events if whose else queue.purge(state)) > 0
    result = producer.flush(timeout=PATIENCE)
    assert (result.delivered, result.failed, result.pending) == (0, 5, 0)
    if state == "waiting":
        callback.await_calls(5)
        assert callback.outcomes().keys() == set(purged)
        assert {(type(e), e.reason) for e in callback.outcomes().values()} == {(DeliveryError, "purged")}
    assert {error.reason for error, _ in eventually(lambda: on_error)} == {"purged"}
    stats = producer.stats()
    assert (stats.lost, stats.delivered, stats.failed, stats.persisted) == (5, 0, 0, 0)
    assert stats.lost_reasons == {"purged": 5}
    with store.open() as queue:
        stats = queue.stats()
        assert (stats.accepted_events, stats.delivered_events, stats.purged_events) == (5, 0, 5)
    assert eventually(lambda: "5 events are lost: an operator purged them" in caplog.text)
    assert plane.unique_ids() == []


def bury_everything(opts):
    """Do what a processor does whose data plane refuses it all."""
    with closing(create_backend(QueueOpts(**opts))) as backend:
        backend.open()
        ids = ids_of(claim_soon(backend, "t", limit=9))
        assert all(backend.settle("t", [fail(job_id, events=5) for job_id in ids]))


def test_what_comes_after_is_delivered_and_not_lost(clients, plane, store):
    opts = store.opts(is_multi_processor=True)
    producer = clients(persistence=opts, process=False)
    track(producer, None)
    empty(store)
    kept = track(producer, None, 7)
    clients(persistence=opts).flush()  # another client works the queue from now on
    result = producer.flush(
        timeout=PATIENCE
    )  # which counts the lost ones only where nobody had looked before
    assert (result.delivered, result.pending) == (7, 0)
    assert set(plane.unique_ids()) == set(kept)
    assert producer.stats().lost == 5


def test_a_client_that_delivers_itself_hears_of_it_too(clients, plane, store):
    callback = Calls()
    plane.script({"status": 503})
    client = clients(persistence=store.opts())
    track(client, callback)
    empty(store)
    plane.script()
    assert client.flush(timeout=PATIENCE).pending == 0
    callback.await_calls(5)
    stats = client.stats()
    assert stats.lost + stats.delivered == 5, "a request may have been under way"
    assert stats.delivered <= len(plane.unique_ids())


def test_events_are_lost_with_the_spill_file(clients, redis_server, tmp_path):
    """It was deleted while Redis was away; an empty file does not mean that another process has moved them."""
    path, callback = tmp_path / "spill.db", Calls()
    opts = {"url": redis_server.url, "queue_name": new_queue_name(), "is_multi_processor": True}
    client = clients(persistence=opts, process=False, spill=f"sqlite:///{path}")
    track(client, None, 1)
    redis_server.kill()
    for _ in range(3):
        client.track("u1", "E", callback=callback)
    eventually(lambda: client.stats().spilled == 3)
    delete(path)
    redis_server.start()
    callback.await_calls(3)
    assert {error.reason for error in callback.outcomes().values()} == {"lost"}
    eventually(lambda: (client.stats().spilled, client.stats().lost) == (0, 3))
