"""What somebody else's hand put into the queue is parked with a reason, and delivery goes on."""

from __future__ import annotations

import pickle
import sqlite3
import struct
import time

import pytest
import redis

from e2e.harness import PATIENCE, Calls, assert_delivered, eventually
from eventspool import QueueError
from eventspool._envelope import seal
from eventspool._job import new_job_id

GOOD = seal(
    [
        b'{"type":"track","event":"Stored","userId":"u1","messageId":"stored-1","timestamp":"2026-01-01T00:00:00Z"}'
    ]
)


def _with_version(version: int) -> bytes:
    return GOOD[:2] + bytes([version]) + GOOD[3:]


def _bomb() -> bytes:
    import zlib

    rest = struct.pack("<III", 1, 0, 1 << 31) + zlib.compress(b"\x00" * 100_000)
    return struct.pack("<2sBBI", b"ES", 1, 1, zlib.crc32(rest)) + rest


POISON = {
    "junk": (b"\x00\xff\xfe\r\n\x1b[2J" * 20, "corrupt"),
    "text": (b"not a batch", "corrupt"),
    "foreign": (b'{"data":{"eventData":"(function(){process.exit()})()"},"attempts":3}', "corrupt"),
    "pickle": (pickle.dumps({"batch": [1, 2, 3]}), "corrupt"),
    "truncated": (GOOD[:-9], "corrupt"),
    "header only": (GOOD[:24], "corrupt"),
    "flipped bit": (GOOD[:-3] + bytes([GOOD[-3] ^ 1]) + GOOD[-2:], "corrupt"),
    "newer version": (_with_version(3), "unsupported"),
    "newest version": (_with_version(255), "unsupported"),
    "inflates beyond all bounds": (_bomb(), "corrupt"),
}


def put_into_redis(store, payloads: dict[str, bytes | None]) -> None:
    """Write payloads by the key layout of the Redis backend; ``None`` is an index entry without a payload."""
    prefix = f"hightouch:{{{store.queue_name}:0}}:"
    with redis.Redis.from_url(store.url) as server:
        for job_id, payload in payloads.items():
            if payload is not None:
                server.hset(prefix + "d", job_id, payload)
                server.hset(prefix + "n", job_id, f"1:{len(payload)}")
            server.zadd(prefix + "q", {job_id: int(time.time() * 1e6)})


def put_into_sqlite(store, payloads: dict[str, bytes | None]) -> None:
    """Write rows by the tables of the SQLite backend; ``None`` is a job without a payload."""
    store.open().close()  # makes the file
    db = sqlite3.connect(store.url.removeprefix("sqlite:///"))
    with db:
        [queue] = db.execute(
            "select queue from queues where name = ?", (f"hightouch:{store.queue_name}",)
        ).fetchone()
        for job_id, payload in payloads.items():
            insert = "insert into jobs (queue, id, events, bytes, due) values (?, ?, ?, ?, ?)"
            cursor = db.execute(insert, (queue, job_id, 1, len(payload or b""), int(time.time() * 1e6)))
            if payload is not None:
                db.execute("insert into payloads values (?, ?)", (cursor.lastrowid, payload))
    db.close()


def put(store, payloads):
    """Write past the library, as another program would."""
    (put_into_redis if store.kind == "redis" else put_into_sqlite)(store, payloads)


@pytest.mark.parametrize("is_multi_processor", [True, False], ids=["shared", "in order"])
def test_poison_is_parked_with_a_reason_and_delivery_goes_on(clients, plane, store, is_multi_processor):
    """All kinds at once, before and between good batches: those arrive, the rest is in the failed queue."""
    named = {new_job_id(): name for name in POISON}
    put(store, {job_id: POISON[name][0] for job_id, name in named.items()})
    missing, foreign_id = new_job_id(), "not-an-id-of-ours: {}\x00\u00fc"
    put(store, {missing: None, foreign_id: b"junk", new_job_id(): GOOD})

    on_error, callback = Calls(), Calls()
    client = clients(persistence=store.opts(is_multi_processor=is_multi_processor), on_error=on_error)
    message_id = client.track("u1", "E", callback=callback)
    assert_delivered(client, 1)
    eventually(lambda: plane.received("stored-1"), "the good batch among the poison arrives")
    eventually(lambda: client.queue.stats().failed.jobs == len(POISON) + 2, "all poison is parked")
    assert callback.await_calls(1) == [(None, message_id)]
    assert set(plane.unique_ids()) == {"stored-1", message_id}

    failed = {job.id: job for job in client.queue.jobs("failed", limit=100)}
    for job_id, name in named.items():
        assert failed[job_id].reason == POISON[name][1], name
        assert failed[job_id].error
        assert "process.exit" not in failed[job_id].error, "no content in the error"
        with pytest.raises(QueueError):
            client.queue.events(job_id)
    assert failed[missing].reason == "missing"
    assert failed[foreign_id].reason == "corrupt"
    on_error.await_calls(len(POISON) + 2)
    assert all(events == [] for _, events in on_error)
    eventually(lambda: store.stored_events() == 0, "the callback comes before the queue is told")


def test_poison_can_be_looked_at_exported_around_retried_and_purged(clients, plane, store, tmp_path):
    """An operator's tools work on it, too."""
    put(store, {new_job_id(): POISON["junk"][0], new_job_id(): POISON["newer version"][0]})
    client = clients(persistence=store.opts(is_multi_processor=True))
    client.flush()
    eventually(lambda: client.queue.stats().failed.jobs == 2, "both are parked")
    assert client.queue.export(tmp_path / "failed.jsonl") == 0
    assert client.queue.retry_failed(reason="unsupported") == 1  # as after an upgrade; it fails again
    eventually(lambda: client.queue.stats().failed.jobs == 2, "it is parked again")
    assert client.queue.purge() == 2
    assert client.queue.stats().failed.jobs == 0
    client.track("u1", "E")
    assert_delivered(client, 1)


def test_a_payload_that_no_index_knows_is_found_and_delivered(clients, plane, redis_store):
    """As a half-applied import would leave it: the processor's start looks for such."""
    prefix = f"hightouch:{{{redis_store.queue_name}:0}}:"
    with redis.Redis.from_url(redis_store.url) as server:
        server.hset(prefix + "d", new_job_id(), GOOD)
    clients(persistence=redis_store.opts(is_multi_processor=True)).flush()
    assert plane.wait_for(lambda stats: stats.unique == 1, timeout=PATIENCE)


@pytest.mark.parametrize("key", "dnqtofimwslphxj")
def test_a_key_of_the_wrong_type_stops_nobody_else(clients, plane, shared_redis, redis_store, key):
    """Another program's string under one of our names: this queue complains, its host and other queues go on."""
    prefix = f"hightouch:{{{redis_store.queue_name}:0}}:"
    with redis.Redis.from_url(redis_store.url) as server:
        server.set(prefix + key, "somebody else's")
    client = clients(persistence=redis_store.opts())
    assert client.track("u1", "E") is not None
    client.flush(timeout=0.3)
    with redis.Redis.from_url(redis_store.url) as server:
        server.delete(prefix + key)
    assert client.flush(timeout=PATIENCE).pending == 0
    assert plane.stats().unique == 1
