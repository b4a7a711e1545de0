"""The document's event flow, sentence by sentence, against a real Redis-protocol server and a local data plane."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time

import pytest

from e2e.harness import PATIENCE, Calls, assert_delivered, eventually
from eventspool import DeliveryError, QueueOpts, QueueUnavailable, RedisOpts, RefusedError
from eventspool._delivery.processor import Processor

LONG = 3600.0
MANY = 10_000


def test_sdk_methods_push_events_to_an_in_memory_array(clients, plane, redis_store):
    """ "SDK methods (e.g. track) push events to an in-memory array": nothing else has them yet."""
    client = clients(persistence=redis_store.opts(), flush_at=MANY, flush_interval=LONG)
    calls = [
        client.identify("u1", {"plan": "pro"}),
        client.track("u1", "Order Completed"),
        client.page("u1", name="Home"),
        client.screen("u1", name="Start"),
        client.group("u1", "g1"),
        client.alias("old", "u1"),
    ]
    assert None not in calls
    assert client.stats().buffered == 6
    assert redis_store.stored_events() == 0
    assert plane.stats().requests == 0
    client.flush()
    assert plane.unique_ids() == calls


def test_the_array_has_a_maximum_size_of_max_internal_queue_size(clients, redis_store, redis_server):
    """ "This in-memory array has a maximum size of maxInternalQueueSize", counted to the event."""
    redis_server.kill()
    client = clients(
        max_internal_queue_size=50, flush_at=10, persistence={"redis_opts": {"url": redis_server.url}}
    )
    accepted = [client.track("u1", "E") for _ in range(80)]
    assert [message_id is not None for message_id in accepted] == [True] * 50 + [False] * 30
    assert client.stats().buffered == 50
    redis_server.start()


def test_the_array_is_flushed_to_redis_by_flush_at(clients, redis_store):
    """ "... flushed to Redis based on flushAt": the fifth event takes the four before it along, at once."""
    client = clients(persistence=redis_store.opts(), process=False, flush_at=5, flush_interval=LONG)
    for _ in range(2):
        before = redis_store.stored_events()
        for _ in range(4):
            client.track("u1", "E")
        assert client.stats().buffered == 4
        client.track("u1", "E")
        eventually(lambda: redis_store.stored_events() == before + 5, "flush_at triggers a flush")  # noqa: B023
    with redis_store.open() as queue:
        assert [job.events for job in queue.jobs("waiting")] == [5, 5]


def test_the_array_is_periodically_flushed_to_redis_by_flush_interval(clients, redis_store):
    """ "... periodically flushed to Redis based on ... flushInterval": a few events leave when it has passed."""
    client = clients(persistence=redis_store.opts(), process=False, flush_at=MANY, flush_interval=0.4)
    for expected in (3, 6):
        # Counted as stored a moment after the queue has them: before that, those of the last turn count as buffered.
        eventually(lambda: client.stats().buffered == 0, "the turn before is over")
        began = time.monotonic()
        for _ in range(3):
            client.track("u1", "E")
        assert client.stats().buffered == 3
        eventually(lambda: redis_store.stored_events() == expected, "flush_interval triggers a flush")  # noqa: B023
        assert 0.35 < time.monotonic() - began < PATIENCE
    with redis_store.open() as queue:
        assert [job.events for job in queue.jobs("waiting")] == [3, 3]


def test_once_max_internal_queue_size_is_reached_new_events_are_not_accepted(clients, plane, redis_server):
    """ "... new events won't be accepted (cases where ... the Redis server is not reachable)"; later they are again."""
    refusals, callbacks = Calls(), Calls()
    redis_server.kill()
    client = clients(
        max_internal_queue_size=100,
        on_error=refusals,
        persistence={"redis_opts": {"url": redis_server.url}, "is_multi_processor": True},
    )
    accepted = [client.track("u1", "E", callback=callbacks) for _ in range(130)]
    assert accepted.count(None) == 30
    assert client.stats().refused == {"buffer_full": 30}
    for error, [event] in refusals.await_calls(30):
        assert isinstance(error, RefusedError)
        assert (error.reason, event["event"]) == ("buffer_full", "E")

    redis_server.start()
    assert_delivered(client, 100)
    assert client.track("u1", "E") is not None
    client.flush(timeout=PATIENCE)
    assert [call[0] for call in callbacks.await_calls(100)] == [None] * 100
    assert plane.stats().unique == 101


@pytest.mark.alone
def test_new_events_are_not_accepted_while_a_slow_redis_keeps_the_array_full(clients, plane, redis_server):
    """ "... cases where Redis connection is slow": the server hangs, track() does not."""
    client = clients(
        max_internal_queue_size=20,
        persistence={
            "redis_opts": {"url": redis_server.url, "socket_timeout": 5.0},
            "is_multi_processor": True,
        },
    )
    client.track("u1", "Before")
    client.flush(timeout=PATIENCE)
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        accepted = [client.track("u1", "E") for _ in range(30)]
        assert time.monotonic() - began < 4.0, "track() waits for no Redis"
        assert accepted.count(None) == 10
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    assert client.flush(timeout=PATIENCE).pending == 0
    assert set(plane.unique_ids()) >= {message_id for message_id in accepted if message_id}


def test_batches_are_retrieved_from_redis_and_sent_simultaneously(clients, plane, redis_store):
    """ "Simultaneously, the SDK will also be retrieving batches from Redis and attempting to send them"."""
    client = clients(persistence=redis_store.opts(is_multi_processor=True), flush_at=5, flush_interval=LONG)
    stop = threading.Event()

    def keep_tracking():
        while not stop.wait(0.002):
            client.track("u1", "E")

    tracker = threading.Thread(target=keep_tracking)
    tracker.start()
    try:
        assert plane.wait_for(50, timeout=PATIENCE), (
            "delivery goes on while events come in, without any flush()"
        )
    finally:
        stop.set()
        tracker.join()
    assert client.flush(timeout=PATIENCE).pending == 0
    assert plane.stats().unique == client.stats().accepted


@pytest.mark.alone
def test_several_batches_are_on_their_way_at_once(clients, plane, redis_store):
    """Simultaneously also means that one slow answer holds up nobody else: eight answers of 2 s take no 16 s."""
    opts = redis_store.opts(is_multi_processor=True, job_opts={"concurrency": 8})
    worker = clients(persistence=opts)
    for _ in range(6):  # a process begins with one request at a time, and doubles that with each good answer
        worker.track("u1", "E")
        worker.flush(timeout=PATIENCE)
    client = clients(persistence=opts, process=False, flush_at=1)
    plane.script({"latency": 2.0})
    began = time.monotonic()
    for _ in range(8):
        client.track("u1", "E")
        client.flush(until="persisted")
    eventually(lambda: worker._pipe().processor._in_flight.parcels > 1, "several requests are under way")
    assert plane.wait_for(6 + 8, timeout=PATIENCE)
    assert time.monotonic() - began < 10.0


def test_batches_go_to_the_data_plane_url_with_the_write_key_and_the_moment_of_sending(
    clients, plane, redis_store
):
    """... "to the dataplane URL": one POST each to /v1/batch; sentAt is when it was sent, not when it was stored."""
    client = clients(persistence=redis_store.opts(), process=False)
    client.track("u1", "E")
    client.flush(until="persisted")
    stored_at = time.time()
    time.sleep(0.05)  # the one moment must differ from the other
    clients(persistence=redis_store.opts()).flush()
    assert plane.wait_for(1, timeout=PATIENCE)
    [request] = plane.requests
    assert request.status == 200
    assert request.headers["content-encoding"] == "gzip"
    from datetime import datetime

    assert datetime.fromisoformat(request.sent_at).timestamp() >= stored_at + 0.04


def test_errors_are_retried_up_to_max_attempts_with_exponential_backoff(
    clients, plane, redis_store, monkeypatch
):
    """ "The processor will retry errors up to JobOpts.maxAttempts times, with an exponential backoff"."""
    monkeypatch.setitem(
        Processor.__init__.__kwdefaults__, "jitter", lambda: 0.999
    )  # draw the bounds themselves
    plane.script({"status": 503})
    jobs = {"max_attempts": 5, "backoff_initial": 0.1, "backoff_max": 0.4}
    client = clients(persistence=redis_store.opts(job_opts=jobs))
    client.track("u1", "E")
    eventually(lambda: client.stats().failed == 1, "the job is given up")
    times = [request.time for request in plane.requests]
    assert len(times) == 5
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    for gap, bound in zip(gaps, [0.1, 0.2, 0.4, 0.4], strict=True):  # doubling, up to backoff_max
        assert bound * 0.95 <= gap < bound + 0.5, gaps


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 429, "retry_after": 0.05},
        {"status": 408},
        {"drop": "before"},
        {"drop": "after", "record": True},
        {"drop": "half"},
        {"redirect": "http://127.0.0.1:9/elsewhere"},
    ],
    ids=str,
)
def test_what_may_pass_is_retried_until_it_is_delivered(clients, plane, redis_store, fault):
    """An error that may pass costs an attempt, not an event: same id, same bytes, until a success."""
    plane.script({**fault, "next": 3})
    client = clients(persistence=redis_store.opts())
    message_id = client.track("u1", "E", {"n": 1})
    assert_delivered(client, 1)
    assert plane.unique_ids() == [message_id]
    assert plane.stats().changed == 0
    assert client.stats().retried == 3
    assert redis_store.failed_events() == 0


def test_a_job_that_failed_max_attempts_times_is_not_retried_and_is_in_the_failed_queue(
    clients, plane, redis_store
):
    """ "If the job fails JobOpts.maxAttempts times, it will not be retried again and pushed to a failed queue"."""
    plane.script({"status": 500})
    callback, on_error = Calls(), Calls()
    client = clients(
        persistence=redis_store.opts(job_opts={"max_attempts": 3}), flush_at=2, on_error=on_error
    )
    ids = [client.track("u1", "E", {"n": n}, callback=callback) for n in range(2)]
    assert client.flush(timeout=PATIENCE).pending == 0
    assert (client.stats().delivered, client.stats().failed) == (0, 2)
    for error, message_id in callback.await_calls(2):
        assert isinstance(error, DeliveryError)
        assert (error.reason, error.status) == ("max_attempts", 500)
        assert message_id in ids
    [(error, events)] = on_error.await_calls(1)
    assert (error.reason, [event["messageId"] for event in events]) == ("max_attempts", ids)

    [job] = client.queue.jobs("failed")
    assert (job.state, job.events, job.attempts, job.reason) == ("failed", 2, 3, "max_attempts")
    assert [event["messageId"] for event in client.queue.events(job.id)] == ids
    plane.script()
    assert clients(persistence=redis_store.opts()).flush(timeout=PATIENCE).pending == 0
    client.track("u1", "Later")
    client.flush(timeout=PATIENCE)  # it went past the failed job, which was not tried again
    assert plane.stats().statuses == {"500": 3, "200": 1}

    assert client.queue.retry_failed() == 1  # ... until somebody says so
    assert plane.wait_for(3, timeout=PATIENCE)
    assert set(ids) < set(plane.unique_ids())


def test_max_attempts_is_ten_by_default(clients, plane, redis_store):
    """ "JobOpts { maxAttempts ?: number = 10 }"."""
    plane.script({"status": 500})
    client = clients(persistence=redis_store.opts())
    client.track("u1", "E")
    eventually(lambda: client.stats().failed == 1, "the job is given up")
    assert plane.stats().requests == 10


def test_without_create_persistence_queue_there_is_no_persistence(clients, plane, shared_redis):
    """ "If you do not call createPersistenceQueue ..., the SDK will not implement data persistence"."""
    import redis

    server = redis.Redis.from_url(shared_redis.url)
    keys_before = server.dbsize()
    client = clients()
    with pytest.raises(Exception, match="create_persistence_queue") as raised:
        _ = client.queue
    assert type(raised.value).__name__ == "QueueError"
    client.track("u1", "E")
    assert_delivered(client, 1)
    assert client.stats().persisted == 0
    assert server.dbsize() == keys_before
    server.close()

    plane.script("outage")
    doomed = clients(on_error=(errors := Calls()))
    doomed.track("u1", "Doomed", callback=(callback := Calls()))
    doomed.close(timeout=0.3)
    assert doomed.stats().lost == 1, "memory dies with the process, and the client says so"
    assert callback.await_calls(1)[0][0].reason == "lost"
    assert errors.await_calls(1)[0][0].reason == "lost"


def test_events_survive_a_restart_of_the_server_the_sdk_runs_on(clients, plane, redis_store):
    """ "The SDK can retry delivery, multiple times, even if your server restarts": the next client takes over."""
    plane.script("outage")
    first = clients(persistence=redis_store.opts())
    ids = [first.track("u1", "E", {"n": n}) for n in range(20)]
    first.close(timeout=0.5)
    assert first.stats().persisted == 20
    plane.script()
    clients(persistence=redis_store.opts()).flush()
    assert plane.wait_for(20, timeout=PATIENCE)
    assert plane.unique_ids() == ids


@pytest.mark.parametrize("form", ["nested", "flat", "beside", "dataclass", "camel"])
def test_create_persistence_queue_takes_queue_opts_redis_opts_and_a_callback(
    clients, plane, shared_redis, form
):
    """ "createPersistenceQueue({queueOpts, redisOpts}, callback)", nested as in the document, or in Python's ways."""
    from e2e.harness import new_queue_name

    name, redis_opts = new_queue_name(), {"url": shared_redis.url}
    client, callback = clients(), Calls()
    if form == "nested":
        client.create_persistence_queue(
            {"queue_opts": {"queue_name": name}, "redis_opts": redis_opts}, callback
        )
    elif form == "flat":
        client.create_persistence_queue({"queue_name": name, "redis_opts": redis_opts}, callback)
    elif form == "beside":
        client.create_persistence_queue({"queue_name": name}, callback, redis_opts=redis_opts)
    elif form == "dataclass":
        client.create_persistence_queue(
            QueueOpts(queue_name=name, redis_opts=RedisOpts(**redis_opts)), callback
        )
    else:
        with pytest.raises(ValueError, match="did you mean 'queue_name'"):
            client.create_persistence_queue({"queueName": name})
        client.create_persistence_queue({"queue_name": name, "url": shared_redis.url}, callback)
    assert callback.await_calls(1) == [(None,)]
    client.track("u1", "E")
    assert_delivered(client, 1)
    assert plane.stats().unique == 1


def test_the_options_have_the_defaults_of_the_document():
    """ "queueName = hightouchEventsQueue, isMultiProcessor = false, prefix = hightouch", localhost:6379, db 0."""
    opts = QueueOpts()
    assert (opts.queue_name, opts.is_multi_processor, opts.prefix) == (
        "hightouchEventsQueue",
        False,
        "hightouch",
    )
    assert opts.jobs.max_attempts == 10
    redis = opts.target
    assert (redis.host, redis.port, redis.db, redis.password) == ("localhost", 6379, 0, None)

    from eventspool import Client

    client = Client("write_key")
    assert client._opts.data_plane_url == "https://us-east-1.hightouch-events.com"
    assert client._opts.path == "/v1/batch"
    assert (client._opts.flush_at, client._opts.flush_interval) == (20, 20.0)
    assert client._opts.max_internal_queue_size == 20_000


def test_the_prefix_is_put_before_every_redis_key(clients, shared_redis):
    """ "this will be used as a prefix to Redis keys"; the queue's name is in them, the write key is nowhere."""
    import redis

    client = clients(process=False)
    client.create_persistence_queue({"queue_name": "orders", "prefix": "acme", "url": shared_redis.url})
    client.track("u1", "E")
    client.flush(until="persisted")
    with redis.Redis.from_url(shared_redis.url) as server:
        keys = [key.decode() for key in server.keys("*orders*")]
        assert keys
        assert all(key.startswith("acme:") for key in keys)
        dump = b"".join(server.dump(key) for key in server.keys("*"))
    assert b"local-write-key" not in dump


def test_redis_opts_reach_another_host_port_database_and_password(clients, plane):
    """ "RedisOpts { port, host, db, password }", against a server that insists on all of them."""
    import socket

    from eventspool._redis_server import RedisServer

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with RedisServer(port=port, args=("--requirepass", "s3cret")):
        wrong = clients()
        with pytest.raises(Exception, match=r"(?i)password") as raised:
            wrong.create_persistence_queue(
                redis_opts={"host": "127.0.0.1", "port": port, "password": "guess"}
            )
        assert "guess" not in str(raised.value)
        client = clients()
        client.create_persistence_queue(
            redis_opts={"host": "127.0.0.1", "port": port, "db": 3, "password": "s3cret"}
        )
        client.track("u1", "E")
        assert_delivered(client, 1)
        import redis

        with redis.Redis(port=port, password="s3cret") as server:
            assert set(server.info("keyspace")) <= {"db3"}
        client.close()


def test_several_servers_with_the_same_queue_name_share_the_work(clients, plane, redis_store):
    """ "If you are running multiple Node servers with the same QueueOpts.queueName ..., isMultiProcessor as true"."""
    plane.script({"latency": 0.3})
    store = redis_store.opts(is_multi_processor=True, job_opts={"concurrency": 1})
    servers = [clients(persistence=store, flush_at=1) for _ in range(3)]
    for client in servers:
        client.flush()  # each of them works the queue from now on
    producer = clients(persistence=store, process=False, flush_at=1)
    for n in range(60):
        if n == 3:  # three jobs, one request at a time: each server has one
            eventually(lambda: producer.queue.stats().waiting.jobs == 0, "three jobs are taken")
        producer.track("u1", "E", {"n": n})
        producer.flush(until="persisted")  # one job each
    producer.flush(timeout=PATIENCE)
    stats = plane.stats()
    assert (stats.unique, stats.duplicates) == (60, 0)
    sent = [client._pipe().processor.sent for client in servers]
    assert sum(sent) == 60
    assert min(sent) > 0, f"each had its share: {sent}"


def test_create_persistence_queue_reports_an_unreachable_redis_to_the_callback(clients, tmp_path):
    """ "an additional callback: (err) => {}": it gets the error, once, and nothing is raised."""
    client, callback = clients(), Calls()
    client.create_persistence_queue(redis_opts={"url": f"unix://{tmp_path}/nobody"}, callback=callback)
    [(error,)] = callback.await_calls(1)
    assert isinstance(error, QueueUnavailable)
