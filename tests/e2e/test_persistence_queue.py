"""create_persistence_queue at any moment, and a Redis that is away at the start or goes away in the middle."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time

import pytest

import eventspool
from e2e.harness import (
    PATIENCE,
    SLACK,
    Calls,
    Store,
    assert_delivered,
    eventually,
    new_queue_name,
    run_python,
)
from eventspool import AsyncClient, ConfigError, QueueError, QueueUnavailable
from eventspool._job import JobState
from lasting_threads import lasting_threads

LONG = 3600.0
QUICK = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}


# -- Redis is away at the start ----------------------------------------------------------------------------------------


def test_an_unreachable_redis_raises_and_is_used_once_it_is_there(clients, plane, redis_server):
    """QueueError without a callback; the client goes on trying, and events wait in memory meanwhile."""
    url = redis_server.url
    redis_server.kill()
    client = clients(flush_at=1)
    with pytest.raises(QueueError):
        client.create_persistence_queue({"url": url})
    ids = [client.track("u1", "E", {"n": n}) for n in range(20)]
    assert client.stats().buffered == 20
    assert plane.stats().requests == 0, "events go through the queue, or wait for it"
    redis_server.start()
    assert_delivered(client, 20)
    assert plane.unique_ids() == ids


def test_an_unreachable_redis_is_handed_to_the_callback_once(clients, plane, redis_server):
    """Nothing is raised, and the callback is not called again when the queue comes up."""
    url = redis_server.url
    redis_server.kill()
    client, callback = clients(), Calls()
    client.create_persistence_queue({"url": url}, callback)
    [(error,)] = callback.await_calls(1)
    assert isinstance(error, QueueUnavailable)
    client.track("u1", "E")
    redis_server.start()
    assert_delivered(client, 1)
    callback.await_calls(1)


def test_an_error_of_the_queue_names_no_password(clients, tmp_path):
    """Neither in the message nor in what hangs on to it."""
    client = clients()
    with pytest.raises(QueueError) as raised:
        client.create_persistence_queue(redis_opts={"url": f"unix://:hunter2@{tmp_path}/nobody"})
    error = raised.value
    while error is not None:
        assert "hunter2" not in repr(error)
        error = error.__cause__ or error.__context__


def test_a_wrong_configuration_always_raises_a_config_error(clients):
    """Also with a callback, and nothing was changed by it: the right call may follow."""
    client, callback = clients(), Calls()
    for opts in (
        {"queueName": "q"},
        {"queue_name": "a b"},
        {"url": "mysql://x"},
        {"job_opts": {"maxAttempts": 3}},
    ):
        with pytest.raises(ConfigError):
            client.create_persistence_queue(opts, callback)
    assert callback == []
    with pytest.raises(QueueError):
        _ = client.queue


# -- Redis goes away in the middle ---------------------------------------------------------------------------------------


def test_nothing_that_was_accepted_is_lost_when_redis_is_killed_in_the_middle(clients, plane, redis_server):
    """It dies and comes back with its file: events wait in memory up to the bound, then are refused, all arrive."""
    opts = Store("redis", redis_server.url, new_queue_name()).opts(is_multi_processor=True)
    callback = Calls()
    client = clients(persistence=opts, max_internal_queue_size=200)
    accepted = []
    for _ in range(3):
        accepted += [client.track("u1", "E", {"n": n}, callback=callback) for n in range(50)]
        plane.wait_for(len(accepted) // 2, timeout=PATIENCE)
        redis_server.kill()
        wave = [client.track("u1", "E", {"n": n}, callback=callback) for n in range(300)]
        assert None in wave, "the bound holds"
        assert wave.index(None) >= 100, "up to the bound, events are taken"
        accepted += [message_id for message_id in wave if message_id]
        redis_server.start()
        assert client.flush(timeout=PATIENCE).pending == 0
    assert None not in accepted
    assert set(plane.unique_ids()) == set(accepted)
    callback.await_calls(len(accepted))
    assert {error for error, _ in callback} == {None}


def test_a_durable_call_waits_for_redis_and_says_none_when_it_takes_too_long(clients, plane, redis_server):
    """durability="persisted": no message id without a stored event; the event still arrives, and is counted apart."""
    opts = {"redis_opts": {"url": redis_server.url, **QUICK}, "is_multi_processor": True}
    opts["job_opts"] = {
        "visibility_timeout": 2.0
    }  # the reply to a claim may be lost, and so its jobs until then
    client = clients(persistence=opts, durability="persisted", timeout=3.0)
    assert client.track("u1", "E")
    redis_server.kill()
    began = time.monotonic()
    assert client.track("u1", "E") is None
    assert 2.9 < time.monotonic() - began < 3.0 + SLACK
    stats = client.stats()
    assert (stats.accepted, stats.unconfirmed) == (2, 1)
    redis_server.start()
    assert client.flush(timeout=PATIENCE).pending == 0
    assert plane.stats().unique == 2


def test_durability_persisted_needs_a_queue(clients, plane):
    """Without one nothing can be promised, so nothing is accepted."""
    client = clients(durability="persisted", on_error=(on_error := Calls()))
    assert client.track("u1", "E") is None
    assert on_error.await_calls(1)[0][0].reason == "no_queue"
    assert client.stats().refused == {"no_queue": 1}


def test_each_durable_call_of_eight_threads_is_stored_when_it_returns(clients, store):
    """Another look at the queue finds it there."""
    client = clients(persistence=store.opts(is_multi_processor=True), process=False, durability="persisted")
    failures = []

    def work(number):
        for _ in range(5):
            message_id = client.track(f"u{number}", "E")
            with store.open() as queue:
                jobs = queue.jobs("waiting", limit=1000)
                stored = {event["messageId"] for job in jobs for event in queue.events(job.id)}
            if message_id not in stored:
                failures.append(message_id)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []
    assert store.stored_events() == 40


# -- attaching late ------------------------------------------------------------------------------------------------------


def test_events_tracked_before_the_queue_was_created_arrive_through_it(clients, plane, store):
    """Some are in the buffer, some in the memory queue waiting for their retry: the data plane was down all along."""
    plane.script({"status": 503})
    callback = Calls()
    client = clients(flush_at=5, flush_interval=LONG)
    ids = [client.track("u1", "E", {"n": n}, callback=callback) for n in range(23)]
    eventually(lambda: client.stats().retried > 0, "the memory queue has tried already")
    client.create_persistence_queue(store.opts())
    ids += [client.track("u1", "E", {"n": n}, callback=callback) for n in range(23, 30)]
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    assert store.stored_events() == 30
    assert client.stats().persisted == 30
    assert callback == []
    plane.script()
    assert_delivered(client, 30)
    assert set(plane.unique_ids()) == set(ids)
    assert plane.stats().changed == 0
    callback.await_calls(30)
    assert {error for error, _ in callback} == {None}


def test_while_the_old_requests_hang_nothing_counts_as_delivered(clients, plane, store):
    """A look-up must not take an event for delivered that the durable queue has never seen."""
    plane.script({"hang": 60})
    callback = Calls()
    client = clients(timeout=3.0)
    for _ in range(10):
        client.track("u1", "E", callback=callback)
    eventually(lambda: client.stats().in_flight, "the request hangs")
    client.create_persistence_queue(store.opts())
    result = client.flush(timeout=1.5)  # longer than the look-ups of an impatient flush need
    assert (result.delivered, result.pending) == (0, 10)
    assert callback == []
    plane.script()
    assert_delivered(client, 10)
    callback.await_calls(10)


def test_a_close_during_the_hand_over_saves_the_events(clients, plane, store):
    """The request that holds them hangs for longer than the close may take; they are in the queue all the same."""
    plane.script({"hang": 60})
    client = clients(timeout=30.0)
    for _ in range(10):
        client.track("u1", "E")
    eventually(lambda: client.stats().in_flight, "the request hangs")
    client.create_persistence_queue(store.opts())
    client.close(timeout=5.0)
    assert store.stored_events() == 10
    assert (client.stats().persisted, client.stats().lost) == (10, 0)


def test_a_job_that_comes_due_during_the_hand_over_is_taken_once(clients, plane, store, monkeypatch):
    """It is listed as delayed, and a moment later as waiting; its events hold their room in memory once."""
    plane.script({"status": 503})
    client = clients(flush_at=5, flush_interval=LONG)
    for n in range(5):
        client.track("u1", "E", {"n": n})
    memory = client._pipe().backend
    eventually(lambda: memory.stats().delayed.jobs, "it waits for its retry")
    list_jobs = memory.jobs

    def jobs(state, **options):
        listed = list_jobs(state, **options)
        if state is JobState.DELAYED:
            memory._clock = lambda: time.time() + 60.0
        return listed

    monkeypatch.setattr(memory, "jobs", jobs)
    client.create_persistence_queue(store.opts())
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    eventually(lambda: client._pipe().buffer.held <= 0)
    assert client._pipe().buffer.held == 0


def test_a_look_up_amid_the_change_of_queues_takes_nothing_for_delivered(clients, plane, store, monkeypatch):
    """The durable queue does not know the jobs yet: they are only on their way."""
    plane.script({"status": 503})
    callback = Calls()
    client = clients(flush_at=5, flush_interval=LONG)
    for n in range(5):
        client.track("u1", "E", {"n": n}, callback=callback)
    pipeline = client._pipe()
    eventually(lambda: pipeline.ledger.stale_jobs(0.5, 9), "a look-up would ask for it")
    forget_stored = pipeline.ledger.forget_stored

    def look_up_and_forget():
        pipeline.flusher.turn(time.monotonic())
        forget_stored()

    monkeypatch.setattr(pipeline.ledger, "forget_stored", look_up_and_forget)
    client.create_persistence_queue(store.opts())
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    assert client.stats().persisted == 5
    assert callback == []


def test_order_is_kept_over_the_hand_over(clients, plane, store):
    """In single-processor mode, what memory held comes first, in its own order."""
    plane.script({"status": 503})
    client = clients(flush_at=1)
    ids = []
    for n in range(40):
        ids.append(client.track("u1", "E", {"n": n}))
        client.flush(until="persisted")  # one job each in the memory queue
    client.create_persistence_queue(store.opts())
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    ids.append(client.track("u1", "Last"))
    plane.script()
    client.flush(timeout=PATIENCE)
    assert plane.unique_ids() == ids


def test_a_second_call_changes_nothing_and_says_so(clients, plane, store, tmp_path, caplog):
    """The queue that is there stays; the callback still hears that it is ready."""
    client, callback = clients(), Calls()
    client.create_persistence_queue(store.opts())
    client.create_persistence_queue(f"sqlite:///{tmp_path}/other.db", callback)
    assert callback.await_calls(1) == [(None,)]
    eventually(lambda: "called again" in caplog.text)  # a thread of its own writes the line
    client.track("u1", "E")
    client.flush(timeout=PATIENCE)
    assert not (tmp_path / "other.db").exists()


def test_closing_a_look_into_the_queue_leaves_the_client_working(clients, plane, store):
    """``with client.queue as queue`` must not pull the queue away from under the client."""
    client = clients(persistence=store.opts())
    client.track("u1", "E")
    client.flush(timeout=PATIENCE)
    with client.queue as queue:
        assert queue.stats().failed.jobs == 0
    client.track("u1", "E")
    assert_delivered(client, 2)
    assert client.queue.stats().waiting.jobs == 0


def test_a_closed_client_creates_no_queue(clients, plane, store):
    """It would start threads that nobody ends."""
    client = clients()
    client.close()
    before = lasting_threads()
    with pytest.raises(QueueError, match="closed"):
        client.create_persistence_queue(store.opts())
    assert lasting_threads() <= before
    client.create_persistence_queue(store.opts(), callback := Calls())
    assert isinstance(callback.await_calls(1)[0][0], QueueError)


# -- other faces of the same client --------------------------------------------------------------------------------------


def test_the_async_client_tracks_flushes_and_closes_in_asyncio(plane, store):
    """Event methods are plain calls; what waits is awaitable and does not block the loop."""
    plane.script({"latency": 0.1})
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            await asyncio.sleep(0.005)
            beats += 1

    async def run():
        pulse = asyncio.create_task(beat())
        async with AsyncClient(plane.write_key, data_plane_url=plane.url, flush_interval=LONG) as client:
            await client.create_persistence_queue(store.opts())
            for n in range(10):
                assert client.track("u1", "E", {"n": n})
            result = await client.flush()
            assert client.queue.stats().failed.jobs == 0
            callback = Calls()
            await client.flush(callback)
            client.track("u1", "Last")
        pulse.cancel()
        return result, client.stats(), callback

    result, stats, callback = asyncio.run(run())
    assert (result.delivered, stats.delivered, stats.lost) == (10, 11, 0)
    assert plane.stats().unique == 11
    assert beats >= 10, "the loop ran on during flush and close"
    callback.await_calls(1)


def test_init_and_the_module_functions_are_one_default_client(plane):
    """From anywhere in the program; what it holds is delivered at exit."""
    code = """
import sys, eventspool
try:
    eventspool.track("u1", "Too early")
except eventspool.ConfigError as error:
    assert "init" in str(error)
eventspool.close()
client = eventspool.init(sys.argv[2], data_plane_url=sys.argv[1])
eventspool.identify("u1"); eventspool.track("u1", "E"); eventspool.page("u1", name="P")
eventspool.screen("u1", name="S"); eventspool.group("u1", "g"); eventspool.alias("a", "u1")
assert eventspool.flush(timeout=60).delivered == 6
assert eventspool.stats().delivered == 6 == client.stats().delivered
second = eventspool.init(sys.argv[2], data_plane_url=sys.argv[1])
assert client.track("u1", "E") is None  # the first one was closed
eventspool.track("u1", "At exit")
"""
    run_python(code, plane.url, plane.write_key)
    assert plane.stats().unique == 7


def test_the_package_exports_what_the_contract_names():
    """A user imports from ``eventspool`` alone."""
    for name in (
        "Client",
        "AsyncClient",
        "QueueOpts",
        "JobOpts",
        "RedisOpts",
        "FlushResult",
        "open_queue",
        "init",
    ):
        assert name in eventspool.__all__


def test_nothing_passes_what_waits_in_memory_while_its_requests_hang(clients, plane, store):
    """New events wait until the old ones, which nobody has taken, stand in the new queue before them."""
    plane.script({"hang": 60.0})
    client = clients(flush_at=1, timeout=2.0)
    ids = []
    for n in range(4):
        ids.append(client.track("u1", "Before", {"n": n}))
        client.flush(until="persisted", timeout=PATIENCE)
    eventually(lambda: client.stats().in_flight, "requests that hang")
    client.create_persistence_queue(store.opts(job_opts={"concurrency": 1}))
    plane.script()
    ids += [client.track("u1", "After", {"n": n}) for n in range(4)]
    assert client.flush(timeout=PATIENCE).pending == 0
    assert plane.unique_ids() == ids


def test_a_batch_that_can_never_fit_is_given_up_and_holds_up_nobody(clients, plane, store):
    callback, on_error = Calls(), Calls()
    opts = store.opts(max_bytes=3_000)
    client = clients(persistence=opts, on_error=on_error, flush_at=1, max_event_bytes=65_536)
    message_id = client.track("u1", "Large", {"noise": os.urandom(8_000).hex()}, callback=callback)
    small = client.track("u1", "Small")
    assert client.flush(timeout=PATIENCE).failed == 1
    [(error, given)] = callback.await_calls(1)
    assert (error.reason, given) == ("too_large", message_id)
    [(_, events)] = on_error.await_calls(1)
    assert [event["event"] for event in events] == ["Large"]
    assert client.flush(timeout=PATIENCE).pending == 0
    assert plane.unique_ids() == [small]
    assert client.stats().failed_reasons == {"too_large": 1}


def test_events_of_other_threads_wait_for_no_server_while_a_queue_is_created(clients, plane):
    """It takes connections and never answers: who creates the queue waits for it, and nobody else."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = clients(flush_interval=3600.0)
        client.track("u1", "E")
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        threading.Thread(target=client.create_persistence_queue, args=(url, lambda _: None)).start()
        eventually(lambda: client._beginning.queue_opts is not None, "the queue is being created")
        took = []
        for _ in range(5):
            began = time.monotonic()
            assert client.track("u1", "E")
            took.append(time.monotonic() - began)
        assert min(took) < 1.0, "or else each of them has waited"
        client.close(timeout=0.1)


def test_a_half_delivered_batch_keeps_its_progress_over_the_hand_over(clients, plane, store):
    """One event of two is taken; the other is left to the queue that is created then, and nothing comes twice."""
    plane.script({"status": 400, "next": 1}, {"status": 503, "event": "b"})
    client = clients(flush_at=2, flush_interval=LONG)
    client.track("u1", "a")
    client.track("u1", "b")
    eventually(lambda: plane.stats().requests >= 3, "one half was taken, the other was not")
    client.create_persistence_queue(store.opts())
    plane.script()
    assert client.flush(timeout=PATIENCE).pending == 0
    assert plane.stats().duplicates == 0
    assert plane.stats().unique == 2
