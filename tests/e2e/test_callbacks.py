"""Who hears what: callbacks exactly once, flush results, on_error, stats that always add up."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from e2e.harness import PATIENCE, SLACK, Calls, assert_balanced, assert_delivered, eventually
from eventspool import ConfigError, DeliveryError, EventError, FlushResult, RefusedError
from eventspool._guest.log import drain_log
from lasting_threads import lasting_threads

LONG = 3600.0
BAD = {"reject": "events", "event": "Bad"}


# -- a callback for every accepted event, once --------------------------------------------------------------------------


def test_a_callback_fires_once_per_delivered_event(clients, plane, store):
    """With None, after the data plane has it, off the caller's thread."""
    threads, arrived = set(), []
    client = clients(persistence=store.opts())

    def delivered(error, message_id):
        threads.add(threading.current_thread())
        arrived.append((error, message_id, plane.received(message_id)))

    ids = [client.track("u1", "E", callback=delivered) for _ in range(100)]
    client.flush(timeout=PATIENCE)
    eventually(lambda: len(arrived) >= 100)
    client.close()
    assert sorted(arrived) == sorted((None, message_id, 1) for message_id in ids)
    assert threading.current_thread() not in threads


def test_the_callback_of_a_rejected_event_gets_the_error_and_only_that_one(clients, plane, store):
    """One poison event in a batch: its callback has the error, its neighbours' have None."""
    plane.script({"reject": "batch", "event": "Bad"})
    callback, on_error = Calls(), Calls()
    client = clients(persistence=store.opts(), on_error=on_error, flush_at=10_000, flush_interval=LONG)
    ids = [client.track("u1", "Bad" if n == 5 else "E", {"n": n}, callback=callback) for n in range(12)]
    assert client.flush(timeout=PATIENCE) == FlushResult(delivered=11, failed=1, pending=0)
    callback.await_calls(12)
    outcomes = callback.outcomes()
    failed = {message_id: error for message_id, error in outcomes.items() if error is not None}
    assert list(failed) == [ids[5]]
    assert (failed[ids[5]].reason, failed[ids[5]].status) == ("rejected", 400)
    [(error, [event])] = on_error.await_calls(1)
    assert (error.reason, event["messageId"]) == ("rejected", ids[5])
    assert set(plane.unique_ids()) == set(ids) - {ids[5]}
    assert store.failed_events() == 1


def test_in_memory_too_a_rejected_event_is_reported_with_its_content(clients, plane):
    """Memory has no failed queue: on_error and the callback are the last to see the event."""
    plane.script(BAD)
    callback, on_error = Calls(), Calls()
    client = clients(on_error=on_error, flush_at=10_000, flush_interval=LONG)
    ids = [client.track("u1", name, callback=callback) for name in ("E", "Bad", "E")]
    assert client.flush(timeout=PATIENCE) == FlushResult(delivered=2, failed=1, pending=0)
    callback.await_calls(3)
    assert [message_id for message_id, error in callback.outcomes().items() if error] == [ids[1]]
    [(_, [event])] = on_error.await_calls(1)
    assert event["messageId"] == ids[1]
    assert client.stats().failed == 1


def test_callbacks_fire_when_another_process_delivers(clients, plane, store):
    """A producer that only enqueues hears of its events from the queue: delivered, and partly rejected."""
    opts = store.opts(is_multi_processor=True)
    callback, on_error = Calls(), Calls()
    producer = clients(
        persistence=opts, process=False, on_error=on_error, flush_at=10_000, flush_interval=LONG
    )
    plane.script(BAD)
    ids = [
        producer.track("u1", "Bad" if n in (3, 4) else "E", {"n": n}, callback=callback) for n in range(10)
    ]
    assert producer.flush(until="persisted", timeout=PATIENCE).pending == 0
    assert callback == []
    clients(persistence=opts).flush()  # another client works the queue from now on
    assert producer.flush(timeout=PATIENCE) == FlushResult(delivered=8, failed=2, pending=0)
    callback.await_calls(10)
    outcomes = callback.outcomes()
    assert {i for i, error in outcomes.items() if error is not None} == {ids[3], ids[4]}
    assert all(outcomes[i].reason == "rejected" for i in (ids[3], ids[4]))
    [(_, events)] = on_error.await_calls(1)
    assert [event["messageId"] for event in events] == [ids[3], ids[4]]
    stats = producer.stats()
    assert (stats.delivered, stats.failed, stats.persisted) == (8, 2, 0)


def test_callbacks_fire_when_another_process_gives_the_job_up(clients, plane, store):
    """The error is the one that is in the failed queue."""
    opts = store.opts(is_multi_processor=True, job_opts={"max_attempts": 2})
    callback = Calls()
    producer = clients(persistence=opts, process=False)
    plane.script({"status": 500})
    message_id = producer.track("u1", "E", callback=callback)
    producer.flush(until="persisted")
    clients(persistence=opts).flush()
    [(error, given)] = callback.await_calls(1)
    assert given == message_id
    assert isinstance(error, DeliveryError)
    assert (error.reason, error.status) == ("max_attempts", 500)


def test_a_callback_that_raises_is_logged_and_harms_nothing(clients, plane, caplog):
    """Neither the next callback nor delivery; its text, which may hold a payload, is not logged."""

    def bad(error, message_id):
        raise ValueError("secret-payload")

    callback = Calls()
    client = clients()
    client.track("u1", "E", callback=bad)
    client.track("u1", "E", callback=callback)
    client.flush(timeout=PATIENCE)
    assert callback.await_calls(1)[0][0] is None
    drain_log(10.0)
    assert "ValueError" in caplog.text
    assert "secret-payload" not in caplog.text


def test_a_callback_may_track_and_flush(clients, plane):
    """It runs on a thread that nothing waits for."""
    client, second = clients(), Calls()
    client.track("u1", "First", callback=lambda *_: client.track("u1", "Second", callback=second))
    second.await_calls(1)
    assert plane.stats().unique == 2


# -- flush --------------------------------------------------------------------------------------------------------------


@pytest.mark.alone
def test_a_flush_timeout_is_no_error_but_pending(clients, plane, store):
    """Also in the callback's form; what is pending is delivered later."""
    plane.script("outage")
    client, callback = clients(persistence=store.opts()), Calls()
    for _ in range(5):
        client.track("u1", "E")
    began = time.monotonic()
    assert client.flush(timeout=0.3) == FlushResult(pending=5)
    assert 0.25 < time.monotonic() - began < 0.3 + SLACK
    client.flush(callback, timeout=0.1)
    assert callback.await_calls(1) == [(None, FlushResult(pending=5))]
    plane.script()
    assert client.flush(timeout=PATIENCE) == FlushResult(delivered=5)


def test_flush_until_persisted_waits_for_the_queue_and_not_for_the_data_plane(clients, plane, store):
    """Then another process could deliver them, whatever becomes of this one."""
    plane.script("outage")
    client = clients(persistence=store.opts(), flush_at=10_000, flush_interval=LONG)
    for _ in range(30):
        client.track("u1", "E")
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    assert store.stored_events() == 30
    assert client.stats().persisted == 30
    with pytest.raises(ConfigError, match="persisted"):
        client.flush(until="stored")


def test_flush_counts_only_what_was_accepted_before_it(clients, plane, store):
    """And not settled yet: a second flush has nothing left to count."""
    client = clients(persistence=store.opts(), flush_at=10_000, flush_interval=LONG)
    client.track("u1", "E")
    assert client.flush() == FlushResult(delivered=1)
    assert client.flush() == FlushResult()
    plane.script({"latency": 0.2})
    client.track("u1", "E")
    client.flush(callback := Calls())
    for _ in range(10):
        client.track("u1", "Later")
    assert callback.await_calls(1) == [(None, FlushResult(delivered=1))]


def test_flushes_from_many_threads_all_return(clients, plane, store):
    """Each waits for its own events at least."""
    client, results = clients(persistence=store.opts(), flush_interval=LONG), []

    def work(number):
        for n in range(20):
            client.track(f"u{number}", "E", {"n": n})
        results.append(client.flush(timeout=PATIENCE))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(results) == 8
    assert all(result.pending == 0 for result in results)
    assert plane.stats().unique == 160


# -- on_error, strict, enable --------------------------------------------------------------------------------------------


def test_on_error_hears_of_every_refusal_with_its_reason(clients, plane):
    """Invalid, too large, buffer full: the event as far as it got, and an error that says why."""
    plane.script("outage")
    on_error = Calls()
    client = clients(on_error=on_error, max_internal_queue_size=2, flush_interval=LONG)
    assert client.track("u1", "") is None
    assert client.track("", "E") is None
    assert client.track("u1", "E", {"blob": "x" * 40_000}) is None
    assert client.track("u1", "E", {"bad": object()}) is None
    for _ in range(2):
        assert client.track("u1", "E")
    assert client.track("u1", "Third") is None
    calls = on_error.await_calls(5)
    assert [type(error) for error, _ in calls] == [EventError] * 4 + [RefusedError]
    assert [error.reason for error, _ in calls][4] == "buffer_full"
    assert calls[4][1][0]["event"] == "Third"
    assert "properties.bad" in str(calls[3][0])
    assert sum(client.stats().refused.values()) == 5
    assert set(client.stats().refused) >= {"invalid", "too_large", "buffer_full"}


def test_an_on_error_that_raises_harms_nothing(clients, plane, caplog):
    """Neither the caller nor the next event."""

    def on_error(error, events):
        raise RuntimeError("from the host")

    client = clients(on_error=on_error)
    assert client.track("u1", "") is None
    assert client.track("u1", "E")
    assert_delivered(client, 1)
    eventually(lambda: "RuntimeError" in caplog.text)


def test_strict_raises_event_errors_and_nothing_else(clients, plane):
    """A wrong event raises; a full buffer and a closed client still only refuse."""
    plane.script("outage")
    client = clients(strict=True, max_internal_queue_size=1, flush_interval=LONG)
    with pytest.raises(EventError):
        client.track("u1", "")
    with pytest.raises(EventError):
        client.identify()
    with pytest.raises(EventError):
        client.track("u1", "E", {"bad": object()})
    assert client.track("u1", "E")
    assert client.track("u1", "E") is None
    client.close(timeout=0.1)
    assert client.track("u1", "E") is None
    assert client.stats().refused == {"buffer_full": 1, "closed": 1}


def test_a_disabled_client_accepts_everything_and_sends_nothing(clients, plane, store):
    """enable=False: message ids and callbacks as ever; no thread, no connection, no stored event."""
    client, callback = clients(enable=False, persistence=store.opts(), flush_at=1), Calls()
    assert client.track("u1", "E")
    assert client.track("u1", "E", callback=callback)
    assert callback.await_calls(1)[0][0] is None
    assert client.flush(timeout=PATIENCE) == FlushResult()
    client.close()
    assert plane.stats().connections == 0
    assert store.stored_events() == 0


def test_a_disabled_client_leaves_alone_what_other_processes_stored(clients, plane, store):
    """Its write key may be a dummy: with it, their events would be refused, or go astray."""
    producer = clients(persistence=store.opts(), process=False)
    producer.track("u1", "E")
    producer.flush(until="persisted")
    before = lasting_threads()
    client = clients(enable=False, persistence=store.opts())
    client.track("u1", "E")
    client.flush()
    client.flush(until="persisted")
    assert lasting_threads() <= before
    assert client.queue.stats().waiting.events == 0
    client.close()
    assert store.stored_events() == 1
    assert plane.stats().connections == 0


def test_a_disabled_client_takes_a_queue_that_is_not_there(clients, tmp_path):
    """Without a word, as with one that is; but wrong options are wrong options."""
    client, callback = clients(enable=False), Calls()
    before = lasting_threads()
    with pytest.raises(ConfigError):
        client.create_persistence_queue({"queueName": "q"})
    client.create_persistence_queue(f"unix://{tmp_path}/nobody")
    assert client.queue.stats().waiting.events == 0
    assert lasting_threads() <= before
    client.create_persistence_queue(f"sqlite:///{tmp_path}/queue.db", callback)
    assert callback.await_calls(1) == [(None,)]
    assert list(tmp_path.iterdir()) == []


# -- stats -------------------------------------------------------------------------------------------------------------


def test_stats_add_up_at_every_moment(clients, plane, store):
    """Read while eight threads track and deliveries, retries and rejections go on."""
    plane.script(BAD, {"status": 503, "p": 0.2}, {"latency": [0, 0.01]})
    client = clients(persistence=store.opts(is_multi_processor=True), flush_at=7, max_internal_queue_size=300)
    stop = threading.Event()

    def work(number):
        n = 0
        while not stop.is_set():
            n += 1
            client.track(f"u{number}", "Bad" if n % 50 == 0 else "E")
            if n % 10 == 0:
                stop.wait(0.001)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    end, reads = time.monotonic() + 1.5, 0
    while time.monotonic() < end or reads < 100:
        assert time.monotonic() < end + PATIENCE
        assert_balanced(client.stats())
        reads += 1
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert client.flush(timeout=PATIENCE * 2).pending == 0
    stats = client.stats()
    assert_balanced(stats)
    assert stats.accepted == stats.delivered + stats.failed
    assert stats.delivered == plane.stats().unique
    assert stats.failed > 0


def test_no_write_key_and_no_payload_is_logged(clients, plane, store, caplog):
    """Through refusals, retries, rejections and a give-up, at any level."""
    caplog.set_level(logging.DEBUG)
    plane.script(BAD, {"status": 503, "next": 2})
    client = clients(persistence=store.opts(job_opts={"max_attempts": 5}), flush_at=1)
    client.track("canary-user", "", {"canary": "canary-value"})
    client.track("canary-user", "Bad", {"canary": "canary-value"})
    client.track("canary-user", "E", {"canary": "canary-value"})
    client.flush(timeout=PATIENCE)
    client.close()
    assert caplog.text
    assert "canary" not in caplog.text
    assert plane.write_key not in caplog.text
